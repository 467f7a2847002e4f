"""An address for each virtual board of a host: whom it calls sees who calls, as of a real one.

All of 127/8 is this host's on Linux. A board takes one of 127.64.0.0/10 that no other board of any
rack has: it is held by a Unix socket in the abstract namespace, which belongs to one network
namespace, as 127/8 does, and is gone with its process.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys

FIRST = int(ipaddress.IPv4Address("127.64.0.1"))
COUNT = 1 << 22
STRIDE = 40_503
"""From one process to the next: odd, so that every address is somebody's first."""
TRIES = 4096
NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT of linux/in.h: the port is chosen when it is known whom to call."""
LOOPBACK = "127."


class Source:
    """An address to call from, held until it is closed.

    Attributes:
        address: of 127/8; "" where this host has no such ones.
    """

    def __init__(self) -> None:
        self.address = ""
        self._holder: socket.socket | None = None
        if sys.platform != "linux":
            return
        for turn in range(TRIES):
            place = (os.getpid() * STRIDE + turn) % (COUNT - 2)
            address = str(ipaddress.IPv4Address(FIRST + place))
            holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                holder.bind(f"\0blynk-ota/address/{address}")
            except OSError:
                holder.close()
                continue
            self.address, self._holder = address, holder
            return

    def bind(self, sock: socket.socket, target: str) -> None:
        """Have a socket call from here, if it calls this host's loopback."""
        if self.address and target.startswith(LOOPBACK):
            sock.setsockopt(socket.IPPROTO_IP, NO_PORT, 1)
            sock.bind((self.address, 0))

    def close(self) -> None:
        """Give the address back."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None
