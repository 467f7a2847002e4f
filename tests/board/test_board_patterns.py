"""The pattern table, line by line; whole transcripts are in test_board_transcripts.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.board.patterns import (
    MAX_LINE_CHARS,
    ROWS,
    LineSplitter,
    Mark,
    clean,
    marks,
)

DATA = Path(__file__).parent.parent / "data" / "serial"


def lines_of(raw: bytes) -> list[str]:
    splitter = LineSplitter()
    return splitter.feed(raw) + splitter.flush()


def marks_of(raw: bytes) -> list[Mark]:
    return [mark for line in lines_of(raw) for mark in marks(line)]


def of_line(line: str) -> list[tuple[str, dict]]:
    return [(mark.kind, dict(mark.data)) for mark in marks(line)]


def firmware(line: str) -> dict:
    """What a print of the firmware says, without its text."""
    (mark,) = marks(line)
    assert mark.kind == "firmware"
    return {key: value for key, value in mark.data.items() if key != "text"}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("esp32_blank_flash", {"invalid_header"}),
        ("esp32_bootloader_bit_flip", {"bootloader_checksum", "rom_gives_up"}),
        ("esp32_partition_table_bad_md5", {"no_table"}),
        ("esp32_slot1_bad_hash_only_payload", {"image_hash", "slot_not_bootable"}),
        ("esp32_slot1_empty", {"bad_magic", "slot_not_bootable"}),
        ("esp32c3_slot1_wrong_chip", {"chip_id", "slot_not_bootable"}),
        ("esp32c3_slot1_min_rev_too_high", {"chip_revision", "slot_not_bootable"}),
        ("esp32_all_bad_with_factory",
         {"bad_magic", "checksum", "image_hash", "slot_not_bootable", "no_bootable_app"}),
        ("esp32_ota_success_confirmed", set()),
    ],
)  # fmt: skip
def test_boot_errors_have_their_names(name, what):
    found = marks_of((DATA / f"{name}.log").read_bytes())
    assert {mark.data["what"] for mark in found if mark.kind == "boot_error"} == what


def test_the_app_says_what_it_is():
    found = marks_of((DATA / "esp32c3_poweron_idf-hello-6.0dev-esp32c3.log").read_bytes())
    assert {m.data["field"]: m.data["value"] for m in found if m.kind == "app"} == {
        "project": "hello_world", "version": "qa-test-esp32c61-master-2025070",
        "elf_sha256": "02aa67666", "idf": "v6.0-dev-2079-g3655d4cdca"}  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "I (1) app_init: App version:      qa-tCompile time:     Jun  8 2023",
        "I (1) app_init: App version:      1.0.I (1722) heap_init: Initializing",
        "I (1) cpu_start: App version:      1.0.07562ee9c224bd53...",
        "I (1) cpu_start: Project name:     heI (2521) cpu_start: ELF file SHA",
        "I (1) app_init: ELF file SHA256:  0756I (2521)",
    ],
)
def test_a_value_that_runs_into_the_next_line_is_not_believed(line):
    assert [mark for mark in marks(line) if mark.kind == "app"] == []


CRASHES = [
    ("Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.", "panic"),
    ("Guru Meditation Error: Core  1 panic'ed (Interrupt wdt timeout on CPU1).", "int_wdt"),
    ("Guru Meditation Error: Core  0 panic'ed (Cache error).", "cache_error"),
    ("Guru Meditation Error: Core  0 panic'ed (Stack protection fault).", "stack_overflow"),
    ("Debug exception reason: Stack canary watchpoint triggered (main)", "stack_overflow"),
    ("***ERROR*** A stack overflow in task main has been detected.", "stack_overflow"),
    ("abort() was called at PC 0x400d1234 on core 0", "abort"),
    ("assert failed: xQueueGenericSend queue.c:832 (pxQueue)", "assert"),
    ("ESP_ERROR_CHECK failed: esp_err_t 0x102 (ESP_ERR_INVALID_ARG) at 0x400d0000", "esp_error"),
    ("E (10123) task_wdt: Task watchdog got triggered. The following tasks did not", "task_wdt"),
    ("Brownout detector was triggered", "brownout"),
    ("CORRUPT HEAP: Bad head at 0x3ffb0000", "heap"),
    ("Mem alloc fail. size 0x00001000 caps 0x00001800", "heap"),
    ("E BOD: Brownout detector was triggered", "brownout"),
]


@pytest.mark.parametrize(("line", "what"), CRASHES)
def test_a_crash_has_one_name(line, what):
    assert of_line(line)[:1] == [("crash", {"what": what, "text": line})]


@pytest.mark.parametrize(
    ("line", "data"),
    [
        ("[5012] RUNNING => OTA_UPGRADE",
         {"what": "ota_state", "from": "RUNNING", "to": "OTA_UPGRADE"}),
        ("[65012] OTA_UPGRADE => ERROR",
         {"what": "ota_state", "from": "OTA_UPGRADE", "to": "ERROR"}),
        ("[1][I][x.h:1] RUNNING => OTA UPGRADE",
         {"what": "ota_state", "from": "RUNNING", "to": "OTA UPGRADE"}),
        ("[5013] Firmware update URL: http://10.0.0.1:80/f/new.bin?token=ab&s=0",
         {"what": "ota_url", "url": "http://10.0.0.1:80/f/new.bin?token=ab&s=0"}),
        ("[9] HTTP response should be 200", {"what": "http_status_refused"}),
        ("[9][E][BlynkOTA] HTTP status code: -3", {"what": "http_status_refused", "status": -3}),
        ("[9] Content-Length not defined", {"what": "no_length"}),
        ("[9] OTA written 4096 / 1048576 bytes",
         {"what": "short_body", "done": 4096, "total": 1048576}),
        ("[9] OTA written 1048576 / 1048576 bytes",
         {"what": "written", "done": 1048576, "total": 1048576}),
        ("[9] Interrupted at 4096 / 8192", {"what": "short_body", "done": 4096, "total": 8192}),
        (" Flashing... 40%", {"what": "progress", "percent": 40}),
        ("[9] Error #9", {"what": "update_error", "code": 9}),
        ("[9] SHA256 mismatch", {"what": "hash_mismatch"}),
        ("[9] Not enough space to begin OTA", {"what": "no_space"}),
        ("[9] Connection failed", {"what": "connect_failed"}),
        ("[9] Response timeout", {"what": "timeout"}),
        ("[9] === Update successfully completed. Rebooting.", {"what": "success"}),
        ("[9] Restarting after error.", {"what": "error_restart"}),
        ("[102] Firmware: 1.0.0 (build Nov 23 2026 17:29:49)",
         {"what": "version", "version": "1.0.0", "build": "Nov 23 2026 17:29:49"}),
        ("[9] Connect failed. code: 3", {"what": "login_failed", "code": 3}),
        ("[9] Login timeout", {"what": "login_failed"}),
        ("[9] Heartbeat timeout", {"what": "heartbeat_timeout"}),
    ],
)  # fmt: skip
def test_the_firmware_says_what_it_does(line, data):
    assert firmware(line) == data


@pytest.mark.parametrize(
    "line",
    ["[9] HTTP status code: 200", "[9] CONNECTING_CLOUD => RUNNING", "wifi: Connection failed",
     "Timeout value: 5", "OTA: available", ">>> print('hello')"],
)  # fmt: skip
def test_other_lines_say_nothing(line):
    assert of_line(line) == []


def test_a_banner_after_a_torn_line_is_seen():
    ((kind, data),) = of_line("I (31) boorst:0x10 (RTCWDT_RTC_RESET),boot:0x13 (SPI_FAST")
    assert kind == "reset"
    assert data == {"code": 16, "cause": "RTCWDT_RTC_RESET", "download": False, "boot": 0x13}


def test_two_resets_in_one_line_are_two():
    line = "rst:0x8 (TG1WDT_SYS_RESET),boot:0x12 (SPIrst:0x7 (TG0WDT_SYS_RESET),boot:0x12 (SPI)"
    assert [data["code"] for _, data in of_line(line)] == [8, 7]


def test_every_kind_of_line_end_ends_a_line():
    assert lines_of(b"a\r\nb\nc\rd\r\r\ne\n\rf") == ["a", "b", "c", "d", "e", "f"]


def test_colours_and_control_characters_are_removed():
    assert clean("\x1b[0;31mE (1) boot: x\x1b[0m\x00\x07 \t") == "E (1) boot: x"


def test_noise_without_line_ends_is_cut():
    assert {len(line) for line in lines_of(b"x" * (3 * MAX_LINE_CHARS))} == {MAX_LINE_CHARS}


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), min_size=1))
@example(b"x" * (2 * MAX_LINE_CHARS + 7) + b"\ny", [1000])
@example(b"x" * (2 * MAX_LINE_CHARS) + b"\r\ny", [3 * MAX_LINE_CHARS])
def test_the_pieces_that_bytes_come_in_do_not_matter(raw, sizes):
    splitter, found, at, turn = LineSplitter(), [], 0, 0
    while at < len(raw):
        size = sizes[turn % len(sizes)]
        found += splitter.feed(raw[at : at + size])
        at, turn = at + size, turn + 1
    assert found + splitter.flush() == lines_of(raw)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.pattern.pattern[:40])
def test_a_row_finds_nothing_in_a_line_without_its_needles(row):
    """Else a line is left out that should have been searched."""

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.from_regex(row.pattern))
    def check(line):
        assert row.may_match(line)

    check()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.pattern.pattern[:40])
def test_a_row_names_its_source_and_has_needles(row):
    assert row.source
    assert row.needles


@given(st.text(max_size=300))
def test_no_text_breaks_the_table(text):
    for mark in marks(text):
        json.dumps(dict(mark.data))


@pytest.mark.parametrize("line", [
    "I (1) boot: Loaded app from partition at offset 0x10" + "9" * 4000,
    "rst:0x1" + "9" * 4000 + " (POWERON),boot:0x8 (SPI_FAST_FLASH_BOOT)",
])  # fmt: skip
def test_a_number_that_noise_has_made_endless_is_none(line):
    """JSON could not even write it: Python refuses numbers of more than 4300 digits."""
    assert of_line(line) == []


METRICS = [
    ("[102] Free mem:  250000", ("free heap", 250_000, "B")),
    (" Heap free:       200000 / 320000", ("free heap", 200_000, "B")),
    ("      max alloc:  100000", ("largest free block", 100_000, "B")),
    ("      min free:   150000", ("min free heap", 150_000, "B")),
    ("Minimum free heap size: 301716 bytes", ("min free heap", 301_716, "B")),
    ("  Free Bytes        :   340856 B ( 332.9 KB)", ("free heap", 340_856, "B")),
    ("  Min Free Bytes    :   330000 B ( 322.3 KB)", ("min free heap", 330_000, "B")),
    ("  Largest Free Block:   290804 B ( 284.0 KB)", ("largest free block", 290_804, "B")),
    ("[I][main.cpp:8] free heap: 123456", ("free heap", 123_456, "B")),
    ("Free heap size: 123456 bytes", ("free heap", 123_456, "B")),
    ("heap=123456 rssi=-50", ("free heap", 123_456, "B")),
    ("I (3022) wifi:security: WPA2-PSK, phy: bgn, rssi: -61", ("rssi", -61, "dBm")),
    ("I (939) wifi: security type: 3, phy: bgn, rssi: -68", ("rssi", -68, "dBm")),
    ("[9][I][x] WiFi connected (IP: 192.168.4.2, RSSI: -52)", ("rssi", -52, "dBm")),
    ("mac:02:B1:6E:00:00:01 ip:192.168.4.2 (lab [02:b1:6e:00:00:01] -52dBm)", ("rssi", -52, "dBm")),
    ("ssid:lab bssid:02:b1:6e:00:00:01 rssi:-52dBm", ("rssi", -52, "dBm")),
    ("[2456] Ready (ping: 249ms).", ("cloud ping", 249, "ms")),
]


@pytest.mark.parametrize(("line", "metric"), METRICS)
def test_a_number_that_the_firmware_prints_is_a_metric(line, metric):
    found = [data for kind, data in of_line(clean(line)) if kind == "metric"]
    assert [tuple(data.values()) for data in found] == [metric]


@pytest.mark.parametrize(
    "line",
    ["Total heap: 327680", "Heap size: 327680", "min heap: 1000", "heap_init: At 3FFAE6E0 len 0",
     "I (1) heap_init: At 3FFB3568 len 0002CA98 (178 KiB): DRAM", "CORRUPT HEAP: Bad head at 0x3ff",
     "Internal Total heap 300000, internal Free Heap 200000", "free heap: " + "9" * 400,
     "* lab [02:b1:6e:00:00:01] WPA2 ch:6 rssi:-52"],
)  # fmt: skip
def test_other_numbers_are_no_metric(line):
    assert [data for kind, data in of_line(line) if kind == "metric"] == []
