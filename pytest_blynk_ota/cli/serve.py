"""``blynk-ota serve``: the fault-injecting firmware server on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from pytest_blynk_ota.cli.lines import FiniteRange, is_everywhere, undialled

if TYPE_CHECKING:
    from pytest_blynk_ota.cli.serve_lines import Printer
    from pytest_blynk_ota.cloud.tls import Authority
    from pytest_blynk_ota.delivery.campaign import Campaign
    from pytest_blynk_ota.delivery.faults import Fault
    from pytest_blynk_ota.delivery.server import DeliveryServer

DAY_S = 86400.0
PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for, apart from the files."""

    faults: Sequence[Fault]
    https: bool
    expires: float
    single_use: bool
    host: str
    port: int
    speed: float


@click.command("serve")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@click.option(
    "--fault", "faults", multiple=True, metavar="TEXT",
    help="What shall go wrong, as 'truncate after=4096 on attempt 1, 2'. May be repeated.",
)  # fmt: skip
@click.option("--https", is_flag=True, help="Serve over TLS, by a CA that is made for this run.")
@click.option("--certificate", type=PEM, help="PEM chain to show, in place of our CA's.")
@click.option("--key", type=PEM, help="PEM key of that chain.")
@click.option(
    "--write-ca", type=click.Path(dir_okay=False, path_type=Path), metavar="PATH",
    help="Write the CA that clients have to trust there, in PEM.",
)  # fmt: skip
@click.option(
    "--expires", default=DAY_S, show_default="a day", metavar="SECONDS",
    type=FiniteRange(min=0, min_open=True),
    help="Device seconds after which a URL is answered with 403.",
)  # fmt: skip
@click.option("--single-use", is_flag=True, help="A URL serves one GET, and then 403.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", default=0, show_default="a free one", type=click.IntRange(0, 65535),
    help="Port to listen at.",
)  # fmt: skip
@click.option(
    "--speed", default=1.0, show_default=True, type=FiniteRange(0.001, 1000),
    help="Device seconds in a second, for the times and rates of faults.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    files: tuple[Path, ...], faults: tuple[str, ...], https: bool, certificate: Path | None,
    key: Path | None, write_ca: Path | None, expires: float, single_use: bool, host: str,
    port: int, speed: float, as_json: bool,
) -> None:  # fmt: skip
    """Serve firmware files, as badly as asked, until Ctrl-C.

    Each file has one URL, and each GET of it is an attempt; a GET with Range belongs to the one
    before.

    Example:

        blynk-ota serve new.bin --fault 'stall after=50% on attempt 1' --fault 'drip after=last 100'

        blynk-ota serve new.bin --fault 'status 503 then reset 50% then none then stall 0'

        blynk-ota serve new.bin --https --write-ca ca.pem --fault 'tls expired on first 2'

    All faults stand in docs/reference/faults.md.
    """
    from pytest_blynk_ota.cli.serve_lines import printer
    from pytest_blynk_ota.delivery.faults import parse_all

    if not host:
        raise click.UsageError("--host wants an address to listen at, got ''")
    if is_everywhere(host):
        raise click.UsageError(f"--host: {undialled(host)}")
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key go together; one of them is missing")
    secure = https or certificate is not None
    if write_ca is not None and (certificate is not None or not secure):
        raise click.UsageError("--write-ca is for the CA that --https makes; give --https alone")
    if write_ca is not None and write_ca.resolve() in {file.resolve() for file in files}:
        raise click.UsageError(
            f"--write-ca {write_ca} would overwrite the file to serve; name another, as ca.pem"
        )
    listed = [fault for text in faults for fault in parse_all(text)]
    _check_that_serve_sees(listed)
    if single_use:
        _check_that_one_get_sees(listed)
    read = [(file, _read(file)) for file in files]
    asked = Asked(listed, secure, expires, single_use, host, port, speed)
    authority = _authority(certificate, key) if secure else None
    if write_ca is not None and authority is not None:
        _write(write_ca, authority.ca_pem)
    asyncio.run(_serve(read, asked, authority, printer(as_json)))


def _check_that_serve_sees(faults: Sequence[Fault]) -> None:
    """Raises FaultError for a fault that waits for what this command never learns."""
    from pytest_blynk_ota.errors import FaultError

    for fault in faults:
        when = fault.when
        for clause, asked in (("on board", when.boards), ("from", when.since)):
            if asked is not None and not when.may:
                raise FaultError(
                    f"{fault} could never fire: serve knows of no boards and their events; "
                    f"{clause!r} is for the faults of a test"
                )


def _check_that_one_get_sees(faults: Sequence[Fault]) -> None:
    """Raises FaultError for a fault of later downloads than the one that a single-use URL has.
    Connections that fail before a request are downloads too, and use nothing up."""
    from pytest_blynk_ota.delivery.campaign import acts_before
    from pytest_blynk_ota.errors import FaultError

    if any(acts_before(fault) for fault in faults):
        return
    for fault in faults:
        if not fault.when.might(1, None) and not fault.when.may:
            raise FaultError(
                f"{fault} could never fire: with --single-use a URL serves attempt 1 and no other"
            )


def _read(file: Path) -> bytes:
    from pytest_blynk_ota.delivery import files
    from pytest_blynk_ota.errors import FirmwareError

    try:
        data = files.read(file)
    except files.Unfit as why:
        raise FirmwareError(f"{file} {why}; name a firmware file") from None
    if not data:
        raise FirmwareError(f"{file} is empty; name a firmware file")
    return data


def _authority(certificate: Path | None, key: Path | None) -> Authority:
    from pytest_blynk_ota.cloud.tls import Authority

    return Authority.given(certificate, key) if certificate and key else Authority()


def _write(path: Path, pem: str) -> None:
    try:
        path.write_text(pem, encoding="ascii")
    except OSError as error:
        raise click.UsageError(f"--write-ca: {path} cannot be written: {error.strerror}") from error


async def _serve(
    files: Sequence[tuple[Path, bytes]],
    asked: Asked,
    authority: Authority | None,
    printer: Printer,
) -> None:
    """Listen, announce, and wait for Ctrl-C."""
    from pytest_blynk_ota.cli.lines import end_of
    from pytest_blynk_ota.delivery.server import DeliveryServer
    from pytest_blynk_ota.errors import RigError, UsageError

    def record(
        source: str, kind: str, board: str | None = None, /, *, t: float | None = None, **facts: Any
    ) -> None:
        printer.say(kind, facts)

    end = end_of(printer.lines)
    server = DeliveryServer(
        record,
        host=asked.host,
        port=0 if asked.https else asked.port,
        tls_port=asked.port if asked.https else 0,
        speed=asked.speed,
        authority=authority,
    )
    try:
        campaigns = [_campaign(server, file, data, asked) for file, data in files]
        await server.start()
    except RigError as error:
        raise UsageError(str(error)) from error
    try:
        printer.say("ready", _announced(files, campaigns))
        with printer:
            await end.wait()
    finally:
        await server.stop()
    for unfired in _unfired(files, campaigns):
        printer.say("unfired", unfired)


def _unfired(
    files: Sequence[tuple[Path, bytes]], campaigns: Sequence[Campaign]
) -> Iterator[dict[str, Any]]:
    """The faults that never fired, of each file; that one may not is said too."""
    for (file, _), made in zip(files, campaigns, strict=True):
        for index, fault in enumerate(made.faults):
            if not made.fired.get(index):
                may = fault.when.may
                yield {"path": str(file), "index": index, "fault": str(fault), "maybe": may}


def _campaign(server: DeliveryServer, file: Path, data: bytes, asked: Asked) -> Campaign:
    return server.campaign(
        None,
        data,
        name=file.name,
        faults=asked.faults,
        every_get=True,
        https=asked.https,
        lifetime_s=asked.expires,
        single_use=asked.single_use,
    )


def _announced(
    files: Sequence[tuple[Path, bytes]], campaigns: Sequence[Campaign]
) -> dict[str, Any]:
    """The first line: of several files the first one stands at the top, all in ``files``."""
    rows = [
        {"url": made.offer(f"o{number}"), "path": str(file), "sha256": made.offered.sha256}
        for number, ((file, _), made) in enumerate(zip(files, campaigns, strict=True), 1)
    ]
    return {**rows[0], **({"files": rows} if len(rows) > 1 else {})}
