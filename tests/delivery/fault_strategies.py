"""Any fault of each kind, for hypothesis. Sizes suit a file of a few hundred bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.kinds import DIGESTS, KINDS, TARGETS, TLS_WAYS
from pytest_blynk_ota.delivery.when import EVENTS

PERCENTS = st.decimals(0, 100, places=3).map(lambda share: f"{share}%")
OFFSETS = st.one_of(
    st.integers(-(2**32), 2**32),
    st.integers(-600, 600),
    PERCENTS,
    st.integers(1, 2**32).map(lambda n: f"last {n}"),
)
MOMENTS = OFFSETS | st.decimals(0, 999, places=2).map(lambda seconds: f"{seconds}s")
PLACES = MOMENTS | st.sampled_from(["request", "status", "headers"])
RATES = st.one_of(st.integers(1, 2**31), st.floats(1e-6, 1e12))
SECONDS = st.floats(0.001, 1e6) | st.integers(1, 100)
SHARES = st.floats(0, 1)
SEEDS = st.integers(0, 2**32)
COUNTS = st.integers(1, 300) | st.integers(1, 2**31)
SMALL = st.integers(1, 300)
LINES = st.text(
    st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"'), max_size=20
)
NAMES = st.sampled_from(
    ["Content-Length", "content-length", "X-SHA256", "x-MD5", "ETag", "Connection", "X-Else"]
)
WHAT: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "stall": {"after": PLACES, "seconds": SECONDS},
    "latency": {
        "seconds": SECONDS,
        "jitter": st.floats(0, 9),
        "spread": st.sampled_from(["uniform", "lognormal"]),
        "seed": SEEDS,
    },
    "drip": {"bytes_per_s": RATES, "after": MOMENTS},
    "bandwidth": {"bytes_per_s": RATES, "after": MOMENTS, "jitter": SHARES, "seed": SEEDS},
    "segments": {
        "bytes": COUNTS,
        "gap": st.just(0) | SECONDS,
        "after": OFFSETS,
        "jitter": SHARES,
        "seed": SEEDS,
    },
    "slow_headers": {"bytes_per_s": RATES},
    "split_headers": {
        "at": st.sampled_from(["before-length", "in-length", "before-end", "in-status"]),
        "gap": SECONDS,
    },
    "truncate": {"after": PLACES},
    "reset": {"after": PLACES},
    "half_close": {"after": MOMENTS},
    "vanish": {"after": PLACES},
    "status": {
        "code": st.integers(200, 599),
        "body": st.sampled_from(["page", "file", "none"]),
        "retry_after": st.integers(0, 10**6),
    },
    "garbage": {"bytes": SMALL, "seed": SEEDS},
    "page": {"text": LINES},
    "redirect": {
        "code": st.sampled_from([301, 302, 303, 307, 308]),
        "to": st.sampled_from([*TARGETS, "http://10.0.0.1:81/new.bin"]),
        "hops": st.integers(1, 100),
    },
    "other": {"path": LINES.filter(str.strip)},
    "header": {"name": NAMES, "value": LINES},
    "drop_header": {"name": NAMES},
    "double_header": {"name": NAMES, "value": LINES},
    "pad_headers": {"bytes": SMALL, "count": st.integers(1, 100)},
    "length": {"says": st.sampled_from(["0", "-1", "ten", "missing", "huge", "7"])},
    "digest": {"how": st.sampled_from(DIGESTS), "header": st.sampled_from(["X-SHA256", "x-md5"])},
    "http_version": {"version": st.sampled_from(["0.9", "1.0", "1.1", "2.0"])},
    "early": {
        "code": st.sampled_from([100, 102, 103, 199]),
        "count": SMALL,
        "gap": st.just(0) | SECONDS,
    },
    "connection": {
        "says": st.sampled_from(["keep-alive", "close", "nothing"]),
        "then": st.sampled_from(["close", "stay"]),
    },
    "encoding": {"name": st.sampled_from(["gzip", "deflate"])},
    "chunked": {
        "bytes": COUNTS,
        "how": st.sampled_from(["valid", "malformed", "endless", "unfinished", "with-length"]),
    },
    "ranges": {
        "how": st.sampled_from(
            ["ignored", "refused", "shifted", "repeated", "short", "wrong-total"]
        )
    },
    "etag": {"how": st.sampled_from(["changes", "missing", "weak"])},
    "corrupt": {"at": OFFSETS, "flips": st.integers(1, 4096), "seed": SEEDS},
    "zero": {"at": OFFSETS, "bytes": COUNTS},
    "swap": {"at": OFFSETS, "bytes": COUNTS},
    "repeat": {"at": OFFSETS, "bytes": COUNTS},
    "cut": {"at": OFFSETS, "bytes": COUNTS},
    "scramble": {"at": OFFSETS, "bytes": COUNTS, "seed": SEEDS},
    "pad": {"bytes": SMALL, "how": st.sampled_from(["counted", "beyond"]), "seed": SEEDS},
    "tls": {"how": st.sampled_from(TLS_WAYS), "after": OFFSETS},
    "unreachable": {"how": st.sampled_from(["refused", "silent"]), "seconds": SECONDS},
}
"""Each parameter of each kind; those with a default may be left out."""

NEEDED = {"length": {"says"}}
"""What has no default and yet cannot be left out, as one of several has to stand."""


def of_kind(kind: str) -> st.SearchStrategy[Fault]:
    """Any fault of a kind, in all downloads."""
    from pytest_blynk_ota.fault_form import REQUIRED

    needed = {name for name, one in KINDS[kind].items() if one.default is REQUIRED}
    needed |= NEEDED.get(kind, set())
    return st.fixed_dictionaries(
        {name: one for name, one in WHAT[kind].items() if name in needed},
        optional={name: one for name, one in WHAT[kind].items() if name not in needed},
    ).map(lambda values: Fault(kind, values))


PLAIN = st.one_of(
    *(of_kind(kind) for kind in WHAT), st.integers(-99, -1).map(lambda off: faults.length(off=off))
)


@st.composite
def clauses(draw: st.DrawFn, plain: st.SearchStrategy[Fault] = PLAIN) -> Fault:
    """A fault with any clauses that go together."""
    fault = draw(plain)
    events = draw(st.lists(st.sampled_from(sorted(EVENTS)), max_size=2, unique=True))
    numbered = draw(st.sampled_from(["", "on_attempt", "on_first", "on_every"]))
    if numbered:
        most = 3 if numbered == "on_attempt" else 1
        fault = getattr(fault, numbered)(
            *draw(st.lists(st.integers(1, 9), min_size=1, max_size=most))
        )
    if draw(st.booleans()):
        fault = fault.on_board(*draw(st.lists(st.sampled_from(["c3-a", "s3.b"]), min_size=1)))
    if draw(st.booleans()):
        fault = fault.with_header("Range", *draw(st.sampled_from([(), ("bytes=5-",)])))
    for event, clause in zip(events, ["from_event", "until_event"], strict=False):
        fault = getattr(fault, clause)(event)
    if draw(st.booleans()):
        fault = fault.times(draw(st.integers(1, 9)))
    if draw(st.booleans()):
        pick, of = draw(st.sampled_from([(1, 1), (2, 3)]))
        fault = fault.by_chance(draw(SHARES), draw(SEEDS), pick, of)
    return fault.maybe() if draw(st.booleans()) else fault
