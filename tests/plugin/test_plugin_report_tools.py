"""The evidence in the reports of other tools, where they are installed."""

import json

import pytest

TESTS = "def test_it(firmware): pass\n"


def test_an_allure_report_has_the_evidence_and_what_was_tested(pytester):
    pytest.importorskip("allure_pytest", reason="allure-pytest is not installed")
    pytester.makepyfile(test_it=TESTS)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--alluredir=a", "--board=c3-a")
    done.assert_outcomes(passed=1)
    (result,) = (json.loads(path.read_text()) for path in pytester.path.glob("a/*-result.json"))
    parameters = {row["name"]: row["value"] for row in result["parameters"]}
    assert "c3-a" in parameters["blynk_ota_board"]
    assert "1.0.0" in parameters["blynk_ota_old_version"]
    files = {path.suffix for path in pytester.path.glob("a/*-attachment*")}
    assert {".log", ".json", ".jsonl"} <= files


@pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "xdist"])
def test_an_html_report_leads_to_the_evidence(pytester, workers):
    pytest.importorskip("pytest_html", reason="pytest-html is not installed")
    pytester.makepyfile(test_it=TESTS)
    done = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--html=pages/report.html", "--board=c3-a", *workers
    )
    done.assert_outcomes(passed=1)
    page = (pytester.path / "pages" / "report.html").read_text()
    (folder,) = pytester.path.glob(".blynk-ota/runs/*/tests/*")
    assert f"../{folder.relative_to(pytester.path)}" in page
