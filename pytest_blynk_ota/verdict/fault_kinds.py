"""What a fault means for the download that it fired in, by its kind. Pure: data and words.

A fault stands in the evidence as its text, the first word of which is its kind. The kinds are those
of ``docs/reference/faults.md``; a test holds these tables against the faults that there are.
"""

from __future__ import annotations

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
