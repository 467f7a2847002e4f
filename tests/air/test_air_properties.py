"""What holds for the machine whatever a device, a network and a hand do."""

from __future__ import annotations

from typing import Any

from air_device import DAY_S, NEW, OLD
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.air import AirRules, AirStatus, Follower, air_history, air_status
from pytest_blynk_ota.air.status import CLOSED
from pytest_blynk_ota.evidence.event import Event

SPEED = 20.0
S = AirStatus

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["login old", "login new", "login strange", "login other type", "leave", "get",
             "move", "whole", "break", "pause", "resume", "click", "cancel", "wait"]
        ),
        st.sampled_from([0, 1, 10, 50, 3_000, 30_000, 90_000]),
    ),
    max_size=40,
)  # fmt: skip
RULES = st.builds(
    AirRules,
    download_limit=st.sampled_from([1, 2, 3, None]),
    condition=st.sampled_from(["not new", "lower version", "earlier build", "lower library"]),
    window=st.sampled_from(["any", "night", "evening"]),
    zone=st.sampled_from(["UTC", "Europe/Kyiv", "-03:30"]),
    begins_at=st.sampled_from([None, "2026-10-25T00:00", "2026-03-29T23:00"]),
    auto_update=st.booleans(),
    critical=st.booleans(),
    reset_s=st.sampled_from([40.0, DAY_S]),
    type_mismatch=st.sampled_from(["before", "after", "never"]),
    version_mismatch=st.booleans(),
    upload_failure_after_s=st.sampled_from([None, 60.0, DAY_S]),
    upload_failure_on_break=st.booleans(),
    upload_failure_closes=st.booleans(),
    rollback_after_s=st.sampled_from([0.0, 30.0]),
)
REPORTS = {
    "old": {"version": OLD.version, "build": OLD.build, "fw_type": OLD.fw_type},
    "new": {"version": NEW.version, "build": NEW.build, "fw_type": NEW.fw_type},
    "strange": {"version": "9.9.9", "build": "", "fw_type": OLD.fw_type},
    "other type": {"version": OLD.version, "build": OLD.build, "fw_type": "TMPLother"},
}
HANDS = {"pause": "paused", "resume": "resumed", "click": "clicked", "cancel": "cancelled"}


class Running:
    """A shipment under way: it writes evidence, and sends when the machine wants it to."""

    def __init__(self, rules: AirRules) -> None:
        self.events: list[Event] = []
        self.follower = Follower()
        self.t = 1000.0
        self.session = self.attempt = self.urls = 0
        self.asked = True  # whether the last URL has been used
        self.hands = dict.fromkeys(("paused", "cancelled", "clicked"), False)
        self.sent: list[dict[str, Any]] = []
        self.add(
            "ota", "operation", op="ship", limit=rules.download_limit, air=rules.to_data(),
            speed=SPEED, running="old", offered="new",
            images={"old": {"version": OLD.version}, "new": {
                "version": NEW.version, "build": NEW.build, "fw_type": NEW.fw_type,
                "library": NEW.library,
            }},
        )  # fmt: skip

    @property
    def air(self):
        return self.follower.shipment

    def add(self, source: str, kind: str, **data: Any) -> None:
        wall = 1_795_000_000.0 + self.t
        event = Event(len(self.events) + 1, self.t, wall, source, kind, "a", data)
        self.events.append(event)
        self.follower.see(event)

    def step(self, what: str, seconds: float) -> None:
        self.pass_time(seconds / SPEED)
        word, _, which = what.partition(" ")
        conn = {"conn": self.attempt, "attempt": self.attempt}
        if word == "login":
            self.session += 1
            self.add("cloud", "info", session=self.session, pairs={"blynk": OLD.library})
            self.add("cloud", "report", session=self.session, **REPORTS[which])
        elif word == "leave":
            self.add("cloud", "closed", session=self.session)
        elif word == "get" and not self.asked:
            self.asked = True
            self.attempt += 1
            conn = {"conn": self.attempt, "attempt": self.attempt}
            self.add("delivery", "request", method="GET", **conn)
            self.add("delivery", "response", status=200, **conn)
        elif word == "move" and self.attempt:
            self.add("delivery", "progress", written=int(self.t), acked=0, **conn)
        elif word in ("whole", "break") and self.attempt:
            how = "complete" if word == "whole" else "fin"
            self.add("delivery", "ended", how=how, announced=5, **conn)
        elif word in HANDS:
            name = "paused" if word == "resume" else HANDS[word]
            self.hands[name] = word != "resume"
            self.add("ota", HANDS[word])
        self.serve()

    def pass_time(self, seconds: float) -> None:
        """As the running operation does: an event where time alone changes something."""
        end = self.t + seconds
        while (due := self.follower.due_in(self.t)) is not None and self.t + due <= end:
            self.t += due + 0.001  # never early
            self.add("ota", "clock")
            self.serve()
        self.t = max(self.t, end)

    def serve(self) -> None:
        if self.air.wants_url:
            assert self.air.session == self.session
            self.urls += 1
            self.asked = False
            self.sent.append({**self.hands, "now": self.air.now, "runs": self.air.runs.version})
            self.add("cloud", "ota_sent", session=self.session)
            assert not self.air.wants_url, "one login, one URL"


def lived(rules: AirRules, steps) -> Running:
    running = Running(rules)
    for what, seconds in steps:
        running.step(what, seconds)
    return running


@given(RULES, STEPS)
def test_the_machine_replayed_from_stored_evidence_equals_the_live_one(rules, steps):
    running = lived(rules, steps)
    stored = [Event.from_json(event.to_json()) for event in running.events]
    assert air_status(stored) is running.air.status
    assert air_history(stored) == tuple(running.air.history)


@given(RULES, STEPS)
def test_the_limit_of_a_period_is_never_exceeded(rules, steps):
    running = Running(rules)
    for what, seconds in steps:
        running.step(what, seconds)
        if rules.download_limit is not None:
            assert running.air.attempts <= rules.download_limit


@given(RULES, STEPS)
def test_a_closed_shipment_stays_as_it_is(rules, steps):
    """But for Success, which can turn into Rollback, and the limit, which a new period opens."""
    running = Running(rules)
    for what, seconds in steps:
        was, status = running.air.closed, running.air.status
        urls = running.urls
        running.step(what, seconds)
        if was and status is not S.DOWNLOAD_LIMIT_REACHED:
            assert running.air.status in {status, S.ROLLBACK if status is S.SUCCESS else status}
            assert running.urls == urls


@given(RULES, STEPS)
def test_a_url_goes_out_only_where_all_gates_are_open(rules, steps):
    running = lived(rules, steps)
    for sent in running.sent:
        assert not sent["paused"]
        assert not sent["cancelled"]
        assert sent["clicked"] or rules.in_window(sent["now"])
        assert sent["clicked"] or rules.auto_update or rules.critical
        assert sent["runs"] != NEW.version


@given(RULES, STEPS)
def test_a_status_is_closed_exactly_where_the_table_says(rules, steps):
    air = lived(rules, steps).air
    if air.closed:
        assert air.status in CLOSED or rules.upload_failure_closes
    else:
        assert air.status not in {S.ROLLBACK, S.TYPE_MISMATCH, S.VERSION_MISMATCH}


@settings(deadline=None)
@given(RULES, STEPS)
def test_time_that_nothing_happens_in_ends(rules, steps):
    """However far the clock jumps, the timers come to an end."""
    running = lived(rules, steps)
    running.follower.shipment.advance(running.follower.clock.at(running.t) + 30 * DAY_S)
    due = running.air.due()
    assert due is None or due > running.air.now
