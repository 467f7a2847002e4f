"""What ties a binary to what ran on a board, in the evidence of one test. Pure.

A report, a version and even a slot's offset say which image is meant to run. Two witnesses cannot
be talked into it: the hash of the slot that was booted, read back over the loader, and the hash of
the application's ELF file, where the image prints it and no other image of the test shares it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_blynk_ota.evidence.event import Event

MARKS = (b'"operation"', b'"restored"', b'"flash"', b'"elf_sha256"')
"""One of these stands in each line that counts: the others need not be parsed."""
MIN_ELF_CHARS = 8
"""So many digits of the ELF hash are printed at least (ESP-IDF, APP_RETRIEVE_LEN_ELF_SHA)."""


@dataclass(frozen=True, slots=True)
class Tie:
    """Which witnesses said that a binary ran.

    Attributes:
        slot: the slot that was booted held it, by its hash.
        elf: its ELF hash was printed.
    """

    slot: bool = False
    elf: bool = False


def tie_of(data: bytes, sha256: str) -> Tie:
    """What ties a binary to what ran in one test.

    Args:
        data: the test's ``events.jsonl``. Lines that are no events are passed over: no tie is
            ever made of less than a whole event.
        sha256: of the binary.
    """
    slot = elf = False
    images: dict[str | None, Mapping[str, Any]] = {}
    for event in _events(data):
        key = (event.source, event.kind)
        if key == ("ota", "operation"):
            images[event.board] = _images(event.data.get("images"))
        elif key == ("ota", "restored"):  # what was offered before is gone
            images.pop(event.board, None)
        elif key == ("flash", "read"):
            slot = slot or _in_slot(event.data, images.get(event.board, {}), sha256)
        elif key == ("uart", "app"):
            elf = elf or _printed(event.data, images.get(event.board, {}), sha256)
    return Tie(slot, elf)


def _events(data: bytes) -> Iterator[Event]:
    for line in data.split(b"\n"):
        if any(mark in line for mark in MARKS):
            try:
                yield Event.of(json.loads(line))
            except (ValueError, RecursionError):
                continue


def _images(found: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(found, dict):
        return {}
    return {name: facts for name, facts in found.items() if isinstance(facts, dict)}


def _in_slot(read: Mapping[str, Any], images: Mapping[str, Any], sha256: str) -> bool:
    """Whether the slot that was booted, and would be again or was on trial, held the binary."""
    running, slots = read.get("running"), read.get("slots")
    if not isinstance(running, str) or not isinstance(slots, dict):
        return False
    if running not in (read.get("would_boot"), read.get("started")):
        return False
    held = slots.get(running)
    name = held.get("image") if isinstance(held, dict) else None
    return isinstance(name, str) and images.get(name, {}).get("sha256") == sha256


def _printed(said: Mapping[str, Any], images: Mapping[str, Any], sha256: str) -> bool:
    """Whether the printed hash is the binary's, and of no other image of the test."""
    value = said.get("value")
    if said.get("field") != "elf_sha256" or not isinstance(value, str):
        return False
    if len(value) < MIN_ELF_CHARS or not value.strip("0"):  # zeros: the build left it out
        return False
    could = {
        facts.get("sha256")
        for facts in images.values()
        if str(facts.get("elf_sha256") or "").startswith(value)
    }
    return could == {sha256}
