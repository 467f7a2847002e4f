"""What the cloud knows about its devices: tokens, info, reports, who is logged in.

No sockets here. Only the server's loop changes a device; any thread may read its state, which is
replaced as a whole.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Final, TypeVar

from pytest_blynk_ota.cloud.manners import Manners
from pytest_blynk_ota.cloud.protocol import DEFAULT_BUFF_IN, TOKEN_CHARS
from pytest_blynk_ota.errors import UsageError

if TYPE_CHECKING:
    from pytest_blynk_ota.cloud.link import Link, OtaRequest
    from pytest_blynk_ota.cloud.mischief import Mischief

log = logging.getLogger(__name__)

MAX_STRANGERS: Final = 10_000
"""Devices of tokens that nobody has named, where any is let in. Ours: a fleet has room."""
MAX_KEPT: Final = 1024
"""Datastreams, and metafields, that are kept of one device. Ours: Blynk's pins go to 255."""

DEFAULT_HEARTBEAT_S: Final = 45
"""Device seconds between pings, unless the info says otherwise (Blynk docs, devices-online)."""
HEARTBEAT_RANGE_S: Final = (10, 3600)
"""What the documentation allows; a value outside counts as the nearer end (our choice)."""
SILENCE_FACTOR: Final = 2.3
"""Silence of more heartbeats than this ends a session (Blynk docs, devices-online-status.md)."""

INFO_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    # Field: keys that name it, the best first. `ver` is the library's version: never used.
    "version": ("mcu", "fw"),  # Arduino (BlynkApiArduino.h); Linux C++ and Python clients
    "build": ("build",),
    "fw_type": ("fw-type", "tmpl"),  # fw-type defaults to the template id
    "heartbeat_s": ("h-beat",),
    "buff_in": ("buff-in",),
}


KEPT_REPORTS = 100
"""Of one device; a soak makes thousands."""


@dataclass(frozen=True, slots=True)
class Report:
    """A version that a device named.

    Attributes:
        t: monotonic host seconds at which it came.
        session: the connection that it came on.
        version: as named.
        build: as named; "" if it was not.
    """

    t: float
    session: int
    version: str
    build: str = ""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """One device as the cloud saw it at one moment.

    Attributes:
        board: its name in the rig file.
        online: whether a session is logged in.
        session: that session's number, else None.
        session_started: when that session's connection was opened, monotonic host seconds; 0.0 if
            offline.
        reports: the versions that it named, oldest first; the latest :data:`KEPT_REPORTS` of them.
        heartbeat_s: device seconds between its pings.
        buff_in: bytes that it can receive in one message, header included.
    """

    board: str
    online: bool = False
    session: int | None = None
    session_started: float = 0.0
    reports: tuple[Report, ...] = ()
    heartbeat_s: int = DEFAULT_HEARTBEAT_S
    buff_in: int = DEFAULT_BUFF_IN

    @property
    def silence_limit_s(self) -> int:
        """Device seconds without a message after which its session is closed."""
        return math.ceil(SILENCE_FACTOR * self.heartbeat_s)


def field(info: Mapping[str, str], name: str) -> str:
    """The value of a field of :data:`INFO_KEYS`; "" if the device does not name it."""
    return next((info[key] for key in INFO_KEYS[name] if info.get(key)), "")


def heartbeat(info: Mapping[str, str], otherwise: int) -> int:
    """Device seconds between pings; ``otherwise`` where the info names none that can be read."""
    least, most = HEARTBEAT_RANGE_S
    number = _number(field(info, "heartbeat_s"))
    return otherwise if number is None else min(max(number, least), most)


def buff_in(info: Mapping[str, str], otherwise: int) -> int:
    """Bytes that the device can receive; ``otherwise`` where the info names none."""
    return _number(field(info, "buff_in")) or otherwise


def _number(text: str) -> int | None:
    short = text.isascii() and text.isdigit() and len(text) <= 9
    return int(text) if short else None


V = TypeVar("V")


class Kept(dict[str, V]):
    """What a device has told by name, up to :data:`MAX_KEPT` names.

    Args:
        what: it is, in words, for the log.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what
        self._told = False

    def has_room_for(self, *names: str) -> bool:
        """Whether these can be kept beside those that are; the first time not, it is logged."""
        new = len(set(names) - self.keys())
        if not new or len(self) + new <= MAX_KEPT:
            return True
        if not self._told:
            self._told = True
            log.warning("%s: %d are kept, and no further ones", self._what, MAX_KEPT)
        return False

    def keep(self, name: str, value: V) -> bool:
        """Keep a value if there is room for it; whether there was."""
        if not self.has_room_for(name):
            return False
        self[name] = value
        return True


class Device:
    """A device with its token and, while it is logged in, its session.

    Attributes:
        values: of its datastreams, by pin.
        meta: its metafields.
        manners: how the cloud treats it.
        mischief: the faults of the operation under way, if it has any.
        exchange: behind a relay, what becomes of the URL of the other server's OTA request.
    """

    def __init__(self, board: str, token: str) -> None:
        self.token = token
        self.state = DeviceState(board)
        self.current: Link | None = None
        self.values: Kept[tuple[str, ...]] = Kept(f"datastreams of board {board}")
        self.meta: Kept[str] = Kept(f"metafields of board {board}")
        self.manners = Manners()
        self.mischief: Mischief | None = None
        self.exchange: Callable[[str], OtaRequest | None] | None = None

    @property
    def board(self) -> str:
        """Its name in the rig file."""
        return self.state.board

    def logged_in(self, session: Link, started: float) -> Link | None:
        """Make ``session`` the current one; returns the one that it takes the place of."""
        before, self.current = self.current, session
        self.state = replace(
            self.state, online=True, session=session.number, session_started=started,
            heartbeat_s=DEFAULT_HEARTBEAT_S,
        )  # fmt: skip
        return before

    def logged_out(self, session: Link) -> None:
        """Go offline, unless another session has taken over."""
        if self.current is session:
            self.current = None
            self.state = replace(self.state, online=False, session=None, session_started=0.0)

    def answered(self) -> None:
        """Its login was answered: a fault of the cloud may wait for that."""
        if self.mischief is not None:
            self.mischief.logged_in()

    def informed(self, info: Mapping[str, str], session: int, t: float) -> Report | None:
        """Take in the info pairs; returns the report if they name a version."""
        state = self.state
        version = field(info, "version")
        report = Report(t, session, version, field(info, "build")) if version else None
        self.state = replace(
            state,
            heartbeat_s=heartbeat(info, state.heartbeat_s),
            buff_in=buff_in(info, state.buff_in),
            reports=(*state.reports, report)[-KEPT_REPORTS:] if report else state.reports,
        )
        return report


@dataclass(frozen=True, slots=True)
class Stranger:
    """A login with a token that the rig did not give out.

    Attributes:
        t: monotonic host seconds.
        session: the connection that it came on.
    """

    t: float
    session: int
    token: str = dataclass_field(repr=False)


class Registry:
    """The devices that may log in, by board and by token. Safe to use from several threads.

    Args:
        any_token: give an unknown token a device of its own, called ``device-N``; to
            :data:`MAX_STRANGERS` of them.
    """

    def __init__(self, *, any_token: bool = False) -> None:
        self._any_token = any_token
        self._strangers = 0
        self._told = False
        self._lock = threading.Lock()
        self._by_board: dict[str, Device] = {}
        self._by_token: dict[str, Device] = {}
        self._turned_away: deque[Stranger] = deque(maxlen=MAX_KEPT)

    def add(self, board: str, token: str) -> None:
        """Let a device log in.

        Raises:
            UsageError: that is no token, or board or token are taken by another.
        """
        if not is_token(token):
            raise UsageError(
                f"board {board}: a Blynk token is {TOKEN_CHARS} printable ASCII characters; "
                f"this one has {len(token)} characters"
            )
        with self._lock:
            mine, holder = self._by_board.get(board), self._by_token.get(token)
            if mine is not holder:
                what = f"has the token of {holder.board}" if holder else "has a token already"
                raise UsageError(f"board {board} {what}: remove that device first")
            if mine is None:
                self._put(Device(board, token))

    def remove(self, board: str) -> Device:
        """Forget a device.

        Raises:
            UsageError: there is none of that name.
        """
        device = self.get(board)
        with self._lock:
            self._by_board.pop(board, None)
            self._by_token.pop(device.token, None)
        return device

    def get(self, board: str) -> Device:
        """The device of that board.

        Raises:
            UsageError: there is none of that name.
        """
        with self._lock:
            if board in self._by_board:
                return self._by_board[board]
            known = ", ".join(sorted(self._by_board)) or "none"
        raise UsageError(f"the cloud knows no device {board!r}; it knows: {known}")

    def by_token(self, token: str) -> Device | None:
        """The device that may log in with this token, if there is one."""
        with self._lock:
            known = self._by_token.get(token)
            if known is not None or not self._any_token or not is_token(token):
                return known
            if self._strangers >= MAX_STRANGERS:
                self._tell_that_it_is_full()
                return None
            self._strangers += 1
            number = self._strangers
            while (board := f"device-{number}") in self._by_board:
                number += 1
            return self._put(Device(board, token))

    def turn_away(self, token: str, session: int) -> str:
        """Why no device may log in with a token for which there is none; who it was is kept."""
        if is_token(token):
            with self._lock:
                self._turned_away.append(Stranger(time.monotonic(), session, token))
        if not is_token(token):
            return "a token of the wrong form"
        if self._any_token:
            return f"one unknown token more than the {MAX_STRANGERS} that are let in"
        return "a token that the rig did not give out"

    def strangers(self, since: float) -> list[Stranger]:
        """Those that were turned away from a time on, in monotonic host seconds."""
        with self._lock:
            return [one for one in self._turned_away if one.t >= since]

    def _tell_that_it_is_full(self) -> None:
        if not self._told:
            self._told = True
            log.warning("%d unknown tokens were let in, and no further ones are", MAX_STRANGERS)

    def _put(self, device: Device) -> Device:
        self._by_board[device.board] = self._by_token[device.token] = device
        return device


def is_token(text: str) -> bool:
    """Whether this can be a token: 32 characters, no spaces."""
    return len(text) == TOKEN_CHARS and text.isascii() and text.isprintable() and " " not in text
