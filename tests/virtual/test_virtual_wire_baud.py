"""Bytes at the wrong baud rate, against a receiver that is written down bit by bit."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.virtual.wire.baud import heard

RATES = (9600, 38400, 57600, 74880, 115200, 230400, 460800, 921600)
SENTENCE = b"rst:0x1 (POWERON),boot:0xd (SPI_FAST_FLASH_BOOT)\r\n"
other_rates = st.lists(st.sampled_from(RATES), min_size=2, max_size=2, unique=True)


def level(data: bytes, bit: int) -> int:
    """What the sender's line shows in its ``bit``-th bit time; quiet when it has done."""
    byte, place = divmod(bit, 10)
    if byte >= len(data) or place == 9:
        return 1
    return data[byte] >> (place - 1) & 1 if place else 0


def received(data: bytes, sent_at: int, read_at: int) -> bytes:
    """The same receiver, one sample after the other."""
    end, found, bit = 10 * len(data), bytearray(), 0
    while bit < end:
        if level(data, bit):
            bit += 1
            continue
        places = [bit + int((n + 0.5) * sent_at / read_at) for n in range(10)]
        start, *bits, stop = [level(data, place) for place in places]
        bit = places[0]
        if start == 0:
            found.append(sum(value << n for n, value in enumerate(bits)))
            bit = places[-1]
            while not stop and not level(data, bit):
                bit += 1
    return bytes(found)


@given(st.binary(max_size=60), other_rates)
def test_each_byte_is_what_the_samples_say(data, rates):
    assert heard(data, *rates) == received(data, *rates)


@given(st.binary(max_size=400), st.sampled_from(RATES), st.floats(-0.03, 0.03))
def test_rates_within_three_percent_are_the_same(data, rate, off):
    assert heard(data, round(rate * (1 + off)), rate) == data


@pytest.mark.parametrize("off", [0.08, -0.08])
def test_at_eight_percent_the_last_bits_are_missed(off):
    assert heard(SENTENCE, round(115200 * (1 + off)), 115200) != SENTENCE


@given(other_rates)
def test_no_sentence_survives_another_rate(rates):
    said = heard(SENTENCE, *rates)
    assert said != SENTENCE
    assert b"rst:" not in said


@pytest.mark.parametrize(
    ("name", "data", "sent_at", "read_at", "expected"),
    [
        ("at half the rate a start bit of one bit is none", b"\x55", 115200, 57600, b""),
        ("at eight times the rate a level is a byte", b"\x0f", 9600, 76800, b"\x80\x00"),
        ("a fast start bit is over before it is looked at", b"\xff\xff", 921600, 115200, b""),
    ],
)
def test_by_hand(name, data, sent_at, read_at, expected):
    assert heard(data, sent_at, read_at) == expected, name


def test_the_same_bytes_become_the_same_garbage():
    noise = random.Random(3).randbytes(5000)
    assert heard(noise, 921600, 115200) == heard(noise, 921600, 115200)


def test_a_rate_that_no_port_has_costs_no_memory():
    tracemalloc.start()
    try:
        assert heard(SENTENCE, 5_000_000, 1) == b""
        assert heard(SENTENCE, 1, 0xFFFFFFFF)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
