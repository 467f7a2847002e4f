"""What tests ask for by markers: checked when they are collected, before any board is touched."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import pytest

from pytest_blynk_ota.errors import ConfigError
from pytest_blynk_ota.options import MARKERS
from pytest_blynk_ota.rig.needs import NEEDS
from pytest_blynk_ota.rig.words import near

FINDINGS = (
    "certificate date not checked",
    "certificate host not checked",
    "certificate not checked",
    "confirmation not seen",
    "config lost",
    "confirmed before self-test",
    "crash",
    "digest not checked",
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
    "will not stay",
)
"""The names that findings.py, late.py and losses.py give; a test holds the two together."""

SCENARIO = re.compile(r"[A-Z]{1,4}\d{1,4}[a-z]?")
"""A family's letters, a number, and a letter where a scenario has several parts."""

Rule = Callable[[pytest.Mark], Iterator[str]]


def named(item: pytest.Item, marker: str) -> set[str]:
    """All words that a test gives to a marker, at its class and its module too."""
    return {word for mark in item.iter_markers(marker) for word in mark.args}


def need_a_board(items: Iterable[pytest.Item], place: str) -> None:
    """Tests that require something of a board get one, whatever else they ask for.

    Args:
        place: the fixture that takes a board and skips where it lacks something.
    """
    for item in items:
        names: list[str] = getattr(item, "fixturenames", [])
        if place not in names and item.get_closest_marker("requires"):
            names.append(place)


def of_scenarios(items: Iterable[pytest.Item], asked: Sequence[str]) -> list[pytest.Item]:
    """The tests of any of these scenarios: whole ids, ids without their letter, or families."""
    wanted = {one.strip() for one in asked}
    return [item for item in items if any(wanted & said(one) for one in named(item, "scenario"))]


def said(scenario: str) -> set[str]:
    """All that a scenario may be called: D22a, D22, D."""
    whole = scenario.rstrip(string.ascii_lowercase)
    return {scenario, whole, whole.rstrip(string.digits)}


def by_baseline(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests that need another bootloader last, and together: flashing one takes time."""
    return sorted(items, key=lambda item: bool(item.get_closest_marker("baseline")))


def check(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Check the markers and the time-outs of the tests that use the rig.

    Raises:
        ConfigError: with every problem found.
    """
    problems = list(_session_timeouts(config))
    registered = {_name(line) for line in config.getini("markers")}
    for item in items:
        problems += _mistyped(item, registered)
        for name, rule in RULES.items():
            for marker in item.iter_markers(name):
                problems += [f"{item.nodeid}: {name}: {problem}" for problem in rule(marker)]
    if problems:
        raise ConfigError("blynk-ota", list(dict.fromkeys(problems)))


ALIKE = 0.85
"""A marker that nobody registered, and that is so much like one of ours, is ours mistyped."""


def _name(line: str) -> str:
    """The name of a marker in the line by which it is registered."""
    return line.partition(":")[0].partition("(")[0].strip()


def _mistyped(item: pytest.Item, registered: Collection[str]) -> Iterator[str]:
    """Markers that pytest only warns of: a test would go on without what it asks for."""
    ours = [_name(line) for line in MARKERS]
    for name in dict.fromkeys(marker.name for marker in item.iter_markers()):
        if name not in registered and (hint := near(name, ours, ALIKE)):
            yield f"{item.nodeid}: unknown marker {name!r}{hint}"


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
    said = dict(marker.kwargs)
    switches = [said.pop("rollback", True), said.pop("factory", False)]
    slot = said.pop("slot", 0)
    wrong = marker.args or said or not marker.kwargs or type(slot) is not int or slot not in (0, 1)
    if wrong or not all(isinstance(one, bool) for one in switches):
        yield (
            "expected rollback=True or False, slot=0 or 1, factory=True or False, and nothing else"
        )


def _scenario(marker: pytest.Mark) -> Iterator[str]:
    if not marker.args:
        yield "expected an id as D22a"
    for id in marker.args:
        if not isinstance(id, str) or not SCENARIO.fullmatch(id):
            yield f"expected an id as D22a, got {id!r}"
    yield from (f"unknown argument {key!r}" for key in marker.kwargs)


RULES: Mapping[str, Rule] = {
    "scenario": _scenario,
    "finding": _words(FINDINGS, "finding"),
    "requires": _words(NEEDS, "need"),
    "baseline": _baseline,
    "timeout": _timeout,
}
