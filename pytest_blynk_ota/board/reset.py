"""How a chip is reset through the two control lines of its serial port.

The circuit (two transistors, as on every development board): the chip is held in reset while RTS is
asserted and DTR is not; IO0 is pulled low, which asks the ROM for its loader, while DTR is asserted
and RTS is not. Both asserted, or neither: nothing happens.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from pytest_blynk_ota.board.ports import HasLines, Port
from pytest_blynk_ota.errors import ConfigError

RESET_HOLD_S = 0.1
"""Device seconds in reset: esptool's ClassicReset; the capacitor at EN needs a few ms."""
STRAP_HOLD_S = 0.05
"""Device seconds that IO0 stays low after the release: esptool's DEFAULT_RESET_DELAY."""


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
        Step(dtr=False, rts=True, hold_s=RESET_HOLD_S),  # hold in reset
        Step(dtr=True, rts=False, hold_s=STRAP_HOLD_S),  # release with IO0 low: ROM loader
        Step(dtr=False, rts=False),  # let IO0 go
    ),
)


def perform(strategy: Strategy, port: Port, *, name: str, speed: float = 1.0) -> None:
    """Move the lines. Raises ConfigError where the port has none, as ``socket://`` has not."""
    if not isinstance(port, HasLines):
        raise ConfigError(
            f"board {name}",
            [f"port: {port.port} cannot reset the chip; use rfc2217://… or a device path"],
        )
    for step in strategy.steps:
        port.set_lines(dtr=step.dtr, rts=step.rts)
        time.sleep(step.hold_s / speed)  # the pulse itself: nothing answers that could be awaited
