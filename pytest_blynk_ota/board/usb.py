"""What this host says of its serial ports: which there are, who holds one, who may open one.

Nothing here opens a port.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from serial.tools import list_ports

from pytest_blynk_ota.board.naming import Known, Seen
from pytest_blynk_ota.errors import ConfigError

KNOWN_BOARDS = Path(".blynk-ota") / "boards.json"
"""In the working folder: which chip is behind which USB device, as `rig scan --ask` has found."""
LOOKS = 5
"""A device that goes while the list is made breaks it: pyserial reads files that are gone."""
COMMAND_CHARS = 80
RULES = "/etc/udev/rules.d/60-blynk-ota.rules"


def seen_ports() -> list[Seen]:
    """The serial ports of this host, those of USB first."""
    for left in reversed(range(LOOKS)):
        try:
            found = sorted(list_ports.comports())
            break
        except TypeError:
            if not left:
                raise
    ports = [
        Seen(
            device=one.device,
            vid=one.vid,
            pid=one.pid,
            serial=one.serial_number or "",
            location=one.location or "",
            product=one.product or "",
        )
        for one in found
    ]
    return sorted(ports, key=lambda port: port.vid is None)


def known_boards(path: Path = KNOWN_BOARDS) -> list[Known]:
    """The boards that have been asked for their MAC. Raises ConfigError if the file is damaged."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Known(**row) for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            str(path), [f"cannot be read ({error}); delete it and run blynk-ota rig scan --ask"]
        ) from error


def remember(boards: Collection[Known], path: Path = KNOWN_BOARDS) -> None:
    """Keep which chip is behind which USB device; what was known of these before is replaced."""
    if not boards:
        return
    macs = {board.mac for board in boards}
    devices = {(board.vid, board.pid, board.serial, board.location) for board in boards}
    kept = [
        old
        for old in known_boards(path)
        if old.mac not in macs and (old.vid, old.pid, old.serial, old.location) not in devices
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}.part")
    half.write_text(json.dumps([asdict(one) for one in (*kept, *boards)], indent=1) + "\n")
    half.replace(path)


# -- who holds it


def holder_of(device: str) -> str | None:
    """Which other process has this device open, with pid and command; None if none is seen."""
    return holders_of([device]).get(device)


def holders_of(devices: Collection[str]) -> dict[str, str]:
    """The same for several devices, in one walk through the processes; those that are held."""
    real = {os.path.realpath(one): one for one in devices}
    asked = {path for path in real if path.startswith("/dev/")}
    found: dict[str, str] = {}
    for link in Path("/proc").glob("[0-9]*/fd/*") if asked else ():
        pid = link.parts[2]
        try:
            target = str(link.readlink())
        except OSError:  # the process ended, or is somebody else's
            continue
        if target in asked and int(pid) != os.getpid():
            found.setdefault(real[target], f"pid {pid} ({_command(pid)})")
    return found


def _command(pid: str) -> str:
    try:
        words = Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace").split("\0")
        line = " ".join(words).strip() or Path("/proc", pid, "comm").read_text().strip()
    except OSError:
        return "ended"
    return line if len(line) <= COMMAND_CHARS else line[: COMMAND_CHARS - 1] + "…"


# -- who may open it


@dataclass(frozen=True, slots=True)
class Node:
    """A device node: its group, None if this host has no name for it, and its mode bits."""

    device: str
    group: str | None
    mode: int


@dataclass(frozen=True, slots=True)
class User:
    """Who asks: the groups of this process, and those of a new login."""

    name: str
    groups: Collection[str]
    groups_at_login: Collection[str]


def why_denied(node: Node, user: User) -> str:
    """What to do about a port that this user may not open."""
    shared = node.mode & stat.S_IRGRP and node.mode & stat.S_IWGRP
    if node.group is None or node.group == "root" or not shared:
        rule = 'SUBSYSTEM=="tty", ATTRS{idVendor}=="VID", GROUP="dialout", MODE="0660"'
        return (
            f"its group ({node.group or 'one without a name'}, mode {stat.S_IMODE(node.mode):o}) "
            f"does not let users in: put {rule} into {RULES}, with the board's vendor for VID, and "
            "plug the board in again"
        )
    if node.group in user.groups:
        return (
            f"user {user.name} is in its group {node.group}, so something else refuses: in a "
            "container the device has to be passed in, as docker run --device does"
        )
    if node.group in user.groups_at_login:
        return (
            f"user {user.name} has been added to its group {node.group} after this login: log in "
            f"again, or start a shell by newgrp {node.group}"
        )
    return (
        f"add this user to the port's group: sudo usermod -aG {node.group} {user.name}, and log in "
        "again"
    )


def remedy_for_denied(device: str) -> str:
    """The same for a device of this host and the user of this process."""
    status = os.stat(device)  # noqa: PTH116  # follows links, as opening does
    return why_denied(Node(device, _group(status.st_gid), status.st_mode), this_user())


def may_open(device: str) -> bool:
    """Whether this user may read and write it."""
    return os.access(device, os.R_OK | os.W_OK)


def this_user() -> User:
    """The user of this process."""
    groups = [name for gid in {os.getegid(), *os.getgroups()} if (name := _group(gid))]
    try:
        entry = pwd.getpwuid(os.geteuid())
    except KeyError:  # in a container it may have none
        return User(str(os.geteuid()), groups, groups)
    at_login = [_group(gid) or "" for gid in os.getgrouplist(entry.pw_name, entry.pw_gid)]
    return User(entry.pw_name, groups, at_login)


def _group(number: int) -> str | None:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return None
