"""However pytest ends, nothing stays: no process, no port, no lock; the evidence is readable."""

import json
import os
import signal
from pathlib import Path

import pytest
from plugin_runs import living, wait_until

from pytest_blynk_ota.evidence.bundle import read_bundle

SLOW = """
from pathlib import Path

from pytest_blynk_ota import faults


def test_it(rig, ota, dut):
    Path("port.txt").write_text(rig.place().board.console.url)
    ota.ship(faults=[faults.bandwidth(1000)], timeout=100_000)
"""


def listening() -> set[int]:
    """Local TCP ports that somebody listens on."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def in_mid_download(background, *arguments: str):
    run = background(SLOW, *arguments)
    run.wait_for("delivery", "progress")
    children = run.children
    assert any("pytest_blynk_ota.virtual" in line for line in children.values())
    port = int((run.folder / "port.txt").read_text().rpartition(":")[2])
    assert port in listening()
    return run, children, port


def read_only_bundle(run):
    (folder,) = run.folder.glob(".blynk-ota/runs/*/tests/*")
    events, _ = read_bundle(folder)
    return events


@pytest.mark.parametrize("arguments", [(), ("-n1",)], ids=["alone", "xdist"])
def test_ctrl_c_in_a_download_leaves_nothing_but_evidence(background, arguments):
    run, children, port = in_mid_download(background, *arguments)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.process.wait(20) == pytest.ExitCode.INTERRUPTED, run.text()
    wait_until(lambda: not living(children), f"the end of {children}", 5)
    assert port not in listening()
    assert any(
        (event.source, event.kind) == ("delivery", "progress") for event in read_only_bundle(run)
    )
    (path,) = run.folder.glob(".blynk-ota/runs/*/run.json")
    data = json.loads(path.read_text())
    assert (data["complete"], data["result"]) == (False, "incomplete")
    assert "INTERNALERROR" not in run.text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_pytest_takes_its_rack_along(background, number):
    run, children, port = in_mid_download(background)
    os.kill(run.process.pid, number)
    run.process.wait(20)
    wait_until(lambda: not living(children), f"the end of {children}", 10)
    assert port not in listening()
    assert read_only_bundle(run)
    (path,) = run.folder.glob(".blynk-ota/runs/*/run.json")
    data = json.loads(path.read_text())
    assert (data["complete"], data["result"]) == (False, "incomplete")


def test_a_session_without_a_dut_starts_the_rack_and_nothing_else(background):
    run = background(SLOW.replace(", dut", ""))
    run.wait_for("delivery", "progress")
    (only,) = run.children.values()
    assert "pytest_blynk_ota.virtual" in only


def test_our_dut_needs_no_process_of_pytest_embedded(background):
    _, children, _ = in_mid_download(background)
    assert len(children) == 1


def test_a_session_without_a_rig_starts_no_process(background):
    run = background(
        "def test_it():\n"
        "    import pathlib, time\n"
        "    pathlib.Path('begun').touch()\n"
        "    while not pathlib.Path('done').exists(): time.sleep(0.01)\n"
    )
    wait_until(lambda: (run.folder / "begun").exists(), "the test to begin")
    assert run.children == {}
    (run.folder / "done").touch()
    assert run.process.wait(20) == 0
