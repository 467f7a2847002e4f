"""What would boot from given bytes: the board's own ROM and bootloader code, run on paper.

Nothing is sent, nothing takes time, and what the bootloader writes goes into a copy.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import otadata
from pytest_blynk_ota.firmware.otadata import Entry, State
from pytest_blynk_ota.firmware.partitions import TABLE_BYTES, TABLE_OFFSET, PartitionTable
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.boot.rom import POWER_ON
from pytest_blynk_ota.virtual.boot.run import start
from pytest_blynk_ota.virtual.chip.chips import VirtualChip
from pytest_blynk_ota.virtual.chip.operations import SECTOR_BYTES, programmed, sectors
from pytest_blynk_ota.virtual.machine import Machine
from pytest_blynk_ota.virtual.sweep.memo import Read

T = TypeVar("T")

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Boot:
    """What a power-on starts.

    Attributes:
        slot: label of the partition that is started; ``None``: nothing is, for ever.
        version, sha256: of the image in it.
        otadata: both entries as the bootloader leaves them, in words.
        why: the last line of the log, where nothing is started.
    """

    slot: str | None
    version: str | None
    sha256: str | None
    otadata: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a boot depends on beside the flash."""

    chip: VirtualChip
    flash_size: int
    foreign_rollback: bool | None
    secure_version: int = 0

    def burnt(self, secure_version: int) -> Hardware:
        """The same with another secure version in its eFuses."""
        return replace(self, secure_version=secure_version)


def boot(read: Read, hardware: Hardware) -> Boot:
    """Power on. A chip that starts nothing resets and tries again, in vain: the bootloader has
    tried every application, whatever otadata says.
    """
    machine = _Paper(read, hardware)
    try:
        _, started = _at_once(start(cast(Machine, machine), POWER_ON))
    except Reset:
        entries = _entries(machine.flash, _table(machine.flash))
        return Boot(None, None, None, entries, machine.said)
    image = started.image
    version = image.version or (image.app_desc.version if image.app_desc else None)
    entries = _entries(machine.flash, started.table)
    return Boot(started.partition.label, version, image.sha256, entries)


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("a boot on paper waited for something")


class _PaperFlash:
    """Reads through; writes into a copy of the sectors that they touch."""

    def __init__(self, read: Read, size: int) -> None:
        self.size = size
        self._read = read
        self._copies: dict[int, bytes] = {}

    def read(self, offset: int, length: int) -> bytes:
        span = sectors(offset, length)
        if self._copies.keys().isdisjoint(span):
            return self._read(offset, length)
        data = b"".join(map(self._sector, span))
        return data[offset - span.start * SECTOR_BYTES :][:length]

    def write(self, offset: int, data: bytes, *, erase: bool) -> None:
        for number in sectors(offset, len(data)):
            start = max(offset, number * SECTOR_BYTES)
            stop = min(offset + len(data), (number + 1) * SECTOR_BYTES)
            part = data[start - offset : stop - offset]
            old = self._sector(number)
            at = start % SECTOR_BYTES
            new = part if erase else programmed(old[at : at + len(part)], part)
            self._copies[number] = old[:at] + new + old[at + len(part) :]

    def _sector(self, number: int) -> bytes:
        copy = self._copies.get(number)
        return self._read(number * SECTOR_BYTES, SECTOR_BYTES) if copy is None else copy


class _PaperClock:
    """No time passes."""

    def now(self) -> float:
        return 0.0

    async def spend(self, device_s: float) -> None:
        pass

    sleep = spend


@dataclass
class _PaperFuses:
    secure_version: int

    def burn_secure_version(self, version: int) -> None:
        self.secure_version = max(self.secure_version, version)


class _Paper:
    """As much of a :class:`Machine` as ROM and bootloader use."""

    def __init__(self, read: Read, hardware: Hardware) -> None:
        self.name = "paper"
        self.chip = hardware.chip
        self.flash = _PaperFlash(read, hardware.flash_size)
        self.clock = _PaperClock()
        self.efuses = _PaperFuses(hardware.secure_version)
        self.foreign_rollback = hardware.foreign_rollback
        self.stage = "rom"
        self.said = ""

    def print(self, text: str) -> None:
        self.said = ANSI.sub("", text).strip() or self.said

    def complain(self, text: str) -> None:
        """Nobody asked for a board of paper."""

    async def erase(self, offset: int, size: int) -> None:
        self.flash.write(offset, b"\xff" * size, erase=True)

    async def program(self, offset: int, data: bytes) -> None:
        self.flash.write(offset, data, erase=False)


def _table(flash: _PaperFlash) -> PartitionTable | None:
    try:
        return PartitionTable.parse(flash.read(TABLE_OFFSET, TABLE_BYTES))
    except FirmwareError:
        return None


def _entries(flash: _PaperFlash, table: PartitionTable | None) -> tuple[str, ...]:
    place = table.otadata if table is not None else None
    if table is None or place is None or place.size < 2 * SECTOR_BYTES:
        return ()
    labels = [slot.label for slot in table.ota_slots]
    heads = (flash.read(place.offset + n * SECTOR_BYTES, otadata.ENTRY_BYTES) for n in (0, 1))
    return tuple(words_of(Entry.parse(head), labels) for head in heads)


def words_of(entry: Entry, labels: list[str]) -> str:
    """An otadata entry as the boot rules see it: ``app1 VALID``, or ``-`` where there is none."""
    state = entry.state.name if isinstance(entry.state, State) else "VALID?"
    if entry.seq == otadata.ERASED:
        return "-"
    if not entry.crc_ok:
        return f"{state} (wrong CRC)" if entry.state in (State.INVALID, State.ABORTED) else "-"
    return f"{labels[entry.slot(len(labels))]} {state}" if labels else state
