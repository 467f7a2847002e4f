"""The statuses of Blynk.Air by what boards made of software do."""

from __future__ import annotations

from pathlib import Path

import pytest
import statuses_on_the_rig

from pytest_blynk_ota.air import AirStatus
from pytest_blynk_ota.rig.shipped import folder

SOURCE = Path(statuses_on_the_rig.__file__)
SPEED = 40
BY_PHONE = {AirStatus.UPLOADED_TO_MOBILE}
STORIES = [name for name in dir(statuses_on_the_rig) if name.startswith("test_")]
STATUSES = [f"test_{status.name.lower()}" for status in AirStatus if status not in BY_PHONE]


@pytest.fixture
def on_the_rig(pytester):
    """Runs stories one after the other on a quick virtual rig, as a user's tests."""
    rig = (folder("rigs") / "virtual.toml").read_text()
    assert "speed = 20" in rig
    (pytester.path / "rig.toml").write_text(rig.replace("speed = 20", f"speed = {SPEED}"))
    pytester.makepyfile(test_it=SOURCE.read_text(encoding="utf-8"))

    def run(names: list[str]) -> None:
        stories = [f"test_it.py::{name}" for name in names]
        done = pytester.runpytest_subprocess(*stories, "--rig=rig.toml", "--board=c3-a")
        done.assert_outcomes(passed=len(names))

    return run


@pytest.mark.nightly
def test_devices_reach_the_eleven_statuses_that_need_no_phone(on_the_rig):
    assert len(STATUSES) == 11
    on_the_rig(STATUSES)


@pytest.mark.nightly
def test_hands_and_rules_do_what_they_say(on_the_rig):
    on_the_rig(sorted(set(STORIES) - set(STATUSES)))
