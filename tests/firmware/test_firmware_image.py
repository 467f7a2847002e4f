"""Images are read as esptool reads them, and built so that it finds nothing wrong."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from functools import reduce
from operator import xor as xor_two

import pytest
from esptool.bin_image import LoadFirmwareImage
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.chips import CHIPS, chip_by_id
from pytest_blynk_ota.firmware.image import Segment, build_image, mend, parse, xor

HASH_BYTES = 32


@pytest.mark.parametrize("name", ["old", "new", "bootloader", "bootloader-no-rollback"])
def test_esptools_own_reader_calls_a_built_image_valid(made, chip, name, tmp_path):
    path = tmp_path / "image.bin"
    path.write_bytes(made(name, chip))
    theirs = LoadFirmwareImage(chip, str(path))
    assert theirs.checksum == theirs.calculate_checksum()
    assert theirs.stored_digest == theirs.calc_digest
    assert theirs.chip_id == CHIPS[chip].image_id


def test_the_esptool_command_finds_nothing_invalid_and_reads_the_description(chip, new, tmp_path):
    path = tmp_path / "new.bin"
    path.write_bytes(new)
    command = [sys.executable, "-m", "esptool", "--chip", chip, "image-info", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "(invalid" not in text
    assert text.count("(valid)") == 2
    assert "App version: 1.1.0" in text
    assert "Compile time: Nov 23 2026 17:29:49" in text


def test_what_an_image_says_is_read_back(chip, new):
    image = parse(new)
    assert image.problems == ()
    assert (image.chip, image.version, image.build, image.fw_type) == (
        chip,
        "1.1.0",
        "Nov 23 2026 17:29:49",
        "TMPLvirtual01",
    )
    assert image.length == len(new) == 204800
    assert image.sha256 == hashlib.sha256(new).hexdigest()
    assert image.app_desc is not None
    assert image.elf_sha256 == image.app_desc.elf_sha256.hex()
    assert not image.signed
    assert "1.1.0" in repr(image)


def test_the_entry_of_an_image_is_an_instruction_and_its_code_lies_right(made, chip):
    for name in ("old", "bootloader"):
        image = parse(made(name, chip))
        code = next(
            part for part in image.segments if 0 <= image.entry - part.address < len(part.data)
        )
        assert any(code.data[:4])
        for part in image.segments:
            if CHIPS[chip].maps(part.address):
                assert (part.offset - part.address) % 0x10000 == 0


def test_a_mapped_segment_is_padded_to_its_place():
    target = CHIPS["esp32"]
    segments = [Segment(target.dram_base, bytes(8)), Segment(target.irom_base, b"code" * 4)]
    image = parse(build_image(target, segments, target.irom_base))
    assert [part.address for part in image.segments] == [target.dram_base, 0, target.irom_base]
    assert image.segments[-1].offset == 0x10020


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\x7fELF" + bytes(60), "ELF file"),
        (b"\xe9\x01\x02", "cut: 3 bytes"),
        (b"PK\x03\x04" + bytes(60), "no ESP image: it begins with 0x50"),
        (b"\x00" + random.Random(1).randbytes(65535), "looks encrypted"),
    ],
)
def test_what_is_no_image_is_refused_by_name(data, words):
    with pytest.raises(FirmwareError, match=words) as caught:
        parse(data, "--old x.bin")
    assert str(caught.value).startswith("--old x.bin: ")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:100], "cut"),
        (lambda data: data[:-1], "cut"),
        (lambda data: data[:1] + b"\x11" + data[2:], "17 segments"),
        (lambda data: data[:28] + b"\x03" + data[29:], "impossible length"),
        (lambda data: data[:5000] + b"\x00\x01" + data[5002:], "checksum is wrong"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "SHA-256 is wrong"),
    ],
)
def test_a_damaged_image_is_read_and_says_what_is_wrong(new, damage, words):
    image = parse(damage(new))
    assert any(words in problem for problem in image.problems)


def test_a_cut_image_still_says_what_it_was(new):
    image = parse(new[:1000])
    assert image.version == "1.1.0"
    assert image.app_desc is not None


def test_what_follows_an_image_is_not_part_of_it(new):
    image = parse(new + b"\xff" * 5000)
    assert image.problems == ()
    assert image.length == len(new)


def test_a_signature_is_seen(new):
    padded = new.ljust(-(-len(new) // 4096) * 4096, b"\xff")
    assert parse(padded + b"\xe7\x02" + bytes(4094)).signed
    assert parse(new + bytes(68)).signed
    assert not parse(new + b"\xff" * 68).signed


def test_mending_makes_any_change_of_payload_right_again(new):
    changed = new[:70000] + b"other" + new[70005:] + b"tail"
    mended = mend(changed)
    assert parse(mended).problems == ()
    assert mended[:70005] == changed[:70005]
    assert mended.endswith(b"tail")
    assert mend(new) == new


def test_mending_refuses_what_has_no_end(new):
    with pytest.raises(FirmwareError, match="cannot be mended: cut"):
        mend(new[:1000])


def test_each_chip_is_found_by_its_id():
    for known in CHIPS.values():
        assert chip_by_id(known.image_id) is known
    assert chip_by_id(13) is None
    assert chip_by_id(999) is None


@given(st.binary(max_size=300))
def test_folding_gives_the_xor_of_all_bytes(data):
    assert xor(data) == reduce(xor_two, data, 0)


@given(st.binary(max_size=600))
def test_no_bytes_break_the_reader(data):
    try:
        image = parse(b"\xe9" + data)
    except FirmwareError:
        return
    assert image.problems or image.checksum_ok


@settings(max_examples=50)
@given(st.integers(0, 8), st.integers(0, 255), st.integers(0, 32767))
def test_no_change_of_one_byte_goes_unnoticed_or_breaks_the_reader(number, value, seed):
    image = build_image(CHIPS["esp32"], [Segment(0x3FFB0000, bytes(64))] * (number + 1), 0)
    place = 1 + seed % (len(image) - 1)
    changed = image[:place] + bytes([value]) + image[place + 1 :]
    found = parse(changed)
    assert changed == image or found.problems or not found.hash_appended
