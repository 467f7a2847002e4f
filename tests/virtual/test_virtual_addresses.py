"""Each virtual board calls from an address of its own."""

import asyncio
import socket
import subprocess
import sys

import pytest

from pytest_blynk_ota.virtual.network import addresses
from pytest_blynk_ota.virtual.network.addresses import Source
from pytest_blynk_ota.virtual.network.tcp import Network

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="127/8 is Linux'")

OTHER = (
    "from pytest_blynk_ota.virtual.network import addresses; import os, sys;"
    "os.getpid = lambda: {pid};"
    "print(addresses.Source().address)"
)


def test_two_boards_have_two_addresses_and_one_that_is_closed_gives_its_own_back():
    one, two = Source(), Source()
    assert one.address != two.address
    one.close()
    three = Source()
    assert three.address == one.address
    two.close()
    three.close()


def test_a_rack_that_would_begin_at_the_same_address_takes_another(monkeypatch):
    """Process ids repeat, as in two containers that share the host's network."""
    monkeypatch.setattr(addresses.os, "getpid", lambda: 4711)
    mine = Source()
    command = [sys.executable, "-c", OTHER.format(pid=4711)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip().startswith("127.")
    assert done.stdout.strip() != mine.address
    mine.close()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == mine.address


def test_whom_a_board_calls_sees_its_address():
    source = Source()

    async def called() -> str:
        with socket.create_server(("127.0.0.1", 0)) as server:
            connection = await Network(source=source).open_connection(*server.getsockname())
            sock, peer = server.accept()
            sock.close()
            connection.close()
            return peer[0]

    assert asyncio.run(called()) == source.address
    source.close()


def test_whom_it_calls_elsewhere_is_called_from_the_hosts_own_address():
    source = Source()
    with socket.socket() as sock:
        source.bind(sock, "192.0.2.1")
        assert sock.getsockname() == ("0.0.0.0", 0)
    source.close()
