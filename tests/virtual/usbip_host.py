"""A host of USB/IP that does what a kernel does, and one that does what nobody should."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pytest_blynk_ota.virtual.usbip.devices import Cp2102
from pytest_blynk_ota.virtual.usbip.frames import Submit, Unlink

BLYNK_OTA = Path(sys.executable).with_name("blynk-ota")
PATIENCE_S = 10.0
SETUP = struct.Struct("<BBHHH")
DEVLIST = struct.pack(">HHI", 0x0111, 0x8005, 0)


def submit(one: Submit) -> bytes:
    head = struct.pack(">IIIII", 1, one.number, 0x10002, int(one.is_in), one.ep)
    return head + struct.pack(">IIIII8s", 0, one.length, 0, 0, 0, one.setup) + one.data


def unlink(one: Unlink) -> bytes:
    return struct.pack(">IIIIII24x", 2, one.number, 0x10002, 0, 0, one.victim)


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
        self.sock.sendall(DEVLIST)
        head = self.take(12)
        assert head[:8] == struct.pack(">HHI", 0x0111, 0x0005, 0)
        return self.take(312 + 4) if head[11] else b""

    def imports(self, busid: bytes = b"1-1") -> bool:
        self.sock.sendall(imported(busid))
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


def imported(busid: bytes = b"1-1") -> bytes:
    return struct.pack(">HHI32s", 0x0111, 0x8003, 0, busid)


@contextlib.contextmanager
def running() -> Iterator[dict]:
    """The virtual rack, its boards behind USB/IP; what it announced."""
    command = [str(BLYNK_OTA), "virtual", "--usbip", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def url_of(rack: dict, name: str) -> str:
    return next(board["url"] for board in rack["boards"] if board["name"] == name)


# -- what nobody should send


def stream(dice: random.Random) -> bytes:
    """Good requests and bad ones, in an order that may make no sense, cut or bent somewhere."""
    parts = [imported()] if dice.random() < 0.7 else [DEVLIST] * dice.randrange(3)
    parts += [_request(dice) for _ in range(dice.randrange(20))]
    raw = bytearray(b"".join(parts))
    for _ in range(dice.choice((0, 0, 1, 5))):
        if raw:
            raw[dice.randrange(len(raw))] = dice.randrange(256)
    return bytes(raw[: dice.randrange(len(raw) + 1)] if dice.random() < 0.3 else raw)


def _request(dice: random.Random) -> bytes:
    number, ep = dice.choice((0, 1, 2**32 - 1, dice.randrange(99))), dice.randrange(16)
    kind = dice.randrange(5)
    if kind == 0:
        return unlink(Unlink(number, dice.randrange(99)))
    if kind == 1:
        return dice.randbytes(dice.randrange(100))
    if kind == 2:
        return submit(Submit(number, dice.choice((1, 2, ep)), True, dice.randrange(5000)))
    data = dice.randbytes(dice.randrange(300))
    if kind == 3:
        return submit(Submit(number, ep, False, len(data), bytes(8), data))
    wanted = dice.choice((0, 1, 8, 255, 65535))
    kind = dice.choice((0x80, 0x00, 0x41, 0xC1, 0x21, 0xA1, dice.randrange(256)))
    value, index = dice.randrange(65536), dice.randrange(4)
    setup = SETUP.pack(kind, dice.randrange(40), value, index, wanted)
    return submit(Submit(number, 0, bool(setup[0] & 0x80), dice.randrange(300), setup))


def storm(url: str, dice: random.Random, count: int) -> None:
    """So many hosts that misbehave; the last leave what they sent unread."""
    for _ in range(count):
        host = Host(url)
        with contextlib.suppress(OSError, EOFError):
            host.sock.sendall(stream(dice))
            if dice.random() < 0.5:
                host.sock.shutdown(socket.SHUT_WR)
                while host.sock.recv(4096):
                    pass
        host.sock.close()


def still_serves(url: str) -> None:
    """A host that does what a kernel does gets the device, and reads a boot log. Those before it
    have gone, which the rack may have yet to see."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        host = Host(url)
        assert struct.unpack_from(">HH", host.listed(), 300) == (0x10C4, 0xEA60)
        if host.imports():
            break
        host.sock.close()
        assert time.monotonic() < deadline, "the device is still taken"
    host.sets(2)  # EN low
    host.sets(0)
    assert b"rst:0x1 (POWERON)" in host.reads_until(b"rst:0x1 (POWERON)")
    host.sock.close()
