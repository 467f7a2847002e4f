"""What a value of a behaviour may be, in words and as a test; used by each table of keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.bugs import BUGS
from pytest_blynk_ota.firmware.words import did_you_mean

PORT_LIMIT = 0x10000


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must be, and how to say so."""

    words: str
    fits: Callable[[Any], bool]


def one_of(*choices: str) -> Rule:
    """One of these words."""
    return Rule(" or ".join(repr(choice) for choice in choices), lambda value: value in choices)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9


def is_count(value: Any) -> bool:
    """Whether it is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_port(value: Any) -> bool:
    return is_count(value) and value < PORT_LIMIT


def _is_ports(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(_is_port(one) for one in value)


def _are_bugs(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(one in BUGS for one in value)


def _can_be_sent(text: Any) -> bool:
    """Whether Blynk's protocol has room for it: UTF-8, parted by NUL."""
    if not isinstance(text, str) or "\0" in text:
        return False
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _is_claim(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(
            key in ("version", "build") and _can_be_sent(text) for key, text in value.items()
        )
    return value in ("own", "nothing")


TEXT = Rule("a text", lambda value: isinstance(value, str))
FLAG = Rule("true or false", lambda value: isinstance(value, bool))
SECONDS = Rule("a number of seconds, 0 or more", _is_number)
NUMBER = Rule("a number, 0 or more", _is_number)
COUNT = Rule("a whole number above 0", is_count)
COUNT_FROM_0 = Rule("a whole number, 0 or more", lambda value: value == 0 or is_count(value))
PORT = Rule("a port, 1 to 65535", _is_port)
PORTS = Rule("a list of ports, 1 to 65535", _is_ports)
BUG_IDS = Rule(f"a list of planted bugs, {min(BUGS)} to {list(BUGS)[-1]}", _are_bugs)
CLAIM = Rule(
    '"own", "nothing" or a table of version and build, as text without NUL or half characters',
    _is_claim,
)
TABLE = Rule("a table", lambda value: value is None)
"""None only: a table that is there is looked at with rules of its own."""


def check(
    values: Mapping[str, Any], rules: Mapping[str, Rule], where: str, known: tuple[str, ...]
) -> None:
    """Raises FirmwareError for the first unknown key, or value that cannot be."""
    for key, value in values.items():
        if key not in rules:
            raise FirmwareError(
                f"{where}: unknown key {key!r}; known are {', '.join(known)}"
                f"{did_you_mean(key, known)}"
            )
        if not rules[key].fits(value):
            raise FirmwareError(f"{where}: {key}: expected {rules[key].words}, not {value!r}")
