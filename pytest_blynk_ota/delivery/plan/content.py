"""What the body is, and what the headers say about it: the file, a part of it, or a page. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from pytest_blynk_ota.delivery.plan.idle import Idle
from pytest_blynk_ota.delivery.plan.ledger import Ledger
from pytest_blynk_ota.delivery.plan.made import another, encoded
from pytest_blynk_ota.delivery.plan.offered import Offered
from pytest_blynk_ota.delivery.plan.ranges import Part, precondition, wanted
from pytest_blynk_ota.delivery.plan.request import Request
from pytest_blynk_ota.delivery.plan.spoil import SPOILS, Touched, spoiled
from pytest_blynk_ota.delivery.steps import Due

Fields = tuple[tuple[str, str], ...]
Body = bytes | memoryview

BODILESS = frozenset({204, 304})
"""Statuses after whose head nothing comes (RFC 9112 6.3)."""

EMPTY = 205
"""It has a body, of no bytes (RFC 9110 15.3.6)."""

WHOLE = ("status", "page", "redirect", "garbage")
NO_HTTP = 0
"""The status of bytes that are no answer."""
IN_THE_FILE = ("etag", "ranges", "other", "cut", "pad", *SPOILS)
"""Kinds that act on the file: where a page stands in its place they do nothing."""


@dataclass(frozen=True, slots=True)
class Content:
    """The body and what is said about it.

    Attributes:
        fields: header fields about it, Content-Type first, without Content-Length.
        page: it is none of the file.
        bare: nothing comes after the head, whatever it says.
        start, size: its first byte in the file that is served, and the size of that file.
        part: what Content-Range says.
        touched: what each fault has changed in it, by its place.
    """

    status: int
    body: Body
    fields: Fields = ()
    page: bool = False
    bare: bool = False
    start: int = 0
    size: int = 0
    part: tuple[int, int, int] | None = None
    touched: Mapping[int, Touched] = field(default_factory=dict)

    @property
    def carries_file(self) -> bool:
        """Whether bytes of the file follow the head."""
        return not (self.page or self.bare)


def reason(code: int) -> str:
    """The standard reason phrase, or ``Status`` where there is none."""
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Status"


def page(code: int, text: str, *fields: tuple[str, str], kind: str = "plain") -> Content:
    """A short text in place of the file."""
    if code in BODILESS:
        return Content(code, b"", fields, page=True, bare=True)
    if code == EMPTY:
        return Content(code, b"", fields, page=True)
    about = ("Content-Type", f"text/{kind}; charset=utf-8")
    return Content(code, text.encode(), (about, *fields), page=True)


def content(request: Request, ledger: Ledger) -> Content:
    """The body of the answer to a request, with all faults that act on it."""
    made = _whole(request, ledger)
    if made is None:
        made = _file(request, ledger)
    elif made.page:
        ledger.rest_all(f"{_chosen(ledger)} stands in place of the file", *IN_THE_FILE)
    if made.status == NO_HTTP:
        ledger.rest_all("what is sent is no HTTP", "encoding")
        return made
    if made.page and not made.bare:
        coding, body = _encoded(made.body, ledger)
        made = replace(made, body=body, fields=(*made.fields, *coding))
    if request.method == "HEAD" or made.bare:
        why = "HEAD asks for no body" if request.method == "HEAD" else f"{made.status} has no body"
        ledger.rest_all(why, *SPOILS)
        made = replace(made, page=True, bare=True, touched={})
    return made


def _chosen(ledger: Ledger) -> str:
    return str(next(ledger.of(*WHOLE)).fault)


def _whole(request: Request, ledger: Ledger) -> Content | None:
    """What stands in place of the right answer: the first of the list that can."""
    made: Content | None = None
    for one in ledger.of(*WHOLE):
        if made is not None:
            ledger.rest(one, f"{_chosen(ledger)} is the whole answer already")
            continue
        try:
            made = SOURCES[one.fault.kind](request, ledger, one)
        except Idle as idle:
            ledger.rest(one, idle)
    return made


def _status(request: Request, ledger: Ledger, one: Due) -> Content:
    values = one.fault.values
    code: int = values["code"]
    more: Fields = ()
    if "retry_after" in values:
        more = (("Retry-After", str(values["retry_after"])),)
    ledger.line.append(one)
    if values["body"] == "file":
        made = _served(request, ledger)
        ledger.rest_all(f"{one.fault} is the whole file", "ranges")
        return replace(made, status=code, fields=(*made.fields, *more))
    if values["body"] == "none":
        return Content(code, b"", more, page=True, bare=code in BODILESS)
    return page(code, f"{code} {reason(code)}\n", *more)


def _page(request: Request, ledger: Ledger, one: Due) -> Content:
    ledger.head.append(one)
    return page(200, one.fault.values["text"], kind="html")


def _garbage(request: Request, ledger: Ledger, one: Due) -> Content:
    values = one.fault.values
    ledger.line.append(one)
    body = random.Random(values["seed"]).randbytes(values["bytes"])
    return Content(NO_HTTP, body, page=True)


def _redirect(request: Request, ledger: Ledger, one: Due) -> Content:
    values = one.fault.values
    code, to = values["code"], values["to"]
    if to == "loop":
        where = request.links(to, request.hop)
    elif to.startswith("http"):
        where = to
    elif request.hop < values["hops"]:
        where = request.links(to, request.hop + 1)
    else:
        raise Idle(f"{request.hop} redirects lead to the file")
    ledger.line.append(one)
    return page(code, f"{code} {reason(code)}\n", ("Location", where))


SOURCES: Mapping[str, Callable[[Request, Ledger, Due], Content]] = {
    "status": _status,
    "page": _page,
    "redirect": _redirect,
    "garbage": _garbage,
}


def _served(request: Request, ledger: Ledger) -> Content:
    """The whole file, as faults have made it."""
    file, data, done = another(request, ledger.due)
    ledger.book_all(done)
    coding, body = _encoded(data, ledger)
    etag = _etag(request, file, coding, ledger)
    spoils = list(ledger.of(*SPOILS))
    touched: dict[int, Touched] = {}
    if spoils:
        body, found = spoiled(bytes(body), tuple(one.fault for one in spoils), file.name)
        for one, what in zip(spoils, found, strict=True):
            if isinstance(what, str):
                ledger.rest(one, what)
            else:
                touched[one.index] = what
    fields = [("Content-Type", "application/octet-stream"), *coding]
    fields += [("ETag", etag)] if etag else []
    fields += [("Accept-Ranges", "bytes"), *file.headers()]
    return Content(200, body, tuple(fields), size=len(body), touched=touched)


def _encoded(body: Body, ledger: Ledger) -> tuple[Fields, Body]:
    """Content-Encoding and the body in it."""
    coding: Fields = ()
    for one in ledger.of("encoding"):
        if ledger.book(one, "the body is compressed already" if coding else None):
            name = one.fault.values["name"]
            coding, body = (("Content-Encoding", name),), encoded(name, bytes(body))
    return coding, body


def _etag(request: Request, file: Offered, coding: Fields, ledger: Ledger) -> str | None:
    """The ETag of the body: compressed it is another one (RFC 9110 8.8.3.3)."""
    tag = f'{file.etag[:-1]}-{coding[0][1]}"' if coding else file.etag
    said: str | None = tag
    changed = False
    for one in ledger.of("etag"):
        if ledger.book(one, "another fault has changed the ETag" if changed else None):
            said = ETAGS[one.fault.values["how"]](tag, request.serial)
            changed = True
    return said


ETAGS: Mapping[str, Callable[[str, int], str | None]] = {
    "changes": lambda tag, serial: f'{tag[:-1]}-{serial}"',
    "missing": lambda tag, serial: None,
    "weak": lambda tag, serial: f"W/{tag}",
}


def _file(request: Request, ledger: Ledger) -> Content:
    """The file, or the part of it that is asked for."""
    made = _served(request, ledger)
    etag = dict(made.fields).get("ETag")
    if instead := precondition(request, etag):
        why = f"a precondition of the request gives {instead}"
        ledger.rest_all(why, "encoding", *(kind for kind in IN_THE_FILE if kind != "etag"))
        kept = (("ETag", etag),) if etag else ()
        return page(instead, f"{instead} {reason(instead)}\n", *kept)
    asked = wanted(request, etag, made.size)
    if asked == "unsatisfiable":
        return _refused(made.size, ledger, "the range that is asked for lies outside of the file")
    if not isinstance(asked, tuple):
        ledger.rest_all("no range is asked for", "ranges")
        return made
    return _part(made, asked, ledger)


def _refused(size: int, ledger: Ledger, why: str, by: Due | None = None) -> Content:
    """416, because of the request or ``by`` a fault."""
    for one in ledger.of("encoding", *IN_THE_FILE):
        if one is not by:
            ledger.rest(one, why)
    return page(416, "416 Range Not Satisfiable\n", ("Content-Range", f"bytes */{size}"))


def _part(made: Content, asked: Part, ledger: Ledger) -> Content:
    """206 for the bytes that are asked for, or what a fault makes of that."""
    sent, says = asked, (*asked, made.size)
    acts = False
    for one in ledger.of("ranges"):
        how = one.fault.values["how"]
        try:
            if acts:
                raise Idle("another fault answers the range")
            if how in PARTS:
                sent, says = PARTS[how](asked, made.size)
        except Idle as idle:
            ledger.rest(one, idle)
            continue
        acts = True
        ledger.head.append(one)
        if how == "refused":
            return _refused(made.size, ledger, f"{one.fault} stands in place of the file", one)
        if how == "ignored":
            kept = tuple(field for field in made.fields if field[0] != "Accept-Ranges")
            return replace(made, fields=kept)
    start, stop = sent
    told = ("Content-Range", f"bytes {says[0]}-{says[1] - 1}/{says[2]}")
    return replace(
        made,
        status=206,
        body=memoryview(made.body)[start:stop],
        fields=(made.fields[0], told, *made.fields[1:]),
        start=start,
        part=says,
        touched=_within(made.touched, start, stop, ledger),
    )


def _within(
    touched: Mapping[int, Touched], start: int, stop: int, ledger: Ledger
) -> dict[int, Touched]:
    """The changed bytes that the part holds."""
    held: dict[int, Touched] = {}
    for one in ledger.of(*SPOILS):
        if one.index in touched:
            what = touched[one.index].within(start, stop)
            if what is None:
                ledger.rest(one, f"the part {start}..{stop} holds none of its bytes")
            else:
                held[one.index] = what
    return held


Said = tuple[int, int, int]


def _shifted(asked: Part, size: int) -> tuple[Part, Said]:
    start, stop = asked
    by = -1 if start else 1
    part = start + by, min(stop + by, size)
    if part[0] >= part[1]:
        raise Idle("a file of one byte has no other part")
    return part, (*part, size)


def _repeated(asked: Part, size: int) -> tuple[Part, Said]:
    if asked[0] == 0:
        raise Idle("the part begins at byte 0")
    return (0, asked[1] - asked[0]), (*asked, size)


def _short(asked: Part, size: int) -> tuple[Part, Said]:
    start, stop = asked
    if stop - start < 2:
        raise Idle("the part has one byte")
    part = start, start + (stop - start) // 2
    return part, (*part, size)


PARTS: Mapping[str, Callable[[Part, int], tuple[Part, Said]]] = {
    "shifted": _shifted,
    "repeated": _repeated,
    "short": _short,
    "wrong-total": lambda asked, size: (asked, (*asked, size + 1)),
}
"""What is sent in place of the part that is asked for, and what Content-Range says it is:
``shifted`` and ``short`` are honest about another part, the others lie."""
