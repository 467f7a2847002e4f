"""What the history knows of one run, and how two such pages become one. Pure: no file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.history.line import Line, ResultLine, RunLine

Key = tuple[str, str, str, int]


class Conflict(EvidenceError):
    """Raised when two pages of one run say different things: one of them was edited.

    Args:
        run: the id of the run.
        what: what differs.
        ours: what stands in the history.
        theirs: what the other one says.
    """

    def __init__(self, run: str, what: str, ours: str, theirs: str) -> None:
        self.run = run
        super().__init__(
            f"run {run} is in the history with other content: {what}: there {ours}, here {theirs}; "
            f"nothing was taken"
        )


@dataclass(slots=True)
class Page:
    """The lines of one run.

    Attributes:
        id: of the run.
        run: its own line; None if no file has it.
        results: what its tests came to, by key.
    """

    id: str
    run: RunLine | None = None
    results: dict[Key, ResultLine] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Take one line. Raises Conflict if another one stands in its place."""
        if isinstance(line, RunLine):
            self.run = line if self.run is None else _run_of(self.run, line)
            return
        before = self.results.setdefault(line.key, line)
        if before is not line and before != line:
            raise Conflict(self.id, _name(line), *_differ(before, line))

    def lines(self) -> Iterable[str]:
        """As a file holds them: the run first."""
        if self.run is not None:
            yield self.run.to_json()
        yield from (result.to_json() for result in self.results.values())


def pages(lines: Iterable[Line]) -> Mapping[str, Page]:
    """Lines sorted by their runs. Raises Conflict."""
    found: dict[str, Page] = {}
    for line in lines:
        page = found.get(line.run)
        if page is None:
            page = found[line.run] = Page(line.run)
        page.add(line)
    return found


def merged(ours: Page, theirs: Page) -> Page:
    """Both together. Raises Conflict; neither is changed."""
    both = Page(ours.id, ours.run, dict(ours.results))
    for line in _lines(theirs):
        both.add(line)
    return both


def _lines(page: Page) -> Iterable[Line]:
    if page.run is not None:
        yield page.run
    yield from page.results.values()


def _run_of(one: RunLine, other: RunLine) -> RunLine:
    """Of two lines of a run the one that knows more. Raises Conflict if both know the end, and
    differ; the folder may have another name."""
    less, more = sorted((one, other), key=_knowledge)
    grows = () if less.finished else GROWS
    if _without(less, grows) != _without(more, grows):
        raise Conflict(one.run, "the run", *_differ(one, other, grows))
    return more._replace(name=min(one.name, other.name))


def _without(line: Line, names: Sequence[str]) -> Mapping[str, Any]:
    return {key: value for key, value in line._asdict().items() if key not in ("name", *names)}


GROWS = ("rig_kind", "finished", "complete", "result", "tests")
"""What a run learns on its way to its end."""


def _knowledge(line: RunLine) -> tuple[bool, int, str]:
    return line.finished is not None, line.tests, line.to_json()


def _name(line: ResultLine) -> str:
    on = f" on {line.board}" if line.board else ""
    return f"{line.test}{on}, try {line.attempt}"


def _differ(one: Line, other: Line, grows: Sequence[str] = ()) -> Sequence[str]:
    """The first field that differs, on either side."""
    ours, theirs = _without(one, grows), _without(other, grows)
    name = next(name for name in ours if ours[name] != theirs[name])
    return [f"{name} is {ours[name]!r:.80}", f"{theirs[name]!r:.80}"]
