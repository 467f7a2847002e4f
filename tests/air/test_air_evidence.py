"""The machine on evidence: what of a timeline counts, and what does not."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from air_device import NEW, OLD

from pytest_blynk_ota.air import AirRules, AirStatus, air_history, air_status
from pytest_blynk_ota.air.follow import Follower, followed
from pytest_blynk_ota.evidence.event import Event, parse_events

S = AirStatus
RECORDED = sorted((Path(__file__).parents[1] / "data" / "timelines").glob("*.jsonl.gz"))


class Evidence:
    """A timeline by hand, one second an event."""

    def __init__(self, **rules: Any) -> None:
        self.events: list[Event] = []
        air = AirRules(**rules)
        self.add(
            "ota", "operation", op="ship", limit=air.download_limit, air=air.to_data(),
            running="old", offered="new",
            images={"old": {"version": OLD.version}, "new": {"version": NEW.version}},
        )  # fmt: skip

    def add(self, source: str, kind: str, **data: Any) -> Evidence:
        t = float(len(self.events))
        self.events.append(Event(len(self.events) + 1, t, t, source, kind, "a", data))
        return self

    def asked(self, method: str = "GET", conn: int = 1) -> Evidence:
        return self.add("delivery", "request", method=method, conn=conn, attempt=1)

    def ended(self, how: str, conn: int = 1, **more: Any) -> Evidence:
        return self.add("delivery", "ended", how=how, conn=conn, announced=100, **more)

    def reported(self, version: str) -> Evidence:
        return self.add("cloud", "report", session=2, version=version, build="", fw_type="")


def test_the_statuses_are_told_in_their_order():
    evidence = Evidence().add("cloud", "ota_sent", session=1).asked().ended("complete")
    evidence.reported(NEW.version).reported(OLD.version)
    assert air_history(evidence.events) == (
        S.STARTED, S.REQUEST_SENT, S.REQUESTED, S.DOWNLOADED, S.SUCCESS, S.ROLLBACK,
    )  # fmt: skip


def test_what_ran_before_is_known_from_the_operation():
    whole = Evidence().asked().ended("complete")
    assert air_status(whole.reported("9.9.9").events) is S.VERSION_MISMATCH
    back = Evidence().asked().ended("complete").reported(OLD.version)
    assert air_status(back.events) is S.DOWNLOADED


def test_a_whole_file_of_which_the_headers_announced_more_was_sent():
    assert air_status(Evidence().asked().ended("short", acked=90).events) is S.DOWNLOADED


def test_progress_that_says_the_same_again_is_silence():
    evidence = Evidence(upload_failure_after_s=3).asked()
    for _ in range(5):
        evidence.add("delivery", "progress", conn=1, written=50, acked=50)
    assert air_status(evidence.events) is S.UPLOAD_FAILURE


def test_progress_is_no_silence():
    evidence = Evidence(upload_failure_after_s=3).asked()
    for acked in range(5):
        evidence.add("delivery", "progress", conn=1, written=50, acked=acked)
    assert air_status(evidence.events) is S.REQUESTED


@pytest.mark.parametrize(("method", "status"), [("GET", S.UPLOAD_FAILURE), ("HEAD", S.REQUESTED)])
def test_only_a_get_can_break_off(method, status):
    evidence = Evidence(upload_failure_on_break=True).asked().asked(method, conn=2)
    assert air_status(evidence.ended("fin", conn=2).events) is status


def broken_off(**more: Any) -> AirStatus:
    """A GET and its answer, by rules under which a broken transfer is a failure."""
    return air_status(
        Evidence(upload_failure_on_break=True).asked().ended("complete", **more).events
    )


def test_a_redirect_and_a_first_part_are_neither_the_file_nor_a_failure():
    assert broken_off(status=302, page=True) is S.REQUESTED
    assert broken_off(status=206, part=[0, 100, 200]) is S.REQUESTED


def test_the_last_part_is_the_file():
    assert broken_off(status=206, part=[100, 200, 200]) is S.DOWNLOADED


def test_a_304_is_no_redirect():
    assert broken_off(status=304, page=True) is S.UPLOAD_FAILURE


def test_what_is_of_another_board_does_not_count():
    evidence = Evidence().asked()
    other = Event(9, 9.0, 9.0, "delivery", "ended", "b", {"how": "complete", "conn": 1})
    assert air_status([*evidence.events, other]) is S.REQUESTED


def test_evidence_of_before_there_were_rules_is_read_by_its_limit_alone():
    """No mismatch then: the same bundle gives the same verdict."""
    evidence = Evidence().asked().ended("complete").reported("9.9.9")
    begin = evidence.events[0]
    data = {key: value for key, value in begin.data.items() if key != "air"} | {"limit": 1}
    old = Event(begin.seq, begin.t, begin.wall, begin.source, begin.kind, begin.board, data)
    assert air_status([old, *evidence.events[1:]]) is S.DOWNLOAD_LIMIT_REACHED


@pytest.mark.parametrize(("acked", "status"), [(100, S.DOWNLOADED), (99, S.REQUESTED)])
def test_a_file_that_came_whole_is_downloaded_however_the_connection_ended(acked, status):
    assert air_status(Evidence().asked().ended("half", acked=acked).events) is status


@pytest.mark.parametrize(("written", "status"), [(5000, S.DOWNLOADED), (100, S.REQUESTED)])
def test_a_reset_by_bytes_left_unread_stands_for_the_last_acknowledgement(written, status):
    evidence = Evidence().asked().ended("rst", by="device", acked=0, written=written)
    assert air_status(evidence.events) is status


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.split(".")[0])
def test_log_lines_in_a_row_let_the_same_time_pass_as_one_by_one(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        events = parse_events(file.read())
    begins = [n for n, event in enumerate(events) if event.kind == "operation"]
    for begin in begins:
        one_by_one = Follower()
        for event in events[begin:]:
            one_by_one.see(event)
        assert vars_of(followed(events[begin:])) == vars_of(one_by_one.shipment)


def vars_of(shipment):
    return {name: value for name, value in vars(shipment).items() if name != "rules"}
