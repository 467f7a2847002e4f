"""Recipes: fixture images written down as TOML, made into bytes for a chip.

Every key: docs/reference/firmware-recipes.md.
"""

from __future__ import annotations

import hashlib
import json
import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import loaderinfo
from pytest_blynk_ota.firmware.behaviour import Behaviour
from pytest_blynk_ota.firmware.chips import MAPPED_PAGE_BYTES, Chip, chip
from pytest_blynk_ota.firmware.compiled import BLOCK
from pytest_blynk_ota.firmware.image import (
    CHECKSUM_BLOCK_BYTES,
    SEGMENT,
    AppDesc,
    Segment,
    build_image,
)
from pytest_blynk_ota.firmware.tag import Tag
from pytest_blynk_ota.firmware.words import did_you_mean

BEHAVIOUR_ROOM = 4096
"""Bytes kept for the behaviour, so that a derived one fits."""
TAG_ROOM = 32
"""Zeros behind the tag, so that a longer version fits."""
DATA_BYTES = 4096
LEAST_CODE_BYTES = 32768
LOADER_DATA_BYTES, LOADER_CODE_BYTES = 2048, 12288
"""A real bootloader has 20 to 28 KB; less is written faster."""
WAYS: Mapping[str, Mapping[str, Any]] = {
    "reference": {"confirm": "self_test", "self_test": {"after_s": 3.0}},
}
"""What a profile does where neither the recipe nor the defaults of a behaviour say it."""
LIBRARY = "1.4.0"
"""Of blynk-library, whose Edgent example the fixture images stand for."""
CODE_PAGE = MAPPED_PAGE_BYTES
"""Code begins on the second page of the file, one page behind the constants, as linkers do it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A fixture image, written down.

    Attributes:
        kind: ``app`` or ``bootloader``.
        version, build, type: what the firmware is; tag, description and behaviour say it.
        size: bytes of the whole file; applications only.
        seed: of the noise that the image is filled with.
        secure_version: of the application description, for anti-rollback.
        behaviour: what it does: the keys of :class:`Behaviour` that are not named here.
    """

    kind: str = "app"
    version: str = "1.0.0"
    build: str = "Nov 23 2026 17:29:49"
    type: str = "TMPLvirtual01"
    size: int = 204800
    seed: int = 1
    project: str = "blynk-edgent"
    idf: str = "v5.1.4"
    secure_version: int = 0
    behaviour: Mapping[str, Any] = field(default_factory=dict)


KEYS = tuple(one.name for one in fields(Recipe))
NUMBERS, TABLES = ("size", "seed", "secure_version"), ("behaviour",)
SECURE_VERSIONS = 33
"""An ESP32 has 32 eFuse bits to count in, other chips 16."""
BEHAVIOUR_NAMES = {"kind": "kind", "version": "version", "build": "build", "fw_type": "type"}
"""Keys of a behaviour that a recipe has outside of its ``behaviour`` table."""


def loads(text: str, name: str) -> Recipe:
    """Read a recipe.

    Raises:
        FirmwareError: it is no TOML or says what cannot be; names the file and the key.
    """
    where = f"recipe {name}"
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FirmwareError(f"{where}: no TOML: {error}") from error
    for key, value in data.items():
        if key not in KEYS:
            known = ", ".join(KEYS)
            near = did_you_mean(key, KEYS)
            raise FirmwareError(f"{where}: unknown key {key!r}; known are {known}{near}")
        kind, words = _expected(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise FirmwareError(f"{where}: {key}: expected {words}, not {value!r}")
    recipe = Recipe(**data)
    if recipe.secure_version not in range(SECURE_VERSIONS):
        raise FirmwareError(
            f"{where}: secure_version: expected 0 to {SECURE_VERSIONS - 1}, "
            f"not {recipe.secure_version}"
        )
    for key in recipe.behaviour:
        if key in BEHAVIOUR_NAMES:
            outer = BEHAVIOUR_NAMES[key]
            raise FirmwareError(f"{where}: behaviour: {key} belongs outside, as {outer!r}")
    _behaviour(recipe, where)
    return recipe


def _expected(key: str) -> tuple[type, str]:
    if key in NUMBERS:
        return int, "a whole number"
    return (dict, "a table") if key in TABLES else (str, "a text")


def make(
    recipe: Recipe,
    chip_name: str,
    *,
    size: int | None = None,
    log: str | None = None,
    version: str | None = None,
    profile: str | None = None,
    secure_version: int | None = None,
    build: str | None = None,
) -> bytes:
    """The image of a recipe for a chip; the same arguments give the same bytes.

    Args:
        size, version, secure_version, build: instead of the recipe's.
        log: ``quiet`` or ``info``, instead of the behaviour's.
        profile: whose ways it has, if the behaviour does not say; applications only.

    Raises:
        FirmwareError: the chip is unknown, or a value does not fit.
    """
    target = chip(chip_name)
    if size is not None:
        recipe = replace(recipe, size=size)
    if version is not None:
        recipe = replace(recipe, version=version)
    if build is not None:
        recipe = replace(recipe, build=build)
    if secure_version is not None:
        recipe = replace(recipe, secure_version=secure_version)
    told = dict(recipe.behaviour)
    if log is not None:
        told["log"] = log
    if profile is not None and recipe.kind == "app":
        told.setdefault("profile", profile)
    recipe = replace(recipe, behaviour={**WAYS.get(told.get("profile", ""), {}), **told})
    behaviour = _behaviour(recipe, "recipe")
    if recipe.kind == "bootloader":
        return _bootloader(recipe, target, behaviour)
    return _app(recipe, target, behaviour)


def _behaviour(recipe: Recipe, where: str) -> Behaviour:
    """Raises FirmwareError for what no behaviour can be."""
    outer = {key: getattr(recipe, name) for key, name in BEHAVIOUR_NAMES.items()}
    return Behaviour.from_data({**outer, **recipe.behaviour}, f"{where}: behaviour")


def _noise(recipe: Recipe, target: Chip, part: str, size: int) -> bytes:
    """Seeded noise: like real code, it does not compress to nothing."""
    return random.Random(f"{recipe.seed}/{target.name}/{part}").randbytes(size)


def _app(recipe: Recipe, target: Chip, behaviour: Behaviour) -> bytes:
    """Constants, data and behaviour fill the first page of the file, code all others."""
    head = _description(recipe, target, behaviour).build() + _tag(recipe)
    told = _told(behaviour)
    noise = _noise(recipe, target, "data", DATA_BYTES)
    data = Segment(target.dram_base, BLOCK + noise[len(BLOCK) :])
    others = sum(SEGMENT.size + len(part.data) for part in (data, told)) + SEGMENT.size
    constants = head + _noise(recipe, target, "constants", CODE_PAGE - others - len(head))
    least = len(_laid_out(target, constants, [data, told], bytes(LEAST_CODE_BYTES)))
    if recipe.size < least:
        raise FirmwareError(f"recipe: size {recipe.size}: expected {least} or more")
    more = (recipe.size - least) // CHECKSUM_BLOCK_BYTES * CHECKSUM_BLOCK_BYTES
    code = _noise(recipe, target, "code", LEAST_CODE_BYTES + more)
    return _laid_out(target, constants, [data, told], code)


def _laid_out(target: Chip, constants: bytes, others: list[Segment], code: bytes) -> bytes:
    """Constants first, code last; it is entered at its start."""
    entry = target.irom_base + CODE_PAGE
    first, last = Segment(target.drom_base, constants), Segment(entry, code)
    return build_image(target, [first, *others, last], entry)


def _description(recipe: Recipe, target: Chip, behaviour: Behaviour) -> AppDesc:
    date, _, time = recipe.build.rpartition(" ")
    source = json.dumps([recipe.seed, recipe.size, target.name, behaviour.to_data()])
    elf = hashlib.sha256(source.encode()).digest()
    secure = recipe.secure_version
    return AppDesc(recipe.version, recipe.project, time, date, recipe.idf, secure, elf)


def _tag(recipe: Recipe) -> bytes:
    pairs = {
        "mcu": recipe.version,
        "fw-type": recipe.type,
        "build": recipe.build,
        "blynk": LIBRARY,
    }
    tag = Tag(pairs).build_bytes()
    return tag + bytes(TAG_ROOM - len(tag) % 4)


def _told(behaviour: Behaviour) -> Segment:
    """The behaviour's segment, with room for another one."""
    data = behaviour.to_segment()
    if len(data) > BEHAVIOUR_ROOM:
        raise FirmwareError(f"recipe: behaviour has {len(data)} bytes, room is {BEHAVIOUR_ROOM}")
    return Segment(0, data.ljust(BEHAVIOUR_ROOM, b"\0"))


def _bootloader(recipe: Recipe, target: Chip, behaviour: Behaviour) -> bytes:
    """A second-stage bootloader: all of it is loaded into RAM."""
    head = loaderinfo.build(recipe.idf, recipe.build)
    segments = [
        Segment(target.dram_base, head + _noise(recipe, target, "data", LOADER_DATA_BYTES)),
        _told(behaviour),
        Segment(target.iram_base, _noise(recipe, target, "code", LOADER_CODE_BYTES)),
    ]
    return build_image(target, segments, target.iram_base)
