"""How the reference firmware reads a body to its end, and what it takes for the end.

A silence of ``stall_s`` and a close before the end are both errors: what came is not the file. The
bugs planted here are of loops that take one of them for something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.reference_http import Cut, Problem, Stall

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.app.reference_http import Answer

PIECE_BYTES = 4096
PAUSE_S = 1.0
"""Z1: a silence that counts as the end; never less than a quarter of a second on the wall."""
SHORT_S = 20.0
"""Z10: for a whole download; at least a quarter of a second on the wall."""
PEEK_S, LEAST_PEEK_S = 1.0, 0.05
"""Z12: from the headers to the look at the first byte; the least of it, on the wall."""


def time_limit(context: Context) -> float:
    """Device seconds that a whole download may take; 0 in the behaviour: any time."""
    if context.has("Z9"):
        return float("inf")
    if context.has("Z10"):
        return context.machine.clock.timeout(SHORT_S) * context.machine.clock.speed
    return context.behaviour.download_s or float("inf")


def least_rate(context: Context) -> float:
    """Bytes a second below which a download is given up."""
    return 0.0 if context.has("Z9") else context.behaviour.least_rate


def is_compared(context: Context) -> bool:
    """Whether the bytes that came are held against those that were announced.

    Z2: they are not. Z5: ``Update.end(true)``, which says that fewer will do.
    """
    return not (context.has("Z2") or context.has("Z5"))


class Body:
    """The body of one answer."""

    def __init__(self, context: Context, answer: Answer) -> None:
        self._context = context
        self._answer = answer
        self._has_begun = False

    async def piece(self, patience_s: float) -> bytes:
        """Some bytes of it; ``b""`` at the end.

        Args:
            patience_s: how long a silence may be.

        Raises:
            Problem: it did not come to its end.
            Panic: a planted hang.
        """
        first, self._has_begun = not self._has_begun, True
        try:
            if first and self._context.has("Z12"):
                return await self._at_once()
            return await self._answer.read(PIECE_BYTES, self._patience(patience_s))
        except Stall:
            if self._context.has("Z55"):
                self._context.crash.now("hang")  # while (!available()) esp_task_wdt_reset();
            if self._context.has("Z1") or self._context.has("Z5"):
                return b""
            raise
        except Cut as cut:
            return await self._closed(cut, patience_s)

    def _patience(self, seconds: float) -> float:
        if self._context.has("Z1"):
            return PAUSE_S  # while (client.available())
        return float("inf") if self._context.has("Z8") else seconds  # while (client.connected())

    async def _at_once(self) -> bytes:
        """Z12: ``peek()`` right behind the headers; -1, for nothing there, is not 0xE9 either."""
        patience_s = max(PEEK_S / self._context.machine.clock.speed, LEAST_PEEK_S)
        try:
            async with self._context.machine.clock.within(patience_s):
                return await self._answer.read(PIECE_BYTES, float("inf"))
        except TimeoutError:
            raise Problem("wrong magic byte", again=False) from None

    async def _closed(self, cut: Cut, patience_s: float) -> bytes:
        """The server has closed before the end."""
        if self._context.has("Z2") or self._context.has("Z5"):
            return b""  # nothing more to read: done
        if self._context.has("Z11"):
            clock = self._context.machine.clock
            await clock.pause(clock.timeout(patience_s))
            raise Stall(f"no byte for {patience_s:g} s")  # available() is 0, as if none came yet
        raise cut
