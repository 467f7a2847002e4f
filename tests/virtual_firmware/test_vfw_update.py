"""In which order an update touches the flash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pytest
from vfw_peer import FakeMachine, run

from pytest_blynk_ota.virtual.app.update import Update, UpdateError

START = 0x150000
SIZE = 0x140000


@dataclass(frozen=True)
class Slot:
    offset: int = START
    size: int = SIZE


class FakeOta:
    """Takes any image; keeps how far the journal was when it was asked."""

    def __init__(self, machine, slot=None):
        self.machine = machine
        self.slot = slot or Slot()
        self.asked_at = None

    def next_update_partition(self):
        return self.slot

    async def set_boot_partition(self, partition):
        self.asked_at = len(self.machine.flash.journal)
        return True


class Pieces:
    def __init__(self, data, most=1460):
        self.data, self.most = data, most

    async def read(self, limit):
        count = min(limit, self.most)
        piece, self.data = self.data[:count], self.data[count:]
        return piece


def image(size):
    return b"\xe9" + bytes(n % 251 for n in range(size - 1))


def write(data, *, announced=None, md5=None, slot=None):
    machine = FakeMachine()
    machine.flash.program(START, b"\0" * SIZE)
    machine.flash.journal.clear()
    update = Update(machine, FakeOta(machine, slot))

    async def story():
        assert update.begin(announced or len(data))
        if md5:
            update.expect_md5(md5)
        written = await update.write_stream(Pieces(data))
        return written, await update.end()

    written, ok = run(story())
    found = machine.flash.read(START, SIZE)
    journal = list(machine.flash.journal)
    machine.flash.close()
    return written, ok, update.error, found, journal


@pytest.mark.parametrize("size", [64, 4095, 4096, 4097, 65536, 70000, 131072, 200001])
def test_the_flash_holds_the_file_byte_for_byte(size):
    data = image(size)
    written, ok, _, found, _ = write(data)
    assert (written, ok) == (size, True)
    assert found[:size] == data


def test_nothing_is_erased_at_the_start():
    machine = FakeMachine()
    update = Update(machine, FakeOta(machine))
    assert update.begin(100_000)
    assert not machine.flash.journal
    machine.flash.close()


def test_whole_blocks_are_erased_at_once_and_the_rest_by_sectors():
    *_, journal = write(image(65536 + 8192))
    erases = [(one.offset - START, one.length) for one in journal if one.kind == "erase"]
    assert erases == [(0, 65536), (65536, 4096), (69632, 4096)]


def test_each_sector_is_erased_before_it_is_programmed_and_only_once():
    *_, journal = write(image(150_000))
    erased: set[int] = set()
    for one in journal:
        sectors = set(range(one.offset // 4096, -(-(one.offset + one.length) // 4096)))
        if one.kind == "erase":
            assert not erased & sectors
            erased |= sectors
        else:
            assert sectors <= erased


def test_the_first_16_bytes_are_written_last():
    *_, journal = write(image(10_000))
    assert (journal[-1].kind, journal[-1].offset, journal[-1].length) == ("program", START, 16)
    assert all(one.offset >= START + 16 for one in journal[:-1] if one.kind == "program")


def test_blocks_of_ff_are_erased_but_not_programmed():
    data = image(4096) + b"\xff" * 8192 + image(4096)
    _, ok, _, found, journal = write(data)
    assert ok
    assert found[: len(data)] == data
    middle = range(START + 4096, START + 12288)
    assert not any(one.kind == "program" and one.offset in middle for one in journal)


@pytest.mark.parametrize("upper", [False, True])
def test_a_right_digest_passes_in_either_case(upper):
    digest = hashlib.md5(image(9000)).hexdigest()
    assert write(image(9000), md5=digest.upper() if upper else digest)[1]


def test_a_wrong_digest_keeps_the_first_bytes_out():
    _, ok, error, found, _ = write(image(9000), md5="0" * 32)
    assert (ok, error) == (False, UpdateError.MD5)
    assert found[:16] == b"\xff" * 16


def test_a_body_that_ends_early_is_aborted():
    written, ok, error, found, _ = write(image(9000), announced=20_000)
    assert (written, ok, error) == (9000, False, UpdateError.STREAM)
    assert found[:16] == b"\xff" * 16


def test_what_is_no_image_is_given_up_before_any_flash_is_touched():
    written, ok, error, _, journal = write(b"<html>" * 2000)
    assert written < 4096
    assert (ok, error) == (False, UpdateError.DECRYPT)
    assert not journal


@pytest.mark.parametrize("size", [0, SIZE + 1])
def test_a_size_that_does_not_fit_is_refused(size):
    machine = FakeMachine()
    update = Update(machine, FakeOta(machine))
    assert not update.begin(size)
    assert update.error is UpdateError.SIZE
    machine.flash.close()


def test_a_slot_that_begins_within_a_block_is_erased_by_sectors_up_to_its_end():
    slot = Slot(offset=START + 0x8000, size=SIZE - 0x8000)
    *_, journal = write(image(0x18000), slot=slot)
    erases = [(one.offset, one.length) for one in journal if one.kind == "erase"]
    head = [(slot.offset + n * 4096, 4096) for n in range(8)]
    assert erases[: len(head)] == head
    assert erases[len(head)] == (START + 0x10000, 65536)


def test_bytes_beyond_the_size_are_taken_into_the_buffer_and_complete_nothing():
    """UpdateClass::write() compares with what is not in flash yet."""
    machine = FakeMachine()
    update = Update(machine, FakeOta(machine))
    data = image(5000)

    async def story():
        assert update.begin(5000)
        taken = [await update.write(piece) for piece in (data[:4096], data[4096:] + b"more")]
        beyond = await update.write(bytes(905))
        return taken, beyond, await update.end()

    taken, beyond, ok = run(story())
    assert taken == [True, True]
    assert (beyond, ok, update.error) == (False, False, UpdateError.SPACE)
    machine.flash.close()


def test_without_a_block_for_its_buffer_an_update_does_not_begin_and_keeps_no_error():
    machine = FakeMachine()
    asked = []
    update = Update(machine, FakeOta(machine), allocates=lambda size: asked.append(size))
    assert not update.begin(1000)
    assert (asked, update.error) == ([4096], UpdateError.OK)
    assert not machine.flash.journal
