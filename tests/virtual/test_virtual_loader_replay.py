"""The serial loader against recorded sessions of esptool 5.6 with real mask ROMs and stubs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from virtual_bench import Bench

from pytest_blynk_ota.virtual.chip import registers
from pytest_blynk_ota.virtual.chip.chips import MODELS, make_chip
from pytest_blynk_ota.virtual.chip.flash import NorFlash

RECORDED = Path(__file__).parents[1] / "data" / "loader"
SESSIONS = sorted(path.stem for path in RECORDED.glob("*.jsonl"))
PANICS = [name for name in SESSIONS if "no_sync" in name]
"""An emulated ROM that crashed at the first SYNC: its bytes are no answers of a loader."""
ANSWERED = [name for name in SESSIONS if name not in PANICS]

# What the recorded chips and their emulator are, other than ours. All else must be equal.
RECORDED_MAC = bytes.fromhex("240ac4000110")
RECORDED_BAUD = 115606  # the emulator's clock divider of 346
RECORDED_WORDS = {
    0x3FF5A00C: 0,  # package 0 (D0WDQ6); ours: 1 (D0WD)
    0x3FF5A010: 0,  # EFUSE_RD_CK8M_FREQ was not burnt
    0x3FF44038: 0x0F,  # strapping pins
}
RECORDED_FLASH = {0x9F: 0x1640C8, 0x5A: 0}  # GigaDevice; no SFDP


class RefusingFlash(NorFlash):
    """The emulated flash of two sessions: it failed every program (01 08)."""

    def program(self, offset, data):
        raise ValueError("refused")


FLASHES = {
    "esp32_fail_nostub_write_0105": RefusingFlash,
    "esp32_fail_nostub_write_uncompressed_0105": RefusingFlash,
}
GARBLED = {"esp32_fail_stub_upload_checksum": -1}
"""The request, by its place, of which the emulated UART lost a byte's bits."""


def rows(name):
    """The session's (direction, bytes), without the banner."""
    lines = (RECORDED / f"{name}.jsonl").read_text().splitlines()[1:]
    parsed = [json.loads(line) for line in lines]
    return [(r["dir"], bytes.fromhex(r["hex"])) for r in parsed if r.get("note") != "boot banner"]


@pytest.fixture
def replay(monkeypatch):
    """A function that plays the host's side of a session on our chip, with its differences."""
    for command, answer in RECORDED_FLASH.items():
        monkeypatch.setitem(registers.FLASH_COMMANDS, command, answer)
    flashes = []

    def play(name):
        model = MODELS[name.split("_")[0]]
        own = {at: word for at, word in RECORDED_WORDS.items() if at in model.fixed}
        model = dataclasses.replace(model, fixed={**model.fixed, **own})
        flashes.append(FLASHES.get(name, NorFlash)())
        bench = Bench(make_chip(model, RECORDED_MAC), flashes[-1], baud=RECORDED_BAUD)
        requests = [data for direction, data in rows(name) if direction == "host"]
        if name in GARBLED:
            requests[GARBLED[name]] = requests[GARBLED[name]].replace(b"\x55", b"\x54", 1)
        for data in requests:
            bench.loader.feed(data)
        return bench, bytes(bench.sent)

    yield play
    for flash in flashes:
        flash.close()


@pytest.mark.parametrize("name", ANSWERED)
def test_every_byte_is_as_a_real_rom_and_stub_answered(name, replay):
    _, said = replay(name)
    recorded = b"".join(data for direction, data in rows(name) if direction == "chip")
    assert said == recorded


@pytest.mark.parametrize("name", SESSIONS)
def test_a_sync_is_answered_after_any_recorded_session(name, replay):
    bench, _ = replay(name)
    answers = bench.sync()[-8:]
    assert len(answers) == 8
    assert all(one[:2] == b"\x01\x08" and not any(one[8:]) for one in answers)


@pytest.mark.parametrize("name", SESSIONS)
def test_a_chip_that_hears_the_other_chip_recovers(name, replay):
    bench, _ = replay(name)
    for _, data in rows(name):
        bench.loader.feed(data)
    assert len(bench.sync()[-8:]) == 8
