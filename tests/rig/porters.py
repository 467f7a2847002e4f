"""Helpers for the tests of fixed ports."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from pytest_blynk_ota.rig.ports import reach
from pytest_blynk_ota.rig.ports.messages import Where, hear, say, unix
from pytest_blynk_ota.rig.ports.porter import Porter
from pytest_blynk_ota.rig.ports.tenants import hashed

PATIENCE_S = 10.0
LINGER_S = 0.5
T = TypeVar("T")


def free_port() -> Where:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Where("127.0.0.1", probe.getsockname()[1])


def until(what: str, found: Callable[[], T]) -> T:
    """Wait until ``found`` returns something true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (result := found()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.005)
    return result


@contextmanager
def porter_here(where: Where | None = None, linger_s: float = 3600.0) -> Iterator[Porter]:
    """A porter on a thread of the test."""
    porter = Porter(where or free_port(), linger_s)
    thread = threading.Thread(target=porter.run)
    thread.start()
    try:
        yield porter
    finally:
        porter.end()
        with unix() as knock, suppress(OSError):  # it wakes up
            knock.connect(porter.where.meeting)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@contextmanager
def porters_end(where: Where) -> Iterator[None]:
    """Whatever process holds the port is ended behind the test."""
    try:
        yield
    finally:
        said = reach.told(where)
        if said is not None:
            os.kill(said["pid"], signal.SIGKILL)


class Renter:
    """A tenant by hand."""

    def __init__(self, where: Where, *, kind: str = "tcp", is_open: bool = True, **knows) -> None:
        self.sock = reach.rented(where, kind, run=os.getpid(), linger_s=LINGER_S, why_not=str)
        self.sock.settimeout(PATIENCE_S)
        self._callers: list[tuple[dict, socket.socket]] = []
        self.knows(**knows)
        self.open(is_open)

    def knows(self, **what) -> None:
        if "tokens" in what:
            what["tokens"] = [hashed(one) for one in what["tokens"]]
        self.ask("know", **what)

    def open(self, yes: bool) -> None:
        self.ask("open", open=yes)

    def ask(self, do: str, **what) -> dict:
        say(self.sock, {"do": do, **what})
        while "caller" in (said := self._next(PATIENCE_S)):
            pass
        assert "no" not in said, said
        return said

    def _next(self, timeout: float) -> dict:
        """What the porter says next; callers are kept."""
        self.sock.settimeout(timeout)
        heard = hear(self.sock)
        assert heard is not None
        message, sockets = heard
        for sock in sockets:
            sock.settimeout(PATIENCE_S)
            self._callers.append((message, sock))
        return message

    def caller(self, timeout: float = PATIENCE_S) -> tuple[dict, socket.socket]:
        """The next one that is handed over."""
        while not self._callers:
            self._next(timeout)
        return self._callers.pop(0)

    def has_none(self) -> bool:
        """Whether nobody was handed over, or is within a moment."""
        try:
            self.caller(timeout=0.2)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Renter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def call(where: Where, said: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    """A board that calls from an address and says something."""
    sock = socket.create_connection((where.address, where.port), PATIENCE_S, (source, 0))
    sock.sendall(said)
    return sock


def is_refused(where: Where) -> bool:
    """Whether TCP itself lets nobody in."""
    try:
        call(where).close()
    except ConnectionRefusedError:
        return True
    return False


def is_reset(sock: socket.socket) -> bool:
    """Whether the connection was ended by a reset."""
    try:
        return sock.recv(1) is None
    except ConnectionResetError:
        return True
