"""The shipped firmware on the air: what pulling its Wi-Fi does, seen from its cloud."""

from __future__ import annotations

import queue
import socketserver
import threading

import pytest
from virtual_bench import ThreadedRack
from virtual_dump import dump

from pytest_blynk_ota.cloud.protocol import Cmd, Decoder, encode, frame, response
from pytest_blynk_ota.firmware import recipe
from pytest_blynk_ota.firmware.nvs import edgent_config
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE
from pytest_blynk_ota.rig.control import RackControl
from pytest_blynk_ota.rig.shipped import folder
from pytest_blynk_ota.virtual.boot.run import execute

BOARD, CHIP = "c3-a", "esp32c3"
PATIENCE_S = 20.0


class Session(socketserver.BaseRequestHandler):
    """Lets everybody in and tells of it."""

    def handle(self):
        decoder = Decoder()
        self.server.peers.append(self.request)
        try:
            while data := self.request.recv(4096):
                for message in decoder.feed(data):
                    if message.cmd == Cmd.RESPONSE:
                        self.server.seen.put(f"answer {message.id}")
                        continue
                    self.request.sendall(encode(response(message.id)))
                    if message.cmd == Cmd.LOGIN:
                        self.server.seen.put("login")
            self.server.seen.put("closed")
        except ConnectionResetError:
            self.server.seen.put("reset")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture
def cloud():
    with Server(("127.0.0.1", 0), Session) as server:
        server.seen, server.peers = queue.Queue(), []
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def control(cloud):
    """The rack's, whose board has logged in."""
    text = (folder("firmware_fixtures") / "old.toml").read_text(encoding="utf-8")
    nvs, app0 = DEFAULT_TABLE.find("nvs"), DEFAULT_TABLE.ota_slots[0]
    host, port = cloud.server_address
    settings = edgent_config(
        ssid="lab", password="passphrase", token="t" * 32, host=host, port=port
    )
    flash = bytearray(dump(CHIP))
    for offset, data in (
        (nvs.offset, settings),
        (app0.offset, recipe.make(recipe.loads(text, "old.toml"), CHIP)),
    ):
        flash[offset : offset + len(data)] = data
    rack = ThreadedRack(execute=execute)
    try:
        made = RackControl(rack.rack.control.url)
        made.power("esp32-a", on=False)
        made.load(BOARD, bytes(flash))
        assert cloud.seen.get(timeout=PATIENCE_S) == "login"
        yield made
    finally:
        rack.close()


def test_a_session_outlives_a_short_absence(control, cloud):
    control.wifi(BOARD, on=False)
    cloud.peers[-1].sendall(encode(frame(Cmd.PING, 7)))
    with pytest.raises(queue.Empty):
        cloud.seen.get(timeout=1.0)  # three beacon time-outs at this speed, a third of a heartbeat
    control.wifi(BOARD, on=True)
    assert cloud.seen.get(timeout=PATIENCE_S) == "answer 7"


def test_a_board_that_starts_out_of_range_logs_in_when_it_is_back(control, cloud):
    control.wifi(BOARD, on=False)
    control.reset(BOARD)
    with pytest.raises(queue.Empty):
        cloud.seen.get(timeout=0.5)
    control.wifi(BOARD, on=True)
    assert {cloud.seen.get(timeout=PATIENCE_S) for _ in range(2)} == {"reset", "login"}


def test_a_reset_is_heard_at_the_next_join(control, cloud):
    control.reset(BOARD)
    assert {cloud.seen.get(timeout=PATIENCE_S) for _ in range(2)} == {"reset", "login"}


def test_a_dip_that_drains_the_board_is_heard_the_same_way(control, cloud):
    assert control.dip(BOARD, 200) == "power-on"
    assert {cloud.seen.get(timeout=PATIENCE_S) for _ in range(2)} == {"reset", "login"}


def test_behind_a_wrong_passphrase_a_board_that_starts_stays_away(control, cloud):
    control.network(passphrase="another one")
    control.reset(BOARD)
    with pytest.raises(queue.Empty):
        cloud.seen.get(timeout=0.5)
    control.network(passphrase="")
    assert {cloud.seen.get(timeout=PATIENCE_S) for _ in range(2)} == {"reset", "login"}
