"""The process that holds one port of a host and gives each caller to the tenant whose board it is.

The rules, in order:

1. It listens as long as a tenant takes callers. Else the port stays bound and callers are refused
   by TCP itself, as by a server that is down.
2. A caller is looked at (MSG_PEEK), never read: the tenant gets the accepted socket with every
   byte, and the porter keeps nothing of it. So TLS is between board and tenant, and the peer's
   address is the board's.
3. With one tenant it is given at once; else when its first message is whole, or after
   :data:`PATIENCE_S` by where it calls from. One about whom nothing is known is kept for that long,
   too: the tenant may be about to say whose address it is.
4. A caller of a tenant that takes none at the moment is reset.
5. Without a tenant for ``linger_s`` the porter ends.

It is no server that anybody stops, so it keeps to bounds: of tenants, of callers that wait, of what
is known of addresses. Standard library only, and no event loop of asyncio's: it starts in the time
of a Python interpreter.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_blynk_ota.rig.ports.first import MAX_BYTES, Told, told_by
from pytest_blynk_ota.rig.ports.messages import (
    VERSION,
    Message,
    Where,
    hear,
    peer_of,
    say,
    this_user,
    unix,
    user_name,
)
from pytest_blynk_ota.rig.ports.tenants import Tenant, choose, has_seen

BACKLOG: Final = 1024
"""Connections that may wait to be accepted: a whole fleet comes back at once."""
PATIENCE_S: Final = 2.0
"""How long a caller may keep silent, or wait for somebody who knows it, where several tenants are.
Firmware that calls speaks at once; it gives a login up after 6 s (blynk-library)."""
MAX_TENANTS: Final = 256
MAX_CALLERS: Final = 1024
"""Those that wait; the oldest is reset for a newer one."""
MAX_TURNS: Final = 1024
"""Addresses of which it is known how often they were given out by turns."""
LOOK_S: Final = 60.0
"""It wakes up at least this often."""
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with which a close is a reset."""
ONCE: Final = 128
"""Connections accepted before tenants are listened to again."""


@dataclass
class Caller:
    """A connection that nobody has yet."""

    sock: socket.socket
    address: str
    port: int
    since: float
    told: Told = field(default_factory=lambda: Told(whole=False))
    bytes: int = 0


@dataclass
class Rent:
    """A tenant with its connection to us."""

    sock: socket.socket
    tenant: Tenant
    pid: int
    user: str
    kind: str
    run: int
    since: float


class Porter:
    """One port.

    Args:
        where: which; it is bound, and the meeting place taken, or this raises.
        linger_s: seconds without a tenant after which it ends; tenants may ask for more.

    Raises:
        OSError: the port cannot be bound; ``BlockingIOError``: another porter has it.
    """

    def __init__(self, where: Where, linger_s: float) -> None:
        self.where = where
        self._linger_s = linger_s
        self._since = self._idle = time.monotonic()
        self._wall = time.time()
        self._selector = selectors.DefaultSelector()
        self._rents: dict[int, Rent] = {}
        self._callers: OrderedDict[int, Caller] = OrderedDict()
        self._turns: OrderedDict[str, int] = OrderedDict()
        self._numbered = self._passed = 0
        self._ended = False
        self._listens = False
        self._meeting = unix()
        try:
            self._meeting.bind(where.meeting)
        except OSError as error:
            self._meeting.close()
            raise BlockingIOError(str(error)) from error
        try:
            self._door = self._bound()
        except OSError:
            self._meeting.close()
            raise
        self._meeting.listen(MAX_TENANTS)
        self._meeting.setblocking(False)
        self._selector.register(self._meeting, selectors.EVENT_READ, self._welcome)

    def _bound(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.where.address else socket.AF_INET
        door = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            door.setblocking(False)
            # Connections of an earlier porter may be alive at its tenants still.
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((self.where.address, self.where.port))
            # A bound port that nobody listens at could be bound by another with that option, too.
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError:
            door.close()
            raise
        return door

    # The loop.

    def run(self) -> None:
        """Until nobody has used the port for long enough, or :meth:`end`."""
        try:
            while not self._is_over():
                for key, _ in self._selector.select(self._wait_s()):
                    if key.fileobj.fileno() >= 0:  # type: ignore[union-attr]
                        key.data()
                self._hurry()
        finally:
            self.close()

    def end(self, *_: object) -> None:
        """End at the next look; a signal's handler."""
        self._ended = True

    def close(self) -> None:
        """Let go of everything."""
        for caller in list(self._callers.values()):
            self._refuse(caller)
        for rent in list(self._rents.values()):
            rent.sock.close()
        self._rents.clear()
        self._meeting.close()
        self._door.close()
        self._selector.close()

    def last_words(self, why: str) -> None:
        """Tell the tenants why this porter dies."""
        for rent in self._rents.values():
            with contextlib.suppress(OSError):
                say(rent.sock, {"end": why})

    def _is_over(self) -> bool:
        lonely = time.monotonic() - self._idle
        return self._ended or (not self._tenants and lonely >= self._linger_s)

    def _wait_s(self) -> float:
        now = time.monotonic()
        waits = [LOOK_S]
        if not self._tenants:
            waits.append(self._idle + self._linger_s - now)
        if self._callers:
            first = next(iter(self._callers.values()))
            waits.append(first.since + PATIENCE_S - now)
        return max(0.0, min(waits))

    # Tenants.

    def _welcome(self) -> None:
        try:
            sock, _ = self._meeting.accept()
        except OSError:
            return
        if len(self._rents) >= MAX_TENANTS:
            sock.close()
            return
        sock.setblocking(False)
        pid, user = peer_of(sock)
        self._numbered += 1
        rent = Rent(sock, Tenant(self._numbered), pid, user_name(user), "", pid, time.time())
        self._rents[rent.tenant.number] = rent
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._listen_to(rent))

    def _listen_to(self, rent: Rent) -> None:
        try:
            heard = hear(rent.sock)
        except BlockingIOError:
            return
        except OSError:
            heard = None
        if heard is None:
            self._leave(rent)
            return
        message, sockets = heard
        for one in sockets:  # nobody has to send us any
            one.close()
        self._answer(rent, message)

    def _answer(self, rent: Rent, message: Message) -> None:
        rule = DEEDS.get(str(message.get("do")))
        try:
            said = rule(self, rent, message) if rule else {"no": f"what is {message.get('do')!r}?"}
        except (KeyError, TypeError, ValueError, OSError) as error:
            said = {"no": f"{message.get('do')!r}: {error!r}"}
        with contextlib.suppress(OSError):  # it is gone, which the next look tells
            say(rent.sock, {"version": VERSION, **said})

    def _leave(self, rent: Rent) -> None:
        self._rents.pop(rent.tenant.number, None)
        self._selector.unregister(rent.sock)
        rent.sock.close()
        if rent.kind:
            self._idle = time.monotonic()
        self._listen_or_not()
        self._look_again()

    @property
    def _tenants(self) -> list[Tenant]:
        return [one.tenant for one in self._rents.values() if one.kind]

    def _listen_or_not(self) -> None:
        """Rule 1."""
        wanted = any(one.is_open for one in self._tenants)
        if wanted == self._listens:
            return
        if wanted:
            self._door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._door.listen(BACKLOG)
            self._selector.register(self._door, selectors.EVENT_READ, self._let_in)
        else:
            self._selector.unregister(self._door)
            # Linux stops to listen, and what is bound stays bound.
            self._door.shutdown(socket.SHUT_RD)
            self._door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        self._listens = wanted

    # What tenants ask for.

    def _rent(self, rent: Rent, message: Message) -> Message:
        if message["version"] != VERSION:
            return {
                "no": "version",
                "said": f"a porter of version {VERSION} holds {self.where} (pid {os.getpid()} of "
                f"{this_user()}), this run speaks version {message['version']}",
                "tenants": len(self._tenants),
            }
        kind = str(message["kind"])
        others = [one for one in self._rents.values() if one.kind and one.kind != kind]
        if others:
            other = others[0]
            return {
                "no": "kind",
                "said": f"{self.where} is used as a {other.kind} port by pid {other.pid} of "
                f"{other.user}, and asked for as a {kind} port",
            }
        self._linger_s = max(self._linger_s, float(message["linger_s"]))
        rent.kind, rent.run = kind, int(message["run"])
        return {"ok": True, "pid": os.getpid()}

    def _know(self, rent: Rent, message: Message) -> Message:
        tenant = rent.tenant
        tenant.tokens.update(map(str, message.get("tokens", ())))
        for key in ("addresses", "names"):
            if key in message:
                setattr(tenant, key, frozenset(map(str, message[key])))
        for address in message.get("seen", ()):
            has_seen(self._tenants, tenant, str(address))
        self._look_again()
        return {"ok": True}

    def _open(self, rent: Rent, message: Message) -> Message:
        rent.tenant.is_open = bool(message["open"])
        self._listen_or_not()
        self._look_again()
        return {"ok": True}

    def _tell(self, rent: Rent, message: Message) -> Message:
        rows = [
            {"pid": one.pid, "user": one.user, "run": one.run, "kind": one.kind,
             "since": one.since, "open": one.tenant.is_open}
            for one in self._rents.values() if one.kind
        ]  # fmt: skip
        return {
            "ok": True, "pid": os.getpid(), "user": this_user(), "since": self._wall,
            "linger_s": self._linger_s, "tenants": rows, "passed": self._passed,
            "waiting": len(self._callers),
        }  # fmt: skip

    def _quit(self, rent: Rent, message: Message) -> Message:
        if self._tenants:
            return {"no": "tenants"}
        self.end()
        return {"ok": True}

    # Callers.

    def _let_in(self) -> None:
        for _ in range(ONCE):
            try:
                sock, peer = self._door.accept()
            except OSError:  # nobody is there any more, or no file descriptor is left
                return
            sock.setblocking(False)
            caller = Caller(sock, str(peer[0]), int(peer[1]), time.monotonic())
            self._callers[sock.fileno()] = caller
            self._selector.register(
                sock, selectors.EVENT_READ, lambda one=caller: self._look_at(one)
            )
            if len(self._callers) > MAX_CALLERS:
                self._refuse(next(iter(self._callers.values())))
            self._consider(caller)

    def _look_at(self, caller: Caller) -> None:
        """More has come of its first message, or its end."""
        try:
            data = caller.sock.recv(MAX_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:  # it was reset: nobody could do anything with it
            self._refuse(caller)
            return
        caller.told = told_by(data)
        if len(data) == caller.bytes:  # it has closed its side: no more will come
            caller.told = Told(True, caller.told.token, caller.told.name)
        caller.bytes = len(data)
        if caller.told.whole:
            self._selector.unregister(caller.sock)
        else:  # what is there was seen: wake up for more than that
            caller.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, caller.bytes + 1)
        self._consider(caller)

    def _consider(self, caller: Caller) -> None:
        """Give it to somebody, if it is known to whom."""
        late = time.monotonic() - caller.since >= PATIENCE_S
        turn = self._turns.get(caller.address, 0)
        choice = choose(self._tenants, caller.told, caller.address, turn)
        if choice is None:
            self._refuse(caller)
        elif late or (choice.is_sure and (caller.told.whole or len(self._tenants) == 1)):
            if not choice.is_sure:
                self._turns[caller.address] = turn + 1
                self._turns.move_to_end(caller.address)
                if len(self._turns) > MAX_TURNS:
                    self._turns.popitem(last=False)
            self._hand_over(caller, self._rents[choice.tenant.number], choice.by)

    def _hand_over(self, caller: Caller, rent: Rent, by: str) -> None:
        if not rent.tenant.is_open:
            self._refuse(caller)
            return
        self._forget(caller)
        caller.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        words = {"caller": [caller.address, caller.port], "t": caller.since, "by": by}
        try:
            say(rent.sock, words, caller.sock)
            self._passed += 1
            caller.sock.close()
        except OSError:  # gone, or it has not taken the last hundred: as if its backlog were full
            self._reset(caller.sock)

    def _refuse(self, caller: Caller) -> None:
        self._forget(caller)
        self._reset(caller.sock)

    def _forget(self, caller: Caller) -> None:
        del self._callers[caller.sock.fileno()]
        with contextlib.suppress(KeyError):  # it has told all that it can
            self._selector.unregister(caller.sock)

    @staticmethod
    def _reset(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()

    def _look_again(self) -> None:
        for caller in list(self._callers.values()):
            self._consider(caller)

    def _hurry(self) -> None:
        """Give out those that have waited long enough."""
        due = time.monotonic() - PATIENCE_S
        for caller in [one for one in self._callers.values() if one.since <= due]:
            self._consider(caller)


DEEDS: Final[Mapping[str, Callable[[Porter, Rent, Any], Message]]] = {
    "rent": Porter._rent,
    "know": Porter._know,
    "open": Porter._open,
    "tell": Porter._tell,
    "quit": Porter._quit,
}
"""What may be asked; ``tell`` and ``quit`` by anybody, the others by tenants."""
