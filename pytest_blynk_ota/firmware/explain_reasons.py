"""Why a boot goes as it goes, in sentences; the numbers are those of docs boot-rules.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_blynk_ota.firmware.bootrules import Decision, Rule
from pytest_blynk_ota.firmware.explain import Boot
from pytest_blynk_ota.firmware.otadata import ERASED, SECTOR_BYTES, Entry, State
from pytest_blynk_ota.firmware.partitions import Partition

TABLE, OTADATA, PENDING, UNUSABLE, ENTRY, NO_ENTRY, SEARCH, BLANK, ANTI_ROLLBACK = range(1, 10)
"""Numbers of the rules."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One step of a decision.

    Attributes:
        rule: its number in docs/explanation/boot-rules.md.
    """

    rule: int
    text: str


def reasons(boot: Boot, table_problem: str | None = None) -> tuple[Reason, ...]:
    """The steps of a boot in their order."""
    if boot.decision is None:
        text = f"The bootloader refuses the partition table: {table_problem}."
        return (Reason(TABLE, text), Reason(TABLE, RESETS))
    return tuple(_steps(boot, boot.decision))


def state_text(entry: Entry) -> str:
    """The state of an entry by name; of one that does not exist the number."""
    if isinstance(entry.state, State):
        return entry.state.name
    return f"0x{entry.state:x} (no such state)"


RESETS = "Nothing starts: the chip resets and tries again, for ever."


def _steps(boot: Boot, decision: Decision) -> Iterator[Reason]:
    entries = boot.entries
    for number, entry in enumerate(entries or ()):
        if entry.state == State.PENDING_VERIFY and _becomes(boot, number, State.ABORTED):
            yield Reason(
                PENDING,
                f"otadata[{number}] is PENDING_VERIFY: its application was started once and has "
                "not confirmed itself. It becomes ABORTED.",
            )
    yield from _choice(boot, decision)
    yield from _search(decision)
    if decision.loaded is None:
        yield Reason(SEARCH, RESETS)
    elif decision.rule in (Rule.SLOT_0, Rule.INITIAL) and _becomes(boot, 0, State.VALID):
        yield Reason(BLANK, "otadata was blank: the slot that starts is written to entry 0, VALID.")
    if decision.burn is not None:
        text = f"The secure version in the eFuses moves up to {decision.burn}."
        yield Reason(ANTI_ROLLBACK, text)


def _choice(boot: Boot, decision: Decision) -> Iterator[Reason]:
    """Where the search begins."""
    entries, rule = boot.entries, decision.rule
    if rule is Rule.ENTRY and entries is not None and decision.active is not None:
        yield from _by_entry(boot, decision, entries, decision.active)
        return
    place = decision.table.otadata
    size = place.size if place else 0
    what = _unusable(boot, entries) if entries else ""
    if not decision.table.rows:
        yield Reason(TABLE, "The partition table is blank: it names no application.")
        return
    number, text = {
        Rule.NO_OTADATA: (OTADATA, "The table has no otadata: factory, then all slots from 0."),
        Rule.OTADATA_SMALL: (OTADATA, f"otadata has {size} bytes, 8192 are needed."),
        Rule.OTADATA_UNREADABLE: (OTADATA, "otadata cannot be read."),
        Rule.FACTORY: (UNUSABLE, f"{what}: the factory application."),
        Rule.SLOT_0: (UNUSABLE, f"{what}, and there is no factory application: slot 0."),
        Rule.INITIAL: (ANTI_ROLLBACK, f"{what}: factory, then all slots from 0."),
        Rule.NO_ENTRY: (NO_ENTRY, f"{what}: factory, then all slots from 0."),
    }[rule]
    yield Reason(number, text)


def _by_entry(
    boot: Boot, decision: Decision, entries: tuple[Entry, Entry], active: int
) -> Iterator[Reason]:
    entry, other, count = entries[active], entries[1 - active], len(decision.table.ota_slots)
    index = entry.slot(count)
    slot = next((row for row in decision.table.ota_slots if row.slot == index), None)
    goes_by = f"otadata[{active}] is valid and has the higher number"
    if not other.is_valid or _becomes(boot, 1 - active, State.ABORTED):
        goes_by = f"otadata[{active}] is the only valid one"
    elif other.seq == entry.seq:
        goes_by = "Both entries have the same number, the first one counts"
    label = slot.label if slot else "which the table does not have"
    yield Reason(ENTRY, f"{goes_by}: slot ({entry.seq} - 1) mod {count} = {index}, {label}.")
    if _becomes(boot, active, State.PENDING_VERIFY):
        text = "Its state is NEW: it becomes PENDING_VERIFY, before the image is looked at."
        yield Reason(ENTRY, text)


def _search(decision: Decision) -> Iterator[Reason]:
    for row, problem in decision.rejected:
        rule = ANTI_ROLLBACK if problem.what == "secure_version" else SEARCH
        yield Reason(rule, f"{_name(row)} is not bootable: {problem}")
    loaded = decision.loaded
    if loaded is not None:
        last = ", the test application is all that is left" if loaded == decision.table.test else ""
        yield Reason(SEARCH, f"{_name(loaded)} is bootable{last}: it starts.")


def _name(row: Partition) -> str:
    return f"{row.label} at 0x{row.offset:x}"


def _unusable(boot: Boot, entries: tuple[Entry, Entry]) -> str:
    """What the entries are, none of which was gone by."""
    first, second = (_fault(boot, number, entry) for number, entry in enumerate(entries))
    if first == second:
        return f"Both otadata entries are {first}"
    return f"otadata[0] is {first} and otadata[1] is {second}"


def _fault(boot: Boot, number: int, entry: Entry) -> str:
    if entry.seq == ERASED:
        return "erased"
    if _becomes(boot, number, State.ABORTED):
        return "ABORTED now"
    if entry.is_invalid:
        return state_text(entry)
    return "not usable" if entry.crc_ok else "torn (wrong CRC)"


def _becomes(boot: Boot, number: int, state: State) -> bool:
    """Whether this boot writes that state to the entry."""
    place = boot.decision.table.otadata if boot.decision else None
    if place is None or boot.decision is None:
        return False
    at = place.offset + number * SECTOR_BYTES
    return any(
        write.offset == at and Entry.parse(write.data).state == state
        for write in boot.decision.writes
    )
