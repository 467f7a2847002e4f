"""The timeline: everything that was seen, in the order seen.

Rooms write through a :class:`Recorder`, which lives as long as the session and hands each event
to the timeline of the running test. Readers never consume: a wait starts at a cursor.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar, overload

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.evidence.redact import Redactor

T = TypeVar("T")


class Record(Protocol):
    """What a room calls to say what it saw. ``t`` is for things seen earlier than said."""

    def __call__(
        self,
        source: str,
        kind: str,
        board: str | None = None,
        /,
        *,
        t: float | None = None,
        **data: Any,
    ) -> None: ...


class Sink:
    """A file of lines that outlives its writer.

    Each line goes to the kernel in one piece before the next: a process that is killed, by
    whatever, loses none. To the disk it is forced when the file is closed: the host itself must
    lose its power to lose what came before. Forcing each line would cost more than a run.

    A line that cannot be written, on a full disk say, is the last one: what comes behind half a
    line could not be read. The error is kept for :meth:`close`, as a test must not fail for it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._lost: OSError | None = None

    def write(self, line: str) -> None:
        """Append one line, whole."""
        if self._lost is not None:
            return
        # Half a pair of UTF-16 is no UTF-8; in JSON its escape means the same.
        rest = memoryview(line.encode("utf-8", "backslashreplace") + b"\n")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._lost = error

    def close(self) -> None:
        """Force it to the disk. Raises OSError for what could not be written."""
        with self._file:
            if self._lost is None:
                os.fsync(self._file.fileno())
                return
        raise OSError(self._lost.errno, self._lost.strerror, str(self._path))


class Seen(Sequence[Event]):
    """The first events of a list that only grows, as they stood at one moment; nothing is copied,
    however often somebody looks."""

    def __init__(self, events: Sequence[Event], count: int) -> None:
        self._events = events
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Event]:
        return islice(self._events, self._count)

    @overload
    def __getitem__(self, at: int) -> Event: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Event]: ...

    def __getitem__(self, at: int | slice) -> Event | Sequence[Event]:
        if isinstance(at, slice):
            return tuple(self._events[place] for place in range(*at.indices(self._count)))
        return self._events[range(self._count)[at]]

    def __repr__(self) -> str:
        return f"Seen({self._count} events)"


class Timeline:
    """An append-only list of events, safe to use from several threads."""

    def __init__(
        self,
        *,
        redactor: Redactor | None = None,
        path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redactor = redactor or Redactor()
        self._clock = clock
        self._events: list[Event] = []
        self._grew = threading.Condition()
        self._wakes = 0
        self._sink = Sink(path) if path else None
        self.folder = path.parent if path else None

    def __len__(self) -> int:
        return len(self._events)

    def add(
        self,
        source: str,
        kind: str,
        board: str | None = None,
        /,
        *,
        t: float | None = None,
        **data: Any,
    ) -> Event:
        """Append one event, redacted, and write it out at once."""
        if (source, kind) == ("uart", "line") and "text" in data:
            clean = self._redactor.clean(data | {"text": ""})
            clean["text"] = self._redactor.line(data["text"])  # may be cut in the midst of a secret
        else:
            clean = self._redactor.clean(data)
        with self._grew:
            now = self._clock()
            event = Event(
                len(self._events) + 1,
                now if t is None else t,
                time.time(),
                source,
                kind,
                board,
                clean,
            )
            self._events.append(event)
            if self._sink:
                self._sink.write(event.to_json())
            self._grew.notify_all()
        return event

    def events(self, after: int = 0) -> Sequence[Event]:
        """The events whose ``seq`` is greater than ``after``."""
        with self._grew:
            if after <= 0:
                return Seen(self._events, len(self._events))
            return tuple(self._events[after:])

    def now(self) -> float:
        """The time on the clock that stamps the events, in seconds."""
        return self._clock()

    @property
    def cursor(self) -> int:
        """The ``seq`` of the newest event; 0 if there is none."""
        return len(self._events)

    def wait(
        self,
        found: Callable[[Sequence[Event]], T | None],
        timeout: float,
        *,
        after: int = 0,
    ) -> T | None:
        """Give ``found`` each batch of new events until it returns something.

        Args:
            found: called with the events after the cursor not yet shown to it; once at the start
                even if there are none.
            timeout: wall seconds.
            after: the cursor to start at; earlier events are not shown.

        Returns:
            What ``found`` returned, or None when the time is over.
        """
        deadline = time.monotonic() + timeout
        wakes = self._wakes
        while True:
            batch = self.events(after)
            after += len(batch)
            result = found(batch)
            if result is not None:
                return result
            with self._grew:
                if len(self._events) > after:
                    continue
                remaining = deadline - time.monotonic()
                if self._wakes != wakes or remaining <= 0 or not self._grew.wait(remaining):
                    if len(self._events) > after:
                        continue
                    return None

    def wake(self) -> None:
        """End the running waits of all threads once, so that they look at what has changed."""
        with self._grew:
            self._wakes += 1
            self._grew.notify_all()

    def close(self) -> None:
        """Have the file on the disk, and close it. The events stay readable in memory.

        Raises:
            OSError: an event could not be written; no later one was then.
        """
        with self._grew:
            sink, self._sink = self._sink, None
        if sink:
            sink.close()


class Recorder:
    """Hands events to whichever timeline is current; the rooms of the rig hold one of these."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._lock = threading.Lock()

    @property
    def timeline(self) -> Timeline:
        """The timeline that events go to now."""
        return self._timeline

    def switch(self, timeline: Timeline) -> Timeline:
        """Send all further events to another timeline; returns the one before."""
        with self._lock:
            before, self._timeline = self._timeline, timeline
            return before

    def folder(self) -> Path | None:
        """The folder of the running test; None between tests."""
        return self._timeline.folder

    def __call__(
        self,
        source: str,
        kind: str,
        board: str | None = None,
        /,
        *,
        t: float | None = None,
        **data: Any,
    ) -> None:
        with self._lock:
            self._timeline.add(source, kind, board, t=t, **data)
