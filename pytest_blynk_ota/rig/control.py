"""The control port of a virtual rack, seen from outside: what a hand or a test asks of it.

What a test does to a board becomes an event, so that the judge knows it: a reset or a power dip of
its own, and the time in which it kept the device off the network.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from pytest_blynk_ota.errors import RigError, UsageError
from pytest_blynk_ota.evidence.timeline import Record

ANSWER_TIMEOUT_S = 10.0
"""Wall seconds; whoever asks for something that takes longer says so."""
LONGEST_DIP_S = 70.0
SECTOR_BYTES = 4096


class RackControl:
    """Speaks to one rack. Each call is a connection of its own, so any thread may make it.

    Every method raises UsageError if the rack refuses (no such board, a wrong value; nothing was
    done then) and RigError if it does not answer.

    Args:
        url: what the rack announced as its outlet, without a board's name.
        record: where a test's deeds go; nowhere, if nobody keeps evidence.
    """

    def __init__(self, url: str, record: Record | None = None) -> None:
        self.url = url.rstrip("/")
        self._record = record or _nowhere
        self._out_of_range: set[str] = set()
        self._worn: set[str] = set()
        self._network_changed = False
        self._forward: dict[str, str] = {}
        self._resolvers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<control of the rack at {self.url}>"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None = None,
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> Any:
        """Ask, and return the answer: JSON as objects, octets as bytes, else a str.

        Args:
            path: below the rack's URL, as ``/c3-a/reset``.
            body: octets as they are, or an object that becomes JSON.
            timeout_s: wall seconds.

        Raises:
            UsageError: the rack refused: no such board, a wrong body; nothing was done.
            RigError: it does not answer, or failed.
        """
        where = urlsplit(self.url)
        payload = json.dumps(body).encode() if isinstance(body, Mapping) else body
        asked = http.client.HTTPConnection(where.netloc, timeout=timeout_s)
        try:
            asked.request(method, quote(path, safe="/?&="), payload)
            answer = asked.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise RigError(
                f"no virtual rack answers at {self.url} ({method} {path}: "
                f"{error or type(error).__name__})"
            ) from error
        finally:
            asked.close()
        text = data.decode(errors="replace")
        if answer.status >= 500:
            raise RigError(f"the virtual rack failed at {method} {path}: {text.strip()}")
        if answer.status >= 400:
            raise UsageError(text.strip() or f"{method} {path}: {answer.status} {answer.reason}")
        kind = answer.headers.get_content_type()
        if kind == "application/json":
            return json.loads(text)
        return data if kind == "application/octet-stream" else text

    def _json(self, kind: type, method: str, path: str, *body: Any, **more: Any) -> Any:
        """Ask for an object or a list; whoever answers with anything else is no rack."""
        answer = self.request(method, path, *body, **more)
        if not isinstance(answer, kind):
            raise RigError(f"what answers at {self.url} is no virtual rack: {str(answer)[:60]!r}")
        return answer

    # ---- looking

    def boards(self) -> list[dict[str, Any]]:
        """Each board: name, chip, mac, url, power, wifi, state."""
        return list(self._json(list, "GET", "/"))

    def flash(self, board: str) -> dict[str, Any]:
        """What is in the flash, decoded."""
        return dict(self._json(dict, "GET", f"/{board}/flash"))

    def save(self, board: str) -> bytes:
        """The whole flash as it is now; what is running goes on running."""
        return bytes(self._json(bytes, "GET", f"/{board}/dump"))

    def journal(self, board: str, last: int = 100) -> dict[str, Any]:
        """How many flash operations there were, and the last ones, oldest first."""
        return dict(self._json(dict, "GET", f"/{board}/journal?last={last}"))

    # ---- doing

    def power(self, board: str, *, on: bool) -> None:
        """Switch the outlet."""
        self._record("power", "on" if on else "off", board, by="test")
        self.request("PUT", f"/{board}", b"1" if on else b"0")

    def reset(self, board: str, *, download: bool = False) -> None:
        """Press EN, with IO0 held low for download mode."""
        self._record("rig", "reset", board, by="test", mode="loader" if download else "run")
        self.request("POST", f"/{board}/reset", {"download": download})

    def dip(self, board: str, ms: float) -> str:
        """Take the power away for ``ms`` device milliseconds.

        Returns:
            What came of it: ``nothing``, ``brownout`` or ``power-on``.
        """
        began = time.monotonic()
        answer = self._json(dict, "POST", f"/{board}/dip", {"ms": ms}, timeout_s=LONGEST_DIP_S)
        if answer["effect"] != "nothing":
            back = min(began + answer["wall_s"], time.monotonic())
            self._record("power", "off", board, t=began, by="test", dip_ms=ms)
            self._record("power", "on", board, t=back, by="test", dip_ms=ms)
        return str(answer["effect"])

    def load(self, board: str, dump: bytes) -> int:
        """Replace the flash; a board that has power loses it meanwhile.

        Returns:
            How many sectors were not so already.
        """
        self._record("test", "action", board, what="flash.load", bytes=len(dump))
        began = time.monotonic()
        answer = self._json(dict, "PUT", f"/{board}/dump", dump)
        if answer["power"]:
            self._record("power", "off", board, t=began, by="test")
            self._record("power", "on", board, by="test")
        return int(answer["changed_sectors"])

    def damage(self, board: str, offset: int, size: int) -> None:
        """Put noise into the flash of a board that goes on running, and reads it when it reads it.

        Args:
            offset, size: bytes.
        """
        spans = [[offset, size]]
        self._record("test", "action", board, what="flash.damage", spans=spans)
        self.request("POST", f"/{board}/damage", {"offset": offset, "bytes": size})

    def wear(self, board: str, offset: int) -> None:
        """A sector of 4 KB is worn out from now on: some bits stay 0, and the chip tells nobody.

        :meth:`mend` makes it good again.
        """
        self._worn.add(board)
        self._record("test", "action", board, what="flash.wear", spans=[[offset, SECTOR_BYTES]])
        try:
            self.request("POST", f"/{board}/wear", {"offset": offset})
        except UsageError:  # nothing was done
            self._worn.discard(board)
            raise

    def wifi(self, board: str, *, on: bool) -> None:
        """Take one board out of the access point's range, or bring it back."""
        if not on:
            self._out_of_range.add(board)  # before it is: mending must not depend on the answer
        try:
            self._kept_away("wifi", board, not on, f"/{board}/wifi", b"1" if on else b"0")
        except UsageError:  # there is no such board, and nothing to mend
            self._out_of_range.discard(board)
            raise
        if on:
            self._out_of_range.discard(board)

    def access_point(self, *, on: bool) -> None:
        """Switch the rack's access point off, for every board, or on."""
        self._network_changed = True
        self._kept_away("ap", None, not on, "/network", {"ap": on})

    def network(self, **changes: Any) -> dict[str, Any]:
        """Change what the access point and the router do; see the table of ``PUT /network``.

        Returns:
            All settings as they are now.
        """
        if "ap" in changes:
            self.access_point(on=bool(changes.pop("ap")))
        self._network_changed = True
        if changes:
            self._record("test", "action", None, what="network.set", keys=sorted(changes))
        return dict(self._json(dict, "PUT", "/network", changes))

    @contextlib.contextmanager
    def black_hole(self, mtu: int) -> Iterator[None]:
        """In the ``with`` block no IP packet above ``mtu`` bytes reaches a board, and nobody is
        told: a tunnel on the way, whose ICMP a firewall has eaten."""
        self._record(
            "test", "action", None, what="link.shaped", text=f"no packet above {mtu} bytes"
        )
        try:
            self.network(mtu=mtu)
            yield
        finally:
            self.network(mtu=0)
            self._record("test", "action", None, what="link.shaped", text="")

    def furnish(
        self, forward: Mapping[str, str] | None = None, resolvers: Mapping[str, str] | None = None
    ) -> None:
        """Have the router as this rig needs it, from now on; mending the network keeps it so.

        Args:
            forward: ``HOST:PORT`` that boards dial, and where that leads to.
            resolvers: domains, and the ``ADDRESS:PORT`` of the DNS that knows them.
        """
        self._forward.update(forward or {})
        self._resolvers.update(resolvers or {})
        needed = {"forward": self._forward, "resolvers": self._resolvers}
        self.request("PUT", "/network", {key: table for key, table in needed.items() if table})

    def mend(self) -> None:
        """Undo what was done to the network, to the Wi-Fi of boards and to their sectors. Does
        nothing if nothing."""
        for board in sorted(self._worn):
            self.request("DELETE", f"/{board}/wear")
        self._worn.clear()
        for board in sorted(self._out_of_range):
            self.wifi(board, on=True)
        if self._network_changed:
            self.access_point(on=True)
            self.request("DELETE", "/network")
            if self._forward or self._resolvers:
                self.furnish()
            self._network_changed = False

    def _kept_away(
        self, what: str, board: str | None, away: bool, path: str, body: bytes | Mapping[str, Any]
    ) -> None:
        """The judge does not count the time from before it goes until after it is back."""
        if away:
            self._record("test", "action", board, what=f"{what}.off")
        self.request("PUT", path, body)
        if not away:
            self._record("test", "action", board, what=f"{what}.on")


def _nowhere(*_: Any, **__: Any) -> None:
    """The evidence of a person at a keyboard."""
