"""When an image tells the bootloader to keep it: ``confirm`` and ``self_test`` of its behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context


WRONG_MOMENTS: Mapping[str, str] = {"Z44": "init", "Z46": "wifi"}
"""Planted bugs by the moment at which they confirm: the first line, or the first address."""


def when(context: Context) -> str:
    """The moment at which the image confirms itself."""
    moments = (moment for bug, moment in WRONG_MOMENTS.items() if context.has(bug))
    return next(moments, context.behaviour.confirm)


class Confirmation:
    """One boot's way from PENDING to VALID, or back to the image before."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._behaviour = context.behaviour
        self._when = when(context)

    @property
    def pending(self) -> bool:
        """Whether the bootloader waits for a word."""
        return self._context.ota.running_is_pending()

    async def at(self, moment: str) -> None:
        """The code reached ``init``, ``wifi`` or ``login``: confirm if the image does it then."""
        if self._when == moment:
            await self.confirm()

    async def confirm(self) -> None:
        """Mark the running image valid, if it is not."""
        if self.pending and not self._context.has("Z45"):  # Z45: the call was forgotten
            await self._context.ota.mark_valid()
            self._context.crash.at("after_confirm")

    async def self_test(self) -> None:
        """Test itself where that matters, and say goodbye if it fails.

        Raises:
            Reset: it has marked itself invalid.
        """
        test, log = self._behaviour.self_test, self._context.log
        if test is None or not self.pending:
            return
        if not test.passes and not self._context.has("Z47"):  # Z47: return true; // TODO
            log.blynk("Self-test failed")
            await self._context.ota.mark_invalid_and_reboot()
        elif self._when == "self_test":
            await self.confirm()
            log.blynk("Self-test passed")
