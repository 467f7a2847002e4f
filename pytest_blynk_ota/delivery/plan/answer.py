"""The answer to one request. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.plan.content import Content, content, page
from pytest_blynk_ota.delivery.plan.framing import is_unfinished
from pytest_blynk_ota.delivery.plan.head import head
from pytest_blynk_ota.delivery.plan.ledger import Ledger
from pytest_blynk_ota.delivery.plan.offered import Offered
from pytest_blynk_ota.delivery.plan.request import Links, Request, own_links
from pytest_blynk_ota.delivery.plan.schedule import Schedule
from pytest_blynk_ota.delivery.steps import Answer, Due
from pytest_blynk_ota.delivery.when import Asked


def answer(
    file: Offered,
    data: bytes,
    faults: Sequence[Fault],
    asked: Asked,
    *,
    fired: Mapping[int, int] | None = None,
    method: str = "GET",
    version: str = "1.1",
    serial: int = 1,
    hop: int = 0,
    links: Links = own_links,
    others: Mapping[str, bytes] | None = None,
    date: str | None = None,
) -> Answer:
    """The answer to one request. It never raises: a fault with nothing to act on does not act.

    Args:
        file, data: what is on offer at the URL.
        faults: the operation's list.
        asked: the request; its headers (names in lower case) count: Range, If-Range,
            If-None-Match, If-Match, Connection.
        fired: how often each fault has fired so far, by its place in the list.
        method: GET or HEAD.
        version: the HTTP version of the request, as ``1.0``.
        serial: the number of the request on the server; an ETag that changes has it.
        hop: how many redirects lie behind the URL.
        links: makes the URLs of redirects.
        others: the files that ``other`` names, by path.
        date: the Date header; None: there is none.
    """
    counts = fired or {}
    due = [
        Due(index, fault)
        for index, fault in enumerate(faults)
        if fault.due(asked, counts.get(index, 0))
    ]
    request = Request(file, data, asked, method, version, serial, hop, links, others or {}, date)
    return composed(request, Ledger(due))


def composed(request: Request, ledger: Ledger) -> Answer:
    """The answer with the faults of a ledger, which then tells why any of them does not act."""
    return _assembled(request, content(request, ledger), ledger)


def plain(
    code: int,
    text: str,
    *headers: tuple[str, str],
    asked: Asked | None = None,
    method: str = "GET",
    version: str = "1.1",
    keep: bool = True,
    date: str | None = None,
) -> Answer:
    """A short text page of the server itself, as for 400, 403, 404, 405 and 431.

    Args:
        headers: further header fields, as ``("Allow", "GET, HEAD")``.
        asked: the request, where it could be read.
        keep: whether the connection may serve another request, if the device wants it.
    """
    known = asked or Asked(1)
    if not keep:
        known = Asked(known.attempt, headers={"connection": "close"})
    request = Request(NOTHING, b"", known, method, version, date=date)
    made = page(code, text, *headers)
    if method == "HEAD":
        made = Content(made.status, made.body, made.fields, page=True, bare=True)
    return _assembled(request, made, Ledger(()))


NOTHING = Offered("", 0, "", "")


def _assembled(request: Request, made: Content, ledger: Ledger) -> Answer:
    top = head(request, made, ledger)
    schedule = Schedule(made, top, ledger, request.file.name, request.asked.attempt).fill()
    track = schedule.track()
    late = dict(track.late)
    laters = schedule.laters(late)
    return Answer(
        status=made.status,
        announced=top.announced,
        steps=tuple(track.steps),
        body=b"" if made.bare else made.body,
        page=made.page,
        part=made.part,
        later=laters,
        keep=top.keep,
        whole=made.bare or not is_unfinished(top.chunks),
        due=late,
    )
