"""What an operation knows when it begins."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.ota import Ota, otadata_known
from pytest_blynk_ota.restore import settled_since, turned_away

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


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"timeout": -1}, {"download_limit": 0}])
def test_a_number_that_makes_no_operation_is_refused_by_name(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is .*, got"):
        Ota(None, None, None, Path(), print).ship(**wrong)


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
