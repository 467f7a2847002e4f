"""How far each board is, while tests run: a line for each on a terminal, or plain lines in a log.

The process that the user started follows the events of each running test in its file. So it is
the same with and without pytest-xdist, and costs a test nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.evidence.bundle import folder_name
from pytest_blynk_ota.terminal.line import line, plain
from pytest_blynk_ota.terminal.phases import OVER, START, Progress
from pytest_blynk_ota.terminal.screen import Guarded, Screen
from pytest_blynk_ota.terminal.tail import Tail

if TYPE_CHECKING:
    from _pytest.capture import CaptureManager

WAYS = ("auto", "line", "plain", "off")
TICK_S = 0.2
LASTS_S = 1.0
"""A phase that is over sooner makes no plain line."""
MAX_SHARE = 3
"""The lines take at most this part of a terminal's rows: a third."""
NAME = "blynk-ota-live"
PHASES = ("setup", "call", "teardown")


def way(asked: str | None, *, terminal: bool, captured: bool, verbose: bool) -> str:
    """How to show it: ``line``, ``plain`` or ``off``.

    Args:
        asked: by ``--ota-live``.
        terminal: whether pytest writes to one that can move its cursor.
        captured: whether what tests print is kept away from it.
        verbose: whether ``-v`` was given.

    Raises:
        UsageError: there is no such way.
    """
    if asked is not None and asked not in WAYS:
        raise UsageError(f"--ota-live is one of {', '.join(WAYS)}; got {asked!r}")
    able = terminal and captured
    if asked in (None, "auto"):
        return "line" if able else "plain" if verbose else "off"
    return "plain" if asked == "line" and not able else str(asked)


@dataclass
class Watched:
    """A test that runs."""

    id: str
    tail: Tail | None = None
    tries: int = 0
    progress: Progress = field(default_factory=Progress)
    said: str = START

    def catch_up(self, run: Path | None) -> None:
        """Take what has been written since, into the run's folder once there is one."""
        if run is not None:
            self._newest(run / "tests" / folder_name(self.id))
        for event in self.tail.read() if self.tail else ():
            self.progress.see(event)

    def _newest(self, folder: Path) -> None:
        """Follow the last try: a test that is run again in one run has one more folder."""
        while self.tail is None or folder.with_name(f"{folder.name}.{self.tries + 1}").exists():
            self.tries += 1
            name = folder.name if self.tries == 1 else f"{folder.name}.{self.tries}"
            if self.tail is not None:
                self.tail.close()
            self.tail = Tail(folder.with_name(name) / "events.jsonl")


class Live:
    """A pytest plugin of the process that the user started; ``show`` is called from a thread.

    Args:
        folder: of the run, once there is one.
        show: draws what is known of the tests that run.
        clock: host seconds, as the events have them.
    """

    def __init__(
        self,
        folder: Callable[[], Path | None],
        show: Callable[[list[Watched], float], None],
        end: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._show = show
        self._end = end
        self._clock = clock
        self._watched: dict[str, Watched] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        with self._lock:
            self._watched[nodeid] = Watched(nodeid)
        if not self._thread.is_alive() and not self._over.is_set():
            self._thread.start()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """It has ended."""
        with self._lock:
            watched = self._watched.pop(nodeid, None)
        if watched is not None and watched.tail is not None:
            watched.tail.close()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """pytest-xdist: a worker has died, and its test with it."""
        if report.when not in PHASES:
            self.pytest_runtest_logfinish(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """No line stays."""
        self.close()

    def pytest_unconfigure(self) -> None:
        """The same where a session did not come to its end."""
        self.close()

    def close(self) -> None:
        """End the thread, take the lines away. Safe to call twice."""
        if self._over.is_set():
            return
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._end()

    def tick(self) -> None:
        """Look once, and show it."""
        with self._lock:
            watched = list(self._watched.values())
            for one in watched:
                one.catch_up(self._folder())
        known = [one for one in watched if one.progress.began is not None]
        self._show([one for one in known if one.progress.phase != OVER], self._clock())

    def _run(self) -> None:
        while not self._over.wait(TICK_S):
            self.tick()


def begin(config: pytest.Config, asked: str | None, folder: Callable[[], Path | None]) -> None:
    """Show how far the boards are, in the way that was asked for.

    Raises:
        UsageError: there is no such way.
    """
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    plain_pytest = type(reporter) is pytest.TerminalReporter  # others draw lines of their own
    chosen = way(
        asked,
        terminal=plain_pytest and _can_move(reporter, os.environ),
        captured=_captured(config),
        verbose=config.get_verbosity() > 0,
    )
    if chosen == "off" or config.pluginmanager.hasplugin(NAME) or not _has_file(reporter):
        return
    shown: Lines | Plain = (Lines if chosen == "line" else Plain)(config, reporter)
    config.pluginmanager.register(Live(folder, shown.show, shown.end), NAME)


def _can_move(reporter: Any, environ: Mapping[str, str]) -> bool:
    return bool(reporter.isatty) and environ.get("TERM", "dumb") not in ("", "dumb")


def _has_file(reporter: Any) -> bool:
    """Whether what pytest writes goes to a file of the system: not so inside another pytest."""
    try:
        return reporter is not None and reporter._tw._file.fileno() >= 0
    except (OSError, ValueError):
        return False


def _captured(config: pytest.Config) -> bool:
    """Whether nobody but pytest writes to the terminal while tests run."""
    if config.getoption("dist", "no") != "no":
        return True  # pytest-xdist: what workers print goes nowhere
    return config.getoption("capture") in ("fd", "sys") and not config.getoption("usepdb", False)


class Lines:
    """A line a board, under pytest's own.

    Args:
        config: pytest's.
        reporter: its terminal reporter.
    """

    def __init__(self, config: pytest.Config, reporter: Any) -> None:
        self._writer = reporter._tw
        self._colour = bool(self._writer.hasmarkup)
        self._screen = Screen(self._writer._file.fileno())
        self._file = self._writer._file
        self._writer._file = Guarded(self._file, self._screen)
        self._alone = config.getoption("dist", "no") == "no"
        self._capture: CaptureManager = config.pluginmanager.getplugin("capturemanager")
        if self._alone:
            self._between()

    def _between(self) -> None:
        """Without workers, others write wherever capturing is suspended: nothing is shown there."""
        capture: Any = self._capture
        suspend, resume = capture.suspend_global_capture, capture.resume_global_capture

        def suspended(in_: bool = False) -> None:
            self._screen.hold()
            suspend(in_)

        def resumed() -> None:
            resume()
            self._screen.release()

        self._screen.hold()
        capture.suspend_global_capture, capture.resume_global_capture = suspended, resumed

    def show(self, watched: list[Watched], now: float) -> None:
        """Draw one line a test."""
        columns, rows = self._screen.size
        most = max(1, rows // MAX_SHARE)
        lines = [
            line(one.progress, one.id, now, columns, colour=self._colour) for one in watched[:most]
        ]
        if len(watched) > most:
            lines[-1] = f"and {len(watched) - most + 1} more"[: columns - 1]
        self._screen.draw([text for text in lines if text], lambda: self._column(columns))

    def _column(self, columns: int) -> int | None:
        """Where pytest's cursor is in its row; None at the very edge, which no move gives back."""
        width: int = self._writer.width_of_current_line
        at = width % columns
        return None if width < 0 or (width and not at) else at

    def end(self) -> None:
        """Nothing stays behind."""
        self._screen.close()
        self._writer._file = self._file
        for name in ("suspend_global_capture", "resume_global_capture"):
            vars(self._capture).pop(name, None)


class Plain:
    """A line of a log at each phase that lasts.

    Args:
        config: pytest's.
        reporter: its terminal reporter.
    """

    def __init__(self, config: pytest.Config, reporter: Any) -> None:
        self._reporter = reporter
        self._writer = reporter._tw
        self._verbose = config.get_verbosity() > 0
        self._screen = Screen(self._writer._file.fileno())
        self._file = self._writer._file
        self._writer._file = Guarded(self._file, self._screen)

    def show(self, watched: list[Watched], now: float) -> None:
        """Say what has changed, and has lasted."""
        for one in watched:
            progress = one.progress
            if progress.phase != one.said and now - progress.since >= LASTS_S:
                one.said = progress.phase
                self._say(plain(progress, one.id))

    def _say(self, text: str) -> None:
        """On a line of its own; pytest then begins another."""
        if self._verbose:
            self._screen.say(f"\n{text}")
            self._reporter.currentfspath = -2  # pytest's own mark of a line that is not over
        else:
            self._screen.say(f"\n{text}\n")

    def end(self) -> None:
        """Give pytest its output back."""
        self._screen.close()
        self._writer._file = self._file
