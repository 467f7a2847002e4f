"""The status line and the headers, and the faults in them. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.plan.content import BODILESS, NO_HTTP, Content, Fields, reason
from pytest_blynk_ota.delivery.plan.idle import Idle
from pytest_blynk_ota.delivery.plan.ledger import Ledger
from pytest_blynk_ota.delivery.plan.request import Request
from pytest_blynk_ota.delivery.steps import Due

HUGE = "5000000000"
"""More than 32 bits hold."""

HEADLESS = "0.9"

CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """What comes before the body.

    Attributes:
        data: its bytes; none in HTTP/0.9.
        line: how many of them are the status line.
        announced: see :class:`~pytest_blynk_ota.delivery.steps.Answer`.
        chunks: the fault that sends the body in chunks.
        keep: whether the connection may serve another request.
    """

    data: bytes
    line: int
    announced: int | None
    chunks: Due | None
    keep: bool


def head(request: Request, made: Content, ledger: Ledger) -> Head:
    """The head of an answer, with all faults that act on it.

    First what frames the body (chunks, length, version), then Connection, which follows from it,
    then single fields in the order of the operation's list.
    """
    if made.status == NO_HTTP:
        ledger.rest_all("what is sent is no HTTP", *IN_THE_HEAD, "http_version")
        return Head(b"", 0, None, None, keep=False)
    version = _version(request, ledger)
    if version == HEADLESS:
        ledger.rest_all("HTTP/0.9 has no head", *IN_THE_HEAD)
        return Head(b"", 0, None, None, keep=False)
    length = len(made.body)
    fields, chunks = _framed(request, made, ledger)
    fields = _length(fields, length, ledger)
    keep = request.keeps and version != "1.0"
    keep = keep and (made.bare or chunks is not None or bool(_values(fields, "Content-Length")))
    if not keep:
        fields = (*fields, ("Connection", "close"))
    elif request.version == "1.0":
        fields = (*fields, ("Connection", "keep-alive"))
    fields = _changed(fields, ledger)
    announced = _announced(fields, made)
    sound = chunks.fault.values["how"] == "valid" if chunks else announced == length
    fields, keep = _connection(fields, keep and (made.bare or sound), ledger)
    line = f"HTTP/{version} {made.status} {reason(made.status)}\r\n"
    rows = [f"{name}: {CONTROL.sub(' ', value)}\r\n" for name, value in fields]
    data = "".join([line, *rows, "\r\n"]).encode("latin-1", "replace")
    return Head(data, len(line), announced, chunks, keep)


def _version(request: Request, ledger: Ledger) -> str:
    version = "1.1"
    for one in ledger.of("http_version"):
        says = one.fault.values["version"]
        if version != "1.1":
            ledger.rest(one, "another fault sets the version")
        elif says == "1.1":
            ledger.rest(one, "the answer is HTTP/1.1 anyway")
        elif says == HEADLESS and request.method == "HEAD":
            ledger.rest(one, "HTTP/0.9 has no HEAD")
        else:
            version = says
            ledger.line.append(one)
    return version


def _framed(request: Request, made: Content, ledger: Ledger) -> tuple[Fields, Due | None]:
    """All fields but Connection, and the fault that makes chunks of the body."""
    chunks: Due | None = None
    if made.bare and request.method != "HEAD":
        ledger.rest_all(f"{made.status} has no body", "chunked")
    for one in ledger.of("chunked"):
        why = "another fault makes chunks already" if chunks else _too_many(one.fault, made)
        if ledger.book(one, why):
            chunks = one
    framing: list[tuple[str, str]] = []
    if made.status not in BODILESS or not made.bare:
        framing.append(("Content-Length", str(len(made.body))))
    if chunks:
        framing = framing if chunks.fault.values["how"] == "with-length" else []
        framing.append(("Transfer-Encoding", "chunked"))
    date = (("Date", request.date),) if request.date else ()
    return (*date, *made.fields[:1], *framing, *made.fields[1:]), chunks


CHUNKS_MOST = 16_384
"""Chunks of one answer: each is a step or two of it."""


def _too_many(fault: Fault, made: Content) -> str | None:
    count, size = fault.values["bytes"], len(made.body)
    if size <= count * CHUNKS_MOST:
        return None
    return (
        f"chunks of {count} bytes make too many of a body of {size}; "
        f"expected {-(-size // CHUNKS_MOST)} bytes or more"
    )


def _length(fields: Fields, truth: int, ledger: Ledger) -> Fields:
    """Content-Length as the faults want it."""
    for one in ledger.of("length"):
        says = one.fault.values.get("says")
        if says is None:
            says = str(truth + one.fault.values["off"])
        made = (
            _dropped(fields, "Content-Length")
            if says == "missing"
            else _set(fields, "Content-Length", HUGE if says == "huge" else says)
        )
        why = "that is what the answer says anyway" if made == fields else None
        fields = made if ledger.book(one, why) else fields
    return fields


def _changed(fields: Fields, ledger: Ledger) -> Fields:
    """The fields after what the faults do to single ones."""
    for one in ledger.of(*FIELDS):
        try:
            made = FIELDS[one.fault.kind](fields, one.fault.values)
            if made == fields:
                raise Idle("that is what the answer says anyway")
        except Idle as idle:
            ledger.rest(one, idle)
            continue
        fields = made
        ledger.head.append(one)
    return fields


def _connection(fields: Fields, keep: bool, ledger: Ledger) -> tuple[Fields, bool]:
    """What is said about the connection, and what is done with it."""
    for one in ledger.of("connection"):
        says, then = one.fault.values["says"], one.fault.values["then"] == "stay"
        made = (
            _dropped(fields, "Connection")
            if says == "nothing"
            else _set(fields, "Connection", says)
        )
        same = made == fields and then == keep
        if ledger.book(one, "that is what the answer says and does anyway" if same else None):
            fields, keep = made, then
    return fields, keep


def _announced(fields: Fields, made: Content) -> int | None:
    """Body bytes that a device may expect from the headers (RFC 9112 6.3)."""
    if made.bare:
        return 0
    said = {value.strip() for value in _values(fields, "Content-Length")}
    if _values(fields, "Transfer-Encoding") or len(said) != 1:
        return None
    text = said.pop()
    return int(text) if re.fullmatch(r"[0-9]+", text) else None


def _values(fields: Fields, name: str) -> list[str]:
    return [value for one, value in fields if one.lower() == name.lower()]


def _set(fields: Fields, name: str, value: str) -> Fields:
    """In place of the first that has the name; behind all if there is none."""
    rows: list[tuple[str, str]] = []
    fresh: tuple[str, str] | None = (name, value)
    for one in fields:
        if one[0].lower() != name.lower():
            rows.append(one)
        elif fresh:
            rows.append(fresh)
            fresh = None
    return (*rows, fresh) if fresh else tuple(rows)


def _dropped(fields: Fields, name: str) -> Fields:
    return tuple(one for one in fields if one[0].lower() != name.lower())


def _there(fields: Fields, name: str) -> tuple[str, str]:
    """The first field of the name. Raises Idle."""
    for one in fields:
        if one[0].lower() == name.lower():
            return one
    raise Idle(f"the answer has no header {name}")


def _drop(fields: Fields, values: Values) -> Fields:
    return _dropped(fields, _there(fields, values["name"])[0])


def _double(fields: Fields, values: Values) -> Fields:
    first = _there(fields, values["name"])
    again = (first[0], values.get("value", first[1]))
    place = fields.index(first) + 1
    return (*fields[:place], again, *fields[place:])


def _padded(fields: Fields, values: Values) -> Fields:
    rows = ((f"X-Pad-{n}", "p" * values["bytes"]) for n in range(1, values["count"] + 1))
    return (*fields, *rows)


def _digest(fields: Fields, values: Values) -> Fields:
    name, value = _there(fields, values["header"])
    made = DIGEST_WAYS[values["how"]](value)
    return _dropped(fields, name) if made is None else _set(fields, name, made)


def _another(value: str, first: int, last: int) -> str:
    """A digest of the same form, each of its bytes from ``first`` to ``last`` halves another.

    Raises:
        Idle: it is none.
    """
    in_hex = re.fullmatch(r"[0-9a-fA-F]{32}", value)
    try:
        raw = bytes.fromhex(value) if in_hex else base64.b64decode(value)
    except ValueError:  # made so by a digest fault before this one
        raise Idle(
            f"{value!r} is no digest any more, so none of its bytes can be changed"
        ) from None
    half = len(raw) // 2
    begin, end = first * half, last * half
    raw = raw[:begin] + bytes(byte ^ 0xFF for byte in raw[begin:end]) + raw[end:]
    return raw.hex() if in_hex else base64.b64encode(raw).decode("ascii")


DIGEST_WAYS: Mapping[str, Callable[[str], str | None]] = {
    "wrong": lambda value: _another(value, 0, 2),
    "missing": lambda value: None,
    "short": lambda value: value[:-1],
    "long": lambda value: value + value[:1],
    "upper": str.upper,
    "quoted": lambda value: f'"{value}"',
    "first-half": lambda value: _another(value, 0, 1),
    "last-half": lambda value: _another(value, 1, 2),
    "text": lambda value: ("not-a-digest-" * len(value))[: len(value)],
}
"""A digest header of a right one: ``text`` keeps its length, so that only its letters are wrong."""

FIELDS: Mapping[str, Callable[[Fields, Values], Fields]] = {
    "header": lambda fields, values: _set(fields, values["name"], values["value"]),
    "drop_header": _drop,
    "double_header": _double,
    "pad_headers": _padded,
    "digest": _digest,
}

IN_THE_HEAD = (
    *FIELDS,
    "length",
    "chunked",
    "connection",
    "etag",
    "early",
    "slow_headers",
    "split_headers",
)
"""Kinds that nobody sees where there is no head."""

SPLITS: Mapping[str, Callable[[bytes], int]] = {
    "in-status": lambda data: data.index(b" ") + 2,
    "before-length": lambda data: _length_at(data).start(),
    "in-length": lambda data: _length_at(data).start(1) + len(_length_at(data)[1]) // 2,
    "before-end": lambda data: len(data) - 2,
}
"""Where the head is cut in two."""


def _length_at(data: bytes) -> re.Match[bytes]:
    found = re.search(rb"(?i)(?<=\n)content-length: ([^\r]*)", data)
    if found is None:
        raise Idle("the answer has no header Content-Length")
    return found
