"""New Edgent: how it boots, moves in with old settings, updates, fails, and its console."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import ssl
from collections.abc import Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme
from vfw_bench import APP1, NVS, Bench, entry, story
from vfw_peer import TOKEN, BlynkPeer, Handler, PowerCut, WebPeer, listening, ota

from pytest_blynk_ota.cloud.protocol import Cmd, Frame, frame
from pytest_blynk_ota.firmware.derive import bad_hash
from pytest_blynk_ota.firmware.nvs import edgent_config, read_edgent_config
from pytest_blynk_ota.firmware.nvs_store import Nvs
from pytest_blynk_ota.firmware.otadata import State
from pytest_blynk_ota.virtual.app.edgent_new_state import Stats
from pytest_blynk_ota.virtual.network.tcp import Network

HOST = "127.0.0.1"
PASSPHRASE = "long enough"
HEAD = "HTTP/1.1 200 OK\r\n{extra}Content-Length: {{size}}\r\nX-SHA256: {digest}\r\n\r\n"


class NewEdgent:
    """A bench with new Edgent in it, provisioned as old Edgent's settings."""

    def __init__(self, *ports: int, passphrase: str = PASSPHRASE, **behaviour: Any) -> None:
        self.bench = Bench()
        machine = self.bench.machine
        machine.network = Network(clock=machine.clock)
        self.typed: asyncio.Queue[str] = asyncio.Queue()
        machine.read_line = self.typed.get  # type: ignore[method-assign]
        self.behaviour = {"profile": "edgent-new", "ports": list(ports), **behaviour}
        self.install("1.0.0")
        settings = edgent_config(ssid="lab", password=passphrase, token=TOKEN, host=HOST, port=443)
        self.bench._flash(NVS.offset, settings)

    def install(self, version: str) -> None:
        self.bench.put(0x10000, self.app(version))
        self.bench.otadata(entry(1), None)

    def app(self, version: str) -> bytes:
        return self.bench.app(version, **self.behaviour)

    @property
    def nvs(self) -> Nvs:
        return Nvs(self.bench.read(NVS.offset, NVS.size))

    def __enter__(self) -> NewEdgent:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.bench.__exit__()
        else:
            self.bench.machine.close()


def digest(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def head(data: bytes, *, sha: str | None = None, extra: str = "") -> str:
    return HEAD.format(digest=digest(data) if sha is None else sha, extra=extra)


async def meet(*expected: int, **behaviour: Any) -> tuple[NewEdgent, BlynkPeer]:
    """Boot until the cloud has heard the name; board and cloud."""
    cloud = BlynkPeer()
    async with listening(cloud.serve) as (_, port):
        board = NewEdgent(port, **behaviour)
        async with board.bench.living():
            await cloud.hears(lambda peer: "Hotspot Name" in str(peer.heard))
    return board, cloud


def test_a_device_tells_its_info_then_its_uid_and_its_name():
    board, cloud = story(meet())
    with board:
        _, info, uid, name = cloud.heard[:4]
        assert info.parts[:2] == ("mcu", "1.0.0")
        assert uid.parts[:3] == ("meta", "set", "Device UID")
        assert re.fullmatch(r"[0-9a-f-]{36}", uid.parts[3])
        assert name.parts == ("meta", "set", "Hotspot Name", "Blynk virtual board-7545")


def test_old_edgents_settings_are_taken_over_and_deleted():
    board, _ = story(meet())
    with board:
        assert read_edgent_config(board.bench.read(NVS.offset, NVS.size)) is None
        nvs = board.nvs
        assert nvs.string("blynk", "auth") == TOKEN
        assert nvs.string("blynk", "host") == HOST
        assert nvs.string("blynk", "fwver") == "1.0.0"
        assert nvs.number("nm_wifi", "lru") == 0
        assert (nvs.blob("nm_wifi", "ap00") or b"").startswith(b"\x01\x03lab\x02\x0blong enough")


def test_a_second_boot_finds_its_own_settings_and_keeps_its_uid():
    async def twice() -> tuple[NewEdgent, list[str]]:
        cloud = BlynkPeer()
        async with listening(cloud.serve) as (_, port):
            board = NewEdgent(port)
            for times in (1, 2):
                async with board.bench.living():
                    await cloud.hears(lambda peer, n=times: str(peer.heard).count("Hotspot") == n)
        return board, [one.parts[3] for one in cloud.heard if "Device UID" in one.parts]

    board, uids = story(twice())
    with board:
        assert len(set(uids)) == 1
        assert board.bench.text.count("Migrating config is complete") == 1


def test_a_passphrase_that_is_too_short_leaves_the_device_without_settings():
    async def boot() -> NewEdgent:
        board = NewEdgent(9, passphrase="short")
        await board.bench.until("State: WAIT CONFIG")
        return board

    with story(boot()) as board:
        assert "Passphrase too short" in board.bench.text
        assert read_edgent_config(board.bench.read(NVS.offset, NVS.size)) is not None


def test_a_quiet_build_says_its_states_and_nothing_of_its_log():
    board, _ = story(meet(log="quiet"))
    with board:
        lines = [line for line in board.bench.text.split("\n") if "State:" in line]
        states = [line.split("State: ")[1] for line in lines]
        assert states == ["CONNECTING NET", "CONNECTING CLOUD", "RUNNING"]
        assert "=>" not in board.bench.text


def test_a_new_version_in_nvs_is_reported_as_an_update():
    async def update() -> BlynkPeer:
        board, _ = await meet()
        cloud = BlynkPeer()
        async with listening(cloud.serve) as (_, port):
            board.behaviour["ports"] = [port]
            board.install("2.0.0")
            async with board.bench.living():
                await cloud.hears(lambda peer: "Hotspot Name" in str(peer.heard))
        with board:
            assert board.nvs.string("blynk", "fwver") == "2.0.0"
        return cloud

    said = [one.parts for one in story(update()).heard if one.cmd == Cmd.EVENT_LOG]
    assert said == [("sys_ota", "Firmware updated from 1.0.0 to 2.0.0")]


def test_the_second_port_is_dialled_when_the_first_is_silent():
    async def boot() -> None:
        cloud = BlynkPeer()
        async with listening(cloud.serve) as (_, port):
            with NewEdgent(9, port) as board:
                async with board.bench.living():
                    await cloud.hears(lambda peer: peer.infos)

    story(boot())


@dataclass
class RedirectingPeer(BlynkPeer):
    """A cloud that answers the first login with another address."""

    def _answers(self, message: Frame, session: int) -> list[Frame]:
        if message.cmd == Cmd.LOGIN and session == 1:
            return [frame(Cmd.REDIRECT, 9, "localhost", "1")]
        return super()._answers(message, session)


@pytest.mark.parametrize(("tls", "ports"), [(False, (80, 8080)), (True, (443, 9443))])
def test_no_setting_names_a_port(tls, ports):
    """Blynk's own, in turn, whatever the old settings say."""

    async def boot() -> list[int]:
        async with listening(BlynkPeer().serve) as (_, port):
            gone = port
        with NewEdgent(tls=tls, ca=trustme.CA().cert_pem.bytes().decode()) as board:
            forward = dict.fromkeys(map(str, (80, 8080, 443, 9443)), f"{HOST}:{gone}")
            board.bench.machine.network._air.set({"forward": forward})
            await board.bench.until(f"Connecting to {HOST}:{ports[1]}")
            return [int(one) for one in re.findall(r"Connecting to \S+:(\d+)", board.bench.text)]

    assert tuple(story(boot())[:2]) == ports


def test_a_redirection_at_login_moves_the_host_and_no_port():
    async def boot() -> None:
        cloud = RedirectingPeer()
        async with listening(cloud.serve) as (_, port):
            with NewEdgent(port) as board:
                async with board.bench.living():
                    await cloud.hears(lambda peer: peer.infos)
                assert f"Connecting to localhost:{port}" in board.bench.text

    story(boot())


def test_a_redirection_in_a_session_leads_back_to_its_own_host():
    async def boot() -> str:
        cloud = BlynkPeer(sends=[frame(Cmd.REDIRECT, 9, "localhost", "1")])
        async with listening(cloud.serve) as (_, port):
            with NewEdgent(port) as board:
                async with board.bench.living():
                    await cloud.hears(lambda peer: peer.sessions == 2)
                return board.bench.text.partition("Redirecting to")[2]

    after = story(boot())
    assert "State: CONNECTING CLOUD" in after
    assert f"Connecting to {HOST}:" in after


def test_a_refused_token_ends_in_waiting_for_settings():
    async def boot() -> None:
        cloud = BlynkPeer(login_status=9)
        async with listening(cloud.serve) as (_, port):
            with NewEdgent(port) as board:
                await board.bench.until("State: WAIT CONFIG")

    story(boot())


def test_ten_minutes_after_a_refused_token_it_tries_again_with_what_it_has_kept():
    async def boot() -> None:
        cloud = BlynkPeer(login_status=9)
        async with listening(cloud.serve) as (_, port):
            with NewEdgent(port) as board:
                async with board.bench.living():
                    await board.bench.machine.see("State: WAIT CONFIG")
                    cloud.login_status = 200
                    await board.bench.machine.see("State: RUNNING")

    story(boot())


def test_a_template_that_is_none_restarts_it_every_ten_seconds():
    with NewEdgent(9, fw_type="nothing") as board:
        assert story(board.bench.boot()) == 0xC
        assert "Restarting after error." in board.bench.text


def test_an_access_point_that_goes_and_comes_is_found_again():
    async def lose() -> int:
        cloud = BlynkPeer()
        async with listening(cloud.serve) as (_, port):
            with NewEdgent(port) as board:
                async with board.bench.living():
                    await cloud.hears(lambda peer: "Hotspot Name" in str(peer.heard))
                    board.bench.machine.network._air.set({"ap": False})
                    await board.bench.machine.see("Connecting failed: AP not found")
                    assert "Lost network" in board.bench.text
                    board.bench.machine.output.clear()
                    board.bench.machine.network._air.set({"ap": True})
                    await board.bench.machine.see(r"WiFi connected \(IP: 192")
                    heard = len(cloud.heard)
                    await cloud.hears(lambda peer: len(peer.heard) > heard)
        return cloud.sessions

    assert story(lose()) == 1  # a TCP connection outlives the radio


def test_a_wrong_passphrase_is_told_and_tried_again():
    async def boot() -> None:
        with NewEdgent(9, log="info") as board:
            board.bench.machine.network._air.set({"passphrase": "another one"})
            await board.bench.until("Connecting failed: Authentication failed")

    story(boot())


async def moves_in(board: NewEdgent, cut_at: int | None) -> bool:
    """The first boot, with the power lost at that flash operation; whether it was lost."""
    machine = board.bench.machine
    machine.output.clear()
    machine.cut_at = None if cut_at is None else machine.operations + cut_at
    boot = asyncio.ensure_future(board.bench.boot())
    ready = asyncio.ensure_future(machine.see("State: CONNECTING NET"))
    await asyncio.wait({boot, ready}, return_when=asyncio.FIRST_COMPLETED)
    lost = boot.done()
    for task in (boot, ready):
        task.cancel()
        with suppress(PowerCut, asyncio.CancelledError):
            await task
    return lost


def test_a_power_cut_at_any_step_of_moving_in_leaves_settings_old_or_new():
    async def every_third() -> None:
        with NewEdgent(9) as board:
            begun = board.bench.machine.operations
            assert not await moves_in(board, None)
            operations = board.bench.machine.operations - begun
        assert operations > 20
        for cut_at in range(1, operations + 1, 3):
            with NewEdgent(9) as board:
                await moves_in(board, cut_at)
                assert not await moves_in(board, None)
                assert board.nvs.string("blynk", "auth") == TOKEN
                assert (board.nvs.blob("nm_wifi", "ap00") or b"")[2:5] == b"lab"

    story(every_third())


# ---- TLS


def secured(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(HOST).configure_cert(context)
    return context


@asynccontextmanager
async def over_tls(serve: Handler, ca: trustme.CA):
    server = await asyncio.start_server(serve, HOST, 0, ssl=secured(ca))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def test_with_tls_it_logs_in_and_updates_over_tls():
    ca = trustme.CA()
    pem = ca.cert_pem.bytes().decode()

    async def update() -> tuple[NewEdgent, bytes]:
        cloud, web = BlynkPeer(), WebPeer(b"")
        async with over_tls(cloud.serve, ca) as port, over_tls(web.serve, ca) as web_port:
            cloud.sends = [ota(f"http://{HOST}:{web_port}/f?token=x")]
            board = NewEdgent(port, tls=True, ca=pem)
            web.data = board.app("2.0.0")
            web.head = head(web.data)
            assert await board.bench.boot() == 0xC
            return board, web.data

    board, new = story(update())
    with board:
        assert board.bench.read(APP1, len(new)) == new
        assert f"OTA: https://{HOST}:" in board.bench.text


def test_with_tls_a_server_of_another_ca_is_not_believed():
    async def boot() -> bool:
        cloud = BlynkPeer()
        async with over_tls(cloud.serve, trustme.CA()) as port:
            with NewEdgent(port, tls=True, ca=trustme.CA().cert_pem.bytes().decode()) as board:
                await board.bench.until("Cloud connection timeout")
        return bool(cloud.heard)

    assert not story(boot())


@pytest.mark.parametrize("offset_s", [0.0, 1e12], ids=["now", "in the far future"])
def test_with_dates_checked_a_wrong_clock_keeps_it_out(offset_s):
    ca = trustme.CA()

    async def boot() -> bool:
        cloud = BlynkPeer()
        async with over_tls(cloud.serve, ca) as port:
            pem = ca.cert_pem.bytes().decode()
            with NewEdgent(port, tls=True, ca=pem, cert_dates=True) as board:
                board.bench.machine.network._air.set({"clock_offset_s": offset_s})
                wanted = "State: RUNNING" if not offset_s else "Cloud connection timeout"
                await board.bench.until(wanted)
        return bool(cloud.heard)

    assert story(boot()) is (offset_s == 0.0)


# ---- updates


async def update(
    web: WebPeer, *, url: str = "{}/f?token=x&s=0", **behaviour: Any
) -> tuple[NewEdgent, int]:
    cloud = BlynkPeer()
    async with (
        listening(web.serve) as (host, web_port),
        listening(cloud.serve) as (_, cloud_port),
    ):
        cloud.sends = [ota(url.format(f"http://{host}:{web_port}"))]
        board = NewEdgent(cloud_port, **behaviour)
        if not web.data:
            web.data = board.app("2.0.0")
        if "{digest}" in web.head:
            web.head = head(web.data)
        return board, await board.bench.boot()


@pytest.fixture(scope="module")
def new() -> bytes:
    with NewEdgent(9) as board:
        return board.app("2.0.0")


def test_a_healthy_update_writes_the_other_slot_and_restarts():
    web = WebPeer(b"", head=HEAD)
    board, cause = story(update(web))
    with board:
        assert cause == 0xC
        assert board.bench.read(APP1, len(web.data)) == web.data
        assert board.bench.entries() == (entry(1), entry(2, State.NEW))
        shown = re.findall(r"\r Flashing\.\.\. (\d+)%", "".join(board.bench.machine.output))
        assert [int(one) for one in shown] == list(range(1, 101))
        assert "=== Update successfully completed. Rebooting." in board.bench.text
        assert "State: OTA UPGRADE" in board.bench.text
        request = web.requests[0].split("\r\n")
        assert request[0] == "GET /f?token=x&s=0 HTTP/1.1"
        assert request[2:] == ["User-Agent: Arduino/2.2.0", "", ""]


REFUSALS = [
    ("HTTP/1.1 404 Not Found\r\nContent-Length: {size}\r\n\r\n", "HTTP status code: 404"),
    ("HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", "HTTP status code: 302"),
    ("SSH-2.0-OpenSSH_9.6\r\n", "HTTP status code: -4"),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n",
        "Content-Length not defined or too small",
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length: 1023\r\n\r\n", "Content-Length not defined or too small"),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Content-Length not defined or too small",
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n", "X-SHA256 not defined"),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nX-SHA256: abc\r\n\r\n",
        "Invalid X-SHA256 value: abc",
    ),
    (
        "HTTP/1.1 200 OK\r\nX-SHA256: {sha}\r\nContent-Length: 99999999\r\n\r\n",
        "Not enough space to store the update",
    ),
]


@pytest.mark.parametrize(("answer", "line"), REFUSALS)
def test_an_answer_that_new_edgent_refuses_restarts_it_after_an_error(new, answer, line):
    answer = answer.replace("{sha}", digest(new))
    board, cause = story(update(WebPeer(new, head=answer)))
    with board:
        assert cause == 0xC
        text = board.bench.text
        assert line in text
        assert text.index(line) < text.index("State: ERROR") < text.index("Restarting after error")
        assert board.bench.entries() == (entry(1), None)


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "206 Partial Content"])
def test_any_status_of_success_is_taken(new, status):
    web = WebPeer(new, head=head(new).replace("200 OK", status))
    board, _ = story(update(web))
    with board:
        assert "Update successfully completed" in board.bench.text


def test_a_wrong_digest_is_found_at_the_end_and_the_slot_is_not_selected(new):
    board, _ = story(update(WebPeer(new, head=head(new, sha=digest(b"other")))))
    with board:
        assert "SHA256 mismatch (expected: " in board.bench.text
        assert "Firmware validation failed: Aborted" in board.bench.text
        assert board.bench.entries() == (entry(1), None)
        assert board.bench.read(APP1, 16) == b"\xff" * 16


def test_a_broken_image_with_its_own_digest_fails_the_activation(new):
    broken = bad_hash(new)
    board, _ = story(update(WebPeer(broken, head=head(broken))))
    with board:
        assert "Firmware validation failed: Could Not Activate The Firmware" in board.bench.text


def test_what_is_no_image_is_refused_without_a_word(new):
    junk = b"<html>" * 2000
    board, _ = story(update(WebPeer(junk, head=head(junk))))
    with board:
        assert "State: ERROR" in board.bench.text
        assert "validation failed" not in board.bench.text


def test_bytes_behind_the_file_are_read_with_its_last_piece_and_spoil_it():
    """It reads 256 bytes at a time and never looks where the body ends."""
    with NewEdgent(9) as other:
        data = other.bench.app("2.0.0", size=200_000, **other.behaviour)
    web = WebPeer(data + bytes(4096), head=head(data).replace("{size}", "200000"))
    board, _ = story(update(web))
    with board:
        assert "Interrupted at 200192 / 200000 bytes" in board.bench.text


@pytest.mark.parametrize("closes", [True, False], ids=["FIN", "stall"])
def test_an_early_end_and_a_stall_look_alike(new, closes):
    web = WebPeer(new, head=head(new), stop_after=8192, closes=closes)
    board, _ = story(update(web))
    with board:
        assert f"Interrupted at 8192 / {len(new)} bytes" in board.bench.text


def test_a_server_that_never_answers_times_out(new):
    board, _ = story(update(WebPeer(b"x", head="", stop_after=0, closes=False)))
    with board:
        assert "HTTP status code: -3" in board.bench.text


def test_a_url_without_a_colon_cannot_be_parsed():
    board, _ = story(update(WebPeer(b"x"), url="nowhere"))
    with board:
        assert "Cannot parse URL" in board.bench.text


def test_a_build_with_tls_rewrites_the_scheme_unless_told_not_to():
    from pytest_blynk_ota.virtual.app.edgent_new_ota import rewritten

    assert rewritten("http://x/f?token=1", True) == "https://x/f?token=1"
    assert rewritten("http://x/f?s=0&token=1", True) == "https://x/f?s=0&token=1"
    assert rewritten("http://x/f?token=1&s=0", True) == "http://x/f?token=1&s=0"
    assert rewritten("http://x/f?token=1", False) == "http://x/f?token=1"


# ---- console


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


def test_the_restart_behind_an_update_is_not_counted_as_one_that_it_was_asked_for(new):
    board, _ = story(update(WebPeer(new, head=head(new))))
    with board:
        assert Stats(board.bench.machine).graceful == 0


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
