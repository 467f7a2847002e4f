"""What the first bytes of a connection say of who calls."""

import socket
import ssl

import pytest
from amqtt.mqtt.connect import ConnectPacket, ConnectPayload, ConnectVariableHeader
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.cloud.protocol import Cmd, encode, frame
from pytest_blynk_ota.rig.ports.first import MAX_BYTES, NOTHING, Told, told_by

TOKEN = "0123456789abcdef0123456789abcdef"


def mqtt_3(password: str | None = TOKEN, *, will: bool = False) -> bytes:
    """As amqtt, a client of its own, writes a CONNECT."""
    head = ConnectVariableHeader(keep_alive=45)
    said = ConnectPayload(client_id="c")
    head.username_flag, said.username = True, "device"
    if password is not None:
        head.password_flag, said.password = True, password
    if will:
        head.will_flag, said.will_topic, said.will_message = True, "t", b"gone"
    return ConnectPacket(variable_header=head, payload=said).to_bytes()


def mqtt_5() -> bytes:
    """As paho writes it, with properties in the packet and in the will."""
    import paho.mqtt.client as paho
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "c", protocol=paho.MQTTv5)
    client.username_pw_set("device", TOKEN)
    about = Properties(PacketTypes.WILLMESSAGE)
    about.WillDelayInterval = 3
    client.will_set("t", b"gone", properties=about)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client._sock = theirs
        theirs.setblocking(False)
        asked = Properties(PacketTypes.CONNECT)
        asked.SessionExpiryInterval = 7
        client._connect_properties = asked
        client._send_connect(45)
        client._packet_write()
        client._sock = None
        return ours.recv(4096)


def client_hello(name: str | None) -> bytes:
    """As OpenSSL writes it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


BEGINNINGS = {
    "login": (encode(frame(Cmd.LOGIN, 1, TOKEN)), Told(True, token=TOKEN)),
    "mqtt": (mqtt_3(), Told(True, token=TOKEN)),
    "mqtt with a will": (mqtt_3(will=True), Told(True, token=TOKEN)),
    "mqtt 5": (mqtt_5(), Told(True, token=TOKEN)),
    "mqtt without a password": (mqtt_3(None), Told(True)),
    "http": (
        f"GET /external/api/get?v1&token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        Told(True, token=TOKEN),
    ),
    "http without a token": (b"GET /mqtt HTTP/1.1\r\n\r\n", Told(True)),
    "tls with a name": (client_hello("Cloud.Rig.test"), Told(True, name="cloud.rig.test")),
    "tls without a name": (client_hello(None), Told(True)),
}


@pytest.mark.parametrize("which", BEGINNINGS)
def test_a_beginning_says_who_calls_as_soon_as_it_is_whole_and_not_before(which):
    data, wanted = BEGINNINGS[which]
    assert told_by(data) == wanted
    assert told_by(data + b"more") == wanted
    said = [told_by(data[:end]) for end in range(len(data))]
    whole = next((at for at, one in enumerate(said) if one.whole), len(data))
    assert all(one == Told(False) for one in said[:whole])
    assert all(one == wanted for one in said[whole:])


def test_a_hello_in_several_records_is_put_together():
    hello = client_hello("cloud.rig.test")[5:]
    halves = hello[:100], hello[100:]
    cut = b"".join(b"\x16\3\1" + len(one).to_bytes(2) + one for one in halves)
    assert told_by(cut).name == "cloud.rig.test"
    assert not told_by(cut[:110]).whole


def test_what_begins_no_protocol_says_nothing_and_is_not_waited_for():
    assert told_by(b"\0") == NOTHING
    assert told_by(b"hello") == NOTHING


def test_what_never_becomes_whole_is_waited_for_up_to_a_limit():
    assert not told_by(b"G" * (MAX_BYTES - 1)).whole
    assert told_by(b"G" * MAX_BYTES) == NOTHING


@given(st.sampled_from(sorted(BEGINNINGS)), st.data())
def test_no_bytes_at_all_break_it(which, data):
    good = bytearray(BEGINNINGS[which][0])
    for at, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)))
    ):
        good[at] = byte
    told_by(bytes(good))
