"""Moments that a test can wait for."""

import pytest

from pytest_blynk_ota.air import AirStatus
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.moments import moment


def delivery(kind, **data):
    return Event(1, 0.0, 0.0, "delivery", kind, "a", {"attempt": 1, **data})


def reached(events, **asked):
    """The kind of the event that is the moment; None if none is."""
    _, found = moment(**{"progress": None, "log": None, "report": None, "download": None} | asked)
    return next((event.kind for event in events if found(event)), None)


DOWNLOAD = [
    delivery("request", method="GET"),
    delivery("response", status=200, announced=1000),
    delivery("progress", written=700, acked=590),
    delivery("progress", written=990, acked=990),
    delivery("ended", written=1000, acked=1000, how="complete"),
]


def test_progress_counts_what_the_device_acknowledged():
    assert reached(DOWNLOAD, progress=0.5) == "progress"
    assert reached(DOWNLOAD[:3], progress=0.6) is None


def test_the_last_byte_is_seen_at_the_end_of_the_download():
    assert reached(DOWNLOAD, progress=1.0) == "ended"


def test_the_page_of_a_refusal_is_no_progress():
    refusal = [
        delivery("response", status=503, announced=23),
        delivery("progress", written=23, acked=23),
        delivery("ended", written=23, acked=23, how="complete"),
    ]
    assert reached(refusal, progress=0.1) is None


def test_progress_of_another_download_does_not_count():
    assert reached(DOWNLOAD, progress=0.5, download=2) is None


def answer(acked, *, status=200, announced=1000, **more):
    """An answer of which so much was acknowledged."""
    return [
        delivery("request", method="GET"),
        delivery("response", status=status, announced=announced, **more),
        delivery("progress", written=acked, acked=acked),
    ]


@pytest.mark.parametrize("announced", [None, 5_000_000_000])
def test_where_the_answer_does_not_tell_its_length_progress_counts_in_the_file(announced):
    assert reached(answer(600, announced=announced), progress=0.6, size=1000) == "progress"
    assert reached(answer(599, announced=announced), progress=0.6, size=1000) is None


def test_a_page_with_200_is_no_progress():
    assert reached(answer(40, announced=40, page=True), progress=0.1, size=1000) is None


def test_the_rest_of_a_file_counts_what_lies_before_it():
    rest = answer(99, status=206, announced=500, part=[500, 1000, 1000])
    assert reached(rest, progress=0.6, size=1000) is None
    more = answer(100, status=206, announced=500, part=[500, 1000, 1000])
    assert reached(more, progress=0.6, size=1000) == "progress"


def test_behind_a_redirect_the_file_counts():
    both = [*answer(20, status=302, announced=20, page=True), *answer(600)]
    assert reached(both, progress=0.6, size=1000) == "progress"
    assert reached(both[:-1], progress=0.6, size=1000) is None


def printed(percent):
    data = {"what": "progress", "text": "", "percent": percent}
    return Event(1, 0.0, 0.0, "uart", "firmware", "a", data)


def test_by_the_log_progress_is_what_the_device_prints():
    assert reached([*DOWNLOAD, printed(59)], progress=0.6, by="log") is None
    assert reached([*DOWNLOAD, printed(60)], progress=0.6, by="log") == "firmware"


def test_by_the_log_a_print_belongs_to_the_download_that_was_asked_for_last():
    second = Event(1, 0.0, 0.0, "delivery", "request", "a", {"attempt": 2})
    events = [*DOWNLOAD, printed(60)]
    assert reached(events, progress=0.6, by="log", download=2) is None
    assert reached([*events, second], progress=0.6, by="log", download=2) is None
    assert reached([*events, second, printed(60)], progress=0.6, by="log", download=2) == "firmware"
    assert reached([printed(60)], progress=0.6, by="log") is None


def test_an_air_status_is_waited_for_by_its_name():
    events = [
        Event(1, 0.0, 0.0, "ota", "operation", "a", {"images": {}, "offered": "new", "limit": 3}),
        Event(2, 0.0, 0.0, "cloud", "ota_sent", "a", {"session": 1}),
        delivery("request", method="GET", conn=1),
    ]
    assert reached(events, air_status=AirStatus.REQUEST_SENT) == "ota_sent"
    assert reached(events, air_status="New Firmware Requested") == "request"
    assert reached(events, air_status=AirStatus.DOWNLOADED) is None


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"air_status": AirStatus.SUCCESS, "report": "1.0.0"},
        {"progress": 0.5, "log": "x"},
        {"progress": 0},
        {"progress": 60},
        {"log": "x", "download": 1},
        {"log": "x", "by": "log"},
        {"progress": 0.5, "by": "luck"},
    ],
)
def test_a_moment_that_says_nothing_clear_is_refused(asked):
    with pytest.raises(ValueError, match="progress"):
        reached([], **asked)
