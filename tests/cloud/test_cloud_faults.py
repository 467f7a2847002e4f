"""Faults of the cloud: their words, and what a device sees of each at its socket."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from cloud_peer import INFO, OTHER_TOKEN, TOKEN, Cloud, Peer, until
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.cloud import faults
from pytest_blynk_ota.cloud.faults import PARAMETERS, CloudFault, parse
from pytest_blynk_ota.cloud.protocol import Cmd, response
from pytest_blynk_ota.errors import FaultError, RigError, UsageError
from pytest_blynk_ota.evidence.event import Event

URL = "http://h/f/new?token=x&s=0"
numbers = st.one_of(st.integers(1, 10**6), st.floats(0.001, 1e6).map(lambda n: round(n, 3)))
VALUES = {
    "version": st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True),
    "seconds": numbers,
    "at": st.sampled_from(list(faults.PHASES)),
    "status": st.integers(1, 199),
    "text": st.text(st.characters(codec="utf-8", exclude_characters='\0"'), max_size=40),
}


@st.composite
def cloud_fault(draw):
    kind = draw(st.sampled_from(list(PARAMETERS)))
    values = {name: draw(VALUES[name]) for name in PARAMETERS[kind]}
    offers = draw(st.none() | st.lists(st.integers(1, 99), min_size=1, max_size=3).map(tuple))
    return CloudFault(kind, values, offers, draw(st.booleans()))


@given(cloud_fault())
def test_a_fault_is_read_back_from_its_text_and_from_its_python(fault):
    assert parse(str(fault)) == fault
    assert eval(repr(fault), {"cloud_faults": faults}) == fault


@pytest.mark.parametrize(
    "text",
    [
        "delay 60 on offer 1 maybe",
        "delay seconds=60 maybe on offer 1",
        "delay 60.0 maybe on offer 1",
    ],
)
def test_the_first_value_may_stand_without_its_name_and_the_clauses_in_any_order(text):
    assert parse(text) == faults.delay(60).on_offer(1).maybe()


@pytest.mark.parametrize("text", ["last_5x", "last 5", "last 5x", "", "a=b", "x\ny"])
def test_any_text_may_go_out_in_place_of_the_url(text):
    assert parse(str(faults.url(text))).values == {"text": text}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("restrat", "did you mean 'restart'"),
        ("", "unknown cloud fault ''"),
        ("drop seconds=3", "drop has no parameter 'seconds'; it has none"),
        ("delay", "delay: seconds is missing"),
        ("delay secs=3", "did you mean 'seconds'"),
        ("delay seconds=-1", "a number above 0"),
        ("delay seconds=nan", "a number above 0"),
        ("delay seconds=3 4", "'4' in 'delay seconds=3 4' is no name=value"),
        ("drop 3", "'3' in 'drop 3' is no name=value"),
        ("delay seconds=1 seconds=2", "stands twice"),
        ("silent seconds=1 at=reboot", "is no phase"),
        ("refuse seconds=1 status=200", "other than 200"),
        ("drop on offer 0", "0 is no offer"),
        ("drop on attempt 1", "counts offers; as 'drop on offer 1'"),
        ("stall after=50%", r"stall is a fault of the download: faults.stall\(\)"),
    ],
)
def test_words_that_are_no_fault_are_refused_by_name(text, words):
    with pytest.raises(FaultError, match=words):
        parse(text)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (("ignore", "drop"), "'drop' could never begin: 'ignore' comes before"),
        (("slow seconds=1", "ignore"), "'slow at=offer seconds=1' could never begin: 'ignore'"),
        (
            ("ignore on offer 1, 2", "twice on offer 2"),
            "'twice seconds=1 on offer 2' could never begin",
        ),
        (("delay seconds=3", "delay seconds=5"), "'delay seconds=5' could never begin"),
        (("url text=a", "url text=b on offer 2"), "'url text=b on offer 2' could never begin"),
        (("drop on offer 1", "drop on offer 2", "drop on offer 1, 2"), "'drop on offer 1, 2'"),
    ],
)
def test_a_fault_that_others_keep_from_beginning_is_refused_with_the_first_of_them(texts, words):
    with pytest.raises(FaultError, match=words):
        faults.refuse_idle([parse(text) for text in texts])


@pytest.mark.parametrize(
    "texts",
    [
        ("ignore on offer 1", "drop"),
        ("ignore", "url text=a", "silent seconds=9 at=request"),
        ("delay seconds=3 on offer 1", "delay seconds=5"),
        ("restart at=offer", "restart at=offer seconds=9"),
    ],
)
def test_faults_that_can_all_begin_stand_side_by_side(texts):
    faults.refuse_idle([parse(text) for text in texts])


class Victim:
    """A device in trouble, and one beside it that must not feel it."""

    def __init__(self, cloud: Cloud, *asked: CloudFault) -> None:
        self.cloud = cloud
        self._asked = asked

    async def __aenter__(self) -> Victim:
        self.peer, self.beside = await self.cloud.login(), await self.cloud.login(OTHER_TOKEN)
        await self.peer.ask(Cmd.INTERNAL, 2, *INFO)
        self.mischief = await self.cloud.server.misbehave("a", self._asked)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.mischief.end()
        self.peer.leave()
        self.beside.leave()

    async def offer(self, number: int = 1) -> int | None:
        return await self.cloud.server.send_ota("a", URL, offer=f"o{number}")

    async def url(self) -> str:
        message = await self.peer.receive()
        assert (message.cmd, message.parts[0]) == (Cmd.INTERNAL, "ota")
        return message.parts[1]

    def fired(self) -> list[str]:
        return [event.data["text"] for event in self.cloud.seen("fault", "a")]

    def held(self) -> list[str]:
        return [event.data["what"] for event in self.cloud.seen("action", "a")]


@pytest.mark.asyncio
async def test_an_ignored_offer_is_withheld_and_the_next_goes_out():
    async with Cloud() as cloud, Victim(cloud, faults.ignore().on_offer(1)) as victim:
        assert await victim.offer() is not None
        assert cloud.seen("ota_sent") == []
        assert len(cloud.seen("withheld", "a")) == 1
        await victim.offer(2)
        assert await victim.url() == URL
        assert victim.fired() == ["ignore on offer 1"]


@pytest.mark.asyncio
async def test_a_dropped_link_comes_after_the_url():
    async with Cloud() as cloud, Victim(cloud, faults.drop()) as victim:
        await victim.offer()
        assert await victim.url() == URL
        assert await victim.peer.closed() == b""
        assert await victim.beside.alive()


@pytest.mark.asyncio
async def test_a_late_offer_comes_late_and_once():
    async with Cloud(speed=100) as cloud, Victim(cloud, faults.delay(seconds=20)) as victim:
        begun = time.monotonic()
        await victim.offer()
        assert await victim.peer.alive()
        assert cloud.seen("ota_sent") == []
        assert await victim.url() == URL
        assert time.monotonic() - begun >= 0.2
        assert len(cloud.seen("ota_sent", "a")) == 1


@pytest.mark.asyncio
async def test_an_offer_comes_twice():
    async with Cloud(speed=100) as cloud, Victim(cloud, faults.twice(seconds=2)) as victim:
        await victim.offer()
        assert [await victim.url(), await victim.url()] == [URL, URL]


@pytest.mark.asyncio
async def test_each_login_is_sent_to_another_host_and_let_in_there():
    async with Cloud() as cloud:
        async with Victim(cloud, faults.redirect(at="offer")) as victim:
            await victim.offer()
            await until("the other host", lambda: cloud.server._registry.get("a").manners.elsewhere)
            peer = await cloud.connect()
            sent = await peer.ask(Cmd.LOGIN, 5, TOKEN)
            assert (sent.cmd, sent.id) == (Cmd.REDIRECT, 5)
            host, port = sent.parts
            assert (host, int(port)) != cloud.server.address
            there = Peer(*await asyncio.open_connection(host, int(port)))
            assert (await there.ask(Cmd.LOGIN, 1, TOKEN)).status == 200
            assert cloud.seen("connected")[-1].data["elsewhere"]
            assert await victim.beside.alive()
            peer.leave()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(host, int(port))
        (await cloud.login()).leave()
        assert await there.closed() == b""


@pytest.mark.asyncio
async def test_a_session_is_taken_over_once_by_a_client_that_is_known_to_be_none():
    async with Cloud() as cloud, Victim(cloud, faults.takeover(at="offer")) as victim:
        await victim.offer()
        assert await victim.url() == URL
        assert await victim.peer.closed() == b""
        intruder = (await cloud.event("intruder", "a")).data["session"]
        assert cloud.server.device("a").session == intruder
        assert len(cloud.seen("report", "a")) == 1
        (await cloud.login()).leave()
        assert (await cloud.event("closed", "a", 2)).data["session"] == intruder
        assert await victim.beside.alive()


@pytest.mark.asyncio
async def test_a_twin_comes_back_each_time_that_its_session_is_taken():
    async with Cloud(speed=20) as cloud, Victim(cloud, faults.twin("9.9.9")) as victim:
        await victim.offer()
        for count in (2, 3):
            assert (await cloud.event("report", "a", count)).data["version"] == "9.9.9"
            (await cloud.login()).leave()
        assert cloud.seen("intruder") == []


@pytest.mark.asyncio
async def test_a_twin_is_gone_with_the_operation():
    async with Cloud(speed=20) as cloud:
        async with Victim(cloud, faults.twin("9.9.9")) as victim:
            await victim.offer()
            await cloud.event("report", "a", 2)
        await until("it to leave", lambda: not cloud.server.device("a").online)


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["", "x" * 2000, "no scheme", "ftp://h/x"])
async def test_a_bad_url_goes_out_as_it_is(text):
    async with Cloud() as cloud, Victim(cloud, faults.url(text)) as victim:
        await victim.offer()
        assert await victim.url() == text


@pytest.mark.asyncio
async def test_a_restart_drops_all_and_comes_back_at_the_same_port_with_the_same_devices():
    async with Cloud(speed=20) as cloud, Victim(cloud, faults.restart(seconds=4)) as victim:
        address = cloud.server.address
        await victim.offer()
        for peer in (victim.peer, victim.beside):
            await peer.closed()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(*address)
        await until("the cloud to be back", lambda: victim.held() == ["cloud.off", "cloud.on"])
        assert cloud.server.address == address
        assert cloud.server.device("a").reports[0].version == "1.2.3"
        (await cloud.login()).leave()


@pytest.mark.asyncio
async def test_a_stop_within_a_restart_stays_a_stop():
    async with Cloud() as cloud, Victim(cloud, faults.restart(seconds=60)) as victim:
        await victim.offer()
        await victim.peer.closed()
        await cloud.server.stop()
        await victim.mischief.end()
        assert cloud.server._ears == []


@pytest.mark.asyncio
async def test_a_silent_cloud_reads_and_answers_nothing_not_even_a_login():
    async with Cloud(speed=20) as cloud, Victim(cloud, faults.silent(seconds=8)) as victim:
        await victim.offer()
        await victim.url()
        victim.peer.send(Cmd.PING, 5)
        again = await cloud.connect()
        again.send(Cmd.LOGIN, 1, TOKEN)
        assert await victim.beside.alive()
        await until("the silence to end", lambda: victim.held() == ["cloud.off", "cloud.on"])
        assert await again.ask(Cmd.LOGIN, 1, TOKEN) == response(1)
        again.leave()


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [None, 9])
async def test_logins_are_refused_with_no_answer_or_with_the_status_asked_for(status):
    fault = faults.refuse(seconds=8, status=status)
    async with Cloud(speed=20) as cloud, Victim(cloud, fault) as victim:
        await victim.offer()
        await victim.url()
        assert await victim.peer.closed() == b""
        again = await cloud.connect()
        again.send(Cmd.LOGIN, 1, TOKEN)
        if status is not None:
            assert await again.receive() == response(1, 9)
        assert await again.closed() == b""
        assert "a fault of the cloud" in cloud.seen("refused", "a")[0].data["why"]
        await until("the end of it", lambda: victim.held() == ["cloud.off", "cloud.on"])
        (await cloud.login()).leave()


@pytest.mark.asyncio
async def test_a_slow_cloud_answers_late_and_in_order():
    async with Cloud(speed=20) as cloud, Victim(cloud, faults.slow(seconds=4)) as victim:
        await victim.offer()
        await victim.url()
        begun = time.monotonic()
        victim.peer.send(Cmd.PING, 5)
        victim.peer.send(Cmd.PING, 6)
        assert [await victim.peer.receive(), await victim.peer.receive()] == [
            response(5),
            response(6),
        ]
        assert time.monotonic() - begun >= 0.2
        await victim.mischief.end()
        assert await victim.peer.alive()


PHASES = {
    "request": ("delivery", "request", {"method": "GET"}),
    "delivered": ("delivery", "ended", {"how": "complete"}),
    "login": ("cloud", "login", {}),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("phase", PHASES)
async def test_a_fault_begins_at_its_phase_once_in_each_offer(phase):
    async with Cloud() as cloud, Victim(cloud, faults.slow(seconds=1, at=phase)) as victim:
        story = list(PHASES.values())
        for source, kind, data in story:  # before there is an offer
            victim.mischief.follow(cloud.timeline.add(source, kind, "a", **data))
        await victim.offer()
        assert victim.fired() == []
        for source, kind, data in story[: list(PHASES).index(phase)]:
            victim.mischief.follow(cloud.timeline.add(source, kind, "a", **data))
        assert victim.fired() == []
        source, kind, data = PHASES[phase]
        for _ in range(2):
            victim.mischief.follow(cloud.timeline.add(source, kind, "b", **data))
            victim.mischief.follow(cloud.timeline.add(source, kind, "a", **data))
        assert len(victim.fired()) == 1
        await victim.offer(2)
        for source, kind, data in story:
            victim.mischief.follow(cloud.timeline.add(source, kind, "a", **data))
        assert len(victim.fired()) == 2


@pytest.mark.asyncio
async def test_one_operation_at_a_time_has_faults_for_a_device_and_its_end_is_an_end():
    async with Cloud() as cloud:
        async with Victim(cloud, faults.delay(seconds=60)) as victim:
            with pytest.raises(UsageError, match="faults for it already"):
                await cloud.server.misbehave("a", [])
            await victim.offer()
        assert cloud.seen("ota_sent") == []
        assert not [
            task
            for task in asyncio.all_tasks()
            if "wait" in task.get_coro().__qualname__ and "Mischief" in task.get_coro().__qualname__
        ]
        async with Victim(cloud) as victim:
            await victim.offer()
            assert await victim.url() == URL


@pytest.mark.asyncio
async def test_a_cloud_that_cannot_come_back_is_told_of_at_the_end():
    async with Cloud(speed=100) as cloud:
        address = cloud.server.address
        peer = await cloud.login()
        mischief = await cloud.server.misbehave("a", [faults.restart(seconds=100)])
        await cloud.server.send_ota("a", URL, offer="o1")
        await peer.closed()
        await until("the port to be free", lambda: not cloud.server._ears)
        with socket.create_server(address):
            await until("the cloud to be back", lambda: not mischief._tasks)
        with pytest.raises(RigError, match="another program has it"):
            await mischief.end()


@pytest.mark.asyncio
async def test_an_operation_that_ends_while_the_cloud_goes_away_leaves_it_there():
    async with Cloud() as cloud:
        peer = await cloud.login()
        mischief = await cloud.server.misbehave("a", [faults.restart(seconds=100)])
        await cloud.server.send_ota("a", URL, offer="o1")
        await asyncio.sleep(0)  # the fault has begun, and its connections are not gone yet
        await mischief.end()
        await peer.closed()
        assert await (await cloud.login()).alive()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault", [faults.slow(seconds=3600), faults.silent(seconds=3600), faults.refuse(seconds=3600)]
)
async def test_nothing_of_a_fault_is_left_when_its_operation_ends(fault):
    async with Cloud() as cloud:
        peer = await cloud.login()
        mischief = await cloud.server.misbehave("a", [fault])
        await cloud.server.send_ota("a", URL, offer="o1")
        await mischief.end()
        peer.leave()
        assert await (await cloud.login()).alive()


@pytest.mark.asyncio
async def test_a_login_counts_after_the_file_of_this_offer_and_not_of_the_one_before():
    fault = faults.silent(seconds=60, at="login")
    async with Cloud() as cloud, Victim(cloud, fault) as victim:
        whole = Event(1, 0.0, 0.0, "delivery", "ended", "a", {"how": "complete"})
        back = Event(2, 0.0, 0.0, "cloud", "login", "a", {})
        await victim.offer()
        victim.mischief.follow(whole)
        await victim.offer(2)
        victim.mischief.follow(back)
        assert victim.fired() == []
        victim.mischief.follow(whole)
        victim.mischief.follow(back)
        assert len(victim.fired()) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["refuse", "restart", "silent"])
async def test_a_device_is_away_until_the_last_of_several_faults_is_over(kind):
    long, short = CloudFault(kind, {"seconds": 100}), faults.silent(seconds=10)
    async with Cloud(speed=100) as cloud, Victim(cloud, long, short) as victim:
        begun = time.monotonic()
        await victim.offer()
        await until("the device to be back", lambda: not victim.mischief._tasks)
        assert time.monotonic() - begun >= 1.0
        assert victim.held() == ["cloud.off", "cloud.on"]


@pytest.mark.asyncio
async def test_of_two_restarts_the_longer_one_opens_the_doors():
    both = [faults.restart(seconds=100), faults.restart(seconds=10)]
    async with Cloud(speed=100) as cloud, Victim(cloud, *both) as victim:
        await victim.offer()
        await until("the shorter one to be over", lambda: len(victim.mischief._tasks) == 1)
        assert not cloud.server._ears
        await until("the longer one to be over", lambda: not victim.mischief._tasks)
        assert cloud.server._ears


@pytest.mark.asyncio
async def test_a_shorter_silence_does_not_end_a_longer_one():
    both = [faults.silent(seconds=3600), faults.silent(seconds=1)]
    async with Cloud(speed=100) as cloud, Victim(cloud, *both) as victim:
        await victim.offer()
        await until("the shorter one to be over", lambda: len(victim.mischief._tasks) == 1)
        assert cloud.server._registry.get("a").manners.is_silent(time.monotonic())


@pytest.mark.asyncio
async def test_an_offer_into_the_silence_of_the_cloud_is_none_and_takes_no_number():
    silent, drop = faults.silent(seconds=20).on_offer(1), faults.drop().on_offer(2)
    async with Cloud(speed=100) as cloud, Victim(cloud, silent, drop) as victim:
        await victim.offer()
        assert await victim.offer(2) is None
        await until("the cloud to speak again", lambda: not victim.mischief._tasks)
        assert await victim.offer(2) is not None
        assert victim.fired()[1:] == ["drop on offer 2"]


@pytest.mark.asyncio
async def test_a_silence_at_the_login_begins_before_the_device_says_what_it_is():
    fault = faults.silent(seconds=3600, at="login")
    async with Cloud() as cloud, Victim(cloud, fault) as victim:
        await victim.offer()
        victim.mischief.follow(Event(1, 0.0, 0.0, "delivery", "ended", "a", {"how": "complete"}))
        reports = len(cloud.seen("report", "a"))
        back = await cloud.login()
        assert victim.fired() == [str(fault)]
        back.send(Cmd.INTERNAL, 3, *INFO)
        await victim.beside.alive()
        assert len(cloud.seen("report", "a")) == reports


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [
    {"status": 302, "page": True}, {"status": 503, "page": True},
    {"status": 206, "part": [0, 9, 99]},
])  # fmt: skip
async def test_the_file_is_delivered_by_its_last_answer_not_by_a_page_or_a_part_before_it(answer):
    async with Cloud() as cloud, Victim(cloud, faults.slow(seconds=1, at="delivered")) as victim:
        await victim.offer()
        data = {"how": "complete", "announced": 9}
        victim.mischief.follow(Event(1, 0.0, 0.0, "delivery", "ended", "a", data | answer))
        assert victim.fired() == []
        whole = data | {"status": 200}
        victim.mischief.follow(Event(2, 0.0, 0.0, "delivery", "ended", "a", whole))
        assert len(victim.fired()) == 1
