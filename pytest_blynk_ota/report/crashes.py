"""Crashes as the page shows them: which firmware, what the chip said, and where it was. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.report.story import Story, numbers, rows_of
from pytest_blynk_ota.report.visible import said

CRASH_FACTS = {
    # key of a crash event: how it is said
    "core": "core {}",
    "pc": "PC {}",
    "address": "address {}",
    "task": "task {}",
    "reason": "{}",
    "error_name": "{}",
}
MAX_CRASHES = 6
MAX_FRAMES = 32
CRASHED_IN = re.compile(r", in ([\w.-]+ \([^()]*\)|old|new)(?=; then |, \d+ times$|$)")
"""How a verdict's sentence on a crash names the firmware, if it is one alone."""


NOT_USED = "not used"
"""An ELF file that is not of the firmware that crashed."""


@dataclass(frozen=True, slots=True)
class CrashView:
    """A crash as the board told it.

    Attributes:
        first: the line of the log that it began with.
        image: the firmware that crashed, as the verdict names it; "" where it does not.
        lines: where it was, the innermost first: decoded where an ELF was given, else addresses.
        decoded: whether they are lines of the source.
        elf: whether an ELF file was looked into.
        times: how many crashes of the test are told in the same words.
    """

    seq: int
    first: int
    at: float
    image: str
    text: str
    facts: str
    lines: tuple[str, ...]
    decoded: bool
    elf: bool
    times: int


def crashes_of(story: Story, verdicts: Sequence[Mapping[str, Any]]) -> tuple[CrashView, ...]:
    """The crashes of a test; those told in the same words are one."""
    images = dict(crashed(verdicts))
    found: dict[tuple[str, str, str, tuple[str, ...]], list[Event]] = {}
    for event in story.of("uart", "crash"):
        found.setdefault((images.get(event.seq, ""), *_crash(event)), []).append(event)
    return tuple(
        CrashView(
            events[0].seq,
            story.first_line(events[0].seq),
            story.at(events[0]),
            image,
            text,
            facts,
            lines,
            bool(events[0].data.get("decoded")),
            bool(events[0].data.get("elf")),
            len(events),
        )
        for (image, text, facts, lines), events in list(found.items())[:MAX_CRASHES]
    )


def crashed(verdicts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    """Each crash of which a verdict says which firmware it was, and that firmware."""
    for verdict in verdicts:
        for row in (*rows_of(verdict.get("reasons")), *rows_of(verdict.get("findings"))):
            if told := CRASHED_IN.search(said(row.get("text"))):
                yield from ((seq, told[1]) for seq in numbers(row.get("events")))


def _crash(event: Event) -> tuple[str, str, tuple[str, ...]]:
    """A crash's first line, what is known of it, and where it was."""
    data = event.data
    facts = [
        form.format(said(data[key], 200))
        for key, form in CRASH_FACTS.items()
        if data.get(key) not in (None, "")
    ]
    if elf := said(data.get("elf"), 200):
        facts.append(f"ELF file {elf}" if elf.startswith(NOT_USED) else f"decoded with {elf}")
    frames = data.get("decoded") or data.get("backtrace")
    lines = [said(one, 400) for one in frames] if isinstance(frames, list) else []
    return said(data.get("text"), 400), ", ".join(facts), tuple(lines[:MAX_FRAMES])
