"""``blynk-ota cloud`` as a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import asynccontextmanager

import pytest
from cloud_peer import INFO, OTHER_TOKEN, PATIENCE_S, TOKEN, Peer

from pytest_blynk_ota.cloud.protocol import Cmd

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
        assert ready == {"event": "ready", "tcp": ready["tcp"]}
        assert ready["tcp"].startswith("127.0.0.1:")
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
        peer = await login(first.split()[4].rstrip(";"), OTHER_TOKEN)
        await peer.ask(Cmd.INTERNAL, 2, "mcu", "1.0\x1b[2J\n", "build", "today")
        text = ""
        while "runs" not in text:
            text = await line(process)
        assert "device-1 (session 1) runs 1.0\\x1b[2J\\n built today, type " in text
        peer.leave()


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
        (("--token", "kitchen"), 2, "--token wants NAME=TOKEN"),
        (("--token", "kitchen=abcde"), 2, "this one has 5 characters"),
        (("--port", "70000"), 2, "70000"),
        (("--host", "203.0.113.1"), 2, "cannot listen on 203.0.113.1:0"),
    ],
)
async def test_a_wrong_option_ends_with_one_message_and_the_right_code(options, code, message):
    async with cloud(*options) as process, asyncio.timeout(PATIENCE_S):
        output, complaints = await process.communicate()
        assert process.returncode == code
        assert message in complaints.decode()
        assert b"Traceback" not in complaints
        assert output == b""
