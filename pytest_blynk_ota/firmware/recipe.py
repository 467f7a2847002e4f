"""Recipes: fixture images written down as TOML, made into bytes for a chip."""

from __future__ import annotations

import hashlib
import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.behaviour import Behaviour
from pytest_blynk_ota.firmware.chips import Chip, chip
from pytest_blynk_ota.firmware.image import AppDesc, Segment, build_image
from pytest_blynk_ota.firmware.tag import Tag

KEYS = {"kind", "version", "build", "type", "size", "seed", "project", "idf", "behaviour"}
BEHAVIOUR_ROOM = 1024
"""Bytes kept for the behaviour, so that a derived one fits."""
TAG_ROOM = 32
DATA_BYTES = 4096
CODE_BYTES = 32768
LOADER_BYTES = 12288
RODATA_BYTES = 32768
LIBRARY = "1.3.2"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A fixture image, written down.

    Attributes:
        kind: ``app`` or ``bootloader``.
        version, build, type: what the firmware is; they go into tag, descriptor and behaviour.
        size: bytes of the whole file (an app).
        seed: of the noise that it is filled with.
        behaviour: what it does; see :class:`Behaviour`.
    """

    kind: str = "app"
    version: str = "1.0.0"
    build: str = "Nov 23 2026 17:29:49"
    type: str = "TMPLvirtual01"
    size: int = 200_000
    seed: int = 1
    project: str = "blynk-edgent"
    idf: str = "v5.1.4"
    behaviour: Mapping[str, Any] = field(default_factory=dict)


def loads(text: str, name: str) -> Recipe:
    """Read a recipe. Raises FirmwareError naming the file and the key."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FirmwareError(f"recipe {name}: is no TOML: {error}") from error
    unknown = sorted(set(data) - KEYS)
    if unknown:
        raise FirmwareError(
            f"recipe {name}: unknown key {unknown[0]!r}; known are {', '.join(sorted(KEYS))}"
        )
    recipe = Recipe(**data)
    if recipe.kind not in ("app", "bootloader"):
        raise FirmwareError(f"recipe {name}: kind is app or bootloader, got {recipe.kind!r}")
    for key in ("size", "seed"):
        if not isinstance(getattr(recipe, key), int):
            raise FirmwareError(f"recipe {name}: {key} is a whole number")
    _behaviour(recipe, name, None)
    return recipe


def make(
    recipe: Recipe,
    chip_name: str,
    *,
    size: int | None = None,
    log: str | None = None,
    version: str | None = None,
) -> bytes:
    """The image of a recipe for a chip; the same arguments give the same bytes.

    Raises:
        FirmwareError: the chip is unknown, or the size is too small.
    """
    target = chip(chip_name)
    changes = {"size": size, "version": version}
    recipe = replace(recipe, **{key: value for key, value in changes.items() if value is not None})
    behaviour = _behaviour(recipe, "recipe", log)
    if recipe.kind == "bootloader":
        return _bootloader(recipe, target, behaviour)
    return _app(recipe, target, behaviour)


def _behaviour(recipe: Recipe, name: str, log: str | None) -> Behaviour:
    data = {
        "kind": recipe.kind,
        "version": recipe.version,
        "build": recipe.build,
        "fw_type": recipe.type,
        **recipe.behaviour,
    }
    if log is not None:
        data["log"] = log
    return Behaviour.from_data(data, f"{name}: behaviour")


def _noise(recipe: Recipe, target: Chip, part: str, size: int) -> bytes:
    """Seeded noise, never zeros: it does not compress, as real code hardly does."""
    return random.Random(f"{recipe.seed}/{target.name}/{part}").randbytes(size)


def _app(recipe: Recipe, target: Chip, behaviour: Behaviour) -> bytes:
    words = recipe.build.split(" ")
    date, time = " ".join(words[:-1]), words[-1]
    elf = hashlib.sha256(f"{recipe!r}/{target.name}".encode()).digest()
    desc = AppDesc(recipe.version, recipe.project, time, date, recipe.idf, 0, elf).build()
    tag = Tag(
        {
            "mcu": recipe.version,
            "fw-type": recipe.type,
            "build": recipe.build,
            "blynk": LIBRARY,
        }
    ).build_bytes()
    head = desc + tag.ljust(-(-len(tag) // 16) * 16 + TAG_ROOM, b"\0")
    segment = Segment(0, behaviour.to_segment().ljust(BEHAVIOUR_ROOM, b"\0"))
    data = Segment(target.dram_base, _noise(recipe, target, "data", DATA_BYTES))

    def build(rodata: int, code: int) -> bytes:
        constants = Segment(target.drom_base, head + _noise(recipe, target, "rodata", rodata))
        text = Segment(
            target.irom_base + _page(target, len(head) + rodata),
            _noise(recipe, target, "code", code),
        )
        return build_image(target, [constants, segment, data, text], text.address)

    smallest = len(build(RODATA_BYTES, CODE_BYTES))
    if recipe.size < smallest:
        raise FirmwareError(f"recipe: size is {recipe.size}, the least is {smallest}")
    return build(RODATA_BYTES, CODE_BYTES + (recipe.size - smallest) // 16 * 16)


def _page(target: Chip, mapped: int) -> int:
    """Code lives on the 64 KB page behind the constants, as a linker places it."""
    return -(-(mapped + 0x20) // 0x10000) * 0x10000


def _bootloader(recipe: Recipe, target: Chip, behaviour: Behaviour) -> bytes:
    segments = [
        Segment(target.dram_base, _noise(recipe, target, "data", 2048)),
        Segment(0, behaviour.to_segment().ljust(BEHAVIOUR_ROOM, b"\0")),
        Segment(target.iram_base, _noise(recipe, target, "code", LOADER_BYTES)),
    ]
    return build_image(target, segments, target.iram_base)
