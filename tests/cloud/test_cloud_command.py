"""``blynk-ota cloud`` as a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import click
import pytest
import trustme
from click.testing import CliRunner
from cloud_peer import INFO, OTHER_TOKEN, PATIENCE_S, TOKEN, Peer
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from pytest_blynk_ota.cli import Lazy, app
from pytest_blynk_ota.cli.cloud_lines import Printer
from pytest_blynk_ota.cli.lines import Lines
from pytest_blynk_ota.cloud.protocol import Cmd, encode, frame, response
from pytest_blynk_ota.cloud.tls import Authority
from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.firmware.recipe import loads, make

pytestmark = pytest.mark.asyncio
COMMAND = (sys.executable, "-c", "from pytest_blynk_ota.cli import main; main()", "cloud")
PIPE = asyncio.subprocess.PIPE


@asynccontextmanager
async def cloud(*options: str):
    process = await asyncio.create_subprocess_exec(*COMMAND, *options, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line(process) -> str:
    async with asyncio.timeout(PATIENCE_S):
        return (await process.stdout.readline()).decode()


async def login(address: str, token: str) -> Peer:
    host, port = address.split(":")
    peer = Peer(*await asyncio.open_connection(host, int(port)))
    assert (await peer.ask(Cmd.LOGIN, 1, token)).status == 200
    return peer


async def test_json_lines_begin_with_ready_and_hold_what_the_device_says_but_no_token():
    async with cloud("--json", "--token", f"kitchen={TOKEN}") as process:
        lines = [await line(process)]
        ready = json.loads(lines[0])
        assert list(ready) == ["event", "tcp", "tls", "mqtt", "mqtts"]
        assert all(ready[kind].startswith("127.0.0.1:") for kind in list(ready)[1:])
        peer = await login(ready["tcp"], TOKEN)
        await peer.ask(Cmd.INTERNAL, 2, *INFO)
        await peer.ask(Cmd.EVENT_LOG, 3, "hello", f"my token is {TOKEN}")
        peer.leave()
        while "closed" not in lines[-1]:
            lines.append(await line(process))
        events = [json.loads(text) for text in lines[1:]]
        kinds = [event["event"] for event in events]
        assert kinds == ["connected", "login", "info", "report", "log_event", "closed"]
        assert {event["board"] for event in events[1:]} == {"kitchen"}
        assert events[3]["version"] == "1.2.3"
        assert events[4]["text"] == "my token is [token of kitchen]"
        assert TOKEN not in "".join(lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_zero_while_a_device_is_logged_in(number):
    async with cloud("--json", "--any-token") as process:
        ready = json.loads(await line(process))
        peer = await login(ready["tcp"], OTHER_TOKEN)
        await peer.ask(Cmd.LOGIN, 2, OTHER_TOKEN)
        peer.send(Cmd.REDIRECT, 3, "cut off: an event, no complaint on stderr")
        await peer.closed()
        peer = await login(ready["tcp"], OTHER_TOKEN)
        process.send_signal(number)
        assert await peer.closed() == b""
        async with asyncio.timeout(PATIENCE_S):
            output, complaints = await process.communicate()
        assert (process.returncode, complaints) == (0, b"")
        assert json.loads(output.splitlines()[-1])["why"] == "the cloud was stopped"


async def test_without_json_it_prints_sentences_with_no_control_characters():
    async with cloud("--any-token") as process:
        first = await line(process)
        assert first.endswith("Ctrl-C ends it\n")
        peer = await login(first.split()[5].rstrip(",;"), OTHER_TOKEN)
        await peer.ask(Cmd.INTERNAL, 2, "mcu", "1.0\x1b[2J\n", "build", "today")
        text = ""
        while "runs" not in text:
            text = await line(process)
        assert "device-1 (session 1) runs 1.0\\x1b[2J\\n built today, type " in text
        peer.leave()


def listed_as(number: int) -> bytes:
    """What everybody on the host can see of a process; nothing where there is no /proc."""
    path = Path(f"/proc/{number}/cmdline")
    return path.read_bytes() if path.exists() else b""


async def test_a_token_can_stay_out_of_the_list_of_processes(monkeypatch):
    monkeypatch.setenv("KITCHEN", TOKEN)
    async with cloud("--json", "--token", "kitchen=env:KITCHEN") as process:
        peer = await login(json.loads(await line(process))["tcp"], TOKEN)
        assert TOKEN.encode() not in await asyncio.to_thread(listed_as, process.pid)
        peer.leave()


async def test_only_the_ports_that_are_asked_for_are_open_and_the_ca_is_written(tmp_path):
    ca = tmp_path / "ca.pem"
    async with cloud("--json", "--tls", "0", "--any-token", "--write-ca", str(ca)) as process:
        ready = json.loads(await line(process))
        assert list(ready) == ["event", "tls"]
        host, port = ready["tls"].split(":")
        context = ssl.create_default_context(cafile=str(ca))
        peer = Peer(*await asyncio.open_connection(host, int(port), ssl=context))
        assert (await peer.ask(Cmd.LOGIN, 1, TOKEN)).status == 200
        peer.leave()


async def offered(peer: Peer, version: str) -> str:
    """The device says what it runs; the URL that it gets."""
    await peer.ask(Cmd.INTERNAL, 2, "mcu", version, "build", "today")
    told = await peer.receive()
    assert told.parts[0] == "ota"
    return told.parts[1]


async def test_it_ships_a_file_until_the_device_runs_it(tmp_path):
    image = make(loads('version = "2.0.0"\nbuild = "Nov 1 2026 10:00:00"', "new"), "esp32")
    file = tmp_path / "new.bin"
    file.write_bytes(image)
    async with cloud("--json", "--any-token", "--ship", str(file)) as process:
        ready = json.loads(await line(process))
        peer = await login(ready["tcp"], TOKEN)
        first = await offered(peer, "1.0.0")
        peer.leave()  # the first try is lost
        peer = await login(ready["tcp"], TOKEN)
        url = await offered(peer, "1.0.0")
        assert url != first
        got = await asyncio.to_thread(lambda: urlopen(url, timeout=PATIENCE_S).read())
        assert got == image
        peer.leave()
        peer = await login(ready["tcp"], TOKEN)
        await peer.ask(Cmd.INTERNAL, 2, "mcu", "2.0.0", "build", "Nov 1 2026 10:00:00")
        statuses = []
        while "Success" not in statuses:
            event = json.loads(await line(process))
            if event["event"] == "air.status":
                statuses.append(event["status"])
        assert await peer.ask(Cmd.PING, 3) == response(3), "no further offer"
        peer.leave()
    assert statuses == [
        "Request sent",
        "New Firmware Requested",
        "Firmware Downloaded",
        "Success",
    ]


async def test_two_infos_that_come_together_get_one_offer(tmp_path):
    file = tmp_path / "new.bin"
    file.write_bytes(make(loads('version = "2.0.0"', "new"), "esp32"))
    async with cloud("--json", "--any-token", "--ship", str(file)) as process:
        peer = await login(json.loads(await line(process))["tcp"], TOKEN)
        info = ("mcu", "1.0.0", "build", "today")
        peer.writer.write(b"".join(encode(frame(Cmd.INTERNAL, n, *info)) for n in (2, 3)))
        got = [await peer.receive() for _ in range(3)]
        assert [one.cmd for one in got] == [Cmd.RESPONSE, Cmd.RESPONSE, Cmd.INTERNAL]
        assert await peer.ask(Cmd.PING, 4) == response(4), "no second offer"
        peer.leave()


async def test_a_relay_opens_the_ports_that_it_can_pass_on():
    async with cloud("--json", "--any-token", "--relay", "127.0.0.1:9") as process:
        assert list(json.loads(await line(process))) == ["event", "tcp", "tls"]


async def test_it_ends_when_nobody_reads_its_output():
    async with cloud("--json", "--any-token") as process:
        ready = json.loads(await line(process))
        process.stdout._transport.close()
        host, port = ready["tcp"].split(":")
        await Peer(*await asyncio.open_connection(host, int(port))).closed()
        async with asyncio.timeout(PATIENCE_S):
            complaints = await process.stderr.read()
            assert (await process.wait(), complaints) == (0, b"")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--token", "kitchen"), 2, "--token wants NAME=env:VARIABLE"),
        (("--token", "kitchen=env:NOT_THERE"), 2, "environment variable NOT_THERE is not set"),
        (("--token", "kitchen=abcde"), 2, "this one has 5 characters"),
        (("--port", "70000"), 2, "70000"),
        (("--host", "203.0.113.1"), 2, "cannot listen on 203.0.113.1:0"),
        (("--certificate", __file__), 2, "--certificate and --key go together"),
        (("--certificate", __file__, "--key", __file__), 2, "no certificate chain and its key"),
        (("--relay", "nowhere"), 2, "expected HOST:PORT"),
        (("--relay-ca", __file__), 2, "goes with --relay"),
        (("--relay", "h:80", "--mqtt", "0"), 2, "MQTT is not: open no such port"),
        (("--host", "0.0.0.0", "--ship", __file__), 2, "no device can fetch a file from 0.0.0.0"),
        (("--ship", "missing.bin", "--any-token"), 2, "--ship missing.bin: No such file"),
        (("--ship", __file__, "--any-token"), 2, "--ship"),
        (("--ship", f"nobody={__file__}"), 2, "--ship names 'nobody', which no --token does"),
        (("--write-ca", "/nowhere/ca.pem", "--any-token"), 2, "--write-ca /nowhere/ca.pem: No"),
        (("--relay", "tcp://h:80", "--relay-ca", __file__), 2, "for a relay over TLS"),
    ],
)
async def test_a_wrong_option_ends_with_one_message_and_the_right_code(options, code, message):
    async with cloud(*options) as process, asyncio.timeout(PATIENCE_S):
        output, complaints = await process.communicate()
        assert process.returncode == code
        assert message in complaints.decode()
        assert b"Traceback" not in complaints
        assert output == b""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ship", "nobody=x", "--any-token"), "known: device-1, device-2"),
        (("--ship", "kitchen="), "--ship wants FILE or NAME=FILE"),
        (("--ota", "http://"), "--ota wants URL or NAME=URL"),
        (("--ota", "http://h/a", "--ota", "http://h/b"), "--ota is given twice for every device"),
        (("--limit", "5"), "--limit goes with --ship"),
        (("--host", ""), "--host wants an address"),
        (("--tcp", "0", "--write-ca", "ca.pem"), "--write-ca are for TLS ports"),
        (("--ship", "a.bin", "--write-ca", "./a.bin"), "would overwrite the file to ship"),
        (("--ship", "x=a.bin", "--write-ca", "a.bin"), "would overwrite the file to ship"),
        (("--tcp", "9", "--mqtt", "9"), "--tcp and --mqtt: port 9 is given twice"),
        (("--token", f"a={TOKEN}", "--token", f"b={TOKEN}"), "a and b have the same token"),
        (("--token", f"a={TOKEN}", "--token", f"a={OTHER_TOKEN}"), "--token names 'a' twice"),
    ],
)
async def test_options_that_contradict_each_other_are_refused_by_name(options, message):
    result = CliRunner().invoke(app, ["cloud", *options])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("url", "ship"),
    [("http://h/f", "{}"), ("http://h/f", "device-1={}"), ("device-1=http://h/f", "{}")],
)
async def test_a_device_is_updated_by_a_url_or_by_a_shipment_and_not_by_both(tmp_path, url, ship):
    file = tmp_path / "new.bin"
    file.write_bytes(make(loads('version = "2.0.0"', "new"), "esp32"))
    options = ("--any-token", "--ota", url, "--ship", ship.format(file))
    result = CliRunner().invoke(app, ["cloud", *options])
    assert result.exit_code == 2
    assert "--ota and --ship would both update" in result.output


async def test_an_encrypted_key_is_refused_and_no_passphrase_asked_for(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    how = BestAvailableEncryption(b"secret")
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    (tmp_path / "key.pem").write_bytes(sealed)
    given = trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes()
    (tmp_path / "chain.pem").write_bytes(given)
    with pytest.raises(UsageError, match=r"key .*key\.pem is encrypted; expected one without"):
        Authority.given(tmp_path / "chain.pem", tmp_path / "key.pem")


async def test_no_ca_is_left_behind_where_a_port_is_taken(tmp_path):
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = str(taken.sockets[0].getsockname()[1])
    options = ("--any-token", "--tls", port, "--write-ca", str(tmp_path / "ca.pem"))
    async with taken, cloud(*options) as process, asyncio.timeout(PATIENCE_S):
        await process.communicate()
    assert process.returncode == 2
    assert not list(tmp_path.iterdir())


async def test_an_address_of_version_6_is_announced_as_one_dials_it(capsys):
    Printer(Lines(), (), as_json=True).ready({"tcp": ("::1", 80), "mqtt": ("127.0.0.1", 1883)})
    ready = {"event": "ready", "tcp": "[::1]:80", "mqtt": "127.0.0.1:1883"}
    assert json.loads(capsys.readouterr().out) == ready


async def test_ctrl_c_before_the_first_line_does_not_blame_the_firmware(monkeypatch):
    @click.command()
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(Lazy, "get_command", lambda *_: interrupted)
    result = CliRunner().invoke(app, ["cloud"])
    assert (result.exit_code, result.output) == (130, "")
