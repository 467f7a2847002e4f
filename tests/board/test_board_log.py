"""A log read as it comes: crashes and core dumps out of many lines, whatever stands between."""

from __future__ import annotations

import json

import pytest
from fuzz_log import LINES, check_log, told
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import read

from pytest_blynk_ota.board.log import Line, LogReader, Said

PANIC = b"""Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.

Core  0 register dump:
PC      : 0x400d5614  PS      : 0x00060130  A0      : 0x800d31c1  A1      : 0x3ffb47a0
EXCVADDR: 0x00000004  LBEG    : 0x4000c46c  LEND    : 0x4000c477  LCOUNT  : 0xffffffff


Backtrace: 0x400d5611:0x3ffb47a0 0x400d31be:0x3ffb47d0 |<-CORRUPTED


ELF file SHA256: 31e5f6d2f

"""


def crashes(raw: bytes) -> list[dict]:
    return [dict(one.mark.data) for one in told(raw) if one.mark.kind == "crash"]


def crash(raw: bytes) -> dict:
    (one,) = crashes(raw)
    return one


def test_a_panic_has_core_place_address_and_backtrace():
    found = crash(PANIC + b"Rebooting...\n")
    assert found["kind"] == "LoadProhibited"
    assert (found["core"], found["pc"], found["address"]) == (0, "0x400d5614", "0x00000004")
    assert found["backtrace"] == ["0x400d5611", "0x400d31be"]
    assert found["corrupted"]
    assert found["elf_sha256"] == "31e5f6d2f"


def test_a_crash_is_told_at_its_first_line_and_before_the_reset():
    raw = b"hello\n" + PANIC + b"rst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\n"
    kinds = [(one.n, one.mark.kind) for one in told(raw)]
    assert kinds == [(7, "app"), (2, "crash"), (8, "reset")]


def test_a_crash_that_is_cut_is_told_when_the_log_is_silent():
    reader = LogReader()
    assert all(isinstance(one, Line) for one in reader.feed(PANIC.split(b"Backtrace")[0]))
    assert reader.waits
    (found,) = reader.settle()
    assert isinstance(found, Said)
    assert (found.mark.data["pc"], found.mark.data["backtrace"]) == ("0x400d5614", [])
    assert not reader.waits


def test_the_other_cores_lines_between_do_not_end_a_crash():
    raw = PANIC.replace(b"\n\nBacktrace", b"\nI (5) wifi: x\nI (6) wifi: y\nBacktrace")
    assert crash(raw)["backtrace"] == ["0x400d5611", "0x400d31be"]


def test_the_registers_of_the_core_that_panicked_count():
    first, second = PANIC, PANIC.replace(b"Core  0 register", b"Core  1 register")
    second = second[second.index(b"Core  1 register") :].replace(b"0x400d56", b"0x400e00")
    words = b"Guru Meditation Error: Core  0 panic'ed (Interrupt wdt timeout on CPU0). \n"
    here = first[first.index(b"\n") :].split(b"ELF")[0]
    for order in (here + second, second.split(b"ELF")[0] + here):
        found = crash(words + order)
        assert (found["pc"], found["backtrace"][0]) == ("0x400d5614", "0x400d5611")
    assert (found["what"], found["kind"]) == ("int_wdt", "interrupt watchdog")


def test_two_panics_are_two_crashes():
    assert len(crashes(PANIC + PANIC)) == 2


WDT = b"""E (10123) task_wdt: Task watchdog got triggered. The following tasks/users did not reset:
E (10123) task_wdt:  - IDLE0 (CPU 0)
E (10123) task_wdt: Tasks currently running:
E (10123) task_wdt: CPU 0: main
E (10123) task_wdt: CPU 1: IDLE1
"""


def test_a_task_watchdog_names_who_starved_and_who_ran():
    found = crash(WDT + b"E (10123) task_wdt: Aborting.\n" + PANIC.split(b"dump:")[1])
    assert found["starved"] == ["IDLE0 (CPU 0)"]
    assert found["running"] == {"0": "main", "1": "IDLE1"}
    assert found["fatal"]
    assert found["backtrace"] == ["0x400d5611", "0x400d31be"]


def test_a_task_watchdog_that_only_warns_is_not_fatal():
    found = crash(WDT + b"hello\nhow\nare\nyou\n")
    assert not found.get("fatal")


def test_an_older_task_watchdog_that_aborts_is_one_crash():
    found = crash(WDT + b"E (1) task_wdt: Aborting.\n"
                  b"abort() was called at PC 0x400d1234 on core 0\n")  # fmt: skip
    assert (found["what"], found["pc"], found["core"]) == ("task_wdt", "0x400d1234", 0)


def test_an_abort_behind_a_warning_that_was_over_is_a_crash_of_its_own():
    trace = b"Backtrace: 0x400d5611:0x3ffb47a0 0x400d31be:0x3ffb47d0\n"
    first, second = crashes(WDT + trace + b"abort() was called at PC 0x400d1234 on core 0\n")
    assert (first["what"], second["what"]) == ("task_wdt", "abort")


INTERLEAVED = [
    b"Guru MedGuru Meditation Error: Core  1 panic'ed (LoadProhibited). Exception was unhandled.\n",
    b"I (12) wifi: rGuru Meditation Error: Core  1 panic'ed (LoadProhibited)I (13) boot.\n",
    b"\0\xff\xfe\x80Guru Meditation Error: Core  1 panic'ed (LoadProhibited). \xc3\n",
]


@pytest.mark.parametrize("line", INTERLEAVED)
def test_a_panic_behind_torn_words_of_the_other_core_is_seen(line):
    found = crash(line + PANIC[PANIC.index(b"\n") :].replace(b"Core  0", b"Core  1"))
    assert (found["core"], found["kind"], found["pc"]) == (1, "LoadProhibited", "0x400d5614")


FORMS = [
    (b"assert failed: xQueueGenericSend queue.c:832 (pxQueue)\n",
     {"what": "assert", "function": "xQueueGenericSend", "file": "queue.c", "line": 832,
      "expression": "pxQueue"}),
    (b'assertion "x > 0" failed: file "main.c", line 12, function: app_main\n'
     b"abort() was called at PC 0x400d1234 on core 1\n",
     {"what": "assert", "file": "main.c", "line": 12, "function": "app_main", "core": 1,
      "pc": "0x400d1234"}),
    (b"CORRUPT HEAP: Bad head at 0x3ffb8a9c. Expected 0xabba1234 got 0x00000000\n"
     b"assert failed: multi_heap_free multi_heap_poisoning.c:259 (head != NULL)\n",
     {"what": "heap", "file": "multi_heap_poisoning.c", "line": 259}),
    (b"ESP_ERROR_CHECK failed: esp_err_t 0x101 (ESP_ERR_NO_MEM) at 0x400d0000\n"
     b'file: "./main/main.c" line 57\nfunc: app_main\nexpression: start_wifi()\n\n'
     b"abort() was called at PC 0x400d1111 on core 0\n",
     {"what": "esp_error", "error": "0x101", "error_name": "ESP_ERR_NO_MEM",
      "file": "./main/main.c", "line": 57, "function": "app_main", "core": 0}),
    (b"Guru Meditation Error: Core  1 panic'ed (Unhandled debug exception). \n"
     b"Debug exception reason: Stack canary watchpoint triggered (loopTask) \n",
     {"what": "stack_overflow", "task": "loopTask", "core": 1}),
    (b"***ERROR*** A stack overflow in task main has been detected.\n",
     {"what": "stack_overflow", "task": "main"}),
    (b"Guru Meditation Error: Core  0 panic'ed (Stack protection fault). \n\n"
     b'Detected in task "sys_evt" at 0x42001234\nStack pointer: 0x3fc90000\n'
     b"Stack bounds: 0x3fc90010 - 0x3fc92000\n",
     {"what": "stack_overflow", "task": "sys_evt", "core": 0}),
    (b"Guru Meditation Error: Core  0 panic'ed (Cache error). \n",
     {"what": "cache_error", "kind": "cache error", "core": 0}),
    (b"Guru Meditation Error: Core  0 panic'ed (Cache disabled but cached memory region accessed)."
     b" \n", {"what": "cache_error", "core": 0}),
    (b"Guru Meditation Error: Core  0 panic'ed (Double exception). \n",
     {"what": "double_exception", "core": 0}),
    (b"E BOD: Brownout detector was triggered\n", {"what": "brownout", "kind": "brownout"}),
    (b"\x1b[0;31mabort() was called at PC 0x400d1234 on core 0\x1b[0m\r",
     {"what": "abort", "pc": "0x400d1234", "core": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "data"), FORMS, ids=[form[0][:24].decode() for form in FORMS])
def test_each_form_of_a_crash_tells_what_it_knows(raw, data):
    found = crash(raw)
    assert {key: found.get(key) for key in data} == data


def test_a_crash_without_its_last_line_has_the_hash_that_its_boot_printed():
    raw = b"I (1) app_init: ELF file SHA256:  31e5f6d2f...\n" + PANIC.split(b"ELF")[0]
    assert crash(raw)["elf_sha256"] == "31e5f6d2f"
    assert "elf_sha256" not in crash(raw.replace(b"Guru", b"rst:0xc (SW_CPU_RESET)\nGuru", 1))


DUMP = (b"================= CORE DUMP START =================\n"
        b"AAECAw==\nBAUGBw==\n"
        b"================= CORE DUMP END =================\n")  # fmt: skip


def dumps(raw: bytes) -> list[Said]:
    return [one for one in told(raw) if one.mark.kind == "core_dump"]


def test_a_core_dump_is_taken_whole_and_its_lines_are_no_lines_of_the_log():
    (dump,) = dumps(b"a\n" + DUMP + b"b\n")
    assert dump.content == bytes(range(8))
    assert dump.mark.data == {"bytes": 8, "complete": True, "from": "uart"}
    reader = LogReader()
    lines = [one.text for one in reader.feed(b"a\n" + DUMP + b"b\n") if isinstance(one, Line)]
    assert [line for line in lines if "=" not in line] == ["a", "b"]


@pytest.mark.parametrize(
    "raw",
    [
        DUMP.replace(b"BAUGBw==", b"BAUGB"),
        DUMP.split(b"=\n=")[0],
        DUMP.replace(b"================= CORE DUMP END", b"rst:0xc (SW_CPU_RESET),boot:0x13 (X)"),
    ],
)
def test_a_core_dump_that_is_torn_or_cut_says_so(raw):
    (dump,) = dumps(raw)
    assert not dump.mark.data["complete"]


def test_a_crash_is_told_before_its_core_dump():
    kinds = [one.mark.kind for one in told(PANIC + DUMP)]
    assert kinds == ["app", "crash", "core_dump"]


def test_metrics_of_a_transcript_are_read():
    rows = [(m["name"], m["value"], m["unit"]) for m in read("esp32c3_hello_restart").of("metric")]
    assert rows == [("min free heap", 339008, "B")] * 2


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(LINES), max_size=40), st.randoms(use_true_random=False))
def test_the_pieces_that_a_log_comes_in_do_not_matter(lines, dice):
    check_log(b"".join(lines), dice)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=400), st.randoms(use_true_random=False))
def test_garbage_breaks_nothing(raw, dice):
    check_log(PANIC + raw + DUMP + raw, dice)


@given(st.text(max_size=200))
def test_what_is_told_is_json(text):
    for one in told((PANIC + text.encode() + b"\n") * 2):
        json.dumps(dict(one.mark.data))
