"""Addresses made into lines of the source, with ELF files that this host's compiler makes."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.elf import Elf, _table_of_ranges, follows_call

SOURCE = """\
#include <stdlib.h>

static int half(int value)
{
    return value / 2;
}

int main(int count, char **words)
{
    if (count > 4)
        abort();
    return half(count);
}
"""
CPP = """\
namespace board {
struct Led { int blink(int times); };
int Led::blink(int times)
{
    return times + 1;
}
}
int main() { board::Led led; return led.blink(1); }
"""
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this host")


def build(folder: Path, source: str, *options: str, name: str = "main.c") -> Path:
    (folder / "main").mkdir(exist_ok=True)
    (folder / "main" / name).write_text(source)
    compiler = "g++" if name.endswith("cpp") else "gcc"
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this host")
    command = [compiler, "-O0", "-no-pie", *options, f"main/{name}", "-o", "app.elf"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "app.elf"


def symbol(path: Path, part: str) -> int:
    with path.open("rb") as file:
        rows = ELFFile(file).get_section_by_name(".symtab").iter_symbols()
        return next(
            row["st_value"]
            for row in rows
            if row["st_info"]["type"] == "STT_FUNC"
            and (row.name == part or (part in row.name and row.name.startswith("_Z")))
        )


@needs_gcc
@pytest.mark.parametrize("dwarf", ["-gdwarf-4", "-gdwarf-5"])
def test_an_address_is_a_function_and_a_line(tmp_path, dwarf):
    path = build(tmp_path, SOURCE, "-g", dwarf)
    elf = Elf(path.read_bytes(), "app.elf")
    assert elf.at(symbol(path, "half")) == "half at main/main.c:4"
    assert elf.at(symbol(path, "main")) == "main at main/main.c:9"


UNUSED = """
int unused_first(int value) { return value + 1; }
int used(int value) { return value + 2; }
int unused_second(int value) { return value + 3; }
int used_last(int value) { return value + 4; }
int main(int count, char **words) { return used(count) + used_last(count); }
"""


@needs_gcc
@pytest.mark.parametrize("dwarf", ["-gdwarf-4", "-gdwarf-5"])
def test_functions_that_the_linker_threw_away_hide_no_other(tmp_path, dwarf):
    path = build(tmp_path, UNUSED, "-g", dwarf, "-ffunction-sections", "-Wl,--gc-sections")
    elf = Elf(path.read_bytes(), "app.elf")
    for name, line in {"used": 3, "used_last": 5, "main": 6}.items():
        assert elf.at(symbol(path, name)) == f"{name} at main/main.c:{line}"


def test_rows_of_zeros_in_a_table_of_ranges_end_nothing():
    head, size = struct.pack("<HIBB", 2, 0x77, 4, 0), 12 + 4 + 8 * 4
    rows = struct.pack("<8I", 0x100, 8, 0, 0, 0x200, 16, 0, 0)
    unit = struct.pack("<I", size - 4) + head + bytes(4) + rows
    found = [(0x100, 0x108, 0x77), (0x200, 0x210, 0x77)]
    assert list(_table_of_ranges(unit)) == found
    assert list(_table_of_ranges(unit + unit)) == found * 2
    assert list(_table_of_ranges(unit[:-8])) == found
    assert list(_table_of_ranges(unit[:10])) == []


@needs_gcc
def test_it_agrees_with_addr2line_on_every_address_of_a_function(tmp_path):
    if shutil.which("addr2line") is None:
        pytest.skip("no addr2line on this host")
    path = build(tmp_path, SOURCE, "-g")
    elf, start = Elf(path.read_bytes(), "app.elf"), symbol(path, "half")
    addresses = range(start, start + 0x40)
    command = ["addr2line", "-f", "-e", str(path), *map(hex, addresses)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    for at, (name, line) in zip(addresses, zip(said[::2], said[1::2], strict=False), strict=False):
        if "?" in name + line:
            continue
        line = line.partition(" (")[0]
        assert elf.at(at) == f"{name} at {'/'.join(line.split('/')[-2:])}", hex(at)


@needs_gcc
def test_a_name_of_cpp_is_the_one_in_the_source(tmp_path):
    path = build(tmp_path, CPP, "-g", name="main.cpp")
    assert Elf(path.read_bytes(), "x").at(symbol(path, "blink")) == "blink at main/main.cpp:4"


@needs_gcc
def test_without_debug_information_there_is_the_symbol(tmp_path):
    path = build(tmp_path, SOURCE)
    assert Elf(path.read_bytes(), "x").at(symbol(path, "half") + 1) == "half"


@needs_gcc
def test_an_address_outside_the_code_is_nothing(tmp_path):
    assert Elf(build(tmp_path, SOURCE, "-g").read_bytes(), "x").at(0x400D1234) is None


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\xe9\x03\x02\x20" * 99, b"\x7fELF" * 20])
def test_what_is_no_elf_file_is_refused_by_name(data):
    with pytest.raises(FirmwareError, match=r"app\.elf: is no ELF file"):
        Elf(data, "app.elf")


@needs_gcc
def test_a_damaged_elf_file_gives_no_lines_and_no_error(tmp_path):
    path = build(tmp_path, SOURCE, "-g")
    whole = path.read_bytes()
    address = symbol(path, "half")
    for at in range(64, len(whole), 97):
        broken = bytearray(whole)
        broken[at : at + 16] = b"\xff" * 16
        try:
            elf = Elf(bytes(broken), "x")
        except FirmwareError:
            continue
        elf.at(address)
        elf.callers([address])


CALLS = [
    ("ef00c000", True),  # jal ra, 12
    ("e7800500", True),  # jalr ra, a1? link register ra
    ("6f00c000", False),  # j 12
    ("67800000", False),  # ret
    ("01000295", True),  # nop; c.jalr a0
    ("01000285", False),  # nop; c.jr a0
    ("01001120", True),  # nop; c.jal (RV32)
    ("13050000", False),  # li a0, 0
    ("0102", False),
]


@pytest.mark.parametrize(("code", "call"), CALLS)
def test_a_call_of_riscv_is_told_by_its_bytes(code, call):
    assert follows_call(bytes.fromhex(code)) is call
