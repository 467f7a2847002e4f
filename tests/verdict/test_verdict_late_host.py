"""A host too busy to see things when they happen makes no verdict wrong: at most it gives none."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from late_host import late
from tale import BEGIN, SIZE, SPEED, Tale, names
from test_verdict_clock_error import FILES, operations, recorded
from test_verdict_properties import TALES

from pytest_blynk_ota import Outcome
from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.verdict import judge
from pytest_blynk_ota.verdict.watch import watch

HALF = SIZE // 2
FOR_S = 60
"""Device seconds for which a board that is back is watched."""


def offered(info: bool) -> Tale:
    """New is in its slot and starts."""
    return Tale(op="offer", info=info).offered().downloads().boots("new")


MORE = {
    "New reports and crashes": lambda s, info: offered(info).wait(3).logs_in().wait(s).crashes()
    .wait(0.2).comes_back("old").wait(FOR_S).over(),
    "New reports and restarts": lambda s, info: offered(info).wait(3).logs_in().wait(s)
    .comes_back("old").wait(FOR_S).over(),
    "New restarts, Old leaves soon": lambda s, info: offered(info).wait(3).boots("old").wait(2)
    .logs_in().wait(s).leaves().wait(3).logs_in().wait(FOR_S).over(),
    "New restarts, Old restarts soon": lambda s, info: offered(info).wait(3).boots("old").wait(2)
    .logs_in().wait(s).boots("old").wait(3).logs_in().wait(FOR_S).over(),
    "New restarts once": lambda s, info: offered(info).wait(3).logs_in().wait(s).boots("new")
    .wait(3).logs_in().wait(FOR_S).over(),
    "New is silent": lambda s, info: offered(info).wait(s).logs_in("").wait(FOR_S).over(),
    "New lies": lambda s, info: offered(info).wait(s).logs_in("1.0.0").wait(FOR_S).over(),
    "New crashes early": lambda s, info: offered(info).wait(s).crashes().wait(0.2).boots("old")
    .wait(2).logs_in().wait(FOR_S).over(),
    "left, then a restart": lambda s, info: Tale(op="offer", info=info).offered().asks().wait(1)
    .gets(HALF).ends("device", "fin", HALF).wait(s).comes_back("old").wait(FOR_S).over(),
}  # fmt: skip

TRUE = {
    "New reports and crashes": "ROLLED_BACK",
    "New reports and restarts": "ROLLED_BACK",
    "New restarts, Old leaves soon": "REVERTED",
    "New restarts, Old restarts soon": "REVERTED",
    "New restarts once": "UPGRADED",
    "New is silent": "NOT_REPORTED",
    "New lies": "MISREPORTED",
    "New crashes early": "REVERTED",
    "left, then a restart": "REJECTED",
}
"""What is decided, unless seconds are too few for it, or the image is not known without flash."""


def outcome(events: list[Event] | tuple[Event, ...], number: int | None = None) -> str:
    """The outcome, or "none" where the rack is to blame or it is open."""
    try:
        return str(judge(events, number).outcome)
    except RigError:
        return "none"


@pytest.mark.parametrize("longest", [0.08, 0.3, 2.5])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.split(".")[0])
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), who=st.sampled_from(["servers", "uart", "both"]))
def test_a_recorded_run_on_a_busy_host_gets_its_verdict_or_none(path: Path, longest, seed, who):
    events = recorded(path)
    seen = late(events, random.Random(seed), longest, who)
    for begin in operations(events):
        number = begin.data["number"]
        assert outcome(seen, number) in (outcome(events, number), "none")


@settings(max_examples=200, deadline=None)
@given(
    what=st.sampled_from(sorted(MORE)), seconds=st.sampled_from([0.1, 0.5, 1.0, 1.5, 2.0, 4.0]),
    info=st.booleans(), seed=st.integers(0, 2**32),
    longest=st.sampled_from([0.08, 0.15, 0.3, 1.0, 2.5]),
    who=st.sampled_from(["servers", "uart", "both"]),
)  # fmt: skip
def test_what_happens_close_together_gets_its_verdict_or_none(
    what, seconds, info, seed, longest, who
):
    events = MORE[what](seconds, info).events
    seen = late(events, random.Random(seed), longest, who)
    assert outcome(seen) in (TRUE[what], "none")


@settings(max_examples=100, deadline=None)
@given(
    what=st.sampled_from(sorted(TALES)), seed=st.integers(0, 2**32),
    longest=st.sampled_from([0.08, 0.3, 2.5]), who=st.sampled_from(["servers", "uart", "both"]),
)  # fmt: skip
def test_a_tale_on_a_busy_host_gets_its_verdict_or_none(what, seed, longest, who):
    events = TALES[what]().events
    assert outcome(late(events, random.Random(seed), longest, who)) in (outcome(events), "none")


def test_a_report_that_was_seen_after_a_reset_is_not_of_the_boot_behind_it():
    tale = offered(info=True).wait(3).logs_in("").wait(0.1)
    session = tale.session
    tale.boots("old").wait(1)
    report = {"version": "2.0.0", "build": "build of 2.0.0", "fw_type": "TMPL"}
    tale.add("cloud", "report", session=session, waited_s=0.09, **report)
    verdict = tale.wait(3).logs_in().wait(FOR_S).over().judged()
    assert verdict.outcome is Outcome.ROLLED_BACK


def test_a_reset_that_was_read_late_may_be_why_a_download_broke_off():
    def tale(**late: float) -> Tale:
        told = Tale(op="offer").offered().asks().wait(1).gets(HALF).ends("device", "rst", HALF)
        told.wait(3)
        reset = {"code": 0xC, "cause": "SW_CPU", "download": False}
        told.add("uart", "reset", **reset, **late).wait(5)
        return told.logs_in().wait(FOR_S).over()

    assert tale().judged().outcome is Outcome.REJECTED
    assert set(tale(waited_s=0.2).undecided().candidates) == {"REJECTED", "DOWNLOAD_FAILED"}


def test_nobody_has_seen_what_happened_while_the_servers_stood_still():
    tale = offered(info=True).wait(3).logs_in().wait(30)
    tale.add("rig", "late", None, seconds=11 / 20)  # of the host, at speed 20
    with pytest.raises(RigError, match="stood still for 11 s of its time"):
        tale.over().judged()


def test_a_board_that_boots_nothing_is_bricked_however_late_that_was_seen():
    tale = Tale(op="offer").offered().downloads().wait(5)
    tale.add("rig", "late", None, seconds=11 / 20).fails_to_boot().wait(100)
    tale.over().flash(None, None).power_cycled().fails_to_boot().wait(30)
    assert tale.judged().outcome is Outcome.BRICKED


def test_a_boot_does_not_settle_while_the_servers_stand_still():
    tale = offered(info=True).wait(3).logs_in().wait(5)
    tale.add("rig", "late", None, seconds=4 / 20)

    def is_over(seconds: float) -> bool:
        return watch(tale.events, BEGIN + (tale.now + seconds) / SPEED).over

    assert not is_over(8)  # 13 s after the login, 9 of them seen
    assert is_over(9.5)


RESET = {"code": 0xC, "cause": "SW_CPU", "download": False}


def test_a_short_session_before_a_reset_that_was_read_late_may_be_of_the_boot_behind_it():
    """Old says who it is and leaves; that it has started is read after that."""
    tale = offered(info=True).wait(9).logs_in("1.0.0").wait(0.2).leaves().wait(2)
    tale.add("uart", "reset", **RESET, waited_s=0.3).wait(0.1)
    tale.add("uart", "app", field="version", value="1.0.0").wait(3)
    verdict = tale.logs_in("1.0.0").wait(FOR_S).over().judged()
    assert verdict.outcome is Outcome.REVERTED


def test_a_request_before_a_reset_that_was_read_late_is_of_the_boot_that_got_the_offer():
    tale = Tale(info=True).offered().stalls().wait(5).logs_in()
    tale.offered(disconnects=False).asks().wait(2)
    tale.add("uart", "reset", **RESET, waited_s=0.6).wait(0.1)
    tale.add("uart", "slot", offset=0x10000)
    tale.wait(2).gets(SIZE).ends("server", "complete", SIZE).lands("new").wait(30)
    tale.add("cloud", "heard", session=tale.session, what="PING").wait(1)
    verdict = tale.comes_back("new").over().judged()
    assert verdict.outcome is Outcome.UPGRADED
    assert names(verdict) == set()


@pytest.mark.parametrize(("waited_s", "ended"), [(0.0, "cut"), (0.2, "abandoned")])
def test_an_end_that_was_seen_after_a_reset_may_have_been_before_it(waited_s, ended):
    tale = Tale(op="offer").offered().asks().wait(1).gets(HALF).wait(1)
    tale.add("uart", "reset", **RESET).wait(3)
    more = {"page": False, "by": "device", "how": "fin", "written": HALF, "acked": HALF}
    tale._deliver("ended", **more, announced=SIZE, waited_s=waited_s)
    verdict = tale.wait(5).logs_in().wait(FOR_S).over().judged()
    assert verdict.downloads[0].ended == ended


@pytest.mark.parametrize(("waited_s", "ended"), [(0.0, "stalled"), (0.15, "abandoned")])
def test_bytes_do_not_stall_while_their_end_waits_to_be_seen(waited_s, ended):
    most = HALF + 100
    tale = Tale(op="offer").offered().asks().wait(1).gets(HALF, most).wait(0.1).gets(HALF, most)
    tale.wait(6)
    more = {"page": False, "by": "device", "how": "fin", "written": most, "acked": HALF}
    tale._deliver("ended", **more, announced=SIZE, waited_s=waited_s)
    verdict = tale.wait(3).comes_back("old").wait(FOR_S).over().judged()
    assert verdict.downloads[0].ended == ended


@pytest.mark.parametrize(("waited_s", "expected"), [(0.0, False), (0.2, True)])
def test_a_restart_after_a_download_is_expected_though_its_end_was_seen_after_it(
    waited_s, expected
):
    tale = Tale(op="offer").offered().asks().wait(1).gets(HALF).wait(1)
    tale.add("uart", "reset", **RESET).wait(3)
    more = {"page": False, "by": "device", "how": "fin", "written": HALF, "acked": HALF}
    tale._deliver("ended", **more, announced=SIZE, waited_s=waited_s)
    verdict = tale.wait(5).logs_in().wait(FOR_S).over().judged()
    assert ("unexpected reset" not in names(verdict) | names(verdict, "info")) is expected
