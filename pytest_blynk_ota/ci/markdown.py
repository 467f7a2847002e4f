"""The table of verdicts in Markdown. Pure.

What a device says of itself reaches this table: it is text there, never markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_blynk_ota.runs import WORST_FIRST
from pytest_blynk_ota.terminal.rows import Row
from pytest_blynk_ota.terminal.summary import counts

WORDS: Mapping[str, str] = {
    "firmware": "❌ firmware",
    "rig": "⚠️ rack",
    "error": "⚠️ error",
    "xpassed": "⚠️ passed, expected to fail",
    "passed": "✅ passed",
    "xfailed": "➖ failed as expected",
    "skipped": "⏭️ skipped",
}
"""A sign and a word: no meaning rests on a colour."""
HEAD = "| Test | Board | Result | Outcome | Why | Seconds |\n|---|---|---|---|---|---:|\n"
MAX_CELL_CHARS = 300
SPECIAL = re.compile(r"([\\`*_\[\]<>|#~!@:])")
"""What Markdown, or GitHub's own additions to it, could take for markup."""


def table(rows: Sequence[Row], run: Mapping[str, Any], limit: int) -> str:
    """The verdicts of a run, the worst first.

    Args:
        rows: its tests.
        run: its run.json.
        limit: bytes; rows that do not fit are counted, and without room for any it is empty.
    """
    text = "".join(_head(rows, run)) + HEAD
    ordered = sorted(rows, key=lambda row: WORST_FIRST.index(row.word))
    size = len(text.encode())
    lines: list[str] = []
    reserve = len(_left_out(len(rows)).encode())
    if size + reserve > limit:
        return ""
    for number, row in enumerate(ordered):
        line = _line(row)
        size += len(line.encode())
        if size + reserve > limit:
            return text + "".join(lines) + _left_out(len(rows) - number)
        lines.append(line)
    return text + "".join(lines)


def _left_out(count: int) -> str:
    return f"\n{count} more tests did not fit here; the run's folder has them all.\n"


def _head(rows: Sequence[Row], run: Mapping[str, Any]) -> Iterator[str]:
    stopped = "" if run.get("complete") else " (stopped early)"
    came = counts(rows) or "no test ran"
    yield f"### blynk-ota on rig {cell(str(run.get('rig')))}: {came}{stopped}\n\n"
    kind = "boards made of software" if run.get("rig_kind") == "virtual" else "real boards"
    yield f"On {kind}."
    firmware = {
        " → ".join(_image(images.get(name)) for name in ("old", "new"))
        for images in run.get("firmware", {}).values()
    }
    for one in sorted(firmware):
        yield f" Firmware {one}."
    yield "\n\n"


def _image(image: Mapping[str, Any] | None) -> str:
    image = image or {}
    sha256 = str(image.get("sha256") or "")[:12]
    return f"{cell(str(image.get('version') or 'unknown'))} (`{sha256}`)"


def _line(row: Row) -> str:
    why = row.message or next(iter(row.reasons[-1:]), "")
    cells = (
        row.id,
        ", ".join(row.boards),
        WORDS[row.word],
        ", ".join(row.outcomes),
        why,
        f"{row.seconds:.1f}",
    )
    return "| " + " | ".join(cell(one) for one in cells) + " |\n"


def cell(text: str) -> str:
    """Text as Markdown shows it and nothing else: one line, of some length, without markup."""
    one = " ".join(text.split())
    one = one if len(one) <= MAX_CELL_CHARS else one[: MAX_CELL_CHARS - 1] + "…"
    one = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in one)
    return SPECIAL.sub(r"\\\1", one.replace("&", "&amp;").replace("<", "&lt;"))
