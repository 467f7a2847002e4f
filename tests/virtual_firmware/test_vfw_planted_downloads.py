"""Each planted bug up to Z30 does what its words say, and the clean firmware does not."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import trustme
from test_vfw_planted_bugs import Board, Case, life, over, shipped, slowly, versions
from test_vfw_reference import MD5, Web, cut, events, rest, status, whole
from vfw_bench import APP0, APP1, SLOT_BYTES, story
from vfw_peer import TOKEN, BlynkPeer, WebPeer, listening, ota

from pytest_blynk_ota.cloud.protocol import Cmd, Frame
from pytest_blynk_ota.firmware.bugs import BUGS

DONE = "OTA done"
ETAG = 'ETag: "one"'


def end(cloud: BlynkPeer) -> str:
    """What the first update came to."""
    return next(text for text in events(cloud) if text == DONE or text.startswith("OTA failed"))


def ends(web_of: Callable[[bytes], Web | WebPeer]):
    """How an update from this web server ends."""

    async def see(board: Board) -> object:
        return end(await shipped(board, web_of(board.new())))

    return see


def after(pause_s: float, first: bytes, second: bytes):
    """An answer in two halves, with wall seconds of silence between them."""

    async def answer(writer, _request):
        writer.write(first)
        await writer.drain()
        await asyncio.sleep(pause_s)
        writer.write(second)
        await writer.drain()

    return answer


def with_a_pause(new: bytes) -> Web:
    return Web(after(0.32, cut(new, 20000), new[20000:]))


def late_body(new: bytes) -> Web:
    data = whole(new)
    head = len(data) - len(new)
    return Web(after(0.2, data[:head], data[head:]))


def promising_more(*, closes: bool):
    """All of the file, and the promise of 100 bytes that never come."""

    def web(new: bytes) -> WebPeer:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(new) + 100}\r\n\r\n"
        return WebPeer(new, head, closes=closes)

    return web


def wrong_status(new: bytes) -> Web:
    return Web(whole(new).replace(b"200 OK", b"404 Not Found", 1))


def md5(text_of: Callable[[str], str]):
    return lambda new: Web(whole(new, f"x-MD5: {text_of(MD5(new).hex())}"))


def dripped(new: bytes) -> Web:
    """Its last 200 bytes one by one: 150 s for the board."""

    async def answer(writer, _request):
        writer.write(whole(new)[:-200])
        for byte in new[-200:]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.0015)

    return Web(answer)


async def for_a_while(seconds: float, event) -> bool:
    """Whether it came within so many wall seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        return False
    return True


async def a_stall_ends(board: Board) -> object:
    web = WebPeer(board.new(), stop_after=20000, closes=False)
    async with life(board, web) as cloud:
        return await for_a_while(0.55, cloud.hears(over))


async def without_a_length(board: Board) -> object:
    before = board.machine.operations
    cloud = await shipped(board, Web(b"HTTP/1.1 200 OK\r\n\r\n" + board.new()))
    return end(cloud), versions(cloud), board.machine.operations == before


async def requests_until(board: Board, web: Web, most: int) -> int:
    """How many are made before the board gives up; no more than ``most`` are waited for."""
    enough = asyncio.Event()

    async def counted(reader, writer):
        await web.serve(reader, writer)
        if len(web.requests) == most:
            enough.set()

    async with life(board, SimpleNamespace(serve=counted)) as cloud:
        ways = {asyncio.ensure_future(cloud.hears(over)), asyncio.ensure_future(enough.wait())}
        _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
        return len(web.requests)


async def requests_for_what_is_not_there(board: Board) -> object:
    return await requests_until(board, Web(status("404 Not Found")), most=6)


class Insistent(BlynkPeer):
    """A cloud that offers the next file whenever one has failed, up to ``most``."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.offered = 1

    def _answers(self, message: Frame, session: int) -> list[Frame]:
        answers = super()._answers(message, session)
        failed = message.cmd == Cmd.EVENT_LOG and "OTA failed" in message.parts[1]
        if failed and self.offered < self.most:
            self.offered += 1
            answers.append(ota(f"{self.sends[0].parts[1]}{self.offered}"))
        return answers

    def is_over(self) -> bool:
        """Whether all has been offered and has come to an end, or the board has restarted."""
        ended = sum(one == DONE or one.startswith("OTA failed") for one in events(self))
        return ended == self.most or len(self.infos) > 1


def insisted(failures: int):
    """What comes of so many files that are not there, and then of one that is."""

    async def see(board: Board) -> object:
        cloud = Insistent(failures + 1)
        web = Web(*[status("404 Not Found")] * failures, whole(board.new()))
        async with life(board, web, cloud=cloud):
            await for_a_while(1.5 if failures > 1 else 0.4, cloud.hears(Insistent.is_over))
        if "Rebooting..." in board.text:
            return "crash"
        return [one for one in events(cloud) if one.startswith("OTA ")][-1]

    return see


async def tries_after_one_failure(board: Board) -> object:
    web = Web(status("503 Busy"), whole(board.new()))
    return end(await shipped(board, web)), len(web.requests)


def resumed(second: Callable[[bytes, str], bytes]):
    """The second request after a cut: whether it asks for the rest, and how the update ends."""

    async def see(board: Board) -> object:
        new = board.new()

        async def go_on(writer, request):
            writer.write(second(new, request))

        web = Web(cut(new, 20000, ETAG), go_on)
        done = end(await shipped(board, web)) == DONE
        return "Range:" in web.requests[1], done

    return see


def the_rest_if_asked(new: bytes, request: str) -> bytes:
    found = re.search(r"Range: bytes=(\d+)-", request)
    return rest(new, int(found[1])) if found else whole(new, ETAG)


def all_of_it(new: bytes, _request: str) -> bytes:
    return whole(new, ETAG)


async def requests_of_a_loop(board: Board) -> object:
    return await requests_until(board, Web(status("302 Found", "Location: /f/new")), most=20)


async def over_tls_from_a_stranger(board: Board) -> object:
    """How it ends with a server whose certificate is signed by nobody that is trusted."""
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(secure)
    web, cloud = Web(whole(board.new())), BlynkPeer()
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=secure)
    port = server.sockets[0].getsockname()[1]
    try:
        async with listening(cloud.serve) as address:
            cloud.sends = [ota(f"https://localhost:{port}/f/new")]
            board.provision(address)
            async with board.living():
                await cloud.hears(over)
    finally:
        server.close()
    return end(cloud), len(web.requests)


async def what_a_redirection_is_told(board: Board) -> object:
    """The authorization headers of both hosts."""
    there = Web(whole(board.new()))
    async with listening(there.serve) as (host, port):
        here = Web(status("302 Found", f"Location: http://{host}:{port}/f"))
        assert end(await shipped(board, here)) == DONE
    asked = here.requests + there.requests
    return [re.findall(r"Authorization: (.*)\r", request) for request in asked]


def crashes_at(url: str):
    """Whether the offer of this URL is more than the board can bear."""

    async def see(board: Board) -> object:
        cloud = BlynkPeer(sends=[ota(url)])
        async with listening(cloud.serve) as address:
            board.provision(address)
            async with board.living():
                await board.machine.see(r"upgrade failed: .*|Rebooting\.\.\.")
        return CRASH.search(board.text) is not None

    return see


async def a_long_header_crashes(board: Board) -> object:
    web = Web(whole(board.new(), "X-Long: " + "a" * 2000))
    async with life(board, web):
        await board.machine.see(r"Firmware: 2\.0\.0|Rebooting\.\.\.")
    return CRASH.search(board.text) is not None


def padded(image: bytes, rest: int) -> bytes:
    """With zeros behind it, up to so many bytes in its last block."""
    return image + bytes((rest - len(image)) % BLOCK)


def with_ones(new: bytes) -> bytes:
    """With blocks of ones behind it, and something behind those."""
    return padded(new, 0) + b"\xff" * (2 * BLOCK) + b"end."


def dirty(board: Board) -> None:
    """Zeros in the other slot: bits that only an erase can set again."""
    board.put(APP1, bytes(SLOT_BYTES))


def in_flash(file_of: Callable[[bytes], bytes]):
    """Whether an update ends well, and whether the slot holds the whole file then."""

    async def see(board: Board) -> object:
        dirty(board)
        file = file_of(board.new())
        cloud = await shipped(board, Web(whole(file)))
        return end(cloud) == DONE, board.read(APP1, len(file)) == file

    return see


async def a_slot_is_erased_for_what_is_too_large(board: Board) -> object:
    dirty(board)
    file = b"\xe9" + bytes(SLOT_BYTES)
    assert "do not fit" in end(await shipped(board, Web(whole(file))))
    return board.read(APP1, SLOT_BYTES) == b"\xff" * SLOT_BYTES


async def slots_that_hold_new(board: Board) -> object:
    new = board.new()
    async with life(board, Web(whole(new))):
        await board.machine.see(r"Firmware: 2\.0\.0|Rebooting\.\.\.")
    return [board.read(slot, BLOCK) == new[:BLOCK] for slot in (APP0, APP1)]


# ---- the bugs

BLOCK = 4096
CRASH = re.compile("Guru Meditation|CORRUPT HEAP")
LONG_URL = "http://127.0.0.1:1/" + "x" * 600

PATIENT = {"stall_s": 300.0, "least_rate": 0.0, "download_s": 0}
ONCE = {"retries": 1}
CASES: list[tuple[str, Case]] = [
    ("Z1", Case(ends(with_a_pause), DONE, "OTA failed: 20000 of", PATIENT)),
    ("Z2", Case(ends(promising_more(closes=True)), "OTA failed: cut", DONE, ONCE)),
    ("Z3", Case(ends(wrong_status), "OTA failed: status 404", DONE)),
    (
        "Z4",
        Case(
            without_a_length,
            ("OTA failed: Content-Length is None", ["1.0.0"], True),
            (DONE, ["1.0.0", "1.0.0"], True),
        ),
    ),
    ("Z5", Case(ends(promising_more(closes=False)), "OTA failed: no byte", DONE, ONCE)),
    ("Z6", Case(ends(md5(lambda md5: "A" * 32)), "OTA failed: x-md5 does", DONE, ONCE)),
    ("Z7", Case(ends(md5(lambda md5: md5[:16] + "0" * 16)), "OTA failed: x-md5", DONE, ONCE)),
    ("Z8", Case(a_stall_ends, True, False, ONCE)),
    ("Z9", Case(ends(dripped), "OTA failed: ", DONE, {**ONCE, "download_s": 60.0})),
    ("Z10", Case(ends(lambda new: Web(slowly(whole(new)))), DONE, "OTA failed: no", PATIENT)),
    (
        "Z11",
        Case(ends(lambda new: Web(cut(new, 20000))), "OTA failed: cut", "OTA failed: no", ONCE),
    ),
    ("Z12", Case(ends(late_body), DONE, "OTA failed: wrong magic byte", PATIENT)),
    ("Z13", Case(requests_for_what_is_not_there, 1, 6)),
    ("Z14", Case(tries_after_one_failure, (DONE, 2), ("OTA failed: status 503", 1))),
    ("Z14", Case(insisted(1), DONE, "OTA failed: status 404")),
    ("Z15", Case(tries_after_one_failure, (DONE, 2), ("OTA failed: Already running", 1))),
    ("Z15", Case(insisted(1), DONE, "OTA failed: Already running")),
    ("Z16", Case(resumed(the_rest_if_asked), (True, True), (False, False))),
    ("Z17", Case(resumed(all_of_it), (True, True), (True, False))),
    ("Z18", Case(requests_of_a_loop, 6, 20)),
    ("Z19", Case(over_tls_from_a_stranger, ("OTA failed: no connection", 0), (DONE, 1), ONCE)),
    ("Z20", Case(what_a_redirection_is_told, [[], []], [[f"Bearer {TOKEN}"]] * 2)),
    ("Z21", Case(crashes_at("http://127.0.0.1:1/f"), False, True, ONCE)),
    ("Z21", Case(crashes_at("http://nobody.invalid/f"), False, True, ONCE)),
    ("Z22", Case(a_long_header_crashes, False, True)),
    ("Z22", Case(crashes_at(LONG_URL), False, True, ONCE)),
    ("Z23", Case(insisted(17), DONE, "crash")),
    ("Z24", Case(insisted(17), DONE, "OTA failed: no timer")),
    ("Z25", Case(in_flash(lambda new: padded(new, 2000)), (True, True), (False, False))),
    ("Z25", Case(in_flash(lambda new: padded(new, 0)), (True, True), (True, True))),
    ("Z26", Case(in_flash(lambda new: padded(new, 0)), (True, True), (False, False))),
    ("Z26", Case(in_flash(lambda new: padded(new, 2000)), (True, True), (True, True))),
    ("Z27", Case(in_flash(lambda new: new), (True, True), (False, False))),
    ("Z27", Case(in_flash(lambda new: padded(new, 0)), (True, True), (False, False))),
    ("Z28", Case(in_flash(with_ones), (True, True), (True, False))),
    ("Z29", Case(a_slot_is_erased_for_what_is_too_large, False, True)),
    ("Z30", Case(slots_that_hold_new, [False, True], [True, False])),
]


def agrees(seen: object, outcome: object) -> bool:
    """Whether it is that; of a text the beginning counts."""
    if isinstance(seen, tuple) and isinstance(outcome, tuple):
        return all(map(agrees, seen, outcome))
    return seen.startswith(outcome) if isinstance(seen, str) else seen == outcome


@pytest.mark.parametrize(
    ("bug", "case"), CASES, ids=[f"{bug} {case.see.__qualname__}" for bug, case in CASES]
)
def test_a_planted_bug_does_what_its_words_say_and_only_then(bug, case):
    for bugs, outcome in (((), case.clean), ((bug,), case.wrong)):
        with Board(bugs, **case.ways) as board:
            seen = story(case.see(board))
            assert agrees(seen, outcome), (bugs, seen)


def test_each_bug_of_this_half_is_shown():
    assert {bug for bug, _ in CASES} == {one for one in BUGS if int(one[1:]) <= 30}
