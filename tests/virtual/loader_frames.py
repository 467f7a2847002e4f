"""What a loader may hear that is no good: frames right in some ways and wrong in others."""

from __future__ import annotations

import zlib

from hypothesis import strategies as st
from virtual_bench import MAC, Bench

from pytest_blynk_ota.virtual.chip.chips import MODELS, make_chip
from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.loader import slip
from pytest_blynk_ota.virtual.loader.requests import HEADER, xor_checksum
from pytest_blynk_ota.virtual.loader.rom import ROM_OPS
from pytest_blynk_ota.virtual.loader.stub import STUB_OPS

OVERSIZED = slip.MAX_FRAME_BYTES + 1
FLASH_BYTES = 1 << 18
"""Small, because each example has its own."""

words = st.one_of(
    st.sampled_from([0, 1, 16, 4096, 0x10000, FLASH_BYTES, 0x60002000, 0x3FF42000, 0xFFFFFFFF]),
    st.integers(0, 0xFFFFFFFF),
)


def request(op: int, body: bytes, checksum: int = 0, length: int | None = None) -> bytes:
    """One frame, as wrong as asked for."""
    said = len(body) if length is None else length
    return slip.encode(HEADER.pack(0, op, said, checksum) + body)


@st.composite
def requests(draw):
    """A request with any op, arguments, length and checksum, sometimes cut."""
    op = draw(st.one_of(st.sampled_from(sorted({*ROM_OPS, *STUB_OPS})), st.integers(0, 255)))
    body = b"".join(word.to_bytes(4, "little") for word in draw(st.lists(words, max_size=6)))
    body += draw(st.binary(max_size=40))
    length = draw(st.sampled_from([None, None, None, 0, 0xFFFF]))
    frame = request(op, body, draw(st.integers(0, 0xFF)), length)
    return frame[: draw(st.sampled_from([len(frame), len(frame), len(frame), 5]))]


@st.composite
def blocks(draw):
    """A data block whose own header and checksum are mostly right."""
    data = draw(st.one_of(st.binary(max_size=64), st.binary(max_size=64).map(zlib.compress)))
    size = draw(st.sampled_from([len(data), len(data), len(data), 0, 0xFFFFFFFF]))
    body = size.to_bytes(4, "little") + draw(words).to_bytes(4, "little") + bytes(8) + data
    checksum = draw(st.sampled_from([xor_checksum(data), xor_checksum(data), 0]))
    return request(draw(st.sampled_from([0x03, 0x07, 0x11])), body, checksum)


@st.composite
def begins(draw):
    """The beginning of an upload or a write, near the start or the end of the flash."""
    size = draw(st.sampled_from([0, 16, 64, 0x1000, 0x20000]))
    offset = draw(st.sampled_from([0, 0x1000, 0x10001, FLASH_BYTES - 0x1000, FLASH_BYTES]))
    body = b"".join(word.to_bytes(4, "little") for word in (size, 1, 0x400, offset))
    return request(draw(st.sampled_from([0x02, 0x05, 0x10])), body)


half_frames = st.binary(max_size=60).map(lambda data: b"\xc0" + data.replace(b"\xc0", b""))
oversized = st.binary(min_size=1, max_size=4).map(lambda data: b"\xc0" + data * OVERSIZED)
common = st.one_of(requests(), requests(), blocks(), begins(), half_frames, st.binary(max_size=200))
pieces = st.lists(common, max_size=12)
rare_pieces = st.lists(st.one_of(common, oversized), min_size=1, max_size=4)


def recovers(name: str, heard: list[bytes], *, stub: bool) -> None:
    """Asserts that a chip that has heard all that answers the next SYNC as it should."""
    flash = NorFlash(size=FLASH_BYTES)
    bench = Bench(make_chip(MODELS[name], MAC), flash)
    try:
        if stub:
            bench.start_stub()
        for piece in heard:
            bench.loader.feed(piece)
        answers = bench.sync()[-8:]  # a half frame before it may have been answered as well
        assert len(answers) == 8
        assert all(one[:2] == b"\x01\x08" and not any(one[8:]) for one in answers)
    finally:
        flash.close()
