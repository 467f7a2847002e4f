"""New Edgent after a panic: its core dump reaches the local cloud over HTTP, and is gone then."""

from __future__ import annotations

import json
import re

import pytest

from pytest_blynk_ota.rig.shipped import folder

DUMPED = """
import pytest
from pytest_blynk_ota import Outcome


@pytest.mark.finding("late")  # the crash, which comes after the update
def test_it(ota, firmware, console):
    result = ota.ship(firmware.behaving(coredump="flash", log="info"))
    assert result.outcome is Outcome.UPGRADED
    console.expect("State: RUNNING", timeout=60)
    console.write("sys coredump test crash\\r\\n")
    console.expect("Uploading core dump", timeout=120)
    console.write("sys coredump\\r\\n")  # heard when the upload is over
    console.expect("No core dump available", timeout=60)
"""


@pytest.mark.parametrize("dials", ["tcp", "tls"])
def test_a_core_dump_is_taken_by_the_cloud_and_erased_on_the_board(pytester, run_folder, dials):
    text = (folder("rigs") / "profiles.toml").read_text()
    text = text.replace('"edgent-new"\n', f'"edgent-new"\ndials = "{dials}"\n', 1)
    text = text.replace("= 20", "= 60")
    (pytester.path / "rig.toml").write_text(text)
    pytester.makepyfile(test_it=DUMPED)
    pytester.runpytest_subprocess("--rig=rig.toml", "--board=edgent-new").assert_outcomes(passed=1)
    (events,) = run_folder().glob("tests/*/events.jsonl")
    said = [json.loads(line) for line in events.open()]
    (upload,) = [one for one in said if (one["source"], one["kind"]) == ("cloud", "upload")]
    assert (upload["data"]["name"], upload["data"]["type"]) == ("edgent-new", "DUMP")
    (door,) = {
        one["data"]["door"]
        for one in said
        if one["kind"] == "connected" and one["data"].get("session") == upload["data"]["session"]
    }
    assert door == dials
    assert not any("Core dump upload failed" in str(one["data"].get("text")) for one in said)
    (printed,) = {
        found[1]
        for one in said
        if one["kind"] == "line"
        and (found := re.search(r"Uploading core dump \((\d+) bytes\)", one["data"]["text"]))
    }
    assert upload["data"]["bytes"] == int(printed)
