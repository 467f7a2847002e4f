"""Putting back what stood in a board's flash before we first wrote there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_blynk_ota.board.baseline import Baseline, Region, Restored
from pytest_blynk_ota.board.board import Board
from pytest_blynk_ota.board.safety import Facts
from pytest_blynk_ota.errors import BoardLocked, UsageError
from pytest_blynk_ota.evidence.timeline import Record
from pytest_blynk_ota.rig.backup import Backup, Permit
from pytest_blynk_ota.rig.config import BoardSection
from pytest_blynk_ota.rig.lease import Lease
from pytest_blynk_ota.rig.leased import leased_as


@dataclass
class PutBack:
    """One board, and the backup of it that is found once the board has said who it is.

    Attributes:
        section: of the rig file.
        permit: where backups are, and whether the user agrees.
        record: takes the events of the board.
        backup: what was found; None before.
    """

    section: BoardSection
    permit: Permit
    record: Record
    backup: Backup | None = field(default=None, init=False)

    def run(self) -> Restored:
        """Write back what differs from the backup, and compare all of it.

        Raises:
            UsageError: there is no backup of this board, or a damaged one; nothing was written.
            BoardLocked: the board may not be written to, or the user did not agree; nothing was.
            RigError: the board is held or does not answer, or its flash did not take it.
        """
        section = self.section
        if section.is_virtual:
            raise UsageError(
                f'board {section.name} has port = "virtual": each run makes it anew, and there is '
                "nothing to put back"
            )
        lease = Lease(section.name, leased_as(section.port))
        try:
            with Board(
                section.name,
                section.chip,
                section.port,
                self.record,
                baud=section.baud,
                flash_baud=section.loader_baud,
                admission=self._still_the_same,
            ) as board:
                board.identity()
                assert board.facts is not None
                return board.restore(self._baseline(board.facts), prove=True)
        finally:
            lease.close()

    def _baseline(self, facts: Facts) -> Baseline:
        name, backups = self.section.name, self.permit.backups
        found = backups.of(facts, name)
        if found is None:
            raise UsageError(
                f"board {name}: there is no backup of the {facts.chip} with the MAC {facts.mac}: "
                f"no {backups.path(facts, name)}. It is made before a run of pytest first writes "
                "to a board"
            )
        data = found.read()
        self._must_agree(found)
        self.backup = found
        return Baseline((Region("flash", 0, data),))

    def _must_agree(self, found: Backup) -> None:
        name, ask = self.section.name, self.permit.ask
        if self.permit.yes:
            return
        answer = ask and ask(
            f"board {name} ({self.section.port}), an {found.chip} with the MAC {found.mac}, gets "
            f"back all {found.flash_bytes >> 20} MB of its flash as they were on {found.taken}. "
            "What is there now is lost."
        )
        if answer is None:
            raise BoardLocked(
                f"board {name}: nobody is there to ask; --yes says that its flash may be "
                f"overwritten with {found.path}"
            )
        if not answer:
            raise BoardLocked(f"board {name}: you did not agree, and nothing was written")

    def _still_the_same(self, facts: Facts, read_all: Callable[[], bytes]) -> None:
        """The board may have been exchanged since it was asked. Raises UsageError."""
        assert self.backup is not None
        self.backup.must_be_of(facts)
