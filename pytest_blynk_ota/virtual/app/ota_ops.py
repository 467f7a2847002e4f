"""What ESP-IDF's esp_ota_ops.c does for a running application, with its order of flash writes.

Each change of otadata erases one 4 KB sector and programs 32 bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_blynk_ota.firmware import otadata
from pytest_blynk_ota.firmware.bootrules import check_image
from pytest_blynk_ota.firmware.otadata import ERASED, Entry, State
from pytest_blynk_ota.virtual.boot.bootloader import read_flash
from pytest_blynk_ota.virtual.boot.bootlog import SOFTWARE_CPU, error, info
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.partitions import Partition
    from pytest_blynk_ota.virtual.boot.bootloader import Started
    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine


class OtaOps:
    """esp_ota_ops for one boot: it knows which partition runs."""

    def __init__(self, machine: Machine, log: Log, started: Started) -> None:
        self._machine = machine
        self._log = log
        self._started = started
        self._table = started.table
        self._slots = started.table.ota_slots

    def next_update_partition(self) -> Partition | None:
        """The slot after the running one; the first if no slot runs."""
        if not self._slots:
            return None
        running = self._slot_of(self._started.partition)
        return self._slots[0 if running is None else (running + 1) % len(self._slots)]

    def running_is_pending(self) -> bool:
        """Whether the bootloader waits for this application's confirmation."""
        running = self._slot_of(self._started.partition)
        return any(
            entry.state == State.PENDING_VERIFY and entry.slot(len(self._slots)) == running
            for entry in self._entries()
            if entry.is_valid
        )

    def verify(self, partition: Partition) -> bool:
        """The full image check; a fault is logged at ERROR, as in the bootloader."""
        chip = self._machine.chip
        problem = check_image(read_flash(self._machine), partition, chip.name, chip.revision)
        if problem is not None:
            self._log.idf([error(*problem.log)])
        return problem is None

    async def set_boot_partition(self, partition: Partition) -> bool:
        """Verify the image, then let the bootloader start it. False: refused."""
        if not self.verify(partition):
            return False
        target, count = self._slot_of(partition), len(self._slots)
        if target is None or self._table.otadata is None:
            return False
        entries = self._entries()
        active = otadata.active(entries)
        state = State.NEW if self._started.rollback else State.UNDEFINED
        if active is None:
            await self._rewrite(0, Entry(target + 1, state))
            return True
        seq = target + 1
        while seq < entries[active].seq:
            seq += count
        sector = active if seq == entries[active].seq else 1 - active
        await self._rewrite(sector, Entry(seq, state))
        return True

    async def mark_valid(self) -> None:
        """esp_ota_mark_app_valid_cancel_rollback."""
        entries = self._entries()
        active = otadata.active(entries)
        if active is not None and entries[active].state != State.VALID:
            await self._rewrite(active, replace(entries[active], state=State.VALID))

    async def mark_invalid_and_reboot(self) -> None:
        """esp_ota_mark_app_invalid_rollback_and_reboot; returns if there is nothing to go back to.

        Raises:
            Reset: the application has rejected itself.
        """
        entries = self._entries()
        active = otadata.active(entries)
        if active is None or not self._rollback_possible(entries, active):
            why = "Rollback is not possible, do not have any suitable apps in slots"
            self._log.idf([error("esp_ota_ops", why)])
            return
        self._log.idf([info("esp_ota_ops", "Rollback to previously worked partition. Restart.")])
        await self._rewrite(active, replace(entries[active], state=State.INVALID))
        raise Reset(SOFTWARE_CPU)

    def _rollback_possible(self, entries: tuple[Entry, Entry], active: int) -> bool:
        other = entries[1 - active]
        if other.is_valid and self.verify(self._slots[other.slot(len(self._slots))]):
            return True
        factory = self._table.factory
        return factory is not None and self.verify(factory)

    def _slot_of(self, partition: Partition) -> int | None:
        offsets = [slot.offset for slot in self._slots]
        return offsets.index(partition.offset) if partition.offset in offsets else None

    def _entries(self) -> tuple[Entry, Entry]:
        place = self._table.otadata
        if place is None:
            return Entry(ERASED, ERASED), Entry(ERASED, ERASED)
        return otadata.parse(self._machine.flash.read(place.offset, 2 * SECTOR_BYTES))

    async def _rewrite(self, sector: int, entry: Entry) -> None:
        place = self._table.otadata
        assert place is not None
        offset = place.offset + sector * SECTOR_BYTES
        await self._machine.erase(offset, SECTOR_BYTES)
        await self._machine.program(offset, entry.build())
