"""What a result says to people: names that are not there, and text that is no text."""

import pytest

from pytest_blynk_ota.result import Measured


def test_a_metric_that_was_not_measured_is_answered_with_those_that_were():
    found = Measured({"free heap": 1, "boot time": 2})
    assert found["free heap"] == 1
    with pytest.raises(KeyError, match=r"'free heep' was not measured .* free heap, boot time"):
        found["free heep"]
    with pytest.raises(KeyError, match="measured: nothing"):
        Measured({})["free heap"]
    assert found.get("free heep") is None
