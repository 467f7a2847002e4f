"""New Edgent after a panic: its core dump reaches the local cloud over HTTP, and is gone then."""

from __future__ import annotations

import json
import re
import struct

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


@pytest.mark.parametrize("dials", ["tcp", pytest.param("tls", marks=pytest.mark.nightly)])
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


KEPT = """
import pytest
from pytest_blynk_ota import Outcome


@pytest.mark.parametrize("where", ["uart", "flash"])
def test_it(ota, firmware, where):
    crash = {"when": "before_login", "how": "panic"}
    new = firmware.behaving(confirm="login", crash=crash, coredump=where)
    result = ota.offer(new)
    assert result.outcome is Outcome.REVERTED
    assert [path.name for path in result.core_dumps] == [
        "coredump-1.b64", "coredump-1.bin", "coredump-1.elf"]
    (crash,) = result.crashes
    assert crash.startswith("Load access fault on core 0 at PC 0x42"), crash
    assert crash.endswith(" in boot 1, new (1.1.0)"), crash
    assert any(reason.text.startswith("crash: Load access fault") for reason in result.reasons)
    assert result.metrics["free heap"].unit == "B"
    assert result.metrics["download rate"].last > 0
    assert result.metrics["spoken"].count > 3
"""


def test_a_core_dump_is_kept_a_crash_read_and_a_wrong_elf_said(pytester, run_folder):
    text = (folder("rigs") / "virtual.toml").read_text().replace("= 20", "= 60")
    text += '\n[metrics]\nspoken = { regex = "len:0x([0-9]+)" }\n'
    (pytester.path / "rig.toml").write_text(text)
    (pytester.path / "other.elf").write_bytes(elf_of_nothing())
    pytester.makepyfile(test_it=KEPT)
    options = ("--rig=rig.toml", "--board=c3-a", "--elf=other.elf")
    result = pytester.runpytest_subprocess(*options)
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*other.elf: its SHA-256 *is not that of the firmware*not used"])
    for file in run_folder().glob("tests/*/events.jsonl"):
        said = [json.loads(line) for line in file.open()]
        (crash,) = [one["data"] for one in said if one["kind"] == "crash"]
        assert crash["elf"].startswith("not used: none of those given has the SHA-256")
        (dump,) = [one["data"] for one in said if one["kind"] == "core_dump"]
        assert dump["complete"]
        assert {*dump["files"]} == {path.name for path in file.parent.glob("coredump-*")}
        data = (file.parent / "coredump-1.bin").read_bytes()
        assert len(data) == dump["bytes"]
        lines = (file.parent / "serial.log").read_text()
        assert not re.search(r"\] [A-Za-z0-9+/]{64}$", lines, re.M), "the board's memory"


def elf_of_nothing() -> bytes:
    """The head of an ELF file for RISC-V, and no more."""
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    return ident + struct.pack("<HHIIIIIHHHHHH", 2, 243, 1, 0, 0, 0, 0, 52, 32, 0, 40, 0, 0)
