"""What flash holds, what runs and what would boot, told from few bytes."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest

from pytest_blynk_ota.board.dump_in_flash import dump_in_flash
from pytest_blynk_ota.board.readback import LazyFlash, read_back
from pytest_blynk_ota.firmware import derive, otadata, recipe
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET, PartitionTable

FLASH_BYTES = 4 << 20
RECIPES = Path(__file__).parents[2] / "firmware_fixtures"
APP0, APP1 = DEFAULT_TABLE.ota_slots
CHIP = "esp32c3"


@pytest.fixture(scope="module")
def old() -> bytes:
    return recipe.make(recipe.loads((RECIPES / "old.toml").read_text(), "old.toml"), CHIP)


@pytest.fixture(scope="module")
def new() -> bytes:
    return recipe.make(recipe.loads((RECIPES / "new.toml").read_text(), "new.toml"), CHIP)


class Chip:
    """Flash that counts the bytes that are read from it."""

    def __init__(self) -> None:
        self.content = bytearray(b"\xff" * FLASH_BYTES)
        self.read_bytes = self.hashes = 0
        self.put(TABLE_OFFSET, DEFAULT_TABLE.build())

    def put(self, offset: int, data: bytes) -> None:
        self.content[offset : offset + len(data)] = data

    def md5(self, offset: int, size: int) -> str:
        self.hashes += 1
        return hashlib.md5(self.content[offset : offset + size]).hexdigest()

    def read(self, offset: int, size: int) -> bytes:
        self.read_bytes += size
        return bytes(self.content[offset : offset + size])


@pytest.fixture
def chip(old) -> Chip:
    """Old in app0 and confirmed, the other slot empty."""
    chip = Chip()
    chip.put(DEFAULT_TABLE.otadata.offset, b"".join(otadata.entries_for(0)))
    chip.put(APP0.offset, old)
    return chip


def look(chip: Chip, rollback: bool = False, **images: bytes) -> dict:
    return read_back(chip, FLASH_BYTES, CHIP, DEFAULT_TABLE, images, rollback=rollback)


def test_old_alone_runs_and_would_boot(chip, old, new):
    seen = look(chip, old=old, new=new)
    assert (seen["running"], seen["would_boot"]) == ("app0", "app0")
    assert seen["slots"] == {
        "app0": {"offset": APP0.offset, "image": "old"},
        "app1": {"offset": APP1.offset, "image": None},
    }
    assert [len(entry) for entry in seen["otadata"]] == [64, 64]


def test_an_upgrade_shows_new_in_the_other_slot(chip, old, new):
    chip.put(APP1.offset, new)
    chip.put(DEFAULT_TABLE.otadata.offset, b"".join(otadata.entries_for(1)))
    seen = look(chip, old=old, new=new)
    assert seen["slots"]["app1"]["image"] == "new"
    assert (seen["running"], seen["would_boot"]) == ("app1", "app1")


def test_known_images_cost_hashes_and_no_transfer(chip, old, new):
    chip.put(APP1.offset, new)
    look(chip, old=old, new=new)
    assert chip.read_bytes < 64_000
    assert chip.hashes == 2


def test_a_known_image_that_is_no_good_does_not_boot(chip, old, new):
    bad = derive.bad_hash(new)
    chip.put(APP1.offset, bad)
    chip.put(DEFAULT_TABLE.otadata.offset, b"".join(otadata.entries_for(1)))
    seen = look(chip, old=old, new=bad)
    assert seen["slots"]["app1"]["image"] == "new"
    assert seen["would_boot"] == "app0"


def test_an_image_that_is_only_the_begin_of_another_is_not_taken_for_it(chip, old):
    cut = derive.cut(old, 24)  # 24 bytes of the header, the same in most images
    assert look(chip, new=cut, old=old)["slots"]["app0"]["image"] == "old"


def test_an_unknown_image_is_read_and_judged(chip, old, new):
    chip.put(APP1.offset, new)
    chip.put(DEFAULT_TABLE.otadata.offset, b"".join(otadata.entries_for(1)))
    seen = look(chip, old=old)
    assert seen["slots"]["app1"]["image"] is None
    assert seen["would_boot"] == "app1"


def test_nothing_bootable_would_boot_nothing(chip, old):
    chip.put(APP0.offset, b"\xff" * 0x1000)
    assert look(chip, old=old)["would_boot"] is None


def test_no_partition_table_would_boot_nothing(chip, old):
    chip.put(TABLE_OFFSET, b"\xff" * 0x1000)
    assert look(chip, old=old)["would_boot"] is None


def test_an_unconfirmed_new_runs_but_would_not_boot_again(chip, old, new):
    chip.put(APP1.offset, new)
    first, _ = otadata.entries_for(0)
    second, _ = otadata.entries_for(1, otadata.State.PENDING_VERIFY)
    chip.put(DEFAULT_TABLE.otadata.offset, first + second)
    seen = look(chip, rollback=True, old=old, new=new)
    assert (seen["running"], seen["would_boot"]) == ("app1", "app0")
    assert seen["started"] == "app1"
    assert look(chip, rollback=True, old=old)["started"] is None, "what it is, is not known"
    assert look(chip, old=old, new=new)["started"] is None, "nothing is on trial without rollback"


def test_an_image_on_trial_that_is_no_good_was_not_started(chip, old, new):
    bad = derive.bad_hash(new)
    chip.put(APP1.offset, bad)
    first, _ = otadata.entries_for(0)
    second, _ = otadata.entries_for(1, otadata.State.PENDING_VERIFY)
    chip.put(DEFAULT_TABLE.otadata.offset, first + second)
    seen = look(chip, rollback=True, old=old, bad=bad)
    assert (seen["running"], seen["would_boot"], seen["started"]) == ("app1", "app0", None)


def test_a_confirmed_image_is_on_no_trial(chip, old, new):
    assert look(chip, rollback=True, old=old, new=new)["started"] is None


def test_sectors_are_fetched_once_and_ahead():
    chip = Chip()
    chip.put(0, bytes(range(256)) * 512)
    lazy = LazyFlash(chip, FLASH_BYTES)
    assert lazy.read(5, 10) == bytes(range(5, 15))
    assert lazy.read(0xFFE, 4) == bytes([0xFE, 0xFF, 0, 1])
    assert lazy.read(0, 0x11000) == bytes(chip.content[:0x11000])
    assert chip.read_bytes == 0x11000
    assert lazy.read(FLASH_BYTES - 2, 10) == b"\xff\xff"


def dump(size: int = 600, magic: bytes = b"\x7fELF", at: int = 20) -> bytes:
    return struct.pack("<I", size).ljust(at, b"\0") + magic + b"x" * (size - at - 4)


@pytest.mark.parametrize("at", [20, 24])
def test_a_core_dump_in_flash_is_read_whole(chip, at):
    chip.put(DEFAULT_TABLE.find("coredump").offset, dump(at=at))
    assert dump_in_flash(chip, DEFAULT_TABLE) == dump(at=at)


@pytest.mark.parametrize(
    "content", [b"", dump(magic=b"none"), dump()[:4].replace(b"X", b"Y") + b"\xff" * 40,
                struct.pack("<I", 1 << 30) + dump()[4:]],
)  # fmt: skip
def test_what_is_no_core_dump_in_flash_costs_28_bytes(chip, content):
    chip.put(DEFAULT_TABLE.find("coredump").offset, content)
    chip.read_bytes = 0
    assert dump_in_flash(chip, DEFAULT_TABLE) == b""
    assert chip.read_bytes == 28


def test_without_a_partition_there_is_no_core_dump(chip):
    rows = tuple(row for row in DEFAULT_TABLE.rows if row.label != "coredump")
    assert dump_in_flash(chip, PartitionTable(rows)) == b""
