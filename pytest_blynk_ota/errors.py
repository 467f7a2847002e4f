"""Every error that this project raises on purpose, split by whose fault it is.

::

    BlynkOtaError
    ├── UsageError              what was asked for cannot be done; nothing was touched
    │   ├── ConfigError         a rig file or option is wrong; lists every problem found
    │   ├── FirmwareError       a firmware file is missing, no ESP image, or not for this board
    │   ├── BoardLocked         the chip's eFuses forbid it, or its owner has not agreed
    │   ├── FaultError          an unknown fault, or one that contradicts itself
    │   └── Unavailable         this host or this rig has not what it takes; says what is missing
    ├── RigError                the rack's fault: never a firmware failure
    │   ├── PortGone            the serial port vanished, or does not open
    │   ├── LoaderSilent        the chip does not answer in download mode
    │   ├── FlashFailed         the loader refused an erase, write or read
    │   ├── OutletUnreachable   the power outlet does not answer, or does not switch
    │   ├── NetworkFailed       an access point or a link did not do what it was told
    │   ├── LeaseHeld           somebody else has the board
    │   ├── Quarantined         the board failed again and again, and nobody gets it
    │   ├── DeadlinePassed      a named condition of the rack did not come in time
    │   ├── OldNotSettled       after a restore the old firmware did not come up
    │   ├── FaultNotReached     a planned fault did not fire, so the test proved nothing
    │   └── Undecided           the evidence allows more than one outcome
    ├── NotReached              a moment that a test waited for did not come: the firmware's fault
    ├── LineNotSeen             a line that a test expects did not come: the firmware's fault
    ├── EvidenceError           stored evidence is cut, edited or foreign
    └── BadSignature            an attestation is not, byte for byte, what its key has signed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class BlynkOtaError(Exception):
    """Base of all errors of this project."""


class UsageError(BlynkOtaError):
    """Raised when a request cannot be carried out; no board has been touched."""


class ConfigError(UsageError):
    """Raised when a configuration is wrong. ``problems`` holds one sentence for each mistake."""

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        self.where = where
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{where}: {count}\n{lines}")


class FirmwareError(UsageError):
    """Raised when a firmware file is missing, is no ESP image or does not fit the board."""


class BoardLocked(UsageError):
    """Raised when a board may not be written to: nothing was."""


class FaultError(UsageError):
    """Raised when a fault is unknown or its numbers contradict each other."""


class Unavailable(UsageError):
    """Raised when a host or a rig lacks what a request takes: a privilege, a module, a device."""


class RigError(BlynkOtaError):
    """Raised when the rack failed: the test ends as an error, never as a firmware failure."""


class PortGone(RigError):
    """Raised when a serial port vanishes in use or cannot be opened."""


class LoaderSilent(RigError):
    """Raised when the chip's ROM loader does not answer: firmware cannot silence it."""


class FlashFailed(RigError):
    """Raised when the loader refuses or garbles an erase, a write or a read."""


class OutletUnreachable(RigError):
    """Raised when a power outlet does not answer or does not do what it was told."""


class NetworkFailed(RigError):
    """Raised when an access point or a network interface does not do what it was told."""


class LeaseHeld(RigError):
    """Raised when another process holds the board."""


class Quarantined(RigError):
    """Raised when a board has failed so often in a row that nobody gets it."""


class DeadlinePassed(RigError):
    """Raised when a named condition did not come true in time.

    Args:
        awaited: what was awaited, in words.
        seconds: how long, in wall seconds.
        instead: what came instead, in words.
        last_lines: the last lines of the board's log.
        evidence: where the evidence is kept.
    """

    def __init__(
        self,
        awaited: str,
        seconds: float,
        *,
        instead: str = "",
        last_lines: Iterable[str] = (),
        evidence: str = "",
    ) -> None:
        self.awaited = awaited
        self.seconds = seconds
        super().__init__(waited(awaited, seconds, instead, last_lines, evidence))


def waited(
    awaited: str, seconds: float, instead: str, last_lines: Iterable[str], evidence: str = ""
) -> str:
    """What an expired wait says: what was awaited, what came instead, the end of the log."""
    parts = [f"waited {seconds:.2f} s for {awaited}"]
    if instead:
        parts.append(f"what came instead: {instead}")
    lines = [f"    {line}" for line in last_lines]
    if lines:
        parts.append("last lines of the log:\n" + "\n".join(lines))
    if evidence:
        parts.append(f"evidence: {evidence}")
    return "\n".join(parts)


class OldNotSettled(RigError):
    """Raised when the old firmware does not come up and stay after a restore."""


class FaultNotReached(RigError):
    """Raised when a planned fault never fired: what it should have shown is not shown."""


class Undecided(RigError):
    """Raised when the evidence allows more than one outcome.

    Args:
        candidates: names of the outcomes that the evidence still allows.
        wants: witnesses that would settle it: ``flash``, ``control``, ``power_cycle``.
        why: one sentence on what is missing.
    """

    def __init__(self, candidates: Sequence[str], wants: Iterable[str], why: str) -> None:
        self.candidates = tuple(candidates)
        self.wants = frozenset(wants)
        self.why = why
        super().__init__(f"undecided between {', '.join(self.candidates) or 'nothing'}: {why}")


class NotReached(BlynkOtaError, AssertionError):
    """Raised when a moment that a test waited for did not come: a failure, not a rack error."""

    def __init__(self, awaited: str, instead: str) -> None:
        self.awaited = awaited
        super().__init__(f"{awaited} never came; {instead}")


class LineNotSeen(BlynkOtaError, AssertionError):
    """Raised when a line that a test expects of a board does not come: the board can be heard.

    Arguments as for :class:`DeadlinePassed`, which is for conditions of the rack.
    """

    def __init__(
        self, awaited: str, seconds: float, *, instead: str, last_lines: Iterable[str] = ()
    ) -> None:
        self.awaited = awaited
        self.seconds = seconds
        super().__init__(waited(awaited, seconds, instead, last_lines))


class EvidenceError(BlynkOtaError):
    """Raised when stored evidence is incomplete, edited or of another kind."""


class BadSignature(BlynkOtaError):
    """Raised when an attestation is not what the given key signed, or is written in another way."""
