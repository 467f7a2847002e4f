"""The flash of a virtual board, decoded, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flash_text(flash: Mapping[str, Any]) -> str:
    """All of it; see ``GET /NAME/flash`` of the rack."""
    return "\n".join(_lines(flash))


def _lines(flash: Mapping[str, Any]) -> Iterator[str]:
    own = flash["bootloader"]
    built = "rolls back" if own["rollback"] else "does not roll back"
    release = f" of ESP-IDF {own['idf']}" if own["idf"] else ""
    loader = f"its bootloader{release} {built}" if own["there"] else "no bootloader"
    yield f"{flash['board']}: {flash['chip']}, {flash['flash_bytes'] >> 20} MB of flash, {loader}"
    if not flash["table"]:
        yield f"partition table: {flash['problem'] or 'blank'}"
        yield _next_boot(flash)
        return
    yield ""
    yield f"{'partition':<12} {'offset':>9} {'size':>7} {'erased':>7}  content"
    for row in flash["table"]:
        size, worn = f"{row['size'] >> 10} K", f"{row['most_erased']} x"
        content = _content(flash, row)
        yield f"{row['label']:<12} {row['offset']:#9x} {size:>7} {worn:>7}  {content[0]}".rstrip()
        yield from (f"{'':<39}{line}" for line in content[1:])
    yield ""
    yield _next_boot(flash)


def _content(flash: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """What stands in one partition, a line or more."""
    for slot in flash["slots"]:
        if slot["offset"] == row["offset"]:
            return [_image(slot)]
    entries = [one for one in flash["otadata"] if 0 <= one["offset"] - row["offset"] < row["size"]]
    return [_entry(one) for one in entries] or [""]


def _image(slot: Mapping[str, Any]) -> str:
    if slot["length"] is None:
        return str(slot["problem"])
    name = " ".join(str(one) for one in (slot["project"], slot["version"]) if one)
    bad = f"; would not start: {slot['problem']}" if slot["problem"] else ""
    return f"{name or 'an image'}, {slot['length']:,} bytes, sha256 {slot['sha256'][:8]}{bad}"


def _entry(entry: Mapping[str, Any]) -> str:
    if entry["seq"] is None:
        return "empty" if entry["state"] == "UNDEFINED" else f"no sequence, {entry['state']}"
    crc = "" if entry["crc_ok"] else ", wrong CRC"
    mark = "  <- counts" if entry["active"] else ""
    return f"seq {entry['seq']}, slot {entry['slot']}, {entry['state']}{crc}{mark}"


def _next_boot(flash: Mapping[str, Any]) -> str:
    if flash["boots"] is None:
        what = f"next boot: nothing starts, again and again ({flash['why']})"
    else:
        what = f"next boot: {flash['boots']}"
    if not flash["otadata"] or flash["otadata_after"] == [one["words"] for one in flash["otadata"]]:
        return what
    return f"{what}; otadata then: {', '.join(flash['otadata_after'])}"
