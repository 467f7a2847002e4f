"""A board as a USB device, for ``usbip attach`` on any Linux: ``usbip://127.0.0.1:PORT``.

The kernel over there makes a port of it, ``/dev/ttyUSB0`` or ``/dev/ttyACM0``, which is as real as
those of its own sockets. When the bridge loses its power the connection ends, which is an unplug.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.usbip import frames
from pytest_blynk_ota.virtual.usbip.devices import Cp2102, SerialJtag
from pytest_blynk_ota.virtual.usbip.frames import Decoder, DevList, Import, Submit, Unlink
from pytest_blynk_ota.virtual.wire.tcp import OVERRUN_BYTES, TcpClient, TcpWire

if TYPE_CHECKING:
    import asyncio

    from pytest_blynk_ota.virtual.wire.uart import Uart

USBIP = "usbip"
"""The word for this wire; no rig file has it: nobody can open such a port but a kernel."""
DEVICES = {"bridge": Cp2102, "jtag": SerialJtag}
MAX_UNDER_WAY = 1024
"""Requests that wait for an answer: a kernel's drivers have some sixteen."""


class UsbIpWire(TcpWire):
    """One board's device. All that it can be listed or imported as stands behind one port."""

    scheme = USBIP
    has_lines = True

    def _client(self) -> UsbHost:
        return UsbHost(self._uart)


class UsbHost(TcpClient):
    """One connection of a host: a list of devices, or an import and the requests behind it."""

    def __init__(self, uart: Uart) -> None:
        super().__init__(uart)
        self._device = DEVICES[uart.usb](uart.serial)
        self._decoder = Decoder()
        self._imported = False
        self._waiting = bytearray()
        self._reads: deque[Submit] = deque()
        self._idle: dict[int, Submit] = {}

    @property
    def host_baud(self) -> int | None:  # type: ignore[override]
        """The rate that the host has set."""
        rate: int = self._device.port.baud
        return rate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The port is taken at the import; anybody may ask which devices there are."""
        import asyncio

        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            batch = self._decoder.feed(data)
            while batch:
                for request in batch:
                    self._answer(request)
                if len(self._reads) + len(self._idle) > MAX_UNDER_WAY:
                    raise frames.FrameError("more requests are under way than any host has")
                batch = self._decoder.feed(b"")
        except frames.FrameError:
            self.close()

    def _answer(self, request: frames.Request) -> None:
        if isinstance(request, DevList):
            there = [self._device.described] if self._uart.linked else []
            self.write(frames.listed(there))
        elif isinstance(request, Import):
            self._import(request.busid)
        elif isinstance(request, Unlink):
            self.write(frames.unlinked(request, was_pending=self._forget(request.victim)))
        else:
            self._submitted(request)

    def _import(self, busid: str) -> None:
        if busid != self._device.busid or not self._uart.adopt(self):
            self.write(frames.taken(None))
            return
        self._decoder.imported()
        self._imported = True
        self.write(frames.taken(self._device.described))

    def _forget(self, number: int) -> bool:
        """Take back a request that waits; whether it did."""
        if self._idle.pop(number, None) is not None:
            return True
        victim = next((one for one in self._reads if one.number == number), None)
        if victim is None:
            return False
        self._reads.remove(victim)
        return True

    def _submitted(self, request: Submit) -> None:
        if request.ep == 0:
            self._control(request)
        elif not request.is_in:
            self._uart.receive(request.data)
            self.write(frames.done(request))
        elif request.ep == self._device.bulk_in:
            self._reads.append(request)
            self._give()
        else:
            self._idle[request.number] = request  # a CDC device has nothing to notify of

    def _control(self, request: Submit) -> None:
        answer = self._device.control(request.setup, request.data)
        if answer is None:
            self.write(frames.done(request, status=frames.PIPE))
            return
        port = self._device.port
        self._uart.lines.set(port.dtr, port.rts)
        self.write(frames.done(request, data=answer))

    def send(self, data: bytes) -> None:
        """Bytes of the board: kept until the host asks for some."""
        if len(self._waiting) < OVERRUN_BYTES:
            self._waiting += data
        self._give()

    def _give(self) -> None:
        while self._reads and self._waiting:
            request = self._reads.popleft()
            piece = bytes(self._waiting[: request.length])
            del self._waiting[: len(piece)]
            self.write(frames.done(request, data=piece))
