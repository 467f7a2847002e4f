"""However pytest ends, nothing stays: no process, no port, no lock; the evidence is readable."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from plugin_runs import living, wait_until

from pytest_blynk_ota.evidence.bundle import read_test

SLOW = """
from pathlib import Path

from pytest_blynk_ota import faults


def test_it(rig, ota, dut):
    Path("port.txt").write_text(rig.place().board.console.url)
    ota.ship(faults=[faults.bandwidth(1000)], timeout=100_000)
"""


def listening() -> dict[str, int]:
    """The ports of all TCP sockets that listen, by the sockets' inodes: a port that one run has
    let go may be another's at once, an inode is one socket's."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9]: int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def listener_of(pids, port: int) -> str:
    """The inode of the socket by which one of these processes listens at the port."""
    held = set()
    for link in (link for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir()):
        with suppress(FileNotFoundError):  # closed in the meantime
            held.add(str(link.readlink()))
    mine = {
        inode for inode, at in listening().items() if at == port and f"socket:[{inode}]" in held
    }
    assert len(mine) == 1, f"port {port}: {mine} of {held}"
    return mine.pop()


def in_mid_download(background, *arguments: str):
    run = background(SLOW, *arguments)
    run.wait_for("delivery", "progress")
    children = run.children
    assert any("pytest_blynk_ota.virtual" in line for line in children.values())
    port = int((run.folder / "port.txt").read_text().rpartition(":")[2])
    return run, children, listener_of(children, port)


def read_only_bundle(run):
    (folder,) = run.folder.glob(".blynk-ota/runs/*/tests/*")
    return read_test(folder).events


@pytest.mark.parametrize(
    "arguments",
    [pytest.param((), id="alone", marks=pytest.mark.nightly), pytest.param(("-n1",), id="xdist")],
)
def test_ctrl_c_in_a_download_leaves_nothing_but_evidence(background, arguments):
    run, children, listener = in_mid_download(background, *arguments)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.process.wait(20) == pytest.ExitCode.INTERRUPTED, run.text()
    wait_until(lambda: not living(children), f"the end of {children}", 5)
    assert listener not in listening()
    assert any(
        (event.source, event.kind) == ("delivery", "progress") for event in read_only_bundle(run)
    )
    (path,) = run.folder.glob(".blynk-ota/runs/*/run.json")
    data = json.loads(path.read_text())
    assert (data["complete"], data["result"]) == (False, "incomplete")
    assert "INTERNALERROR" not in run.text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_pytest_takes_its_rack_along(background, number):
    run, children, listener = in_mid_download(background)
    os.kill(run.process.pid, number)
    run.process.wait(20)
    wait_until(lambda: not living(children), f"the end of {children}", 10)
    assert listener not in listening()
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
