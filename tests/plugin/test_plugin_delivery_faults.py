"""Faults of the download as a test writes them, in one run on the virtual rig."""

from __future__ import annotations

import json

import pytest

RIG = """
[rig]
name = "lab"
speed = 40

[[board]]
name = "c3"
chip = "esp32c3"
port = "virtual"
power = "virtual"
provision = { kind = "edgent-nvs" }

[delivery]
# The last one lies beyond each file here.
faults = ["latency seconds=0.1 on attempt 1", "status 503 on attempt 9", "stall 15000000"]
"""

TESTS = """
import pytest

from pytest_blynk_ota import AirStatus, Outcome, UsageError, faults


def test_a_row_has_one_fault_for_each_download(ota):
    row = faults.seq(faults.status(503), None, faults.reset("50%"))
    result = ota.ship(
        faults=[row, faults.truncate("last 1").on_attempt(2)], download_limit=4
    )
    assert result.outcome is Outcome.UPGRADED
    told = [(one.fault or "").rpartition("; ")[2].partition(" ")[0] for one in result.downloads]
    assert told == ["status", "truncate", "reset", ""]
    assert result.downloads[0].fault.startswith("latency")  # the rig file's


def test_a_stall_lasts_until_the_test_says_go(ota):
    with ota.offering(faults=[faults.stall("50%").until_event("go")]) as offering:
        offering.wait_for(progress=0.4)
        offering.go()
    assert offering.result.outcome is Outcome.UPGRADED


def test_a_fault_holds_from_an_event_or_until_one(ota):
    first = faults.truncate("50%").until_event("login")
    result = ota.ship(faults=[first, faults.status(503).from_event("login").times(1)])
    assert result.outcome is Outcome.UPGRADED
    assert [one.ended for one in result.downloads] == ["cut", "refused", "complete"]


def test_over_https_a_failed_handshake_costs_one_try(ota):
    result = ota.ship(https=True, faults=[faults.tls("version").on_attempt(1)])
    assert result.outcome is Outcome.UPGRADED
    assert [one.ended for one in result.downloads] == ["refused", "complete"]


def test_a_bad_certificate_that_is_taken_is_seen(ota):
    result = ota.ship(https=True, faults=[faults.tls("expired")])
    assert result.outcome is Outcome.UPGRADED  # old Edgent takes any certificate
    assert result.downloads[0].fault.startswith("tls how=expired;")


def test_a_record_that_breaks_is_a_failed_download(ota):
    result = ota.offer(https=True, faults=[faults.tls("bad-record")])
    assert result.outcome is Outcome.DOWNLOAD_FAILED


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_server_that_cannot_be_reached_starts_nothing(ota, how):
    result = ota.offer(faults=[faults.unreachable(how)])
    assert result.outcome is Outcome.NOT_STARTED
    assert any("unreachable" in str(reason) for reason in result.reasons)


def test_a_server_that_vanishes_leaves_a_stall(ota):
    assert ota.offer(faults=[faults.vanish("50%")]).outcome is Outcome.STALLED


def test_a_fault_that_may_be_absent_proves_nothing_and_breaks_nothing(ota):
    assert ota.offer(faults=[faults.stall(0).on_attempt(7).maybe()]).outcome is Outcome.UPGRADED


def test_the_device_prints_no_progress_and_the_wait_says_so(ota):
    with pytest.raises(Exception, match="prints no progress"):
        with ota.offering() as offering:
            offering.wait_for(progress=0.5, by="log")


def test_a_tls_fault_of_an_http_url_is_refused(ota):
    with pytest.raises(UsageError, match="needs an https URL"):
        ota.offer(faults=[faults.tls("expired")])


def test_a_fault_that_never_fires_proves_nothing(ota):
    ota.ship(faults=[faults.stall(0).on_attempt(7)])
"""


@pytest.mark.nightly
def test_faults_of_the_download(pytester):
    pytester.makepyfile(TESTS)
    pytester.makefile(".toml", lab=RIG)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--rig", "lab.toml")
    result.assert_outcomes(passed=12, errors=1)
    result.stdout.fnmatch_lines(["*the fault 'stall after=0 on attempt 7' never fired*"])
    (told,) = pytester.path.glob(".blynk-ota/runs/*/run.json")
    assert json.loads(told.read_text("utf-8"))["result"] == "rig"
