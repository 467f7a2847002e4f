"""What ties a binary to what ran on a board, in the evidence of one test. Pure.

A report, a version and even a slot's offset say which image is meant to run. Two witnesses cannot
be talked into it: the hash of the slot that was booted, read back over the loader, and the hash of
the application's ELF file, where the image prints it and no other image of the test shares it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_blynk_ota.evidence.event import Event

WORDS = re.compile(rb'"(?:operation|restored|identity|flash|elf_sha256)"')
"""Each line that counts has one of these words: the others need not be parsed."""
MIN_ELF_CHARS = 8
"""So many digits of the ELF hash are printed at least (ESP-IDF, APP_RETRIEVE_LEN_ELF_SHA)."""
ROLES = {"new": "offered", "old": "running"}
"""What an image can be in an operation, to the key that names it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the events of one test say of one binary.

    Attributes:
        slot: the slot that was booted held it, by its hash.
        elf: its ELF hash was printed.
        roles: what it was in the test's operations: ``new``, ``old``.
        others: whether other images were offered or running in them.
        kinds: what boards said they are made of.
    """

    slot: bool = False
    elf: bool = False
    roles: frozenset[str] = frozenset()
    others: bool = False
    kinds: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Reader:
    sha256: str
    images: dict[str | None, Mapping[str, Any]] = field(default_factory=dict)
    slot: bool = False
    elf: bool = False
    part: dict[str, set[str]] = field(default_factory=lambda: {role: set() for role in ROLES})
    kinds: set[str] = field(default_factory=set)

    def take(self, event: Event) -> None:
        match (event.source, event.kind):
            case ("ota", "operation"):
                self._operation(event)
            case ("ota", "restored"):  # what was offered before is gone
                self.images.pop(event.board, None)
            case ("flash", "read"):
                images = self.images.get(event.board, {})
                self.slot = self.slot or _in_slot(event.data, images, self.sha256)
            case ("uart", "app"):
                images = self.images.get(event.board, {})
                self.elf = self.elf or _printed(event.data, images, self.sha256)
            case ("rig", "identity"):
                self.kinds.add(str(event.data.get("kind")))

    def _operation(self, event: Event) -> None:
        images = _images(event.data.get("images"))
        self.images[event.board] = images
        for role, key in ROLES.items():
            name = event.data.get(key)
            sha256 = images.get(name, {}).get("sha256") if isinstance(name, str) else None
            if isinstance(sha256, str):
                self.part[role].add(sha256)

    def seen(self) -> Seen:
        roles = frozenset(role for role, all_of in self.part.items() if self.sha256 in all_of)
        others = set().union(*self.part.values()) - {self.sha256}
        return Seen(self.slot, self.elf, roles, bool(others), frozenset(self.kinds))


def seen_in(data: bytes, sha256: str) -> Seen:
    """What the events of a test say of a binary.

    Args:
        data: the test's ``events.jsonl``. Lines that are no events are passed over: no tie is
            ever made of less than a whole event.
        sha256: of the binary.
    """
    reader = _Reader(sha256)
    for event in _events(data):
        reader.take(event)
    return reader.seen()


def _events(data: bytes) -> Iterator[Event]:
    end = -1
    for word in WORDS.finditer(data):
        if word.start() < end:  # in a line that is done
            continue
        begin = data.rfind(b"\n", 0, word.start()) + 1
        end = data.find(b"\n", word.end())
        end = end if end >= 0 else len(data)
        try:
            yield Event.of(json.loads(data[begin:end]))
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
