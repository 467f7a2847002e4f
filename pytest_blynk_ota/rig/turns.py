"""Whose turn it is with a board: the first that is free, and a line where none is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from pytest_blynk_ota.errors import LeaseHeld
from pytest_blynk_ota.evidence.timeline import Recorder
from pytest_blynk_ota.rig.config import BoardSection
from pytest_blynk_ota.rig.lease import state_of
from pytest_blynk_ota.rig.leased import leased_as
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.queue import others_first, standing_in_line, waiting

LOOK_S = 0.2
"""Wall seconds between two looks whether a board is free."""
OWN_RUN_WAIT_S = 3600.0
"""Workers of one run wait for each other's boards: one test may be a soak."""


class Turns:
    """What one process of a run may have of a rig's boards.

    Args:
        recorder: is told that it waits.
        process: pid of the process that is to be asked for a board of this run.
        wait_s: wall seconds that a board which others hold is waited for.
        check: raises RigError if a part of the rack has died.
        open_board: takes the lease of a board and opens it; raises LeaseHeld.
    """

    def __init__(
        self,
        recorder: Recorder,
        process: int,
        wait_s: float,
        check: Callable[[], None],
        open_board: Callable[[BoardSection], Place],
    ) -> None:
        self._recorder = recorder
        self._process = process
        self._wait_s = wait_s
        self._check = check
        self._open = open_board
        self._names: dict[str, str] = {}
        self._never = threading.Event()

    def first_of(self, sections: Sequence[BoardSection]) -> Place:
        """The first of these boards that is free. Raises LeaseHeld if none is in time."""
        try:
            return self._first_free(sections)
        except LeaseHeld as error:
            if not self._wait_s and self._process == os.getpid():
                raise
            return self._wait_for_any(sections, error)

    def leased_as(self, section: BoardSection) -> str:
        """The name of its lease, the same for the whole run: a board may come back elsewhere."""
        if section.name not in self._names:
            self._names[section.name] = leased_as(section.port)
        return self._names[section.name]

    def wanted(self) -> set[str]:
        """Names of the leases that other workers of this run wait for."""
        return {port for one in waiting() if one.run == self._process for port in one.ports}

    def _first_free(
        self, sections: Sequence[BoardSection], may: Callable[[str], bool] = others_first
    ) -> Place:
        held: list[str] = []
        for section in sections:
            if not section.is_virtual and not may(self.leased_as(section)):
                held.append(f"board {section.name} ({section.port}) is waited for by others")
                continue
            try:
                return self._open(section)
            except LeaseHeld as error:
                held.append(str(error))
        raise LeaseHeld("; ".join(held))

    def _patience(self, ports: Sequence[str]) -> float:
        """How long to wait for boards: workers of one run always wait for each other."""
        if self._process == os.getpid():
            return self._wait_s
        states = [state_of(port) for port in ports]
        away = [one.held and one.holder and one.holder.run != self._process for one in states]
        return self._wait_s if all(away) else max(self._wait_s, OWN_RUN_WAIT_S)

    def _wait_for_any(self, sections: Sequence[BoardSection], why: LeaseHeld) -> Place:
        """Stand in line. Raises LeaseHeld if none comes free in time."""
        names = [section.name for section in sections]
        ports = [self.leased_as(one) for one in sections if not one.is_virtual]
        self._recorder("rig", "waiting", boards=names, why=str(why))
        begun = self._recorder.timeline.now()
        with standing_in_line(ports, self._process) as turn:
            while True:
                self._check()
                try:
                    return self._first_free(sections, turn.has_come_for)
                except LeaseHeld as error:
                    patience = self._patience(ports)
                    if self._recorder.timeline.now() - begun >= patience:
                        raise LeaseHeld(
                            f"waited {patience:g} s for {' or '.join(names)}: {error}"
                        ) from None
                # Nobody announces that a lock is free: its holder may have been killed.
                self._never.wait(LOOK_S)
