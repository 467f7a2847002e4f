"""What can go wrong in a download: each kind of fault and its parameters, as a table. Pure.

The scenario rows beside the kinds are the identifiers of ``docs/reference/faults.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from pytest_blynk_ota.errors import FaultError
from pytest_blynk_ota.fault_form import (
    Kinds,
    Param,
    line,
    nearest,
    one_of,
    positive,
    share,
    token,
    whole,
    zero_or_more,
)

Offset = int | str
"""Body bytes from the start, below 0 from the end, or a text like ``50%``."""

PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%")
FROM_END = re.compile(r"last[ _]+(\d+)")
SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*s")
BEFORE = ("request", "status")
"""Places before the body: nothing is sent yet; the status line is."""
PLACES = (*BEFORE, "headers")
"""The same, and one more for byte 0."""


def offset(value: object) -> Offset:
    """An offset in its one canonical form."""
    if isinstance(value, str):
        text = value.strip()
        if found := PERCENT.fullmatch(text):
            part = Decimal(found[1]).normalize()
            if part > 100:
                raise FaultError(f"{text} is more than the whole file; per cent go from 0 to 100")
            return f"{part:f}%"
        if found := FROM_END.fullmatch(text):
            if int(found[1]) == 0:
                raise FaultError('"last 0" is the end of the file; write "100%"')
            return -int(found[1])
        if re.fullmatch(r"[+-]?\d{1,12}", text):
            return int(text)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise FaultError(f'{value!r} is no offset; expected bytes, "50%" or "last 4096"')


def moment(value: object) -> Offset:
    """An offset, or a time since the answer began in device seconds, as ``3s``."""
    found = SECONDS.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        return f"{Decimal(found[1]).normalize():f}s"
    try:
        return offset(value)
    except FaultError as error:
        raise FaultError(str(error).replace(' or "last', ', "3s" or "last')) from None


def place(value: object) -> Offset:
    """A moment, or a place before the body."""
    if isinstance(value, str) and value.strip() in PLACES:
        return 0 if value.strip() == "headers" else value.strip()
    try:
        return moment(value)
    except FaultError as error:
        if isinstance(value, str) and get_close_matches(value, BEFORE, n=1):
            raise FaultError(f"{value!r} is no place; {nearest(value, BEFORE)}") from None
        said = str(error).replace(' or "last 4096"', ', "last 4096", "request" or "status"')
        raise FaultError(said.replace("no offset", "no place")) from None


def seconds_of(value: object) -> float | None:
    """Device seconds of a time like ``3s``; None for any other offset."""
    found = SECONDS.fullmatch(value) if isinstance(value, str) else None
    return float(found[1]) if found else None


def _from_end(value: Any) -> str:
    """How an offset stands in the text form."""
    return f"last {-value}" if isinstance(value, int) and value < 0 else str(value)


def _count(value: object) -> int:
    return whole(1, 2**31)(value)


def _body_bytes(value: object) -> int:
    return whole(1, BODY_MOST_BYTES)(value)


def _status(value: object) -> int:
    return whole(200, 599)(value)


def _redirect_code(value: object) -> int:
    code = whole(300, 399)(value)
    if code == 304:
        raise FaultError("304 is no redirect; write status 304")
    return code


def _early(value: object) -> int:
    code = whole(100, 199)(value)
    if code == 101:
        raise FaultError("101 switches protocols; expected 100, 102, 103 or another 1xx")
    return code


def _path(value: object) -> str:
    """The path of a file."""
    path = line(value)
    if not path.strip():
        raise FaultError(f"{value!r}: expected the path of a file, as build/other.bin")
    return path


def _target(value: object) -> str:
    """Where a redirect leads."""
    if isinstance(value, str) and value in TARGETS:
        return value
    if isinstance(value, str) and re.match(r"https?://\S+$", value):
        return line(value)
    raise FaultError(
        f"{value!r}: expected a URL with http:// or https://, or one of {', '.join(TARGETS)}"
    )


def _length(value: object) -> str:
    """What Content-Length says: a text as it stands, or a word for it."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text and re.fullmatch(r"[ -!#-~]{1,100}", text):
        return text
    raise FaultError(f"{value!r}: expected what Content-Length says, as 0, -1, ten, missing, huge")


def _difference(value: object) -> int:
    """So much more or less than the truth."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[+-]?\d{1,12}", text) or int(text) == 0:
        raise FaultError(f"{value!r}: expected bytes more or less than the truth, as 100 or -100")
    return int(text)


BODY_MOST_BYTES = 16 * 2**20
"""No ESP32 has a slot so large: what is made up beyond it would only fill memory."""

HEAD_MOST_BYTES = 2**20
"""Nor so much RAM."""

TARGETS = ("absolute", "relative", "loop", "other-host")
DIGESTS = (
    "wrong",
    "missing",
    "short",
    "long",
    "upper",
    "quoted",
    "first-half",
    "last-half",
    "text",
)
DIGEST_HEADERS = ("x-sha256", "x-md5")
TLS_WAYS = (
    "expired",
    "not-yet-valid",
    "unknown-ca",
    "self-signed",
    "wrong-name",
    "version",
    "only-1.2",
    "only-1.3",
    "stalled-handshake",
    "cut-handshake",
    "client-certificate",
    "record-cut",
    "bad-record",
    "no-close-notify",
)
AFTER = Param(place, 0, _from_end)
FROM = Param(moment, 0, _from_end)
AT = Param(offset, "50%", _from_end)
SEED = Param(whole(0, 2**32), 0)
BYTES = Param(_count, 4096)

KINDS: Kinds = {
    # The first parameter may stand without its name in the text form.
    # Time
    "stall": {"after": AFTER, "seconds": Param(positive, None)},  # D19 D22 D23 D49
    "latency": {  # D49
        "seconds": Param(positive),
        "jitter": Param(zero_or_more, 0),
        "spread": Param(one_of("uniform", "lognormal"), "uniform"),
        "seed": SEED,
    },
    "drip": {"bytes_per_s": Param(positive, 1), "after": FROM},  # D25
    "bandwidth": {  # D26
        "bytes_per_s": Param(positive),
        "after": FROM,
        "jitter": Param(share, 0),
        "seed": SEED,
    },
    "segments": {  # D27
        "bytes": Param(_count, 100),
        "gap": Param(zero_or_more, 0.02),
        "after": Param(offset, 0, _from_end),
        "jitter": Param(share, 0),
        "seed": SEED,
    },
    "slow_headers": {"bytes_per_s": Param(positive, 1)},  # D19
    "split_headers": {  # D50
        "at": Param(one_of("before-length", "in-length", "before-end", "in-status"), "in-length"),
        "gap": Param(positive, 0.2),
    },
    # Ends
    "truncate": {"after": Param(place, text=_from_end)},  # D12 D20
    "reset": {"after": Param(place, text=_from_end)},  # D21
    "half_close": {"after": Param(moment, text=_from_end)},  # D41
    "vanish": {"after": AFTER},  # D24
    # The whole answer
    "status": {  # D1-D6
        "code": Param(_status),
        "body": Param(one_of("page", "file", "none"), "page"),
        "retry_after": Param(whole(0, 10**6), None),
    },
    "garbage": {"bytes": Param(_body_bytes, 64), "seed": SEED},  # I2
    "page": {"text": Param(line, "<html><body>Please log in</body></html>")},  # D7
    "redirect": {  # D33-D35
        "code": Param(_redirect_code, 302),
        "to": Param(_target, "absolute"),
        "hops": Param(whole(1, 100), 1),
    },
    "other": {"path": Param(_path)},  # D32
    # Headers
    "header": {"name": Param(token), "value": Param(line)},
    "drop_header": {"name": Param(token)},  # D8 D16 D51
    "double_header": {"name": Param(token), "value": Param(line, None)},  # D13
    "pad_headers": {"bytes": Param(_count, 8192), "count": Param(whole(1, 100_000), 1)},  # D18
    "length": {"says": Param(_length, None), "off": Param(_difference, None)},  # D8 D11-D13
    "digest": {"how": Param(one_of(*DIGESTS)), "header": Param(token, "X-SHA256")},  # D15 D16 D51
    "http_version": {"version": Param(one_of("0.9", "1.0", "1.1", "2.0"), "1.0")},  # D41
    "early": {  # D41
        "code": Param(_early, 100),
        "count": Param(whole(1, 1000), 1),
        "gap": Param(zero_or_more, 0),
    },
    "connection": {  # D41
        "says": Param(one_of("keep-alive", "close", "nothing"), "keep-alive"),
        "then": Param(one_of("close", "stay"), "close"),
    },
    "encoding": {"name": Param(one_of("gzip", "deflate"), "gzip")},  # D17
    "chunked": {  # D9 D10 D14
        "bytes": BYTES,
        "how": Param(one_of("valid", "malformed", "endless", "unfinished", "with-length"), "valid"),
    },
    "ranges": {  # D37 D39
        "how": Param(one_of("ignored", "refused", "shifted", "repeated", "short", "wrong-total"))
    },
    "etag": {"how": Param(one_of("changes", "missing", "weak"), "changes")},  # D38
    # Bytes
    "corrupt": {"at": AT, "flips": Param(whole(1, 4096), 1), "seed": SEED},  # D29
    "zero": {"at": AT, "bytes": BYTES},  # D30
    "swap": {"at": AT, "bytes": BYTES},  # D30
    "repeat": {"at": AT, "bytes": BYTES},  # D30
    "cut": {"at": AT, "bytes": Param(_count, None)},  # D31
    "scramble": {"at": Param(offset, 0, _from_end), "bytes": Param(_count, None), "seed": SEED},
    "pad": {
        "bytes": Param(_body_bytes, 4096),
        "how": Param(one_of("counted", "beyond"), "beyond"),
        "seed": SEED,
    },  # D28
    # Below HTTP
    "tls": {"how": Param(one_of(*TLS_WAYS)), "after": Param(offset, "50%", _from_end)},  # D43-D46
    "unreachable": {  # D40
        "how": Param(one_of("refused", "silent"), "refused"),
        "seconds": Param(positive, None),
    },
}
"""Kind of fault: its parameters."""


def _one_way(values: Mapping[str, Any]) -> str | None:
    return None if len(values) == 1 else "expected either says= or off=, as length 0"


def _header_room(values: Mapping[str, Any]) -> str | None:
    room = values["bytes"] * values["count"]
    if room <= HEAD_MOST_BYTES:
        return None
    return f"{room} bytes are too many; expected bytes x count up to {HEAD_MOST_BYTES}"


def _known_digest(values: Mapping[str, Any]) -> str | None:
    name = values["header"]
    if name.lower() in DIGEST_HEADERS:
        return None
    return f"header: {name!r} is no digest that is sent; expected X-SHA256 or x-MD5"


CHECKS: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "length": _one_way,
    "pad_headers": _header_room,
    "digest": _known_digest,
}
"""What parameters have to be together: the message about what is wrong, None if nothing is."""

SOURCES: Mapping[str, tuple[str, ...]] = {
    "whole answer": ("status", "page", "redirect", "garbage"),
    "before the request": ("tls", "unreachable"),
}
"""Kinds of which one alone can be in an answer."""

RATES = ("drip", "bandwidth", "segments", "slow_headers")
"""Kinds that slow bytes down for as long as they are in force."""

STALLS = ("stall", "latency", "drip", "slow_headers")
"""A download that ends under one of these was stalled."""
