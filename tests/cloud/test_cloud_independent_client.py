"""A Blynk client that is not ours talks to the cloud."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from cloud_peer import OTHER_TOKEN, PATIENCE_S, TOKEN, Cloud

CLIENT = Path(__file__).with_name("independent_client.py")
URL = "http://127.0.0.1:8000/f/new.bin?token=00112233445566778899aabbccddeeff&s=0"


@pytest.mark.asyncio
async def test_the_python_library_from_the_index_logs_in_and_receives_the_ota_url():
    pytest.importorskip("BlynkLib")
    async with Cloud() as cloud:
        host, port = cloud.server.address
        client = await asyncio.create_subprocess_exec(
            sys.executable, str(CLIENT), host, str(port), TOKEN, stdout=asyncio.subprocess.PIPE
        )
        try:
            info = await cloud.event("info", "a")
            event = await cloud.event("log_event", "a")
            assert await cloud.server.send_ota("a", URL, offer="o1") == info.data["session"]
            async with asyncio.timeout(PATIENCE_S):
                output, _ = await client.communicate()
        finally:
            if client.returncode is None:
                client.kill()
                await client.wait()
        assert info.data["pairs"] == {
            "ver": "0.2.0", "h-beat": "10", "buff-in": "1024", "dev": "python",
        }  # fmt: skip
        assert event.data["text"] == "hello"
        assert cloud.seen("report") == []
        assert json.loads(output.splitlines()[-1]) == {"urls": [URL]}
        assert client.returncode == 0


STRANGER = """
import sys

import blynklib

host, port, token = sys.argv[1:]
blynklib.Blynk(token, server=host, port=int(port), heartbeat=10).connect(timeout=3)
"""


@pytest.mark.asyncio
async def test_a_client_of_the_cloud_before_this_one_is_named_and_felt_by_nobody():
    """blynklib 0.2.6 logs in with command 2, which this protocol does not have."""
    pytest.importorskip("blynklib")
    async with Cloud() as cloud:
        beside = await cloud.login(OTHER_TOKEN)
        host, port = cloud.server.address
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STRANGER, host, str(port), TOKEN,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await cloud.event("connected", count=2)
            closed = await cloud.event("closed")
        finally:
            client.kill()
            await client.wait()
        assert closed.data["why"] == "command 2 before login"
        assert await beside.alive()
        assert not cloud.server.device("a").online
        beside.leave()
