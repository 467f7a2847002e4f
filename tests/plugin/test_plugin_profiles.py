"""Every firmware profile that the local cloud can serve ships, and ends a stall in its own way."""

from __future__ import annotations

import json

import pytest

from pytest_blynk_ota.rig.shipped import folder

BOTH = """
from pytest_blynk_ota import Outcome, faults


def test_a_shipment(ota):
    result = ota.ship()
    assert result.outcome is Outcome.UPGRADED
    assert not result.findings


def test_a_stall(ota):
    result = ota.offer(faults=[faults.stall(after="50%")])
    assert result.outcome is Outcome.STALLED
    assert not result.findings
"""
MQTT = """
import pytest
from pytest_blynk_ota import Outcome, faults

pytestmark = pytest.mark.finding("secret in the log")  # it prints the URL, with its token


def test_a_shipment(ota):
    result = ota.ship()
    assert result.outcome is Outcome.UPGRADED
    assert {one.name for one in result.findings} == {"secret in the log"}


@pytest.mark.finding("hang")  # esp_https_ota() waits for ever
def test_a_stall(ota):
    result = ota.offer(faults=[faults.stall(after="50%")])
    assert result.outcome is Outcome.STALLED
    assert {one.name for one in result.findings} == {"hang", "secret in the log"}
    assert ota.ship().outcome is Outcome.UPGRADED


def test_a_rollback(ota, firmware):
    result = ota.ship(firmware.recipe("new-self-test-fails"))
    assert result.outcome is Outcome.ROLLED_BACK
"""
SWEPT = """
def test_every_cut(ota, firmware):
    new = firmware.behaving(confirm="self_test", self_test={"after_s": 3.0, "passes": True})
    sweep = ota.sweep_power_cuts(new, torn=0, seed=1)
    assert sweep.all_well, f"{sweep}"
    trial = [row for row in sweep.rows if row.on_trial]
    assert {row.phase for row in trial} == PHASES
    assert {str(row.result.outcome) for row in trial} == {"ROLLED_BACK"}
"""
ROLLBACK = """

def test_a_rollback(ota, firmware):
    result = ota.ship(firmware.recipe("new-self-test-fails"))
    assert result.outcome is Outcome.ROLLED_BACK
"""
RESTARTS = {"edgent-old", "edgent-new"}
REQUESTS = {"reference": 3}


def rig_file(pytester, speed: int) -> None:
    text = (folder("rigs") / "profiles.toml").read_text()
    assert "speed = 20" in text
    (pytester.path / "rig.toml").write_text(text.replace("speed = 20", f"speed = {speed}"))


@pytest.mark.parametrize(
    "board",
    [
        "edgent-old",
        *(
            pytest.param(one, marks=pytest.mark.nightly)
            for one in ("edgent-new", "sketch", "reference")
        ),
    ],
)
def test_a_profile_ships_and_survives_a_stall_in_its_own_way(pytester, run_folder, board):
    rig_file(pytester, 60)
    pytester.makepyfile(test_it=BOTH)
    pytester.runpytest_subprocess("--rig=rig.toml", f"--board={board}").assert_outcomes(passed=2)
    (bundle,) = run_folder().glob("tests/*a_stall*")
    events = [json.loads(line) for line in (bundle / "events.jsonl").open()]
    offered = next(n for n, one in enumerate(events) if one["kind"] == "ota_sent")
    after = [(one["source"], one["kind"]) for one in events[offered:]]
    assert (("uart", "reset") in after) is (board in RESTARTS)
    assert after.count(("delivery", "request")) == REQUESTS.get(board, 1)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("board", "phases"),
    [("reference", {"confirming"}), ("edgent-new", {"settings (nvs)", "confirming"})],
)
def test_every_power_cut_is_survived_and_goes_back_where_new_was_on_trial(pytester, board, phases):
    rig_file(pytester, 60)
    pytester.makepyfile(test_it=f"PHASES = {phases}\n{SWEPT}")
    pytester.runpytest_subprocess("--rig=rig.toml", f"--board={board}").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "board",
    [
        "edgent-new",
        *(
            pytest.param(one, marks=pytest.mark.nightly)
            for one in ("reference", "edgent-old", "sketch")
        ),
    ],
)
def test_over_tls_a_profile_ships_stalls_and_rolls_back_as_over_tcp(pytester, run_folder, board):
    rig_file(pytester, 60)
    path = pytester.path / "rig.toml"
    told = f'"{board}"\ndials = "tls"\n'
    path.write_text(path.read_text().replace(f'"{board}"\n', told, 1))
    pytester.makepyfile(test_it=BOTH + ROLLBACK)
    pytester.runpytest_subprocess("--rig=rig.toml", f"--board={board}").assert_outcomes(passed=3)
    (bundle, *_) = run_folder().glob("tests/*")
    events = [json.loads(line) for line in (bundle / "events.jsonl").open()]
    doors = {
        one["data"]["door"]
        for one in events
        if one["kind"] == "connected" and one["source"] == "cloud"
    }
    assert doors == {"tls"}


@pytest.mark.parametrize("kind", ["mqtt", pytest.param("mqtts", marks=pytest.mark.nightly)])
def test_over_mqtt_the_sample_ships_stalls_and_rolls_back(pytester, run_folder, kind):
    """ESP-IDF's default bootloader has no rollback; the rig's baseline has one with it."""
    rig_file(pytester, 60)
    path = pytester.path / "rig.toml"
    told = f'"mqtt-idf"\ndials = "{kind}"\n'
    path.write_text(path.read_text().replace('"mqtt-idf"\n', told, 1))
    pytester.makepyfile(test_it=MQTT)
    pytester.runpytest_subprocess("--rig=rig.toml", "--board=mqtt-idf").assert_outcomes(passed=3)
    (bundle,) = run_folder().glob("tests/*a_stall*")
    events = [json.loads(line) for line in (bundle / "events.jsonl").open()]
    logins = [one for one in events if (one["source"], one["kind"]) == ("cloud", "login")]
    assert {one["data"]["scheme"] for one in logins} == {kind}
    offered = next(n for n, one in enumerate(events) if one["kind"] == "ota_sent")
    after = [(one["source"], one["kind"]) for one in events[offered:]]
    after = after[: after.index(("ota", "watch_ended"))]
    assert ("uart", "reset") not in after, "it goes on after a failure"
    assert after.count(("delivery", "request")) == 1


def test_settings_are_compiled_into_images_made_from_recipes_only(pytester, images):
    rig_file(pytester, 60)
    pytester.makepyfile(test_it="def test_it(ota):\n    pass\n")
    stranger = bytearray(images["old"].read_bytes())
    at = stranger.index(b"BOTABEHV")
    stranger[at : at + 8] = b"NOTHING!"
    from pytest_blynk_ota.firmware.image import mend

    images["old"].write_bytes(mend(bytes(stranger)))
    done = pytester.runpytest_subprocess("--rig=rig.toml", "--board=sketch", "--old=old.bin")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(['*board sketch, provision: *"image" writes settings into images*'])
