"""Pytest in the background, and what /proc says of its processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 40.0


def stat(pid: int) -> tuple[str, int] | None:
    """State and parent of a process; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (fields[0], int(fields[1]))


def living(pids) -> list[int]:
    """Those of the processes that have not ended."""
    return [pid for pid in pids if stat(pid)]


def processes_of(ancestor: int) -> dict[int, str]:
    """Command lines of the live descendants of a process, by process id."""
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    parents = {pid: row[1] for pid in pids if (row := stat(pid))}
    found = {}
    for pid in parents:
        above = parents.get(pid)
        while above and above != ancestor:
            above = parents.get(above)
        if above == ancestor:
            found[pid] = command_line(pid)
    return found


def command_line(pid: int) -> str:
    """What a process was started as; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def wait_until(condition, what: str, patience: float = PATIENCE_S):
    """The first true value of ``condition()``; fails naming ``what`` if none comes."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {patience:g} s for {what}"
        time.sleep(0.02)
    return value


class Run:
    """A pytest in the background."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.output = folder / "output.txt"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def children(self) -> dict[int, str]:
        return processes_of(self.process.pid)

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def events(self) -> list[dict]:
        """All whole lines of all events so far."""
        rows = []
        for path in self.folder.glob(".blynk-ota/runs/*/tests/*/events.jsonl"):
            rows += [
                json.loads(line) for line in path.read_text().splitlines(True) if line[-1:] == "\n"
            ]
        return rows

    def wait_for(self, source: str, kind: str) -> None:
        """Until such an event has been written."""

        def there():
            assert self.process.poll() is None, self.text()
            return any((row["source"], row["kind"]) == (source, kind) for row in self.events())

        wait_until(there, f"the event {source}/{kind}")

    def end(self) -> None:
        for pid in [self.process.pid, *self.children]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
