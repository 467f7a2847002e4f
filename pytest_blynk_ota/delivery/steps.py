"""What an answer is made of: bytes, waits, faults and ends, in the order of the wire. Data only.

``plan`` makes these steps of faults and a file; ``exchange`` carries them out on a connection.
Offsets count the bytes of the body that is sent, after all changes to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_blynk_ota.delivery.faults import Fault

End = Literal["fin", "rst", "half", "vanish", "record", "bad-record", "no-close-notify"]
"""How a connection is ended: FIN, RST, FIN and listening on, without a word, in the midst of a TLS
record, with a spoiled TLS record, FIN without TLS's own end."""


@dataclass(frozen=True, slots=True)
class Due:
    """A fault that is due in this answer, with its place in the operation's list."""

    index: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Pace:
    """How bytes go out that do not go at once.

    Attributes:
        rate: bytes per device second; None: as fast as the gaps let them.
        piece: bytes of one write, each a TCP segment of its own; None: what the rate makes of one
            tick of the clock.
        gap: device seconds between two writes where there is no rate.
        jitter: a part, 0 to 1: distances (and without a rate pieces too) vary by so much.
        seed: of the jitter.
        until: an event that ends the pace (``when.EVENTS``).
        then: the pace that holds once ``until`` is seen; None: none.
    """

    rate: float | None = None
    piece: int | None = None
    gap: float = 0.0
    jitter: float = 0.0
    seed: int = 0
    until: str | None = None
    then: Pace | None = None


@dataclass(frozen=True, slots=True)
class Say:
    """Bytes that are no body: status line, headers, framing of chunks."""

    data: bytes
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """The body up to ``stop``."""

    stop: int
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class Endless:
    """Bytes that are no body, again and again, until the device goes away. It is the last step."""

    data: bytes
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class Fire:
    """The fault takes effect now, at this byte of the body. ``more``: further data of the event."""

    due: Due
    at: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Over:
    """The fault has ended; those never over end with the answer."""

    due: Due


@dataclass(frozen=True, slots=True)
class Hold:
    """Send nothing for so many device seconds, or until an event is seen; neither: until the
    device goes away."""

    seconds: float | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """Once all is acknowledged, end the connection here. Fires its fault."""

    due: Due
    how: End
    at: int


Step = Say | Send | Endless | Fire | Over | Hold | Cut


@dataclass(frozen=True, slots=True)
class Later:
    """Steps that come so many device seconds after the answer began, wherever it is then.

    Those that end it (``Cut``, ``Hold`` for ever) end it; a pace holds for what is left (``pace``);
    after any other the answer goes on. ``at`` of their ``Fire`` and ``Cut`` is -1: where it was.
    """

    seconds: float
    steps: tuple[Step, ...]
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer.

    Attributes:
        status: HTTP status; 0: what is sent is no HTTP.
        announced: body bytes that the headers let the device expect; 0 for HEAD and statuses
            without a body; None: they do not say.
        steps: the answer, head included, in the order of the wire.
        body: the body that ``Send`` counts in.
        page: whether the body is none of the file.
        part: of a 206: its first byte, the one past its last, and the size of the file, as
            Content-Range says them.
        later: what comes by the clock.
        keep: whether the connection may serve another request afterwards.
        whole: whether it ends as its framing promises: chunks without the last one do not.
        due: places of the faults that this answer is to fire, and how many bytes of its body are
            acknowledged when each must have fired: with one more it is late; None: by the clock,
            never late.
    """

    status: int
    announced: int | None
    steps: tuple[Step, ...]
    body: bytes | memoryview = b""
    page: bool = False
    part: tuple[int, int, int] | None = None
    later: tuple[Later, ...] = ()
    keep: bool = True
    whole: bool = True
    due: Mapping[int, int | None] = field(default_factory=dict)

    def fires(self) -> frozenset[int]:
        """Places in the operation's list of the faults that this answer injects."""
        steps = [*self.steps, *(step for one in self.later for step in one.steps)]
        return frozenset(step.due.index for step in steps if isinstance(step, Fire | Cut))
