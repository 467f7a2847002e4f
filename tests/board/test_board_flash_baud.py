"""The loader works at a rate of its own; where that fails, at the console's, and says so."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest
from serial.serialutil import SerialException

from pytest_blynk_ota.board.baseline import Baseline, Region
from pytest_blynk_ota.board.board import Board
from pytest_blynk_ota.board.lent import LentPort
from pytest_blynk_ota.board.rfc2217 import Rfc2217Port
from pytest_blynk_ota.errors import FlashFailed, UsageError
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline

SPEED = 20
SLOW, FAST = 115_200, 460_800
CHIPS = {"c3-a": "esp32c3", "esp32-a": "esp32"}


@pytest.fixture(scope="module")
def rack():
    command = [sys.executable, "-m", "pytest_blynk_ota.virtual", "--json", "--lifeline",
               "--speed", str(SPEED)]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield json.loads(process.stdout.readline())
        process.stdin.close()
        process.wait(10)


@pytest.fixture(params=CHIPS)
def board(request, rack, timeline):
    url = next(one["url"] for one in rack["boards"] if one["name"] == request.param)
    record = Recorder(timeline)
    chip = CHIPS[request.param]
    with Board(request.param, chip, url, record, speed=SPEED, flash_baud=FAST) as made:
        yield made


@pytest.fixture
def rates(monkeypatch) -> list[int]:
    """Each rate that the port was set to, in order."""
    seen: list[int] = []
    setter = Rfc2217Port.baudrate.fset

    def noted(port, baud):
        if not seen or seen[-1] != baud:
            seen.append(baud)
        setter(port, baud)

    monkeypatch.setattr(Rfc2217Port, "baudrate", Rfc2217Port.baudrate.setter(noted))
    return seen


def noise() -> Baseline:
    """What stands in no flash yet."""
    return Baseline((Region("app0", 0x10000, random.randbytes(30_000)),))


def slower(timeline: Timeline) -> list[dict]:
    return [event.data for event in timeline.events() if event.kind == "slower"]


def test_flash_is_written_at_the_loader_s_rate_and_the_log_read_at_the_console_s(
    board, rates, timeline
):
    board.restore(noise())
    assert rates == [SLOW, FAST, SLOW]
    assert slower(timeline) == []
    rst = [event for event in timeline.events() if (event.source, event.kind) == ("uart", "reset")]
    assert rst[-1].data["download"] is False, "the boot after it is readable"


def test_a_port_that_stays_at_its_rate_is_found_and_the_flash_written_all_the_same(
    board, monkeypatch, timeline
):
    """Some bridges take any rate and do another: the chip then hears and says garbage."""
    setter = Rfc2217Port.baudrate.fset
    stuck = Rfc2217Port.baudrate.setter(lambda port, baud: setter(port, min(baud, SLOW)))
    monkeypatch.setattr(Rfc2217Port, "baudrate", stuck)
    done = board.restore(noise())
    assert done.wrote_bytes >= 30_000
    (said,) = slower(timeline)
    assert (said["baud"], said["now"]) == (FAST, SLOW)
    assert f"could not go on at {FAST} baud. esptool says: " in said["why"]
    board.restore(noise())
    assert len(slower(timeline)) == 1, "it is not tried again"


def test_a_port_that_refuses_the_rate_is_no_reason_to_give_up(board, monkeypatch, timeline):
    setter = Rfc2217Port.baudrate.fset

    def refusing(port, baud):
        if baud > SLOW:
            raise SerialException(f"Failed to set custom baud rate ({baud})")
        setter(port, baud)

    monkeypatch.setattr(Rfc2217Port, "baudrate", Rfc2217Port.baudrate.setter(refusing))
    board.restore(noise())
    (said,) = slower(timeline)
    assert "esptool says: Failed to set baud rate 460800. The driver may not" in said["why"]


def test_noise_in_the_middle_of_a_fast_write_is_got_over_at_the_console_s_rate(
    board, monkeypatch, timeline
):
    """A bad cable: of what the chip hears at the high rate, one byte of some thousands is wrong."""
    write = LentPort.write

    def noisy(port, data):
        if port.baudrate == FAST and len(data) > 1000:
            data = bytearray(data)
            data[500] ^= 0x10
        return write(port, bytes(data))

    monkeypatch.setattr(LentPort, "write", noisy)
    wanted = noise()
    board.restore(wanted)
    assert len(slower(timeline)) == 1
    assert "could not write 30000 bytes" in slower(timeline)[0]["why"]
    assert board.read(0x10000, 30_000) == wanted.regions[0].data


def test_what_fails_at_the_console_s_rate_too_is_an_error_with_esptool_s_words(
    board, monkeypatch, timeline
):
    write = LentPort.write

    def noisy(port, data):
        data = bytearray(data)
        if len(data) > 8000 and data[2] == 0x11:  # a block of a compressed write
            data[4000] ^= 0x10
        return write(port, bytes(data))

    monkeypatch.setattr(LentPort, "write", noisy)
    with pytest.raises(FlashFailed, match=r"stub could not write 30000 bytes .* esptool says: "):
        board.restore(noise())
    assert [said["now"] for said in slower(timeline)] == [SLOW]


def test_what_a_test_writes_stands_there_and_is_on_record(board, timeline):
    before = board.read(0x11000, 64)
    board.write({0x10000: b"spoilt", 0x12000: bytes(16)})
    assert board.read(0x10000, 8) == b"spoilt\xff\xff"
    assert board.read(0x11000, 64) == before
    acts = [event.data for event in timeline.events() if event.source == "test"]
    assert acts == [{"what": "flash.write", "spans": [[0x10000, 6], [0x12000, 16]]}]
    resets = [event.data["by"] for event in timeline.events() if event.source == "rig"]
    assert "test" in resets


@pytest.mark.parametrize("pieces", [{}, {0x10010: b"x"}, {-4096: b"x"}])
def test_a_test_writes_whole_sectors_alone(board, pieces):
    with pytest.raises(UsageError, match="begin of a sector"):
        board.write(pieces)
