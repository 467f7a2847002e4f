"""What a rig's names are answered with, by the book or as a test wants it: no socket, no clock."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_blynk_ota.errors import FaultError
from pytest_blynk_ota.fault_form import nearest, whole, zero_or_more
from pytest_blynk_ota.rig.network import dns_codec as dns
from pytest_blynk_ota.rig.network.dns_codec import NoQuestion, Question

RIGHT, SILENCE = "right", "silence"
CODES: Mapping[str, int] = {
    "nxdomain": dns.NAME_ERROR,
    "servfail": dns.SERVER_FAILURE,
    "refused": dns.REFUSED,
    "nodata": dns.NO_ERROR,
}
"""Answers without an address. ``nodata``: the name is there, an address of it not."""
WORDS = (RIGHT, SILENCE, *CODES)
LONGEST_TTL_S = 604800
"""A week, as lwIP keeps an answer at most (DNS_MAX_TTL of dns.c)."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a name is answered with, in the order of the questions; the last one holds on.

    Attributes:
        words: each an IP address or one of :data:`WORDS`.
        delay: device seconds until the answer.
        ttl: device seconds that a device may keep the answer.
    """

    words: tuple[str, ...]
    delay: float = 0
    ttl: int = 0

    @classmethod
    def of(cls, answers: object, *, delay: object = 0, ttl: object = 0) -> Answers:
        """Read and check what a test wrote. Raises FaultError."""
        listed = [answers] if isinstance(answers, str) else answers
        if not isinstance(listed, list | tuple) or not listed:
            raise FaultError(f"dns: {answers!r}: expected an answer, or a list of them")
        words = tuple(_word(one) for one in listed)
        try:
            return cls(words, zero_or_more(delay), whole(0, LONGEST_TTL_S)(ttl))
        except FaultError as error:
            raise FaultError(f"dns: delay or ttl: {error}") from None

    def __str__(self) -> str:
        more = [
            f"{name}={one:g}" for name, one in (("delay", self.delay), ("ttl", self.ttl)) if one
        ]
        return " ".join([", ".join(self.words), *more])


def _word(word: object) -> str:
    text = word.strip().lower() if isinstance(word, str) else ""
    if text in WORDS:
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        known = nearest(text, WORDS)
        raise FaultError(f"dns: {word!r} is no IP address and no answer; {known}") from None


@dataclass(slots=True)
class Rule:
    """Answers that hold for a name, and how often they were given."""

    name: str
    answers: Answers
    asked: int = 0

    def __str__(self) -> str:
        return f"{self.name} {self.answers}"

    def next(self) -> str:
        """The answer to the next question."""
        word = self.answers.words[min(self.asked, len(self.answers.words) - 1)]
        self.asked += 1
        return word


@dataclass(frozen=True, slots=True)
class Said:
    """What becomes of a message.

    Attributes:
        answer: the octets; None: there is none.
        delay: device seconds until it goes out.
        told: for the events: name, type and answer; empty for what was no question.
    """

    answer: bytes | None
    delay: float = 0
    told: Mapping[str, Any] = field(default_factory=dict)


class Names:
    """The names of a rig and their addresses. Safe to use from several threads.

    Args:
        domain: all names are in it.
        right: the addresses by the word before the domain, as ``{"cloud": "192.0.2.7"}``.
    """

    def __init__(self, domain: str, right: Mapping[str, str]) -> None:
        self.domain = domain
        self.right = {f"{word}.{domain}": address for word, address in right.items()}
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def full(self, word: str) -> str:
        """A name with its domain. Raises FaultError: there is no such name."""
        name = word if word in self.right else f"{word}.{self.domain}"
        if name not in self.right:
            known = [one.removesuffix(f".{self.domain}") for one in self.right]
            raise FaultError(f"dns: there is no name {word!r}; {nearest(word, known)}")
        return name

    def add(self, rule: Rule) -> None:
        """From now on it holds, before all that hold already."""
        with self._lock:
            self._rules.append(rule)

    def remove(self, rule: Rule) -> None:
        """From now on it does not."""
        with self._lock:
            self._rules.remove(rule)

    def answer(self, message: bytes) -> Said:
        """What is said to a message."""
        try:
            question = dns.read_question(message)
        except NoQuestion as error:
            return Said(error.answer)
        with self._lock:
            rule = next((one for one in reversed(self._rules) if one.name == question.name), None)
            word = rule.next() if rule else RIGHT
        answers = rule.answers if rule else Answers((RIGHT,))
        told = {"name": question.name, "type": KINDS.get(question.kind, str(question.kind))}
        if word == SILENCE:
            return Said(None, told={**told, "answer": SILENCE})
        octets, shown = self._octets(question, word, answers.ttl)
        return Said(octets, answers.delay, {**told, "answer": shown})

    def _octets(self, question: Question, word: str, ttl: int) -> tuple[bytes, str]:
        """The message with that answer, and how events show it."""
        if word == RIGHT:
            address = self.right.get(question.name)
            if address is None:
                code = "nxdomain" if self._is_ours(question.name) else "refused"
                return dns.reply(question, CODES[code]), code
            return dns.reply(question, addresses=[address], ttl=ttl), address
        if word in CODES:
            return dns.reply(question, CODES[word]), word
        return dns.reply(question, addresses=[word], ttl=ttl), word

    def _is_ours(self, name: str) -> bool:
        return name == self.domain or name.endswith(f".{self.domain}")


KINDS: Mapping[int, str] = {dns.A: "A", dns.AAAA: "AAAA"}
