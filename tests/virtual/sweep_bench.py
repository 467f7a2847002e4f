"""A whole update on a board without a network: Arduino's order of flash operations, recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_blynk_ota.firmware import otadata, recipe
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET
from pytest_blynk_ota.rig.shipped import folder
from pytest_blynk_ota.virtual.app.ota_ops import OtaOps
from pytest_blynk_ota.virtual.app.update import Update
from pytest_blynk_ota.virtual.boot.run import start
from pytest_blynk_ota.virtual.chip.board import Board
from pytest_blynk_ota.virtual.chip.chips import MODELS, default_mac, make_chip
from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.machine import Machine
from pytest_blynk_ota.virtual.settings import BoardSettings
from pytest_blynk_ota.virtual.sweep.groups import Plan, Sweep
from pytest_blynk_ota.virtual.sweep.paper import Hardware

CHIP = "esp32c3"
SPEED = 1e6
PATIENCE_S = 15.0
IMAGE_BYTES = 110_000
"""One erase of 64 KB, then some of 4 KB."""
OTADATA = DEFAULT_TABLE.otadata
APP0, APP1 = DEFAULT_TABLE.ota_slots


def image(name: str, **changes: Any) -> bytes:
    """An image of the shipped recipes."""
    text = (folder("firmware_fixtures") / f"{name}.toml").read_text()
    behaviour = changes.pop("behaviour", {})
    told = recipe.loads(text, name)
    told = replace(told, behaviour={**told.behaviour, **behaviour})
    return recipe.make(told, CHIP, **changes)


def fill(flash: NorFlash) -> None:
    """Old confirmed in the first slot, the other one empty."""
    flash.load(b"\xff" * flash.size)
    flash.program(CHIPS[CHIP].bootloader_offset, image("bootloader"))
    flash.program(TABLE_OFFSET, DEFAULT_TABLE.build())
    flash.program(OTADATA.offset, b"".join(otadata.entries_for(0)))
    flash.program(APP0.offset, image("old", size=IMAGE_BYTES))


@dataclass
class Body:
    """A download that is there at once."""

    data: bytes

    async def read(self, limit: int) -> bytes:
        head, self.data = self.data[:limit], self.data[limit:]
        return head


@dataclass
class Lab:
    """A board that updates itself as soon as it runs Old, and confirms New."""

    board: Board = field(init=False)
    started: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)
    updates: bool = True

    def __post_init__(self) -> None:
        self._broken: list[BaseException] = []
        self._new = image("new", size=IMAGE_BYTES)
        settings = BoardSettings("lab", make_chip(MODELS[CHIP], default_mac("lab")))
        self.board = Board(settings, self._execute, speed=SPEED, failed=self._broken.append)

    async def _execute(self, machine: Machine, cause: int) -> int:
        log, started = await start(machine, cause)
        machine.stage = "app"
        self.started.put_nowait(started.partition.label)
        ota = OtaOps(machine, log, started)
        if not self.updates:
            await asyncio.Event().wait()
        if ota.running_is_pending():
            await ota.mark_valid()
        if started.partition == APP1:
            self.confirmed.set()
            await asyncio.Event().wait()
        update = Update(machine, ota)
        update.begin(len(self._new))
        await update.write_stream(Body(self._new))
        assert await update.end()
        return 0xC

    @property
    def hardware(self) -> Hardware:
        return Hardware(self.board.chip, self.board.flash.size, None)

    def sweep(self, **plan: int) -> Sweep:
        recording = self.board.flash.recording
        assert recording is not None
        limit = self.board.flash.bad.limit
        return Sweep(recording, self.hardware, limit, Plan(**plan))


def in_lab(scenario: Callable[[Lab], Awaitable[None]]) -> None:
    """Run a scenario on a board that is filled and off, a recording being on."""

    async def inside() -> None:
        lab = Lab()
        fill(lab.board.flash)
        lab.board.flash.record()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await scenario(lab)
        finally:
            await lab.board.stop()
            assert not lab._broken

    asyncio.run(inside())


async def update(lab: Lab) -> None:
    """One whole update, to the confirmation."""
    lab.board.power(True)
    await lab.confirmed.wait()
    await lab.board.dark()
