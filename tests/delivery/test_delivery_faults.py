"""Faults are data: they print as what makes them, and nonsense is refused by name."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from fault_strategies import PLAIN, WHAT, clauses, of_kind
from fuzz_faults import check_text, mutated, said
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.fault_text import METHODS
from pytest_blynk_ota.delivery.kinds import KINDS
from pytest_blynk_ota.delivery.when import Asked, When
from pytest_blynk_ota.errors import FaultError


def test_each_kind_has_a_function_with_its_parameters():
    assert set(WHAT) == set(KINDS)
    for kind, params in KINDS.items():
        assert list(inspect.signature(getattr(faults, kind)).parameters) == list(params)


@pytest.mark.parametrize("kind", KINDS)
def test_the_function_and_the_table_have_the_same_defaults(kind):
    given = {"after": "50%", "seconds": 3, "bytes_per_s": 9, "code": 404, "path": "a.bin"}
    given |= {"name": "X-A", "value": "b", "says": "0", "how": None}
    how = {"digest": "wrong", "ranges": "ignored", "tls": "expired"}.get(kind)
    function = getattr(faults, kind)
    needed = {
        name: how if name == "how" else given[name]
        for name, one in inspect.signature(function).parameters.items()
        if one.default is inspect.Parameter.empty or (kind, name) == ("length", "says")
    }
    assert function(**needed) == faults.Fault(kind, needed)


@pytest.mark.parametrize("kind", KINDS)
def test_both_forms_of_each_kind_read_back_as_the_fault(kind):
    @given(of_kind(kind))
    def hold(fault):
        assert faults.parse(str(fault)) == fault
        assert faults.parse(repr(fault)) == fault
        assert eval(repr(fault), {"faults": faults}) == fault
        assert faults.parse(str(fault)).values == fault.values

    hold()


@given(clauses())
def test_a_fault_with_any_clauses_reads_back_from_both_forms(fault):
    assert faults.parse(str(fault)) == fault
    assert faults.parse(str(fault)).when == fault.when
    assert faults.parse(repr(fault)).when == fault.when
    assert eval(repr(fault), {"faults": faults}).when == fault.when


@given(st.lists(st.none() | PLAIN, min_size=2, max_size=4).filter(any), st.integers(0, 2**32))
def test_what_is_one_after_the_other_reads_back_from_plain_words(listed, seed):
    words = " then ".join("none" if one is None else str(one) for one in listed)
    assert faults.parse_all(words) == faults.seq(*listed)
    several = [one for one in listed if one is not None]
    words = f"random seed={seed} rate=0.5 of {' or '.join(map(str, several))}"
    assert faults.parse_all(words) == faults.random(*several, seed=seed, rate=0.5)


@given(st.text(max_size=40) | st.lists(st.sampled_from(said())).map(" ".join))
def test_any_text_is_a_fault_or_refused_as_a_fault_error(text):
    check_text(text)


@given(clauses(), st.integers(0, 2**32))
def test_a_fault_misspelt_is_another_fault_or_refused_as_a_fault_error(fault, seed):
    check_text(mutated(str(fault), seed))
    check_text(mutated(repr(fault), seed))


@pytest.mark.parametrize(("text", "fault"), [
    ("stall", faults.stall()),
    ("stall after=50% on attempt 1", faults.stall(after="50%").on_attempt(1)),
    ("stall 0 seconds=2.5", faults.stall(0, seconds=2.5)),
    ("stall headers", faults.stall(0)),
    ("stall request until login", faults.stall("request").until_event("login")),
    ("status 503 on attempts 1 and 2", faults.status(503).on_attempt(1, 2)),
    ("status 503 on first 2", faults.status(503).on_first(2)),
    ("status 503 retry_after=5 on every 3", faults.status(503, retry_after=5).on_every(3)),
    ("reset last 4096", faults.reset(-4096)),
    ("reset 3s on board c3-a, c3-b", faults.reset("3s").on_board("c3-a", "c3-b")),
    ("truncate after=last 4096 on attempt 2,1", faults.truncate("last 4096").on_attempt(1, 2)),
    ("  drip   after=99% ", faults.drip(after="99%")),
    ("bandwidth 2048", faults.bandwidth(2048)),
    ("corrupt at=-1 flips=3 seed=7", faults.corrupt(at="last 1", flips=3, seed=7)),
    ("length ten", faults.length("ten")),
    ("length off=-100", faults.length(off=-100)),
    ('page "Please log in on first 2"', faults.page("Please log in on first 2")),
    ('header X-A value="a b" once', faults.header("X-A", "a b").times(1)),
    ("ranges ignored with header Range", faults.ranges("ignored").with_header("Range")),
    ("stall 0 by chance 0.2 seed 7", faults.stall(0).by_chance(0.2, seed=7)),
    ("redirect to=other-host code=307", faults.redirect(307, "other-host")),
    ("tls wrong-name from go maybe", faults.tls("wrong-name").from_event("go").maybe()),
    ("tls wrong_name", faults.tls("wrong-name")),
    ("faults.stall('50%').on_attempt(1)", faults.stall("50%").on_attempt(1)),
    ("stall(after='50%', seconds=2)", faults.stall("50%", 2)),
])  # fmt: skip
def test_a_fault_is_written_on_the_command_line_as_one_says_it(text, fault):
    assert faults.parse(text) == fault
    assert faults.parse(text).when == fault.when


@pytest.mark.parametrize(("text", "says"), [
    ("stal after=1", "did you mean 'stall'?"),
    ("drop", "drop is a fault of the cloud: cloud_faults.drop()"),
    ("stall aftr=1", "did you mean 'after'?"),
    ("", "names no fault"),
    ("explode", "unknown fault 'explode'"),
    ("truncate", "truncate: after is missing"),
    ("truncate after=", "truncate: after: ''"),
    ("stall after=half", "'half'"),
    ("stall after=reqest", "did you mean 'request'?"),
    ("STALL 0", "did you mean 'stall'?"),
    ("then stall 50%", "'then' stands between two faults, as 'status 503 then stall 0'"),
    ("status 503 then", "'then' stands between two faults"),
    ('other path=""', "other: path: '': expected the path of a file, as build/other.bin"),
    ("stall after=101%", "more than the whole file"),
    ("half_close after=request", "'request' is no offset"),
    ("corrupt at=3s", "'3s' is no offset"),
    ("reset after=last 0", 'write "100%"'),
    ("stall after=1 after=2", "stands twice"),
    ("stall 1 2", "no name=value"),
    ("stall seconds=0", "above 0"),
    ("bandwidth nan", "nan"),
    ("bandwidth 100 jitter=1.5", "from 0 to 1"),
    ("drip bytes_per_s=inf", "above 0"),
    ("status 99", "expected 200 to 599"),
    ("status 503 body=pages", "did you mean 'page'?"),
    ("redirect 304", "write status 304"),
    ("redirect to=elsewhere", "expected a URL"),
    ("early 101", "switches protocols"),
    ("length", "expected either says= or off="),
    ("length 0 off=1", "expected either says= or off="),
    ("length off=0", "off: '0'"),
    ("digest wrng", "did you mean 'wrong'?"),
    ("digest wrong header=ETag", "expected X-SHA256 or x-MD5"),
    ("pad_headers 8192 count=100000", "too many"),
    ("pad 1e9", "whole number"),
    ("pad 99999999", "expected 1 to 16777216"),
    ('header "X A" value=b', "expected the name of a header"),
    ("header X-A", "value is missing"),
    ("tls expird", "did you mean 'expired'?"),
    ("corrupt flips=0", "expected 1 to 4096"),
    ("stall on attempt 0", "the first attempt is 1"),
    ("stall on first 0", "expected 1 to 1000000"),
    ("stall on attempt 1 on first 2", "exclude each other"),
    ("stall on attempt 1 on attempt 2", "stands there twice"),
    ("stall from boot", "'boot' is no event"),
    ("stall from login until login", "is never"),
    ("stall by chance 2", "from 0 to 1"),
    ("stall by chance 0.5 seed 1 pick 3 of 2", "expected 1 to 2"),
    ("status 503 after=1", "status has no parameter 'after'"),
    ("status 503 then stall 50%", "are 2 faults"),
    ("random seed=7", "faults; expected one"),
    ("faults.stal(1)", "did you mean 'stall'?"),
    ("faults.stall(1).on_atempt(1)", "did you mean 'on_attempt'?"),
    ("faults.stall(", "no fault in Python"),
    (f"faults.stall(0){'.maybe()' * 700}", "too deep for a fault in Python"),
    ("faults.stall(x)", "'x'"),
    ("faults.stall(__import__('os'))", "'__import__'"),
    ("faults.stall(after=1, when=2)", "unexpected keyword"),
    ("stall(1)[0]", "expected a call"),
])  # fmt: skip
def test_nonsense_is_refused_with_the_word_that_is_wrong(text, says):
    with pytest.raises(FaultError) as caught:
        faults.parse(text)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", [
    "random rate=0.5", "random seed=x", "random seed=1 rate=2", "random seed=1 of",
    "status 503 then", "then stall", "none", "none then none", "random seed=1 of stall or",
])  # fmt: skip
def test_several_faults_with_nonsense_are_refused(text):
    with pytest.raises(FaultError):
        faults.parse_all(text)


@pytest.mark.parametrize("make", [
    lambda: faults.stall(after=True),
    lambda: faults.stall(after=1.5),
    lambda: faults.stall(seconds=-1),
    lambda: faults.bandwidth(None),
    lambda: faults.status("teapot"),
    lambda: faults.stall().on_attempt(),
    lambda: faults.stall().on_attempt(0),
    lambda: faults.stall().on_attempt("1"),
    lambda: faults.stall().on_first(True),
    lambda: faults.stall().on_board(),
    lambda: faults.stall().on_board("c3 a"),
    lambda: faults.stall().with_header("X A"),
    lambda: faults.stall().with_header("Range", "a b"),
    lambda: faults.stall().from_event(None),
    lambda: faults.stall().by_chance(1.5),
    lambda: faults.header("X-A", "b\r\nX-B: c"),
    lambda: faults.page("ü"),
    lambda: faults.seq(),
    lambda: faults.seq(None),
    lambda: faults.seq(faults.seq(faults.stall())),
    lambda: faults.random("stall", seed=1),
    lambda: faults.random(seed=-1),
    lambda: faults.random(seed=1, rate="often"),
    lambda: faults.Fault("stall", {"code": 404}),
    lambda: faults.Fault("fire"),
])  # fmt: skip
def test_the_python_form_refuses_the_same(make):
    with pytest.raises(FaultError):
        make()


def test_two_ways_to_say_one_fault_are_equal():
    assert faults.stall("50.0%") == faults.stall(" 50 %")
    assert faults.stall("3.0s") == faults.stall("3 s")
    assert faults.stall("headers") == faults.stall(0)
    assert faults.reset("last 10") == faults.reset(-10)
    assert faults.drip(2.0) == faults.drip(2)
    assert faults.status(503).on_attempt(2, 1, 2) == faults.status(503).on_attempt(1, 2)
    assert len({faults.stall(0), faults.stall("0"), faults.stall("headers")}) == 1


@pytest.mark.parametrize(("fault", "due"), [
    (faults.stall(), [1, 2, 3, 4, 5, 6, 7]),
    (faults.stall().on_attempt(1, 3), [1, 3]),
    (faults.stall().on_first(2), [1, 2]),
    (faults.stall().on_every(3), [3, 6]),
    (faults.stall().by_chance(0), []),
    (faults.stall().by_chance(1), [1, 2, 3, 4, 5, 6, 7]),
], ids=str)  # fmt: skip
def test_a_fault_is_due_in_the_attempts_it_names_or_in_all(fault, due):
    assert [number for number in range(1, 8) if fault.due(number)] == due


def test_a_fault_asks_for_board_header_event_and_count():
    asked = Asked(1, "c3-a", {"range": "bytes=5-"}, frozenset({"login"}))
    for clause, holds in [
        (faults.stall().on_board("c3-a"), True),
        (faults.stall().on_board("c3-b"), False),
        (faults.stall().with_header("Range"), True),
        (faults.stall().with_header("RANGE", "bytes=5-"), True),
        (faults.stall().with_header("Range", "bytes=6-"), False),
        (faults.stall().with_header("If-Range"), False),
        (faults.stall().from_event("login"), True),
        (faults.stall().from_event("reset"), False),
        (faults.stall().until_event("login"), False),
        (faults.stall().until_event("reset"), True),
    ]:
        assert clause.due(asked) is holds, clause
    assert faults.stall().times(2).due(asked, fired=1)
    assert not faults.stall().times(2).due(asked, fired=2)


def test_the_faults_of_a_sequence_are_due_one_after_the_other():
    listed = faults.seq(faults.status(503), None, faults.reset(0))
    assert [[one.kind for one in listed if one.due(n)] for n in (1, 2, 3, 4)] == [
        ["status"], [], ["reset"], [],
    ]  # fmt: skip
    assert faults.parse_all("seq(status(503), None, reset(0))") == listed


def test_of_random_faults_each_attempt_has_one_or_none_and_the_seed_says_which():
    listed = faults.random(seed=7, rate=0.5)
    drawn = [[one.kind for one in listed if one.due(n)] for n in range(1, 201)]
    assert max(map(len, drawn)) == 1
    assert 70 < sum(map(len, drawn)) < 130
    assert {kind for one in drawn for kind in one} == {one.kind for one in faults.ANY}
    again = faults.random(seed=7, rate=0.5)
    assert drawn == [[one.kind for one in again if one.due(n)] for n in range(1, 201)]
    other = faults.random(seed=8, rate=0.5)
    assert drawn != [[one.kind for one in other if one.due(n)] for n in range(1, 201)]


def _rows(heading):
    page = Path(__file__).parents[2] / "docs/reference/faults.md"
    part = re.findall(rf"^## {heading}.*?(?=^## |\Z)", page.read_text("utf-8"), re.M | re.S)
    return re.findall(r"^\| `([.\w]+\([^`]*\))` \| (`.+?`) \|", "".join(part), re.M)


def test_the_reference_has_each_kind_and_its_two_forms_are_the_same_faults():
    rows = _rows("What")
    assert {python.split("(")[0] for python, _ in rows} == {f"faults.{kind}" for kind in KINDS}
    for python, text in rows:
        assert eval(python, {"faults": faults}) == faults.parse(text.strip("`")), text
        assert faults.parse(python) == faults.parse(text.strip("`"))


def test_the_reference_has_each_clause_and_its_two_forms_are_the_same():
    rows = _rows("When")
    assert {python[1:].split("(")[0] for python, _ in rows} == set(METHODS)
    for python, texts in rows:
        for text in re.findall("`([^`]+)`", texts):
            assert faults.parse(f"stall(){python}") == faults.parse(f"stall {text}"), text


def test_only_a_fault_that_asks_for_nothing_else_is_sure():
    assert faults.stall().on_attempt(1).on_board("c3-a").when.is_sure
    assert not faults.stall().with_header("Range").when.is_sure
    assert not faults.stall().from_event("login").when.is_sure
    assert not faults.stall().times(1).when.is_sure
    assert not faults.stall().by_chance(0.5).when.is_sure
    assert not faults.stall().maybe().when.is_sure


@pytest.mark.parametrize(("text", "says"), [
    ("stall 50% on atempt 1", "'on atempt 1' in 'stall 50% on atempt 1' is no clause; known are"),
    ("stall 50% on attempt", "'on attempt' in 'stall 50% on attempt' is no clause"),
    ("stall times -1", "'times -1' in 'stall times -1' is no clause"),
    ("stall 50% times 0", "'times 0' in 'stall 50% times 0': 0 is out of range"),
    ("stall 50% by chance 1.5", "'by chance 1.5' in 'stall 50% by chance 1.5': '1.5': expected"),
    ("stall until noon", "'until noon' in 'stall until noon': 'noon' is no event"),
])  # fmt: skip
def test_a_clause_that_is_wrong_is_named_with_what_is_known(text, says):
    with pytest.raises(FaultError) as refused:
        faults.parse(text)
    assert str(refused.value).startswith(says)


@pytest.mark.parametrize("text", [
    'page text="on the way from here"', "header on value=x", "drop_header from", "length by",
    "drop_header then",
])  # fmt: skip
def test_a_value_may_be_a_word_that_begins_a_clause(text):
    assert faults.parse(text).when == When()


@pytest.mark.parametrize("what", [5, None, faults.stall(0)])
def test_what_is_no_text_is_refused_by_parse(what):
    with pytest.raises(FaultError, match="is no text; expected a fault as"):
        faults.parse(what)


def test_parse_names_its_sister_that_reads_several():
    with pytest.raises(FaultError, match=r"parse_all\(\) reads several"):
        faults.parse("status 503 then stall 0")


def test_python_that_is_none_is_told_with_an_example():
    with pytest.raises(FaultError) as refused:
        faults.parse("faults.stall(after=50%)")
    assert str(refused.value) == (
        "'faults.stall(after=50%)' is no fault in Python: invalid syntax; "
        'expected one as faults.stall(after="50%")'
    )


def test_an_offset_that_is_none_lists_what_is_one():
    with pytest.raises(FaultError, match=r'"3s", "last 4096", "request" or "status"$'):
        faults.stall("5s5")
