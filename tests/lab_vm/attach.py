"""In the guest: plug in each board that is not, by the stock ``usbip attach``; until killed.

python attach.py HOST:PORT…

The kernel's tool takes the first port that is free; with all others in their places that is the
board's own again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

VHCI = Path("/sys/devices/platform/vhci_hcd.0")
FREE = "004"
LOOK_S = 0.2
PATIENCE_S = 20.0
TOOL = os.environ["LAB_USBIP_TOOL"]


def states():
    """Of each port of the virtual hub its state."""
    rows = (VHCI / "status").read_text().splitlines()[1:]
    return {int(row.split()[1]): row.split()[2] for row in rows if row.startswith("hs")}


def attached(place, number):
    """Try to plug a board in."""
    host, port = place.rsplit(":", 1)
    line = [TOOL, "--tcp-port", port, "attach", "-r", host, "-b", "1-1"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        print(place, "usbip attach does not come back", flush=True)
        return
    if done.returncode:
        print(place, done.stderr.strip().splitlines()[-1:], flush=True)
        return
    print(f"{time.monotonic():.2f} {place} is plugged in at port {number}", flush=True)


def main(places):
    """Forever."""
    while True:
        now = states()
        for number, place in enumerate(places):
            if now.get(number) == FREE:
                attached(place, number)
        time.sleep(LOOK_S)  # sysfs tells nobody that a port has become free


main(sys.argv[1:])
