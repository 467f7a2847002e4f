"""What porter and tenants say to each other, and where they meet.

They meet at a Unix socket in Linux' abstract namespace, named after the address and the port: like
the port itself it belongs to a network namespace, one process at a time has it, and it is gone with
that process, however that ends. There is no file that a dead one could leave, and none that belongs
to one user. Whom it connects to is known to the kernel (SO_PEERCRED).

Each message is one JSON object in one packet. A tenant asks, and has one answer to each question;
beside answers the porter sends it callers, each with its socket.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

VERSION: Final = 1
"""Of what is said. Porters of another one are told to end, or let their runs end first."""
LINGER_S: Final = 60.0
"""A port stays with its porter for so long after its last run: the next one begins soon."""
MAX_MESSAGE: Final = 1 << 16
PREFIX: Final = "blynk-ota/port/"
SOCKETS: Final = Path("/proc/net/unix")
CREDENTIALS: Final = struct.Struct("3i")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Where:
    """An address and a port of this host."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else self._plain

    @property
    def _plain(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def meeting(self) -> str:
        """The name of the Unix socket."""
        return f"\0{PREFIX}{self._plain}"

    @classmethod
    def of(cls, host: str, port: int) -> Where:
        """A host by name or address. Raises socket.gaierror, or UnicodeError."""
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return cls(str(rows[0][4][0]), port)


def porters() -> list[Where]:
    """The ports of this host that are held by porters."""
    try:
        rows = SOCKETS.read_text().splitlines()
    except OSError:
        return []
    names = {row.partition(f"@{PREFIX}")[2] for row in rows}
    found = [name.rpartition(":") for name in names if name]
    return sorted(Where(host, int(port)) for host, _, port in found if port.isdecimal())


def unix() -> socket.socket:
    """A socket to meet with: packets, in order, with file descriptors beside them."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


def say(to: socket.socket, message: Mapping[str, object], *sockets: socket.socket) -> None:
    """Send one message.

    Raises:
        OSError: it cannot be sent, or not at once where ``to`` does not block.
    """
    data = json.dumps(message).encode()
    socket.send_fds(to, [data], [one.fileno() for one in sockets], socket.MSG_NOSIGNAL)


def hear(sock: socket.socket) -> tuple[Message, list[socket.socket]] | None:
    """The next message, with the sockets beside it; None at the end.

    Raises:
        OSError: nothing is there yet, or the other one is gone.
    """
    data, handles, _, _ = socket.recv_fds(sock, MAX_MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
    sockets = [socket.socket(fileno=handle) for handle in handles]
    if not data:
        return None
    try:
        message = json.loads(data)
        if not isinstance(message, dict):
            raise TypeError(message)
    except (ValueError, TypeError):
        for one in sockets:
            one.close()
        raise ConnectionAbortedError("a message that is none") from None
    return message, sockets


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """Process and user at the other end."""
    pid, user, _ = CREDENTIALS.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    )
    return pid, user


def user_name(number: int) -> str:
    """A user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def this_user() -> str:
    """Who this process belongs to."""
    return user_name(os.getuid())
