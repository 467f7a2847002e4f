"""The blnkinf tag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.tag import Tag, find, restamp

REAL = b"blnkinf\0mcu\x001.2.9\0fw-type\0TMPL1\0build\0Nov 23 2026 17:29:49\0blynk\x001.3.2\0\0"
TEXTS = st.text("abcXYZ019 .,:()-_", min_size=1, max_size=12)


def test_a_tag_is_read_where_it_stands():
    tag = find(b"code" * 5 + REAL + b"more")
    assert tag is not None
    assert (tag.version, tag.build, tag.fw_type) == ("1.2.9", "Nov 23 2026 17:29:49", "TMPL1")
    assert (tag.offset, tag.size) == (20, len(REAL))


def test_a_word_that_is_no_tag_is_passed_over():
    tag = find(b"blnkinf\0\0" + b"blnkinf\0mcu\0" + REAL)
    assert tag is not None
    assert tag.version == "1.2.9"


@pytest.mark.parametrize("data", [b"", b"blnkinf", b"blnkinf\0mcu\0001", b"blnkinf\0\xff\0x\0\0"])
def test_without_a_whole_tag_there_is_none(data):
    assert find(data) is None


@pytest.mark.parametrize("version", ["1.2.8", "2.0", "9"])
def test_the_same_length_or_less_is_stamped_in_place(version):
    around = b"before" + REAL + b"behind"
    stamped = restamp(around, version)
    assert len(stamped) == len(around)
    assert stamped.endswith(b"behind")
    tag = find(stamped)
    assert tag is not None
    assert tag.pairs == {**find(around).pairs, "mcu": version}


def test_a_longer_version_needs_room():
    with pytest.raises(FirmwareError, match="has room for 5"):
        restamp(REAL + b"code", "1.2.10")
    stamped = restamp(REAL + bytes(4) + b"code", "1.2.10", room=4)
    assert find(stamped).version == "1.2.10"
    assert stamped.endswith(bytes(3) + b"code")


def test_nothing_to_stamp_is_said():
    with pytest.raises(FirmwareError, match="no blnkinf tag"):
        restamp(b"code", "1.0")
    with pytest.raises(FirmwareError, match="no blnkinf tag with a version"):
        restamp(Tag({"build": "x"}).build_bytes(), "1.0")


@pytest.mark.parametrize("version", ["1\x002", "", "1;2", "ü"])
def test_a_version_that_a_tag_cannot_hold_is_refused(version):
    with pytest.raises(FirmwareError, match="blnkinf tag"):
        Tag({"mcu": version}).build_bytes()


@given(st.dictionaries(TEXTS, TEXTS, min_size=1, max_size=6), st.binary(max_size=20))
def test_what_is_built_is_read_back(pairs, around):
    tag = find(around + Tag(pairs).build_bytes() + around)
    assert tag == Tag(pairs)
    assert list(tag.pairs) == list(pairs)
