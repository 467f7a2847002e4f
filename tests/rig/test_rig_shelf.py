"""Old and New: from files or recipes, told apart, derived."""

import pytest

from pytest_blynk_ota.errors import FirmwareError, UsageError
from pytest_blynk_ota.rig.shelf import Firmware, Kitchen, earlier_version, next_version


@pytest.fixture
def kitchen(tmp_path):
    return Kitchen(tmp_path, tmp_path / "images")


@pytest.fixture
def firmware(kitchen):
    return Firmware(kitchen, "esp32c3")


@pytest.mark.parametrize(
    ("version", "higher"), [("1.0.0", "1.0.1"), ("1.0.9", "1.1.0"), ("0.9.9-rc", "1.0.0-rc")]
)
def test_the_next_version_is_higher_and_as_long(version, higher):
    assert next_version(version) == higher


@pytest.mark.parametrize("version", ["9.9", "alpha", ""])
def test_no_next_version_asks_for_a_new_file(version):
    with pytest.raises(FirmwareError, match="--new"):
        next_version(version)


def test_one_binary_is_enough(kitchen, firmware, tmp_path):
    path = tmp_path / "mine.bin"
    path.write_bytes(firmware.old.data)
    own = Firmware(kitchen, "esp32c3", old=path)
    assert (own.old.version, own.new.version) == ("1.0.0", "1.0.1")
    assert not own.new.problems


def test_an_image_is_made_once_and_then_read(kitchen, tmp_path):
    first = kitchen.make("old", "esp32")
    stored = list((tmp_path / "images").iterdir())
    assert kitchen.make("old", "esp32") == first
    assert list((tmp_path / "images").iterdir()) == stored


def test_a_recipe_of_the_user_wins_over_a_shipped_one(kitchen, tmp_path):
    own = tmp_path / "firmware_fixtures" / "old.toml"
    own.parent.mkdir()
    own.write_text('version = "7.7.7"\n')
    assert Firmware(kitchen, "esp32").old.version == "7.7.7"


def test_an_unknown_recipe_names_the_nearest_one(firmware):
    with pytest.raises(FirmwareError, match="did you mean 'new-no-cloud'"):
        firmware.recipe("new-no-clod")


@pytest.mark.parametrize("name", ["bad_hash", "bad_checksum", "cut"])
def test_a_damaged_image_has_a_problem(firmware, name):
    assert getattr(firmware, name)().problems


def test_the_wrong_chip_is_another_chip_with_right_hashes(firmware):
    image = firmware.wrong_chip()
    assert image.chip == "esp32"
    assert image.hash_ok
    assert image.checksum_ok


def test_firmware_of_the_user_cannot_be_told_to_misbehave(firmware, tmp_path):
    assert firmware.is_fixture
    with pytest.raises(FirmwareError, match="did you mean"):
        firmware.behaving(cnfirm="login")


def test_the_same_version_and_build_is_refused(kitchen, firmware, tmp_path):
    paths = []
    for name, image in (("a", firmware.old), ("b", firmware.crashes_at_start(firmware.old))):
        path = tmp_path / f"{name}.bin"
        path.write_bytes(image.data)
        paths.append(path)
    with pytest.raises(UsageError, match=r"both are version 1\.0\.0"):
        Firmware(kitchen, "esp32c3", old=paths[0], new=paths[1])


@pytest.mark.parametrize(
    ("version", "lower"), [("1.3.0", "1.2.9"), ("2.0.0", "1.9.9"), ("v10-rc", "v09-rc")]
)
def test_an_earlier_version_is_lower_and_as_long(version, lower):
    assert earlier_version(version) == lower


def test_before_zero_there_is_no_version():
    with pytest.raises(FirmwareError, match="no lower version"):
        earlier_version("0.0")


def test_the_factory_image_is_old_under_an_earlier_version(tmp_path):
    firmware = Firmware(Kitchen(tmp_path, tmp_path), "esp32c3")
    assert (firmware.old.version, firmware.factory.version) == ("1.0.0", "0.9.9")
