"""The options of a shipment: wrong ones are named, stored ones are read back."""

from __future__ import annotations

import json

import pytest

from pytest_blynk_ota import UsageError
from pytest_blynk_ota.air import AirRules
from pytest_blynk_ota.air.rules import CHECKS
from pytest_blynk_ota.air.versions import semver
from pytest_blynk_ota.beginning import with_limit

WRONG = {
    "devices": [(), ("",), "a", 3],
    "template": ["", 7],
    "condition": ["lower", None],
    "download_limit": [0, -1, 1.5, True, "3"],
    "reset_s": [0, -1, float("inf"), None],
    "window": ["noon", None],
    "zone": ["Mars/Olympus", "+99:00", "", None, "../etc/passwd"],
    "begins_at": ["noon", 5],
    "auto_update": [None, "yes"],
    "critical": [1],
    "stages": [(), (0.5,), (0.5, 0.2, 1.0), (0.0, 1.0), (0.1, "x"), 1.0],
    "stage_success": [-0.1, 1.1, None],
    "type_mismatch": ["sometimes"],
    "version_mismatch": ["never"],
    "build_counts": [0],
    "upload_failure_after_s": [0, "1 d"],
    "upload_failure_on_break": [None],
    "upload_failure_closes": [None],
    "rollback_after_s": [-1, None],
}


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, vs in WRONG.items() for v in vs])
def test_a_wrong_option_is_named_with_what_was_expected(name, value):
    with pytest.raises(UsageError, match=f"^AirRules: {name}: expected .+, got ") as raised:
        AirRules(**{name: value})
    assert repr(value) in str(raised.value)


def test_every_option_is_checked():
    assert set(CHECKS) == set(WRONG) == set(AirRules.__dataclass_fields__)


def test_rules_are_read_back_from_json():
    rules = AirRules(
        devices=("a", "b"), window="night", zone="Europe/Kyiv", stages=[0.1, 1.0], reset_s=60
    )
    assert AirRules.of(json.loads(json.dumps(rules.to_data()))) == rules


def test_options_of_a_later_version_are_left_out():
    assert AirRules.of(AirRules().to_data() | {"colour": "blue"}) == AirRules()


def test_the_limit_is_given_once():
    assert with_limit(None, 5).download_limit == 5
    assert with_limit(AirRules(window="night"), 5) == AirRules(window="night", download_limit=5)
    assert with_limit(AirRules(download_limit=7), 3).download_limit == 7
    with pytest.raises(UsageError, match="download_limit is 5, and rules say download_limit=7"):
        with_limit(AirRules(download_limit=7), 5)


def test_rules_of_another_kind_are_refused():
    with pytest.raises(UsageError, match=r"rules is an AirRules, as .*got \{'window': 'night'\}"):
        with_limit({"window": "night"}, 3)


def test_versions_sort_as_semantic_versions_do():
    """The order of semver.org, 11.4, and shorter ones."""
    rising = [
        "0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
        "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "v1.0.1", "1.2", "1.10.0",
    ]  # fmt: skip
    keys = [semver(text) for text in rising]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(rising)
    assert semver("1.0") == semver("1.0.0+build.7") == semver("v1")
    assert semver("one") is None
