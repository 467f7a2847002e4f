"""What lines do to a chip, with changes as they were recorded from esptool and pyserial."""

from __future__ import annotations

import pytest

from pytest_blynk_ota.virtual.chip.reset import Reset, ResetCircuit, SyncWatch, UsbJtag

OPEN = [(1, 0), (1, 1)]
CLASSIC = [(0, 1), (1, 1), (1, 0), (0, 0)]
HARD = [(0, 1), (0, 0)]
USB = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]
HOLD, BOOT, DOWNLOAD = Reset.HOLD, Reset.BOOT, Reset.DOWNLOAD


def effects(moves, circuit=None):
    circuit = circuit or ResetCircuit()
    done = [circuit.move(bool(dtr), bool(rts)) for dtr, rts in moves]
    return [effect for effect in done if effect]


@pytest.mark.parametrize(
    ("name", "moves", "expected"),
    [
        ("opening a port does nothing", OPEN, []),
        ("opening and closing at once does nothing", [*OPEN, (0, 0)], []),
        ("the classic reset enters download mode", CLASSIC, [HOLD, DOWNLOAD]),
        ("so it does right after an open", OPEN + CLASSIC, [HOLD, DOWNLOAD]),
        ("so it does with both lines moved at once", [(0, 1), (1, 0), (0, 0)], [HOLD, DOWNLOAD]),
        ("a hard reset boots", OPEN + HARD, [HOLD, BOOT]),
        ("a hard reset after the loader boots", CLASSIC + HARD, [HOLD, DOWNLOAD, HOLD, BOOT]),
        ("a client that goes while it holds the chip lets it boot", [(0, 1), (0, 0)], [HOLD, BOOT]),
        ("so it does between the two lines", [(0, 1), (1, 1), (0, 0)], [HOLD, BOOT]),
        ("IO0 alone does nothing", [(1, 0), (0, 0)], []),
        ("a repeated state does nothing", [(0, 1), (0, 1)], [HOLD]),
        (
            "two resets in a row are two",
            HARD + HARD,
            [HOLD, BOOT, HOLD, BOOT],
        ),
    ],
)
def test_line_changes_at_the_circuit(name, moves, expected):
    assert effects(moves) == expected, name


@pytest.mark.parametrize(
    ("name", "moves", "expected"),
    [
        ("opening a port does nothing", OPEN, []),
        ("opening and closing at once does nothing", [*OPEN, (0, 0)], []),
        ("esptool's sequence for it enters download mode", USB, [HOLD, DOWNLOAD]),
        ("so it does right after an open", OPEN + USB, [HOLD, DOWNLOAD]),
        ("a hard reset boots", HARD, [HOLD, BOOT]),
        ("a hard reset after the loader boots", USB + HARD, [HOLD, DOWNLOAD, HOLD, BOOT]),
        ("the classic reset alone boots: its flag comes too late", CLASSIC, [HOLD, BOOT]),
        ("an open has set the flag for a classic reset", OPEN + CLASSIC, [HOLD, DOWNLOAD]),
        ("both lines low clear the flag", [(1, 0), (0, 0), *HARD], [HOLD, BOOT]),
        ("a client that goes while it holds the chip lets it boot", [(0, 1), (0, 0)], [HOLD, BOOT]),
        ("a repeated state does nothing", [(0, 1), (0, 1)], [HOLD]),
    ],
)
def test_line_changes_at_a_usb_jtag_port(name, moves, expected):
    assert effects(moves, UsbJtag()) == expected, name


def test_a_usb_jtag_port_loses_its_flag_with_the_power():
    port = UsbJtag()
    port.move(True, False)
    assert port.at_power_on is BOOT
    assert effects([(1, 1), (0, 1), (0, 0)], port) == [HOLD, BOOT]


def test_esptools_usb_sequence_boots_a_chip_behind_the_circuit():
    assert effects(USB) == [HOLD, BOOT]


@pytest.mark.parametrize("step", [1, 7, 100])
def test_a_sync_is_seen_however_it_is_cut(step):
    watch, stream = SyncWatch(), b"reboot\n\xc0\0\x08\x24\0\0\0\0\0" + SyncWatch.SYNC + b"\xc0"
    seen = [watch.sees(stream[at : at + step]) for at in range(0, len(stream), step)]
    assert seen.count(True) == 1
    assert not watch.sees(b"\x55" * 32)


@pytest.mark.parametrize(
    ("moves", "expected"),
    [([], BOOT), ([(0, 1)], HOLD), ([(1, 0)], DOWNLOAD), ([(1, 1)], BOOT)],
)
def test_the_lines_decide_what_a_chip_does_at_power_on(moves, expected):
    circuit = ResetCircuit()
    for dtr, rts in moves:
        circuit.move(bool(dtr), bool(rts))
    assert circuit.at_power_on is expected
