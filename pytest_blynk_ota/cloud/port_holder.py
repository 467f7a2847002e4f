"""Which program has a TCP port of this host, as Linux tells it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTENS: Final = "0A"
"""``st`` of a socket that listens (net/tcp_states.h)."""
COMMAND_CHARS: Final = 80


def holder_of_port(port: int) -> str:
    """Who listens there, with pid and command; "" if nobody is seen to."""
    for inode, user in _listeners(port):
        pid = _process_with(inode)
        if pid is not None:
            return f"pid {pid} of {_name(user)}: {_command(pid)}"
        return f"a program of {_name(user)}, which only they or root can name"
    return ""


def _listeners(port: int) -> Iterator[tuple[str, int]]:
    """Inode and user of each socket that listens at a port."""
    for table in TABLES:
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            if words[3] == LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                yield words[9], int(words[7])


def _process_with(inode: str) -> int | None:
    wanted = f"socket:[{inode}]"
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == wanted:  # noqa: PTH115 - there are thousands
                return int(link.parts[2])
        except OSError:  # the process ended, or is somebody else's
            continue
    return None


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "it has just ended"
    line = " ".join(words).strip()
    return line if len(line) <= COMMAND_CHARS else line[: COMMAND_CHARS - 1] + "…"


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
