"""The kernel does what the command lines ask of it, and is then as it was before."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("network_in_a_kernel.py")
NAMESPACE = ["unshare", "--map-root-user", "--net", "sh", "-c"]
"""A network of its own, in which everybody is root."""


def test_packets_of_the_rig_alone_are_held_back_and_all_is_undone():
    if not shutil.which("unshare") or not shutil.which("tc"):
        pytest.skip("no unshare (Debian: util-linux) or no tc (iproute2) here")
    probe = [*NAMESPACE, "ip link set lo up && tc qdisc add dev lo root htb default 0"]
    can = subprocess.run(probe, capture_output=True, text=True, check=False)
    if can.returncode:
        pytest.skip(f"no network namespace with HTB can be had here: {can.stderr.strip()}")
    line = f"ip link set lo up && exec {sys.executable} -m pytest -q -p no:cacheprovider {CASES}"
    done = subprocess.run([*NAMESPACE, line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 12, done.stdout
