"""``blynk-ota image``: read firmware images, make them from recipes, break them on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import Image

FILE = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
OUT = click.option("-o", "--output", type=FILE, required=True, help="File to write.")


@click.group("image")
def command() -> None:
    """Read, make and patch firmware images.

    Example: blynk-ota image info firmware.bin
    """


@command.command("info")
@click.argument("file", type=FILE)
@JSON
def info(file: Path, as_json: bool) -> None:
    """Say what FILE is: chip, version, tag, segments, hashes, and what is wrong with it.

    Example: blynk-ota image info firmware.bin
    """
    from pytest_blynk_ota.firmware.image import parse

    _show(parse(_read(file), str(file)), as_json)


@command.command("make")
@click.argument("recipe")
@click.option("--chip", required=True, metavar="CHIP", help="esp32, esp32c3 or esp32s3.")
@click.option("--version", metavar="VERSION", help="Instead of the recipe's.")
@click.option("--size", type=click.IntRange(1), metavar="BYTES", help="Instead of the recipe's.")
@click.option("--log", type=click.Choice(["quiet", "info"]), help="Instead of the recipe's.")
@click.option("--profile", metavar="NAME", help="Whose ways it has, if the recipe does not say.")
@OUT
@JSON
def make(
    recipe: str,
    chip: str,
    version: str | None,
    size: int | None,
    log: str | None,
    profile: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Make the image of RECIPE, a TOML file or the name of a shipped recipe.

    Example: blynk-ota image make new --chip esp32c3 -o new.bin
    """
    from pytest_blynk_ota.firmware import recipe as recipes

    path = _find_recipe(recipe)
    text = _read(path).decode("utf-8", "replace")
    data = recipes.make(
        recipes.loads(text, path.name), chip, size=size, log=log, version=version, profile=profile
    )
    _write(output, data, as_json)


@command.command("patch")
@click.argument("file", type=FILE)
@click.option("--version", metavar="VERSION", help="Stamp another version into it.")
@click.option("--wrong-chip", is_flag=True, help="Another chip in its header.")
@click.option("--bad-hash", is_flag=True, help="A wrong SHA-256 at its end.")
@click.option("--bad-checksum", is_flag=True, help="A wrong checksum under a right SHA-256.")
@click.option("--cut", type=int, metavar="BYTES", help="Only its first BYTES.")
@click.option("--pad", type=int, metavar="BYTES", help="In a file of BYTES: ones behind it.")
@click.option("--type", "fw_type", metavar="TEMPLATE", help="For another template, as long.")
@click.option("--revision", type=int, metavar="N", help="For chips from revision N on, as 300.")
@click.option("--flash-size", metavar="SIZE", help="For a flash of another size, as 2MB.")
@click.option("--no-description", is_flag=True, help="No application description.")
@click.option("--wrong-segment", is_flag=True, help="A segment that ends behind the file.")
@click.option("--too-many-segments", is_flag=True, help="One segment more than there may be.")
@click.option("--crash-at-start", is_flag=True, help="An illegal instruction at its entry.")
@OUT
@JSON
def patch(file: Path, output: Path, as_json: bool, **wanted: Any) -> None:
    """Derive one image from FILE: renumbered, or broken in one known way.

    Example: blynk-ota image patch firmware.bin --version 1.2.1 -o next.bin
    """
    from pytest_blynk_ota.errors import FirmwareError, UsageError

    asked = [name for name, value in wanted.items() if value not in (None, False)]
    if len(asked) != 1:
        words = {"fw_type": "type"}
        options = ", ".join(f"--{words.get(one, one).replace('_', '-')}" for one in wanted)
        raise UsageError(f"expected exactly one of {options}; got {len(asked)}")
    try:
        made = _ways()[asked[0]](_read(file), wanted[asked[0]])
    except FirmwareError as error:
        raise FirmwareError(f"{file}: {error}") from error
    _write(output, made, as_json)


def _ways() -> dict[str, Callable[[bytes, Any], bytes]]:
    """How each option makes its image."""
    from pytest_blynk_ota.firmware import derive

    return {
        "version": derive.restamped,
        "wrong_chip": lambda data, _: derive.wrong_chip(data),
        "bad_hash": lambda data, _: derive.bad_hash(data),
        "bad_checksum": lambda data, _: derive.bad_checksum(data),
        "cut": derive.cut,
        "pad": derive.padded,
        "fw_type": derive.retyped,
        "revision": derive.for_revision,
        "flash_size": derive.for_flash,
        "no_description": lambda data, _: derive.without_description(data),
        "wrong_segment": lambda data, _: derive.wrong_segment(data),
        "too_many_segments": lambda data, _: derive.too_many_segments(data),
        "crash_at_start": lambda data, _: derive.crash_at_start(data),
    }


def _find_recipe(name: str) -> Path:
    from pytest_blynk_ota.errors import FirmwareError
    from pytest_blynk_ota.firmware.words import did_you_mean
    from pytest_blynk_ota.rig.shipped import folder

    if name.endswith(".toml") or "/" in name:
        return Path(name)
    shipped = {path.stem: path for path in folder("firmware_fixtures").glob("*.toml")}
    if name not in shipped:
        known = ", ".join(sorted(shipped))
        near = did_you_mean(name, shipped)
        raise FirmwareError(f"no firmware recipe {name!r}; known are {known}{near}")
    return shipped[name]


def _read(path: Path) -> bytes:
    from pytest_blynk_ota.errors import FirmwareError

    try:
        return path.read_bytes()
    except OSError as error:
        raise FirmwareError(f"{path}: cannot be read: {error.strerror}") from error


def _write(path: Path, data: bytes, as_json: bool) -> None:
    from pytest_blynk_ota.errors import UsageError
    from pytest_blynk_ota.firmware.image import parse

    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    _show(parse(data, str(path)), as_json)


def facts(image: Image) -> dict[str, Any]:
    """What is said of an image, as JSON values."""
    desc = image.app_desc
    return {
        "chip": image.chip,
        "version": image.version,
        "build": image.build,
        "fw_type": image.fw_type,
        "project": desc.project if desc else None,
        "app_version": desc.version if desc else None,
        "idf": desc.idf if desc else None,
        "elf_sha256": image.elf_sha256,
        "size": len(image.data),
        "sha256": image.sha256,
        "md5": image.md5,
        "entry": f"0x{image.entry:08x}",
        "segments": [
            {"address": f"0x{part.address:08x}", "offset": part.offset, "size": len(part.data)}
            for part in image.segments
        ],
        "tag": dict(image.tag.pairs) if image.tag else None,
        "behaviour": image.behaviour.to_data() if image.behaviour else None,
        "checksum_ok": image.checksum_ok,
        "hash_ok": image.hash_ok,
        "hash_appended": image.hash_appended,
        "signed": image.signed,
        "problems": list(image.problems),
    }


def _show(image: Image, as_json: bool) -> None:
    import json

    known = facts(image)
    if as_json:
        click.echo(json.dumps(known))
        return
    tag, behaviour, segments = (known.pop(key) for key in ("tag", "behaviour", "segments"))
    for key, value in known.items():
        click.echo(f"{key:14} {_shown(value)}")
    for number, part in enumerate(segments):
        where = f"{part['address']} at {part['offset']}"
        click.echo(f"segment {number:<6} {where}, {part['size']} bytes")
    for name, pairs in (("tag", tag), ("behaviour", behaviour)):
        for key, value in (pairs or {}).items():
            click.echo(f"{name:14} {key} = {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(value) or "none"
    return "-" if value is None else str(value)
