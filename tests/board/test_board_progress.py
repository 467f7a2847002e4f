"""Long work is told of now and then; short work not at all."""

from __future__ import annotations

from pytest_blynk_ota.board.progress import EVERY_S, FIRST_S, Told
from pytest_blynk_ota.cli.rig_restore import Shown


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(steps, seconds: float) -> list[tuple[str, int, int]]:
    """What is passed on of so many steps, each of which takes so long."""
    clock, seen = Clock(), []
    progress = Told(lambda *step: seen.append(step), clock)
    for step in steps:
        progress(*step)
        clock.now += seconds
    return seen


def test_work_that_is_soon_over_is_not_told_of():
    steps = [("writing flash", done, 9) for done in range(10)]
    assert told(steps, FIRST_S / 20) == []


def test_long_work_is_told_of_at_most_every_so_often():
    steps = [("writing flash", done, 100) for done in range(100)]
    seen = told(steps, EVERY_S / 4)
    assert seen[0] == ("writing flash", FIRST_S / EVERY_S * 4, 100)
    assert [done for _, done, _ in seen] == list(range(seen[0][1], 100, 4))


def test_each_piece_of_work_has_its_own_beginning():
    short = [("writing flash", done, 9) for done in range(9)]
    assert told(short * 10, FIRST_S / 10) == []


def test_a_bar_is_drawn_on_a_terminal_and_ends_its_line(capsys):
    shown = Shown(terminal=True)
    for done in (1, 2):
        shown("flash", "progress", "c3-a", what="writing flash", done=done, total=2)
    shown.end()
    first, second = capsys.readouterr().err.split("\r")[1:]
    assert first == "c3-a: writing flash [" + "#" * 15 + " " * 15 + "]  50%"
    assert second == "c3-a: writing flash [" + "#" * 30 + "] 100%\n"


def test_without_a_terminal_there_is_a_line_a_quarter(capsys):
    shown = Shown(terminal=False)
    for done in range(101):
        shown("flash", "progress", "c3-a", what="writing flash", done=done, total=100)
    shown.end()
    assert capsys.readouterr().err.splitlines() == [
        f"c3-a: writing flash: {share}%" for share in (25, 50, 75, 100)
    ]


def test_a_slower_line_is_told_with_the_reason(capsys):
    shown = Shown(terminal=True)
    shown("flash", "progress", "c3-a", what="writing flash", done=1, total=2)
    shown("rig", "slower", "c3-a", baud=460800, now=115200, why="it was garbled")
    assert capsys.readouterr().err.endswith("%\nc3-a: it was garbled; going on at 115200 baud\n")
