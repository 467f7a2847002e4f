"""The doctor: what it finds on boards that work, and on boards that do not."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pytest_blynk_ota.rig.quarantine import Ward

BLYNK_OTA = Path(sys.executable).with_name("blynk-ota")
RIG = "[rig]\nname = 'bench'\nadvertise = '127.0.0.1'\n"
BOARD = """[[board]]
name = 'a'
chip = '{chip}'
port = '{port}'
token = 'env:TOKEN'
profile = {{ base = "default", name = "quick", boot_s = 1, login_s = 1 }}
"""
TOKEN = "t" * 32


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("TOKEN", TOKEN)


@pytest.fixture
def bench():
    """Boards behind ports that anybody may open, and their outlets: as a bench is."""
    process = subprocess.Popen(
        [str(BLYNK_OTA), "virtual", "--json"], stdout=subprocess.PIPE, text=True
    )
    ready = json.loads(process.stdout.readline())
    yield {board["name"]: board for board in ready["boards"]} | {"outlet": ready["outlet"]}
    process.kill()
    process.communicate()


def doctor(folder, *words):
    """Its exit code, and each board's checks by name."""
    done = subprocess.run(
        [str(BLYNK_OTA), "rig", "doctor", *words, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {
        row["board"]: {one["check"]: one for one in row["checks"]} for row in rows
    }


def states(checks):
    return {name: one["state"] for name, one in checks.items()}


def rig_file(folder, *, chip="esp32c3", port, more=""):
    path = folder / "rig.toml"
    path.write_text(RIG + BOARD.format(chip=chip, port=port) + more)
    return str(path)


def test_on_the_virtual_rig_all_is_well(tmp_path):
    code, found = doctor(tmp_path, "virtual", "--board", "c3-a")
    assert code == 0
    assert set(states(found["c3-a"]).values()) == {"ok"}
    assert len(found["c3-a"]) == 9
    assert "without TLS" in found["c3-a"]["dials"]["detail"]


def test_a_firmware_on_mqtt_comes_to_the_server_too(tmp_path):
    code, found = doctor(tmp_path, "profiles", "--board", "mqtt-idf")
    assert code == 0
    assert found["mqtt-idf"]["server"]["state"] == "ok"


def test_a_port_that_does_not_open_ends_the_rest(tmp_path, unused_tcp_port_factory):
    port = f"socket://127.0.0.1:{unused_tcp_port_factory()}"
    code, found = doctor(tmp_path, rig_file(tmp_path, port=port))
    assert code == 3
    kinds = states(found["a"])
    assert kinds.pop("port") == "fail"
    assert set(kinds.values()) == {"skip"}
    assert "rig scan" in found["a"]["port"]["remedy"]


def test_another_chip_than_the_file_says_is_named(tmp_path, bench):
    file = rig_file(tmp_path, chip="esp32", port=bench["c3-a"]["url"])
    code, found = doctor(tmp_path, file)
    assert code == 3
    assert "the rig file says esp32, but esp32c3 answers" in found["a"]["loader"]["detail"]


def test_a_board_without_power_is_silent_and_the_loader_says_so(tmp_path, bench):
    request = urllib.request.Request(f"{bench['outlet']}/c3-a", b"0", method="PUT")
    urllib.request.urlopen(request).close()
    code, found = doctor(tmp_path, rig_file(tmp_path, port=bench["c3-a"]["url"]))
    assert code == 3
    assert found["a"]["console"]["detail"] == "nothing came, not one line"
    assert "is it powered" in found["a"]["console"]["remedy"]
    assert found["a"]["loader"]["state"] == "fail"
    assert found["a"]["flash"]["state"] == "skip"


@pytest.mark.nightly
def test_an_outlet_of_another_board_is_found_out(tmp_path, bench):
    more = f"power = {{ http = '{bench['outlet']}/esp32-a' }}\n"
    code, found = doctor(tmp_path, rig_file(tmp_path, port=bench["c3-a"]["url"], more=more))
    assert code == 3
    assert found["a"]["power"]["state"] == "fail"
    assert "still talked" in found["a"]["power"]["detail"]


def test_a_relay_that_answers_with_an_error_is_told_with_its_words(tmp_path, bench):
    more = f"power = {{ http = '{bench['outlet']}/no-such-board' }}\n"
    _, found = doctor(tmp_path, rig_file(tmp_path, port=bench["c3-a"]["url"], more=more))
    assert "404" in found["a"]["power"]["detail"]


def test_a_firmware_that_dials_nobody_is_said_to_and_nothing_is_told_to_it(tmp_path, bench):
    _, found = doctor(tmp_path, rig_file(tmp_path, port=bench["c3-a"]["url"]))
    assert states(found["a"])["firmware"] == "skip"
    assert found["a"]["cloud"]["state"] == "fail"
    assert "nothing logged in" in found["a"]["cloud"]["detail"]
    assert found["a"]["server"]["state"] == "skip"


def test_a_board_in_quarantine_that_works_is_let_out(tmp_path, bench):
    port = bench["c3-a"]["url"]
    for _ in range(2):
        Ward("a", port).strike("it was silent")
    assert Ward("a", port).look().is_refused
    doctor(tmp_path, rig_file(tmp_path, port=port))
    assert Ward("a", port).look() is None


def test_a_board_in_quarantine_that_is_silent_stays_there(tmp_path, unused_tcp_port_factory):
    port = f"socket://127.0.0.1:{unused_tcp_port_factory()}"
    for _ in range(2):
        Ward("a", port).strike("it was silent")
    doctor(tmp_path, rig_file(tmp_path, port=port))
    assert Ward("a", port).look().is_refused
