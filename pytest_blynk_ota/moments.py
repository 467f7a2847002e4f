"""Moments of an operation that a test can wait for, as predicates over single events."""

from __future__ import annotations

import re
from collections.abc import Callable

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
) -> tuple[str, Found]:
    """The words for a moment, and the test whether an event is it.

    Raises:
        ValueError: not exactly one of progress, log, report and air_status is given, progress is
            no part, or a download is named without progress.
    """
    if sum(value is not None for value in (progress, log, report, air_status)) != 1:
        raise ValueError("expected exactly one of progress=, log=, report=, air_status=")
    if download is not None and progress is None:
        raise ValueError("download= goes with progress= alone")
    if progress is not None:
        if not 0 < progress <= 1:
            raise ValueError(f"progress is a part of the file above 0 and up to 1, got {progress}")
        return f"{progress:.0%} of the file acknowledged", _progress(progress, download)
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


def _progress(part: float, download: int | None) -> Found:
    """Acknowledged bytes against what the answer announced; both are of one attempt.

    The page of a refusal is no part of the file.
    """
    announced: dict[int, int] = {}

    def found(event: Event) -> bool:
        if event.source != "delivery" or event.kind not in ("response", "progress", "ended"):
            return False
        attempt = event.data["attempt"]
        if download is not None and attempt != download:
            return False
        if event.kind == "response":
            good = 200 <= event.data["status"] < 300
            announced[attempt] = event.data["announced"] if good else 0
            return False
        total = announced.get(attempt, 0)
        return total > 0 and event.data["acked"] >= part * total

    return found
