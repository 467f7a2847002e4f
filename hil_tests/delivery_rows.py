"""Family D: what may go wrong with a download, and how each stock firmware comes out of it.

Cells follow the firmwares' sources (blynk-library 1.4.0, Edgent-Arduino 0.9.0, ArduinoHttpClient
0.6.1, arduino-esp32, ESP-IDF v5.3), not what a virtual board did; the notes to them are in
docs/reference/delivery-scenarios.md. D47 and D48 need packets to be held back: test_environment.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario.

    Attributes:
        id: of the family, with a letter where it has several faults.
        want: a letter for each stock firmware: expected.py.
        faults: one text for each.
        limit: of the shipment; None: a bare offer.
        https: whether the URL is an https one.
        names: what the DNS says of the firmware server, question by question; empty: the truth.
        speed: the highest of a rig whose limits this row can be held against: it is near one.
        air: a word for each stock firmware, where it is not that of the outcome.
        trait: the field of a firmware's profile that the row turns on.
        long: takes more than two device minutes.
        more: ends as its neighbour for every stock firmware, so that it waits for the night.
    """

    id: str
    want: str
    faults: tuple[str, ...]
    limit: int | None = None
    https: bool = False
    names: tuple[str, ...] = ()
    speed: int | None = None
    air: str = ""
    trait: str | None = None
    long: bool = False
    more: bool = False

    @property
    def said(self) -> str:
        """What is done, in the words of the page."""
        names = [f"dns {', '.join(self.names)}"] if self.names else []
        limit = [f"limit {self.limit}"] if self.limit is not None else []
        return "; ".join([*self.faults, *names, *limit])


def row(id: str, want: str, *faults: str, **more: object) -> Row:
    return Row(id, want.replace(" ", ""), faults, **more)  # type: ignore[arg-type]


ROWS: Sequence[Row] = (
    row("D1a", "F F F F", "status 404"),
    row("D1b", "F F F F", "status 404 body=file", more=True),
    row("D2a", "F F F F", "status 401"),
    row("D2b", "F F F F", "status 403", more=True),
    row("D3a", "F F F F", "status 500"),
    row("D3b", "F F F F", "status 503 retry_after=30", more=True),
    row("D4", "U U F U", "status 503 times 2", limit=3, more=True),
    row("D5a", "U U F U", "status 503 times 2", limit=3, more=True),
    row("D5b", "L L F F", "status 503", limit=3),
    row("D6a", "F F F F", "status 204"),
    row("D6b", "F F F F", "status 304", more=True),
    row("D6c", "F U U F", "status 206 body=file"),
    row("D6d", "F F F F", "status 200 body=none", more=True),
    row("D7", "R R R R", "page", air="NR NR NR NR"),
    row("D8", "F F U F", "length missing"),
    row("D9", "F F U U", "chunked 4096"),
    row("D10a", "F F R F", "chunked how=malformed"),
    row("D10b", "F F F F", "chunked how=endless"),
    row("D10c", "F F F F", "chunked how=unfinished"),
    row("D11", "R R R R", "length off=-100"),
    row("D12", "F F F F", "length off=100", air="FD FD FD FD"),
    row("D13a", "F F F F", "length 0"),
    row("D13b", "F F R F", "length -1", more=True),
    row("D13c", "F F R F", "length ten", more=True),
    row("D13d", "F F F F", "length huge", air="NR NR FD NR"),
    row("D13e", "U U R U", "double_header Content-Length"),
    row("D13f", "F F R F", "double_header Content-Length value=5000", more=True),
    row("D13g", "R R R R", "length 1000"),
    row("D14", "F U R F", "chunked how=with-length"),
    row("D15a", "R U U R", "digest wrong header=x-MD5"),
    row("D15b", "R U U R", "digest first-half header=x-MD5", more=True),
    row("D15c", "R U U R", "digest last-half header=x-MD5", more=True),
    row("D15d", "U U U U", "digest upper header=x-MD5"),
    row("D15e", "R U U R", "digest wrong header=x-MD5", "digest upper header=x-MD5", more=True),
    row("D16a", "U U U U", "digest missing header=x-MD5"),
    row("D16b", "U U U U", "digest short header=x-MD5", more=True),
    row("D16c", "U U U U", "digest quoted header=x-MD5", more=True),
    row("D17", "F F F F", "encoding gzip"),
    row("D18a", "U U U F", "pad_headers 4096 count=4"),
    row("D18b", "U U U U", "pad_headers 8192"),
    row("D19a", "U F U U", "slow_headers 20", speed=8),
    row("D19b", "S S S S", "stall request"),
    row("D19c", "S O S S", "stall status"),
    row("D19d", "U F U S", "slow_headers 2", long=True),
    row("D20a", "F F F F", "truncate request"),
    row("D20b", "F F F F", "truncate 0", more=True),
    row("D20c", "F F F F", "truncate 1", more=True),
    row("D20d", "F F F F", "truncate 23", more=True),
    row("D20e", "F F F F", "truncate 288", more=True),
    row("D20f", "F F F F", "truncate 50%", more=True),
    row("D20g", "F F F F", "truncate after=last 1"),
    row("D21a", "F F F F", "reset request"),
    row("D21b", "F F F F", "reset 0", more=True),
    row("D21c", "F F F F", "reset 1", more=True),
    row("D21d", "F F F F", "reset 23", more=True),
    row("D21e", "F F F F", "reset 288", more=True),
    row("D21f", "F F F F", "reset 50%"),
    row("D21g", "F F F F", "reset after=last 1", more=True),
    row("D22a", "S S S S", "stall 0"),
    row("D22b", "S S S S", "stall 50%", more=True),
    row("D22c", "S S S S", "stall after=last 4096", more=True),
    row("D22d", "L L O S", "stall 50%", limit=2, more=True),
    row("D23a", "U U U U", "stall 50% seconds=25"),
    row("D23b", "S S S U", "stall 50% seconds=60 once"),
    row("D24", "S S S S", "vanish 50%", speed=10),
    row("D25a", "S S S S", "drip 1", long=True),
    row("D25b", "U U U U", "drip 1 after=last 20"),
    row("D26", "U U U U", "bandwidth 2048"),
    row("D27", "U U U U", "segments 100 gap=0.02", more=True),
    row("D28a", "U U U U", "pad 4096"),
    row("D28b", "U R U U", "pad 16 how=counted", "pad 4096"),
    row("D29a", "R R R R", "corrupt 50%"),
    row("D29b", "R R R R", "corrupt 50%", "drop_header x-MD5", more=True),
    row("D29c", "R F R R", "corrupt 50% maybe", "drop_header x-MD5", "drop_header X-SHA256"),
    row("D29d", "L L R R", "corrupt 50%", limit=2, more=True),
    row("D30a", "R R R R", "repeat 50%"),
    row("D30b", "R R R R", "swap 50%", more=True),
    row("D30c", "R R R R", "zero 50%", more=True),
    row("D31", "R R R R", "cut 50%"),
    row(
        "D32",
        "U U F U",
        "corrupt 10% once",
        "truncate 50% once",
        "etag changes",
        limit=3,
    ),
    row("D33a", "F F U U", "redirect 301"),
    row("D33b", "F F U U", "redirect 302 to=relative", more=True),
    row("D33c", "F F U U", "redirect 307", more=True),
    row("D33d", "F F U U", "redirect 308 to=relative hops=2", more=True),
    row("D34", "F F O F", "redirect to=loop", speed=20),
    row("D35", "F F U U", "redirect to=other-host"),
    row("D36", "F F F U", "truncate 50% once"),
    row("D37a", "F F F U", "truncate 50% once", "ranges ignored maybe", more=True),
    row("D37b", "F F F U", "truncate 50% once", "ranges refused maybe", more=True),
    row("D38", "F F F U", "truncate 50% once", "etag changes", more=True),
    row("D39a", "F F F U", "truncate 50% once", "ranges shifted maybe", more=True),
    row("D39b", "F F F U", "truncate 50% once", "ranges repeated maybe", more=True),
    row("D39c", "F F F U", "truncate 50% once", "ranges wrong-total maybe", more=True),
    row("D39d", "F F F F", "truncate 50% once", "ranges short maybe", more=True),
    row("D40a", "N N N N", "unreachable refused"),
    row("D40b", "N N N N", "unreachable silent", more=True),
    row("D40c", "N N N N", "unreachable refused", limit=2, long=True),
    row("D41a", "U U U U", "connection keep-alive then=close"),
    row("D41b", "U U U U", "half_close 100% maybe"),
    row("D41c", "F F U U", "early 103"),
    row("D41d", "U U U U", "http_version 1.0"),
    row("D41e", "F F F U", "early 103 gap=2", more=True),
    row("D42a", "N N N N", names=("nxdomain",)),
    row("D42b", "N N N N", names=("silence",), more=True),
    row("D42c", "N N N N", names=("127.0.0.9",)),
    row("D42d", "U U N U", names=("nxdomain", "right"), limit=2),
    row("D43a", "U U U F", "tls expired", https=True, air="S S S RS"),
    row("D43b", "U F F F", "tls unknown-ca", https=True, air="S RS RS RS"),
    row("D43c", "U F F F", "tls wrong-name", https=True, air="S RS RS RS"),
    row("D44a", "S S S S", "tls stalled-handshake", https=True, air="RS RS RS RS"),
    row("D44b", "F F F F", "tls version", https=True, air="RS RS RS RS"),
    row("D45a", "F F F F", "tls record-cut", https=True),
    row("D45b", "F F F F", "tls no-close-notify", https=True, more=True),
    row("D45c", "U U U U", "tls no-close-notify after=100%", https=True),
    row("D46", "F F F F", "tls client-certificate", https=True, air="RS RS RS RS"),
    row("D49", "U U U U", "stall 0 seconds=3"),
    row("D50a", "U F U U", "split_headers before-length gap=2"),
    row("D50b", "U F U U", "split_headers in-length gap=2", more=True),
    row("D50c", "U F U U", "split_headers before-end gap=2", more=True),
    row("D51a", "U R U R", "digest wrong"),
    row("D51b", "U F U U", "digest missing"),
    row("D51c", "U F U U", "digest short", more=True),
    row("D51d", "U F U U", "digest quoted", more=True),
)
