"""``blynk-ota cloud``: the local Blynk server on its own, printing what devices say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_blynk_ota.cli.cloud_lines import Printer
    from pytest_blynk_ota.cli.lines import Lines
    from pytest_blynk_ota.cloud.server import CloudServer
    from pytest_blynk_ota.firmware.image import Image

SCHEMES = ("http://", "https://")
EVERY_DEVICE = ""
FROM_ENVIRONMENT = "env:"
PORT_OPTIONS = {
    # Kind of port, its option, and what boards in the field dial.
    "tcp": (("--tcp", "--port"), "80, 8080"),
    "tls": (("--tls",), "443, 9443"),
    "mqtt": (("--mqtt",), "1883"),
    "mqtts": (("--mqtts",), "8883"),
}
EVERYWHERE = ("0.0.0.0", "::", "")
"""Addresses to listen on that nobody can dial."""
RELAYED = ("tcp", "tls")
"""Kinds of port that a relay can have."""
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _ports(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each kind of port."""
    for kind, (names, dialled) in reversed(PORT_OPTIONS.items()):
        command = click.option(
            *names, kind, type=click.IntRange(0, 65535), multiple=True, metavar="PORT",
            help=f"Listen there for {kind.upper()}; 0: a free port. Boards in the field dial "
            f"{dialled}. May be repeated.",
        )(command)  # fmt: skip
    return command


@click.command("cloud")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@_ports
@click.option("--any-token", is_flag=True, help="Let unknown tokens in, as device-1, device-2, …")
@click.option(
    "--token", "tokens", multiple=True, metavar="NAME=env:VARIABLE",
    help="Let the device in, under this name, whose token is in that environment variable. "
    "NAME=TOKEN works too, and then stands in the list of processes. May be repeated.",
)  # fmt: skip
@click.option(
    "--ota", "offers", multiple=True, metavar="[NAME=]URL",
    help="Tell the device of this name, or every one, to update from URL: once, when it has logged "
    "in and said what it is. May be repeated.",
)  # fmt: skip
@click.option(
    "--ship", "files", multiple=True, metavar="[NAME=]FILE",
    help="Ship the image FILE to the device of this name, or to every one, as Blynk.Air does: at "
    "each login on another build, up to the limit. May be repeated.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(1), default=3, show_default=True,
    help="Downloads of a shipment before it is over.",
)  # fmt: skip
@click.option(
    "--certificate", type=FILE, help="PEM chain that TLS ports show, in place of our CA's."
)
@click.option("--key", type=FILE, help="PEM key of that chain.")
@click.option(
    "--write-ca", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write the CA that devices have to trust there, in PEM.",
)  # fmt: skip
@click.option(
    "--relay",
    metavar="SERVER",
    help="Pass everything on to another Blynk server: HOST:PORT, tls://HOST:PORT, tcp://HOST:PORT.",
)
@click.option("--relay-ca", type=FILE, help="PEM CA of that server, in place of the system's.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    host: str, any_token: bool, tokens: tuple[str, ...], offers: tuple[str, ...],
    files: tuple[str, ...], limit: int, certificate: Path | None, key: Path | None,
    write_ca: Path | None, relay: str | None, relay_ca: Path | None, as_json: bool,
    **ports: tuple[int, ...],
) -> None:  # fmt: skip
    """Run the local Blynk cloud and print what devices say, until Ctrl-C.

    Without a port option it listens at a free port of each kind, with --relay of those for the
    binary protocol, which alone is passed on. Without --token and --any-token no
    device can log in.

    Example:

        blynk-ota cloud --tcp 8080 --token kitchen=env:BLYNK_TOKEN

        blynk-ota cloud --any-token --ship new.bin
    """
    import asyncio

    from pytest_blynk_ota.cli.cloud_lines import Printer
    from pytest_blynk_ota.cli.lines import Lines
    from pytest_blynk_ota.cloud.doors import Door
    from pytest_blynk_ota.cloud.relay import Upstream
    from pytest_blynk_ota.cloud.server import CloudServer
    from pytest_blynk_ota.cloud.tls import Authority

    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key go together; one of them is missing")
    if write_ca is not None and certificate is not None:
        raise click.UsageError("--write-ca is for the CA of our own, which --certificate replaces")
    if relay_ca is not None and relay is None:
        raise click.UsageError("--relay-ca goes with --relay, which is missing")
    if files and host in EVERYWHERE:
        raise click.UsageError(
            f"--ship: no device can fetch a file from {host}: give --host the address of this host "
            "that devices reach (`ip address` lists them)"
        )
    named = [_named(text) for text in tokens]
    names = None if any_token else [name for name, _ in named]
    urls, images = _offers(offers, names), _images(files, names)
    lines = Lines()
    printer = Printer(lines, named, as_json=as_json)
    doors = [Door(kind, port) for kind in PORT_OPTIONS for port in ports[kind]]
    server = CloudServer(
        printer.record,
        host=host,
        any_token=any_token,
        doors=doors or [Door(kind) for kind in (RELAYED if relay else PORT_OPTIONS)],
        authority=Authority.given(certificate, key) if certificate and key else None,
        relay=Upstream.parse(relay, relay_ca) if relay else None,
    )
    if write_ca is not None:
        write_ca.write_text(server.authority.ca_pem)
    for name, token in named:
        server.add_device(name, token)
    if not named and not any_token:
        click.echo("no device can log in: give --token NAME=env:VARIABLE or --any-token", err=True)
    asyncio.run(_serve(server, printer, lines, urls, images, limit))


def _named(text: str) -> tuple[str, str]:
    """A device and its token. Raises UsageError for what names none."""
    name, _, token = text.partition("=")
    if not name or not token:
        raise click.UsageError("--token wants NAME=env:VARIABLE, as kitchen=env:BLYNK_TOKEN")
    if not token.startswith(FROM_ENVIRONMENT):
        return name, token
    variable = token.removeprefix(FROM_ENVIRONMENT)
    if variable not in os.environ:
        raise click.UsageError(f"--token {text}: the environment variable {variable} is not set")
    return name, os.environ[variable]


def _known(option: str, name: str, names: Sequence[str] | None) -> None:
    """Raises UsageError for a name that no device can have."""
    if name and names is not None and name not in names:
        known = ", ".join(names) or "none"
        raise click.UsageError(f"{option} names {name!r}, which no --token does; known: {known}")


def _offers(texts: Sequence[str], names: Sequence[str] | None) -> dict[str, str]:
    """URLs by device name. Raises UsageError for a name that no device can have."""
    found = {}
    for text in texts:
        every = text.startswith(SCHEMES)
        name, _, url = (EVERY_DEVICE, "", text) if every else text.partition("=")
        if not url.startswith(SCHEMES):
            raise click.UsageError("--ota wants URL or NAME=URL, with a URL of http or https")
        _known("--ota", name, names)
        found[name] = url
    return found


def _images(texts: Sequence[str], names: Sequence[str] | None) -> dict[str, Image]:
    """Images by device name. Raises UsageError for a file that is no image."""
    from pytest_blynk_ota.rig.shelf import read_image

    found = {}
    for text in texts:
        name, sign, path = text.partition("=")
        if not sign or Path(text).is_file():
            name, path = EVERY_DEVICE, text
        _known("--ship", name, names)
        found[name] = read_image(Path(path), "--ship")
        if not found[name].version:
            raise click.UsageError(
                f"--ship {path}: it names no version, so nobody could tell when a device runs it"
            )
    return found


async def _serve(
    server: CloudServer,
    printer: Printer,
    lines: Lines,
    urls: Mapping[str, str],
    images: Mapping[str, Image],
    limit: int,
) -> None:
    """Serve until Ctrl-C. Raises UsageError if a port cannot be listened on."""
    from pytest_blynk_ota.air import AirRules
    from pytest_blynk_ota.cli.cloud_ship import Shipments, Urls
    from pytest_blynk_ota.cli.lines import end_of
    from pytest_blynk_ota.delivery.server import DeliveryServer
    from pytest_blynk_ota.errors import RigError, UsageError

    end = end_of(lines)
    try:
        await server.start()
    except RigError as error:
        raise UsageError(str(error)) from error
    delivery: Any = None
    try:
        if urls:
            printer.listeners.append(Urls(server, urls).see)
        if images:
            delivery = DeliveryServer(printer.record, host=server.address[0])
            await delivery.start()
            rules = AirRules(download_limit=limit)
            ships = Shipments(server, delivery, images, rules, printer.record)
            printer.listeners.append(ships.see)
        printer.ready(server.addresses)
        await end.wait()
    finally:
        if delivery is not None:
            await delivery.stop()
        await server.stop()
