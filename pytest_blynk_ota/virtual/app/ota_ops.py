"""What ESP-IDF's esp_ota_ops.c does for a running application, with its order of flash writes.

Each change of otadata erases one 4 KB sector and programs 32 bytes. An update through the handle::

    begin    refused while the running application is PENDING (rollback builds)
             erase the slot, then (rollback builds) the inactive entry if it names another slot
    write    program what comes; with SEQUENTIAL_WRITES each sector is erased as it is reached
    end      verify the whole image
    then     set_boot_partition: verify again, erase and program the inactive entry
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_blynk_ota.firmware import otadata
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import DESC_AT, DESC_MAGIC, HEADER, MAGIC
from pytest_blynk_ota.firmware.imagecheck import Checks
from pytest_blynk_ota.firmware.otadata import ERASED, Entry, State
from pytest_blynk_ota.virtual.app.ota_errors import LAST_WORDS, OtaError, OtaRefused
from pytest_blynk_ota.virtual.boot.bootloader import read_flash
from pytest_blynk_ota.virtual.boot.bootlog import error, info
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.boot.rom import SOFTWARE_CPU
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.partitions import Partition
    from pytest_blynk_ota.virtual.boot.bootloader import Started
    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine

SIZE_UNKNOWN = 0xFFFFFFFF
"""``OTA_SIZE_UNKNOWN``: the whole partition is erased at the beginning."""
SEQUENTIAL_WRITES = 0xFFFFFFFE
"""``OTA_WITH_SEQUENTIAL_WRITES``: each sector is erased when it is reached."""
CHIP_ID = 7
"""Which field of an image header."""
SECURE_VERSION = struct.Struct("<II")
"""Magic and secure version, the first words of ``esp_app_desc_t``."""
TAG = "esp_ota_ops"


class OtaHandle:
    """One update through ``esp_ota_begin``, ``_write`` and ``_end``."""

    def __init__(self, ops: OtaOps, target: Partition, sequential: bool) -> None:
        self._ops = ops
        self._machine = ops.machine
        self.target = target
        self._sequential = sequential
        self.written = 0

    async def write(self, data: bytes) -> None:
        """``esp_ota_write``: program ``data`` behind what is there.

        Raises:
            OtaRefused: the first byte is not an image's, or the partition ends.
        """
        if not data:
            return
        if self._sequential:
            await self._erase_for(len(data))
        if self.written == 0 and data[0] != MAGIC:
            self._ops.complain("magic", data[0])
            raise OtaRefused(OtaError.VALIDATE_FAILED)
        if self.written + len(data) > self.target.size:
            raise OtaRefused(OtaError.INVALID_SIZE)
        await self._machine.program(self.target.offset + self.written, data)
        self.written += len(data)

    async def end(self) -> None:
        """``esp_ota_end``: check what was written.

        Raises:
            OtaRefused: nothing was written, or it is no image that can be started.
        """
        if self.written == 0:
            raise OtaRefused(OtaError.INVALID_ARG)
        if not self._ops.verify(self.target):
            self._ops.complain("verify")
            raise OtaRefused(OtaError.VALIDATE_FAILED)

    async def _erase_for(self, size: int) -> None:
        first, last = self.written // SECTOR_BYTES, (self.written + size - 1) // SECTOR_BYTES
        if self.written % SECTOR_BYTES:
            first += 1
        if first > last:
            return
        if (last + 1) * SECTOR_BYTES > self.target.size:
            raise OtaRefused(OtaError.INVALID_SIZE)
        start = self.target.offset + first * SECTOR_BYTES
        await self._machine.erase(start, (last - first + 1) * SECTOR_BYTES)


class OtaOps:
    """esp_ota_ops for one boot: it knows which partition runs."""

    def __init__(self, machine: Machine, log: Log, started: Started) -> None:
        self.machine = machine
        self._log = log
        self._started = started
        self._table = started.table
        self._slots = started.table.ota_slots
        self._anti_rollback = started.secured

    def next_update_partition(self) -> Partition | None:
        """The slot after the running one; the first if no slot runs."""
        if not self._slots:
            return None
        running = self._slot_of(self._started.partition)
        return self._slots[0 if running is None else (running + 1) % len(self._slots)]

    def running_is_pending(self) -> bool:
        """Whether the bootloader waits for this application's confirmation."""
        return self.running_state() == State.PENDING_VERIFY

    def running_state(self) -> int | None:
        """The state of the running one; None: it is in no entry."""
        return self.state_of(self._started.partition)

    def state_of(self, partition: Partition) -> int | None:
        """``esp_ota_get_state_partition``; None: it is in no entry."""
        sector = self.sector_of(partition)
        return None if sector is None else self.entries()[sector].state

    def sector_of(self, partition: Partition) -> int | None:
        """The first sector of otadata whose entry names this one; None: it is in no entry."""
        slot = self._slot_of(partition)
        for sector, entry in enumerate(self.entries()) if slot is not None else ():
            if entry.crc_ok and entry.slot(len(self._slots)) == slot:
                return sector
        return None

    async def begin(self, target: Partition | None, size: int = SIZE_UNKNOWN) -> OtaHandle:
        """``esp_ota_begin``.

        Args:
            size: bytes to come, :data:`SIZE_UNKNOWN` (0 too) or :data:`SEQUENTIAL_WRITES`.

        Raises:
            OtaRefused: the target runs or is no slot, or the running application is PENDING.
        """
        if target is None:
            raise OtaRefused(OtaError.INVALID_ARG)
        if target.offset == self._started.partition.offset:
            raise OtaRefused(OtaError.PARTITION_CONFLICT)
        if self._started.rollback and self.running_is_pending():
            self.complain("pending")
            raise OtaRefused(OtaError.ROLLBACK_INVALID_STATE)
        if size != SEQUENTIAL_WRITES:
            await self._erase_slot(target, size)
        if self._started.rollback:
            await self._forget_last_boot()
        return OtaHandle(self, target, size == SEQUENTIAL_WRITES)

    async def _erase_slot(self, target: Partition, size: int) -> None:
        whole = size in (0, SIZE_UNKNOWN)
        sectors = (target.size if whole else size + SECTOR_BYTES - 1) // SECTOR_BYTES
        if sectors * SECTOR_BYTES > target.size:
            raise OtaRefused(OtaError.INVALID_SIZE)
        await self.machine.erase(target.offset, sectors * SECTOR_BYTES)

    async def _forget_last_boot(self) -> None:
        """``esp_ota_invalidate_inactive_ota_data_slot``: no way back to half an update."""
        entries = self.entries()
        active = otadata.active(entries)
        if active is None or self._table.otadata is None:
            return
        other = entries[1 - active]
        if other.is_initial:
            return
        slot = self._slots[other.slot(len(self._slots))]
        if slot.offset != self._started.partition.offset:
            await self._erase_entry(1 - active)

    def verify(self, partition: Partition, *, silent: bool = False, any_chip: bool = False) -> bool:
        """The full image check: its segments are logged at INFO, a fault at ERROR.

        Args:
            any_chip: whether the chip id in the header does not matter; to ESP-IDF it does.
        """
        chip, desc = self.machine.chip, self._started.image.app_desc
        model = CHIPS[chip.name]
        if any_chip:
            header = HEADER.unpack(self.machine.flash.read(partition.offset, HEADER.size))
            model = replace(model, image_id=header[CHIP_ID])
        checks = Checks(model, chip.revision, idf=desc.idf if desc else None)
        seen, problem = checks.look(read_flash(self.machine), partition)
        if not silent:
            self._log.idf(info("esp_image", segment.text) for segment in seen)
            if problem is not None:
                self._log.idf([error(*problem.log)])
        return problem is None

    async def set_boot_partition(self, partition: Partition) -> bool:
        """Verify the image, then let the bootloader start it. False: refused."""
        try:
            await self.choose(partition)
        except OtaRefused:
            return False
        return True

    async def choose(self, partition: Partition) -> None:
        """``esp_ota_set_boot_partition``.

        Raises:
            OtaRefused: the image, its secure version or the table do not allow it.
        """
        if not self.verify(partition):
            raise OtaRefused(OtaError.VALIDATE_FAILED)
        place, factory = self._table.otadata, self._table.factory
        if place is None:
            raise OtaRefused(OtaError.NO_PARTITION)
        if factory is not None and partition.offset == factory.offset:
            await self.machine.erase(place.offset, place.size)
            return
        if self._anti_rollback and not self._secure_enough(partition):
            self.complain("secure")
            await self.machine.erase(partition.offset, partition.size)
            raise OtaRefused(OtaError.SMALL_SECURE_VERSION)
        await self.select(partition)

    async def select(self, partition: Partition) -> None:
        """``esp_rewrite_ota_data``: what is in the slot is not looked at.

        Raises:
            OtaRefused: it is no slot.
        """
        await self.rewrite(*self.planned(partition))

    def planned(self, partition: Partition) -> tuple[int, Entry]:
        """Which sector of otadata would select a slot, and the entry there.

        Raises:
            OtaRefused: it is no slot.
        """
        target = self._slot_of(partition)
        if target is None:
            raise OtaRefused(OtaError.INVALID_ARG)
        entries, count = self.entries(), len(self._slots)
        active = otadata.active(entries)
        sector, seq = 0, target + 1
        if active is not None and entries[active].slot(count) == target:
            sector, seq = active, entries[active].seq
        elif active is not None:
            sector, seq = 1 - active, (target + 1) % count
            seq += max(0, -(-(entries[active].seq - seq) // count)) * count
        state = State.NEW if self._started.rollback else State.UNDEFINED
        return sector, replace(entries[sector], seq=seq, state=state, wrong_crc=None)

    async def mark_valid(self) -> None:
        """``esp_ota_mark_app_valid_cancel_rollback``.

        With anti-rollback the secure version of the running image is burnt then.
        """
        entries = self.entries()
        active = otadata.active(entries)
        if active is None or not self._slots:
            self.complain("factory")
            return
        if entries[active].state != State.VALID:
            await self.rewrite(active, replace(entries[active], state=State.VALID))
            if self._anti_rollback:
                self.machine.efuses.burn_secure_version(self._secure_version())

    async def mark_invalid_and_reboot(self) -> None:
        """``esp_ota_mark_app_invalid_rollback_and_reboot``; returns where it is not possible.

        Raises:
            Reset: the application has rejected itself.
        """
        entries = self.entries()
        active = otadata.active(entries)
        if active is None or not self._slots:
            self.complain("factory")
            return
        if not self.rollback_is_possible():
            self.complain("rollback")
            return
        await self.rewrite(active, replace(entries[active], state=State.INVALID))
        self._log.idf([info(TAG, "Rollback to previously worked partition. Restart.")])
        raise Reset(SOFTWARE_CPU)

    def rollback_is_possible(self) -> bool:
        """``esp_ota_check_rollback_is_possible``: the other entry's image, else the factory's."""
        entries = self.entries()
        active = otadata.active(entries)
        if active is None or not self._slots:
            return False
        other, factory = entries[1 - active], self._table.factory
        if other.is_valid:
            slot = self._slots[other.slot(len(self._slots))]
            return self.verify(slot, silent=True) and (
                not self._anti_rollback or self._secure_enough(slot)
            )
        if self._anti_rollback or factory is None:
            return False
        return self.verify(factory, silent=True)

    def complain(self, which: str, *values: object) -> None:
        """Log a line of :data:`LAST_WORDS`."""
        self._log.idf([error(TAG, LAST_WORDS[which].format(*values))])

    def _secure_enough(self, partition: Partition) -> bool:
        start = self.machine.flash.read(partition.offset + DESC_AT, SECURE_VERSION.size)
        magic, version = SECURE_VERSION.unpack(start)
        burnt: int = self.machine.efuses.secure_version
        return bool(magic == DESC_MAGIC and version >= burnt)

    def _secure_version(self) -> int:
        desc = self._started.image.app_desc
        return desc.secure_version if desc else 0

    def _slot_of(self, partition: Partition) -> int | None:
        offsets = [slot.offset for slot in self._slots]
        return offsets.index(partition.offset) if partition.offset in offsets else None

    def entries(self) -> tuple[Entry, Entry]:
        """Both entries of otadata; without one, two that are erased."""
        place = self._table.otadata
        if place is None:
            return Entry(ERASED, ERASED), Entry(ERASED, ERASED)
        return otadata.parse(self.machine.flash.read(place.offset, 2 * SECTOR_BYTES))

    async def rewrite(self, sector: int, entry: Entry) -> None:
        """Erase a sector of otadata and program its entry."""
        await self._erase_entry(sector)
        place = self._table.otadata
        assert place is not None
        await self.machine.program(place.offset + sector * SECTOR_BYTES, entry.build())

    async def _erase_entry(self, sector: int) -> None:
        place = self._table.otadata
        assert place is not None
        await self.machine.erase(place.offset + sector * SECTOR_BYTES, SECTOR_BYTES)
