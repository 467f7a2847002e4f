"""The behaviour segment: what is refused, and that it says the same after a round trip."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.behaviour import MAGIC, Behaviour, Crash, SelfTest, parse

SECONDS = st.floats(0, 1e6, allow_nan=False)
BEHAVIOURS = st.builds(
    Behaviour,
    log=st.sampled_from(["quiet", "info"]),
    version=st.text(max_size=20),
    reports=st.sampled_from(["own", "nothing", {"version": "9.9"}, {"build": "b"}]),
    confirm=st.sampled_from(["init", "login", "never"]),
    self_test=st.none() | st.builds(SelfTest, SECONDS, st.booleans()),
    crash=st.none()
    | st.builds(
        Crash,
        st.sampled_from(["start", "before_login", "after_report", "after_s"]),
        SECONDS,
        st.none() | st.integers(1, 9),
        st.sampled_from(["panic", "abort"]),
    ),
    finds_cloud=st.booleans(),
    stall_s=SECONDS,
)


@given(BEHAVIOURS)
def test_a_behaviour_survives_its_segment(behaviour):
    segment = behaviour.to_segment()
    assert len(segment) % 4 == 0
    assert parse(segment + bytes(100)) == behaviour


def test_defaults_are_the_stock_firmware():
    behaviour = Behaviour.from_data({})
    assert behaviour == Behaviour()
    assert (behaviour.confirm, behaviour.reports, behaviour.stall_s) == ("init", "own", 30.0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"confrim": "login"}, "unknown key 'confrim'.*did you mean 'confirm'"),
        ({"confirm": "later"}, "confirm: expected 'init' or 'login'.*not 'later'"),
        ({"stall_s": -1}, "stall_s: expected a number of seconds"),
        ({"stall_s": True}, "stall_s"),
        ({"log": ["info"]}, "log: expected"),
        ({"finds_cloud": "no"}, "finds_cloud: expected true or false"),
        ({"reports": {"versoin": "1"}}, "reports"),
        ({"reports": {}}, "reports"),
        ({"reports": {"version": "1\0002"}}, "reports: .* without NUL"),
        ({"reports": {"build": "\ud800"}}, "reports: .* half characters"),
        ({"crash": {"wen": "start"}}, "crash: unknown key 'wen'.*did you mean 'when'"),
        ({"crash": {"times": 0}}, "crash: times"),
        ({"crash": "start"}, "crash: expected a table"),
        ({"self_test": {"after_s": "5"}}, "self_test: after_s"),
        ({"confirm": "self_test"}, "needs a self_test table"),
    ],
)
def test_a_mistake_is_named_with_its_key(data, words):
    with pytest.raises(FirmwareError, match=words):
        Behaviour.from_data(data)


@pytest.mark.parametrize(
    "segment",
    [
        b"",
        MAGIC,
        MAGIC + b"\x10\0\0\0{}",
        MAGIC + b"\x02\0\0\0[]",
        MAGIC + b"\x02\0\0\0{{",
        MAGIC + b"\x02\0\0\0\xff\xfe",
    ],
)
def test_a_segment_that_cannot_be_read_is_refused(segment):
    with pytest.raises(FirmwareError, match="behaviour segment"):
        parse(segment)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data):
    with suppress(FirmwareError):
        parse(MAGIC + data)
