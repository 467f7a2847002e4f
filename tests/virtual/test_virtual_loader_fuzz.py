"""Whatever comes down the wire, the loader stays alive and answers the next SYNC."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loader_frames import OVERSIZED, pieces, rare_pieces, recovers

from pytest_blynk_ota.virtual.chip.chips import MODELS
from pytest_blynk_ota.virtual.loader import slip


@pytest.mark.parametrize("name", sorted(MODELS))
@settings(max_examples=60)
@given(heard=pieces, stub=st.booleans())
def test_it_answers_a_sync_after_any_garbage(name, heard, stub):
    recovers(name, heard, stub=stub)


@settings(max_examples=10)
@given(heard=rare_pieces, stub=st.booleans())
def test_it_answers_a_sync_after_frames_that_are_too_long(heard, stub):
    recovers("esp32c3", heard, stub=stub)


def test_a_frame_without_end_is_dropped_and_the_next_one_heard(bench):
    bench.loader.feed(b"\xc0" + bytes(OVERSIZED) * 30)
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
