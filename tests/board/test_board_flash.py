"""A board whose flash is read, restored and looked at: virtual ones, through their wire."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_blynk_ota.board.baseline import Baseline, Region, Span
from pytest_blynk_ota.board.board import Board
from pytest_blynk_ota.board.flasher import Loader
from pytest_blynk_ota.board.lent import LentPort
from pytest_blynk_ota.errors import ConfigError, LoaderSilent, RigError
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.firmware import otadata, recipe
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET

SPEED = 20
RECIPES = Path(__file__).parents[2] / "firmware_fixtures"
CHIPS = {"c3-a": "esp32c3", "esp32-a": "esp32"}
OTADATA, APP0, APP1, NVS = 0xE000, 0x10000, 0x150000, 0x9000


@pytest.fixture(scope="module")
def rack() -> Iterator[dict]:
    command = [sys.executable, "-m", "pytest_blynk_ota.virtual", "--json", "--lifeline",
               "--speed", str(SPEED)]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()
        process.wait(10)


@pytest.fixture(params=CHIPS)
def name(request) -> str:
    return request.param


@pytest.fixture
def url(rack, name) -> str:
    return next(board["url"] for board in rack["boards"] if board["name"] == name)


@pytest.fixture
def device(url, name, timeline) -> Iterator[Board]:
    with Board(name, CHIPS[name], url, Recorder(timeline), speed=SPEED) as board:
        yield board


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def baseline(app: bytes, seq: int = 1) -> Baseline:
    otadata = bytes([seq]) + b"\xff" * 0x1FFF
    nvs = noise(2, 500).ljust(0x5000, b"\xff")
    return Baseline(
        (Region("nvs", NVS, nvs), Region("otadata", OTADATA, otadata), Region("app0", APP0, app)),
        (Span("app1", APP1, 0x1000),),
    )


def resets(timeline: Timeline) -> list[str]:
    return [event.data["mode"] for event in timeline.events() if event.kind == "reset"
            and event.source == "rig"]  # fmt: skip


def test_a_board_says_who_it_is(device, rack, name, timeline):
    identity = device.identity()
    mac = next(board["mac"] for board in rack["boards"] if board["name"] == name)
    assert (identity.chip, identity.mac) == (CHIPS[name], mac)
    assert (identity.flash_bytes, identity.virtual) == (4 << 20, True)
    assert resets(timeline) == ["loader", "run"]


def test_a_reset_is_recorded_before_the_boot_that_it_causes(device, timeline):
    before = timeline.cursor
    device.reset()
    seen = [(event.source, event.kind, event.data.get("code")) for event in timeline.events(before)]
    ours = next(at for at, event in enumerate(seen) if event[:2] == ("rig", "reset"))
    # A board without firmware resets by its watchdog (0x7) all the time; only ours is a power-on.
    assert ours < seen.index(("uart", "reset", 0x1))
    assert timeline.events(before)[ours].data == {"by": "test", "mode": "run"}


def test_a_restore_writes_what_differs_and_little_else(device):
    app = noise(1, 200_000)
    first = device.restore(baseline(app))
    assert first.wrote_bytes >= 0
    again = device.restore(baseline(app))
    assert (again.wrote_bytes, again.regions) == (0, ())
    small = device.restore(baseline(app, seq=2))
    assert (small.wrote_bytes, small.regions) == (4096, ("otadata",))
    assert small.serial_bytes <= 40_000


def test_a_restored_megabyte_stands_in_flash(device):
    app = noise(random.randrange(1 << 30), 1 << 20)
    done = device.restore(baseline(app))
    assert "app0" in done.regions
    assert done.serial_bytes > 1 << 20
    with device._in_loader() as loader:
        assert loader.read(APP0, 64) == app[:64]
        loader.start_stub()
        assert loader.read(APP0 + 0x1000, 0x3000) == app[0x1000:0x4000]


def test_a_restore_ends_in_run_mode_with_its_boot_in_the_log(device, timeline):
    device.restore(baseline(noise(1, 5000)))
    assert resets(timeline) == ["loader", "run"]
    # A board without firmware resets by its watchdog (0x7) all the time; only ours is a power-on.
    downloads = [
        event.data["download"]
        for event in timeline.events()
        if (event.source, event.kind) == ("uart", "reset") and event.data["code"] == 0x1
    ]
    assert downloads == [True, False]


def test_another_chip_than_the_rig_file_says_is_found_before_a_byte_is_written(url, name, timeline):
    wrong = {"esp32": "esp32c3", "esp32c3": "esp32"}[CHIPS[name]]
    with (
        Board(name, wrong, url, Recorder(timeline), speed=SPEED) as board,
        pytest.raises(ConfigError, match=f"says {wrong}, but {CHIPS[name]} answers; nothing was"),
    ):
        board.restore(baseline(noise(3, 5000)))
    assert resets(timeline)[-1] == "run"


def test_a_loader_without_power_is_silent_and_says_so(device, rack, name, timeline, monkeypatch):
    monkeypatch.setattr("pytest_blynk_ota.board.flasher.SYNC_S", 0.1)

    def power(on: int) -> None:
        request = urllib.request.Request(f"{rack['outlet']}/{name}", str(on).encode(), method="PUT")
        urllib.request.urlopen(request).close()

    power(0)
    try:
        with pytest.raises(LoaderSilent, match=r"said nothing either: is it powered.*esptool says"):
            device.identity()
    finally:
        power(1)
    assert resets(timeline) == ["loader"] * 3 + ["run"]
    assert device.identity().virtual


def test_a_stub_whose_first_word_is_late_is_waited_for(device, monkeypatch):
    """A busy host: what is read with a short time-out has not come yet."""
    read = LentPort.read

    def slow(port, size=1):
        return b"" if port.timeout < 0.1 and not port.in_waiting else read(port, size)

    monkeypatch.setattr(LentPort, "read", slow)
    assert len(device.read(0, 16)) == 16


def test_a_stub_that_does_not_start_is_tried_again_behind_a_reset(device, timeline, monkeypatch):
    start, fails = Loader.start_stub, [LoaderSilent("Failed to start stub flasher"), None]

    def sometimes(loader):
        if error := fails.pop(0):
            raise error
        return start(loader)

    monkeypatch.setattr(Loader, "start_stub", sometimes)
    assert len(device.read(0, 16)) == 16
    assert resets(timeline) == ["loader", "loader", "run"]


def test_esptool_prints_nothing(device, capfd):
    device.identity()
    device.restore(baseline(noise(1, 5000)))
    assert capfd.readouterr() == ("", "")


def test_a_refused_write_is_flash_failed_with_esptools_words(device):
    with (
        pytest.raises(RigError, match=r"board .* stub could not write .* esptool says: Failed to"),
        device._in_loader() as loader,
    ):
        loader.start_stub().write(0x400000, b"beyond the end")


@pytest.fixture
def old(name) -> bytes:
    text = (RECIPES / "old.toml").read_text()
    return recipe.make(recipe.loads(text, "old.toml"), CHIPS[name])


@pytest.fixture
def provisioned(old) -> Baseline:
    """Old in its slot, confirmed, the other slot unbootable."""
    otadata_sectors = b"".join(otadata.entries_for(0))
    return Baseline(
        (
            Region("table", TABLE_OFFSET, DEFAULT_TABLE.build()),
            Region("otadata", OTADATA, otadata_sectors),
            Region("app0", APP0, old),
        ),
        (Span("app1", APP1, 0x1000),),
    )


def test_a_look_at_flash_names_what_runs_and_is_recorded(device, timeline, provisioned, old):
    device.restore(provisioned)
    seen = device.read_flash(DEFAULT_TABLE, {"old": old})
    assert (seen["running"], seen["would_boot"]) == ("app0", "app0")
    assert {label: slot["image"] for label, slot in seen["slots"].items()} == {
        "app0": "old", "app1": None}  # fmt: skip
    recorded = [event.data for event in timeline.events() if event.source == "flash"]
    assert recorded == [seen]
    assert resets(timeline) == ["loader", "run", "loader", "run"]


def test_a_flash_that_cannot_be_read_is_recorded_with_the_reason(url, name, timeline, old):
    wrong = {"esp32": "esp32c3", "esp32c3": "esp32"}[CHIPS[name]]
    with (
        Board(name, wrong, url, Recorder(timeline), speed=SPEED) as board,
        pytest.raises(ConfigError),
    ):
        board.read_flash(DEFAULT_TABLE, {"old": old})
    assert [event.kind for event in timeline.events() if event.source == "flash"] == ["unreadable"]
