"""The words of a verdict: outcome, reasons, findings, downloads. Data only; JSON in and out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from pytest_blynk_ota.air import AirStatus
from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.verdict.flash_seen import FlashSeen

MAX_EVENTS_SHOWN = 4
TOLD_AS: Mapping[str, str] = {"download rate": "download rate to the last byte"}
"""Metrics whose name alone leaves open what was measured: a stall comes behind the last byte."""
CRASHES_TOLD = 3

RULES = 3
"""The version of the findings that the judge looks for. It goes up with each new one, so that a
verdict of before is not called another one for lack of what nobody had looked for."""

FINDINGS_SINCE: Mapping[int, frozenset[str]] = {
    2: frozenset({
        "digest not checked",
        "certificate not checked",
        "certificate host not checked",
        "certificate date not checked",
    }),
    3: frozenset({"will not stay"}),
}  # fmt: skip
"""The findings that came with a version; all others are of the first."""


class Outcome(StrEnum):
    """What truly happened; the order is the order in which the judge asks."""

    BRICKED = "BRICKED"
    BOOT_LOOP = "BOOT_LOOP"
    OFFLINE = "OFFLINE"
    MISREPORTED = "MISREPORTED"
    UPGRADED = "UPGRADED"
    NOT_REPORTED = "NOT_REPORTED"
    ROLLED_BACK = "ROLLED_BACK"
    REVERTED = "REVERTED"
    DOWNLOAD_LIMIT_REACHED = "DOWNLOAD_LIMIT_REACHED"
    NOT_STARTED = "NOT_STARTED"
    REJECTED = "REJECTED"
    STALLED = "STALLED"
    DOWNLOAD_FAILED = "DOWNLOAD_FAILED"


NEW_RUNS = (Outcome.UPGRADED, Outcome.NOT_REPORTED, Outcome.MISREPORTED)
"""Outcomes in which New may have stayed: otadata tells whether it can."""


class Severity(StrEnum):
    """How much a finding matters; an ``error`` fails the test unless the test names it."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Reason:
    """One sentence, with the ``seq`` of the events that it rests on."""

    text: str
    events: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.text + _events(self.events)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth knowing beside the outcome."""

    name: str
    severity: Severity
    text: str
    events: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.severity}: {self.name}: {self.text}{_events(self.events)}"


@dataclass(frozen=True, slots=True)
class Download:
    """What one boot did with one offer's URL.

    Attributes:
        number: position among the downloads of the operation, from 1.
        offer: the offer's id.
        attempt: the firmware server's number; differs from ``number`` where a URL was used twice.
        ended: ``open``, ``stalled``, ``refused``, ``complete``, ``abandoned`` or ``cut``.
        status: HTTP status of the last answer; None if there was none.
        announced: body bytes that the last answer's headers promised; None without a length.
        written: body bytes handed to TCP.
        acked: body bytes that the device acknowledged.
        fault: the faults that fired in it; None if none did.
        seconds: how long it took, in device seconds.
    """

    number: int
    offer: str
    attempt: int
    ended: str
    status: int | None
    announced: int | None
    written: int
    acked: int
    fault: str | None
    seconds: float

    def __str__(self) -> str:
        of = f" of {self.announced}" if self.announced is not None else ""
        why = f", fault: {self.fault}" if self.fault else ""
        status = f"HTTP {self.status}, " if self.status is not None else ""
        return (
            f"download {self.number} ({self.offer}): {self.ended}, {status}"
            f"{self.acked}{of} bytes acknowledged in {self.seconds:.1f} s{why}"
        )


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that was seen once or more in one operation.

    Attributes:
        unit: of all its values.
        count: how many there were.
        first, last, least, most, mean: of them.
        events: the ``seq`` of the first few events that tell of it.
    """

    unit: str
    count: int
    first: float
    last: float
    least: float
    most: float
    mean: float
    events: tuple[int, ...] = ()

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if self.count == 1:
            return f"{self.last:g}{unit}"
        return f"{self.least:g} to {self.most:g}{unit}, last {self.last:g} ({self.count} values)"


def _crash_lines(crashes: Sequence[str]) -> Iterator[str]:
    """A line for each of the first crashes: a board in a boot loop crashes hundreds of times."""
    yield from (f"crash: {crash}" for crash in crashes[:CRASHES_TOLD])
    more = len(crashes) - CRASHES_TOLD
    if more > 0:
        noun = "crash" if more == 1 else "crashes"
        yield f"and {more} more {noun}, the last: {crashes[-1]}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one operation and everything that it rests on.

    Attributes:
        outcome: what truly happened.
        air_status: what Blynk.Air would show.
        reasons: sentences with their events.
        findings: what else is worth knowing.
        partial: whether a witness was missing.
        running: version of the image that runs at the end; None if none does, or not known.
        running_image: its name in the operation's images; ``third`` if it is none of them.
        versions: versions reported during the operation, in order, repeats left out.
        downloads: each download in order.
        boots: how many times the board started during the operation.
        crashes: the crash of each boot that had one, in a sentence.
        seconds: how long the operation took, in device seconds.
        slots: slot label to offset, size and image name, as believed at the end.
        metrics: what was measured, by name: docs/reference/metrics.md lists the names.
        flash: what stood in the flash after the watch; None: it was not read, or cannot be.
        rules: the version of the findings that were looked for.
    """

    outcome: Outcome
    air_status: AirStatus
    reasons: tuple[Reason, ...] = ()
    findings: tuple[Finding, ...] = ()
    partial: bool = False
    running: str | None = None
    running_image: str | None = None
    versions: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    boots: int = 0
    crashes: tuple[str, ...] = ()
    seconds: float = 0.0
    slots: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    flash: FlashSeen | None = None
    rules: int = RULES

    def __str__(self) -> str:
        thin = " (partial: a witness was missing)" if self.partial else ""
        image = f" ({self.running_image})" if self.running_image else ""
        measured = "; ".join(
            f"{TOLD_AS.get(name, name)} {metric}" for name, metric in self.metrics.items()
        )
        boots = "1 boot" if self.boots == 1 else f"{self.boots} boots"
        lines = [
            f"{self.outcome}{thin}; Air: {self.air_status}; "
            f"running: {self.running or 'unknown'}{image}",
            f"  {self.seconds:.1f} device seconds, {boots}, "
            f"versions reported: {', '.join(self.versions) or 'none'}",
            *(f"  because {reason}" for reason in self.reasons),
            *(f"  {download}" for download in self.downloads),
            *(f"  {line}" for line in _crash_lines(self.crashes)),
            *([f"  measured: {measured}"] if measured else []),
            *((f"  {self.flash}",) if self.flash else ()),
            *(f"  {finding}" for finding in self.findings),
        ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """JSON values only; :meth:`from_json` reads it back."""
        data: dict[str, Any] = asdict(self)
        data["slots"] = {label: dict(slot) for label, slot in self.slots.items()}
        return _plain(data)  # type: ignore[no-any-return]  # a dict of JSON values stays a dict

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Read a stored verdict.

        Raises:
            EvidenceError: it is none.
        """
        try:
            rows = dict(data)
            rows["outcome"] = Outcome(rows["outcome"])
            rows["air_status"] = AirStatus(rows["air_status"])
            rows["reasons"] = tuple(
                Reason(row["text"], tuple(row["events"])) for row in rows["reasons"]
            )
            rows["findings"] = tuple(
                Finding(row["name"], Severity(row["severity"]), row["text"], tuple(row["events"]))
                for row in rows["findings"]
            )
            rows["downloads"] = tuple(Download(**row) for row in rows["downloads"])
            rows["versions"] = tuple(rows["versions"])
            rows["crashes"] = tuple(rows["crashes"])
            rows["metrics"] = {
                name: Metric(**{**row, "events": tuple(row["events"])})
                for name, row in rows.get("metrics", {}).items()
            }
            rows["flash"] = FlashSeen.from_json(rows["flash"]) if rows.get("flash") else None
            rows.setdefault("rules", 1)
            return cls(**rows)
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceError(f"this is no stored verdict: {error!r}") from error


def _events(events: tuple[int, ...]) -> str:
    if not events:
        return ""
    shown = ", ".join(f"#{seq}" for seq in events[:MAX_EVENTS_SHOWN])
    return f" [{shown}{', …' if len(events) > MAX_EVENTS_SHOWN else ''}]"


def _plain(value: Any) -> Any:
    """Tuples to lists, enum members to their text: what JSON would make of it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value
