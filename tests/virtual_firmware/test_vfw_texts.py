"""The texts of ROM, bootloader and panic handler have the shape of real ones."""

from __future__ import annotations

import re

import pytest
from vfw_peer import real_lines

from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.virtual.app import panic
from pytest_blynk_ota.virtual.app.panic import Scene
from pytest_blynk_ota.virtual.boot import rom as roms


def shape(lines: list[str]) -> list[str]:
    """The lines without the numbers that differ from board to board."""
    masked = (re.sub(r"0x[0-9a-f]+", "#", line) for line in lines)
    masked = (re.sub(r"^Backtrace:( #:#)+$", "Backtrace: #", line) for line in masked)
    masked = (re.sub(r"^(ELF file SHA256: )[0-9a-f]{9}$", r"\1#", line) for line in masked)
    masked = (re.sub(r"boot:#", "boot:#", line) for line in masked)
    masked = (line.replace("Core  1", "Core  0") for line in masked)
    return [line for line in masked if not re.match(r"[0-9a-f]{8}: #", line)]


def scene(arch: str, kind: str = "panic", elf: str = "aaaaaaaaa", **more) -> Scene:
    return Scene(CHIPS[{"xtensa": "esp32", "riscv": "esp32c3"}[arch]], elf, kind, **more)


@pytest.mark.parametrize(
    ("name", "arch", "cause"),
    [
        ("esp32_panic_loadprohibited_126", "xtensa", panic.LOAD),
        ("esp32c3_panic_store_access_fault", "riscv", panic.STORE),
    ],
)
def test_a_panic_has_the_lines_of_a_real_one(name, arch, cause):
    real = real_lines(name)
    start = next(n for n, line in enumerate(real) if line.startswith("Guru"))
    end = real.index("Rebooting...")
    assert shape(list(panic.exception(scene(arch), cause))) == shape(real[start:end])


def test_a_panic_says_the_same_each_time_and_another_thing_for_another_image():
    first = list(panic.exception(scene("xtensa", pc=0x400D1234), panic.ILLEGAL))
    assert first == list(panic.exception(scene("xtensa", pc=0x400D1234), panic.ILLEGAL))
    other = scene("xtensa", elf="bbbbbbbbb", pc=0x400D1234)
    assert first != list(panic.exception(other, panic.ILLEGAL))
    assert "PC      : 0x400d1234" in "\n".join(first)


@pytest.mark.parametrize("arch", ["xtensa", "riscv"])
def test_an_abort_has_no_guru_meditation(arch):
    text = "\n".join(panic.abort(scene(arch)))
    assert re.search(r"abort\(\) was called at PC 0x[0-9a-f]{8} on core 0", text)
    assert "Guru" not in text


@pytest.mark.parametrize(
    ("name", "chip", "header", "segments"),
    [
        (
            "esp32_poweron_idf-hello-5.0.1-esp32",
            "esp32",
            b"\xe9\x03\x02\x20",
            [(0x3FFF0030, 7000), (0x40078000, 15512), (0x40080400, 3864)],
        ),
        (
            "esp32c3_poweron_micropython_1.24.1",
            "esp32c3",
            b"\xe9\x03\x02\x2f",
            [(0x3FCD5820, 0xF28), (0x403CC710, 0x944), (0x403CE710, 0x2B1C)],
        ),
    ],
)
def test_the_rom_speaks_as_a_real_one(name, chip, header, segments):
    rom = roms.ROMS[chip]
    ours = [*roms.rom_banner(rom, 1), *roms.rom_load(rom, header, [(0, 64), *segments])]
    real = real_lines(name)[: len(ours)]
    straps = [line.split(",boot:")[0] for line in real]  # the strap is the emulator's
    assert [line.split(",boot:")[0] for line in ours] == straps


@pytest.mark.parametrize("chip", ["esp32c3", "esp32s3"])
def test_a_later_chip_says_where_it_was_unless_its_record_was_reset_too(chip):
    rom = roms.ROMS[chip]
    forgotten = [cause for cause in rom.resets if not saved_pc(rom, cause)]
    assert forgotten == [0x1, 0x5, 0xF, 0x10]


def saved_pc(rom, cause):
    return any(line.startswith("Saved PC:0x") for line in roms.rom_banner(rom, cause))


def test_an_esp32_says_that_a_header_lies_across_two_reads():
    segments = [(0x3FFF0040, 6344), (0x40078000, 15900), (0x40080400, 3896)]  # of a real bootloader
    lines = list(roms.rom_load(roms.ROMS["esp32"], b"\xe9\x03\x02\x20", segments))
    assert lines[-2:] == ["ho 0 tail 12 room 4", "load:0x40080400,len:3896"]


@pytest.mark.parametrize(
    ("chip", "cause", "text"),
    [
        ("esp32", 0xC, "rst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)"),
        ("esp32", 0x10, "rst:0x10 (RTCWDT_RTC_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)"),
        ("esp32c3", 0x3, "rst:0x3 (RTC_SW_SYS_RST),boot:0xf (SPI_FAST_FLASH_BOOT)"),
        ("esp32c3", 0x7, "rst:0x7 (TG0WDT_SYS_RST),boot:0xf (SPI_FAST_FLASH_BOOT)"),
        ("esp32s3", 0xF, "rst:0xf (BROWNOUT_RST),boot:0x8 (SPI_FAST_FLASH_BOOT)"),
        ("esp32s3", 0x5, "rst:0x5 (DSLEEP),boot:0x8 (SPI_FAST_FLASH_BOOT)"),
    ],
)
def test_each_cause_has_its_chips_name(chip, cause, text):
    assert text in list(roms.rom_banner(roms.ROMS[chip], cause))
