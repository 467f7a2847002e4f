"""What to answer: faults, request and file in; the steps of the wire out. Pure.

How faults that are due in one answer go together, each on what those before it have made:

1. The whole answer: ``status``, ``page``, ``redirect``; the first of the list stands.
2. Another file: ``other``, ``cut``, ``pad how=counted``; then ``encoding``. Offsets count in the
   body that comes of it, also where a part of it is asked for.
3. Bytes at the same length: ``repeat``, ``swap``, ``scramble``, ``zero``, ``corrupt``.
4. ``ranges``: which part is sent, and what is said about it.
5. The head: ``chunked``, ``length``, ``http_version``; then single fields in the order of the list.
6. Time: of several rates in force the slowest holds, in the smallest pieces. Waits at one place
   come one after the other.
7. Ends. At one place changed bytes come first, then rates, then waits, then the end.

Where a page stands in place of the file, or nothing follows the head (HEAD, 204, 304), what counts
in bytes of the file or by the clock does not act; what acts before or in the head does.
"""

from pytest_blynk_ota.delivery.plan.answer import answer, plain
from pytest_blynk_ota.delivery.plan.check import check
from pytest_blynk_ota.delivery.plan.offered import Offered
from pytest_blynk_ota.delivery.plan.ranges import parse_range
from pytest_blynk_ota.delivery.plan.request import Links, own_links

LINKS = own_links
"""Where redirects lead if nobody says."""

__all__ = ["LINKS", "Links", "Offered", "answer", "check", "parse_range", "plain"]
