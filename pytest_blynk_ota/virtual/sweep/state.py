"""The flash at a cut point: after a number of operations, the next one torn or not begun."""

from __future__ import annotations

import contextlib
import hashlib
from array import array
from collections.abc import Callable, Iterator

from pytest_blynk_ota.virtual.chip.operations import (
    SECTOR_BYTES,
    Operation,
    Tear,
    programmed,
    sectors,
)
from pytest_blynk_ota.virtual.chip.snapshot import Snapshot

ERASED = b"\xff"
SHORT_BYTES = 64
"""A span up to this long is its own key; of a longer one the versions of its sectors are."""

Limit = Callable[[int, bytes], bytes]
"""What reads back where these bytes were to stand: bad sectors keep some bits."""


class FlashState:
    """A copy of the flash that steps through a recording.

    Each content that a sector takes has a version number of its own, and a torn operation that is
    taken back brings the old number back: where numbers are equal, bytes are.

    Args:
        base: the flash before the first operation.
        limit: of the flash's bad sectors.
    """

    def __init__(self, base: Snapshot, limit: Limit) -> None:
        self.size = base.size
        self._cells = bytearray(base.to_bytes())
        self._limit = limit
        self._versions = array("L", bytes(array("L").itemsize * (self.size // SECTOR_BYTES)))
        self._minted = 0

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of flash; fewer where it ends."""
        return bytes(self._cells[offset : offset + length])

    def key(self, offset: int, length: int) -> bytes:
        """Equal only if :meth:`read` gives the same bytes."""
        if length <= SHORT_BYTES:
            return self.read(offset, length)
        span = sectors(offset, length)
        return self._versions[span.start : span.stop].tobytes()

    def sha256(self) -> str:
        """Of the whole content, as :meth:`NorFlash.sha256` gives it."""
        return hashlib.sha256(self._cells).hexdigest()

    def apply(self, operation: Operation) -> None:
        """Step over an operation."""
        self._put(operation.offset, self._after(operation))

    @contextlib.contextmanager
    def torn(self, operation: Operation, tear: Tear) -> Iterator[None]:
        """Inside, the operation is torn; afterwards it has not begun."""
        span, touched = (
            slice(operation.offset, operation.offset + operation.length),
            slice(operation.sectors.start, operation.sectors.stop),
        )
        cells, versions = self._cells[span], self._versions[touched]
        self._put(operation.offset, self._torn(operation, tear))
        try:
            yield
        finally:
            self._cells[span], self._versions[touched] = cells, versions

    def _after(self, operation: Operation) -> bytes:
        match operation.kind:
            case "erase":
                return ERASED * operation.length
            case "torn erase":
                return operation.data
            case _:
                return self._with(operation.offset, operation.data)

    def _torn(self, operation: Operation, tear: Tear) -> bytes:
        if operation.is_erase:
            return tear.of_erase(self.read(operation.offset, operation.length))
        return self._with(operation.offset, tear.of_program(operation.data))

    def _with(self, offset: int, data: bytes) -> bytes:
        return programmed(self.read(offset, len(data)), data)

    def _put(self, offset: int, data: bytes) -> None:
        self._cells[offset : offset + len(data)] = self._limit(offset, data)
        for number in sectors(offset, len(data)):
            self._minted += 1
            self._versions[number] = self._minted
