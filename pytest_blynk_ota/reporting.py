"""What a test on the rig says when it has something to say: failures explained, rack errors apart.

pytest, JUnit XML and pytest-xdist all call a report an *error* when its phase is not the call;
that is how a rack's fault is kept apart from a firmware's failure in every format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytest_blynk_ota.air import AirStatus
from pytest_blynk_ota.beginning import judged_at_the_end
from pytest_blynk_ota.chance import Chance
from pytest_blynk_ota.ci import allure, html
from pytest_blynk_ota.errors import RigError, UsageError
from pytest_blynk_ota.evidence.writer import TestBundle
from pytest_blynk_ota.marks import named
from pytest_blynk_ota.options import NOT_AGAIN, OPTIONS, flag_of
from pytest_blynk_ota.report.visible import visible
from pytest_blynk_ota.result import Result
from pytest_blynk_ota.rig.needs import lacking
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.runs import (
    PREFIX,
    RACK_SECTION,
    RERUN,
    RIG_ERROR,
    RIG_KIND,
    SAID,
    UNKNOWN,
    USAGE_ERROR,
    first_line,
)
from pytest_blynk_ota.session import Session, properties
from pytest_blynk_ota.stash import PLACE, RUNNING, SESSION
from pytest_blynk_ota.terminal.again import Start
from pytest_blynk_ota.terminal.explain import EXPECTED, Said, compared, said
from pytest_blynk_ota.verdict.outcome import Outcome

MAX_REASONS = 4
MAX_LOG_LINES = 20
NOT_THE_FIRMWARE = (UsageError, TypeError, NameError, AttributeError, LookupError, ImportError)
"""Errors of the test itself: it asked for what cannot be done, or is written wrongly."""
PACKAGE = Path(__file__).parent
FIXTURES = (PACKAGE / "plugin.py", PACKAGE / "embedded.py")


@dataclass
class Running:
    """A test on the rig while it runs.

    Attributes:
        item: the test.
        session: the session.
        bundle: its evidence.
        chance: its dice.
        results: what its operations returned, in order.
        place: its board, once it has one.
    """

    item: pytest.Item
    session: Session
    bundle: TestBundle
    chance: Chance
    results: list[Result] = field(default_factory=list)
    place: Place | None = None
    _seen: Said | None = None
    _headline: str = ""
    _told: bool = False

    @classmethod
    def begin(cls, item: pytest.Item, session: Session) -> Running:
        """Open the evidence of a test."""
        bundle = session.bundle(item.nodeid)
        item.user_properties.append((PREFIX + "evidence", str(bundle.folder)))
        return cls(item, session, bundle, Chance(session.options.seed, test_id(item)))

    def keep(self, result: Result) -> None:
        """Keep what an operation returned; a deeper look at one takes its place."""
        before = [one for one in self.results if one.number != result.number]
        self.results[:] = sorted([*before, result], key=lambda one: one.number)

    def finish(self) -> None:
        """Close the evidence, and show it where reports are written."""
        self.session.finish(self.bundle, self.results)
        if allure.wanted(self.item.config):
            ours = [row for row in self.item.user_properties if row[0].startswith(PREFIX)]
            allure.attach(self.bundle.folder, ours)

    def take_place(self, name: str | None) -> Place:
        """Take the board of the test. Raises RigError."""
        self.place = self.session.place(name, named(self.item, "requires"))
        self.place.board.console.forget()
        self.item.user_properties += [
            (PREFIX + "board", self.place.name),
            *properties(self.session.firmware(self.place.config), PREFIX),
        ]
        return self.place

    def lacks(self, *needs: str) -> str | None:
        """Why the test cannot run on its board: its own needs if none are named."""
        assert self.place is not None
        firmware = self.session.firmware(self.place.config)
        return lacking(needs or named(self.item, "requires"), self.place, firmware)

    def final(self) -> Sequence[Result]:
        """The results in the light of all that was seen since."""
        return judged_at_the_end(self.bundle.timeline.events(), self.results)

    def fail_on_findings(self) -> None:
        """Fail the test for each error finding that it does not expect, late ones included."""
        assert self.place is not None
        expected = named(self.item, "finding") | {*self.place.profile.known}
        unexpected = [
            finding
            for result in self.final()
            for finding in result.findings
            if finding.severity == "error" and finding.name not in expected
        ]
        if unexpected:
            self._told = True
            first, *more = unexpected
            are = (
                f"are {len(unexpected)} error findings, the first"
                if more
                else "is an error finding"
            )
            pytest.fail(
                f"the test passed, but there {are}: {first.name}: {first.text}\n"
                + "".join(f"  {finding}\n" for finding in more)
                + f"a test that expects one says @pytest.mark.finding({first.name!r})\n"
                + "\n".join(self.ways_on()),
                pytrace=False,
            )

    def compared(self, op: str, left: object, right: object) -> list[str] | None:
        """The first line of a failed comparison of an outcome or a status."""
        if op not in EXPECTED:
            return None
        for got, wanted in ((left, right), (right, left)):
            if not isinstance(got, Outcome | AirStatus):
                continue
            for result in reversed(self.results):
                if got in (result.outcome, result.air_status):
                    self._seen = Said(compared(got, op, wanted), result)
                    return [self._seen.text]
        return None

    def explain(self, error: AssertionError) -> None:
        """Have a failed assert about a result say what was expected, what came, and why."""
        told = said(error, self.results[-1] if self.results else None) or self._seen
        self._seen = None
        if told is None:
            return
        if not error.args:
            error.args = (told.text,)  # nothing but this will say it: --assert=plain
        elif told.text not in str(error):
            error.add_note(told.text)
        why = told.result.reasons
        line = visible(first_line(told.text))
        self.item.user_properties.append((SAID, line))
        self._headline = visible(f"{line}, because {why[0].text}") if why else line
        reasons = [visible(f"because {reason}") for reason in why[:MAX_REASONS]]
        for line in (*reasons, *self.ways_on()):
            error.add_note(f"  {line}")
        self._told = True

    def head(self, report: pytest.TestReport) -> None:
        """Have pytest's short summary, and JUnit XML, begin with what came and why."""
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is None or not self._headline:
            return
        first, _, rest = crash.message.partition("\n")
        again = first.removeprefix("AssertionError: ").removeprefix("assert ")
        text = rest if self._headline.startswith(again) else crash.message
        crash.message = f"{self._headline}\n{text}".rstrip("\n")

    def ways_on(self) -> Iterator[str]:
        """Where the evidence is, and the commands that decide and run again."""
        start = Start.of(self.item.config)
        folder = start.near(self.bundle.folder)
        yield f"evidence: {folder}"
        yield f"judge again: {start.command('judge', folder)}"
        yield f"run again: {again(self.item)}"

    def story(self) -> Iterator[tuple[str, str]]:
        """Sections for a failing test: each operation as judged; without one, the last log.

        Of a sweep of power cuts the table, and the operations that did not end well.
        """
        sweeps = [
            event.data
            for event in self.bundle.timeline.events()
            if (event.source, event.kind) == ("ota", "sweep_ended")
        ]
        well = {row["operation"] for sweep in sweeps for row in sweep["rows"] if row["well"]}
        for sweep in sweeps:
            yield "sweep of power cuts", sweep["table"]
        for result in self.results:
            if result.number not in well:
                yield f"operation {result.number}", "\n".join(result.explain())
        if not self.results:
            lines = self.place.board.console.lines()[-MAX_LOG_LINES:] if self.place else ()
            text = "".join(f"    {line.text}\n" for line in lines) or "    (not one line)\n"
            yield "board", f"last lines of the log:\n{text}"
        if not self._told:
            yield "what next", "\n".join(self.ways_on())


def again(item: pytest.Item, **more: str) -> str:
    """The command that runs a test once more: on the same board, with the same dice.

    Args:
        more: further options, by their names.
    """
    config = item.config
    given = {
        flag_of(name): str(value)
        for name in OPTIONS
        if name not in NOT_AGAIN and (value := config.getoption(f"blynk_{name}"))
    }
    running = config.stash.get(RUNNING, None)
    if running is not None and running.item is item:
        if running.place is not None:
            if "--boards" in given:
                given["--boards"] = running.place.name
            elif not _chosen_by_name(item):
                given.setdefault("--board", running.place.name)
        if running.chance.used:
            given["--ota-seed"] = str(running.chance.run_seed)
    if any(item.get_closest_marker(name) for name in LONG):
        given["-m"] = ""  # a project's -m "not nightly" holds for a test that is named, too
    given |= {flag_of(name): value for name, value in more.items()}
    return Start.of(config).again(test_id(item), given)


LONG = ("nightly", "soak")
"""Markers of tests that a project leaves out unless they are asked for."""


def test_id(item: pytest.Item) -> str:
    """pytest's id of a test, without the group that pytest-xdist adds to it with loadgroup."""
    grouped = getattr(item.config.option, "loadgroup", False)
    if grouped and item.get_closest_marker("xdist_group") and "@" in item.nodeid:
        return item.nodeid.rpartition("@")[0]
    return item.nodeid


def _chosen_by_name(item: pytest.Item) -> bool:
    """Whether the test's own name, the ini file or the rig says which board it runs on."""
    named = PLACE in getattr(getattr(item, "callspec", None), "params", {})
    alone = len(item.config.stash[SESSION].sections) == 1
    return named or alone


def add_properties(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """What JUnit XML says of a test: its rig at the start, its outcomes after the call."""
    rig = item.config.stash[SESSION].config
    item.user_properties[:] = [row for row in item.user_properties if row[0] != RERUN]
    item.user_properties.append((RERUN, again(item)))
    item.user_properties[:] = [row for row in item.user_properties if row[0] != RIG_KIND]
    item.user_properties.append((RIG_KIND, kind_of_board(item)))
    if call.when == "setup":
        item.user_properties.append((PREFIX + "rig", rig.rig.name))
    elif RUNNING in item.config.stash:
        for result in item.config.stash[RUNNING].final():
            item.user_properties += [
                (PREFIX + "outcome", str(result.outcome)),
                (PREFIX + "air_status", str(result.air_status)),
                (PREFIX + "reason", str(next(iter(result.reasons), ""))),
            ]


def kind_of_board(item: pytest.Item) -> str:
    """What the board of a test is made of, as far as it has been asked."""
    running = item.config.stash.get(RUNNING, None)
    facts = running.place.board.facts if running is not None and running.place else None
    return facts.kind if facts is not None else UNKNOWN


def link(item: pytest.Item, report: pytest.TestReport) -> None:
    """Have pytest-html's page lead to the evidence."""
    if RUNNING in item.config.stash:
        html.link(item.config, report, item.config.stash[RUNNING].bundle.folder)


def tell(
    item: pytest.Item, report: pytest.TestReport, caught: pytest.ExceptionInfo[BaseException]
) -> None:
    """Say in a report whose fault it was, and what there is to see."""
    error = caught.value
    fault = rack_fault(error)
    if fault is None and report.failed:
        fault = _dead_rack(item)
    if fault is not None:
        _as_rig_error(item, report, fault)
    elif report.failed and isinstance(error, NOT_THE_FIRMWARE):
        item.user_properties.append((USAGE_ERROR, type(error).__name__))
        report.user_properties = list(item.user_properties)
        if report.when != "call" and isinstance(error, UsageError) and _in_our_fixture(caught):
            if item.config.option.tbstyle == "auto":
                report.longrepr = caught.getrepr(style="value", chain=False)
            return  # its words say all: no board has been touched
    if report.failed and report.when != "teardown" and RUNNING in item.config.stash:
        if report.when == "call":
            item.config.stash[RUNNING].head(report)
        report.sections += item.config.stash[RUNNING].story()


def _in_our_fixture(caught: pytest.ExceptionInfo[BaseException]) -> bool:
    """Whether pytest, and no line of the user's, called what raised: a fixture of ours."""
    paths = (Path(entry.path) for entry in caught.traceback)
    return next((path for path in paths if PACKAGE in path.parents), None) in FIXTURES


def rack_fault(error: BaseException) -> RigError | None:
    """The rack's fault in what was raised, alone or among others."""
    if isinstance(error, RigError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((fault for one in error.exceptions if (fault := rack_fault(one))), None)
    return None


def _dead_rack(item: pytest.Item) -> RigError | None:
    """A test that failed because a part of the rack had died says nothing of the firmware."""
    try:
        item.config.stash[SESSION].check()
    except RigError as error:
        return error
    return None


def _as_rig_error(item: pytest.Item, report: pytest.TestReport, error: RigError) -> None:
    item.user_properties.append((RIG_ERROR, type(error).__name__))
    report.user_properties = list(item.user_properties)
    report.sections.append((RACK_SECTION, f"{type(error).__name__}: {error}"))
    report.outcome = "failed"  # a test that is expected to fail is not expected to lose its rack
    vars(report).pop("wasxfail", None)
    if report.when == "call":
        report.when = "setup"
    if item.config.option.tbstyle == "auto":  # the way through our code helps nobody
        report.longrepr = f"{type(error).__name__}: {error}"
