"""What GitLab and Jenkins read of a JUnit file, by their own rules."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from pytest_blynk_ota.ci.junit import seen_from
from pytest_blynk_ota.evidence.bundle import folder_name

GITLAB = re.compile(r"\[\[ATTACHMENT\|(?P<path>[^\[\]\|]+?)\]\]")
"""As gitlab-org/gitlab, lib/gitlab/ci/parsers/test/junit.rb has it."""
JENKINS = re.compile(r"\[\[ATTACHMENT\|.+\]\]")
"""As jenkinsci/junit-attachments-plugin, GetTestDataMethodObject.java has it; one a line."""
CONFTEST = """
import os, pathlib, pytest
from pytest_blynk_ota.ci import junit

@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    junit.attach(config, os.environ)

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    folder = pathlib.Path("runs") / item.name
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("serial.log", "events.jsonl"):
        (folder / name).write_text("x")
    if item.name != "test_other":
        report.user_properties.append(("blynk_ota_evidence", str(folder.absolute())))
    if report.failed:
        report.sections.append(("operation 1", "STALLED \\x00 because"))
    return report
"""
TESTS = """
def test_fails():
    print("printed")
    assert False, "the reason"
def test_passes(): pass
def test_other(): pass
"""


@pytest.fixture
def cases(pytester, monkeypatch):
    """Runs the tests above; gives test cases by name, and what the terminal showed."""
    for name in ("CI_PROJECT_DIR", "WORKSPACE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str):
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(test_it=TESTS)
        done = pytester.runpytest_subprocess("--junitxml=j.xml", *arguments)
        root = ElementTree.parse(pytester.path / "j.xml").getroot()
        return {case.get("name"): case for case in root.iter("testcase")}, done.stdout.str()

    return run


LOGGED = ["no", "system-out", "all", "system-err"]


@pytest.mark.parametrize(("logging", "workers"), [*((one, []) for one in LOGGED), ("all", ["-n1"])])
def test_both_find_the_evidence_whatever_else_is_logged(cases, logging, workers):
    found, shown = cases("-o", f"junit_logging={logging}", *workers)
    for name in ("test_fails", "test_passes"):
        (out,) = found[name].findall("system-out")
        assert GITLAB.search(out.text)["path"] == f"runs/{name}/serial.log"
        alone = [line for line in out.text.splitlines() if JENKINS.fullmatch(line.strip())]
        assert alone == [
            f"[[ATTACHMENT|runs/{name}/{file}]]" for file in ("serial.log", "events.jsonl")
        ]
    assert "ATTACHMENT" not in shown
    others = found["test_other"].findall("system-out")
    assert not any("ATTACHMENT" in out.text for out in others)


def test_a_failing_test_has_its_reason_and_its_story(cases):
    found, _ = cases()
    failure = found["test_fails"].find("failure")
    assert "the reason" in failure.get("message")
    assert "STALLED" in found["test_fails"].find("system-out").text
    assert "STALLED" not in found["test_passes"].find("system-out").text


def test_paths_are_seen_from_where_the_project_is_checked_out(cases, pytester, monkeypatch):
    monkeypatch.setenv("CI_PROJECT_DIR", str(pytester.path.parent))
    found, _ = cases()
    path = GITLAB.search(found["test_fails"].find("system-out").text)["path"]
    assert path == f"{pytester.path.name}/runs/test_fails/serial.log"


def test_a_path_outside_of_it_is_whole(tmp_path):
    assert seen_from(tmp_path / "project", tmp_path / "e" / "x") == str(tmp_path / "e" / "x")


def test_the_folder_of_a_parametrized_test_is_a_path_that_gitlab_takes():
    text = f"[[ATTACHMENT|{folder_name('t.py::test_a[c3-a]')}/serial.log]]"
    assert GITLAB.fullmatch(text)
