"""A failed assert about a result says what was expected and what came."""

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_blynk_ota.air import AirStatus
from pytest_blynk_ota.result import Result
from pytest_blynk_ota.terminal.explain import said
from pytest_blynk_ota.verdict import Outcome
from pytest_blynk_ota.verdict.outcome import Download, Finding, Verdict

FINDING = Finding("crash", "error", "it crashed", ())
GET = Download(1, "o1", 1, "refused", 404, 14, 14, 14, None, 0.1)
VERDICT = Verdict(
    Outcome.DOWNLOAD_FAILED,
    AirStatus.UPLOAD_FAILURE,
    findings=(FINDING,),
    running="1.0.0",
    downloads=(GET,),
)


@pytest.fixture
def result() -> Result:
    return Result(1, VERDICT, Path("evidence"))


def of(check, result, newest=None):
    with pytest.raises(AssertionError) as caught:
        check(result)
    return said(caught.value, newest)


def is_upgraded(result):
    assert result.outcome is Outcome.UPGRADED


def equals_upgraded(result):
    assert Outcome.UPGRADED == result.outcome  # noqa: SIM300 - either side may come first


def in_two(result):
    assert result.outcome in (Outcome.UPGRADED, Outcome.STALLED)


def air(result):
    assert result.air_status is AirStatus.SUCCESS


def no_findings(result):
    assert not result.findings


def running(result):
    assert result.running == "2.0.0"


def downloads(result):
    assert len(result.downloads) == 2


def stalled(result):
    assert result.downloads[0].ended == "stalled"


def both(result):
    assert result.running == "1.0.0" and result.air_status is AirStatus.SUCCESS  # noqa: PT018


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (is_upgraded, "expected UPGRADED, got DOWNLOAD_FAILED"),
        (equals_upgraded, "expected UPGRADED, got DOWNLOAD_FAILED"),
        (in_two, "expected one of UPGRADED, STALLED, got DOWNLOAD_FAILED"),
        (air, f"expected {AirStatus.SUCCESS}, got {AirStatus.UPLOAD_FAILURE}"),
        (no_findings, f"result.findings: expected none, got 1:\n  {FINDING}"),
        (running, "result.running: expected '2.0.0', got '1.0.0'"),
        (downloads, "len(result.downloads): expected 2, got 1"),
        (stalled, "result.downloads[0].ended: expected 'stalled', got 'refused'"),
        (both, f"expected {AirStatus.SUCCESS}, got {AirStatus.UPLOAD_FAILURE}"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_failed_assert_says_what_was_expected_and_what_came(check, words, result):
    told = of(check, result)
    assert told.text == words
    assert told.result is result


def test_an_operation_is_not_run_again_to_explain_it(result):
    calls = []

    class Ota:
        def ship(self):
            calls.append(1)
            return result

    def check(_):
        ota = Ota()
        assert ota.ship().outcome is Outcome.UPGRADED

    assert of(check, result, result).text == "expected UPGRADED, got DOWNLOAD_FAILED"
    assert calls == [1]


def test_an_assert_about_something_else_is_left_to_pytest(result):
    def other(_):
        assert len([1]) == 2

    def unknown(given):
        assert given.verdict.outcome.name.startswith("UP")

    assert of(other, result) is None
    assert of(unknown, result) is None


@pytest.mark.parametrize(
    ("count", "lines"),
    [
        (3, ["crash: 1", "crash: 2", "crash: 3"]),
        (4, ["crash: 1", "crash: 2", "crash: 3", "and 1 more crash, the last: 4"]),
        (699, ["crash: 1", "crash: 2", "crash: 3", "and 696 more crashes, the last: 699"]),
    ],
)
def test_a_boot_loop_does_not_bury_the_story_under_its_crashes(count, lines):
    verdict = replace(
        VERDICT, findings=(), crashes=tuple(str(number + 1) for number in range(count))
    )
    told = [line.strip() for line in str(verdict).splitlines()]
    assert [line for line in told if "crash" in line] == lines
