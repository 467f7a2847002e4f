"""The boot rules decide as real bootloaders do, and say it in their words."""

from __future__ import annotations

import re

import pytest
from bootloader_oracle import DAMAGES, FLASH_BYTES, REVISIONS, Flash, app, rows, with_word

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.bootrules import Log, check_image, decide, last_booted
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import mend
from pytest_blynk_ota.firmware.otadata import ERASED, Entry, State
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET

CASES = list(rows())
RECORDED = 474
SLOTS = DEFAULT_TABLE.ota_slots


def boot(flash: Flash, row) -> dict:
    """One boot, with its writes done; in the words of the recording."""
    chip = row["chip"]
    decision = decide(
        flash.read,
        row["rollback_enabled"],
        CHIPS[chip],
        revision=REVISIONS[chip],
        flash_size=FLASH_BYTES,
    )
    for write in decision.writes:
        flash.put(write.offset, b"\xff" * write.erase)
        flash.put(write.offset, write.data)
    first, second = flash.otadata()
    return {
        "loaded_offset": decision.loaded.offset if decision.loaded else None,
        "otadata0_after": first,
        "otadata1_after": second,
    }


def wanted(row) -> dict:
    # a recorded second boot names no otadata where there is no such partition
    keys = ("loaded_offset", "otadata0_after", "otadata1_after")
    return {key: row.get(key) for key in keys}


def test_all_recorded_decisions_are_there():
    assert len(CASES) == RECORDED
    assert len({row["bootloader"] for row in CASES}) == 6


@pytest.mark.parametrize("bootloader", sorted({row["bootloader"] for row in CASES}))
def test_every_recorded_decision_is_ours_at_the_first_boot_and_at_the_second(bootloader):
    differing = []
    for row in CASES:
        if row["bootloader"] != bootloader:
            continue
        flash = Flash(row)
        outcomes = [("first", boot(flash, row), wanted(row))]
        if "second_boot" in row:
            outcomes.append(("second", boot(flash, row), wanted(row["second_boot"])))
        differing += [(row["id"], *outcome) for outcome in outcomes if outcome[1] != outcome[2]]
    assert differing == []


STAMP = re.compile(r".*([EIW]) \(\d+\) (boot|esp_image|boot_comm): (.*)")
SPOKEN = re.compile(
    r"Defaulting to|No factory image|Set actual|ota data partition|is not bootable|"
    r"No bootable app|Loaded app"
)


def spoken(lines) -> list[tuple[str, str]]:
    """Level and text of the lines that tell of a decision, up to the first reset."""
    found = []
    for line in lines:
        if found and line.startswith("rst:"):
            break
        match = STAMP.match(line)
        if match and SPOKEN.search(match[3]):
            found.append((match[1], match[3]))
    return found


INFO_LOGS = [row for row in CASES if any("Loaded app" in line for line in row["log"])]


@pytest.mark.parametrize("bootloader", sorted({row["bootloader"] for row in INFO_LOGS}))
def test_the_steps_are_the_lines_that_real_bootloaders_log(bootloader):
    differing = []
    cases = [row for row in INFO_LOGS if row["bootloader"] == bootloader]
    for row in cases:
        chip = row["chip"]
        flash = Flash(row)
        decision = decide(
            flash.read, row["rollback_enabled"], CHIPS[chip], revision=REVISIONS[chip]
        )
        ours = [
            (step.level, step.text)
            for step in decision.steps
            if isinstance(step, Log) and SPOKEN.search(step.text)
        ]
        if spoken(row["log"]) != ours:
            differing.append((row["id"], spoken(row["log"]), ours))
    assert differing == []


def flash_with(image: bytes) -> Flash:
    row = next(row for row in CASES if row["case"] == "one_slot" and row["chip"] == "esp32")
    flash = Flash(row)
    slot = flash.table.ota_slots[0]
    flash.put(slot.offset, b"\xff" * slot.size)
    flash.put(slot.offset, image)
    return flash


def problem(image: bytes, *, revision: int | None = 300, idf: str | None = None):
    flash = flash_with(image)
    return check_image(flash.read, flash.table.ota_slots[0], "esp32", revision, idf)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("bad_magic", "bad_magic"),
        ("empty", "bad_magic"),
        ("held_back_16", "bad_magic"),
        ("min_rev_too_high", "chip_revision"),
        ("zero_segments", "checksum"),
        ("bad_checksum", "checksum"),
        ("bad_hash", "image_hash"),
        ("truncated_no_hash", "image_hash"),
        ("truncated_half", "segments"),
    ],
)
def test_each_damage_is_named_by_the_check_that_finds_it(damage, what):
    image = app("esp32", 0)
    found = problem(DAMAGES[damage](image))
    assert found is not None
    # half an image: FF is read on, as a checksum if all headers are in the half that is there
    assert found.what == what or (damage == "truncated_half" and found.what == "checksum")


@pytest.mark.parametrize(
    ("place", "value", "size", "what", "words"),
    [
        (12, 9, 2, "chip_id", "mismatch chip ID, expected 0, found 9"),
        (17, 299, 2, "chip_revision", "failed. Required <= v2.99, found v3.0."),
        (15, 301, 2, "chip_revision", "failed. Required >= v3.1, found v3.0."),
        (15, 65535, 2, "chip_revision", "Required >= v655.35"),
        (1, 17, 1, "segments", "segment count 17 exceeds max 16"),
        (28, 32 << 20, 4, "segments", "invalid segment length 0x2000000"),
        (28, 258, 4, "segments", "invalid segment length 0x102"),
        (24, 0x60000000, 4, "segments", "0x60000000-0x60001870 invalid: bad load address range"),
        (24, 0x3F400024, 4, "segments", "load address 0x3f400024, doesn't match data"),
    ],
)
def test_each_header_field_is_checked(place, value, size, what, words):
    found = problem(with_word(app("esp32", 0), place, value, size))
    assert found is not None
    assert found.what == what
    assert words in found.text


def test_the_maximal_revision_of_any_chip_asks_for_nothing():
    assert problem(mend(with_word(app("esp32", 0), 17, 65535, 2))) is None
    assert problem(mend(with_word(app("esp32", 0), 17, 0, 2))) is None


def test_an_image_that_is_longer_than_its_partition_does_not_fit():
    flash = flash_with(app("esp32", 0))
    slot = flash.table.ota_slots[0]
    small = type(slot)(slot.label, slot.type, slot.subtype, slot.offset, 4096)
    found = check_image(flash.read, small, "esp32")
    assert found is not None
    assert found.what == "too_long"
    assert "doesn't fit in partition length 4096" in found.text


def test_a_segment_beyond_the_chip_is_a_failed_read():
    found = problem(with_word(app("esp32", 0), 28, 8 << 20, 4))
    assert found is not None
    assert found.what == "flash_read"


def test_a_small_otadata_partition_starts_nothing():
    row = next(row for row in CASES if row["case"] == "erased")
    row = {**row, "layout": {**row["layout"], "otadata": [1, 0, 0xD000, 0x1000]}}
    decision = decide(Flash(row).read, True, CHIPS[row["chip"]])
    assert decision.loaded is None
    assert "ota_info partition size 4096 is too small" in decision.steps[-1].text


def test_a_table_that_the_bootloader_refuses_is_refused_in_its_words():
    flash = flash_with(app("esp32", 0))
    flash.data[TABLE_OFFSET + 4] ^= 1
    with pytest.raises(FirmwareError, match="Incorrect MD5 checksum"):
        decide(flash.read, True, CHIPS["esp32"])


@pytest.mark.parametrize(
    ("entries", "label"),
    [
        ((Entry(1), Entry(2)), "app1"),
        ((Entry(1), Entry(2, State.NEW)), "app0"),
        ((Entry(1), Entry(2, State.PENDING_VERIFY)), "app1"),
        ((Entry(1), Entry(2, State.ABORTED)), "app0"),
        ((Entry(3, State.UNDEFINED), Entry(2, State.UNDEFINED)), "app0"),
        ((Entry(1), Entry(2, wrong_crc=0)), "app0"),
        ((Entry(ERASED, ERASED), Entry(ERASED, ERASED)), None),
        ((Entry(1, State.NEW), Entry(ERASED, ERASED)), None),
    ],
)
def test_the_running_slot_is_the_newest_that_was_started(entries, label):
    slot = last_booted(entries, SLOTS)
    assert (slot.label if slot else None) == label
