"""What is wrong with a board that does not come up, told by its log."""

from __future__ import annotations

import os
import random

import pytest

from pytest_blynk_ota.board.board import Board
from pytest_blynk_ota.board.condition import condition
from pytest_blynk_ota.board.lines import LineSplitter
from pytest_blynk_ota.errors import LoaderSilent
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.restore import _said_since_start

POWER_ON = "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)"
PANIC = "rst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)"
BROWNOUT = "rst:0xf (RTCWDT_BROWN_OUT_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)"
DOWNLOAD = "rst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))"


def as_read(data: bytes) -> list[str]:
    splitter = LineSplitter()
    return [*splitter.feed(data), splitter.rest]


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_told_as_a_wrong_baud_rate(seed):
    told = condition(as_read(random.Random(seed).randbytes(400)), 74880)
    assert "garbled" in told
    assert "74880 baud" in told
    assert "Set baud of this board" in told


def test_a_boot_with_noise_at_its_reset_is_not_called_garbled():
    boot = [POWER_ON, *(f"I ({n}) wifi: state {n}" for n in range(8))]
    assert condition([*as_read(random.Random(1).randbytes(24)), *boot], 115200) == ""


def test_a_log_in_another_script_is_not_called_garbled():
    assert condition(as_read("Підключення до мережі встановлено\n".encode() * 9), 115200) == ""


def test_a_few_bad_bytes_alone_are_too_few_to_tell():
    assert condition(as_read(b"\xff\xfe\xff"), 115200) == ""


def test_a_board_that_waits_for_a_download_is_told_as_that():
    assert "waits for a download" in condition([POWER_ON, DOWNLOAD, "waiting for download"], 115200)


def test_a_board_that_left_its_loader_is_not_stuck_in_it():
    assert condition([DOWNLOAD, "waiting for download", POWER_ON], 115200) == ""


@pytest.mark.parametrize(("line", "cause"), [(PANIC, "SW_CPU_RESET"), (BROWNOUT, "BROWN")])
def test_a_boot_loop_is_told_with_its_count_and_its_causes(line, cause):
    told = condition([POWER_ON, *[line, "Guru Meditation"] * 4], 115200)
    assert "started 5 times" in told
    assert cause in told
    assert "POWERON" not in told.split("(")[1]  # the first start was ours


def test_two_starts_are_no_loop():
    assert condition([POWER_ON, PANIC], 115200) == ""


def test_starts_before_our_own_reset_are_not_counted():
    def event(source, kind, board="a", **data):
        return Event(seq=1, t=0.0, wall=0.0, source=source, kind=kind, board=board, data=data)

    events = [
        event("uart", "line", text="old"),
        event("rig", "reset", by="rig", mode="run"),
        event("rig", "reset", "b", by="rig", mode="run"),
        event("uart", "line", text="new"),
        event("uart", "line", "b", text="another board"),
    ]
    assert _said_since_start(events, "a") == ["new"]


def test_a_silent_loader_behind_garbage_names_the_baud_rate(monkeypatch):
    """On a pty, whose other end answers a reset with what no rate can read."""
    monkeypatch.setattr("pytest_blynk_ota.board.flasher.SYNC_S", 0.1)
    monkeypatch.setattr("pytest_blynk_ota.board.board.BANNER_S", 0.2)
    other, tty = os.openpty()
    noise = random.Random(4).randbytes(300).replace(b"\x03", b"").replace(b"\x04", b"")
    board = Board(
        "a",
        "esp32",
        os.ttyname(tty),
        lambda *_a, **_k: None,
        press=lambda _loader: os.write(other, noise),
    )
    board.open()
    try:
        with pytest.raises(LoaderSilent, match=r"garbled: .*Set baud of this board"):
            board.identity()
    finally:
        board.close()
        os.close(other)
        os.close(tty)
