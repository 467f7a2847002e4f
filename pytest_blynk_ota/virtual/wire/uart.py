"""A chip's UART and what is plugged into it: baud rates, control lines, a client or none.

Which wire leads there (RFC 2217, a plain socket, a pseudo-terminal) is the business of the other
modules here. One client at a time; what the board prints while there is none is lost, as on a
real wire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pytest_blynk_ota.virtual.wire.baud import heard
from pytest_blynk_ota.virtual.wire.pacer import Pacer

BOOT_BAUD = 115200
"""Rate of ROM, bootloader and console after each reset."""
HELD_BYTES = 4096
"""A client of a paced UART is not read from while more than this waits for the chip."""


class Client(Protocol):
    """Whoever has the port."""

    @property
    def host_baud(self) -> int | None:
        """The rate that it has set; ``None``: the wire knows no rate, so that all fit."""

    def send(self, data: bytes) -> None:
        """Bytes of the board."""

    def close(self) -> None:
        """Cut it off."""

    def hold(self, on: bool) -> None:
        """Read no more from it, or go on."""


class Wire(Protocol):
    """The way to a port."""

    has_lines: bool
    """Whether DTR and RTS get through."""

    @property
    def url(self) -> str:
        """Where the port is, for pyserial and esptool."""

    async def start(self) -> None:
        """Open the way."""

    async def stop(self) -> None:
        """Close it."""

    def look(self) -> None:
        """Bytes are about to be lost: notice a client that is there by now."""


class Lines:
    """DTR and RTS of the bridge, ``True`` when asserted."""

    def __init__(self, moved: Callable[[bool, bool], None]) -> None:
        self._moved = moved
        self.dtr = False
        self.rts = False

    def set(self, dtr: bool, rts: bool) -> None:
        """Move both lines at once."""
        if (dtr, rts) != (self.dtr, self.rts):
            self.dtr, self.rts = dtr, rts
            self._moved(dtr, rts)


class Uart:
    """The port of one board.

    Args:
        received: takes the bytes that reach the chip.
        moved: told of each change of (DTR, RTS); both fall at once when a client goes.
        make_wire: the way to the port.
        opened: told when a client has come.
        pace: device seconds in a wall second, if bytes take their time; ``None``: they take none.
        rated: whether there are baud rates at all; a chip's own USB port has none.
        usb: which USB device it is: ``bridge`` or ``jtag``.
        serial: that device's serial number.
    """

    def __init__(
        self,
        received: Callable[[bytes], None],
        moved: Callable[[bool, bool], None],
        make_wire: Callable[[Uart], Wire],
        *,
        opened: Callable[[], None] = lambda: None,
        pace: float | None = None,
        rated: bool = True,
        usb: str = "bridge",
        serial: str = "",
    ) -> None:
        self.usb, self.serial = usb, serial
        self.lines = Lines(moved)
        self.chip_baud = BOOT_BAUD
        self._received = received
        self._opened = opened
        self._rated = rated
        self._detecting = False
        self._holding = False
        self._client: Client | None = None
        self._linked = True
        self._to_host = Pacer(self._reach_host, pace)
        self._to_chip = Pacer(self._reach_chip, pace)
        self.wire = make_wire(self)

    @property
    def url(self) -> str:
        """Where the port is, for pyserial and esptool."""
        return self.wire.url

    @property
    def connected(self) -> bool:
        """Whether a client is there."""
        return self._client is not None

    @property
    def linked(self) -> bool:
        """Whether the bridge has power."""
        return self._linked

    async def start(self) -> None:
        """Open the port."""
        await self.wire.start()

    async def stop(self) -> None:
        """Close the port and the client's connection."""
        self.unlink()
        await self.wire.stop()

    def unlink(self) -> None:
        """The bridge loses its power: the client is cut off, and new ones are until ``link``."""
        self._linked = False
        self._forget()
        if self._client is not None:
            client, self._client = self._client, None
            client.close()
            self.lines.set(False, False)

    def link(self) -> None:
        """The bridge has power again."""
        self._linked = True

    # ---- for the chip

    def send(self, data: bytes) -> None:
        """Bytes that the chip sends at its rate of now; lost when nobody listens."""
        self._detecting = False
        self._to_host.put(data, self.chip_baud)

    async def sent(self) -> None:
        """Wait until all that was sent has left, as software does before it restarts."""
        await self._to_host.empty()

    def restart(self) -> None:
        """Software restarts the chip: it is back at its first rate, and what it sent gets out."""
        self.chip_baud = BOOT_BAUD
        self._detecting = False

    def reset(self) -> None:
        """The chip was reset from outside, in the midst of whatever was under way."""
        self.restart()
        self._forget()

    def detect_rate(self) -> None:
        """Take over the host's rate until the chip answers, as the ROM's loader does.

        (``uart_baudrate_detect`` of the ROM: each SYNC holds 32 bytes 55 to measure.)
        """
        self._detecting = True

    # ---- for wires

    def adopt(self, client: Client) -> bool:
        """Let ``client`` have the port; ``False`` if it is taken, or without power."""
        if self._client is not None or not self._linked:
            return False
        self._client, self._holding = client, False
        self._opened()
        return True

    def release(self, client: Client) -> None:
        """``client`` has gone: its lines fall, both at once."""
        if self._client is client:
            self._client = None
            self.lines.set(False, False)

    def receive(self, data: bytes) -> None:
        """Bytes for the chip, sent at the client's rate of now."""
        self._to_chip.put(data, self._host_baud or self.chip_baud)
        self._hold(self._to_chip.waiting > HELD_BYTES)

    def purge(self) -> None:
        """The host takes back what has not reached the chip."""
        self._to_chip.clear()
        self._hold(False)

    # ---- what has taken its time

    @property
    def _host_baud(self) -> int | None:
        return self._client.host_baud if self._client is not None and self._rated else None

    def _reach_host(self, data: bytes, baud: int) -> None:
        if self._client is None and self._linked:
            self.wire.look()
        if self._client is not None:
            self._client.send(heard(data, baud, self._host_baud or baud))

    def _reach_chip(self, data: bytes, baud: int) -> None:
        if self._host_baud is not None:
            if self._detecting:
                self.chip_baud = baud
            data = heard(data, baud, self.chip_baud)
        self._hold(self._to_chip.waiting > HELD_BYTES)
        self._received(data)

    def _hold(self, on: bool) -> None:
        if self._client is not None and on is not self._holding:
            self._holding = on
            self._client.hold(on)

    def _forget(self) -> None:
        self._to_host.clear()
        self.purge()
