"""`rig power`: what the last step of a CI job says to the outlets."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_blynk_ota.cli import app
from pytest_blynk_ota.errors import ConfigError, UsageError
from pytest_blynk_ota.rig.lease import Lease

OUTLET = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + ' ')"


@pytest.fixture
def rig(tmp_path, monkeypatch) -> Path:
    """Two boards with an outlet of their own each, and one without."""
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path / "locks"))
    rows = ['[rig]\nname = "lab1"\n']
    for name in ("a", "b", "bare"):
        rows.append(f'[[board]]\nname = "{name}"\nchip = "esp32c3"\nport = "socket://lab:{name}"\n')
        rows.append('token = "env:TOKEN"\n')
        if name != "bare":
            on, off = (
                [sys.executable, "-c", OUTLET, str(tmp_path / name), word] for word in ("on", "off")
            )
            rows.append(
                f"power = {{ command = {{ on = {json.dumps(on)}, off = {json.dumps(off)} }} }}\n"
            )
    path = tmp_path / "lab1.toml"
    path.write_text(
        "".join(rows)
        .replace("lab:a", "lab:1")
        .replace("lab:bare", "lab:3")
        .replace("lab:b", "lab:2")
    )
    return path


def told(rig: Path, board: str) -> str:
    file = rig.parent / board
    return file.read_text().strip() if file.exists() else ""


def power(rig: Path, *words: str) -> tuple[int, list[dict[str, object]]]:
    done = CliRunner().invoke(app, ["rig", "power", *words, "--rig", str(rig), "--json"])
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]


def test_off_reaches_each_board_that_has_an_outlet(rig):
    assert power(rig, "off") == (
        0,
        [{"board": "a", "power": "off"}, {"board": "b", "power": "off"}],
    )
    assert (told(rig, "a"), told(rig, "b")) == ("off", "off")


def test_named_boards_alone_are_switched(rig):
    assert power(rig, "cycle", "b")[0] == 0
    assert (told(rig, "a"), told(rig, "b")) == ("", "off on")


def test_a_board_that_a_run_holds_is_left_alone_and_the_other_is_switched(rig):
    lease = Lease("a", "socket://lab:1")
    try:
        code, rows = power(rig, "off")
    finally:
        lease.close()
    assert code == 3
    assert "is held by pid" in str(rows[0]["error"])
    assert (told(rig, "a"), told(rig, "b")) == ("", "off")


def test_an_outlet_that_fails_is_code_3_and_the_next_board_is_switched(rig):
    rig.write_text(
        rig.read_text().replace(f'"{rig.parent}/a", "off"', '"/no/such/folder/a", "off"')
    )
    code, rows = power(rig, "off")
    assert code == 3
    assert "No such file" in str(rows[0]["error"])
    assert told(rig, "b") == "off"


@pytest.mark.parametrize(
    ("board", "says"),
    [("bare", "the rig file names no power"), ("c", "no board 'c'"), ("v", "made of software")],
)
def test_a_board_without_an_outlet_is_a_usage_error(rig, board, says):
    virtual = '[[board]]\nname = "v"\nchip = "esp32c3"\nport = "virtual"\npower = "virtual"\n'
    rig.write_text(rig.read_text() + virtual)
    done = CliRunner().invoke(app, ["rig", "power", "off", "a", board, "--rig", str(rig)])
    assert isinstance(done.exception, UsageError | ConfigError)
    assert says in str(done.exception)
    assert told(rig, "a") == ""
