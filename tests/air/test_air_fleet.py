"""One shipment to many devices: the right status for each, and nobody left behind."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace

import pytest
from air_device import HOUR_S, NEW, OLD

from pytest_blynk_ota import UsageError
from pytest_blynk_ota.air import AirRules, AirStatus, Fleet, Named, Target

S = AirStatus
A_SECOND = 10
"""URLs that the simulated server sends in one second: about the real one's flood limit."""


class Simulation:
    """A server with a slow pen, and devices that live by a script, in simulated seconds."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.now = fleet.now
        self.sent: Counter[str] = Counter()
        self.longest_wait = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._scripts: dict[str, deque[str]] = {}
        self._sessions: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._wanting: dict[str, float] = {}

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + seconds, self._count, act))

    def device(self, name: str, script: str, *, runs: Named = OLD, comes_after: float = 0.0):
        """What it does with one URL after the other: words of ``take``."""
        self._scripts[name] = deque(script.split())
        self.after(comes_after, lambda: self.login(name, runs))

    def login(self, name: str, runs: Named) -> None:
        self._sessions[name] += 1
        self.fleet[name].on_login(self._sessions[name], runs, self.now)

    def take(self, name: str) -> None:
        """It has a URL: each word is what it does with one."""
        script = self._scripts[name]
        word = script.popleft() if len(script) > 1 else script[0]
        machine = self.fleet[name]
        session = self._sessions[name]
        self.after(1, lambda: machine.on_gone(session, self.now))
        if word == "ignores":
            self.after(30, lambda: self.login(name, OLD))
            return
        if word == "sleeps":
            return
        self._attempts[name] += 1
        attempt = self._attempts[name]
        self.after(2, lambda: machine.on_get(attempt, self.now))
        if word == "stalls":
            self.after(40, lambda: machine.on_broken(self.now))
            self.after(50, lambda: self.login(name, OLD))
        elif word != "dies":
            self.after(20, lambda: machine.on_whole(self.now))
            self.after(30, lambda: self.login(name, AFTER[word]))
            if word == "rolls":
                self.after(60, lambda: self.login(name, OLD))

    def run(self, seconds: float) -> None:
        end, tick = self.now + seconds, self.now
        while tick <= end:
            while self._queue and self._queue[0][0] <= tick:
                self.now, _, act = heapq.heappop(self._queue)
                act()
            self.now = tick
            self._serve()
            tick += 1

    def _serve(self) -> None:
        turn = self.fleet.turn(self.now)
        self._wanting = {name: self._wanting.get(name, self.now) for name in turn}
        for name in turn[:A_SECOND]:
            self.longest_wait = max(self.longest_wait, self.now - self._wanting.pop(name))
            self.fleet[name].on_sent(self._sessions[name], self.now)
            self.sent[name] += 1
            self.take(name)


STRANGE = replace(NEW, version="9.9.9")
AFTER = {"upgrades": NEW, "rolls": NEW, "refuses": OLD, "lies": STRANGE}
"""What it logs in on after a whole file."""

# (how many, what they do with their URLs, what the console shows in the end, URLs for each)
KINDS = (
    (60, "upgrades", S.SUCCESS, 1),
    (20, "stalls upgrades", S.SUCCESS, 2),
    (20, "ignores ignores ignores ignores upgrades", S.SUCCESS, 5),
    (20, "stalls", S.DOWNLOAD_LIMIT_REACHED, 3),
    (10, "refuses", S.DOWNLOAD_LIMIT_REACHED, 3),
    (10, "rolls", S.ROLLBACK, 1),
    (10, "lies", S.VERSION_MISMATCH, 1),
    (10, "dies", S.UPLOAD_FAILURE, 1),
    (10, "sleeps", S.REQUEST_SENT, 1),
)
OTHERS = (
    (10, "of another type", S.TYPE_MISMATCH, 1),
    (10, "of users who decide", S.AWAITING_USER_ACTION, 0),
    (10, "away", S.STARTED, 0),
)


def test_200_devices_get_the_right_status_each_and_none_is_starved():
    rules = AirRules(upload_failure_after_s=120)
    named = {f"{kind} {n}": kind for count, kind, *_ in (*KINDS, *OTHERS) for n in range(count)}
    assert len(named) == 200
    fleet = Fleet(
        NEW, rules,
        [Target(name, auto_update=kind != "of users who decide") for name, kind in named.items()],
    )  # fmt: skip
    simulation = Simulation(fleet)
    for name, kind in named.items():
        runs = replace(OLD, fw_type="TMPLother") if kind == "of another type" else OLD
        if kind != "away":
            script = kind if kind in {row[1] for row in KINDS} else "refuses"
            simulation.device(name, script, runs=runs)
    simulation.run(600)
    for _, kind, status, urls in (*KINDS, *OTHERS):
        mine = [name for name in named if named[name] == kind]
        assert {fleet.statuses[name] for name in mine} == {status}, kind
        assert {simulation.sent[name] for name in mine} == {urls}, kind
    # 180 devices want their URL in the first second: the last one's turn is 18 seconds later
    assert simulation.longest_wait <= 18 + 1
    assert fleet.counts[S.SUCCESS] == 100


def test_who_waits_longest_comes_first():
    fleet = Fleet(NEW)
    for name in ("a", "b", "c"):
        fleet[name].on_login(1, OLD, 0)
    assert fleet.turn(0) == ("a", "b", "c")
    fleet["a"].on_sent(1, 1)
    assert fleet.turn(1) == ("b", "c")
    fleet["a"].on_login(2, OLD, 2)
    assert fleet.turn(2) == ("b", "c", "a")


def test_devices_that_come_later_are_sent_new_too():
    simulation = Simulation(Fleet(NEW))
    simulation.device("late", "upgrades", comes_after=300)
    simulation.run(400)
    assert simulation.fleet.statuses == {"late": S.SUCCESS}


def test_only_chosen_devices_are_sent_new_and_have_a_status():
    simulation = Simulation(Fleet(NEW, AirRules(devices=("a",)), [Target("a"), Target("b")]))
    for name in ("a", "b", "later"):
        simulation.device(name, "upgrades")
    simulation.run(100)
    assert simulation.fleet.statuses == {"a": S.SUCCESS}
    assert simulation.sent == {"a": 1}


def staged(stages: tuple[float, ...], scripts: list[str], **rules) -> Simulation:
    names = [f"d{n}" for n in range(len(scripts))]
    fleet = Fleet(NEW, AirRules(stages=stages, **rules), [Target(name) for name in names])
    simulation = Simulation(fleet)
    for name, script in zip(names, scripts, strict=True):
        simulation.device(name, script)
    return simulation


def test_a_stage_begins_when_the_one_before_it_runs_new():
    simulation = staged((0.1, 0.5, 1.0), ["upgrades"] * 20)
    simulation.run(25)
    assert sum(simulation.sent.values()) == 2
    assert simulation.fleet["d2"].held == "its stage has not begun"
    simulation.run(30)
    assert sum(simulation.sent.values()) == 10
    simulation.run(60)
    assert simulation.fleet.counts == {S.SUCCESS: 20}


def test_a_stage_that_fails_holds_all_others_until_a_hand_lets_them_go():
    simulation = staged((0.1, 1.0), ["stalls", "upgrades", *["upgrades"] * 18])
    simulation.run(500)
    assert sum(simulation.sent.values()) == 3 + 1
    simulation.fleet.next_stage()
    simulation.run(100)
    assert simulation.fleet.counts == {S.SUCCESS: 19, S.DOWNLOAD_LIMIT_REACHED: 1}


def test_a_stage_may_be_let_go_with_less_than_all():
    simulation = staged((0.1, 1.0), ["stalls", *["upgrades"] * 19], stage_success=0.5)
    simulation.run(500)
    assert simulation.fleet.counts == {S.SUCCESS: 19, S.DOWNLOAD_LIMIT_REACHED: 1}


def test_who_had_a_turn_keeps_it_when_devices_join():
    fleet = Fleet(NEW, AirRules(stages=(0.5, 1.0)), [Target("d0"), Target("d1")])
    assert [fleet[name].released for name in ("d0", "d1")] == [True, False]
    fleet.join(Target("d2"), 0)
    assert [fleet[name].released for name in ("d0", "d1", "d2")] == [True, True, False]


def test_a_pause_and_a_cancel_are_for_those_who_come_later_too():
    fleet = Fleet(NEW)
    fleet.pause(0)
    fleet["a"].on_login(1, OLD, 1)
    assert fleet.turn(1) == ()
    fleet.resume(2)
    assert fleet.turn(2) == ("a",)
    fleet.cancel(3)
    fleet["b"].on_login(1, OLD, 4)
    assert fleet.turn(4) == ()


def test_each_device_has_its_own_zone():
    rules = AirRules(window="night", begins_at="2026-11-23T22:30")
    begins = rules.starts(0)
    targets = [Target("utc"), Target("kyiv", zone="Europe/Kyiv")]
    fleet = Fleet(NEW, rules, targets, now=begins)
    for name in ("utc", "kyiv"):
        fleet[name].on_login(1, OLD, begins)
    assert fleet.turn(begins) == ("kyiv",)
    assert fleet.due() == begins + 1.5 * HOUR_S
    assert set(fleet.turn(begins + 1.5 * HOUR_S)) == {"kyiv", "utc"}


def test_a_device_is_in_a_shipment_once():
    with pytest.raises(UsageError, match="'a' is in the shipment already"):
        Fleet(NEW, targets=[Target("a"), Target("a")])


def test_a_fleet_says_where_it_stands():
    fleet = Fleet(NEW, targets=[Target("a"), Target("b", auto_update=False)])
    assert repr(fleet) == (
        "<Fleet of 2.0.0, stage 1: 1 Awaiting user action, 1 Firmware Shipment Process Started>"
    )
