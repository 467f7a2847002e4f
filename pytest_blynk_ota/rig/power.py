"""Power outlets: how a board's power is switched, and the ``power`` fixture."""

from __future__ import annotations

import http.client
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from pytest_blynk_ota.errors import OutletUnreachable
from pytest_blynk_ota.evidence.timeline import Record
from pytest_blynk_ota.rig.command_line import run_line

SWITCH_TIMEOUT_S = 10.0
"""Wall seconds that an outlet has to answer: a hub command takes about 2 s."""

OFF_S = 2.0
"""Device seconds without power in a cycle: bulk capacitors of a board hold for some 100 ms."""

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Outlets stand in the rack's own network: a proxy of the environment is not for them."""


SILENT_AFTER_S = 1.0
"""Wall seconds after which a board without power is silent, and what it said has been read."""
WORDS = re.compile(r"[ -~]{8}")
"""What a board says; a wire that floats makes noise."""

Heard = Callable[[], Iterable[tuple[float, str]]]
"""The lines of a board's log, each with the monotonic host seconds of its end."""


class Outlet(Protocol):
    """Something that switches one board's power."""

    def switch(self, on: bool) -> None:
        """Raises OutletUnreachable when it did not work."""


class HttpOutlet:
    """An outlet that takes ``PUT url`` with the body 1 or 0, as labgrid's ``rest`` model does."""

    def __init__(self, url: str) -> None:
        self.url = url

    def switch(self, on: bool) -> None:
        request = urllib.request.Request(self.url, data=b"1" if on else b"0", method="PUT")
        try:
            with DIRECT.open(request, timeout=SWITCH_TIMEOUT_S):
                pass
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            raise OutletUnreachable(
                f"power outlet {self.url} did not switch {'on' if on else 'off'}: {error}; "
                "is it on, in this network, and does it take PUT with 1 or 0?"
            ) from error


class CommandOutlet:
    """An outlet behind two command lines, such as ``uhubctl … -a on``."""

    def __init__(self, on: Sequence[str], off: Sequence[str]) -> None:
        self._lines = {True: tuple(on), False: tuple(off)}

    def switch(self, on: bool) -> None:
        run_line(self._lines[on], "power", OutletUnreachable, timeout_s=SWITCH_TIMEOUT_S)


class Power:
    """A board's power, in the hand of a test. Every switch is an event.

    Args:
        board: its name.
        outlet: that switches it.
        record: takes the events.
        speed: device seconds in a wall second.
        heard: what the board says: an outlet is not believed that its board is off. None: it is
            believed.
    """

    def __init__(
        self, board: str, outlet: Outlet, record: Record, speed: float, heard: Heard | None = None
    ) -> None:
        self._board = board
        self._outlet = outlet
        self._record = record
        self._speed = speed
        self._left_off = False
        self._heard = heard
        self._off_at: float | None = None

    def __repr__(self) -> str:
        return f"<power of {self._board}{', off' if self._left_off else ''}>"

    @property
    def is_off(self) -> bool:
        """Whether it was taken away and not given back."""
        return self._left_off

    def off(self, *, by: str = "test", t: float | None = None) -> None:
        """Take the power away; ``t``: it had gone by itself then. Raises OutletUnreachable."""
        self._record("power", "off", self._board, t=t, by=by)
        self._left_off = True  # an outlet that does not answer may have switched all the same
        self._outlet.switch(False)
        self._off_at = time.monotonic()

    def on(self, *, by: str = "test") -> None:
        """Give the power back.

        Raises:
            OutletUnreachable: it did not work; or the board has gone on talking while it was off.
        """
        off_at, self._off_at = self._off_at, None
        said = self._said_since(off_at)
        self._record("power", "on", self._board, by=by)
        self._outlet.switch(True)
        self._left_off = False
        if said:
            raise OutletUnreachable(
                f"board {self._board}: its outlet said that it was off, but {SILENT_AFTER_S:g} s "
                f"and more after that the board still talked: {said!r}. Does the outlet switch "
                "this board, and does nothing else feed it?"
            )

    def _said_since(self, off_at: float | None) -> str:
        """The first words of a board that should have been silent; "" if it was."""
        if off_at is None or self._heard is None:
            return ""
        late = (text for t, text in self._heard() if t >= off_at + SILENT_AFTER_S)
        return next((text for text in late if WORDS.search(text)), "")

    def ensure(self) -> None:
        """Give the power back if it was left off. Raises OutletUnreachable."""
        if self._left_off:
            self.on(by="rig")

    def cycle(self, off_s: float = OFF_S, *, by: str = "test") -> None:
        """Off, ``off_s`` device seconds of darkness, on; the power comes back in any case.

        Raises:
            OutletUnreachable: the outlet did not answer; or the board has gone on talking later
                than SILENT_AFTER_S wall seconds after it was off.
        """
        try:
            self.off(by=by)
            # The dwell is the act itself: nothing can announce that capacitors are empty.
            threading.Event().wait(off_s / self._speed)
        finally:
            self.on(by=by)
