"""How far a board is: out of its events, as a line, under pytest's own."""

import os
import pty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.evidence.bundle import folder_name
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.terminal.line import cells, line, plain
from pytest_blynk_ota.terminal.live import Live, Watched, way
from pytest_blynk_ota.terminal.phases import Progress
from pytest_blynk_ota.terminal.screen import Guarded, Screen
from pytest_blynk_ota.terminal.tail import Tail

ID = "hil/test_it.py::test_a_stall[c3-a]"


def event(t: float, source: str, kind: str, board: str | None = "c3-a", **data) -> Event:
    return Event(1, t, 0.0, source, kind, board, data)


STORY = [
    (event(0, "test", "started", None, id=ID), "starting"),
    (event(1, "rig", "reset", by="rig", mode="loader"), "restoring"),
    (event(9, "ota", "restored"), "booting old"),
    (event(10, "cloud", "login", session=1), "settling"),
    (event(11, "ota", "operation", number=1, speed=1.0), "ready"),
    (event(12, "ota", "offer", number=1), "offered"),
    (event(13, "delivery", "request", attempt=1), "downloading"),
    (event(13, "delivery", "response", announced=1000), "downloading"),
    (event(14, "delivery", "progress", acked=500), "downloading"),
    (event(14, "delivery", "fault", index=0, phase="fired", fault="stall 50%"), "downloading"),
    (event(44, "delivery", "ended", how="timeout"), "download ended"),
    (event(45, "uart", "reset"), "booting"),
    (event(46, "delivery", "request", attempt=2), "downloading"),
    (event(47, "delivery", "ended", how="complete"), "applying"),
    (event(48, "power", "off"), "no power"),
    (event(49, "power", "on"), "booting"),
    (event(50, "cloud", "login", session=2), "settling"),
    (event(55, "ota", "watch_ended"), "judging"),
    (event(56, "uart", "reset"), "judging"),
    (event(57, "ota", "operation", number=2), "ready"),
    (event(60, "test", "finished", None), "over"),
]


def at(count: int) -> Progress:
    progress = Progress()
    for one, _ in STORY[:count]:
        progress.see(one)
    return progress


def test_each_event_of_an_update_begins_its_phase():
    progress = Progress()
    for one, phase in STORY:
        progress.see(one)
        assert progress.phase == phase, one


def test_long_work_on_a_flash_is_a_phase_with_a_share():
    progress = Progress()
    progress.see(event(1, "rig", "reset", by="rig", mode="loader"))
    for done, share in ((1, 0.25), (3, 0.75)):
        progress.see(event(3, "flash", "progress", what="writing flash", done=done, total=4))
        assert (progress.phase, progress.share) == ("writing flash", share)
    progress.see(event(9, "ota", "restored"))
    assert (progress.phase, progress.share) == ("booting old", None)


@pytest.mark.parametrize("data", [{"what": "mischief", "total": 4}, {"what": "reading flash"}, {}])
def test_work_that_says_nothing_sensible_has_no_share(data):
    progress = Progress()
    progress.see(event(3, "flash", "progress", **data))
    assert progress.share is None


def test_a_download_has_a_share_a_rate_and_the_fault_in_force():
    progress = at(10)
    assert (progress.board, progress.share, progress.fault) == ("c3-a", 0.5, "stall 50%")
    assert progress.rate(14.0) == 500.0
    assert progress.rate(30.0) == 0.0


def test_a_rate_is_in_device_seconds():
    progress = at(10)
    progress.speed = 20.0
    assert progress.rate(14.0) == 25.0


def test_out_of_a_download_there_is_neither_share_nor_rate_nor_fault_of_it():
    progress = at(11)
    assert (progress.share, progress.rate(44.0), progress.fault) == (None, None, "")


def test_a_test_that_is_tried_again_begins_anew():
    progress = at(10)
    progress.see(event(100, "test", "started", None))
    assert (progress.phase, progress.board, progress.began) == ("starting", "", 100)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (
            100,
            "c3-a      hil/test_it.py::test_a_stall[c3-a]  downloading      50%  0 kB/s  "
            "stall 50%  14 s",
        ),
        (80, "c3-a      test_a_stall[c3-a]  downloading      50%  0 kB/s  stall 50%  14 s"),
        (60, "c3-a      test_a_st…  downloading      50%  stall 50%  14 s"),
        (40, "c3-a      downloading      50%  14 s"),
        (20, "c3-a"),
    ],
)
def test_a_narrow_window_keeps_what_matters(width, expected):
    shown = line(at(10), ID, 14.0, width)
    assert cells(shown) < width
    if width != 20:
        assert shown == expected
    assert shown.startswith("c3-a")


@given(
    st.integers(0, 200),
    st.text(max_size=60),
    st.text(max_size=30),
    st.text(max_size=80),
    st.sampled_from(range(len(STORY))),
)
def test_no_line_is_ever_as_wide_as_the_window_or_moves_the_cursor(width, name, board, why, count):
    progress = at(count)
    progress.board = board
    progress._faults["test", "x"] = why
    shown = line(progress, name, 1e6, width)
    assert cells(shown) < max(width, 1)
    assert shown.isprintable()


def test_colour_changes_no_width():
    bare, coloured = (line(at(10), ID, 14.0, 80, colour=colour) for colour in (False, True))
    assert "\x1b[36mdownloading" in coloured
    assert "\x1b" not in bare


def test_a_plain_line_has_no_number_that_changes_all_the_time():
    assert plain(at(10), ID) == "  c3-a: downloading, download 1 (stall 50%) - test_a_stall[c3-a]"


def test_wide_characters_take_two_cells():
    assert (cells("日本"), cells("e\u0301"), cells("ab")) == (4, 1, 2)


def test_a_file_is_followed_from_before_it_is_there_until_it_is_replaced(tmp_path):
    path = tmp_path / "events.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    first, second = event(1, "ota", "offer"), event(2, "uart", "reset")
    path.write_text(first.to_json() + "\n" + second.to_json()[:20])
    assert [one.kind for one in tail.read()] == ["offer"]
    with path.open("a") as more:
        more.write(second.to_json()[20:] + "\nno event\n\n")
        more.write(event(3, "uart", "line", text="x").to_json() + "\n")
    assert [one.kind for one in tail.read()] == ["reset"]
    path.unlink()
    path.write_text(first.to_json() + "\n")
    assert [one.kind for one in tail.read()] == ["offer"]
    path.unlink()
    assert tail.read() == []


def test_of_a_test_that_is_run_again_the_last_try_is_followed(tmp_path):
    watched = Watched(ID)
    watched.catch_up(None)
    assert watched.progress.phase == "starting"
    for name, last in (("", 7), (".2", 2)):
        folder = tmp_path / "tests" / (folder_name(ID) + name)
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_text("".join(f"{e.to_json()}\n" for e, _ in STORY[:last]))
        watched.catch_up(tmp_path)
        assert watched.progress.phase == STORY[last - 1][1]


@pytest.mark.parametrize(
    ("asked", "terminal", "captured", "verbose", "chosen"),
    [
        (None, True, True, False, "line"),
        ("auto", True, True, True, "line"),
        (None, True, False, False, "off"),
        (None, True, False, True, "plain"),
        (None, False, True, False, "off"),
        (None, False, True, True, "plain"),
        ("line", False, True, False, "plain"),
        ("plain", True, True, False, "plain"),
        ("off", True, True, True, "off"),
    ],
)
def test_lines_are_for_terminals_and_plain_ones_for_those_who_want_them(
    asked, terminal, captured, verbose, chosen
):
    assert way(asked, terminal=terminal, captured=captured, verbose=verbose) == chosen


def test_a_way_that_is_none_is_refused_with_the_ways_there_are():
    with pytest.raises(UsageError, match="--ota-live is one of auto, line, plain, off; got 'no'"):
        way("no", terminal=True, captured=True, verbose=False)


@pytest.fixture
def screen():
    """A screen on a pty, and what has come out of it so far."""
    master, slave = pty.openpty()
    made = Screen(slave)

    def seen() -> str:
        os.set_blocking(master, False)
        try:
            return os.read(master, 65536).decode().replace("\r\r\n", "\r\n")
        except BlockingIOError:
            return ""

    yield made, seen, slave
    made.close()
    os.close(slave)
    os.close(master)


def test_lines_are_drawn_below_and_the_cursor_goes_back(screen):
    made, seen, _ = screen
    made.draw(["one", "two"], lambda: 7)
    assert seen() == "\r\none\x1b[K\r\ntwo\x1b[K\x1b[J\x1b[2A\r\x1b[7C"


def test_what_pytest_writes_takes_them_away_first(screen):
    made, seen, slave = screen
    with os.fdopen(os.dup(slave), "w") as file:
        guarded = Guarded(file, made)
        made.draw(["one"], lambda: 0)
        seen()
        guarded.write("PASSED")
        assert seen() == "\x1b[JPASSED"
        guarded.write("!")
        assert seen() == "!"
        assert guarded.isatty()


def test_nothing_is_drawn_while_others_write_or_the_cursor_is_not_known(screen):
    made, seen, _ = screen
    made.draw(["one"], lambda: None)
    made.hold()
    made.draw(["one"], lambda: 0)
    assert seen() == ""
    made.release()
    made.draw(["one"], lambda: 0)
    assert "one" in seen()


def test_a_screen_that_is_closed_is_clean_and_silent(screen):
    made, seen, _ = screen
    made.draw(["one"], lambda: 0)
    seen()
    made.close()
    assert seen() == "\x1b[J"
    made.draw(["one"], lambda: 0)
    made.close()
    assert seen() == ""


def test_tests_that_use_no_rig_or_are_over_have_no_line(tmp_path):
    shown: list[list[str]] = []
    live = Live(lambda: tmp_path, lambda rows, now: shown.append([row.id for row in rows]), list)
    for name in ("t::runs", "t::other", "t::over"):
        live._watched[name] = Watched(name)
    for name, last in (("t::runs", 5), ("t::over", len(STORY))):
        folder = tmp_path / "tests" / folder_name(name)
        folder.mkdir(parents=True)
        text = "".join(one.to_json() + "\n" for one, _ in STORY[:last])
        (folder / "events.jsonl").write_text(text)
    live.tick()
    assert shown == [["t::runs"]]
