"""What any answer of a bad server makes of a download, and of what may be in flash after it."""

from __future__ import annotations

import pytest
from tale import SIZE, Tale, image, names, planned
from told_tales import HALF, back, reasons, tale, word

from pytest_blynk_ota.delivery.kinds import KINDS
from pytest_blynk_ota.delivery.kinds import STALLS as SLOW
from pytest_blynk_ota.errors import Undecided
from pytest_blynk_ota.verdict import Outcome, Verdict
from pytest_blynk_ota.verdict.fault_kinds import HARMLESS, OURS, STALLS
from pytest_blynk_ota.verdict.rig_faults import NEVER_MISSED
from pytest_blynk_ota.verdict.watch import watch


def believed(one: Tale) -> Verdict:
    """Restart into what calls itself New; its word alone, and the slot map, say what runs."""
    assert not one.info
    return one.wait(1).boots("new").wait(5).logs_in("2.0.0").wait(12).over().judged()


def quiet(*texts: str) -> Tale:
    """The same offer on a board that prints nothing and whose flash cannot be read."""
    return tale(*texts, info=False, flash=False)


def test_the_tables_of_kinds_name_faults_that_there_are():
    assert set(KINDS) >= STALLS | OURS | HARMLESS | NEVER_MISSED
    assert set(SLOW) | {"vanish", "split_headers"} <= STALLS


# Bodies whose length nobody said


def test_an_endless_body_that_the_device_leaves_is_abandoned_and_failed():
    one = tale("chunked how=endless").asks(200, None).fault("chunked how=endless", at=0)
    verdict = back(one.wait(5).gets(9 * SIZE).ends("device", "fin", 9 * SIZE, announced=None))
    assert (word(verdict), verdict.outcome) == ("abandoned", Outcome.DOWNLOAD_FAILED)


def test_an_endless_body_that_the_device_reads_for_ever_is_open():
    one = tale("chunked how=endless", stays=True).asks(200, None)
    verdict = one.fault("chunked how=endless", at=0).wait(5).gets(9 * SIZE).over().judged()
    assert (word(verdict), verdict.outcome) == ("open", Outcome.STALLED)


def test_a_body_without_length_that_we_closed_is_complete():
    one = tale("drop_header name=Content-Length").asks(200, None)
    one.fault("drop_header name=Content-Length", at=0).wait(2).gets(SIZE)
    verdict = back(one.ends("server", "complete", SIZE, announced=None))
    assert (word(verdict), verdict.outcome) == ("complete", Outcome.REJECTED)


def test_a_body_without_its_last_chunk_is_cut():
    one = tale("chunked how=unfinished").asks(200, None).fault("chunked how=unfinished")
    verdict = back(one.wait(2).gets(SIZE).ends("server", "fin", SIZE, announced=None))
    assert (word(verdict), verdict.outcome) == ("cut", Outcome.DOWNLOAD_FAILED)


def test_a_body_without_length_of_which_the_device_has_read_all_may_be_new():
    one = tale("drop_header name=Content-Length").asks(200, None)
    one.fault("drop_header name=Content-Length", at=0).wait(2).gets(SIZE)
    one.ends("device", "fin", SIZE, announced=None).lands("new")
    verdict = one.comes_back("new").over().judged()
    assert verdict.outcome is Outcome.UPGRADED


# Lengths that lie


def test_a_length_that_is_too_small_is_complete_as_announced():
    one = tale("length off=-100").asks(200, SIZE - 100).fault("length off=-100", at=0)
    verdict = back(one.wait(2).ends("server", "complete", SIZE, announced=SIZE - 100))
    assert (word(verdict), verdict.outcome) == ("complete", Outcome.REJECTED)


@pytest.mark.parametrize(
    ("acked", "how", "ended"),
    [
        (SIZE - 100, "rst", "complete"),
        (SIZE - 1500, "rst", "complete"),
        (SIZE - 1600, "rst", "abandoned"),
        (SIZE - 1500, "fin", "abandoned"),
    ],
)
def test_an_rst_over_bytes_beyond_the_length_hides_no_more_than_the_last_segment(acked, how, ended):
    one = tale("length off=-100").asks(200, SIZE - 100).fault("length off=-100", at=0).wait(2)
    verdict = back(one.ends("device", how, acked, SIZE, announced=SIZE - 100))
    assert word(verdict) == ended


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("pad bytes=4096", Outcome.REJECTED),
        ("pad bytes=4096 how=counted", Outcome.DOWNLOAD_FAILED),
    ],
)
def test_an_rst_over_bytes_that_are_none_of_the_body_hides_the_last_segment_too(text, outcome):
    one = tale(text).asks().wait(2).fault(text, at=SIZE).wait(0.1)
    verdict = back(one.ends("device", "rst", SIZE - 1400, SIZE))
    assert verdict.outcome is outcome


def test_a_whole_file_of_which_more_was_announced_is_cut():
    one = tale("length off=100").asks(announced=SIZE + 100).fault("length off=100", at=0).wait(2)
    verdict = back(one.ends("server", "short", SIZE, announced=SIZE + 100))
    assert (word(verdict), verdict.outcome) == ("cut", Outcome.DOWNLOAD_FAILED)


def test_an_rst_with_no_bytes_beyond_the_length_hides_nothing():
    one = tale().asks().wait(2).gets(SIZE - 9, SIZE)
    assert word(back(one.ends("device", "rst", SIZE - 9, SIZE))) == "abandoned"


@pytest.mark.parametrize(
    ("says", "ended", "outcome"),
    [(0, "refused", Outcome.DOWNLOAD_FAILED), (1000, "complete", Outcome.REJECTED)],
)
def test_bytes_beyond_the_announced_length_that_nobody_takes_stall_nothing(says, ended, outcome):
    """A device that keeps the connection, reads no more of it and restarts 10 s later."""
    one = tale(f"length says={says}").asks(200, says).fault(f"length says={says}", at=0)
    one.wait(1).gets(SIZE // 4, written=SIZE).wait(10)
    one.comes_back("old").ends("device", "rst", SIZE // 4, announced=says)
    verdict = one.over().judged()
    assert (word(verdict), verdict.outcome) == (ended, outcome)
    assert not verdict.findings  # the restart is the one after a download


@pytest.mark.parametrize("off", [100, 5 * 10**9])
def test_a_length_that_is_too_large_is_cut(off):
    text = f"length off={off}"
    one = tale(text).asks(200, SIZE + off).fault(text, at=0).wait(2).gets(SIZE)
    verdict = back(one.ends("server", "fin", SIZE, announced=SIZE + off), 40)
    assert (word(verdict), verdict.outcome) == ("cut", Outcome.DOWNLOAD_FAILED)


def test_a_device_that_takes_short_for_whole_may_run_new_all_the_same():
    one = quiet("length off=100").asks(200, SIZE + 100).fault("length off=100", at=0).wait(2)
    one.ends("server", "fin", SIZE, announced=SIZE + 100)
    assert believed(one).outcome is Outcome.UPGRADED


def test_a_length_of_zero_is_an_answer_without_a_body():
    one = tale("length says=0").asks(200, 0).fault("length says=0", at=0).wait(1)
    verdict = back(one.ends("device", "fin", 0, announced=0))
    assert (word(verdict), verdict.outcome) == ("refused", Outcome.DOWNLOAD_FAILED)


# Redirects


def redirected(one: Tale, *, again: bool = False, text: str = "redirect code=302") -> Tale:
    one.asks(302, 20, again=again, page=True).fault(text, at=0)
    return one.ends("server", "complete", 20, announced=20, page=True).wait(0.2)


def test_a_chain_of_redirects_to_the_file_is_one_download_whose_last_get_counts():
    one = tale("redirect code=302 hops=2", stays=True)
    redirected(redirected(one), again=True).asks(again=True).wait(2).gets(SIZE)
    verdict = back(one.ends("server", "complete", SIZE))
    assert [(d.ended, d.status, d.attempt) for d in verdict.downloads] == [("complete", 200, 1)]
    assert "after 2 redirects" in reasons(verdict)
    assert verdict.downloads[0].fault == "redirect code=302"


def test_new_behind_a_redirect_is_known_by_the_slot_map():
    one = redirected(quiet("redirect code=302")).asks(again=True).wait(2).gets(SIZE)
    one.ends("server", "complete", SIZE)
    assert believed(one).outcome is Outcome.UPGRADED


@pytest.mark.parametrize("hops", [1, 30])
def test_redirects_that_the_device_gives_up_are_refused(hops):
    one = tale("redirect code=302 to=loop")
    for hop in range(hops):
        redirected(one, again=hop > 0)
    verdict = back(one)
    assert (word(verdict), verdict.outcome) == ("refused", Outcome.DOWNLOAD_FAILED)


def redirect_head(one: Tale) -> Tale:
    """The head of a redirect, not acknowledged yet."""
    one._deliver("response", status=302, announced=20, page=True)
    return one.fault("redirect code=302 to=loop", at=0)


def looping(one: Tale, seconds: int) -> Tale:
    for second in range(seconds):
        redirected(one, again=second > 0).wait(0.8)
    return one


def test_a_loop_that_the_device_follows_to_the_end_is_open_between_two_requests_too():
    one = looping(tale("redirect code=302 to=loop", stays=True), 20).over()
    assert (word(one.judged()), one.judged().outcome) == ("open", Outcome.STALLED)


def test_a_loop_followed_past_the_stall_limit_by_a_device_that_is_there_is_a_hang():
    one = looping(tale("redirect code=302 to=loop", stays=True), 40).over()
    assert names(one.judged()) == {"hang"}


def test_a_loop_followed_past_the_stall_limit_by_a_device_that_is_away_is_offline():
    one = looping(tale("redirect code=302 to=loop"), 120).over()
    with pytest.raises(Undecided) as thin:
        one.judged()
    assert thin.value.candidates == ("OFFLINE",)


def test_the_watch_goes_on_with_a_chain_of_redirects_that_is_longer_than_the_stall_limit():
    one = looping(tale("redirect code=302 to=loop", stays=True, error_restart_s=0.0), 40)
    assert watch(one.events, one.events[-1].t + 1 / 20).phase == "the next request"
    assert watch(one.events, one.events[-1].t + 7 / 20).over
    for hand in (Tale.requests, lambda tale, again: redirect_head(tale.requests(again=again))):
        more = looping(tale("redirect code=302 to=loop", stays=True, error_restart_s=0.0), 40)
        hand(more, again=True)
        assert watch(more.events, more.events[-1].t + 1 / 20).phase == "the next request"


def test_the_watch_goes_on_between_a_redirect_and_the_next_request():
    one = tale("redirect code=302", stays=True, error_restart_s=0.0, request_s=5.0)
    redirected(one)
    t = one.events[-1].t
    assert watch(one.events, t + 2 / 20).phase == "the download"
    assert watch(one.events, t + 7 / 20).over


def test_a_redirect_to_a_server_of_somebody_else_may_bring_anything():
    text = "redirect code=302 to=http://h/x"
    assert believed(redirected(quiet(text), text=text)).outcome is Outcome.UPGRADED


def test_a_3xx_that_leads_nowhere_is_refused_at_once():
    one = tale("status code=301", stays=True).asks(301, 20).fault("status code=301", at=0)
    one.ends("server", "complete", 20, announced=20, page=True).wait(1)
    assert word(one.over().judged()) == "refused"


def test_a_304_asks_for_no_further_request():
    one = tale("status code=304", stays=True).asks(304, 0).fault("status code=304", at=0)
    one.ends("server", "complete", 0, announced=0, page=True).wait(1)
    assert word(one.over().judged()) == "refused"


# Parts


def test_a_rest_that_follows_a_broken_beginning_makes_the_file_complete():
    one = tale("reset after=50%").asks().wait(1).gets(HALF).fault("reset after=50%")
    one.ends("server", "rst", HALF).wait(1).asks(206, again=True, part=(HALF, SIZE, SIZE)).wait(1)
    verdict = back(one.ends("server", "complete", HALF, announced=HALF))
    assert (word(verdict), verdict.outcome) == ("complete", Outcome.REJECTED)


def test_a_part_without_the_rest_is_abandoned_though_all_of_it_came():
    one = tale().asks(206, part=(0, 1024, SIZE)).ends("server", "complete", 1024, announced=1024)
    verdict = back(one, 12)
    assert word(verdict) == "abandoned"
    assert "bytes 0 to 1023 of 100000, and the rest was not asked for" in reasons(verdict)


def test_a_part_without_the_rest_is_cut_by_a_reset():
    one = tale().asks(206, part=(0, 1024, SIZE)).ends("server", "complete", 1024, announced=1024)
    one.crashes()
    assert word(back(one, 0.2)) == "cut"


def test_a_file_that_comes_in_parts_is_open_between_two_of_them():
    one = tale(stays=True)
    for at in range(0, HALF, 10_000):
        one.asks(206, again=at > 0, part=(at, at + 10_000, SIZE))
        one.ends("server", "complete", 10_000, announced=10_000).wait(0.5)
    assert word(one.over().judged()) == "open"


def test_parts_in_any_order_that_leave_no_gap_are_the_file():
    one = tale()
    for number, (first, stop) in enumerate([(0, 40_000), (60_000, SIZE), (40_000, 60_000)]):
        one.asks(206, again=number > 0, part=(first, stop, SIZE))
        one.ends("server", "complete", stop - first, announced=stop - first).wait(0.5)
    assert word(back(one)) == "complete"


def test_parts_that_leave_a_gap_are_not_the_file():
    one = tale("reset after=50%").asks().wait(1).gets(HALF).fault("reset after=50%")
    one.ends("server", "rst", HALF).wait(1).asks(206, again=True, part=(HALF + 9, SIZE, SIZE))
    verdict = back(one.ends("server", "complete", HALF - 9, announced=HALF - 9))
    assert (word(verdict), verdict.outcome) == ("abandoned", Outcome.DOWNLOAD_FAILED)


def test_a_416_behind_the_last_part_leaves_the_file_complete():
    one = tale().asks(206, part=(0, SIZE, SIZE)).ends("server", "complete", SIZE)
    one.wait(0.2).asks(416, 30, again=True).ends("server", "complete", 30, announced=30, page=True)
    assert word(back(one)) == "complete"


def test_a_416_in_place_of_the_rest_is_refused():
    one = tale("ranges how=refused").asks().wait(1).gets(HALF).ends("device", "fin", HALF).wait(1)
    one.asks(416, 30, again=True).fault("ranges how=refused", at=0)
    verdict = back(one.ends("server", "complete", 30, announced=30, page=True))
    assert (word(verdict), verdict.outcome) == ("refused", Outcome.DOWNLOAD_FAILED)


def test_a_rest_asked_for_after_a_reset_is_complete_and_may_be_new():
    one = tale("vanish after=50%").asks().wait(1).gets(HALF).fault("vanish after=50%").wait(3)
    one.boots("old", code=1, by="test").wait(5).logs_in().wait(1).offered()
    one.asks(206, part=(HALF, SIZE, SIZE)).wait(2)
    one.ends("server", "complete", HALF, announced=HALF).lands("new").comes_back("new").over()
    verdict = one.flash("app1").judged()
    assert [d.ended for d in verdict.downloads] == ["stalled", "complete"]
    assert verdict.outcome is Outcome.UPGRADED


# Statuses and pages


@pytest.mark.parametrize("count", [1, 3])
def test_1xx_before_the_answer_are_not_the_answer(count):
    one = tale("early code=100").requests()
    for _ in range(count):
        one._deliver("response", status=100, announced=0)
    one.fault("early code=100", at=0)._deliver("response", status=200, announced=SIZE)
    verdict = back(one.wait(1).gets(SIZE).ends("server", "complete", SIZE))
    assert (verdict.downloads[0].status, word(verdict)) == (200, "complete")


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_without_a_body_is_refused(status):
    text = f"status code={status}"
    one = tale(text).asks(status, 0).fault(text, at=0).wait(0.2)
    verdict = back(one.ends("server", "complete", 0, announced=0, page=True))
    assert (word(verdict), verdict.outcome) == ("refused", Outcome.DOWNLOAD_FAILED)


@pytest.mark.parametrize(("by", "how", "acked"), [("server", "complete", 40), ("device", "rst", 0)])
def test_a_page_with_200_is_complete_and_rejected_however_much_of_it_was_acknowledged(
    by, how, acked
):
    one = tale("page").asks(200, 40, page=True).fault("page", at=0).wait(0.2)
    verdict = back(one.ends(by, how, acked, 40, announced=40, page=True))
    assert (word(verdict), verdict.outcome) == ("complete", Outcome.REJECTED)


def test_a_page_is_no_new_firmware_whoever_reports_it():
    one = tale("page", flash=False).asks(200, 40, page=True).fault("page", at=0).wait(0.2)
    one.ends("server", "complete", 40, announced=40, page=True).wait(10).boots("old").wait(5)
    verdict = one.logs_in("2.0.0").wait(12).over().judged()
    assert verdict.outcome is Outcome.MISREPORTED


def test_the_file_under_a_status_that_some_devices_do_not_look_at_may_be_new():
    text = "status code=404 body=file"
    one = quiet(text).asks(404, SIZE, page=False).fault(text, at=0).wait(2).gets(SIZE)
    assert believed(one.ends("server", "complete", SIZE)).outcome is Outcome.UPGRADED


def test_the_file_under_a_2xx_that_is_not_200_is_complete():
    text = "status code=206 body=file"
    one = tale(text).asks(206, SIZE, page=False).fault(text, at=0).wait(2).gets(SIZE)
    verdict = back(one.ends("server", "complete", SIZE))
    assert (word(verdict), verdict.outcome) == ("complete", Outcome.REJECTED)


def test_a_url_that_has_expired_is_refused():
    one = tale().asks(403, 30).ends("server", "complete", 30, announced=30, page=True)
    verdict = back(one)
    assert (word(verdict), verdict.outcome) == ("refused", Outcome.DOWNLOAD_FAILED)


def test_a_second_request_at_a_url_that_is_used_up_hides_no_file_that_came_before():
    one = quiet().asks().wait(2).gets(SIZE).ends("server", "complete", SIZE).wait(0.5)
    one.asks(403, 30, again=True).ends("server", "complete", 30, announced=30, page=True)
    assert believed(one).outcome is Outcome.UPGRADED


def third_in_app1(*texts: str) -> Tale:
    """An offer on a board whose other slot holds an image of its own."""
    images = {"old": image("1.0.0"), "new": image("2.0.0"), "third-1": image("0.9.0")}
    faults = tuple(planned(text) for text in texts)
    slots = {"app0": "old", "app1": "third-1"}
    return Tale(op="offer", faults=faults, info=True, images=images, slots=slots).offered()


@pytest.mark.parametrize("text", ["scramble at=0", "digest how=short", "encoding name=gzip"])
def test_what_came_whole_but_spoiled_may_have_been_refused_before_a_byte_was_written(text):
    one = third_in_app1(text).asks().fault(text, at=0).wait(2).gets(SIZE)
    one.ends("server", "complete", SIZE).wait(10).boots("third-1", info=False)
    one.wait(0.3).add("uart", "slot", offset=0x150000).wait(5).logs_in().wait(12).over()
    assert "REVERTED" in one.undecided().candidates


def test_a_healthy_file_that_came_whole_is_in_the_other_slot():
    one = third_in_app1().downloads().boots("new", info=False)
    one.wait(0.3).add("uart", "slot", offset=0x150000).wait(5).logs_in().wait(12).over()
    assert one.judged().outcome is Outcome.UPGRADED


def test_another_file_in_its_place_may_be_any_image():
    one = tale("other path=x").asks().fault("other path=x", at=0).wait(2).gets(SIZE)
    one.ends("server", "complete", SIZE).wait(1).lands("new").boots("new", info=False)
    one.wait(0.3).add("uart", "slot", offset=0x150000).wait(5).logs_in("").wait(12).over()
    assert set(one.undecided().candidates) >= {"NOT_REPORTED", "REVERTED"}


def test_a_rest_whose_last_acknowledgement_was_lost_may_have_made_new_whole():
    one = quiet("vanish after=50%").asks().wait(1).gets(HALF).fault("vanish after=50%").wait(3)
    one.boots("old", code=1, by="test").wait(5).logs_in().wait(1).offered()
    one.asks(206, part=(HALF, SIZE, SIZE)).wait(2).gets(HALF - 99, HALF)
    one.ends("device", "rst", HALF - 99, HALF, announced=HALF)
    assert believed(one).outcome is Outcome.UPGRADED


def test_what_is_no_http_is_refused_and_has_no_status():
    one = tale("garbage bytes=64").asks(0, None, page=True).fault("garbage bytes=64", at=0)
    verdict = back(one.ends("server", "complete", 64, announced=None, page=True))
    assert (word(verdict), verdict.downloads[0].status) == ("refused", None)
    assert "HTTP" not in reasons(verdict)


# The server's ways to leave


@pytest.mark.parametrize("text", ["half_close after=50%", "truncate after=50%"])
def test_who_was_the_last_to_close_does_not_matter_where_the_server_was_the_first(text):
    one = tale(text).asks().wait(1).gets(HALF).fault(text).wait(1)
    verdict = back(one.ends("device", "fin", HALF))
    assert (word(verdict), verdict.outcome) == ("cut", Outcome.DOWNLOAD_FAILED)


def test_a_server_that_vanished_stalls_the_download_though_its_fault_is_over():
    one = tale("vanish after=50%").asks().wait(1).gets(HALF).fault("vanish after=50%").wait(30)
    one.fault("vanish after=50%", phase="over").ends("server", "vanish", HALF)
    verdict = back(one)
    assert (word(verdict), verdict.outcome) == ("stalled", Outcome.STALLED)


def test_a_server_that_vanished_stalls_a_device_that_only_a_reset_ends():
    one = tale("vanish after=50%").asks().wait(1).gets(HALF).fault("vanish after=50%").wait(20)
    assert word(back(one)) == "stalled"


SILENCES = ["latency seconds=60", "slow_headers bytes_per_s=1", "split_headers at=in-length"]


@pytest.mark.parametrize("text", [*SILENCES, "drip bytes_per_s=1", "stall after=request"])
def test_a_device_that_leaves_under_a_silence_was_stalled(text):
    one = tale(text).requests().fault(text, at=0).wait(30)
    one.ends("device", "fin", 0, announced=SIZE).fault(text, phase="over")
    verdict = back(one)
    assert (word(verdict), verdict.outcome) == ("stalled", Outcome.STALLED)


@pytest.mark.parametrize("text", SILENCES)
def test_a_silence_that_was_over_stalls_nothing(text):
    one = tale(text).requests().fault(text, at=0).wait(3).fault(text, phase="over")
    one._deliver("response", status=200, announced=SIZE).gets(HALF)
    verdict = back(one.ends("device", "fin", HALF))
    assert (word(verdict), verdict.outcome) == ("abandoned", Outcome.DOWNLOAD_FAILED)


def test_a_slow_line_that_the_device_leaves_is_no_stall():
    text = "bandwidth bytes_per_s=2048"
    one = tale(text).asks().fault(text, at=0).wait(5).gets(HALF)
    assert word(back(one.ends("device", "fin", HALF))) == "abandoned"


def test_an_rst_before_the_status_line_is_a_cut():
    one = tale("reset after=request").requests().fault("reset after=request", at=0)
    verdict = back(one.ends("server", "rst", 0, announced=SIZE))
    assert (word(verdict), verdict.outcome) == ("cut", Outcome.DOWNLOAD_FAILED)


def test_a_missing_end_of_tls_after_the_whole_file_is_complete():
    text = "tls how=no-close-notify"
    one = tale(text).asks().wait(2).gets(SIZE).fault(text)
    assert word(back(one.ends("server", "no-close-notify", SIZE))) == "complete"


# A device that takes nothing


def lying(*, flying: bool | None, stays: bool = False) -> Tale:
    """A refused answer that the device leaves lying: it closes nothing, and takes no more of it."""
    text = "digest how=missing"
    one = tale(text, stays=stays).asks().fault(text, at=0).wait(0.5)
    more = {} if flying is None else {"in_flight": flying}
    one._deliver("progress", written=9000, acked=5000, **more)
    return one._deliver("progress", written=20_000, acked=8000, **more)


@pytest.mark.parametrize(
    ("flying", "ended"), [(False, "cut"), (True, "stalled"), (None, "stalled")]
)
def test_what_the_device_does_not_take_is_not_in_flight(flying, ended):
    verdict = back(lying(flying=flying))
    assert word(verdict) == ended
    assert names(verdict) == set()  # its restart is no surprise


def test_a_refusal_is_one_however_much_of_its_body_lies_about():
    text = "status code=404 body=file"
    one = tale(text).asks(404).fault(text, at=0)
    verdict = back(one._deliver("progress", written=9000, acked=5000, in_flight=False))
    assert (word(verdict), verdict.outcome) == ("refused", Outcome.DOWNLOAD_FAILED)


def test_what_is_in_flight_after_it_was_not_waits_from_then_on():
    one = (
        lying(flying=False).wait(9)._deliver("progress", written=20_000, acked=8000, in_flight=True)
    )
    assert word(back(one, 2)) == "cut"


def test_an_answer_left_lying_by_a_device_that_is_there_is_a_hang():
    verdict = lying(flying=False, stays=True).wait(60).over().judged()
    assert (word(verdict), names(verdict)) == ("open", {"hang"})


def test_the_restart_of_a_device_that_does_not_close_behind_us_is_expected():
    one = tale("half_close after=50%").asks().wait(1).gets(HALF).fault("half_close after=50%")
    assert names(back(one, 40)) == set()


# Before HTTP


# Faults that fired, and faults that did not


@pytest.mark.parametrize(("bytes_each", "found"), [(20, set()), (0, {"hang"})])
def test_a_head_that_trickles_in_moves_though_no_byte_of_the_body_does(bytes_each, found):
    text = "slow_headers bytes_per_s=2"
    one = tale(text, stays=True).asks().fault(text, at=0)
    for count in range(1, 7):
        one.wait(10)._deliver("progress", written=0, acked=0, wire=count * bytes_each)
    verdict = one.over().judged()
    assert (word(verdict), names(verdict)) == ("open", found)


def test_the_watch_waits_for_a_head_that_trickles_in():
    one = tale("slow_headers bytes_per_s=2", stays=True).asks()
    for count in range(1, 7):
        one.wait(10)._deliver("progress", written=0, acked=0, wire=count * 20)
    assert not watch(one.events, one.events[-1].t).over
