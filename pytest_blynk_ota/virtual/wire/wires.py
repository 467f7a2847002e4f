"""The ways to a board's port, by the word in the rig file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_blynk_ota.virtual.wire.plain import SocketWire
from pytest_blynk_ota.virtual.wire.pty import PtyWire
from pytest_blynk_ota.virtual.wire.rfc2217 import Rfc2217Wire
from pytest_blynk_ota.virtual.wire.uart import Uart, Wire
from pytest_blynk_ota.virtual.wire.usbip import USBIP, UsbIpWire

WIRES: Mapping[str, Callable[[Uart], Wire]] = {
    "rfc2217": Rfc2217Wire,
    "socket": SocketWire,
    "pty": PtyWire,
    USBIP: UsbIpWire,
}
