"""The ``network`` fixture: a hand at the rig's link, its access point and its names.

Whatever is changed holds from the call until ``end()``, the end of the ``with`` block, or the end
of the test. All times and rates are device seconds.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NoReturn

from pytest_blynk_ota.errors import FaultError, FaultNotReached, NetworkFailed, Unavailable
from pytest_blynk_ota.evidence.timeline import Record
from pytest_blynk_ota.fault_form import nearest
from pytest_blynk_ota.rig.network.access_point import AccessPoint
from pytest_blynk_ota.rig.network.commands import Ports
from pytest_blynk_ota.rig.network.link import Link
from pytest_blynk_ota.rig.network.name_service import FIRMWARE, NameService
from pytest_blynk_ota.rig.network.names import Answers, Rule
from pytest_blynk_ota.rig.network.shape import (
    BOTH,
    DOWN,
    UP,
    Shape,
    direction,
    merged,
    slowness_s,
)

AP_OFF_S = 10.0
"""Device seconds: stations notice a lost access point after 6 (BEACON_TIMEOUT)."""
REORDER_DELAY_S = 0.05
"""Device seconds that packets are held back in :meth:`Network.reordered`, so that some overtake."""


PARTS = {"ap": "ap", "link": "link", "netem": "link", "dns": "dns"}
"""Needs, and the part that has them."""


UNDONE = "{} was killed and had left {}; that has been undone"


class LeftBehind(UserWarning):
    """A run was killed that had changed the network."""


class Held:
    """Something that a test has changed of the network: ``end()`` it, or use it in ``with``.

    Args:
        text: what it is.
        undo: ends it; called once.
    """

    def __init__(self, text: str, undo: Callable[[Held], None]) -> None:
        self._text = text
        self._undo = undo
        self._ended = False

    def __repr__(self) -> str:
        return f"<network: {self._text}{', ended' if self._ended else ''}>"

    def __str__(self) -> str:
        return self._text

    def end(self) -> None:
        """End it; twice is no error. Raises RigError: it does not work, or it was for nothing."""
        if not self._ended:
            self._ended = True
            self._undo(self)

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            self.end()
        except FaultNotReached:
            if error is None:  # else what went wrong before is why
                raise


def unavailable(reason: str) -> NoReturn:
    """What becomes of a request that cannot be had, outside of pytest."""
    raise Unavailable(reason)


class Network:
    """A rig's network in the hand of a test.

    Args:
        record: where what a test does goes.
        speed: device seconds in a wall second.
        link: where packets can be held back; or the reason why there is none.
        access_point: the same of the access point.
        names: the same of the names.
        ports: asked for the rig's own ports when packets are to be held back.
        refuse: called with the reason where something cannot be had; pytest's skip in a test.
    """

    def __init__(
        self,
        record: Record,
        speed: float,
        *,
        link: Callable[[], Link] | str,
        access_point: Callable[[], AccessPoint] | str,
        names: Callable[[], NameService] | str,
        ports: Callable[[], Ports],
        refuse: Callable[[str], NoReturn] = unavailable,
    ) -> None:
        self._record = record
        self._speed = speed
        self._made: dict[str, Any] = {"link": link, "ap": access_point, "dns": names}
        self._ports = ports
        self.refuse = refuse
        self._turn = threading.RLock()
        self._shapes: list[tuple[Held, str, Shape]] = []
        self._rules: list[tuple[Held, Rule, bool]] = []
        self._told = ("", False)
        self._ap_is_off = False

    def __repr__(self) -> str:
        return f"<network: {self._told[0] or 'as it is'}{', no access point' * self._ap_is_off}>"

    # ---- what can be had

    def lack(self, need: str, way: str = DOWN) -> str | None:
        """Why something cannot be had here; None: it can.

        Args:
            need: ``network`` (any way to take the network away), ``ap``, ``link`` (a rate, a
                partition), ``netem`` (loss, delay and the rest) or ``dns``.
            way: down, up or both: which packets, for a link.
        """
        if need == "network":
            reasons = [self.lack("ap"), self.lack("link")]
            return "; ".join(filter(None, reasons)) if all(reasons) else None
        if need not in PARTS:
            raise FaultError(f"need {need!r}; {nearest(need, ['network', *PARTS])}")
        part = self._part(PARTS[need])
        if isinstance(part, str):
            return part
        if PARTS[need] != "link":
            return None
        reasons = [part.lack(netem=need == "netem", direction=one) for one in ways(way)]
        return next((one for one in reasons if one), None)

    def _part(self, name: str) -> Any:
        """The link or the access point, made on first use; a text: why there is none."""
        made = self._made[name]
        if callable(made):
            self._made[name] = made = made()
        return made

    def _need(self, need: str, way: str = DOWN) -> Any:
        if reason := self.lack(need, way):
            self.refuse(reason)
        return self._part(PARTS[need])

    # ---- the link

    def shaped(self, *, direction: str = DOWN, **given: Any) -> Held:
        """Hold packets back: several things at once.

        Args:
            direction: ``down``, what boards receive; ``up``, what they send; or ``both``.
            given: of ``loss``, ``delay``, ``jitter``, ``reorder``, ``duplicate``, ``corrupt`` and
                ``rate``: see :class:`Shape`. Parts as ``"10%"`` or 0.1, times in device seconds,
                a rate in bytes a device second.

        Raises:
            FaultError: unknown, out of range, or of no effect.
            NetworkFailed: it went wrong; nothing is held back then.
        """
        shape, way = Shape.of(**given), read_direction(direction)
        link = self._need("netem" if shape.needs_netem else "link", way)
        held = Held(str(shape) + (f" {way}" if way != DOWN else ""), self._end_shape)
        with self._turn:
            self._shapes.append((held, way, shape))
            try:
                self._apply(link, begins=True)
            except BaseException:
                self._shapes.clear()
                self._tell("", False)
                raise
        return held

    def lossy(self, loss: str | float, **more: Any) -> Held:
        """Lose a part of the packets: ``network.lossy("10%", delay=0.2)``."""
        return self.shaped(loss=loss, **more)

    def slow(self, rate: float, **more: Any) -> Held:
        """Let so many bytes through in a device second."""
        return self.shaped(rate=rate, **more)

    def delayed(self, delay: float, jitter: float = 0, **more: Any) -> Held:
        """Let packets come so many device seconds later."""
        return self.shaped(delay=delay, jitter=jitter, **more)

    def reordered(
        self, part: str | float = "25%", delay: float = REORDER_DELAY_S, **more: Any
    ) -> Held:
        """Let a part of the packets overtake the others, which come so much later."""
        return self.shaped(reorder=part, delay=delay, **more)

    def duplicated(self, part: str | float, **more: Any) -> Held:
        """Let a part of the packets come twice."""
        return self.shaped(duplicate=part, **more)

    def corrupted(self, part: str | float, **more: Any) -> Held:
        """Flip a bit in a part of the packets."""
        return self.shaped(corrupt=part, **more)

    def partition(self, *, direction: str = BOTH) -> Held:
        """Let nothing through; the time in which boards are kept away does not count."""
        return self.shaped(loss=1, direction=direction)

    def cut(self, off_s: float) -> None:
        """A partition of so many device seconds. Raises RigError."""
        with self.partition():
            self._dwell(off_s)

    def _end_shape(self, held: Held) -> None:
        with self._turn:
            kept = [row for row in self._shapes if row[0] is not held]
            if len(kept) < len(self._shapes):
                self._shapes = kept
                self._apply(self._part("link"), begins=False)

    def _apply(self, link: Link, *, begins: bool) -> None:
        """Make the link as all that is held says; told before it begins, and after it has ended."""
        wanted = {
            one: shape
            for one in WAYS
            if (shape := merged([row[2] for row in self._shapes if one in ways(row[1])]))
        }
        text = ", ".join(f"{shape} {one}" for one, shape in wanted.items())
        away = any(shape.is_partition for shape in wanted.values())
        if begins:
            self._tell(text, away)
        link.shape(wanted, self._ports())
        self._tell(text, away)

    def _tell(self, text: str, away: bool) -> None:
        """Events: what is held back now, and whether boards are kept away by it."""
        was, was_away = self._told
        self._told = (text, away)
        if text != was:
            self._record("test", "action", None, what="link.shaped", text=text)
        if away != was_away:
            self._record("test", "action", None, what=f"network.{'off' if away else 'on'}")

    def slowness_s(self, size: int) -> float:
        """Device seconds that a download of so many bytes takes longer by what is held back now."""
        with self._turn:
            each = [merged([row[2] for row in self._shapes if one in ways(row[1])]) for one in WAYS]
        return sum(slowness_s(shape, size, self._speed) for shape in each if shape is not None)

    def cover(self) -> None:
        """The rig has opened a port: it is held back like the others. Raises NetworkFailed."""
        with self._turn:
            if self._shapes:
                self._part("link").cover(self._ports())

    # ---- the access point

    def ap_off(self) -> None:
        """Switch the access point off. Raises RigError."""
        access_point = self._need("ap")
        self._ap_is_off = True  # before: a command that fails may have switched all the same
        access_point.switch(False)

    def ap_on(self) -> None:
        """Switch it on. Raises RigError."""
        self._need("ap").switch(True)
        self._ap_is_off = False

    @contextlib.contextmanager
    def without_ap(self) -> Iterator[None]:
        """No access point in the ``with`` block. Raises RigError."""
        try:
            self.ap_off()
            yield
        finally:
            if self._ap_is_off:
                self.ap_on()

    def ap_cycle(self, off_s: float = AP_OFF_S) -> None:
        """Off, ``off_s`` device seconds, on; it comes back in any case. Raises RigError."""
        with self.without_ap():
            self._dwell(off_s)

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """No network in the ``with`` block, by whatever this rig has. Raises RigError."""
        if reason := self.lack("network"):
            self.refuse(reason)
        with self.partition() if self.lack("ap") else self.without_ap():
            yield

    def _dwell(self, device_s: float) -> None:
        # The dwell is the act itself: nothing can announce that a time without network is over.
        threading.Event().wait(device_s / self._speed)

    # ---- the names

    def dns(
        self,
        answers: str | Sequence[str],
        *,
        of: str = FIRMWARE,
        delay: float = 0,
        ttl: int = 0,
        maybe: bool = False,
    ) -> Held:
        """Answer the questions for a name in another way than by the book.

        Args:
            answers: an IP address, ``"right"``, ``"nxdomain"``, ``"servfail"``, ``"refused"``,
                ``"nodata"`` or ``"silence"``; or a list of them, of which the last holds on.
            of: ``firmware``, the host in the URLs that are sent from now on, or ``cloud``.
            delay: device seconds until an answer.
            ttl: device seconds that a device may keep it.
            maybe: nobody has to ask. Else ``end()`` raises FaultNotReached if nobody did.

        Raises:
            FaultError: no such answer, or no such name.
        """
        listed = Answers.of(answers, delay=delay, ttl=ttl)
        service: NameService = self._need("dns")
        rule = Rule(service.names.full(of), listed)
        if reason := service.lack(of):
            self.refuse(reason)
        held = Held(f"dns {rule}", self._end_rule)
        self._rules.append((held, rule, maybe))
        self._tell_names()
        service.begin(rule)
        return held

    def _end_rule(self, held: Held) -> None:
        ended = [row for row in self._rules if row[0] is held]
        self._rules = [row for row in self._rules if row[0] is not held]
        for _, rule, maybe in ended:
            self._part("dns").end(rule)
            self._tell_names()
            if not rule.asked and not maybe:
                raise FaultNotReached(
                    f"the answer {str(rule.answers)!r} was never given: nobody asked for "
                    f"{rule.name}; a test that can do without says maybe=True"
                )

    def _tell_names(self) -> None:
        text = ", ".join(str(rule) for _, rule, _ in self._rules)
        self._record("test", "action", None, what="dns.answers", text=text)

    # ---- the end

    def mend(self) -> None:
        """Undo all that is left of it. Raises RigError: something could not be undone."""
        with contextlib.ExitStack() as stack:
            if self._ap_is_off:
                stack.callback(self.ap_on)
            for held, *_ in (*self._shapes, *self._rules):
                stack.callback(held.end)

    def leftovers(self) -> None:
        """Undo what killed runs have left at this link and this access point, and warn of it.

        Raises:
            NetworkFailed: the access point does not come on.
        """
        link, access_point = self._part("link"), self._part("ap")
        found: list[str] = []
        if not isinstance(link, str):
            try:
                found += [UNDONE.format(who, "packets held back") for who in link.leftovers()]
            except (NetworkFailed, Unavailable) as error:  # its ports were not ours
                found.append(str(error))
        if not isinstance(access_point, str) and (who := access_point.leftover()):
            found.append(UNDONE.format(who, "the access point switched off"))
        for text in found:
            warnings.warn(text, LeftBehind, stacklevel=2)


read_direction = direction
WAYS = (DOWN, UP)


def ways(way: str) -> tuple[str, ...]:
    """The directions that a word means."""
    return WAYS if way == BOTH else (way,)
