"""The flash as it was at one moment: only sectors that have changed since are copied.

A snapshot keeps no content when it is taken. Before the flash changes a sector, it gives the old
content to each living snapshot that has none of its own; so taking one costs nothing, and keeping
one costs what has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pytest_blynk_ota.virtual.chip.operations import SECTOR_BYTES, sectors

ReadSector = Callable[[int], bytes]


class Snapshot:
    """Made by :meth:`NorFlash.snapshot`; valid until the flash is closed.

    Args:
        size: of the flash in bytes.
        now: reads a sector as it is now.
    """

    def __init__(self, size: int, now: ReadSector) -> None:
        self.size = size
        self._now = now
        self._kept: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return f"<snapshot, {len(self._kept)} of {self.size // SECTOR_BYTES} sectors copied>"

    @property
    def copied(self) -> int:
        """How many sectors it holds a copy of."""
        return len(self._kept)

    def keep(self, numbers: Iterable[int], contents: dict[int, bytes]) -> None:
        """These sectors are about to change (for the flash alone).

        Args:
            contents: copies shared between snapshots; what is missing is read and put there.
        """
        for number in numbers:
            if number not in self._kept:
                if number not in contents:
                    contents[number] = self._now(number)
                self._kept[number] = contents[number]

    def sector(self, number: int) -> bytes:
        """The content of one sector."""
        kept = self._kept.get(number)
        return self._now(number) if kept is None else kept

    def read(self, offset: int, length: int) -> bytes:
        """The content of a span; fewer bytes where the flash ends."""
        span = sectors(offset, min(length, max(0, self.size - offset)))
        data = b"".join(map(self.sector, span))
        start = offset - span.start * SECTOR_BYTES
        return data[start : start + length]

    def to_bytes(self) -> bytes:
        """The content of the whole flash."""
        return self.read(0, self.size)

    def changed(self, since: Snapshot | None = None) -> list[int]:
        """Numbers of the sectors that differ from another snapshot, or from the flash as it is.

        Only what either has a copy of can differ.
        """
        other = since.sector if since is not None else self._now
        maybe = self._kept.keys() | (since._kept.keys() if since is not None else set())
        return sorted(number for number in maybe if self.sector(number) != other(number))
