"""How a chip is reset through the two control lines of its serial port.

The circuit (two transistors, as on every development board): the chip is held in reset while RTS is
asserted and DTR is not; IO0 is pulled low, which asks the ROM for its loader, while DTR is asserted
and RTS is not. Both asserted, or neither: nothing happens.

A chip's own USB port (USB-Serial-JTAG) resets by the same two lines, but decides by a flag that has
to be set before: one more step, which the circuit does not mind.
"""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass

from pytest_blynk_ota.board.ports import HasLines, Port
from pytest_blynk_ota.errors import ConfigError

RESET_HOLD_S = 0.1
"""Device seconds in reset: esptool's ClassicReset; the capacitor at EN needs a few ms."""
STRAP_HOLD_S = 0.05
"""Device seconds that IO0 stays low after the release: esptool's DEFAULT_RESET_DELAY."""

NO_LINES = (errno.ENOTTY, errno.EINVAL)
"""What Linux says to TIOCMSET on a pseudo-terminal."""


@dataclass(frozen=True, slots=True)
class Step:
    """Set both lines (True: asserted), then hold them for so many device seconds."""

    dtr: bool
    rts: bool
    hold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Strategy:
    """A reset as a sequence that one can read aloud; ``mode`` is what the chip does after it."""

    mode: str
    steps: tuple[Step, ...]


RUN = Strategy(
    "run",
    (
        Step(dtr=False, rts=True, hold_s=RESET_HOLD_S),  # hold in reset
        Step(dtr=False, rts=False),  # release: boot from flash
    ),
)
LOADER = Strategy(
    "loader",
    (
        Step(dtr=True, rts=False),  # USB-Serial-JTAG: set the flag for the loader
        Step(dtr=True, rts=True),  # from there, not by (0, 0), which clears it
        Step(dtr=False, rts=True, hold_s=RESET_HOLD_S),  # hold in reset
        Step(dtr=True, rts=False, hold_s=STRAP_HOLD_S),  # release with IO0 low: ROM loader
        Step(dtr=False, rts=False),  # let IO0 go
    ),
)


def perform(strategy: Strategy, port: Port, *, name: str, speed: float = 1.0) -> None:
    """Move the lines.

    Raises:
        ConfigError: the port has none, as ``socket://`` and pseudo-terminals have not.
    """
    if not isinstance(port, HasLines):
        raise _no_lines(port, name)
    for step in strategy.steps:
        try:
            port.set_lines(dtr=step.dtr, rts=step.rts)
        except OSError as error:
            if error.errno in NO_LINES:
                raise _no_lines(port, name) from error
            raise
        time.sleep(step.hold_s / speed)  # the pulse itself: nothing answers that could be awaited


def _no_lines(port: Port, name: str) -> ConfigError:
    return ConfigError(
        f"board {name}",
        [
            f"port: {port.port} cannot reset the chip; use rfc2217://… or the device path of a "
            "serial port"
        ],
    )
