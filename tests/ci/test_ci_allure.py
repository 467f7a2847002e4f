"""A test's evidence in an Allure report."""

import json

import pytest

pytest.importorskip("allure_pytest")


def found(value, name: str) -> list[dict]:
    """Attachments of a name, wherever they stand."""
    if isinstance(value, dict):
        mine = [row for row in value.get("attachments", []) if row["name"] == name]
        return mine + [row for one in value.values() for row in found(one, name)]
    return [row for one in value for row in found(one, name)] if isinstance(value, list) else []


@pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "xdist"])
def test_the_evidence_is_attached_and_named(pytester, workers):
    pytester.makepyfile(test_it="def test_it(rig, board): assert False\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--alluredir=shown", *workers)
    done.assert_outcomes(failed=1)
    shown = [
        json.loads(path.read_text())
        for path in (pytester.path / "shown").glob("*.json")
        if "attachment" not in path.name
    ]
    (evidence,) = pytester.path.glob(".blynk-ota/runs/*/tests/*")
    for name in ("serial.log", "verdict.json", "events.jsonl"):
        (row,) = found(shown, name)
        attached = pytester.path / "shown" / row["source"]
        assert attached.read_bytes() == (evidence / name).read_bytes()
    (result,) = [one for one in shown if one.get("fullName")]
    told = {row["name"]: row["value"] for row in result["parameters"]}
    assert told["blynk_ota_board"] == "'c3-a'"
    assert str(evidence) in told["blynk_ota_evidence"]


def test_without_its_option_nothing_is_written(pytester):
    pytester.makepyfile(test_it="def test_it(firmware): pass\n")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert not list(pytester.path.rglob("*-result.json"))
