"""The line at the top of a red test: whose fault, when, why."""

import pytest
from report_runs import stalled, verdict

GOT = "assert expected UPGRADED, got {}"
CRASH = (3.2, "uart", "crash", {"what": "panic", "text": "Guru Meditation Error"})


def with_row(row):
    return sorted([*stalled(), row], key=lambda one: one[0])


def without_fault(*more):
    rows = [row for row in stalled() if row[2] != "fault"]
    return sorted([*rows, *more], key=lambda one: one[0])


@pytest.fixture
def fault(run, page):
    def of(word="firmware", **more):
        run.add(word=word, **more)
        return page(run).tests[0].fault

    return of


def test_a_stall_that_the_test_asked_for_had_to_be_borne_by_the_firmware(fault):
    found = fault()
    assert (found.who, found.under, found.decided) == ("firmware", "network", 10)
    assert set(found.events) == {10, 13, 15, 7}
    assert found.line == (
        "The test's fault stall after=50% came at device second 26.0, and the firmware did not get "
        "over it: it gave up at 58.0 and restarted at 60.0; "
        "expected UPGRADED, got STALLED: download 1 ended: stalled"
    )


def test_a_fault_of_an_earlier_download_excuses_nothing(fault):
    again = {"conn": 5, "offer": "o2", "attempt": 2}
    second = (3.2, "delivery", "response", {**again, "status": 200, "announced": 204800})
    found = fault(rows=with_row(second))
    assert (found.who, found.under) == ("network", "")


def test_a_stall_that_nobody_asked_for_is_the_networks(fault):
    found = fault(rows=without_fault())
    assert (found.who, found.under) == ("network", "")
    assert "download 1 ended: stalled" in found.line


def test_a_crash_is_the_firmwares_at_the_second_of_the_crash(fault):
    found = fault(
        message=GOT.format("REVERTED"), verdicts=[verdict("REVERTED")], rows=with_row(CRASH)
    )
    assert (found.who, found.at) == ("firmware", pytest.approx(64.0))
    assert "it crashed: Guru Meditation Error" in found.because


def test_the_chips_words_on_a_crash_bring_no_full_stop_and_no_columns_into_the_sentence(fault):
    told = {"what": "panic", "text": "Core  0 panic'ed. Exception was unhandled."}
    rows = with_row((3.2, "uart", "crash", told))
    found = fault(message=GOT.format("REVERTED"), verdicts=[verdict("REVERTED")], rows=rows)
    assert found.because.startswith("it crashed: Core 0 panic'ed. Exception was unhandled; ")


def test_a_crash_after_the_upgrade_is_told_by_the_finding(fault):
    finding = {"name": "late", "severity": "error", "text": "a reset after the end", "events": [15]}
    message = "the test passed, but there are error findings:"
    found = fault(message=message, verdicts=[verdict("UPGRADED", findings=[finding])])
    assert (found.who, found.at) == ("firmware", pytest.approx(60.0))
    assert found.line.endswith('because of the finding "late": a reset after the end')


@pytest.mark.parametrize(
    ("severity", "who"), [("error", "firmware"), ("warn", "unclear")], ids=lambda value: value
)
def test_an_assert_that_there_are_no_findings_is_told_by_the_error_finding(fault, severity, who):
    finding = {"name": "hang", "severity": severity, "text": "it hangs", "events": [15]}
    message = "result.findings: expected none, got 1: hang: it hangs"
    found = fault(message=message, verdicts=[verdict("UPGRADED", findings=[finding])])
    assert found.who == who


def test_a_crash_in_a_finding_brings_no_full_stop_before_the_semicolon(fault):
    text = "Core  0 panic'ed. Exception was unhandled.; then reset 0xc"
    finding = {"name": "crash", "severity": "error", "text": text, "events": [15]}
    message = "the test passed, but there are error findings:"
    found = fault(message=message, verdicts=[verdict("UPGRADED", findings=[finding])])
    assert found.because.endswith("Core 0 panic'ed. Exception was unhandled; then reset 0xc")


def test_a_rack_error_is_the_racks_at_the_second_the_port_went(fault):
    rows = with_row((1.5, "uart", "port_lost", {"why": "gone"}))
    found = fault("rig", message="PortGone: /dev/ttyUSB0 vanished", verdicts=[], rows=rows)
    assert (found.who, found.at) == ("rack", pytest.approx(30.0))
    assert found.because == "PortGone: /dev/ttyUSB0 vanished"
    assert found.line == (
        "The rack failed, noticed at device second 30.0, because PortGone: /dev/ttyUSB0 vanished. "
        "This says nothing of the firmware: run it again."
    )


def test_a_rack_error_that_left_no_event_has_no_second(fault):
    found = fault("rig", message="LeaseHeld: by pid 7", verdicts=[])
    assert found.line.startswith("The rack failed, because LeaseHeld: by pid 7. ")


def test_a_crash_is_told_with_the_firmware_that_the_verdict_names(fault):
    rows = with_row(CRASH)
    seq = rows.index(CRASH) + 1
    reasons = [
        {"text": "New was started 1 times", "events": [15]},
        {"text": "crash: panic on core 0, in new (1.1.0), 2 times", "events": [seq]},
    ]
    found = fault(
        message=GOT.format("REVERTED"), verdicts=[verdict("REVERTED", reasons=reasons)], rows=rows
    )
    assert found.because.startswith("new (1.1.0) crashed: Guru Meditation Error; New was started")


def test_a_cloud_that_the_test_made_bad_is_named(fault):
    rows = without_fault((1.05, "cloud", "fault", {"text": "silent"}))
    found = fault(message=GOT.format("OFFLINE"), verdicts=[verdict("OFFLINE")], rows=rows)
    assert (found.who, found.under) == ("firmware", "cloud")


def test_a_network_that_the_test_took_away_is_named(fault):
    rows = without_fault((1.05, "test", "action", {"what": "ap.off"}))
    found = fault(rows=rows)
    assert (found.under, found.at) == ("network", pytest.approx(21.0))


def test_a_network_that_the_test_gave_back_before_the_download_is_not(fault):
    off, on = {"what": "ap.off"}, {"what": "ap.on"}
    found = fault(rows=without_fault((1.02, "test", "action", off), (1.05, "test", "action", on)))
    assert found.under == ""


def test_a_refused_image_is_told_in_the_words_of_the_refusal(fault):
    reasons = [
        {"text": "download 1 ended: complete", "events": [7]},
        {"text": "it refused the file: bad hash", "events": [11]},
    ]
    refused = verdict("REJECTED", reasons=reasons, downloads=[])
    found = fault(message=GOT.format("REJECTED"), verdicts=[refused], rows=without_fault())
    assert (found.who, found.because) == ("firmware", "it refused the file: bad hash")
    assert found.at == pytest.approx(28.0)


def test_a_mistake_of_the_test_is_the_tests(fault):
    found = fault("error", message="AttributeError: shipp", verdicts=[])
    assert found.line == "The test failed, because AttributeError: shipp"


def test_an_assertion_on_something_else_is_not_blamed_on_anybody(fault):
    found = fault(message="assert 'cut' == 'complete'", verdicts=[verdict("UPGRADED")])
    assert found.who == "unclear"
    assert "assert 'cut' == 'complete'; the outcome of its last operation is UPGRADED" in found.line


def test_the_failing_operation_is_the_one_with_the_outcome_that_was_got(fault):
    first = verdict("REVERTED", reasons=[{"text": "New was started 2 times", "events": [15]}])
    second = verdict("UPGRADED", operation=2)
    found = fault(message=GOT.format("REVERTED"), verdicts=[first, second], rows=stalled())
    assert found.because == "New was started 2 times"


def test_an_upgrade_where_none_was_wanted_is_the_firmwares(fault):
    found = fault(message="assert expected REJECTED, got UPGRADED", verdicts=[verdict("UPGRADED")])
    assert found.because == "it took the image: the test expected REJECTED, got UPGRADED"


@pytest.mark.parametrize("word", ["passed", "skipped", "xfailed", "xpassed"])
def test_only_red_tests_have_a_fault(fault, word):
    assert fault(word) is None


def test_a_message_that_ends_in_a_colon_or_a_full_stop_breaks_no_sentence(fault):
    found = fault(message="it is wrong in two ways.:", verdicts=[verdict("UPGRADED")])
    assert "it is wrong in two ways; the outcome" in found.line


def test_the_log_of_a_test_that_is_not_clear_opens_at_what_decided_its_outcome(fault):
    assert fault(message="assert 3 == 4", verdicts=[verdict("UPGRADED")]).decided == 13
