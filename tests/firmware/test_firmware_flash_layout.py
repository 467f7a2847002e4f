"""Partition tables and otadata."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import otadata
from pytest_blynk_ota.firmware.otadata import ERASED, SECTOR_BYTES, Entry, State, entries_for
from pytest_blynk_ota.firmware.partitions import (
    DEFAULT_TABLE,
    MD5_MAGIC,
    Partition,
    PartitionTable,
)

WORDS = st.integers(0, ERASED)


def test_arduinos_table_has_two_slots_and_no_factory():
    table = DEFAULT_TABLE
    assert [slot.offset for slot in table.ota_slots] == [0x10000, 0x150000]
    assert table.factory is None
    assert table.find("nvs").size == 0x5000
    assert table.at(0xE000) is table.otadata
    assert max(row.offset + row.size for row in table.rows) == 4 << 20


def test_a_table_is_read_back_with_its_md5_row():
    data = DEFAULT_TABLE.build()
    assert len(data) == 0xC00
    assert data[6 * 32 : 6 * 32 + 2] == b"\xeb\xeb"
    assert data[6 * 32 + 16 : 7 * 32] == hashlib.md5(data[: 6 * 32]).digest()
    assert PartitionTable.parse(data, flash_size=4 << 20) == DEFAULT_TABLE


def test_a_table_without_an_md5_row_is_one_too():
    data = DEFAULT_TABLE.build()[: 6 * 32].ljust(0xC00, b"\xff")
    assert PartitionTable.parse(data) == DEFAULT_TABLE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:40] + b"\x01" + data[41:], "Incorrect MD5 checksum"),
        (lambda data: b"\x00" + data[1:], "partition 0 invalid magic number 0x5000"),
        (lambda data: b"\xff" * len(data), "partition 0 invalid magic number 0xffff"),
        (lambda data: data[:32] * 96, "no terminating entry"),
        (lambda data: data[:224] + data[192:224] + data[256:], "Only one MD5"),
        (lambda data: b"", "no terminating entry"),
    ],
)
def test_a_bad_table_is_refused_in_the_bootloaders_words(change, words):
    with pytest.raises(FirmwareError, match=words):
        PartitionTable.parse(change(DEFAULT_TABLE.build()))


def test_older_bootloaders_find_an_empty_table_in_blank_flash():
    blank = b"\xff" * 0xC00
    assert PartitionTable.parse(blank, idf="v5.0.1").rows == ()
    assert PartitionTable.parse(blank, idf="v5.5-dev-1-gabc").rows == ()
    for newer in ("v5.5", "v6.0-dev-12-gabc", None):
        with pytest.raises(FirmwareError, match="partition 0 invalid magic number 0xffff"):
            PartitionTable.parse(blank, idf=newer)


def test_a_table_of_an_md5_row_alone_is_one_without_partitions():
    assert PartitionTable(()).build()[:2] == b"\xeb\xeb"
    assert PartitionTable.parse(PartitionTable(()).build()).rows == ()


def test_rows_behind_the_md5_row_shift_what_is_taken_for_rows():
    # it counts the rows without that of the MD5, and then takes so many from the first on
    row = PartitionTable(DEFAULT_TABLE.rows[:2]).build()
    data = row[:32] + MD5_MAGIC + hashlib.md5(row[:32]).digest() + row[32:64]
    first, second = PartitionTable.parse(data.ljust(0xC00, b"\xff")).rows
    assert first == DEFAULT_TABLE.rows[0]
    assert (second.type, second.subtype) == (0xFF, 0xFF)


def test_a_size_that_wraps_around_is_only_refused_by_newer_bootloaders():
    row = Partition("huge", 0, 0x10, 0x10000, 0xFFFFFFFF)
    data = PartitionTable((row,)).build()
    assert PartitionTable.parse(data, flash_size=4 << 20, idf="v5.4.2").rows == (row,)
    with pytest.raises(FirmwareError, match="exceeds flash chip size"):
        PartitionTable.parse(data, flash_size=4 << 20, idf="v6.1")


def test_a_partition_that_begins_beyond_the_flash_is_refused_also_where_its_end_wraps():
    data = PartitionTable((Partition("far", 0, 0x10, 0xFFFFF000, 0x2000),)).build()
    with pytest.raises(FirmwareError, match="exceeds flash chip size"):
        PartitionTable.parse(data, flash_size=4 << 20, idf="v5.4.2")


def test_overlapping_and_repeated_rows_are_no_fault():
    row = DEFAULT_TABLE.ota_slots[0]
    assert PartitionTable.parse(PartitionTable((row, row)).build()).rows == (row, row)


def test_a_partition_beyond_the_flash_fails_the_whole_table():
    with pytest.raises(FirmwareError, match=r"partition 4 invalid - offset 0x290000 .* 0x300000"):
        PartitionTable.parse(DEFAULT_TABLE.build(), flash_size=3 << 20)


def test_slots_come_in_the_order_of_their_numbers():
    slots = [Partition(f"s{n}", 0, 0x10 + n, 0x10000 * (9 - n), 0x1000) for n in (2, 0, 1)]
    assert [slot.slot for slot in PartitionTable(tuple(slots)).ota_slots] == [0, 1, 2]


def test_a_label_that_does_not_fit_is_refused():
    with pytest.raises(FirmwareError, match="label"):
        PartitionTable((Partition("seventeen letters", 0, 0, 0, 0),)).build()


@given(st.binary(max_size=0xC00))
def test_no_bytes_break_the_table_reader(data):
    with suppress(FirmwareError):
        PartitionTable.parse(data, flash_size=4 << 20)


@pytest.mark.parametrize(("seq", "crc"), [(1, 0x4743989A), (2, 0x55F63774)])
def test_the_crc_is_that_of_real_devices(seq, crc):
    assert otadata.crc(seq) == crc


@given(WORDS, WORDS, st.binary(min_size=20, max_size=20), WORDS)
def test_any_entry_is_rebuilt_as_it_stood(seq, state, label, crc):
    raw = otadata.ENTRY.pack(seq, label, state, crc)
    entry = Entry.parse(raw)
    assert entry.build() == raw
    assert entry.crc_ok == (crc == otadata.crc(seq))


@pytest.mark.parametrize(
    ("entry", "invalid", "valid", "initial"),
    [
        (Entry(1, State.VALID), False, True, False),
        (Entry(1, State.UNDEFINED), False, True, False),
        (Entry(1, 5), False, True, False),
        (Entry(1, State.ABORTED), True, False, False),
        (Entry(1, State.INVALID, wrong_crc=0), True, False, True),
        (Entry(1, State.VALID, wrong_crc=0), False, False, True),
        (Entry(ERASED, ERASED), True, False, True),
    ],
)
def test_valid_and_invalid_are_not_opposites(entry, invalid, valid, initial):
    assert (entry.is_invalid, entry.is_valid, entry.is_initial) == (invalid, valid, initial)


def test_the_larger_number_counts_and_of_equals_the_first():
    assert otadata.active((Entry(1), Entry(2))) == 1
    assert otadata.active((Entry(2), Entry(2))) == 0
    assert otadata.active((Entry(9, State.ABORTED), Entry(2))) == 1
    assert otadata.active((Entry(9, State.ABORTED), Entry(ERASED))) is None


def test_a_number_of_zero_selects_by_unsigned_arithmetic():
    assert Entry(0).slot(3) == 0xFFFFFFFF % 3
    assert [Entry(seq).slot(2) for seq in (1, 2, 3)] == [0, 1, 0]


@pytest.mark.parametrize("slot", [0, 1, 2])
def test_the_entries_for_a_slot_select_it(slot):
    sectors = entries_for(slot)
    assert [len(sector) for sector in sectors] == [SECTOR_BYTES, SECTOR_BYTES]
    entries = otadata.parse(b"".join(sectors))
    active = otadata.active(entries)
    assert active is not None
    assert entries[active].slot(3) == slot
    assert entries[active].state is State.VALID


def test_half_an_entry_is_refused():
    with pytest.raises(FirmwareError, match="32 bytes, not 31"):
        Entry.parse(bytes(31))
