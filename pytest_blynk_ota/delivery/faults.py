"""Delivery faults as data: what shall go wrong in a download, where, and in which attempts.

::

    from pytest_blynk_ota import faults

    faults.stall(after="50%")                       # half the file, then silence
    faults.status(503).on_attempt(1, 2)             # 503, 503, then the file
    faults.seq(faults.status(503), faults.reset(0)) # 503 first, RST second, then the file
    faults.random(seed=7, rate=0.2)                 # one attempt in five has a fault
    faults.parse("truncate after=last 4096")        # the text form, as on the command line

Offsets count body bytes: ``0`` or more from the start, ``"50%"`` of the file, negative or
``"last 4096"`` from the end; where it makes sense also ``"3s"`` after the answer began. Times and
rates are device seconds; the server scales them. ``repr(fault)`` is the Python text, ``str(fault)``
the text form; :func:`parse` reads both back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_blynk_ota.delivery.kinds import CHECKS, KINDS, Offset
from pytest_blynk_ota.delivery.when import Asked, Chance, When
from pytest_blynk_ota.errors import FaultError
from pytest_blynk_ota.fault_form import nearest, read_values, shown, words


def known(kind: str) -> str:
    """The end of a message about an unknown kind."""
    from pytest_blynk_ota.cloud.faults import PARAMETERS  # where that is one of the other list

    if kind in PARAMETERS:
        return f"{kind} is a fault of the cloud: cloud_faults.{kind}(), cloud_faults.parse()"
    return nearest(kind, KINDS)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Fault:
    """One thing that shall go wrong. Made by the functions of this module, or by :func:`parse`.

    Attributes:
        kind: a key of :data:`~pytest_blynk_ota.delivery.kinds.KINDS`.
        values: its parameters, read; what has no value is left out.
        when: the downloads it is due in.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    when: When = field(default_factory=When)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FaultError(f"unknown fault {self.kind!r}; {known(self.kind)}")
        values = read_values(self.kind, KINDS[self.kind], self.values)
        if self.kind in CHECKS and (wrong := CHECKS[self.kind](values)) is not None:
            raise FaultError(f"{self.kind}: {wrong}")
        object.__setattr__(self, "values", values)

    def on_attempt(self, *numbers: int) -> Fault:
        """The same fault, due only in these downloads of the operation; the first is 1."""
        return self._when(attempts=numbers)

    def on_first(self, count: int) -> Fault:
        """Due only in the first so many downloads."""
        return self._when(first=count)

    def on_every(self, count: int) -> Fault:
        """Due only in each so-manieth download: ``on_every(3)`` in 3, 6, 9."""
        return self._when(every=count)

    def on_board(self, *names: str) -> Fault:
        """Due only in downloads of these boards."""
        return self._when(boards=names)

    def with_header(self, name: str, value: str | None = None) -> Fault:
        """Due only where the request has this header (with this value)."""
        return self._when(header=(name, value))

    def from_event(self, event: str) -> Fault:
        """Due only once this was seen: ``offline``, ``login``, ``reset`` or ``go``."""
        return self._when(since=event)

    def until_event(self, event: str) -> Fault:
        """In force only until this is seen: a stall goes on then, a slow line is quick again."""
        return self._when(until=event)

    def times(self, count: int) -> Fault:
        """Fires so often and no more; without, in each request of a download it is due in."""
        return self._when(most=count)

    def by_chance(self, rate: float, seed: int = 0, pick: int = 1, of: int = 1) -> Fault:
        """Due in an attempt if the dice say so; the same seed throws the same.

        Args:
            rate: how likely, 0 to 1.
            pick, of: it is the ``pick``-th of so many faults, one of which is drawn.
        """
        return self._when(chance=Chance(rate, seed, pick, of))

    def maybe(self) -> Fault:
        """That it never fires is no error."""
        return self._when(may=True)

    def _when(self, **clauses: Any) -> Fault:
        if None in clauses.values():
            raise FaultError(f"{self.kind}: None is no value of a clause; leave the clause out")
        try:
            return replace(self, when=replace(self.when, **clauses))
        except FaultError as error:
            raise FaultError(f"{self.kind}: {error}") from None

    def due(self, asked: Asked | int, fired: int = 0) -> bool:
        """Whether it is due in the answer to a request, having fired so often already."""
        return self.when.due(Asked(asked) if isinstance(asked, int) else asked, fired)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fault) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        rows = shown(KINDS[self.kind], self.values)
        values = ", ".join(f"{name}={value!r}" for name, value in rows)
        return f"faults.{self.kind}({values}){self.when!r}"

    def __str__(self) -> str:
        rows = [self.kind, *words(KINDS[self.kind], self.values), str(self.when)]
        return " ".join(row for row in rows if row)


Faults = Sequence["Fault | Sequence[Fault]"]
"""What stands in a test's list: faults, and what :func:`seq` and :func:`random` give."""


def flat(listed: Sequence[Any]) -> tuple[Any, ...]:
    """The single faults of a list in which :func:`seq` and :func:`random` may stand."""
    rows: list[Any] = []
    for one in listed:
        rows += flat(one) if isinstance(one, list | tuple) else [one]
    return tuple(rows)


def seq(*faults: Fault | None) -> tuple[Fault, ...]:
    """One after the other: the first in download 1, the second in download 2, and so on.

    ``None`` stands for a download with no fault. The file comes after the last one.
    """
    if all(one is None for one in faults):
        raise FaultError("seq() needs at least one fault, as seq(status(503), stall(0))")
    return tuple(
        _single(one).on_attempt(number) for number, one in enumerate(faults, 1) if one is not None
    )


def _single(one: Any) -> Fault:
    if isinstance(one, Fault):
        return one
    raise FaultError(f"{one!r} is no fault; expected one, as faults.stall(0)")


def random(*choices: Fault, seed: int, rate: float = 0.2) -> tuple[Fault, ...]:
    """Each download has a fault with this likelihood: one of ``choices``, drawn with the seed.

    Whether one of them ever fires is chance, so that none has to.

    Args:
        choices: by default a stall, a slow line, FIN, RST, a flipped bit and a 503.
        seed: the same seed throws the same.
        rate: how likely a download has a fault, 0 to 1.
    """
    drawn = choices or ANY
    return tuple(
        _single(one).by_chance(rate, seed, pick, len(drawn)).maybe()
        for pick, one in enumerate(drawn, 1)
    )


def stall(after: Offset = 0, seconds: float | None = None) -> Fault:
    """Silence, the connection open: for ``seconds``, or until the device goes away.

    Args:
        after: also ``"request"``, before the status line, and ``"status"``, before the headers.
    """
    return Fault("stall", {"after": after, "seconds": seconds})


def latency(seconds: float, jitter: float = 0, spread: str = "uniform", seed: int = 0) -> Fault:
    """Nothing is sent for so long, in each download another time.

    Args:
        jitter: ``uniform``: up to so many seconds less or more; ``lognormal``: the sigma of its
            logarithm, ``seconds`` being the median.
    """
    return Fault("latency", {"seconds": seconds, "jitter": jitter, "spread": spread, "seed": seed})


def drip(bytes_per_s: float = 1, after: Offset = 0) -> Fault:
    """From ``after`` on, byte by byte at this rate: every byte restarts a stall timer."""
    return Fault("drip", {"bytes_per_s": bytes_per_s, "after": after})


def bandwidth(bytes_per_s: float, after: Offset = 0, jitter: float = 0, seed: int = 0) -> Fault:
    """A slow but steady line from ``after`` on; pieces come early or late by a part ``jitter``
    of their distance, the rate stays."""
    return Fault(
        "bandwidth",
        {"bytes_per_s": bytes_per_s, "after": after, "jitter": jitter, "seed": seed},
    )


def segments(
    bytes: int = 100, gap: float = 0.02, after: Offset = 0, jitter: float = 0, seed: int = 0
) -> Fault:
    """TCP segments of so many bytes, ``gap`` seconds apart; both vary by a part ``jitter``."""
    return Fault(
        "segments",
        {"bytes": bytes, "gap": gap, "after": after, "jitter": jitter, "seed": seed},
    )


def slow_headers(bytes_per_s: float = 1) -> Fault:
    """The status line and the headers come byte by byte."""
    return Fault("slow_headers", {"bytes_per_s": bytes_per_s})


def split_headers(at: str = "in-length", gap: float = 0.2) -> Fault:
    """The headers come in two segments, ``gap`` seconds apart.

    Args:
        at: ``before-length``, ``in-length`` (of Content-Length), ``before-end`` (the empty line)
            or ``in-status``.
    """
    return Fault("split_headers", {"at": at, "gap": gap})


def truncate(after: Offset) -> Fault:
    """The full Content-Length is announced, but FIN comes after so many bytes; after ``"request"``
    before any."""
    return Fault("truncate", {"after": after})


def reset(after: Offset) -> Fault:
    """RST after so many bytes, once the device's TCP has acknowledged them; after ``"request"``
    before any."""
    return Fault("reset", {"after": after})


def half_close(after: Offset) -> Fault:
    """FIN after so many bytes, and from then on the server only listens."""
    return Fault("half_close", {"after": after})


def vanish(after: Offset = 0) -> Fault:
    """The server is gone without a word: no FIN, no RST, no acknowledgement (Linux)."""
    return Fault("vanish", {"after": after})


def status(code: int, body: str = "page", retry_after: int | None = None) -> Fault:
    """This HTTP status in place of 200.

    Args:
        body: ``page``, a line of text; ``file``, the right one; or ``none``.
        retry_after: seconds that the header Retry-After names.
    """
    return Fault("status", {"code": code, "body": body, "retry_after": retry_after})


def garbage(bytes: int = 64, seed: int = 0) -> Fault:
    """Random bytes in place of an answer, then FIN."""
    return Fault("garbage", {"bytes": bytes, "seed": seed})


def page(text: str = "<html><body>Please log in</body></html>") -> Fault:
    """200 with an HTML page in place of the file, as of a captive portal."""
    return Fault("page", {"text": text})


def redirect(code: int = 302, to: str = "absolute", hops: int = 1) -> Fault:
    """A redirect in place of the file, which is where it leads.

    Args:
        to: ``absolute`` or ``relative`` to the file at another URL, ``loop`` to itself,
            ``other-host`` to another host and port of the server, or a URL.
        hops: so many redirects one after the other.
    """
    return Fault("redirect", {"code": code, "to": to, "hops": hops})


def other(path: str) -> Fault:
    """Another file in place of the one on offer."""
    return Fault("other", {"path": str(path)})


def header(name: str, value: str) -> Fault:
    """This header is set, in place of any that has its name."""
    return Fault("header", {"name": name, "value": value})


def drop_header(name: str) -> Fault:
    """This header is left out."""
    return Fault("drop_header", {"name": name})


def double_header(name: str, value: str | None = None) -> Fault:
    """This header stands twice, the second time with ``value``."""
    return Fault("double_header", {"name": name, "value": value})


def pad_headers(bytes: int = 8192, count: int = 1) -> Fault:
    """So many headers more, each with a value so long."""
    return Fault("pad_headers", {"bytes": bytes, "count": count})


def length(says: str | int | None = None, off: int | None = None) -> Fault:
    """A Content-Length that is not the body's.

    Args:
        says: the text of the header, or ``missing``, or ``huge`` (5 GB).
        off: so much more or less than the truth, in bytes.
    """
    return Fault("length", {"says": says, "off": off})


def digest(how: str, header: str = "X-SHA256") -> Fault:
    """A digest header that is ``wrong``, ``missing``, ``short``, ``long``, ``upper`` (case),
    ``quoted``, wrong in its ``first-half`` or ``last-half``, or no digest at all (``text``)."""
    return Fault("digest", {"how": how, "header": header})


def http_version(version: str = "1.0") -> Fault:
    """The status line names this version; with 0.9 there is no head at all."""
    return Fault("http_version", {"version": version})


def early(code: int = 100, count: int = 1, gap: float = 0) -> Fault:
    """So many 1xx answers come before the real one: in one segment with it, or ``gap`` seconds
    earlier."""
    return Fault("early", {"code": code, "count": count, "gap": gap})


def connection(says: str = "keep-alive", then: str = "close") -> Fault:
    """A Connection header that lies, or says ``nothing``; ``then`` the server does this."""
    return Fault("connection", {"says": says, "then": then})


def encoding(name: str = "gzip") -> Fault:
    """The body is compressed, asked or not."""
    return Fault("encoding", {"name": name})


def chunked(bytes: int = 4096, how: str = "valid") -> Fault:
    """Transfer-Encoding: chunked, in chunks of so many bytes.

    Args:
        how: ``valid``; ``malformed`` (a chunk size that is none, at half the body); ``endless``
            (chunks without end); ``unfinished`` (no last chunk, FIN); ``with-length`` (together
            with Content-Length).
    """
    return Fault("chunked", {"bytes": bytes, "how": how})


def ranges(how: str) -> Fault:
    """A Range is ``ignored`` (200), ``refused`` (416), answered with bytes ``shifted`` by one,
    ``repeated`` from the start, ``short`` of half of them, or with a ``wrong-total``."""
    return Fault("ranges", {"how": how})


def etag(how: str = "changes") -> Fault:
    """The ETag is another each time, ``missing`` or ``weak``."""
    return Fault("etag", {"how": how})


def corrupt(at: Offset = "50%", flips: int = 1, seed: int = 0) -> Fault:
    """One bit flipped in the byte ``at``, and in ``flips - 1`` seeded bytes after it."""
    return Fault("corrupt", {"at": at, "flips": flips, "seed": seed})


def zero(at: Offset = "50%", bytes: int = 4096) -> Fault:
    """So many bytes are zero."""
    return Fault("zero", {"at": at, "bytes": bytes})


def swap(at: Offset = "50%", bytes: int = 4096) -> Fault:
    """So many bytes change places with as many after them."""
    return Fault("swap", {"at": at, "bytes": bytes})


def repeat(at: Offset = "50%", bytes: int = 4096) -> Fault:
    """So many bytes come twice, and as many less at the end: the length stays."""
    return Fault("repeat", {"at": at, "bytes": bytes})


def cut(at: Offset = "50%", bytes: int | None = None) -> Fault:
    """So many bytes are missing, or all that follow; Content-Length and digests agree with that."""
    return Fault("cut", {"at": at, "bytes": bytes})


def scramble(at: Offset = 0, bytes: int | None = None, seed: int = 0) -> Fault:
    """Random bytes in place of so many, or of all that follow."""
    return Fault("scramble", {"at": at, "bytes": bytes, "seed": seed})


def pad(bytes: int = 4096, how: str = "beyond", seed: int = 0) -> Fault:
    """So many random bytes after the file: ``counted`` in Content-Length, or ``beyond`` it."""
    return Fault("pad", {"bytes": bytes, "how": how, "seed": seed})


def tls(how: str, after: Offset = "50%") -> Fault:
    """TLS that is not as it should be; the URL has to be an https one.

    Args:
        how: the certificate ``expired``, ``not-yet-valid``, of an ``unknown-ca``, ``self-signed``,
            for a ``wrong-name``; the ``version`` refused, ``only-1.2`` or ``only-1.3`` spoken;
            ``stalled-handshake``, ``cut-handshake``; a ``client-certificate`` wanted; a record cut
            in two (``record-cut``) or spoiled (``bad-record``) at ``after``; ``no-close-notify``.
    """
    return Fault("tls", {"how": how, "after": after})


def unreachable(how: str = "refused", seconds: float | None = None) -> Fault:
    """No connection comes about: the port is closed (``refused``), or says nothing (``silent``)."""
    return Fault("unreachable", {"how": how, "seconds": seconds})


ANY = (
    stall("50%"),
    bandwidth(20_000),
    truncate("50%"),
    reset("50%"),
    corrupt("50%"),
    status(503),
)
"""What :func:`random` draws from."""


def parse(text: str) -> Fault:
    """Read one fault: ``stall after=50% seconds=5 on attempt 1, 2``, or its Python form.

    Raises:
        FaultError: an unknown fault or parameter (with the nearest known one), or a bad value.
    """
    from pytest_blynk_ota.delivery.fault_text import read_one

    return read_one(text)


def parse_all(text: str) -> tuple[Fault, ...]:
    """Read what may be several: ``status 503 then none then stall 50%``, ``random seed=7 rate=0.2
    of stall 50% or status 503``, or the Python form of :func:`seq` and :func:`random`.

    Raises:
        FaultError: as for :func:`parse`.
    """
    from pytest_blynk_ota.delivery.fault_text import read_all

    return read_all(text)
