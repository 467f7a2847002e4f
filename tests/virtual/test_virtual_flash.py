"""NOR flash: erase sets ones, program only clears, a cut leaves the operation torn."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.virtual.chip.flash import (
    BLOCK_BYTES,
    SECTOR_BYTES,
    NorFlash,
    Operation,
    erase_steps,
    pages,
)

SMALL = 16 * SECTOR_BYTES


@pytest.fixture
def flash():
    made = NorFlash(size=SMALL, seed="a")
    yield made
    made.close()


def test_new_flash_is_all_ones(flash):
    assert flash.read(0, SMALL) == b"\xff" * SMALL


def test_programming_only_clears_bits(flash):
    flash.program(0x1000, b"\xf0\x0f")
    flash.program(0x1000, b"\x3c\xff")
    assert flash.read(0x0FFF, 4) == b"\xff\x30\x0f\xff"


def test_erasing_sets_whole_sectors_and_no_more(flash):
    flash.program(0, bytes(3 * SECTOR_BYTES))
    flash.erase(SECTOR_BYTES, SECTOR_BYTES)
    zeros, ones = bytes(SECTOR_BYTES), b"\xff" * SECTOR_BYTES
    assert flash.read(0, 3 * SECTOR_BYTES) == zeros + ones + zeros


@pytest.mark.parametrize(
    "span", [(1, SECTOR_BYTES), (0, 100), (SMALL, SECTOR_BYTES), (-SECTOR_BYTES, SECTOR_BYTES)]
)
def test_an_erase_that_is_no_whole_sectors_inside_the_flash_is_refused(flash, span):
    with pytest.raises(ValueError):
        flash.erase(*span)


def test_a_program_over_the_end_is_refused_and_changes_nothing(flash):
    with pytest.raises(ValueError, match="outside"):
        flash.program(SMALL - 1, b"\0\0")
    assert flash.read(SMALL - 1, 1) == b"\xff"


def test_a_torn_program_leaves_a_true_prefix(flash):
    flash.program_torn(0, bytes(256))
    kept = flash.read(0, 256).count(0)
    assert kept < 256
    assert flash.read(0, 257) == bytes(kept) + b"\xff" * (257 - kept)


def test_a_torn_erase_leaves_its_span_neither_old_nor_erased_and_the_rest_alone(flash):
    flash.program(0, bytes(2 * SECTOR_BYTES))
    flash.erase_torn(0, SECTOR_BYTES)
    left = flash.read(0, SECTOR_BYTES)
    assert left not in (bytes(SECTOR_BYTES), b"\xff" * SECTOR_BYTES)
    assert flash.read(SECTOR_BYTES, SECTOR_BYTES) == bytes(SECTOR_BYTES)


def test_torn_operations_repeat_with_the_same_seed():
    left = []
    for _ in range(2):
        flash = NorFlash(size=SMALL, seed="same")
        flash.erase_torn(0, SECTOR_BYTES)
        left.append(flash.read(0, SECTOR_BYTES))
        flash.close()
    assert left[0] == left[1]


def test_the_journal_tells_every_operation_page_by_page(flash):
    flash.erase(0, SECTOR_BYTES)
    flash.program(0x80, bytes(0x100))
    flash.erase_torn(SECTOR_BYTES, SECTOR_BYTES)
    assert list(flash.journal) == [
        Operation("erase", 0, SECTOR_BYTES),
        Operation("program", 0x80, 0x80),
        Operation("program", 0x100, 0x80),
        Operation("torn erase", SECTOR_BYTES, SECTOR_BYTES),
    ]


def test_a_flash_file_keeps_its_content(tmp_path: Path):
    path = tmp_path / "flash.bin"
    for expected in (b"\xff", b"\x12"):
        flash = NorFlash(path, SMALL)
        assert flash.read(5, 1) == expected
        flash.program(5, b"\x12")
        flash.close()
    assert path.stat().st_size == SMALL


def test_a_flash_file_of_another_size_is_refused_and_kept(tmp_path: Path):
    path = tmp_path / "flash.bin"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match="8 bytes"):
        NorFlash(path, SMALL)
    assert path.read_bytes() == b"precious"


def test_erases_use_64_kb_blocks_only_where_aligned_and_whole():
    assert erase_steps(0xF000, 0x12000) == [
        (0xF000, SECTOR_BYTES),
        (0x10000, BLOCK_BYTES),
        (0x20000, SECTOR_BYTES),
    ]


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_pages_cover_a_span_without_gaps_and_cross_no_boundary(offset, length):
    pieces = pages(offset, length)
    assert sum(size for _, size in pieces) == length
    assert all(start // 256 == (start + size - 1) // 256 for start, size in pieces)
    assert [start for start, _ in pieces] == [
        offset + sum(size for _, size in pieces[:n]) for n in range(len(pieces))
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.binary(max_size=600)), max_size=8))
def test_programs_behave_as_a_byte_wise_and(writes):
    flash = NorFlash(size=SECTOR_BYTES)
    model = bytearray(b"\xff" * SECTOR_BYTES)
    for offset, data in writes:
        flash.program(offset, data)
        for n, byte in enumerate(data):
            model[offset + n] &= byte
    assert flash.read(0, SECTOR_BYTES) == bytes(model)
    flash.close()
