"""What came in which order: sessions, resets and crashes close together, or told late."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tale import BEGIN, SPEED, Tale, image, names
from told_tales import REVERTED_OTADATA, SWITCHED, loops, upgraded

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.verdict import Outcome
from pytest_blynk_ota.verdict.watch import watch


@pytest.mark.parametrize("late", [-0.6, 0.2])
def test_a_report_in_the_moment_of_a_reset_may_be_of_either_boot(late):
    tale = Tale(op="offer", info=True).offered().downloads().boots("new").wait(5)
    begin = tale.now
    tale.boots("old").wait(begin + late - tale.now).logs_in("2.0.0")
    tale.wait(begin + 5 - tale.now).logs_in("1.0.0").wait(12).over()
    assert tale.judged().outcome is Outcome.ROLLED_BACK, "nobody lied"


def test_a_session_that_speaks_long_after_a_reset_is_of_the_boot_after_it():
    tale = Tale(op="offer", info=True).offered().downloads().boots("new").wait(5)
    tale.session += 1
    tale.add("cloud", "connected", None, session=tale.session, peer="p").wait(0.3).boots("old")
    tale.wait(3).add("cloud", "login", session=tale.session)
    tale.add("cloud", "report", session=tale.session, version="1.0.0", build="", fw_type="")
    assert tale.wait(12).over().judged().outcome is Outcome.REVERTED


def read_late() -> Tale:
    """On a busy host the reset into Old is read after Old's login, by less than the skew."""
    tale = Tale(op="offer", info=True).offered().downloads().boots("new").wait(5)
    tale.running = "old"
    return tale.logs_in().wait(0.1).boots("old")


@pytest.mark.parametrize(("speaks", "outcome"), [(True, "STALLED"), (False, "OFFLINE")])
def test_a_session_that_speaks_on_was_opened_after_a_reset_that_was_read_far_too_late(
    speaks, outcome
):
    tale = Tale(op="offer", info=True).offered().stalls().logs_in().wait(8).boots("old")
    for _ in range(12):
        tale.wait(10)
        if speaks:
            tale.add("cloud", "heard", session=tale.session, what="PING")
    tale.over()
    if outcome == "OFFLINE":
        tale.control()
    assert tale.judged().outcome == outcome


def test_what_was_heard_soon_after_a_reset_may_have_been_said_before_it():
    tale = Tale(op="offer", info=True).offered().stalls().logs_in().wait(8).boots("old").wait(15)
    tale.add("cloud", "heard", session=tale.session, what="PING").wait(105).over().control()
    assert tale.judged().outcome is Outcome.OFFLINE


def test_a_login_before_a_reset_that_was_read_late_is_settled_once_it_is_heard_of_after_it():
    tale = read_late().wait(15)
    assert not watch(tale.events, BEGIN + tale.now / SPEED).over, "it may be New's last word"
    tale.add("cloud", "heard", session=tale.session, what="PING").wait(1)
    assert watch(tale.events, BEGIN + tale.now / SPEED).over
    assert tale.over().judged().outcome is Outcome.REVERTED


def test_a_download_long_after_a_reset_shows_whose_the_session_of_its_offer_was():
    tale, elf = Tale().offered().downloads(), image("2.0.0")["elf_sha256"][:9]
    for _ in range(2):  # New crashes; the reset into Old is read after Old has its next offer
        tale.boots("new").crashes().add("uart", "app", field="elf_sha256", value=elf).wait(1)
        tale.running, tale.slot = "old", "app0"
        tale.logs_in().wait(0.1).offered(disconnects=False).wait(-1.9)
        tale.boots("old").wait(0.3).downloads()
    tale.boots("new").crashes().wait(1).comes_back("old").closed("limit").over()
    verdict = tale.flash("app0", otadata=REVERTED_OTADATA).judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.REVERTED, set())


def test_a_board_that_dumps_its_core_is_not_settled_however_long_it_takes():
    tale = Tale(op="offer", info=True).offered().downloads()
    for _ in range(5):
        tale.boots("new").wait(4).logs_in().wait(4).crashes().wait(25)
        assert not watch(tale.events, BEGIN + tale.now / SPEED).over
    assert tale.boots("new").over().flash("app1").judged().outcome is Outcome.BOOT_LOOP


def test_a_board_that_speaks_on_after_the_words_of_a_crash_goes_on():
    tale = Tale(op="offer", info=True).offered().downloads()
    tale.boots("new").wait(4).logs_in().wait(1).crashes("Mem alloc fail. size 0x00001000").wait(20)
    assert not watch(tale.events, BEGIN + tale.now / SPEED).over
    tale.add("cloud", "heard", session=tale.session, what="PING").wait(1)
    assert watch(tale.events, BEGIN + tale.now / SPEED).over
    tale.over().flash("app1", otadata=SWITCHED)
    assert tale.judged().outcome is Outcome.UPGRADED


def test_a_quiet_boot_that_has_just_begun_is_no_silence():
    tale = Tale(op="offer").offered().downloads().boots("new")
    for _ in range(5):
        tale.wait(1).crashes().wait(0.2).boots("new")
    assert tale.wait(1).over().judged().outcome is Outcome.BOOT_LOOP


def test_what_is_told_after_the_watch_had_ended_came_after_it():
    tale = loops()
    before = tale.judged()
    tale.now -= 3
    assert tale.boots("new").judged() == before


def test_times_are_judged_as_they_are_stored():
    tale = upgraded(info=True)
    tale.events = [replace(event, t=event.t + 4.4e-7) for event in tale.events]
    live = tale.judged()
    tale.events = [Event.from_json(event.to_json()) for event in tale.events]
    assert tale.judged() == live
