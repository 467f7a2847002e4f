"""``blynk-ota flash``: what a dump of a board's flash would do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.explain import Boot, Explanation
    from pytest_blynk_ota.firmware.explain_settings import Asked

USAGE = 2
NEXT_PAGE = "\n\n"


@click.group("flash")
def command() -> None:
    """Read what stands in a board's flash.

    Example: blynk-ota flash explain dump.bin
    """


@command.command("explain")
@click.argument("dumps", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--chip", metavar="CHIP", help="Instead of the one that the dump says: esp32c3, …")
@click.option(
    "--rollback",
    type=click.Choice(["on", "off"]),
    help="Whether the bootloader was built with it. Default: what its bytes say, else off.",
)
@click.option("--revision", metavar="REV", help="Of the chip, as v0.4. Default: any that exists.")
@click.option(
    "--secure-version",
    type=click.IntRange(0),
    metavar="N",
    help="In the eFuses, for a bootloader with anti-rollback.",
)
@click.option("--flash-size", metavar="SIZE", help="As 4MB. Default: the bootloader header's.")
@click.option(
    "--table-offset", metavar="ADDRESS", help="Of the partition table. Default: 0x8000."
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each dump.")
def explain(dumps: tuple[Path, ...], as_json: bool, **given: Any) -> None:
    """Say which application the bootloader would start from each DUMP, and why.

    A DUMP is a whole flash, read from address 0 on. Said are its partition table, otadata, each
    application image held against the bootloader's checks, which one starts, what is written,
    and what the next boot would do if the application does not confirm itself.

    Exit code 0: all dumps are explained, also those that start nothing; 2: one could not be.

    Example: esptool read-flash 0 ALL dump.bin && blynk-ota flash explain dump.bin
    """
    from pytest_blynk_ota.errors import FirmwareError

    asked = _asked(**given)
    failed, between = False, ""
    for path in dumps:
        try:
            explained = _explained(path, asked)
        except FirmwareError as error:
            failed = True
            click.echo(f"blynk-ota: {error}", err=True)
            if as_json:
                click.echo(json.dumps(_nothing(path, str(error))))
            continue
        if as_json:
            click.echo(json.dumps({"dump": str(path), **facts(explained)}))
        else:
            from pytest_blynk_ota.cli.flash_page import page

            click.echo(between + page(str(path), explained))
            between = NEXT_PAGE
    if failed:
        sys.exit(USAGE)


def _explained(path: Path, asked: Asked) -> Explanation:
    """Raises FirmwareError, which names the file."""
    from pytest_blynk_ota.errors import FirmwareError
    from pytest_blynk_ota.firmware.explain import explain as explain_dump

    try:
        return explain_dump(path.read_bytes(), asked)
    except OSError as error:
        raise FirmwareError(f"{path}: cannot be read: {error.strerror}") from error
    except FirmwareError as error:
        raise FirmwareError(f"{path}: {error}") from error


def _asked(
    chip: str | None,
    rollback: str | None,
    revision: str | None,
    secure_version: int | None,
    flash_size: str | None,
    table_offset: str | None,
) -> Asked:
    """Raises FirmwareError or UsageError for a value that is none."""
    from pytest_blynk_ota.firmware import chips
    from pytest_blynk_ota.firmware.explain_settings import Asked
    from pytest_blynk_ota.firmware.partitions import TABLE_OFFSET

    return Asked(
        chip=chips.chip(chip) if chip else None,
        rollback=None if rollback is None else rollback == "on",
        revision=_revision(revision) if revision else None,
        secure_version=secure_version,
        flash_size=_size(flash_size) if flash_size else None,
        table_offset=_address(table_offset) if table_offset else TABLE_OFFSET,
    )


def _revision(text: str) -> int:
    """``v0.4`` as 4, ``3.1`` as 301."""
    from pytest_blynk_ota.errors import UsageError

    major, dot, minor = text.removeprefix("v").partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal() and len(minor) <= 2):
        raise UsageError(f'--revision: expected a chip revision as "v0.4", not {text!r}')
    return int(major) * 100 + int(minor)


def _size(text: str) -> int:
    from pytest_blynk_ota.errors import UsageError
    from pytest_blynk_ota.firmware.dump import FLASH_SIZES

    sizes = {f"{size >> 20}MB": size for size in FLASH_SIZES.values()}
    if text.upper() not in sizes:
        raise UsageError(f"--flash-size: expected one of {', '.join(sizes)}, not {text!r}")
    return sizes[text.upper()]


def _address(text: str) -> int:
    from pytest_blynk_ota.errors import UsageError

    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if value < 0 or value % 0x1000:
        raise UsageError(
            f"--table-offset: expected the address of a 4 KB sector as 0x8000, not {text!r}"
        )
    return value


def _nothing(path: Path, error: str) -> dict[str, Any]:
    """The line of a dump that could not be read."""
    return {
        "dump": str(path),
        "error": error,
        "loaded_offset": None,
        "otadata_after": [None, None],
    }


def facts(explained: Explanation) -> dict[str, Any]:
    """What is said of a dump, as JSON values."""
    from pytest_blynk_ota.firmware.explain_reasons import state_text

    entries = explained.first.entries
    table = explained.table
    return {
        "error": None,
        **_boot(explained.first, explained),
        "second_boot": _boot(explained.second, explained),
        "chip": explained.chip.value,
        "rollback": explained.rollback.value,
        "rollback_known": explained.rollback.known,
        "rollback_from": explained.rollback.said_by,
        "other_rollback": [_boot(boot, explained) for boot in explained.other or ()] or None,
        "flash_size": explained.flash_size.value,
        "secure_version": explained.secure_version and explained.secure_version.value,
        "idf": explained.idf,
        "table_problem": explained.table_problem,
        "partitions": [
            {
                "label": row.label,
                "type": row.type,
                "subtype": row.subtype,
                "offset": row.offset,
                "size": row.size,
            }
            for row in (table.rows if table else ())
        ],
        "otadata": [
            {
                "seq": entry.seq,
                "state": state_text(entry),
                "crc_ok": entry.crc_ok,
                "usable": entry.is_valid,
            }
            for entry in entries or ()
        ],
        "apps": [
            {
                "label": app.partition.label,
                "offset": app.partition.offset,
                "bootable": app.problem is None,
                "problem": app.problem and app.problem.what,
                "line": app.problem and str(app.problem),
                "project": app.desc and app.desc.project,
                "version": app.tag.version if app.tag else app.desc and app.desc.version,
                "build": app.tag.build if app.tag else None,
                "length": app.length,
            }
            for app in explained.apps
        ],
        "notes": list(explained.notes),
    }


def _boot(boot: Boot, explained: Explanation) -> dict[str, Any]:
    from pytest_blynk_ota.firmware.explain_reasons import reasons

    after = boot.after or (None, None)
    return {
        "loaded_offset": boot.loaded.offset if boot.loaded else None,
        "loaded": boot.loaded.label if boot.loaded else None,
        "otadata_after": [raw and raw.hex() for raw in after],
        "reasons": [
            {"rule": reason.rule, "text": reason.text}
            for reason in reasons(boot, explained.table_problem)
        ],
    }
