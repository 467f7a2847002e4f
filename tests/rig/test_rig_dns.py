"""The rig's name server, against a DNS library that is not ours."""

import asyncio
from ipaddress import ip_address

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.errors import FaultError, RigError
from pytest_blynk_ota.rig.network import dns_codec
from pytest_blynk_ota.rig.network.dns_codec import NoQuestion, read_question
from pytest_blynk_ota.rig.network.name_server import NameServer
from pytest_blynk_ota.rig.network.names import Answers, Names, Rule

RIGHT = "192.0.2.7"
FIRMWARE = "firmware.rig.test"

labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=63)
hosts = st.lists(labels, min_size=1, max_size=8).map(".".join).filter(lambda name: len(name) < 250)
v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6).map(str)


def names():
    return Names("rig.test", {"firmware": RIGHT, "cloud": RIGHT})


def asked(name, kind="A", **more):
    return dns.message.make_query(name, kind, **more)


def said(table, name, kind="A"):
    """What a table answers, in the library's words; None: nothing."""
    query = asked(name, kind)
    answer = table.answer(query.to_wire()).answer
    if answer is None:
        return None
    message = dns.message.from_wire(answer)
    assert query.is_response(message)
    code = dns.rcode.to_text(message.rcode())
    found = [str(record) for section in message.answer for record in section]
    return found or code


def rule(*words, of=FIRMWARE, **more):
    return Rule(of, Answers.of(list(words), **more))


# ---- the codec


@given(name=hosts, ident=st.integers(0, 65535), edns=st.booleans(), wants=st.booleans())
def test_a_question_reads_as_it_was_asked(name, ident, edns, wants):
    query = asked(name, use_edns=edns, id=ident, flags=dns.flags.RD if wants else 0)
    question = read_question(query.to_wire())
    assert (question.ident, question.name, question.kind) == (ident, name.lower(), dns_codec.A)
    assert question.recursion is wants


@given(
    name=hosts,
    kind=st.sampled_from(["A", "AAAA"]),
    addresses=st.lists(v4 | v6, max_size=4, unique=True),
    ttl=st.integers(0, 604800),
)
def test_an_answer_holds_the_addresses_of_the_type_that_was_asked_for(name, kind, addresses, ttl):
    query = asked(name, kind)
    answer = dns_codec.reply(read_question(query.to_wire()), addresses=addresses, ttl=ttl)
    message = dns.message.from_wire(answer)
    assert query.is_response(message)
    found = {ip_address(str(record)) for section in message.answer for record in section}
    assert found == {ip_address(one) for one in addresses if (":" in one) is (kind == "AAAA")}
    assert {section.ttl for section in message.answer} <= {ttl}


@given(st.binary(max_size=600))
def test_no_octets_are_more_than_no_question(octets):
    answer = None
    try:
        read_question(octets)
    except NoQuestion as error:
        answer = error.answer
    assert answer is None or octets[:2] == answer[:2]


@given(cut=st.integers(0, 100), name=hosts)
def test_a_question_that_is_cut_short_is_none(cut, name):
    octets = asked(name, use_edns=False).to_wire()
    with pytest.raises(NoQuestion):
        read_question(octets[: min(cut, len(octets) - 1)])


def _wire(change):
    query = asked("a.rig.test", use_edns=False, id=7)
    return change(query, bytearray(query.to_wire()))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda query, octets: bytes([octets[0], octets[1], 0x81]) + octets[3:], None),
        (lambda query, octets: octets[:5] + bytes([2]) + octets[6:], "FORMERR"),
        (lambda query, octets: octets[:2] + bytes([0x28]) + octets[3:], "NOTIMP"),
        (lambda query, octets: octets[:12] + b"\xc0\x0c" + octets[-4:], "FORMERR"),
        (lambda query, octets: octets[:-1] + b"\3", "REFUSED"),
        (lambda query, octets: octets[:12] + b"\1a" * 128 + b"\0" + octets[-4:], "FORMERR"),
    ],
    ids=["an answer", "two questions", "an update", "a pointer", "Chaosnet", "too long a name"],
)
def test_what_is_no_query_for_one_name_is_refused_or_gets_no_answer(change, code):
    with pytest.raises(NoQuestion) as caught:
        read_question(_wire(change))
    answer = caught.value.answer
    assert (answer and dns.rcode.to_text(dns.message.from_wire(answer).rcode())) == code


# ---- what is answered


def test_the_rigs_names_have_its_address_and_no_other_of_its_domain_is_there():
    table = names()
    assert said(table, FIRMWARE) == said(table, "Cloud.RIG.test") == [RIGHT]
    assert said(table, "else.rig.test") == "NXDOMAIN"
    assert said(table, "example.com") == "REFUSED"
    assert said(table, FIRMWARE, "AAAA") == "NOERROR"


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("nxdomain", "NXDOMAIN"),
        ("servfail", "SERVFAIL"),
        ("refused", "REFUSED"),
        ("nodata", "NOERROR"),
        ("silence", None),
        ("right", [RIGHT]),
        ("192.0.2.99", ["192.0.2.99"]),
    ],
)
def test_each_answer_is_given_to_the_name_that_it_is_for_alone(word, answer):
    table = names()
    table.add(rule(word))
    assert said(table, FIRMWARE) == answer
    assert said(table, "cloud.rig.test") == [RIGHT]


def test_answers_come_in_their_order_and_the_last_holds_on():
    table = names()
    moved = rule("192.0.2.99", "nxdomain", "right")
    table.add(moved)
    assert [said(table, FIRMWARE) for _ in range(4)] == [
        ["192.0.2.99"],
        "NXDOMAIN",
        [RIGHT],
        [RIGHT],
    ]
    assert moved.asked == 4


def test_the_answer_that_was_asked_for_last_holds_and_the_one_before_after_it():
    table = names()
    outer, inner = rule("nxdomain"), rule("servfail")
    table.add(outer)
    table.add(inner)
    assert said(table, FIRMWARE) == "SERVFAIL"
    table.remove(inner)
    assert said(table, FIRMWARE) == "NXDOMAIN"
    table.remove(outer)
    assert said(table, FIRMWARE) == [RIGHT]


def test_events_show_the_name_its_type_and_the_answer():
    table = names()
    told = table.answer(asked(FIRMWARE).to_wire()).told
    assert told == {"name": FIRMWARE, "type": "A", "answer": RIGHT}
    assert table.answer(b"hello").told == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"answers": "nxdomian"}, "'nxdomian' is no IP address and no answer; did you mean"),
        ({"answers": "192.0.2"}, "'192.0.2' is no IP address"),
        ({"answers": []}, "expected an answer, or a list of them"),
        ({"answers": None}, "expected an answer, or a list of them"),
        ({"answers": ["right", 7]}, "7 is no IP address and no answer"),
        ({"answers": "right", "delay": -1}, "expected a number, 0 or more"),
        ({"answers": "right", "ttl": 0.5}, "expected a whole number"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_with_what_was_expected(given, words):
    with pytest.raises(FaultError) as caught:
        Answers.of(given.pop("answers"), **given)
    assert words in str(caught.value)


def test_a_name_that_the_rig_has_not_names_the_nearest():
    with pytest.raises(FaultError, match="no name 'clod'; did you mean 'cloud'"):
        names().full("clod")


# ---- over UDP


def over_udp(play, *, speed=100.0, **more):
    """Runs ``play(server, told)`` against a server that listens."""
    told = []

    def record(source, kind, board=None, /, **data):
        told.append((source, kind, data))

    async def scenario():
        server = NameServer(record, names(), host="127.0.0.1", speed=speed, **more)
        await server.start()
        try:
            await play(server, told)
        finally:
            await server.stop()

    asyncio.run(scenario())


async def ask(server, name=FIRMWARE, patience_s=2.0):
    host, port = server.address
    return await dns.asyncquery.udp(asked(name), host, port=port, timeout=patience_s)


def test_a_client_that_is_not_ours_gets_the_address_and_it_is_told():
    async def play(server, told):
        answer = await ask(server)
        assert [str(one) for one in answer.answer[0]] == [RIGHT]
        ((source, kind, data),) = told
        assert (source, kind) == ("network", "question")
        assert data.pop("peer").startswith("127.0.0.1:")
        assert data == {"name": FIRMWARE, "type": "A", "answer": RIGHT}

    over_udp(play)


def test_silence_is_silence_and_is_told():
    async def play(server, told):
        server.names.add(rule("silence"))
        with pytest.raises(dns.exception.Timeout):
            await ask(server, patience_s=0.1)
        assert told[0][2]["answer"] == "silence"

    over_udp(play)


def test_a_late_answer_comes_after_its_device_seconds():
    async def play(server, told):
        server.names.add(rule("right", delay=20))
        began = asyncio.get_running_loop().time()
        await ask(server)
        assert 0.2 <= asyncio.get_running_loop().time() - began < 0.5

    over_udp(play)


def test_garbage_changes_nothing_for_others():
    async def play(server, told):
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=server.address
        )
        for octets in (b"", b"x", bytes(12), b"\xff" * 500):
            transport.sendto(octets)
        assert (await ask(server)).answer
        transport.close()

    over_udp(play)


def test_a_port_that_is_somebody_elses_is_a_rig_error_that_says_what_to_do():
    async def play(server, told):
        other = NameServer(lambda *_, **__: None, names(), host="127.0.0.1", port=server.address[1])
        with pytest.raises(RigError, match=r"cannot listen at 127.0.0.1:.* in use; .* dns_port"):
            await other.start()

    over_udp(play)
