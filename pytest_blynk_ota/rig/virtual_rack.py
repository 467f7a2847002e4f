"""The virtual rack as a child process: started for a session, watched, and ended with it."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pytest_blynk_ota.errors import DeadlinePassed, RigError
from pytest_blynk_ota.evidence.timeline import Record
from pytest_blynk_ota.rig.control import RackControl

PROGRAM = (sys.executable, "-m", "pytest_blynk_ota.virtual")
START_TIMEOUT_S = 30.0
"""Wall seconds for the process to announce its boards; it needs well under one."""
STOP_TIMEOUT_S = 5.0


def _ended(code: int) -> str:
    """How a process ended, from its return code: a negative one is the signal that ended it."""
    if code >= 0:
        return f"ended with {code}"
    try:
        return f"was killed ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed (signal {-code})"


def problems_of(path: Path) -> list[str]:
    """What the virtual rack finds wrong with its boards of a rig file; it has a say of its own.

    Raises:
        RigError: it cannot be asked.
    """
    asked = [*PROGRAM, str(path), "--check"]
    try:
        done = subprocess.run(
            asked, capture_output=True, text=True, check=True, timeout=START_TIMEOUT_S
        )
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        raise RigError(f"the virtual rack cannot be asked about {path}: {said}") from error
    problems: list[str] = json.loads(done.stdout)
    return problems


@dataclass(frozen=True, slots=True)
class VirtualPort:
    """What the rack announced of one board.

    Attributes:
        address: that it calls from on this host; "" where it has none of its own.
    """

    url: str
    mac: str
    outlet: str
    address: str = ""


class VirtualRack:
    """A running virtual rack.

    Args:
        path: the rig file whose boards it plays.
        boards: names of the boards to play.
        log: where its own complaints go.
        record: where a test's deeds at its control port go.

    Attributes:
        ports: where each board is, by name.
        control: the hand at the rack: power, reset, snapshots, the network.

    Raises:
        RigError: it did not start.
    """

    def __init__(
        self, path: Path, boards: Sequence[str], log: Path, record: Record | None = None
    ) -> None:
        self._log = log
        self._record = record
        command = [*PROGRAM, str(path), "--json", "--lifeline"]
        for board in boards:
            command += ["--board", board]
        # A session of its own: Ctrl-C in the terminal is for the test run, which ends the rack.
        with log.open("ab") as complaints:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
                bufsize=0,
            )
        try:
            self.ports = self._announced()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Process id, for tests that kill it."""
        return self._process.pid

    def _announced(self) -> dict[str, VirtualPort]:
        assert self._process.stdout is not None
        line = self._first_line(self._process.stdout)
        try:
            ready = json.loads(line)
        except ValueError as error:
            raise RigError(f"the virtual rack announced {line[:80]!r}, expected JSON") from error
        self.control = RackControl(ready["outlet"], self._record)
        return {
            board["name"]: VirtualPort(
                board["url"],
                board["mac"],
                f"{self.control.url}/{board['name']}",
                board["address"],
            )
            for board in ready["boards"]
        }

    def _first_line(self, stream: IO[bytes]) -> bytes:
        deadline = time.monotonic() + START_TIMEOUT_S
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                raise DeadlinePassed(
                    "the virtual rack to announce its boards",
                    START_TIMEOUT_S,
                    last_lines=self._last_words(),
                )
            byte = stream.read(1)
            if not byte:
                raise RigError(self._died())
            line += byte
        return line

    def _last_words(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()[-8:]

    def _died(self) -> str:
        try:
            code = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "the virtual rack closed its output"
        # The first line alone stands in pytest's summary: the last word, which says why, is in it.
        *before, why = self._last_words() or [""]
        head = f"the virtual rack (pid {self.pid}) {_ended(code)}" + (f": {why}" if why else "")
        return "\n".join([head, *(f"    {line}" for line in before)])

    def check(self) -> None:
        """Raises RigError if the process has ended: no verdict may come from a dead rack."""
        if self._process.poll() is not None:
            raise RigError(self._died())

    def answer(self) -> None:
        """Wait for the rack's event loop to answer: all that was due before has been done.

        Raises:
            RigError: it does not answer.
        """
        try:
            self.control.request("GET", "/")
        except RigError as error:
            self.check()
            raise RigError(f"the virtual rack (pid {self.pid}) is stuck: {error}") from error

    def stop(self) -> None:
        """End the process; it cleans up behind itself."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                stream.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)
