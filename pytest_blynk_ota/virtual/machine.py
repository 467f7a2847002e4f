"""The seam inside a virtual board: what its hardware gives to the software that runs on it.

The hardware half (chip, flash, UART, reset circuit, power, loader) makes a :class:`Machine` and
calls ``await execute(machine, cause)`` once for each boot. The software half (ROM log, bootloader,
app) is that one coroutine: it runs from one reset to the next and returns the cause code of the
reset it asks for (0xC ``esp_restart`` or panic, 0x3, 0x7, 0x10 …). A hang never returns. On an
external reset or a power loss the coroutine is cancelled; before that, the hardware has already
turned the board's TCP connections into ghosts, so ``finally: connection.close()`` is harmless.

All times are device seconds: one device second is ``1 / speed`` seconds on the wall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.chip.chips import VirtualChip
    from pytest_blynk_ota.virtual.chip.clock import DeviceClock
    from pytest_blynk_ota.virtual.chip.efuse import EFuses
    from pytest_blynk_ota.virtual.chip.flash import NorFlash
    from pytest_blynk_ota.virtual.network.tcp import Network


class Machine(Protocol):
    """One virtual board as its software sees it."""

    @property
    def name(self) -> str:
        """The board's name in the rig."""

    @property
    def chip(self) -> VirtualChip:
        """Which chip: ``.name`` ("esp32", "esp32c3"), ``.image_id``, ``.mac``, ``.revision``."""

    @property
    def flash(self) -> NorFlash:
        """The flash chip: ``.size``, ``.read(offset, length)``; to change it, see below."""

    @property
    def clock(self) -> DeviceClock:
        """The board's clock: ``now()``, ``sleep(s)``, ``spend(s)``, ``timeout(s)``."""

    @property
    def network(self) -> Network:
        """The board's Wi-Fi: ``up()`` once joined, then ``open_connection(host, port)``."""

    @property
    def foreign_rollback(self) -> bool | None:
        """What the rig file says of a bootloader that is not ours; ``None``: it says nothing."""

    @property
    def efuses(self) -> EFuses:
        """What can be burnt: ``.secure_version``, ``.burn_secure_version(n)``."""

    stage: str
    """Who runs: ``rom``, ``bootloader`` or ``app``. Software sets it; the journal of the flash
    names it as the author of each operation."""

    def print(self, text: str) -> None:
        """Send ``text`` over UART0; every ``\\n`` becomes CR LF. Without a client it is lost."""

    def complain(self, text: str) -> None:
        """Tell whoever runs the rack, once, why this board cannot do what it was flashed for."""

    async def read_line(self) -> str:
        """Wait for one line typed into UART0 and return it without its end."""

    async def erase(self, offset: int, size: int) -> None:
        """Set whole 4 KB sectors to ones; takes device time, less per byte in 64 KB blocks.

        A cancelled call leaves the block it was in with arbitrary bits.

        Raises:
            ValueError: offset or size is no multiple of 4 KB, or outside the flash.
        """

    async def program(self, offset: int, data: bytes) -> None:
        """Clear bits (``old AND data``) page by page; takes device time.

        A cancelled call leaves a prefix programmed.

        Raises:
            ValueError: outside the flash.
        """
