"""Plans: drawn from a seed, read from a file, made smaller."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.campaign.book import Book, Entry
from pytest_blynk_ota.campaign.draw import draw
from pytest_blynk_ota.campaign.plan import Plan, Step, load, plan_of
from pytest_blynk_ota.campaign.run import Budget, Campaign, kind_of, problem_with
from pytest_blynk_ota.campaign.shrink import smaller_ones, smallest
from pytest_blynk_ota.delivery.plan import check
from pytest_blynk_ota.errors import ConfigError, EvidenceError, RigError, UsageError
from pytest_blynk_ota.verdict import Outcome

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(1, 10_000))
def test_a_drawn_plan_is_the_same_again_can_be_said_and_is_read_back(seed, number):
    import tomllib

    plan = draw(seed, number)
    assert draw(seed, number) == plan
    assert plan_of(tomllib.loads(plan.to_toml()), "it") == plan
    for step in plan.steps:
        assert len(step.all_faults) == len(step.faults) + len(step.cloud)
        check([one for one in step.all_faults if hasattr(one, "when")], bytes(204800), "new.bin")


@given(SEEDS)
def test_a_board_without_an_outlet_has_the_same_trouble_but_for_the_cuts(seed):
    with_power, without = draw(seed, 1), draw(seed, 1, power=False)
    assert [s.faults for s in with_power.steps] == [s.faults for s in without.steps]
    assert all(step.cut is None for step in without.steps)


@given(SEEDS, st.integers(1, 99))
def test_each_smaller_plan_has_one_thing_less_and_the_smallest_has_nothing_to_lose(seed, number):
    def size(plan: Plan) -> int:
        return sum(
            1
            + len(s.faults)
            + len(s.cloud)
            + (s.cut is not None)
            + (s.op == "ship") * (s.limit or 9)
            for s in plan.steps
        )

    plan = draw(seed, number)
    assert all(size(one) < size(plan) for one in smaller_ones(plan))
    least = smallest(plan, lambda one: True)
    assert least == Plan((Step(),))


def test_what_matters_is_left_in_the_smallest_plan():
    plan = Plan((Step("ship", ("stall 50%",), ("drop",), 0.4, 2), Step("offer", ("reset 1",))))
    least = smallest(plan, lambda one: any(step.cut for step in one.steps))
    assert least == Plan((Step(cut=0.4),))


def test_shrinking_ends_when_its_runs_are_spent():
    runs = []
    plan = draw(7, 3)
    assert smallest(plan, lambda one: bool(runs.append(one)), most=2) == plan
    assert len(runs) == min(2, len(list(smaller_ones(plan))))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected one or more [[step]] tables"),
        ("[[stp]]\n", "stp: unknown key; did you mean 'step'?"),
        ('[[step]]\nop = "shp"', 'step[0].op: expected "offer" or "ship", got \'shp\''),
        ("[[step]]\nfault = []", "step[0].fault: unknown key; did you mean 'faults'?"),
        ('[[step]]\nfaults = ["stal 50%"]', "step[0].faults[0]: "),
        ('[[step]]\nfaults = "stall"', "step[0].faults: expected a list of faults, got 'stall'"),
        ("[[step]]\nfaults = [7]", "step[0].faults[0]: expected a fault as text, got 7"),
        ('[[step]]\ncloud = ["dorp"]', "step[0].cloud[0]: "),
        ("[[step]]\ncut = 37", "step[0].cut: expected a part of the file between 0 and 1, got 37"),
        ("[[step]]\nlimit = 3", 'step[0].limit: an offer is one download; expected op = "ship"'),
        ('[[step]]\nop = "ship"\nlimit = 0', "step[0].limit: expected a whole number above 0"),
        ("step = 7 7", "is no TOML"),
    ],
)
def test_a_plan_with_a_typo_is_told_with_its_step_and_key(tmp_path, text, why):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("text", "budget"),
    [("200", Budget(200)), ("90min", Budget(wall_s=5400)), ("8h", Budget(wall_s=28800))],
)
def test_a_budget_is_a_number_or_a_time(text, budget):
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "0", "-1", "1d", "min", "1.5h", "0h"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(UsageError, match="--campaign: expected a number of plans"):
        Budget.parse(text)


# ---- running


class Result:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Hands:
    """A board that is bricked by each power cut, and by nothing else."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.restores = 0
        self.dies_at = dies_at
        self.dead = False

    def restore(self):
        self.restores += 1
        self.dead = False
        if self.dies_at == self.restores:
            raise RigError("the rack has ended")

    def carry_out(self, step):
        self.dead = self.dead or step.cut is not None
        return Result(Outcome.BRICKED if self.dead else Outcome.STALLED)

    def clean(self):
        return Result(Outcome.BRICKED if self.dead else Outcome.UPGRADED)

    def problem_of(self, result):
        return None


def with_cuts(seed: int, count: int) -> list[int]:
    return [n for n in range(1, count + 1) if any(s.cut for s in draw(seed, n).steps)]


def test_a_campaign_finds_what_kills_the_board_and_keeps_the_smallest_plan(tmp_path):
    book = Book(tmp_path, 1, "a")
    found = Campaign(1, book, Hands(), power=True).run(Budget(12))
    assert [entry.number for entry in found] == with_cuts(1, 12) != []
    assert len(book.entries) == 12
    for entry in found:
        (step,) = load(tmp_path / "1-a" / f"plan-{entry.number}.toml").steps
        assert (step.faults, step.cloud, step.op) == ((), (), "offer")
        assert step.cut is not None
        assert problem_with(Plan((step,)), Hands()) is not None


def test_a_campaign_that_the_rack_stopped_goes_on_and_counts_nothing_for_the_firmware(tmp_path):
    with pytest.raises(RigError):
        Campaign(1, Book(tmp_path, 1, "a"), Hands(dies_at=4), power=False).run(Budget(9))
    before = Book(tmp_path, 1, "a")
    assert 0 < len(before.entries) < 9
    assert not any(entry.problem for entry in before.entries)
    later = Book(tmp_path, 1, "a")
    Campaign(1, later, Hands(), power=False).run(Budget(9))
    assert [entry.number for entry in later.entries] == list(range(1, 10))


def test_a_line_that_was_cut_is_run_again_and_one_that_is_none_is_told(tmp_path):
    book = Book(tmp_path, 1, "a")
    book.write(Entry(1))
    with book.path.open("a") as file:
        file.write('{"schema": 1, "num')
    assert Book(tmp_path, 1, "a").next_number == 2
    book.path.write_text("nonsense\n")
    with pytest.raises(EvidenceError, match="line 1: expected an entry of a campaign"):
        Book(tmp_path, 1, "a")


def test_one_kind_of_problem_is_told_by_what_ended_it_not_by_where():
    assert kind_of("BRICKED after offer: x") == kind_of("BRICKED after ship: y")
    assert kind_of("finding hang [#3] after a") == kind_of("finding hang [#9] after b")
