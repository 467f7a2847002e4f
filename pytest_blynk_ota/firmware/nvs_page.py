"""The pages of an NVS partition: entries, their state bits, and how a page gets full.

Every change is a :class:`Step` for the flash, in the order of ESP-IDF's nvs_page.cpp and
nvs_pagemanager.cpp::

    write   header entry, its state bits, data entries, their bits
    full    mark FULL; with two or more free pages take one, else free the page with most waste:
            mark FREEING, write a new page's header, copy what lives, erase
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from pytest_blynk_ota.errors import FirmwareError

PAGE_BYTES = 4096
ENTRY_BYTES = 32
STATES_AT = 32
ENTRIES_AT = 64
ENTRIES = 126
VERSION_2 = 0xFE
MAX_KEY = 15

UNUSED, ACTIVE, FULL, FREEING = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8
"""``PageState``."""
EMPTY, WRITTEN, GONE = 0b11, 0b10, 0b00
"""``EntryState``; two bits each."""
HEADER = struct.Struct("<IIB19sI")
HEAD = struct.Struct("<BBBBI16s8s")
"""Namespace, type, span, chunk, CRC, key, data."""
SIZED = struct.Struct("<H2xI")
NO_CHUNK = 0xFF


class Type(IntEnum):
    """``ItemType``."""

    U8 = 0x01
    I8 = 0x11
    U16 = 0x02
    I16 = 0x12
    U32 = 0x04
    I32 = 0x14
    STRING = 0x21
    BLOB = 0x42
    BLOB_INDEX = 0x48


class Step(NamedTuple):
    """One flash operation; ``data`` is ``None`` for the erase of a page."""

    offset: int
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A living entry with its data."""

    page: int
    number: int
    space: int
    type: int
    span: int
    chunk: int
    key: str
    value: bytes


class Pages:
    """A partition's pages, opened; what a power cut has left is mended.

    Args:
        data: its bytes, whole pages, three or more.

    Raises:
        FirmwareError: it is too small.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < 3 * PAGE_BYTES or len(data) % PAGE_BYTES:
            raise FirmwareError(
                f"an NVS partition has 3 or more whole pages, not {len(data)} bytes"
            )
        self._data = bytearray(data)
        self.steps: list[Step] = []
        self._mend()

    @property
    def data(self) -> bytes:
        """The partition as it is once all steps are done."""
        return bytes(self._data)

    def items(self) -> Iterator[Item]:
        """Every living item, the oldest page first."""
        for page in self._used():
            number = 0
            while number < ENTRIES:
                item = self._item(page, number)
                if item is None:
                    number += 1
                else:
                    yield item
                    number += item.span

    def _item(self, page: int, number: int) -> Item | None:
        if self._state(page, number) != WRITTEN:
            return None
        raw = self._entry(page, number)
        space, kind, span, chunk, crc, key, value = HEAD.unpack(raw)
        if crc != _crc(raw[:4] + raw[8:]) or not 0 < span <= ENTRIES - number:
            return None
        if kind in (Type.STRING, Type.BLOB):
            size, data_crc = SIZED.unpack(value)
            at = self._at(page, number + 1)
            value = bytes(self._data[at : at + min(size, (span - 1) * ENTRY_BYTES)])
            if _crc(value) != data_crc:
                return None
        name = key.split(b"\0")[0].decode("ascii", "replace")
        return Item(page, number, space, kind, span, chunk, name, value)

    def _write(self, space: int, key: str, kind: Type, value: bytes, chunk: int = NO_CHUNK) -> None:
        if not 0 < len(key.encode()) <= MAX_KEY:
            raise FirmwareError(f"NVS key {key!r}: 1 to {MAX_KEY} bytes")
        tail = b""
        if kind in (Type.STRING, Type.BLOB):
            tail, value = value, SIZED.pack(len(value), _crc(value))
            value = value[:2] + b"\xff\xff" + value[4:]
        span = 1 + -(-len(tail) // ENTRY_BYTES)
        page, number = self._room(span)
        head = HEAD.pack(space, kind, span, chunk, 0, key.encode(), value.ljust(8, b"\xff"))
        head = head[:4] + struct.pack("<I", _crc(head[:4] + head[8:])) + head[8:]
        self._program(self._at(page, number), head)
        self._mark(page, number, 1, WRITTEN)
        whole = len(tail) // ENTRY_BYTES * ENTRY_BYTES
        if whole:
            self._program(self._at(page, number + 1), tail[:whole])
            self._mark(page, number + 1, whole // ENTRY_BYTES, WRITTEN)
        if tail[whole:]:
            self._program(self._at(page, number + span - 1), tail[whole:].ljust(32, b"\xff"))
            self._mark(page, number + span - 1, 1, WRITTEN)

    def _drop(self, item: Item) -> None:
        """It may have moved to another page meanwhile."""
        if self._item(item.page, item.number) != item:
            moved = [one for one in self.items() if _same(one, item)]
            if not moved:
                return
            item = moved[0]
        self._mark(item.page, item.number, item.span, GONE)

    # ---- pages

    def _room(self, span: int) -> tuple[int, int]:
        """Page and number of the first of ``span`` free entries."""
        if span > ENTRIES:
            raise FirmwareError(f"NVS: an item of {span} entries does not fit a page")
        page = self._current()
        number = self._free_from(page)
        if number + span > ENTRIES:
            self._program(page, struct.pack("<I", FULL))
            page = self._new_page()
            number = self._free_from(page)
            if number + span > ENTRIES:
                raise FirmwareError("NVS: no room left")
        return page, number

    def _current(self) -> int:
        used = self._used()
        if used and self._page_state(used[-1]) == ACTIVE:
            return used[-1]
        return self._new_page()

    def _new_page(self) -> int:
        free = [page for page in self._pages() if page not in self._used()]
        if not free:
            raise FirmwareError("NVS: no free page")
        if len(free) >= 2 or not self._used():
            return self._activate(free[0])
        waste = {page: ENTRIES - self._living(page) for page in self._used()}
        page = max(waste, key=lambda one: waste[one])
        if not waste[page]:
            raise FirmwareError("NVS: no room left")
        self._program(page, struct.pack("<I", FREEING))
        return self._move(page, self._activate(free[0]))

    def _move(self, old: int, new: int) -> int:
        """Copy what lives, entry by entry, and erase what is left."""
        target = self._free_from(new)
        for number in range(ENTRIES):
            item = self._item(old, number)
            for entry in range(number, number + (item.span if item else 0)):
                self._program(self._at(new, target), self._entry(old, entry))
                self._mark(new, target, 1, WRITTEN)
                target += 1
        self._erase(old)
        return new

    def _activate(self, page: int) -> int:
        if any(byte != 0xFF for byte in self._data[page : page + PAGE_BYTES]):
            self._erase(page)
        used = self._used()
        sequence = self._header(used[-1])[1] + 1 if used else 0
        head = HEADER.pack(ACTIVE, sequence, VERSION_2, b"\xff" * 19, 0)[:28]
        self._program(page, head + struct.pack("<I", _crc(head[4:])))
        return page

    def _mend(self) -> None:
        """What nvs_flash_init() does about a power cut."""
        for page in self._pages():
            blank = self._page_state(page) == UNUSED
            if blank and self._data[page : page + PAGE_BYTES].strip(b"\xff"):
                self._erase(page)
        for page in self._used():
            self._mend_entries(page)
        freeing = [page for page in self._used() if self._page_state(page) == FREEING]
        if freeing:
            last = self._used()[-1]
            if self._page_state(last) == ACTIVE and last != freeing[0]:
                self._erase(last)
            free = [page for page in self._pages() if page not in self._used()]
            self._move(freeing[0], self._activate(free[0]))

    def _mend_entries(self, page: int) -> None:
        """An entry that is half there, or whose bits were not written, is gone."""
        number = 0
        while number < ENTRIES:
            state, blank = self._state(page, number), not self._entry(page, number).strip(b"\xff")
            item = self._item(page, number)
            if (state == WRITTEN and item is None) or (state == EMPTY and not blank):
                self._mark(page, number, 1, GONE)
            elif item is not None:
                states = {self._state(page, number + n) for n in range(item.span)}
                if states != {WRITTEN}:
                    self._mark(page, number, item.span, GONE)
            number += item.span if item else 1

    def _used(self) -> list[int]:
        """Offsets of the pages with a good header, by age."""
        pages = [page for page in self._pages() if self._header(page)[0]]
        return sorted(pages, key=lambda page: self._header(page)[1])

    def _pages(self) -> range:
        return range(0, len(self._data), PAGE_BYTES)

    def _header(self, page: int) -> tuple[bool, int]:
        """Whether it is one, and the sequence number."""
        state, sequence, _, _, crc = HEADER.unpack_from(self._data, page)
        good = _crc(bytes(self._data[page + 4 : page + 28])) == crc
        return good and state in (ACTIVE, FULL, FREEING), sequence

    def _page_state(self, page: int) -> int:
        return int.from_bytes(self._data[page : page + 4], "little")

    def _living(self, page: int) -> int:
        return sum(item.span for item in self.items() if item.page == page)

    def _free_from(self, page: int) -> int:
        """The entry behind the last one that is not empty."""
        taken = [number for number in range(ENTRIES) if self._state(page, number) != EMPTY]
        return taken[-1] + 1 if taken else 0

    # ---- bytes

    def _at(self, page: int, number: int) -> int:
        return page + ENTRIES_AT + number * ENTRY_BYTES

    def _entry(self, page: int, number: int) -> bytes:
        at = self._at(page, number)
        return bytes(self._data[at : at + ENTRY_BYTES])

    def _state(self, page: int, number: int) -> int:
        return self._data[page + STATES_AT + number // 4] >> (number % 4 * 2) & 0b11

    def _mark(self, page: int, first: int, count: int, state: int) -> None:
        """Set state bits word by word, the last word first (``alterEntryRangeState``)."""
        for word in range((first + count - 1) // 16, first // 16 - 1, -1):
            at = page + STATES_AT + word * 4
            bits = int.from_bytes(self._data[at : at + 4], "little")
            for number in range(max(first, word * 16), min(first + count, word * 16 + 16)):
                shift = number % 16 * 2
                bits = bits & ~(0b11 << shift) | state << shift
            self._program(at, bits.to_bytes(4, "little"))

    def _program(self, offset: int, data: bytes) -> None:
        old = self._data[offset : offset + len(data)]
        self._data[offset : offset + len(data)] = bytes(
            a & b for a, b in zip(old, data, strict=True)
        )
        self.steps.append(Step(offset, data))

    def _erase(self, page: int) -> None:
        self._data[page : page + PAGE_BYTES] = b"\xff" * PAGE_BYTES
        self.steps.append(Step(page))


def _same(one: Item, other: Item) -> bool:
    return (one.space, one.key, one.type, one.chunk, one.value) == (
        (other.space, other.key, other.type, other.chunk, other.value)
    )


def _crc(data: bytes) -> int:
    return zlib.crc32(data, 0xFFFFFFFF)
