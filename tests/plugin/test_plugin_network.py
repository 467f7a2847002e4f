"""The ``network`` fixture on a virtual rig, in a network namespace of its own."""

import json
import shutil
import subprocess
import sys

import pytest

RIG = """
[rig]
name = "named"
speed = 20
[network]
domain = "lab.test"
[[board]]
name = "c3"
chip = "esp32c3"
port = "virtual"
provision = { kind = "edgent-nvs" }
profile = "edgent-old"
"""

TESTS = """
import pytest
from pytest_blynk_ota import Outcome

def test_a_cut_link(ota, network):
    with network.slow(20_000), ota.shipping() as shipment:
        shipment.wait_for(progress=0.3)
        network.cut(3)
    assert shipment.result.outcome is Outcome.UPGRADED
    assert shipment.result.downloads[0].seconds > 9  # of 10.7; as it is it takes 4

def test_a_host_that_moved(ota, network):
    with network.dns(["nxdomain", "right"]), network.dns("right", of="cloud", ttl=5):
        result = ota.ship()
    assert result.outcome is Outcome.UPGRADED

@pytest.mark.requires("netem")
def test_a_lossy_link(ota, network):
    with network.lossy("3%", delay=0.2):
        assert ota.ship().outcome is Outcome.UPGRADED

def test_a_lossy_link_without_a_marker(network):
    network.lossy("3%")
"""


@pytest.fixture
def namespace():
    """A command line's beginning: a network of its own, in which packets can be held back."""
    line = ["unshare", "--map-root-user", "--net", "sh", "-c"]
    if not shutil.which("unshare") or not shutil.which("tc"):
        pytest.skip("no unshare (Debian: util-linux) or no tc (iproute2) here")
    probe = [*line, "ip link set lo up && tc qdisc add dev lo root htb default 0"]
    can = subprocess.run(probe, capture_output=True, text=True, check=False)
    if can.returncode:
        pytest.skip(f"no network namespace with HTB can be had here: {can.stderr.strip()}")
    return line


def test_a_test_cuts_links_and_moves_hosts_and_what_it_cannot_have_skips_it(
    pytester, namespace, run_folder
):
    pytester.path.joinpath("named.toml").write_text(RIG)
    pytester.makepyfile(test_it=TESTS)
    command = f"{sys.executable} -m pytest -p no:cacheprovider -rs --rig named.toml test_it.py"
    line = f"ip link set lo up && {command}; tc qdisc show dev lo"
    done = subprocess.run([*namespace, line], capture_output=True, text=True, check=False)
    said = done.stdout
    has_netem = "2 skipped" not in said
    assert ("4 passed" if has_netem else "2 passed, 2 skipped") in said, said
    assert has_netem or said.count("has no sch_netem") >= 2
    assert "noqueue" in said.splitlines()[-1], said
    (path,) = run_folder().glob("tests/*moved*/events.jsonl")
    events = [json.loads(row) for row in path.read_text().splitlines()]
    asked = [one["data"] for one in events if one["source"] == "network"]
    assert [one["answer"] for one in asked if one["name"].startswith("firmware")][:2] == [
        "nxdomain",
        "127.0.0.1",
    ]
    assert {one["name"] for one in asked} == {"firmware.lab.test", "cloud.lab.test"}
    sent = [one["data"]["url"] for one in events if one["kind"] == "ota_sent"]
    assert all(url.startswith("http://firmware.lab.test:") for url in sent)
