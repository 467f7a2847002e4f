"""Transcripts of real ROMs, bootloaders and applications, and what their recorder noted.

The JSON file beside each log is the truth here: what was done, what came of it (``outcome``), and
what its recorder saw in the bytes (``observed``). Nothing in this file was read off our own table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pytest_blynk_ota.board.log import Line, LogReader
from pytest_blynk_ota.board.rows import Data, Mark

DATA = Path(__file__).parent.parent / "data" / "serial"
NAMES = sorted(path.stem for path in DATA.glob("*.log"))

DISAGREEMENTS: Mapping[tuple[str, str], tuple[list[str], str]] = {
    ("esp32_otadata_erased_no_factory", "app_versions_seen"): (
        [],
        "the UART lost bytes when its clock changed: the version runs into the ELF hash of the "
        "line after the next; the recorder took `qa-test-v5.0.7562ee9c224bd53...` for a version",
    ),
    ("esp32c3_panic_app", "elf_sha256_seen"): (
        ["a511d501e", "a511d501e", "a511d501e"],
        "the transcript ends in the middle of a hash; the recorder took the three letters `a51`",
    ),
}
"""Where JSON and log disagree: what stands in the log, and why the JSON says otherwise."""


def raw(name: str) -> bytes:
    """The bytes of a transcript."""
    return (DATA / f"{name}.log").read_bytes()


@cache
def facts(name: str) -> dict[str, Any]:
    """What the recorder noted."""
    return json.loads((DATA / f"{name}.json").read_text())


def observed(name: str, key: str) -> list[Any]:
    """One list of what it saw in the bytes, where the log does not say otherwise."""
    if (name, key) in DISAGREEMENTS:
        return DISAGREEMENTS[name, key][0]
    return facts(name)["observed"].get(key, [])


@dataclass
class Start:
    """From one reset to the next, by the marks of our table."""

    reset: Data
    marks: list[Mark] = field(default_factory=list)

    def of(self, kind: str) -> list[Data]:
        """The data of its marks of one kind."""
        return [mark.data for mark in self.marks if mark.kind == kind]

    @property
    def code(self) -> int:
        return self.reset["code"]

    @property
    def errors(self) -> list[str]:
        return [data["what"] for data in self.of("boot_error")]

    @property
    def slots(self) -> list[int]:
        return [data["offset"] for data in self.of("slot")]

    @property
    def versions(self) -> list[str]:
        """Of MicroPython."""
        return [data["version"] for data in self.of("firmware") if data["what"] == "version"]

    @property
    def runs(self) -> bool:
        """Whether an application spoke."""
        return bool(self.of("app") or self.versions)


@dataclass
class Transcript:
    """A log as our table reads it."""

    lines: list[str]
    marks: list[Mark]
    starts: list[Start]

    def of(self, kind: str) -> list[Data]:
        return [mark.data for mark in self.marks if mark.kind == kind]

    def app(self, name: str) -> list[str]:
        """The values of one field of the application's own description."""
        return [data["value"] for data in self.of("app") if data["field"] == name]

    @property
    def versions(self) -> list[str]:
        return [version for start in self.starts for version in start.versions]


@cache
def read(name: str) -> Transcript:
    """A transcript, read whole."""
    reader = LogReader()
    entries = reader.feed(raw(name)) + reader.flush()
    lines = [entry.text for entry in entries if isinstance(entry, Line)]
    marks = [entry.mark for entry in entries if not isinstance(entry, Line)]
    starts: list[Start] = []
    for mark in marks:
        if mark.kind == "reset":
            starts.append(Start(mark.data))
        elif starts:
            starts[-1].marks.append(mark)
    return Transcript(lines, marks, starts)


# ---- what each outcome says

SOFTWARE, SYSTEM, TIMER_0, TIMER_1 = 0xC, 0x3, 0x7, 0x8


def nothing_boots(seen: Transcript, said: Mapping[str, Any]) -> None:
    assert len(seen.starts) > 1
    for start in seen.starts:
        assert not start.slots
        assert not start.runs
    for start in seen.starts[:-1]:
        assert start.errors[-1] == "no_bootable_app"
    for start in seen.starts[1:]:
        assert start.code in (SYSTEM, SOFTWARE)


def no_bootloader(seen: Transcript, said: Mapping[str, Any]) -> None:
    assert not seen.of("slot")
    assert not seen.of("boot")[1:]  # the ROM's name at most
    assert set(seen.starts[0].errors) == {"invalid_header"}


def bad_bootloader(seen: Transcript, said: Mapping[str, Any]) -> None:
    assert seen.starts[0].errors[0] == "bootloader_checksum"
    assert set(seen.starts[0].errors) <= {"bootloader_checksum", "rom_gives_up"}
    assert not seen.of("slot")


def no_table(seen: Transcript, said: Mapping[str, Any]) -> None:
    assert len(seen.starts) > 1
    assert all("no_table" in start.errors for start in seen.starts[:-1])
    assert not seen.of("slot")


def factory_loaded(seen: Transcript, said: Mapping[str, Any]) -> None:
    (start,) = seen.starts
    assert start.slots == [0x10000]
    assert start.runs


def factory_after_both(seen: Transcript, said: Mapping[str, Any]) -> None:
    factory_loaded(seen, said)
    assert seen.starts[0].errors.count("slot_not_bootable") == 2


def slot_1_refused(seen: Transcript, said: Mapping[str, Any]) -> None:
    (start,) = seen.starts
    refused = [row["text"] for row in start.of("boot_error") if row["what"] == "slot_not_bootable"]
    assert len(refused) == 1
    assert "slot 1" in refused[0]
    assert start.slots == [0x10000]
    assert not [row for row in start.of("boot") if row["what"] == "otadata_set"]
    assert [entry["seq"] for entry in said["otadata_after"]] == [1, 2]


def wrong_chip(seen: Transcript, said: Mapping[str, Any]) -> None:
    slot_1_refused(seen, said)
    assert "chip_id" in seen.starts[0].errors


def entry_0_written(seen: Transcript, said: Mapping[str, Any]) -> None:
    (start,) = seen.starts
    assert start.slots == [0x10000]
    (told,) = (row for row in start.of("boot") if row["what"] == "otadata_set")
    first, second = said["otadata_after"]
    assert (int(told["ota_seq"]), told["entry"]) == (first["seq"], "0")
    assert second["seq"] == 0xFFFFFFFF


def app_runs(seen: Transcript, said: Mapping[str, Any]) -> None:
    (start,) = seen.starts
    assert start.runs
    assert not start.of("crash")
    assert not start.errors


def panics_once(seen: Transcript, said: Mapping[str, Any]) -> None:
    first, second = seen.starts
    (crash,) = first.of("crash")
    assert crash["pc"]
    assert crash["backtrace"]
    assert second.code == SOFTWARE
    assert second.runs
    assert not second.of("crash")


def panics_in_a_loop(seen: Transcript, said: Mapping[str, Any]) -> None:
    assert len(seen.starts) > 2
    for start, after in zip(seen.starts, seen.starts[1:], strict=False):
        assert start.slots
        assert len(start.of("crash")) == 1
        assert after.code == SOFTWARE


def watchdog(seen: Transcript, said: Mapping[str, Any]) -> None:
    """No panic's text (see the JSON's caveat): timer group 1, then 0, reset the chip."""
    assert [start.code for start in seen.starts] == [1, TIMER_1, TIMER_0]
    assert not seen.of("crash")
    assert {row["cpu"] for row in seen.of("boot") if row["what"] == "reset_by_watchdog"} == {
        "PRO",
        "APP",
    }


def four_starts(seen: Transcript, said: Mapping[str, Any]) -> None:
    assert (len(seen.versions), len(seen.starts)) == (4, 3)


def restarts_itself(seen: Transcript, said: Mapping[str, Any]) -> None:
    first, second = seen.starts
    assert (len(first.slots), len(second.slots), second.code) == (1, 1, SOFTWARE)


def download_mode(seen: Transcript, said: Mapping[str, Any]) -> None:
    assert seen.starts[0].reset["download"]


def versions(*wanted: str) -> Callable[[Transcript, Mapping[str, Any]], None]:
    def check(seen: Transcript, said: Mapping[str, Any]) -> None:
        assert seen.versions == [f"v{version}" for version in wanted]

    return check


def hello_rolled_back(seen: Transcript, said: Mapping[str, Any]) -> None:
    """hello_world ran once and restarted itself; what followed says otadata, not the log."""
    (ran,) = (at for at, start in enumerate(seen.starts) if start.of("app"))
    assert "hello_world" in seen.app("project")
    assert seen.starts[ran + 1].code == SOFTWARE
    assert seen.versions == ["v1.24.1"]
    assert said["otadata_after"][1]["state"] == 4  # ABORTED


def nothing_more(seen: Transcript, said: Mapping[str, Any]) -> None:
    """The outcome points at the log: what was observed in it is compared anyway."""


Check = Callable[[Transcript, Mapping[str, Any]], None]

OUTCOMES: Mapping[str, Check] = {
    "no bootable app, reset loop": nothing_boots,
    "ROM cannot find a bootloader": no_bootloader,
    "ROM checksum failure": bad_bootloader,
    "table refused, loop": no_table,
    "MD5 mismatch, loop": no_table,
    "factory app loaded": factory_loaded,
    "factory app loaded after both refusals": factory_after_both,
    "bootloader refuses slot 1 and loads slot 0; otadata unchanged": slot_1_refused,
    "chip mismatch, slot 0 loaded": wrong_chip,
    "slot 0 loaded, entry 0 written": entry_0_written,
    "app runs": app_runs,
    "app runs, prompt reached": app_runs,
    "panic with registers and backtrace, then software reset and a normal start": panics_once,
    "menu; * runs the tests; one test crashes on purpose, panic, reset, menu again": panics_once,
    "panic, reset, loop": panics_in_a_loop,
    "app panics; core dump (base64 over the UART, or to flash without a partition), reset, loop": (
        panics_in_a_loop
    ),
    "interrupt watchdog": watchdog,
    "four starts, three chip resets": four_starts,
    "boot, software reset, boot": restarts_itself,
    "download mode": download_mode,
    "no update": versions("1.23.0"),
    "OSError ESP_ERR_OTA_VALIDATE_FAILED, 1.23.0 stays": versions("1.23.0", "1.23.0"),
    "1.23.0 starts again, otadata untouched": versions("1.23.0", "1.23.0"),
    "1.24.1 starts again, otadata untouched": versions("1.24.1", "1.24.1"),
    "1.23.0 -> 1.26.1, stays": versions("1.23.0", "1.26.1", "1.26.1"),
    "1.23.0 -> 1.26.1, stays although unconfirmed": versions("1.23.0", "1.26.1", "1.26.1"),
    "1.23.0 -> 1.26.1 -> bootloader rolls back to 1.23.0": versions("1.23.0", "1.26.1", "1.23.0"),
    "1.24.1 -> hello_world (pending) -> software reset -> rolled back to 1.24.1": hello_rolled_back,
    "hello_world runs as pending, software reset, bootloader marks it aborted and jumps to 1.24.1; "
    "after the power cycle 1.24.1 runs from slot 0": hello_rolled_back,
    "boots (MD5 row is optional) or refuses: see log": nothing_more,
    "see log": nothing_more,
}
"""What each ``outcome`` of the JSON files asks of the log."""


def pieces(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Bytes in pieces of these sizes, over and over."""
    found, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found.append(data[at : at + size])
        at, turn = at + size, turn + 1
    return found
