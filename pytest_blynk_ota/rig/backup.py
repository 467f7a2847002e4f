"""What stood in a board's flash before we first wrote there: kept once, never overwritten.

A backup is two files, ``<MAC>.json`` and ``<MAC>.bin``. Both are written beside their names and
moved there, the ``.bin`` last: one that was interrupted is no backup, and leaves none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_blynk_ota.board.safety import EMULATED, VIRTUAL, Facts
from pytest_blynk_ota.errors import BoardLocked, UsageError
from pytest_blynk_ota.evidence.timeline import Record

FOLDER = Path(".blynk-ota", "backup")
"""Under pytest's root folder."""
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Backup:
    """The whole flash of one board, as it was.

    Attributes:
        path: of its bytes.
        mac: of the board, ``aa:bb:…``.
        sha256: of the bytes.
        taken: when, in UTC.
    """

    path: Path
    mac: str
    chip: str
    flash_bytes: int
    sha256: str
    taken: str

    def read(self) -> bytes:
        """Its bytes. Raises UsageError if they are not those that were saved."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read: {error.strerror}") from error
        if len(data) != self.flash_bytes or hashlib.sha256(data).hexdigest() != self.sha256:
            raise UsageError(
                f"{self.path}: these are not the bytes that were saved on {self.taken}: expected "
                f"{self.flash_bytes} with the SHA-256 {self.sha256}, got {len(data)}"
            )
        return data

    def must_be_of(self, facts: Facts) -> None:
        """Raises UsageError if it is not of this board."""
        for what, mine, theirs in (
            ("MAC", self.mac, facts.mac),
            ("chip", self.chip, facts.chip),
            ("flash size", self.flash_bytes, facts.flash_bytes),
        ):
            if mine != theirs:
                raise UsageError(f"{self.path}: is of a board with the {what} {mine}, not {theirs}")


FIELDS = {"mac": str, "chip": str, "flash_bytes": int, "sha256": str, "taken": str}


class Backups:
    """The backups in a folder, by board.

    Args:
        folder: made when the first is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, facts: Facts, name: str) -> Path:
        """Where the backup of a board is, or would be.

        Args:
            name: of the board in the rig file; only emulated boards, which have no MAC, go by it.
        """
        stem = f"emulated-{name}" if facts.kind == EMULATED else facts.mac.replace(":", "-")
        return self.folder / f"{stem}.bin"

    def of(self, facts: Facts, name: str) -> Backup | None:
        """The backup of a board; None if there is none.

        Raises:
            UsageError: there is one, but it is damaged or of another board.
        """
        path = self.path(facts, name)
        if not path.exists():
            return None
        found = _described(path)
        found.must_be_of(facts)
        return found

    def save(self, facts: Facts, name: str, data: bytes) -> Backup:
        """Keep what was read from a board.

        Raises:
            UsageError: it cannot be written, or one is there already.
        """
        path = self.path(facts, name)
        if path.exists():
            raise UsageError(f"{path}: is there already, and is not overwritten")
        if len(data) != facts.flash_bytes:
            raise UsageError(f"{path}: expected {facts.flash_bytes} bytes, got {len(data)}")
        made = Backup(
            path,
            facts.mac,
            facts.chip,
            facts.flash_bytes,
            hashlib.sha256(data).hexdigest(),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        said = {"schema": SCHEMA, **{field: getattr(made, field) for field in FIELDS}}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob(f"{path.stem}.*.part"):  # by one that was killed
                left.unlink()
            half = _written(path, data)
            described = path.with_suffix(".json")
            _written(described, (json.dumps(said, indent=1) + "\n").encode()).replace(described)
            _move(half, path)
        except OSError as error:
            raise UsageError(f"{path}: the backup cannot be written: {error}") from error
        return made


def _written(path: Path, data: bytes) -> Path:
    """The bytes on the disk, beside where they will be; for their owner alone: a flash holds
    passwords."""
    half = path.with_name(f"{path.name}.{os.getpid()}.part")
    with open(half, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return half


def _move(half: Path, path: Path) -> None:
    """Give a file its name, unless another has that."""
    try:
        try:
            os.link(half, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if path.exists():
                raise FileExistsError(f"{path} is there already") from None
            half.rename(path)
            return
        half.unlink()
    except FileExistsError:
        half.unlink(missing_ok=True)
        raise


def _described(path: Path) -> Backup:
    """Raises UsageError if what stands beside the bytes does not describe them."""
    beside = path.with_suffix(".json")
    wrong = f"{path}: {beside.name} beside it should say what it is"
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{wrong}, but cannot be read: {error}") from error
    given: dict[str, Any] = said if isinstance(said, dict) else {}
    for field, kind in FIELDS.items():
        if type(given.get(field)) is not kind:
            raise UsageError(f"{wrong}; expected {kind.__name__} {field}, got {given.get(field)!r}")
    return Backup(path, **{field: given[field] for field in FIELDS})


@dataclass(frozen=True, slots=True)
class Permit:
    """What the user allows us to do with boards.

    Attributes:
        backups: where they are kept.
        yes: whether every board may be written to, without a question.
        ask: asks the user; None, or an answer of None: nobody is there to answer.
        always: whether a virtual board is treated as if it were the user's.
    """

    backups: Backups
    yes: bool = False
    ask: Callable[[str], bool | None] | None = None
    always: bool = False


class Doorkeeper:
    """The last word on writing to one board: a backup is there, or is made once the user agrees.

    Args:
        permit: what the user allows.
        name: of the board.
        url: of its port.
        record: takes its events.
    """

    def __init__(self, permit: Permit, name: str, url: str, record: Record) -> None:
        self._permit, self._name, self._url, self._record = permit, name, url, record
        self._agreed: set[str] = set()
        self._refused = ""

    def __call__(self, facts: Facts, read_all: Callable[[], bytes]) -> None:
        """See :class:`board.Admission`. Raises BoardLocked, UsageError."""
        self._record(
            "rig",
            "identity",
            self._name,
            kind=facts.kind,
            chip=facts.chip,
            mac=facts.mac,
            flash_bytes=facts.flash_bytes,
        )
        if facts.kind == VIRTUAL and not self._permit.always:
            return
        backups = self._permit.backups
        if backups.of(facts, self._name) is not None:
            return
        self._must_agree(facts)
        made = backups.save(facts, self._name, read_all())
        self._record("rig", "saved", self._name, path=str(made.path), sha256=made.sha256)

    def _must_agree(self, facts: Facts) -> None:
        if self._permit.yes or facts.mac in self._agreed:
            return
        path = self._permit.backups.path(facts, self._name)
        what = (
            f"board {self._name} ({self._url}) is {_a(facts.kind)} {facts.chip} with the MAC "
            f"{facts.mac}"
        )
        saved = (
            f"its {facts.flash_bytes >> 20} MB of flash are saved to {path}, once, and then "
            f"overwritten; blynk-ota rig restore {self._name} puts them back"
        )
        question = f"{what}. If you agree, {saved}."
        answer = None
        if self._permit.ask is not None:  # who said no is not asked again
            answer = self._refused != facts.mac and self._permit.ask(question)
        if answer is None:
            raise BoardLocked(
                f"{what}, of which there is no backup yet; nothing was written. With --yes {saved}"
            )
        if answer:
            self._agreed.add(facts.mac)
            return
        self._refused = facts.mac
        raise BoardLocked(f"{what}; you did not agree to have it overwritten, and nothing was")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
