"""New Edgent: how it updates, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest
from vfw_bench import APP1, entry, story
from vfw_edgent_new import HEAD, NewEdgent, digest, head
from vfw_peer import BlynkPeer, WebPeer, listening, ota

from pytest_blynk_ota.firmware.derive import bad_hash
from pytest_blynk_ota.firmware.otadata import State
from pytest_blynk_ota.virtual.app.edgent_new_state import Stats


async def update(
    web: WebPeer, *, url: str = "{}/f?token=x&s=0", **behaviour: Any
) -> tuple[NewEdgent, int]:
    cloud = BlynkPeer()
    async with (
        listening(web.serve) as (host, web_port),
        listening(cloud.serve) as (_, cloud_port),
    ):
        cloud.sends = [ota(url.format(f"http://{host}:{web_port}"))]
        board = NewEdgent(cloud_port, **behaviour)
        if not web.data:
            web.data = board.app("2.0.0")
        if "{digest}" in web.head:
            web.head = head(web.data)
        return board, await board.bench.boot()


@pytest.fixture(scope="module")
def new() -> bytes:
    with NewEdgent(9) as board:
        return board.app("2.0.0")


def test_a_healthy_update_writes_the_other_slot_and_restarts():
    web = WebPeer(b"", head=HEAD)
    board, cause = story(update(web))
    with board:
        assert cause == 0xC
        assert board.bench.read(APP1, len(web.data)) == web.data
        assert board.bench.entries() == (entry(1), entry(2, State.NEW))
        shown = re.findall(r"\r Flashing\.\.\. (\d+)%", "".join(board.bench.machine.output))
        assert [int(one) for one in shown] == list(range(1, 101))
        assert "=== Update successfully completed. Rebooting." in board.bench.text
        assert "State: OTA UPGRADE" in board.bench.text
        request = web.requests[0].split("\r\n")
        assert request[0] == "GET /f?token=x&s=0 HTTP/1.1"
        assert request[2:] == ["User-Agent: Arduino/2.2.0", "", ""]


REFUSALS = [
    ("HTTP/1.1 404 Not Found\r\nContent-Length: {size}\r\n\r\n", "HTTP status code: 404"),
    ("HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", "HTTP status code: 302"),
    ("SSH-2.0-OpenSSH_9.6\r\n", "HTTP status code: -4"),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n",
        "Content-Length not defined or too small",
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length: 1023\r\n\r\n", "Content-Length not defined or too small"),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Content-Length not defined or too small",
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n", "X-SHA256 not defined"),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nX-SHA256: abc\r\n\r\n",
        "Invalid X-SHA256 value: abc",
    ),
    (
        "HTTP/1.1 200 OK\r\nX-SHA256: {sha}\r\nContent-Length: 99999999\r\n\r\n",
        "Not enough space to store the update",
    ),
]


@pytest.mark.parametrize(("answer", "line"), REFUSALS)
def test_an_answer_that_new_edgent_refuses_restarts_it_after_an_error(new, answer, line):
    answer = answer.replace("{sha}", digest(new))
    board, cause = story(update(WebPeer(new, head=answer)))
    with board:
        assert cause == 0xC
        text = board.bench.text
        assert line in text
        assert text.index(line) < text.index("State: ERROR") < text.index("Restarting after error")
        assert board.bench.entries() == (entry(1), None)


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "206 Partial Content"])
def test_any_status_of_success_is_taken(new, status):
    web = WebPeer(new, head=head(new).replace("200 OK", status))
    board, _ = story(update(web))
    with board:
        assert "Update successfully completed" in board.bench.text


def test_a_wrong_digest_is_found_at_the_end_and_the_slot_is_not_selected(new):
    board, _ = story(update(WebPeer(new, head=head(new, sha=digest(b"other")))))
    with board:
        assert "SHA256 mismatch (expected: " in board.bench.text
        assert "Firmware validation failed: Aborted" in board.bench.text
        assert board.bench.entries() == (entry(1), None)
        assert board.bench.read(APP1, 16) == b"\xff" * 16


def test_a_broken_image_with_its_own_digest_fails_the_activation(new):
    broken = bad_hash(new)
    board, _ = story(update(WebPeer(broken, head=head(broken))))
    with board:
        assert "Firmware validation failed: Could Not Activate The Firmware" in board.bench.text


def test_what_is_no_image_is_refused_without_a_word(new):
    junk = b"<html>" * 2000
    board, _ = story(update(WebPeer(junk, head=head(junk))))
    with board:
        assert "State: ERROR" in board.bench.text
        assert "validation failed" not in board.bench.text


def test_bytes_behind_the_file_are_read_with_its_last_piece_and_spoil_it():
    """It reads 256 bytes at a time and never looks where the body ends."""
    with NewEdgent(9) as other:
        data = other.bench.app("2.0.0", size=200_000, **other.behaviour)
    web = WebPeer(data + bytes(4096), head=head(data).replace("{size}", "200000"))
    board, _ = story(update(web))
    with board:
        assert "Interrupted at 200192 / 200000 bytes" in board.bench.text


@pytest.mark.parametrize("closes", [True, False], ids=["FIN", "stall"])
def test_an_early_end_and_a_stall_look_alike(new, closes):
    web = WebPeer(new, head=head(new), stop_after=8192, closes=closes)
    board, _ = story(update(web))
    with board:
        assert f"Interrupted at 8192 / {len(new)} bytes" in board.bench.text


def test_a_server_that_never_answers_times_out(new):
    board, _ = story(update(WebPeer(b"x", head="", stop_after=0, closes=False)))
    with board:
        assert "HTTP status code: -3" in board.bench.text


def test_a_url_without_a_colon_cannot_be_parsed():
    board, _ = story(update(WebPeer(b"x"), url="nowhere"))
    with board:
        assert "Cannot parse URL" in board.bench.text


def test_a_build_with_tls_rewrites_the_scheme_unless_told_not_to():
    from pytest_blynk_ota.virtual.app.edgent_new_ota import rewritten

    assert rewritten("http://x/f?token=1", True) == "https://x/f?token=1"
    assert rewritten("http://x/f?s=0&token=1", True) == "https://x/f?s=0&token=1"
    assert rewritten("http://x/f?token=1&s=0", True) == "http://x/f?token=1&s=0"
    assert rewritten("http://x/f?token=1", False) == "http://x/f?token=1"


def test_the_restart_behind_an_update_is_not_counted_as_one_that_it_was_asked_for(new):
    board, _ = story(update(WebPeer(new, head=head(new))))
    with board:
        assert Stats(board.bench.machine).graceful == 0
