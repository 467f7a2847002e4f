"""What an update was doing at each of its flash operations, told by who did it, where and when.

Of otadata the entry that is about to be written says it: every change erases a sector, then
programs 32 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.otadata import ENTRY_BYTES, ERASED, Entry, State
from pytest_blynk_ota.firmware.partitions import (
    APP,
    TABLE_BYTES,
    TABLE_OFFSET,
    Partition,
    PartitionTable,
)
from pytest_blynk_ota.virtual.chip.operations import SECTOR_BYTES, Operation
from pytest_blynk_ota.virtual.chip.snapshot import Snapshot

AT_THE_START = "before the first operation"
AT_THE_END = "after the last operation"

BY_BOOTLOADER: Mapping[int, str] = {
    State.PENDING_VERIFY: "bootloader: NEW to PENDING",
    State.ABORTED: "bootloader: PENDING to ABORTED",
    State.VALID: "bootloader: noting the slot it found",
}
BY_APP: Mapping[int, str] = {
    State.NEW: "selecting {slot}",
    State.UNDEFINED: "selecting {slot}",
    State.VALID: "confirming",
    State.INVALID: "rejecting itself",
}


def phases(operations: Sequence[Operation], base: Snapshot, running: str | None) -> list[str]:
    """The phase of each operation.

    Args:
        running: label of the slot that was started before the first one.
    """
    try:
        table = PartitionTable.parse(base.read(TABLE_OFFSET, TABLE_BYTES))
    except FirmwareError:
        table = PartitionTable(())
    return _Reader(operations, base, table, running).read()


def trials(operations: Sequence[Operation], base: Snapshot) -> list[bool]:
    """Whether an application is on trial when each operation begins, and after the last: started
    once, and neither confirmed nor given up.
    """
    try:
        place = PartitionTable.parse(base.read(TABLE_OFFSET, TABLE_BYTES)).otadata
    except FirmwareError:
        place = None
    found = [False]
    for operation in operations:
        inside = place is not None and place.offset <= operation.offset < place.offset + place.size
        whole = inside and not operation.is_erase and len(operation.data) >= ENTRY_BYTES
        state = Entry.parse(operation.data).state if whole else None
        found.append(found[-1] if state is None else state == State.PENDING_VERIFY)
    return found


class _Reader:
    """Goes through the operations once, keeping what it has seen of slots and otadata."""

    def __init__(
        self,
        operations: Sequence[Operation],
        base: Snapshot,
        table: PartitionTable,
        running: str | None,
    ) -> None:
        self._operations = operations
        self._table = table
        self._running = running
        self._written: dict[str, int] = {}
        """How far each slot has been programmed."""
        self._entries: dict[int, Entry] = {}
        """What stood in each sector of otadata when it was last whole."""
        place = table.otadata
        if place is not None:
            for start in range(place.offset, place.offset + place.size, SECTOR_BYTES):
                self._entries[start] = Entry.parse(base.read(start, ENTRY_BYTES))

    def read(self) -> list[str]:
        return [self._phase(number) for number in range(len(self._operations))]

    def _phase(self, number: int) -> str:
        operation = self._operations[number]
        place = self._place(operation.offset)
        if place is None:
            return "bootloader or partition table" if self._is_low(operation) else "no partition"
        if place == self._table.otadata:
            return self._of_otadata(number)
        if place.type == APP:
            return self._of_slot(operation, place)
        return f"settings ({place.label})" if place.label == "nvs" else f"data ({place.label})"

    def _place(self, offset: int) -> Partition | None:
        rows = self._table.rows
        return next((row for row in rows if row.offset <= offset < row.offset + row.size), None)

    def _is_low(self, operation: Operation) -> bool:
        return operation.offset < TABLE_OFFSET + SECTOR_BYTES

    def _of_slot(self, operation: Operation, place: Partition) -> str:
        if place.label == self._running and operation.boot == self._operations[0].boot:
            return f"overwriting the running {place.label}"
        written = self._written.get(place.label, 0)
        if operation.is_erase:
            self._written[place.label] = min(written, operation.offset)
        elif operation.offset < written:
            return f"last bytes of {place.label}"  # Arduino holds the first 16 back until the end
        else:
            self._written[place.label] = operation.offset + operation.length
        return f"writing {place.label}"

    def _of_otadata(self, number: int) -> str:
        operation = self._operations[number]
        sector = operation.offset // SECTOR_BYTES * SECTOR_BYTES
        entry = self._coming(number, sector)
        if entry is None:
            return "erasing otadata"
        old = self._entries.get(sector)
        if not operation.is_erase:
            self._entries[sector] = entry
        if operation.author == "bootloader":
            return BY_BOOTLOADER.get(entry.state, "bootloader: otadata")
        confirms = old is not None and old.seq == entry.seq
        if entry.state == State.VALID and not confirms:
            return BY_APP[State.NEW].format(slot=self._slot_of(entry))
        return BY_APP.get(entry.state, "otadata").format(slot=self._slot_of(entry))

    def _coming(self, number: int, sector: int) -> Entry | None:
        """The entry that is programmed into this sector next, before it is erased again."""
        for later in self._operations[number:]:
            if later.offset // SECTOR_BYTES * SECTOR_BYTES != sector:
                continue
            if not later.is_erase and len(later.data) >= ENTRY_BYTES:
                return Entry.parse(later.data)
            if later.is_erase and later is not self._operations[number]:
                return None
        return None

    def _slot_of(self, entry: Entry) -> str:
        slots = self._table.ota_slots
        return slots[entry.slot(len(slots))].label if slots and entry.seq != ERASED else "nothing"
