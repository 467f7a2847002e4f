"""All that the recorder of real logs noted is read out of them by our table."""

from __future__ import annotations

import random
import re

import pytest
from transcripts import DISAGREEMENTS, NAMES, OUTCOMES, facts, observed, pieces, raw, read

from pytest_blynk_ota.board.log import Entry, LogReader
from pytest_blynk_ota.board.patterns import marks

each = pytest.mark.parametrize("name", NAMES)


def test_there_are_transcripts():
    assert len(NAMES) == 66


@each
def test_every_reset_is_seen(name):
    seen = [
        (start.code, start.reset["cause"], start.reset["boot"], start.reset["download"])
        for start in read(name).starts
    ]
    assert seen == [
        (one["code"], one["text"], int(one["boot"], 16), "FLASH_BOOT" not in one["boot_text"])
        for one in observed(name, "resets")
    ]


@each
def test_every_slot_that_was_loaded_is_seen(name):
    offsets = [data["offset"] for data in read(name).of("slot")]
    assert offsets == [int(offset, 16) for offset in observed(name, "loaded_offsets")]


@each
def test_every_version_that_an_application_names_is_seen(name):
    assert read(name).app("version") == observed(name, "app_versions_seen")
    assert read(name).versions == observed(name, "micropython_versions_seen")


@each
def test_every_elf_hash_is_seen_and_a_crash_has_its_own(name):
    seen = read(name)
    assert seen.app("elf_sha256") == observed(name, "elf_sha256_seen")
    for crash in seen.of("crash")[:-1]:  # the last one may be cut by the transcript's end
        assert crash["elf_sha256"] in observed(name, "elf_sha256_seen")


@each
def test_every_panic_is_one_crash_in_its_own_words(name):
    crashes = read(name).of("crash")
    assert [crash["text"] for crash in crashes] == observed(name, "guru")
    for crash, words in zip(crashes, observed(name, "guru"), strict=True):
        core, kind = re.match(r".*Core +(\d) panic'ed \((.*)\)\.", words).groups()
        assert (crash["core"], crash["kind"]) == (int(core), kind)


@each
def test_every_line_that_the_bootloader_calls_an_error_is_one(name):
    for line in observed(name, "error_lines"):
        kinds = [mark.kind for mark in marks(line)]
        assert kinds == ([] if "core_dump" in line else ["boot_error"]), line


@each
def test_the_log_reads_as_its_outcome_says(name):
    said = facts(name)
    OUTCOMES[said["outcome"]](read(name), said)


def test_every_check_of_an_outcome_is_used():
    assert {facts(name)["outcome"] for name in NAMES} == set(OUTCOMES)


def test_a_log_that_its_recorder_read_wrong_is_still_read_wrong_there():
    """If a JSON file is mended, its row among the disagreements goes."""
    for (name, key), (log, _) in DISAGREEMENTS.items():
        assert facts(name)["observed"][key] != log


def entries_of(name: str, sizes: list[int]) -> list[Entry]:
    reader, found = LogReader(), []
    for piece in pieces(raw(name), sizes):
        found += reader.feed(piece)
    return found + reader.flush()


@each
def test_the_pieces_that_a_log_comes_in_do_not_matter(name):
    dice = random.Random(name)
    sizes = [dice.choice((1, 2, 3, 16, 64, 400)) for _ in range(50)]
    assert entries_of(name, sizes) == entries_of(name, [1 << 20])


PLACES = {
    # Where each panic happened, and where it was called from: read by eye.
    "esp32_panic_loadprohibited_120": ("0x400e63fe", "0x400e63fb", "0x400d5e6c", 9),
    "esp32_panic_loadprohibited_126": ("0x401344b6", "0x401344b3", "0x400f37a4", 9),
    "esp32c3_panic_store_access_fault": ("0x42052976", "0x42052976", "0x42052968", 2),
    "esp32c3_panic_app": ("0x42005440", "0x42005440", "0x42005440", 2),
    "esp32_poweron_idf-hello-6.1dev-coredump-flash-esp32": (
        "0x400d5614", "0x400d5611", "0x400daf71", 3),
    # The first frames were lost, with the word before them.
    "esp32_unity_menu": ("0x400d5acc", "0x400d59f7", "0x400dada1", 3),
    "esp32c3_unity_menu": ("0x42008218", "0x42008218", "0x42008216", 2),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_a_panic_has_its_place_and_its_backtrace(name):
    pc, first, last, frames = PLACES[name]
    for crash in read(name).of("crash"):
        trace = crash["backtrace"]
        assert (crash["pc"], trace[0], trace[-1], len(trace)) == (pc, first, last, frames)


def test_a_backtrace_that_lost_its_beginning_says_so():
    (crash,) = read("esp32_unity_menu").of("crash")
    assert crash["torn"]


def test_every_transcript_with_a_panic_has_its_place_checked():
    assert {name for name in NAMES if observed(name, "guru")} == set(PLACES)
