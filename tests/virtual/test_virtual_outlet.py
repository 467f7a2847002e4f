"""The power outlets, asked with an ordinary HTTP client and with a raw socket."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest

from pytest_blynk_ota.virtual.chip.board import State


def http(url, body=None):
    """Status and text of GET, or of PUT if there is a body."""
    request = urllib.request.Request(url, data=body, method="PUT" if body else "GET")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_board_is_switched_and_asked(rack):
    url = rack.rack.control.url + "/c3-a"
    board = rack.rack.boards["c3-a"]
    assert http(url) == (200, "1")
    assert http(url, b"0") == (200, "0")
    assert board.state is State.OFF
    assert http(url) == (200, "0")
    assert rack.rack.boards["esp32-a"].powered, "the other board keeps its power"
    assert http(url, b"1\n") == (200, "1")
    assert board.state is State.RUNNING


@pytest.mark.parametrize(
    ("name", "body", "status", "words"),
    [
        ("nobody", None, 404, "c3-a"),
        ("c3-a", b"2", 400, "0 or 1"),
        ("c3-a", b"1" * 1000, 400, "0 or 1"),
    ],
)
def test_nonsense_is_refused_in_words(rack, name, body, status, words):
    found, text = http(f"{rack.rack.control.url}/{name}", body)
    assert found == status
    assert words in text
    assert rack.rack.boards["c3-a"].powered


@pytest.mark.parametrize(
    "sent", [b"", b"\r\n\r\n", b"PUT /c3-a HTTP/1.1\r\ncontent-length: 1\r\n\r\n", b"x" * 100_000]
)
def test_half_requests_and_noise_harm_nobody(rack, sent):
    address = urlsplit(rack.rack.control.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as peer:
        peer.sendall(sent)
    assert http(rack.rack.control.url + "/c3-a") == (200, "1")
