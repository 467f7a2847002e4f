"""The ports of the firmware server: one for all plain URLs, one for https, one for each offer whose
fault acts before a request."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

from pytest_blynk_ota.delivery import filters
from pytest_blynk_ota.delivery.steps import Due
from pytest_blynk_ota.errors import RigError

BACKLOG = 128
OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
BREATH_WALL_S = 0.2
"""A port that has no file descriptor for a connection tries again after this."""
KNOCK_POLL_WALL_S = 0.005
"""How often a silent port is asked whether somebody has knocked."""

Enter = Callable[["Door", socket.socket, str], None]
"""Told of each connection: the door, its socket, its peer."""


class Door:
    """A port that is listened at.

    Args:
        host, port: port 0: a free one.
        secure: whether TLS is spoken behind it.
        guarded: whether it may be shut: the port stays ours meanwhile.

    Attributes:
        address: host and port.

    Raises:
        RigError: the address cannot be listened at.
    """

    def __init__(
        self, host: str, port: int, *, secure: bool = False, guarded: bool = False
    ) -> None:
        self.secure = secure
        self._keeper: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._enter: Enter | None = None
        self._breath: asyncio.TimerHandle | None = None
        self._guarded = guarded
        try:
            family, _, _, _, where = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._family = family
            if guarded:
                # Bound and not listening: who knocks there is refused, and nobody else gets it.
                self._keeper = self._bound(where)
                where = self._keeper.getsockname()
            self._listener = self._bound(where)
            self._listener.listen(BACKLOG)
        except OSError as error:
            self.close()
            raise RigError(
                f"the firmware server cannot listen at {host}:{port}: {error}; "
                f"name another address, or port 0 for a free one"
            ) from error
        self._where = self._listener.getsockname()
        self.address: tuple[str, int] = self._where[:2]

    def _bound(self, where: object) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._guarded:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(where)  # type: ignore[arg-type]
        except BaseException:
            sock.close()
            raise
        return sock

    def open(self, loop: asyncio.AbstractEventLoop, enter: Enter) -> None:
        """Let connections in from now on; on the loop."""
        self._loop, self._enter = loop, enter
        if self._listener is not None:
            loop.add_reader(self._listener, self._knocked)

    def close(self) -> None:
        """Give the port back; on the loop once it is open. Safe to call twice."""
        self._leave()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def _leave(self) -> None:
        if self._breath is not None:
            self._breath.cancel()
            self._breath = None
        if self._listener is not None:
            if self._loop is not None:
                self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    # Below HTTP; for guarded doors.

    def hush(self) -> None:
        """Let every packet fall: who knocks hears nothing. Raises OSError where that cannot be."""
        assert self._listener is not None
        filters.silence(self._listener)

    def knocks(self) -> int:
        """How many packets fell."""
        return 0 if self._listener is None else filters.dropped(self._listener)

    def refuse(self) -> None:
        """Listen no more: who knocks is refused by RST."""
        self._leave()

    def reopen(self) -> None:
        """Listen again, whether it was silent or refused. Raises OSError if it cannot."""
        self._leave()
        self._listener = self._bound(self._where)
        self._listener.listen(BACKLOG)
        if self._loop is not None and self._enter is not None:
            self.open(self._loop, self._enter)

    def _knocked(self) -> None:
        """Take what waits at the door."""
        assert self._enter is not None
        for _ in range(BACKLOG):
            if self._listener is None:
                return
            try:
                sock, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in OUT_OF_FILES:
                    raise
                self._breathe()
                return
            host = f"[{peer[0]}]" if ":" in peer[0] else peer[0]
            self._enter(self, sock, f"{host}:{peer[1]}")

    def _breathe(self) -> None:
        """Every file descriptor is in use: let some be given back first."""
        assert self._loop is not None
        assert self._listener is not None
        self._loop.remove_reader(self._listener)
        self._breath = self._loop.call_later(BREATH_WALL_S, self._again)

    def _again(self) -> None:
        self._breath = None
        if self._listener is not None and self._loop is not None:
            self._loop.add_reader(self._listener, self._knocked)


class Gate:
    """Shuts the door of one offer where ``unreachable`` wants it, and sees who knocks.

    The proof that it fired is a packet that fell: so a port that shall refuse first keeps silent,
    until the kernel counts the first one; the device's TCP repeats it, and is refused.

    Args:
        wanted: the fault that the door shall be shut by; None: none, it shall be open.
        seen: the events of the operation so far.
        fired: called with a fault when somebody has knocked at the door that it shuts.
        over: called with a fault that fired when the door is open again.
        speed: device seconds in a wall second.

    Raises:
        RigError: no port of this host can be shut.
    """

    def __init__(
        self,
        door: Door,
        *,
        wanted: Callable[[], Due | None],
        seen: Callable[[], frozenset[str]],
        fired: Callable[[Due], None],
        over: Callable[[Due], None],
        speed: float,
    ) -> None:
        self._door = door
        self._wanted, self._seen = wanted, seen
        self._fire, self._over = fired, over
        self._speed = speed
        self._due: Due | None = None
        self._fired = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._shut(wanted())

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look after the door from now on; on the loop."""
        self._loop = loop
        self._watch()

    def review(self) -> None:
        """Look whether the door shall be open or shut; on the loop."""
        if self._closed:
            return  # an answer that was ended by that still says that it is over
        if self._due is not None and self._fired:
            if self._due.fault.when.until not in self._seen():
                return
            self._end()
        wanted = self._wanted()
        if wanted == self._due:
            return
        self._halt()
        if self._due is not None:
            self._due = None
            self._door.reopen()
        self._shut(wanted)
        self._watch()

    def close(self) -> None:
        """Nobody knocks any more; on the loop."""
        self._closed = True
        self._halt()
        if self._due is not None and self._fired:
            self._over(self._due)
        self._due = None

    def _shut(self, due: Due | None) -> None:
        self._due, self._fired = due, False
        if due is None:
            return
        try:
            self._door.hush()
        except OSError as error:
            why = filters.unavailable() or error.strerror or str(error)
            raise RigError(f"{due.fault} cannot be done here: {why}") from error

    def _watch(self) -> None:
        """Count the knocks at a door that is shut."""
        self._timer = None
        if self._loop is None or self._due is None:
            return
        if self._door.knocks() == 0:
            self._timer = self._loop.call_later(KNOCK_POLL_WALL_S, self._watch)
            return
        self._fired = True
        values = self._due.fault.values
        if values["how"] == "refused":
            self._door.refuse()
        self._fire(self._due)
        if (seconds := values.get("seconds")) is not None:
            self._timer = self._loop.call_later(seconds / self._speed, self._again)

    def _again(self) -> None:
        self._timer = None
        self._end()
        self.review()

    def _end(self) -> None:
        """The fault that fired is over."""
        self._halt()
        assert self._due is not None
        self._door.reopen()
        self._over(self._due)
        self._due, self._fired = None, False

    def _halt(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def elsewhere(host: str) -> str:
    """Another address of this host, if it is sure to have one: of the loopback."""
    if host != "127.0.0.1":
        return host
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.2", 0))
        return "127.0.0.2"
    return host
