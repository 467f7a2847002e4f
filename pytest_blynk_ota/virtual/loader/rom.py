"""The serial loader in the mask ROM.

Learnt from esptool 5.6 and recorded sessions of real ROMs:

- The value of an answer is that of the last register read, or of SYNC.
- To an op that it does not know it repeats its last answer with status 01 05: eight times if that
  was to SYNC.
- A flash write that fails is over: further blocks get 01 05.
- Uploading code to RAM and starting it begins the stub; the code itself is not run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from pytest_blynk_ota.virtual.loader import slip
from pytest_blynk_ota.virtual.loader.requests import (
    ANSWER,
    HEADER,
    SYNC,
    SYNC_ANSWERS,
    SYNC_BODY,
    Failure,
    Refused,
    Request,
    Target,
    xor_checksum,
)
from pytest_blynk_ota.virtual.loader.transfer import RamUpload, Writing

SYNC_VALUE = 0x20120707
OK = bytes(4)
SLOW_READ_BYTES = 64
REGISTER_WRITE_BYTES = 16
SOFTWARE_RESET = 0xC


class RomLoader:
    """One session with the ROM.

    Args:
        start: called, after the answer, when the host starts what it uploaded.
    """

    def __init__(self, target: Target, start: Callable[[], None]) -> None:
        self._target = target
        self._start = start
        self._ram: RamUpload | None = None
        self._writing: Writing | None = None
        self._value = 0
        self._last_op = 0
        self._then: Callable[[], None] | None = None

    def frame(self, frame: bytes) -> None:
        """Answer one frame; what is no request is noise."""
        request = Request.parse(frame)
        if request is None or frame[0] != 0:
            return
        op = request.op
        try:
            handler = ROM_OPS.get(op)
            if handler is None or (self._target.secure and op not in SECURE_OPS):
                raise Refused(Failure.UNKNOWN)
            if len(request.body) != request.length:
                raise Refused(Failure.LENGTH)
            body = handler(self, request) + OK
        except Refused as refused:
            body = refused.failure.rom
            if refused.failure is Failure.UNKNOWN:
                op = self._last_op
        self._answer(op, body)

    def _answer(self, op: int, body: bytes) -> None:
        self._last_op = op
        answer = slip.encode(HEADER.pack(ANSWER, op, len(body), self._value) + body)
        self._target.send(answer * (SYNC_ANSWERS if op == SYNC else 1))
        then, self._then = self._then, None
        if then is not None:
            then()

    # ---- the ops, in the order of the table below

    def _sync(self, request: Request) -> bytes:
        if request.body != SYNC_BODY:
            raise Refused(Failure.LENGTH)
        self._value = SYNC_VALUE
        return b""

    def _security_info(self, _request: Request) -> bytes:
        if self._target.security_info is None:
            raise Refused(Failure.UNKNOWN)
        self._value = 0
        return self._target.security_info

    def _read_register(self, request: Request) -> bytes:
        self._value = self._target.registers.read(request.words(1)[0])
        return b""

    def _write_register(self, request: Request) -> bytes:
        if not request.body or len(request.body) % REGISTER_WRITE_BYTES:
            raise Refused(Failure.LENGTH)
        self._target.registers.write_all(request.body)
        return b""

    def _attach(self, request: Request) -> bytes:
        request.words(1)
        return b""

    def _parameters(self, request: Request) -> bytes:
        request.words(6)
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
        data = _checked_block(request)
        if self._ram is None:
            raise Refused(Failure.NOT_BEGUN)
        self._ram.block(data)
        return b""

    def _ram_end(self, request: Request) -> bytes:
        stay, entry = request.words(2)
        if not stay and entry:
            self._then = self._start
        return b""

    def _begin(self, request: Request, *, compressed: bool) -> bytes:
        size, _blocks, _block_size, offset = request.words(4)
        if len(request.body) > 4 * self._target.begin_words:
            raise Refused(Failure.LENGTH)
        if len(request.body) > 16 and request.words(5)[4]:
            raise Refused(Failure.ENCRYPTION)
        self._writing = None
        self._writing = Writing(
            self._target.flash, offset, size, compressed=compressed, erase_first=True
        )
        return b""

    def _flash_begin(self, request: Request) -> bytes:
        return self._begin(request, compressed=False)

    def _deflate_begin(self, request: Request) -> bytes:
        return self._begin(request, compressed=True)

    def _block(self, request: Request, *, compressed: bool) -> bytes:
        data = _checked_block(request)
        if self._writing is None or self._writing.compressed is not compressed:
            raise Refused(Failure.NOT_BEGUN)
        try:
            self._writing.block(data)
        except Refused:
            self._writing = None
            raise
        return b""

    def _flash_block(self, request: Request) -> bytes:
        return self._block(request, compressed=False)

    def _deflate_block(self, request: Request) -> bytes:
        return self._block(request, compressed=True)

    def _flash_end(self, request: Request) -> bytes:
        request.words(1)
        if self._writing is None:
            raise Refused(Failure.NOT_BEGUN)
        self._writing = None
        self._then = lambda: self._target.leave(SOFTWARE_RESET)
        return b""

    def _md5(self, request: Request) -> bytes:
        offset, length, _, _ = request.words(4)
        return hashlib.md5(self._target.read(offset, length)).hexdigest().encode()

    def _slow_read(self, request: Request) -> bytes:
        offset, length = request.words(2)
        if length > SLOW_READ_BYTES:
            raise Refused(Failure.READ_LENGTH)
        return self._target.read(offset, length).ljust(SLOW_READ_BYTES, b"\0")


def _checked_block(request: Request) -> bytes:
    """The data of a block. Raises Refused if its length or checksum is wrong."""
    if request.words(4)[0] != len(request.block):
        raise Refused(Failure.LENGTH)
    if request.checksum & 0xFF != xor_checksum(request.block):
        raise Refused(Failure.CHECKSUM)
    return request.block


# Numbers: esptool/loader.py (ESP_CMDS).
ROM_OPS: Mapping[int, Callable[[RomLoader, Request], bytes]] = {
    SYNC: RomLoader._sync,
    0x14: RomLoader._security_info,
    0x0A: RomLoader._read_register,
    0x09: RomLoader._write_register,
    0x0D: RomLoader._attach,
    0x0B: RomLoader._parameters,
    0x0F: RomLoader._baud,
    0x05: RomLoader._ram_begin,
    0x07: RomLoader._ram_block,
    0x06: RomLoader._ram_end,
    0x02: RomLoader._flash_begin,
    0x03: RomLoader._flash_block,
    0x04: RomLoader._flash_end,
    0x10: RomLoader._deflate_begin,
    0x11: RomLoader._deflate_block,
    0x12: RomLoader._flash_end,
    0x13: RomLoader._md5,
    0x0E: RomLoader._slow_read,
}

SECURE_OPS = frozenset({SYNC, 0x14, 0x0D, 0x0B, 0x0F, 0x02, 0x03, 0x04, 0x10, 0x11, 0x12})
"""What is left in Secure Download Mode: no registers, no code in RAM, no reading, no MD5 (what
esptool does without there; ESP-IDF, "Secure Download Mode")."""
