"""Every power cut of a 1 MB update, decided: cut points per second, with and without the cache.

The recording is that of Arduino's ``Update``, the restart and the confirmation, on a board without
a network. The baseline is the same decision without the cache, on a sample of the same cut points
in the same run.

    python benchmarks/bench_sweep.py [--bytes 1000000] [--torn 2] [--sample 150] [--chip esp32c3]
    python benchmarks/bench_sweep.py --whole [--board c3-a]

With ``--whole`` it is ``ota.sweep_power_cuts()`` on the virtual rig: the same decisions made by the
rack, then one cut of each kind really made.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.firmware import otadata
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET
from pytest_blynk_ota.ota import Ota
from pytest_blynk_ota.rig.config import load
from pytest_blynk_ota.rig.profiles import PROFILES
from pytest_blynk_ota.rig.rack import Rig
from pytest_blynk_ota.rig.shelf import Firmware, Kitchen
from pytest_blynk_ota.rig.shipped import find_rig
from pytest_blynk_ota.virtual.app.ota_ops import OtaOps
from pytest_blynk_ota.virtual.app.update import Update
from pytest_blynk_ota.virtual.boot.run import start
from pytest_blynk_ota.virtual.chip.board import Board
from pytest_blynk_ota.virtual.chip.chips import MODELS, default_mac, make_chip
from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.machine import Machine
from pytest_blynk_ota.virtual.settings import BoardSettings
from pytest_blynk_ota.virtual.sweep.groups import Plan, Sweep
from pytest_blynk_ota.virtual.sweep.paper import Hardware, boot

SPEED = 1e6
FIGURE_PER_S = 200
FIGURE_S = 60


@dataclass
class Body:
    """A download that is there at once."""

    data: bytes

    async def read(self, limit: int) -> bytes:
        head, self.data = self.data[:limit], self.data[limit:]
        return head


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=1_000_000)
    parser.add_argument("--torn", type=int, default=2)
    parser.add_argument("--sample", type=int, default=150)
    parser.add_argument("--chip", default="esp32c3", choices=sorted(MODELS))
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--board", default="c3-a")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.whole:
            whole(Path(name), options)
        else:
            asyncio.run(measure(Path(name), options))


class SizedFirmware(Firmware):
    """Old and New of a size."""

    size = 0

    def recipe(self, name: str, **changes: Any) -> Image:
        return super().recipe(name, **{"size": self.size, **changes})


def whole(folder: Path, options: argparse.Namespace) -> None:
    path = find_rig("virtual", folder)
    redactor = Redactor()
    recorder = Recorder(Timeline(redactor=redactor))
    rig = Rig(load(path), path, run=folder, recorder=recorder, redactor=redactor)
    SizedFirmware.size = options.bytes
    try:
        place = rig.place(options.board)
        kitchen = Kitchen(folder, folder / "images")
        log = PROFILES[place.config.profile].log
        firmware = SizedFirmware(kitchen, place.config.chip, log=log)
        ota = Ota(rig, place, firmware, folder, lambda result: None)
        ota.restore()
        begun = time.perf_counter()
        sweep = ota.sweep_power_cuts(torn=options.torn, seed=0)
        total = time.perf_counter() - begun
    finally:
        rig.close()
    print(sweep)
    print(f"update of {options.bytes} bytes on {options.board} at speed {rig.speed:g}")
    print(f"  whole sweep            {total:8.2f} s for {sweep.cut_points} cut points")
    print(f"  decided by the rack    {sweep.decided / sweep.seconds:8.0f} per s")
    print(f"  each cut really made   {total / len(sweep.rows):8.2f} s")


async def measure(folder: Path, options: argparse.Namespace) -> None:
    kitchen, chip = Kitchen(folder, folder / "images"), options.chip
    old, new = (kitchen.make(name, chip, size=options.bytes) for name in ("old", "new"))
    done = asyncio.get_running_loop().create_future()

    async def execute(machine: Machine, cause: int) -> int:
        log, started = await start(machine, cause)
        machine.stage = "app"
        ota = OtaOps(machine, log, started)
        if ota.running_is_pending():
            await ota.mark_valid()
            done.set_result(None)
            await asyncio.Event().wait()
        update = Update(machine, ota)
        update.begin(len(new))
        await update.write_stream(Body(new))
        if not await update.end():
            done.set_exception(SystemExit(f"the update was refused: {update.error!r}"))
        return 0xC

    settings = BoardSettings("bench", make_chip(MODELS[chip], default_mac("bench")))
    board = Board(settings, execute, speed=SPEED, failed=done.set_exception)
    fill(board.flash, chip, kitchen.make("bootloader", chip), old)
    recording = board.flash.record()
    await board.start()
    try:
        await done
        hardware = Hardware(board.chip, board.flash.size, None)
        report(Sweep(recording, hardware, board.flash.bad.limit, Plan(options.torn)), options)
    finally:
        await board.stop()


def fill(flash: NorFlash, chip: str, bootloader: bytes, old: bytes) -> None:
    """Old confirmed in the first slot."""
    place = DEFAULT_TABLE.otadata
    assert place is not None
    flash.program(CHIPS[chip].bootloader_offset, bootloader)
    flash.program(TABLE_OFFSET, DEFAULT_TABLE.build())
    flash.program(place.offset, b"".join(otadata.entries_for(0)))
    flash.program(DEFAULT_TABLE.ota_slots[0].offset, old)


def report(sweep: Sweep, options: argparse.Namespace) -> None:
    slowest, begun = 0.0, time.perf_counter()
    last = begun
    for _ in sweep.steps():
        now = time.perf_counter()
        slowest, last = max(slowest, now - last), now
    total = time.perf_counter() - begun
    plain = baseline(sweep, options.sample)
    print(f"update of {options.bytes} bytes on {options.chip}: {len(sweep.operations)} operations")
    print(f"  cut points             {sweep.points():8d}; groups {len(sweep.groups)}")
    print(f"  all of them            {total:8.2f} s (figure: {FIGURE_S} s)")
    print(f"  with the cache         {sweep.points() / total:8.0f} per s (figure: {FIGURE_PER_S})")
    print(f"  without, by a sample   {plain:8.0f} per s")
    print(f"  computed in truth      {sweep.computed:8d} boots")
    print(f"  longest slice          {slowest * 1000:8.1f} ms")


def baseline(sweep: Sweep, sample: int) -> float:
    """Decisions per second without the cache; they must be the same."""
    picked = set(random.Random(0).sample(range(sweep.points()), min(sample, sweep.points())))
    spent, count = 0.0, 0
    for number, (point, state) in enumerate(sweep._states()):
        if number not in picked:
            continue
        begun = time.perf_counter()
        decided = boot(state.read, sweep._hardware)
        spent, count = spent + time.perf_counter() - begun, count + 1
        if decided != sweep._decide(state, 0):
            raise SystemExit(f"{point}: decided {decided} without the cache")
    return count / spent


if __name__ == "__main__":
    main()
