"""Recorded transcripts held against ours: what is the system's, made comparable, line by line.

The recordings lost bytes where the UART's clock changed, so that a line may begin as one of ours
and end as the same or a later one: a *tear*. Each tear is counted, and a test names how many a
recording has. What the emulated chip prints unlike a real one is normalised on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

ROM_GREETING = re.compile(r"ets Jul|ESP-ROM:")
PANIC = re.compile(r"Guru Meditation Error|abort\(\) was called")
TAGS = (
    r"boot|boot\.\w+|esp_image|flash_parts|boot_comm|cpu_start|app_init|efuse_init|heap_init|"
    r"spi_flash|sleep_gpio|sleep|app_start|main_task|esp_core_dump_\w+"
)
SYSTEM = re.compile(rf"[EWI] \(\d+\) (?:{TAGS}): ")
LAST_WORD = re.compile(r"main_task: Calling app_main|Starting scheduler on APP CPU")
"""After it the application itself speaks, until it panics or the chip is reset."""
INTERPRETER = "Falling back to built-in command interpreter."
"""ESP32's ROM, where the eFuse that forbids it is not burnt, as on the emulated chip."""

EVERYWHERE = (
    (re.compile(r"([EWI]) \(\d+(?=\)|[EWI\x1b])"), r"\1 (#"),
    (re.compile(r"boot:0x[0-9a-f]+"), "boot:#"),  # the straps of the emulated chip
    (re.compile(r"entry point is 0x[0-9a-f]+"), "entry point is #"),
    (re.compile(r"(SPI Mode       : )(?:SLOW READ|DIO)"), r"\1#"),  # of the emulated controller
    (re.compile(r"(detected chip: )\w+"), r"\1#"),  # the emulated flash is of another maker
    (re.compile(r"(SPI Flash Size : )\d+MB"), r"\1#"),
    (re.compile(r"(csum err:|Calculated |read |stored |!=)0x[0-9a-f]+"), r"\1#"),
    (re.compile(r"CPU PC=0x[0-9a-f]+"), "CPU PC=#"),
    (re.compile(r"(Guru Meditation Error: Core  |^Core  )\d"), r"\1#"),
)
HEAP = re.compile(r"(At |len |)([0-9A-F]+)(?=(?: len [0-9A-F]+)? \(\d+ KiB\))")
HEAP_SIZE = re.compile(r"\(\d+ KiB\)")
FRAMES = re.compile(r"(?: ?h{0,8})?(?: ?hxh{8}:hxh{8})+$")
"""The frames of a backtrace, the first of which may be cut."""
WORDS = re.compile(r"[hx: ]+")
"""A row of a stack, or what is left of one."""
WORDS_BEHIND = re.compile(r"h hxh{8}$")
COLOUR = re.compile(r"\x1b\[[\d;]*m")
SAVED_PC = re.compile(r"Saved PC:0x")
"""The emulated chip has no such record."""


def normal(line: str) -> str:
    """A line without what differs from chip to chip; its colours stay."""
    for pattern, instead in EVERYWHERE:
        line = pattern.sub(instead, line)
    line = HEAP.sub(lambda found: found[1] + "h" * len(found[2]), line)
    return HEAP_SIZE.sub("(# KiB)", line)


def hidden(line: str) -> str:
    """A line of a dump: every hexadecimal digit alike, so that a torn number stays comparable."""
    return FRAMES.sub(" #", re.sub(r"[0-9a-fA-F]", "h", normal(line)))


def system_lines(text: str) -> list[str]:
    """ROM, bootloader, start-up and panics: all lines that are not the application's own."""
    lines = [line for line in _system(text.replace("\r", "").split("\n")) if line]
    return [line for number, line in enumerate(lines) if not _repeats(lines, number)]


def _repeats(lines: list[str], number: int) -> bool:
    """How often the ROM looks for a header before its watchdog bites is a matter of speed; how
    many rows of a stack are lost in a tear cannot be told."""
    line, before = lines[number], lines[number - 1]
    if line.startswith("inval") and before.startswith("inval"):
        return True
    return bool(WORDS.fullmatch(line) and WORDS_BEHIND.search(before))


def _system(lines: list[str]) -> Iterator[str]:
    own = panicking = False
    for line in lines:
        plain = COLOUR.sub("", line)
        greeting = ROM_GREETING.search(plain)
        if greeting is not None:
            before = hidden(plain[: greeting.start()]) if panicking else ""  # a torn dump
            own = panicking = False
            yield before + plain[greeting.start() :]
            continue
        elif PANIC.search(plain):
            own, panicking = False, True
        elif plain.startswith(INTERPRETER):
            return
        if own or SAVED_PC.match(plain):
            continue
        if panicking:
            yield normal(line) if SYSTEM.match(plain) else hidden(line)
            continue
        if _speaks_itself(plain):
            own = True
            continue
        yield normal(line)
        own = bool(LAST_WORD.search(plain))


def _speaks_itself(line: str) -> bool:
    """A whole line of no system part, behind a bootloader that logs at WARN or behind the last
    start-up line that the UART lost."""
    return bool(
        re.match(r"(?:Performing|MicroPython|>>>|Hello|virtual board:|\[\d+\]|Press)", line)
    )


def boots(text: str, *, without: tuple[int, ...] = ()) -> list[str]:
    """The system's lines of a recording but for some boots, and for a last line that is cut."""
    found: list[list[str]] = []
    ended = text.endswith(("\n", ">", "> "))
    lines = system_lines(text if ended else text.rpartition("\n")[0])
    for line in lines:
        if ROM_GREETING.search(line) or not found:
            found.append([])
        found[-1].append(line)
    return [line for number, boot in enumerate(found) if number not in without for line in boot]


class Difference(AssertionError):
    """Raised when a real line is none of ours, nor a torn one."""


def tears(real: list[str], ours: list[str]) -> int:
    """How many lines of the recording are torn; all others are ours, in our order.

    Raises:
        Difference: a line is neither.
    """
    at = torn = 0
    for number, line in enumerate(real):
        if at < len(ours) and line == ours[at]:
            at += 1
            continue
        following = real[number + 1] if number + 1 < len(real) else None
        end = _end_of_tear(line, following, ours, at)
        if end is None:
            expected = ours[at] if at < len(ours) else "(nothing more)"
            raise Difference(f"line {number}: real {line!r}, ours {expected!r}")
        torn += 1
        at = end + 1
    return torn


REACH = 40
"""No tear in the recordings swallows more lines."""


def _end_of_tear(line: str, following: str | None, ours: list[str], at: int) -> int | None:
    """The line of ours that a torn one ends as: if possible, the one before the ``following``."""
    ends = [end for end in range(at, min(at + REACH, len(ours))) if _torn(line, ours, at, end)]
    for end in ends:
        if end + 1 < len(ours) and ours[end + 1] == following:
            return end
    return ends[0] if ends else None


def _torn(line: str, ours: list[str], at: int, end: int) -> bool:
    """Whether it begins as ``ours[at]`` and ends as ``ours[end]``, and is neither."""
    if line == ours[end]:
        return False
    head = _common(line, ours[at])
    tail = _common(line[::-1], ours[end][::-1])
    return head + tail >= len(line) and (end > at or len(line) < len(ours[at]))


def _common(one: str, other: str) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
