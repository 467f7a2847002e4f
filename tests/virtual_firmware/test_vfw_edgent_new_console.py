"""New Edgent: its console, and what becomes of a crash and its dump."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from vfw_bench import story
from vfw_edgent_new import HOST, NewEdgent, meet
from vfw_peer import TOKEN, BlynkPeer, listening

from pytest_blynk_ota.cloud.protocol import Cmd, frame


async def console(*lines: str, until: str = ">", **behaviour: Any) -> NewEdgent:
    board, _ = await meet(**behaviour)
    cloud = BlynkPeer()
    async with listening(cloud.serve) as (_, port):
        board.behaviour["ports"] = [port]
        board.install("1.0.0")
        async with board.bench.living():
            await cloud.hears(lambda peer: "Hotspot Name" in str(peer.heard))
            board.bench.machine.output.clear()
            for line in lines:
                board.typed.put_nowait(line)
            await board.bench.machine.see(until)
    return board


COMMANDS: Sequence[tuple[str, str]] = [
    ("devinfo", r'"fw_ver":"1\.0\.0"\}'),
    ("firmware info", r"App MD5:   [0-9a-f]{32}"),
    ("firmware rollback", "Rollback not available"),
    ("sys info", "Heap free:"),
    ("sys partitions", r"\|  01  \| 02  \| 0x009000 \| 0x005000 \| nvs"),
    ("sys coredump", "No core dump available"),
    ("wifi", r"ssid:lab bssid:02:B1:6E:00:00:01"),
    ("wifi add lab2", "Add DHCP network config SSID=lab2 PSK_len=0"),
    ("connect short", "Error: invalid token size"),
    (f"connect {'u' * 32} 127.0.0.1", "State: CONNECTING CLOUD"),
    ("reboot", "Rebooting\\.\\.\\."),
    ("config erase", "State: WAIT CONFIG"),
    ("help", "Available commands: help, \\?, reboot, devinfo, connect, config"),
    ("rubbish", "Command not found"),
]


@pytest.mark.parametrize(("line", "answer"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_the_console_answers(line, answer):
    with story(console(line, until=answer)):
        pass


def test_it_counts_the_restarts_that_it_was_asked_for():
    async def restart() -> NewEdgent:
        board = NewEdgent(9)
        async with board.bench.living():
            await board.bench.machine.see("State: CONNECTING CLOUD")
            board.typed.put_nowait("reboot")
            await board.bench.machine.see("Rebooting")
            board.typed.put_nowait("sys info")
            await board.bench.machine.see("Cloud drops")
        return board

    with story(restart()) as board:
        assert " Reboots total:   1" in board.bench.text
        assert "      graceful:   1" in board.bench.text


def test_the_cloud_can_run_a_command():
    async def boot() -> None:
        cloud = BlynkPeer(sends=[frame(Cmd.INTERNAL, 9, "dbg", "devinfo")])
        async with listening(cloud.serve) as (_, port):
            with NewEdgent(port) as board:
                async with board.bench.living():
                    await board.bench.machine.see('"fw_ver":"1.0.0"')

    story(boot())


@pytest.mark.parametrize(
    ("what", "words"),
    [("assert", "assert failed: "), ("crash", "Store access fault")],
)
def test_a_crash_on_command_leaves_the_clouds_connection_half_open(what, words):
    async def crash() -> None:
        cloud = BlynkPeer()
        async with listening(cloud.serve) as (_, port):
            with NewEdgent(port) as board:
                boot = asyncio.ensure_future(board.bench.boot())
                await cloud.hears(lambda peer: "Hotspot Name" in str(peer.heard))
                board.typed.put_nowait(f"sys coredump test {what}")
                await board.bench.machine.see(words)
                assert await boot == 0xC
                assert board.bench.machine.network.ghosts == 1
                assert "Lost network" not in board.bench.text

    story(crash())


@dataclass
class DumpPeer(BlynkPeer):
    """A cloud that takes core dumps on the port of its sessions, as Blynk's does on 443."""

    posts: list[bytes] = field(default_factory=list)
    posted: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begin = await reader.readexactly(5)
        if begin != b"POST ":
            reader._buffer[:0] = begin  # type: ignore[attr-defined]
            await super().serve(reader, writer)
            return
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"Content-Length: (\d+)", head)
        assert size is not None
        self.posts.append(begin + head + await reader.readexactly(int(size[1])))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        self.posted.set()


def test_a_core_dump_goes_to_the_cloud_and_is_erased():
    async def crash() -> bytes:
        cloud = DumpPeer()
        async with listening(cloud.serve) as (_, port):
            crash = {"when": "after_report", "times": 1}
            with NewEdgent(port, coredump="flash", crash=crash) as board:
                async with board.bench.living():
                    await cloud.posted.wait()
                    board.typed.put_nowait("sys coredump")
                    await board.bench.machine.see("No core dump available")
        return cloud.posts[0]

    post = story(crash())
    assert post.startswith(b"POST /external/api/upload?type=DUMP&token=" + TOKEN.encode())
    assert b'name="upfile"; filename="coredump.bin"' in post
    assert b"\x7fELF" in post


def test_a_core_dump_that_nobody_takes_is_erased_all_the_same():
    async def crash() -> None:
        cloud = BlynkPeer()
        async with listening(cloud.serve) as (_, port):
            crash = {"when": "after_report", "times": 1}
            with NewEdgent(port, coredump="flash", crash=crash) as board:
                board.bench.machine.network._air.set({"forward": {"80": f"{HOST}:{port}"}})
                async with board.bench.living():
                    await board.bench.machine.see("Core dump upload failed")
                    board.typed.put_nowait("sys coredump")
                    await board.bench.machine.see("No core dump available")

    story(crash())
