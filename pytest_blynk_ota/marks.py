"""What tests ask for by markers: checked when they are collected, before any board is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_blynk_ota.errors import ConfigError
from pytest_blynk_ota.rig.words import near

if TYPE_CHECKING:
    from pytest_blynk_ota.rig.rack import Place
    from pytest_blynk_ota.rig.shelf import Firmware

FINDINGS = (
    "confirmation not seen",
    "config lost",
    "confirmed before self-test",
    "crash",
    "false success",
    "fault not reached",
    "hang",
    "heap falling",
    "late",
    "no rollback protection",
    "offline too long",
    "other slot damaged",
    "secret in the log",
    "stall too long",
    "unexpected reset",
    "unexplained loss",
    "went back",
)
"""The names that findings.py, late.py and losses.py give; a test holds the two together."""

PLACE = "_blynk_ota_place"
"""The fixture that takes a board and skips where it lacks something."""

Rule = Callable[[pytest.Mark], Iterator[str]]
Lack = Callable[["Place", "Firmware"], str | None]


def _no_power(place: Place, firmware: Firmware) -> str | None:
    return None if place.power else f"board {place.name} has no power outlet in the rig file"


def _no_rollback(place: Place, firmware: Firmware) -> str | None:
    bootloader = place.config.bootloader
    if bootloader is not None and not bootloader.rollback:
        return f"the bootloader of board {place.name} has no rollback, says the rig file"
    if not place.profile.rollback:
        return f"profile {place.profile.name} of board {place.name} has no rollback"
    return None


def _no_fixture(place: Place, firmware: Firmware) -> str | None:
    if firmware.is_fixture:
        return None
    return "needs a fixture image that can be told to misbehave; --old is your own"


def _network(need: str) -> Lack:
    """A need of the rig's network, which knows itself what is missing."""
    return lambda place, firmware: place.network.lack(need)


NEEDS: Mapping[str, Lack] = {
    "power": _no_power,
    "network": _network("network"),
    "ap": _network("ap"),
    "link": _network("link"),
    "netem": _network("netem"),
    "dns": _network("dns"),
    "rollback": _no_rollback,
    "fixture-firmware": _no_fixture,
}


def lacking(needs: Iterable[str], place: Place, firmware: Firmware) -> str | None:
    """The first reason why a test with these needs cannot run on a board; None if it can."""
    reasons = (NEEDS[need](place, firmware) for need in needs)
    return next((reason for reason in reasons if reason), None)


def named(item: pytest.Item, marker: str) -> set[str]:
    """All words that a test gives to a marker, at its class and its module too."""
    return {word for mark in item.iter_markers(marker) for word in mark.args}


def need_a_board(items: Iterable[pytest.Item]) -> None:
    """Tests that require something of a board get one, whatever else they ask for."""
    for item in items:
        names: list[str] = getattr(item, "fixturenames", [])
        if PLACE not in names and item.get_closest_marker("requires"):
            names.append(PLACE)


def check(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Check the markers and the time-outs of the tests that use the rig.

    Raises:
        ConfigError: with every problem found.
    """
    problems = list(_session_timeouts(config))
    for item in items:
        for name, rule in RULES.items():
            for marker in item.iter_markers(name):
                problems += [f"{item.nodeid}: {name}: {problem}" for problem in rule(marker)]
    if problems:
        raise ConfigError("blynk-ota", list(dict.fromkeys(problems)))


def _session_timeouts(config: pytest.Config) -> Iterator[str]:
    if config.pluginmanager.hasplugin("timeout") and "thread" in (
        config.getoption("timeout_method", None),
        config.getini("timeout_method"),
    ):
        yield THREAD_TIMEOUTS


THREAD_TIMEOUTS = (
    "pytest-timeout's method thread ends pytest without closing ports and processes; "
    "use timeout_method = signal"
)


def _timeout(marker: pytest.Mark) -> Iterator[str]:
    if marker.kwargs.get("method", marker.args[1] if len(marker.args) > 1 else None) == "thread":
        yield THREAD_TIMEOUTS


def _words(known: Iterable[str], what: str) -> Rule:
    """A rule: the marker takes one or more of the known words, and nothing else."""
    words = sorted(known)

    def rule(marker: pytest.Mark) -> Iterator[str]:
        strangers = [word for word in marker.args if word not in words]
        if not marker.args or strangers:
            said = f"unknown {what} {strangers[0]!r}" if strangers else f"expected a {what}"
            hint = near(str(strangers[0]), words) if strangers else ""
            yield f"{said}{hint}; known are {', '.join(words)}"
        yield from (f"unknown argument {key!r}" for key in marker.kwargs)

    return rule


def _baseline(marker: pytest.Mark) -> Iterator[str]:
    rollback = marker.kwargs.get("rollback")
    if marker.args or set(marker.kwargs) != {"rollback"} or not isinstance(rollback, bool):
        yield "expected rollback=True or rollback=False, and nothing else"


RULES: Mapping[str, Rule] = {
    "finding": _words(FINDINGS, "finding"),
    "requires": _words(NEEDS, "need"),
    "baseline": _baseline,
    "timeout": _timeout,
}
