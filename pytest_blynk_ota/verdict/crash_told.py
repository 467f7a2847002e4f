"""A crash in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_PLACE = frozenset({"brownout", "task_wdt", "rtc_wdt"})
"""Crashes whose place is no fault of the code there."""


def crash_told(data: Mapping[str, Any]) -> str:
    """What crashed, where and why; the chip's own words where they are all that is known."""
    if "kind" not in data:  # an event of an earlier version, or one that a test made up
        return str(data["text"])
    words = [str(data["kind"]), *_where(data)]
    if data.get("core") is not None:
        words.append(f"on core {data['core']}")
    if data.get("pc") and data["what"] not in NO_PLACE:
        words.append(f"at {data['pc']}")
    code = _in_code(data)
    return " ".join(words) + (f" ({code})" if code else "")


def _where(data: Mapping[str, Any]) -> list[str]:
    """The task, the line of the source, or whom the watchdog waited for."""
    if data["what"] == "task_wdt":
        return [_starved(data)]
    rows = []
    if data.get("error_name") or data.get("error"):
        rows.append(str(data.get("error_name") or data["error"]))
    if data.get("file"):
        place = f"{data['file']}:{data['line']}" if data.get("line") else data["file"]
        rows.append(f"at {place}")
    if data.get("function"):
        rows.append(f"in {data['function']}")
    if data.get("expression"):
        rows.append(f"({data['expression']})")
    if data.get("task"):
        rows.append(f"in task {data['task']}")
    if data["what"] == "heap" and data.get("reason"):
        rows.insert(0, f"({data['reason']})")
    return rows


def _starved(data: Mapping[str, Any]) -> str:
    waited = " and ".join(data.get("starved", [])) or "a task"
    running = [f"{task} on CPU {core}" for core, task in data.get("running", {}).items()]
    return f"({waited} did not reset it" + (f"; {', '.join(running)} ran)" if running else ")")


def _in_code(data: Mapping[str, Any]) -> str:
    """The line of the source that an ELF gives for the place, without its address."""
    here = f"{data.get('pc')}: "
    found = (str(line) for line in data.get("decoded") or () if str(line).startswith(here))
    return next(found, "").removeprefix(here)
