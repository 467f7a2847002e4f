"""Each bug that an image can ask for does what it says."""

from __future__ import annotations

import re

import pytest
from vfw_bench import APP1, NVS, Bench, entry, story
from vfw_peer import TOKEN, BlynkPeer, listening

from pytest_blynk_ota.firmware.nvs import edgent_config
from pytest_blynk_ota.firmware.otadata import State

PENDING = entry(2, State.PENDING_VERIFY)
CONFIRMED = entry(2, State.VALID)


def trial(bench: Bench, **behaviour) -> None:
    """Put New with this behaviour into slot 1, not confirmed yet."""
    bench.put(APP1, bench.app("2.0.0", **behaviour))
    bench.otadata(entry(1), entry(2, State.NEW))


async def live(bench: Bench, until, cause=1) -> BlynkPeer:
    """Let the board live until ``until(peer)``."""
    cloud = BlynkPeer()
    async with listening(cloud.serve) as address:
        bench.provision(address)
        async with bench.living(cause):
            await cloud.hears(until)
    return cloud


async def die(bench: Bench, cause=1) -> tuple[int, BlynkPeer]:
    """Let the board live until it resets itself."""
    cloud = BlynkPeer()
    async with listening(cloud.serve) as address:
        bench.provision(address)
        return await bench.boot(cause), cloud


@pytest.mark.parametrize(
    ("reports", "mcu", "build"),
    [
        ("own", "2.0.0", "own build"),
        ("nothing", None, None),
        ({"version": "9.9.9", "build": "elsewhere"}, "9.9.9", "elsewhere"),
    ],
)
def test_a_report_says_what_the_image_asks_for(reports, mcu, build):
    with Bench() as bench:
        trial(bench, reports=reports, build="own build")
        info = story(live(bench, lambda peer: peer.infos)).infos[0]
        assert (info.get("mcu"), info.get("build")) == (mcu, build)
        assert info["fw-type"]


def test_confirmed_at_the_start_before_anything_is_said():
    with Bench() as bench:
        trial(bench, confirm="init")
        story(bench.until("Firmware:  2.0.0"))
        assert bench.entries()[1] == CONFIRMED


def test_confirmed_at_the_login_and_not_before():
    with Bench() as bench:
        trial(bench, confirm="login")
        story(bench.until("Connecting to WiFi"))
        assert bench.entries()[1] == PENDING
        bench.otadata(entry(1), entry(2, State.NEW))
        story(live(bench, lambda _: bench.entries()[1] == CONFIRMED))


def test_confirmed_when_the_self_test_has_passed():
    with Bench() as bench:
        trial(bench, confirm="self_test", self_test={"after_s": 3.0, "passes": True})

        async def watch():
            cloud = BlynkPeer()
            async with listening(cloud.serve) as address:
                bench.provision(address)
                async with bench.living():
                    await cloud.hears(lambda peer: peer.infos)
                    assert bench.entries()[1] == PENDING
                    await bench.machine.see("Self-test passed")
                    assert bench.entries()[1] == CONFIRMED

        story(watch())


def test_never_confirmed_is_rolled_back_at_the_next_boot():
    with Bench() as bench:
        trial(bench, confirm="never")
        assert story(live(bench, lambda peer: peer.infos)).infos[0]["mcu"] == "2.0.0"
        assert story(live(bench, lambda peer: peer.infos)).infos[0]["mcu"] == "1.0.0"


def test_a_failed_self_test_reports_and_then_goes_back():
    with Bench() as bench:
        trial(bench, confirm="self_test", self_test={"after_s": 2.0, "passes": False})
        cause, cloud = story(die(bench))
        assert cause == 0xC
        assert cloud.infos[0]["mcu"] == "2.0.0"
        assert bench.entries()[1] == entry(2, State.INVALID)
        assert story(live(bench, lambda peer: peer.infos, 0xC)).infos[0]["mcu"] == "1.0.0"


def test_a_failed_self_test_with_nothing_to_go_back_to_stays():
    with Bench() as bench:
        trial(bench, confirm="self_test", self_test={"after_s": 2.0, "passes": False})
        bench.wipe_slot(0)
        cloud = BlynkPeer()

        async def watch():
            async with listening(cloud.serve) as address:
                bench.provision(address)
                async with bench.living():
                    await bench.machine.see("Rollback is not possible")

        story(watch())
        assert bench.entries()[1] == PENDING


@pytest.mark.parametrize(
    ("chip", "how", "text"),
    [
        ("esp32", "panic", r"Guru Meditation Error: Core  0 panic'ed \(LoadProhibited\)"),
        ("esp32c3", "panic", r"Guru Meditation Error: Core  0 panic'ed \(Load access fault\)"),
        ("esp32", "abort", r"abort\(\) was called at PC 0x[0-9a-f]{8} on core 0"),
        ("esp32c3", "abort", r"abort\(\) was called at PC 0x[0-9a-f]{8} on core 0"),
    ],
)
def test_a_crash_reads_as_that_chips_and_restarts_it(chip, how, text):
    with Bench(chip) as bench:
        trial(bench, crash={"when": "start", "how": how})
        cause, _ = story(die(bench))
        assert cause == 0xC
        assert re.search(text, bench.text)
        assert bench.machine.lines[-2:] == ["Rebooting...", ""]


@pytest.mark.parametrize(
    ("when", "logged_in", "seen"),
    [
        ("start", False, "Calling app_main"),
        ("before_login", False, "Using Dynamic IP"),
        ("after_report", True, "Ready (ping"),
    ],
)
def test_a_crash_comes_at_its_moment_and_before_the_confirmation(when, logged_in, seen):
    with Bench() as bench:
        trial(bench, confirm="login", crash={"when": when, "how": "panic"})
        cause, cloud = story(die(bench))
        assert cause == 0xC
        assert seen in bench.text
        assert bool(cloud.heard) is logged_in
        assert bench.entries()[1] == PENDING


def test_a_crash_by_the_clock_comes_whatever_the_firmware_does():
    with Bench() as bench:
        trial(bench, confirm="login", crash={"when": "after_s", "after_s": 60.0, "how": "panic"})
        cause, cloud = story(die(bench))
        assert cause == 0xC
        assert cloud.infos[0]["mcu"] == "2.0.0"
        assert bench.entries()[1] == CONFIRMED


def test_a_crash_takes_the_time_that_its_dump_needs_on_the_uart(monkeypatch):
    spent: list[float] = []
    with Bench() as bench:
        spend = bench.machine.clock.spend
        monkeypatch.setattr(bench.machine.clock, "spend", lambda s: spent.append(s) or spend(s))
        trial(bench, confirm="init", crash={"when": "start", "how": "panic"})
        story(die(bench))
        dump = bench.text[bench.text.index("Guru Meditation") :]
        assert sum(spent[-2:]) >= len(dump) / 11520 > 0.2  # the dump, then "Rebooting..."


def test_a_confirmed_image_that_crashes_at_start_loops():
    with Bench() as bench:
        trial(bench, confirm="init", crash={"when": "start", "how": "panic"})
        for cause in (1, 0xC, 0xC, 0xC):
            assert story(die(bench, cause))[0] == 0xC
        assert bench.text.count("Guru Meditation") == 4
        assert bench.entries()[1] == CONFIRMED


def test_a_crash_can_be_had_a_number_of_times_until_the_power_goes():
    with Bench() as bench:
        trial(bench, confirm="init", crash={"when": "start", "how": "panic", "times": 2})
        assert story(die(bench, 1))[0] == 0xC
        assert story(die(bench, 0xC))[0] == 0xC
        assert story(live(bench, lambda peer: peer.infos, 0xC)).infos
        assert story(die(bench, 1))[0] == 0xC


def test_a_crash_leaves_the_clouds_connection_half_open():
    with Bench() as bench:
        trial(bench, crash={"when": "after_report", "how": "panic"})

        async def watch():
            cloud = BlynkPeer()
            async with listening(cloud.serve) as address:
                bench.provision(address)
                await bench.boot()
                bench.machine.network.drop()
                assert bench.machine.network.ghosts == 1

        story(watch())


LOST = {
    "edgent-old": "Timeout.*Timeout",
    "edgent-new": "Cloud connection timeout.*Cloud connection timeout",
    "sketch": "cloud.invalid:80.*cloud.invalid:80",
    "mqtt-idf": "Error transport connect.*Error transport connect",
    "reference": "cloud.invalid:.*cloud.invalid:",
}


@pytest.mark.parametrize("profile", LOST)
def test_an_image_that_does_not_find_the_cloud_never_dials_it(profile):
    """Not even where the ports that it dials are forwarded to the cloud, whatever the name."""
    mine = {"ssid": "lab", "token": TOKEN, "host": "127.0.0.1"}

    async def watch(bench: Bench) -> int:
        cloud = BlynkPeer()
        async with listening(cloud.serve) as (host, port):
            forward = dict.fromkeys(("80", "8080", "1883", str(port)), f"{host}:{port}")
            bench.machine.network._air.set({"forward": forward})
            bench._flash(NVS.offset, edgent_config(**mine, password="long enough", port=port))
            async with bench.living():
                await bench.machine.see(f"(?s){LOST[profile]}")
        return cloud.sessions

    with Bench() as bench:
        settings = {**mine, "passphrase": "long enough"}
        trial(bench, profile=profile, finds_cloud=False, settings=settings)
        assert story(watch(bench)) == 0


@pytest.mark.parametrize("profile", ["edgent-old", "edgent-new"])
def test_a_cloud_that_answers_no_login_is_not_taken_for_a_session(profile):
    async def watch(bench: Bench) -> None:
        async with listening(BlynkPeer(silent=True).serve) as (host, port):
            mine = {"ssid": "lab", "token": TOKEN, "host": host, "port": port}
            bench._flash(NVS.offset, edgent_config(**mine, password="long enough"))
            trial(bench, profile=profile, ports=[port])
            async with bench.living():
                await bench.machine.see("(?s)(Timeout|timeout).*(Timeout|timeout)")

    with Bench() as bench:
        story(watch(bench))
        assert "RUNNING" not in bench.text
