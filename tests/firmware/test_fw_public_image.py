"""Derivations on an image that somebody else has built: MicroPython's for the ESP32.

It is in the source package of mp-image-tool-esp32, which is fetched and unpacked here.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile

import pytest

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import derive
from pytest_blynk_ota.firmware.bootrules import check_image
from pytest_blynk_ota.firmware.image import parse
from pytest_blynk_ota.firmware.partitions import Partition

PACKAGE = "mp-image-tool-esp32==0.1.1"
MEMBER = "tests/data/ESP32_GENERIC-20240602-v1.23.0.bin"
FETCH_S = 60
APP_AT = 0x10000 - 0x1000
"""The file begins with the bootloader, which lies at 0x1000 of the flash; the application is at
0x10000."""
SLOT = Partition("slot", 0, 0x10, 0, 2 << 20)


@pytest.fixture(scope="module")
def micropython(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("micropython")
    words = ["download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder), PACKAGE]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", *words],
            capture_output=True,
            text=True,
            timeout=FETCH_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{PACKAGE} did not come within {FETCH_S} s")
    files = list(folder.glob("*.tar.gz"))
    if done.returncode or not files:
        pytest.skip(f"{PACKAGE} cannot be fetched: {done.stderr.strip().splitlines()[-1:]}")
    with tarfile.open(files[0]) as archive:
        name = next(one for one in archive.getnames() if one.endswith(MEMBER))
        found = archive.extractfile(name)
        assert found is not None
        whole = found.read()
    image = parse(whole[APP_AT:])
    return image.data[: image.length]


def refusal(data: bytes) -> str | None:
    """What a bootloader finds wrong with it."""

    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length].ljust(length, b"\xff")

    found = check_image(read, SLOT, "esp32")
    return found.what if found else None


def test_each_derivation_of_a_public_image_is_refused_by_its_own_check_or_by_none(micropython):
    image = parse(micropython)
    assert (image.problems, image.chip, image.behaviour) == ((), "esp32", None)
    assert refusal(micropython) is None
    refused = {
        derive.wrong_chip: "chip_id",
        derive.bad_checksum: "checksum",
        derive.bad_hash: "image_hash",
        derive.wrong_segment: "segments",
        derive.too_many_segments: "segments",
        derive.crash_at_start: None,
        derive.without_description: None,
    }
    for way, what in refused.items():
        assert refusal(way(micropython)) == what, way
    assert refusal(derive.for_revision(micropython, 9900)) == "chip_revision"
    assert refusal(derive.padded(micropython, len(micropython) + 4095)) is None


def test_a_public_image_is_restamped_and_says_its_version(micropython):
    made = parse(derive.restamped(micropython, "v9.9.9"))
    assert (made.version, made.problems) == ("v9.9.9", ())


def test_a_public_image_without_a_tag_is_for_no_template(micropython):
    with pytest.raises(FirmwareError, match="it has no tag with fw-type"):
        derive.retyped(micropython, "TMPLx")
