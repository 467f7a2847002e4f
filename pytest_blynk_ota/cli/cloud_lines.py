"""What ``blynk-ota cloud`` prints: a line for each thing seen, without the secrets in it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_blynk_ota.cli.lines import Lines


class Printer:
    """Prints events as they come, without the tokens.

    Args:
        tokens: names and tokens of the devices that are let in.

    Attributes:
        listeners: told of each event, too: source, kind, board and data.
    """

    def __init__(self, lines: Lines, tokens: Sequence[tuple[str, str]], *, as_json: bool) -> None:
        from pytest_blynk_ota.evidence.redact import MIN_SECRET_CHARS, Redactor

        self.listeners: list[Callable[[str, str, str | None, Mapping[str, Any]], None]] = []
        self._lines = lines
        self._as_json = as_json
        self._redactor = Redactor()
        for name, token in tokens:
            if len(token) >= MIN_SECRET_CHARS:  # a shorter one is no token: the cloud says so
                self._redactor.learn(token, f"token of {name}")

    def ready(self, addresses: Mapping[str, tuple[str, int]]) -> None:
        """The announcement that scripts rely on: each kind of port with its address."""
        shown = {kind: _dialled(host, port) for kind, (host, port) in addresses.items()}
        if self._as_json:
            self._lines.print(json.dumps({"event": "ready", **shown}))
        else:
            where = ", ".join(f"{kind} {address}" for kind, address in shown.items())
            self._lines.print(f"the cloud listens on {where}; Ctrl-C ends it")

    def record(
        self, source: str, kind: str, board: str | None = None, /, *, t: float | None = None,
        **data: Any,
    ) -> None:  # fmt: skip
        """One event of the cloud, of the firmware server or of a shipment."""
        clean = self._redactor.clean(data)
        if self._as_json:
            name = kind if source == "cloud" else f"{source}.{kind}"
            head = {"event": name, "board": board, "wall": round(time.time(), 6)}
            self._lines.print(json.dumps(head | clean))
        elif (source, kind) in SENTENCES:
            now = time.strftime("%H:%M:%S")
            self._lines.print(f"{now} {sentence(source, kind, board, clean)}")
        for listener in self.listeners:
            listener(source, kind, board, data)


def _dialled(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


SENTENCES: Mapping[tuple[str, str], str] = {
    ("cloud", "connected"): "connected from {peer} at the {door} port",
    ("cloud", "login"): "logged in",
    ("cloud", "refused"): "refused: {why}",
    ("cloud", "info"): "says {pairs}",
    ("cloud", "report"): "runs {version} built {build}, type {fw_type}",
    ("cloud", "log_event"): "event {code}: {text}",
    ("cloud", "heard"): "is still there: {what}",
    ("cloud", "http"): "HTTP {what} for {name}: {status}",
    ("cloud", "http_event"): "event {code} for {name} by HTTP: {text}",
    ("cloud", "http_update"): "v{pin} of {name} set to {values} by HTTP",
    ("cloud", "http_provision"): "{name} is provisioned by HTTP: {pairs}",
    ("cloud", "upload"): "upload of {bytes} bytes for {name}, type {type}",
    ("cloud", "meta"): "sets {field} to {value}",
    ("cloud", "console"): "console: {text}",
    ("cloud", "diag"): "does what it should not: {why}",
    ("cloud", "pong"): "answers a ping",
    ("cloud", "ota_withheld"): "not told to update: {why}",
    ("cloud", "ota_sent"): "told to update from {url}",
    ("cloud", "ota_relayed"): "told by the other server to update from {url}",
    ("cloud", "redirected"): "redirected by the other server to {to}",
    ("cloud", "closed"): "closed by the {by}: {why}",
    ("delivery", "request"): "asks for the file: {method}, download {attempt}",
    ("delivery", "ended"): "download ended: {how}, {acked} bytes acknowledged",
    ("air", "status"): "shipment: {status}",
}
"""What is printed of an event; of others nothing is."""


def sentence(source: str, kind: str, board: str | None, data: Mapping[str, Any]) -> str:
    """An event in words; what is not printable is escaped."""
    session = data.get("session")
    who = (board or "unknown device") + (f" (session {session})" if session is not None else "")
    fields = dict(data)
    if "pairs" in data:
        fields["pairs"] = ", ".join(f"{key}={value}" for key, value in data["pairs"].items())
    text = f"{who} {SENTENCES[source, kind].format_map(fields)}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
