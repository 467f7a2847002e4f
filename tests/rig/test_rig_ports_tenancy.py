"""Fixed ports of several workers: their clouds, their boards, and a porter that dies."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from porters import LINGER_S, free_port, is_refused, porter_here, porters_end, until

from pytest_blynk_ota.cloud.doors import Door
from pytest_blynk_ota.cloud.protocol import Cmd, Decoder, encode, frame
from pytest_blynk_ota.cloud.server import CloudServer
from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.evidence.timeline import Timeline
from pytest_blynk_ota.rig.ports import reach, tenancy
from pytest_blynk_ota.rig.ports.messages import porters
from pytest_blynk_ota.rig.ports.tenancy import SharedPorts

PATIENCE_S = 10.0
pytestmark = pytest.mark.asyncio


async def becoming(what, found):
    """Wait until ``found`` returns something true, while the loop goes on."""
    return await asyncio.to_thread(until, what, found)


def kill(where) -> int:
    """Kill the porter of a port; its pid."""
    pid = reach.told(where)["pid"]
    os.kill(pid, signal.SIGKILL)
    return pid


def seen_of(pid: int) -> tuple[str, str, int]:
    """Environment, folder and session of a process."""
    proc = Path(f"/proc/{pid}")
    return (proc / "environ").read_text(), str((proc / "cwd").readlink()), os.getsid(pid)


class Worker:
    """One worker's cloud at a fixed port, with one board."""

    def __init__(self, where, name: str, kind: str = "tcp", host: str = "127.0.0.1", **options):
        self.timeline = Timeline()
        self.where, self.name, self.token = where, name, name * 32
        self.ports = SharedPorts(self._record, run=os.getpid(), linger_s=LINGER_S)
        self.cloud = CloudServer(
            self._record,
            host=host,
            doors=[Door(kind, where.port)],
            listen=self.ports.listen,
            came=self.ports.came,
            **options,
        )

    def _record(self, source, kind, board=None, /, *, t=None, **data) -> None:
        self.timeline.add(source, kind, board, t=t, **data)

    async def start(self, **knows) -> None:
        self.cloud.add_device(self.name, self.token)
        await self.cloud.start()
        await self.ports.knows(token=self.token, **knows)

    async def stop(self) -> None:
        await self.cloud.stop()
        await self.ports.stop()

    def seen(self, kind: str) -> list:
        return [event for event in self.timeline.events() if event.kind == kind]

    async def event(self, kind: str):
        return (await becoming(kind, lambda: self.seen(kind)))[-1]

    async def board(self, source: str = "127.0.0.1", **options) -> tuple:
        """A board that has logged in."""
        reader, writer = await asyncio.open_connection(
            self.where.address, self.where.port, local_addr=(source, 0), **options
        )
        assert await answer(reader, writer, Cmd.LOGIN, self.token) == 200
        return reader, writer


async def answer(reader, writer, cmd: int, *parts: str) -> int:
    writer.write(encode(frame(cmd, 1, *parts)))
    async with asyncio.timeout(PATIENCE_S):
        (said,) = Decoder().feed(await reader.readexactly(5))
    return said.status


@asynccontextmanager
async def workers(where, *names: str, **options):
    made = [Worker(where, name, **options) for name in names]
    try:
        for one in made:
            await one.start()
        yield made
    finally:
        for one in made:
            await one.stop()


async def test_two_clouds_share_a_port_and_each_has_its_own_board():
    with porter_here() as porter:
        async with workers(porter.where, "a", "b") as (a, b):
            for one in (b, a):
                _, writer = await one.board()
                assert (await one.event("login")).board == one.name
                assert one.cloud.device(one.name).online
                connected = one.seen("connected")[-1]
                host, port = writer.get_extra_info("sockname")
                assert connected.data["peer"] == f"{host}:{port}"
                writer.close()
            assert [len(one.seen("connected")) for one in (a, b)] == [1, 1]
            assert a.cloud.address == b.cloud.address == (porter.where.address, porter.where.port)


async def test_tls_goes_through_to_the_cloud_whose_board_calls():
    """Each has a CA of its own: with the wrong one there is no handshake."""
    with porter_here() as porter:
        made = [Worker(porter.where, name, "tls") for name in "ab"]
        try:
            for one, address in zip(made, ("127.0.0.2", "127.0.0.3"), strict=True):
                await one.start(addresses=[address])
            for one, address in [*zip(made, ("127.0.0.2", "127.0.0.3"), strict=True)][::-1]:
                trusts = ssl.create_default_context(cadata=one.cloud.authority.ca_pem)
                await one.board(address, ssl=trusts, server_hostname="127.0.0.1")
            assert [len(one.seen("connected")) for one in made] == [1, 1]
        finally:
            for one in made:
                await one.stop()


async def test_an_address_is_learned_by_a_login_and_known_at_the_next_call():
    with porter_here() as porter:
        async with workers(porter.where, "a", "b") as (a, b):
            await b.board("127.0.0.9")
            reader, writer = await asyncio.open_connection(
                porter.where.address, porter.where.port, local_addr=("127.0.0.9", 0)
            )
            writer.write(encode(frame(Cmd.LOGIN, 1, "x" * 32)))  # its settings are spoiled
            assert (await b.event("refused")).data["why"].startswith("a token that the rig")
            assert not a.seen("connected")
            del reader


async def test_a_cloud_that_is_down_refuses_its_board_and_keeps_the_others():
    with porter_here() as porter:
        async with workers(porter.where, "a", "b") as (a, b):
            before = a.cloud.addresses
            await a.cloud.suspend("a test")
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await a.board()
            await b.board()
            await b.cloud.suspend("a test")
            assert is_refused(porter.where)
            await a.cloud.resume()
            await a.board()
            assert a.cloud.addresses == before


async def test_a_porter_that_is_killed_takes_no_connection_with_it_and_comes_back():
    where = free_port()
    with porters_end(where):
        async with workers(where, "a", "b") as (a, b):
            lines = [await one.board() for one in (a, b)]
            first = kill(where)
            for one in (a, b):
                assert (await one.event("port_lost")).data["port"] == str(where)
                assert (await one.event("port_regained")).data["seconds"] < PATIENCE_S
                one.ports.check()
            assert reach.told(where)["pid"] != first
            for one, line in zip((a, b), lines, strict=True):
                assert await answer(*line, Cmd.PING) == 200
                await one.board()  # the new one knows what the old one knew
            assert [len(one.seen("connected")) for one in (a, b)] == [2, 2]


async def test_a_port_that_is_somebody_elses_by_then_is_an_error_that_names_them():
    where = free_port()
    async with workers(where, "a") as (a,):
        taken = socket.socket()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        start = tenancy.rented

        def bound() -> bool:
            with contextlib.suppress(OSError):
                taken.bind((where.address, where.port))
            return taken.getsockname()[1] == where.port

        def late(*args, **options):
            until("the dead porter to let go of the port", bound)
            taken.listen()
            return start(*args, **options)

        tenancy.rented = late
        try:
            kill(where)
            await becoming("the end", lambda: a.ports._tenancies[where].broken)
        finally:
            tenancy.rented = start
            taken.close()
        with pytest.raises(
            RigError, match=rf"was lost .* another program has it \(pid {os.getpid()} of"
        ):
            a.ports.check()


async def test_a_porter_that_dies_again_and_again_is_not_started_for_ever(monkeypatch):
    monkeypatch.setattr(tenancy, "LOSSES", 2)
    where = free_port()
    with porters_end(where):
        async with workers(where, "a") as (a,):
            for count in (1, 2):
                kill(where)
                await becoming("another", lambda: len(a.seen("port_regained")) == count)  # noqa: B023
            kill(where)
            await becoming("the end", lambda: a.ports._tenancies[where].broken)
            with pytest.raises(RigError, match="was lost 3 times within 60 s, the last time: it"):
                a.ports.check()


async def test_a_foreign_program_at_the_port_is_named_with_its_pid_and_command():
    where = free_port()
    with socket.socket() as taken:
        taken.bind((where.address, where.port))
        taken.listen()
        worker = Worker(where, "a")
        with pytest.raises(RigError, match=rf"in use.*pid {os.getpid()} of .*python"):
            await worker.start()
        await worker.stop()
    assert where not in porters()


async def test_a_host_that_is_none_is_named():
    worker = Worker(free_port(), "a", host="nonsense.invalid")
    with pytest.raises(RigError, match=r"'nonsense\.invalid', which names no address"):
        await worker.start()


STARTER = """
import asyncio, os, sys
from pytest_blynk_ota.cloud.doors import Door
from pytest_blynk_ota.cloud.server import CloudServer
from pytest_blynk_ota.rig.ports.tenancy import SharedPorts

async def main(port):
    quiet = lambda *_, **__: None
    ports = SharedPorts(quiet, run=os.getpid(), linger_s=0.5)
    cloud = CloudServer(quiet, doors=[Door("tcp", port)], listen=ports.listen, came=ports.came)
    cloud.add_device("s", "s" * 32)
    await cloud.start()
    await ports.knows(token="s" * 32)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(int(sys.argv[1])))
"""


def started(where) -> subprocess.Popen:
    """A run of its own, with a secret in its environment."""
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(where.port)],
        stdout=subprocess.PIPE,
        env=os.environ | {"BLYNK_TOKEN": "s3cret-of-the-starter"},
    )


async def test_a_starter_that_is_killed_leaves_the_port_to_the_others():
    """Two processes: the first starts the porter, with what its shell gave it, and is killed."""
    where = free_port()
    starter = started(where)
    with porters_end(where), starter:
        assert await asyncio.to_thread(starter.stdout.readline) == b"ready\n"
        porter = reach.told(where)["pid"]
        async with workers(where, "a") as (a,):
            _, writer = await asyncio.open_connection(where.address, where.port)
            writer.write(encode(frame(Cmd.LOGIN, 1, "s" * 32)))
            await a.board()
            starter.kill()
            starter.wait()
            await a.board()
            await asyncio.sleep(2 * LINGER_S)  # it does not miss its starter
            said = reach.told(where)
            assert said["pid"] == porter
            assert [one["pid"] for one in said["tenants"]] == [os.getpid()]
            environment, folder, session = seen_of(porter)
            assert "BLYNK_TOKEN" not in environment
            assert folder == "/"
            assert session not in (os.getsid(0), starter.pid)
            assert not a.seen("port_lost")
        until("it to end", lambda: where not in porters())


async def test_runs_that_start_at_once_have_one_porter():
    where = free_port()
    with porters_end(where):
        begun = [started(where) for _ in range(3)]
        try:
            for one in begun:
                assert one.stdout.readline() == b"ready\n"
            said = reach.told(where)
            assert sorted(one["pid"] for one in said["tenants"]) == sorted(p.pid for p in begun)
        finally:
            for one in begun:
                one.kill()
                one.communicate()
        begin = time.monotonic()
        until("it to end", lambda: where not in porters())
        assert time.monotonic() - begin < 2 * PATIENCE_S
