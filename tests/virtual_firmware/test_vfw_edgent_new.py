"""New Edgent: how it boots, moves in with old settings, and finds its cloud."""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
import trustme
from vfw_bench import APP1, NVS, story
from vfw_edgent_new import HOST, NewEdgent, head, meet
from vfw_peer import TOKEN, BlynkPeer, Handler, PowerCut, WebPeer, listening, ota

from pytest_blynk_ota.cloud.protocol import Cmd, Frame, frame
from pytest_blynk_ota.firmware.nvs import read_edgent_config


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
