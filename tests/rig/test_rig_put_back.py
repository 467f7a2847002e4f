"""From the first write to `rig restore`, on virtual boards behind a wire; esptool agrees."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_blynk_ota.board.baseline import Baseline, Region
from pytest_blynk_ota.board.board import Board
from pytest_blynk_ota.cli import app
from pytest_blynk_ota.errors import BoardLocked, RigError, UsageError
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.rig.backup import Backups, Doorkeeper, Permit
from pytest_blynk_ota.rig.lease import Lease

SPEED = 20
FLASH_BYTES = 4 << 20
NAME = "c3-a"
PIECES = ((0, 20_000), (0x9000, 0x5000), (0x10000, 300_000), (0x290000, 100_000),
          (FLASH_BYTES - 0x1000, 0x1000))  # fmt: skip
OURS = Baseline((Region("app0", 0x10000, random.Random(1).randbytes(400_000)),))


def users() -> bytes:
    """What a user has in flash, up to its last byte."""
    data = bytearray(b"\xff" * FLASH_BYTES)
    for at, size in PIECES:
        data[at : at + size] = random.Random(at).randbytes(size)
    return bytes(data)


USERS = users()


@pytest.fixture(scope="module")
def rack(tmp_path_factory):
    rig = tmp_path_factory.mktemp("rack") / "rig.toml"
    rig.write_text(
        "".join(
            f'[[board]]\nname = "{name}"\nchip = "esp32c3"\nport = "virtual"\n'
            f'virtual = {{ wire = "{wire}" }}\n'
            for name, wire in ((NAME, "rfc2217"), ("on-pty", "pty"))
        )
    )
    command = [sys.executable, "-m", "pytest_blynk_ota.virtual", str(rig), "--json", "--lifeline",
               "--speed", str(SPEED)]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        ready = json.loads(process.stdout.readline())
        for one in ready["boards"]:
            one["control"] = f"{ready['outlet']}/{one['name']}"
        yield ready
        process.stdin.close()
        process.wait(10)


@pytest.fixture
def row(rack) -> dict:
    return next(one for one in rack["boards"] if one["name"] == NAME)


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


@pytest.fixture
def folder(tmp_path, monkeypatch, row) -> Path:
    """A folder with a rig file that calls the board by its port, as a real one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path / "locks"))
    (tmp_path / "rigs").mkdir()
    (tmp_path / "rigs" / "bench.toml").write_text(
        f'[rig]\nname = "bench"\n[[board]]\nname = "{NAME}"\nchip = "esp32c3"\n'
        f'port = "{row["url"]}"\ntoken = "env:T"\n'
    )
    return tmp_path


def board(url: str, timeline: Timeline, permit: Permit | None = None) -> Board:
    record = Recorder(timeline)
    keeper = Doorkeeper(permit, NAME, url, record) if permit else None
    return Board(NAME, "esp32c3", url, record, speed=SPEED, admission=keeper)


def saved(folder: Path) -> Backups:
    return Backups(folder / ".blynk-ota" / "backup")


@pytest.fixture
def overwritten(folder, row, timeline) -> Path:
    """A user's board that a run has written to; gives the path of its backup."""
    control(row, "PUT", "dump", USERS)
    with board(row["url"], timeline, Permit(saved(folder), yes=True, always=True)) as ours:
        ours.restore(OURS)
    (path,) = saved(folder).folder.glob("*.bin")
    return path


def esptool(url: str, *words: str) -> None:
    """The command line of esptool, unmodified."""
    command = [sys.executable, "-m", "esptool", "--chip", "esp32c3", "--port", url, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def restore(*words: str):
    return CliRunner().invoke(app, ["rig", "restore", NAME, "--rig", "bench", *words])


def control(row: dict, method: str, what: str, body: bytes | None = None) -> bytes:
    """By the rack's control port, which needs no loader."""
    request = urllib.request.Request(f"{row['control']}/{what}", body, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def contents(row: dict) -> bytes:
    return control(row, "GET", "dump")


def test_a_board_gets_back_every_byte_that_it_had(overwritten, row):
    assert overwritten.read_bytes() == USERS
    assert contents(row) != USERS
    done = restore("--yes", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["mac"], said["backup"]) == (row["mac"], str(overwritten.relative_to(Path.cwd())))
    assert 0 < said["wrote_bytes"] < FLASH_BYTES // 4, "what did not differ was left alone"
    assert contents(row) == USERS


def test_without_a_word_nothing_is_written_back(overwritten, row):
    before = contents(row)
    done = restore()
    assert isinstance(done.exception, BoardLocked)
    assert "--yes says that its flash may be overwritten" in str(done.exception)
    assert contents(row) == before


def test_a_backup_that_was_changed_is_not_written_back(overwritten, row):
    before = contents(row)
    overwritten.write_bytes(bytes(FLASH_BYTES))
    done = restore("--yes")
    assert isinstance(done.exception, UsageError)
    assert "not the bytes that were saved" in str(done.exception)
    assert contents(row) == before


def test_another_board_s_backup_is_not_written_to_this_one(overwritten, row):
    """The files of one board under the MAC of another: the MAC inside is what counts."""
    beside = overwritten.with_suffix(".json")
    beside.write_text(beside.read_text().replace(row["mac"], "24:0a:c4:00:01:10"))
    done = restore("--yes")
    assert isinstance(done.exception, UsageError)
    assert "is of a board with the MAC 24:0a:c4:00:01:10" in str(done.exception)


def test_a_board_without_a_backup_is_told_where_it_was_looked_for(folder, row):
    done = restore("--yes")
    assert isinstance(done.exception, UsageError)
    assert row["mac"].replace(":", "-") + ".bin" in str(done.exception)


def test_a_board_that_somebody_holds_is_left_alone(folder, row):
    lease = Lease(NAME, row["url"])
    try:
        done = restore("--yes")
    finally:
        lease.close()
    assert isinstance(done.exception, RigError)
    assert f"is held by pid {os.getpid()}" in str(done.exception)


def test_a_virtual_board_of_the_rig_file_has_nothing_to_put_back(folder):
    done = CliRunner().invoke(app, ["rig", "restore", NAME, "--rig", "virtual", "--yes"])
    assert isinstance(done.exception, UsageError)
    assert "each run makes it anew" in str(done.exception)


def test_esptool_writes_the_backup_back_and_reads_the_same_bytes(overwritten, rack):
    """The backup is a plain image: without us, esptool write-flash 0 puts it back."""
    other = next(one for one in rack["boards"] if one["name"] == "on-pty")
    control(other, "PUT", "dump", bytes(FLASH_BYTES))
    esptool(other["url"], "write-flash", "0", str(overwritten))
    assert contents(other) == USERS
    read = overwritten.with_name("read.bin")
    esptool(other["url"], "read-flash", "0", "0x60000", str(read))
    assert read.read_bytes() == USERS[:0x60000]


def test_after_an_erase_behind_our_back_everything_is_written_again(row, timeline):
    """Nothing that was known of a flash outlives the session that saw it."""
    with board(row["url"], timeline) as one:
        one.restore(OURS)
        assert one.restore(OURS).wrote_bytes == 0
        control(row, "PUT", "dump", b"\xff" * FLASH_BYTES)
        assert one.restore(OURS).wrote_bytes == OURS.regions[0].size
