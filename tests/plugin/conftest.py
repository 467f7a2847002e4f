"""Helpers of the plugin's own tests: each runs pytest in a process and a folder of its own."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from plugin_runs import Run

from pytest_blynk_ota.firmware import recipe
from pytest_blynk_ota.rig.shipped import folder


@pytest.fixture
def background(pytester):
    """Starts pytest in the background; ends what is left of it."""
    started = []

    def start(source: str, *arguments: str) -> Run:
        pytester.makepyfile(test_it=source)
        started.append(Run(pytester.path, *arguments))
        return started[-1]

    yield start
    for run in started:
        run.end()


@pytest.fixture
def project(pytester):
    """A folder of its own with one test that ships."""
    pytester.makepyfile(test_it="def test_it(ota):\n    ota.ship()\n")
    return pytester


@pytest.fixture
def images(pytester):
    """Old and New for the C3 as files, as a user has them."""
    made = {}
    for name in ("old", "new"):
        text = (folder("firmware_fixtures") / f"{name}.toml").read_text()
        path = pytester.path / f"{name}.bin"
        path.write_bytes(recipe.make(recipe.loads(text, name), "esp32c3"))
        made[name] = path
    return made


@pytest.fixture
def run_folder(pytester):
    """Gives the only run folder."""

    def only() -> Path:
        (found,) = pytester.path.glob(".blynk-ota/runs/*")
        return found

    return only


@pytest.fixture
def run_json(run_folder):
    """Gives the only run's run.json."""
    return lambda: json.loads((run_folder() / "run.json").read_text())


@pytest.fixture
def junit(pytester):
    """Reads ``junit.xml``: by test name, the properties and the tags inside a test case."""

    def read() -> dict[str, tuple[list[tuple[str, str]], list[str]]]:
        root = ElementTree.parse(pytester.path / "junit.xml").getroot()
        return {
            case.get("name"): (
                [(row.get("name"), row.get("value")) for row in case.iter("property")],
                [child.tag for child in case],
            )
            for case in root.iter("testcase")
        }

    return read
