"""What a try of the reference firmware leaves behind in its boot: nothing.

The bugs planted here leave something behind each time, until there is no more of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.reference_http import Problem

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context

HEAP_BYTES = 180 * 1024
"""Free when the application is up."""
CLIENT_BYTES = 12 * 1024
"""Z23: of an ``esp_http_client`` with its buffers; the sixteenth does not fit any more."""
MOST_TIMERS = 16
"""Z24: ``esp_timer_create`` has no room for another one."""


class Leaks:
    """Counts the tries of one boot."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tries = 0
        self._failed = 0

    def begin(self) -> None:
        """A try begins.

        Raises:
            Problem: something has run out.
            Panic: the heap has.
        """
        if self._context.has("Z23") and (self._failed + 1) * CLIENT_BYTES > HEAP_BYTES:
            self._context.crash.now("heap_exhausted")
        if self._context.has("Z24") and self._tries == MOST_TIMERS:
            raise Problem("no timer", again=False)  # deleted only in the callback, if it fires
        self._tries += 1

    def fail(self) -> None:
        """A try has failed: ``return ESP_FAIL``, above the line that cleans up."""
        self._failed += 1
