"""Finding the porter of a port, or starting it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.rig.ports.messages import LINGER_S, VERSION, Message, Where, hear, say, unix

PROGRAM: Final = (sys.executable, "-m", "pytest_blynk_ota.rig.ports")
START_S: Final = 8.0
"""For a porter to be there; it takes the time of a Python interpreter."""
ANSWER_S: Final = 5.0
"""For a porter to answer; it does nothing that takes time."""
AGAIN_S: Final = 0.05
"""Another run is starting the porter, or it is just ending."""
KEPT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "LANG", "LC_ALL",
               "LD_LIBRARY_PATH", "BLYNK_OTA_LOCKS", "TMPDIR")  # fmt: skip
"""Of the environment. It outlives its starter, whose secrets are not for it."""

WhyNot = Callable[[OSError], str]
"""Words for a port that cannot be bound."""


class _Gone(Exception):
    """Raised where a porter ends while it is spoken to."""


def rented(
    where: Where, kind: str, *, run: int, linger_s: float = LINGER_S, why_not: WhyNot
) -> socket.socket:
    """A tenant's connection to the porter of a port, which is started if there is none.

    Args:
        where: the port.
        kind: of door: tenants of one port have to agree on it.
        run: pid of the run, for people.
        linger_s: wall seconds that the porter stays after its last tenant.
        why_not: words for a port that cannot be bound.

    Raises:
        RigError: it cannot be bound, or its porter is of another version or another kind.
    """
    deadline = time.monotonic() + START_S
    asked = {"do": "rent", "version": VERSION, "kind": kind, "run": run, "linger_s": linger_s}
    why = ""
    while True:
        try:
            sock = _connected(where)
            said = ask(sock, asked)
            if "no" not in said:
                return sock
            sock.close()
            _clear(where, said)
        except (FileNotFoundError, ConnectionRefusedError):
            _start(where, linger_s, why_not)
        except (_Gone, OSError) as error:  # it is just ending
            why = str(error)
        if time.monotonic() >= deadline:
            raise RigError(
                f"the porter of {where} was not there within {START_S:g} s, and no other one came; "
                f"the last that was heard: {why or 'nothing'}"
            )
        time.sleep(AGAIN_S)  # nobody announces that a process has ended


def _connected(where: Where) -> socket.socket:
    sock = unix()
    try:
        sock.settimeout(ANSWER_S)
        sock.connect(where.meeting)
    except OSError:
        sock.close()
        raise
    return sock


def ask(sock: socket.socket, question: Message) -> Message:
    """Ask, and wait for the answer.

    Raises:
        OSError: it does not answer, or ends.
    """
    try:
        say(sock, question)
        heard = hear(sock)
    except OSError:
        sock.close()
        raise
    if heard is None:
        sock.close()
        raise ConnectionResetError("it ended")
    return heard[0]


def told(where: Where) -> Message | None:
    """What a porter says of itself and its tenants; None if there is none."""
    with contextlib.suppress(OSError):
        sock = _connected(where)
        with sock:
            return ask(sock, {"do": "tell"})
    return None


def _clear(where: Where, said: Message) -> None:
    """It refuses us. One of another version that nobody needs goes. Raises RigError."""
    if said["no"] != "version":
        raise RigError(str(said.get("said", said)))
    if said.get("tenants"):
        raise RigError(
            f"{said.get('said')}: wait until the runs that use it have ended (blynk-ota rig status "
            f"names them), or use the same version of pytest-blynk-ota"
        )
    with contextlib.suppress(OSError):
        sock = _connected(where)
        with sock:
            ask(sock, {"do": "quit"})


def _start(where: Where, linger_s: float, why_not: WhyNot) -> None:
    """Start a porter, unless another one is there before it. Raises RigError."""
    command = [*PROGRAM, where.address, str(where.port), str(linger_s)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={key: os.environ[key] for key in KEPT if key in os.environ},
            start_new_session=True,
            timeout=START_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RigError(f"the porter of {where} cannot be started: {error}") from error
    row = _announced(done.stdout)
    if row is None:
        last = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
        raise RigError(f"the porter of {where} cannot be started: {last or 'it said nothing'}")
    if "errno" in row:
        why = OSError(row["errno"], os.strerror(row["errno"] or 0))
        raise RigError(why_not(why))


def _announced(said: bytes) -> dict[str, Any] | None:
    for line in said.splitlines():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict):
                return row
    return None
