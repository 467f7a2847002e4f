"""The file of another server: had, or refused with a reason that tells no token."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from pytest_blynk_ota.errors import RigError, UsageError
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.relayed import TheirOffers, fetched


@contextmanager
def answering(data: bytes):
    """A server that says this to its one visitor; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/f?token=secretsecret"
        thread.join()


def test_a_file_is_had_whole():
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc") as url:
        assert fetched(url) == b"abc"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
)
def test_a_file_that_cannot_be_had_is_the_rigs_error_without_the_token(said):
    with answering(said) as url, pytest.raises(RigError) as caught:
        fetched(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://h:port/f?token=secretsecret",
        "http://h/f?token=secret secret",
        "http://[h/f?token=secretsecret",
        "file:///etc/passwd?token=secretsecret",
        "",
    ],
)
def test_a_url_that_is_none_is_the_rigs_error_without_the_token(url):
    with pytest.raises(RigError) as caught:
        fetched(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("hand", "done"),
    [("cancel", "cancelled"), ("pause", "paused"), ("resume", "resumed"), ("click", "clicked")],
)
def test_the_shipment_of_the_other_server_is_not_in_our_hands(hand, done):
    timeline = Timeline()
    rig = SimpleNamespace(recorder=Recorder(timeline))
    offers = TheirOffers(rig, SimpleNamespace(name="a"), None, None, 0)
    with pytest.raises(UsageError, match=f"board a: .* cannot be {done} here"):
        getattr(offers, hand)()
    assert not timeline.events()
