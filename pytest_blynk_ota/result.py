"""What an operation returns: the verdict, and where its evidence is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_blynk_ota.air import AirStatus
from pytest_blynk_ota.report.visible import visible
from pytest_blynk_ota.verdict import (
    Download,
    Finding,
    FlashSeen,
    Metric,
    Outcome,
    Reason,
    Verdict,
)


class Measured(dict[str, "Metric"]):
    """Metrics by name; a wrong name is answered with the right ones."""

    def __missing__(self, name: str) -> Metric:
        raise KeyError(
            f"{name!r} was not measured in this operation; measured: {', '.join(self) or 'nothing'}"
        )


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one operation, with everything that it rests on.

    Attributes:
        number: position of the operation in its test, from 1.
        verdict: what the judge said.
        evidence: the folder that holds the events of this test.
        last_lines: the last lines of the board's log, for a failing test.
    """

    number: int
    verdict: Verdict
    evidence: Path
    last_lines: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """What truly happened."""
        return self.verdict.outcome

    @property
    def air_status(self) -> AirStatus:
        """What Blynk.Air would show."""
        return self.verdict.air_status

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Sentences, each with the events that it rests on."""
        return self.verdict.reasons

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What else is worth knowing; an ``error`` among them fails the test."""
        return self.verdict.findings

    @property
    def partial(self) -> bool:
        """Whether a witness was missing."""
        return self.verdict.partial

    @property
    def running(self) -> str | None:
        """Version of the image that runs at the end; None if none does or it is not known."""
        return self.verdict.running

    @property
    def slot(self) -> str | None:
        """Label of the slot that holds the running image; None if that is not known."""
        image = self.verdict.running_image
        labels = [label for label, slot in self.verdict.slots.items() if slot["image"] == image]
        return labels[0] if image and len(labels) == 1 else None

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions reported during the operation, in order."""
        return self.verdict.versions

    @property
    def downloads(self) -> tuple[Download, ...]:
        """Each download, in order, with how it ended."""
        return self.verdict.downloads

    @property
    def boots(self) -> int:
        """How many times the board started during the operation."""
        return self.verdict.boots

    @property
    def crashes(self) -> tuple[str, ...]:
        """The crash of each boot that had one, in a sentence: what, where, in which boot."""
        return self.verdict.crashes

    @property
    def core_dumps(self) -> tuple[Path, ...]:
        """The files of the core dumps that this test has kept so far: as printed on the UART
        (``.b64``), the same bytes (``.bin``), and the ELF core in it (``.elf``)."""
        return tuple(sorted(self.evidence.glob("coredump-*")))

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """What was measured, by name: ``result.metrics["free heap"].least``; only what was seen.
        docs/reference/metrics.md lists the names.

        Raises:
            KeyError: on a look at what was not seen; says what was.
        """
        return Measured(self.verdict.metrics)

    @property
    def flash(self) -> FlashSeen | None:
        """What stood in the flash afterwards; None where it was not read (``ota.deep_check``)."""
        return self.verdict.flash

    @property
    def seconds(self) -> float:
        """How long the operation took, in device seconds."""
        return self.verdict.seconds

    def __repr__(self) -> str:
        return (
            f"<{self.outcome}, Air {self.air_status!s}, running {self.running}, "
            f"{len(self.downloads)} downloads>"
        )

    def explain(self) -> list[str]:
        """The lines that a failing test prints."""
        lines = [str(self.verdict)]
        if self.last_lines:
            lines += ["last lines of the log:", *(f"    {line}" for line in self.last_lines)]
        lines += [f"core dump: {path}" for path in self.core_dumps]
        lines.append(f"evidence: {self.evidence}")
        return [visible(line) for line in lines]  # a version may hold what moves a cursor
