"""A fixed port of the cloud: for all workers of a run, and for what the network fixture does."""

import json
import os
import signal
import socket

import pytest
from plugin_runs import wait_until

from pytest_blynk_ota.rig.ports.messages import Where
from pytest_blynk_ota.rig.ports.reach import told

RIG = """
[rig]
name = "fixed"
speed = 20
[[board]]
name = "c3-a"
chip = "esp32c3"
port = "virtual"
provision = {{ kind = "edgent-nvs" }}
profile = "reference"
dials = "tls"
[cloud]
ports = {{ tls = [{port}] }}
linger_s = 30
"""


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield port
    said = told(Where("127.0.0.1", port))
    if said is not None:
        os.kill(said["pid"], signal.SIGTERM)


def callers_that_logged_in(log):
    """The addresses of the boards in a log. A board whose own worker has ended already may call the
    one that is left, which is no cloud that it trusts."""
    events = [row for row in log if row["source"] == "cloud"]
    peers = {
        row["data"]["session"]: row["data"]["peer"] for row in events if row["kind"] == "connected"
    }
    sessions = [row["data"]["session"] for row in events if row["kind"] == "login"]
    return {peers[session].rpartition(":")[0] for session in sessions}


def test_workers_share_a_fixed_tls_port_and_each_sees_its_own_board_alone(pytester, port):
    """Each worker has a rack, a token and a CA of its own."""
    pytester.path.joinpath("rig.toml").write_text(RIG.format(port=port))
    pytester.makepyfile(
        "import pytest\nfrom pytest_blynk_ota import Outcome\n"
        "@pytest.mark.parametrize('n', range(2))\n"
        "def test_it(ota, cloud, n):\n"
        f"    assert cloud.address == ('127.0.0.1', {port})\n"
        "    assert ota.ship().outcome is Outcome.UPGRADED\n"
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--rig=rig.toml", "-n2")
    done.assert_outcomes(passed=2)
    logs = list(pytester.path.glob(".blynk-ota/runs/*/tests/*/events.jsonl"))
    rows = [[json.loads(line) for line in log.read_text().splitlines()] for log in logs]
    callers = [callers_that_logged_in(log) for log in rows]
    assert [len(one) for one in callers] == [1, 1]
    assert callers[0] != callers[1]
    assert not [row for log in rows for row in log if row["kind"] in ("port_guessed", "refused")]
    where = Where(
        "127.0.0.1", port
    )  # it outlives the run, and notices a moment later that it ended
    wait_until(lambda: told(where)["tenants"] == [], "the end of all tenancies")
