"""One clean upgrade of a 1 MB image on the virtual rig, with the restore before it.

Prints the wall time against the waits that nobody can shorten: the device's own (boots, Wi-Fi,
transfer, flash) and the settling that the definition of the outcomes asks for. Prints the serial
bytes of a restore after an upgrade against a full compressed write of the same image in the same
run.

    python benchmarks/bench_upgrade.py [--rounds 5] [--board c3-a]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_blynk_ota.board.baseline import Baseline, Region
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.ota import Ota
from pytest_blynk_ota.rig.config import load
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.profiles import PROFILES, Profile
from pytest_blynk_ota.rig.rack import Rig
from pytest_blynk_ota.rig.shelf import Firmware, Kitchen
from pytest_blynk_ota.rig.shipped import find_rig
from pytest_blynk_ota.verdict import Outcome
from pytest_blynk_ota.virtual.app import edgent_old as edgent
from pytest_blynk_ota.virtual.app import http_get
from pytest_blynk_ota.virtual.boot import bootloader
from pytest_blynk_ota.virtual.boot import run as execute
from pytest_blynk_ota.virtual.chip import driver

IMAGE_BYTES = 1_000_000
APP_OFFSET = 0x10000
BOOT_S = execute.ROM_S + bootloader.BOOTLOADER_S + edgent.APP_START_S + edgent.WIFI_S
TRANSFER_S = IMAGE_BYTES / http_get.WIFI_BYTES_PER_S
FLASH_S = IMAGE_BYTES / 65536 * driver.BLOCK_ERASE_S + IMAGE_BYTES / 256 * driver.PAGE_PROGRAM_S


class BigFirmware(Firmware):
    """Old and New of 1 MB."""

    def recipe(self, name: str, **changes: Any) -> Image:
        return super().recipe(name, **{"size": IMAGE_BYTES, **changes})


@dataclass(frozen=True)
class Round:
    """Wall seconds of restore and upgrade, serial bytes of the restore, device's own waits."""

    restore: float
    upgrade: float
    moved: int
    device: float
    settling: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--board", default="c3-a")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), options.rounds, options.board)


def measure(folder: Path, rounds: int, name: str) -> None:
    path = find_rig("virtual", folder)
    redactor = Redactor()
    recorder = Recorder(Timeline(redactor=redactor))
    rig = Rig(load(path), path, run=folder, recorder=recorder, redactor=redactor)
    try:
        place = rig.place(name)
        firmware = BigFirmware(
            Kitchen(folder, folder / "images"),
            place.config.chip,
            log=PROFILES[place.config.profile].log,
        )
        new = firmware.new.data
        full = place.board.restore(Baseline((Region("app", APP_OFFSET, new),), ())).serial_bytes
        rows = [one_round(rig, place, firmware, folder) for _ in range(rounds + 1)][1:]
    finally:
        rig.close()
    report(rig.speed, full, rows, len(new))


def one_round(rig: Rig, place: Place, firmware: Firmware, folder: Path) -> Round:
    timeline = Timeline()
    rig.recorder.switch(timeline)
    ota = Ota(rig, place, firmware, folder, lambda result: None)
    start = time.perf_counter()
    ota.restore()
    restored = time.perf_counter()
    result = ota.ship()
    done = time.perf_counter()
    if result.outcome is not Outcome.UPGRADED:
        raise SystemExit("\n".join(result.explain()))
    moved = next(event for event in timeline.events() if event.kind == "restored")
    return Round(
        restored - start,
        done - restored,
        moved.data["serial_bytes"],
        device_s(timeline.events()) / rig.speed,
        2 * settle_s(place.profile) / rig.speed,
    )


def device_s(events: Sequence[Event]) -> float:
    """Device seconds of the boots that were waited for, the trigger, the transfer, the flash."""
    logins = sum((event.source, event.kind) == ("cloud", "login") for event in events)
    return logins * BOOT_S + edgent.OTA_DELAY_S + TRANSFER_S + FLASH_S


def settle_s(profile: Profile) -> float:
    """How long Old after the restore, and New after the update, must stay logged in."""
    return profile.settle_s


def report(speed: float, full: int, rows: Sequence[Round], size: int) -> None:
    def median(name: str) -> float:
        return statistics.median(getattr(row, name) for row in rows)

    total = statistics.median(row.restore + row.upgrade for row in rows)
    device, settling, moved = median("device"), median("settling"), median("moved")
    print(f"clean upgrade of {size} bytes at speed {speed:g}, median of {len(rows)}")
    print(f"  restore and settle     {median('restore'):6.2f} s")
    print(f"  ship to verdict        {median('upgrade'):6.2f} s")
    print(f"  total                  {total:6.2f} s")
    print(f"  device's own waits     {device:6.2f} s; total is {total / device:.2f} times that")
    print(
        f"  with settling, twice   {device + settling:6.2f} s; "
        f"total is {total / (device + settling):.2f} times that"
    )
    print(
        f"  restore over serial    {moved:6.0f} bytes; full compressed write {full}, "
        f"{full / moved:.0f} times as many"
    )


if __name__ == "__main__":
    main()
