"""What a restore writes: as little as the hashes allow, and all that differs."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.board.baseline import (
    BLOCK_BYTES,
    SECTOR_BYTES,
    Baseline,
    Region,
    Span,
    apply,
    changes,
)
from pytest_blynk_ota.errors import FirmwareError

FLASH_BYTES = 0x80000
APP = random.Random(7).randbytes(5 * BLOCK_BYTES + 1234)


class Chip:
    """Flash that counts the hashes it is asked for."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content.ljust(FLASH_BYTES, b"\xff"))
        self.hashes = 0

    def md5(self, offset: int, size: int) -> str:
        self.hashes += 1
        return hashlib.md5(self.content[offset : offset + size]).hexdigest()

    def erase(self, offset: int, size: int) -> None:
        assert offset % SECTOR_BYTES == size % SECTOR_BYTES == 0
        self.content[offset : offset + size] = b"\xff" * size

    def write(self, offset: int, data: bytes) -> None:
        size = -(-len(data) // SECTOR_BYTES) * SECTOR_BYTES
        self.erase(offset, size)
        self.content[offset : offset + len(data)] = data


@pytest.fixture
def app() -> Baseline:
    return Baseline((Region("app0", 0, APP),), (Span("app1", 0x60000, SECTOR_BYTES),))


def test_nothing_is_written_where_nothing_differs(app):
    chip = Chip(APP)
    assert changes(app, chip.md5) == []
    assert chip.hashes == 2


def test_one_flipped_bit_costs_one_sector(app):
    chip = Chip(APP)
    chip.content[3 * BLOCK_BYTES + 5] ^= 1
    (change,) = changes(app, chip.md5)
    assert (change.offset, change.size) == (3 * BLOCK_BYTES, SECTOR_BYTES)


def test_another_image_is_written_as_one_run_without_sector_hashes(app):
    chip = Chip(random.Random(8).randbytes(len(APP)))
    (change,) = changes(app, chip.md5)
    assert change.data == APP
    assert chip.hashes < 10


def test_the_torn_last_sector_is_compared_only_as_far_as_the_data_goes(app):
    chip = Chip(APP)
    chip.content[len(APP)] = 0
    assert changes(app, chip.md5) == []
    chip.content[len(APP) - 1] ^= 1
    assert [change.size for change in changes(app, chip.md5)] == [1234]


def test_a_used_span_is_erased_before_anything_is_written(app):
    chip = Chip()
    chip.content[0x60010] = 0
    work = changes(app, chip.md5)
    assert [(change.name, change.data is None) for change in work] == [
        ("app1", True), ("app0", False)]  # fmt: skip


@given(st.sets(st.integers(0, FLASH_BYTES - 1), max_size=6), st.booleans())
def test_a_restore_leaves_the_baseline_whatever_stood_there(flips, blank):
    baseline = Baseline(
        (Region("app", 0, APP), Region("nvs", 0x60000, b"abc" + b"\xff" * (SECTOR_BYTES - 3))),
        (Span("other", 0x61000, 2 * SECTOR_BYTES),),
    )
    chip = Chip(b"" if blank else APP)
    for at in flips:
        chip.content[at] ^= 0x55
    apply(changes(baseline, chip.md5), chip)
    assert changes(baseline, chip.md5) == []
    assert chip.content[: len(APP)] == APP
    assert chip.content[0x60000:0x60003] == b"abc"
    assert set(chip.content[0x61000:0x63000]) == {0xFF}


@pytest.mark.parametrize(
    ("regions", "erased", "message"),
    [
        ((Region("a", 0, b"x"), Region("b", 0x800, b"y")), (), "not made of whole 4 KB sectors"),
        ((Region("a", 0, b"x" * 4097), Region("b", 0x1000, b"y")), (), "a and b share a 4 KB"),
        ((Region("a", 0, b"x"),), (Span("s", 0, 0x1000),), "a and s share a 4 KB sector"),
        ((), (Span("s", 0, 100),), "not made of whole 4 KB sectors"),
    ],
)
def test_a_baseline_that_would_harm_itself_is_refused(regions, erased, message):
    with pytest.raises(FirmwareError, match=message):
        Baseline(regions, erased)
