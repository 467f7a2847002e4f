"""The reference firmware: each thing that it does right."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from types import SimpleNamespace

import pytest
from vfw_bench import APP1, Bench, entry, story
from vfw_peer import BlynkPeer, WebPeer, listening, ota

from pytest_blynk_ota.cloud.protocol import Cmd
from pytest_blynk_ota.firmware.derive import bad_hash, wrong_chip
from pytest_blynk_ota.firmware.otadata import State
from pytest_blynk_ota.virtual.app.reference_http import Problem, target
from pytest_blynk_ota.virtual.app.reference_update import Updates

OK = "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"
CONFIRMS = {"confirm": "self_test", "self_test": {"after_s": 3.0}}


def bench(**behaviour):
    return Bench(profile="reference", **{**CONFIRMS, **behaviour})


class Web:
    """A web server that answers each request by the next of its answers, the last for ever."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []

    async def serve(self, reader, writer) -> None:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            number = min(len(self.requests), len(self.answers) - 1)
            self.requests.append(request)
            answer = self.answers[number]
            if callable(answer):
                await answer(writer, request)
            else:
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def whole(image: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(image)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + image


def status(line: str, *headers: str) -> bytes:
    return ("\r\n".join([f"HTTP/1.1 {line}", *headers, "Content-Length: 0"]) + "\r\n\r\n").encode()


def chunked(image: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [image[at : at + 3000] for at in range(0, len(image), 3000)]
    body = b"".join(b"%x;note\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head + body + b"0\r\n\r\n"


def events(cloud: BlynkPeer) -> list[str]:
    return [one.parts[1] for one in cloud.heard if one.cmd == Cmd.EVENT_LOG]


async def offered(board: Bench, web, *, path: str = "/f/new?token=x") -> BlynkPeer:
    """Offer a file; until the board resets itself or gives up and says so."""
    cloud = BlynkPeer()
    async with listening(web.serve) as (host, port), listening(cloud.serve) as address:
        cloud.sends = [ota(f"http://{host}:{port}{path}")]
        board.provision(address)
        async with board.living():
            await cloud.hears(lambda peer: peer.sessions > 1 or "OTA failed" in str(events(peer)))
    return cloud


def updated(board: Bench, new: bytes) -> bool:
    return board.read(APP1, len(new)) == new and board.entries()[1] is not None


def untouched(board: Bench) -> bool:
    return board.entries() == (entry(1), None)


def test_an_update_ends_in_the_other_slot_confirmed_after_login_and_self_test():
    async def watch(board, new, cloud):
        web = WebPeer(new)
        async with listening(web.serve) as (host, port), listening(cloud.serve) as address:
            cloud.sends = [ota(f"http://{host}:{port}/f/new")]
            board.provision(address)
            async with board.living():
                await cloud.hears(lambda peer: len(peer.infos) == 2)
                assert board.entries()[1] == entry(2, State.PENDING_VERIFY)
                await cloud.hears(lambda peer: "Firmware 2.0.0 confirmed" in events(peer))
                assert board.entries()[1] == entry(2, State.VALID)

    with bench() as board:
        new, cloud = board.app("2.0.0", profile="reference", **CONFIRMS), BlynkPeer()
        story(watch(board, new, cloud))
        assert updated(board, new)
        assert [info["mcu"] for info in cloud.infos] == ["1.0.0", "2.0.0"]
        assert events(cloud)[:2] == ["OTA started", "OTA done"]


def flash_operations(segment: int | None) -> list[tuple[str, int, int]]:
    """What an update does to the flash whose body comes in segments of so many bytes."""

    async def drip(writer, request):
        answer = whole(new)
        for at in range(0, len(answer), segment or len(answer)):
            writer.write(answer[at : at + (segment or len(answer))])
            await writer.drain()
            await asyncio.sleep(0)

    with bench() as board:
        new = board.app("2.0.0")
        begun = len(board.machine.flash.journal)
        story(offered(board, Web(drip)))
        assert updated(board, new)
        done = list(board.machine.flash.journal)[begun:]
        return [(one.kind, one.offset, one.length) for one in done]


def test_however_the_network_cuts_the_file_the_flash_sees_the_same_operations():
    assert flash_operations(1001) == flash_operations(None)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["/elsewhere", "http://{host}/elsewhere"])
def test_a_redirection_is_followed(code, where):
    async def redirect(writer, request):
        host = re.search(r"Host: (\S+)", request)[1]
        writer.write(status(f"{code} Moved", "Location: " + where.format(host=host)))

    with bench() as board:
        new = board.app("2.0.0")
        web = Web(redirect, whole(new))
        story(offered(board, web))
        assert updated(board, new)
        assert web.requests[1].startswith("GET /elsewhere HTTP/1.1")
        assert "token" not in web.requests[1]


def test_a_redirection_to_itself_ends():
    with bench() as board:
        web = Web(status("302 Found", "Location: /f/new"))
        cloud = story(offered(board, web))
        assert len(web.requests) == 6
        assert events(cloud)[-1] == "OTA failed: redirected more than 5 times"


def test_a_body_in_chunks_is_put_together():
    with bench() as board:
        new = board.app("2.0.0")
        story(offered(board, Web(chunked(new))))
        assert updated(board, new)


def cut(image: bytes, at: int, *headers: str) -> bytes:
    data = whole(image, *headers)
    return data[: len(data) - len(image) + at]


def rest(image: bytes, start: int) -> bytes:
    head = (
        f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(image) - start}\r\n"
        f"Content-Range: bytes {start}-{len(image) - 1}/{len(image)}\r\n\r\n"
    )
    return head.encode() + image[start:]


@pytest.mark.parametrize("at", [0, 100, 20000])
def test_what_was_cut_is_gone_on_with(at):
    async def go_on(writer, request):
        found = re.search(r"Range: bytes=(\d+)-", request)
        writer.write(rest(new, int(found[1])) if found else whole(new, 'ETag: "one"'))

    with bench() as board:
        new = board.app("2.0.0")
        web = Web(cut(new, at, 'ETag: "one"'), go_on)
        story(offered(board, web))
        assert updated(board, new)
        assert ('If-Range: "one"' in web.requests[1]) is (at > 0)


@pytest.mark.parametrize("etag", [(), ('ETag: W/"weak"',)], ids=["none", "weak"])
def test_without_a_strong_validator_a_cut_file_is_fetched_anew(etag):
    with bench() as board:
        new = board.app("2.0.0")
        web = Web(cut(new, 20000, *etag), whole(new))
        story(offered(board, web))
        assert updated(board, new)
        assert "Range" not in web.requests[1]


@pytest.mark.parametrize(
    "second",
    [
        lambda new: whole(new, 'ETag: "two"'),
        lambda new: status("416 Range Not Satisfiable"),
        lambda new: rest(new, 16),
    ],
    ids=["changed", "416", "wrong range"],
)
def test_a_server_that_cannot_give_the_rest_is_asked_for_all(second):
    with bench() as board:
        old_file, new = board.app("3.0.0"), board.app("2.0.0")
        web = Web(cut(old_file, 20000, 'ETag: "one"'), second(new), whole(new))
        story(offered(board, web))
        assert updated(board, new)


MD5 = lambda data: hashlib.md5(data).digest()  # noqa: E731
SHA = lambda data: hashlib.sha256(data).digest()  # noqa: E731
FORMS = {
    "hex": lambda raw: raw.hex(),
    "upper": lambda raw: raw.hex().upper(),
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "quoted": lambda raw: f'"{raw.hex()}"',
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "digest"), [("x-MD5", MD5), ("X-SHA256", SHA)])
def test_an_announced_digest_is_checked_in_each_form(form, name, digest):
    with bench(retries=1) as board:
        new = board.app("2.0.0")
        wrong = Web(whole(new, f"{name}: {FORMS[form](digest(b'other'))}"))
        assert events(story(offered(board, wrong)))[-1].endswith("does not fit")
        assert untouched(board)
        story(offered(board, Web(whole(new, f"{name}: {FORMS[form](digest(new))}"))))
        assert updated(board, new)


def test_a_digest_that_is_none_is_no_reason_to_refuse():
    with bench() as board:
        new = board.app("2.0.0")
        story(offered(board, Web(whole(new, "X-MD5: " + "a" * 31))))
        assert updated(board, new)


HEADS = [
    ("HTTP/1.1 404 Not Found\r\nContent-Length: {size}\r\n\r\n", 1, "status 404"),
    ("HTTP/1.1 206 Partial\r\nContent-Length: {size}\r\n\r\n", 1, "status 206"),
    ("HTTP/1.1 200 OK\r\n\r\n", 1, "Content-Length is None"),
    ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 1, "Content-Length is '-1'"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n", 1, "twice"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n", 1, "not fit"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", 1, "the slot has"),
    ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {size}\r\n\r\n", 1, "gzip"),
    ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 3, "status 503"),
    ("SSH-2.0-OpenSSH_9.2\r\n\r\n", 1, "no status line"),
    ("HTTP/1.1 200 OK\r\nX-Long: " + "a" * 20000 + "\r\n\r\n", 1, "no HTTP"),
]


@pytest.mark.parametrize(("head", "requests", "words"), HEADS)
def test_an_answer_that_is_none_leaves_the_device_online_and_as_it_was(head, requests, words):
    with bench() as board:
        before = board.machine.operations
        web = WebPeer(board.app("2.0.0"), head=head)
        cloud = story(offered(board, web))
        assert words in events(cloud)[-1]
        assert len(web.requests) == requests
        assert cloud.sessions == 1
        assert board.machine.operations == before


@pytest.mark.parametrize(
    ("chunk", "requests", "words"),
    [
        (b"", 3, "closed where a chunk is due"),
        (b"10", 3, "closed where a chunk is due"),
        (b"-5\r\n", 1, "no chunk size"),
        (b"xyz\r\n", 1, "no chunk size"),
    ],
)
def test_a_chunk_that_is_none_ends_the_download_and_not_the_board(chunk, requests, words):
    with bench() as board:
        whole_chunk = chunked(board.app("2.0.0"))
        head, end = whole_chunk.partition(b"\r\n\r\n")[:2]
        web = Web(head + end + b"400\r\n" + board.app("2.0.0")[:1024] + b"\r\n" + chunk)
        cloud = story(offered(board, web))
        assert words in events(cloud)[-1]
        assert len(web.requests) == requests


def test_a_failed_download_is_tried_again_in_the_same_boot():
    with bench() as board:
        new = board.app("2.0.0")
        web = Web(status("503 Busy", "Retry-After: 1"), status("500 Oops"), whole(new))
        story(offered(board, web))
        assert updated(board, new)
        assert board.text.count("rst:0x") == 2


def other_project(board: Bench) -> bytes:
    return board.app("2.0.0").replace(b"bench\0", b"other\0")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (lambda board: wrong_chip(board.app("2.0.0")), "made for chip"),
        (other_project, "project 'other'"),
        (lambda board: b"<html>" * 3000, "no image header"),
        (lambda board: board.app("1.0.0", **CONFIRMS, profile="reference"), "it runs already"),
    ],
    ids=["chip", "project", "page", "same"],
)
def test_an_image_that_is_not_for_this_board_is_refused_before_anything_is_erased(image, words):
    with bench() as board:
        before = board.machine.operations
        cloud = story(offered(board, Web(whole(image(board)))))
        assert words in events(cloud)[-1]
        assert board.machine.operations == before


def test_a_bad_image_is_not_selected():
    with bench() as board:
        cloud = story(offered(board, Web(whole(bad_hash(board.app("2.0.0"))))))
        assert "esp_ota_end" in events(cloud)[-1]
        assert untouched(board)


@pytest.mark.parametrize("seconds", [10.0])
def test_a_stall_ends_at_its_limit(seconds):
    with bench(stall_s=seconds, retries=1) as board:
        new = board.app("2.0.0")
        web = WebPeer(new, stop_after=len(new) // 2, closes=False)
        assert "no byte for 10 s" in events(story(offered(board, web)))[-1]
        assert untouched(board)


def test_a_drip_is_given_up():
    async def drip(writer, _request):
        writer.write(whole(new)[:-20000])
        for byte in new[-20000:]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.002)

    with bench(retries=1) as board:
        new = board.app("2.0.0")
        cloud = story(offered(board, Web(drip)))
        assert "in 30 s are too few" in events(cloud)[-1]


def test_the_same_command_again_is_one_download_and_another_one_comes_after_it():
    async def twice(board, first, second):
        cloud = BlynkPeer()
        async with (
            listening(first.serve) as (host, one),
            listening(second.serve) as (_, two),
            listening(cloud.serve) as address,
        ):
            a, b = f"http://{host}:{one}/a", f"http://{host}:{two}/b"
            cloud.sends = [ota(a), ota(a), ota(b), ota(b)]
            board.provision(address)
            async with board.living():
                await cloud.hears(lambda peer: peer.sessions == 2)

    with bench() as board:
        new = board.app("2.0.0")
        first, second = Web(status("404 No")), Web(whole(new))
        story(twice(board, first, second))
        assert updated(board, new)
        assert len(first.requests) + len(second.requests) <= 2
        assert len(second.requests) == 1


def on_trial(board: Bench, **behaviour) -> None:
    board.put(APP1, board.app("2.0.0", profile="reference", **{**CONFIRMS, **behaviour}))
    board.otadata(entry(1), entry(2, State.NEW))


def test_an_image_that_never_reaches_its_cloud_goes_back():
    with bench() as board:
        on_trial(board, finds_cloud=False, cloud_s=60.0)
        assert story(board.boot()) == 0xC
        assert board.entries()[1] == entry(2, State.INVALID)
        assert "no cloud within 60 s" in board.text


def test_a_confirmed_image_waits_for_its_cloud():
    async def wait(board):
        async with board.living():
            await board.machine.see(r"(?s)(Connecting to cloud.invalid.*){4}")

    with bench(finds_cloud=False, cloud_s=5.0) as board:
        story(wait(board))
        assert board.text.count("rst:0x") == 1


def test_what_was_rolled_back_is_not_taken_again():
    with bench() as board:
        on_trial(board, self_test={"after_s": 1.0, "passes": False})
        failed = board.read(APP1, 40 << 10)

        async def fail_then_offer():
            cloud = BlynkPeer()
            async with listening(cloud.serve) as address:
                board.provision(address)
                await board.boot()
            return await offered(board, Web(whole(failed)))

        cloud = story(fail_then_offer())
        assert "it ran here and was rolled back" in events(cloud)[-1]


def test_a_refused_token_is_tried_again():
    async def wait(board):
        cloud = BlynkPeer(login_status=9)
        async with listening(cloud.serve) as address:
            board.provision(address)
            async with board.living():
                await cloud.hears(lambda peer: peer.sessions == 3)

    with bench() as board:
        story(wait(board))


def test_a_redirection_never_leads_from_tls_to_plain_http():
    with pytest.raises(Problem, match="from TLS to plain HTTP"):
        target("https://host/f", "http://host/f")
    assert target("https://host/f", "/g") == "https://host/g"
    assert target("http://host/f", "https://other/g") == "https://other/g"


def test_the_url_that_is_being_fetched_is_not_taken_for_another_offer():
    with bench() as board:
        updates = Updates(SimpleNamespace(machine=board.machine), None, None)
        updates._current = "http://host/f"
        updates.offer("http://host/f")
        assert updates._offered is None
        updates.offer("http://host/g")
        assert updates._offered == "http://host/g"
