"""A whole virtual board on the bench: flash with table, bootloader, settings and images."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

from vfw_peer import TOKEN, FakeMachine, run

from pytest_blynk_ota.firmware import loaderinfo
from pytest_blynk_ota.firmware.behaviour import MAGIC, Behaviour
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import AppDesc, Segment, build_image
from pytest_blynk_ota.firmware.image import parse as parse_image
from pytest_blynk_ota.firmware.nvs import edgent_config
from pytest_blynk_ota.firmware.otadata import ERASED, Entry, State, parse
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET, PartitionTable
from pytest_blynk_ota.virtual.boot.run import execute
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES

APP0, APP1 = (slot.offset for slot in DEFAULT_TABLE.ota_slots)
SLOT_BYTES = DEFAULT_TABLE.ota_slots[0].size
NVS = DEFAULT_TABLE.find("nvs")
OTADATA = DEFAULT_TABLE.otadata
LABEL_AT = 12
"""Of the label in a row of the partition table."""
IMAGE_BYTES = 40 << 10
SEGMENT_BYTES = 4096
FW_TYPE = "TMPLbench"


def entry(seq: int, state: State = State.VALID) -> Entry:
    return Entry(seq, state)


def story(test: Coroutine[Any, Any, Any]) -> Any:
    return run(test)


class Bench:
    """A board with 1.0.0 running in one slot; ``behaviour`` is that image's."""

    def __init__(
        self,
        chip: str = "esp32c3",
        *,
        log: str = "info",
        rollback: bool = True,
        running: int = 0,
        size: int = IMAGE_BYTES,
        idf: str = "v5.1.4",
        **behaviour: Any,
    ) -> None:
        self.machine = FakeMachine(chip)
        self._idf = idf
        self.chip = CHIPS[chip]
        self._log = log
        self._flash(TABLE_OFFSET, DEFAULT_TABLE.build())
        self._bootloader(Behaviour(kind="bootloader", log=log, rollback=rollback).to_segment())
        self.put((APP0, APP1)[running], self.app("1.0.0", size=size, **behaviour))
        self.otadata(entry(running + 1), None)
        self.provision(("127.0.0.1", 9))

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        run(self._close())

    async def _close(self) -> None:
        self.machine.close()

    # ---- images

    def app(
        self,
        version: str,
        *,
        size: int = IMAGE_BYTES,
        secure_version: int = 0,
        **behaviour: Any,
    ) -> bytes:
        """A fixture image: description and noise, code, data, behaviour."""
        told = {"version": version, "fw_type": FW_TYPE, "log": self._log, **behaviour}
        segment = Segment(0, Behaviour.from_data(told).to_segment())
        return self._image(version, size, [segment], secure_version)

    def stranger(self) -> bytes:
        """An image that is none of ours."""
        return self._image("7.7.7", IMAGE_BYTES, [])

    def malformed(self) -> bytes:
        """An image whose behaviour segment holds no JSON."""
        return self._image("1.0.0", IMAGE_BYTES, [Segment(0, MAGIC + b"\4\0\0\0what")])

    def _image(
        self, version: str, size: int, more: list[Segment], secure_version: int = 0
    ) -> bytes:
        noise = Random(version).randbytes
        desc = AppDesc(
            version=version,
            project="bench",
            time="17:29:49",
            date="Nov 23 2026",
            idf=self._idf,
            secure_version=secure_version,
            elf_sha256=noise(32),
        )
        chip = self.chip
        data = Segment(chip.drom_base, desc.build() + noise(SEGMENT_BYTES))
        code = Segment(chip.iram_base, noise(size - 2 * SEGMENT_BYTES))
        return build_image(chip, [data, *more, code], chip.iram_base)

    # ---- flash

    def _flash(self, offset: int, data: bytes) -> None:
        size = -(-len(data) // SECTOR_BYTES) * SECTOR_BYTES
        self.machine.flash.erase(offset, size)
        self.machine.flash.program(offset, data)

    def _bootloader(self, *behaviour: bytes) -> None:
        chip = self.chip
        head = loaderinfo.build(self._idf, "Nov 23 2026 17:29:49")
        segments = [Segment(chip.dram_base, head + Random(0).randbytes(SEGMENT_BYTES))]
        segments += [Segment(0, data) for data in behaviour]
        segments.append(Segment(chip.iram_base, Random(1).randbytes(SEGMENT_BYTES)))
        self._flash(chip.bootloader_offset, build_image(chip, segments, chip.iram_base))

    def malformed_bootloader(self) -> None:
        """One of ours whose behaviour segment holds no JSON."""
        self._bootloader(MAGIC + b"\4\0\0\0what")

    def foreign_bootloader(self) -> None:
        """One that is none of ours; it logs at INFO, as its strings show."""
        chip = self.chip
        text = Segment(chip.dram_base, b"Loaded app from partition at offset 0x%x".ljust(512))
        code = Segment(chip.iram_base, Random(1).randbytes(SEGMENT_BYTES))
        self._flash(chip.bootloader_offset, build_image(chip, [text, code], chip.iram_base))

    def app_as_bootloader(self) -> None:
        """An application where the ROM looks for the bootloader."""
        self._flash(self.chip.bootloader_offset, self.stranger())

    def secure_bootloader(self) -> None:
        """One that compares secure versions."""
        told = Behaviour(kind="bootloader", log=self._log, anti_rollback=True)
        self._bootloader(told.to_segment())

    def cut_bootloader(self) -> None:
        """Its second segment seems to go on behind the end of the flash."""
        offset = self.chip.bootloader_offset
        at = offset + 24 + 8 + self._first_segment_bytes()
        data = bytearray(self.read(offset, 0x3000))
        data[at - offset + 4 : at - offset + 8] = (0x7FFFFFF0).to_bytes(4, "little")
        self._flash(offset, bytes(data))

    def _first_segment_bytes(self) -> int:
        return int.from_bytes(self.read(self.chip.bootloader_offset + 28, 4), "little")

    def flip_bootloader_hash(self) -> None:
        """Another appended SHA-256 than its own."""
        offset = self.chip.bootloader_offset
        image = parse_image(self.read(offset, TABLE_OFFSET - offset))
        data = bytearray(image.data[: image.length])
        data[-1] ^= 1
        self._flash(offset, bytes(data))

    def erase_bootloader(self) -> None:
        size = TABLE_OFFSET - self.chip.bootloader_offset
        self.machine.flash.erase(self.chip.bootloader_offset, size)

    def flip_bootloader_bit(self) -> None:
        """Clear one bit that is set, in the data of a segment."""
        at = self.chip.bootloader_offset + 4096
        old = self.machine.flash.read(at, 1)[0]
        self.machine.flash.program(at, bytes([old & (old - 1)]))

    def table(self, table: PartitionTable) -> None:
        """Another partition table."""
        self._flash(TABLE_OFFSET, table.build())

    def erase_table(self) -> None:
        self.machine.flash.erase(TABLE_OFFSET, SECTOR_BYTES)

    def damage_table(self) -> None:
        """Change the first label behind the back of the MD5 row."""
        self.machine.flash.program(TABLE_OFFSET + LABEL_AT, b"\0")

    def put(self, offset: int, image: bytes) -> None:
        self.machine.flash.erase(offset, SLOT_BYTES)
        self.machine.flash.program(offset, image)

    def wipe_slot(self, number: int) -> None:
        self.machine.flash.erase((APP0, APP1)[number], SLOT_BYTES)

    def read(self, offset: int, size: int) -> bytes:
        return self.machine.flash.read(offset, size)

    def otadata(self, *entries: Entry | None) -> None:
        self.machine.flash.erase(OTADATA.offset, OTADATA.size)
        for number, one in enumerate(entries):
            if one is not None:
                self.machine.flash.program(OTADATA.offset + number * SECTOR_BYTES, one.build())

    def entries(self) -> tuple[Entry | None, ...]:
        """Both entries; None for an erased one."""
        found = parse(self.read(OTADATA.offset, OTADATA.size))
        return tuple(None if one.seq == ERASED else one for one in found)

    def provision(self, address: tuple[str, int]) -> None:
        """Put the settings into NVS."""
        host, port = address
        settings = edgent_config(ssid="lab", password="secret", token=TOKEN, host=host, port=port)
        self._flash(NVS.offset, settings)

    def unprovision(self) -> None:
        self.machine.flash.erase(NVS.offset, NVS.size)

    # ---- life

    @property
    def text(self) -> str:
        return self.machine.text

    async def boot(self, cause: int = 1) -> int:
        """One boot; the cause of the next."""
        return await execute(self.machine, cause)

    @asynccontextmanager
    async def living(self, cause: int = 1) -> AsyncIterator[None]:
        """Boot after boot until the block ends."""
        life = asyncio.ensure_future(self._live(cause))
        try:
            yield
        finally:
            self.machine.network.drop()
            life.cancel()
            with suppress(asyncio.CancelledError):
                await life

    async def _live(self, cause: int) -> None:
        while True:
            cause = await execute(self.machine, cause)
            self.machine.network.drop()

    async def until(self, text: str, *, cause: int = 1) -> None:
        """Boot and live until the log holds ``text`` once more."""
        self.machine.output.clear()
        async with self.living(cause):
            await self.machine.see(text.replace("(", r"\("))
