"""pytest hooks and fixtures; no logic of its own.

Nothing but pytest is imported at the top: a run that uses none of the fixtures pays for the
options alone.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_blynk_ota.board.board import Board
    from pytest_blynk_ota.board.console import Console
    from pytest_blynk_ota.cloud.server import CloudServer
    from pytest_blynk_ota.delivery.server import DeliveryServer
    from pytest_blynk_ota.evidence.bundle import TestBundle
    from pytest_blynk_ota.ota import Ota
    from pytest_blynk_ota.result import Result
    from pytest_blynk_ota.rig.power import Power
    from pytest_blynk_ota.rig.rack import Place, Rig
    from pytest_blynk_ota.rig.shelf import Firmware
    from pytest_blynk_ota.session import Session

FIXTURES = {"rig", "board", "console", "power", "cloud", "delivery", "firmware", "ota"}
OPTIONS = {
    "rig": ("NAME|PATH", "the rig to test on: rigs/NAME.toml, or a file (default: virtual)"),
    "board": ("NAME", "the only board of the rig to use"),
    "old": ("PATH", "the firmware that the boards start from"),
    "new": ("PATH", "the firmware that is shipped (default: Old with a higher version)"),
    "evidence": ("DIR", "where the evidence goes (default: .blynk-ota/runs/TIME-RIG)"),
}
DEFAULT_RIG = "virtual"
MARKERS = (
    "finding(name, ...): error findings that this test expects; any other fails it",
    "requires(need, ...): skip where the rig or the firmware lacks one of power, rollback, "
    "fixture-firmware",
    "baseline(rollback=True): what the baseline of this test differs in",
)
NEEDS = ("power", "rollback", "fixture-firmware")
SESSION: pytest.StashKey[Any] = pytest.StashKey()
RUN: pytest.StashKey[str] = pytest.StashKey()
RESULTS: pytest.StashKey[list[Result]] = pytest.StashKey()
RIG_ERROR = "blynk_ota_rig_error"
"""Property of a report whose exception was the rack's fault."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("blynk-ota", "firmware updates over Blynk")
    for name, (metavar, text) in OPTIONS.items():
        group.addoption(f"--{name}", metavar=metavar, dest=f"blynk_{name}", help=text)
        parser.addini(name, f"blynk-ota: {text}")


def option(config: pytest.Config, name: str) -> str | None:
    """An option from the command line, else from the ini file, else None."""
    value = config.getoption(f"blynk_{name}") or config.getini(name)
    return str(value) if value else None


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    _refuse_thread_timeouts(config)
    if config.pluginmanager.hasplugin("pytest_embedded"):
        from pytest_blynk_ota import embedded

        config.pluginmanager.register(embedded, "blynk-ota-embedded")
    worker = getattr(config, "workerinput", None)
    if worker and "blynk_ota_run" in worker:
        config.stash[RUN] = worker["blynk_ota_run"]


def _refuse_thread_timeouts(config: pytest.Config) -> None:
    """pytest-timeout's thread method ends the process with no teardown: boards stay powered."""
    if not config.pluginmanager.hasplugin("timeout"):
        return
    if "thread" in (config.getoption("timeout_method", None), config.getini("timeout_method")):
        raise pytest.UsageError(
            "timeout_method = thread ends pytest without closing ports and processes; "
            "use timeout_method = signal"
        )


def pytest_configure_node(node: Any) -> None:
    """pytest-xdist: all workers write into one evidence folder."""
    node.workerinput["blynk_ota_run"] = _run(node.config)


pytest_configure_node.pytest_impl = {"optionalhook": True}  # type: ignore[attr-defined]


def _run(config: pytest.Config) -> str:
    if RUN not in config.stash:
        from pytest_blynk_ota.session import run_folder

        config.stash[RUN] = str(
            run_folder(
                config.rootpath,
                option(config, "evidence"),
                option(config, "rig") or DEFAULT_RIG,
                datetime.now(),
            )
        )
    return config.stash[RUN]


def session_of(config: pytest.Config) -> Session:
    """The session's state, made on first use. Raises pytest.UsageError."""
    if SESSION not in config.stash:
        from pytest_blynk_ota.errors import UsageError
        from pytest_blynk_ota.session import Options, Session

        paths = {
            name: Path(path).absolute() if (path := option(config, name)) else None
            for name in ("old", "new")
        }
        try:
            config.stash[SESSION] = Session(
                Options(
                    config.rootpath,
                    option(config, "rig") or DEFAULT_RIG,
                    option(config, "board"),
                    paths["old"],
                    paths["new"],
                    Path(_run(config)),
                )
            )
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error
    session: Session = config.stash[SESSION]
    return session


def pytest_sessionstart(session: pytest.Session) -> None:
    """Options that were given by hand are checked at once: under xdist, before any worker."""
    if getattr(session.config, "workerinput", None) is None and any(
        option(session.config, name) for name in ("rig", "board", "old", "new")
    ):
        session_of(session.config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if uses_rig(item)]
    if not ours:
        return
    session_of(config)
    for item in ours:
        for marker in item.iter_markers("requires"):
            for need in marker.args:
                if need not in NEEDS:
                    raise pytest.UsageError(
                        f"{item.nodeid}: requires({need!r}): unknown need; "
                        f"known are {', '.join(NEEDS)}"
                    )


def uses_rig(item: pytest.Item) -> bool:
    """Whether a test asks for one of our fixtures, directly or through another one."""
    return not FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def _blynk_ota_session(request: pytest.FixtureRequest) -> Iterator[Session]:
    session = session_of(request.config)
    try:
        yield session
    finally:
        session.close()


@pytest.fixture(scope="session")
def rig(_blynk_ota_session: Session) -> Rig:
    """The rig of this run: its boards, its cloud, its firmware server."""
    return _blynk_ota_session.rig


@pytest.fixture
def _blynk_ota_bundle(
    request: pytest.FixtureRequest, _blynk_ota_session: Session
) -> Iterator[TestBundle]:
    from pytest_blynk_ota.reporting import begin_run

    begin_run(request.config, _blynk_ota_session)
    results: list[Result] = []
    request.config.stash[RESULTS] = results
    bundle = _blynk_ota_session.bundle(request.node.nodeid)
    request.node.user_properties.append(("blynk_ota_evidence", str(bundle.folder)))
    try:
        yield bundle
    finally:
        _blynk_ota_session.finish(bundle, results)


@pytest.fixture
def _blynk_ota_place(
    request: pytest.FixtureRequest, _blynk_ota_session: Session, _blynk_ota_bundle: TestBundle
) -> Place:
    place = _blynk_ota_session.place(getattr(request, "param", None))
    properties = request.node.user_properties
    properties.append(("blynk_ota_rig", _blynk_ota_session.config.rig.name))
    properties.append(("blynk_ota_board", place.name))
    for marker in request.node.iter_markers("requires"):
        for need in marker.args:
            _skip_without(need, place, _blynk_ota_session.firmware(place.config))
    return place


def _skip_without(need: str, place: Place, firmware: Firmware) -> None:
    if need == "power" and place.power is None:
        pytest.skip(f"board {place.name} has no power outlet in the rig file")
    if need == "rollback" and not place.profile.rollback:
        pytest.skip(f"profile {place.profile.name} of board {place.name} has no rollback")
    if need == "fixture-firmware" and not firmware.is_fixture:
        pytest.skip("needs a fixture image that can be told to misbehave; --old is your own")


@pytest.fixture
def board(_blynk_ota_place: Place) -> Board:
    """The board of this test: reset, flash, identity."""
    return _blynk_ota_place.board


@pytest.fixture
def console(_blynk_ota_place: Place) -> Console:
    """The board's serial console: lines with cursors; a wait never consumes."""
    return _blynk_ota_place.board.console


@pytest.fixture
def power(_blynk_ota_place: Place) -> Power:
    """The board's power; skips where the rig has no outlet for it."""
    if _blynk_ota_place.power is None:
        pytest.skip(f"board {_blynk_ota_place.name} has no power outlet in the rig file")
    return _blynk_ota_place.power


@pytest.fixture
def cloud(rig: Rig, _blynk_ota_bundle: TestBundle) -> CloudServer:
    """The local Blynk server."""
    return rig.cloud


@pytest.fixture
def delivery(rig: Rig, _blynk_ota_bundle: TestBundle) -> DeliveryServer:
    """The fault-injecting firmware server."""
    return rig.delivery


@pytest.fixture
def firmware(_blynk_ota_session: Session, _blynk_ota_place: Place) -> Firmware:
    """Old, New and everything that is made from them, for the board of this test."""
    return _blynk_ota_session.firmware(_blynk_ota_place.config)


@pytest.fixture
def ota(
    request: pytest.FixtureRequest,
    _blynk_ota_session: Session,
    _blynk_ota_place: Place,
    _blynk_ota_bundle: TestBundle,
) -> Ota:
    """Shipments and offers on a board that has just been brought back to Old."""
    marker = request.node.get_closest_marker("baseline")
    rollback = marker.kwargs.get("rollback", True) if marker else True
    keep = request.config.stash[RESULTS].append
    made = _blynk_ota_session.ota(_blynk_ota_place, _blynk_ota_bundle, keep, rollback=rollback)
    made.restore()
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    yield
    if uses_rig(item):
        from pytest_blynk_ota.reporting import fail_on_findings

        fail_on_findings(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    errors = sys.modules.get("pytest_blynk_ota.errors")
    if errors and call.excinfo and isinstance(call.excinfo.value, errors.RigError):
        from pytest_blynk_ota.reporting import as_rig_error

        as_rig_error(item, report, call.excinfo.value)
    if report.when == "call" and report.failed and uses_rig(item):
        from pytest_blynk_ota.reporting import add_story

        add_story(item.config, report)
    return report


def pytest_assertrepr_compare(
    config: pytest.Config, op: str, left: object, right: object
) -> list[str] | None:
    if "pytest_blynk_ota.verdict" not in sys.modules:
        return None
    from pytest_blynk_ota.reporting import explain

    return explain(config, op, left, right)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if SESSION in session.config.stash:
        session.config.stash[SESSION].close()
    if _has_evidence(session.config) and not hasattr(session.config, "workerinput"):
        from pytest_blynk_ota.reporting import end_run

        end_run(session.config, exitstatus)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if _has_evidence(config):
        from pytest_blynk_ota.reporting import summarize

        summarize(terminalreporter, config)


def _has_evidence(config: pytest.Config) -> bool:
    return RUN in config.stash and (Path(config.stash[RUN]) / "run.json").exists()
