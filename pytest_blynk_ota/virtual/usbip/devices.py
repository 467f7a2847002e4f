"""The two USB devices that boards are: a CP2102 bridge, and the chip's own USB-Serial-JTAG.

A device answers control requests, and says which lines and which rate the host has set. Sources:
USB 2.0 chapter 9, USB CDC PSTN 1.2 (the chip's own port), Silicon Labs AN571 and the kernel's
``cp210x.c`` (the bridge).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pytest_blynk_ota.virtual.usbip.frames import Described

GET_STATUS, CLEAR_FEATURE, SET_FEATURE = 0, 1, 3
GET_DESCRIPTOR, GET_CONFIGURATION, SET_CONFIGURATION = 6, 8, 9
GET_INTERFACE, SET_INTERFACE = 10, 11
STANDARD, CLASS, VENDOR = 0, 1, 2
DEVICE, CONFIGURATION, STRING, INTERFACE, ENDPOINT = 1, 2, 3, 4, 5
ENGLISH = 0x0409
BULK_BYTES = 64
SETUP = struct.Struct("<BBHHH")
BAUD = 115200
BUSID = "1-1"
"""Each board has a port of its own, and is the only device behind it."""


@dataclass
class Port:
    """What the host has set."""

    baud: int = BAUD
    dtr: bool = False
    rts: bool = False


@dataclass
class UsbDevice:
    """One device: its descriptors, and the requests that all devices know.

    Attributes:
        serial: its serial number.
        port: what the host has set.
        busid: in lists of devices.
    """

    serial: str
    port: Port = field(default_factory=Port)
    busid: str = BUSID

    ids: ClassVar[tuple[int, int, int]] = (0, 0, 0)
    kind: ClassVar[tuple[int, int, int]] = (0, 0, 0)
    names: ClassVar[Sequence[str]] = ("", "")
    interfaces: ClassVar[Sequence[tuple[int, int, int]]] = ()
    body: ClassVar[bytes] = b""
    """Of the configuration: interfaces and endpoints."""
    bulk_in: ClassVar[int] = 1
    """The endpoint that the host reads from."""

    @property
    def described(self) -> Described:
        """As a list of devices shows it."""
        return Described(self.busid, self.ids, self.kind, tuple(self.interfaces))

    def control(self, setup: bytes, data: bytes) -> bytes | None:
        """The answer to a control request; None: it is not known."""
        kind, request, value, index, length = SETUP.unpack(setup)
        if kind >> 5 & 3 == STANDARD:
            answer = self._standard(request, value)
        else:
            answer = self._own(request, value, index, data)
        return None if answer is None else answer[:length]

    def _own(self, request: int, value: int, index: int, data: bytes) -> bytes | None:
        """A request of its class or its maker."""
        raise NotImplementedError

    def _standard(self, request: int, value: int) -> bytes | None:
        if request == GET_DESCRIPTOR:
            return self._descriptor(value >> 8, value & 0xFF)
        answers = {
            GET_STATUS: b"\0\0",
            GET_CONFIGURATION: b"\1",
            GET_INTERFACE: b"\0",
            SET_CONFIGURATION: b"",
            SET_INTERFACE: b"",
            CLEAR_FEATURE: b"",
            SET_FEATURE: b"",
        }
        return answers.get(request)

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        if kind == DEVICE:
            return struct.pack(
                "<BBHBBBBHHHBBBB", 18, DEVICE, 0x0200, *self.kind, 64, *self.ids, 1, 2, 3, 1
            )
        if kind == CONFIGURATION:
            size = 9 + len(self.body)
            head = (9, CONFIGURATION, size, len(self.interfaces), 1, 0, 0x80, 250)
            return struct.pack("<BBHBBBBB", *head) + self.body
        texts = ["", *self.names, self.serial]
        if kind != STRING or index >= len(texts):
            return None
        text = struct.pack("<H", ENGLISH) if index == 0 else texts[index].encode("utf-16-le")
        return bytes((2 + len(text), STRING)) + text


def _interface(number: int, endpoints: int, kind: tuple[int, int, int]) -> bytes:
    return bytes((9, INTERFACE, number, 0, endpoints, *kind, 0))


def _endpoint(address: int, attributes: int, size: int, interval: int = 0) -> bytes:
    return struct.pack("<BBBBHB", 7, ENDPOINT, address, attributes, size, interval)


BULK, INTERRUPT = 2, 3


@dataclass
class SerialJtag(UsbDevice):
    """USB-Serial-JTAG of ESP32-C3 and ESP32-S3: a CDC ACM device whose serial number is the MAC.

    Its JTAG interface is left out: no serial port needs it.
    """

    ids = (0x303A, 0x1001, 0x0101)
    kind = (0xEF, 2, 1)
    names = ("Espressif", "USB JTAG/serial debug unit")
    interfaces = ((2, 2, 0), (0x0A, 2, 0))
    body = (
        bytes((8, 0x0B, 0, 2, 2, 2, 0, 0))
        + _interface(0, 1, (2, 2, 0))
        + bytes((5, 0x24, 0, 0x10, 1))
        + bytes((5, 0x24, 1, 0, 1))
        + bytes((4, 0x24, 2, 2))
        + bytes((5, 0x24, 6, 0, 1))
        + _endpoint(0x82, INTERRUPT, 64, 1)
        + _interface(1, 2, (0x0A, 2, 0))
        + _endpoint(0x01, BULK, BULK_BYTES)
        + _endpoint(0x81, BULK, BULK_BYTES)
    )
    SET_LINE_CODING, GET_LINE_CODING, SET_LINES, SEND_BREAK = 0x20, 0x21, 0x22, 0x23

    def _own(self, request: int, value: int, index: int, data: bytes) -> bytes | None:
        if request == self.SET_LINE_CODING and len(data) >= 4:
            self.port.baud = int.from_bytes(data[:4], "little")
            return b""
        if request == self.GET_LINE_CODING:
            return self.port.baud.to_bytes(4, "little") + bytes((0, 0, 8))
        if request == self.SET_LINES:
            self.port.dtr, self.port.rts = bool(value & 1), bool(value & 2)
            return b""
        return b"" if request == self.SEND_BREAK else None


@dataclass
class Cp2102(UsbDevice):
    """A CP2102 bridge, as it stands on most development boards."""

    ids = (0x10C4, 0xEA60, 0x0100)
    kind = (0, 0, 0)
    names = ("Silicon Labs", "CP2102 USB to UART Bridge Controller")
    interfaces = ((0xFF, 0, 0),)
    body = (
        _interface(0, 2, (0xFF, 0, 0))
        + _endpoint(0x81, BULK, BULK_BYTES)
        + _endpoint(0x01, BULK, BULK_BYTES)
    )
    IFC_ENABLE, SET_BAUDDIV, SET_LINE_CTL, GET_LINE_CTL = 0x00, 0x01, 0x03, 0x04
    SET_BREAK, SET_MHS, GET_MDMSTS, SET_XON, SET_XOFF = 0x05, 0x07, 0x08, 0x09, 0x0A
    GET_PROPS, GET_COMM_STATUS, RESET, PURGE = 0x0F, 0x10, 0x11, 0x12
    SET_FLOW, GET_FLOW, EMBED_EVENTS, SET_CHARS = 0x13, 0x14, 0x15, 0x19
    GET_BAUDRATE, SET_BAUDRATE, VENDOR_SPECIFIC = 0x1D, 0x1E, 0xFF
    GET_PARTNUM, PART_CP2102 = 0x370B, 2
    CTS_DSR_DCD = 0xB0

    _flow: bytes = bytes(16)

    def _own(self, request: int, value: int, index: int, data: bytes) -> bytes | None:
        if request == self.SET_BAUDRATE and len(data) == 4:
            self.port.baud = int.from_bytes(data, "little")
            return b""
        if request == self.SET_MHS:
            return self._lines(value)
        if request == self.SET_FLOW and len(data) == 16:
            return self._flow_control(data)
        answers = {
            self.GET_FLOW: self._flow,
            self.GET_BAUDRATE: self.port.baud.to_bytes(4, "little"),
            self.GET_LINE_CTL: b"\x00\x08",
            self.GET_MDMSTS: bytes((self.CTS_DSR_DCD | self.port.dtr | self.port.rts << 1,)),
            self.GET_COMM_STATUS: bytes(0x13),
            self.GET_PROPS: bytes(0x40),
        }
        if request in answers:
            return answers[request]
        if request == self.VENDOR_SPECIFIC:  # one byte, whatever was asked for: an older CP2102
            return bytes((self.PART_CP2102,)) if value == self.GET_PARTNUM else None
        quiet = {
            self.IFC_ENABLE, self.SET_BAUDDIV, self.SET_LINE_CTL, self.SET_BREAK, self.SET_XON,
            self.SET_XOFF, self.RESET, self.PURGE, self.EMBED_EVENTS, self.SET_CHARS,
        }  # fmt: skip
        return b"" if request in quiet else None

    def _lines(self, value: int) -> bytes:
        """AN571 SET_MHS: bits 0 and 1 are DTR and RTS, 8 and 9 say which of them is meant."""
        if value & 0x100:
            self.port.dtr = bool(value & 1)
        if value & 0x200:
            self.port.rts = bool(value & 2)
        return b""

    def _flow_control(self, data: bytes) -> bytes:
        """AN571 SET_FLOW: without handshake it sets both lines, too."""
        self._flow = data
        control, replace = struct.unpack_from("<II", data)
        if control & 3 < 2:
            self.port.dtr = bool(control & 1)
        if replace >> 6 & 3 < 2:
            self.port.rts = bool(replace >> 6 & 1)
        return b""
