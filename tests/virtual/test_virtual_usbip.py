"""Boards as USB devices: the protocol, the descriptors, and a host that does what a kernel does."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.virtual.usbip import frames
from pytest_blynk_ota.virtual.usbip.devices import Cp2102, SerialJtag
from pytest_blynk_ota.virtual.usbip.frames import Decoder, DevList, Import, Submit, Unlink

BLYNK_OTA = Path(sys.executable).with_name("blynk-ota")
PATIENCE_S = 10.0
SETUP = struct.Struct("<BBHHH")


def submit(one: Submit) -> bytes:
    head = struct.pack(">IIIII", 1, one.number, 0x10002, int(one.is_in), one.ep)
    return head + struct.pack(">IIIII8s", 0, one.length, 0, 0, 0, one.setup) + one.data


def unlink(one: Unlink) -> bytes:
    return struct.pack(">IIIIII24x", 2, one.number, 0x10002, 0, 0, one.victim)


numbers = st.integers(0, 2**32 - 1)
outs = st.builds(
    lambda n, ep, data: Submit(n, ep, False, len(data), bytes(8), data),
    numbers, st.integers(0, 15), st.binary(max_size=200),
)  # fmt: skip
ins = st.builds(
    lambda n, ep, size, setup: Submit(n, ep, True, size, setup),
    numbers, st.integers(0, 15), st.integers(0, 4096), st.binary(min_size=8, max_size=8),
)  # fmt: skip
requests = st.lists(outs | ins | st.builds(Unlink, numbers, numbers), max_size=8)


@given(requests, st.integers(1, 60))
def test_requests_are_read_whatever_the_pieces_in_which_they_come(wanted, step):
    raw = b"".join(unlink(one) if isinstance(one, Unlink) else submit(one) for one in wanted)
    decoder, found = Decoder(), []
    decoder.imported()
    for at in range(0, len(raw), step):
        found += decoder.feed(raw[at : at + step])
    assert found == wanted


@given(st.binary(max_size=400), st.booleans())
def test_what_is_no_usbip_is_refused_or_waited_for_and_never_breaks(data, imported):
    decoder = Decoder()
    if imported:
        decoder.imported()
    with contextlib.suppress(frames.FrameError):
        decoder.feed(data)


def test_an_import_ends_its_batch_for_what_follows_is_read_another_way():
    decoder = Decoder()
    first = struct.pack(">HHI32s", 0x0111, 0x8003, 0, b"1-1")
    second = submit(Submit(7, 0, True, 18, bytes(8)))
    assert decoder.feed(struct.pack(">HHI", 0x0111, 0x8005, 0) + first + second) == [
        DevList(), Import("1-1"),
    ]  # fmt: skip
    decoder.imported()
    assert decoder.feed(b"") == [Submit(7, 0, True, 18, bytes(8))]


def control(device, kind, request, value=0, index=0, length=255, data=b""):
    return device.control(SETUP.pack(kind, request, value, index, length), data)


@pytest.mark.parametrize("device", [Cp2102("0001"), SerialJtag("84:F7:03:12:34:56")])
def test_descriptors_say_their_own_lengths_and_the_serial_number(device):
    assert control(device, 0x80, 6, 0x0100)[0] == 18
    assert control(device, 0x80, 6, 0x0100, length=8) == control(device, 0x80, 6, 0x0100)[:8]
    whole = control(device, 0x80, 6, 0x0200)
    assert int.from_bytes(whole[2:4], "little") == len(whole)
    at = 0
    while at < len(whole):
        assert whole[at] >= 2
        at += whole[at]
    assert at == len(whole)
    text = control(device, 0x80, 6, 0x0303)
    assert text[2:].decode("utf-16-le") == device.serial
    assert control(device, 0x80, 6, 0x0309) is None
    assert control(device, 0x80, 0x33) is None


def test_the_lines_of_a_bridge_move_only_as_the_mask_says():
    device = Cp2102("0001")
    control(device, 0x41, device.SET_MHS, 0x0303)
    assert (device.port.dtr, device.port.rts) == (True, True)
    control(device, 0x41, device.SET_MHS, 0x0200)
    assert (device.port.dtr, device.port.rts) == (True, False)
    assert control(device, 0xC1, device.GET_MDMSTS, length=1) == bytes((0xB1,))
    control(device, 0x41, device.SET_BAUDRATE, data=(460800).to_bytes(4, "little"))
    assert control(device, 0xC1, device.GET_BAUDRATE) == (460800).to_bytes(4, "little")
    assert len(control(device, 0xC0, 0xFF, device.GET_PARTNUM, length=2)) == 1


def test_the_lines_and_the_rate_of_a_cdc_port():
    device = SerialJtag("84:F7:03:12:34:56")
    control(device, 0x21, device.SET_LINES, 2)
    assert (device.port.dtr, device.port.rts) == (False, True)
    coding = (921600).to_bytes(4, "little") + bytes((0, 0, 8))
    control(device, 0x21, device.SET_LINE_CODING, data=coding)
    assert control(device, 0xA1, device.GET_LINE_CODING) == coding


class Host:
    """A host that has imported a device."""

    def __init__(self, url: str) -> None:
        address = url.removeprefix("usbip://").split(":")
        self.sock = socket.create_connection((address[0], int(address[1])), PATIENCE_S)
        self.sock.settimeout(PATIENCE_S)
        self.count = 0

    def take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def listed(self) -> bytes:
        self.sock.sendall(struct.pack(">HHI", 0x0111, 0x8005, 0))
        head = self.take(12)
        assert head[:8] == struct.pack(">HHI", 0x0111, 0x0005, 0)
        return self.take(312 + 4) if head[11] else b""

    def imports(self, busid: bytes = b"1-1") -> bool:
        self.sock.sendall(struct.pack(">HHI32s", 0x0111, 0x8003, 0, busid))
        ok = self.take(8)[7] == 0
        if ok:
            self.take(312)
        return ok

    def ask(self, ep, length, *, setup=bytes(8), data=None) -> int:
        self.count += 1
        is_in = data is None
        self.sock.sendall(submit(Submit(self.count, ep, is_in, length, setup, data or b"")))
        return self.count

    def answer(self) -> tuple[int, int, bytes]:
        """Number, status and data of the next answer."""
        head = self.take(48)
        command, number = struct.unpack_from(">II", head)
        status, size = struct.unpack_from(">iI", head, 20)
        got_in = command == 3 and number in self.reads
        return number, status, self.take(size) if got_in else b""

    reads: set[int] = set()  # noqa: RUF012  (of one host in one test)

    def sets(self, value: int) -> None:
        """DTR and RTS of a CP2102."""
        setup = SETUP.pack(0x41, Cp2102.SET_MHS, value | 0x0300, 0, 0)
        self.ask(0, 0, setup=setup, data=b"")
        self.answer()

    def reads_until(self, text: bytes) -> bytes:
        seen = b""
        while text not in seen:
            self.reads = {self.ask(1, 64)}
            seen += self.answer()[2]
        return seen


@pytest.fixture
def rack():
    process = subprocess.Popen(
        [str(BLYNK_OTA), "virtual", "--usbip", "--json"], stdout=subprocess.PIPE, text=True
    )
    yield json.loads(process.stdout.readline())
    process.kill()
    process.communicate()


def url_of(rack, name):
    return next(board["url"] for board in rack["boards"] if board["name"] == name)


def test_a_board_is_listed_imported_reset_and_read(rack):
    host = Host(url_of(rack, "c3-a"))
    assert struct.unpack_from(">HH", host.listed(), 300) == (0x10C4, 0xEA60)
    assert not host.imports(b"9-9")
    assert host.imports()
    host.sets(2)  # EN low
    host.sets(0)
    assert b"rst:0x1 (POWERON)" in host.reads_until(b"rst:0x1 (POWERON)")


def test_a_second_host_does_not_get_a_device_that_is_taken(rack):
    first, second = Host(url_of(rack, "c3-a")), Host(url_of(rack, "c3-a"))
    assert first.imports()
    assert not second.imports()
    first.sock.close()
    third = Host(url_of(rack, "c3-a"))
    assert third.imports()


def test_a_read_that_is_taken_back_is_answered_as_such(rack):
    host = Host(url_of(rack, "c3-a"))
    assert host.imports()
    request = urllib.request.Request(f"{rack['outlet']}/esp32-a", b"0", method="PUT")
    urllib.request.urlopen(request).close()
    waiting = host.ask(2, 8)  # nothing ever comes there
    host.count += 1
    host.sock.sendall(unlink(Unlink(host.count, waiting)))
    assert host.answer()[:2] == (host.count, -104)
    host.count += 1
    host.sock.sendall(unlink(Unlink(host.count, 12345)))
    assert host.answer()[:2] == (host.count, 0)


def test_an_unknown_control_request_is_stalled(rack):
    host = Host(url_of(rack, "c3-a"))
    assert host.imports()
    number = host.ask(0, 4, setup=SETUP.pack(0xC0, 0x77, 0, 0, 4))
    assert host.answer()[:2] == (number, -32)
