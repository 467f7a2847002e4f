"""An NVS partition, read and written as ESP-IDF's nvs_flash does, flash step by flash step.

:class:`Nvs` holds a copy of the partition. Each change adds to :attr:`Nvs.steps` what has to be
done to the flash; whoever owns the flash does it. A new value is written before the old one's bits
are cleared (nvs_storage.cpp), so that a power cut leaves one of the two.
"""

from __future__ import annotations

import struct

from pytest_blynk_ota.firmware.nvs_page import Item, Pages, Type

INDEX = struct.Struct("<IBBH")
"""Of a blob: size, number of chunks, number of the first, all ones."""
NUMBERS = {
    Type.U8: "<B",
    Type.I8: "<b",
    Type.U16: "<H",
    Type.I16: "<h",
    Type.U32: "<I",
    Type.I32: "<i",
}


class Nvs(Pages):
    """A partition, opened, as namespaces and keys.

    Args:
        data: its bytes, whole pages, three or more.

    Raises:
        FirmwareError: it is too small.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._drop_twins()
        self._drop_orphans()

    # ---- reading

    def number(self, space: str, key: str) -> int | None:
        """An integer of any size; None: not there."""
        item = self._find(space, key)
        if item is None or item.type not in NUMBERS:
            return None
        shape = NUMBERS[Type(item.type)]
        (found,) = struct.unpack_from(shape, item.value)
        return int(found)

    def string(self, space: str, key: str) -> str | None:
        """A text; None: not there."""
        item = self._find(space, key)
        if item is None or item.type != Type.STRING:
            return None
        return item.value.rstrip(b"\0").decode("utf-8", "replace")

    def blob(self, space: str, key: str) -> bytes | None:
        """A blob; None: not there, or not whole."""
        index = self._find(space, key)
        if index is None or index.type != Type.BLOB_INDEX:
            return None
        size, count, start, _ = INDEX.unpack_from(index.value)
        chunks = {item.chunk: item.value for item in self._chunks(index)}
        parts = [chunks.get(start + number, b"") for number in range(count)]
        whole = b"".join(parts)
        return whole if len(whole) == size else None

    # ---- writing

    def put_number(self, space: str, key: str, kind: Type, number: int) -> None:
        """Keep an integer. Raises FirmwareError if there is no room."""
        self._put(space, key, kind, struct.pack(NUMBERS[kind], number))

    def put_string(self, space: str, key: str, text: str) -> None:
        """Keep a text. Raises FirmwareError if there is no room."""
        self._put(space, key, Type.STRING, text.encode() + b"\0")

    def put_blob(self, space: str, key: str, data: bytes) -> None:
        """Keep a blob. Raises FirmwareError if there is no room."""
        if self.blob(space, key) == data:
            return
        number = self._space(space)
        old = self._find(space, key)
        start = 0
        if old is not None and old.type == Type.BLOB_INDEX:
            start = 0x80 - INDEX.unpack_from(old.value)[2]
        gone = [*self._chunks(old), old] if old is not None else []
        self._write(number, key, Type.BLOB, data, start)
        self._write(number, key, Type.BLOB_INDEX, INDEX.pack(len(data), 1, start, 0xFFFF))
        for item in gone:
            self._drop(item)

    def remove(self, space: str, key: str) -> bool:
        """Forget a key; False: it was not there."""
        item = self._find(space, key)
        if item is None:
            return False
        for chunk in self._chunks(item):
            self._drop(chunk)
        self._drop(item)
        return True

    def clear(self, space: str) -> None:
        """Forget every key of a namespace."""
        number = self._space_number(space)
        for item in [item for item in self.items() if item.space == number and number]:
            self._drop(item)

    def _put(self, space: str, key: str, kind: Type, value: bytes) -> None:
        old = self._find(space, key)
        if old is not None and old.type == kind and old.value[: len(value)] == value:
            return
        self._write(self._space(space), key, kind, value)
        if old is not None:
            self._drop(old)

    def _find(self, space: str, key: str) -> Item | None:
        number = self._space_number(space)
        found = None
        for item in self.items() if number else ():
            if item.space == number and item.key == key and item.type != Type.BLOB:
                found = item
        return found

    def _chunks(self, index: Item) -> list[Item]:
        if index.type != Type.BLOB_INDEX:
            return []
        _, count, start, _ = INDEX.unpack_from(index.value)
        wanted = range(start, start + count)
        return [
            item
            for item in self.items()
            if (item.space, item.key, item.type) == (index.space, index.key, Type.BLOB)
            and item.chunk in wanted
        ]

    def _space_number(self, name: str) -> int:
        for item in self.items():
            if item.space == 0 and item.key == name:
                return item.value[0]
        return 0

    def _space(self, name: str) -> int:
        if number := self._space_number(name):
            return number
        taken = {item.value[0] for item in self.items() if item.space == 0}
        number = next(n for n in range(1, 255) if n not in taken)
        self._write(0, name, Type.U8, bytes([number]))
        return number

    def _drop_twins(self) -> None:
        """The old one of two values of one key: power failed before it was forgotten."""
        newest: dict[tuple[int, str, int, int], Item] = {}
        for item in list(self.items()):
            key = (item.space, item.key, item.type, item.chunk)
            if key in newest:
                self._drop(newest[key])
            newest[key] = item

    def _drop_orphans(self) -> None:
        """Parts of a blob that no index names: power failed before it was written."""
        items = list(self.items())
        named = [part for item in items for part in self._chunks(item)]
        for item in items:
            if item.type == Type.BLOB and item not in named:
                self._drop(item)
