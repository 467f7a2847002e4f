"""A pytest on a terminal of some size, and what stands on its screen: enough of one to look at."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable

TOKEN = re.compile(
    r"\x1b\[(?P<number>[\d;?]*)(?P<verb>[A-Za-z])|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|.", re.S
)


class Screen:
    """Rows of text, with what scrolled off above them."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[list[str]] = [[]]
        self.row = self.column = 0
        self._torn = ""

    def take(self, text: str) -> None:
        """Take what a program wrote."""
        text = self._torn + text
        last = text.rfind("\x1b")
        torn = last >= 0 and not re.match(r"\x1b\[[\d;?]*[A-Za-z]|\x1b\]", text[last:])
        self._torn, text = (text[last:], text[:last]) if torn else ("", text)
        for token in TOKEN.finditer(text):
            if token["verb"]:
                self._move(
                    token["verb"], int(token["number"] or 0) if token["number"].isdigit() else 0
                )
            elif len(token[0]) == 1:
                self._put(token[0])

    def _put(self, char: str) -> None:
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self.row += 1
            while len(self.rows) <= self.row:
                self.rows.append([])
        elif char >= " ":
            if self.column >= self.columns:
                self.column = 0
                self._put("\n")
            line = self.rows[self.row]
            line.extend(" " * (self.column + 1 - len(line)))
            line[self.column] = char
            self.column += 1

    def _move(self, verb: str, number: int) -> None:
        line = self.rows[self.row]
        if verb == "A":
            self.row -= number or 1
        elif verb == "C":
            self.column += number or 1
        elif verb in "JK":
            del line[self.column :]
            if verb == "J":
                del self.rows[self.row + 1 :]
        elif verb != "m":
            raise AssertionError(f"nobody here should write ESC [ {number} {verb}")

    @property
    def lines(self) -> list[str]:
        """All rows, without spaces at their ends."""
        return ["".join(row).rstrip() for row in self.rows]


class Watched:
    """A pytest in the background, on a terminal."""

    def __init__(self, folder, *arguments: str, columns: int = 80, **environ: str) -> None:
        self.screen = Screen(columns)
        self.raw = ""
        self._master, slave = pty.openpty()
        self.resize(columns)
        gone = ("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CI", "COLUMNS", "PYTEST_ADDOPTS")
        kept = {name: value for name, value in os.environ.items() if name not in gone}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=kept | {"TERM": "xterm-256color"} | environ,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def resize(self, columns: int) -> None:
        """Another width of the window."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def until(self, seen: Callable[[], object], what: str, patience_s: float = 60.0) -> None:
        """Take what comes until something is seen on the screen."""
        deadline = time.monotonic() + patience_s
        while not seen():
            left = deadline - time.monotonic()
            assert left > 0, f"waited {patience_s:g} s for {what}:\n" + "\n".join(self.screen.lines)
            if not self._read(left) and not seen():
                raise AssertionError(f"ended before {what}:\n" + "\n".join(self.screen.lines))

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            text = os.read(self._master, 65536).decode("utf-8", "replace")
        except OSError:  # Linux says so when the last process has closed the other end
            return False
        self.raw += text
        self.screen.take(text)
        return bool(text)

    def type(self, text: str) -> None:
        """Type at the keyboard."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.kill(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """Take all that comes until the end; the exit code."""
        while self._read(60.0):
            pass
        return self.process.wait(30)

    def close(self) -> None:
        """End what is left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
