"""What a run says when it has something to say: failures explained, rack errors apart."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pytest_blynk_ota.air import AirStatus
from pytest_blynk_ota.evidence.bundle import write_json
from pytest_blynk_ota.ota import judged_at_the_end
from pytest_blynk_ota.plugin import RESULTS, RIG_ERROR, RUN, session_of
from pytest_blynk_ota.result import Result
from pytest_blynk_ota.session import Session, run_data
from pytest_blynk_ota.verdict import Outcome

MAX_REASONS = 4
"""pytest cuts a comparison after eight lines."""
INTERRUPTED = 2
"""pytest's exit code for Ctrl-C."""


def begin_run(config: pytest.Config, session: Session) -> None:
    """Write run.json when the first test begins; until the end it says ``complete: false``."""
    path = session.options.run / "run.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, run_data(session))


def end_run(config: pytest.Config, exitstatus: int) -> None:
    """Complete run.json with what came out; called where all reports arrive."""
    path = Path(config.stash[RUN]) / "run.json"
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    counts = count(_reports(reporter)) if reporter else Counter[str]()
    complete = exitstatus != INTERRUPTED
    data = json.loads(path.read_text(encoding="utf-8"))
    data |= {"complete": complete, "result": result_of(counts, complete), "counts": dict(counts)}
    write_json(path, data)


def _reports(reporter: Any) -> Iterable[pytest.TestReport]:
    for reports in reporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                yield report


def count(reports: Iterable[pytest.TestReport]) -> Counter[str]:
    """Tests on the rig by what they say: passed, firmware, rig, skipped."""
    counts: Counter[str] = Counter()
    for report in reports:
        properties = dict(report.user_properties)
        if "blynk_ota_board" not in properties and RIG_ERROR not in properties:
            continue
        if report.failed:
            counts["rig" if RIG_ERROR in properties else "firmware"] += 1
        elif report.when == "call":
            counts[report.outcome] += 1
    return counts


def result_of(counts: Counter[str], complete: bool) -> str:
    """The word in run.json: a firmware failure outweighs a rack error."""
    if not complete:
        return "incomplete"
    if counts["firmware"]:
        return "firmware"
    return "rig" if counts["rig"] else "ok"


def as_rig_error(item: pytest.Item, report: pytest.TestReport, error: BaseException) -> None:
    """Make a rack fault an error of the test, not a failure, in every report format.

    pytest, JUnit XML and pytest-xdist all call a report an error when its phase is not the call.
    """
    item.user_properties.append((RIG_ERROR, type(error).__name__))
    report.user_properties = list(item.user_properties)
    report.sections.append(("rack error", f"{type(error).__name__}: {error}"))
    if report.when == "call":
        report.when = "setup"


def fail_on_findings(item: pytest.Item) -> None:
    """Fail the test for each error finding that it does not expect, late ones included."""
    expected = {name for marker in item.iter_markers("finding") for name in marker.args}
    events = session_of(item.config).recorder.timeline.events()
    final = judged_at_the_end(events, _results(item.config))
    unexpected = [
        finding
        for result in final
        for finding in result.findings
        if finding.severity == "error" and finding.name not in expected
    ]
    for result in final:
        item.user_properties.append(("blynk_ota_outcome", str(result.outcome)))
    if unexpected:
        lines = "\n".join(f"  {finding}" for finding in unexpected)
        pytest.fail(
            f"the test passed, but there are error findings:\n{lines}\n"
            f"evidence: {dict(item.user_properties).get('blynk_ota_evidence', '')}\n"
            f"a test that expects one says @pytest.mark.finding({unexpected[0].name!r})",
            pytrace=False,
        )


def explain(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """The first lines of a failed comparison of an outcome; the rest is a section of the report."""
    if not isinstance(left, Outcome | AirStatus) or op not in ("is", "=="):
        return None
    for result in reversed(_results(config)):
        if left in (result.outcome, result.air_status):
            reasons = [f"because {reason}" for reason in result.reasons[:MAX_REASONS]]
            return [f"expected {right!s}, got {left!s}", *reasons, f"evidence: {result.evidence}"]
    return [f"expected {right!s}, got {left!s}"]


def add_story(config: pytest.Config, report: pytest.TestReport) -> None:
    """Give a failed test's report what each of its operations was judged to be, and the log."""
    for number, result in enumerate(_results(config), 1):
        report.sections.append((f"operation {number}", "\n".join(result.explain())))


def _results(config: pytest.Config) -> list[Result]:
    none: list[Result] = []
    return config.stash.get(RESULTS, none)


def _is_rig_error(report: pytest.TestReport) -> bool:
    return RIG_ERROR in dict(report.user_properties)


def summarize(reporter: Any, config: pytest.Config) -> None:
    """One line with the result and the evidence, and the rack errors by themselves."""
    reports = list(_reports(reporter))
    errors = [report for report in reports if report.failed and _is_rig_error(report)]
    if errors:
        reporter.section("rack errors (not the firmware's fault)", yellow=True)
        for report in errors:
            text = dict(report.sections).get("rack error", "")
            reporter.line(f"{report.nodeid}: {text.splitlines()[0] if text else 'rack error'}")
    counts = count(reports)
    words = ", ".join(f"{number} {word}" for word, number in sorted(counts.items()))
    reporter.line(
        f"blynk-ota: {words or 'no test ran'}; evidence in {os.path.relpath(config.stash[RUN])}"
    )
