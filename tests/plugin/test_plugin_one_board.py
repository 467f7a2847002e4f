"""``--rig auto`` and ``--rig PORT``: a run on one board, with no rig file."""

import json
import tomllib

import pytest

from pytest_blynk_ota.rig.config import load
from pytest_blynk_ota.rig.virtual_rack import VirtualRack

QUICK = ("-p", "no:cacheprovider", "-p", "no:pytest_embedded", "-p", "no:hypothesispytest")
RIG = """
[rig]
name = "bench"
speed = 20
[[board]]
name = "c3-a"
chip = "esp32c3"
port = "virtual"
provision = { kind = "edgent-nvs" }
profile = "edgent-old"
virtual = { flash = "c3.bin" }
"""


@pytest.mark.parametrize(
    ("word", "wifi", "says", "workers"),
    [
        ("auto", "", "how does its firmware learn its network and token?", []),
        ("usb:NO", "lab:passphrase", "no USB serial port has the serial number NO;", []),
        ("usb:NO", "lab:passphrase", "no USB serial port has the serial number NO;", ["-n2"]),
    ],
    ids=["no settings", "no board", "no board, xdist"],
)
def test_a_board_that_cannot_be_had_is_one_usage_error(
    project, monkeypatch, word, wifi, says, workers
):
    monkeypatch.setenv("WIFI", wifi)
    monkeypatch.delenv("BLYNK_TOKEN", raising=False)
    done = project.runpytest_subprocess(*QUICK, f"--rig={word}", *workers)
    output = done.stderr.str() + done.stdout.str()
    assert done.ret == pytest.ExitCode.USAGE_ERROR, output
    assert f"ERROR: --rig {word}: " in output
    assert says in output
    assert output.count("ERROR: ") == 1
    assert not (project.path / ".blynk-ota").exists()


@pytest.mark.nightly
@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["alone", "xdist"])
def test_an_update_on_a_board_that_is_named_by_its_port_alone(project, monkeypatch, workers):
    path = project.path / "bench.toml"
    path.write_text(RIG)
    assert project.runpytest_subprocess(*QUICK, f"--rig={path}").ret == 0  # as a board is sold
    monkeypatch.setenv("WIFI", "lab:passphrase")
    monkeypatch.chdir(project.path)
    rack = VirtualRack(path, ["c3-a"], project.path / "rack.log")
    try:
        url = rack.ports["c3-a"].url
        done = project.runpytest_subprocess(*QUICK, f"--rig={url}", *workers)
    finally:
        rack.stop()
    done.assert_outcomes(passed=1)
    (made,) = project.path.glob(".blynk-ota/rigs/*.toml")
    (board,) = load(made).board
    assert (board.port, board.chip, board.is_virtual) == (url, "esp32c3", False)
    (run,) = project.path.glob(".blynk-ota/runs/*127.0.0.1*")
    assert json.loads((run / "run.json").read_text())["rig_file"] == str(made)
    assert tomllib.loads(made.read_text())["rig"]["name"] in run.name
