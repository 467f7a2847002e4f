"""Boards as USB devices: the protocol, the descriptors, and a host that does what a kernel does."""

from __future__ import annotations

import contextlib
import random
import struct
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st
from usbip_host import SETUP, Host, running, still_serves, storm, submit, unlink, url_of

from pytest_blynk_ota.virtual.usbip import frames
from pytest_blynk_ota.virtual.usbip.devices import Cp2102, SerialJtag
from pytest_blynk_ota.virtual.usbip.frames import Decoder, DevList, Import, Submit, Unlink

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


@pytest.fixture
def rack():
    with running() as ready:
        yield ready


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


def test_hosts_that_misbehave_do_no_harm_to_the_next_one(rack):
    for turn in range(3):
        storm(url_of(rack, "c3-a"), random.Random(turn), 40)
        still_serves(url_of(rack, "c3-a"))


def test_a_host_with_too_many_requests_under_way_is_unplugged(rack):
    host = Host(url_of(rack, "c3-a"))
    assert host.imports()
    many = b"".join(submit(Submit(n, 2, True, 8)) for n in range(5000))
    with contextlib.suppress(ConnectionError):
        host.sock.sendall(many)
    with pytest.raises((EOFError, ConnectionError)):
        host.take(1)
    still_serves(url_of(rack, "c3-a"))
