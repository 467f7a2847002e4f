"""Recipes: the shipped ones are sound, mistakes are named, the same words give the same bytes."""

from __future__ import annotations

import zlib

import pytest
from shipped_recipes import RECIPES

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import recipe
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import parse
from pytest_blynk_ota.firmware.partitions import TABLE_OFFSET

NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))
APPS = [name for name in NAMES if not name.startswith("bootloader")]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_makes_a_sound_image_of_its_own(made, chip, name):
    image = parse(made(name, chip))
    assert image.problems == ()
    assert image.chip == chip
    assert image.behaviour is not None
    assert image.behaviour.kind == ("app" if name in APPS else "bootloader")


@pytest.mark.parametrize("name", APPS)
def test_tag_description_and_behaviour_agree(made, chip, name):
    image = parse(made(name, chip))
    told = image.behaviour
    assert image.version == image.app_desc.version == told.version
    assert image.build == f"{image.app_desc.date} {image.app_desc.time}" == told.build
    assert image.fw_type == told.fw_type
    assert image.fw_type.startswith("TMPL")


def test_every_app_but_old_is_the_same_version_with_another_elf_file(made, chip):
    images = {name: parse(made(name, chip)) for name in APPS}
    assert {image.version for name, image in images.items() if name != "old"} == {"1.1.0"}
    assert images["old"].version == "1.0.0"
    assert images["old"].build != images["new"].build
    assert len({image.elf_sha256 for image in images.values()}) == len(APPS)


@pytest.mark.parametrize("name", ["bootloader", "bootloader-no-rollback"])
def test_a_bootloader_fits_in_front_of_the_partition_table(made, chip, name):
    data = made(name, chip)
    assert CHIPS[chip].bootloader_offset + len(data) <= TABLE_OFFSET
    assert parse(data).behaviour.rollback == (name == "bootloader")


def test_the_same_recipe_gives_the_same_bytes_and_each_chip_its_own(made):
    assert made("new", "esp32") == made("new", "esp32")
    assert made("new", "esp32")[2000:] != made("new", "esp32c3")[2000:]


def test_the_payload_does_not_compress(new):
    assert len(zlib.compress(new, 9)) > 0.98 * len(new)


@pytest.mark.parametrize("size", [98_400, 200_000, 1 << 20])
def test_the_size_is_that_of_the_file_to_one_block(made, chip, size):
    data = made("new", chip, size=size)
    assert 0 <= size - len(data) < 16
    assert parse(data).problems == ()


def test_log_and_version_can_be_changed(made, chip):
    image = parse(made("new", chip, log="info", version="3.0.0-rc1"))
    assert image.behaviour.log == "info"
    assert image.version == image.app_desc.version == image.behaviour.version == "3.0.0-rc1"
    assert image.elf_sha256 != parse(made("new", chip)).elf_sha256


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = ", "recipe x.toml: no TOML"),
        ('verison = "1"', "unknown key 'verison'.*did you mean 'version'"),
        ("version = 1", "version: expected a text, not 1"),
        ("size = true", "size: expected a whole number"),
        ('behaviour = "x"', "behaviour: expected a table"),
        ('kind = "boot"', "x.toml: behaviour: kind: expected 'app' or 'bootloader'"),
        ('behaviour = { confrim = "login" }', "x.toml: behaviour: unknown key 'confrim'"),
        ('behaviour = { version = "2" }', "version belongs outside, as 'version'"),
        ('behaviour = { fw_type = "2" }', "fw_type belongs outside, as 'type'"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(text, words):
    with pytest.raises(FirmwareError, match=words):
        recipe.loads(text, "x.toml")


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("", {"size": 1000}, "size 1000: expected 98384 or more"),
        ("", {"version": "v" * 32}, "version .* is longer than 31 bytes"),
        ("", {"log": "loud"}, "log: expected 'quiet' or 'info'"),
        ('version = "1;2"', {}, "blnkinf tag"),
    ],
)
def test_what_does_not_fit_an_image_is_refused(text, changes, words):
    with pytest.raises(FirmwareError, match=words):
        recipe.make(recipe.loads(text, "x.toml"), "esp32", **changes)


def test_an_unknown_chip_is_refused():
    with pytest.raises(FirmwareError, match=r"unknown chip 'esp23'.*did you mean 'esp32'"):
        recipe.make(recipe.Recipe(), "esp23")
