"""``blynk-ota serve``: the fault-injecting firmware server on its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from pytest_blynk_ota.cli.lines import Lines
    from pytest_blynk_ota.delivery.faults import Fault

EXAMPLE = """
Each GET is an attempt; a GET with Range belongs to the one before. Ctrl-C ends it.

Example:

    blynk-ota serve new.bin --fault 'stall after=50% on attempt 1' --fault 'drip after=last 100'

Faults: stall, drip, bandwidth, truncate, reset, corrupt, status.
"""


@click.command("serve", help=f"Serve FILE over HTTP, as badly as asked.\n{EXAMPLE}")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="TEXT",
    help="What shall go wrong, as 'truncate after=4096 on attempt 1, 2'; repeatable.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    default=0,
    show_default="a free one",
    type=click.IntRange(0, 65535),
    help="Port to listen at.",
)
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.001, 1000),
    help="Device seconds in a second, for the times and rates of faults.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    file: Path, faults: tuple[str, ...], host: str, port: int, speed: float, as_json: bool
) -> None:
    """Read the file, then serve it until interrupted."""
    from pytest_blynk_ota.delivery.faults import parse
    from pytest_blynk_ota.errors import FirmwareError

    if not host:
        raise click.UsageError("--host wants an address to listen at, got ''")
    wanted = [parse(text) for text in faults]
    try:
        data = file.read_bytes()
    except OSError as error:
        raise FirmwareError(
            f"{file}: cannot be read: {error.strerror}; name a firmware file"
        ) from error
    asyncio.run(_serve(file, data, wanted, host, port, speed, as_json))


async def _serve(
    file: Path,
    data: bytes,
    faults: Sequence[Fault],
    host: str,
    port: int,
    speed: float,
    as_json: bool,
) -> None:
    """Listen, announce, and wait for Ctrl-C."""
    from pytest_blynk_ota.cli.lines import Lines, end_of
    from pytest_blynk_ota.delivery.server import DeliveryServer
    from pytest_blynk_ota.errors import RigError, UsageError

    lines = Lines()
    say = _json_line if as_json else _text_line

    def record(
        source: str, kind: str, board: str | None = None, /, *, t: float | None = None, **facts: Any
    ) -> None:
        say(lines, kind, facts)

    end = end_of(lines)
    server = DeliveryServer(record, host=host, port=port, speed=speed)
    campaign = server.campaign(None, data, name=file.name, faults=faults, every_get=True)
    try:
        await server.start()
    except RigError as error:
        raise UsageError(str(error)) from error
    try:
        say(
            lines,
            "ready",
            {"url": campaign.offer("o1"), "path": str(file), "sha256": campaign.offered.sha256},
        )
        await end.wait()
    finally:
        await server.stop()


def _json_line(lines: Lines, kind: str, facts: dict[str, Any]) -> None:
    lines.print(json.dumps({"event": kind, **facts}))


TEXTS = {
    "ready": "{path} (SHA-256 {sha256}) at\n{url}\nCtrl-C ends it.",
    "connection": "#{conn} connected from {peer}",
    "request": "#{conn} attempt {attempt}: {method} {path} {range}",
    "response": "#{conn} attempt {attempt}: {status}, {announced} bytes announced",
    "progress": "#{conn} attempt {attempt}: {acked} bytes acknowledged, {written} written",
    "fault": "#{conn} attempt {attempt}: {fault}: {phase} at byte {at}",
    "ended": "#{conn} attempt {attempt}: ended by {by}, {how}: {acked} of {announced} bytes "
    "acknowledged",
}
"""What a person reads; the keys are the kinds of the delivery's events."""


def _text_line(lines: Lines, kind: str, facts: dict[str, Any]) -> None:
    shown = {name: "" if value is None else value for name, value in facts.items()}
    lines.print(TEXTS[kind].format_map(shown).rstrip())
