"""What is learned from the evidence of a probe."""

from __future__ import annotations

import tomllib

import pytest

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.learn import ways
from pytest_blynk_ota.learn.ways import Probe
from pytest_blynk_ota.rig.ways import profile_of
from pytest_blynk_ota.verdict import Outcome

SPEED = 10.0


def probe(*seen: tuple[float, str, str, dict], outcome: Outcome = Outcome.UPGRADED) -> Probe:
    """Events at these device seconds."""
    events = [
        Event(t=t / SPEED, wall=0.0, source=source, kind=kind, board="a", data=data, seq=seq)
        for seq, (t, source, kind, data) in enumerate(seen, 1)
    ]
    return Probe(outcome, events, SPEED)


def test_times_of_a_clean_update_are_limits_with_room_in_device_seconds():
    found = dict(
        ways.of_clean_update(
            probe(
                (10, "cloud", "ota_sent", {}),
                (12, "delivery", "request", {}),
                (30, "delivery", "ended", {"by": "server"}),
                (34, "uart", "reset", {}),
                (40, "cloud", "login", {}),
            )
        )
    )
    assert found == {"request_s": 4, "apply_s": 7, "boot_s": 10, "prints_progress": False}


def test_what_was_never_seen_is_not_learned():
    assert dict(ways.of_clean_update(probe((1, "cloud", "ota_sent", {})))) == {
        "prints_progress": False
    }
    assert dict(ways.of_stall(probe((1, "delivery", "fault", {"phase": "fired"})))) == {}


@pytest.mark.parametrize(
    ("after", "tries", "restart"),
    [
        ([(9, "uart", "reset", {})], 1, 13),
        ([], 1, 0),
        (
            [
                (3, "delivery", "request", {}),
                (4, "delivery", "ended", {}),
                (8, "uart", "reset", {}),
                (20, "delivery", "request", {}),
            ],
            2,
            7,
        ),
    ],
)
def test_a_refused_download_is_tried_again_or_restarted_after(after, tries, restart):
    seen = [(0, "delivery", "request", {}), (1, "delivery", "ended", {}), *after]
    assert dict(ways.of_refused_download(probe(*seen))) == {
        "tries": tries,
        "error_restart_s": restart,
    }


def test_the_stall_limit_is_counted_from_the_stall_to_the_device_that_leaves():
    seen = [
        (5, "delivery", "fault", {"phase": "fired"}),
        (35, "delivery", "ended", {"by": "device"}),
    ]
    assert dict(ways.of_stall(probe(*seen))) == {"stall_s": 46}


@pytest.mark.parametrize(
    ("outcome", "found"),
    [
        (Outcome.REVERTED, {"rollback": True}),
        (Outcome.ROLLED_BACK, {"rollback": True}),
        (Outcome.BOOT_LOOP, {"rollback": False}),
        (Outcome.REJECTED, {}),
    ],
)
def test_a_crash_says_whether_there_is_rollback_unless_the_image_was_refused(outcome, found):
    assert dict(ways.of_crash(probe(outcome=outcome))) == found


def test_a_digest_counts_where_a_wrong_one_is_refused_and_is_needed_where_none_is():
    good, bad = probe(), probe(outcome=Outcome.REJECTED)
    assert dict(ways.of_digests({"x-md5": good, "x-sha256": bad}, bad)) == {
        "digests": ["x-sha256"],
        "digest_needed": True,
    }
    assert dict(ways.of_digests({"x-md5": good}, bad)) == {"digests": [], "digest_needed": False}


def test_what_is_learned_can_stand_in_a_rig_file():
    found = {"stall_s": 46.0, "rollback": False, "digests": ["x-md5"], "tries": 3}
    text = ways.line("edgent-new", found)
    made = profile_of(tomllib.loads(text)["profile"])
    assert (made.stall_s, made.rollback, made.digests, made.tries) == (46, False, ("x-md5",), 3)
    assert made.fixture == "edgent-new"


def test_missing_protections_are_said_and_none_where_there_are_all():
    none = {"rollback": False, "digests": []}
    assert [text.split(":")[0] for text in ways.weaknesses(none)] == [
        "no rollback",
        "no limit on a stall",
        "no digest header is looked at",
    ]
    assert not list(ways.weaknesses({"rollback": True, "stall_s": 46, "digests": ["x-md5"]}))
