"""The serial loader of a chip in download mode: mask ROM, and the stub that esptool uploads.

Frames are SLIP. The ROM answers until code in RAM is started; from then on the stub does, until it
is told to leave.
"""

from __future__ import annotations

from collections.abc import Callable

from pytest_blynk_ota.virtual.chip.efuse import SECURE, EFuses
from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.chip.registers import Registers
from pytest_blynk_ota.virtual.loader import slip
from pytest_blynk_ota.virtual.loader.requests import Target
from pytest_blynk_ota.virtual.loader.rom import RomLoader
from pytest_blynk_ota.virtual.loader.stub import StubLoader

DEFAULT_BAUD = 115200


class Loader:
    """One session in download mode, from one reset to the next.

    Args:
        send: takes bytes for the UART.
        leave: called with the reset cause when the host asks to run the app.
        baud: tells the serial rate that the chip has set up.
        set_baud: called with the rate that the host asks for, after the answer has gone out.
        watchdog: told in how many device seconds the RTC watchdog bites; ``None``: not any more.
    """

    def __init__(
        self,
        efuses: EFuses,
        flash: NorFlash,
        send: Callable[[bytes], None],
        leave: Callable[[int], None],
        *,
        baud: Callable[[], int] = lambda: DEFAULT_BAUD,
        set_baud: Callable[[int], None] = lambda _rate: None,
        watchdog: Callable[[float | None], None] = lambda _seconds: None,
    ) -> None:
        model = efuses.chip.model
        self._stub_words = model.stub_words
        self._target = Target(
            flash=flash,
            registers=Registers(efuses, baud, watchdog),
            send=send,
            leave=leave,
            set_baud=set_baud,
            security_info=efuses.security_info(),
            begin_words=model.begin_words,
            secure=efuses.locks.download == SECURE,
        )
        self._frames = slip.Decoder()
        self._answers: RomLoader | StubLoader = RomLoader(self._target, self._start_stub)

    @property
    def stub(self) -> bool:
        """Whether the stub answers."""
        return isinstance(self._answers, StubLoader)

    def feed(self, data: bytes) -> None:
        """Take bytes from the UART; answers go out at once."""
        for frame in self._frames.feed(data):
            self._answers.frame(frame)

    def _start_stub(self) -> None:
        for address, word in self._stub_words.items():
            self._target.registers.write(address, word)
        self._answers = StubLoader(self._target, self._end_stub, self._start_stub)
        self._answers.greet()

    def _end_stub(self) -> None:
        self._answers = RomLoader(self._target, self._start_stub)
