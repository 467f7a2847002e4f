"""What a boot decision consists of: its log lines, its writes, what starts and by which rule."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_blynk_ota.firmware.imagecheck import Problem
from pytest_blynk_ota.firmware.otadata import SECTOR_BYTES
from pytest_blynk_ota.firmware.partitions import Partition, PartitionTable


@dataclass(frozen=True, slots=True)
class Log:
    """A line of the bootloader's log: level ``I``, ``W`` or ``E``."""

    level: str
    tag: str
    text: str


class Rule(StrEnum):
    """What chose the place where the search for an application began."""

    NO_OTADATA = "no otadata partition"
    OTADATA_SMALL = "otadata partition too small"
    OTADATA_UNREADABLE = "otadata partition cannot be read"
    FACTORY = "nothing usable in otadata, factory"
    SLOT_0 = "nothing usable in otadata, slot 0"
    INITIAL = "otadata in initial state, anti-rollback"
    ENTRY = "valid entry"
    NO_ENTRY = "no valid entry"


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
        rule: what chose the place where the search began.
        active: number of the otadata entry that was gone by; ``None``: by neither.
        burn: the secure version that is burnt into the eFuses; ``None``: they stay.
    """

    table: PartitionTable
    loaded: Partition | None
    steps: tuple[Log | Write, ...]
    rejected: tuple[tuple[Partition, Problem], ...]
    rule: Rule
    active: int | None = None
    burn: int | None = None

    @property
    def writes(self) -> tuple[Write, ...]:
        """The changes of otadata alone."""
        return tuple(step for step in self.steps if isinstance(step, Write))
