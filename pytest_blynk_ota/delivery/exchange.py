"""One answer on its way to one device: carries out its steps and says what happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from pytest_blynk_ota.delivery.kinds import RATES
from pytest_blynk_ota.delivery.pacing import Pacer
from pytest_blynk_ota.delivery.steps import (
    Answer,
    Cut,
    Due,
    Endless,
    Fire,
    Hold,
    Later,
    Over,
    Pace,
    Say,
    Send,
    Step,
)
from pytest_blynk_ota.delivery.tls_layer import RECORD_BYTES
from pytest_blynk_ota.delivery.wire import MORE, SEGMENT, Gone, Wire
from pytest_blynk_ota.delivery.witness import Ledger

CHUNK_BYTES = 256 * 1024
"""Sealed at once on a healthy TLS line."""

PROGRESS_SHARE = 0.02
PROGRESS_WALL_S = 0.05
"""At most one progress event for each 2 % of the body or 50 ms."""

ACK_POLL_WALL_S = (0.0002, 0.0005, 0.001, 0.002)
"""How often the acknowledged bytes are read while something waits for them; the last one holds."""

AHEAD_BYTES = 16 * 1024
"""Bytes that may be on their way where something comes by the clock: it has to come where the
device is, not where the kernel is."""

DROP_POLL_WALL_S = 0.02
"""How often a silenced connection is asked whether somebody has knocked."""

AFTERWORD_S = 2.0
AFTERWORD_WALL_S = 0.2
"""Device seconds, and wall seconds at the least, in which a device has read what lies in its window
and has said so. A FIN of that time comes again."""

SILENCES = frozenset({"stall", "drip"})
"""Faults that a device meets once it has all before them: one that leaves earlier met none."""

BURST = 64
"""Sends that the kernel took at once, before others have their turn."""

Note = Callable[..., None]
"""Puts an event on record: its kind, and its data by name."""
Fired = Callable[[int], None]
"""Told the place of each fault that took effect."""
Seen = Callable[[], frozenset[str]]
"""The events of the operation so far."""


class Exchange:
    """One request's answer.

    Args:
        wire: where it is sent.
        answer: what to send.
        note: called with the kind and the data of each event.
        speed: device seconds in a wall second.
        seen: which events there were.
        fired: called with the place of each fault that took effect.
    """

    def __init__(
        self,
        wire: Wire,
        answer: Answer,
        note: Note,
        speed: float,
        *,
        seen: Seen = frozenset,
        fired: Fired = lambda index: None,
    ) -> None:
        self._wire = wire
        self._answer = answer
        self._body = memoryview(answer.body)
        self._note = note
        self._speed = speed
        self._seen = seen
        self._fired = fired
        self._loop = asyncio.get_running_loop()
        self._ledger = Ledger()
        self._pacer: Pacer | None = None
        self._slower: Pace | None = None
        self._came: deque[Later] = deque()
        self._timers: list[asyncio.TimerHandle] = []
        self._ticker: asyncio.TimerHandle | None = None
        self._sends = 0
        self._bodily = False
        self._holding = False
        self._open: dict[int, Due] = {}
        self._ending: tuple[str, str] | None = None
        self._said: tuple[int, int, bool | None, int] = (0, 0, None, 0)
        self._said_at = self._loop.time()
        self._began = 0
        self._beyond = 0
        self._closed = False
        self.done = asyncio.Event()

    @property
    def is_forsaken(self) -> bool:
        """Whether its connection is silent and must stay so."""
        return self._ending == ("server", "vanish")

    @property
    def _part(self) -> list[int] | None:
        """The bytes of the file that it holds, as events have them."""
        return list(self._answer.part) if self._answer.part else None

    async def run(self) -> bool:
        """Send the answer; whether the connection may serve another request.

        However it ends, ``ended`` is said exactly once.
        """
        answer = self._answer
        try:
            self._note(
                "response",
                status=answer.status,
                announced=answer.announced,
                page=answer.page,
                part=self._part,
                due=[list(row) for row in sorted(answer.due.items())],
            )
            self._begin()
            await self._carry_out(answer.steps)
            if self._ending is None:
                await self._complete()
        except ConnectionError:
            self._ending = self._ending or ("device", self._wire.gone or "rst")
        except asyncio.CancelledError:
            self._ending = self._ending or ("shutdown", "fin")
            raise
        except Exception:
            self._ending = self._ending or ("server", "error")
            raise
        finally:
            self._finish()
        return self._ending == ("server", "complete") and answer.keep

    def stop(self) -> None:
        """End the answer at once, from our side."""
        if not self.done.is_set():
            self._ending = ("shutdown", "fin")
        self._wire.close()

    def look(self) -> None:
        """Something was seen: look whether that changes anything."""
        self._end_rates()
        self._wire.wake()

    # Steps.

    def _begin(self) -> None:
        answer = self._answer
        if answer.due or answer.later:
            self._wire.narrow()
        for later in answer.later:
            self._timers.append(
                self._loop.call_later(later.seconds / self._speed, self._has_come, later)
            )
        self._began = self._wire.acked()
        self._wire.moved = self._progress
        self._tick()

    def _has_come(self, later: Later) -> None:
        self._came.append(later)
        self._wire.wake()

    async def _carry_out(self, steps: tuple[Step, ...]) -> None:
        for place, step in enumerate(steps):
            rest = (one for one in steps[place + 1 :] if not isinstance(one, Over))
            await self._step(step, next(rest, None))
            if self._ending is not None:
                return

    async def _step(self, step: Step, following: Step | None) -> None:
        """One step; what goes on at once behind it needs no segment of its own."""
        more = MORE if isinstance(following, Say | Send) and following.pace is None else 0
        match step:
            case Say(data, pace):
                await self._say(memoryview(data), pace, more)
            case Send(stop, pace):
                await self._send(stop, pace, more if isinstance(following, Say) else 0)
            case Endless(data, pace):
                while True:
                    await self._say(memoryview(data), pace, 0, self._ledger)
                    self._progress()
            case Fire(due, at, details):
                if at >= 0 and due.fault.kind in SILENCES:
                    await self._delivered()
                self._fire(due, self._ledger.body if at < 0 else at, **details)
            case Over(due):
                self._over(due)
            case Hold():
                await self._hold(step)
            case Cut(due, how, at):
                await self._cut(due, how, at)

    async def _say(
        self, data: memoryview, pace: Pace | None, flags: int, ledger: Ledger | None = None
    ) -> None:
        """Send what is no body, unless a ``ledger`` counts it as one."""
        if 0 < (self._answer.announced or 0) <= self._ledger.body:
            self._beyond += len(data)
        if pace is None:
            self._wire.send(data, flags, ledger)
            await self._drained()
            return
        at = 0
        while at < len(data):
            count = await self._piece(pace, len(data) - at)
            piece = data[at : at + (count or len(data))]
            at += len(piece)
            await self._let_go(piece, ledger)

    async def _send(self, stop: int, pace: Pace | None, flags: int) -> None:
        """Send the body up to ``stop``. What comes by the clock may come in its midst."""
        ledger = self._ledger
        while ledger.body < stop:
            at = ledger.body
            slow = self._in_force(self._slower or pace)
            if slow is None:
                chunk = self._body[at : min(stop, at + self._chunk())]
                self._wire.send(chunk, flags, ledger)
                self._bodily = True
                await self._drained()
                self._bodily = False
            elif count := await self._piece(slow, stop - at):
                await self._let_go(self._body[at : at + count], ledger)
            if self._answer.later:
                await self._acknowledged(AHEAD_BYTES)
            self._progress()

    async def _let_go(self, piece: memoryview, ledger: Ledger | None) -> None:
        """Send a piece whose moment has come."""
        self._wire.send(piece, SEGMENT, ledger)
        blocked = self._wire.waiting
        await self._drained()
        if blocked and self._pacer is not None:
            self._pacer.held_up(self._loop.time())

    def _chunk(self) -> int:
        """What is queued at once: of bare bytes all, for they can be taken back."""
        if self._answer.later:
            return AHEAD_BYTES
        return len(self._body) if self._wire.tls is None else CHUNK_BYTES

    async def _piece(self, pace: Pace, left: int) -> int:
        """Wait until the next piece is due; its bytes. 0: the pace is over, all may go."""
        while not self._is_free(pace):
            if self._pacer is None or self._pacer.pace != pace:
                self._pacer = Pacer(pace, self._speed, self._loop.time())
            pacer = self._pacer
            count, due = pacer.next(left)
            while self._loop.time() < due and self._pacer is pacer and not self._is_free(pace):
                await self._rest(due)
            if self._pacer is pacer:
                return 0 if self._is_free(pace) else count
        return 0

    def _in_force(self, pace: Pace | None) -> Pace | None:
        """What is left of a pace after the events that were seen."""
        while pace is not None and self._is_free(pace):
            pace = pace.then
        return pace

    def _is_free(self, pace: Pace) -> bool:
        """Whether the event that ends a pace has been seen."""
        if pace.until not in self._seen():
            return False
        self._end_rates()
        return True

    def _end_rates(self) -> None:
        """Say which rates an event has ended, also one that a slower one stood in for."""
        for due in list(self._open.values()):
            if due.fault.kind in RATES and due.fault.when.until in self._seen():
                self._over(due)

    async def _hold(self, step: Hold) -> None:
        """Send nothing; without an end only the device or :meth:`stop` ends it."""
        was, self._holding = self._holding, True
        end = None if step.seconds is None else self._loop.time() + step.seconds / self._speed
        while end is None or self._loop.time() < end:
            if step.until is not None and step.until in self._seen():
                break
            await self._rest(end)
        self._holding = was  # by the clock one hold comes in the midst of another
        self._pacer = None  # a pace begins anew: it has nothing to make up for

    async def _complete(self) -> None:
        """The answer is out: see it acknowledged. Where it is the last, FIN goes right behind;
        otherwise a device that was promised more waits for it as long as it likes."""
        if not self._answer.keep:
            self._goodbye()
            await self._drained()
            self._wire.finish()
            self._closed = True
        await self._acknowledged()
        while self._answer.keep and self._ledger.body < (self._answer.announced or 0):
            await self._rest()
        self._ending = self._our_end(self._ledger.body)

    def _our_end(self, acked: int) -> tuple[str, str]:
        """How an answer ended that we closed, or that kept its connection."""
        if not self._answer.whole:
            return "server", "fin"
        return "server", "complete" if self._is_whole(acked) else "short"

    # Waiting.

    async def _rest(self, until: float | None = None) -> None:
        """Wait for the next change, and see to what the clock has brought meanwhile."""
        self._look_around()
        if not self._came or self._ending is not None:
            await self._wire.wait(until)
            self._look_around()
        if self._ending is None:
            await self._see_to_the_clock()

    async def _see_to_the_clock(self) -> None:
        """Carry out what has come by the clock."""
        while self._came and self._ending is None:
            await self._interrupt(self._came.popleft())
        if self._ending is not None:
            raise Gone("the answer is over")

    def _look_around(self) -> None:
        if self._wire.gone is not None:
            raise Gone(self._wire.gone)

    async def _interrupt(self, later: Later) -> None:
        """What came by the clock, wherever the answer is. A record that has begun goes on to its
        end meanwhile."""
        if self._wire.tls is None and self._bodily:
            self._ledger.recall(self._wire.recall())
        self._slower = later.pace or self._slower
        await self._carry_out(later.steps)

    async def _drained(self) -> None:
        """Wait until the kernel has taken all."""
        self._sends += 1
        if self._sends % BURST == 0 and self._ending is None:
            await asyncio.sleep(0)
            await self._see_to_the_clock()
        while self._wire.waiting:
            await self._rest()
        self._look_around()

    async def _acknowledged(self, but: int = 0) -> None:
        """Wait until the device's TCP has acknowledged all that was written, but for so many
        bytes."""
        polls = iter(ACK_POLL_WALL_S)
        poll = next(polls)
        while self._wire.acked() + but < self._wire.queued:
            await self._rest(self._loop.time() + poll)
            poll = next(polls, poll)
        self._progress()

    async def _delivered(self) -> None:
        """Wait until the device has all that was written. One that leaves with the last of it, for
        there is no more to come, has it all the same."""
        try:
            await self._acknowledged()
        except Gone:
            if self._ending is not None or self._wire.acked() < self._wire.queued:
                raise

    # Ends.

    async def _cut(self, due: Due, how: str, at: int) -> None:
        """End the connection here: once all before is acknowledged, or if it is the clock that says
        so, by RST at once, and by FIN behind what is on its way."""
        if at >= 0 or how not in ("rst", "fin"):
            await self._delivered()
        if at < 0:
            at = self._ledger.within(self._wire.acked()) if how == "rst" else self._ledger.body
        if how == "vanish":
            self._wire.silence()
        elif how in ("fin", "half"):
            self._goodbye()
        self._fire(due, at)
        self._ending = ("server", how)
        match how:
            case "vanish":
                await self._forsaken()
            case "half":
                await self._deaf()
            case "rst":
                self._wire.reset()
            case "fin":
                with contextlib.suppress(Gone):
                    await self._drained()
                    self._wire.finish()
                    await self._acknowledged()
                self._wire.close()
            case "record" | "bad-record":
                await self._spoil(at, how)
                self._wire.close()
            case _:
                self._wire.close()

    def _goodbye(self) -> None:
        """TLS's own end, where TLS is spoken."""
        if self._wire.tls is not None:
            self._wire.put(self._wire.tls.goodbye())

    async def _spoil(self, at: int, how: str) -> None:
        """The next record of the body: its first half alone, or with a byte that is wrong."""
        tls = self._wire.tls
        if tls is None:
            raise ValueError(f"{how} needs TLS")
        sealed = bytearray(tls.seal(self._body[at : at + RECORD_BYTES])[0] or tls.goodbye())
        if how == "record":
            del sealed[len(sealed) // 2 :]
        else:
            sealed[-1] ^= 1  # of its tag: the device opens it and finds it is not ours
        self._wire.put(bytes(sealed))
        with contextlib.suppress(Gone):  # it answers a bad one by an alert and leaves
            await self._acknowledged()

    async def _deaf(self) -> None:
        """FIN, and then only listen, until the device goes."""
        self._wire.finish()
        while self._wire.gone is None:
            self._wire.take()
            await self._wire.wait()

    async def _forsaken(self) -> None:
        """Nobody is there any more. That the device knocks is the sign that it has given up; what
        it says right at first is still about the bytes before: acknowledgements, its window. A RST
        is one at any time."""
        heard = self._loop.time() + max(AFTERWORD_S / self._speed, AFTERWORD_WALL_S)
        while True:
            await self._wire.wait(self._loop.time() + DROP_POLL_WALL_S)
            self._look_around()
            if self._wire.knocked():
                if self._loop.time() >= heard:
                    return
                self._wire.forget_knocks()

    # What is on record.

    def _tick(self) -> None:
        """Look at the acknowledged bytes now, and again soon."""
        self._progress()
        self._wire.spill()
        self._ticker = self._loop.call_later(PROGRESS_WALL_S, self._tick)

    def _progress(self) -> None:
        """Say how far it came, if it is worth saying."""
        wire = self._wire.acked()
        acked = self._ledger.within(wire)
        self._ledger.forget(wire)
        taken = max(self._ledger.within(self._wire.taken), acked)
        now = (taken, acked, self._wire.in_flight(), wire - self._began)
        if now == self._said:
            return
        step = max(1.0, (self._answer.announced or len(self._body)) * PROGRESS_SHARE)
        if acked - self._said[1] >= step or self._loop.time() - self._said_at >= PROGRESS_WALL_S:
            self._said, self._said_at = now, self._loop.time()
            self._note("progress", written=taken, acked=acked, in_flight=now[2], wire=now[3])

    def _fire(self, due: Due, at: int, **more: Any) -> None:
        self._open[due.index] = due
        self._fired(due.index)
        self._fault(due, at, "fired", **more)

    def _over(self, due: Due) -> None:
        if self._open.pop(due.index, None):
            self._fault(due, self._ledger.body, "over")

    def _fault(self, due: Due, at: int, phase: str, **more: Any) -> None:
        self._note("fault", index=due.index, fault=str(due.fault), at=at, phase=phase, **more)

    def _finish(self) -> None:
        """Say the end. Faults that it interrupts are over after it, all others before."""
        for timer in (self._ticker, *self._timers):
            if timer is not None:
                timer.cancel()
        self._wire.moved = lambda: None
        acked = self._ledger.within(self._wire.acked())
        by, how = self._ending or ("device", self._wire.gone or "rst")
        # Who leaves once all has come and we have left is not the one who ended it.
        ours = self._closed and self._wire.acked() >= self._wire.queued
        if by == "device" and not self._holding and (ours or self._is_whole(acked)):
            self._ending = by, how = self._our_end(acked)
        if by == "server" and how != "error":
            self._all_over()
        self._note(
            "ended",
            status=self._answer.status,
            page=self._answer.page,
            part=self._part,
            by=by,
            how=how,
            written=max(self._ledger.within(self._wire.taken), acked) + self._beyond,
            acked=acked,
            announced=self._answer.announced,
            acked_by=self._wire.acked_by,
        )
        self._all_over()
        self.done.set()

    def _is_whole(self, acked: int) -> bool:
        """Whether the device has all that it was to expect."""
        announced = self._answer.announced
        came = acked == len(self._body) if announced is None else acked >= announced
        return self._answer.whole and came

    def _all_over(self) -> None:
        for due in list(self._open.values()):
            self._over(due)
