"""What ``blynk-ota serve`` prints: JSON for scripts, sentences for people, bars on a terminal."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pytest_blynk_ota.cli.lines import Lines

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

TEXTS = {
    "connection": "#{conn} connected from {peer}",
    "handshake": "#{conn} {agreed}",
    "request": "#{conn} attempt {attempt}: {method} {path} {range}",
    "refused": "#{conn} refused: {why}",
    "response": "#{conn} attempt {attempt}: {answer}, {length} announced",
    "progress": "#{conn} attempt {attempt}: {acked} bytes acknowledged, {written} written",
    "fault": "#{conn} attempt {attempt}: {fault}: {phase} at byte {at}",
    "ended": "#{conn} attempt {attempt}: ended by {by}, {how}: {acked}{of} bytes acknowledged",
    "unfired": "{path}: {fault}: never fired",
}
"""What a person reads; the keys are the kinds of the delivery's events."""


class Printer:
    """Prints events. A context: while it is open it may draw.

    Attributes:
        lines: where they go.
    """

    def __init__(self) -> None:
        self.lines = Lines()

    def __enter__(self) -> Printer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop to draw."""

    def say(self, kind: str, facts: dict[str, Any]) -> None:
        """Print one event."""
        self.lines.print(text_of(kind, facts))


class JsonPrinter(Printer):
    """One JSON object a line."""

    def say(self, kind: str, facts: dict[str, Any]) -> None:
        """Print one event."""
        self.lines.print(json.dumps({"event": kind, **facts}))


class BarPrinter(Printer):
    """On a terminal: a bar for each answer under way in place of a line for each step of it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

        super().__init__()
        self._console = Console()
        self._progress: Progress = Progress(
            "{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(),
            "{task.fields[note]}", console=self._console, transient=True,
        )  # fmt: skip
        self._bars: dict[int, TaskID] = {}

    def __enter__(self) -> Printer:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def say(self, kind: str, facts: dict[str, Any]) -> None:
        """Print one event, and move its bar."""
        self._draw(kind, facts)
        if kind != "progress":
            # A line break in a URL would be copied with it: the terminal alone may wrap it.
            self._console.print(text_of(kind, facts), markup=False, highlight=False, soft_wrap=True)

    def _draw(self, kind: str, facts: dict[str, Any]) -> None:
        conn = facts.get("conn", -1)
        bar = self._bars.get(conn)
        if kind == "response" and bar is None:
            attempt = facts["attempt"] or "?"
            self._bars[conn] = self._progress.add_task(
                f"#{conn} attempt {attempt}", total=facts["announced"], note=""
            )
        elif kind == "progress" and bar is not None:
            self._progress.update(bar, completed=facts["acked"])
        elif kind == "fault" and bar is not None:
            note = str(facts["fault"]) if facts["phase"] == "fired" else ""
            self._progress.update(bar, note=note)
        elif kind == "ended" and bar is not None:
            self._progress.remove_task(self._bars.pop(conn))


def text_of(kind: str, facts: dict[str, Any]) -> str:
    """The sentence for an event."""
    if kind == "ready":
        rows = [
            f"{one['path']} (SHA-256 {one['sha256']}) at\n{one['url']}"
            for one in facts.get("files", [facts])
        ]
        return "\n".join([*rows, "Ctrl-C ends it."])
    shown = {name: "?" if value is None else value for name, value in facts.items()}
    shown["range"] = facts.get("range") or ""
    shown["answer"] = facts.get("status") or "no HTTP"
    announced = facts.get("announced")
    shown["length"] = "no length" if announced is None else f"{announced} bytes"
    shown["of"] = "" if announced is None else f" of {announced}"
    why = facts.get("why")
    shown["agreed"] = f"no TLS: {why}" if why else f"{facts.get('version')}, {facts.get('cipher')}"
    return TEXTS[kind].format_map(shown).rstrip()


def printer(as_json: bool) -> Printer:
    """The one that fits: JSON if asked for, bars where a person watches."""
    if as_json:
        return JsonPrinter()
    return BarPrinter() if sys.stdout.isatty() else Printer()
