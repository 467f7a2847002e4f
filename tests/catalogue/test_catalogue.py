"""The stock suite and its catalogue belong together: each scenario has a test, or a reason."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "hil_tests"))

from catalogue import families, scenarios  # noqa: E402
from delivery_rows import ROWS  # noqa: E402
from expected import AIR, COLUMNS, OUTCOMES, Expected  # noqa: E402

from pytest_blynk_ota.delivery import faults  # noqa: E402
from pytest_blynk_ota.firmware.bugs import BUGS  # noqa: E402
from pytest_blynk_ota.rig.profiles import PROFILES  # noqa: E402
from pytest_blynk_ota.rig.ways import profile_of  # noqa: E402

PAGE = ROOT / "docs/reference/delivery-scenarios.md"


@pytest.fixture(scope="session")
def collected() -> dict[str, set[str]]:
    """The scenarios that the suite's tests name, without the letter of a part: those with a test
    that runs with anybody's firmware (``OWN``), those with one that does not, those listed alone.
    """
    listing = """
import pytest
class Seen:
    def pytest_collection_modifyitems(self, items):
        for item in items:
            needs = {word for mark in item.iter_markers("requires") for word in mark.args}
            kind = "FIXTURE" if "fixture-firmware" in needs else "OWN"
            kind = "LISTED" if "test_listed" in item.nodeid else kind
            for mark in item.iter_markers("scenario"):
                print("SCENARIO", kind, *mark.args)
words = ["--collect-only", "-q", "-m", "", "hil_tests", "-p", "no:cacheprovider"]
pytest.main(words, plugins=[Seen()])
"""
    told = subprocess.run(
        [sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, set[str]] = {"OWN": set(), "FIXTURE": set(), "LISTED": set()}
    for line in re.findall(r"^SCENARIO (.*)$", told.stdout, re.M):
        kind, *ids = line.split()
        found[kind] |= {id.rstrip("abcdefghijklmnopqrstuvwxyz") for id in ids}
    return found


def test_each_scenario_has_a_test_or_a_reason(collected):
    whole = set().union(*collected.values())
    assert whole - set(scenarios()) == set(), "tests of scenarios that the catalogue lacks"
    assert set(scenarios()) - whole == set(), "scenarios without a test"


def test_the_readme_counts_what_runs_with_one_binary(collected):
    told = re.sub(r"\s+", " ", (ROOT / "README.md").read_text(encoding="utf-8"))
    tested = collected["OWN"] | collected["FIXTURE"]
    assert f"{len(scenarios())} scenarios, {len(tested)} of them with tests." in told
    assert f"{len(collected['OWN'])} run with one `.bin` of your own" in told


def test_the_catalogue_is_whole():
    assert len(scenarios()) == 174
    assert {one.family for one in scenarios().values()} == set(families())
    assert {row for bug in BUGS.values() for row in bug.caught_by} <= set(scenarios())


def test_each_row_of_family_d_can_be_said_and_has_a_cell_for_each_firmware():
    assert len({one.id for one in ROWS}) == len(ROWS)
    for one in ROWS:
        assert len(one.want) == len(COLUMNS), one.id
        assert {*one.want} <= {*OUTCOMES}, one.id
        assert all(faults.parse_all(text) for text in one.faults), one.id
        assert len(one.air.split()) in (0, len(COLUMNS)), one.id
        assert {*one.air.split()} <= {*AIR}, one.id


def test_the_page_of_family_d_has_each_row_as_the_suite_has_it():
    lines = [line.split("|")[1:-1] for line in PAGE.read_text().splitlines() if line[:3] == "| D"]
    told = {cells[0].strip(): [cell.strip() for cell in cells[1:6]] for cells in lines}
    for one in ROWS:
        assert told.pop(one.id) == [f"`{one.said}`", *one.want], one.id
    assert set(told) == {"D47", "D48"}


def test_a_described_firmware_has_the_column_that_its_trait_gives():
    plain = Expected(PROFILES["edgent-new"])
    follows = Expected(profile_of({"base": "edgent-new", "redirects": True}))
    assert COLUMNS[plain.column("redirects")] == "edgent-new"
    assert COLUMNS[follows.column("redirects")] == "mqtt-idf"
    assert COLUMNS[follows.column()] == "edgent-new"
    assert not Expected(PROFILES["default"]).is_known


def test_the_page_is_made_from_the_catalogue():
    """All but its last column, which the run that it was made from decides."""
    from catalogue_page import page

    def without_results(text: str) -> list[str]:
        return [line.rpartition(" | ")[0] or line for line in text.splitlines()]

    stored = (ROOT / "docs/reference/catalogue.md").read_text(encoding="utf-8")
    assert without_results(stored) == without_results(page([]))


def test_the_page_of_the_peers_is_made_from_the_catalogue():
    from peers_page import cases, page

    stored = (ROOT / "docs/reference/peers.md").read_text(encoding="utf-8")
    assert stored == page()
    assert all(cases().values())
