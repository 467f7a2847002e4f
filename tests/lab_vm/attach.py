"""In the guest: keeps USB/IP devices plugged in, ``attach.py HOST:PORT …``.

Does what ``usbip attach`` does, and again when a device has gone: as a board on a hub comes back by
itself when the hub gives it power.
"""

import socket
import struct
import sys
import time
from pathlib import Path

VHCI = Path("/sys/devices/platform/vhci_hcd.0")
FREE, DEVICE_ID, FULL_SPEED = "004", 1 << 16 | 2, 2
LOOK_S = 0.1


def states():
    """What each port of the virtual hub is doing, by its number."""
    rows = (VHCI / "status").read_text().splitlines()[1:]
    return {int(row.split()[1]): row.split()[2] for row in rows if row.startswith("hs")}


def attached(place, number):
    host, port = place.rsplit(":", 1)
    try:
        link = socket.create_connection((host, int(port)), 5)
        link.settimeout(5)
        link.sendall(struct.pack(">HHI32s", 0x0111, 0x8003, 0, b"1-1"))
        head = b""
        while len(head) < 8:
            head += link.recv(8 - len(head)) or b"\xff" * 8
        if head[7]:
            return False
        rest = 312
        while rest:
            rest -= len(link.recv(rest)) or rest
        link.settimeout(None)
        (VHCI / "attach").write_text(f"{number} {link.fileno()} {DEVICE_ID} {FULL_SPEED}")
    except OSError as error:
        print(place, error, flush=True)
        return False
    print(f"{time.monotonic():.2f} {place} is plugged in at port {number}", flush=True)
    return True


def main(places):
    while True:
        now = states()
        for number, place in enumerate(places):
            if now.get(number) == FREE:
                attached(place, number)
        time.sleep(LOOK_S)  # sysfs tells nobody that a port has become free


main(sys.argv[1:])
