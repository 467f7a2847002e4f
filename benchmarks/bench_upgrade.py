"""One clean upgrade of a 1 MB image on the virtual rig, and the restore after it.

Prints the wall time of restore and upgrade against the device's own fixed waits, and the serial
bytes of the restore against a full compressed esptool write of the same image in the same run.

    python benchmarks/bench_upgrade.py [--rounds 5] [--board c3-a]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from pytest_blynk_ota.board.baseline import Baseline, Region
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Event, Recorder, Timeline
from pytest_blynk_ota.ota import Ota
from pytest_blynk_ota.rig.config import load
from pytest_blynk_ota.rig.profiles import PROFILES
from pytest_blynk_ota.rig.rack import Rig
from pytest_blynk_ota.rig.shelf import Firmware, Kitchen
from pytest_blynk_ota.rig.shipped import find_rig
from pytest_blynk_ota.verdict import Outcome
from pytest_blynk_ota.virtual import waits

IMAGE_BYTES = 1_000_000


class BigFirmware(Firmware):
    """Old and New of 1 MB."""

    def recipe(self, name: str, **changes: object):  # type: ignore[no-untyped-def]
        return super().recipe(name, **{"size": IMAGE_BYTES, **changes})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--board", default="c3-a")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), options.rounds, options.board)


def measure(folder: Path, rounds: int, board: str) -> None:
    path = find_rig("virtual", folder)
    redactor = Redactor()
    recorder = Recorder(Timeline(redactor=redactor))
    rig = Rig(load(path), path, run=folder, recorder=recorder, redactor=redactor)
    try:
        place = rig.place(board)
        firmware = BigFirmware(
            Kitchen(folder, folder / "images"), place.config.chip,
            log=PROFILES[place.config.profile].log,
        )
        full = full_write(place, firmware)
        rows = [one_round(rig, place, firmware, folder) for _ in range(rounds + 1)][1:]
    finally:
        rig.close()
    report(rig.speed, full, rows, len(firmware.new.data))


def full_write(place, firmware) -> int:  # type: ignore[no-untyped-def]
    """Serial bytes of a full compressed write of New, as esptool does it."""
    done = place.board.restore(Baseline((Region("app", 0x10000, firmware.new.data),), ()))
    return int(done.serial_bytes)


def one_round(rig, place, firmware, folder):  # type: ignore[no-untyped-def]
    """Restore and upgrade: seconds of each, serial bytes of the restore, device waits."""
    rig.recorder.switch(Timeline())
    ota = Ota(rig, place, firmware, folder, lambda result: None)
    start = time.perf_counter()
    ota.restore()
    restored = time.perf_counter()
    result = ota.ship()
    done = time.perf_counter()
    if result.outcome is not Outcome.UPGRADED:
        raise SystemExit("\n".join(result.explain()))
    events = rig.recorder.timeline.events()
    moved = next(event for event in events if event.kind == "restored").data["serial_bytes"]
    return restored - start, done - restored, moved, device_waits(events, place.profile, rig.speed)


def device_waits(events: tuple[Event, ...], profile, speed: float) -> float:  # type: ignore[no-untyped-def]
    """Wall seconds that the device's own fixed waits take: boots, settling, the trigger delay."""
    boots = sum(1 for event in events
                if (event.source, event.kind) == ("uart", "reset") and not event.data["download"])
    return (boots * waits.BOOT_TO_LOGIN_S + waits.TRIGGER_TO_REQUEST_S
            + waits.flash_seconds(IMAGE_BYTES) + 2 * profile.settle_s) / speed


def report(speed: float, full: int, rows, size: int) -> None:  # type: ignore[no-untyped-def]
    restore, upgrade, moved, waited = (
        statistics.median(column) for column in zip(*rows, strict=True)
    )
    total = restore + upgrade
    print(f"clean upgrade of {size} bytes at speed {speed:g}, median of {len(rows)}")
    print(f"  restore and settle    {restore:6.2f} s")
    print(f"  ship to verdict       {upgrade:6.2f} s")
    print(f"  total                 {total:6.2f} s")
    print(f"  device's fixed waits  {waited:6.2f} s; total / waits = {total / waited:.2f}")
    print(f"  restore, serial bytes {moved:8.0f}; full compressed write {full}; "
          f"ratio 1 : {full / moved:.0f}")


if __name__ == "__main__":
    main()
