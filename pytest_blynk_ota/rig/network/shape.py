"""What may be wrong with a link, as data: no socket, no ``tc``, no clock.

All times and rates are device seconds. ``tc`` works in those of the host, so a rig with
``speed = 20`` delays packets by a twentieth, and lets twenty times as many bytes through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_blynk_ota.errors import FaultError
from pytest_blynk_ota.fault_form import Param, one_of, positive, read_values, words, zero_or_more

DOWN, UP, BOTH = "down", "up", "both"
"""What boards receive, what they send, or each."""

WHAT = "a link"
"""How messages call it."""


def percent(value: object) -> float:
    """A part of all packets: ``"10%"``, or a number from 0 to 1."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        if text.endswith("%"):
            number = float(text[:-1]) / 100
        else:
            number = float(value) if isinstance(value, int | float) else float(text)
    except ValueError:
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise FaultError(f"{value!r}: expected a part of the packets, as '10%', or 0 to 1")
    return number


def in_percent(part: float) -> str:
    """``10%``."""
    return f"{part * 100:.6g}%"


PARAMS: Mapping[str, Param] = {
    "loss": Param(percent, 0, in_percent),
    "delay": Param(zero_or_more, 0),
    "jitter": Param(zero_or_more, 0),
    "reorder": Param(percent, 0, in_percent),
    "duplicate": Param(percent, 0, in_percent),
    "corrupt": Param(percent, 0, in_percent),
    "rate": Param(positive, None),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What is wrong with one direction of a link. Made by :meth:`of`.

    Attributes:
        loss: part of the packets that are lost; 1 is a partition.
        delay: device seconds that each packet comes later.
        jitter: device seconds by which that varies, up and down; it also changes the order.
        reorder: part of the packets that skip the delay, and so overtake others.
        duplicate: part of the packets that come twice.
        corrupt: part of the packets with one bit flipped; TCP's checksum drops them on arrival.
        rate: bytes in a device second; None: as fast as the link is.
    """

    loss: float = 0
    delay: float = 0
    jitter: float = 0
    reorder: float = 0
    duplicate: float = 0
    corrupt: float = 0
    rate: float | None = None

    @classmethod
    def of(cls, **given: Any) -> Shape:
        """Read and check what a test wrote.

        Raises:
            FaultError: unknown, out of range, nothing at all, or of no effect.
        """
        shape = cls(**read_values(WHAT, PARAMS, given))
        if shape == PLAIN:
            raise FaultError(f"{WHAT} is changed by one of {', '.join(PARAMS)}; all are 0")
        for problem, holds in CONTRADICTIONS:
            if holds(shape):
                raise FaultError(f"{WHAT}: {problem}")
        return shape

    def __str__(self) -> str:
        return "partition" if self.is_partition else self._words()

    def _words(self) -> str:
        values = {name: getattr(self, name) for name in PARAMS}
        given = {key: one for key, one in values.items() if one not in (0, None)}
        return " ".join(words({key: PARAMS[key] for key in given}, given))

    @property
    def is_partition(self) -> bool:
        """Whether nothing comes through."""
        return self.loss == 1

    @property
    def needs_netem(self) -> bool:
        """Whether the kernel has to have ``sch_netem``; a rate or a partition can do without."""
        return not self.is_partition and replace(self, rate=None) != PLAIN

    def under(self, inner: Shape) -> Shape:
        """This one with all that ``inner`` says in its place."""
        said = {name: getattr(inner, name) for name in PARAMS}
        return replace(self, **{name: one for name, one in said.items() if one not in (0, None)})


PLAIN = Shape()

CONTRADICTIONS: Sequence[tuple[str, Callable[[Shape], bool]]] = (
    ("jitter varies a delay; expected delay, too", lambda one: one.jitter > 0 and not one.delay),
    ("jitter is more than the delay that it varies", lambda one: one.jitter > one.delay),
    (
        "reorder lets packets skip a delay; expected delay, too",
        lambda one: one.reorder > 0 and not one.delay,
    ),
)

WINDOW_BYTES, SEGMENT_BYTES = 5744, 1436
"""lwIP's, as ESP-IDF sets them (CONFIG_LWIP_TCP_WND_DEFAULT, CONFIG_LWIP_TCP_MSS)."""
RESENT_HOST_S = 0.4
"""Host seconds that a lost packet costs: Linux's TCP_RTO_MIN is 0.2, and doubles with each loss."""


def slowness_s(shape: Shape, size: int, speed: float) -> float:
    """Device seconds that a healthy download of so many bytes takes longer; a partition: 0.

    A window waits for each delay, and a segment that does not arrive for the host's own TCP.
    """
    if shape.is_partition:
        return 0
    at_rate = size / shape.rate if shape.rate else 0
    late = (shape.delay + shape.jitter) * size / WINDOW_BYTES
    gone = (shape.loss + shape.corrupt) * size / SEGMENT_BYTES
    return at_rate + late + gone * RESENT_HOST_S * speed


direction = one_of(DOWN, UP, BOTH)
"""Reads which way packets go that are meant."""


def merged(shapes: Sequence[Shape]) -> Shape | None:
    """What holds of several at once: of two that say the same thing the later. None of none."""
    held: Shape | None = None
    for shape in shapes:
        held = shape if held is None else held.under(shape)
    return held
