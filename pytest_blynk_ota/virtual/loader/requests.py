"""Requests of the serial loader protocol, and why one is refused.

A request is ``<BBHI`` 0, op, length, checksum and the body; an answer is the same with 1, op,
length, value, then data and status.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.chip.registers import Registers

HEADER = struct.Struct("<BBHI")
REQUEST, ANSWER = 0, 1
CHECKSUM_SEED = 0xEF
BLOCK_HEADER_BYTES = 16

SYNC = 0x08
SYNC_BODY = b"\x07\x07\x12\x20" + b"\x55" * 32
SYNC_ANSWERS = 8
GREETING = b"OHAI"
"""What the stub says when it starts."""


class Failure(Enum):
    """Why a loader refuses, with the status byte of the ROM and of the stub.

    ROM: second byte of four, behind 01 (esptool ``util.py``; recorded sessions). Stub: first byte
    of two, before 00 (esp-flasher-stub ``commands.h``).
    """

    UNKNOWN = (0x05, 0xC3)
    NO_PLUGIN = (0x05, 0xFF)
    LENGTH = (0x05, 0xC0)
    CHECKSUM = (0x07, 0xC1)
    NOT_BEGUN = (0x05, 0xC6)
    FLASH = (0x08, 0xC4)
    READ = (0x09, 0xC4)
    READ_LENGTH = (0x0A, 0xC0)
    INFLATE = (0x0B, 0xC7)
    ADLER = (0x0C, 0xC7)
    NOT_ENOUGH = (0x05, 0xC8)
    TOO_MUCH = (0x06, 0xC9)
    ENCRYPTION = (0x06, 0xC4)

    @property
    def rom(self) -> bytes:
        """The status that the ROM gives."""
        return bytes((1, self.value[0], 0, 0))

    @property
    def stub(self) -> bytes:
        """The status that the stub gives."""
        return bytes((self.value[1], 0))


class Refused(Exception):
    """Raised when a request cannot be carried out; becomes the status of the answer."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.name)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, taken apart."""

    op: int
    length: int
    checksum: int
    body: bytes

    @classmethod
    def parse(cls, frame: bytes) -> Request | None:
        """The request in a frame; ``None`` for one that is too short to be any."""
        if len(frame) < HEADER.size:
            return None
        _, op, length, checksum = HEADER.unpack_from(frame)
        return cls(op, length, checksum, frame[HEADER.size :])

    def words(self, count: int) -> tuple[int, ...]:
        """The 32-bit words that the body begins with. Raises Refused if there are fewer."""
        if len(self.body) < 4 * count:
            raise Refused(Failure.LENGTH)
        return struct.unpack_from(f"<{count}I", self.body)

    @property
    def block(self) -> bytes:
        """What follows the header of a data block."""
        return self.body[BLOCK_HEADER_BYTES:]


@dataclass(frozen=True, slots=True)
class Target:
    """What a loader works on.

    Attributes:
        send: takes bytes for the UART.
        leave: called with the reset cause when the host asks for the app.
        set_baud: called with the serial rate that the host asks for, after the answer.
        security_info: answer to that question; ``None``: the chip does not know it.
        begin_words: 32-bit words that the ROM takes to begin a write.
        secure: whether download mode is the secure one, which knows fewer commands.
    """

    flash: NorFlash
    registers: Registers
    send: Callable[[bytes], None]
    leave: Callable[[int], None]
    set_baud: Callable[[int], None]
    security_info: bytes | None
    begin_words: int
    secure: bool = False

    def read(self, offset: int, length: int) -> bytes:
        """Read flash. Raises Refused outside of it."""
        if offset + length > self.flash.size:
            raise Refused(Failure.READ)
        return self.flash.read(offset, length)


def xor_checksum(data: bytes) -> int:
    """The checksum of a block: EF xor every byte."""
    value, bits = int.from_bytes(data, "little"), 8
    while bits < len(data) * 8:
        bits *= 2
    while bits > 8:
        bits //= 2
        value = (value >> bits) ^ (value & (1 << bits) - 1)
    return value ^ CHECKSUM_SEED
