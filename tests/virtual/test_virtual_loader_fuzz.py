"""Whatever comes down the wire, the loader stays alive and answers the next SYNC."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_bench import MAC, Bench

from pytest_blynk_ota.virtual.chip.chips import MODELS, make_chip
from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.loader import slip
from pytest_blynk_ota.virtual.loader.requests import HEADER
from pytest_blynk_ota.virtual.loader.rom import ROM_OPS
from pytest_blynk_ota.virtual.loader.stub import STUB_OPS

words = st.one_of(
    st.sampled_from([0, 1, 16, 4096, 0x10000, 0x400000, 0x60002000, 0x3FF42000, 0xFFFFFFFF]),
    st.integers(0, 0xFFFFFFFF),
)


@st.composite
def requests(draw):
    """A request that is right in some ways and wrong in others."""
    op = draw(st.one_of(st.sampled_from(sorted({*ROM_OPS, *STUB_OPS})), st.integers(0, 255)))
    body = b"".join(word.to_bytes(4, "little") for word in draw(st.lists(words, max_size=6)))
    body += draw(st.binary(max_size=40))
    length = draw(st.sampled_from([len(body), len(body), len(body), 0, 0xFFFF]))
    frame = slip.encode(HEADER.pack(0, op, length, draw(st.integers(0, 0xFF))) + body)
    return frame[: draw(st.sampled_from([len(frame), len(frame), len(frame), 5]))]


garbage = st.lists(st.one_of(requests(), st.binary(max_size=200)), max_size=12)


@pytest.mark.parametrize("name", sorted(MODELS))
@settings(deadline=None, max_examples=60)
@given(pieces=garbage, stub=st.booleans())
def test_it_answers_a_sync_after_any_garbage(name, pieces, stub):
    flash = NorFlash()
    bench = Bench(make_chip(MODELS[name], MAC), flash)
    if stub:
        bench.start_stub()
    for piece in pieces:
        bench.loader.feed(piece)
    answers = bench.sync()[-8:]  # a half frame before it may have been answered as well
    assert len(answers) == 8
    assert all(one[:2] == b"\x01\x08" and not any(one[8:]) for one in answers)
    flash.close()


def test_a_frame_without_end_is_dropped_and_the_next_one_heard(bench):
    bench.loader.feed(b"\xc0" + bytes(1 << 20))
    assert len(bench.sync()) == 8


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.integers(1, 50))
def test_slip_finds_the_same_frames_however_the_stream_is_cut(payloads, step):
    stream = b"".join(slip.encode(one) for one in payloads)
    decoder = slip.Decoder()
    found = []
    for start in range(0, len(stream), step):
        found += decoder.feed(stream[start : start + step])
    assert found == payloads


@given(st.binary(max_size=100), st.binary(min_size=1, max_size=100))
def test_slip_hears_a_frame_after_any_noise(noise, payload):
    assert slip.Decoder().feed(noise + slip.encode(payload))[-1:] == [payload]
