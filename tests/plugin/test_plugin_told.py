"""What a test says of its failure is redacted as a whole, before anything is cut off."""

from types import SimpleNamespace

import pytest

from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.runs import TOLD
from pytest_blynk_ota.told import tell

TOKEN = "q7Rk2ZtB9mWx4LpV8sNcY3hJ6dGf1aQe"


@pytest.fixture
def told_of():
    """What is told of a test that failed with a message and a longer text."""
    redactor = Redactor()
    redactor.learn(TOKEN, "token of a")
    item = SimpleNamespace(
        nodeid="test_x.py::test_it",
        user_properties=[],
        iter_markers=lambda name: [],
        config=SimpleNamespace(getoption=lambda name: None),
    )

    def tell_it(message, text=""):
        report = SimpleNamespace(
            when="call",
            failed=True,
            skipped=False,
            longrepr=SimpleNamespace(reprcrash=SimpleNamespace(message=message)),
            longreprtext=text,
            sections=[],
            user_properties=[],
        )
        tell(item, report, SimpleNamespace(redactor=redactor), None)
        return getattr(report, TOLD)

    return tell_it


@pytest.mark.parametrize("at", [5, 16, 27])
def test_the_first_line_of_a_message_keeps_no_begin_of_a_secret(told_of, at):
    told = told_of(f"ValueError: no device has {TOKEN[:at]}\n{TOKEN[at:]}, says the cloud")
    assert told["message"] == "ValueError: no device has [token of a]"


def test_a_text_that_is_too_long_is_left_out_by_lines_and_redacted_all_the_same(
    told_of, monkeypatch
):
    monkeypatch.setattr("pytest_blynk_ota.told.MAX_TEXT_CHARS", 2000)
    row = f"E   {TOKEN} is no token\n"
    told = told_of("x", row * 100)
    lines = told["text"].split("\n")
    assert {line for line in lines if line and "left out" not in line} == {
        "E   [token of a] is no token"
    }
    assert sum("characters left out" in line for line in lines) == 1
