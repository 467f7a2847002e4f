"""Images made from others fail by the one check that is meant to refuse them, or by none."""

from __future__ import annotations

import pytest
from bootloader_oracle import app

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import derive
from pytest_blynk_ota.firmware.bootrules import check_image
from pytest_blynk_ota.firmware.image import mend, parse
from pytest_blynk_ota.firmware.partitions import Partition
from pytest_blynk_ota.firmware.tag import Tag


def refusal(data: bytes, chip: str) -> str | None:
    """What a bootloader finds wrong with it."""

    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length].ljust(length, b"\xff")

    found = check_image(read, Partition("slot", 0, 0x10, 0, 1 << 20), chip)
    return found.what if found else None


@pytest.fixture(params=["fixture", "user's"])
def image(request, new, chip) -> bytes:
    """One of ours, and one as a user has it: no tag, no behaviour, entered in RAM."""
    return new if request.param == "fixture" else app(chip, 0)


@pytest.mark.parametrize(
    ("way", "what"),
    [
        (derive.wrong_chip, "chip_id"),
        (derive.bad_checksum, "checksum"),
        (derive.bad_hash, "image_hash"),
        (derive.crash_at_start, None),
        (lambda data: derive.padded(data, len(data) + 4095), None),
        (lambda data: derive.for_flash(data, "2MB"), None),
        (lambda data: derive.for_revision(data, 9900), "chip_revision"),
        (derive.without_description, None),
        (derive.wrong_segment, "segments"),
        (derive.too_many_segments, "segments"),
    ],
)
def test_each_way_is_refused_by_its_own_check(image, chip, way, what):
    assert refusal(image, chip) is None
    assert refusal(way(image), chip) == what


def test_only_one_thing_is_wrong_with_a_broken_image(image):
    assert parse(derive.bad_checksum(image)).problems == ("checksum is wrong",)
    assert parse(derive.bad_hash(image)).problems == ("appended SHA-256 is wrong",)
    wrong = parse(derive.wrong_chip(image))
    assert wrong.problems == ()
    assert wrong.chip != parse(image).chip


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_a_cut_image_is_refused(image, chip, part):
    keep = int(part * len(image))
    short = derive.cut(image, keep)
    assert short == image[:keep]
    assert refusal(short, chip) is not None


@pytest.mark.parametrize("keep", [-1, 0, 23, 1 << 30])
def test_a_cut_that_leaves_no_header_or_everything_is_refused(image, keep):
    with pytest.raises(FirmwareError, match="cannot be cut after"):
        derive.cut(image, keep)


def test_a_crash_at_start_has_no_instruction_at_its_entry(image):
    broken = parse(derive.crash_at_start(image))
    code = next(
        part for part in broken.segments if 0 <= broken.entry - part.address < len(part.data)
    )
    start = broken.entry - code.address
    assert code.data[start : start + 4] == bytes(4)
    assert broken.sha256 != parse(image).sha256


def test_a_restamped_image_says_its_version_everywhere_and_nothing_else_changed(new):
    before, after = parse(new), parse(derive.restamped(new, "1.1.7"))
    assert after.problems == ()
    assert after.version == after.app_desc.version == after.behaviour.version == "1.1.7"
    assert (after.build, after.elf_sha256) == (before.build, before.elf_sha256)
    assert len(after.data) == len(new)


def test_our_own_images_have_room_for_a_longer_version(new):
    assert parse(derive.restamped(new, "10.11.12-rc.1")).version == "10.11.12-rc.1"


def test_a_users_tag_has_no_room_for_a_longer_version(chip):
    tag = Tag({"mcu": "1.2.9", "build": "today"}).build_bytes()
    data = app(chip, 0)
    tagged = mend(data[:1000] + tag + bytes(40) + data[1040 + len(tag) :])
    assert parse(derive.restamped(tagged, "1.3.0")).version == "1.3.0"
    with pytest.raises(FirmwareError, match=r"has room for 5 \(it holds '1\.2\.9'"):
        derive.restamped(tagged, "1.2.10")


def test_a_users_image_without_a_tag_is_restamped_in_its_description(chip):
    after = parse(derive.restamped(app(chip, 0), "2.0.0"))
    assert after.problems == ()
    assert after.version == "2.0.0"


@pytest.mark.parametrize("version", ["", "v" * 32])
def test_a_version_that_no_description_holds_is_refused(image, version):
    with pytest.raises(FirmwareError, match="expected 1 to 31 characters"):
        derive.restamped(image, version)


def test_a_signed_image_is_refused_with_the_reason(new):
    signed = new.ljust(-(-len(new) // 4096) * 4096, b"\xff") + b"\xe7\x02" + bytes(4094)
    for way in (derive.wrong_chip, derive.crash_at_start, derive.bad_hash, derive.bad_checksum):
        with pytest.raises(FirmwareError, match="it is signed, and a change breaks the signature"):
            way(signed)
    with pytest.raises(FirmwareError, match="cannot be restamped: it is signed"):
        derive.restamped(signed, "1.1.1")


def test_a_damaged_image_is_not_damaged_further(new):
    with pytest.raises(FirmwareError, match="it is damaged already: appended SHA-256"):
        derive.crash_at_start(derive.bad_hash(new))


def test_a_fixture_image_can_be_told_to_behave_otherwise(new, chip):
    changed = derive.with_behaviour(
        new, confirm="login", crash={"when": "before_login", "how": "abort"}
    )
    told = parse(changed).behaviour
    assert (told.confirm, told.crash.when, told.crash.how) == ("login", "before_login", "abort")
    assert told.version == "1.1.0"
    assert refusal(changed, chip) is None
    assert parse(derive.with_behaviour(changed, crash=None)).behaviour.crash is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"confrim": "login"}, "unknown key 'confrim'"),
        ({"version": "2.0"}, "version is what the image is"),
        ({"reports": {"version": "9" * 4000}}, "its segment has room for 4096"),
    ],
)
def test_a_change_that_cannot_be_is_refused(new, changes, words):
    with pytest.raises(FirmwareError, match=words):
        derive.with_behaviour(new, **changes)


def test_a_users_image_cannot_be_told_to_misbehave(chip):
    with pytest.raises(FirmwareError, match="no behaviour segment"):
        derive.with_behaviour(app(chip, 0), confirm="login")


@pytest.mark.parametrize("fill", [0xFF, 0])
def test_a_padded_image_is_the_same_firmware_with_bytes_behind_it(image, fill):
    longer = derive.padded(image, len(image) + 100, fill)
    assert longer == image + bytes([fill]) * 100
    assert parse(longer).problems == ()


@pytest.mark.parametrize("size", [0, -1])
def test_an_image_is_not_padded_to_less_than_it_has(image, size):
    with pytest.raises(FirmwareError, match="cannot be padded to"):
        derive.padded(image, size and len(image))


def test_an_image_for_another_template_says_so_in_tag_and_behaviour(new):
    made = parse(derive.retyped(new, "TMPLvirtual09"))
    assert (made.fw_type, made.problems) == ("TMPLvirtual09", ())
    assert made.behaviour is not None
    assert made.behaviour.fw_type == "TMPLvirtual09"


def test_a_template_of_another_length_or_without_a_tag_is_refused(new, chip):
    with pytest.raises(FirmwareError, match="expected 13 characters"):
        derive.retyped(new, "TMPLshort")
    with pytest.raises(FirmwareError, match="it has no tag with fw-type"):
        derive.retyped(app(chip, 0), "TMPLvirtual09")


def test_a_flash_size_that_no_header_can_name_is_refused(image):
    with pytest.raises(FirmwareError, match="expected one of 1MB, 2MB"):
        derive.for_flash(image, "3MB")
