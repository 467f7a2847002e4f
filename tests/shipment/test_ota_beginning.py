"""What an operation knows when it begins."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_blynk_ota import cloud_faults, faults
from pytest_blynk_ota.beginning import (
    default_deadline_s,
    otadata_known,
    planned,
    written_since,
)
from pytest_blynk_ota.errors import FaultError, UsageError
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.ota import Ota
from pytest_blynk_ota.restore import heard_from, settled_since, turned_away
from pytest_blynk_ota.rig.config import DeliverySection
from pytest_blynk_ota.rig.profiles import DEFAULT

RESTORED = Event(1, 0.0, 0.0, "ota", "restored", "a", {"otadata": ["01", "ff"]})
REQUEST = Event(2, 0.0, 0.0, "delivery", "request", "a", {})


def read(running, would_boot):
    data = {"otadata": ["01", "02"], "running": running, "would_boot": would_boot}
    return Event(3, 0.0, 0.0, "flash", "read", "a", data)


def test_otadata_is_known_until_a_download_begins():
    assert otadata_known([RESTORED], "a") == ["01", "ff"]
    assert otadata_known([RESTORED, REQUEST], "a") is None
    assert otadata_known([RESTORED, REQUEST], "b") is None


def test_otadata_is_known_again_after_a_read_that_changed_nothing():
    assert otadata_known([RESTORED, REQUEST, read("app1", "app1")], "a") == ["01", "02"]


def test_a_read_whose_reset_gives_an_image_up_leaves_otadata_unknown():
    assert otadata_known([RESTORED, REQUEST, read("app1", "app0")], "a") is None


WRITE = Event(4, 0.0, 0.0, "test", "action", "a", {"what": "flash.write", "spans": [[0xE000, 32]]})


def test_what_the_test_wrote_is_known_until_the_next_restore_and_otadata_is_not():
    assert otadata_known([RESTORED, WRITE], "a") is None
    assert written_since([RESTORED, WRITE], "a") == [[0xE000, 32]]
    assert written_since([RESTORED, WRITE], "b") == []
    assert written_since([WRITE, RESTORED], "a") == []


def test_a_board_that_comes_and_goes_is_told_each_version_once():
    reports = [
        Event(4, 0.0, 0.0, "cloud", "report", "a", {"version": version, "build": "Nov 2"})
        for version in ("1.0.0", "1.0.1")
    ]
    assert heard_from(reports[:1], "a") == "reported 1.0.0 (built Nov 2)"
    assert heard_from(reports[:1] * 800 + reports[1:], "a") == (
        "reported 1.0.0 (built Nov 2) 800 times, 1.0.1 (built Nov 2)"
    )
    assert heard_from(reports, "b") == "did not log in"


BOARD = SimpleNamespace(name="c3-a")


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"timeout": -1}, {"download_limit": 0}])
def test_a_number_that_makes_no_operation_is_refused_by_name(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is .*, got"):
        Ota(None, BOARD, None, Path(), print).ship(**wrong)


@pytest.mark.parametrize(
    ("fault", "attempts", "sure"),
    [
        (faults.stall(0), None, True),
        (faults.stall(0).on_attempt(2), [2], True),
        (faults.stall(0).on_first(2), [1, 2], True),
        (faults.stall(0).on_every(3), None, False),
        (faults.stall(0).on_board("a", "b"), None, True),
        (faults.stall(0).on_board("b"), None, False),
        (faults.stall(0).times(1), None, False),
        (faults.stall(0).by_chance(0.5), None, False),
        (faults.stall(0).from_event("go"), None, False),
    ],
)
def test_the_judge_is_told_where_a_fault_has_to_fire(fault, attempts, sure):
    told = planned(fault, "a")
    assert (told["attempts"], told["sure"], told["maybe"]) == (attempts, sure, False)
    assert (told["kind"], told["text"]) == ("stall", str(fault))


def test_the_judge_is_told_of_a_fault_that_may_never_fire():
    assert planned(faults.stall(0).maybe(), "a")["maybe"] is True


def test_the_deadline_allows_for_each_download_under_a_fault_that_slows_it_down():
    plain, slow = (
        default_deadline_s(DEFAULT, 100_000, 3, listed)
        for listed in ([], [faults.latency(20), faults.stall(0, seconds=10)])
    )
    assert slow - plain == 3 * 30


OLD = SimpleNamespace(version="1.0.0", build="b")


def login_and_reset(reset_t, code, *more):
    rows = [
        (2.0, "rig", "reset", {"by": "rig", "mode": "run"}),
        (2.1, "cloud", "connected", {"session": 7, "peer": "p"}),
        (2.1, "cloud", "login", {"session": 7}),
        (2.1, "cloud", "report", {"session": 7, "version": "1.0.0", "build": "b"}),
        (reset_t, "uart", "reset", {"code": code, "cause": "x", "download": False}),
        *more,
    ]
    events = [Event(n, t, t, *what, "a", data) for n, (t, *what, data) in enumerate(rows, 1)]
    return settled_since(events, "a", OLD, 0.05)


def test_the_banner_of_our_own_reset_may_be_read_after_the_login():
    assert login_and_reset(2.12, 0x1) == 2.1


def test_a_reset_after_the_login_ends_it():
    assert login_and_reset(2.5, 0xC) is None


def test_a_reset_read_right_after_a_login_that_goes_on_was_before_it():
    heard = (4.0, "cloud", "heard", {"session": 7, "what": "PING"})
    assert login_and_reset(2.12, 0xC) is None
    assert login_and_reset(2.12, 0xC, heard) == 2.1


BEHIND_A_RELAY = SimpleNamespace(
    name="lab",
    config=SimpleNamespace(
        cloud=SimpleNamespace(relay="blynk.example:80"), delivery=DeliverySection()
    ),
)


@pytest.mark.parametrize("make", ["ship", "offer"])
def test_a_fault_that_cannot_hold_behind_a_relay_is_refused_before_anything_begins(make):
    ota = Ota(BEHIND_A_RELAY, BOARD, None, Path(), print)
    with pytest.raises(FaultError, match="slow: behind a relay"):
        getattr(ota, make)(faults=[cloud_faults.slow(3)])


def test_an_update_of_the_other_server_takes_no_faults_of_the_cloud():
    ota = Ota(BEHIND_A_RELAY, BOARD, None, Path(), print)
    with pytest.raises(FaultError, match="the other server makes the offers"):
        ota.relayed(faults=[cloud_faults.drop()])


def test_connections_that_the_cloud_ended_before_their_login_are_told_once_with_the_reason():
    def seen(session, kind, board, **data):
        return Event(session, 0.0, 0.0, "cloud", kind, board, {"session": session, **data})

    events = [
        seen(1, "closed", None, by="server", why="login refused"),
        seen(2, "closed", None, by="device", why="gone"),
        seen(3, "closed", None, by="server", why="login refused"),
        seen(4, "login", "a"),
        seen(4, "closed", "a", by="server", why="silent for too long"),
        seen(5, "closed", "b", by="server", why="another board"),
        seen(6, "closed", "a", by="server", why="the relayed server is not to be reached"),
    ]
    assert turned_away(events, "a") == "login refused, the relayed server is not to be reached"
