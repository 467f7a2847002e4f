"""``blynk-ota cloud``: the local Blynk server on its own, printing what devices say."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from pytest_blynk_ota.cli.lines import Lines
    from pytest_blynk_ota.cloud.server import CloudServer

SCHEMES = ("http://", "https://")
EVERY_DEVICE = ""


@click.command("cloud")
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
@click.option(
    "--ota", "offers", multiple=True, metavar="[NAME=]URL",
    help="Tell the device of this name, or every one, to update from URL: once, when it has logged "
    "in and said what it is. May be repeated.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    host: str, port: int, any_token: bool, tokens: tuple[str, ...], offers: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Run the local Blynk cloud and print what devices say, until Ctrl-C.

    Plain TCP. Without --token and --any-token no device can log in.

    Example:

        blynk-ota cloud --port 8080 --token kitchen=$BLYNK_TOKEN

        blynk-ota cloud --any-token --ota http://127.0.0.1:8000/new.bin
    """
    import asyncio

    from pytest_blynk_ota.cli.lines import Lines
    from pytest_blynk_ota.cloud.server import CloudServer

    named = [_named(text) for text in tokens]
    names = None if any_token else [name for name, _ in named]
    lines = Lines()
    printer = Printer(lines, named, _offers(offers, names), as_json=as_json)
    server = CloudServer(printer.record, host=host, port=port, any_token=any_token)
    for name, token in named:
        server.add_device(name, token)
    if not named and not any_token:
        click.echo("no device can log in: give --token NAME=TOKEN or --any-token", err=True)
    asyncio.run(_serve(server, printer, lines))


def _named(text: str) -> tuple[str, str]:
    name, _, token = text.partition("=")
    if not name or not token:
        raise click.UsageError("--token wants NAME=TOKEN, for example kitchen=$BLYNK_TOKEN")
    return name, token


def _offers(texts: Sequence[str], names: Sequence[str] | None) -> dict[str, str]:
    """URLs by device name. Raises UsageError for a name that no device can have."""
    found = {}
    for text in texts:
        every = text.startswith(SCHEMES)
        name, _, url = (EVERY_DEVICE, "", text) if every else text.partition("=")
        if not url.startswith(SCHEMES):
            raise click.UsageError("--ota wants URL or NAME=URL, with a URL of http or https")
        if name and names is not None and name not in names:
            known = ", ".join(names) or "none"
            raise click.UsageError(f"--ota names {name!r}, which no --token does; known: {known}")
        found[name] = url
    return found


async def _serve(server: CloudServer, printer: Printer, lines: Lines) -> None:
    """Serve until Ctrl-C. Raises UsageError if the address cannot be listened on."""
    from pytest_blynk_ota.cli.lines import end_of
    from pytest_blynk_ota.errors import RigError, UsageError

    end = end_of(lines)
    try:
        await server.start()
    except RigError as error:
        raise UsageError(str(error)) from error
    printer.server = server
    try:
        printer.ready("{}:{}".format(*server.address))
        await end.wait()
    finally:
        await server.stop()


class Printer:
    """Prints events as they come, without the tokens, and sends each device its one offer.

    Args:
        tokens: names and tokens of the devices that are let in.
        offers: the URL for a device by its name; under "" the one for every other.

    Attributes:
        server: what the offers are sent through, once it listens.
    """

    def __init__(
        self, lines: Lines, tokens: Sequence[tuple[str, str]], offers: Mapping[str, str], *,
        as_json: bool,
    ) -> None:  # fmt: skip
        from pytest_blynk_ota.evidence.redact import MIN_SECRET_CHARS, Redactor

        self.server: CloudServer | None = None
        self._lines = lines
        self._as_json = as_json
        self._offers = offers
        self._offering: dict[str, asyncio.Task[None]] = {}
        self._redactor = Redactor()
        for name, token in tokens:
            if len(token) >= MIN_SECRET_CHARS:  # a shorter one is no token: the cloud says so
                self._redactor.learn(token, f"token of {name}")

    def ready(self, tcp: str) -> None:
        """The announcement that scripts rely on."""
        if self._as_json:
            self._lines.print(json.dumps({"event": "ready", "tcp": tcp}))
        else:
            self._lines.print(f"the cloud listens on {tcp}; Ctrl-C ends it")

    def record(
        self, source: str, kind: str, board: str | None = None, /, *, t: float | None = None,
        **data: Any,
    ) -> None:  # fmt: skip
        """One event of the cloud."""
        clean = self._redactor.clean(data)
        if self._as_json:
            head = {"event": kind, "board": board, "wall": round(time.time(), 6)}
            self._lines.print(json.dumps(head | clean))
        else:
            now = time.strftime("%H:%M:%S")
            self._lines.print(f"{now} {_sentence(kind, board, clean)}")
        if kind == "info" and board is not None:
            self._offer(board)

    def _offer(self, board: str) -> None:
        """Tell a device its URL, if it has one and was not told yet."""
        import asyncio

        url = self._offers.get(board, self._offers.get(EVERY_DEVICE))
        if url is not None and board not in self._offering:
            # Not at once: the answer to the info goes first.
            self._offering[board] = asyncio.ensure_future(self._send(board, url))

    async def _send(self, board: str, url: str) -> None:
        from pytest_blynk_ota.errors import UsageError

        assert self.server is not None
        try:
            sent = await self.server.send_ota(board, url, offer=f"o{len(self._offering)}")
        except UsageError as error:
            click.echo(f"blynk-ota: {error}", err=True)
            return
        if sent is None:
            del self._offering[board]  # gone again before it was told: at its next login


SENTENCES: Mapping[str, str] = {
    "connected": "connected from {peer}",
    "login": "logged in",
    "refused": "refused: {why}",
    "info": "says {pairs}",
    "report": "runs {version} built {build}, type {fw_type}",
    "log_event": "event {code}: {text}",
    "heard": "is still there: {what}",
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
