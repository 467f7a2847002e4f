"""``blynk-ota cloud`` and ``blynk-ota serve`` with clients that are not ours."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import sys

import pytest
from accept_bench import PATIENCE_S, ROOT, address, is_open, run, running

from pytest_blynk_ota.cloud.protocol import Cmd, Decoder, encode, frame

CLIENT = ROOT / "tests" / "cloud" / "independent_client.py"
TOKEN = "0123456789abcdef0123456789abcdef"
URL = "http://127.0.0.1:8000/new.bin?token=secret&s=0"
BODY = random.Random(3).randbytes(200_000)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "new.bin"
    path.write_bytes(BODY)
    return path


def client(tcp: str) -> subprocess.Popen[str]:
    """blynk-library-python from the package index; it ends when it is told to update."""
    host, port = address(tcp)
    return subprocess.Popen(
        [sys.executable, CLIENT, host, str(port), TOKEN], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "options",
    [("--any-token", "--ota", URL), ("--token", f"kitchen={TOKEN}", "--ota", f"kitchen={URL}")],
    ids=["every device", "one by its name"],
)
def test_an_independent_client_logs_in_and_receives_the_ota_url(options):
    pytest.importorskip("BlynkLib")
    with running("cloud", *options) as cloud, client(cloud.ready["tcp"]) as device:
        said, _ = device.communicate(timeout=PATIENCE_S)
        assert json.loads(said.splitlines()[-1]) == {"urls": [URL]}
        sent = cloud.event("ota_sent")
        assert sent["url"] == URL.replace("secret", "[url token]")
        assert sent["offer"] == "o1"


def test_a_device_is_told_to_update_once():
    """Else it would be told again after each update, for ever."""
    with running("cloud", "--any-token", "--ota", URL) as cloud:
        assert told_after_login(cloud.ready["tcp"]) == [("ota", URL)]
        assert told_after_login(cloud.ready["tcp"]) == []


def told_after_login(tcp: str) -> list[tuple[str, ...]]:
    """What a device hears between its info and the answer to its second ping."""
    decoder, heard = Decoder(), []
    with socket.create_connection(address(tcp), PATIENCE_S) as device:
        for number, cmd, *parts in (
            (1, Cmd.LOGIN, TOKEN),
            (2, Cmd.INTERNAL, "mcu", "1.0.0"),
            (3, Cmd.PING),
            (4, Cmd.PING),
        ):
            device.sendall(encode(frame(cmd, number, *parts)))
            answered = False
            while not answered:
                received = device.recv(4096)
                assert received, "the cloud closed the connection"
                for message in decoder.feed(received):
                    answered |= (message.cmd, message.id) == (Cmd.RESPONSE, number)
                    heard += [message.parts] if message.cmd == Cmd.INTERNAL else []
    return heard


@pytest.mark.parametrize("ota", ["new.bin", "kitchen", "kitchen=new.bin", f"hall={URL}"])
def test_an_offer_that_can_reach_nobody_is_wrong_usage(ota):
    done = run("cloud", "--token", f"kitchen={TOKEN}", "--ota", ota)
    assert done.returncode == 2
    assert "--ota" in done.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("fault", "count"), [("stall after=100000", 100_000), ("stall after=50%", len(BODY) // 2)]
)
def test_curl_gets_exactly_the_bytes_before_the_stall(file, fault, count):
    with running("serve", file, "--fault", fault) as server:
        assert server.ready["path"] == str(file)
        command = ["curl", "-s", "-N", "--max-time", str(PATIENCE_S), server.ready["url"]]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
            received = curl.stdout.read(count)
            fired = server.event("fault")
            curl.terminate()
            received += curl.stdout.read()
        ended = server.event("ended")
    assert (fired["phase"], fired["at"]) == ("fired", count)
    assert received == BODY[:count]
    assert (ended["by"], ended["written"], ended["acked"]) == ("device", count, count)


def test_the_firmware_server_ends_in_good_order_when_nobody_reads_its_output(file):
    with running("serve", file) as server:
        server.process.stdout.close()
        assert is_open(server.ready["url"])
        assert server.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("command", ["virtual", "cloud", "serve"])
def test_ctrl_c_ends_a_command_with_code_0_and_closes_its_ports(file, command):
    words = {"virtual": [], "cloud": ["--any-token"], "serve": [file]}[command]
    with running(command, *words) as server:
        assert server.ready["event"] == "ready"
        ready = server.ready
        boards = ready.get("boards", ())
        urls = [ready.get("outlet"), ready.get("tcp"), ready.get("url")]
        urls = [url for url in [*urls, *(board["url"] for board in boards)] if url]
        assert all(map(is_open, urls))
        server.interrupt()
    assert not any(map(is_open, urls))


@pytest.mark.parametrize("command", ["cloud", "serve"])
def test_a_taken_port_is_wrong_usage_and_named(file, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ["--any-token"] if command == "cloud" else [file]
        done = run(command, *words, "--port", port)
    assert done.returncode == 2
    assert port in done.stderr
