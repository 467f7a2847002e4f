"""Which application the second-stage bootloader starts, and what it writes on the way.

The rules of ESP-IDF's bootloader_utility.c, as pure code over a ``read(offset, length)``; they
agree with the recorded decisions of six real bootloaders (docs/explanation/boot-rules.md)::

    no otadata partition            -> factory
    rollback: PENDING -> ABORTED    (each such entry, a wrong CRC is kept)
    both invalid, or no slots       -> factory, else slot 0
    a valid entry                   -> its slot; rollback: NEW -> PENDING
    no valid entry                  -> factory, else all slots from 0

From there the search goes down to slot 0 and factory, then up, then to the test application.
With anti-rollback the third rule is another, and a valid entry counts only if the application
there is not older than the eFuses: firmware/antirollback.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pytest_blynk_ota.firmware import otadata
from pytest_blynk_ota.firmware.antirollback import SecureVersions
from pytest_blynk_ota.firmware.chips import Chip
from pytest_blynk_ota.firmware.decision import Decision, Log, Rule, Write
from pytest_blynk_ota.firmware.imagecheck import (
    Checks,
    Looked,
    Problem,
    Reader,
    SegmentSeen,
    check_image,
)
from pytest_blynk_ota.firmware.otadata import SECTOR_BYTES, Entry, State
from pytest_blynk_ota.firmware.partitions import (
    TABLE_BYTES,
    TABLE_OFFSET,
    Partition,
    PartitionTable,
)

__all__ = [
    "Decision",
    "Log",
    "Looker",
    "Problem",
    "Reader",
    "Rule",
    "Write",
    "check_image",
    "decide",
    "last_booted",
]

FACTORY_INDEX = -1
OTADATA_BYTES = 2 * SECTOR_BYTES

Looker = Callable[[Partition], Looked]
"""Holds the image in a partition against the bootloader's checks."""


def decide(
    read: Reader,
    rollback: bool,
    chip: Chip,
    *,
    revision: int | None = None,
    block_revision: int | None = None,
    table: PartitionTable | None = None,
    table_offset: int = TABLE_OFFSET,
    flash_size: int | None = None,
    secure_version: int | None = None,
    idf: str | None = None,
    look: Looker | None = None,
) -> Decision:
    """What the bootloader does with this flash.

    Args:
        read: bytes of flash.
        rollback: whether it was built with CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE.
        chip: the chip that boots.
        revision: of the chip, major * 100 + minor; ``None``: not known, an image is refused only
            if it asks for more than any chip has.
        block_revision: of its eFuse block; ``None``: not known, not checked.
        table: the partition table, if it has been read.
        table_offset: where it stands (CONFIG_PARTITION_TABLE_OFFSET).
        flash_size: what the bootloader's own header says.
        secure_version: what the eFuses hold, for a bootloader with
            CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK; ``None``: it is built without.
        idf: ESP-IDF's version in the bootloader (``v5.0.1``); ``None``: not known, taken as new.
        look: instead of checking images itself, for a caller that remembers what it found.

    Raises:
        FirmwareError: there is no partition table that it accepts; the text is its own.
    """
    if table is None:
        raw = read(table_offset, TABLE_BYTES)
        table = PartitionTable.parse(raw, flash_size=flash_size, idf=idf)
    if look is None:
        checks = Checks(chip, revision, block_revision, idf)

        def look(partition: Partition) -> Looked:
            return checks.look(read, partition)

    versions = None if secure_version is None else SecureVersions(read, chip, secure_version)
    return _Boot(read, rollback, chip, table, look, versions).run()


class _Boot:
    """One decision under way."""

    def __init__(
        self,
        read: Reader,
        rollback: bool,
        chip: Chip,
        table: PartitionTable,
        look: Looker,
        versions: SecureVersions | None,
    ) -> None:
        self._read, self._rollback, self._look = read, rollback, look
        self._mmap_bytes = chip.mmap_bytes
        self._table, self._versions = table, versions
        self._slots = {row.slot: row for row in table.ota_slots}
        self._count = len(table.ota_slots)  # rows: one that stands there twice counts twice
        factory = table.factory
        self._has_factory = factory is not None and factory.offset != 0
        self._initial = False
        self._active: int | None = None
        self._steps: list[Log | Write] = []
        self._rejected: list[tuple[Partition, Problem]] = []

    def run(self) -> Decision:
        place = self._table.otadata
        if place is None or place.offset == 0:
            return self._decision(Rule.NO_OTADATA, self._load(FACTORY_INDEX))
        if place.size < OTADATA_BYTES:
            self._log("E", f"ota_info partition size {place.size} is too small "
                           f"(minimum {OTADATA_BYTES} bytes)")  # fmt: skip
            return self._decision(Rule.OTADATA_SMALL, None)
        entries = self._entries(place)
        if entries is None:
            self._log("E", f"bootloader_mmap(0x{place.offset:x}, 0x{place.size:x}) failed")
            return self._decision(Rule.OTADATA_UNREADABLE, None)
        index, rule = self._select(place, self._abort_pending(place, entries))
        return self._decision(rule, self._load(index))

    def _select(self, place: Partition, entries: list[Entry]) -> tuple[int, Rule]:
        """``bootloader_utility_get_selected_boot_partition``: where the search begins, and why."""
        self._initial = all(entry.is_initial for entry in entries)
        if self._versions is not None:
            self._steps += self._versions.greeting()
            if self._initial:
                self._log("I", "otadata[0..1] in initial state")
                return FACTORY_INDEX, Rule.INITIAL
        elif all(entry.is_invalid for entry in entries) or not self._count:
            return self._default()
        self._initial = False
        valid = [number for number in (0, 1) if self._counts(entries[number])]
        active = max(valid, key=lambda number: (entries[number].seq, -number), default=None)
        if active is not None:
            return self._slot_of(place, active, entries[active]), Rule.ENTRY
        fallback = "falling back to factory" if self._has_factory else (
            "and no factory, will try all partitions")  # fmt: skip
        comma = "," if self._has_factory else ""
        self._log("E", f"ota data partition invalid{comma} {fallback}")
        return FACTORY_INDEX, Rule.NO_ENTRY

    def _default(self) -> tuple[int, Rule]:
        if self._has_factory:
            self._initial = False
            self._log("I", "Defaulting to factory image")
            return FACTORY_INDEX, Rule.FACTORY
        self._log("I", "No factory image, trying OTA 0")
        return 0, Rule.SLOT_0

    def _counts(self, entry: Entry) -> bool:
        if not entry.is_valid or self._versions is None:
            return entry.is_valid
        slot = self._slots.get(entry.slot(self._count)) if self._count else None
        return self._allowed(slot)

    def _slot_of(self, place: Partition, active: int, entry: Entry) -> int:
        """The slot of the active entry, which is marked as tried."""
        self._active = active
        index = entry.slot(self._count)
        if self._rollback and entry.state == State.NEW:
            self._rewrite(place, active, replace(entry, state=State.PENDING_VERIFY))
        if entry.state == State.VALID:
            self._burn(index)
        return index

    def _entries(self, place: Partition) -> list[Entry] | None:
        offsets = (place.offset, place.offset + SECTOR_BYTES)
        raw = [self._read(offset, otadata.ENTRY_BYTES) for offset in offsets]
        if place.size > self._mmap_bytes or any(len(data) < otadata.ENTRY_BYTES for data in raw):
            return None
        return [Entry.parse(data) for data in raw]

    def _abort_pending(self, place: Partition, entries: list[Entry]) -> list[Entry]:
        """An application that was started once and has not confirmed itself is given up."""
        for number, entry in enumerate(entries):
            if self._rollback and entry.state == State.PENDING_VERIFY:
                entries[number] = replace(entry, state=State.ABORTED)
                self._rewrite(place, number, entries[number])
        return entries

    def _rewrite(self, place: Partition, number: int, entry: Entry) -> None:
        self._steps.append(Write(place.offset + number * SECTOR_BYTES, entry.build()))

    def _load(self, start: int) -> Partition | None:
        """``bootloader_utility_load_boot_image``."""
        for index in self._order(start):
            partition = self._table.factory if index == FACTORY_INDEX else self._slots.get(index)
            if partition is None or partition.size == 0:
                continue
            if self._starts(partition):
                self._set_actual_seq(index)
                return partition
            name = "Factory app partition" if index < 0 else f"OTA app partition slot {index}"
            self._log("E", f"{name} is not bootable")
        test = self._table.test
        if self._starts(test):
            self._log("W", "Falling back to test app as only bootable partition")
            return test
        self._log("E", "No bootable app partitions in the partition table")
        return None

    def _order(self, start: int) -> Iterator[int]:
        yield from range(start, FACTORY_INDEX - 1, -1)
        yield from range(start + 1, self._count)

    def _starts(self, partition: Partition | None) -> bool:
        if not self._allowed(partition) or partition is None or partition.size == 0:
            return False
        seen, problem = self._look(partition)
        self._steps += [_segment_line(segment) for segment in seen]
        if problem is not None:
            self._steps.append(Log("E", *problem.log))
            self._rejected.append((partition, problem))
            return False
        self._log("I", f"Loaded app from partition at offset 0x{partition.offset:x}")
        return True

    def _allowed(self, partition: Partition | None) -> bool:
        """``check_anti_rollback``."""
        if self._versions is None:
            return True
        lines, problem = self._versions.check(partition)
        self._steps += lines
        if problem is not None and partition is not None:
            self._rejected.append((partition, problem))
        return problem is None

    def _burn(self, index: int) -> None:
        """``update_anti_rollback``."""
        if self._versions is not None:
            self._steps += self._versions.update(self._slots.get(index))

    def _set_actual_seq(self, index: int) -> None:
        """After a start with blank otadata the slot that was found is written down."""
        place = self._table.otadata
        if not self._initial or place is None or index == FACTORY_INDEX:
            return
        self._rewrite(place, 0, Entry(index + 1, State.VALID))
        self._log("I", f"Set actual ota_seq={index + 1} in otadata[0]")
        self._burn(index)

    def _log(self, level: str, text: str) -> None:
        self._steps.append(Log(level, "boot", text))

    def _decision(self, rule: Rule, loaded: Partition | None) -> Decision:
        burnt = None if self._versions is None else self._versions.burnt
        steps, rejected = tuple(self._steps), tuple(self._rejected)
        return Decision(self._table, loaded, steps, rejected, rule, self._active, burnt)


def _segment_line(segment: SegmentSeen) -> Log:
    return Log("I", "esp_image", segment.text.rstrip())


def last_booted(entries: tuple[Entry, Entry], slots: Sequence[Partition]) -> Partition | None:
    """The slot that the running application came from, by otadata as it stands.

    An entry in state NEW is to be booted next and has not been; one in PENDING_VERIFY has.
    ``None``: no entry says so, the factory application or the first slot runs.
    """
    booted = [entry for entry in entries if entry.is_valid and entry.state != State.NEW]
    if not booted or not slots:
        return None
    return slots[max(booted, key=lambda entry: entry.seq).slot(len(slots))]
