"""What an operation knows when it begins."""

from pathlib import Path

import pytest

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.ota import Ota, otadata_known

RESTORED = Event(1, 0.0, 0.0, "ota", "restored", "a", {"otadata": ["01", "ff"]})
REQUEST = Event(2, 0.0, 0.0, "delivery", "request", "a", {})


def read(running, would_boot):
    data = {"otadata": ["01", "02"], "running": running, "would_boot": would_boot}
    return Event(3, 0.0, 0.0, "flash", "read", "a", data)


def test_otadata_is_known_until_a_download_begins():
    assert otadata_known([RESTORED], "a") == ["01", "ff"]
    assert otadata_known([RESTORED, REQUEST], "a") is None
    assert otadata_known([RESTORED, REQUEST], "b") is None


def test_otadata_is_known_again_after_a_read_that_changed_nothing():
    assert otadata_known([RESTORED, REQUEST, read("app1", "app1")], "a") == ["01", "02"]


def test_a_read_whose_reset_gives_an_image_up_leaves_otadata_unknown():
    assert otadata_known([RESTORED, REQUEST, read("app1", "app0")], "a") is None


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"timeout": -1}, {"download_limit": 0}])
def test_a_number_that_makes_no_operation_is_refused_by_name(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is .*, got"):
        Ota(None, None, None, Path(), print).ship(**wrong)
