"""What a busy host read late from the UART must not make a false report of a true one."""

import gzip
from pathlib import Path

from tale import Tale

from pytest_blynk_ota import Outcome
from pytest_blynk_ota.evidence.event import events_in
from pytest_blynk_ota.verdict.decide import judge

RECORDED = Path(__file__).parents[1] / "data/uart-read-late.jsonl.gz"
"""Of a host with three suites at once: the banner of Old's boot was read after Old's login."""


def test_a_login_before_a_banner_that_was_read_late_is_of_the_boot_behind_it():
    events, _ = events_in(gzip.decompress(RECORDED.read_bytes()).rstrip(b"\n").split(b"\n"))
    assert judge(events).outcome is Outcome.REVERTED


def test_new_that_prints_a_crash_of_before_and_reports_keeps_its_report():
    tale = Tale(info=True).offered().downloads().boots("new").wait(1).crashes().wait(3)
    tale.logs_in().wait(6).comes_back("old").wait(60).over()
    assert tale.judged().outcome is Outcome.ROLLED_BACK
