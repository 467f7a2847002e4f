"""The serial loader, op by op, and against recorded sessions of real mask ROMs."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path

import pytest

from pytest_blynk_ota.virtual.chip import registers
from pytest_blynk_ota.virtual.chip.chips import MARKER, MODELS, VirtualChip, make_chip
from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.loader import slip
from pytest_blynk_ota.virtual.loader.session import Loader

RECORDED = Path(__file__).parents[1] / "data" / "loader"
RECORDED_MAC = bytes.fromhex("240ac4000110")
RECORDED_WORDS = {  # where the recorded chips differ from ours in more than their MAC
    "esp32": {0x3FF5A00C: 0x8000, 0x3FF5A010: 0, 0x3FF44038: 0x0F},
    "esp32c3": {},
}
RECORDED_BAUD = 115606  # a clock divider of 346
OK_ROM, OK_STUB = bytes(4), bytes(2)
NOISE = bytes(range(256)) * 64


@pytest.mark.parametrize(
    "name",
    [
        "esp32_chip_id_nostub",
        "esp32_flash_id",
        "esp32_read4k",
        "esp32_write64k",
        "esp32c3_chip_id_nostub",
        "esp32c3_flash_id",
        "esp32c3_write64k",
        "esp32c3_write64k_nostub",
    ],
)
def test_every_byte_is_as_a_real_rom_and_stub_answered(name, monkeypatch):
    monkeypatch.setitem(registers.FLASH_COMMANDS, 0x9F, 0x1640C8)  # its flash was another make
    monkeypatch.setitem(registers.FLASH_COMMANDS, 0x5A, 0)
    chip_name = name.split("_")[0]
    made = make_chip(MODELS[chip_name], RECORDED_MAC)
    words = {**made.registers, **RECORDED_WORDS[chip_name]}
    chip = VirtualChip(made.model, made.mac, made.revision, words)
    sent = bytearray()
    loader = Loader(chip, NorFlash(), sent.extend, lambda _cause: None, lambda: RECORDED_BAUD)
    rows = [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text().splitlines()]
    expected = bytearray()
    for row in rows[1:]:
        if row["dir"] == "host":
            loader.feed(bytes.fromhex(row["hex"]))
        elif row.get("note") != "boot banner":
            expected += bytes.fromhex(row["hex"])
    assert slip.Decoder().feed(bytes(sent)) == slip.Decoder().feed(bytes(expected))


def test_sync_is_answered_eight_times_with_a_value(bench):
    answers = bench.sync()
    assert len(answers) == 8
    assert {one[4:8] for one in answers} == {bytes.fromhex("07071220")}


def test_sync_in_the_stub_has_the_value_0(stub):
    answers = stub.sync()
    assert len(answers) == 8
    assert {one[4:8] for one in answers} == {bytes(4)}


def test_only_the_esp32_does_not_know_security_info(bench):
    bench.ask(0x0A, 0x40001000)
    answer = bench.ask(0x14)[0]
    if bench.chip.name == "esp32":
        assert (answer.op, answer.body) == (0x0A, b"\x01\x05\0\0")
    else:
        chip_id, api = struct.unpack_from("<II", answer.body, 12)
        assert (chip_id, api, answer.body[20:]) == (5, 3, OK_ROM)


def test_an_unknown_op_repeats_the_last_answer_of_the_rom(bench):
    bench.sync()
    answers = bench.ask(0x7E)
    assert [(one.op, one.body) for one in answers] == [(8, b"\x01\x05\0\0")] * 8


@pytest.mark.parametrize("op", [0x7E, 0x0E, 0xD5])
def test_an_unknown_op_gets_01_ff_from_the_stub(stub, op):
    assert [(one.op, one.body) for one in stub.ask(op, 0, 0)] == [(op, b"\x01\xff")]


@pytest.mark.parametrize("op", [0xD0, 0xD1, 0xD2])
def test_the_rom_does_not_know_the_ops_of_the_stub(bench, op):
    bench.flash.program(0, b"\0")
    bench.ask(0x0A, 0)
    assert bench.ask(op, 0, 4096, 4096, 64)[0].body == b"\x01\x05\0\0"
    assert bench.flash.read(0, 1) == b"\0"


def test_the_marker_stands_in_the_user_efuses(bench):
    address = bench.chip.model.marker_address
    words = [bench.ask(0x0A, address + 4 * n)[0].value for n in range(8)]
    assert struct.pack("<8I", *words).rstrip(b"\0") == MARKER


def test_a_register_write_changes_the_masked_bits(bench):
    bench.ask(0x09, 0x3FF00000, 0xFFFFFFFF, 0x0000FF00, 0)
    bench.ask(0x09, 0x3FF00000, 0, 0x0000F000, 0)
    assert bench.ask(0x0A, 0x3FF00000)[0].value == 0x0F00


def test_the_spi_controller_reads_the_id_of_a_4_mb_flash(bench):
    spi = bench.chip.model.spi
    bench.ask(0x09, spi.base + spi.usr2, 7 << 28 | 0x9F, 0xFFFFFFFF, 0)
    bench.ask(0x09, spi.base, 1 << 18, 0xFFFFFFFF, 0)
    assert bench.ask(0x0A, spi.base)[0].value == 0, "the command is done"
    assert bench.ask(0x0A, spi.base + spi.w0)[0].value == 0x1640EF


def test_starting_code_in_ram_greets_and_begins_the_stub(bench):
    bench.ask(0x05, 4, 1, 0x1800, 0x40080000)
    bench.send_block(0x07, b"stub")
    frame = slip.encode(struct.pack("<BBHIII", 0, 6, 8, 0, 0, 0x40080000))
    assert bench.frames(frame)[1] == b"OHAI"
    assert bench.ask(0x0A, 0)[0].body == OK_STUB


def test_ending_a_ram_upload_without_an_entry_stays_in_the_rom(bench):
    bench.ask(0x05, 4, 1, 0x1800, 0x40080000)
    bench.ask(0x06, 1, 0)
    assert not bench.loader.stub


@pytest.mark.parametrize("running", ["rom", "stub"])
def test_a_bad_checksum_is_refused_and_writes_nothing(bench, running):
    if running == "stub":
        bench.start_stub()
    bench.ask(0x02, 256, 1, 256, 0x1000, 0)
    answer = bench.send_block(0x03, bytes(256), checksum=0x11)[0]
    assert answer.body == (b"\x01\x07\0\0" if running == "rom" else b"\x01\xc1")
    assert bench.flash.read(0x1000, 1) == b"\xff"
    assert bench.send_block(0x03, bytes(256))[0].body in (OK_ROM, OK_STUB), "a retry works"
    assert bench.flash.read(0x1000, 1) == b"\0"


def test_a_length_that_does_not_fit_is_refused(bench):
    frame = slip.encode(struct.pack("<BBHII", 0, 0x0A, 8, 0, 0))
    assert bench.frames(frame)[0][8:] == b"\x01\x05\0\0"


def test_the_rom_erases_at_begin(bench):
    bench.flash.program(0, bytes(0x4000))
    bench.ask(0x02, 0x1800, 6, 0x400, 0x1000)
    assert bench.flash.read(0, 0x4000) == bytes(0x1000) + b"\xff" * 0x2000 + bytes(0x1000)


def test_the_stub_erases_as_it_goes(stub):
    stub.flash.program(0, bytes(0x4000))
    stub.ask(0x02, 0x2000, 2, 0x1000, 0x1000, 0)
    assert stub.flash.read(0x1000, 0x2000) == bytes(0x2000)
    stub.send_block(0x03, b"\x55" * 0x1000)
    assert stub.flash.read(0x1000, 0x2000) == b"\x55" * 0x1000 + bytes(0x1000)


def test_blocks_are_written_one_after_the_other_and_padding_is_dropped(stub):
    stub.ask(0x02, 0x1800, 2, 0x1000, 0x10000, 0)
    stub.send_block(0x03, NOISE[:0x1000], 0)
    stub.send_block(0x03, NOISE[0x1000:0x1800] + bytes(0x800), 1)
    assert stub.ask(0x04, 1)[0].body == OK_STUB
    assert stub.flash.read(0x10000, 0x1800) == NOISE[:0x1800]
    assert stub.flash.read(0x11800, 0x800) == b"\xff" * 0x800


def test_one_zlib_stream_runs_across_the_blocks(stub):
    packed = zlib.compress(NOISE, 9)
    half = len(packed) // 2
    stub.ask(0x10, len(NOISE), 2, 0x4000, 0x20000, 0)
    assert stub.send_block(0x11, packed[:half], 0)[0].body == OK_STUB
    assert stub.send_block(0x11, packed[half:], 1)[0].body == OK_STUB
    assert stub.ask(0x12, 1)[0].body == OK_STUB
    assert stub.flash.read(0x20000, len(NOISE)) == NOISE


@pytest.mark.parametrize(
    ("size", "data", "code"),
    [
        (16, b"this is no zlib", b"\x01\xc7"),
        (16, zlib.compress(bytes(17)), b"\x01\xc9"),
        (16, zlib.compress(bytes(1 << 24)), b"\x01\xc9"),
    ],
)
def test_a_wrong_zlib_stream_is_refused(stub, size, data, code):
    stub.ask(0x10, size, 1, 0x4000, 0x20000, 0)
    assert stub.send_block(0x11, data)[0].body == code


def test_ending_a_write_too_early_is_refused_by_the_stub(stub):
    stub.ask(0x02, 0x2000, 2, 0x1000, 0x1000, 0)
    stub.send_block(0x03, bytes(0x1000))
    assert stub.ask(0x04, 1)[0].body == b"\x01\xc8"


def test_a_block_without_a_begin_is_refused(stub):
    assert stub.send_block(0x03, bytes(16))[0].body == b"\x01\xc6"


def test_a_compressed_block_in_a_plain_write_is_refused(stub):
    stub.ask(0x02, 16, 1, 0x1000, 0x1000, 0)
    assert stub.send_block(0x11, bytes(16))[0].body == b"\x01\xc6"


def test_a_write_beyond_the_flash_is_refused(stub):
    assert stub.ask(0x02, 0x2000, 2, 0x1000, stub.flash.size - 0x1000, 0)[0].body == b"\x01\xc4"


def test_ending_with_0_leaves_the_stub(stub):
    stub.ask(0x02, 0, 0, 0x4000, 0, 0)
    assert stub.ask(0x04, 0)[0].body == OK_STUB
    assert stub.ask(0x0A, 0)[0].body == OK_ROM
    assert stub.left == [], "but not download mode"


@pytest.mark.parametrize("argument", [0, 1])
def test_ending_in_the_rom_runs_the_app(bench, argument):
    bench.ask(0x02, 0, 0, 0x400, 0)
    assert bench.ask(0x04, argument)[0].body == OK_ROM
    assert bench.left == [0xC]


def test_the_digest_is_hex_from_the_rom_and_raw_from_the_stub(bench):
    bench.flash.program(0x1000, NOISE)
    digest = hashlib.md5(NOISE)
    assert bench.ask(0x13, 0x1000, len(NOISE), 0, 0)[0].body == (
        digest.hexdigest().encode() + OK_ROM
    )
    bench.start_stub()
    assert bench.ask(0x13, 0x1000, len(NOISE), 0, 0)[0].body == digest.digest() + OK_STUB


def test_the_slow_read_always_gives_64_bytes(bench):
    bench.flash.program(0, b"\x01\x02")
    body = bench.ask(0x0E, 0, 2)[0].body
    assert body == b"\x01\x02".ljust(64, b"\0") + OK_ROM
    assert bench.ask(0x0E, 0, 65)[0].body == b"\x01\x05\0\0"


def test_erase_region_and_erase_flash(stub):
    stub.flash.program(0, bytes(0x3000))
    assert stub.ask(0xD1, 0x1000, 0x1000)[0].body == OK_STUB
    assert stub.flash.read(0, 0x3000) == bytes(0x1000) + b"\xff" * 0x1000 + bytes(0x1000)
    assert stub.ask(0xD1, 0x100, 0x1000)[0].body == b"\x01\xc4"
    assert stub.ask(0xD0)[0].body == OK_STUB
    assert stub.flash.read(0, stub.flash.size).count(0xFF) == stub.flash.size


def test_a_fast_read_keeps_to_its_window_and_ends_with_a_digest(stub):
    stub.flash.program(0, NOISE)
    head, *first = stub.frames(
        slip.encode(struct.pack("<BBHI4I", 0, 0xD2, 16, 0, 0, 0x3800, 0x1000, 2))
    )
    assert head[8:] == OK_STUB
    assert first == [NOISE[:0x1000], NOISE[0x1000:0x2000]]
    assert stub.frames(slip.encode(struct.pack("<I", 0x1000))) == [NOISE[0x2000:0x3000]]
    assert stub.frames(slip.encode(struct.pack("<I", 0x3000))) == [NOISE[0x3000:0x3800]]
    assert stub.frames(slip.encode(struct.pack("<I", 0x3800))) == [
        hashlib.md5(NOISE[:0x3800]).digest()
    ]
    assert stub.ask(0x0A, 0)[0].body == OK_STUB, "and is over"


def test_a_command_in_the_middle_of_a_fast_read_ends_it(stub):
    stub.ask(0xD2, 0, 0x8000, 0x1000, 1)
    assert stub.ask(0x0A, 0)[0].body == OK_STUB
    assert stub.frames(slip.encode(struct.pack("<I", 0x1000))) == []
