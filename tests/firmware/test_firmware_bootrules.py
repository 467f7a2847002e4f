"""The boot rules decide as real bootloaders do, and say it in their words."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from bootloader_oracle import (
    DAMAGES,
    FLASH_BYTES,
    REVISIONS,
    Flash,
    app,
    rows,
    small_flash,
    with_word,
)

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.bootrules import Log, Rule, check_image, decide, last_booted
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import build_image, mend, parse
from pytest_blynk_ota.firmware.otadata import ERASED, Entry, State
from pytest_blynk_ota.firmware.partitions import (
    DEFAULT_TABLE,
    TABLE_OFFSET,
    Partition,
    PartitionTable,
)

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


IDF = {
    "micropython-1.26.1-esp32": "v5.4.2",
    "arduino-hello-idf5.5.4-esp32": "v5.5.4",
    "micropython-1.24.1-esp32c3": "v5.2.2",
    "idf-hello-5.0.1-esp32": "v5.0.1-751-g96c4ec8df2",
    "idf-hello-6.1dev-coredump-uart-esp32": "v6.1-dev",
    "idf-hello-6.0dev-esp32c3": "v6.0-dev",
}
DEPENDS_ON_CONTENT = "truncated_half"
"""Where half an image ends, and so what is found behind it, differs from image to image."""


def complaints(lines) -> list[str]:
    """What is said of images, without numbers."""
    return [
        re.sub(r"0x[0-9a-f]+|\d+", "#", text)
        for level, tag, text in lines
        if level == "E" and tag in ("esp_image", "boot_comm")
    ]


def recorded(lines):
    """Level, tag and text of the lines up to the first reset."""
    for number, line in enumerate(lines):
        if number and line.startswith("rst:"):
            return
        match = STAMP.match(line)
        if match:
            yield match.groups()


@pytest.mark.parametrize("bootloader", sorted(IDF))
def test_images_are_refused_in_the_words_of_the_bootloader_of_that_age(bootloader):
    differing, compared = [], 0
    for row in CASES:
        if row["bootloader"] != bootloader or DEPENDS_ON_CONTENT in row["slots"]:
            continue
        chip, flash = row["chip"], Flash(row)
        rules = {"revision": REVISIONS[chip], "idf": IDF[bootloader]}
        steps = decide(flash.read, row["rollback_enabled"], CHIPS[chip], **rules).steps
        ours = complaints((s.level, s.tag, s.text) for s in steps if isinstance(s, Log))
        theirs = complaints(recorded(row["log"]))
        compared += len(theirs)
        if theirs != ours:
            differing.append((row["id"], theirs, ours))
    assert differing == []
    assert compared > 0


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
        (24, 0x3FFFFFF0, 4, "segments", "0x3ffffff0-0x40001860 invalid: bad load address range"),
        (24, 0x3FFE8000, 4, "segments", "0x3ffe8000-0x3ffe9870 invalid: bad load address range"),
        (24, 0x3FFDF000, 4, "segments", "0x3ffdf000-0x3ffe0870 invalid: bad load address range"),
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


@pytest.mark.parametrize(("size", "rule"), [(0x320000, Rule.SLOT_0), (0x321000, None)])
def test_an_otadata_partition_that_cannot_be_mapped_starts_nothing(size, rule):
    row = next(row for row in CASES if row["case"] == "erased" and row["chip"] == "esp32")
    row = {**row, "layout": {**row["layout"], "otadata": [1, 0, 0xD000, size]}}
    decision = decide(Flash(row).read, True, CHIPS["esp32"])
    assert decision.rule == (rule or Rule.OTADATA_UNREADABLE)
    assert (decision.loaded is None) == (rule is None)


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


@pytest.mark.parametrize(
    ("idf", "words"),
    [
        ("v4.4.4", None),
        ("v4.4.5", "Image requires chip rev >= v3.1, but chip is v3.0"),
        ("v5.0", None),
        ("v5.4.2", "Image requires chip rev >= v3.1, but chip is v3.0"),
        ("v5.5.1-10-gabcdef", "chip revision check failed. Required >= v3.1, found v3.0."),
        ("5.5", "chip revision check failed. Required >= v3.1, found v3.0."),
    ],
)
def test_a_minimal_revision_is_asked_for_as_the_bootloader_is_old(idf, words):
    found = problem(mend(with_word(app("esp32", 0), 15, 301, 2)), idf=idf)
    assert (found.text if found else None) == words


def test_the_oldest_bootloaders_look_at_one_byte_of_revision():
    image = mend(with_word(app("esp32", 0), 14, 4, 1))
    found = problem(image, idf="v4.4")
    assert found is not None
    assert found.text.startswith("This chip is revision 3 but the application is configured for")
    assert problem(image) is None


def test_of_a_chip_of_unknown_revision_only_the_impossible_is_refused():
    assert problem(mend(with_word(app("esp32", 0), 15, 399, 2)), revision=None) is None
    found = problem(mend(with_word(app("esp32", 0), 15, 400, 2)), revision=None)
    assert found is not None
    assert "Required >= v4.0, found v?" in found.text


def test_a_short_first_segment_is_refused_by_the_newest_bootloaders_alone():
    first, *rest = segments = parse(app("esp32", 0)).segments
    short = build_image(CHIPS["esp32"], [replace(first, data=first.data[:64]), *rest], 0x40080000)
    assert len(segments) == 3
    assert problem(short) is None
    found = problem(short, idf="v6.2-dev")
    assert found is not None
    assert found.text == "Segment 0: length 0x40 is too short for app description"


@pytest.mark.parametrize(("idf", "what"), [("v5.4", "chip_revision"), ("v5.3.1", None)])
def test_the_efuse_block_revision_is_asked_for_on_newer_chips(idf, what):
    least_at = 32 + 176
    flash = small_flash(
        (b"\xff" * 32,) * 2, (mend(with_word(app("esp32c3", 0), least_at, 200, 2)),)
    )
    decision = decide(flash.read, True, CHIPS["esp32c3"], block_revision=103, idf=idf)
    assert [problem.what for _, problem in decision.rejected] == ([what] if what else [])
    assert decide(flash.read, True, CHIPS["esp32c3"], idf=idf).loaded is not None


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_the_efuse_block_is_no_matter_for_good_images_and_the_esp32(chip):
    image = app(chip, 0) if chip != "esp32" else mend(with_word(app(chip, 0), 32 + 176, 200, 2))
    flash = small_flash((b"\xff" * 32,) * 2, (image,))
    decision = decide(flash.read, True, CHIPS[chip], block_revision=103, idf="v5.4")
    assert decision.loaded is not None


def test_the_efuse_block_revision_is_looked_for_behind_a_first_segment_that_is_too_short():
    first, second, *rest = parse(app("esp32c3", 0)).segments
    asks = with_word(second.data, 176 - 4 - 8, 200, 2)
    short = [replace(first, data=first.data[:4]), replace(second, data=asks), *rest]
    image = build_image(CHIPS["esp32c3"], short, 0x40380000)
    flash = small_flash((b"\xff" * 32,) * 2, (image,))
    decision = decide(flash.read, True, CHIPS["esp32c3"], block_revision=103, idf="v5.4")
    assert [problem.what for _, problem in decision.rejected] == ["chip_revision"]


def test_the_end_of_the_esp32s_dram_is_loaded_to():
    assert problem(mend(with_word(app("esp32", 0), 24, 0x3FFF8000, 4))) is None


def test_a_hash_is_looked_at_for_any_value_of_its_flag():
    image = with_word(app("esp32", 0), 23, 2, 1)
    found = problem(image)
    assert found is not None
    assert found.what == "image_hash"
    assert problem(with_word(image, 23, 0, 1)) is None


def test_entries_that_are_torn_without_being_given_up_are_not_written_over():
    torn = (Entry(1, wrong_crc=1).build(), Entry(2, wrong_crc=1).build())
    flash = small_flash(torn, (app("esp32", 0), app("esp32", 1)))
    decision = decide(flash.read, True, CHIPS["esp32"])
    assert (decision.rule, decision.loaded.label) == (Rule.NO_ENTRY, "app0")
    assert decision.writes == ()


TEST_APP = Partition("test", 0, 0x20, 0x30000, 0x10000)


def test_the_test_application_is_the_last_resort():
    blank = (b"\xff" * 32, b"\xff" * 32)
    flash = small_flash(blank, (b"",), (TEST_APP, app("esp32", 7)))
    decision = decide(flash.read, True, CHIPS["esp32"])
    assert (decision.loaded, decision.writes) == (TEST_APP, ())
    assert decision.steps[-1] == Log(
        "W", "boot", "Falling back to test app as only bootable partition"
    )


def test_a_row_that_stands_twice_counts_twice():
    again = Partition("again", 0, 0x11, 0x30000, 0x10000)
    images = (app("esp32", 0), b"")
    flash = small_flash((Entry(3).build(), b"\xff" * 32), images, (again, app("esp32", 1)))
    decision = decide(flash.read, True, CHIPS["esp32"])
    # number 3 of 3 is slot 2, which is not there; below it the row counts that came last
    assert decision.loaded == again


def test_partitions_at_address_0_are_not_there():
    factory = Partition("factory", 0, 0, 0, 0x1000)
    blank = (b"\xff" * 32, b"\xff" * 32)
    flash = small_flash(blank, (app("esp32", 0),), (factory, b""))
    assert decide(flash.read, True, CHIPS["esp32"]).rule is Rule.SLOT_0
    flash.table = PartitionTable((Partition("otadata", 1, 0, 0, 0x1000), *flash.table.ota_slots))
    decision = decide(flash.read, True, CHIPS["esp32"], table=flash.table)
    assert (decision.rule, decision.loaded.label) == (Rule.NO_OTADATA, "app0")


def test_a_gap_between_the_slots_hides_the_last_one():
    row = Partition("ota_2", 0, 0x12, 0x30000, 0x10000)
    flash = small_flash((Entry(2).build(), b"\xff" * 32), (b"",), (row, app("esp32", 1)))
    assert decide(flash.read, True, CHIPS["esp32"]).loaded is None


def test_a_partition_without_bytes_is_passed_over_without_a_word():
    row = Partition("none", 0, 0, 0x30000, 0)
    flash = small_flash((b"\xff" * 32,) * 2, (app("esp32", 1),), (row, b""))
    decision = decide(flash.read, True, CHIPS["esp32"])
    assert (decision.rule, decision.loaded.label) == (Rule.FACTORY, "app0")
    assert decision.rejected == ()
    assert not any("not bootable" in step.text for step in decision.steps if isinstance(step, Log))


def test_a_segment_for_a_low_address_is_neither_loaded_nor_mapped():
    flash = flash_with(mend(with_word(app("esp32", 0), 24, 4, 4)))
    decision = decide(flash.read, True, CHIPS["esp32"])
    assert decision.loaded is not None
    assert decision.steps[1].text == "segment 0: paddr=00100020 vaddr=00000004 size=01870h (  6256)"


def test_a_partition_of_more_than_16_mb_is_not_looked_at():
    huge = Partition("huge", 0, 0, 0x10000, 17 << 20)
    found = check_image(lambda offset, length: b"", huge, "esp32")
    assert found is not None
    assert found.text == "partition size 0x1100000 invalid, larger than 16MB"


def test_a_caller_can_remember_what_it_found_of_images():
    asked = []

    def look(partition):
        asked.append(partition.label)
        return (), None

    flash = small_flash((Entry(2).build(), b"\xff" * 32), (b"", b""))
    assert decide(flash.read, True, CHIPS["esp32"], look=look).loaded.label == "app1"
    assert asked == ["app1"]
