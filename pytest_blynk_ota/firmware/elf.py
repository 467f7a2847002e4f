"""An application's ELF file: which line of which source an address is. Bytes in, objects out.

Read with pyelftools. Only the compilation units that are asked for are parsed: an ELF of ESP-IDF
has a thousand and more.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.ranges import BaseAddressEntry
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from pytest_blynk_ota.errors import FirmwareError

MAX_CALLERS = 16
"""Return addresses that are looked for in a stack."""
EXECUTABLE = 0x4
"""SHF_EXECINSTR of a section."""
RISCV = "EM_RISCV"
PATH_PARTS = 2
"""Of a source's path so much is shown."""

ARANGES_HEAD = struct.Struct("<IHIBB")
"""Length, version, unit, bytes of an address, bytes of a segment."""
ARANGE = {4: struct.Struct("<II"), 8: struct.Struct("<QQ")}
"""A row by the bytes of an address: begin, length."""

BROKEN = (
    ELFError,
    DWARFError,
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pyelftools raises on a file that is damaged somewhere: the address stays as it is, then."""


class Elf:
    """The debug information of one application.

    Args:
        data: the file.
        where: its name, for errors.

    Raises:
        FirmwareError: it is no ELF file.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self.where = where
        self.sha256 = hashlib.sha256(data).hexdigest()
        try:
            self._elf = ELFFile(BytesIO(data))
            self._machine = str(self._elf["e_machine"])
        except BROKEN as error:
            raise FirmwareError(f"{where}: is no ELF file ({error})") from error
        self._known: dict[int, str | None] = {}
        self._lines: dict[int, list[tuple[int, int, str]]] = {}

    def at(self, address: int) -> str | None:
        """``function at file:line``, or as much of it as is known; None: nothing is."""
        if address not in self._known:
            try:
                self._known[address] = self._look_up(address)
            except BROKEN:
                self._known[address] = self._symbol(address)
        return self._known[address]

    def callers(self, stack: Sequence[int]) -> list[int]:
        """The words of a RISC-V stack that stand behind a call: perhaps who called whom. A word
        that an earlier call has left there looks the same."""
        if self._machine != RISCV:
            return []
        found = [word for word in dict.fromkeys(stack) if follows_call(self._before(word))]
        return found[:MAX_CALLERS]

    def _before(self, address: int) -> bytes:
        """The four bytes of code before an address; empty where there is no code."""
        for start, data in self._code:
            if start + 4 <= address < start + len(data):
                return data[address - start - 4 : address - start]
        return b""

    @cached_property
    def _code(self) -> list[tuple[int, bytes]]:
        return [
            (int(section["sh_addr"]), bytes(section.data()))
            for section in self._elf.iter_sections()
            if section["sh_flags"] & EXECUTABLE and section["sh_type"] == "SHT_PROGBITS"
        ]

    def _look_up(self, address: int) -> str | None:
        unit = self._unit(address)
        name = self._symbol(address)
        if unit is None:
            return name
        name = _function(self._dwarf, unit, address) or name
        line = self._line(unit, address)
        return f"{name} at {line}" if name and line else name or line

    @cached_property
    def _dwarf(self) -> Any:
        return self._elf.get_dwarf_info() if self._elf.has_dwarf_info() else None

    def _unit(self, address: int) -> Any:
        """The compilation unit of an address."""
        offset = next((o for b, end, o in self._pieces if b <= address < end), None)
        return None if offset is None else self._dwarf.get_CU_at(offset)

    @cached_property
    def _pieces(self) -> list[tuple[int, int, int]]:
        """Begin, end and unit of all code, by ``.debug_aranges``; else by each unit's own word,
        which takes a second for two hundred of them."""
        if self._dwarf is None:
            return []
        table = self._elf.get_section_by_name(".debug_aranges")
        if table is not None:
            return list(_table_of_ranges(bytes(table.data())))
        return [
            (begin, end, unit.cu_offset)
            for unit in self._dwarf.iter_CUs()
            for begin, end in _ranges_of(self._dwarf, unit, unit.get_top_DIE())
        ]

    def _line(self, unit: Any, address: int) -> str | None:
        if unit.cu_offset not in self._lines:
            self._lines[unit.cu_offset] = sorted(_rows(self._dwarf, unit))
        for begin, end, text in self._lines[unit.cu_offset]:
            if begin <= address < end:
                return text
        return None

    @cached_property
    def _functions(self) -> list[tuple[int, int, str]]:
        try:
            return [
                (begin, begin + int(symbol["st_size"]), str(symbol.name))
                for table in self._elf.iter_sections()
                if isinstance(table, SymbolTableSection)
                for symbol in table.iter_symbols()
                if symbol["st_info"]["type"] == "STT_FUNC" and (begin := int(symbol["st_value"]))
            ]
        except BROKEN:
            return []

    def _symbol(self, address: int) -> str | None:
        return next((n for begin, end, n in self._functions if begin <= address < end), None)


def follows_call(code: bytes) -> bool:
    """Whether these four bytes of RISC-V code end in a call: ``jal``, ``jalr``, ``c.jal`` or
    ``c.jalr``, the first two with ``ra`` as their link register (RISC-V ISA manual, RV32C)."""
    if len(code) < 4:
        return False
    (long,), (short,) = struct.unpack("<I", code), struct.unpack("<H", code[2:])
    if long & 0x7F in (0x6F, 0x67) and (long >> 7) & 0x1F == 1:
        return True
    is_jalr = short & 0xF07F == 0x9002 and short & 0x0F80 != 0
    return bool(is_jalr or short & 0xE003 == 0x2001)


def _function(dwarf: Any, unit: Any, address: int) -> str | None:
    """The name in the source of the function that an address is in; not mangled."""
    for entry in unit.get_top_DIE().iter_children():
        if entry.tag == "DW_TAG_subprogram" and any(
            begin <= address < end for begin, end in _ranges_of(dwarf, unit, entry)
        ):
            return _named(entry)
    return None


def _named(entry: Any) -> str | None:
    """Its name, or that of its declaration."""
    for _ in range(4):
        if "DW_AT_name" in entry.attributes:
            return str(entry.attributes["DW_AT_name"].value.decode("utf-8", "replace"))
        way = next(
            (w for w in ("DW_AT_specification", "DW_AT_abstract_origin") if w in entry.attributes),
            None,
        )
        if way is None:
            return None
        entry = entry.get_DIE_from_attribute(way)
    return None


def _table_of_ranges(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Begin, end and unit of each row of ``.debug_aranges`` (DWARF 4, 6.1.2), little end.

    Rows of what the linker has thrown away are all zeros, and stand in the middle of a unit's rows
    in each build of ESP-IDF. They end its list for pyelftools, which so lacks half of the code.
    """
    at = 0
    while at + ARANGES_HEAD.size <= len(data):
        length, _, unit, wide, _ = ARANGES_HEAD.unpack_from(data, at)
        end, pair = at + 4 + length, ARANGE[wide]
        first = at + -(-ARANGES_HEAD.size // pair.size) * pair.size
        for row in range(first, min(end, len(data)) - pair.size + 1, pair.size):
            begin, size = pair.unpack_from(data, row)
            if size:
                yield begin, begin + size, unit
        at = end


def _ranges_of(dwarf: Any, unit: Any, entry: Any) -> Iterator[tuple[int, int]]:
    """Begin and end of each piece of code that an entry of the debug information is about."""
    found = entry.attributes
    low = found["DW_AT_low_pc"].value if "DW_AT_low_pc" in found else 0
    if "DW_AT_high_pc" in found:
        high = found["DW_AT_high_pc"]
        yield low, high.value if high.form == "DW_FORM_addr" else low + high.value
    elif "DW_AT_ranges" in found:
        top = unit.get_top_DIE().attributes
        base = top["DW_AT_low_pc"].value if "DW_AT_low_pc" in top else 0
        lists, at = dwarf.range_lists(), found["DW_AT_ranges"]
        for one in lists.get_range_list_at_offset(at.value, unit):
            if isinstance(one, BaseAddressEntry):
                base = one.base_address
            else:
                added = 0 if one.is_absolute else base
                yield one.begin_offset + added, one.end_offset + added


def _rows(dwarf: Any, unit: Any) -> Iterator[tuple[int, int, str]]:
    """Begin, end and ``file:line`` of each piece of code in the unit's line program."""
    program = dwarf.line_program_for_CU(unit)
    if program is None:
        return
    before = None
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        if before is not None and state.address > before.address:
            yield before.address, state.address, f"{_file(program, before.file)}:{before.line}"
        before = None if state.end_sequence else state


def _file(program: Any, index: int) -> str:
    """The end of a source's path."""
    header = program.header
    first = 0 if header["version"] >= 5 else 1
    entry = header["file_entry"][index - first]
    folders, at = header["include_directory"], entry.dir_index - first
    folder = folders[at] if 0 <= at < len(folders) else b""
    path = PurePosixPath(*(part.decode("utf-8", "replace") for part in (folder, entry.name)))
    return str(PurePosixPath(*path.parts[-PATH_PARTS:]))
