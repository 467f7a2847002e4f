"""A policy is read as a whole: each mistake is said with its key and what would do."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.errors import ConfigError
from pytest_blynk_ota.gate.judging import needs
from pytest_blynk_ota.gate.policy import read_policy
from pytest_blynk_ota.gate.policy_file import FINDINGS
from pytest_blynk_ota.gate.properties import PROPERTIES
from pytest_blynk_ota.marks import FINDINGS as MARKED

ROOT = Path(__file__).parents[2]
HEAD = '[policy]\nname = "x"\nmax_age = "7d"\n'
LINE = '[[line]]\nname = "a"\nscenarios = ["H1"]\nchips = ["esp32c3"]\n'
RATE = 'max_failure_rate = "1%"\nconfidence = "95%"\n'
WAIVER = '[[waiver]]\nline = "a"\nscenario = "H1"\nreason = "r"\nowner = "o"\nuntil = 2026-12-24\n'


def read(text):
    return read_policy(text.encode(), "policy.toml")


def problems(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.problems


WRONG = {
    "no TOML": ("[policy", "is no TOML"),
    "no UTF-8": ("\udce9", "is no TOML"),
    "nothing": ("", "policy: is missing"),
    "no line": (HEAD, "line: is missing"),
    "an empty list of lines": (
        HEAD.replace("[policy]", "line = []\n[policy]"),
        "line: expected at",
    ),
    "no age": ('[policy]\nname = "x"\n' + LINE, "policy.max_age: is missing"),
    "a bare number as age": (HEAD.replace('"7d"', "7") + LINE, 'expected an age as "36h", "7d"'),
    "an age of nothing": (HEAD.replace("7d", "0d") + LINE, "policy.max_age: expected an age"),
    "a key of the head": (HEAD + "rig_eror = '1%'\n" + LINE, "did you mean 'rig_errors'?"),
    "a key of a line": (
        HEAD + LINE + "chip = 'esp32'\n",
        "line[0].chip: unknown key; did you mean",
    ),
    "a table": (HEAD + LINE + "[[waivers]]\n", "waivers: unknown key; did you mean 'waiver'?"),
    "a chip": (HEAD + LINE.replace("esp32c3", "esp32c33"), "did you mean 'esp32c3'?"),
    "no chips": (HEAD + LINE.replace('["esp32c3"]', "[]"), "line[0].chips: expected at least one"),
    "a chip twice": (
        HEAD + LINE.replace('["esp32c3"]', '["esp32", "esp32"]'),
        "line[0].chips: 'esp32' stands there twice",
    ),
    "a scenario": (HEAD + LINE.replace("H1", "h1"), "expected a scenario's id as D22 or D22a"),
    "a family": (HEAD + LINE.replace("H1", "D"), "'D' is a family"),
    "a scenario twice": (
        HEAD + LINE.replace('["H1"]', '["H1", "H1"]'),
        "line[0].scenarios: 'H1' stands there twice",
    ),
    "a property": (
        HEAD + LINE.replace('scenarios = ["H1"]', 'property = "UPGRAD"'),
        "unknown property 'UPGRAD'; did you mean 'UPGRADE'?",
    ),
    "property and scenarios": (HEAD + LINE + 'property = "UPGRADE"\n', "one of the two"),
    "neither of them": (HEAD + LINE.replace('scenarios = ["H1"]\n', ""), "one of the two"),
    "a kind of rig": (HEAD + LINE + 'rig = "reel"\n', "did you mean 'real'?"),
    "a part": (HEAD + LINE + 'tested_as = "older"\n', "expected a part (old, new, either)"),
    "no runs": (HEAD + LINE + "runs = 0\n", "line[0].runs: expected greater than or equal to 1"),
    "runs as text": (HEAD + LINE + 'runs = "3"\n', "line[0].runs: expected a valid integer"),
    "a truth as a number": (HEAD + LINE + "pool = 1\n", "line[0].pool: expected a valid boolean"),
    "a name twice": (HEAD + LINE + LINE, "line[1].name: there is a line 'a' already"),
    "a rate as a number": (HEAD + LINE + "max_failure_rate = 0.01\n", "expected a percentage"),
    "a rate in digits of another script": (
        HEAD + LINE + RATE.replace('"1%"', '"\u0665%"'),
        "expected a percentage",
    ),
    "a rate alone": (HEAD + LINE + 'max_failure_rate = "1%"\n', "come together"),
    "a confidence alone": (HEAD + LINE + 'confidence = "95%"\n', "come together"),
    "a rate of nothing": (
        HEAD + LINE + RATE.replace('"1%"', '"0%"'),
        "line[0].max_failure_rate: 0% can be shown by no number of runs",
    ),
    "certainty": (HEAD + LINE + RATE.replace("95%", "100%"), "100% can be shown by no number"),
    "a coin": (HEAD + LINE + RATE.replace("95%", "10%"), 'expected "50%" or more'),
    "three runs for a rate": (
        HEAD + LINE + RATE + "runs = 3\n",
        "line[0].runs: 3 runs cannot show a failure rate of at most 1% with 95% confidence: 299 "
        "are needed with no failure among them, 473 with 1 failure",
    ),
    "a pool that is too small": (
        HEAD + LINE.replace('["H1"]', '["H1", "H2"]') + RATE + "pool = true\nruns = 149\n",
        "298 runs cannot show",
    ),
    "a rate for centuries": (
        HEAD + LINE + RATE.replace('"1%"', '"0.00001%"'),
        "takes more than 10000000 runs",
    ),
    "more failures than runs": (HEAD + LINE + "failures_allowed = 1\n", "nothing has to pass"),
    "sequential without a rate": (
        HEAD + LINE + 'sequential = { good_rate = "0.1%" }\n',
        "line[0].sequential: needs max_failure_rate",
    ),
    "good as bad": (
        HEAD + LINE + RATE + 'sequential = { good_rate = "1%" }\n',
        "good_rate: expected more than 0 and less than max_failure_rate (1%), got 1%",
    ),
    "a walk without end": (
        HEAD + LINE + RATE + 'sequential = { good_rate = "0.99%" }\n',
        "too many to be worked out",
    ),
    "a false fail by default": (
        HEAD + LINE + RATE + 'sequential = { good_rate = "0.1%", false_fail = "60%" }\n',
        "less than 50%",
    ),
    "a derivation": (HEAD + 'derived = ["verson"]\n' + LINE, "did you mean 'version'?"),
    "a finding": (HEAD + LINE + '[findings]\n"hangs" = "fail"\n', "did you mean 'hang'?"),
    "what a finding does": (HEAD + LINE + '[findings]\nhang = "stop"\n', "(fail, warn, ignore)"),
    "a waiver without a date": (
        HEAD + LINE + WAIVER.replace("until = 2026-12-24\n", ""),
        "waiver[0].until: is missing",
    ),
    "a waiver with a time": (
        HEAD + LINE + WAIVER.replace("2026-12-24", "2026-12-24T10:00:00Z"),
        "expected a date as 2026-12-24",
    ),
    "a waiver dated in text": (
        HEAD + LINE + WAIVER.replace("2026-12-24", '"2026-12-24"'),
        "without quotes",
    ),
    "a waiver of nobody": (HEAD + LINE + WAIVER.replace('"o"', '" "'), "owner: expected words"),
    "a waiver without a reason": (
        HEAD + LINE + WAIVER.replace('"r"', '""'),
        "reason: expected words",
    ),
    "a waiver of no line": (
        HEAD + LINE + WAIVER.replace('line = "a"', 'line = "b"'),
        "waiver[0].line: no line 'b'",
    ),
    "a waiver of another scenario": (
        HEAD + LINE + WAIVER.replace("H1", "H2"),
        "waiver[0].scenario: line 'a' does not ask for H2; it asks for H1",
    ),
    "a waiver on another chip": (
        HEAD + LINE + WAIVER + 'chips = ["esp32s3"]\n',
        "waiver[0].chips: line 'a' does not ask for esp32s3",
    ),
    "a waiver on no chip": (HEAD + LINE + WAIVER + "chips = []\n", "waiver[0].chips: expected at"),
    "a property of no shape": (HEAD + LINE + '[properties]\nmine = ["H1"]\n', "STALL_RECOVERY"),
    "a comparison": (
        HEAD + LINE + "[last_release]\nworse = 'ignore'\n",
        "expected a word (fail, warn)",
    ),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_said_with_its_key_and_what_would_do(text, said):
    with pytest.raises(ConfigError) as caught:
        read_policy(text.encode("utf-8", "surrogateescape"), "policy.toml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("policy.toml: ")


def test_a_rate_that_is_none_is_one_mistake_and_not_two():
    text = HEAD + LINE + RATE.replace('"1%"', "0.01") + "failures_allowed = 1\n"
    with pytest.raises(ConfigError) as caught:
        read_policy(text.encode(), "policy.toml")
    assert "policy.toml: 1 problem\n" in str(caught.value)


def test_what_is_less_than_certain_is_not_called_certain():
    rule = HEAD + LINE + RATE.replace("95%", "99.99999%")
    (line,) = read_policy(rule.encode(), "policy.toml").lines
    assert "with 99.99999% confidence" in needs(line)


def test_all_mistakes_are_said_at_once():
    text = HEAD + "rig_eror = '1%'\n" + LINE.replace("esp32c3", "esp33") + RATE + "runs = 3\n"
    text += WAIVER.replace('"o"', '""')
    told = "\n".join(problems(text))
    assert all(one in told for one in ("rig_eror", "esp33", "299 are needed", "owner"))


def test_what_a_line_takes_is_said_in_advance():
    policy = read(HEAD + LINE + RATE)
    assert policy.lines[0].demand.runs == 299
    assert needs(policy.lines[0]).startswith(
        "at most 1% with 95% confidence: 299 runs of H1 with no"
    )


def test_a_line_that_stops_early_says_after_how_many_runs():
    policy = read(HEAD + LINE + RATE + 'sequential = { good_rate = "0.1%" }\n')
    assert re.search(
        r"passes after 3\d\d with none, 5\d\d with 1 failure failing", needs(policy.lines[0])
    )


def test_a_property_of_the_file_goes_before_ours():
    own = '[properties]\nUPGRADE = ["H1", "X3"]\n'
    policy = read(HEAD + LINE.replace('scenarios = ["H1"]', 'property = "UPGRADE"') + own)
    assert policy.lines[0].scenarios == ("H1", "X3")


def test_a_waiver_holds_through_its_last_day():
    waiver = read(HEAD + LINE + WAIVER).waivers[0]
    midnight = 1798156800.0  # 2026-12-25 00:00 UTC
    assert not waiver.expired(midnight - 1)
    assert waiver.expired(midnight)


def test_a_waiver_for_ever_is_no_error():
    assert (
        not read(HEAD + LINE + WAIVER.replace("2026-12-24", "9999-12-31")).waivers[0].expired(0.0)
    )


def test_the_sample_policy_is_one():
    policy = read_policy((ROOT / "policies" / "release.toml").read_bytes(), "release.toml")
    assert policy.lines[0].demand.runs == 59


def test_what_the_sample_policy_leaves_out_by_a_sign_is_right_too():
    text = (ROOT / "policies" / "release.toml").read_text()
    off = re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE)
    policy = read(off.replace('name = "updates"', 'name = "updates 2"', 1))
    assert len(policy.waivers) == 1
    assert policy.lines[1].demand.walk is not None


def test_each_property_is_of_scenarios_that_have_a_test():
    listed = tomllib.loads((ROOT / "hil_tests" / "catalogue.toml").read_text())["scenario"]
    for name, scenarios in PROPERTIES.items():
        for one in scenarios:
            whole = listed.get(one) or listed[one.rstrip("abcdefgh")]
            assert "not_here" not in whole, f"{name}: {one}"


def test_the_findings_are_those_of_the_judge():
    assert FINDINGS == MARKED


values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 400), st.floats(), st.text(max_size=8),
        st.sampled_from(["1%", "95%", "100%", "7d", "H1", "D", "esp32", "real", "UPGRADE", "fail"]),
        st.dates(),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
KEYS = (
    "policy", "line", "waiver", "properties", "findings", "last_release", "name", "max_age", "runs",
    "scenarios", "chips", "property", "rig", "max_failure_rate", "confidence", "sequential", "pool",
    "failures_allowed", "reason", "owner", "until", "scenario",
)  # fmt: skip


def written(value):
    """A value as TOML, inline; None and NaN as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{quoted(key)} = {written(one)}" for key, one in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, int):
        return str(value)
    return str(value) if hasattr(value, "year") else quoted(str(value))


def quoted(text):
    return (
        '"'
        + "".join(
            letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08x}"
            for letter in text.encode("utf-8", "replace").decode()
        )
        + '"'
    )


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(KEYS), values, max_size=3),
    st.dictionaries(st.sampled_from(KEYS), values, max_size=5),
    st.dictionaries(st.sampled_from(KEYS), values, max_size=4),
)
def test_whatever_stands_in_a_policy_it_is_read_or_refused_with_its_keys(head, line, waiver):
    tables = {
        "policy": {"name": "x", "max_age": "7d"} | head,
        "line": [{"name": "a", "scenarios": ["H1"], "chips": ["esp32"]} | line],
        "waiver": [{"line": "a", "scenario": "H1", "reason": "r", "owner": "o"} | waiver],
    }
    text = "\n".join(f"{key} = {written(value)}" for key, value in tables.items())
    try:
        policy = read(text)
    except ConfigError:
        return
    assert policy.lines[0].demand.runs >= 1
    assert policy.lines[0].demand.allowed < policy.lines[0].demand.runs


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_policy_are_refused(data):
    with pytest.raises(ConfigError):
        read_policy(data, "policy.toml")
