"""The Blynk codec: bytes to frames and back."""

from __future__ import annotations

from itertools import pairwise

import pytest
from cloud_peer import TOKEN
from fuzz_protocol import check_decoder, check_session, decode
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.cloud.protocol import (
    MAX_BODY_BYTES,
    Cmd,
    Decoder,
    Frame,
    ProtocolError,
    Status,
    encode,
    frame,
    pairs,
    response,
)

IDS = st.integers(1, 0xFFFF)
FRAMES = st.one_of(
    st.builds(response, IDS, st.integers(0, 0xFFFF)),
    st.builds(Frame, st.integers(1, 0xFF), IDS, st.binary(max_size=80)),
)
CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)


def test_a_login_has_the_bytes_that_the_library_sends():
    assert encode(frame(Cmd.LOGIN, 1, TOKEN)) == b"\x1d\x00\x01\x00\x20" + TOKEN.encode()


def test_an_ota_command_has_its_nul_and_its_length_in_bytes():
    sent = encode(frame(Cmd.INTERNAL, 0x0102, "ota", "http://h/é"))
    assert sent == b"\x11\x01\x02\x00\x0f" + b"ota\0http://h/\xc3\xa9"


def test_a_response_carries_its_status_in_the_length_field():
    assert encode(response(7)) == b"\x00\x00\x07\x00\xc8"
    assert Decoder().feed(b"\x00\x00\x07\x00\xc8") == [response(7, Status.OK)]


def test_a_response_takes_none_of_the_bytes_after_it():
    assert Decoder().feed(encode(response(7, 200)) + encode(frame(Cmd.PING, 8))) == [
        response(7, 200),
        frame(Cmd.PING, 8),
    ]


@given(st.lists(FRAMES, max_size=8), CUTS)
def test_any_split_of_any_frames_decodes_to_the_same_frames(frames, cuts):
    data = b"".join(encode(message) for message in frames)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert decode(pieces, MAX_BODY_BYTES) == (frames, None)


@given(st.binary(max_size=400), CUTS, st.sampled_from([0, 3, 256, MAX_BODY_BYTES]))
def test_garbage_decodes_the_same_however_it_is_cut(data, cuts, max_body):
    check_decoder(data, cuts, max_body)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_after_a_login_ends_that_session_at_most_once(chunks):
    check_session([encode(frame(Cmd.LOGIN, 1, TOKEN)), *chunks])


@given(st.lists(FRAMES, max_size=6))
def test_any_frames_after_a_login_get_whole_answers_only(frames):
    check_session([encode(message) for message in (frame(Cmd.LOGIN, 1, TOKEN), *frames)])


def test_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_not():
    most = Frame(Cmd.HARDWARE, 1, bytes(MAX_BODY_BYTES))
    assert Decoder().feed(encode(most)) == [most]
    with pytest.raises(ProtocolError, match="HARDWARE announces a body of 32769 bytes"):
        Decoder().feed(b"\x14\x00\x01\x80\x01")


def test_frames_before_an_oversized_one_are_not_lost():
    with pytest.raises(ProtocolError) as caught:
        Decoder(max_body=4).feed(
            encode(frame(Cmd.PING, 1)) + encode(frame(Cmd.HARDWARE, 2, "12345"))
        )
    assert caught.value.frames == (frame(Cmd.PING, 1),)


def test_a_broken_stream_stays_broken():
    decoder = Decoder(max_body=4)
    for data in (encode(frame(Cmd.HARDWARE, 2, "12345")), encode(frame(Cmd.PING, 1))):
        with pytest.raises(ProtocolError):
            decoder.feed(data)


def test_pairs_take_any_order_and_a_trailing_nul():
    body = b"fw\x001.0\x00h-beat\x0010\x00"
    assert pairs(Frame(Cmd.INTERNAL, 1, body).parts) == {"fw": "1.0", "h-beat": "10"}


def test_a_key_without_a_value_gets_an_empty_one():
    assert pairs(("a", "1", "b")) == {"a": "1", "b": ""}
    assert pairs(()) == {}


def test_bytes_that_are_no_utf8_do_not_break_the_strings():
    assert Frame(Cmd.EVENT_LOG, 1, b"a\xff\0b").parts == ("a�", "b")


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (Frame(Cmd.PING, 0x10000), "id 65536 does not fit"),
        (Frame(256, 1), "command 256 does not fit"),
        (Frame(Cmd.HARDWARE, 1, bytes(0x10000)), "length or status 65536 does not fit"),
        (Frame(Cmd.RESPONSE, 1), "a RESPONSE has a status"),
        (Frame(Cmd.RESPONSE, 1, b"x", 200), "a RESPONSE has a status"),
        (Frame(Cmd.PING, 1, b"", 200), "a RESPONSE has a status"),
    ],
)
def test_a_frame_that_has_no_bytes_is_refused(bad, why):
    with pytest.raises(ValueError, match=why):
        encode(bad)


def test_a_string_with_a_nul_is_refused():
    with pytest.raises(ValueError, match="may not hold a NUL"):
        frame(Cmd.INTERNAL, 1, "ota", "a\0b")


def test_the_text_of_a_login_frame_does_not_hold_the_token():
    assert repr(frame(Cmd.LOGIN, 1, TOKEN)) == "<Frame LOGIN id=1 32 bytes>"
