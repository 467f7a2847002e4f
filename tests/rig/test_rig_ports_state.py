"""`blynk-ota rig status` of fixed ports."""

import json
import os
import socket

import pytest
from click.testing import CliRunner
from porters import Renter, free_port, porter_here

from pytest_blynk_ota.cli import app
from pytest_blynk_ota.rig.ports.messages import Where

RIG = """
[rig]
name = "x"
[[board]]
name = "a"
chip = "esp32"
port = "virtual"
[cloud]
ports = {{ tls = [{port}] }}
"""


@pytest.fixture
def asked(tmp_path):
    """Asks for the state of a port, in words and as JSON."""

    def ask(where) -> tuple[str, dict]:
        path = tmp_path / "rig.toml"
        path.write_text(RIG.format(port=where.port))
        said = [
            CliRunner().invoke(app, ["rig", "status", str(path), *words], catch_exceptions=False)
            for words in ([], ["--json"])
        ]
        return said[0].stdout.splitlines()[1], json.loads(said[1].stdout.splitlines()[1])

    return ask


def test_a_port_that_nobody_has_is_free(asked):
    where = free_port()
    assert asked(where) == (
        f"{where}  tls  free",
        {"cloud_port": str(where), "kind": "tls", "state": "free"},
    )


def test_a_port_that_is_kept_for_the_next_run_says_by_whom(asked):
    with porter_here() as porter:
        words, row = asked(porter.where)
    assert f"{porter.where}  tls  used by nobody, kept by pid {os.getpid()} of " in words
    assert (row["state"], row["pid"], row["tenants"]) == ("kept", os.getpid(), [])


def test_a_port_that_is_used_says_by_whom_and_since_when(asked):
    with porter_here() as porter, Renter(porter.where, kind="tls"):
        words, row = asked(porter.where)
    (tenant,) = row["tenants"]
    assert (row["state"], tenant["pid"], tenant["run"]) == ("used", os.getpid(), os.getpid())
    assert f"used by pid {os.getpid()} of {tenant['user']} since {tenant['since']}; kept" in words


def test_a_port_of_another_program_names_that(asked):
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = Where(*server.getsockname())
        words, row = asked(where)
    assert f"{where}  tls  held by another program: pid {os.getpid()} of " in words
    assert row["state"] == "taken"
    assert row["holder"].startswith(f"pid {os.getpid()} of ")
