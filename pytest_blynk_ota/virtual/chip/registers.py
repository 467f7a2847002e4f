"""The registers that the serial loader can read and write, and the flash commands behind them."""

from __future__ import annotations

from collections.abc import Callable

from pytest_blynk_ota.virtual.chip.chips import VirtualChip

CRYSTAL_HZ = 40_000_000
SPI_COMMAND_USR = 1 << 18
WORD = 0xFFFFFFFF

FLASH_COMMANDS: dict[int, int] = {
    0x9F: 0x1640EF,  # read id: Winbond W25Q32, 4 MB; lowest byte first
    0x5A: 0x50444653,  # read SFDP at 0: "SFDP"
    0x05: 0,  # read status 1
    0x35: 0,  # read status 2
    0x15: 0,  # read status 3
}
"""What each flash command leaves in W0. All others (66, 99 reset, 06, 50 …) leave nothing."""


class Registers:
    """The memory-mapped words of one chip since its last reset.

    Args:
        chip: which.
        baud: tells the serial rate of now.
    """

    def __init__(self, chip: VirtualChip, baud: Callable[[], int]) -> None:
        self._chip = chip
        self._baud = baud
        self._written: dict[int, int] = {}

    def read(self, address: int) -> int:
        """The word at ``address``; 0 where nothing is known."""
        if address == self._chip.model.uart_clock_divider:
            return CRYSTAL_HZ // max(self._baud(), 1)
        return self._written.get(address, self._chip.registers.get(address, 0))

    def write(self, address: int, value: int, mask: int = WORD) -> None:
        """Change the bits of ``mask``; a write to the SPI command register runs the command."""
        spi = self._chip.model.spi
        value = (self.read(address) & ~mask | value & mask) & WORD
        if address == spi.base and value & SPI_COMMAND_USR:
            command = self.read(spi.base + spi.usr2) & 0xFF
            self._written[spi.base + spi.w0] = FLASH_COMMANDS.get(command, 0)
            value &= ~SPI_COMMAND_USR
        self._written[address] = value
