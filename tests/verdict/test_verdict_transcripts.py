"""Updates recorded off real firmware, judged: what their recorder wrote down is what comes out.

The UART's events are read off the transcript by our own table. The recordings have no cloud and no
firmware server of ours beside them: what these would have seen is taken from the JSON file (what
was done, where the power was cut, otadata afterwards) and from what the recorded firmware prints of
its own download.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tale import BLANK, Tale, entry, image

from pytest_blynk_ota.board.log import Line, LogReader
from pytest_blynk_ota.verdict import Outcome, Verdict

DATA = Path(__file__).parent.parent / "data" / "serial"
SLOTS = {"app0": 0x10000, "app1": 0x1C0000}
"""The recorder's table: ota_0 and ota_1."""
LINE_S = 0.3

STORIES = [
    # The recording, what its JSON says of it, whether New logs in, and the outcome of that name.
    ("esp32_ota_success_confirmed", "-> 1.26.1, stays", True, Outcome.UPGRADED),
    ("esp32_ota_no_rollback_bootloader", "-> 1.26.1, stays although", True, Outcome.UPGRADED),
    ("esp32_ota_unconfirmed_rollback", "rolls back to 1.23.0", True, Outcome.ROLLED_BACK),
    ("esp32_ota_unconfirmed_rollback", "rolls back to 1.23.0", False, Outcome.REVERTED),
    ("esp32c3_ota_unconfirmed_rollback", "rolled back to 1.24.1", False, Outcome.REVERTED),
    ("esp32_ota_corrupt_image_refused", "VALIDATE_FAILED, 1.23.0 stays", False, Outcome.REJECTED),
    ("esp32_ota_power_cut_in_download", "1.23.0 starts again", False, Outcome.DOWNLOAD_FAILED),
    ("esp32_ota_server_errors", "no update", False, Outcome.DOWNLOAD_FAILED),
    ("esp32c3_ota_stalled_power_cycle", "1.24.1 starts again", False, Outcome.STALLED),
]


class Recorded(Tale):
    """A tale of what a transcript tells."""

    def __init__(self, name: str, *, new_logs_in: bool) -> None:
        self.facts = json.loads((DATA / f"{name}.json").read_text())
        self.raw = (DATA / f"{name}.log").read_bytes()
        self.new_logs_in = new_logs_in
        self.whole = self.stalled = self.busy = False
        self.total = int(re.findall(rb"ota (?:done )?\d+ (\d+)", self.raw + b"ota 0 99999")[0])
        old, new = self._versions()
        super().__init__(op="ship", online=False, limit=9, images={"old": old, "new": new},
                         faults=self._faults())  # fmt: skip

    def _versions(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """By the names of the recorded programs: micropython-1.23.0-esp32."""
        number = self.facts["apps"]["ota_0"].split("-")[1]
        old = image(f"v{number}", build=None, fw_type=None, app_version=None, elf_sha256=None)
        new = self.facts.get("new_app") or "micropython-1.26.1-esp32"
        if new.startswith("idf-hello"):
            facts = self.facts["observed"]
            return old, image("hello", app_version=facts["app_versions_seen"][0],
                              elf_sha256=facts["elf_sha256_seen"][0] * 7)  # fmt: skip
        return old, image(f"v{new.split('-')[1]}", build=None, fw_type=None, app_version=None,
                          elf_sha256=None)  # fmt: skip

    def _faults(self) -> tuple[str, ...]:
        return ("stall after=0",) if "stalls after the headers" in self.facts["done"] else ()

    def begins(self, op: str, faults: Any = (), attempts: Any = None, **more: Any) -> Tale:
        """The operation begins where the transcript asks for the file, not before."""
        if not self.busy:
            return self
        slots = {
            label: {"offset": offset, "size": 0x1B0000, "image": "old" if label == "app0" else None}
            for label, offset in SLOTS.items()
        }
        return super().begins(op, faults, attempts, slots=slots, otadata=[entry(1), BLANK])

    def told(self) -> Tale:
        """All that the transcript says, with what the other witnesses saw beside it."""
        cut = self.facts.get("power_cut_at_byte") or self.facts.get("power_cycle_at_byte")
        reader = LogReader()
        self._take(reader.feed(self.raw[:cut]))
        if cut:
            self._take(reader.flush())
            self._power_cycle()
            self._take(reader.feed(self.raw[cut:]))
        self._take(reader.flush())
        if "prints nothing after the last reset" in self.facts.get("caveat", ""):
            self.wait(5).logs_in("v1.24.1", build="")  # the emulator lost its prints only
        self.wait(12).over()
        return self._flash()

    def _power_cycle(self) -> None:
        self.wait(60 if self.stalled else 0.1).add("power", "off", by="test")
        if self.busy and not self.whole:
            self.ends("device", "timeout", self.got, announced=self.total)
        self.wait(1).leaves(why="heartbeat").add("power", "on", by="test").wait(0.2)

    def _take(self, entries: Any) -> None:
        for one in entries:
            if isinstance(one, Line):
                self.wait(LINE_S).add("uart", "line", text=one.text)
                self._beside(one.text)
            else:
                self.add("uart", one.mark.kind, **one.mark.data)
                self._follows(one.mark.kind, one.mark.data)

    def _follows(self, kind: str, data: Any) -> None:
        """What a firmware of Blynk would do where this one says who it is."""
        if kind == "firmware" and data["what"] == "version":
            name = next(n for n, f in self.images.items() if f["version"] == data["version"])
            if name == "old" or self.new_logs_in:
                self.wait(2).logs_in(data["version"], build="").wait(12)
        if kind == "reset" and self.session and data["code"] != 1:
            self.leaves()

    def _beside(self, line: str) -> None:
        """What the firmware server saw, by what the device prints of it."""
        if re.match(r">>> p=ota\(\d\d+,", line):
            self.busy, self.got = True, 0
            self.begins("ship", self._faults())
            self.offered(disconnects=False).requests().wait(0.1)
        elif status := re.match(r"b'HTTP/1.0 (\d+)", line):
            self._deliver("response", status=int(status[1]), announced=self._announced(status[1]))
            if self._faults():
                self.stalled = True
                self.fault(self._faults()[0], at=0)
        elif done := re.match(r"ota done (\d+) (\d+)", line):
            self.whole, self.got = True, int(done[1])
            self.ends("server", "complete", self.got, announced=int(done[2]),
                      page=self.total == 0)  # fmt: skip
        elif progress := re.match(r"ota (\d+) (\d+)", line):
            self.got = int(progress[1])
            self.gets(self.got)

    def _announced(self, status: str) -> int | None:
        return self.total if status == "200" else 0

    def _flash(self) -> Tale:
        """What the recorder found in otadata when it was over, and what stands in the slots."""
        rows = self.facts["otadata_after"]
        alive = [row for row in rows if row["crc_ok"] and row["state"] not in (3, 4)]
        running = f"app{(max(row['seq'] for row in alive) - 1) % 2}"
        good = self.whole and "flipped byte" not in self.facts["done"] and self.total > 0
        return self.flash(running, otadata=[row["hex"] for row in rows],
                          app0="old", app1="new" if good else None)  # fmt: skip


def judged(name: str, *, new_logs_in: bool) -> Verdict:
    return Recorded(name, new_logs_in=new_logs_in).told().judged()


@pytest.mark.parametrize(("name", "says", "new_logs_in", "outcome"), STORIES)
def test_a_recorded_update_has_the_outcome_that_its_recorder_saw(name, says, new_logs_in, outcome):
    assert says in json.loads((DATA / f"{name}.json").read_text())["outcome"]
    verdict = judged(name, new_logs_in=new_logs_in)
    assert verdict.outcome is outcome
    wanted = "new" if outcome is Outcome.UPGRADED else "old"
    assert verdict.running_image == wanted


def recorded_updates() -> Iterator[str]:
    yield from (path.stem for path in DATA.glob("*_ota_*.json"))


def test_every_recorded_update_is_judged():
    assert {name for name, *_ in STORIES} == set(recorded_updates())


@pytest.mark.parametrize(("name", "says", "new_logs_in", "outcome"), STORIES)
def test_a_recorded_update_has_as_many_boots_as_resets_behind_its_begin(
    name, says, new_logs_in, outcome
):
    resets = json.loads((DATA / f"{name}.json").read_text())["observed"]["resets"]
    assert judged(name, new_logs_in=new_logs_in).boots == len(resets) - 1
