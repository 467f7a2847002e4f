"""``ota.sweep_power_cuts()``: its table, the brick that it must find, the way of a real rack."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_blynk_ota.errors import DeadlinePassed, RigError, UsageError
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.sweep import PowerCutSweep, SweepRow, until_lost
from pytest_blynk_ota.sweep_journal import JournalSweep, reported
from pytest_blynk_ota.sweep_run import sweep_plan
from pytest_blynk_ota.verdict import Outcome

OVER_THE_RUNNING_SLOT = """
import sys

if "pytest_blynk_ota.virtual" in sys.orig_argv:
    from pytest_blynk_ota.virtual.app.ota_ops import OtaOps

    OtaOps.next_update_partition = lambda self: self._started.partition
"""
"""A firmware whose update goes over the slot that runs: whole, it works; cut, nothing is left."""


RIG = """
[rig]
name = "quick"
speed = 30
[[board]]
name = "a"
chip = "esp32c3"
port = "virtual"
{power}
provision = {{ kind = "edgent-nvs" }}
profile = "edgent-old"
"""
"""Faster than the shipped one: most of a sweep is waiting for boards to settle."""


@pytest.fixture
def rig_file(pytester):
    """Writes the rig; gives the option for it."""

    def write(power='power = "virtual"'):
        pytester.path.joinpath("rig.toml").write_text(RIG.format(power=power))
        return "--rig", "rig.toml"

    return write


def row(outcome=Outcome.UPGRADED, booted="app0 (1.0.0)", phase="writing app1", on_trial=False):
    result = SimpleNamespace(outcome=outcome, number=2)
    return SweepRow(phase, "operation 7", 12, booted, ("app0 VALID", "-"), result, on_trial)


def sweep(*rows, update=Outcome.UPGRADED, decided=34, left=0):
    told = None if update is None else SimpleNamespace(outcome=update)
    return PowerCutSweep("c3-a", 7, rows, told, 34, decided, 3, 0.25, Path("where"), left)


@pytest.fixture
def sweep_events(pytester):
    """Gives the sweep's events of the only test, by kind."""

    def read():
        (path,) = pytester.path.glob(".blynk-ota/runs/*/tests/*/events.jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        kinds = ("sweep", "swept", "cut", "sweep_ended")
        return {
            kind: [one["data"] for one in rows if (one["source"], one["kind"]) == ("ota", kind)]
            for kind in kinds
        }

    return read


# ---- the table


def test_all_is_well_only_if_each_cut_and_the_update_itself_ended_with_new():
    assert sweep(row()).all_well
    assert not sweep(row(), row(Outcome.REVERTED)).all_well
    assert not sweep(row(booted="nothing")).all_well
    assert not sweep(row(), update=Outcome.REJECTED).all_well
    assert not sweep().all_well


def test_old_taken_back_is_well_only_where_the_cut_came_in_the_trial_of_new():
    assert sweep(row(), row(Outcome.ROLLED_BACK, on_trial=True)).all_well
    assert not sweep(row(Outcome.ROLLED_BACK)).all_well
    for outcome in set(Outcome) - {Outcome.ROLLED_BACK, Outcome.UPGRADED}:
        assert not sweep(row(outcome, on_trial=True)).all_well
    assert not sweep(row(Outcome.ROLLED_BACK, "nothing", on_trial=True)).all_well


def test_a_brick_is_what_boots_nothing_or_does_not_come_back():
    rows = row(booted="nothing"), row(Outcome.OFFLINE), row(Outcome.REVERTED), row()
    assert sweep(*rows).bricks == rows[:2]


def test_the_table_says_how_many_were_decided_and_run_and_marks_what_is_not_well():
    text = str(sweep(row(), row(Outcome.BRICKED, "nothing", "last bytes of app1")))
    head, update, counts, titles, *rows, _ = text.splitlines()
    assert head == "power cuts of one update on c3-a, seed 7"
    assert update == "  without a cut: UPGRADED"
    assert counts == "  34 cut points, 34 boots decided in 0.25 s, 3 states, 2 really run"
    assert titles.split()[:2] == ["phase", "points"]
    assert [line.split()[0] for line in rows] == ["writing", "!"]
    assert "BRICKED" in rows[1]


def test_the_table_marks_a_row_whose_update_is_lost_by_design():
    (line,) = str(sweep(row(Outcome.ROLLED_BACK, on_trial=True))).splitlines()[4:-1]
    assert line.split()[0] == "~"


def test_a_sweep_in_an_assertion_names_board_seed_and_the_first_that_is_not_well():
    assert repr(sweep(row(Outcome.OFFLINE))) == (
        "<power cuts on c3-a, seed 7: 1 of 1 not well: writing app1>"
    )


# ---- a sweep that stops


def test_no_cut_is_made_after_the_last_brick_that_was_allowed():
    made = []

    def cuts():
        for outcome in ("UPGRADED", "BRICKED", "REVERTED", "OFFLINE", "UPGRADED"):
            made.append(outcome)
            yield row(Outcome(outcome))

    assert len(until_lost(cuts(), 2)) == 4
    assert made == ["UPGRADED", "BRICKED", "REVERTED", "OFFLINE"]
    assert len(until_lost(cuts(), 1)) == 2
    assert len(until_lost(cuts(), 3)) == len(until_lost(cuts(), None)) == 5


def test_a_sweep_that_left_cuts_out_is_never_well_and_says_how_many():
    cut = sweep(row(), row(Outcome.BRICKED), row(Outcome.BOOT_LOOP), left=17)
    words = "stopped after 2 cuts that were not survived; 17 more were not made"
    assert not cut.all_well
    assert str(cut).splitlines()[-2:] == [
        f"  {words} (bricks=None makes all)",
        "  evidence: where",
    ]
    assert repr(cut) == f"<power cuts on c3-a, seed 7: 2 of 3 not well: writing app1; {words}>"
    assert (cut.to_json()["left"], cut.to_json()["all_well"]) == (17, False)


def test_even_rows_that_are_all_well_do_not_speak_for_a_cut_that_was_not_made():
    cut = sweep(row(), left=1)
    assert not cut.all_well
    assert "all well" not in repr(cut)
    assert "1 more was not made" in repr(cut)


def test_a_sweep_that_made_all_cuts_says_nothing_of_a_stop():
    cut = sweep(row(Outcome.BRICKED), row(Outcome.BRICKED))
    assert "stopped" not in f"{cut!r} {cut}"
    assert cut.to_json()["left"] == 0


def test_a_sweep_of_moments_does_not_say_that_all_were_run_if_it_stopped():
    cut = sweep(row(Outcome.BRICKED), update=None, decided=0, left=3)
    assert "  4 sampled moments, 1 really run\n" in str(cut)
    assert "stopped after 1 cut that was not survived; 3 more were not made" in str(cut)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"torn": -1}, "torn is a whole number from 0 to 16, got -1"),
        ({"members": 0}, "members is a whole number from 1"),
        ({"seed": "x"}, "seed is a whole number"),
        ({"torn": True}, "got True"),
        ({"bricks": 0}, "bricks is a whole number from 1, or None, got 0"),
        ({"bricks": True}, "bricks is a whole number from 1, or None, got True"),
        ({"bricks": 1.5}, "bricks is a whole number from 1, or None, got 1.5"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(wrong, words):
    asked = {"torn": 2, "members": 1, "seed": 1, "timeout": None, "wait_s": 1.0, **wrong}
    with pytest.raises(UsageError, match=words):
        sweep_plan(**asked)


def test_a_seed_that_nobody_gave_is_another_each_time():
    seeds = {sweep_plan(2, 1, None, None, 1.0).seed for _ in range(3)}
    assert len(seeds) == 3


# ---- a cut that does not come as decided

MEMBER = {"operation": 6, "variant": 0, "kind": "erase", "length": 4096, "offset": 0xF000}
GROUP = {"phase": "confirming", "slot": "app0", "version": "1.0.0"}


class Rack:
    """Rig, control and outlet in one; the control gives ``answer`` to everything."""

    speed = 1000.0

    def __init__(self, answer):
        self.answer = answer
        self.switched = []
        self.timeline = Timeline()
        self.recorder = Recorder(self.timeline)

    def request(self, method, path, body=None, **_):
        return self.answer

    def off(self, **_):
        self.switched.append("off")

    def on(self, **_):
        self.switched.append("on")

    def check(self):
        pass

    catch_up = check

    def timeout(self, device_s):
        return device_s / self.speed


def cut_on(rack):
    place = SimpleNamespace(name="a")
    JournalSweep(None, rack, place, rack, rack, Path("where"))._cut(GROUP, MEMBER, 1.0)


def test_a_cut_that_leaves_another_flash_than_decided_is_the_racks_fault_and_gives_power_back():
    told = {"cut": True, "as_decided": False, "sha256": "a" * 64, "expected": "b" * 64, "ago_s": 0}
    rack = Rack(told)
    with pytest.raises(RigError, match=r"operation 7, erase of 4096 bytes at 0xf000"):
        cut_on(rack)
    assert rack.switched == ["off", "on"]


def test_a_cut_that_does_not_strike_is_named_with_its_place():
    with pytest.raises(DeadlinePassed, match=r"operation 7.*confirming"):
        cut_on(Rack({"cut": False}))


def test_a_trial_ends_the_shipment_only_if_new_had_reported_before_the_cut():
    rack, new = Rack({}), SimpleNamespace(version="2.0.0", build="b")
    say = rack.recorder
    say("cloud", "report", "a", session=1, version="1.0.0", build="")
    say("cloud", "report", "other", session=2, version="2.0.0", build="b")
    dark = rack.timeline.cursor
    say("cloud", "report", "a", session=3, version="2.0.0", build="b")
    events = rack.timeline.events()
    assert not reported(events, dark, "a", new)
    assert reported(events, rack.timeline.cursor, "a", new)


# ---- on the virtual rack


@pytest.mark.nightly
def test_a_clean_update_survives_a_cut_of_each_kind(pytester, rig_file, sweep_events):
    pytester.makepyfile(
        """
        def test_it(ota):
            sweep = ota.sweep_power_cuts(torn=1, seed=4)
            assert sweep.all_well
            assert sweep.decided == sweep.cut_points > 1000
            assert sweep.states == len(sweep.rows)
            assert ota.ship(timeout=60).running == "1.1.0"
        """
    )
    # the same version once more cannot be shipped: the sweep left New where its last row left it
    run = pytester.runpytest_subprocess(*rig_file())
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*the same binary*"])
    events = sweep_events()
    assert events["sweep"][0]["seed"] == 4
    assert len(events["cut"]) == len(events["sweep_ended"][0]["rows"]) >= 9
    assert all(cut["as_decided"] and cut["sha256"] == cut["expected"] for cut in events["cut"])
    phases = [one["phase"] for one in events["swept"][0]["states"]]
    assert {"writing app1", "last bytes of app1", "selecting app1", "confirming"} <= set(phases)


def over_the_running_slot(pytester, rig, body):
    """A test of a firmware that bricks, which is to fail."""
    pytester.makepyfile(sitecustomize=OVER_THE_RUNNING_SLOT)
    pytester.makepyfile(test_it=f"def test_it(ota, monkeypatch):\n    {body}")
    path = os.pathsep.join(filter(None, [str(pytester.path), os.environ.get("PYTHONPATH")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        run = pytester.runpytest_subprocess(*rig)
    run.assert_outcomes(failed=1)
    return run


@pytest.mark.nightly
def test_a_sweep_stops_with_the_last_brick_and_says_what_it_left_out(
    pytester, rig_file, sweep_events
):
    body = "assert ota.sweep_power_cuts(torn=0, seed=4, timeout=150, bricks=1).all_well"
    run = over_the_running_slot(pytester, rig_file(), body)
    events = sweep_events()
    (ended,), (swept,) = events["sweep_ended"], events["swept"]
    assert events["sweep"][0]["bricks"] == 1
    assert [one["came_back"] for one in ended["rows"]][-1:] == [False]
    assert ended["left"] == len(swept["states"]) - len(ended["rows"]) > 0
    assert not ended["all_well"]
    assert len(events["cut"]) == len(ended["rows"])
    words = f"1 cut that was not survived; {ended['left']} more were not made"
    run.stdout.fnmatch_lines(
        [f"*where False = <power cuts on a, seed 4: *; stopped after {words}>*"]
    )
    run.stdout.fnmatch_lines([f"  stopped after {words} (bricks=None makes all)"])


@pytest.mark.nightly
def test_a_sweep_of_moments_stops_with_the_last_brick(pytester, rig_file, sweep_events):
    body = """from pytest_blynk_ota.rig.rack import Rig
    monkeypatch.setattr(Rig, "virtual", None)  # as on a real rack: there is no control
    assert ota.sweep_power_cuts(seed=4, members=2, timeout=150, bricks=1).all_well"""
    over_the_running_slot(pytester, rig_file(), body)
    events = sweep_events()
    (ended,) = events["sweep_ended"]
    assert [cut["phase"] for cut in events["cut"]] == ["downloading"]
    assert [(one["outcome"], one["came_back"]) for one in ended["rows"]] == [("BRICKED", False)]
    assert (ended["left"], ended["all_well"]) == (7, False)


@pytest.mark.nightly
def test_an_update_over_the_running_slot_is_found_to_brick(pytester, rig_file, sweep_events):
    body = "assert ota.sweep_power_cuts(torn=0, seed=4, timeout=150).all_well"
    run = over_the_running_slot(pytester, rig_file(), body)
    run.stdout.fnmatch_lines(
        ["*where False = <power cuts on a, seed 4: * not well: overwriting the running app0*"]
    )
    run.stdout.fnmatch_lines(["*sweep of power cuts*", "*without a cut: UPGRADED*", "*BRICKED*"])
    (ended,) = sweep_events()["sweep_ended"]
    bad = [one for one in ended["rows"] if not one["well"]]
    assert [(one["phase"], one["booted"], one["outcome"], one["came_back"]) for one in bad] == [
        ("overwriting the running app0", "nothing", "BRICKED", False)
    ]


@pytest.mark.nightly
def test_a_rack_that_tells_no_journal_is_cut_at_sampled_moments(pytester, rig_file, sweep_events):
    pytester.makepyfile(
        """
        from pytest_blynk_ota.rig.rack import Rig

        def test_it(ota, monkeypatch):
            monkeypatch.setattr(Rig, "virtual", None)  # as on a real rack: there is no control
            sweep = ota.sweep_power_cuts(seed=4)
            assert sweep.all_well
            assert (sweep.decided, len(sweep.rows)) == (0, 4)
            assert [row.booted for row in sweep.rows[::3]] == ["1.0.0", "1.1.0"]
            assert "4 sampled moments" in str(sweep)
        """
    )
    pytester.runpytest_subprocess(*rig_file()).assert_outcomes(passed=1)
    events = sweep_events()
    assert events["sweep"][0]["how"] == "moments"
    assert [cut["phase"] for cut in events["cut"]] == [
        "downloading",
        "after the last byte",
        "at the start of the next boot",
        "after the login of New",
    ]


def test_a_board_without_an_outlet_is_a_wrong_request(pytester, rig_file):
    pytester.makepyfile("def test_it(ota): ota.sweep_power_cuts()")
    run = pytester.runpytest_subprocess(*rig_file(power=""))
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*board a has no power outlet in the rig file*"])
