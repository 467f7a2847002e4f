"""The rack as a program: its rig file, its announcement, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_blynk_ota.errors import ConfigError
from pytest_blynk_ota.virtual.__main__ import announce
from pytest_blynk_ota.virtual.chip.chips import MODELS
from pytest_blynk_ota.virtual.settings import load

PROGRAM = [sys.executable, "-m", "pytest_blynk_ota.virtual", "--json"]
END_S = 20.0

RIG = """
[rig]
name = "lab"
speed = 20
[[board]]
name = "real"
chip = "esp32"
port = "/dev/ttyUSB0"
[[board]]
name = "one"
chip = "esp32c3"
port = "virtual"
bootloader = { rollback = true }
virtual = { outlet = "hub", mac = "02:00:00:00:00:07", revision = "v1.1" }
[[board]]
name = "two"
chip = "esp32"
port = "virtual"
"""


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text(RIG)
    return path


def test_without_a_rig_file_there_is_one_board_of_each_chip():
    settings = load(None)
    assert sorted(one.chip.name for one in settings.boards) == sorted(MODELS)
    assert settings.speed == 1


def test_the_virtual_boards_of_a_rig_file_are_played(rig):
    settings = load(rig)
    one, two = settings.boards
    assert settings.speed == 20
    assert (one.name, one.hub, one.foreign_rollback) == ("one", True, True)
    assert (one.chip.mac_text, one.chip.revision) == ("02:00:00:00:00:07", 101)
    assert (two.name, two.hub, two.foreign_rollback, two.chip.revision) == ("two", False, None, 300)


def test_boards_and_speed_can_be_chosen(rig):
    settings = load(rig, ["two"], 3.0)
    assert [one.name for one in settings.boards] == ["two"]
    assert settings.speed == 3


def test_boards_without_a_mac_have_different_ones_that_stay():
    macs = [one.chip.mac for one in load(None).boards]
    assert len(set(macs)) == len(macs)
    assert [one.chip.mac for one in load(None).boards] == macs
    assert all(one[0] & 2 for one in macs), "locally administered"


def test_all_mistakes_of_a_rig_file_are_told_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(
        "[rig]\nspeed = 0\n"
        '[[board]]\nname = "a"\nchip = "esp23"\nport = "virtual"\n'
        '[[board]]\nname = "b"\nchip = "esp32"\nport = "virtual"\nvirtual = { mac = "02:00" }\n'
        '[[board]]\nname = "c"\nchip = "esp32"\nport = "virtual"\nvirtual = { revision = "9" }\n'
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    for words in ("rig.speed", "did you mean 'esp32'", "board b", "MAC", "board c", "v3.0"):
        assert words in text


@pytest.mark.parametrize("speed", ["nan", "inf", "true", '"fast"'])
def test_a_speed_that_is_none_is_refused(rig, speed):
    rig.write_text(RIG.replace("speed = 20", f"speed = {speed}"))
    with pytest.raises(ConfigError, match=r"rig\.speed: expected a number above 0"):
        load(rig)


@pytest.mark.parametrize("content", ["[rig", "", "board = 3", "[[board]]\nname = 1"])
def test_a_file_that_is_no_rig_file_is_a_config_error(tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(ConfigError):
        load(path)


def test_no_board_is_called_as_the_control_port_calls_the_network(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('[[board]]\nname = "network"\nchip = "esp32"\nport = "virtual"')
    with pytest.raises(ConfigError, match="'network' is the network's"):
        load(path)


def test_an_unknown_board_is_refused_with_a_hint(rig):
    with pytest.raises(ConfigError, match="did you mean 'two'"):
        load(rig, ["tow"])


def test_people_are_told_each_url_and_outlet(capsys):
    ready = {
        "boards": [{"name": "x", "chip": "esp32", "mac": "02:00", "url": "rfc2217://h:1"}],
        "outlet": "http://h:2",
    }
    announce(ready, as_json=False)
    said = capsys.readouterr().out
    assert "rfc2217://h:1" in said
    assert "http://h:2/x" in said


# ---- the process


@contextlib.contextmanager
def process(*arguments, **options):
    """The program, ready, and its announcement."""
    started = subprocess.Popen(
        [*PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
    )
    try:
        yield started, json.loads(started.stdout.readline())
    finally:
        started.kill()
        started.communicate()


def test_the_first_line_announces_boards_and_outlet():
    with process() as (_, ready):
        assert ready["event"] == "ready"
        assert [sorted(one) for one in ready["boards"]] == [
            ["address", "chip", "mac", "name", "url"]
        ] * 3
        assert all(one["url"].startswith("rfc2217://127.0.0.1:") for one in ready["boards"])
        assert ready["outlet"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(number):
    with process() as (started, _):
        started.send_signal(number)
        assert started.wait(END_S) == 0


def test_it_ends_when_its_lifeline_is_closed():
    with process("--lifeline") as (started, _):
        started.stdin.close()
        assert started.wait(END_S) == 0
        started.stdin = None


def test_it_leaves_no_file_behind_even_if_killed(tmp_path):
    with process(env={**os.environ, "TMPDIR": str(tmp_path)}) as (started, _):
        started.kill()
        started.wait(END_S)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_rig_file_is_exit_code_2_and_words(tmp_path):
    done = subprocess.run(
        [*PROGRAM, str(tmp_path / "none.toml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "none.toml" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("virtual", "words"),
    [
        ('flash = "{folder}"', "board one: flash file {folder} cannot be opened: Is a directory"),
        ('flash = "{folder}/short"', "board one: flash file {folder}/short has 5 bytes; expected"),
        ("bad_sectors = [0x100]", "board one: virtual.bad_sectors: expected a list of sectors"),
    ],
)
def test_a_flash_that_cannot_be_is_exit_code_2_with_its_board(tmp_path, virtual, words):
    (tmp_path / "short").write_bytes(b"short")
    rig = tmp_path / "rig.toml"
    own = virtual.format(folder=tmp_path)
    rig.write_text(
        f'[[board]]\nname = "one"\nchip = "esp32"\nport = "virtual"\nvirtual = {{ {own} }}\n'
    )
    done = subprocess.run([*PROGRAM, str(rig)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words.format(folder=tmp_path) in done.stderr


PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
print(child.pid, flush=True)
print(child.stdout.readline().decode(), flush=True)
child.wait()
"""


def test_it_ends_when_its_parent_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *PROGRAM], stdout=subprocess.PIPE)
    rack = int(parent.stdout.readline())
    watch = os.pidfd_open(rack)
    try:
        assert b"ready" in parent.stdout.readline()
        begun = time.monotonic()
        parent.kill()
        ended = select.select([watch], [], [], END_S)[0]
        assert ended, "the rack outlived its parent"
        assert time.monotonic() - begun < END_S
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rack, signal.SIGKILL)
        os.close(watch)
        parent.communicate()


THREAD = """
import subprocess, sys, threading
def start():
    global child
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    child.stdout.readline()
thread = threading.Thread(target=start)
thread.start()
thread.join()
try:
    print(child.wait(1.5))
except subprocess.TimeoutExpired:
    print("alive")
child.kill()
"""


def test_it_outlives_the_thread_that_started_it():
    done = subprocess.run(
        [sys.executable, "-c", THREAD, *PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout == "alive\n"
