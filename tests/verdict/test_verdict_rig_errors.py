"""When there is no outcome: each row of the table, and that near misses let pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tale import SIZE, Tale, names
from tale import planned as plan

from pytest_blynk_ota.errors import (
    EvidenceError,
    FaultNotReached,
    OldNotSettled,
    PortGone,
    RigError,
    Undecided,
)
from pytest_blynk_ota.verdict import Outcome


def test_a_port_that_went_away_is_the_racks_fault():
    tale = Tale(op="offer").offered().add("rig", "error", error="PortGone", message="usb 1-1")
    with pytest.raises(PortGone, match=r"^during the operation: usb 1-1"):
        tale.wait(20).over().judged()


def test_an_error_of_the_rack_with_more_arguments_is_a_plain_rig_error():
    tale = Tale(op="offer").offered().add("rig", "error", error="DeadlinePassed", message="boom")
    with pytest.raises(RigError, match="DeadlinePassed during the operation: boom"):
        tale.wait(20).over().judged()


def test_old_that_did_not_settle_after_the_restore_is_no_outcome():
    tale = Tale(op="offer", restored=True, online=False).wait(30).over()
    with pytest.raises(OldNotSettled, match="c3-a"):
        tale.judged()


def test_old_that_settled_after_the_restore_lets_pass():
    tale = Tale(op="offer", restored=True).offered().stalls().comes_back("old").over()
    assert tale.judged().outcome is Outcome.STALLED


def heard_late(*, login_after: float, took: float | None = None) -> Tale:
    """Old is back and logged in before the busy host says that the restore is done."""
    tale = Tale(op="offer").offered().stalls().comes_back("old").over().wait(30)
    tale.add("rig", "reset", by="rig", mode="loader").wait(2)
    tale.add("rig", "reset", by="rig", mode="run").wait(login_after).logs_in().wait(5)
    tale.add(
        "ota",
        "restored",
        image="old",
        slots={},
        otadata=[],
        seconds=7.5 + login_after if took is None else took,
    )
    return tale.wait(8).begins("offer").offered().stalls().comes_back("old").over()


def test_old_settles_from_its_reset_on_however_late_the_restore_is_said_to_be_done():
    assert heard_late(login_after=2).judged(2).outcome is Outcome.STALLED


def test_a_restore_that_was_said_to_be_done_later_than_it_took_is_one_all_the_same():
    assert heard_late(login_after=2, took=0.05).judged(2).outcome is Outcome.STALLED


def put_back(*, online: bool) -> Tale:
    """An offer, then Old back by a snapshot and logged in, or not, when the next one begins."""
    tale = Tale(op="offer").offered().stalls().comes_back("old").over()
    tale.add("ota", "restored", image="old", slots={}, otadata=[], how="snapshot")
    tale.boots("old", by="rig").wait(5)
    if online:
        tale.logs_in().wait(1)
    return tale.begins("offer").offered().stalls().comes_back("old").over()


def test_old_that_a_snapshot_brought_back_has_settled_before_and_need_only_be_up():
    assert put_back(online=True).judged(2).outcome is Outcome.STALLED


def test_old_that_is_not_up_after_a_snapshot_is_no_outcome():
    with pytest.raises(OldNotSettled, match="c3-a"):
        put_back(online=False).judged(2)


def test_what_an_earlier_operation_left_is_judged_not_refused():
    tale = Tale(op="offer", restored=True).offered().stalls().over()
    tale.wait(1).begins("offer").comes_back("old").offered().stalls().comes_back("old").over()
    assert tale.judged().outcome is Outcome.STALLED


def test_a_fault_that_was_due_and_did_not_fire_is_no_outcome():
    tale = Tale(op="offer", info=True, faults=("corrupt at=50%",)).offered().downloads()
    with pytest.raises(FaultNotReached, match="was due and did not fire"):
        tale.wait(10).comes_back("old").over().judged()


@pytest.mark.parametrize("text", ["truncate after=last 50", "reset after=10%", "stall after=7"])
def test_a_fault_at_an_offset_is_due_when_the_bytes_went_beyond_it(text):
    tale = Tale(op="offer", faults=(text,)).offered().asks().wait(1).gets(SIZE - 10)
    tale.ends("device", "fin", SIZE - 10).wait(10).comes_back("old").over()
    with pytest.raises(FaultNotReached, match="was due"):
        tale.judged()


def test_a_clean_upgrade_under_a_fault_for_a_download_that_never_came_proves_nothing():
    tale = Tale(info=True, faults=("stall after=50% on attempt 2",), attempts={0: [2]})
    tale.offered().downloads().comes_back("new").closed("success").over()
    with pytest.raises(FaultNotReached, match="never fired"):
        tale.judged()


def test_a_crash_before_the_fault_lets_the_outcome_stand_with_a_finding():
    tale = Tale(info=True, faults=("stall after=50% on attempt 2",), attempts={0: [2]})
    tale.wait(1).crashes().comes_back("old").offered().downloads().comes_back("new")
    verdict = tale.closed("success").over().judged()
    assert verdict.outcome is Outcome.UPGRADED
    assert names(verdict) == {"fault not reached", "crash"}


def test_an_outcome_that_needs_no_fault_stands_with_a_finding():
    tale = Tale(op="offer", faults=("stall after=50%",)).offered(disconnects=False).wait(30).over()
    verdict = tale.judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.NOT_STARTED, {"fault not reached"})


def taking_turns(*versions: str, peers: str = "", why: str = "replaced by session 9") -> Tale:
    """Logins in one boot, each of which ends the one before; ``peers``: where they came from."""
    tale = Tale(op="offer").offered(disconnects=False)
    for number, version in enumerate(versions):
        tale.leaves(by="server", why=why).wait(2).logs_in(version)
        if peers:
            at = max(i for i, event in enumerate(tale.events) if event.kind == "connected")
            where = {**tale.events[at].data, "peer": f"10.0.0.{peers[number]}:5"}
            tale.events[at] = replace(tale.events[at], data=where)
    return tale.wait(30).over()


def test_two_devices_that_end_each_other_s_sessions_are_found_by_what_they_run():
    with pytest.raises(
        RigError, match=r"two devices .* saw 1\.0\.0 .* then 9\.9\.9 .* then 1\.0\.0"
    ):
        taking_turns("9.9.9", "1.0.0").judged()


def test_two_devices_of_one_version_are_found_by_their_addresses():
    with pytest.raises(RigError, match="two devices use the token"):
        taking_turns(*["1.0.0"] * 4, peers="3232").judged()


def test_a_device_that_moves_to_another_address_is_one_device():
    assert taking_turns(*["1.0.0"] * 3, peers="322").judged().outcome is Outcome.NOT_STARTED


def test_a_device_that_names_another_version_and_comes_back_by_itself_is_one_device():
    verdict = taking_turns("9.9.9", "1.0.0", why="closed").judged()
    assert verdict.outcome is Outcome.MISREPORTED


def test_two_devices_that_speak_in_turns_on_one_token_are_found():
    tale = Tale(op="offer", info=True).wait(1)
    first = tale.session
    tale.logs_in("1.0.0").wait(5)
    tale.add("cloud", "log_event", session=first, code="x", text="").wait(5)
    tale.add("cloud", "log_event", session=tale.session, code="x", text="").wait(5)
    with pytest.raises(RigError, match="two devices use the token"):
        tale.over().judged()


def test_a_half_open_link_that_stays_silent_is_one_device():
    tale = Tale(op="offer").offered(disconnects=False).wait(1).logs_in().wait(30).over()
    assert tale.judged().outcome is Outcome.NOT_STARTED


def test_a_control_that_fails_too_takes_the_outcome_back():
    tale = Tale(op="offer", info=True).offered().downloads().boots("new").wait(120).over()
    with pytest.raises(Undecided):
        tale.judged()
    with pytest.raises(RigError, match="so it stays with Old restored"):
        tale.control(ok=False).judged()


@pytest.mark.parametrize("kind", ["loop", "rolled back", "reverted"])
def test_an_outcome_that_rests_on_a_power_on_nobody_made_is_no_outcome(kind):
    tale = Tale(op="offer", info=True).offered().downloads().boots("new").wait(5)
    if kind == "rolled back":
        tale.logs_in()
    for _ in range(5 if kind == "loop" else 1):
        tale.wait(2).boots("new" if kind == "loop" else "old", code=1, cause="POWERON")
    if kind != "loop":
        tale.wait(5).logs_in().wait(12)
    with pytest.raises(RigError, match="power-on reset"):
        tale.over().judged()


def test_a_brownout_is_no_such_power_on():
    tale = Tale(op="offer", info=True).offered().downloads().boots("new").wait(2)
    tale.boots("old", code=0xF, cause="BROWNOUT").wait(5).logs_in().wait(12).over()
    assert tale.judged().outcome is Outcome.REVERTED


def test_a_board_that_the_test_left_without_power_cannot_be_judged():
    tale = Tale(op="offer").offered().add("power", "off", by="test").wait(100).over()
    with pytest.raises(RigError, match="kept it away"):
        tale.judged()


def test_evidence_without_an_operation_is_no_evidence():
    with pytest.raises(EvidenceError, match="operation 7"):
        Tale().judged(7)


CLOUD_FAULT = {"text": "drop", "offers": None, "later": False}


def planned(**changes):
    """An offer with a fault of the cloud."""
    return Tale(op="offer", info=True).begins("offer", cloud_faults=[CLOUD_FAULT | changes])


def fires(tale, text="drop"):
    return tale.add("cloud", "fault", index=0, text=text, offer="o1")


def test_a_fault_of_the_cloud_that_was_due_and_did_not_fire_is_no_outcome():
    tale = planned().offered().downloads().comes_back("new").over()
    with pytest.raises(FaultNotReached, match="'drop' was due and did not fire: the cloud failed"):
        tale.judged()


def test_a_fault_of_the_cloud_that_fired_is_nothing_to_speak_of():
    verdict = fires(planned()).offered().downloads().comes_back("new").over().judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.UPGRADED, set())


def test_a_fault_of_the_cloud_whose_phase_never_came_proves_nothing():
    tale = planned(later=True).offered().downloads().comes_back("new").over()
    with pytest.raises(FaultNotReached, match="never fired: the operation ended as UPGRADED"):
        tale.judged()


def test_a_fault_of_the_cloud_for_an_offer_that_never_went_out_is_not_due():
    verdict = planned(offers=[2]).offered(disconnects=False).wait(30).over().judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.NOT_STARTED, {"fault not reached"})


@pytest.mark.parametrize(("restarts", "found"), [(1, set()), (2, {"unexpected reset"})])
def test_the_restart_after_a_url_that_was_none_is_expected_once(restarts, found):
    tale = fires(planned(text="url"), 'url text="x"').offered().wait(12)
    for _ in range(restarts):
        tale.comes_back("old").wait(20)
    assert names(tale.over().judged()) == found


def test_a_url_that_was_none_and_goes_out_twice_makes_two_restarts_expected():
    tale = fires(planned(text="url"), 'url text="x"').offered().wait(12).comes_back("old")
    tale.add("cloud", "ota_sent", session=tale.session, offer="o1", url="x").wait(2).leaves()
    verdict = tale.wait(12).comes_back("old").wait(20).over().judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.NOT_STARTED, set())


def slowed(text: str, lives: float):
    """New never waits for the answer to its login."""
    tale = fires(planned(text=text), text).offered().downloads().boots("new").wait(5)
    for _ in range(5):
        tale.logs_in("").wait(lives).leaves().wait(1)
    return tale.wait(70).over().control()


def test_a_device_that_waits_for_no_late_answer_is_not_offline():
    with pytest.raises(RigError, match="the cloud answer 12 s late, and the board waited for no"):
        slowed("slow seconds=12", lives=5).judged()


@pytest.mark.parametrize("text", ["slow seconds=2", "silent seconds=12"])
def test_a_device_that_leaves_in_spite_of_an_answer_is_offline(text):
    assert slowed(text, lives=5).judged().outcome is Outcome.OFFLINE


def test_a_device_that_never_came_to_a_slow_cloud_is_offline():
    tale = fires(planned(text="slow seconds=12"), "slow seconds=12").offered().downloads()
    verdict = tale.boots("new").wait(90).over().control().judged()
    assert verdict.outcome is Outcome.OFFLINE


def given_up(late_s: float, *, fault: bool = False, before: bool = False) -> Tale:
    """A download that the device leaves at once; the rig's servers had stood still, or not."""
    tale = Tale(op="offer")
    if before:
        tale.add("rig", "late", seconds=late_s / 20).wait(30)
    tale.offered().wait(6)
    if not before:
        tale.add("rig", "late", seconds=late_s / 20)  # of the host, at speed 20
    tale.asks()
    if fault:
        tale.gets(SIZE // 2).fault("truncate after=50%")
    return tale.ends("device", "fin", SIZE // 2 if fault else 0).wait(5).comes_back("old").over()


def shown(text: str, why: str = "") -> Tale:
    """A device that left in the TLS handshake of a rig that stood still; ``why``: as it said."""
    tale = Tale(op="offer", faults=(plan(text),)).offered()
    tale.knocks(offer="o1", attempt=1).add(
        "delivery", "fault", offer="o1", attempt=1, conn=tale.conn, index=0, fault=text,
        at=0, phase="fired",
    )  # fmt: skip
    tale.wait(4).add("rig", "late", seconds=0.2)
    tale.fails(why) if why else tale.add("delivery", "handshake", None, conn=tale.conn, why=None)
    return tale.wait(12).comes_back("old").over()


def test_a_certificate_that_the_device_took_is_no_reason_to_give_up_on_a_late_rig():
    with pytest.raises(RigError, match=r"stood still for 4\.0 s of its time"):
        shown("tls how=expired").judged()


def test_a_certificate_that_the_device_refused_is_why_it_left_however_late_the_rig():
    verdict = shown("tls how=expired", "certificate expired").judged()
    assert verdict.outcome is Outcome.DOWNLOAD_FAILED


def test_a_device_that_gives_up_on_a_rig_that_stood_still_is_no_outcome():
    with pytest.raises(RigError, match=r"stood still for 6\.0 s of its time"):
        given_up(6).judged()


@pytest.mark.parametrize(
    ("late_s", "more"), [(1.0, {}), (6.0, {"fault": True}), (6.0, {"before": True})]
)
def test_a_rig_that_stood_still_for_a_moment_or_before_or_beside_a_fault_lets_pass(late_s, more):
    assert given_up(late_s, **more).judged().outcome in (
        Outcome.REJECTED,
        Outcome.DOWNLOAD_FAILED,
    )


def test_what_settled_before_a_second_restore_says_nothing_of_old_after_it():
    tale = Tale(op="offer", restored=True).offered().stalls().comes_back("old").over().wait(30)
    tale.add("ota", "restored", image="old", slots={}, otadata=[], how="flash")
    tale.boots("old", by="rig").wait(5)
    tale.begins("offer").offered().stalls().comes_back("old").over()
    with pytest.raises(OldNotSettled, match="c3-a"):
        tale.judged(2)
