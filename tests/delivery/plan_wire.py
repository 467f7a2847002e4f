"""Carries out an answer in memory: which bytes are on the wire, and when each fault fired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_blynk_ota.delivery.plan import Offered, answer
from pytest_blynk_ota.delivery.steps import (
    Answer,
    Cut,
    Endless,
    Fire,
    Hold,
    Over,
    Pace,
    Say,
    Send,
)
from pytest_blynk_ota.delivery.when import Asked

ENDLESS_TIMES = 3


@dataclass
class Played:
    """What an interpreter of the steps saw.

    Attributes:
        wire: the bytes.
        head: all before the first byte of the body.
        fired: wire bytes before each ``Fire`` and ``Cut``, by the place of the fault.
        sent: body bytes before it.
        story: names of the steps.
    """

    wire: bytes = b""
    head: bytes = b""
    body: int = 0
    fired: dict[int, int] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    over: dict[int, int] = field(default_factory=dict)
    end: str = "complete"
    story: list[str] = field(default_factory=list)


def play(reply: Answer) -> Played:
    """All steps in order; a wait is skipped, one for ever ends it, and so does a cut."""
    seen = Played()
    for step in reply.steps:
        assert seen.end == "complete", f"{step} behind the end"
        seen.story.append(type(step).__name__)
        match step:
            case Say(data, _):
                assert data
                seen.wire += data
                seen.head += b"" if seen.body else data
            case Send(stop, _):
                assert seen.body < stop <= len(reply.body)
                seen.wire += reply.body[seen.body : stop]
                seen.body = stop
            case Endless(data, _):
                seen.wire += data * ENDLESS_TIMES
                seen.end = "endless"
            case Fire(due, _, _) | Cut(due, _, _):
                assert due.index not in seen.fired
                seen.fired[due.index] = len(seen.wire)
                seen.sent[due.index] = seen.body
                if isinstance(step, Cut):
                    seen.end = step.how
            case Over(due):
                assert due.index in seen.fired
                seen.over[due.index] = len(seen.wire)
            case Hold(None, None):
                seen.end = "hold"
    return seen


def wire(reply: Answer) -> bytes:
    return play(reply).wire


def paces(reply: Answer) -> list[Pace | None]:
    """The pace of each step that sends body."""
    return [step.pace for step in reply.steps if isinstance(step, Send)]


def ask(data: bytes, *faults: Any, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
    """The answer to the first request for ``new.bin``."""
    asked = Asked(more.pop("attempt", 1), headers=headers)
    return answer(Offered.of("new.bin", data), data, faults, asked, **more)
