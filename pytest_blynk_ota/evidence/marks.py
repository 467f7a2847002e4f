"""What is wrong with stored evidence, as data: which file, in which way, in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Flaw(StrEnum):
    """In which way a file of a run is not as it was written."""

    CUT = "cut"
    """It ends too early: the run was killed, or the file was copied in part."""
    EDITED = "edited"
    """It differs from what was written, or holds what we never write."""
    MISSING = "missing"
    EXTRA = "extra"
    """It was not there when the run ended."""
    FOREIGN = "foreign"
    """It is of another run or another test, or nothing that we read: a link, a pipe."""
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """One flaw of one file.

    Attributes:
        file: its path in the folder of the run, or of the test where there is no run.
        flaw: in which way.
        text: what was found, and what was expected.
    """

    file: str
    flaw: Flaw
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.flaw}: {self.text}"

    def to_json(self) -> dict[str, str]:
        """The same as JSON values."""
        return {"file": self.file, "mark": str(self.flaw), "text": self.text}
