"""One virtual board: power, reset circuit, serial port and flash around whatever software it runs.

The chip is always in one of four states, and only three things move it:

=============  ==========================  =========================  ==================
state          reset circuit               power                      software
=============  ==========================  =========================  ==================
``OFF``        –                           on → as the lines say      –
``HELD``       released → boot / download  off → ``OFF``              –
``RUNNING``    held → ``HELD``             off → ``OFF``              returns → next boot
``DOWNLOAD``   held → ``HELD``             off → ``OFF``              run → boot
=============  ==========================  =========================  ==================

Whatever it did before is cancelled first, so that a flash operation under way ends torn, and its
TCP connections have become ghosts before the software hears of it.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from enum import Enum

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.virtual.boot.rom import ROMS, closed_banner, download_banner
from pytest_blynk_ota.virtual.chip.clock import DeviceClock
from pytest_blynk_ota.virtual.chip.driver import FlashDriver
from pytest_blynk_ota.virtual.chip.efuse import CLOSED, EFuses
from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.chip.reset import POWER_ON, RESET_LINES, Reset, SyncWatch
from pytest_blynk_ota.virtual.loader.session import Loader
from pytest_blynk_ota.virtual.machine import Machine
from pytest_blynk_ota.virtual.network.addresses import Source
from pytest_blynk_ota.virtual.network.air import Air
from pytest_blynk_ota.virtual.network.tcp import Network
from pytest_blynk_ota.virtual.settings import BoardSettings
from pytest_blynk_ota.virtual.wire.uart import Uart
from pytest_blynk_ota.virtual.wire.wires import WIRES

BROWNOUT = 0xF
RTC_WATCHDOG = 0x10
BAUD_RATES = (39, 5_000_000)
"""Slowest and fastest: 40 MHz over a divider of 20 bits, and what the data sheets promise."""

# How long a supply's capacitors feed a chip is a matter of the board: our choice.
HOLD_UP_MS = 10.0
"""A dip shorter than this is not felt."""
DRAINED_MS = 100.0
"""A dip of this length ends as a power-on, not as a brownout."""

LINK_BACK_S = (1.0, 2.0)
"""Device seconds from power-on until a bridge behind a switched hub has enumerated again."""

MAX_LINE = 4096

Execute = Callable[[Machine, int], Awaitable[int]]


class State(Enum):
    """What the chip is doing."""

    OFF = "without power"
    HELD = "held in reset"
    RUNNING = "running from flash"
    DOWNLOAD = "in download mode"


class Board:
    """One board; it is the :class:`Machine` of its software.

    Args:
        execute: one boot of the software.
        failed: told when the software breaks, which is a fault of this program.
        air: the rack's access point and router; one of its own if none is given.

    Raises:
        UsageError: the flash file does not fit, or there is no such bad sector; names the board.
    """

    def __init__(
        self,
        settings: BoardSettings,
        execute: Execute,
        *,
        speed: float = 1.0,
        failed: Callable[[BaseException], None],
        air: Air | None = None,
    ) -> None:
        self.name = settings.name
        self.efuses = EFuses(settings.chip, settings.efuse, settings.fixed)
        self.chip = self.efuses.chip
        self.foreign_rollback = settings.foreign_rollback
        self.flash = self._flash(settings)
        self.clock = DeviceClock(speed)
        self.driver = FlashDriver(self.flash, self.clock, lambda: self.power(False))
        self.source = Source()
        self.network = Network(air, self.clock, self.source)
        self.stage = "rom"
        self.boots = 0
        own_usb = settings.usb == "jtag"
        self.uart = Uart(
            self._received,
            self._lines_moved,
            WIRES[settings.wire],
            opened=self._client_came,
            pace=speed if settings.paced else None,
            rated=not own_usb,
            usb=settings.usb,
            serial=self.chip.mac_text.upper() if own_usb else self.chip.mac_text.replace(":", ""),
        )
        self.state = State.OFF
        self._hub = settings.hub or own_usb  # the chip's own port goes with the chip's power
        self._execute = execute
        self._failed = failed
        self._circuit = RESET_LINES[settings.usb]()
        self._watch = SyncWatch()
        self._loader: Loader | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._life: asyncio.Task[None] | None = None
        self._alone = asyncio.Lock()  # one life at a time: the next waits for the last to end
        self._link_back: asyncio.TimerHandle | None = None
        self._power_back: asyncio.TimerHandle | None = None  # after a dip
        self._random = random.Random(settings.name)
        self._typed = asyncio.Queue[str]()
        self._line = bytearray()
        self._complaints: set[str] = set()

    def _flash(self, settings: BoardSettings) -> NorFlash:
        try:
            return NorFlash(
                settings.flash,
                seed=settings.name,
                bad_sectors=settings.bad_sectors,
                author=lambda: (self.stage, self.boots, self.efuses.secure_version),
            )
        except UsageError as error:
            raise UsageError(f"board {self.name}: {error}") from error

    async def start(self) -> None:
        """Open the serial port and switch the power on."""
        await self.uart.start()
        self.power(True)

    async def stop(self) -> None:
        """Switch off for good and let go of everything."""
        await self.dark()
        await self.uart.stop()
        self.network.close()
        self.source.close()
        self.flash.close()

    # ---- power and reset

    @property
    def powered(self) -> bool:
        """Whether the outlet is on."""
        return self.state is not State.OFF

    def power(self, on: bool) -> None:
        """Switch the outlet; nothing happens if it is so already."""
        self._forget_dip()
        if on is self.powered:
            return
        if on:
            self._enter(self._circuit.at_power_on)
            if self._hub:
                delay = self._random.uniform(*LINK_BACK_S) / self.clock.speed
                loop = asyncio.get_running_loop()
                self._link_back = loop.call_later(delay, self.uart.link)
            return
        self._end_life()
        self.uart.reset()
        self.state = State.OFF
        if self._link_back is not None:
            self._link_back.cancel()
            self._link_back = None
        if self._hub:
            self.uart.unlink()

    async def dark(self) -> None:
        """Switch the power off and wait until whatever ran has ended."""
        self.power(False)
        async with self._alone:
            pass

    async def dip(self, ms: float) -> str:
        """Take the power away for ``ms`` device milliseconds; returns what came of it.

        It comes back also if nobody waits for the end, but not if the outlet is switched meanwhile.
        """
        if not self.powered or ms < HOLD_UP_MS:
            return "nothing"
        drained = ms >= DRAINED_MS
        if drained:
            self.power(False)
        else:
            self._brown_out()
        again = (lambda: self.power(True)) if drained else self._recover
        delay = ms / 1000 / self.clock.speed
        self._power_back = asyncio.get_running_loop().call_later(delay, again)
        await asyncio.sleep(delay)
        return "power-on" if drained else "brownout"

    def _brown_out(self) -> None:
        detected = self.stage == "app" and self.state is State.RUNNING
        self._forget_dip()
        self._end_life()
        self.uart.reset()
        self.state = State.HELD
        if detected:
            self.print("\nBrownout detector was triggered\n\n")  # brownout.c of ESP-IDF

    def _recover(self) -> None:
        if self.state is State.HELD and not self._circuit.holds:  # no reset meanwhile
            self._boot(BROWNOUT)

    def _forget_dip(self) -> None:
        if self._power_back is not None:
            self._power_back.cancel()
            self._power_back = None

    def press_reset(self, *, download: bool = False) -> None:
        """Press EN, with IO0 held low for download mode; without power nothing happens."""
        if self.powered:
            self._enter(Reset.DOWNLOAD if download else self._circuit.at_power_on)

    def _lines_moved(self, dtr: bool, rts: bool) -> None:
        effect = self._circuit.move(dtr, rts)
        if effect is not None and self.powered:
            self._enter(effect, self._circuit.cause)

    def _enter(self, effect: Reset, cause: int = POWER_ON) -> None:
        self._end_life()
        self.uart.reset()
        if effect is Reset.HOLD:
            self.state = State.HELD
        elif effect is Reset.DOWNLOAD:
            self.state = State.DOWNLOAD
            self._begin_life(lambda: self._download(cause))
        else:
            self._boot(cause)

    def _boot(self, cause: int) -> None:
        self._end_life()
        self.uart.restart()
        self.state = State.RUNNING
        self._begin_life(lambda: self._run(cause))

    def _begin_life(self, life: Callable[[], Awaitable[None]]) -> None:
        self._life = asyncio.create_task(self._live(life), name=f"{self.name} {self.state.name}")

    async def _live(self, life: Callable[[], Awaitable[None]]) -> None:
        async with self._alone:
            await life()

    def _end_life(self) -> None:
        self.network.drop()
        self._loader = None
        self._set_watchdog(None)
        self._forget_typed()
        if self._life is not None:
            self._life.cancel()
            self._life = None

    async def _run(self, cause: int) -> None:
        try:
            while True:
                self.boots += 1
                cause = await self._execute(self, cause)
                self.network.drop()
                await self.uart.sent()
                self.uart.restart()
                self._forget_typed()
                await asyncio.sleep(0)  # a boot that waits for nothing must not stop the others
        except Exception as error:
            self._failed(error)

    async def _download(self, cause: int) -> None:
        self.stage = "loader"
        rom = ROMS[self.chip.name]
        if self.efuses.locks.download == CLOSED:
            self.print("".join(f"{line}\n" for line in closed_banner(rom, cause)))
            return
        self._loader = Loader(
            self.efuses,
            self.flash,
            self.uart.send,
            self._boot,
            baud=lambda: self.uart.chip_baud,
            set_baud=self._set_baud,
            watchdog=self._set_watchdog,
        )
        self.print("".join(f"{line}\n" for line in download_banner(rom, cause)))
        self.uart.detect_rate()

    def _set_baud(self, rate: int) -> None:
        self.uart.chip_baud = min(max(rate, min(BAUD_RATES)), max(BAUD_RATES))

    def _set_watchdog(self, seconds: float | None) -> None:
        """Let the RTC watchdog bite then; it samples the strapping pins, as power-on does."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._watchdog = loop.call_later(self.clock.timeout(seconds), self._bitten)

    def _bitten(self) -> None:
        self._watchdog = None
        self._enter(self._circuit.at_power_on, RTC_WATCHDOG)

    def _client_came(self) -> None:
        """Where no client can reset the chip, each one finds the ROM's loader as after a reset."""
        if self._loader is not None and not self.uart.wire.has_lines:
            self._enter(Reset.DOWNLOAD)

    # ---- the Machine

    def print(self, text: str) -> None:
        """See :class:`Machine`."""
        self.uart.send(text.replace("\n", "\r\n").encode())

    def complain(self, text: str) -> None:
        """See :class:`Machine`."""
        if text not in self._complaints:
            self._complaints.add(text)
            print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    async def read_line(self) -> str:
        """See :class:`Machine`."""
        return await self._typed.get()

    async def erase(self, offset: int, size: int) -> None:
        """See :class:`Machine`."""
        await self.driver.erase(offset, size)

    async def program(self, offset: int, data: bytes) -> None:
        """See :class:`Machine`."""
        await self.driver.program(offset, data)

    def _received(self, data: bytes) -> None:
        if self._loader is not None:
            self._loader.feed(data)
        elif self.state is State.RUNNING:
            self._type(data)
            if not self.uart.wire.has_lines and self._watch.sees(data):
                self.press_reset(download=True)

    def _forget_typed(self) -> None:
        """Any reset empties the receive buffer."""
        self._line.clear()
        self._typed = asyncio.Queue()

    def _type(self, data: bytes) -> None:
        *lines, rest = (
            (self._line + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        )
        for line in lines:
            self._typed.put_nowait(line.decode(errors="replace"))
        self._line[:] = rest[-MAX_LINE:]
