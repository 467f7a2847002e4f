"""What a run keeps of its tests while their reports come in, however it is stopped."""

import json
from types import SimpleNamespace

import pytest

from pytest_blynk_ota import runs
from pytest_blynk_ota.evidence.run import RUN_SCHEMA, read_run
from pytest_blynk_ota.runs import RIG, Tally


@pytest.fixture
def run(tmp_path):
    """A run that has begun, and its tally."""
    folder = tmp_path / "run"
    runs.begin(folder, {"schema": RUN_SCHEMA, "rig": "virtual", "complete": False})
    return SimpleNamespace(folder=folder, tally=Tally(lambda: folder, str))


def report(name: str, when: str, outcome: str = "passed") -> pytest.TestReport:
    where = ("test_it.py", 1, name)
    return pytest.TestReport(
        name, where, {}, outcome, outcome == "failed" or None, when, user_properties=[(RIG, "x")]
    )


def runs_through(tally: Tally, name: str, *, call: str = "passed", until: str = "teardown"):
    for when, outcome in (("setup", "passed"), ("call", call), ("teardown", "passed")):
        tally.pytest_runtest_logreport(report(name, when, outcome))
        if when == until:
            return


def collected(tally: Tally, *names: str) -> None:
    tally.pytest_collection_finish(
        SimpleNamespace(items=[SimpleNamespace(nodeid=name) for name in names])
    )


def ended(run, *, complete: bool):
    run.tally.end()
    runs.end(run.folder, run.tally, complete=complete)
    return read_run(run.folder)


def test_a_test_that_failed_before_it_was_stopped_in_its_teardown_has_failed(run):
    runs_through(run.tally, "a")
    runs_through(run.tally, "b", call="failed", until="call")
    stored = ended(run, complete=False)
    assert [(test.id, test.word) for test in stored.tests] == [("a", "passed"), ("b", "firmware")]
    assert (stored.data["result"], stored.data["counts"]) == (
        "firmware",
        {"passed": 1, "firmware": 1},
    )
    assert stored.marks == ()


def test_a_test_that_was_stopped_in_its_teardown_has_not_passed(run):
    runs_through(run.tally, "a", until="call")
    assert ended(run, complete=False).tests == ()


def test_a_run_is_not_whole_if_a_test_that_was_collected_never_ended(run):
    """As where a test calls pytest.exit() with code 0, or no worker is left that could run it."""
    collected(run.tally, "a", "b")
    runs_through(run.tally, "a")
    assert not run.tally.all_ended
    runs_through(run.tally, "b")
    assert run.tally.all_ended


def test_the_tests_that_workers_collect_count_once(run):
    for _ in range(2):
        run.tally.pytest_xdist_node_collection_finished(ids=["a", "b"])
    runs_through(run.tally, "a")
    stored = ended(run, complete=False)
    assert (stored.data["collected"], stored.data["ended"]) == (2, 1)


def test_a_test_that_ran_twice_counts_once_and_as_the_worse(run):
    runs_through(run.tally, "a", call="failed")
    runs_through(run.tally, "a")
    stored = ended(run, complete=True)
    assert stored.data["counts"] == {"firmware": 1}
    assert len(stored.tests) == 2
    assert stored.marks == ()


def test_each_line_holds_the_digest_of_the_one_before(run):
    for name in "abc":
        runs_through(run.tally, name)
    rows = (run.folder / "results.jsonl").read_text().splitlines()
    (run.folder / "results.jsonl").write_text("\n".join([rows[0], rows[2], ""]))
    assert len({json.loads(row)["before"] for row in rows}) == 3
    texts = [mark.text for mark in read_run(run.folder).marks]
    assert "line 2 does not follow the line before it" in texts
