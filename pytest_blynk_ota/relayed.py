"""An update that another Blynk server begins: the device gets our URL in place of theirs.

Their file is fetched, as the device would have: so their shipment goes on, and the file is known to
be the image that the test takes for New.
"""

from __future__ import annotations

import hashlib
import http.client
import threading
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from pytest_blynk_ota.cloud.link import OtaRequest
from pytest_blynk_ota.errors import RigError, UsageError
from pytest_blynk_ota.offers import Offers, tag_of

FETCH_TIMEOUT_S: Final = 60.0
"""Wall seconds for their whole file; the network between two servers is not what is tested."""
MAX_FILE_BYTES: Final = 16 << 20
"""The largest flash that an ESP32 has."""


class TheirOffers(Offers):
    """Waits for the other server's offers, and serves the file of each here."""

    def start(self) -> None:
        """From now on."""
        self._fetches: list[threading.Thread] = []
        self._rig.cloud.exchange(self._place.name, self._exchanged)
        super().start()

    def stop(self) -> None:
        """Let their URLs pass again. Raises what went wrong with their file."""
        self._rig.cloud.exchange(self._place.name, None)
        for thread in self._fetches:
            thread.join(FETCH_TIMEOUT_S)
        super().stop()

    def cancel(self) -> None:
        """Raises UsageError, as the others: the shipment is the other server's."""
        self._not_here("cancelled")

    def pause(self) -> None:
        """See :meth:`cancel`."""
        self._not_here("paused")

    def resume(self) -> None:
        """See :meth:`cancel`."""
        self._not_here("resumed")

    def click(self) -> None:
        """See :meth:`cancel`."""
        self._not_here("clicked")

    def supersede(self, name: str, data: bytes, facts: Mapping[str, Any]) -> None:
        """See :meth:`cancel`."""
        self._not_here("superseded")

    def _not_here(self, what: str) -> None:
        raise UsageError(
            f"board {self._place.name}: an update of the relayed server cannot be {what} here, its "
            f"offers are not the rig's; that is done at that server"
        )

    def _offer(self, session: int) -> None:
        """When there is one is for the other server to say."""

    def _exchanged(self, url: str) -> OtaRequest:
        """On the cloud's loop: the request that the device gets."""
        self._count += 1
        offer, data = f"o{self._count}", self._campaign.data
        self._record("offer", offer=offer, number=self._count)
        fetch = threading.Thread(
            target=self._fetch, args=(url,), name="blynk-ota relayed file", daemon=True
        )
        self._fetches.append(fetch)
        fetch.start()
        return OtaRequest(
            offer, self._campaign.offer(offer), len(data), tuple(tag_of(data).items())
        )

    def _fetch(self, url: str) -> None:
        """Get their file, and hold it against the image that is served."""
        try:
            theirs = fetched(url)
            wanted = hashlib.sha256(self._campaign.data).hexdigest()
            got = hashlib.sha256(theirs).hexdigest()
            self._record("relayed_file", bytes=len(theirs), sha256=got)
            if got != wanted:
                raise RigError(
                    f"board {self._place.name}: the relayed server ships another file "
                    f"({len(theirs)} bytes, sha256 {got[:12]}…) than the image of the test (sha256 "
                    f"{wanted[:12]}…): give the one that it ships with --new"
                )
        except RigError as error:
            self._error = error
            self._timeline.wake()


def fetched(url: str) -> bytes:
    """The file at a URL.

    Raises:
        RigError: it cannot be had; the URL's token is not in the message.
    """
    where = url.partition("?")[0]
    if not url.startswith(("http://", "https://")):
        raise RigError(f"the relayed server's URL is none of http or https: {where!r}")
    try:
        with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_S) as answer:
            data: bytes = answer.read(MAX_FILE_BYTES + 1)
            missing = answer.length or 0  # read() of a size says nothing of an early end
    except http.client.InvalidURL:  # whose words quote the URL
        raise RigError(f"the relayed server's URL {where!r}… cannot be one") from None
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        raise RigError(f"the relayed server's file at {where} cannot be fetched: {error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise RigError(f"the relayed server's file at {where} has more than {MAX_FILE_BYTES} bytes")
    if missing:
        raise RigError(
            f"the relayed server's file at {where} ended after {len(data)} bytes, {missing} early"
        )
    return data
