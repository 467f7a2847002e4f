"""How a download ended: the words, in their order."""

from __future__ import annotations

import pytest
from tale import SIZE, Tale

from pytest_blynk_ota.air import AirStatus
from pytest_blynk_ota.verdict import Outcome

HALF = SIZE // 2


def tale(*, stays: bool = False, faults: tuple[str, ...] = ()) -> Tale:
    """An offer under way; ``stays``: the device keeps its cloud session meanwhile."""
    return Tale(op="offer", faults=faults).offered(disconnects=not stays)


def ended(one: Tale) -> str:
    verdict = one.over().judged()
    assert len(verdict.downloads) == 1
    return verdict.downloads[0].ended


def back(one: Tale, after: float = 10) -> Tale:
    return one.wait(after).comes_back("old")


def test_a_download_still_going_at_the_end_is_open_even_under_a_stall():
    one = tale().asks().wait(1).gets(HALF).fault("stall after=50%").wait(5)
    assert ended(one) == "open"


def test_a_stall_in_force_when_the_device_leaves_is_stalled():
    one = tale().asks().wait(1).gets(HALF).fault("stall after=50%").wait(30)
    one.ends("device", "fin", HALF).fault("stall after=50%", phase="over")
    assert ended(back(one)) == "stalled"


def test_a_drip_in_force_is_stalled():
    one = tale().asks().wait(1).gets(HALF).fault("drip bytes_per_s=1").wait(3).gets(HALF + 3)
    assert ended(back(one.ends("device", "fin", HALF + 3))) == "stalled"


def test_a_stall_that_was_over_before_is_none():
    one = tale().asks().wait(1).gets(HALF).fault("stall after=50% seconds=3").wait(3)
    one.fault("stall after=50% seconds=3", phase="over").gets(HALF + 9)
    assert ended(back(one.ends("device", "fin", HALF + 9))) == "abandoned"


def test_bytes_in_flight_for_five_seconds_are_stalled():
    one = tale().asks().wait(1).gets(HALF, HALF + 999).wait(6)
    assert ended(back(one.ends("device", "timeout", HALF, HALF + 999))) == "stalled"


def test_bytes_in_flight_for_a_moment_are_not():
    one = tale().asks().wait(1).gets(HALF).wait(20).gets(HALF, HALF + 999).wait(1)
    assert ended(back(one.ends("device", "fin", HALF, HALF + 999))) == "abandoned"


@pytest.mark.parametrize("status", [404, 503, 204, 301])
def test_an_answer_that_is_no_2xx_with_a_body_is_refused(status):
    size = 0 if status == 204 else 14
    one = tale().asks(status, size).wait(1)
    assert ended(back(one.ends("server", "complete", size, announced=size))) == "refused"


@pytest.mark.parametrize(("by", "how", "acked"), [("server", "complete", 20), ("device", "rst", 0)])
def test_a_page_in_place_of_the_file_is_refused_however_much_of_it_was_acknowledged(by, how, acked):
    one = tale(faults=("status code=206",)).asks(206, 20).fault("status code=206", at=0).wait(0.1)
    verdict = back(one.ends(by, how, acked, announced=20, page=True)).over().judged()
    assert [download.ended for download in verdict.downloads] == ["refused"]
    assert verdict.outcome is Outcome.DOWNLOAD_FAILED
    assert verdict.air_status is AirStatus.REQUESTED


def test_a_connection_that_asks_for_nothing_is_refused():
    one = tale().add("delivery", "connection", None, conn=1, peer="10.0.0.2:7")
    assert ended(back(one)) == "refused"


def test_on_a_rig_with_more_boards_a_silent_connection_may_be_anybodys():
    one = tale().add("cloud", "login", "other", session=99)
    one.add("delivery", "connection", None, conn=1, peer="10.0.0.3:7")
    verdict = back(one).over().judged()
    assert verdict.downloads == ()


def test_all_bytes_acknowledged_is_complete_whoever_closed():
    one = tale(stays=True).asks().wait(2).gets(SIZE).ends("server", "complete", SIZE)
    assert ended(one.wait(1)) == "complete"


def test_no_length_and_closed_by_us_is_complete():
    one = tale(stays=True).asks(200, None).wait(2).gets(SIZE)
    assert ended(one.ends("server", "complete", SIZE, announced=None).wait(1)) == "complete"


@pytest.mark.parametrize(("by", "how", "word"), [
    ("device", "fin", "abandoned"), ("device", "rst", "abandoned"), ("device", "timeout", "cut"),
    ("server", "fin", "cut"), ("server", "rst", "cut"),
])  # fmt: skip
def test_who_closed_a_part_of_the_file_is_the_word(by, how, word):
    one = tale().asks().wait(2).gets(HALF).ends(by, how, HALF)
    assert ended(back(one)) == word


def test_a_reset_ends_the_download_though_tcp_has_not_noticed():
    one = tale().asks().wait(2).gets(HALF).crashes().comes_back("old")
    one.ends("device", "rst", HALF).wait(5)
    assert ended(one) == "cut"


def test_an_rst_at_the_moment_of_the_reset_is_a_cut_in_either_order():
    for order in (0, 1):
        one = tale().asks().wait(2).gets(HALF).crashes()
        if order:
            one.ends("device", "rst", HALF).wait(0.1).comes_back("old")
        else:
            one.boots("old").wait(0.1).ends("device", "rst", HALF).wait(5).logs_in().wait(12)
        assert ended(one) == "cut"


def test_follow_up_requests_on_one_offer_are_one_download():
    one = tale(stays=True).asks().wait(1).gets(HALF).ends("device", "fin", HALF).wait(1)
    one.attempt -= 1
    one.asks(206, HALF).wait(1).gets(HALF).ends("server", "complete", HALF, announced=HALF)
    verdict = one.wait(1).over().judged()
    assert [(d.ended, d.attempt) for d in verdict.downloads] == [("complete", 1)]


def test_one_url_used_in_two_boots_is_two_downloads():
    one = tale().asks().wait(1).gets(HALF).crashes().boots("old").wait(5).logs_in()
    one.attempt -= 1
    one.asks().wait(1).gets(HALF).ends("device", "fin", HALF)
    verdict = back(one).over().judged()
    assert [d.ended for d in verdict.downloads] == ["cut", "abandoned"]
    assert [d.number for d in verdict.downloads] == [1, 2]


def test_seconds_are_device_seconds_and_faults_are_named():
    one = tale().asks().wait(1).gets(HALF).fault("stall after=50%").wait(30)
    verdict = back(one.ends("device", "fin", HALF)).over().judged()
    assert verdict.downloads[0].seconds == pytest.approx(31.1, abs=0.2)
    assert verdict.downloads[0].fault == "stall after=50%"


def test_a_request_at_a_url_of_an_earlier_operation_is_no_download_of_this_one():
    one = Tale(op="offer").offered().asks().wait(1).gets(HALF).over()
    one.wait(1).begins("offer")
    one.conn, one.count, one.attempt = 1, 1, 1
    one.ends("device", "fin", HALF).wait(10).comes_back("old")
    one.count = one.attempt = 0
    one.offered().stalls().comes_back("old").over()
    assert [d.ended for d in one.judged().downloads] == ["stalled"]


def test_a_url_of_an_earlier_operation_asked_for_late_is_no_download_of_this_one():
    one = Tale(op="offer").offered(disconnects=False).wait(30).over().begins("offer")
    one.count = 1
    one.asks(404, 9).ends("server", "complete", 9, announced=9)
    one.count = one.attempt = 0
    assert one.wait(1).offered(disconnects=False).wait(30).over().judged().downloads == ()
