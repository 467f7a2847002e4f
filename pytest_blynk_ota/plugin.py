"""pytest hooks and fixtures; no logic of its own.

Nothing but pytest and two files of names is imported at the top: a run that uses none of the
fixtures pays for the options alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_blynk_ota.options import DEFAULT_RIG, MARKERS, OPTIONS, flag_of
from pytest_blynk_ota.stash import (
    COMPLETE,
    FROM_WORKER,
    HELD,
    PLACE,
    REPORT,
    RIG_TO_WORKER,
    ROWS,
    RUN,
    RUNNING,
    SEED,
    SEED_TO_WORKER,
    SESSION,
    TALLY,
    TO_WORKER,
)

if TYPE_CHECKING:
    from pytest_blynk_ota.board.board import Board
    from pytest_blynk_ota.board.console import Console
    from pytest_blynk_ota.cloud.server import CloudServer
    from pytest_blynk_ota.delivery.server import DeliveryServer
    from pytest_blynk_ota.ota import Ota
    from pytest_blynk_ota.reporting import Running
    from pytest_blynk_ota.rig.extensions import Extensions
    from pytest_blynk_ota.rig.network.network import Network
    from pytest_blynk_ota.rig.place import Place
    from pytest_blynk_ota.rig.power import Power
    from pytest_blynk_ota.rig.rack import Rig
    from pytest_blynk_ota.rig.shelf import Firmware
    from pytest_blynk_ota.session import Session
    from pytest_blynk_ota.terminal.rows import Rows
    from pytest_blynk_ota.trouble import Trouble


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_blynk_ota import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("blynk-ota", "firmware updates over Blynk")
    for name, (metavar, text) in OPTIONS.items():
        group.addoption(flag_of(name), metavar=metavar, dest=f"blynk_{name}", help=text)
        parser.addini(name, f"blynk-ota: {text}")
    group.addoption(
        "--yes",
        action="store_true",
        dest="blynk_yes",
        help="boards of which there is no backup yet may be saved and overwritten without a "
        "question; by hand only, never from the ini file",
    )


def option(config: pytest.Config, name: str) -> str | None:
    """An option from the command line, else from the ini file, else None."""
    value = config.getoption(f"blynk_{name}") or config.getini(name)
    return str(value) if value not in (None, "") else None


def path_option(config: pytest.Config, name: str) -> Path | None:
    """The same as a path: of the working folder, or of the ini file's own."""
    value = option(config, name)
    if not value:
        return None
    by_hand = config.getoption(f"blynk_{name}")
    return (config.invocation_params.dir if by_hand else config.rootpath) / value


def rig_option(config: pytest.Config) -> str:
    """The rig's name, its file, or the board that it is to be made of."""
    from pytest_blynk_ota.board.naming import names_a_port

    value = option(config, "rig") or DEFAULT_RIG
    if made := getattr(config, "workerinput", {}).get(RIG_TO_WORKER):
        return str(made)
    if names_a_port(value):
        return value
    if value.endswith(".toml") or "/" in value:
        return str(path_option(config, "rig"))
    return value


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if config.pluginmanager.hasplugin("pytest_embedded"):
        from pytest_blynk_ota import embedded

        config.pluginmanager.register(embedded, "blynk-ota-embedded")
        # Its own autouse fixtures ask for it in every test; no user of ours can do about it.
        config.addinivalue_line(
            "filterwarnings", "ignore:record_xml_attribute is an experimental feature"
        )
        config.addinivalue_line(
            "filterwarnings", "ignore:record_xml_attribute is incompatible with junit_family"
        )
    if TO_WORKER in (worker := getattr(config, "workerinput", {})):
        config.stash[RUN] = Path(worker[TO_WORKER])
        config.stash[SEED] = worker[SEED_TO_WORKER]


def is_worker(config: pytest.Config) -> bool:
    """Whether this is a worker process of pytest-xdist."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist: all workers write into one evidence folder."""
    config: pytest.Config = node.config
    if RUN not in config.stash:
        config.stash[RUN] = _shared_folder(config)
        keep_tally(config)
        watch(config)
    node.workerinput[TO_WORKER] = str(config.stash[RUN])
    node.workerinput[SEED_TO_WORKER] = seed_of(config)
    if SESSION in config.stash and config.stash[SESSION].made_rig:
        node.workerinput[RIG_TO_WORKER] = str(config.stash[SESSION].path)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """pytest-xdist: what a worker found wrong with the request is said once, by the controller."""
    said = getattr(node, "workeroutput", {}).get(FROM_WORKER)
    if said:
        raise pytest.UsageError(said)


def hold_folder(config: pytest.Config) -> Path | None:
    """The folder that the user named, for this run alone; None if none was. Raises UsageError: the
    same one again, for a folder that was refused stays refused until the end."""
    from pytest_blynk_ota import runs
    from pytest_blynk_ota.errors import UsageError

    chosen = path_option(config, "evidence")
    if chosen is None or HELD in config.stash:
        if isinstance(refused := config.stash.get(HELD, None), UsageError):
            raise refused
        return chosen
    try:
        with _told_of_the_folder():
            config.add_cleanup(runs.hold(chosen))
        config.stash[HELD] = None
    except UsageError as error:
        config.stash[HELD] = error
        raise
    return chosen


@contextlib.contextmanager
def _told_of_the_folder() -> Iterator[None]:
    """What the system refuses is a UsageError."""
    from pytest_blynk_ota.errors import UsageError

    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot write evidence in {error.filename} ({error.strerror}); "
            f"name another folder with --evidence"
        ) from error


def _new_folder(config: pytest.Config) -> Path:
    """A folder for the run of one process. Raises UsageError."""
    from pytest_blynk_ota import runs

    chosen = hold_folder(config)
    with _told_of_the_folder():
        if chosen is None:
            return runs.claim(config.rootpath, rig_option(config), datetime.now())
        runs.renew(chosen)
        return chosen


def _shared_folder(config: pytest.Config) -> Path:
    """A folder for several workers; what is wrong with it pytest itself tells, for no test runs."""
    from pytest_blynk_ota import runs
    from pytest_blynk_ota.errors import UsageError

    if not path_option(config, "evidence"):
        return runs.shared(config.rootpath, rig_option(config), datetime.now())
    try:
        return _new_folder(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def run_folder(config: pytest.Config) -> Path:
    """The evidence folder of this run, made when it is first needed. Raises UsageError."""
    if RUN not in config.stash:
        config.stash[RUN] = _new_folder(config)
    return config.stash[RUN]


def seed_of(config: pytest.Config) -> int:
    """The seed of this run's chance, the same in all its processes. Raises UsageError."""
    if SEED not in config.stash:
        from pytest_blynk_ota import chance

        given = option(config, "ota_seed")
        config.stash[SEED] = chance.drawn() if given is None else chance.parsed(given)
    return config.stash[SEED]


def wait_of(config: pytest.Config) -> float:
    """Wall seconds to wait for a board that others hold. Raises UsageError."""
    given = option(config, "board_wait")
    if given is None:
        return 0.0
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(given)) < float("inf"):
            return seconds
    from pytest_blynk_ota.errors import UsageError

    raise UsageError(f"--board-wait: expected seconds, as 600, got {given!r}")


def keep_tally(config: pytest.Config) -> None:
    """Count the tests on the rig, in the process that all reports come to."""
    if TALLY not in config.stash and not is_worker(config):
        from pytest_blynk_ota.ci import junit
        from pytest_blynk_ota.runs import Tally
        from pytest_blynk_ota.terminal.rows import Rows

        config.stash[TALLY] = Tally(
            lambda: config.stash.get(RUN, None), lambda text: without_secrets(config, text)
        )
        config.stash[ROWS] = Rows()
        config.pluginmanager.register(config.stash[TALLY], "blynk-ota-tally")
        config.pluginmanager.register(config.stash[ROWS], "blynk-ota-rows")
        junit.attach(config, os.environ)


def without_secrets(config: pytest.Config, text: str) -> str:
    """The text as evidence may hold it, in a process that has no rig of its own."""
    from pytest_blynk_ota.errors import UsageError
    from pytest_blynk_ota.evidence.redact import Redactor

    try:
        redactor = session_of(config).redactor
    except (UsageError, OSError):  # what looks like a secret is found all the same
        redactor = Redactor()
    return redactor.text(text)


def watch(config: pytest.Config) -> None:
    """Show how far each board is, in the process that the user sees."""
    if is_worker(config):
        return
    from pytest_blynk_ota.errors import UsageError
    from pytest_blynk_ota.terminal import live

    try:
        live.begin(config, option(config, "ota_live"), lambda: config.stash.get(RUN, None))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def extensions_of(config: pytest.Config) -> Extensions:
    """What each conftest.py that is known by now gives to rig files. Raises ConfigError."""
    from pytest_blynk_ota.rig import drivers, provision
    from pytest_blynk_ota.rig.extensions import Extensions, gathered

    hooks = config.hook
    power = gathered(
        "pytest_blynk_ota_power",
        lambda: hooks.pytest_blynk_ota_power(config=config),
        tuple(drivers.OURS),
    )
    ways = gathered(
        "pytest_blynk_ota_provision",
        lambda: hooks.pytest_blynk_ota_provision(config=config),
        provision.NAMES,
    )
    return Extensions(power, ways, by_conftest=True)


def typed(config: pytest.Config) -> list[str]:
    """The command line of this run; what the environment adds to it in front, as in a shell."""
    words = list(getattr(config, "workerinput", {}).get("mainargv", sys.argv))
    added = os.environ.get("PYTEST_ADDOPTS")
    return [f"PYTEST_ADDOPTS={added}", *words] if added else words


def session_of(config: pytest.Config) -> Session:
    """The session's state, made on first use. Raises UsageError."""
    if SESSION not in config.stash:
        from pytest_blynk_ota.session import Options, Session

        options = Options(
            root=config.rootpath,
            rig=rig_option(config),
            board=option(config, "board"),
            old=path_option(config, "old"),
            new=path_option(config, "new"),
            elf=path_option(config, "elf"),
            command=typed(config),
            worker=getattr(config, "workerinput", {}).get("workerid"),
            seed=seed_of(config),
            wait_s=wait_of(config),
            extensions=extensions_of(config),
            yes=bool(config.getoption("blynk_yes")),
            backup=option(config, "backup") or "auto",
            ask=None if is_worker(config) else asking(config),
        )
        config.stash[SESSION] = Session(options, lambda: run_folder(config))
    return config.stash[SESSION]


def asking(config: pytest.Config) -> Callable[[str], bool | None]:
    """A way to ask the user at the terminal."""
    from pytest_blynk_ota.terminal.question import asking

    return asking(config.pluginmanager.getplugin("capturemanager"))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Options that were given by hand are checked at once: under xdist, before any worker."""
    config = session.config
    if is_worker(config) or not any(
        option(config, name)
        for name in ("rig", "board", "boards", "board_wait", "old", "new", "elf", "ota_seed")
    ):
        return
    from pytest_blynk_ota.errors import UsageError

    try:
        session_of(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``--boards``: a test for each of them."""
    asked = option(metafunc.config, "boards")
    if asked is None or PLACE not in metafunc.fixturenames:
        return
    names = session_of(metafunc.config).boards(asked)
    metafunc.parametrize(PLACE, names, indirect=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if asked := option(config, "scenarios"):
        _only_scenarios(config, items, asked)
    ours = [item for item in items if uses_rig(item)]
    if not ours:
        return
    keep_tally(config)
    watch(config)
    from pytest_blynk_ota import marks
    from pytest_blynk_ota.errors import UsageError

    try:
        marks.check(config, ours)
        if not (is_worker(config) or config.option.collectonly):
            hold_folder(config)
        session_of(config)
        marks.need_a_board(ours, PLACE)
        items[:] = marks.by_baseline(items)
    except UsageError as error:
        if not is_worker(config):
            raise pytest.UsageError(str(error)) from error
        config.workeroutput[FROM_WORKER] = str(error)  # type: ignore[attr-defined]  # xdist's own
        items.clear()


def _only_scenarios(config: pytest.Config, items: list[pytest.Item], asked: str) -> None:
    from pytest_blynk_ota import marks

    left = marks.of_scenarios(items, asked.split(","))
    if len(left) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in left])
        items[:] = left


def uses_rig(item: pytest.Item) -> bool:
    """Whether a test asks for one of our fixtures, directly or through another one."""
    names = getattr(item, "fixturenames", ())
    if "_blynk_ota_session" in names:
        return True
    return "_blynk_ota_dut" in names and not _own_services(item)


def _own_services(item: pytest.Item) -> bool:
    from pytest_blynk_ota.embedded import own_services

    return own_services(item.config, [item])


@pytest.fixture(scope="session")
def _blynk_ota_session(request: pytest.FixtureRequest) -> Iterator[Session]:
    keep_tally(request.config)
    session = session_of(request.config)
    session.begin()
    for sentence in session.wrong_elves():
        request.config.issue_config_time_warning(pytest.PytestWarning(sentence), stacklevel=2)
    try:
        yield session
    finally:
        session.close()


@pytest.fixture(scope="session")
def rig(_blynk_ota_session: Session) -> Rig:
    """The rig of this run: its boards, its cloud, its firmware server."""
    return _blynk_ota_session.rig


@pytest.fixture
def _blynk_ota_test(
    request: pytest.FixtureRequest, _blynk_ota_session: Session
) -> Iterator[Running]:
    from pytest_blynk_ota.reporting import Running

    stash = request.config.stash
    stash[RUNNING] = Running.begin(request.node, _blynk_ota_session)
    try:
        yield stash[RUNNING]
    finally:
        running = stash[RUNNING]
        del stash[RUNNING]
        running.finish()


@pytest.fixture
def _blynk_ota_place(request: pytest.FixtureRequest, _blynk_ota_test: Running) -> Place:
    place = _blynk_ota_test.take_place(getattr(request, "param", None))
    if lack := _blynk_ota_test.lacks():
        pytest.skip(lack)
    return place


@pytest.fixture
def board(_blynk_ota_place: Place) -> Board:
    """The board of this test: reset, flash, identity."""
    return _blynk_ota_place.board


@pytest.fixture
def console(_blynk_ota_place: Place) -> Console:
    """The board's serial console: lines with cursors; a wait never consumes."""
    return _blynk_ota_place.board.console


@pytest.fixture
def power(_blynk_ota_place: Place, _blynk_ota_test: Running) -> Power:
    """The board's power; skips where the rig has no outlet for it."""
    if lack := _blynk_ota_test.lacks("power"):
        pytest.skip(lack)
    assert _blynk_ota_place.power is not None
    return _blynk_ota_place.power


@pytest.fixture
def network(_blynk_ota_place: Place) -> Iterator[Network]:
    """The rig's link and access point; what cannot be had here skips the test with the reason."""
    hand = _blynk_ota_place.network
    hand.refuse = pytest.skip
    yield hand
    hand.mend()


@pytest.fixture
def cloud(rig: Rig, _blynk_ota_test: Running) -> CloudServer:
    """The local Blynk server."""
    return rig.cloud


@pytest.fixture
def delivery(rig: Rig, _blynk_ota_test: Running) -> DeliveryServer:
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
    _blynk_ota_test: Running,
) -> Ota:
    """Shipments and offers on a board that has just been brought back to Old."""
    from pytest_blynk_ota.restore import Wanted

    marker = request.node.get_closest_marker("baseline")
    made = _blynk_ota_session.ota(
        _blynk_ota_place,
        _blynk_ota_test.bundle,
        _blynk_ota_test.keep,
        chance=_blynk_ota_test.chance,
        wanted=Wanted(**marker.kwargs) if marker else Wanted(),
    )
    made.restore()
    return made


@pytest.fixture
def campaign(
    request: pytest.FixtureRequest, ota: Ota, _blynk_ota_test: Running, _blynk_ota_place: Place
) -> Trouble:
    """Random trouble from one seed, until a budget is spent: ``campaign.run()``."""
    from pytest_blynk_ota.trouble import Trouble

    config = request.config
    return Trouble(
        request.node,
        ota,
        _blynk_ota_place,
        _blynk_ota_test.chance,
        budget=option(config, "campaign"),
        plan=path_option(config, "plan"),
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    try:
        yield
    except AssertionError as error:
        if RUNNING in item.config.stash:
            item.config.stash[RUNNING].explain(error)
        raise
    if RUNNING in item.config.stash:
        item.config.stash[RUNNING].fail_on_findings()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    ours = RUNNING in item.config.stash or (SESSION in item.config.stash and uses_rig(item))
    if ours and call.when != "teardown":
        from pytest_blynk_ota.reporting import add_properties

        add_properties(item, call)
    report = yield
    if ours and call.excinfo is not None:
        from pytest_blynk_ota.reporting import tell

        tell(item, report, call.excinfo)
    if ours:
        from pytest_blynk_ota import told
        from pytest_blynk_ota.reporting import link

        link(item, report)
        running = item.config.stash.get(RUNNING, None)
        told.tell(item, report, item.config.stash[SESSION], running)
    return report


def pytest_assertrepr_compare(
    config: pytest.Config, op: str, left: object, right: object
) -> list[str] | None:
    if RUNNING not in config.stash:
        return None
    return config.stash[RUNNING].compared(op, left, right)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    if SESSION in config.stash:
        config.stash[SESSION].close()
    if _has_evidence(config) and not is_worker(config):
        from pytest_blynk_ota import runs

        stopped = session.shouldstop or session.shouldfail
        tally = config.stash[TALLY]
        complete = exitstatus in runs.ENDED and not stopped and tally.all_ended
        tally.end()
        try:
            runs.end(config.stash[RUN], tally, complete=complete)
        except OSError as error:  # a full disk costs the run its end, not the results
            what = error.filename or f"the end of {config.stash[RUN]}"  # a full disk names none
            tally.trouble.append(f"{what} cannot be written: {error.strerror}")
        config.stash[COMPLETE] = complete
        from pytest_blynk_ota.ci import github

        told = runs.report(config.stash[RUN])
        config.stash[REPORT] = (told, github.tell(config.stash[RUN], os.environ))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    if _has_evidence(config):
        from pytest_blynk_ota.terminal.end import say

        complete = config.stash.get(COMPLETE, False)
        rows: Rows = config.stash[ROWS]
        folder = config.stash[RUN]
        say(terminalreporter, list(rows), folder, rig_option(config), whole=complete)
        told = config.stash.get(REPORT, ())
        for sentence in told:
            if sentence:
                terminalreporter.write_line(f"blynk-ota: {sentence}")
        for trouble in config.stash[TALLY].trouble:
            terminalreporter.write_line(f"blynk-ota: evidence lost: {trouble}", red=True)


def _has_evidence(config: pytest.Config) -> bool:
    return RUN in config.stash and (config.stash[RUN] / "run.json").exists()
