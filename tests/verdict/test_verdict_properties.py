"""One row always holds, and the order of different witnesses within the skew never matters."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tale import ABORTED, BLANK, PENDING, SIZE, Tale, entry

from pytest_blynk_ota.errors import RigError, Undecided
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.verdict import Outcome, Verdict
from pytest_blynk_ota.verdict.watch import Watcher, watch

HALF = SIZE // 2
OTADATA = [[entry(1), BLANK], [entry(1), entry(2)], [entry(1), entry(2, ABORTED)],
           [entry(1), entry(2, PENDING)], [BLANK, BLANK]]  # fmt: skip

VERBS = {
    "offered": lambda tale: tale.offered(),
    "offered online": lambda tale: tale.offered(disconnects=False),
    "whole": lambda tale: tale.downloads(),
    "whole, refused": lambda tale: tale.downloads(into=None),
    "stalls": lambda tale: tale.stalls(),
    "asks": lambda tale: tale.asks(),
    "404": lambda tale: tale.asks(404, 9).ends("server", "complete", 9, announced=9),
    "redirected": lambda tale: (
        tale.asks(302, 9)
        .fault("redirect code=302", index=9)
        .ends("server", "complete", 9, announced=9)
    ),
    "first part": lambda tale: tale.asks(206, part=(0, HALF, SIZE)).ends(
        "server", "complete", HALF, announced=HALF
    ),
    "last part": lambda tale: tale.asks(206, again=True, part=(HALF, SIZE, SIZE)).ends(
        "server", "complete", SIZE - HALF, announced=SIZE - HALF
    ),
    "page": lambda tale: (
        tale.asks(200, 9)
        .fault("page", index=9)
        .ends("server", "complete", 9, announced=9, page=True)
    ),
    "endless": lambda tale: tale.asks(200, None).gets(9 * SIZE),
    "knock": lambda tale: tale.knocks(),
    "no handshake": lambda tale: tale.knocks("unknown CA", offer="o1", attempt=1),
    "shut": lambda tale: tale.add(
        "delivery",
        "fault",
        conn=None,
        offer="o1",
        attempt=1,
        index=9,
        fault="unreachable how=silent",
        at=0,
        phase="fired",
    ),
    "vanish": lambda tale: tale.fault("vanish after=50%", index=9),
    "half": lambda tale: tale.asks().wait(1).gets(HALF, HALF + 100),
    "fin": lambda tale: tale.ends("device", "fin", HALF),
    "rst": lambda tale: tale.ends("device", "rst", HALF),
    "our fin": lambda tale: tale.ends("server", "fin", HALF),
    "old": lambda tale: tale.boots("old"),
    "new": lambda tale: tale.boots("new"),
    "third": lambda tale: tale.boots("third-1"),
    "watchdog": lambda tale: tale.boots("new", code=7),
    "power-on": lambda tale: tale.boots("old", code=1),
    "reset": lambda tale: tale.boots("old", code=1, by="test"),
    "no app": lambda tale: tale.fails_to_boot(),
    "crash": lambda tale: tale.crashes(),
    "login": lambda tale: tale.logs_in(),
    "login new": lambda tale: tale.logs_in("2.0.0"),
    "login old": lambda tale: tale.logs_in("1.0.0"),
    "login silent": lambda tale: tale.logs_in(""),
    "heard": lambda tale: tale.add("cloud", "heard", session=tale.session, what="PING"),
    "leaves": lambda tale: tale.leaves(),
    "lost": lambda tale: tale.leaves("server", "silent for 92 s"),
    "off": lambda tale: tale.add("power", "off", by="test"),
    "on": lambda tale: tale.add("power", "on", by="test"),
    "port lost": lambda tale: tale.add("uart", "port_lost", why="gone"),
    "port back": lambda tale: tale.add("uart", "port_back"),
    "prints new": lambda tale: tale.prints("version", version="2.0.0", build=None),
    "success": lambda tale: tale.prints("success"),
    "limit": lambda tale: tale.closed("limit"),
    "closed": lambda tale: tale.closed("success"),
    "cancelled": lambda tale: tale.add("ota", "cancelled", why="by the test"),
    "next": lambda tale: tale.over().begins("offer"),
}

steps = st.lists(
    st.tuples(st.sampled_from(sorted(VERBS)), st.sampled_from([0.0, 0.3, 3.0, 12.0, 70.0])),
    max_size=14,
)
boards = st.fixed_dictionaries({
    "op": st.sampled_from(["ship", "offer"]), "info": st.booleans(), "uart": st.booleans(),
    "flash": st.booleans(), "online": st.booleans(),
    "faults": st.sampled_from([(), ("stall after=50%",), ("status code=404 on attempt 1",)]),
})  # fmt: skip


def told(board: dict, verbs: list) -> Tale:
    tale = Tale(**board)
    tale.images["third-1"] = dict(tale.images["old"], version="0.1.0", build="third")
    for verb, wait in verbs:
        VERBS[verb](tale)
        tale.wait(wait)
    return tale


def judged(tale: Tale) -> Verdict | RigError:
    try:
        return tale.judged()
    except RigError as error:
        return error


def give(tale: Tale, want: str, choice: random.Random) -> None:
    """Let the board answer at random."""
    if want == "flash":
        label = choice.choice(["app0", "app1", None])
        tale.flash(label, choice.choice(["app0", "app1", None]), choice.choice(OTADATA))
    elif want == "power_cycle":
        tale.power_cycled()
        (tale.fails_to_boot if choice.random() < 0.7 else tale.logs_in)()
    else:
        tale.control(choice.random() < 0.8)


def gathered(tale: Tale, choice: random.Random) -> Verdict | RigError:
    """Judge; give the judge what it asks for, until it is sure or asks for nothing."""
    asked: set[str] = set()
    for _ in range(5):
        answer = judged(tale)
        if not isinstance(answer, Undecided):
            return answer
        assert set(answer.candidates) <= {str(outcome) for outcome in Outcome}
        assert answer.candidates
        assert answer.why
        assert answer.wants <= {"flash", "control", "power_cycle"}
        assert not answer.wants & asked, "it asks for what it has"
        if not answer.wants:
            return answer
        want = next(w for w in ("flash", "power_cycle", "control") if w in answer.wants)
        asked.add(want)
        give(tale, want, choice)
    raise AssertionError("the judge never stops asking")


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(board=boards, verbs=steps, seed=st.integers(0, 2**16))
@example(board={"op": "ship"}, verbs=[("next", 0.0)], seed=0)
def test_any_time_line_has_one_outcome_or_a_rig_error_that_says_why(board, verbs, seed):
    tale = told(board, verbs).wait(1).over()
    answer = gathered(tale, random.Random(seed))
    if isinstance(answer, RigError):
        assert str(answer)
    else:
        assert Verdict.from_json(answer.to_json()) == answer
        assert str(answer.outcome) in str(answer)


@settings(max_examples=100, deadline=None)
@given(board=boards, verbs=steps)
def test_the_watch_of_any_time_line_ends_or_names_when_to_look_again(board, verbs):
    tale = told(board, verbs)
    now = max(event.t for event in tale.events)
    for _ in range(40):
        state = watch(tale.events, now)
        if state.over:
            assert state.why
            return
        assert state.phase
        assert 0 < state.wake_in < float("inf")
        now += state.wake_in + 1e-6
    raise AssertionError(f"the watch does not end: {state}")


@settings(max_examples=150, deadline=None)
@given(board=boards, verbs=steps)
@example(board={"info": True}, verbs=[("offered online", 0.3), ("crash", 3.0), ("heard", 12.0)])
def test_a_watch_that_follows_a_time_line_sees_what_one_sees_that_reads_it_anew(board, verbs):
    """Each time with a sign of life behind, which the watch may pass over."""
    events = told(board, [one for verb in verbs for one in (verb, ("heard", 0.3))]).events
    begun = next(at for at, event in enumerate(events, 1) if event.kind == "operation")
    watcher = Watcher()
    for count in range(begun, len(events) + 1):
        now = max(event.t for event in events[:count])
        assert watcher(events[:count], now).over == watch(events[:count], now).over


def jittered(events: list[Event], choice: random.Random, skew: float) -> list[Event]:
    """Neighbours of different witnesses within the skew change places; times go with them."""
    rows = list(events)
    moved: set[int] = set()
    for i in range(len(rows) - 1):
        a, b = rows[i], rows[i + 1]
        free = {a.source, b.source} <= {"uart", "cloud", "delivery"} and a.source != b.source
        if free and i not in moved and b.t - a.t <= skew and choice.random() < 0.7:
            rows[i], rows[i + 1] = replace(b, t=a.t), replace(a, t=b.t)
            moved |= {i, i + 1}
    return rows


TALES = {
    "upgraded": lambda: Tale(info=True).offered().downloads().comes_back("new").over(),
    "abandoned, then restart": lambda: Tale(op="offer").offered().asks().wait(1).gets(HALF)
    .ends("device", "fin", HALF).wait(0.3).comes_back("old").over(),
    "reset in the download": lambda: Tale(op="offer").offered().asks().wait(1).gets(HALF)
    .crashes().ends("device", "rst", HALF).wait(0.2).comes_back("old").over(),
    "complete at the restart": lambda: Tale(info=True).offered().asks().wait(3).gets(SIZE)
    .ends("server", "complete", SIZE).lands("new").comes_back("new").over(),
    "new crashes as it reports": lambda: Tale(info=True, op="offer").offered().downloads()
    .boots("new").wait(5).logs_in().wait(0.1).crashes().comes_back("old").over(),
    "stalls": lambda: Tale(op="offer").offered().stalls().comes_back("old").over(),
    "loop": lambda: _loop(),
    "reports, then reset at once": lambda: Tale(info=True).wait(3).logs_in().boots("old")
    .wait(5).logs_in().wait(3).offered().downloads().comes_back("new").over(),
}  # fmt: skip


def _loop() -> Tale:
    tale = Tale(info=True, op="offer").offered().downloads().boots("new")
    for _ in range(5):
        tale.wait(5).logs_in().wait(0.1).crashes().boots("new")
    return tale.wait(2).over()


def essence(verdict: Verdict) -> tuple[object, ...]:
    return (verdict.outcome, verdict.running_image, verdict.boots, verdict.partial,
            tuple(d.ended for d in verdict.downloads),
            sorted((f.name, f.severity) for f in verdict.findings))  # fmt: skip


@pytest.mark.parametrize("name", sorted(TALES))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_order_of_witnesses_within_the_skew_changes_nothing(name, seed):
    tale = TALES[name]()
    before = essence(tale.judged())
    choice = random.Random(seed)
    tale.shuffled(lambda events: jittered(events, choice, 1.0 / 20))
    assert essence(tale.judged()) == before


@pytest.mark.parametrize("name", sorted(TALES))
def test_the_order_in_which_events_arrive_changes_nothing(name):
    """Each witness tells its own events in order; whose come first in the file is chance."""
    tale = TALES[name]()
    before = essence(tale.judged())
    begin = next(e.t for e in tale.events if e.kind == "operation")
    tale.shuffled(
        lambda events: sorted(
            events, key=lambda e: (e.t > begin, round(e.t * 20), e.source in ("uart",))
        )
    )
    assert essence(tale.judged()) == before


def with_unseen_starts(events: list[Event], seconds: float) -> list[Event]:
    """As a port tells it that goes with each reset: from then on so many host seconds are lost."""
    starts = [e for e in events if (e.source, e.kind) == ("uart", "reset")]
    kept = [
        e
        for e in events
        if e.source != "uart" or not any(s.t <= e.t < s.t + seconds for s in starts)
    ]
    for start in starts:
        kept.append(replace(start, kind="port_lost", data={"why": "no such device"}))
        kept.append(replace(start, t=start.t + seconds, kind="port_back", data={}))
    return sorted(kept, key=lambda e: e.t)


@pytest.mark.parametrize("name", sorted(TALES))
@pytest.mark.parametrize("device_s", [0.05, 0.5, 2.0, 10.0])
def test_a_start_that_a_lost_port_hid_is_never_judged_as_if_all_was_seen(name, device_s):
    """The chip's own USB port goes at each reset, and takes the banner with it."""
    tale = TALES[name]()
    tale.shuffled(lambda events: with_unseen_starts(events, device_s / 20))
    answer = judged(tale)
    assert isinstance(answer, Undecided) or answer.partial
