"""Each kind of trouble that an application can end in: its text, its reset, what outlives it."""

from __future__ import annotations

import base64
import binascii
import re
import struct

import pytest
from vfw_bench import APP0, Bench, story
from vfw_peer import WebPeer, listening

from pytest_blynk_ota.board.log import LogReader, Said
from pytest_blynk_ota.firmware.behaviour import Behaviour, How
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, PartitionTable
from pytest_blynk_ota.virtual.app.ending import ENDINGS
from pytest_blynk_ota.virtual.app.trouble import CrashPlan
from pytest_blynk_ota.virtual.boot.endings import Panic

SOFTWARE, SYSTEM, SLEEP, WATCHDOG = 0xC, 0x3, 0x5, 0x10

TABLE = [
    # how, chip, ESP-IDF, its words, cause of the reset, what a test sees
    ("panic", "esp32", "v5.1.4", r"panic'ed \(LoadProhibited\)\. Exc", SOFTWARE, "panic"),
    ("panic", "esp32s3", "v5.1.4", r"panic'ed \(LoadProhibited\)\. Exc", SOFTWARE, "panic"),
    ("panic", "esp32c3", "v5.1.4", r"panic'ed \(Load access fault\)\. Exc", SOFTWARE, "panic"),
    ("store", "esp32", "v5.1.4", r"panic'ed \(StoreProhibited\)\.", SOFTWARE, "panic"),
    ("store", "esp32c3", "v5.1.4", r"panic'ed \(Store access fault\)\.", SOFTWARE, "panic"),
    ("illegal", "esp32", "v5.1.4", r"panic'ed \(IllegalInstruction\)\.", SOFTWARE, "panic"),
    ("cache", "esp32", "v5.1.4", r"Cache disabled but cached memory region", SYSTEM, "cache_error"),
    ("cache", "esp32c3", "v5.1.4", r"panic'ed \(Cache error\)\.", SOFTWARE, "cache_error"),
    ("cache", "esp32s3", "v6.0", r"panic'ed \(Cache error\)\.", SOFTWARE, "cache_error"),
    ("abort", "esp32", "v5.1.4", r"abort\(\) was called at PC 0x\w{8} on core 0",
     SOFTWARE, "abort"),
    ("assert", "esp32", "v5.1.4", r"^assert failed: app_main main\.c:42 \(", SOFTWARE, "assert"),
    ("esp_error", "esp32c3", "v5.1.4", r"^ESP_ERROR_CHECK failed: esp_err_t 0x101 \(ESP_ERR_NO_"
     r"MEM\) at 0x\w{8}", SOFTWARE, "esp_error"),
    ("stack_overflow", "esp32", "v5.1.4", r"^\*\*\*ERROR\*\*\* A stack overflow in task main has",
     SOFTWARE, "stack_overflow"),
    ("stack_overflow", "esp32c3", "v5.1.4", r"^\*\*\*ERROR\*\*\* A stack overflow in task main has",
     SOFTWARE, "stack_overflow"),
    ("stack_overflow", "esp32c3", "v5.2.2", r"panic'ed \(Stack protection fault\)\. $", SOFTWARE,
     "stack_overflow"),
    ("heap_exhausted", "esp32", "v5.1.4", r"^Mem alloc fail\. size 0x\w{8} caps", SOFTWARE, "heap"),
    ("heap_corrupt", "esp32s3", "v5.1.4", r"^CORRUPT HEAP: Bad head at 0x\w{8}\. Expected",
     SOFTWARE, "heap"),
    ("task_wdt", "esp32", "v5.1.4", r"E \(\d+\) task_wdt: Task watchdog got triggered\.", SOFTWARE,
     "task_wdt"),
    ("task_wdt", "esp32c3", "v5.1.4", r"E \(\d+\) task_wdt:  - IDLE \(CPU 0\)", SOFTWARE,
     "task_wdt"),
    ("int_wdt", "esp32", "v5.1.4", r"panic'ed \(Interrupt wdt timeout on CPU0\)\. ", SOFTWARE,
     "int_wdt"),
    ("rtc_wdt", "esp32", "v5.1.4", "", WATCHDOG, None),
    ("rtc_wdt", "esp32c3", "v5.1.4", "", WATCHDOG, None),
    ("brownout", "esp32", "v5.0.1", r"^Brownout detector was triggered$", SOFTWARE,
     "brownout"),
    ("brownout", "esp32", "v5.1.4", r"^I BOD: Brownout detector was triggered$", SOFTWARE,
     "brownout"),
    ("brownout", "esp32c3", "v6.0", r"^E BOD: Brownout detector was triggered$", SYSTEM,
     "brownout"),
    ("deep_sleep", "esp32", "v5.1.4", "", SLEEP, None),
    ("deep_sleep", "esp32s3", "v5.1.4", "", SLEEP, None),
]  # fmt: skip


def died(bench: Bench) -> tuple[int, list[str]]:
    """One boot to its end; the cause of the next one, and what it said behind its start-up."""
    cause = story(bench.boot())
    return cause, re.split(r"(?:app_main\(\)|APP CPU\.)\n", bench.text)[-1].split("\n")


def crashes(lines: list[str]) -> list[Said]:
    reader = LogReader()
    entries = reader.feed("\n".join(lines).encode()) + reader.flush()
    return [one for one in entries if isinstance(one, Said) and one.mark.kind == "crash"]


@pytest.mark.parametrize(("how", "chip", "idf", "words", "cause", "what"), TABLE)
def test_a_trouble_reads_resets_and_is_seen_as_it_should(how, chip, idf, words, cause, what):
    with Bench(chip, idf=idf, crash={"when": "start", "how": how}) as bench:
        ended, lines = died(bench)
    assert ended == cause
    if what is None:
        assert "".join(lines) == ""
    else:
        assert re.search(words, "\n".join(lines), re.M)
        (crash,) = crashes(lines)
        assert crash.mark.data["what"] == what


def test_the_table_has_every_trouble_that_ends():
    assert {row[0] for row in TABLE} == set(ENDINGS) - {"hang"}


def test_behaviours_know_every_trouble_and_no_other():
    assert set(How.__args__) == set(ENDINGS)


def test_an_arduino_on_two_cores_dies_on_the_second_in_its_loop_task():
    with Bench("esp32", log="quiet", crash={"when": "start", "how": "stack_overflow"}) as bench:
        assert story(bench.boot()) == SOFTWARE
        assert "Core  1 panic'ed (Unhandled debug exception)." in bench.text
        assert "Stack canary watchpoint triggered (loopTask)" in bench.text


def test_a_brownout_of_an_arduino_is_silent_in_the_releases_that_log_it_as_information():
    with Bench("esp32", log="quiet", crash={"when": "start", "how": "brownout"}) as bench:
        assert story(bench.boot()) == SOFTWARE
        assert "Brownout" not in bench.text


def test_an_interrupt_watchdog_dumps_both_cores():
    with Bench("esp32", crash={"when": "start", "how": "int_wdt"}) as bench:
        story(bench.boot())
        dumps = re.findall(r"Core  (\d) register dump:", bench.text)
        assert dumps == ["0", "1"]


def test_a_task_watchdog_bites_after_its_time():
    with Bench("esp32", crash={"when": "start", "how": "task_wdt"}) as bench:
        story(bench.boot())
        started = re.search(r"\((\d+)\) main_task: Calling", bench.text)
        bitten = re.search(r"\((\d+)\) task_wdt: Task", bench.text)
        assert int(bitten[1]) - int(started[1]) >= 5000


@pytest.mark.parametrize(("chip", "lines"), [("esp32", 4), ("esp32c3", 1)])
def test_the_bootloader_says_that_a_watchdog_bit(chip, lines):
    with Bench(chip, log="quiet") as bench:
        bench.put(APP0, bench.stranger())
        story(bench.until("its code cannot be run", cause=0x7))
        assert len(re.findall(rf"W \(\d+\) boot\.{chip}: ", bench.text)) == lines


def test_a_hang_says_nothing_does_not_reset_and_leaves_its_connections_half_open():
    with Bench(crash={"when": "start", "how": "hang"}) as bench:
        network = bench.machine.network

        async def watch():
            async with listening(WebPeer(b"", closes=False).serve) as address:
                await network.join("lab", "secret")
                await network.open_connection(*address)
                async with bench.living():
                    await bench.machine.see("Calling app_main")
                    await bench.machine.clock.sleep(60.0)
                    assert network.ghosts == 1

        story(watch())
        assert bench.text.rstrip().endswith("Calling app_main()")


def test_deep_sleep_takes_its_time_and_keeps_what_is_in_rtc_memory():
    crash = {"when": "start", "how": "deep_sleep", "sleep_s": 30.0, "times": 1}
    with Bench(crash=crash) as bench:
        before = bench.machine.clock.now()
        assert story(bench.boot()) == SLEEP
        assert bench.machine.clock.now() - before >= 30.0
        story(bench.until(r"^\[\d+\]", cause=SLEEP))
        assert "rst:0x5 (DSLEEP)" in bench.text
        assert "Saved PC" not in bench.text


def dump_of(text: str) -> bytes:
    """The core dump on the UART, as its readers cut it out."""
    framed = re.search(r"=+ CORE DUMP START =+\n(.*?)\n=+ CORE DUMP END =+\n", text, re.S)
    assert framed
    return b"".join(base64.b64decode(line) for line in framed[1].split("\n"))


@pytest.mark.parametrize(("chip", "machine", "id_"), [("esp32", 94, 0), ("esp32c3", 243, 5)])
def test_a_core_dump_on_the_uart_is_an_elf_core_with_its_checksum(chip, machine, id_):
    with Bench(chip, crash={"when": "start"}, coredump="uart") as bench:
        story(bench.boot())
        data = dump_of(bench.text)
        size, version = struct.unpack_from("<II", data)
        assert (size, version) == (len(data), id_ << 16 | 0x0100)
        assert struct.unpack("<I", data[-4:])[0] == binascii.crc32(data[:-4])
        assert data[20:24] == b"\x7fELF"
        assert struct.unpack_from("<HH", data, 36) == (4, machine)
        assert bench.text.rstrip().endswith("Rebooting...")


def test_a_core_dump_goes_into_its_partition():
    with Bench(crash={"when": "start"}, coredump="flash") as bench:
        story(bench.boot())
        place = DEFAULT_TABLE.find("coredump")
        data = bench.read(place.offset, place.size)
        (size,) = struct.unpack_from("<I", data)
        assert data[20:24] == b"\x7fELF"
        assert set(data[size + 64 :]) == {0xFF}
        assert "Core dump has been saved to flash." in bench.text


def test_a_core_dump_without_a_partition_is_refused_in_the_words_of_a_real_one():
    with Bench(crash={"when": "start"}, coredump="flash") as bench:
        rows = tuple(row for row in DEFAULT_TABLE.rows if row.label != "coredump")
        bench.table(PartitionTable(rows))
        assert story(bench.boot()) == SOFTWARE
        assert bench.text.count("esp_core_dump_flash: No core dump partition found!") == 2
        assert "Core dump write failed with error=-1" in bench.text


def test_a_trouble_waits_for_its_moment():
    behaviour = Behaviour.from_data({"crash": {"when": "download", "how": "abort"}})
    with Bench() as bench:
        plan = CrashPlan(bench.machine, behaviour, "key")
        plan.at("start")
        with pytest.raises(Panic):
            plan.at("download")
