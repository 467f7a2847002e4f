"""When the watch ends, and when it has to look again."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from tale import BEGIN, SIZE, SPEED, Tale

from pytest_blynk_ota.evidence.timeline import Timeline
from pytest_blynk_ota.rig.config import DeliverySection
from pytest_blynk_ota.shipment import Operation
from pytest_blynk_ota.verdict import Outcome
from pytest_blynk_ota.verdict.story import tell
from pytest_blynk_ota.verdict.watch import Watch, Watcher, watch


def at(tale: Tale, seconds: float) -> Watch:
    """The watch so many device seconds after the last event."""
    return watch(tale.events, BEGIN + (tale.now + seconds) / SPEED)


def in_device_s(state: Watch) -> float:
    return state.wake_in * SPEED


def test_without_an_operation_there_is_nothing_to_watch():
    with pytest.raises(ValueError, match="no operation"):
        watch([], 0.0)


def test_new_reported_and_settled_ends_the_watch():
    tale = Tale().offered().downloads().boots("new").wait(5).logs_in()
    early = at(tale, 5)
    assert (early.over, early.phase) == (False, "the next login")
    assert in_device_s(early) == pytest.approx(4.8, abs=0.3)
    late = at(tale, 10)
    assert (late.over, late.why) == (True, "New reported and settled")


def test_a_self_test_makes_settling_longer():
    tale = Tale(self_test_s=20.0).offered().downloads().boots("new").wait(5).logs_in()
    assert not at(tale, 24).over
    assert at(tale, 26).over


def test_a_break_of_the_login_starts_settling_again():
    tale = Tale().offered().downloads().boots("new").wait(5).logs_in().wait(8).leaves().wait(1)
    tale.logs_in()
    assert not at(tale, 8).over
    assert at(tale, 11).over


def test_an_offer_nobody_follows_is_over_when_the_request_time_is():
    tale = Tale(op="offer").offered(disconnects=False)
    assert at(tale, 1).phase == "the request"
    assert in_device_s(at(tale, 1)) == pytest.approx(18, abs=1.5)
    assert not at(tale, 17).over
    state = at(tale, 20)
    assert (state.over, state.why) == (True, "the one try is over, and the device settled")


def test_a_shipment_nobody_follows_goes_on_to_its_deadline():
    tale = Tale(deadline=300).offered(disconnects=False)
    assert not at(tale, 200).over
    assert at(tale, 299).why == "the deadline passed, and the device is settled"


def test_a_running_download_is_waited_for_as_long_as_bytes_move():
    tale = Tale(op="offer").offered(disconnects=False).asks()
    for step in range(1, 20):
        tale.wait(10).gets(step)
    assert at(tale, 1).phase == "the download"
    assert not at(tale, 29).over
    assert at(tale, 31).phase == "the restart after an error"
    assert at(tale, 43).over, "stall limit and error restart are over, the device is settled"


def test_a_whole_file_is_waited_for_as_long_as_the_device_may_apply_it():
    tale = Tale(op="offer", apply_s=7200.0, deadline=9000).offered(disconnects=False)
    tale.downloads()
    assert at(tale, 7000).phase == "the restart into New"
    assert at(tale, 7202).over


def test_a_restart_into_old_ends_the_wait_for_the_apply():
    tale = Tale(op="offer", apply_s=7200.0, deadline=9000).offered().downloads().wait(1)
    tale.boots("old").wait(5).logs_in()
    assert (at(tale, 3).over, at(tale, 3).phase) == (False, "settling")
    assert at(tale, 11).over


def test_our_fin_may_look_like_silence_to_the_device():
    tale = Tale(op="offer").offered(disconnects=False).asks().wait(1).gets(SIZE // 2)
    tale.ends("server", "fin", SIZE // 2)
    assert not at(tale, 39).over
    assert at(tale, 42).over


def test_an_error_restart_then_boot_and_login_then_settling():
    tale = Tale(op="offer").offered().stalls()
    assert at(tale, 0).phase == "the restart after an error"
    tale.boots("old")
    assert at(tale, 60).phase == "boot and login"
    tale.wait(5).logs_in()
    assert not at(tale, 8).over
    assert at(tale, 11).why == "the one try is over, and the device settled"


def test_a_closed_shipment_waits_until_the_device_has_settled():
    tale = Tale(limit=1).offered().stalls().boots("old").wait(5).logs_in().closed("limit")
    state = at(tale, 1)
    assert (state.over, state.phase) == (False, "settling")
    assert at(tale, 11).why == "the operation was closed: limit, and the device settled"


def test_the_last_look_ends_when_the_device_was_away_for_its_login_time():
    tale = Tale(op="offer", deadline=30).offered().downloads().boots("new")
    state = at(tale, 40)
    assert (state.over, state.phase) == (False, "the last look: login")
    assert at(tale, 80).why == "the deadline passed, and the device was away for 60 s"


def test_the_last_look_ends_when_the_device_loops():
    tale = Tale(op="offer", deadline=10).offered().downloads().boots("new")
    for _ in range(4):
        tale.wait(2).crashes().boots("new")
    assert "resets in a loop" in at(tale, 1).why


def test_the_last_look_ends_when_the_link_drops_again_and_again():
    tale = Tale(op="offer", deadline=10).offered().downloads().boots("new")
    for _ in range(4):
        tale.wait(2).logs_in().wait(3).leaves()
    assert "link drops in a loop" in at(tale, 1).why


def test_connections_that_the_cloud_was_late_to_hear_are_no_loop_of_link_drops():
    """A cloud that stood still: the board gave each up, and all logins are heard at once."""
    tale = Tale(deadline=10).leaves().wait(12)
    sessions = range(2, 8)
    for session in sessions:
        tale.add("cloud", "connected", None, session=session, peer="10.0.0.2:5").wait(0.01)
    for session in sessions:
        if session > 2:
            tale.leaves("server", f"replaced by session {session}")
        tale.session = session
        tale.add("cloud", "login", session=session).wait(0.1)
    assert at(tale, 1).phase == "the last look: settling"
    assert "settled" in at(tale, 20).why


def test_the_last_look_waits_for_a_login_to_settle():
    tale = Tale(deadline=10).offered().downloads().wait(5).boots("new").wait(5).logs_in("1.5.0")
    assert at(tale, 1).phase == "the last look: settling"
    assert at(tale, 11).why == "the deadline passed, and the device is settled"


def test_time_without_power_does_not_count():
    tale = Tale(op="offer", deadline=100).offered().stalls().add("power", "off", by="test")
    state = at(tale, 60)
    assert (state.over, state.phase) == (False, "the test to give the device back")
    tale.wait(90).add("power", "on", by="test").boots("old", code=1)
    assert at(tale, 20).phase == "boot and login", "the deadline moved by the 90 s"


def test_a_device_that_is_never_given_back_ends_the_watch_all_the_same():
    tale = Tale(op="offer", deadline=100).offered().add("power", "off", by="test")
    assert in_device_s(at(tale, 0)) == pytest.approx(100)
    assert "kept the device away" in at(tale, 101).why


def test_a_device_that_is_kept_away_again_and_again_ends_the_watch_all_the_same():
    tale = Tale(op="ship", deadline=100)
    for _ in range(3):
        tale.add("test", "action", what="cloud.off").wait(30).add(
            "test", "action", what="cloud.on"
        ).wait(5)
    tale.add("test", "action", what="cloud.off")
    assert not at(tale, 8).over
    assert "kept the device away" in at(tale, 11).why


def test_the_last_look_ends_with_a_device_that_is_reset_after_each_settling():
    tale = Tale(deadline=20).offered().downloads().wait(20)
    for _ in range(2):
        tale.boots("old", code=0x10).wait(5).logs_in("1.5.0").wait(10.5)
    state = at(tale.boots("old", code=0x10).wait(5), 1)
    assert (state.over, state.phase) == (False, "the last look: login")
    assert at(tale.logs_in("1.5.0"), 1).why == (
        "the deadline passed, and the device had settled since"
    )


def test_a_cancelled_offer_ends_when_the_device_is_settled():
    tale = Tale(op="offer").add("ota", "cancelled", why="by the test")
    assert at(tale, 0).over


def test_an_offer_that_waits_for_a_login_wakes_for_the_deadline_at_the_latest():
    tale = Tale(op="offer", online=False, deadline=50)
    assert in_device_s(at(tale, 0)) == pytest.approx(50)
    assert not math.isinf(at(tale, 0).wake_in)


def test_a_watcher_that_grows_says_what_a_fresh_one_says():
    tale = Tale(op="offer").offered().stalls().comes_back("old")
    watcher = Watcher()
    begin = next(i for i, e in enumerate(tale.events) if e.kind == "operation") + 1
    for count in range(begin, len(tale.events) + 1):
        events, now = tale.events[:count], tale.events[count - 1].t
        grown, fresh = watcher(events, now), watch(events, now)
        assert grown.over == fresh.over
        assert grown.wake_in <= fresh.wake_in + 1e-9, "it may look again earlier, never later"
    assert watcher(tale.events, BEGIN + tale.now / SPEED).over


def test_a_watcher_follows_the_next_operation():
    tale = Tale(op="offer").offered().stalls().comes_back("old")
    watcher = Watcher()
    assert watcher(tale.events, BEGIN + tale.now / SPEED).over
    tale.over().begins("offer").offered(disconnects=False)
    assert watcher(tale.events, BEGIN + tale.now / SPEED).phase == "the request"


def test_the_end_is_believed_only_after_what_was_on_its_way_has_come():
    """A busy host read a crash late: without a second look the board had settled."""
    tale = Tale(op="offer").offered().downloads().boots("new").wait(5).logs_in().wait(10.1)
    clock = SimpleNamespace(now=tale.events[0].t)
    timeline = Timeline(clock=lambda: clock.now)
    for event in tale.events:
        timeline.add(event.source, event.kind, event.board, t=event.t, **event.data)
    clock.now = BEGIN + tale.now / SPEED
    assert watch(timeline.events(), timeline.now()).over

    def reads_the_crash() -> None:
        t = clock.now - 2 / SPEED
        timeline.add("uart", "crash", tale.board, t=t, what="panic", text="Guru Meditation")
        reset = {"code": 0xC, "cause": "SW_CPU", "download": False}
        timeline.add("uart", "reset", tale.board, t=t, **reset)

    rig: Any = SimpleNamespace(
        recorder=SimpleNamespace(timeline=timeline), catch_up=reads_the_crash
    )
    place: Any = SimpleNamespace(name=tale.board)
    operation = Operation(
        rig,
        place,
        b"",
        (),
        DeliverySection(),
        dict,
        False,
        lambda: pytest.fail("no verdict yet"),
        superseding=lambda image: pytest.fail("no other image"),
    )
    assert not operation._look().over


def test_a_cancelled_shipment_waits_for_the_url_that_went_out_before():
    tale = Tale().offered(disconnects=False).add("ota", "cancelled", why="by the test")
    assert at(tale, 10).phase == "the request"
    assert not at(tale, 10).over
    assert at(tale, 21).why == "the operation was cancelled: by the test, and the device settled"


def test_a_cancelled_shipment_waits_for_a_download_beside_the_session():
    tale = Tale().offered(disconnects=False).asks().gets(SIZE // 2)
    tale.add("ota", "cancelled", why="by the test")
    assert at(tale, 10).phase == "the download"
    tale.wait(2).gets(SIZE).ends("server", "complete", SIZE)
    assert at(tale, 10).phase == "the restart into New"
    assert at(tale, 31).over


def test_a_shipment_that_closed_on_a_broken_transfer_waits_for_the_next_try_of_that_boot():
    tale = Tale().offered(disconnects=False).asks().gets(SIZE // 2)
    tale.ends("server", "rst", SIZE // 2).closed("upload failure")
    assert not at(tale, 5).over
    assert at(tale, 5).phase == "the restart after an error"


def test_the_same_url_sent_twice_does_not_end_the_download_that_runs():
    tale = Tale(op="offer").offered(disconnects=False).asks().gets(SIZE // 4).wait(10)
    tale.add("cloud", "ota_sent", session=tale.session, offer="o1", url="http://x/?token=t")
    for step in range(10):
        tale.wait(10).gets(SIZE // 2 + step)
        assert not at(tale, 5).over
    assert at(tale, 5).phase == "the download"


def stalling_again_and_again(deadline: float) -> Tale:
    """Four offers, each left for a download that stalls, and a fifth one given up just now."""
    tale = Tale(limit=None, deadline=deadline, faults=("stall after=50%",))
    for _ in range(4):
        tale.offered().stalls().boots("old").wait(3).logs_in().wait(0.2)
    return tale.offered().stalls().wait(-7)


def test_leaving_for_a_download_is_no_lost_link():
    tale = stalling_again_and_again(deadline=215)
    state = at(tale, 0)
    assert (state.over, state.phase, state.is_late) == (False, "the last look: login", True)
    tale.wait(8).boots("old").wait(3).logs_in()
    assert at(tale, 11).why == "the deadline passed, and the device is settled"
    assert tale.wait(11).over().judged().outcome is Outcome.STALLED


def test_a_link_that_is_lost_long_after_the_url_is_lost_all_the_same():
    tale = Tale(deadline=10, settle_s=40).leaves().wait(1).logs_in().offered(disconnects=False)
    tale.wait(25).leaves()
    for _ in range(3):
        tale.wait(1).logs_in().wait(3).leaves()
    assert "link drops in a loop (4 times)" in at(tale, 1).why


def test_signs_of_life_of_a_settled_session_do_not_have_the_story_told_again(monkeypatch):
    told = []
    monkeypatch.setattr(
        "pytest_blynk_ota.verdict.watch.tell", lambda *of: told.append(of) or tell(*of)
    )
    tale = Tale(op="ship").wait(1)
    watcher = Watcher()
    for _ in range(20):
        tale.add("cloud", "heard", session=tale.session, what="PING").wait(0.1)
        watcher(tale.events, tale.events[-1].t)
    assert len(told) == 1


def test_a_loop_of_boots_does_not_have_the_story_told_again_at_each(monkeypatch):
    told = []
    monkeypatch.setattr(
        "pytest_blynk_ota.verdict.watch.tell", lambda *of: told.append(of) or tell(*of)
    )
    tale = Tale(op="ship", info=True).offered().downloads()
    watcher = Watcher()
    for _ in range(200):
        tale.boots("new").wait(0.3).crashes().wait(0.2)
        state = watcher(tale.events, tale.events[-1].t)
        assert not state.over
    assert state.phase == "boot and login"
    assert len(told) < 10


def test_the_last_look_at_a_sleeper_that_stays_awake_ends():
    """It waits for a second wake: New may have forgotten how to sleep."""
    tale = Tale(op="offer", info=True, sleeper=True, deadline=100.0).offered().downloads()
    tale.boots("new").wait(3).logs_in()

    assert not at(tale, 100).over
    assert 0 < at(tale, 100).wake_in < math.inf
    ended = at(tale, 160)
    assert (ended.over, ended.why) == (True, "the deadline passed, and it has not slept for 60 s")
    assert tale.wait(160).over().judged().outcome is Outcome.UPGRADED
