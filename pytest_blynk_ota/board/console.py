"""The serial console of one board: the one owner of its port.

A thread reads all the time, makes lines, keeps them for ever and records each as an event. Waits
start at a cursor and consume nothing, so two of them can look for the same line.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from serial.serialutil import SerialException

from pytest_blynk_ota.board.arrivals import Arrivals, Piece
from pytest_blynk_ota.board.lent import LentPort
from pytest_blynk_ota.board.log import Entry, Line, LogReader, Said
from pytest_blynk_ota.board.ports import READ_S, TTY_BYTES, Port, open_port, told_at_most, unread
from pytest_blynk_ota.board.rows import Data, Mark, Row
from pytest_blynk_ota.errors import DeadlinePassed, LineNotSeen, PortGone
from pytest_blynk_ota.evidence.timeline import Record

OPEN_PATIENCE_S = 1.0
"""A port that somebody just closed may be busy for a moment."""
RETRY_S = 0.2
"""Between two tries to open a port: a hub needs 1–2 s to bring one back."""
RETURN_S = 5.0
"""How long a borrower or writer waits for a port that is gone at the moment."""
PARK_S = 2.0
"""How long the reader may need to let go of the port; its reads take READ_S at most."""
READ_BYTES = 16 * 1024
"""Of a backlog, as a busy host has of a board that restarts all the time, so much is made into
lines before the reader looks whether somebody wants the port."""
WAITED_S = 3 * READ_S
"""What is read on time waited for two reads at most: one that found nothing, and its own."""
PROMPT_IDLE_S = 0.2
"""A line without an end counts as a prompt when nothing was added for so long."""
FLOOR_S = 0.25
"""No time-out of device seconds becomes shorter than this on the wall."""
LAST_LINES = 12
"""Lines of the log that an error shows."""
KEPT_LINES = 2000
"""Lines of earlier tests that a console keeps: more than any boot prints."""
SETTLE_S = 1.0
"""A crash whose last line does not come is told as it is when the board was silent for so long."""

PORT_ERRORS = (SerialException, OSError, TypeError)
"""What a read raises when its port is gone; TypeError is pyserial's own when another thread closes
the device under it."""

Sink = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rig makes of a log beyond the table.

    Attributes:
        metrics: rows of the rig file, and others that are not looked for on each board.
        decode: a crash's data and the words of its stack to what an ELF file adds to them.
        keep: stores a core dump of a board; returns what is said of it.
        lives_at: told of the address that a board says it has.
    """

    metrics: Sequence[Row] = ()
    decode: Callable[[Data, Sequence[int]], Data] | None = None
    keep: Callable[[str, bytes], Data] | None = None
    lives_at: Callable[[str, str], object] | None = None

    def of(self, board: str, said: Said) -> Data:
        """What is added to an event."""
        if said.mark.kind == "crash" and self.decode is not None:
            return self.decode(said.mark.data, said.stack)
        if said.mark.kind == "core_dump" and self.keep is not None:
            return self.keep(board, said.content)
        if said.mark.kind == "address" and self.lives_at is not None:
            self.lives_at(board, said.mark.data["address"])
        return {}


@dataclass(frozen=True, slots=True)
class LogLine:
    """Line ``n`` (from 1) of the log, ended at ``t`` (monotonic host seconds)."""

    n: int
    t: float
    text: str


class Console:
    """One board's serial line.

    Args:
        name: the board's name in the rig file.
        url: any name of a port (``board/naming.py``).
        record: takes ``uart/line`` and, right after it, what the line says (``uart/reset`` …).
        baud: of the console.
        speed: device seconds in a wall second.
        reading: what more is made of its log.
    """

    def __init__(
        self,
        name: str,
        url: str,
        record: Record,
        *,
        baud: int = 115200,
        speed: float = 1.0,
        reading: Reading = Reading(),  # frozen, and holds nothing
    ) -> None:
        self.name, self.url, self.baud, self.speed = name, url, baud, speed
        self._record = record
        self._changed = threading.Condition()
        self._lines: list[LogLine] = []
        self._forgotten = 0
        self._log = LogReader(reading.metrics)
        self._reading_more = reading
        self._hoard: deque[Piece] = deque()
        self._arrivals = Arrivals(time.monotonic())
        self._backlog = False
        self._last_byte = 0.0
        self._mark = 0
        self._sinks: list[Sink] = []
        self._port: Port | None = None
        self._lost, self._lost_at = "not open", 0.0
        self._lending = threading.Lock()
        self._lent = self._parked = self._reading = self._working = False
        self._closing = threading.Event()
        self._reader: threading.Thread | None = None

    def __repr__(self) -> str:
        state = "open" if self._port is not None else self._lost
        return f"<Console {self.name} {self.url} {state}, {self.cursor} lines>"

    def __enter__(self) -> Console:
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- the port

    def open(self) -> None:
        """Open the port and start reading; no reset. Raises PortGone after OPEN_PATIENCE_S."""
        if self._reader is not None:
            return
        self._closing.clear()
        deadline = time.monotonic() + OPEN_PATIENCE_S
        while True:
            try:
                self._port = open_port(self.name, self.url, self.baud)
                break
            except PortGone:
                if time.monotonic() >= deadline:
                    raise
                self._closing.wait(RETRY_S)
        self._mark = self.cursor
        self._reader = threading.Thread(target=self._run, name=f"console {self.name}", daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Stop reading and close the port. Safe to call twice."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._interrupt()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.join(PARK_S + RETURN_S)
        port, self._port, self._lost = self._port, None, "closed"
        if port is not None:
            port.close()

    @property
    def lost(self) -> str | None:
        """Why there is no port at the moment; None while there is one."""
        return None if self._port is not None else self._lost

    @property
    def port(self) -> Port:
        """The open port, for its control lines. Raises PortGone if it does not come back."""
        with self._changed:
            self._changed.wait_for(lambda: self._port is not None or self._closing.is_set(),
                                   RETURN_S if self._reader else 0)  # fmt: skip
            if self._port is None:
                raise PortGone(
                    f"board {self.name}: {self.url} is gone ({self._lost}) and did not come back "
                    f"within {RETURN_S:g} s. Is the board plugged in and powered?"
                )
            return self._port

    @contextmanager
    def lend(self) -> Iterator[LentPort]:
        """Hand the port to one borrower, such as esptool, while the reader waits.

        Bytes that the borrower reads are no log lines. Raises PortGone.
        """
        with self._lending:
            port = self.port
            self._park()
            try:
                yield LentPort(port)
            except (SerialException, OSError) as error:
                raise PortGone(f"board {self.name}: {self.url} went away: {error}") from error
            finally:
                self._give_back(port)

    def _park(self) -> None:
        with self._changed:
            self._lent = True
        self._interrupt()
        with self._changed:
            if self._changed.wait_for(lambda: self._parked, PARK_S):
                return
            self._lent = False
        raise DeadlinePassed(f"the reader of {self.name} to let go of its port", PARK_S)

    def _give_back(self, port: Port) -> None:
        try:
            port.timeout, port.baudrate = READ_S, self.baud
        except (SerialException, OSError) as error:
            self._lose(str(error), port)
        finally:
            with self._changed:
                self._lent = False
                self._arrivals.forget(time.monotonic())
                self._changed.notify_all()

    def _interrupt(self) -> None:
        """End the reader's read; where the port cannot, its time-out does."""
        cancel = getattr(self._port, "cancel_read", None)
        if cancel is not None and self._reading:
            cancel()

    # -- the reader thread

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                port = self._port
                if port is None:
                    self._reconnect()
                elif self._wait_while_lent():
                    self._read(port)
            self._take(self._log.flush())
        except Exception as error:  # evidence that cannot be written, say: do not look silent
            with self._changed:
                port, self._port, self._lost = self._port, None, f"its reader failed: {error!r}"
                self._changed.notify_all()
            if port is not None:
                port.close()
            raise

    def _wait_while_lent(self) -> bool:
        """Park while the port is lent; False when it was, since the port may be another now."""
        with self._changed:
            if not self._lent:
                return True
        self._take(self._log.settle())  # the borrower resets the board
        with self._changed:
            if not self._lent:
                return False
            self._parked = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._lent or self._closing.is_set())
            self._parked = False
            return False

    def _read(self, port: Port) -> None:
        try:
            pieces = self._bytes(port)
        except PORT_ERRORS as error:
            self._lose(str(error), port)
            return
        self._working = True
        for piece in pieces:
            self._feed(piece)
        if pieces:
            self._catch_up()
        elif self._log.waits and time.monotonic() - self._last_byte >= SETTLE_S:
            self._take(self._log.settle())
        with self._changed:
            self._working = False
            self._changed.notify_all()

    def _bytes(self, port: Port) -> list[Piece]:
        """What has come, in pieces; waits for READ_S."""
        self._reading, began = True, time.monotonic()
        try:
            waiting = unread(port)
            data = port.read(min(max(1, waiting), READ_BYTES))
        finally:
            self._reading = False
        now = time.monotonic()
        rest = self._backlog or waiting >= min(told_at_most(port), READ_BYTES)
        self._backlog = waiting >= TTY_BYTES  # even an empty look may come before the rest is there
        with self._changed:  # at once: what nobody counts as read does not count as waiting either
            pieces = list(self._arrivals.dated(data, began, now, rest=rest))
        if data:
            self._last_byte = now
            self._feed_sinks(data)
        return pieces

    def notice(self) -> None:
        """What waits unread at this moment came before it, however late this host reads it. Called
        in any thread that is about to record what the board did elsewhere."""
        with self._changed:
            port, read = self._port, self._arrivals.read
            if port is None or self._lent:
                return
            try:
                count = unread(port)
            except (*PORT_ERRORS, ValueError):  # the reader will say so; the last: closed meanwhile
                return
            if count:
                self._arrivals.unread(read + count, time.monotonic())

    def _take(
        self, entries: Sequence[Entry], now: float | None = None, waited: float = 0.0
    ) -> None:
        """Record lines as they come, and what they say at the time of the line that began it.
        A line can be waited for once what it says is on record. Of a reset that is read late it is
        said for how long it may have waited."""
        now = time.monotonic() if now is None else now
        last: LogLine | None = None
        for entry in entries:
            if isinstance(entry, Line):
                self._add(last)
                last = LogLine(entry.n, now, entry.text)
                self._record("uart", "line", self.name, t=now, text=entry.text)
            else:
                here = last is not None and entry.n == last.n
                begun = now if here else self._lines[entry.n - 1 - self._forgotten].t
                data = {**entry.mark.data, **self._more_of(entry)}
                if waited and entry.mark.kind == "reset":
                    data["waited_s"] = waited
                self._record("uart", entry.mark.kind, self.name, t=begun, **data)
        self._add(last)

    def _catch_up(self) -> None:
        """Look at what came while something was decoded."""
        while self._hoard:
            self._feed(self._hoard.popleft())

    def _feed(self, piece: Piece) -> None:
        waited = round(piece.t - piece.since, 3)
        self._take(self._log.feed(piece.data), piece.t, waited if waited >= WAITED_S else 0.0)

    def settle(self) -> None:
        """Wait until a crash that is being read has been told: at most until the board has been
        silent for SETTLE_S. Without one it returns at once."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    not (self._log.waits or self._working)
                    or self._port is None
                    or self._closing.is_set()
                ),
                SETTLE_S + PARK_S,
            )

    def _more_of(self, said: Said) -> Data:
        """What the rig makes of an entry. Decoding takes up to a second, a UART has no patience:
        what comes meanwhile is read, and looked at afterwards."""
        if said.mark.kind != "crash" or self._reading_more.decode is None:
            return self._reading_more.of(self.name, said)
        found: list[Data] = []
        work = threading.Thread(
            target=lambda: found.append(self._reading_more.of(self.name, said)), daemon=True
        )
        work.start()
        while work.is_alive():
            port = self._port
            if port is None or self._lent or self._closing.is_set():
                work.join()
                break
            try:
                self._hoard.extend(self._bytes(port))
            except PORT_ERRORS:  # the next read will say so
                work.join()
        return found[0] if found else {}

    def _add(self, line: LogLine | None) -> None:
        if line is not None:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()

    def _lose(self, why: str, port: Port) -> None:
        if self._closing.is_set():
            return
        self._take(self._log.flush())
        with self._changed:
            if self._port is not port:
                return
            self._port, self._lost, self._lost_at = None, why, time.monotonic()
            self._changed.notify_all()
        port.close()
        self._record("uart", "port_lost", self.name, why=why)

    def _reconnect(self) -> None:
        """Try once more to open the port; the console does so until it is closed."""
        try:
            port = open_port(self.name, self.url, self.baud)
        except PortGone as error:
            self._lost = str(error)
            self._closing.wait(RETRY_S)
            return
        with self._changed:
            if not self._closing.is_set():
                self._port = port
                self._arrivals.forget(time.monotonic())
                self._changed.notify_all()
        if self._port is not port:  # nobody is left to close it later
            port.close()
            return
        gone = round(time.monotonic() - self._lost_at, 3)
        self._record("uart", "unseen", self.name, seconds=gone)
        self._record("uart", "port_back", self.name)

    def keep_core_dump(self, content: bytes, origin: str) -> None:
        """Record a core dump that was found elsewhere than in the log."""
        told: Data = {"bytes": len(content), "complete": True, "from": origin}
        said = Said(self.cursor, Mark("core_dump", told), content=content)
        more = self._reading_more.of(self.name, said)
        self._record("uart", "core_dump", self.name, **{**told, **more})

    # -- lines

    @property
    def cursor(self) -> int:
        """The number of the newest line."""
        return self._forgotten + len(self._lines)

    def lines(self, after: int = 0) -> Sequence[LogLine]:
        """The lines whose number is greater than ``after``, as far back as they are kept."""
        with self._changed:
            return tuple(self._lines[max(0, after - self._forgotten) :])

    def texts(self, after: int = 0) -> list[str]:
        """As ``lines``, and the one that has not ended: at a wrong baud rate none may ever end."""
        rest = self._log.rest
        return [*(line.text for line in self.lines(after)), *([rest] if rest else [])]

    def heard(self) -> Iterator[tuple[float, str]]:
        """The lines that are kept, each with the monotonic host seconds of its end."""
        return ((line.t, line.text) for line in self.lines())

    def forget(self) -> None:
        """Let go of all but the latest lines, before a test: numbers go on, evidence has them all.

        A night of tests prints millions of them.
        """
        with self._changed:
            gone = max(0, len(self._lines) - KEPT_LINES)
            del self._lines[:gone]
            self._forgotten += gone

    def last(self, count: int = LAST_LINES) -> list[str]:
        """The last lines, as an error shows them."""
        with self._changed:
            return [line.text for line in self._lines[-count:]]

    def mark(self) -> int:
        """Remember this place: waits without a cursor start here. Each own reset sets it."""
        self._mark = self.cursor
        return self._mark

    def expect(
        self, pattern: str | re.Pattern[str], *, timeout: float, after: int | None = None
    ) -> re.Match[str]:
        """Wait for a line in which ``pattern`` is found; nothing is consumed.

        Args:
            pattern: searched in each line, and in a prompt that has no line end.
            timeout: device seconds.
            after: cursor to start at; by default the last reset by the rig, or the opening.

        Raises:
            LineNotSeen: a failure of the firmware, with what came instead and the last lines.
            PortGone: the port is lost: the rack's fault.
        """
        regex = re.compile(pattern)
        start = self._mark if after is None else after
        wall_s = max(timeout / self.speed, FLOOR_S)
        match = self.find(regex, after=start, wall_s=wall_s)
        if match is not None:
            return match
        awaited = f"/{regex.pattern}/ on the console of {self.name} ({timeout:g} s of device time)"
        if self.lost:
            raise PortGone(f"waited for {awaited}, but the port was lost: {self.lost}")
        raise LineNotSeen(awaited, wall_s, instead=self._instead(start), last_lines=self.last())

    def find(self, pattern: re.Pattern[str], *, after: int, wall_s: float) -> re.Match[str] | None:
        """As ``expect``, but in wall seconds and returning None when the time is over."""
        deadline = time.monotonic() + wall_s
        seen = after
        while True:
            new = self.lines(seen)
            seen += len(new)
            for text in [line.text for line in new] + self._prompt():
                if match := pattern.search(text):
                    return match
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            with self._changed:
                if self.cursor == seen:
                    self._changed.wait(min(left, PROMPT_IDLE_S))

    def _prompt(self) -> list[str]:
        idle = time.monotonic() - self._last_byte
        return [self._log.rest] if self._log.rest and idle >= PROMPT_IDLE_S else []

    def _instead(self, after: int) -> str:
        new = self.lines(after)
        if not new:
            return "nothing, not one line"
        return f"{len(new)} other lines, the last {time.monotonic() - new[-1].t:.1f} s ago"

    # -- writing and listening along

    def write(self, text: str | bytes) -> None:
        """Send to the board. Raises PortGone."""
        port = self.port
        try:
            port.write(text.encode() if isinstance(text, str) else text)
        except (SerialException, OSError) as error:
            raise PortGone(f"board {self.name}: cannot write to {self.url}: {error}") from error

    def attach(self, sink: Sink) -> None:
        """Call ``sink`` with all bytes from now on, as they come, in the reader's thread."""
        with self._changed:
            self._sinks.append(sink)

    def detach(self, sink: Sink) -> None:
        """Stop calling ``sink``. Nothing happens if it was not attached."""
        with self._changed:
            if sink in self._sinks:
                self._sinks.remove(sink)

    def _feed_sinks(self, data: bytes) -> None:
        for sink in tuple(self._sinks):
            try:
                sink(data)
            except Exception as error:  # a listener's fault must not deafen the console
                self.detach(sink)
                self._record("rig", "error", self.name, error=type(error).__name__,
                             message=f"listener on the console dropped: {error}")  # fmt: skip
