"""The list of planted bugs, and where they may be planted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_blynk_ota.errors import ConfigError, FirmwareError
from pytest_blynk_ota.firmware.behaviour import Behaviour, parse
from pytest_blynk_ota.firmware.bugs import BUGS
from pytest_blynk_ota.rig.config import check

PAGE = Path(__file__).parents[2] / "docs/reference/planted-bugs.md"
BOARD = {"name": "a", "chip": "esp32c3", "port": "virtual", "profile": "reference"}


def test_the_page_lists_each_bug_in_the_words_of_the_table():
    rows = re.findall(r"^\| (Z\d+) \| (.*) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert rows == [(one.id, one.what, " ".join(one.caught_by)) for one in BUGS.values()]
    assert list(BUGS) == [f"Z{number}" for number in range(1, 63)]


def test_bugs_survive_the_segment():
    mine = Behaviour.from_data({"profile": "reference", "bugs": ["Z7", "Z62"]})
    assert parse(mine.to_segment()).bugs == ("Z7", "Z62")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"profile": "reference", "bugs": ["Z63"]}, "bugs: expected a list of planted bugs"),
        ({"profile": "reference", "bugs": "Z7"}, "bugs: expected a list of planted bugs"),
        ({"profile": "edgent-new", "bugs": ["Z7"]}, 'only profile "reference" has places'),
    ],
)
def test_what_is_no_bug_or_has_no_place_is_refused(said, why):
    with pytest.raises(FirmwareError, match=re.escape(why)):
        Behaviour.from_data(said)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bugs": ["Z99"]}, r"board\[0\].bugs\[0\]: expected a planted bug, Z1 to Z62, got 'Z99'"),
        ({"bugs": ["Z7"], "profile": "sketch"}, r"board\[0\].bugs: are planted in firmware of"),
    ],
)
def test_a_rig_file_plants_known_bugs_in_the_reference_alone(changes, why):
    with pytest.raises(ConfigError, match=why):
        check({"rig": {"name": "r"}, "board": [BOARD | changes]}, "r.toml")


def test_each_bug_has_words_that_a_failure_due_to_it_says():
    assert all(one.shows and re.compile(one.shows) for one in BUGS.values())
