"""The decision, from claims alone: what passes, what fails, and what is not enough for either."""

from dataclasses import replace

import pytest
from gate_runs import DAY_S, NEW, NOW, OLD, OTHER
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.gate.accept import Binary
from pytest_blynk_ota.gate.claims import Claim, Operation, RunSeen
from pytest_blynk_ota.gate.decide import Last, decide
from pytest_blynk_ota.gate.policy import read_policy

HEAD = '[policy]\nname = "x"\nmax_age = "7d"\n'
BINARY = Binary("app.bin", NEW, "esp32c3")
COUNTER = iter(range(10**9))


def policy(lines="runs = 3\n", head=HEAD, scenarios='["H1"]'):
    line = f'[[line]]\nname = "a"\nscenarios = {scenarios}\nchips = ["esp32c3"]\n'
    return read_policy(f"{head}{line}{lines}".encode(), "policy.toml")


def claim(outcome="pass", *, run=0, at=NOW - 3600.0, **more):
    """A result of H1 on a real C3: New was installed by Old."""
    number = next(COUNTER)
    operation = Operation("c3-a", OLD, NEW, "1.1.0", NEW if outcome == "pass" else OLD, ())
    values = {
        "run": run,
        "id": f"test_it.py::t{number}",
        "folder": f"tests/t{number}",
        "outcome": outcome,
        "word": {"pass": "passed", "fail": "firmware", "broken": "rig"}.get(outcome, "skipped"),
        "message": "",
        "scenarios": ("H1",),
        "boards": ("c3-a",),
        "chips": frozenset({"esp32c3"}),
        "kinds": frozenset({"real"}),
        "began": at,
        "ended": at + 3,
        "digest": f"{number:064x}",
        "ran": frozenset({OLD}),
        "offered": frozenset({NEW}),
        "arrived": frozenset({NEW} if outcome == "pass" else ()),
        "named": frozenset({OLD, NEW}),
        "operations": (operation,),
    }
    return Claim(**(values | more))


def run(*claims, number=0, **more):
    values = {
        "path": f"run{number}",
        "id": f"id{number}",
        "rig": "lab1",
        "rig_sha256": None,
        "kinds": frozenset({"real"}),
        "began": NOW - 3700.0,
        "ended": NOW - 60.0,
        "manifest_sha256": f"{number:064x}",
        "claims": tuple(replace(one, run=number) for one in claims),
    }
    return RunSeen(**(values | more))


def verdict(rules, *runs, binary=BINARY, last=None, now=NOW):
    return decide(rules, runs, binary, now, last).decision.verdict


def test_as_many_passes_as_asked_for_pass():
    found = decide(policy(), [run(claim(), claim(), claim())], BINARY, NOW).decision
    assert found.verdict == "pass"
    assert found.subject.sha256 == NEW
    assert [one.id for one in found.runs] == ["id0"]


def test_one_less_is_incomplete_and_says_what_is_missing():
    line = decide(policy(), [run(claim(), claim())], BINARY, NOW).decision.lines[0]
    assert line.verdict == "incomplete"
    assert line.remedy == (
        "run H1 on a real esp32c3, 1 more time without a failure: "
        "pytest hil_tests --rig=RIG --old OLD --new app.bin --scenarios=H1"
    )


def test_what_is_missing_is_one_command_that_tests_this_binary_in_the_part_asked_for():
    rules = policy('tested_as = "old"\nrig = "virtual"\n', scenarios='["H1", "D22a"]')
    named = replace(BINARY, given="build dir/app.bin")
    line = decide(rules, [run()], named, NOW).decision.lines[0]
    assert line.remedy == (
        "run H1, D22a on a virtual esp32c3, 1 more time each without a failure: "
        "pytest hil_tests --old 'build dir/app.bin' --scenarios=H1,D22a"
    )


def test_what_failed_is_told_with_its_evidence_and_apart_from_what_is_missing():
    bad = claim("fail", folder="runs/one/tests/t")
    rules = policy(scenarios='["H1", "H2"]')
    line = decide(rules, [run(bad)], BINARY, NOW).decision.lines[0]
    assert line.verdict == "fail"
    mend, more = line.remedy.splitlines()
    assert mend == (
        "mend what makes H1 fail, and test the new binary; it shows in: blynk-ota report runs/one"
    )
    assert more.startswith("run H2 on a real esp32c3, 3 more times without a failure: pytest ")


def test_where_only_images_made_from_it_passed_the_remedy_is_the_policy_not_more_runs():
    made = "d4" * 32
    passed = claim(offered=frozenset({made}), arrived=frozenset({made}), named=frozenset({made}))
    found = decide(policy(), [run(passed)], replace(BINARY, refused=frozenset({made})), NOW)
    line = found.decision.lines[0]
    assert line.verdict == "incomplete"
    assert "not counted: 1 result in which an image made from it was installed" in line.sentence
    assert 'derived = ["version"] in the policy' in line.remedy
    assert found.decision.runs == ()  # it is no evidence on this binary


def test_one_failure_fails_however_many_passed():
    found = decide(policy(), [run(*(claim() for _ in range(50)), claim("fail", message="boom"))],
                   BINARY, NOW).decision  # fmt: skip
    assert found.verdict == "fail"
    assert "boom" in found.lines[0].sentence


def test_nothing_at_all_is_incomplete():
    assert verdict(policy(), run()) == "incomplete"
    assert verdict(policy()) == "incomplete"


NOT_COUNTED = {
    "on a virtual board": {"kinds": frozenset({"virtual"})},
    "on an emulated board": {"kinds": frozenset({"emulated"})},
    "on a board that did not say who it is": {
        "kinds": frozenset({"unknown"}), "chips": frozenset(),
    },
    "on a real and a virtual board": {"kinds": frozenset({"real", "virtual"})},
    "on another chip": {"chips": frozenset({"esp32"})},
    "on another chip too": {"chips": frozenset({"esp32", "esp32c3"})},
    "older than a week": {"began": NOW - 8 * DAY_S},
    "without any update": {"operations": (), "ran": frozenset(), "offered": frozenset(),
                           "arrived": frozenset()},
    "without events": {"digest": None},
    "of another binary": {"offered": frozenset({OTHER}), "arrived": frozenset({OTHER})},
    "in which New never ran": {"arrived": frozenset()},
    "of another scenario": {"scenarios": ("D22a",)},
    "of no scenario": {"scenarios": ()},
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_COUNTED.values(), ids=NOT_COUNTED)
def test_a_pass_does_not_count(what):
    others = [claim(), claim()]
    assert verdict(policy(), run(*others, claim())) == "pass"
    assert verdict(policy(), run(*others, claim(**what))) == "incomplete"


@pytest.mark.parametrize("outcome", ["broken", "none"])
def test_an_error_of_the_rack_is_neither_a_pass_nor_a_failure(outcome):
    rules = policy(head=HEAD + 'rig_errors = "50%"\n')
    assert verdict(rules, run(claim(), claim(), claim(outcome))) == "incomplete"
    assert verdict(rules, run(claim(), claim(), claim(), claim(outcome))) == "pass"


def test_too_many_errors_of_the_rack_are_incomplete():
    found = decide(policy(), [run(*(claim() for _ in range(8)), claim("broken"))], BINARY, NOW)
    assert found.decision.verdict == "incomplete"
    assert "1 error of the rack or of a test beside 8 passes (11.11%" in (
        found.decision.lines[1].sentence
    )


def test_failures_do_not_hide_how_often_the_rack_failed():
    rules = policy("runs = 4\nfailures_allowed = 1\n")
    good = [claim() for _ in range(8)]
    assert verdict(rules, run(*good, claim("broken"))) == "incomplete"
    assert verdict(rules, run(*good, claim("broken"), claim("fail"))) == "incomplete"


def test_a_failure_that_is_allowed_is_no_run_that_is_asked_for():
    rules = policy("runs = 4\nfailures_allowed = 1\n")
    assert verdict(rules, run(claim(), claim(), claim("fail"))) == "incomplete"
    assert verdict(rules, run(claim(), claim(), claim(), claim("fail"))) == "pass"
    assert verdict(rules, run(claim(), claim(), claim())) == "pass"  # the fourth may fail
    assert verdict(rules, run(claim(), claim(), claim("fail"), claim("fail"))) == "fail"


NOT_PASSED_OVER = {
    "of another scenario": {"scenarios": ("D22a",)},
    "on a virtual board": {"kinds": frozenset({"virtual"})},
    "on a board that did not say who it is": {"kinds": frozenset({"unknown"}),
                                              "chips": frozenset()},
    "without any update": {"operations": (), "ran": frozenset(), "offered": frozenset(),
                           "arrived": frozenset()},
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_PASSED_OVER.values(), ids=NOT_PASSED_OVER)
def test_a_failure_of_this_binary_counts_wherever_it_was(what):
    good = [claim(), claim(), claim()]
    assert verdict(policy(), run(*good, claim("fail", **what))) == "fail"


def test_failures_that_no_line_asks_about_can_be_told_alone():
    rules = policy(head=HEAD + 'other_failures = "warn"\n')
    found = decide(rules, [run(claim(), claim(), claim(), claim("fail", scenarios=("D1a",)))],
                   BINARY, NOW).decision  # fmt: skip
    assert found.verdict == "pass"
    assert any(one.name == "other failures" for one in found.lines)


def test_a_failure_of_another_binary_is_not_ours():
    stranger = claim("fail", ran=frozenset({OTHER}), offered=frozenset({OLD}))
    assert verdict(policy(), run(claim(), claim(), claim(), stranger)) == "pass"


def test_who_did_the_update_is_told_from_what_was_installed():
    did = {"ran": frozenset({NEW}), "offered": frozenset({OTHER}), "arrived": frozenset({OTHER})}
    old, new = policy('runs = 1\ntested_as = "old"\n'), policy('runs = 1\ntested_as = "new"\n')
    assert verdict(old, run(claim(**did))) == "pass"
    assert verdict(new, run(claim(**did))) == "incomplete"
    assert verdict(old, run(claim())) == "incomplete"
    assert verdict(new, run(claim())) == "pass"


def test_a_derived_image_stands_for_the_binary_only_if_the_policy_lets_it():
    made = {"ran": frozenset({OLD}), "offered": frozenset({OTHER}), "arrived": frozenset({OTHER}),
            "named": frozenset({OTHER, OLD})}  # fmt: skip
    evidence = run(claim(**made), claim(**made), claim(**made))
    assert verdict(policy(), evidence) == "incomplete"
    found = decide(policy(), [evidence], replace(BINARY, derived=frozenset({OTHER})), NOW).decision
    assert found.verdict == "pass"
    assert found.stand_ins == (OTHER,)
    refused = decide(policy(), [evidence], replace(BINARY, refused=frozenset({OTHER})), NOW)
    assert refused.decision.verdict == "incomplete"
    assert any("made from it under another version" in note.text for note in refused.notes)


def test_a_part_of_a_scenario_is_of_the_scenario_and_not_the_other_way():
    d22 = {"scenarios": ("D22b",)}
    assert verdict(policy("", scenarios='["D22"]'), run(claim(**d22))) == "pass"
    assert verdict(policy("", scenarios='["D22a"]'), run(claim(**d22))) == "incomplete"
    assert verdict(policy("", scenarios='["D2"]'), run(claim(**d22))) == "incomplete"


# --- the evidence as a whole


def test_a_run_with_something_wrong_keeps_the_gate_from_passing():
    good = run(claim(), claim(), claim())
    bad = run(claim(), number=1, problems=("events.jsonl: edited",))
    assert verdict(policy(), good, bad) == "incomplete"
    assert verdict(policy(), run(claim(), claim(), claim(), problems=("x",))) == "incomplete"


def test_the_same_run_twice_counts_once():
    one = run(claim(), claim())
    found = decide(policy(), [one, replace(one, path="copy")], BINARY, NOW)
    assert found.decision.verdict == "incomplete"
    assert any("it counts once" in note.text for note in found.notes)
    three = run(claim(), claim(), claim())
    assert verdict(policy(), three, replace(three, path="copy")) == "pass"


def test_two_runs_of_one_id_that_differ_do_not_pass():
    claims = [claim(), claim(), claim()]
    one = run(*claims)
    other = run(*claims, number=1, id="id0")
    found = decide(policy(), [one, other], BINARY, NOW)
    assert found.decision.verdict == "incomplete"
    assert any("one of them was changed" in note.text for note in found.notes)


def test_a_test_that_was_copied_does_not_pass():
    first = claim()
    copies = [replace(first, id=f"t{n}") for n in range(2)]
    found = decide(policy(), [run(first), run(*copies, number=1)], BINARY, NOW)
    assert found.decision.verdict == "incomplete"
    assert any("byte for byte" in note.text for note in found.notes)


def test_evidence_from_the_time_to_come_does_not_pass():
    good = [claim(), claim(), claim()]
    assert verdict(policy(), run(*good, ended=NOW + 3600)) == "incomplete"
    assert verdict(policy(), run(*good, claim(at=NOW + DAY_S))) == "incomplete"


# --- waivers

TWO = '["H1", "H2"]'
WAIVER = """[[waiver]]
line = "a"
scenario = "H2"
reason = "late part"
owner = "R. Lee"
until = 2026-11-{day}
"""


def test_a_waived_scenario_need_not_be_shown_and_the_property_is_not_claimed():
    own = '[properties]\nMINE = ["H1", "H2"]\n'
    line = '[[line]]\nname = "a"\nproperty = "MINE"\nchips = ["esp32c3"]\n'
    with_it = read_policy((HEAD + line + WAIVER.format(day=27) + own).encode(), "p")
    found = decide(with_it, [run(claim(), claim("fail", scenarios=("H2",)))], BINARY, NOW).decision
    assert found.verdict == "pass"
    assert found.properties == ()
    assert "by R. Lee until 2026-11-27: late part" in found.lines[0].sentence
    without = read_policy((HEAD + line + own).encode(), "p")
    both = run(claim(), claim(scenarios=("H2",)))
    assert decide(without, [both], BINARY, NOW).decision.properties == ("BLYNKOTA_MINE",)


def test_an_expired_waiver_is_named_and_does_not_count():
    rules = policy(WAIVER.format(day=26), scenarios=TWO)
    found = decide(rules, [run(claim(), claim("fail", scenarios=("H2",)))], BINARY, NOW)
    assert found.decision.verdict == "fail"
    assert any("has expired" in note.text for note in found.notes)


def test_where_all_is_waived_nothing_was_shown():
    rules = policy(WAIVER.format(day=27).replace("H2", "H1"))
    assert verdict(rules, run(claim(), claim(), claim())) == "incomplete"


# --- rates

RATE = 'max_failure_rate = "5%"\nconfidence = "95%"\n'


def many(passed, failed=0, **more):
    """Failures first: the earliest results."""
    return run(*(
        claim("fail" if n < failed else "pass", at=NOW - 3600.0 + n, **more)
        for n in range(passed + failed)
    ))  # fmt: skip


def test_a_rate_takes_its_number_of_runs():
    assert verdict(policy(RATE), many(58)) == "incomplete"
    assert verdict(policy(RATE), many(59)) == "pass"
    assert verdict(policy(RATE), many(58, 1)) == "fail"


def test_going_on_after_a_failure_until_it_fits_does_not_pass():
    """With 93 runs one failure would do, but the plan was 59 with none."""
    assert verdict(policy(RATE), many(200, 1)) == "fail"
    assert verdict(policy(RATE + "failures_allowed = 1\n"), many(92, 1)) == "pass"


def test_failures_behind_the_planned_runs_take_the_pass_away():
    good = [claim(at=NOW - 3600.0 + n) for n in range(59)]
    late = [claim("fail", at=NOW - 1000.0 + n) for n in range(3)]
    assert verdict(policy(RATE), run(*good, *late)) == "fail"


def test_a_rate_holds_for_each_scenario_and_of_a_pool_for_all_together():
    each = policy(RATE, scenarios=TWO)
    pool = policy(RATE + "pool = true\n", scenarios=TWO)
    half = run(
        *(claim(at=NOW - 3600 + n) for n in range(30)),
        *(claim(at=NOW - 1800 + n, scenarios=("H2",)) for n in range(29)),
    )
    assert verdict(each, half) == "incomplete"
    assert verdict(pool, half) == "pass"
    assert verdict(pool, many(59)) == "incomplete"  # nothing of H2


SEQUENTIAL = RATE + 'sequential = { good_rate = "0.5%", false_fail = "10%" }\n'


def test_a_sequential_line_passes_and_fails_early():
    rules = policy(SEQUENTIAL)
    walk = rules.lines[0].demand.walk
    assert walk is not None
    assert verdict(rules, many(walk.pass_after[0] - 1)) == "incomplete"
    assert verdict(rules, many(walk.pass_after[0])) == "pass"
    assert verdict(rules, many(0, 3)) == "fail"


def test_a_sequential_pass_is_taken_back_by_failures_behind_it():
    rules = policy(SEQUENTIAL)
    after = rules.lines[0].demand.walk.pass_after[0]
    good = [claim(at=NOW - 3600.0 + n) for n in range(after)]
    late = [claim("fail", at=NOW - 1000.0 + n) for n in range(3)]
    assert verdict(rules, run(*good, *late)) == "fail"


# --- findings


def found(*names):
    return {"operations": (Operation("c3-a", OLD, NEW, "1.1.0", NEW, names),)}


def test_a_finding_fails_the_line_if_the_policy_says_so():
    fails = policy("runs = 1\n[findings]\nhang = 'fail'\n")
    assert verdict(fails, run(claim(**found("hang")))) == "fail"
    assert verdict(fails, run(claim(**found("late")))) == "pass"
    assert verdict(policy("runs = 1\n"), run(claim(**found("hang")))) == "pass"


def test_a_finding_of_another_image_is_not_ours():
    rules = policy("runs = 1\n[findings]\nhang = 'fail'\n")
    other = Operation("c3-a", OTHER, OTHER, "1", OTHER, ("hang",))
    mine = claim().operations[0]
    assert verdict(rules, run(claim(operations=(mine, other)))) == "pass"


def test_a_line_can_ignore_a_finding_of_all():
    rules = policy("runs = 1\nfindings = { hang = 'ignore' }\n[findings]\nhang = 'fail'\n")
    told = decide(rules, [run(claim(**found("hang")))], BINARY, NOW).decision
    assert told.verdict == "pass"
    assert "hang" not in told.lines[0].sentence


# --- the last release


def last(passed, failed):
    """Runs of OLD, which was New then."""
    values = {"offered": frozenset({OLD}), "arrived": frozenset({OLD}), "ran": frozenset({OTHER}),
              "named": frozenset({OTHER, OLD}), "began": NOW - 90 * DAY_S}  # fmt: skip
    operation = Operation("c3-a", OTHER, OLD, "1.0.0", OLD, ())
    claims = [claim(**values, operations=(operation,)) for _ in range(passed)]
    claims += [claim("fail", **values, operations=(operation,)) for _ in range(failed)]
    old = run(*claims, number=9, began=NOW - 90 * DAY_S, ended=NOW - 90 * DAY_S)
    return Last([old], Binary("old.bin", OLD, "esp32c3"))


LOOSE = "runs = 30\nfailures_allowed = 20\n[last_release]\n"


def test_a_release_that_fails_more_often_than_the_last_fails():
    assert verdict(policy(LOOSE), many(22, 8), last=last(30, 0)) == "fail"
    assert verdict(policy(LOOSE), many(29, 1), last=last(30, 0)) == "pass"
    assert verdict(policy(LOOSE), many(22, 8), last=last(22, 8)) == "pass"
    assert verdict(policy(LOOSE + "worse = 'warn'\n"), many(22, 8), last=last(30, 0)) == "pass"


def test_a_last_release_that_the_policy_does_not_ask_about_is_told_as_not_compared():
    found = decide(policy("runs = 1\n"), [run(claim())], BINARY, NOW, last(20, 0))
    assert found.decision.verdict == "pass"
    assert [note.text for note in found.notes] == [
        "it has no [last_release], so that New was not compared with the last release"
    ]


def test_a_comparison_without_anything_to_compare_with_is_incomplete():
    assert verdict(policy(LOOSE), many(30)) == "incomplete"
    assert verdict(policy(LOOSE), many(30), last=last(0, 0)) == "incomplete"


# --- whatever the evidence

RULES = [
    policy(),
    policy("runs = 4\nfailures_allowed = 1\n"),
    policy('max_failure_rate = "30%"\nconfidence = "80%"\n'),
    policy('max_failure_rate = "30%"\nconfidence = "80%"\nsequential = { good_rate = "5%" }\n'),
    policy("pool = true\nruns = 2\n", scenarios=TWO),
    policy(
        'pool = true\nmax_failure_rate = "50%"\nconfidence = "80%"\nfailures_allowed = 1\n',
        scenarios=TWO,
    ),
    policy('rig = "any"\ntested_as = "new"\n', head=HEAD + 'other_failures = "warn"\n'),
]  # fmt: skip
claims = st.builds(
    claim,
    st.sampled_from(["pass"] * 9 + ["fail", "broken", "none"]),
    at=st.integers(0, 3000).map(lambda s: NOW - 3600.0 + s),
    scenarios=st.sampled_from([("H1",), ("H1",), ("H2",), ("H1", "H2"), ()]),
    kinds=st.sampled_from([frozenset({"real"})] * 5 + [frozenset({"virtual"})]),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(RULES), st.lists(claims, max_size=14), claims)
def test_one_more_failure_never_makes_a_pass(rules, given_claims, more):
    failure = replace(more, outcome="fail", word="firmware", arrived=frozenset())
    if verdict(rules, run(*given_claims)) != "pass":
        assert verdict(rules, run(*given_claims, failure)) != "pass"


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("scenario", ["H1", "H2"])
def test_a_failure_is_of_no_use_after_any_number_of_passes(rules, scenario):
    good: list[Claim] = []
    for number in range(30):
        if verdict(rules, run(*good)) != "pass":
            for at in (NOW - 9000.0, NOW - 1.0):
                failure = claim("fail", at=at, scenarios=(scenario,))
                assert verdict(rules, run(*good, failure)) != "pass"
        good.append(claim(at=NOW - 3600.0 + number, scenarios=("H1",) if number % 3 else ("H2",)))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(RULES), st.lists(claims, max_size=14), claims)
def test_one_more_error_of_the_rack_never_makes_a_pass(rules, given_claims, more):
    error = replace(more, outcome="broken", word="rig", arrived=frozenset())
    if verdict(rules, run(*given_claims)) != "pass":
        assert verdict(rules, run(*given_claims, error)) != "pass"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(RULES), st.lists(claims, max_size=14), st.integers(0, 13))
def test_a_pass_that_turns_into_a_failure_never_makes_a_pass(rules, given_claims, at):
    worse = [
        replace(one, outcome="fail", word="firmware")
        if (place, one.outcome) == (at, "pass")
        else one
        for place, one in enumerate(given_claims)
    ]
    if verdict(rules, run(*given_claims)) != "pass":
        assert verdict(rules, run(*worse)) != "pass"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(RULES), st.lists(claims, max_size=12), st.randoms())
def test_the_order_in_which_runs_are_given_does_not_matter(rules, given_claims, dice):
    runs = [run(one, number=number) for number, one in enumerate(given_claims)]
    mixed = list(runs)
    dice.shuffle(mixed)
    one, other = (decide(rules, some, BINARY, NOW).decision for some in (runs, mixed))
    assert (one.verdict, one.lines) == (other.verdict, other.lines)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(RULES), st.lists(claims, max_size=14))
def test_what_passes_has_a_pass_for_each_scenario_on_a_board_of_its_kind(rules, given_claims):
    if verdict(rules, run(*given_claims)) != "pass":
        return
    kinds = [{"real"}] if rules.lines[0].rig == "real" else [{"real"}, {"virtual"}]
    for scenario in rules.lines[0].scenarios:
        assert any(
            one.outcome == "pass" and scenario in one.scenarios and set(one.kinds) in kinds
            for one in given_claims
        )
