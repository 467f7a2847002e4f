"""A crash in one sentence. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NO_PLACE = frozenset({"brownout", "task_wdt", "rtc_wdt"})
"""Crashes whose place is no fault of the code there."""
OF_DATA = re.compile("load|store", re.IGNORECASE)
"""Kinds of a panic that went for an address: LoadProhibited, Store access fault. For the others
the register holds something else, such as the instruction."""

_IMAGE = r"[\w.-]+(?: \([^()]*\))?"
SINCE = tuple(
    re.compile(pattern)
    for pattern in (
        rf", in {_IMAGE}(?: and {_IMAGE})*(?=; then |, \d+ times$|$)",
        rf"(?:(?<= at the begin)|(?<= in boot \d)|(?<= in boot \d\d)), {_IMAGE}$",
        r"(?<= at )PC (?=0x)",
        r", data address 0x[0-9a-f]+",
    )
)
"""What sentences on a crash did not say before."""


def as_told_before(text: str) -> str:
    """A sentence of today on a crash, as verdicts of earlier versions have it."""
    for pattern in SINCE:
        text = pattern.sub("", text)
    return text


def crash_told(data: Mapping[str, Any]) -> str:
    """What crashed, where and why; the chip's own words where they are all that is known."""
    if "kind" not in data:  # an event of an earlier version, or one that a test made up
        return str(data["text"])
    words = [str(data["kind"]), *_where(data)]
    if data.get("core") is not None:
        words.append(f"on core {data['core']}")
    if data.get("pc") and data["what"] not in NO_PLACE:
        words.append(f"at PC {data['pc']}")
    code = _in_code(data)
    address = data.get("address") if OF_DATA.search(str(data["kind"])) else None
    return (
        " ".join(words)
        + (f" ({code})" if code else "")
        + (f", data address {address}" if address else "")
    )


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
