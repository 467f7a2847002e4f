"""Events in words: one line for the log, a short label for the time line, the lane they stand in.

Tables by source and kind; an event that stands in none is shown with its data as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.report.visible import line, said

LANES = ("test", "power", "faults", "cloud", "downloads", "flash", "uart")
"""From top to bottom: causes above what they lead to."""
LANE_NAMES = {
    "test": "Test",
    "power": "Power, rig",
    "faults": "Faults",
    "cloud": "Cloud",
    "downloads": "Downloads",
    "flash": "Flash",
    "uart": "UART",
}
BY_SOURCE = {
    "test": "test",
    "ota": "test",
    "power": "power",
    "rig": "power",
    "cloud": "cloud",
    "delivery": "downloads",
    "network": "faults",
    "flash": "flash",
    "uart": "uart",
}
OF_THEIR_OWN = {
    ("ota", "restored"): "flash",
    ("ota", "offer"): "cloud",
    ("ota", "control"): "power",
    ("ota", "power_cycled"): "power",
    ("delivery", "fault"): "faults",
    ("cloud", "fault"): "faults",
    ("cloud", "ota_withheld"): "faults",
    ("ota", "withheld"): "faults",
    ("uart", "port_lost"): "power",
    ("uart", "unseen"): "power",
    ("uart", "port_back"): "power",
}
"""Kinds that stand in another lane than their witness's."""

LINES: dict[tuple[str, str], str] = {
    ("uart", "line"): "{text}",
    ("uart", "reset"): "reset {code}: {cause}",
    ("uart", "slot"): "the bootloader loads the slot at {offset}",
    ("uart", "boot"): "boot ({what}): {text}",
    ("uart", "core_dump"): "core dump: {bytes} bytes, kept as {files}",
    ("uart", "app"): "application's {field}: {value}",
    ("uart", "crash"): "crash ({what}): {text}",
    ("uart", "boot_error"): "boot error ({what}): {text}",
    ("uart", "firmware"): "firmware ({what}): {text}",
    ("uart", "metric"): "{name} = {value} {unit}",
    ("uart", "port_lost"): "serial port lost: {why}",
    ("uart", "unseen"): "unseen: nothing was read of the board for {seconds} s",
    ("uart", "port_back"): "serial port is back",
    ("rig", "reset"): "reset by the {by} ({mode})",
    ("rig", "identity"): "{kind} {chip}, MAC {mac}, {flash_bytes} bytes of flash",
    ("rig", "saved"): "its whole flash is saved to {path}",
    ("rig", "slower"): "goes on at {now} baud, not {baud}: {why}",
    ("rig", "error"): "{error}: {message}",
    ("rig", "late"): "the host stood still for {seconds} s: that time does not count",
    ("power", "off"): "power off, by the {by}",
    ("power", "on"): "power on, by the {by}",
    ("cloud", "connected"): "session {session}: connection from {peer} ({door})",
    ("cloud", "login"): "session {session}: login",
    ("cloud", "refused"): "session {session}: refused: {why}",
    ("cloud", "closed"): "session {session}: closed by the {by}: {why}",
    ("cloud", "info"): "session {session}: info {pairs}",
    ("cloud", "report"): "session {session}: reports version {version}, build {build}",
    ("cloud", "log_event"): "session {session}: event {code}: {text}",
    ("cloud", "heard"): "session {session}: {what}",
    ("cloud", "ota_sent"): "session {session}: OTA request sent, offer {offer}: {url}",
    ("cloud", "fault"): "fault of the cloud begins: {text}",
    ("delivery", "connection"): "connection {conn} from {peer}",
    ("delivery", "request"): "connection {conn}, offer {offer}: {method} {path}",
    ("delivery", "response"): "connection {conn}: HTTP {status}, {announced} bytes announced",
    ("delivery", "progress"): "connection {conn}: {written} bytes written, {acked} acknowledged",
    ("delivery", "fault"): "fault {phase}: {fault}",
    ("delivery", "ended"): "connection {conn}: ended by the {by} ({how}), {acked} of {announced} "
    "bytes acknowledged",
    ("ota", "offer"): "offer {offer}: {image}",
    ("ota", "closed"): "no further offer: {why}",
    ("ota", "cancelled"): "cancelled: {why}",
    ("ota", "watch_ended"): "end of the watch: {why}",
    ("ota", "online"): "is logged in (session {session}) with version {version}",
    ("ota", "power_cycled"): "one power cycle: {why}",
    ("test", "started"): "test begins: {id}",
    ("test", "finished"): "test ends",
    ("network", "question"): "asked for {name} ({type}): {answer}",
    ("flash", "progress"): "{what}: {done} of {total} bytes",
    ("flash", "unreadable"): "flash cannot be read: {why}",
    ("flash", "read"): "flash read: {running} runs, {would_boot} would start next; {slots}",
    ("ota", "restored"): "Old restored ({wrote_bytes} bytes written): {slots}",
}

WENT_WRONG = 3
LABELS: dict[tuple[str, str], tuple[str, int]] = {
    # The weight says which label stays when not all have room: 3 is what went wrong.
    ("uart", "reset"): ("reset {cause}", 2),
    ("uart", "slot"): ("slot {offset}", 1),
    ("uart", "crash"): ("crash: {what}", 3),
    ("uart", "boot_error"): ("boot error: {what}", 3),
    ("uart", "firmware"): ("{what}", 1),
    ("uart", "core_dump"): ("core dump", 2),
    ("uart", "app"): ("app {field}", 0),
    ("uart", "port_lost"): ("port lost", 3),
    ("uart", "unseen"): ("unseen", 1),
    ("uart", "port_back"): ("port back", 2),
    ("rig", "reset"): ("reset by {by}", 1),
    ("rig", "identity"): ("{kind} {chip}", 1),
    ("rig", "saved"): ("flash saved", 2),
    ("rig", "slower"): ("{now} baud", 2),
    ("rig", "error"): ("{error}", 3),
    ("rig", "late"): ("host stood still", 2),
    ("power", "off"): ("off", 2),
    ("power", "on"): ("on", 2),
    ("cloud", "login"): ("login", 2),
    ("cloud", "refused"): ("refused", 3),
    ("cloud", "report"): ("reports {version}", 2),
    ("cloud", "log_event"): ("{code}", 1),
    ("cloud", "ota_sent"): ("OTA sent", 2),
    ("cloud", "fault"): ("{text}", 3),
    ("cloud", "closed"): ("closed", 0),
    ("delivery", "request"): ("{method}", 1),
    ("delivery", "response"): ("HTTP {status}", 2),
    ("delivery", "fault"): ("{fault}: {phase}", 3),
    ("delivery", "ended"): ("ended by {by}: {how}", 2),
    ("ota", "offer"): ("offer {offer}", 1),
    ("ota", "restored"): ("Old restored", 1),
    ("ota", "operation"): ("{op} begins", 2),
    ("ota", "watch_ended"): ("watch ends", 2),
    ("ota", "closed"): ("closed: {why}", 2),
    ("ota", "cancelled"): ("cancelled", 2),
    ("ota", "paused"): ("paused", 1),
    ("ota", "resumed"): ("resumed", 1),
    ("ota", "clicked"): ("user clicked", 1),
    ("ota", "control"): ("control", 2),
    ("ota", "power_cycled"): ("power cycled", 2),
    ("ota", "cut"): ("power cut: {phase}", 2),
    ("test", "action"): ("{what} {text}", 2),
    ("flash", "read"): ("read: {running} runs", 2),
    ("flash", "unreadable"): ("unreadable", 3),
}
MAX_LABEL_CHARS = 48

BAD, GOOD = "bad", "good"
FIRST_ERROR_STATUS = 400
TONES: dict[tuple[str, str], Callable[[Mapping[str, Any]], str]] = {
    ("uart", "crash"): lambda data: BAD,
    ("uart", "core_dump"): lambda data: BAD,
    ("uart", "boot_error"): lambda data: BAD,
    ("uart", "port_lost"): lambda data: BAD,
    ("rig", "error"): lambda data: BAD,
    ("flash", "unreadable"): lambda data: BAD,
    ("cloud", "refused"): lambda data: BAD,
    ("cloud", "fault"): lambda data: BAD,
    ("delivery", "fault"): lambda data: "" if data.get("phase") == "over" else BAD,
    ("delivery", "response"): lambda data: "" if took(data.get("status")) else BAD,
    ("delivery", "ended"): lambda data: GOOD if data.get("how") == "complete" else BAD,
    ("ota", "closed"): lambda data: GOOD if data.get("why") == "success" else "",
}
"""What went wrong and what went well; all else is neither."""
COUNTS = ("written", "acked", "announced", "wrote_bytes", "bytes", "value")
"""Numbers that may be long: digits in groups of three."""


def lane(event: Event) -> str:
    """The lane that an event stands in; those of an unknown witness stand with the test."""
    key = (event.source, event.kind)
    return OF_THEIR_OWN.get(key) or BY_SOURCE.get(event.source, "test")


class Words:
    """The values of an event as text, each when a form asks for it; a missing one is nothing."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def __getitem__(self, key: str) -> str:
        value = self._data.get(key)
        if key == "offset" and type(value) is int:
            return f"{value:#x}"
        if key in COUNTS and type(value) is int:
            return f"{value:,}"
        if key == "slots" and isinstance(value, Mapping):
            return _slots(value)
        return said(value)


def _slots(slots: Mapping[str, Any]) -> str:
    return line(
        ", ".join(
            f"{label}: {said(slot.get('image')) or 'nothing known'}"
            for label, slot in slots.items()
            if isinstance(slot, Mapping)
        )
    )


def tone(event: Event) -> str:
    """``bad`` for what went wrong, ``good`` for what went well, nothing for the rest."""
    found = TONES.get((event.source, event.kind))
    return found(event.data) if found else ""


def took(status: Any) -> bool:
    """Whether a server that answers this gives what was asked for, or says where it is."""
    return not isinstance(status, int) or status < FIRST_ERROR_STATUS


def tones(events: Iterable[Event]) -> list[str]:
    """The tone of each event. A whole answer that refuses is no download that went well."""
    refused: dict[str, bool] = {}
    found = []
    for event in events:
        now = tone(event)
        conn = said(event.data.get("conn"), 40)
        if (event.source, event.kind) == ("delivery", "response"):
            refused[conn] = now == BAD
        elif (event.source, event.kind) == ("delivery", "ended") and refused.get(conn):
            now = BAD
        found.append(now)
    return found


def in_words(event: Event) -> str:
    """The event on one line, without its time."""
    form = LINES.get((event.source, event.kind))
    if form == "{text}":
        return said(event.data.get("text"))
    if form is None:
        return line(f"{event.kind} {_plain(event.data)}".rstrip())
    return form.format_map(Words(event.data))


def _plain(data: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in data.items()
    )


def label(event: Event) -> tuple[str, int] | None:
    """What the time line writes beside it, and how much that matters; None: a tick alone."""
    found = LABELS.get((event.source, event.kind))
    if found is None:
        return None
    form, weight = found
    weight = weight if weight < WENT_WRONG or tone(event) == BAD else WENT_WRONG - 1
    return line(form.format_map(Words(event.data)).strip(), MAX_LABEL_CHARS), weight
