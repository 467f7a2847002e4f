"""NOR flash: erase sets ones, program only clears, a cut leaves the operation torn."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.virtual.chip.flash import (
    BLOCK_BYTES,
    JOURNAL_LENGTH,
    SECTOR_BYTES,
    NorFlash,
    Operation,
    Tear,
    erase_steps,
    pages,
)
from pytest_blynk_ota.virtual.sweep.state import FlashState

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


def test_the_journal_is_bounded_and_keeps_no_data_unless_a_recording_is_on(flash):
    for _ in range(JOURNAL_LENGTH + 1):
        flash.program(0, b"\0")
    recording = flash.record()
    flash.program(1, b"\x12")
    flash.stop_recording()
    flash.program(2, b"\x34")
    assert len(flash.journal) == JOURNAL_LENGTH
    assert {one.data for one in flash.journal} == {b""}
    assert recording.operations == [Operation("program", 1, 1, b"\x12")]
    assert flash.operations == JOURNAL_LENGTH + 3


def test_the_journal_names_author_boot_and_secure_version():
    flash = NorFlash(size=SMALL, author=lambda: ("bootloader", 3, 1))
    flash.erase(0, SECTOR_BYTES)
    assert flash.journal[-1] == Operation("erase", 0, SECTOR_BYTES, b"", "bootloader", 3, 1)
    flash.close()


def test_each_erase_wears_its_sectors_out_torn_ones_too(flash):
    flash.erase(0, 2 * SECTOR_BYTES)
    flash.erase_torn(SECTOR_BYTES, SECTOR_BYTES)
    flash.program(0, b"\0")
    assert flash.wear()[:3] == (1, 2, 0)


# ---- torn operations


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=256), st.integers(1, 6), st.text(max_size=3))
def test_a_torn_program_has_cleared_some_of_its_bits_and_no_others(data, variant, seed):
    left = Tear(seed, variant).of_program(data)
    reached = left.ljust(len(data), b"\xff")
    assert all(one & wanted == wanted for one, wanted in zip(reached, data, strict=True))
    assert reached != data or set(data) == {0xFF} or data.endswith(b"\xff")
    assert left == Tear(seed, variant).of_program(data)


def test_an_otadata_write_is_torn_between_bytes_and_between_bits():
    data = bytes(32)
    torn = {variant: Tear("s", variant).of_program(data) for variant in (1, 2, 3, 4)}
    assert {len(torn[1]) < 32, len(torn[3]) < 32} == {True}
    assert all(len(torn[n]) == 32 and sum(map(int.bit_count, torn[n])) > 0 for n in (2, 4))


@settings(deadline=None)
@given(st.binary(min_size=64, max_size=64), st.integers(1, 3), st.text(max_size=3))
def test_every_other_torn_erase_has_only_set_bits(old, half, seed):
    left = Tear(seed, 2 * half).of_erase(old)
    assert all(one & before == before for one, before in zip(left, old, strict=True))


# ---- snapshots

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["erase", "program", "erase_torn", "program_torn", "snapshot"]),
        st.integers(0, 15),
        st.integers(0, SECTOR_BYTES - 256),
        st.binary(min_size=1, max_size=200),
    ),
    max_size=12,
)


def change(flash, how, sector, at, data):
    """One change that a driver could make; ``data`` stays in one page."""
    start = sector * SECTOR_BYTES
    if how.startswith("erase"):
        getattr(flash, how)(start, SECTOR_BYTES)
    else:
        getattr(flash, how)(start + at // 256 * 256, data)


@settings(deadline=None)
@given(CHANGES)
def test_snapshots_stay_what_the_flash_was(changes):
    flash = NorFlash(size=SMALL, seed="p", bad_sectors=[2 * SECTOR_BYTES])
    taken = []
    for how, *where in changes:
        if how == "snapshot":
            taken.append((flash.snapshot(), flash.read(0, SMALL)))
        else:
            change(flash, how, *where)
    for snapshot, was in taken:
        assert snapshot.to_bytes() == was
        differ = [n for n in range(16) if snapshot.sector(n) != flash.read(n << 12, SECTOR_BYTES)]
        assert snapshot.changed() == differ
    for snapshot, was in reversed(taken):
        flash.load(snapshot)
        assert flash.read(0, SMALL) == was
    assert [one.to_bytes() for one, _ in taken] == [was for _, was in taken]
    flash.close()


@settings(deadline=None)
@given(CHANGES, CHANGES)
def test_a_recording_replayed_gives_the_same_flash(before, after):
    flash = NorFlash(size=SMALL, seed="r", bad_sectors=[SECTOR_BYTES])
    for how, *where in before:
        if how != "snapshot":
            change(flash, how, *where)
    recording = flash.record()
    for how, *where in after:
        if how != "snapshot":
            change(flash, how, *where)
    state = FlashState(recording.base, flash.bad.limit)
    for operation in recording.operations:
        state.apply(operation)
    assert state.read(0, SMALL) == flash.read(0, SMALL)
    assert state.sha256() == flash.sha256()
    flash.close()


def test_a_snapshot_copies_only_what_has_changed_since(flash):
    snapshot = flash.snapshot()
    flash.program(0, b"\0")
    flash.erase(0, SECTOR_BYTES)
    assert snapshot.copied == 1
    assert snapshot.changed() == []


def test_a_snapshot_nobody_holds_costs_nothing(flash):
    kept = flash.snapshot()
    flash.snapshot()
    assert list(flash._snapshots) == [kept]


def test_a_dump_is_loaded_whole_and_breaks_a_recording(flash):
    recording = flash.record()
    changed = flash.load(bytes(SECTOR_BYTES) + b"\xff" * (SMALL - SECTOR_BYTES))
    assert changed == [0]
    assert flash.read(SECTOR_BYTES - 1, 2) == b"\0\xff"
    assert "loaded" in recording.broken
    assert flash.wear()[0] == 0


def test_a_dump_of_another_size_is_refused(flash):
    with pytest.raises(ValueError, match="10 bytes"):
        flash.load(bytes(10))


# ---- bad sectors


def test_a_bad_sector_reads_back_wrong_after_an_erase_and_nothing_tells():
    flash = NorFlash(size=SMALL, seed="b", bad_sectors=[SECTOR_BYTES])
    flash.erase(0, 2 * SECTOR_BYTES)
    assert flash.read(0, SECTOR_BYTES) == b"\xff" * SECTOR_BYTES
    bad = flash.read(SECTOR_BYTES, SECTOR_BYTES)
    stuck = [sum(8 - byte.bit_count() for byte in bad[at : at + 32]) for at in range(0, 4096, 32)]
    assert stuck == [1] * 128
    flash.program(SECTOR_BYTES, bytes(32))
    assert flash.read(SECTOR_BYTES, 32) == bytes(32), "a zero is what it can hold"
    flash.close()


def test_the_same_bits_are_stuck_from_the_first_moment_and_after_a_load():
    flash = NorFlash(size=SMALL, seed="b", bad_sectors=[SECTOR_BYTES])
    fresh = flash.read(SECTOR_BYTES, SECTOR_BYTES)
    flash.load(b"\xff" * SMALL)
    assert flash.read(SECTOR_BYTES, SECTOR_BYTES) == fresh != b"\xff" * SECTOR_BYTES
    flash.close()


@pytest.mark.parametrize("offset", [1, SMALL, SECTOR_BYTES + 4])
def test_a_bad_sector_that_is_no_sector_is_refused_with_its_offset(offset):
    with pytest.raises(UsageError, match=f"bad_sectors: 0x{offset:x} is no sector"):
        NorFlash(size=SMALL, bad_sectors=[offset])


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


def test_a_flash_file_belongs_to_one_board_at_a_time(tmp_path: Path):
    path = tmp_path / "flash.bin"
    first = NorFlash(path, SMALL)
    with pytest.raises(UsageError, match=r"flash\.bin is in use by another board"):
        NorFlash(path, SMALL)
    first.close()
    NorFlash(path, SMALL).close()


def test_a_flash_file_gets_its_folders_and_one_that_cannot_be_opened_is_told(tmp_path: Path):
    path = tmp_path / "boards" / "c3-a" / "flash.bin"
    NorFlash(path, SMALL).close()
    assert path.stat().st_size == SMALL
    with pytest.raises(UsageError, match="c3-a cannot be opened: Is a directory"):
        NorFlash(path.parent, SMALL)


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
