"""What the bootloader will do with the flash in a dump, at this boot and the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import dump, tag
from pytest_blynk_ota.firmware import explain_settings as settings
from pytest_blynk_ota.firmware.bootrules import Decision, Write, decide
from pytest_blynk_ota.firmware.chips import Chip
from pytest_blynk_ota.firmware.dump import Bootloader, Flash
from pytest_blynk_ota.firmware.explain_settings import Asked, Setting
from pytest_blynk_ota.firmware.image import HEADER, AppDesc, app_desc, image_bytes
from pytest_blynk_ota.firmware.imagecheck import Checks, Looked, Problem
from pytest_blynk_ota.firmware.otadata import ENTRY_BYTES, SECTOR_BYTES, Entry
from pytest_blynk_ota.firmware.partitions import (
    MD5_MAGIC,
    TABLE_BYTES,
    Partition,
    PartitionTable,
)
from pytest_blynk_ota.firmware.tag import Tag


@dataclass(frozen=True, slots=True)
class AppSeen:
    """An application partition.

    Attributes:
        problem: why a bootloader would not start it; ``None``: it would.
        length: of the image in bytes; ``None``: it has no whole one.
    """

    partition: Partition
    problem: Problem | None
    desc: AppDesc | None
    tag: Tag | None
    length: int | None


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot.

    Attributes:
        before, after: both entries of otadata; ``None``: there is no such partition.
        decision: ``None``: the bootloader refuses the partition table.
    """

    decision: Decision | None
    before: tuple[bytes, bytes] | None
    after: tuple[bytes, bytes] | None

    @property
    def loaded(self) -> Partition | None:
        """The application that starts."""
        return self.decision.loaded if self.decision else None

    @property
    def entries(self) -> tuple[Entry, Entry] | None:
        """Both entries before the boot, decoded."""
        if self.before is None:
            return None
        return Entry.parse(self.before[0]), Entry.parse(self.before[1])


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is to say of a dump.

    Attributes:
        size: of the dump in bytes.
        table: ``None``: the bootloader refuses it, see ``table_problem``.
        second: the next boot, if the application has not confirmed itself.
        other: this boot and the next with the other rollback setting, where it is not known.
        notes: what a person should know, a sentence each.
    """

    size: int
    chip: Setting
    rollback: Setting
    flash_size: Setting
    revision: int | None
    secure_version: Setting | None
    idf: str | None
    bootloader: Bootloader | None
    table_offset: int
    table: PartitionTable | None
    table_problem: str | None
    has_md5: bool
    apps: tuple[AppSeen, ...]
    first: Boot
    second: Boot
    other: tuple[Boot, Boot] | None
    notes: tuple[str, ...]


def explain(data: bytes, asked: Asked | None = None) -> Explanation:
    """Say what a dump of a whole flash, read from address 0 on, would do at the next boot.

    Raises:
        FirmwareError: it is no dump of a flash, or it is not known of which chip.
    """
    asked = asked or Asked()
    dump.check(data, asked.table_offset, chip_known=asked.chip is not None)
    bootloader = None
    try:
        bootloader = dump.find_bootloader(data, asked.table_offset)
    except FirmwareError:
        if asked.chip is None:
            raise
    idf = bootloader.idf if bootloader else None
    flash_size = settings.flash_size_of(data, asked, bootloader)
    table, refused = _table(data, asked.table_offset, settings.number_of(flash_size), idf)
    chip, chip_said_by = settings.chip_of(data, asked, bootloader, table)
    rollback = settings.rollback_of(asked, bootloader)
    secure = settings.secure_version_of(asked, bootloader)
    board = _Board(data, chip, asked, idf, table, settings.number_of(secure))
    first, second = board.boots(bool(rollback.value))
    apps = tuple(board.apps())
    return Explanation(
        size=len(data),
        chip=Setting(chip.name, chip_said_by),
        rollback=rollback,
        flash_size=flash_size,
        revision=asked.revision,
        secure_version=secure,
        idf=idf,
        bootloader=bootloader,
        table_offset=asked.table_offset,
        table=table,
        table_problem=refused,
        has_md5=MD5_MAGIC in data[asked.table_offset : asked.table_offset + TABLE_BYTES],
        apps=apps,
        first=first,
        second=second,
        other=None if rollback.known else board.boots(not rollback.value),
        notes=tuple(_notes(data, chip, bootloader, table, apps)),
    )


class _Board:
    """A chip with the flash of a dump: boots as often as asked, looks at each image once."""

    def __init__(
        self,
        data: bytes,
        chip: Chip,
        asked: Asked,
        idf: str | None,
        table: PartitionTable | None,
        secure_version: int | None,
    ) -> None:
        self._flash, self._chip = Flash(data), chip
        self._table, self._secure = table, secure_version
        self._checks = Checks(chip, asked.revision, idf=idf)
        self._looked: dict[Partition, Looked] = {}

    def boots(self, rollback: bool) -> tuple[Boot, Boot]:
        """This boot and the next."""
        first, flash, looked = self._boot(self._flash, rollback, self._looked, self._secure)
        burnt = first.decision.burn if first.decision else None
        secure = self._secure if burnt is None else burnt
        return first, self._boot(flash, rollback, looked, secure)[0]

    def apps(self) -> Iterator[AppSeen]:
        """Each application partition, in the order of the table."""
        for row in self._table.rows if self._table else ():
            if row.type == 0:
                yield self._app(row)

    def _boot(
        self,
        flash: Flash,
        rollback: bool,
        looked: dict[Partition, Looked],
        secure_version: int | None,
    ) -> tuple[Boot, Flash, dict[Partition, Looked]]:
        """One boot, the flash after it, and what is known of its images."""
        before = self._otadata(flash)
        if self._table is None:
            return Boot(None, before, before), flash, looked

        def look(partition: Partition) -> Looked:
            if partition not in looked:
                looked[partition] = self._look(flash, partition)
            return looked[partition]

        decision = decide(
            flash.read,
            rollback,
            self._chip,
            table=self._table,
            secure_version=secure_version,
            look=look,
        )
        after = flash.after(decision.writes)
        kept = {row: found for row, found in looked.items() if not _touched(row, decision.writes)}
        return Boot(decision, before, self._otadata(after)), after, kept

    def _otadata(self, flash: Flash) -> tuple[bytes, bytes] | None:
        place = self._table.otadata if self._table else None
        if place is None or place.offset == 0:
            return None
        first, second = (
            flash.read(offset, ENTRY_BYTES)
            for offset in (place.offset, place.offset + SECTOR_BYTES)
        )
        if len(second) < ENTRY_BYTES:
            raise FirmwareError(
                f"the dump ends at 0x{flash.size:x}, before otadata does at "
                f"0x{place.offset + place.size:x}; expected at least that much"
            )
        return first, second

    def _look(self, flash: Flash, row: Partition) -> Looked:
        seen, problem = self._checks.look(flash.read, row)
        if problem is not None and problem.what == "flash_read":
            text = f"it goes on beyond the end of the dump at 0x{flash.size:x}"
            problem = replace(problem, text=text)
        return seen, problem

    def _app(self, row: Partition) -> AppSeen:
        if row not in self._looked:
            self._looked[row] = self._look(self._flash, row)
        seen, problem = self._looked[row]
        end = seen[-1].place + seen[-1].size if seen else row.offset + HEADER.size
        image = self._flash.read(row.offset, min(end - row.offset, row.size))
        if problem is not None and problem.what in ("bad_magic", "flash_read"):
            return AppSeen(row, problem, None, None, None)
        length = image_bytes(image) if problem is None else None
        return AppSeen(row, problem, app_desc(image), tag.find(image), length)


def _touched(row: Partition, writes: Sequence[Write]) -> bool:
    """Whether a write went into a partition: two rows of a table may overlap."""
    return any(
        write.offset < row.offset + row.size and row.offset < write.offset + write.erase
        for write in writes
    )


def _table(
    data: bytes, place: int, flash_size: int | None, idf: str | None
) -> tuple[PartitionTable | None, str | None]:
    """The table, or why the bootloader refuses it."""
    raw = data[place : place + TABLE_BYTES]
    try:
        return PartitionTable.parse(raw, flash_size=flash_size, idf=idf), None
    except FirmwareError as refused:
        return None, str(refused)


def _notes(
    data: bytes,
    chip: Chip,
    bootloader: Bootloader | None,
    table: PartitionTable | None,
    apps: Sequence[AppSeen],
) -> Iterator[str]:
    place = f"0x{chip.bootloader_offset:x}"
    if bootloader is None:
        yield f"There is no bootloader at {place}: with this flash alone the chip does not start."
    elif bootloader.chip != chip:
        yield f"The bootloader is for the {bootloader.chip.name}, not for the {chip.name}."
    elif bootloader.problem is not None:
        yield f"The ROM would not start the bootloader: {bootloader.problem}."
    if bootloader is not None and bootloader.malformed is not None:
        yield f"How the bootloader was built cannot be read: {bootloader.malformed}."
    short = [app.partition.label for app in apps if app.problem and _is_beyond(app.problem)]
    if short:
        yield (
            f"The dump ends at 0x{len(data):x}: {', '.join(short)} cannot be judged, "
            "and counts as not bootable here."
        )
    rows = sorted(table.rows if table else (), key=lambda row: row.offset)
    for one, other in pairwise(rows):
        if one.offset + one.size > other.offset:
            yield f"Partitions {one.label} and {other.label} overlap; the bootloader does not mind."


def _is_beyond(problem: Problem) -> bool:
    return problem.what == "flash_read"
