"""Moments of an operation that a test can wait for, as predicates over single events."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pytest_blynk_ota.air import AirStatus, Follower
from pytest_blynk_ota.evidence.event import Event

Found = Callable[[Event], bool]


def moment(
    *,
    progress: float | None,
    log: str | None,
    report: str | None,
    download: int | None,
    air_status: AirStatus | None = None,
    by: str = "ack",
    size: int | None = None,
) -> tuple[str, Found]:
    """The words for a moment, and the test whether an event is it.

    Args:
        by: whose word counts for progress, a key of :data:`PROGRESS`.
        size: bytes of the file, for answers that do not say, or not truly, how long they are.

    Raises:
        ValueError: not exactly one of progress, log, report and air_status is given, progress is
            no part, a download is named without progress, or ``by`` is unknown.
    """
    if sum(value is not None for value in (progress, log, report, air_status)) != 1:
        raise ValueError("expected exactly one of progress=, log=, report=, air_status=")
    if progress is None and (download is not None or by != "ack"):
        raise ValueError("download= and by= go with progress= alone")
    if by not in PROGRESS:
        raise ValueError(f"progress is told by {' or '.join(map(repr, PROGRESS))}, got by={by!r}")
    if progress is not None:
        if not 0 < progress <= 1:
            raise ValueError(f"progress is a part of the file above 0 and up to 1, got {progress}")
        words, progressed = PROGRESS[by]
        return f"{progress:.0%} of the file {words}", progressed(progress, download, size)
    if air_status is not None:
        return f"the Air status {str(air_status)!r}", _shown(AirStatus(air_status))
    if log is not None:
        pattern = re.compile(log)
        return (
            f"a log line matching {log!r}",
            lambda event: (
                (event.source, event.kind) == ("uart", "line")
                and pattern.search(event.data["text"]) is not None
            ),
        )
    return (
        f"a report of version {report}",
        lambda event: (
            (event.source, event.kind) == ("cloud", "report") and event.data["version"] == report
        ),
    )


def _shown(status: AirStatus) -> Found:
    """Whether the console shows it after an event; shown the events of one operation."""
    follower = Follower()

    def found(event: Event) -> bool:
        follower.see(event)
        return follower.shipment.status is status

    return found


def _acknowledged(part: float, download: int | None, size: int | None) -> Found:
    """Acknowledged bytes against what the answer announced, or against the file where it announced
    nothing or too much; a later part of the file counts what lies before it too.

    The page of a refusal is no part of the file.
    """
    answers: dict[int, tuple[int, int]] = {}

    def found(event: Event) -> bool:
        if event.source != "delivery" or event.kind not in ("response", "progress", "ended"):
            return False
        attempt = event.data["attempt"]
        if attempt is None or (download is not None and attempt != download):
            return False
        if event.kind == "response":
            answers[attempt] = _first_and_total(event, size)
            return False
        first, total = answers.get(attempt, (0, 0))
        return total > 0 and bool(first + event.data["acked"] >= part * total)

    return found


def _first_and_total(response: Event, size: int | None) -> tuple[int, int]:
    """The offset of an answer in the file, and the bytes of the file; 0: it is no part of it."""
    data = response.data
    page = data.get("page", not 200 <= data["status"] < 300)
    if page or data["announced"] == 0:
        return 0, 0
    first, _, total = data.get("part") or (0, 0, data["announced"])
    known = [one for one in (total, size) if one]
    return first, min(known, default=0)


def _printed(part: float, download: int | None, size: int | None) -> Found:
    """What the device itself prints of its progress, in the download that it asked for last."""
    attempt: int | None = None

    def found(event: Event) -> bool:
        nonlocal attempt
        if (event.source, event.kind) == ("delivery", "request"):
            attempt = event.data["attempt"]
        if (event.source, event.kind) != ("uart", "firmware") or event.data["what"] != "progress":
            return False
        asked = attempt is not None and download in (None, attempt)
        return asked and bool(event.data["percent"] >= part * 100)

    return found


PROGRESS: Mapping[str, tuple[str, Callable[[float, int | None, int | None], Found]]] = {
    "ack": ("acknowledged", _acknowledged),
    "log": ("written, by the device's own word", _printed),
}
"""Whose word counts for progress: what it says, and the test for it."""
