"""A line of the history: what is written is read back, and what is none is named by its field."""

import json

import pytest
from history_runs import result_line, run_line
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.history.line import (
    MAX_TEXT_CHARS,
    RUN,
    TEST,
    Flaw,
    ResultLine,
    RunLine,
    parse,
    parse_all,
)

WRONG = [
    ("schema", 2, "the number 1"),
    ("schema", True, "the number 1"),
    ("run", "", "text of 1 to 4000 characters"),
    ("run", None, "text of 1 to 4000 characters"),
    ("test", "x" * (MAX_TEXT_CHARS + 1), "text of 1 to 4000 characters"),
    ("rig", 1, "text of 1 to 4000 characters"),
    ("board", None, "text"),
    ("attempt", 0, "a number, 1 to 1000000"),
    ("attempt", 1.0, "a number, 1 to 1000000"),
    ("at", "yesterday", "an ISO 8601 time with its zone"),
    ("at", "2026-11-20T02:00:00", "an ISO 8601 time with its zone"),
    ("at", "1969-12-31T23:59:59+00:00", "an ISO 8601 time with its zone, from 1970 on"),
    ("at", "0001-01-01T00:00:00+23:59", "an ISO 8601 time with its zone, from 1970 on"),
    ("at", "9999-12-31T23:59:59.999999+00:00", "an ISO 8601 time with its zone, from 1970 on"),
    ("word", "green", "one of firmware, rig"),
    ("seconds", -1, "a number from 0 on"),
    ("seconds", float("nan"), "a number from 0 on"),
    ("seconds", float("inf"), "a number from 0 on"),
    ("seconds", True, "a number from 0 on"),
    ("old", "1e" * 31, "a SHA-256 in hex, or null"),
    ("new", "1E" * 32, "a SHA-256 in hex, or null"),
    ("worker", "", "text of 1 to 4000 characters, or null"),
    ("message", [], "text of 1 to 4000 characters, or null"),
    ("scenarios", "D22a", "a list of ids"),
    ("scenarios", [1], "a list of ids"),
]
WRONG_RUN = [
    ("rig_kind", None, "text"),
    ("started", "now", "an ISO 8601 time with its zone"),
    ("finished", "2026-11-20", "an ISO 8601 time with its zone, from 1970 on, or null"),
    ("complete", 1, "true or false"),
    ("result", "green", "one of ok, incomplete, rig, firmware"),
    ("tests", -1, "a whole number from 0 on"),
    ("images", {"x": "1.0.0"}, "an object: by SHA-256 a version or null"),
    ("images", {"1e" * 32: 1}, "an object: by SHA-256 a version or null"),
    ("tool", 1, "text of 1 to 4000 characters, or null"),
]


def test_a_line_comes_back_as_it_was():
    for line in (
        run_line(),
        run_line(finished=None, tool=None, images={}),
        result_line(),
        result_line(board="", old=None, worker="gw1", message="é \u2028 \x00", scenarios=["D1"]),
    ):
        assert parse(line.to_json().encode()) == line
        assert "\n" not in line.to_json()


@pytest.mark.parametrize(
    ("line", "name", "value", "expected"),
    [(result_line(), *row) for row in WRONG] + [(run_line(), *row) for row in WRONG_RUN],
)
def test_a_wrong_field_is_named_with_what_was_expected(line, name, value, expected):
    row = json.loads(line.to_json()) | {name: value}
    with pytest.raises(ValueError, match=f"^{name}: expected ") as caught:
        parse(json.dumps(row).encode())
    assert expected in str(caught.value)


@pytest.mark.parametrize("line", [result_line(), run_line()])
def test_a_missing_field_is_named(line):
    for name in json.loads(line.to_json()):
        row = json.loads(line.to_json())
        del row[name]
        with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
            parse(json.dumps(row).encode())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "is no JSON"),
        (b"[]", "expected an object, got []"),
        (b'{"kind": []}', "kind: expected run or test, got []"),
        (b"\xff", "byte 0xff is no UTF-8"),
        (b"[" * 100_000, "is no JSON: too deep"),
        (b"1" * 5000, "is no JSON"),
        (result_line().to_json().encode() + b"{}", "is no JSON: Extra data"),
    ],
)
def test_what_is_no_line_is_told(text, said):
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert said in str(caught.value)


def test_keys_of_a_later_version_are_passed_over():
    row = json.loads(result_line().to_json()) | {"weather": "rain"}
    assert parse(json.dumps(row).encode()) == result_line()


def test_half_a_pair_of_utf_16_becomes_its_escape():
    """SQLite takes no such text, and evidence may hold it."""
    line = result_line(message="\ud800 and \udcff")
    assert parse(line.to_json().encode()).message == "\\ud800 and \\udcff"
    row = json.loads(result_line().to_json()) | {"message": "\ud800"}
    assert parse(json.dumps(row).encode()).message == "\\ud800"


def test_the_lines_of_a_file_are_numbered_and_its_flaws_named():
    data = b"\n" + result_line().to_json().encode() + b"\n{\n \n" + run_line().to_json().encode()
    found = list(parse_all(data))
    assert [number for number, _ in found] == [2, 3, 5]
    assert isinstance(found[1][1], Flaw)
    assert (found[0][1], found[2][1]) == (result_line(), run_line())


def test_a_file_that_was_cut_says_so_of_its_last_line():
    data = f"{run_line().to_json()}\n{result_line().to_json()}\n".encode()
    for end in range(len(run_line().to_json()) + 2, len(data) - 2):
        *_, (number, last) = parse_all(data[:end])
        assert number == 2
        assert last.text.startswith("it ends in half a line (")


@given(st.binary())
def test_no_bytes_make_the_reader_fail(data):
    for _, one in parse_all(data):
        assert isinstance(one, Flaw | RunLine | ResultLine)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [field.name for kind in (TEST, RUN) for field in kind.fields]


@given(st.sampled_from([result_line(), run_line()]), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_value_of_a_field_is_taken_as_it_is_or_named(line, values):
    row = json.loads(line.to_json()) | values
    ((_, one),) = parse_all(json.dumps(row).encode())
    if isinstance(one, Flaw):
        assert one.text.removeprefix("it ends in half a line (").split(":")[0] in values
    else:
        assert parse(one.to_json().encode()) == one
