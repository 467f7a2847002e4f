"""``blynk-ota cloud``: the local Blynk server on its own, printing what devices say."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_blynk_ota.cloud.server import CloudServer


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default="a free one",
    help="Port to listen on.",
)  # fmt: skip
@click.option("--any-token", is_flag=True, help="Let unknown tokens in, as device-1, device-2, …")
@click.option(
    "--token", "tokens", multiple=True, metavar="NAME=TOKEN",
    help="Let the device with this token in, under this name. May be repeated.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(host: str, port: int, any_token: bool, tokens: tuple[str, ...], as_json: bool) -> None:
    """Run the local Blynk cloud and print what devices say, until Ctrl-C.

    Plain TCP. Without --token and --any-token no device can log in.

    Example: blynk-ota cloud --port 8080 --token kitchen=$BLYNK_TOKEN
    """
    import asyncio

    from pytest_blynk_ota.cloud.server import CloudServer

    named = [_named(text) for text in tokens]
    printer = Printer(named, as_json=as_json)
    server = CloudServer(printer.record, host=host, port=port, any_token=any_token)
    for name, token in named:
        server.add_device(name, token)
    if not named and not any_token:
        click.echo("no device can log in: give --token NAME=TOKEN or --any-token", err=True)
    asyncio.run(_serve(server, printer))


def _named(text: str) -> tuple[str, str]:
    name, _, token = text.partition("=")
    if not name or not token:
        raise click.UsageError("--token wants NAME=TOKEN, for example kitchen=$BLYNK_TOKEN")
    return name, token


async def _serve(server: CloudServer, printer: Printer) -> None:
    """Serve until SIGINT or SIGTERM, or until nobody reads what is printed."""
    import asyncio
    import signal

    stop = asyncio.Event()
    printer.unread = stop.set
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start()
    try:
        printer.ready("{}:{}".format(*server.address))
        await stop.wait()
    finally:
        await server.stop()


class Printer:
    """Prints events as they come, without the tokens.

    Args:
        tokens: names and tokens of the devices that are let in.
    """

    def __init__(self, tokens: list[tuple[str, str]], *, as_json: bool) -> None:
        from pytest_blynk_ota.evidence.redact import MIN_SECRET_CHARS, Redactor

        self._as_json = as_json
        self._redactor = Redactor()
        for name, token in tokens:
            if len(token) >= MIN_SECRET_CHARS:  # a shorter one is no token: the cloud says so
                self._redactor.learn(token, f"token of {name}")
        self.unread: Callable[[], object] = lambda: None
        """Called when the other end of the output is gone."""

    def ready(self, tcp: str) -> None:
        """The announcement that scripts rely on."""
        if self._as_json:
            self._print(json.dumps({"event": "ready", "tcp": tcp}))
        else:
            self._print(f"the cloud listens on {tcp}; Ctrl-C ends it")

    def record(
        self, source: str, kind: str, board: str | None = None, /, *, t: float | None = None,
        **data: Any,
    ) -> None:  # fmt: skip
        """One event of the cloud."""
        clean = self._redactor.clean(data)
        if self._as_json:
            head = {"event": kind, "board": board, "wall": round(time.time(), 6)}
            self._print(json.dumps(head | clean))
        else:
            self._print(f"{time.strftime('%H:%M:%S')} {_sentence(kind, board, clean)}")

    def _print(self, line: str) -> None:
        try:
            click.echo(line)
        except BrokenPipeError:
            # What is still buffered must not fail again at exit (Python docs, SIGPIPE).
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.unread()


SENTENCES: Mapping[str, str] = {
    "connected": "connected from {peer}",
    "login": "logged in",
    "refused": "refused: {why}",
    "info": "says {pairs}",
    "report": "runs {version} built {build}, type {fw_type}",
    "log_event": "event {code}: {text}",
    "ota_sent": "told to update from {url}",
    "closed": "closed by the {by}: {why}",
}


def _sentence(kind: str, board: str | None, data: Mapping[str, Any]) -> str:
    who = f"{board or 'unknown device'} (session {data['session']})"
    fields = dict(data)
    if kind == "info":
        fields["pairs"] = ", ".join(f"{key}={value}" for key, value in data["pairs"].items())
    text = f"{who} {SENTENCES.get(kind, kind).format_map(fields)}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
