"""Each planted bug of a download, Z1 to Z30, does what its words say; the clean firmware does not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from test_vfw_planted_bugs import Board, Case, life, over, shipped, slowly, versions
from test_vfw_reference import MD5, Web, cut, events, rest, status, whole
from vfw_bench import story
from vfw_peer import BlynkPeer, WebPeer, ota

from pytest_blynk_ota.cloud.protocol import Cmd, Frame

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


async def requests_for_what_is_not_there(board: Board) -> object:
    web, enough = Web(status("404 Not Found")), asyncio.Event()
    serve = web.serve

    async def counted(reader, writer):
        await serve(reader, writer)
        if len(web.requests) == 6:
            enough.set()

    web.serve = counted
    async with life(board, web) as cloud:
        ways = {asyncio.ensure_future(cloud.hears(over)), asyncio.ensure_future(enough.wait())}
        _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
    return len(web.requests)


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


# ---- the bugs

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
    ("Z23", Case(insisted(17), DONE, "crash")),
    ("Z24", Case(insisted(17), DONE, "OTA failed: no timer")),
]


@pytest.mark.parametrize(
    ("bug", "case"), CASES, ids=[f"{bug} {case.see.__qualname__}" for bug, case in CASES]
)
def test_a_planted_bug_does_what_its_words_say_and_only_then(bug, case):
    for bugs, outcome in (((), case.clean), ((bug,), case.wrong)):
        with Board(bugs, **case.ways) as board:
            seen = story(case.see(board))
            same = seen.startswith(outcome) if isinstance(outcome, str) else seen == outcome
            assert same, (bugs, seen)
