"""A board that does not come back is tried with its power switched, and then nobody gets it."""

import pytest

from pytest_blynk_ota.errors import FlashFailed, LoaderSilent, OutletUnreachable, PortGone
from pytest_blynk_ota.rig.power import Power
from pytest_blynk_ota.rig.quarantine import STRIKES, Ward
from pytest_blynk_ota.rig.recovery import with_escalation


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))


class Switch:
    """An outlet in memory."""

    def __init__(self, broken=False):
        self.states, self.broken = [], broken

    def switch(self, on):
        self.states.append(on)
        if self.broken:
            raise OutletUnreachable("the relay answers 500")


class Bench:
    """A board that fails some times, and what is recorded of it."""

    def __init__(self, *fails, broken=False, outlet=True):
        self.fails, self.events = list(fails), []
        self.switch = Switch(broken)
        self.ward = Ward("a", "/dev/x")
        self.power = Power("a", self.switch, self.record, 1000) if outlet else None

    def record(self, source, kind, board=None, /, **data):
        self.events.append((kind, data.get("step") or data.get("count")))

    def work(self):
        if self.fails and (error := self.fails.pop(0)):
            raise error
        return "done"

    def run(self):
        return with_escalation(
            self.work, board="a", power=self.power, ward=self.ward, record=self.record
        )


def test_a_silent_board_is_tried_again_behind_a_power_cycle():
    bench = Bench(LoaderSilent("no answer"))
    assert bench.run() == "done"
    assert bench.switch.states == [False, True]
    assert bench.events[0] == ("escalation", "power cycle")
    assert bench.ward.look() is None


def test_a_board_that_stays_silent_is_counted_and_refused_at_last():
    for count in range(1, STRIKES + 1):
        bench = Bench(PortGone("gone"), PortGone("gone again"))
        with pytest.raises(PortGone, match="gone again\nand that after a power cycle: gone"):
            bench.run()
        assert bench.events[-1] == ("wedged", count)
        assert bench.ward.look().is_refused == (count == STRIKES)
    assert str(bench.ward.look()).startswith(
        f"board a is in quarantine: it failed {STRIKES} times in a row since "
    )


def test_one_good_time_forgives_what_was():
    with pytest.raises(LoaderSilent):
        Bench(LoaderSilent("x"), LoaderSilent("x")).run()
    bench = Bench()
    assert bench.ward.look().count == 1
    bench.run()
    assert bench.ward.look() is None


def test_without_an_outlet_the_first_failure_counts():
    bench = Bench(LoaderSilent("x"), outlet=False)
    with pytest.raises(LoaderSilent):
        bench.run()
    assert bench.ward.look().count == 1


def test_an_outlet_that_fails_too_is_told_beside_the_first_error():
    with pytest.raises(LoaderSilent, match=r"no answer\nand .* help: the relay answers"):
        Bench(LoaderSilent("no answer"), broken=True).run()


def test_a_flash_that_is_worn_out_is_no_case_for_the_outlet():
    bench = Bench(FlashFailed("MD5"))
    with pytest.raises(FlashFailed):
        bench.run()
    assert bench.switch.states == []
    assert bench.ward.look() is None


def test_what_is_held_against_a_virtual_board_ends_with_its_run(tmp_path):
    ward = Ward("a", None)
    ward.strike("x")
    assert ward.look().count == 1
    assert Ward("a", None).look() is None
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_cannot_be_read_holds_nothing_against_a_board(tmp_path):
    ward = Ward("a", "/dev/x")
    ward.strike("x")
    (file,) = tmp_path.glob("*.wedged")
    for text in (
        "",
        "{",
        "[]",
        '{"board": 1}',
        '{"board":"a","reason":"x","count":"n","since":""}',
    ):
        file.write_text(text)
        assert ward.look() is None
