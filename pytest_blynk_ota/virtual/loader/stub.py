"""The flasher stub that esptool uploads, as its second generation behaves (esp-flasher-stub).

- It acknowledges a block and then writes it, so that the next one can come meanwhile. What goes
  wrong in between is the answer to the next request, whatever that asks for.
- It checks the size of every body, and the whole checksum word.
- The value of an answer is 0 but for a register.

It differs in three things. It sends as many frames of a read ahead as the host asks for; the real
one sends one at a time. A stream that inflates to more than was announced is refused with C9 00;
the real one waits for ever. And SYNC is always answered, whatever went wrong before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES
from pytest_blynk_ota.virtual.loader import slip
from pytest_blynk_ota.virtual.loader.requests import (
    ANSWER,
    BLOCK_HEADER_BYTES,
    GREETING,
    HEADER,
    REQUEST,
    SYNC,
    SYNC_ANSWERS,
    SYNC_BODY,
    Failure,
    Refused,
    Request,
    Target,
    xor_checksum,
)
from pytest_blynk_ota.virtual.loader.rom import REGISTER_WRITE_BYTES
from pytest_blynk_ota.virtual.loader.transfer import RamUpload, Reading, Writing

OK = bytes(2)
ACKNOWLEDGEMENT_BYTES = 4
MAX_READ_FRAME = 4096
PLUGIN_OPS = range(0xD5, 0xF0)
"""Commands of plugins, of which none is loaded (plugin_table.h)."""
RUN_USER_CODE = 0xD3
"""Not answered, and nothing happens (``command_handler.c``)."""


class StubLoader:
    """One run of the stub.

    Args:
        leave: called, after the answer, when the host sends the chip back to its ROM.
        start: called, after the answer, when the host starts what it uploaded.
    """

    def __init__(
        self, target: Target, leave: Callable[[], None], start: Callable[[], None]
    ) -> None:
        self._target = target
        self._leave = leave
        self._start = start
        self._ram: RamUpload | None = None
        self._writing: Writing | None = None
        self._reading: Reading | None = None
        self._deferred: Failure | None = None
        self._then: Callable[[], None] | None = None
        self._value = 0

    def greet(self) -> None:
        """Say that it runs."""
        self._target.send(slip.encode(GREETING))

    def frame(self, frame: bytes) -> None:
        """Answer one frame; what is too short for a request is noise."""
        if self._reading is not None and len(frame) == ACKNOWLEDGEMENT_BYTES:
            self._reading.acknowledge(int.from_bytes(frame, "little"))
            self._continue_reading()
            return
        self._reading = None
        request = Request.parse(frame)
        if request is None or request.op == RUN_USER_CODE:
            return
        self._value, self._then = 0, None
        try:
            body = self._carry_out(frame[0], request) + OK
        except Refused as refused:
            self._value, self._then = 0, None
            body = refused.failure.stub
        self._answer(request.op, body)

    def _carry_out(self, direction: int, request: Request) -> bytes:
        if direction != REQUEST:
            raise Refused(Failure.UNKNOWN)
        if len(request.body) != request.length:
            raise Refused(Failure.LENGTH)
        deferred, self._deferred = self._deferred, None
        if deferred is not None and request.op != SYNC:
            raise Refused(deferred)
        op = STUB_OPS.get(request.op)
        if op is None:
            raise Refused(Failure.NO_PLUGIN if request.op in PLUGIN_OPS else Failure.UNKNOWN)
        if op.sizes and request.length not in op.sizes:
            raise Refused(Failure.LENGTH)
        return op.handler(self, request)

    def _answer(self, op: int, body: bytes) -> None:
        answer = slip.encode(HEADER.pack(ANSWER, op, len(body), self._value) + body)
        self._target.send(answer * (SYNC_ANSWERS if op == SYNC and body == OK else 1))
        then, self._then = self._then, None
        try:
            if then is not None:
                then()
        except Refused as refused:
            self._deferred = refused.failure

    # ---- the ops, in the order of the table below

    def _acknowledge(self, _request: Request) -> bytes:
        return b""

    def _security_info(self, _request: Request) -> bytes:
        if self._target.security_info is None:
            raise Refused(Failure.NO_PLUGIN)
        return self._target.security_info

    def _read_register(self, request: Request) -> bytes:
        self._value = self._target.registers.read(request.words(1)[0])
        return b""

    def _write_register(self, request: Request) -> bytes:
        if not request.body or len(request.body) % REGISTER_WRITE_BYTES:
            raise Refused(Failure.NOT_ENOUGH)
        self._target.registers.write_all(request.body)
        return b""

    def _baud(self, request: Request) -> bytes:
        rate = request.words(2)[0]
        self._then = lambda: self._target.set_baud(rate)
        return b""

    def _ram_begin(self, request: Request) -> bytes:
        size, _blocks, _block_size, address = request.words(4)
        self._ram = RamUpload(self._target.registers, size, address)
        return b""

    def _ram_block(self, request: Request) -> bytes:
        if len(request.body) < BLOCK_HEADER_BYTES:
            raise Refused(Failure.NOT_ENOUGH)
        if self._ram is None:
            raise Refused(Failure.NOT_BEGUN)
        size = request.words(1)[0]
        if size > self._ram.missing or size != len(request.block):
            raise Refused(Failure.TOO_MUCH)
        self._ram.block(request.block)
        return b""

    def _ram_end(self, request: Request) -> bytes:
        stay, _entry = request.words(2)
        if self._ram is None:
            raise Refused(Failure.NOT_BEGUN)
        self._ram = None
        if not stay:
            self._then = self._start
        return b""

    def _begin(self, request: Request, *, compressed: bool) -> bytes:
        size, _blocks, _block_size, offset = request.words(4)
        if request.length > 16 and request.words(5)[4]:
            raise Refused(Failure.ENCRYPTION)
        self._writing = Writing(
            self._target.flash, offset, size, compressed=compressed, erase_first=False
        )
        return b""

    def _flash_begin(self, request: Request) -> bytes:
        return self._begin(request, compressed=False)

    def _deflate_begin(self, request: Request) -> bytes:
        return self._begin(request, compressed=True)

    def _flash_block(self, request: Request) -> bytes:
        if len(request.body) < BLOCK_HEADER_BYTES:
            raise Refused(Failure.NOT_ENOUGH)
        writing = self._begun(compressed=False)
        if request.words(1)[0] != len(request.block):
            raise Refused(Failure.TOO_MUCH)
        if request.checksum != xor_checksum(request.block):
            raise Refused(Failure.CHECKSUM)
        self._then = lambda: writing.block(request.block)
        return b""

    def _deflate_block(self, request: Request) -> bytes:
        if len(request.body) < BLOCK_HEADER_BYTES:
            raise Refused(Failure.LENGTH)
        writing = self._begun(compressed=True)
        size = request.words(1)[0]
        data = request.block[:size]
        if size > len(data) or request.checksum != xor_checksum(data):
            raise Refused(Failure.CHECKSUM)
        self._then = lambda: writing.block(data)
        return b""

    def _begun(self, *, compressed: bool) -> Writing:
        if self._writing is None or self._writing.compressed is not compressed:
            raise Refused(Failure.NOT_BEGUN)
        return self._writing

    def _flash_end(self, request: Request) -> bytes:
        if self._writing is None:
            raise Refused(Failure.NOT_BEGUN)
        if self._writing.missing:
            raise Refused(Failure.LENGTH)
        self._writing = None
        if request.words(1)[0] == 0:
            self._then = self._leave
        return b""

    def _md5(self, request: Request) -> bytes:
        offset, length, _, _ = request.words(4)
        return hashlib.md5(self._target.read(offset, length)).digest()

    def _erase_all(self, _request: Request) -> bytes:
        self._target.flash.erase(0, self._target.flash.size)
        return b""

    def _erase_region(self, request: Request) -> bytes:
        offset, size = request.words(2)
        if offset % SECTOR_BYTES or size % SECTOR_BYTES:
            raise Refused(Failure.LENGTH)
        if offset + size > self._target.flash.size:
            raise Refused(Failure.FLASH)
        self._target.flash.erase(offset, size)
        return b""

    def _read_flash(self, request: Request) -> bytes:
        self._then = lambda: self._begin_reading(*request.words(4))
        return b""

    def _begin_reading(self, offset: int, length: int, block: int, window: int) -> None:
        if not 0 < block <= MAX_READ_FRAME:
            raise Refused(Failure.LENGTH)
        self._reading = Reading(self._target.read(offset, length), block, max(window, 1))
        self._continue_reading()

    def _continue_reading(self) -> None:
        if self._reading is None:
            return
        for frame in self._reading.frames():
            self._target.send(slip.encode(frame))
        if self._reading.done:
            self._reading = None


@dataclass(frozen=True, slots=True)
class Op:
    """One kind of request.

    Attributes:
        sizes: that its body may have, in bytes (``commands.h``); none: the handler looks.
    """

    handler: Callable[[StubLoader, Request], bytes]
    sizes: tuple[int, ...] = ()


STUB_OPS: Mapping[int, Op] = {
    SYNC: Op(StubLoader._acknowledge, (len(SYNC_BODY),)),
    0x14: Op(StubLoader._security_info, (0,)),
    0x0A: Op(StubLoader._read_register, (4,)),
    0x09: Op(StubLoader._write_register),
    0x0D: Op(StubLoader._acknowledge, (4,)),  # attach the flash
    0x0B: Op(StubLoader._acknowledge, (24,)),  # flash parameters
    0x0F: Op(StubLoader._baud, (8,)),
    0x05: Op(StubLoader._ram_begin, (16,)),
    0x07: Op(StubLoader._ram_block),
    0x06: Op(StubLoader._ram_end, (8,)),
    0x02: Op(StubLoader._flash_begin, (16, 20)),
    0x03: Op(StubLoader._flash_block),
    0x04: Op(StubLoader._flash_end, (4,)),
    0x10: Op(StubLoader._deflate_begin, (16, 20)),
    0x11: Op(StubLoader._deflate_block),
    0x12: Op(StubLoader._flash_end, (4,)),
    0x13: Op(StubLoader._md5, (16,)),
    0xD0: Op(StubLoader._erase_all),
    0xD1: Op(StubLoader._erase_region, (8,)),
    0xD2: Op(StubLoader._read_flash, (16,)),
}
