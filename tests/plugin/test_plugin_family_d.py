"""Family D: the table is whole, the docs have each of its rows, and some of them run here.

All of them: ``python tests/plugin/family_d.py --all``, each night.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from family_d import AIR, OUTCOMES, PROFILES, SPEED, TABLE, problem, run

from pytest_blynk_ota.air import AirStatus
from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.verdict import Outcome

DOCS = Path(__file__).parents[2] / "docs/reference/delivery-scenarios.md"
OF_THE_NETWORK = {47, 48}
SELECTED = {
    "edgent-old": ("D5b", "D8", "D15c", "D42a"),
    "edgent-new": ("D6c", "D28b", "D50a", "D51a"),
    "mqtt-idf": ("D9", "D10c", "D33b", "D41e"),
    "reference": ("D4", "D11", "D36", "D38"),
}
"""A row for each way out: refused by status, length, digest or framing; the limit; no name; a
pause in the headers; redirected, resumed, tried again in one boot."""
AT_ONCE = 2
"""Rigs that run side by side: most of a run is waiting."""


def number(id: str) -> int:
    return int(re.sub(r"\D", "", id))


def test_each_scenario_has_a_row_that_can_be_said_and_an_outcome_for_each_profile():
    assert {number(one.id) for one in TABLE} == set(range(1, 52)) - OF_THE_NETWORK
    assert len({one.id for one in TABLE}) == len(TABLE)
    assert {*OUTCOMES.values()} <= {one.name for one in Outcome}
    for one in TABLE:
        assert len(one.want) == len(PROFILES), one.id
        assert all(faults.parse_all(text) for text in one.faults), one.id
        assert len(one.airs) == len(PROFILES), one.id
        assert {*one.airs} <= {*AIR}, one.id
    assert {*AIR.values()} <= {one.name for one in AirStatus}


def test_the_docs_have_each_row_and_what_each_profile_does():
    """One line for each: | D1a | fault | old | new | MQTT | reference | Air | why |"""
    lines = [line.split("|")[1:-1] for line in DOCS.read_text().splitlines() if line[:3] == "| D"]
    told = {cells[0].strip(): [cell.strip() for cell in cells[1:7]] for cells in lines}
    for one in TABLE:
        assert told.pop(one.id) == [f"`{one.said}`", *one.want, " ".join(one.airs)], one.id
    assert {number(id) for id in told} == OF_THE_NETWORK


def test_what_differs_from_the_table_is_named():
    (row,) = (one for one in TABLE if one.id == "D5b")
    ended = ["refused"] * 3
    came = {"outcome": "DOWNLOAD_LIMIT_REACHED", "air": "REQUESTED", "findings": [], "ended": ended}
    assert "Air REQUESTED" in str(problem(row, "edgent-old", came))
    assert "findings" in str(problem(row, "edgent-old", {**came, "findings": ["hang"]}))
    assert problem(row, "mqtt-idf", came) == "expected DOWNLOAD_FAILED"
    assert problem(row, "edgent-old", None) == "did not run"
    came["air"] = "DOWNLOAD_LIMIT_REACHED"
    assert problem(row, "edgent-old", came) is None
    assert problem(row, "edgent-old", {**came, "ended": ended[1:]}) == "2 downloads, expected 3"


@pytest.mark.nightly
def test_each_profile_comes_out_of_a_bad_download_as_the_table_says(tmp_path):
    rows = {profile: [one for one in TABLE if one.id in SELECTED[profile]] for profile in PROFILES}
    assert {profile: len(some) for profile, some in rows.items()} == {
        profile: len(ids) for profile, ids in SELECTED.items()
    }
    assert all(one.speed == SPEED for some in rows.values() for one in some)

    def came(profile):
        return run(profile, rows[profile], tmp_path / profile, SPEED)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = dict(zip(PROFILES, pool.map(came, PROFILES), strict=True))
    wrong = {
        f"{one.id} {profile}": why
        for profile, some in rows.items()
        for one in some
        if (why := problem(one, profile, told[profile].get(one.id))) is not None
    }
    assert not wrong
