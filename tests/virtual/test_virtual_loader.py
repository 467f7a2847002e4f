"""The serial loader, op by op: what the ROM answers, and what the stub does."""

from __future__ import annotations

import hashlib
import struct
import zlib

import pytest

from pytest_blynk_ota.virtual.loader import slip
from pytest_blynk_ota.virtual.loader.requests import xor_checksum

OK_ROM, OK_STUB = bytes(4), bytes(2)
NOISE = bytes(range(256)) * 64
ROM_INVALID = b"\x01\x05\0\0"
DEFLATE, PLAIN = 0x10, 0x02


def statuses(answers):
    """What a list of answers say, without their data."""
    return [(one.op, one.body) for one in answers]


# ---- identity and registers


def test_sync_is_answered_eight_times_with_a_value(bench):
    answers = bench.sync()
    assert len(answers) == 8
    assert {one[4:8] for one in answers} == {bytes.fromhex("07071220")}


def test_a_sync_with_another_body_is_refused_by_the_rom(bench):
    assert bench.ask(0x08, *[0x55555555] * 9)[0].body == ROM_INVALID


def test_sync_in_the_stub_has_the_value_0(stub):
    answers = stub.sync()
    assert len(answers) == 8
    assert {one[4:8] for one in answers} == {bytes(4)}


@pytest.mark.parametrize("running", ["rom", "stub"])
def test_only_the_esp32_does_not_know_security_info(bench, running):
    if running == "stub":
        bench.start_stub()
    bench.ask(0x0A, 0x40001000)
    answer = bench.ask(0x14)[0]
    if bench.chip.name != "esp32":
        chip_id = struct.unpack_from("<I", answer.body, 12)[0]
        assert (chip_id, answer.body[20:]) == (
            bench.chip.image_id,
            OK_ROM if running == "rom" else OK_STUB,
        )
    elif running == "rom":
        assert (answer.op, answer.body) == (0x0A, ROM_INVALID)
    else:
        assert (answer.op, answer.body) == (0x14, b"\xff\0")


def test_a_register_write_changes_the_masked_bits(bench):
    bench.ask(0x09, 0x3FF00000, 0xFFFFFFFF, 0x0000FF00, 0)
    bench.ask(0x09, 0x3FF00000, 0, 0x0000F000, 0)
    assert bench.ask(0x0A, 0x3FF00000)[0].value == 0x0F00


def test_one_request_writes_many_registers(bench):
    bench.ask(0x09, 0x3FF00000, 1, 0xFFFFFFFF, 0, 0x3FF00004, 2, 0xFFFFFFFF, 10)
    assert [bench.ask(0x0A, 0x3FF00000 + at)[0].value for at in (0, 4)] == [1, 2]


def test_the_spi_controller_reads_the_id_of_a_4_mb_flash(bench):
    spi = bench.chip.model.spi
    bench.ask(0x09, spi.base + spi.usr2, 7 << 28 | 0x9F, 0xFFFFFFFF, 0)
    bench.ask(0x09, spi.base, 1 << 18, 0xFFFFFFFF, 0)
    assert bench.ask(0x0A, spi.base)[0].value == 0, "the command is done"
    assert bench.ask(0x0A, spi.base + spi.w0)[0].value == 0x1640EF


@pytest.mark.parametrize("running", ["rom", "stub"])
def test_the_baud_rate_changes_when_the_answer_is_out(bench, running):
    if running == "stub":
        bench.start_stub()
    bench.ask(0x0F, 921600, 115200)
    [(rate, said_before)] = bench.bauds
    assert rate == 921600
    assert slip.Decoder().feed(said_before)[-1][:2] == b"\x01\x0f"


# ---- what is wrong with a request


def test_an_unknown_op_repeats_the_last_answer_of_the_rom(bench):
    bench.sync()
    assert statuses(bench.ask(0x7E)) == [(8, ROM_INVALID)] * 8


@pytest.mark.parametrize(
    ("op", "status"),
    [(0x7E, b"\xc3\0"), (0x0E, b"\xc3\0"), (0xD4, b"\xc3\0"), (0xD5, b"\xff\0"), (0xDE, b"\xff\0")],
)
def test_an_unknown_op_is_invalid_to_the_stub_and_a_plugin_s_not_implemented(stub, op, status):
    assert statuses(stub.ask(op, 0, 0)) == [(op, status)]


def test_the_stub_does_not_answer_to_run_user_code(stub):
    assert stub.ask(0xD3) == []
    assert stub.ask(0x0A, 0)[0].body == OK_STUB


def test_the_stub_calls_an_answer_no_request(stub):
    frame = slip.encode(struct.pack("<BBHII", 1, 0x0A, 4, 0, 0))
    assert stub.frames(frame)[0][8:] == b"\xc3\0"


@pytest.mark.parametrize("op", [0xD0, 0xD1, 0xD2])
def test_the_rom_does_not_know_the_ops_of_the_stub(bench, op):
    bench.flash.program(0, b"\0")
    bench.ask(0x0A, 0)
    assert bench.ask(op, 0, 4096, 4096, 64)[0].body == ROM_INVALID
    assert bench.flash.read(0, 1) == b"\0"


@pytest.mark.parametrize(("running", "status"), [("rom", ROM_INVALID), ("stub", b"\xc0\0")])
def test_a_length_that_does_not_fit_is_refused(bench, running, status):
    if running == "stub":
        bench.start_stub()
    frame = slip.encode(struct.pack("<BBHII", 0, 0x0A, 8, 0, 0))
    assert bench.frames(frame)[0][8:] == status


@pytest.mark.parametrize(
    ("op", "words", "status"),
    [
        (0x08, 8, b"\xc0\0"),
        (0x0A, 2, b"\xc0\0"),
        (0x09, 3, b"\xc8\0"),
        (0x0D, 2, b"\xc0\0"),
        (0x0B, 5, b"\xc0\0"),
        (0x0F, 1, b"\xc0\0"),
        (0x05, 3, b"\xc0\0"),
        (0x06, 1, b"\xc0\0"),
        (0x02, 3, b"\xc0\0"),
        (0x10, 6, b"\xc0\0"),
        (0x03, 3, b"\xc8\0"),
        (0x07, 3, b"\xc8\0"),
        (0x11, 3, b"\xc0\0"),
        (0x04, 2, b"\xc0\0"),
        (0x13, 2, b"\xc0\0"),
        (0xD1, 1, b"\xc0\0"),
        (0xD2, 5, b"\xc0\0"),
    ],
)
def test_a_body_of_the_wrong_size_gets_the_stub_s_code_for_it(stub, op, words, status):
    assert statuses(stub.ask(op, *[0] * words)) == [(op, status)]


@pytest.mark.parametrize("op", [0x0A, 0x09, 0x0D, 0x0B, 0x0F, 0x05, 0x07, 0x06, 0x02, 0x10, 0x13])
def test_a_body_that_is_too_short_is_invalid_to_the_rom(bench, op):
    assert statuses(bench.ask(op)) == [(op, ROM_INVALID)]


@pytest.mark.parametrize("running", ["rom", "stub"])
def test_a_bad_checksum_is_refused_and_writes_nothing(bench, running):
    if running == "stub":
        bench.start_stub()
    bench.ask(PLAIN, 256, 1, 256, 0x1000)
    answer = bench.send_block(0x03, bytes(256), checksum=0x11)[0]
    assert answer.body == (b"\x01\x07\0\0" if running == "rom" else b"\xc1\0")
    assert bench.flash.read(0x1000, 1) == b"\xff"
    assert bench.send_block(0x03, bytes(256))[0].body in (OK_ROM, OK_STUB), "a retry works"
    assert bench.flash.read(0x1000, 1) == b"\0"


def test_the_stub_compares_the_whole_checksum_word_and_the_rom_its_low_byte(bench):
    word = 0x100 | xor_checksum(bytes(256))
    bench.ask(PLAIN, 512, 2, 256, 0x1000)
    assert bench.send_block(0x03, bytes(256), checksum=word)[0].body == OK_ROM
    bench.start_stub()
    bench.ask(PLAIN, 512, 2, 256, 0x1000)
    assert bench.send_block(0x03, bytes(256), checksum=word)[0].body == b"\xc1\0"


# ---- code in RAM


def test_starting_code_in_ram_greets_and_begins_the_stub(bench):
    bench.ask(0x05, 4, 1, 0x1800, 0x40080000)
    bench.send_block(0x07, b"stub")
    frame = slip.encode(struct.pack("<BBHIII", 0, 6, 8, 0, 0, 0x40080000))
    assert bench.frames(frame)[1] == b"OHAI"
    assert bench.ask(0x0A, 0)[0].body == OK_STUB


def test_starting_code_from_the_stub_greets_again(stub):
    stub.ask(0x05, 4, 1, 0x1800, 0x40080000)
    stub.send_block(0x07, b"more")
    frame = slip.encode(struct.pack("<BBHIII", 0, 6, 8, 0, 0, 0x40080000))
    assert stub.frames(frame)[1:] == [b"OHAI"]


def test_what_was_loaded_into_ram_can_be_read_there(bench):
    bench.ask(0x05, 12, 2, 8, 0x3FFE8000)
    bench.send_block(0x07, b"software", 0)
    bench.send_block(0x07, b"1234", 1)
    words = [bench.ask(0x0A, 0x3FFE8000 + at)[0].value for at in (0, 4, 8)]
    assert struct.pack("<3I", *words) == b"software1234"


def test_ending_a_ram_upload_without_an_entry_stays_in_the_rom(bench):
    bench.ask(0x05, 4, 1, 0x1800, 0x40080000)
    for stay in (1, 0):
        bench.ask(0x06, stay, 0)
        assert not bench.loader.stub


def test_a_ram_block_without_a_begin_is_refused(bench):
    assert bench.send_block(0x07, b"stub")[0].body == ROM_INVALID
    bench.start_stub()
    assert bench.send_block(0x07, b"stub")[0].body == b"\xc6\0"
    assert bench.ask(0x06, 1, 0)[0].body == b"\xc6\0"


def test_the_stub_refuses_more_than_was_announced_for_ram(stub):
    stub.ask(0x05, 4, 1, 0x1800, 0x40080000)
    assert stub.send_block(0x07, b"too much")[0].body == b"\xc9\0"


# ---- writing flash


def test_the_rom_erases_at_begin(bench):
    bench.flash.program(0, bytes(0x4000))
    bench.ask(PLAIN, 0x1800, 6, 0x400, 0x1000)
    assert bench.flash.read(0, 0x4000) == bytes(0x1000) + b"\xff" * 0x2000 + bytes(0x1000)


def test_the_stub_erases_the_first_sector_at_begin_and_the_rest_as_it_goes(stub):
    stub.flash.program(0, bytes(0x4000))
    stub.ask(PLAIN, 0x2000, 2, 0x1000, 0x1000, 0)
    assert stub.flash.read(0x1000, 0x2000) == b"\xff" * 0x1000 + bytes(0x1000)
    stub.send_block(0x03, b"\x55" * 0x1000)
    assert stub.flash.read(0x1000, 0x2000) == b"\x55" * 0x1000 + bytes(0x1000)
    stub.send_block(0x03, b"\x66" * 0x1000, 1)
    assert stub.flash.read(0x2000, 0x2000) == b"\x66" * 0x1000 + bytes(0x1000)


def test_the_stub_leaves_blank_sectors_alone_up_to_the_first_that_is_not(stub):
    stub.flash.program(0x11000, b"\0")
    before = len(stub.flash.journal)
    stub.ask(PLAIN, 0x3000, 3, 0x1000, 0x10000, 0)
    for number in range(3):
        stub.send_block(0x03, bytes(0x1000), number)
    erased = [one.offset for one in list(stub.flash.journal)[before:] if one.kind == "erase"]
    assert erased == [0x11000, 0x12000]


def test_blocks_are_written_one_after_the_other_and_padding_is_dropped(stub):
    stub.ask(PLAIN, 0x1800, 2, 0x1000, 0x10000, 0)
    stub.send_block(0x03, NOISE[:0x1000], 0)
    stub.send_block(0x03, NOISE[0x1000:0x1800] + bytes(0x800), 1)
    assert stub.ask(0x04, 1)[0].body == OK_STUB
    assert stub.flash.read(0x10000, 0x1800) == NOISE[:0x1800]
    assert stub.flash.read(0x11800, 0x800) == b"\xff" * 0x800


@pytest.mark.parametrize("running", ["rom", "stub"])
def test_one_zlib_stream_runs_across_the_blocks(bench, running):
    if running == "stub":
        bench.start_stub()
    packed = zlib.compress(NOISE, 9)
    half = len(packed) // 2
    bench.ask(DEFLATE, len(NOISE), 2, 0x4000, 0x20000)
    assert not any(bench.send_block(0x11, packed[:half], 0)[0].body)
    assert not any(bench.send_block(0x11, packed[half:], 1)[0].body)
    assert not any(bench.ask(0x13, 0, 0, 0, 0)[0].body[-2:])
    assert bench.flash.read(0x20000, len(NOISE)) == NOISE


WRONG_STREAMS = [
    (16, b"this is no zlib", 0x0B, 0xC7),
    (16, zlib.compress(bytes(16))[:-1] + b"\0", 0x0C, 0xC7),
    (16, zlib.compress(bytes(17)), 0x06, 0xC9),
    (16, zlib.compress(bytes(1 << 24)), 0x06, 0xC9),
]


@pytest.mark.parametrize(("size", "data", "_rom", "code"), WRONG_STREAMS)
def test_a_wrong_zlib_stream_is_what_the_stub_answers_to_the_next_request(
    stub, size, data, _rom, code
):
    stub.ask(DEFLATE, size, 1, 0x4000, 0x20000, 0)
    assert stub.send_block(0x11, data)[0].body == OK_STUB, "acknowledged before it is written"
    assert statuses(stub.ask(0x0A, 0x40001000)) == [(0x0A, bytes((code, 0)))]
    assert stub.ask(0x0A, 0x40001000)[0].body == OK_STUB, "said once"


def test_a_sync_is_answered_whatever_went_wrong_behind_the_last_answer(stub):
    stub.ask(DEFLATE, 16, 1, 0x4000, 0x20000, 0)
    stub.send_block(0x11, b"this is no zlib")
    answers = stub.sync()
    assert len(answers) == 8
    assert not any(any(one[8:]) for one in answers)


@pytest.mark.parametrize(("size", "data", "code", "_stub"), WRONG_STREAMS)
def test_a_wrong_zlib_stream_is_refused_by_the_rom_and_ends_the_write(
    bench, size, data, code, _stub
):
    bench.ask(DEFLATE, size, 1, 0x400, 0x20000)
    assert bench.send_block(0x11, data)[0].body == bytes((1, code, 0, 0))
    assert bench.send_block(0x11, data)[0].body == ROM_INVALID


def test_ending_a_write_too_early_is_refused_by_the_stub_and_goes_on(stub):
    stub.ask(PLAIN, 0x2000, 2, 0x1000, 0x1000, 0)
    stub.send_block(0x03, bytes(0x1000))
    assert stub.ask(0x04, 1)[0].body == b"\xc0\0"
    stub.send_block(0x03, bytes(0x1000), 1)
    assert stub.ask(0x04, 1)[0].body == OK_STUB


@pytest.mark.parametrize(("running", "status"), [("rom", ROM_INVALID), ("stub", b"\xc6\0")])
def test_blocks_and_ends_without_a_begin_are_refused(bench, running, status):
    if running == "stub":
        bench.start_stub()
    for op in (0x03, 0x11):
        assert bench.send_block(op, bytes(16))[0].body == status
    for op in (0x04, 0x12):
        assert bench.ask(op, 1)[0].body == status
    assert bench.left == []


@pytest.mark.parametrize(("running", "status"), [("rom", ROM_INVALID), ("stub", b"\xc6\0")])
def test_a_compressed_block_in_a_plain_write_is_refused(bench, running, status):
    if running == "stub":
        bench.start_stub()
    bench.ask(PLAIN, 16, 1, 0x1000, 0x1000)
    assert bench.send_block(0x11, bytes(16))[0].body == status


def test_a_write_beyond_the_flash_is_refused(bench):
    end = bench.flash.size
    assert bench.ask(PLAIN, 0x2000, 2, 0x1000, end - 0x1000)[0].body == b"\x01\x08\0\0"
    bench.start_stub()
    assert bench.ask(PLAIN, 0x2000, 2, 0x1000, end, 0)[0].body == b"\xc4\0"
    assert bench.ask(PLAIN, 0x2000, 2, 0x1000, end - 0x1000, 0)[0].body == OK_STUB
    bench.send_block(0x03, bytes(0x1000), 0)
    assert bench.send_block(0x03, bytes(0x1000), 1)[0].body == OK_STUB
    assert bench.ask(0x04, 1)[0].body == b"\xc4\0", "the write behind the answer failed"


def test_the_fifth_word_asks_for_encryption_which_no_virtual_chip_has(bench):
    refused = {"esp32": ROM_INVALID}.get(bench.chip.name, b"\x01\x06\0\0")
    plain = {"esp32": ROM_INVALID}.get(bench.chip.name, OK_ROM)
    assert bench.ask(PLAIN, 16, 1, 0x400, 0x1000, 1)[0].body == refused
    assert bench.ask(PLAIN, 16, 1, 0x400, 0x1000, 0)[0].body == plain
    bench.start_stub()
    assert bench.ask(DEFLATE, 16, 1, 0x4000, 0x1000, 1)[0].body == b"\xc4\0"
    assert bench.ask(DEFLATE, 16, 1, 0x4000, 0x1000, 0)[0].body == OK_STUB


def test_ending_with_0_leaves_the_stub(stub):
    stub.ask(PLAIN, 0, 0, 0x4000, 0, 0)
    assert stub.ask(0x04, 0)[0].body == OK_STUB
    assert stub.ask(0x0A, 0)[0].body == OK_ROM
    assert stub.left == [], "but not download mode"


@pytest.mark.parametrize("argument", [0, 1])
def test_ending_in_the_rom_runs_the_app(bench, argument):
    bench.ask(PLAIN, 0, 0, 0x400, 0)
    assert bench.ask(0x04, argument)[0].body == OK_ROM
    assert bench.left == [0xC]


# ---- reading flash


def test_the_digest_is_hex_from_the_rom_and_raw_from_the_stub(bench):
    bench.flash.program(0x1000, NOISE)
    digest = hashlib.md5(NOISE)
    assert bench.ask(0x13, 0x1000, len(NOISE), 0, 0)[0].body == (
        digest.hexdigest().encode() + OK_ROM
    )
    bench.start_stub()
    assert bench.ask(0x13, 0x1000, len(NOISE), 0, 0)[0].body == digest.digest() + OK_STUB


def test_a_digest_beyond_the_flash_is_refused(bench):
    assert bench.ask(0x13, bench.flash.size, 1, 0, 0)[0].body == b"\x01\x09\0\0"
    bench.start_stub()
    assert bench.ask(0x13, bench.flash.size, 1, 0, 0)[0].body == b"\xc4\0"


def test_the_slow_read_always_gives_64_bytes(bench):
    bench.flash.program(0, b"\x01\x02")
    body = bench.ask(0x0E, 0, 2)[0].body
    assert body == b"\x01\x02".ljust(64, b"\0") + OK_ROM
    assert bench.ask(0x0E, 0, 65)[0].body == b"\x01\x0a\0\0"


def test_erase_region_and_erase_flash(stub):
    stub.flash.program(0, bytes(0x3000))
    assert stub.ask(0xD1, 0x1000, 0x1000)[0].body == OK_STUB
    assert stub.flash.read(0, 0x3000) == bytes(0x1000) + b"\xff" * 0x1000 + bytes(0x1000)
    assert stub.ask(0xD1, 0x100, 0x1000)[0].body == b"\xc0\0"
    assert stub.ask(0xD1, stub.flash.size, 0x1000)[0].body == b"\xc4\0"
    assert stub.ask(0xD0)[0].body == OK_STUB
    assert stub.flash.read(0, stub.flash.size).count(0xFF) == stub.flash.size


def acknowledge(stub, count):
    return stub.frames(slip.encode(struct.pack("<I", count)))


def test_a_fast_read_keeps_to_its_window_and_ends_with_a_digest(stub):
    stub.flash.program(0, NOISE)
    head, *first = stub.frames(
        slip.encode(struct.pack("<BBHI4I", 0, 0xD2, 16, 0, 0, 0x3800, 0x1000, 2))
    )
    assert head[8:] == OK_STUB
    assert first == [NOISE[:0x1000], NOISE[0x1000:0x2000]]
    assert acknowledge(stub, 0x1000) == [NOISE[0x2000:0x3000]]
    assert acknowledge(stub, 0x3000) == [NOISE[0x3000:0x3800]]
    assert acknowledge(stub, 0x3800) == [hashlib.md5(NOISE[:0x3800]).digest()]
    assert stub.ask(0x0A, 0)[0].body == OK_STUB, "and is over"


def test_late_and_repeated_acknowledgements_cost_no_frame(stub):
    stub.flash.program(0, NOISE)
    stub.ask(0xD2, 0, 0x4000, 0x1000, 3)
    assert acknowledge(stub, 0x3000) == [NOISE[0x3000:0x4000]]
    assert acknowledge(stub, 0x1000) == []
    assert acknowledge(stub, 0x2000) == []
    assert acknowledge(stub, 0x4000) == [hashlib.md5(NOISE).digest()]


def test_a_command_in_the_middle_of_a_fast_read_ends_it(stub):
    stub.ask(0xD2, 0, 0x8000, 0x1000, 1)
    assert stub.ask(0x0A, 0)[0].body == OK_STUB
    assert acknowledge(stub, 0x1000) == []


@pytest.mark.parametrize(
    ("offset", "block", "status"), [(0, 0x1001, b"\xc0\0"), (4 << 20, 0x1000, b"\xc4\0")]
)
def test_a_fast_read_that_cannot_be_is_what_the_next_request_hears(stub, offset, block, status):
    assert stub.ask(0xD2, offset, 0x1000, block, 64)[0].body == OK_STUB
    assert stub.ask(0x0A, 0)[0].body == status


# ---- the watchdog


def write(bench, address, value):
    bench.ask(0x09, address, value, 0xFFFFFFFF, 0)


def test_the_rtc_watchdog_bites_once_it_is_unlocked_and_enabled(bench):
    registers = bench.chip.model.watchdog
    write(bench, registers.config, 1 << 31)
    assert bench.watchdog == [], "its registers are locked"
    write(bench, registers.protect, 0x50D83AA1)
    write(bench, registers.timeout, 2000)
    write(bench, registers.config, 1 << 31 | 5 << 28 | 1 << 8 | 2)
    assert bench.watchdog[-1] == pytest.approx(2000 / 136_000)
    write(bench, registers.config, 0)
    assert bench.watchdog[-1] is None


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 1024, 16384])
def test_the_checksum_is_ef_xor_every_byte(size):
    data = NOISE[7 : 7 + size]
    expected = 0xEF
    for byte in data:
        expected ^= byte
    assert xor_checksum(data) == expected
