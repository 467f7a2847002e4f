"""What becomes of each fault that is due in an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_blynk_ota.delivery.plan.idle import Idle
from pytest_blynk_ota.delivery.steps import Due


class Ledger:
    """The faults that are due, and what became of them while the answer is put together.

    Attributes:
        due: all, in the order of the operation's list.
        idle: why a fault does not act, by its place.
        line: those that the status line shows.
        head: those that the device can know once it has the whole head.
    """

    def __init__(self, due: Sequence[Due]) -> None:
        self.due = tuple(due)
        self.idle: dict[int, str] = {}
        self.line: list[Due] = []
        self.head: list[Due] = []

    def of(self, *kinds: str) -> Iterator[Due]:
        """The faults of some kinds that nothing has put out of action yet."""
        return (one for one in self.due if one.fault.kind in kinds and one.index not in self.idle)

    def rest(self, one: Due, reason: Idle | str) -> None:
        """This fault does not act."""
        self.idle.setdefault(one.index, str(reason))

    def rest_all(self, reason: str, *kinds: str) -> None:
        """None of these kinds acts."""
        for one in self.of(*kinds):
            self.rest(one, reason)

    def book(self, one: Due, outcome: str | None) -> bool:
        """It shows once the head is out, or it does nothing and this is why."""
        if outcome is None:
            self.head.append(one)
        else:
            self.rest(one, outcome)
        return outcome is None

    def book_all(self, outcomes: Mapping[int, str | None]) -> None:
        """The same for several, by their places."""
        for one in self.due:
            if one.index in outcomes:
                self.book(one, outcomes[one.index])
