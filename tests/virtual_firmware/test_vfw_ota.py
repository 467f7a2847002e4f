"""A whole update of the stock firmware, and each way in which it fails."""

from __future__ import annotations

import hashlib
import re

import pytest
from vfw_bench import APP0, APP1, NVS, Bench, entry, story
from vfw_peer import TOKEN, BlynkPeer, WebPeer, listening, ota

from pytest_blynk_ota.cloud.protocol import Cmd, frame
from pytest_blynk_ota.firmware.derive import bad_checksum, bad_hash, wrong_chip
from pytest_blynk_ota.firmware.nvs import read_edgent_config
from pytest_blynk_ota.firmware.otadata import State

INFO_ORDER = ["mcu", "fw-type", "build", "blynk", "h-beat", "buff-in", "dev", "cpu", "con", "tmpl"]


async def update(bench: Bench, web: WebPeer, cloud: BlynkPeer | None = None) -> int:
    """Offer ``web``'s file to Old; the code of the reset that ends that boot."""
    cloud = cloud or BlynkPeer()
    async with listening(web.serve) as (host, port), listening(cloud.serve) as address:
        cloud.sends = [ota(f"http://{host}:{port}/f/new?token=x&s=0")]
        bench.provision(address)
        return await bench.boot()


async def report(bench: Bench, cause: int = 0xC) -> dict[str, str]:
    """Boot again; what the board then says it is."""
    cloud = BlynkPeer()
    async with listening(cloud.serve) as address:
        bench.provision(address)
        async with bench.living(cause):
            await cloud.hears(lambda peer: peer.infos)
            return cloud.infos[0]


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
@pytest.mark.parametrize("log", ["quiet", "info"])
def test_a_healthy_update_ends_on_new_in_the_other_slot(chip, log):
    with Bench(chip, log=log) as bench:
        new = bench.app("2.0.0")
        cloud = BlynkPeer()
        assert story(update(bench, WebPeer(new), cloud)) == 0xC
        assert bench.read(APP1, len(new)) == new
        assert bench.entries() == (entry(1), entry(2, State.NEW))
        assert "=== Update successfully completed. Rebooting." in bench.text
        assert frame(Cmd.EVENT_LOG, 3, "sys_ota", "OTA started") in cloud.heard
        assert story(report(bench))["mcu"] == "2.0.0"


def test_the_story_of_an_update_is_told_in_old_edgents_words():
    with Bench() as bench:
        story(update(bench, WebPeer(bench.app("2.0.0"))))
        told = re.findall(r"^>?\[\d+\] (.+)$", bench.text, re.M)
        wanted = [
            "INIT => CONNECTING_NET",
            "CONNECTING_NET => CONNECTING_CLOUD",
            "Ready (ping: ",
            "CONNECTING_CLOUD => RUNNING",
            "Disconnected",
            "RUNNING => OTA_UPGRADE",
            "Firmware update URL: http://",
            "=== Update successfully completed. Rebooting.",
        ]
        found = [next((w for w in wanted if line.startswith(w)), None) for line in told]
        assert [one for one in found if one] == wanted


def test_a_device_says_what_it_is_in_the_order_of_the_library():
    with Bench() as bench:
        info = story(report(bench, 1))
        assert list(info) == INFO_ORDER
        assert info["mcu"] == "1.0.0"
        assert info["fw-type"] == info["tmpl"]


def test_updates_alternate_between_the_slots():
    with Bench(confirm="init") as bench:
        for version, slot in (("2.0.0", APP1), ("3.0.0", APP0), ("4.0.0", APP1)):
            new = bench.app(version)
            assert story(update(bench, WebPeer(new))) == 0xC
            assert bench.read(slot, len(new)) == new
        assert story(report(bench))["mcu"] == "4.0.0"


def test_the_offered_digest_is_checked():
    with Bench() as bench:
        new = bench.app("2.0.0")
        good = hashlib.md5(new).hexdigest()
        head = "HTTP/1.1 200 OK\r\nContent-Length: {{size}}\r\nx-MD5: {}\r\n\r\n"
        assert story(update(bench, WebPeer(new, head=head.format("0" * 32)))) == 0xC
        assert "Error #7" in bench.text
        assert story(update(bench, WebPeer(new, head=head.format(good)))) == 0xC
        assert "=== Update successfully completed" in bench.text


HEADS = [
    ("HTTP/1.1 404 Not Found\r\nContent-Length: {size}\r\n\r\n", "HTTP response should be 200"),
    ("HTTP/1.1 206 Partial\r\nContent-Length: {size}\r\n\r\n", "HTTP response should be 200"),
    ("HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", "HTTP response should be 200"),
    ("HTTP/1.1 200 OK\r\n\r\n", "Content-Length not defined"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Content-Length not defined"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", "Not enough space to begin OTA"),
]


@pytest.mark.parametrize(("head", "line"), HEADS)
def test_an_answer_that_old_edgent_refuses_restarts_it_after_an_error(head, line):
    with Bench() as bench:
        assert story(update(bench, WebPeer(bench.app("2.0.0"), head=head))) == 0xC
        assert line in bench.text
        assert bench.text.index("OTA_UPGRADE => ERROR") < bench.text.index("Restarting after error")
        assert bench.entries() == (entry(1), BLANK)
        assert story(report(bench))["mcu"] == "1.0.0"


BLANK = None


@pytest.mark.parametrize("closes", [True, False], ids=["fin", "stall"])
def test_a_body_that_stops_ends_as_a_short_body(closes):
    with Bench() as bench:
        new = bench.app("2.0.0")
        web = WebPeer(new, stop_after=len(new) // 2, closes=closes)
        assert story(update(bench, web)) == 0xC
        assert f"OTA written {len(new) // 2} / {len(new)} bytes" in bench.text
        assert story(report(bench))["mcu"] == "1.0.0"


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (bad_hash, "Image hash failed"),
        (bad_checksum, "Checksum failed"),
        (wrong_chip, "mismatch chip ID"),
    ],
)
def test_a_bad_image_is_written_but_not_selected(damage, line):
    with Bench() as bench:
        assert story(update(bench, WebPeer(damage(bench.app("2.0.0"))))) == 0xC
        assert line in bench.text
        assert "Error #9" in bench.text
        assert bench.entries() == (entry(1), BLANK)
        assert story(report(bench))["mcu"] == "1.0.0"


def test_a_login_page_instead_of_an_image_is_given_up_before_flash_is_touched():
    with Bench() as bench:
        before = bench.machine.operations
        assert story(update(bench, WebPeer(b"<html>" * 3000))) == 0xC
        assert bench.machine.operations == before
        assert re.search(r"OTA written \d+ / 18000 bytes", bench.text)


def test_without_settings_the_board_waits_to_be_configured():
    with Bench() as bench:
        bench.unprovision()
        story(bench.until("INIT => WAIT_CONFIG"))


@pytest.mark.parametrize("status", [9, 19])
def test_a_refused_login_is_final_only_for_a_bad_token(status):
    async def attempt(bench):
        cloud = BlynkPeer(login_status=status)
        async with listening(cloud.serve) as address:
            bench.provision(address)
            async with bench.living():
                if status == 9:
                    await bench.machine.see("CONNECTING_CLOUD => WAIT_CONFIG")
                    assert cloud.sessions == 1
                else:
                    await cloud.hears(lambda peer: peer.sessions >= 3)
        assert cloud.heard[0] == frame(Cmd.LOGIN, 1, TOKEN)

    with Bench() as bench:
        story(attempt(bench))


def test_a_lost_cloud_is_dialled_again():
    async def lose(bench):
        first = BlynkPeer(sends=[frame(99, 5)])  # unknown command: the library hangs up
        async with listening(first.serve) as address:
            bench.provision(address)
            async with bench.living():
                await first.hears(lambda peer: len(peer.infos) >= 2)
        assert "RUNNING => CONNECTING_CLOUD" in bench.text

    with Bench() as bench:
        story(lose(bench))


def test_the_second_of_two_commands_wins_and_there_is_one_download():
    async def twice(bench):
        wrong, right = WebPeer(b"never"), WebPeer(bench.app("2.0.0"))
        cloud = BlynkPeer()
        async with (
            listening(wrong.serve) as (_, one),
            listening(right.serve) as (host, two),
            listening(cloud.serve) as address,
        ):
            cloud.sends = [ota(f"http://{host}:{one}/"), ota(f"http://{host}:{two}/")]
            bench.provision(address)
            await bench.boot()
        assert (len(wrong.requests), len(right.requests)) == (0, 1)

    with Bench() as bench:
        story(twice(bench))


def test_a_bootloader_without_rollback_gets_an_entry_without_a_state():
    with Bench(rollback=False) as bench:
        assert story(update(bench, WebPeer(bench.app("2.0.0")))) == 0xC
        assert bench.entries() == (entry(1), entry(2, State.UNDEFINED))


def test_a_refused_token_leaves_settings_alone_that_have_led_to_the_cloud():
    async def refused(bench: Bench) -> None:
        async with listening(BlynkPeer(login_status=9).serve) as address:
            bench.provision(address)
            await bench.until("CONNECTING_CLOUD => WAIT_CONFIG")

    with Bench() as bench:
        story(refused(bench))
        kept = read_edgent_config(bench.read(NVS.offset, NVS.size))
        assert kept is not None
        assert kept.token == TOKEN
        assert "Last error code" not in bench.text
