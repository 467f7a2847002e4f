"""The serial loader of a chip in download mode: mask ROM, and the stub that esptool uploads.

Frames are SLIP; a request is ``<BBHI`` 0, op, length, checksum and the body, an answer the same
with 1, op, length, value, then data and status. Learnt from esptool 5.6 and recorded sessions:

- The status is 4 bytes from the ROM, 2 from the stub.
- The ROM's ``value`` is that of the last register read; the stub's is 0 but for a read.
- To an op that it does not know, the ROM repeats its last answer with status 01 05: eight times
  if that was to SYNC.
- Uploading code to RAM and starting it begins the stub; the code itself is not run.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import reduce
from operator import xor

from pytest_blynk_ota.virtual.chip.chips import VirtualChip
from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.chip.registers import Registers
from pytest_blynk_ota.virtual.loader import slip
from pytest_blynk_ota.virtual.loader.transfer import Failure, Reading, Refused, Writing

HEADER = struct.Struct("<BBHI")
SYNC_BODY = b"\x07\x07\x12\x20" + b"\x55" * 32
SYNC_VALUE = 0x20120707
SYNC_ANSWERS = 8
CHECKSUM_SEED = 0xEF
BLOCK_HEADER_BYTES = 16
SLOW_READ_BYTES = 64
SOFTWARE_RESET = 0xC
GREETING = b"OHAI"


class Where(Enum):
    """Which loader knows an op."""

    BOTH = "both"
    ROM = "ROM"
    STUB = "stub"


@dataclass(frozen=True, slots=True)
class Op:
    """One kind of request.

    Attributes:
        args: the 32-bit words that its body begins with.
        block: whether a checksummed block follows them.
    """

    handler: Callable[[Loader, tuple[int, ...], bytes], bytes]
    args: int = 0
    where: Where = Where.BOTH
    block: bool = False


class Loader:
    """One session in download mode, from one reset to the next.

    Args:
        send: takes bytes for the UART.
        leave: called with the reset cause when the host asks to run the app.
        baud: tells the serial rate of now.
    """

    def __init__(
        self,
        chip: VirtualChip,
        flash: NorFlash,
        send: Callable[[bytes], None],
        leave: Callable[[int], None],
        baud: Callable[[], int] = lambda: 115200,
    ) -> None:
        self._chip = chip
        self._flash = flash
        self._send = send
        self._leave = leave
        self._registers = Registers(chip, baud)
        self._frames = slip.Decoder()
        self._writing: Writing | None = None
        self._reading: Reading | None = None
        self._ram_begun = False
        self._value = 0
        self._last_op = 0
        self._then: Callable[[], None] | None = None
        self.stub = False

    def feed(self, data: bytes) -> None:
        """Take bytes from the UART; answers go out at once."""
        for frame in self._frames.feed(data):
            if self._reading is not None and len(frame) == 4:
                self._reading.acknowledge(int.from_bytes(frame, "little"))
                self._continue_reading()
            else:
                self._request(frame)

    def _request(self, frame: bytes) -> None:
        """Answer one request; what is no request at all is noise."""
        if len(frame) < HEADER.size or frame[0] != 0:
            return
        self._reading = None
        _, number, length, checksum = HEADER.unpack_from(frame)
        op = OPS.get(number)
        try:
            if op is None or op.where is (Where.ROM if self.stub else Where.STUB):
                raise Refused(Failure.UNKNOWN)
            data = self._carry_out(op, frame[HEADER.size :], length, checksum)
            status = bytes(self._status_bytes)
        except Refused as refused:
            data = b""
            status = self._refusal(refused.failure)
            if refused.failure is Failure.UNKNOWN and not self.stub:
                self._repeat_last(status)
                return
        self._answer(number, data + status)

    @property
    def _status_bytes(self) -> int:
        return 2 if self.stub else 4

    def _refusal(self, failure: Failure) -> bytes:
        code = failure.stub if self.stub else failure.rom
        return bytes((1, code)).ljust(self._status_bytes, b"\0")

    def _carry_out(self, op: Op, body: bytes, length: int, checksum: int) -> bytes:
        if self.stub:
            self._value = 0
        if len(body) != length or length < 4 * op.args:
            raise Refused(Failure.LENGTH)
        args = struct.unpack_from(f"<{op.args}I", body)
        rest = body[4 * op.args :]
        if op.block:
            if args[0] != len(rest):
                raise Refused(Failure.LENGTH)
            if checksum & 0xFF != xor_checksum(rest):
                raise Refused(Failure.CHECKSUM)
        return op.handler(self, args, rest)

    def _answer(self, op: int, body: bytes) -> None:
        self._last_op = op
        answer = slip.encode(HEADER.pack(1, op, len(body), self._value) + body)
        self._send(answer * (SYNC_ANSWERS if op == SYNC else 1))
        then, self._then = self._then, None
        if then is not None:
            then()

    def _repeat_last(self, status: bytes) -> None:
        self._answer(self._last_op, status)

    # ---- the ops, in the order of the table below

    def _sync(self, _args: tuple[int, ...], rest: bytes) -> bytes:
        if rest != SYNC_BODY:
            raise Refused(Failure.LENGTH)
        self._value = 0 if self.stub else SYNC_VALUE
        return b""

    def _security_info(self, _args: tuple[int, ...], _rest: bytes) -> bytes:
        info = self._chip.model.security_info
        if info is None:
            raise Refused(Failure.UNKNOWN)
        self._value = 0
        return info

    def _read_register(self, args: tuple[int, ...], _rest: bytes) -> bytes:
        self._value = self._registers.read(args[0])
        return b""

    def _write_register(self, args: tuple[int, ...], rest: bytes) -> bytes:
        words = struct.pack("<4I", *args) + rest
        if len(words) % 16:
            raise Refused(Failure.LENGTH)
        for address, value, mask, _delay_us in struct.iter_unpack("<4I", words):
            self._registers.write(address, value, mask)
        return b""

    def _acknowledge(self, _args: tuple[int, ...], _rest: bytes) -> bytes:
        return b""

    def _ram_begin(self, _args: tuple[int, ...], _rest: bytes) -> bytes:
        self._ram_begun = True
        return b""

    def _ram_block(self, _args: tuple[int, ...], _rest: bytes) -> bytes:
        if not self._ram_begun:
            raise Refused(Failure.NOT_BEGUN)
        return b""

    def _ram_end(self, args: tuple[int, ...], _rest: bytes) -> bytes:
        stay, entry = args
        if not stay and entry and not self.stub:
            self._then = self._start_stub
        return b""

    def _start_stub(self) -> None:
        self.stub = True
        self._send(slip.encode(GREETING))

    def _begin(self, args: tuple[int, ...], compressed: bool) -> bytes:
        size, _blocks, _block_size, offset = args
        self._writing = Writing(
            self._flash, offset, size, compressed=compressed, erase_first=not self.stub
        )
        return b""

    def _flash_begin(self, args: tuple[int, ...], _rest: bytes) -> bytes:
        return self._begin(args, compressed=False)

    def _deflate_begin(self, args: tuple[int, ...], _rest: bytes) -> bytes:
        return self._begin(args, compressed=True)

    def _block(self, data: bytes, compressed: bool) -> bytes:
        if self._writing is None or self._writing.compressed is not compressed:
            raise Refused(Failure.NOT_BEGUN)
        self._writing.block(data)
        return b""

    def _flash_block(self, _args: tuple[int, ...], rest: bytes) -> bytes:
        return self._block(rest, compressed=False)

    def _deflate_block(self, _args: tuple[int, ...], rest: bytes) -> bytes:
        return self._block(rest, compressed=True)

    def _flash_end(self, args: tuple[int, ...], _rest: bytes) -> bytes:
        if self._writing is None:
            raise Refused(Failure.NOT_BEGUN)
        writing, self._writing = self._writing, None
        if not self.stub:
            self._then = lambda: self._leave(SOFTWARE_RESET)
            return b""
        writing.end()
        if args[0] == 0:
            self._then = self._end_stub
        return b""

    def _end_stub(self) -> None:
        self.stub = False
        self._ram_begun = False

    def _md5(self, args: tuple[int, ...], _rest: bytes) -> bytes:
        digest = hashlib.md5(self._read(args[0], args[1]))
        return digest.digest() if self.stub else digest.hexdigest().encode()

    def _slow_read(self, args: tuple[int, ...], _rest: bytes) -> bytes:
        offset, length = args
        if length > SLOW_READ_BYTES:
            raise Refused(Failure.LENGTH)
        return self._read(offset, length).ljust(SLOW_READ_BYTES, b"\0")

    def _read(self, offset: int, length: int) -> bytes:
        if offset + length > self._flash.size:
            raise Refused(Failure.FLASH)
        return self._flash.read(offset, length)

    def _erase_all(self, _args: tuple[int, ...], _rest: bytes) -> bytes:
        self._flash.erase(0, self._flash.size)
        return b""

    def _erase_region(self, args: tuple[int, ...], _rest: bytes) -> bytes:
        try:
            self._flash.erase(*args)
        except ValueError as error:
            raise Refused(Failure.FLASH) from error
        return b""

    def _read_flash(self, args: tuple[int, ...], _rest: bytes) -> bytes:
        self._reading = Reading(self._flash, *args)
        self._then = self._continue_reading
        return b""

    def _continue_reading(self) -> None:
        if self._reading is None:
            return
        for frame in self._reading.frames():
            self._send(slip.encode(frame))
        if self._reading.done:
            self._reading = None


def xor_checksum(data: bytes) -> int:
    """The checksum of a block: EF xor every byte."""
    return reduce(xor, data, CHECKSUM_SEED)


SYNC = 0x08

# Numbers and arguments: esptool/loader.py (ESP_CMDS and the methods that send them).
OPS: dict[int, Op] = {
    SYNC: Op(Loader._sync),
    0x14: Op(Loader._security_info),
    0x0A: Op(Loader._read_register, args=1),
    0x09: Op(Loader._write_register, args=4),
    0x0D: Op(Loader._acknowledge, args=1),  # attach the flash
    0x0B: Op(Loader._acknowledge, args=6),  # flash parameters
    0x0F: Op(Loader._acknowledge, args=2),  # change the baud rate: the bridge follows the host
    0x05: Op(Loader._ram_begin, args=4),
    0x07: Op(Loader._ram_block, args=4, block=True),
    0x06: Op(Loader._ram_end, args=2),
    0x02: Op(Loader._flash_begin, args=4),
    0x03: Op(Loader._flash_block, args=4, block=True),
    0x04: Op(Loader._flash_end, args=1),
    0x10: Op(Loader._deflate_begin, args=4),
    0x11: Op(Loader._deflate_block, args=4, block=True),
    0x12: Op(Loader._flash_end, args=1),
    0x13: Op(Loader._md5, args=4),
    0x0E: Op(Loader._slow_read, args=2, where=Where.ROM),
    0xD0: Op(Loader._erase_all, where=Where.STUB),
    0xD1: Op(Loader._erase_region, args=2, where=Where.STUB),
    0xD2: Op(Loader._read_flash, args=4, where=Where.STUB),
}
