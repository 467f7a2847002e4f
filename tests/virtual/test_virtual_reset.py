"""The reset circuit, with line changes as they were recorded from esptool and pyserial."""

from __future__ import annotations

import pytest

from pytest_blynk_ota.virtual.chip.reset import Reset, ResetCircuit

OPEN = [(1, 0), (1, 1)]
CLASSIC = [(0, 1), (1, 1), (1, 0), (0, 0)]
HARD = [(0, 1), (0, 0)]
HOLD, BOOT, DOWNLOAD = Reset.HOLD, Reset.BOOT, Reset.DOWNLOAD


def effects(moves):
    circuit = ResetCircuit()
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
def test_line_changes(name, moves, expected):
    assert effects(moves) == expected, name


@pytest.mark.parametrize(
    ("moves", "expected"),
    [([], BOOT), ([(0, 1)], HOLD), ([(1, 0)], DOWNLOAD), ([(1, 1)], BOOT)],
)
def test_the_lines_decide_what_a_chip_does_at_power_on(moves, expected):
    circuit = ResetCircuit()
    for dtr, rts in moves:
        circuit.move(bool(dtr), bool(rts))
    assert circuit.at_power_on is expected
