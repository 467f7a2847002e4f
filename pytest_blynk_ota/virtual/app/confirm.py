"""When an image tells the bootloader to keep it: ``confirm`` and ``self_test`` of its behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context


class Confirmation:
    """One boot's way from PENDING to VALID, or back to the image before."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._behaviour = context.behaviour

    @property
    def pending(self) -> bool:
        """Whether the bootloader waits for a word."""
        return self._context.ota.running_is_pending()

    async def at(self, moment: str) -> None:
        """The code reached ``init`` or ``login``: confirm if that is when the image does."""
        if self._behaviour.confirm == moment:
            await self.confirm()

    async def confirm(self) -> None:
        """Mark the running image valid, if it is not."""
        if self.pending:
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
        if not test.passes:
            log.blynk("Self-test failed")
            await self._context.ota.mark_invalid_and_reboot()
        elif self._behaviour.confirm == "self_test":
            await self.confirm()
            log.blynk("Self-test passed")
