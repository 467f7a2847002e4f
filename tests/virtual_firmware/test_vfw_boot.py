"""Which image a boot starts, what that leaves in otadata, and what the log says."""

from __future__ import annotations

import re

import pytest
from vfw_bench import APP0, APP1, Bench, entry, story
from vfw_peer import real_lines

from pytest_blynk_ota.firmware.derive import bad_checksum, bad_hash, crash_at_start, wrong_chip
from pytest_blynk_ota.firmware.otadata import State
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, Partition, PartitionTable

BLANK = None


def started(bench: Bench) -> int:
    found = re.findall(r"Loaded app from partition at offset 0x([0-9a-f]+)", bench.text)
    return int(found[-1], 16)


@pytest.mark.parametrize(
    ("before", "rollback", "slot", "after"),
    [
        ((BLANK, BLANK), True, APP0, (entry(1, State.VALID), BLANK)),
        ((entry(1), BLANK), True, APP0, (entry(1), BLANK)),
        ((entry(1), entry(2)), True, APP1, (entry(1), entry(2))),
        (
            (entry(1), entry(2, State.NEW)),
            True,
            APP1,
            (entry(1), entry(2, State.PENDING_VERIFY)),
        ),
        (
            (entry(1), entry(2, State.PENDING_VERIFY)),
            True,
            APP0,
            (entry(1), entry(2, State.ABORTED)),
        ),
        ((entry(1), entry(2, State.NEW)), False, APP1, (entry(1), entry(2, State.NEW))),
        (
            (entry(1), entry(2, State.PENDING_VERIFY)),
            False,
            APP1,
            (entry(1), entry(2, State.PENDING_VERIFY)),
        ),
        ((entry(1), entry(2, State.INVALID)), True, APP0, (entry(1), entry(2, State.INVALID))),
        ((entry(3), entry(2)), True, APP0, (entry(3), entry(2))),
    ],
)
def test_otadata_decides_and_is_rewritten_as_the_rules_say(before, rollback, slot, after):
    with Bench(rollback=rollback, confirm="never") as bench:
        bench.put(APP1, bench.app("2.0.0", confirm="never"))
        bench.otadata(*before)
        story(bench.until("Connecting to WiFi"))
        assert started(bench) == slot
        assert bench.entries() == after


def test_a_bad_slot_is_passed_over_and_the_log_says_why():
    with Bench() as bench:
        bench.put(APP1, bad_hash(bench.app("2.0.0")))
        bench.otadata(entry(1), entry(2))
        story(bench.until("Connecting to WiFi"))
        assert started(bench) == APP0
        assert "Image hash failed - image is corrupt" in bench.text
        assert "OTA app partition slot 1 is not bootable" in bench.text


def test_nothing_bootable_resets_as_a_real_bootloader_does():
    with Bench() as bench:
        bench.put(APP0, bad_checksum(bench.app("1.0.0")))
        bench.put(APP1, wrong_chip(bench.app("2.0.0")))
        assert story(bench.boot()) == 0x3
        assert re.search(r"Checksum failed\. Calculated 0x\w+ read 0x\w+", bench.text)
        assert "mismatch chip ID" in bench.text
        assert "No bootable app partitions in the partition table" in bench.text


@pytest.mark.parametrize(("chip", "cause"), [("esp32", 0x10), ("esp32c3", 0x7)])
def test_without_a_bootloader_only_the_rom_speaks(chip, cause):
    with Bench(chip) as bench:
        bench.erase_bootloader()
        assert story(bench.boot()) == cause
        assert "invalid header: 0xffffffff\ninvalid header: 0xffffffff" in bench.text
        assert "entry 0x" not in bench.text


@pytest.mark.parametrize(("chip", "cause"), [("esp32", 0x10), ("esp32c3", 0x7)])
def test_a_bootloader_with_a_flipped_bit_is_not_entered(chip, cause):
    with Bench(chip) as bench:
        bench.flip_bootloader_bit()
        assert story(bench.boot()) == cause
        assert re.search(r"csum err:|Checksum failure\.", bench.text)
        assert "entry 0x" not in bench.text


def test_a_damaged_partition_table_is_refused_in_the_words_of_a_real_bootloader():
    with Bench("esp32") as bench:
        bench.damage_table()
        assert story(bench.boot()) == 0x3
        ours = between(bench.machine.lines, "2nd stage", "load partition table error!")
        real = real_lines("esp32_partition_table_bad_md5")
        assert shape(ours) == shape(between(real, "2nd stage", "load partition table error!"))


@pytest.mark.parametrize(
    ("idf", "words"),
    [
        ("v5.1.4", "No bootable app partitions in the partition table"),
        ("v6.0-dev-2079-g3655d4cdca", "partition 0 invalid magic number 0xffff"),
    ],
)
def test_an_erased_partition_table_is_one_without_rows_or_none_by_the_age_of_the_bootloader(
    idf, words
):
    with Bench(idf=idf) as bench:
        bench.erase_table()
        assert story(bench.boot()) == 0x3
        assert words in bench.text


def test_a_quiet_board_prints_the_rom_banner_and_its_own_lines_only():
    with Bench(log="quiet") as bench:
        story(bench.until("Connecting to WiFi"))
        after = bench.text.split("entry 0x", 1)[1].split("\n")[1:]
        assert re.match(r"\[\d+\] $", after[0])  # the banner of the Blynk library
        assert "I (" not in bench.text


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_an_info_board_names_slot_version_and_hash(chip):
    with Bench(chip, idf="v5.3.2") as bench:
        story(bench.until("Connecting to WiFi"))
        assert re.search(r"app_init: App version: +1\.0\.0", bench.text)
        assert re.search(r"app_init: ELF file SHA256: +[0-9a-f]{9}\.\.\.", bench.text)
        assert "Firmware:  1.0.0 (build " in bench.text


@pytest.mark.parametrize(
    ("chip", "words"), [("esp32", "IllegalInstruction"), ("esp32c3", "Illegal instruction")]
)
def test_an_image_that_begins_with_no_instruction_panics_and_is_rolled_back(chip, words):
    with Bench(chip) as bench:
        bench.put(APP1, crash_at_start(bench.app("2.0.0")))
        bench.otadata(entry(1), entry(2, State.NEW))
        assert story(bench.boot()) == 0xC
        assert f"Guru Meditation Error: Core  0 panic'ed ({words})" in bench.text
        assert "app_init" not in bench.text
        story(bench.until("Connecting to WiFi", cause=0xC))
        assert started(bench) == APP0
        assert bench.entries()[1] == entry(2, State.ABORTED)


def test_an_image_without_a_behaviour_stays_up_and_says_that_it_cannot_be_run():
    with Bench() as bench:
        bench.put(APP0, bench.stranger())
        bench.otadata(entry(1), BLANK)
        story(bench.until("its code cannot be run here"))
        assert started(bench) == APP0


def test_a_foreign_bootloader_rolls_back_only_if_the_rig_says_so():
    for rollback, state in ((None, State.NEW), (False, State.NEW), (True, State.PENDING_VERIFY)):
        with Bench(confirm="never") as bench:
            bench.put(APP1, bench.app("2.0.0", confirm="never"))
            bench.foreign_bootloader()
            bench.machine.foreign_rollback = rollback
            bench.otadata(entry(1), entry(2, State.NEW))
            story(bench.until("Connecting to WiFi"))
            assert bench.entries()[1] == entry(2, state)


def shape(lines):
    """Tag and first words of each log line of the bootloader, repeats removed."""
    kinds = []
    for line in lines:
        found = re.match(r"([EIW]) \(\d+\) ([\w.]+): +(\S+(?: [A-Za-z]+)?)", line)
        if found is None:
            continue
        level, tag, words = found.groups()
        words = "ROW" if words.split()[0].isdecimal() else words
        words = "segment" if words.startswith("segment") else words
        if not kinds or kinds[-1] != (level, tag, words):
            kinds.append((level, tag, words))
    return kinds


def between(lines, first, last):
    start = next(n for n, line in enumerate(lines) if first in line)
    stop = next(n for n, line in enumerate(lines) if last in line and n > start)
    return lines[start : stop + 1]


@pytest.mark.parametrize(
    ("chip", "real", "damage"),
    [
        ("esp32", "esp32_slot1_bad_hash", bad_hash),
        ("esp32c3", "esp32c3_slot1_wrong_chip", wrong_chip),
    ],
)
def test_the_bootloaders_log_has_the_lines_of_a_real_one(chip, real, damage):
    with Bench(chip) as bench:
        bench.put(APP1, damage(bench.app("2.0.0")))
        bench.otadata(entry(1), entry(2))
        story(bench.until("Connecting to WiFi"))
        ours = between(bench.machine.lines, "2nd stage", "Disabling RNG")
        theirs = between(real_lines(real), "2nd stage", "Disabling RNG")
        wanted = [one for one in shape(theirs) if "efuse" not in one[2]]
        assert shape(ours) == wanted


def test_what_a_board_cannot_do_is_complained_of_to_the_rack():
    with Bench() as bench:
        bench.put(APP0, bench.stranger())
        story(bench.until("its code cannot be run here"))
        (complaint,) = bench.machine.complaints
        assert complaint == "the image bench 7.7.7 does not run here: it has no behaviour segment"


def test_a_malformed_behaviour_is_named_on_the_board_and_to_the_rack():
    with Bench() as bench:
        bench.put(APP0, bench.malformed())
        story(bench.until("virtual board: behaviour segment: no JSON"))
        (complaint,) = bench.machine.complaints
        assert complaint.startswith(
            "the image bench 1.0.0 does not run here: behaviour segment: no"
        )


def test_a_bootloader_with_a_malformed_behaviour_starts_and_is_complained_of():
    with Bench() as bench:
        bench.malformed_bootloader()
        story(bench.until("Connecting to WiFi"))
        (complaint,) = bench.machine.complaints
        assert complaint.startswith("its bootloader's behaviour segment: no JSON")
        assert complaint.endswith("taken for one that does not roll back")


def test_a_partition_table_beyond_the_flash_is_refused_and_complained_of():
    rows = (*DEFAULT_TABLE.rows, Partition("more", 1, 0x81, 0x400000, 0x10000))
    with Bench() as bench:
        bench.table(PartitionTable(rows))
        assert story(bench.boot()) == 0x3
        words = "offset 0x400000 size 0x10000 exceeds flash chip size 0x400000"
        assert words in bench.text
        assert words in bench.machine.complaints[0]


@pytest.mark.parametrize(
    ("chip", "words", "cause"),
    [
        ("esp32", [], 0x10),
        ("esp32c3", ["Invalid image block, can't boot.", "ets_main.c 333 "], 0x7),
        ("esp32s3", ["Invalid image block, can't boot.", "ets_main.c 329 "], 0x7),
    ],
)
def test_a_bootloader_that_is_cut_is_not_entered(chip, words, cause):
    with Bench(chip) as bench:
        bench.cut_bootloader()
        assert story(bench.boot()) == cause
        assert "entry 0x" not in bench.text
        assert bench.text.endswith("".join(f"{word}\n" for word in words))


@pytest.mark.parametrize(
    ("chip", "looks"), [("esp32", False), ("esp32c3", True), ("esp32s3", True)]
)
def test_a_bootloader_with_a_wrong_hash_is_entered_nevertheless(chip, looks):
    with Bench(chip) as bench:
        bench.put(APP0, bench.stranger())
        bench.flip_bootloader_hash()
        story(bench.until("its code cannot be run here"))
        assert ("SHA-256 comparison failed:\nCalculated: " in bench.text) is looks


def test_an_application_in_the_bootloaders_place_is_entered_and_bitten_by_the_watchdog():
    with Bench() as bench:
        bench.app_as_bootloader()
        assert story(bench.boot()) == 0x7
        assert bench.machine.lines[-2].startswith("entry 0x")


def test_a_bootloader_with_anti_rollback_refuses_what_is_older_and_burns_what_is_confirmed():
    with Bench() as bench:
        bench.secure_bootloader()
        bench.put(APP0, bench.app("1.0.0", secure_version=2))
        bench.put(APP1, bench.app("2.0.0", secure_version=1))

        async def watch():
            bench.otadata(entry(1), BLANK)
            await bench.until("Calling app_main")
            bench.otadata(entry(1), entry(2))
            await bench.until("Calling app_main")

        story(watch())
        assert bench.machine.efuses.secure_version == 2
        assert started(bench) == APP0
