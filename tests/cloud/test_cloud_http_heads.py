"""Heads of requests that firmware writes and a strict server refuses."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.cloud.http_heads import MAX_HEAD_BYTES, FirstHead, with_one_each

EDGENT = (
    b"POST /u HTTP/1.1\r\nHost: h.io\r\nUser-Agent: Arduino/2.2.0\r\nConnection: close\r\n"
    b"Host: h.io\r\nUser-Agent: ESP32-Arduino\r\nX: y\r\n\r\n"
)
MENDED = (
    b"POST /u HTTP/1.1\r\nHost: h.io\r\nUser-Agent: Arduino/2.2.0\r\nConnection: close\r\n"
    b"X: y\r\n\r\n"
)


def test_what_stands_twice_stands_once():
    assert with_one_each(EDGENT) == MENDED
    assert with_one_each(EDGENT.replace(b"Host: h.io", b"host:H.io:443", 1)).count(b"ost:") == 1


@pytest.mark.parametrize("other", [b"evil.io", b"h.io.evil.io", b""])
def test_two_different_hosts_stay_for_the_server_to_refuse(other):
    head = b"GET / HTTP/1.1\r\nHost: h.io\r\nHost: " + other + b"\r\n\r\n"
    assert with_one_each(head) == head


@given(st.binary(max_size=300).map(lambda body: EDGENT + body), st.lists(st.integers(0, 400)))
def test_the_first_head_is_mended_however_the_network_splits_it(stream, cuts):
    head = FirstHead()
    edges = [0, *sorted(cuts), len(stream)]
    parts = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert b"".join(map(head.feed, parts)) == MENDED + stream[len(EDGENT) :]
    assert not head.rest()


@given(st.lists(st.binary(max_size=60)))
def test_nothing_is_lost_of_what_is_no_head(parts):
    stream = b"".join(parts)
    head = FirstHead()
    got = b"".join(map(head.feed, parts)) + head.rest()
    assert got == stream or b"host" in stream.lower() or b"user-agent" in stream.lower()


def test_a_head_without_an_end_is_not_held_for_ever():
    head = FirstHead()
    assert head.feed(b"GET / HTTP/1.1\n\n") == b"GET / HTTP/1.1\n\n"
    head = FirstHead()
    assert head.feed(b"G" * MAX_HEAD_BYTES) == b""
    assert len(head.feed(b"G")) == MAX_HEAD_BYTES + 1
