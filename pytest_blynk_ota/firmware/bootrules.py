"""Which application the second-stage bootloader starts, and what it writes on the way.

The rules of ESP-IDF's bootloader_utility.c, as pure code over a ``read(offset, length)``; they
agree with the recorded decisions of six real bootloaders (docs/explanation/boot-rules.md)::

    no otadata partition            -> factory
    rollback: PENDING -> ABORTED    (each such entry, a wrong CRC is kept)
    both invalid, or no slots       -> factory, else slot 0
    a valid entry                   -> its slot; rollback: NEW -> PENDING
    no valid entry                  -> factory, else all slots from 0

From there the search goes down to slot 0 and factory, then up, then to the test application.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_blynk_ota.firmware import otadata
from pytest_blynk_ota.firmware.chips import Chip
from pytest_blynk_ota.firmware.imagecheck import (
    Problem,
    Reader,
    SegmentSeen,
    check_image,
    look_at_image,
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
    "Problem",
    "Reader",
    "Write",
    "check_image",
    "decide",
    "last_booted",
]

FACTORY_INDEX = -1
OTADATA_BYTES = 2 * SECTOR_BYTES


@dataclass(frozen=True, slots=True)
class Log:
    """A line of the bootloader's log: level ``I``, ``W`` or ``E``."""

    level: str
    tag: str
    text: str


@dataclass(frozen=True, slots=True)
class Write:
    """A change of otadata: erase the sector at ``offset``, then program ``data`` there."""

    offset: int
    data: bytes
    erase: int = SECTOR_BYTES


@dataclass(frozen=True, slots=True)
class Decision:
    """What one boot does.

    Attributes:
        table: the partition table that it went by.
        loaded: the application that starts; ``None``: nothing does, the chip resets and tries
            again.
        steps: log lines and writes in their order.
        rejected: partitions tried in vain, with the reason.
        burn: the secure version that is burnt into the eFuses; ``None``: they stay.
    """

    table: PartitionTable
    loaded: Partition | None
    steps: tuple[Log | Write, ...]
    rejected: tuple[tuple[Partition, Problem], ...]
    burn: int | None = None

    @property
    def writes(self) -> tuple[Write, ...]:
        """The changes of otadata alone."""
        return tuple(step for step in self.steps if isinstance(step, Write))


def decide(
    read: Reader,
    rollback: bool,
    chip: Chip,
    *,
    revision: int | None = None,
    table: PartitionTable | None = None,
    flash_size: int | None = None,
    secure_version: int | None = None,
    idf: str | None = None,
) -> Decision:
    """What the bootloader does with this flash.

    Args:
        read: bytes of flash.
        rollback: whether it was built with CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE.
        chip: the chip that boots.
        revision: of the chip, major * 100 + minor; ``None``: image revisions are not checked.
        table: the partition table, if it has been read.
        flash_size: what the bootloader's own header says.
        secure_version: what the eFuses hold, for a bootloader with
            CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK; ``None``: it is built without.
        idf: ESP-IDF's version in the bootloader (``v5.0.1``); ``None``: not known, taken as new.

    Raises:
        FirmwareError: there is no partition table that it accepts; the text is its own.
    """
    if table is None:
        table = PartitionTable.parse(read(TABLE_OFFSET, TABLE_BYTES), flash_size=flash_size)
    return _Boot(read, rollback, chip, revision, table).run()


class _Boot:
    """One decision under way."""

    def __init__(
        self, read: Reader, rollback: bool, chip: Chip, revision: int | None, table: PartitionTable
    ) -> None:
        self._read, self._rollback = read, rollback
        self._chip, self._revision = chip, revision
        self._table = table
        self._slots = {row.slot: row for row in table.ota_slots}
        self._initial = False
        self._steps: list[Log | Write] = []
        self._rejected: list[tuple[Partition, Problem]] = []

    def run(self) -> Decision:
        place = self._table.otadata
        if place is not None and place.size < OTADATA_BYTES:
            self._log("E", f"ota_info partition size {place.size} is too small "
                           f"(minimum {OTADATA_BYTES} bytes)")  # fmt: skip
            return self._decision(None)
        index = FACTORY_INDEX if place is None else self._select(place)
        return self._decision(self._load(index))

    def _select(self, place: Partition) -> int:
        """``bootloader_utility_get_selected_boot_partition``."""
        entries = self._abort_pending(place, list(self._entries(place)))
        if all(entry.is_invalid for entry in entries) or not self._slots:
            if self._table.factory is not None:
                self._log("I", "Defaulting to factory image")
                return FACTORY_INDEX
            self._log("I", "No factory image, trying OTA 0")
            self._initial = all(entry.is_initial for entry in entries)
            return 0
        active = otadata.active((entries[0], entries[1]))
        if active is not None:
            if self._rollback and entries[active].state == State.NEW:
                self._rewrite(place, active, replace(entries[active], state=State.PENDING_VERIFY))
            return entries[active].slot(len(self._slots))
        invalid = "ota data partition invalid"
        if self._table.factory is not None:
            self._log("E", f"{invalid}, falling back to factory")
        else:
            self._log("E", f"{invalid} and no factory, will try all partitions")
        return FACTORY_INDEX

    def _entries(self, place: Partition) -> tuple[Entry, Entry]:
        return (
            Entry.parse(self._read(place.offset, otadata.ENTRY_BYTES)),
            Entry.parse(self._read(place.offset + SECTOR_BYTES, otadata.ENTRY_BYTES)),
        )

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
            if partition is None:
                continue
            if self._starts(partition):
                self._set_actual_seq(index)
                return partition
            name = "Factory app partition" if index < 0 else f"OTA app partition slot {index}"
            self._log("E", f"{name} is not bootable")
        test = self._table.test
        if test is not None and self._starts(test):
            self._log("W", "Falling back to test app as only bootable partition")
            return test
        self._log("E", "No bootable app partitions in the partition table")
        return None

    def _order(self, start: int) -> Iterator[int]:
        yield from range(start, FACTORY_INDEX - 1, -1)
        yield from range(start + 1, len(self._slots))

    def _starts(self, partition: Partition) -> bool:
        seen, problem = look_at_image(self._read, partition, self._chip, self._revision)
        self._steps += [_segment_line(segment) for segment in seen]
        if problem is not None:
            self._steps.append(Log("E", *problem.log))
            self._rejected.append((partition, problem))
            return False
        self._log("I", f"Loaded app from partition at offset 0x{partition.offset:x}")
        return True

    def _set_actual_seq(self, index: int) -> None:
        """After a start with blank otadata the slot that was found is written down."""
        place = self._table.otadata
        if not self._initial or place is None:
            return
        self._rewrite(place, 0, Entry(index + 1, State.VALID))
        self._log("I", f"Set actual ota_seq={index + 1} in otadata[0]")

    def _log(self, level: str, text: str) -> None:
        self._steps.append(Log(level, "boot", text))

    def _decision(self, loaded: Partition | None) -> Decision:
        return Decision(self._table, loaded, tuple(self._steps), tuple(self._rejected))


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
