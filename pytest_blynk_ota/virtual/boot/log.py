"""The UART as firmware writes to it: whole lines, with the milliseconds since the reset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.boot.bootlog import Line

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.machine import Machine


class Log:
    """One boot's log.

    Attributes:
        verbose: whether lines of level INFO are compiled in.
        coloured: whether ESP-IDF's lines are.
    """

    def __init__(self, machine: Machine, *, verbose: bool = False) -> None:
        self._machine = machine
        self._reset_at = machine.clock.now()
        self.verbose = verbose
        self.coloured = True

    @property
    def milliseconds(self) -> int:
        """Device milliseconds since the reset."""
        return int((self._machine.clock.now() - self._reset_at) * 1000)

    def text(self, *lines: str) -> None:
        """Lines as they are: ROM and panic handler."""
        for line in lines:
            self._machine.print(line + "\n")

    def idf(self, lines: Iterable[Line]) -> None:
        """Lines of ESP-IDF's log; those of level INFO only if the build has them."""
        for line in lines:
            if self.verbose or line.level != "I":
                self.text(line.render(self.milliseconds, coloured=self.coloured))

    def blynk(self, text: str) -> None:
        """A line of the Blynk library or of Edgent's DEBUG_PRINT: ``[ms] text``."""
        self.text(f"[{self.milliseconds}] {text}")
