"""Resets that were only printed, and resets that nobody could see: neither decides a verdict."""

from __future__ import annotations

import pytest
from tale import SIZE, Tale, names

from pytest_blynk_ota.verdict import Outcome


@pytest.mark.parametrize("prints", [False, True])
def test_a_download_mode_that_nobody_asked_for_excuses_no_reset(prints):
    tale = Tale(info=True).offered().downloads().comes_back("new").wait(100)
    if prints:
        tale.add("uart", "reset", code=1, cause="POWERON", download=True).wait(0.05)
    tale.boots("new", code=1, cause="POWERON").wait(4).logs_in().wait(15).over()
    assert "unexpected reset" in names(tale.judged())


def beats(tale: Tale) -> Tale:
    """The session says that it is alive."""
    return tale.add("cloud", "heard", session=tale.session, what="PING")


def forged_start(tale: Tale, *, download: bool = False, names_old: bool = True) -> Tale:
    """New is up and logged in, and prints what a reset would, and a start of Old."""
    tale.wait(100).add("uart", "reset", code=1, cause="POWERON", download=download).wait(0.3)
    if names_old:
        tale.add("uart", "slot", offset=0x10000).add("uart", "app", field="version", value="1.0.0")
    return beats(tale.wait(40)).wait(15)


def test_a_start_of_old_printed_under_a_live_session_is_not_believed_without_flash():
    tale = forged_start(Tale(info=True).offered().downloads().comes_back("new")).over()
    assert {"MISREPORTED", "UPGRADED"} <= set(tale.undecided().candidates)
    assert "flash" in tale.undecided().wants
    verdict = tale.flash("app1").judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.UPGRADED, "new")


def test_where_flash_cannot_tell_such_a_start_leaves_the_verdict_open():
    tale = Tale(info=True, flash=False).offered().downloads().comes_back("new")
    assert not forged_start(tale).over().undecided().wants


def test_a_start_that_a_session_outlived_is_named_in_the_reasons():
    tale = Tale(info=True).offered().downloads().comes_back("new")
    forged_start(tale).boots("new", code=1, cause="POWERON").wait(4).logs_in().wait(15).over()
    words = [reason.text for reason in tale.flash("app1").judged().reasons]
    assert any("the cloud session of the boot before it lived on" in text for text in words)


def test_a_true_start_of_old_whose_session_is_its_own_needs_no_flash():
    tale = Tale(info=True).offered().downloads().comes_back("new").wait(100)
    beats(tale.comes_back("old").wait(40)).wait(15).over()
    assert tale.judged().outcome is Outcome.ROLLED_BACK


@pytest.mark.parametrize("names_old", [False, True])
def test_a_board_that_speaks_to_the_cloud_is_not_in_download_mode(names_old):
    tale = Tale(info=True).offered().downloads().comes_back("new")
    forged_start(tale, download=True, names_old=names_old).over().flash("app1")
    assert tale.judged().outcome is Outcome.UPGRADED


def test_a_download_that_a_session_was_offered_rules_out_the_starts_printed_since_its_opening():
    tale = Tale(op="offer", info=True, flash=False).wait(100).over().begins("offer").wait(10)
    tale.lands("new").boots("new").wait(100).over().begins("offer", running=None)
    tale.offered().asks(404, announced=9).ends("server", "complete", 9, announced=9).wait(3)
    tale.boots("old").wait(3).logs_in().wait(15).over()
    assert tale.judged().outcome is Outcome.DOWNLOAD_FAILED


def left_by_rst(*, hidden: bool = True, uart: bool = True, how: str = "rst") -> Tale:
    """A download ends by RST while the serial port is gone, and Old logs in again."""
    tale = Tale(op="offer", info=True, uart=uart).offered().asks().wait(1).gets(SIZE // 2).wait(1)
    if hidden:
        tale.add("uart", "port_lost", why="gone")
    tale.wait(3).ends("device", how, SIZE // 2).wait(6)
    if hidden:
        tale.add("uart", "port_back")
    return tale


@pytest.mark.parametrize("uart", [False, True])
def test_a_reset_that_nobody_saw_may_have_ended_a_download_left_by_rst(uart):
    thin = left_by_rst(uart=uart).logs_in().wait(15).over().flash("app0").undecided()
    assert set(thin.candidates) == {"REJECTED", "DOWNLOAD_FAILED"}
    assert not thin.wants


REFUSED = {"what": "update_error", "text": "Error Occurred. Error #: 9"}


@pytest.mark.parametrize(
    "tale",
    [
        left_by_rst(hidden=False).boots("old").wait(4).logs_in(),
        left_by_rst(how="fin").logs_in(),
        left_by_rst().add("uart", "firmware", **REFUSED).logs_in(),
    ],
    ids=["the port was there", "a reset board says no FIN", "it said that it refuses the file"],
)
def test_a_download_that_no_hidden_reset_can_have_ended_was_left(tale):
    assert tale.wait(15).over().flash("app0").judged().outcome is Outcome.REJECTED


def test_a_session_that_lived_on_rules_a_hidden_reset_out():
    tale = Tale(op="offer", info=True).offered(disconnects=False).asks().wait(1).gets(SIZE // 2)
    tale.add("uart", "port_lost", why="gone").wait(3).ends("device", "rst", SIZE // 2).wait(6)
    beats(tale.add("uart", "port_back").wait(30)).wait(15).over()
    assert tale.flash("app0").judged().outcome is Outcome.REJECTED


def test_a_crash_seen_in_a_download_cut_it_though_the_port_was_lost_after_it():
    tale = Tale(op="offer", info=True).offered().asks().wait(1).gets(SIZE // 2).crashes()
    tale.wait(0.1).add("uart", "port_lost", why="gone").wait(3).ends("device", "rst", SIZE // 2)
    tale.wait(6).add("uart", "port_back").logs_in().wait(15).over()
    verdict = tale.flash("app0").judged()
    assert (verdict.outcome, verdict.downloads[0].ended) == (Outcome.DOWNLOAD_FAILED, "cut")
