"""pytest-embedded on our boards: its ``dut`` fed from our single port owner.

Registered as a plugin module by ``pytest_configure``, so that these fixtures win over
pytest-embedded's of the same name. Where a run asks for pytest-embedded's own services
(``--embedded-services``), its own fixtures do the work.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_blynk_ota.board.board import Board
    from pytest_blynk_ota.evidence.event import Event
    from pytest_blynk_ota.reporting import Running
    from pytest_blynk_ota.rig.place import Place

PR_SET_PDEATHSIG = 1
UNITY = "unity.xml"
"""In a test's folder: the Unity test cases that its ``dut`` ran."""


def own_services(config: pytest.Config, items: Iterable[pytest.Item]) -> bool:
    """Whether pytest-embedded's own services are asked for, by option or by parameter."""
    if config.getoption("embedded_services", None):
        return True
    return any(
        "embedded_services" in getattr(getattr(item, "callspec", None), "params", {})
        for item in items
    )


class LazyManager:
    """pytest-embedded's queue manager, started when the first queue is asked for.

    Its own fixture starts a process in every session, used or not, which lives on for seconds
    when pytest is killed.
    """

    def __init__(self) -> None:
        self._manager: Any = None

    def MessageQueue(self) -> Any:  # noqa: N802 - the name that pytest-embedded calls
        """A queue of the real manager."""
        if self._manager is None:
            from pytest_embedded.log import MessageQueueManager

            self._manager = MessageQueueManager()
            self._manager.start(initializer=_die_with_parent)
        return self._manager.MessageQueue()

    def shutdown(self) -> None:
        """End the process, if it was started."""
        if self._manager is not None:
            self._manager.shutdown()


def _die_with_parent() -> None:
    """In the manager process: ask Linux for a SIGKILL when pytest is gone."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@pytest.fixture(scope="session", autouse=True)
def _mp_manager() -> Iterator[LazyManager]:
    from pytest_embedded import plugin

    manager = LazyManager()
    plugin._MP_MANAGER = manager  # pytest-embedded's DutFactory looks for it there
    try:
        yield manager
    finally:
        manager.shutdown()


@pytest.fixture(scope="session", autouse=True)
def _stdout_lock(request: pytest.FixtureRequest) -> Any:
    # A lock of the spawn context starts a resource tracker process: only where it is of use.
    ours = not own_services(request.config, request.session.items)
    return None if ours else request.getfixturevalue("_stdout_lock")


@pytest.fixture(scope="session")
def session_tempdir(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """pytest-embedded's folder of logs: pytest's own temporary one, which pytest clears away."""
    if own_services(request.config, request.session.items):
        return str(request.getfixturevalue("session_tempdir"))
    from pytest_embedded.plugin import _session_tempdir_key

    folder = str(tmp_path_factory.mktemp("pytest-embedded"))
    request.config.stash[_session_tempdir_key] = folder
    return folder


class ToConsole:
    """Stands where pytest-embedded expects its message queue: what is put goes to the board."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def put(self, data: bytes, **_: Any) -> None:
        """Write bytes to the board's UART."""
        self._board.console.write(data.decode("utf-8", "surrogateescape"))

    def write(self, data: str) -> None:
        """The same for text."""
        self._board.console.write(data)


@pytest.fixture
def _blynk_ota_dut() -> None:
    """Marks a test whose ``dut`` is ours."""


@pytest.fixture
def dut(request: pytest.FixtureRequest, _blynk_ota_dut: None) -> Iterator[Any]:
    """pytest-embedded's ``Dut`` on the board of this test, which runs Old from a fresh reset.

    As pytest-embedded flashes and resets before a test, so is the baseline restored here. Where
    ``ota`` has done so already, the ``Dut`` reads what the board prints from then on.
    """
    if own_services(request.config, [request.node]):
        yield request.getfixturevalue("dut")
        return
    place: Place = request.getfixturevalue("_blynk_ota_place")
    running: Running = request.getfixturevalue("_blynk_ota_test")
    timeline = running.bundle.timeline
    folder, clean = running.bundle.folder, running.session.redactor.text
    with dut_on(place.board, folder, request.node.name, timeline.now, clean) as made:
        dut, pump = made
        before = timeline.cursor
        request.getfixturevalue("ota")
        pump.start(since=last_reset(timeline.events(before), place.name))
        yield dut


def last_reset(events: Sequence[Event], board: str) -> float:
    """When we last reset the board so that it boots; 0 if these events hold no such reset."""
    resets = (
        event.t
        for event in events
        if (event.source, event.kind, event.board) == ("rig", "reset", board)
        and event.data["mode"] == "run"
    )
    return max(resets, default=0.0)


@contextlib.contextmanager
def dut_on(
    board: Board,
    folder: Path,
    name: str,
    clock: Callable[[], float],
    clean: Callable[[str], str] = str,
) -> Iterator[tuple[Any, Pump]]:
    """A ``Dut``, and the pump that brings it what the board prints from now on, once started."""
    from pytest_embedded import App
    from pytest_embedded.log import PexpectProcess

    ours, theirs = socket.socketpair()
    with ours:
        process = PexpectProcess(theirs.detach())  # it closes the descriptor: nobody else may
        pump = Pump(ours, clock)
        board.console.attach(pump.put)
        made = dut_class()(process, ToConsole(board), App(), str(folder / "serial.log"), name)
        made._hard_reset_func = board.reset
        try:
            yield made, pump
        finally:
            board.console.detach(pump.put)
            process.terminate()
            pump.stop()
            keep_unity(made, folder / UNITY, clean)


def dut_class() -> type:
    """pytest-embedded's ``Dut`` as its serial services make it; with Unity's test menus where
    pytest-embedded-idf is installed."""
    from pytest_embedded import Dut
    from pytest_embedded.utils import to_bytes

    try:
        from pytest_embedded_idf.unity_tester import IdfUnityDutMixin
    except ImportError:
        bases: tuple[type, ...] = (Dut,)
    else:
        bases = (IdfUnityDutMixin, Dut)

    def write(self: Any, data: str | bytes) -> None:
        """A text with the end of its line, bytes as they are, as ``SerialDut`` does."""
        self._q.put(to_bytes(data, "\n" if isinstance(data, str) else None))

    return type("BoardDut", bases, {"write": write, "__module__": __name__})


def keep_unity(dut: Any, file: Path, clean: Callable[[str], str]) -> None:
    """What Unity's test cases came to, as JUnit XML in the evidence; without secrets."""
    if not dut.testsuite.testcases:
        return
    with tempfile.TemporaryDirectory() as scratch:
        dumped = Path(scratch, UNITY)
        dut.testsuite.dump(str(dumped))
        file.write_text(clean(dumped.read_text(encoding="utf-8")), encoding="utf-8")


class Pump:
    """Carries bytes into a socket on a thread of its own: a test that does not read must not
    hold up the console.

    Args:
        into: where the bytes go, once started.
        clock: stamps them as they come.
    """

    def __init__(self, into: socket.socket, clock: Callable[[], float]) -> None:
        self._into = into
        self._clock = clock
        self._queue: queue.SimpleQueue[tuple[float, bytes] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, data: bytes) -> None:
        """Take bytes; never blocks."""
        self._queue.put((self._clock(), data))

    def start(self, *, since: float) -> None:
        """Carry all that came at ``since`` or later, and what is still to come."""
        self._thread = threading.Thread(
            target=self._run, args=(since,), name="blynk-ota dut", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the other end of the socket is closed by now."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self, since: float) -> None:
        while (item := self._queue.get()) is not None:
            came, data = item
            if came < since:
                continue
            try:
                self._into.sendall(data)
            except OSError:  # the reader has gone: the test is over
                return
