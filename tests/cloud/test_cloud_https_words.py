"""What the HTTPS device API is asked: pins, values, and what is neither."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.cloud import https_words as words
from pytest_blynk_ota.cloud.https_words import Refusal

texts = st.text(st.characters(codec="utf-8"), max_size=20)
pins = st.integers(0, words.MAX_PIN)


@given(pins, st.sampled_from("vV"))
def test_a_virtual_pin_is_known_by_its_number(pin, letter):
    assert words.pin_of(f"{letter}{pin}") == str(pin)
    assert words.name_of(words.pin_of(f"{letter}{pin}")) == f"v{pin}"


@pytest.mark.parametrize("name", ["", "v", "v01", "v-1", "v256", "d5", "5", "v5 ", "v5\n", "v٣"])
def test_another_pin_is_refused(name):
    with pytest.raises(Refusal, match=words.WRONG_PIN):
        words.pin_of(name)


@given(st.dictionaries(pins, texts.filter(lambda one: "\0" not in one), min_size=1, max_size=5))
def test_an_update_sets_what_its_query_says(values):
    query = [("token", "x"), *((f"v{pin}", value) for pin, value in values.items())]
    assert words.updates(query) == {str(pin): (value,) for pin, value in values.items()}


def test_a_datastream_can_be_set_to_several_values():
    several = {"1": ("30.5", "50.4")}
    query = [("token", "x"), ("pin", "V1"), ("value", "30.5"), ("value", "50.4")]
    assert words.updates(query) == several
    assert words.updates([("v1", "30.5"), ("v1", "50.4")]) == several


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ([], words.WRONG_PIN),
        ([("value", "5")], words.WRONG_PIN),
        ([("pin", "V1")], words.WRONG_VALUE),
        ([("v1", "a\0b")], words.WRONG_VALUE),
        ([("dataStreamId", "1"), ("value", "5")], words.NO_DATASTREAM),
    ],
)
def test_an_update_of_nothing_is_refused(query, why):
    with pytest.raises(Refusal, match=why):
        words.updates([("token", "x"), *query])


names = st.one_of(texts, st.sampled_from(["value", "pin", "templateId"]), pins.map("v{}".format))


@given(st.lists(st.tuples(names, texts), max_size=6))
def test_any_query_is_read_or_refused(query):
    for read in (words.updates, words.wanted, words.provisioned):
        with suppress(Refusal):
            json.dumps(read(query))


def test_of_a_repeated_parameter_the_first_counts():
    query = [("templateId", "TMPL1"), ("ver", "1"), ("ver", "2")]
    assert words.provisioned(query) == {"tmpl": "TMPL1", "mcu": "1"}
    assert words.first(query, "ver") == "1"


@given(st.lists(texts, min_size=1, max_size=3).map(tuple))
def test_any_value_has_a_form_in_json(values):
    shown = words.shown(values)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (("5",), 5), (("-1.50",), -1.5), (("007",), "007"), (("1e9",), "1e9"), (("",), ""),
        (("12.0", "11"), [12.0, 11]), (("9" * 400,), "9" * 400), (("nan",), "nan"),
    ],
)  # fmt: skip
def test_what_looks_like_a_number_is_one(values, shown):
    assert words.shown(values) == shown


def test_a_value_that_the_device_cannot_receive_is_refused():
    words.fits("7", ("x" * (256 - 5 - 5),), 256)
    with pytest.raises(Refusal, match=r"v7 would be a message of 257 bytes, .* at most 256"):
        words.fits("7", ("x" * (257 - 5 - 5),), 256)
