"""``blynk-ota cloud``: the local Blynk server on its own, printing what devices say."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import rich_click as click

from pytest_blynk_ota.cli.lines import is_everywhere, undialled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_blynk_ota.cli.cloud_lines import Printer
    from pytest_blynk_ota.cli.lines import Lines
    from pytest_blynk_ota.cloud.doors import Door
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
RELAYED = ("tcp", "tls")
"""Kinds of port that a relay can have."""
MADE_UP = re.compile(r"device-\d+")
"""What --any-token calls a device."""
DOWNLOAD_LIMIT = 3
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
    "--limit", type=click.IntRange(1),
    help=f"Downloads of a shipment before it is over; {DOWNLOAD_LIMIT} if nothing is said.",
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
    files: tuple[str, ...], limit: int | None, certificate: Path | None, key: Path | None,
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
    from pytest_blynk_ota.cloud.doors import KINDS, Door
    from pytest_blynk_ota.cloud.relay import Upstream
    from pytest_blynk_ota.cloud.server import CloudServer
    from pytest_blynk_ota.cloud.tls import Authority

    doors = [Door(kind, port) for kind in PORT_OPTIONS for port in ports[kind]]
    doors = doors or [Door(kind) for kind in (RELAYED if relay else PORT_OPTIONS)]
    _fit_together(
        (
            (certificate is None) != (key is None),
            "--certificate and --key go together; one of them is missing",
        ),
        (
            write_ca is not None and certificate is not None,
            "--write-ca is for the CA of our own, which --certificate replaces",
        ),
        (
            bool(certificate or write_ca) and not any(KINDS[door.kind].tls for door in doors),
            "--certificate, --key and --write-ca are for TLS ports, and none is open: add --tls or "
            "--mqtts",
        ),
        (
            write_ca is not None and _is_shipped(write_ca, files),
            f"--write-ca {write_ca} would overwrite the file to ship; name another, as ca.pem",
        ),
        (relay_ca is not None and relay is None, "--relay-ca goes with --relay, which is missing"),
        (limit is not None and not files, "--limit goes with --ship, which is missing"),
        (not host, "--host wants an address to listen on, got ''"),
        (
            bool(files) and is_everywhere(host),
            f"--ship: {undialled(host)}",
        ),
    )
    _ports_differ(doors)
    named = [_named(text) for text in tokens]
    _tokens_differ(named)
    names = [name for name, _ in named]
    urls, images = _offers(offers, names, any_token), _images(files, names, any_token)
    if both := _told_twice(urls, images):
        raise click.UsageError(f"--ota and --ship would both update {both}; give it one of them")
    lines = Lines()
    printer = Printer(lines, named, as_json=as_json)
    server = CloudServer(
        printer.record,
        host=host,
        any_token=any_token,
        doors=doors,
        authority=Authority.given(certificate, key) if certificate and key else None,
        relay=Upstream.parse(relay, relay_ca) if relay else None,
    )
    for name, token in named:
        server.add_device(name, token)
    if not named and not any_token:
        click.echo("no device can log in: give --token NAME=env:VARIABLE or --any-token", err=True)
    asyncio.run(_serve(server, printer, lines, urls, images, limit or DOWNLOAD_LIMIT, write_ca))


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


def _fit_together(*wrong: tuple[bool, str]) -> None:
    """Raises UsageError with the sentence of the first combination that is there."""
    for is_there, sentence in wrong:
        if is_there:
            raise click.UsageError(sentence)


def _ports_differ(doors: Sequence[Door]) -> None:
    """Raises UsageError for a port that is given twice."""
    kinds: dict[int, str] = {}
    for door in doors:
        if door.port and door.port in kinds:
            raise click.UsageError(
                f"--{kinds[door.port]} and --{door.kind}: port {door.port} is given twice"
            )
        kinds[door.port] = door.kind


def _tokens_differ(named: Sequence[tuple[str, str]]) -> None:
    """Raises UsageError for two devices of one name, or with one token."""
    holders: dict[str, str] = {}
    for name, token in named:
        if name in holders.values():
            raise click.UsageError(f"--token names {name!r} twice")
        if token in holders:
            raise click.UsageError(f"--token: {holders[token]} and {name} have the same token")
        holders[token] = name


def _addressee(option: str, name: str, names: Sequence[str], any_token: bool) -> None:
    """Raises UsageError for a name that no device can have."""
    if not name or name in names or (any_token and MADE_UP.fullmatch(name)):
        return
    known = ", ".join([*names, "device-1, device-2, …"] if any_token else names) or "none"
    raise click.UsageError(f"{option} names {name!r}, which no --token does; known: {known}")


def _add(found: dict[str, Any], option: str, name: str, what: Any) -> None:
    """Raises UsageError where the device has something already."""
    if name in found:
        raise click.UsageError(f"{option} is given twice for {_devices(name)}")
    found[name] = what


def _devices(name: str) -> str:
    return name or "every device"


def _told_twice(urls: Mapping[str, str], images: Mapping[str, Image]) -> str | None:
    """Who would be told to update by both."""
    both = [name for name in (*urls, *images) if name in urls and name in images]
    if both or not (urls and images):
        return _devices(both[0]) if both else None
    named = [name for name in (*urls, *images) if name]
    every = EVERY_DEVICE in urls or EVERY_DEVICE in images
    return named[0] if every else None


def _offers(texts: Sequence[str], names: Sequence[str], any_token: bool) -> dict[str, str]:
    """URLs by device name. Raises UsageError for a name that no device can have."""
    found: dict[str, str] = {}
    for text in texts:
        every = text.startswith(SCHEMES)
        name, _, url = (EVERY_DEVICE, "", text) if every else text.partition("=")
        if not _is_url(url) or not (every or name):
            raise click.UsageError(
                f"--ota wants URL or NAME=URL, with a URL of http or https; got {text!r}"
            )
        _addressee("--ota", name, names, any_token)
        _add(found, "--ota", name, url)
    return found


def _is_url(text: str) -> bool:
    try:
        return text.startswith(SCHEMES) and bool(urlsplit(text).hostname)
    except ValueError:
        return False


def _is_shipped(path: Path, texts: Sequence[str]) -> bool:
    files = [Path(part) for text in texts for part in (text, text.partition("=")[2]) if part]
    return path.resolve() in {file.resolve() for file in files}


def _images(texts: Sequence[str], names: Sequence[str], any_token: bool) -> dict[str, Image]:
    """Images by device name. Raises UsageError for a file that is no image."""
    from pytest_blynk_ota.rig.shelf import read_image

    found: dict[str, Image] = {}
    for text in texts:
        name, sign, path = text.partition("=")
        if not sign or Path(text).is_file():
            name, path = EVERY_DEVICE, text
        elif not (name and path):
            raise click.UsageError(f"--ship wants FILE or NAME=FILE, got {text!r}")
        _addressee("--ship", name, names, any_token)
        image = read_image(Path(path), "--ship")
        if not image.version:
            raise click.UsageError(
                f"--ship {path}: it names no version, so nobody could tell when a device runs it"
            )
        _add(found, "--ship", name, image)
    return found


async def _serve(
    server: CloudServer,
    printer: Printer,
    lines: Lines,
    urls: Mapping[str, str],
    images: Mapping[str, Image],
    limit: int,
    write_ca: Path | None,
) -> None:
    """Serve until Ctrl-C. Raises UsageError if a port cannot be listened on, or no CA written."""
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
        if write_ca is not None:
            _write(write_ca, server.authority.ca_pem)
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


def _write(path: Path, text: str) -> None:
    """Raises UsageError for a file that cannot be written."""
    try:
        path.write_text(text)
    except OSError as error:
        raise click.UsageError(f"--write-ca {path}: {error.strerror}") from error
