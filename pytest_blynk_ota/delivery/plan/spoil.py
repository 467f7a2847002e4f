"""Bytes that are not the file's, at the same length: the headers stay those of the right file."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.plan.idle import Idle
from pytest_blynk_ota.delivery.plan.offsets import locate, stretch


@dataclass(frozen=True, slots=True)
class Touched:
    """The bytes that a fault has changed: from ``first`` to before ``stop``, or ``only`` some."""

    first: int
    stop: int
    only: tuple[int, ...] = ()

    def rows(self) -> list[tuple[int, int]]:
        """The same as pairs of a first byte and the one past a last."""
        return [(place, place + 1) for place in self.only] or [(self.first, self.stop)]

    def within(self, start: int, stop: int) -> Touched | None:
        """What of it lies in a part, counted from its start; None: nothing."""
        only = tuple(place - start for place in self.only if start <= place < stop)
        if self.only:
            return Touched(only[0], only[-1] + 1, only) if only else None
        first, last = max(self.first, start), min(self.stop, stop)
        return Touched(first - start, last - start) if first < last else None


@lru_cache(maxsize=8)
def spoiled(
    data: bytes, faults: tuple[Fault, ...], name: str
) -> tuple[bytes, tuple[Touched | str, ...]]:
    """The bytes that are sent, and for each fault what it changed, or why nothing.

    They act in the order of :data:`SPOILS`, so that a byte that another one moves or replaces is
    not the one that a finer fault has changed. Remembered: many downloads share one body.
    """
    done: dict[int, Touched | str] = {}
    body = bytearray(data)
    order = list(SPOILS)
    for place, fault in sorted(enumerate(faults), key=lambda one: order.index(one[1].kind)):
        try:
            done[place] = SPOILS[fault.kind](body, fault.values, name)
        except Idle as reason:
            done[place] = str(reason)
    return bytes(body), tuple(done[place] for place in range(len(faults)))


def _repeat(body: bytearray, values: Mapping[str, Any], name: str) -> Touched:
    first, stop = _twice(body, values, name)
    again = body[first:stop]
    return _put(body, stop, again + body[stop : len(body) - len(again)])


def _swap(body: bytearray, values: Mapping[str, Any], name: str) -> Touched:
    first, stop = _twice(body, values, name)
    after = stop + (stop - first)
    return _put(body, first, body[stop:after] + body[first:stop])


def _twice(body: bytearray, values: Mapping[str, Any], name: str) -> tuple[int, int]:
    """So many bytes, behind which as many follow. Raises Idle."""
    count, size = values["bytes"], len(body)
    first = locate(values["at"], size, name)
    if first + 2 * count > size:
        raise Idle(
            f"{count} bytes from byte {first} on and as many behind them do not fit {name} "
            f"({size} bytes); expected {(size - first) // 2} or fewer"
        )
    return first, first + count


def _scramble(body: bytearray, values: Mapping[str, Any], name: str) -> Touched:
    """Each byte is another one: a mask without zeros is laid over them."""
    first, stop = stretch(values["at"], values.get("bytes"), len(body), name)
    mask = random.Random(values["seed"]).randbytes(stop - first).replace(b"\0", b"\xa5")
    mixed = int.from_bytes(body[first:stop], "big") ^ int.from_bytes(mask, "big")
    return _put(body, first, mixed.to_bytes(stop - first, "big"))


def _zero(body: bytearray, values: Mapping[str, Any], name: str) -> Touched:
    first, stop = stretch(values["at"], values["bytes"], len(body), name)
    return _put(body, first, bytes(stop - first))


def _put(body: bytearray, first: int, fresh: bytes | bytearray) -> Touched:
    """Replace bytes; the first and the last that differ are what has been touched."""
    old = bytes(body[first : first + len(fresh)])
    if old == fresh:
        raise Idle(f"the {len(fresh)} bytes from byte {first} on stay what they are")
    body[first : first + len(fresh)] = fresh
    lead = next(place for place, byte in enumerate(old) if byte != fresh[place])
    tail = next(place for place in range(len(old) - 1, -1, -1) if old[place] != fresh[place])
    return Touched(first + lead, first + tail + 1)


def _corrupt(body: bytearray, values: Mapping[str, Any], name: str) -> Touched:
    first, count = locate(values["at"], len(body), name), values["flips"]
    stretch(first, count, len(body), name)
    dice = random.Random(values["seed"])
    places = (first, *sorted(dice.sample(range(first + 1, len(body)), count - 1)))
    for place in places:
        body[place] ^= 1 << dice.randrange(8)
    return Touched(first, places[-1] + 1, places)


SPOILS: Mapping[str, Callable[[bytearray, Mapping[str, Any], str], Touched]] = {
    "repeat": _repeat,
    "swap": _swap,
    "scramble": _scramble,
    "zero": _zero,
    "corrupt": _corrupt,
}
