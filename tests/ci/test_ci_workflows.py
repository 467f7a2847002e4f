"""The workflows that we run and those that users copy: they are valid, safe for a rack, and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
OURS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GITHUB = ROOT / "templates" / "github" / "firmware-updates.yml"
GITLAB = ROOT / "templates" / "gitlab" / "firmware-updates.yml"
ACTION = ROOT / "action.yml"
SCHEMAS = {
    "vendor.github-workflows": [*OURS, GITHUB],
    "vendor.github-actions": [ACTION],
    "vendor.gitlab-ci": [GITLAB],
}
PROJECT = """
def test_an_update(ota):
    assert ota.ship().outcome == "UPGRADED"
"""


def read(file: Path) -> Any:
    return YAML(typ="safe").load(file)


def step(job: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in job["steps"] if one.get("name") == name)


def tool(*words: str | Path) -> None:
    done = subprocess.run([BIN / words[0], *words[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("schema", sorted(SCHEMAS))
def test_each_file_keeps_to_its_schema(schema):
    tool("check-jsonschema", "--builtin-schema", schema, *SCHEMAS[schema])


def test_no_workflow_has_a_hole():
    tool("zizmor", "--offline", "--no-progress", "--persona=regular", *OURS, GITHUB, ACTION)


def test_a_pull_request_never_runs_on_the_rack_of_github():
    job = read(GITHUB)["jobs"]["rack"]
    assert job["if"] == "github.event_name != 'pull_request'"
    assert "pull_request_target" not in read(GITHUB)[True if True in read(GITHUB) else "on"]
    assert all("self-hosted" not in str(read(file)) for file in OURS)


def test_a_merge_request_never_runs_on_the_rack_of_gitlab():
    first, second = read(GITLAB)["rack-updates"]["rules"]
    assert first == {"if": '$CI_PIPELINE_SOURCE == "merge_request_event"', "when": "never"}
    assert second == {"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"}


def test_one_job_has_a_rig_at_a_time_and_none_is_cancelled_for_the_next():
    assert read(GITHUB)["jobs"]["rack"]["concurrency"]["cancel-in-progress"] is False
    assert read(GITLAB)["rack-updates"]["resource_group"]


def test_the_power_goes_off_however_the_job_ended():
    off = "rig power off --rig"
    last = step(read(GITHUB)["jobs"]["rack"], "Power off")
    assert off in last["run"]
    assert last["if"] == "always()"
    assert off in read(GITLAB)["rack-updates"]["after_script"][0]
    assert step(read(ACTION)["runs"], "Power off")["if"].startswith("always() &&")


def test_secrets_reach_the_job_on_the_rack_alone():
    text = GITHUB.read_text()
    assert "secrets." in text[text.index("  rack:") :]
    assert "secrets." not in text[: text.index("  rack:")]


def test_each_night_runs_all_parts_of_the_script():
    script = (ROOT / ".ci" / "nightly").read_text()
    parts = re.search(r"^parts=\((.*)\)$", script, re.M)
    assert parts is not None
    nightly = read(ROOT / ".github" / "workflows" / "nightly.yml")["jobs"]["nightly"]
    assert nightly["strategy"]["matrix"]["part"] == parts[1].split()
    missing = [
        one.name for one in (ROOT / "benchmarks").glob("bench_*.py") if one.name not in script
    ]
    assert missing == []


def test_a_part_that_there_is_not_is_named_and_nothing_runs():
    done = subprocess.run(["bash", ROOT / ".ci" / "nightly", "fuz"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "no part 'fuz': expected figures fuzz tests" in done.stderr


def of_github() -> tuple[str, dict[str, str]]:
    workflow = read(GITHUB)
    return step(workflow["jobs"]["virtual"], "Test")["run"], workflow["env"]


def of_gitlab() -> tuple[str, dict[str, str]]:
    pipeline = read(GITLAB)
    return pipeline["virtual-updates"]["script"][-1], pipeline["variables"]


def of_action() -> tuple[str, dict[str, str]]:
    given = {name.upper(): one.get("default", "") for name, one in read(ACTION)["inputs"].items()}
    given |= {
        "TESTS": "tests/ota 'tests/with blank'",
        "ARGS": "-k 'update and not other' -o junit_suite_name='$(touch no)'",
    }
    return step(read(ACTION)["runs"], "Test")["run"], given


@pytest.mark.parametrize(
    "source",
    [of_action, *(pytest.param(one, marks=pytest.mark.nightly) for one in (of_github, of_gitlab))],
)
def test_the_virtual_part_runs_by_its_own_commands(source, tmp_path):
    command, given = source()
    for folder in ("ota", "with blank"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
    (tmp_path / "tests" / "ota" / "test_update.py").write_text(PROJECT)
    (tmp_path / "blynk-ota").mkdir()
    (tmp_path / "blynk-ota" / "bin").symlink_to(BIN)
    environ = os.environ | given
    environ |= {"PATH": f"{BIN}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path)}
    environ["GITHUB_ACTION_PATH"] = str(ROOT)
    for name in [one for one in environ if one.startswith("PYTEST_")]:
        del environ[name]
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, env=environ,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "evidence" / "report.html").exists()
    assert list(tmp_path.glob("*junit.xml"))
    assert not (tmp_path / "no").exists()
