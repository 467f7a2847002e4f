"""A dump is explained: what is known of it, what boots now and next, and why."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from bootloader_oracle import app, flipped, secured, small_flash, with_word
from fuzz_flash import check_dump, check_entry, check_table, mutated
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import recipe
from pytest_blynk_ota.firmware.behaviour import MAGIC
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.explain import explain
from pytest_blynk_ota.firmware.explain_reasons import reasons
from pytest_blynk_ota.firmware.explain_settings import Asked
from pytest_blynk_ota.firmware.image import Segment, build_image, mend
from pytest_blynk_ota.firmware.otadata import Entry, State
from pytest_blynk_ota.firmware.partitions import (
    MD5_MAGIC,
    ROW_MAGIC,
    TABLE_OFFSET,
    Partition,
    PartitionTable,
)

C3 = CHIPS["esp32c3"]
ON_TRIAL = (Entry(1).build(), Entry(2, State.NEW).build())
GOOD = (app("esp32c3", 1), app("esp32c3", 2))
ON, OFF = Asked(C3, rollback=True), Asked(C3, rollback=False)


def dump(otadata=ON_TRIAL, slots=GOOD, *more) -> bytearray:
    return small_flash(otadata, slots, *more).data


def bootloader(texts: bytes = b"", *, chip: str = "esp32c3", size_code: int = 2) -> bytes:
    target = CHIPS[chip]
    data = texts.ljust(-(-len(texts) // 4) * 4 + 64, b"\0")
    image = build_image(target, [Segment(target.dram_base, data)], target.iram_base)
    return mend(with_word(image, 3, size_code << 4, 1))


def with_bootloader(data: bytearray, image: bytes, chip: str = "esp32c3") -> bytearray:
    place = CHIPS[chip].bootloader_offset
    data[place : place + len(image)] = image
    return data


def loaded(boot) -> str | None:
    return boot.loaded.label if boot.loaded else None


def why(boot) -> list[tuple[int, str]]:
    return [(reason.rule, reason.text) for reason in reasons(boot)]


def test_an_image_on_trial_starts_once_and_is_given_up_at_the_next_boot():
    found = explain(dump(), ON)
    assert (loaded(found.first), loaded(found.second)) == ("app1", "app0")
    assert Entry.parse(found.first.after[1]).state == State.PENDING_VERIFY
    assert Entry.parse(found.second.after[1]).state == State.ABORTED
    assert why(found.first) == [
        (5, "otadata[1] is valid and has the higher number: slot (2 - 1) mod 2 = 1, app1."),
        (5, "Its state is NEW: it becomes PENDING_VERIFY, before the image is looked at."),
        (7, "app1 at 0x20000 is bootable: it starts."),
    ]
    assert [rule for rule, _ in why(found.second)] == [3, 5, 7]
    assert why(found.second)[1][1].startswith("otadata[0] is the only valid one: slot (1 - 1)")


def test_without_rollback_it_stays():
    found = explain(dump(), OFF)
    assert (loaded(found.first), loaded(found.second)) == ("app1", "app1")
    assert found.second.after == found.first.before


def test_where_nothing_says_whether_there_is_rollback_both_are_told():
    found = explain(dump())
    assert (found.rollback.value, found.rollback.known) == (False, False)
    assert [loaded(boot) for boot in found.other] == ["app1", "app0"]
    assert explain(dump(), OFF).other is None


def test_each_slot_is_looked_at_also_where_it_is_not_tried():
    slots = (flipped(GOOD[0], 1000), GOOD[1])
    found = explain(dump(slots=slots), OFF)
    assert [app.problem and app.problem.what for app in found.apps] == ["checksum", None]
    assert [app.desc.version for app in found.apps] == ["1.0", "2.0"]
    assert found.apps[1].length == len(GOOD[1])


def test_why_blank_otadata_is_written_and_aborted_otadata_is_not():
    blank = explain(dump((b"\xff" * 32, b"\xff" * 32)), ON)
    assert [rule for rule, _ in why(blank.first)] == [4, 7, 8]
    pending = tuple(Entry(seq, State.PENDING_VERIFY).build() for seq in (1, 2))
    given_up = why(explain(dump(pending), ON).first)
    assert [rule for rule, _ in given_up] == [3, 3, 4, 7]
    assert given_up[2][1].startswith("Both otadata entries are ABORTED now, and there is no")


@pytest.mark.parametrize(
    ("otadata", "more", "rule", "words"),
    [
        ((Entry(5, wrong_crc=1), Entry(3)), (), 5, "otadata[1] is the only valid one: slot (3 -"),
        ((Entry(2), Entry(2)), (), 5, "Both entries have the same number, the first one counts"),
        ((Entry(1, wrong_crc=1), Entry(2, wrong_crc=1)), (), 6, "are torn (wrong CRC): factory"),
        ((Entry(1, State.INVALID), Entry(2, State.ABORTED)), ("factory",), 4,
         "otadata[0] is INVALID and otadata[1] is ABORTED: the factory application."),
    ],
)  # fmt: skip
def test_why_the_search_begins_where_it_does(otadata, more, rule, words):
    rows = [(Partition(label, 0, 0, 0x30000, 0x10000), GOOD[0]) for label in more]
    found = explain(dump(tuple(entry.build() for entry in otadata), GOOD, *rows), ON)
    assert why(found.first)[0][0] == rule
    assert words in why(found.first)[0][1]


def test_why_a_small_otadata_partition_stops_everything():
    data = dump()
    table = PartitionTable.parse(data[TABLE_OFFSET : TABLE_OFFSET + 0xC00])
    rows = (replace(table.rows[0], size=0x1000), *table.rows[1:])
    data[TABLE_OFFSET : TABLE_OFFSET + 0xC00] = PartitionTable(rows).build()
    assert why(explain(data, ON).first) == [
        (2, "otadata has 4096 bytes, 8192 are needed."),
        (7, "Nothing starts: the chip resets and tries again, for ever."),
    ]


def test_our_own_bootloader_says_how_it_was_built():
    image = recipe.make(
        recipe.loads('kind = "bootloader"\nbehaviour = { rollback = true }', "b.toml"), "esp32c3"
    )
    found = explain(with_bootloader(dump(), image))
    assert (found.chip.value, found.chip.said_by) == ("esp32c3", "bootloader header at 0x0")
    assert (found.rollback.value, found.rollback.known) == (True, True)
    assert "behaviour segment" in found.rollback.said_by
    assert not any("no bootloader" in note for note in found.notes)


@pytest.mark.parametrize(
    ("texts", "rollback", "anti", "idf"),
    [
        (b"boot\0v5.0.1-751-g96c4ec8df2\0ESP-IDF %s", None, None, "v5.0.1-751-g96c4ec8df2"),
        (b"otadata[%d] is marking as ABORTED\0", True, False, None),
        (b"Enabled a check secure version of app for anti rollback\0", True, True, None),
        (b"P\0\0\0\1\0\0\0v5.4.2\0", None, None, "v5.4.2"),
        (b"nothing\0", None, None, None),
    ],
)
def test_the_strings_of_a_foreign_bootloader_say_what_they_can(texts, rollback, anti, idf):
    found = explain(with_bootloader(dump(), bootloader(texts)))
    own = found.bootloader
    assert (own.rollback, own.anti_rollback, own.idf) == (rollback, anti, idf)
    assert found.rollback.known is (rollback is not None)
    assert (found.secure_version is not None) is bool(anti)


def test_a_bootloader_that_the_rom_refuses_is_told():
    image = flipped(bootloader(b"x"), 40)
    found = explain(with_bootloader(dump(), image))
    assert found.notes == ("The ROM would not start the bootloader: checksum is wrong.",)


def test_a_malformed_behaviour_keeps_no_rom_from_starting_a_bootloader():
    malformed = Segment(0, MAGIC + b"\4\0\0\0what")
    code = Segment(C3.iram_base, bytes(64))
    found = explain(with_bootloader(dump(), build_image(C3, [malformed, code], C3.iram_base)))
    (note,) = found.notes
    assert note.startswith(
        "How the bootloader was built cannot be read: behaviour segment: no JSON"
    )
    assert not found.rollback.known


def test_esptool_may_have_changed_the_bootloaders_header_so_its_hash_is_no_matter():
    image = with_word(bootloader(b"x"), 2, 0, 1)
    assert explain(with_bootloader(dump(), image)).notes == ()


def test_the_flash_size_of_the_bootloaders_header_limits_the_table():
    row = Partition("far", 1, 2, 0x300000, 0x10000)
    data = dump(ON_TRIAL, GOOD, (row, b""))
    assert loaded(explain(with_bootloader(data, bootloader(size_code=2))).first) == "app1"
    found = explain(with_bootloader(data, bootloader(size_code=1)))
    assert found.table is None
    assert "partition 3 invalid" in found.table_problem
    assert "exceeds flash chip size 0x200000" in why_refused(found)
    assert loaded(explain(data, Asked(flash_size=4 << 20)).first) == "app1"


def why_refused(found) -> str:
    return reasons(found.first, found.table_problem)[0].text


def test_without_a_bootloader_a_whole_dump_is_as_long_as_the_flash():
    row = Partition("far", 1, 2, 0x400000, 0x10000)
    data = dump(ON_TRIAL, GOOD, (row, b""))[: 4 << 20]
    assert explain(data, ON).table is None
    assert explain(data[:0x50000], ON).table is not None


def test_the_chip_is_that_of_most_good_applications():
    wrong = mend(with_word(GOOD[0], 12, 9, 2))
    found = explain(dump(slots=(wrong, GOOD[1], GOOD[0])))
    assert (found.chip.value, found.chip.said_by) == ("esp32c3", "application in app1")
    assert found.apps[0].problem.what == "chip_id"


def test_a_chip_that_nothing_says_is_asked_for():
    with pytest.raises(
        FirmwareError, match=r"chip not known: .* expected --chip with one of esp32"
    ):
        explain(dump(slots=(b"", b"")))
    assert explain(dump(slots=(b"", b"")), ON).first.loaded is None


def test_a_bootloader_for_a_chip_without_rules_is_refused_unless_one_is_named():
    data = with_bootloader(dump(), mend(with_word(bootloader(b"x"), 12, 13, 2)))
    with pytest.raises(FirmwareError, match="its bootloader is for the esp32c6"):
        explain(data)
    assert loaded(explain(data, ON).first) == "app1"


def test_a_secure_version_means_rollback_and_moves_up_for_the_next_boot():
    slots = (secured(GOOD[0], 1), secured(GOOD[1], 2))
    found = explain(dump((Entry(1).build(), Entry(2).build()), slots), Asked(secure_version=1))
    assert (found.rollback.value, found.first.decision.burn) == (True, 2)
    assert (loaded(found.second), found.second.decision.burn) == ("app1", None)
    assert why(found.first)[-1] == (9, "The secure version in the eFuses moves up to 2.")


def test_a_slot_beyond_the_end_of_a_short_dump_is_said_to_be_unknown():
    found = explain(dump()[:0x20000], ON)
    assert loaded(found.first) == "app0"
    assert found.apps[1].problem.text == "it goes on beyond the end of the dump at 0x20000"
    assert any("app1 cannot be judged" in note for note in found.notes)


def test_an_image_of_nothing_but_a_header_is_explained():
    header = GOOD[0][:1] + b"\0" + GOOD[0][2:23]
    data = dump(slots=(header + b"\0" * 8 + b"\xef", b""))
    found = explain(bytes(data), ON)
    assert loaded(found.first) == "app0"
    assert (found.apps[0].problem, found.apps[0].length) == (None, 32)


def test_overlapping_partitions_are_told():
    row = Partition("wide", 0, 0, 0x10000, 0x20000)
    notes = explain(dump(ON_TRIAL, GOOD, (row, GOOD[0])), ON).notes
    assert any("Partitions app0 and wide overlap" in note for note in notes)


NO_TABLE = b"\xff" * 0xC00


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "too short for a dump of flash: 0 bytes, expected at least 35840"),
        (dump()[:0x8000], "too short for a dump of flash: 32768 bytes"),
        (GOOD[0], r"an application image \(hello_world 1.0, for the esp32c3\), no dump of flash"),
        (b"\xff" * 0x10000, "expected AA 50, found FF FF.* it is blank"),
        (dump()[0x1000:], "a table stands at 0x7000: was it read from 0x1000 on, not from 0"),
        (b"\x00" * 0x1000 + dump()[:-0x1000], "a table stands at 0x9000: --table-offset 0x9000"),
        (random.Random(1).randbytes(0x10000), "it looks encrypted"),
        (
            with_bootloader(dump(), bootloader(b"x"))[:0xD000],
            "the dump ends at 0xd000, before otadata does at 0xf000",
        ),
    ],
)
def test_what_is_no_dump_is_said_to_be_what_it_looks_like(data, words):
    with pytest.raises(FirmwareError, match=words):
        explain(bytes(data))


def test_a_blank_table_under_a_bootloader_starts_nothing():
    data = with_bootloader(dump(), bootloader(b"\0v5.0.1\0"))
    data[TABLE_OFFSET : TABLE_OFFSET + len(NO_TABLE)] = NO_TABLE
    found = explain(data)
    assert found.first.loaded is None
    assert why(found.first)[0] == (1, "The partition table is blank: it names no application.")
    newer = with_bootloader(data, bootloader(b"\0v6.0.1\0"))
    assert explain(newer).table_problem == "partition 0 invalid magic number 0xffff"


def test_a_table_elsewhere_is_read_where_it_is_said_to_stand():
    data = dump()
    data[0x9000:0x9C00], data[0x8000:0x8C00] = data[0x8000:0x8C00], NO_TABLE
    assert loaded(explain(data, Asked(C3, table_offset=0x9000)).first) == "app1"


ROWS = st.one_of(
    st.builds(
        lambda kind, subtype, offset, size: (
            ROW_MAGIC
            + bytes([kind, subtype])
            + offset.to_bytes(4, "little")
            + size.to_bytes(4, "little")
            + bytes(20)
        ),
        st.sampled_from([0, 1, 2, 0xFF]),
        st.integers(0, 255),
        st.integers(0, 0xFFFFFFFF),
        st.integers(0, 0xFFFFFFFF),
    ),
    st.just(b"\xff" * 32),
    st.just(PartitionTable(()).build()[:32]),
    st.just(MD5_MAGIC + bytes(16)),
    st.binary(max_size=40),
)


@given(st.lists(ROWS, max_size=8).map(b"".join), st.sampled_from([None, 4 << 20]))
def test_any_bytes_are_a_table_or_are_refused(data, flash_size):
    check_table(data, flash_size)


@given(st.binary(max_size=40))
def test_any_bytes_are_an_otadata_entry_or_too_short(data):
    check_entry(data)


def test_damaged_dumps_are_explained_or_refused_and_never_break():
    made = [check_dump(*mutated(random.Random(seed))) for seed in range(150)]
    explained = [found for found in made if found is not None]
    assert len(explained) > 75
    assert any(found.first.loaded is None for found in explained)
    assert any(found.first.after != found.first.before for found in explained)
