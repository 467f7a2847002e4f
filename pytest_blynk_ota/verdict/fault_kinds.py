"""What a fault means for the download that it fired in, by its kind. Pure: data and words.

A fault stands in the evidence as its text, the first word of which is its kind. The kinds are those
of ``docs/reference/faults.md``; a test holds these tables against the faults that there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

STALLS = frozenset(
    {"stall", "latency", "drip", "slow_headers", "split_headers", "vanish", "unreachable"}
)
"""A download that ends while one of these is in force was stalled: the server said nothing, or so
little that only an overall limit ends it."""

OURS = frozenset({"truncate", "reset", "half_close"})
"""Where one of these fired, the server closed, whoever was the last to close."""

HARMLESS = frozenset(
    {*STALLS, *OURS, "bandwidth", "segments", "redirect", "early", "connection", "etag", "tls"}
)
"""Under these a device gets the file and all that is said of it. Under any other it may refuse what
came whole before it writes a byte, or keep something else."""

TLS_STALL = "tls how=stalled-handshake"


WRONG_DIGESTS = frozenset({"wrong", "first-half", "last-half"})
"""Ways of a digest fault that leave the form and make it the digest of another file."""

SAME_DIGESTS = frozenset({"upper"})
"""Ways that leave what the digest says."""

DIGEST_HEADERS = ("x-md5", "x-sha256")
"""The headers that carry one, small letters."""

CERTIFICATES: Mapping[str, str] = {
    "unknown-ca": "certificate not checked",
    "self-signed": "certificate not checked",
    "wrong-name": "certificate host not checked",
    "expired": "certificate date not checked",
    "not-yet-valid": "certificate date not checked",
}
"""What a firmware lacks that goes on under a certificate which is wrong in this way."""


def kind_of(text: str) -> str:
    """The kind of a fault by its text."""
    return text.partition(" ")[0]


def stalls(text: str) -> bool:
    """Whether a download that ends under it was stalled."""
    return kind_of(text) in STALLS or text.startswith(TLS_STALL)


def leads_away(text: str) -> bool:
    """Whether a fault sends the device to a server that is none of the rig's."""
    return kind_of(text) == "redirect" and " to=http" in text


def sends_the_file(text: str) -> bool:
    """Whether a status fault sends the file all the same."""
    return kind_of(text) == "status" and "body=file" in text.split()


def goes_beyond(text: str) -> bool:
    """Whether a fault sends bytes behind the announced ones that are none of the file."""
    return kind_of(text) == "pad" and "how=counted" not in text.split()


def is_page(text: str) -> bool:
    """Whether a fault puts something else in place of the file."""
    kind = kind_of(text)
    return kind == "page" or (kind == "status" and not sends_the_file(text))


def certificate_way(text: str) -> str:
    """The word of ``CERTIFICATES`` that a fault is; "" if its certificate was right."""
    how = _values(text).get("how", "") if kind_of(text) == "tls" else ""
    return how if how in CERTIFICATES else ""


def wrong_digests(texts: Iterable[str]) -> frozenset[str]:
    """The digest headers, small letters, that an answer with these faults had, of another file.
    One that another fault dropped, doubled or cut short may have said anything."""
    ways: dict[str, set[str]] = {header: set() for header in DIGEST_HEADERS}
    for text in texts:
        values = _values(text)
        kind, name = kind_of(text), values.get("header", "X-SHA256").lower()
        if kind == "digest" and name in ways:
            ways[name].add(values.get("how", ""))
        elif (name := values.get("name", "").lower()) in ways:
            ways[name].add(kind)
    return frozenset(
        name
        for name, hows in ways.items()
        if hows & WRONG_DIGESTS and hows <= WRONG_DIGESTS | SAME_DIGESTS
    )


def touched_digests(texts: Iterable[str]) -> frozenset[str]:
    """The digest headers that these faults may have changed in any way."""
    said = [_values(text) | {"kind": kind_of(text)} for text in texts]
    names = [
        one.get("header", "X-SHA256") if one["kind"] == "digest" else one.get("name", "")
        for one in said
    ]
    return frozenset(name.lower() for name in names) & frozenset(DIGEST_HEADERS)


def _values(text: str) -> dict[str, str]:
    """The parameters of a fault, as its text names them."""
    return dict(pair for word in text.split()[1:] if len(pair := word.split("=", 1)) == 2)
