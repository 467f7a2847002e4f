"""The whole serial log read: bytes in any pieces in; lines, and what they say, out. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_blynk_ota.board import crash as crashes
from pytest_blynk_ota.board.crash import Crash
from pytest_blynk_ota.board.lines import LineSplitter
from pytest_blynk_ota.board.patterns import ROWS, marks
from pytest_blynk_ota.board.rows import Data, Mark, Row, candidates

CORE_DUMP = "CORE DUMP"
CORE_DUMP_START = re.compile(r"=+ CORE DUMP START =+")
CORE_DUMP_END = re.compile(r"=+ CORE DUMP END =+")
"""Frame of a core dump on the UART (core_dump_uart.c, esp-idf-monitor)."""
BASE64_LINE = re.compile(r"[A-Za-z0-9+/]+={0,2}")
MAX_DUMP_BYTES = 16 << 20
"""A core dump is no longer than flash; more is no dump."""

ENDS_NO_CRASH = frozenset({"crash", "metric"})
"""Kinds of marks that may stand inside a crash; any other shows that it is over."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log; ``n`` counts from 1."""

    n: int
    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a line says, or several that begin with line ``n``.

    Attributes:
        stack: of a crash on RISC-V, the words of its stack, for a decoder.
        content: of a core dump, its bytes as they were sent.
    """

    n: int
    mark: Mark
    stack: tuple[int, ...] = ()
    content: bytes = b""


Entry = Line | Said


class LogReader:
    """Reads a log as it comes.

    What takes several lines is said when its last line has come, and before whatever shows that it
    is over; :meth:`settle` says it when nothing more comes. The base64 lines of a core dump are no
    lines of the log: they hold the board's memory.

    Args:
        own: rows of the rig file, beside those of the table.
    """

    def __init__(self, own: Sequence[Row] = ()) -> None:
        self._rows = (*ROWS, *own)
        self._splitter = LineSplitter()
        self._n = 0
        self._elf = ""
        self._crash: Crash | None = None
        self._dump: _Dump | None = None

    @property
    def rest(self) -> str:
        """The line that has not ended yet, cleaned."""
        return self._splitter.rest

    @property
    def waits(self) -> bool:
        """Whether something waits for its last line."""
        return self._crash is not None

    def feed(self, data: bytes) -> list[Entry]:
        """Take bytes; returns the lines that they end, and what these say."""
        return self._read(self._splitter.feed(data))

    def settle(self) -> list[Entry]:
        """What waits for its last line, as it is now."""
        return self._end_crash()

    def flush(self) -> list[Entry]:
        """End everything that is under way, as when the board lost power in the middle of it."""
        found = self._read(self._splitter.flush())
        return [*found, *self._end_dump(whole=False), *self._end_crash()]

    def _read(self, texts: Sequence[str]) -> list[Entry]:
        if not texts:
            return []
        near = candidates(texts, self._rows)
        found: list[Entry] = []
        for at, text in enumerate(texts):
            if self._dump is not None and self._dump.take(text):
                continue
            found += self._line(text, near.get(at, ()))
        return found

    def _line(self, text: str, near: Sequence[Row]) -> Iterable[Entry]:
        self._n += 1
        line = Line(self._n, text)
        if not near and self._crash is None and self._dump is None and CORE_DUMP not in text:
            return (line,)
        said = list(marks(text, near))
        ended = self._over(text, said)
        self._note_elf(said)
        rest = [Said(line.n, mark) for mark in said if mark.kind != "crash"]
        return [*ended, line, *rest, *self._dumps(text)]

    def _note_elf(self, said: Sequence[Mark]) -> None:
        """The hash that this boot's application has printed of its ELF file."""
        for mark in said:
            if mark.kind == "reset":
                self._elf = ""
            elif _is_hash(mark.data):
                self._elf = str(mark.data["value"])

    def _over(self, text: str, said: Sequence[Mark]) -> list[Entry]:
        """Let the line go on with the crash, end it, or begin one."""
        first = next((mark.data for mark in said if mark.kind == "crash"), None)
        crash = self._crash
        if crash is not None:
            if first is not None:
                if crashes.refine(crash, first["what"], text):
                    return []
            elif self._goes_on(crash, text, said):
                return []
        if first is None:
            return self._end_crash()
        ended = self._end_crash()
        self._crash = crashes.begun(self._n, first["what"], text)
        return ended

    def _goes_on(self, crash: Crash, text: str, said: Sequence[Mark]) -> bool:
        """Whether a crash is not over yet. What it is waits for no core dump, which takes long."""
        if CORE_DUMP_START.search(text):
            return False
        if any(mark.kind not in ENDS_NO_CRASH and not _is_hash(mark.data) for mark in said):
            return False
        return crashes.take(crash, text)

    def _end_crash(self) -> list[Entry]:
        crash, self._crash = self._crash, None
        if crash is None:
            return []
        data = crashes.finished(crash)
        if self._elf:
            data.setdefault("elf_sha256", self._elf)
        return [Said(crash.line, Mark("crash", data), tuple(crash.stack))]

    def _dumps(self, text: str) -> list[Entry]:
        if CORE_DUMP in text and CORE_DUMP_START.search(text):
            ended = self._end_dump(whole=False)
            self._dump = _Dump(self._n)
            return ended
        if self._dump is not None:
            return self._end_dump(whole=bool(CORE_DUMP_END.search(text)))
        return []

    def _end_dump(self, *, whole: bool) -> list[Entry]:
        dump, self._dump = self._dump, None
        if dump is None:
            return []
        data = {"bytes": len(dump.content), "complete": whole and not dump.torn, "from": "uart"}
        return [Said(dump.n, Mark("core_dump", data), content=bytes(dump.content))]


def _is_hash(data: Data) -> bool:
    return data.get("field") == "elf_sha256"


class _Dump:
    """A core dump that is being read. ``torn``: a line of it was none, or is missing letters."""

    def __init__(self, n: int) -> None:
        self.n, self.content, self.torn = n, bytearray(), False

    def take(self, text: str) -> bool:
        """Take a line of base64; False: it is none, and the dump is over."""
        if not BASE64_LINE.fullmatch(text) or len(self.content) > MAX_DUMP_BYTES:
            return False
        try:
            self.content += base64.b64decode(text, validate=True)
        except binascii.Error:
            self.torn = True
        return True
