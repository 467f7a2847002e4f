"""The registers that the serial loader can read and write, and what lies behind some of them."""

from __future__ import annotations

import struct
from collections.abc import Callable

from pytest_blynk_ota.virtual.chip.efuse import WORD, EFuses

CRYSTAL_HZ = 40_000_000
SPI_COMMAND_USR = 1 << 18

FLASH_COMMANDS: dict[int, int] = {
    0x9F: 0x1640EF,  # read id: Winbond W25Q32, 4 MB; lowest byte first
    0x5A: 0x50444653,  # read SFDP at 0: "SFDP"
    0x05: 0,  # read status 1
    0x35: 0,  # read status 2
    0x15: 0,  # read status 3
}
"""What each flash command leaves in W0. All others (66, 99 reset, 06, 50 …) leave nothing."""

WATCHDOG_KEY = 0x50D83AA1
WATCHDOG_ENABLED = 1 << 31
SLOW_CLOCK_HZ = 136_000
"""The RTC's own oscillator; ESP32-C3 TRM, clock tree."""


class Registers:
    """The memory-mapped words of one chip since its last reset.

    Args:
        efuses: of the chip.
        baud: tells the serial rate that the chip has set up.
        watchdog: told in how many device seconds the RTC watchdog bites, from now on; ``None``:
            it is off.
    """

    def __init__(
        self,
        efuses: EFuses,
        baud: Callable[[], int],
        watchdog: Callable[[float | None], None] = lambda _seconds: None,
    ) -> None:
        self._model = efuses.chip.model
        self._fixed = dict(self._model.fixed)
        self._burnt = efuses.words()
        self._baud = baud
        self._watchdog = watchdog
        self._written: dict[int, int] = {}

    def read(self, address: int) -> int:
        """The word at ``address``; 0 where nothing is known."""
        if address == self._model.uart_clock_divider:
            return CRYSTAL_HZ // max(self._baud(), 1)
        if address in self._burnt:
            return self._burnt[address] | self._fixed.get(address, 0)
        return self._written.get(address, self._fixed.get(address, 0))

    def write(self, address: int, value: int, mask: int = WORD) -> None:
        """Change the bits of ``mask``; some registers do something then."""
        spi, watchdog = self._model.spi, self._model.watchdog
        value = (self.read(address) & ~mask | value & mask) & WORD
        if address == spi.base and value & SPI_COMMAND_USR:
            command = self.read(spi.base + spi.usr2) & 0xFF
            self._written[spi.base + spi.w0] = FLASH_COMMANDS.get(command, 0)
            value &= ~SPI_COMMAND_USR
        if address in (watchdog.config, watchdog.timeout):
            if self.read(watchdog.protect) == WATCHDOG_KEY:
                self._written[address] = value
                self._set_watchdog()
            return
        self._written[address] = value

    def write_all(self, writes: bytes) -> None:
        """Carry out a list of (address, value, mask, delay), each a 32-bit word."""
        for address, value, mask, _delay_us in struct.iter_unpack("<4I", writes):
            self.write(address, value, mask)

    def load(self, address: int, data: bytes) -> None:
        """Put bytes into RAM, which reads like any register."""
        words = data + bytes(-len(data) % 4)
        for index, (word,) in enumerate(struct.iter_unpack("<I", words)):
            self._written[(address + 4 * index) & WORD] = word

    def _set_watchdog(self) -> None:
        watchdog = self._model.watchdog
        if self.read(watchdog.config) & WATCHDOG_ENABLED:
            self._watchdog(self.read(watchdog.timeout) / SLOW_CLOCK_HZ)
        else:
            self._watchdog(None)
