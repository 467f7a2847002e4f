"""A virtual board's resolver, against a DNS library and a name server that are not its own."""

import asyncio
import socket

import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.rig.network import dns_codec
from pytest_blynk_ota.rig.network.dns_codec import read_question
from pytest_blynk_ota.rig.network.name_server import NameServer
from pytest_blynk_ota.rig.network.names import Answers, Names, Rule
from pytest_blynk_ota.virtual.chip.clock import DeviceClock
from pytest_blynk_ota.virtual.network.air import Air
from pytest_blynk_ota.virtual.network.dns import Found, NoAddress, question, read_answer
from pytest_blynk_ota.virtual.network.resolver import Resolver
from pytest_blynk_ota.virtual.network.tcp import Network

FIRMWARE = "firmware.rig.test"
SPEED = 20.0

labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)
hosts = st.lists(labels, min_size=1, max_size=6).map(".".join).filter(lambda name: len(name) < 250)


# ---- the codec


@given(ident=st.integers(0, 65535), name=hosts)
def test_a_question_is_one_to_a_library_that_is_not_ours(ident, name):
    message = dns.message.from_wire(question(ident, name))
    assert message.id == ident
    assert message.question[0].to_text() == f"{name}. IN A"


@given(
    name=hosts,
    addresses=st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=4),
    aliases=st.integers(0, 2),
    ttl=st.integers(0, 604800),
)
def test_the_first_address_is_found_behind_any_aliases(name, addresses, aliases, ttl):
    asked = question(7, name)
    response = dns.message.make_response(dns.message.from_wire(asked))
    owner = f"{name}."
    for number in range(aliases):
        response.answer.append(dns.rrset.from_text(owner, ttl, "IN", "CNAME", f"a{number}.test."))
        owner = f"a{number}.test."
    response.answer.append(dns.rrset.from_text(owner, ttl, "IN", "A", *addresses))
    octets = response.to_wire()  # in any order of the addresses
    first = str(dns.message.from_wire(octets).answer[-1][0])
    assert read_answer(octets, asked) == Found(first, ttl)


@given(st.binary(max_size=512), st.booleans())
def test_no_octets_do_more_than_name_an_address_or_none(octets, begins_well):
    asked = question(7, FIRMWARE)
    head = asked[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked[12:] if begins_well else b""
    try:
        found = read_answer(head + octets, asked)
    except NoAddress:
        return
    assert found is None or isinstance(found, Found)


@pytest.mark.parametrize(
    "change",
    [
        lambda response: setattr(response, "id", 8),
        lambda response: response.question.clear(),
        lambda response: setattr(response, "flags", 0),
    ],
    ids=["another number", "another question", "no answer"],
)
def test_an_answer_to_something_else_is_none(change):
    asked = question(7, FIRMWARE)
    response = dns.message.make_response(dns.message.from_wire(asked))
    response.answer.append(dns.rrset.from_text(f"{FIRMWARE}.", 0, "IN", "A", "192.0.2.7"))
    assert read_answer(response.to_wire(), asked)
    change(response)
    assert read_answer(response.to_wire(), asked) is None


@pytest.mark.parametrize(
    ("code", "word"), [("NXDOMAIN", "nxdomain"), ("SERVFAIL", "error 2"), ("NOERROR", "no address")]
)
def test_an_answer_without_an_address_is_the_end_of_it(code, word):
    asked = question(7, FIRMWARE)
    response = dns.message.make_response(dns.message.from_wire(asked))
    response.set_rcode(dns.rcode.from_text(code))
    with pytest.raises(NoAddress, match=word):
        read_answer(response.to_wire(), asked)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, "ä.test", ".".join(["x" * 60] * 5)])
def test_a_name_that_no_dns_has_is_refused(name):
    with pytest.raises(ValueError):
        question(7, name)


# ---- the resolver


def played(play, *, hears=lambda: True):
    """Runs ``play(server, resolver, told)``; ``told`` are the answers that went out."""
    told = []

    def record(source, kind, board=None, /, **data):
        told.append(data["answer"])

    async def scenario():
        server = NameServer(
            record,
            Names("rig.test", {"firmware": "127.0.0.1"}),
            host="127.0.0.1",
            speed=SPEED,
        )
        await server.start()
        try:
            await play(server, Resolver(DeviceClock(SPEED), hears), told)
        finally:
            await server.stop()

    asyncio.run(scenario())


def rule(*words, **more):
    return Rule(FIRMWARE, Answers.of(list(words), **more))


def device_s(began):
    return (asyncio.get_running_loop().time() - began) * SPEED


def test_an_address_is_what_the_name_server_says():
    async def play(server, resolver, told):
        assert await resolver.address(server.address, FIRMWARE) == "127.0.0.1"
        with pytest.raises(NoAddress, match="nxdomain"):
            await resolver.address(server.address, "other.rig.test")

    played(play)


def test_silence_ends_after_four_tries_in_seven_device_seconds():
    async def play(server, resolver, told):
        server.names.add(rule("silence"))
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoAddress, match="silence"):
            await resolver.address(server.address, FIRMWARE)
        assert 7 <= device_s(began) < 10
        assert told == ["silence"] * 4

    played(play)


def test_an_answer_to_an_early_try_is_good_for_a_later_one():
    async def play(server, resolver, told):
        server.names.add(rule("right", delay=2.5))
        began = asyncio.get_running_loop().time()
        assert await resolver.address(server.address, FIRMWARE) == "127.0.0.1"
        assert 2.5 <= device_s(began) < 4

    played(play)


def test_an_answer_is_kept_for_its_time_and_not_beyond_a_reset():
    async def play(server, resolver, told):
        server.names.add(rule("192.0.2.1", "192.0.2.2", "192.0.2.3", ttl=1000))
        assert await resolver.address(server.address, FIRMWARE) == "192.0.2.1"
        assert await resolver.address(server.address, FIRMWARE) == "192.0.2.1"
        resolver.forget()
        assert await resolver.address(server.address, FIRMWARE) == "192.0.2.2"

    played(play)


def test_an_answer_without_time_is_asked_for_again():
    async def play(server, resolver, told):
        for _ in range(2):
            await resolver.address(server.address, FIRMWARE)
        assert len(told) == 2

    played(play)


def test_a_board_off_the_air_asks_nobody():
    async def play(server, resolver, told):
        with pytest.raises(NoAddress, match="silence"):
            await resolver.address(server.address, FIRMWARE)
        assert told == []

    played(play, hears=lambda: False)


def test_the_answer_of_another_host_is_none():
    async def scenario():
        loop = asyncio.get_running_loop()
        with (
            socket.socket(type=socket.SOCK_DGRAM) as server,
            socket.socket(type=socket.SOCK_DGRAM) as stranger,
        ):
            server.bind(("127.0.0.1", 0))
            server.setblocking(False)
            resolver = Resolver(DeviceClock(1), lambda: True)
            asking = asyncio.ensure_future(resolver.address(server.getsockname(), FIRMWARE))
            octets, peer = await loop.sock_recvfrom(server, 512)
            for sender, address in ((stranger, "192.0.2.66"), (server, "192.0.2.7")):
                sender.sendto(dns_codec.reply(read_question(octets), addresses=[address]), peer)
            assert await asking == "192.0.2.7"

    asyncio.run(scenario())


# ---- on the air


def test_a_connection_goes_where_the_name_server_of_its_domain_says():
    async def play(server, resolver, told):
        arrived = asyncio.Event()
        listener = await asyncio.start_server(lambda *_: arrived.set(), "127.0.0.1", 0)
        host, port = server.address
        network = Network(Air(resolvers={"rig.test": f"{host}:{port}"}), DeviceClock(SPEED))
        try:
            await network.open_connection(FIRMWARE, listener.sockets[0].getsockname()[1])
            await arrived.wait()
            with pytest.raises(OSError, match=r"DNS for no.rig.test: nxdomain"):
                await network.open_connection("no.rig.test", 1)
        finally:
            network.close()
            listener.close()
        assert told == ["127.0.0.1", "nxdomain"]

    played(play)


def test_a_reset_board_asks_anew():
    async def play(server, resolver, told):
        listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        door = listener.sockets[0].getsockname()[1]
        host, port = server.address
        network = Network(Air(resolvers={"rig.test": f"{host}:{port}"}), DeviceClock(SPEED))
        server.names.add(rule("right", "nxdomain", ttl=1000))
        try:
            for _ in range(2):
                await network.open_connection(FIRMWARE, door)
            network.drop()
            network.up()
            with pytest.raises(OSError, match="nxdomain"):
                await network.open_connection(FIRMWARE, door)
        finally:
            network.close()
            listener.close()

    played(play)


def test_names_of_no_such_domain_and_addresses_are_not_asked_for():
    air = Air(resolvers={"rig.test": "192.0.2.1:53", "lab.rig.test": "192.0.2.2:53"})
    assert air.name_server("a.rig.test") == ("192.0.2.1", 53)
    assert air.name_server("RIG.test") == ("192.0.2.1", 53)
    assert air.name_server("b.lab.rig.test") == ("192.0.2.2", 53)
    assert air.name_server("a.other.test") is None
    assert air.name_server("arig.test") is None
    assert air.name_server("192.0.2.9") is None


@pytest.mark.parametrize(
    "value", [{"rig.test": "here"}, {"rig.test": "host:53"}, {"Rig.test": "192.0.2.1:53"}, ["x"]]
)
def test_a_name_server_that_cannot_be_is_refused(value):
    with pytest.raises(UsageError, match='resolvers: expected domains in lower case with the "ADD'):
        Air().set({"resolvers": value})
