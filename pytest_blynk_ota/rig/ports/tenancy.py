"""A tenant's side: the fixed ports of one worker, rented from their porters.

A porter that dies takes no connection with it. Its tenants notice at once and start another one,
which is told what the old one was told; until then the port refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_blynk_ota.cloud.doors import Door
from pytest_blynk_ota.cloud.ears import Ear, Visitor, listen_here, why_port_fails
from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.evidence.timeline import Record
from pytest_blynk_ota.rig.ports.messages import LINGER_S, Message, Where, hear, say
from pytest_blynk_ota.rig.ports.reach import ANSWER_S, rented
from pytest_blynk_ota.rig.ports.tenants import TURN, hashed

AT_ONCE: Final = 256
"""Tokens in one message."""
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with which a close is a reset."""
LOSSES, LOSSES_S = 5, 60.0
"""A porter that dies more often than that, in so many seconds, dies of us."""
GONE: Final = "gone"
"""Key of an answer that will not come: why."""


class _Gone(RigError):
    """Raised when a porter dies before it has answered."""


@dataclass
class Known:
    """What is known of a worker's boards.

    Attributes:
        said: addresses that boards have printed, by board: the last one counts.
    """

    tokens: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)

    @property
    def every_address(self) -> set[str]:
        return {*self.addresses, *self.said.values()}

    def messages(self) -> Iterable[Message]:
        """All of it, for a porter that knows nothing."""
        yield _know(addresses=self.every_address, names=self.names, seen=self.seen)
        tokens = sorted(self.tokens)
        for at in range(0, len(tokens), AT_ONCE):
            yield _know(tokens=tokens[at : at + AT_ONCE])


def _know(**what: Collection[str]) -> Message:
    return {"do": "know", **{key: sorted(values) for key, values in what.items()}}


class SharedPorts:
    """The fixed ports of one worker. Its methods are for the cloud's loop, but where it says else.

    Args:
        record: where it goes that a porter was lost, and that nobody knew whose a caller is.
        run: pid of the run.
        linger_s: wall seconds that a porter stays after its last tenant.
    """

    def __init__(self, record: Record, *, run: int, linger_s: float = LINGER_S) -> None:
        self._record = record
        self._run = run
        self._linger_s = linger_s
        self._known = Known()
        self._tenancies: dict[Where, Tenancy] = {}

    async def listen(self, door: Door, host: str, visitor: Visitor) -> Ear:
        """Open a door: a fixed port at its porter, a free one here.

        Raises:
            RigError: the port cannot be had; says who has it, and what to do.
        """
        if door.port == 0:
            return await listen_here(door, host, visitor)
        try:
            where = Where.of(host, door.port)
        except (OSError, UnicodeError) as error:
            raise RigError(why_port_fails(door.kind, host, door.port, error)) from error
        tenancy = self._tenancies.get(where)
        if tenancy is None:
            tenancy = Tenancy(where, door.kind, self._known, self._record)
            await tenancy.start(self._run, self._linger_s)
            self._tenancies[where] = tenancy
        await tenancy.open(visitor)
        return tenancy

    async def knows(
        self, *, token: str = "", addresses: Collection[str] = (), names: Collection[str] = ()
    ) -> None:
        """A board's token, where it calls from, what it calls the server, as far as known.

        Returns when every porter knows it. Raises RigError.
        """
        known = self._known
        known.tokens |= {hashed(token)} if token else set()
        known.addresses.update(addresses)
        known.names.update(names)
        tokens = {hashed(token)} if token else ()
        message = _know(tokens=tokens, addresses=known.every_address, names=known.names)
        for tenancy in list(self._tenancies.values()):
            await tenancy.tell(message)

    def lives_at(self, board: str, address: str) -> None:
        """A board has printed its address."""
        self._known.said[board] = address
        for tenancy in self._tenancies.values():
            tenancy.mention(_know(addresses=self._known.every_address))

    def came(self, address: str) -> None:
        """A board has logged in from there."""
        self._known.seen.add(address)
        for tenancy in self._tenancies.values():
            tenancy.mention(_know(seen=[address]))

    def check(self) -> None:
        """Raises RigError if a port was lost and cannot be had again. From any thread."""
        for tenancy in list(self._tenancies.values()):
            if tenancy.broken is not None:
                raise tenancy.broken

    async def stop(self) -> None:
        """Give every port back."""
        tenancies, self._tenancies = self._tenancies, {}
        for tenancy in tenancies.values():
            tenancy.leave()


class Tenancy:
    """One rented port, as an :class:`Ear` of the cloud.

    Attributes:
        broken: why it was lost for good; None while it is there, or will be.
    """

    def __init__(self, where: Where, kind: str, known: Known, record: Record) -> None:
        self.address = (where.address, where.port)
        self.broken: RigError | None = None
        self._where = where
        self._kind = kind
        self._known = known
        self._record = record
        self._visitor: Visitor | None = None
        self._sock: socket.socket | None = None
        self._answers: deque[asyncio.Future[Message]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._rent: tuple[int, float] = (0, LINGER_S)
        self._why = ""
        self._left = False
        self._losses: list[float] = []
        self._closed: asyncio.Future[Message] | None = None

    async def start(self, run: int, linger_s: float) -> None:
        """Rent it. Raises RigError."""
        self._rent = run, linger_s
        await self._move_in()

    async def _move_in(self) -> None:
        run, linger_s = self._rent
        host, port = self.address
        sock = await asyncio.to_thread(
            rented,
            self._where,
            self._kind,
            run=run,
            linger_s=linger_s,
            why_not=lambda error: why_port_fails(self._kind, host, port, error),
        )
        if self._left:
            sock.close()
            return
        sock.setblocking(False)
        self._sock, self._why = sock, ""
        asyncio.get_running_loop().add_reader(sock, self._listen)
        for message in self._known.messages():
            await self._ask(message)
        if self._visitor is not None:
            await self._ask({"do": "open", "open": True})

    async def open(self, visitor: Visitor) -> None:
        """Take callers from now on. Raises RigError."""
        self._visitor = visitor
        await self._ask({"do": "open", "open": True})

    def close(self) -> None:
        """Take none; the port is ours still, and who calls for us is refused."""
        self._visitor = None
        self._closed = self._soon({"do": "open", "open": False})

    async def wait_closed(self) -> None:
        """Wait until the porter lets nobody in for us."""
        if self._closed is not None:
            with contextlib.suppress(_Gone):  # and with it everybody who waited
                await self._answer(self._closed)

    async def tell(self, message: Message) -> None:
        """Tell the porter something; returns when it knows. Raises RigError."""
        with contextlib.suppress(_Gone):  # the next one is told all
            await self._ask(message)

    def mention(self, message: Message) -> None:
        """Tell the porter something, and do not wait for it."""
        self._soon(message)

    def leave(self) -> None:
        """Give the port back."""
        self._left = True
        self._visitor = None
        for task in self._tasks:
            task.cancel()
        self._hang_up("the port was given back")

    # What is said.

    async def _ask(self, message: Message) -> None:
        await self._answer(self._soon(message))

    def _soon(self, message: Message) -> asyncio.Future[Message]:
        """The answer to come."""
        answer = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        try:
            if self._sock is None:
                raise ConnectionResetError(self._why)
            say(self._sock, message)
        except OSError as error:
            self._why = self._why or str(error)
            self._answers.pop()
            answer.set_result({GONE: self._why})
        return answer

    async def _answer(self, answer: asyncio.Future[Message]) -> None:
        try:
            said = await asyncio.wait_for(answer, ANSWER_S)
        except TimeoutError:
            raise RigError(f"the porter of {self._where} does not answer") from None
        if GONE in said:
            raise _Gone(f"the porter of {self._where} is gone: {said[GONE]}")
        if "no" in said:
            raise RigError(f"the porter of {self._where} refuses: {said['no']}")

    def _listen(self) -> None:
        """Something came from the porter."""
        assert self._sock is not None
        try:
            heard = hear(self._sock)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(str(error))
            return
        if heard is None:
            self._lost("it has ended")
            return
        message, sockets = heard
        if "caller" in message and sockets:
            self._let_in(message, sockets[0])
        elif "end" in message:
            self._why = str(message["end"])
        elif self._answers:
            answer = self._answers.popleft()
            if not answer.done():
                answer.set_result(message)

    # Callers.

    def _let_in(self, message: Message, sock: socket.socket) -> None:
        if self._visitor is None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
            return
        if message["by"] == TURN:
            host, port = message["caller"]
            self._record("rig", "port_guessed", port=str(self._where), peer=f"{host}:{port}")
        self._do(self._begin(self._visitor, float(message["t"]), sock))

    async def _begin(self, visitor: Visitor, accepted: float, sock: socket.socket) -> None:
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: visitor(accepted), sock)
        except BaseException:
            sock.close()
            raise

    def _do(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # A porter that dies.

    def _lost(self, why: str) -> None:
        why = self._why or why
        self._hang_up(why)
        if self._left:
            return
        self._record("rig", "port_lost", port=str(self._where), why=why)
        now = time.monotonic()
        self._losses = [t for t in self._losses if now - t < LOSSES_S] + [now]
        if len(self._losses) > LOSSES:
            self.broken = RigError(
                f"port {self._where} was lost {len(self._losses)} times within {LOSSES_S:g} s, "
                f"the last time: {why}"
            )
            return
        self._do(self._again(now))

    def _hang_up(self, why: str) -> None:
        self._why = why
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None
        while self._answers:
            answer = self._answers.popleft()
            if not answer.done():
                answer.set_result({GONE: why})

    async def _again(self, since: float) -> None:
        try:
            await self._move_in()
        except _Gone:
            return  # this one has died, too, and somebody is at it
        except (RigError, OSError) as error:
            self.broken = RigError(f"port {self._where} was lost ({self._why}): {error}")
            return
        seconds = round(time.monotonic() - since, 3)
        self._record("rig", "port_regained", port=str(self._where), seconds=seconds)
