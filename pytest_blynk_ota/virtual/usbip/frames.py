"""USB/IP: bytes in, requests out, and the bytes of answers. No I/O.

Source: Documentation/usb/usbip_protocol.rst of the Linux kernel. All numbers are big-endian. A
connection begins with one operation (list the devices, or import one); after an import it carries
USB requests.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

VERSION = 0x0111
REQ_DEVLIST, REP_DEVLIST = 0x8005, 0x0005
REQ_IMPORT, REP_IMPORT = 0x8003, 0x0003
OPERATION = struct.Struct(">HHI")
BUSID_BYTES = 32
DEVICE = struct.Struct(">256s32sIIIHHHBBBBBB")
HEAD_BYTES = 48
BASE = struct.Struct(">IIIII")
SUBMIT_REST = struct.Struct(">IIIII8s")
CMD_SUBMIT, CMD_UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
DIR_IN = 1
FULL_SPEED = 2
MAX_TRANSFER_BYTES = 1 << 20
"""Of one request; a kernel sends some kilobytes for a serial port."""

PIPE, CONNRESET = -32, -104
"""``-EPIPE``: the request is not known; ``-ECONNRESET``: taken back before it was done."""


class FrameError(Exception):
    """Raised on bytes that are no USB/IP."""


@dataclass(frozen=True, slots=True)
class DevList:
    """Which devices are there?"""


@dataclass(frozen=True, slots=True)
class Import:
    """This device, please."""

    busid: str


@dataclass(frozen=True, slots=True)
class Submit:
    """One USB request.

    Attributes:
        number: of the request; the answer has it, too.
        ep: number of the endpoint, without its direction.
        length: bytes that are wanted at most, or that ``data`` has.
        setup: eight bytes of a control request.
        data: of a request that sends.
    """

    number: int
    ep: int
    is_in: bool
    length: int
    setup: bytes = bytes(8)
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Unlink:
    """Take a request back.

    Attributes:
        number: of this one.
        victim: number of the request.
    """

    number: int
    victim: int


Request = DevList | Import | Submit | Unlink


class Decoder:
    """Cuts a stream into requests, whatever the pieces in which it comes."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._imported = False

    def imported(self) -> None:
        """From here on the stream carries USB requests."""
        self._imported = True

    def feed(self, data: bytes) -> list[Request]:
        """Requests that are whole by now. An import ends the batch: what follows is read another
        way.

        Raises:
            FrameError: the stream makes no sense.
        """
        self._buffer += data
        found: list[Request] = []
        while (one := self._next()) is not None:
            found.append(one)
            if isinstance(one, Import):
                break
        return found

    def _next(self) -> Request | None:
        return self._usb() if self._imported else self._operation()

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _operation(self) -> Request | None:
        if len(self._buffer) < OPERATION.size:
            return None
        version, code, _ = OPERATION.unpack_from(self._buffer)
        if version >> 8 != VERSION >> 8 or code not in (REQ_DEVLIST, REQ_IMPORT):
            raise FrameError(f"no operation of USB/IP: version {version:#06x}, code {code:#06x}")
        if code == REQ_DEVLIST:
            self._take(OPERATION.size)
            return DevList()
        if len(self._buffer) < OPERATION.size + BUSID_BYTES:
            return None
        row = self._take(OPERATION.size + BUSID_BYTES)
        return Import(row[OPERATION.size :].partition(b"\0")[0].decode("ascii", "replace"))

    def _usb(self) -> Request | None:
        if len(self._buffer) < HEAD_BYTES:
            return None
        command, number, _, direction, ep = BASE.unpack_from(self._buffer)
        if command == CMD_UNLINK:
            head = self._take(HEAD_BYTES)
            return Unlink(number, int.from_bytes(head[BASE.size : BASE.size + 4], "big"))
        if command != CMD_SUBMIT:
            raise FrameError(f"no request of USB/IP: command {command}")
        _, length, _, _, _, setup = SUBMIT_REST.unpack_from(self._buffer, BASE.size)
        if length > MAX_TRANSFER_BYTES:
            raise FrameError(f"a request of {length} bytes; at most {MAX_TRANSFER_BYTES}")
        more = 0 if direction == DIR_IN else length
        if len(self._buffer) < HEAD_BYTES + more:
            return None
        self._take(HEAD_BYTES)
        return Submit(number, ep, direction == DIR_IN, length, setup, self._take(more))


@dataclass(frozen=True, slots=True)
class Described:
    """A device in a list.

    Attributes:
        busid: that it is imported by, as ``1-1``.
        ids: vendor, product, release.
        kind: class, subclass, protocol.
        interfaces: of each class, subclass, protocol.
    """

    busid: str
    ids: tuple[int, int, int]
    kind: tuple[int, int, int]
    interfaces: tuple[tuple[int, int, int], ...]

    def pack(self) -> bytes:
        """As both answers hold it."""
        path = f"/sys/devices/virtual/blynk-ota/{self.busid}"
        return DEVICE.pack(
            path.encode(), self.busid.encode(), 1, 2, FULL_SPEED, *self.ids, *self.kind,
            1, 1, len(self.interfaces),
        )  # fmt: skip


def listed(devices: list[Described]) -> bytes:
    """The answer to :class:`DevList`."""
    rows = [
        one.pack() + b"".join(bytes((*interface, 0)) for interface in one.interfaces)
        for one in devices
    ]
    head = OPERATION.pack(VERSION, REP_DEVLIST, 0) + len(rows).to_bytes(4, "big")
    return head + b"".join(rows)


def taken(device: Described | None) -> bytes:
    """The answer to :class:`Import`; None: there is no such device."""
    if device is None:
        return OPERATION.pack(VERSION, REP_IMPORT, 1)
    return OPERATION.pack(VERSION, REP_IMPORT, 0) + device.pack()


def done(request: Submit, *, status: int = 0, data: bytes = b"") -> bytes:
    """The answer to a :class:`Submit`; ``data`` is what an IN request gets."""
    size = len(data) if request.is_in else (0 if status else request.length)
    head = BASE.pack(RET_SUBMIT, request.number, 0, 0, 0)
    return head + struct.pack(">iIIII8x", status, size, 0, 0, 0) + (data if request.is_in else b"")


def unlinked(request: Unlink, *, was_pending: bool) -> bytes:
    """The answer to an :class:`Unlink`."""
    status = CONNRESET if was_pending else 0
    return BASE.pack(RET_UNLINK, request.number, 0, 0, 0) + struct.pack(">i24x", status)
