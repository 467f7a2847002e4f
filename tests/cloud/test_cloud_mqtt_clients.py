"""Other people's MQTT clients at the cloud, unmodified: plain, TLS, WebSocket, 3.1.1 and 5."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from urllib.parse import urlsplit

import aiohttp
import aiomqtt
import paho.mqtt.client as paho
import pytest
from amqtt.client import MQTTClient
from cloud_peer import PATIENCE_S, TOKEN, Cloud, Peer, until
from mqtt_peer import INFO, MQTT, MQTTS, TCP, TLS, connect, publish
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from pytest_blynk_ota.cloud.protocol import Cmd
from pytest_blynk_ota.cloud.site import Limits
from pytest_blynk_ota.virtual.app import mqtt_packets as packets

pytestmark = pytest.mark.asyncio
DOORS = (MQTT, MQTTS, TCP, TLS)
VERSIONS = [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5]


def trusting(one: Cloud) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=one.server.authority.ca_pem)


def wanted(one: Cloud, kind: str) -> ssl.SSLContext | None:
    return trusting(one) if kind in ("mqtts", "tls") else None


def aio(one: Cloud, kind: str, version: MQTTProtocolVersion, **options) -> aiomqtt.Client:
    host, port = one.server.address_of(kind)
    transport = "websockets" if kind in ("tcp", "tls") else "tcp"
    return aiomqtt.Client(
        host, port, username="device", password=TOKEN, protocol=aiomqtt.ProtocolVersion(version),
        transport=transport, websocket_path="/mqtt" if transport == "websockets" else None,
        tls_context=wanted(one, kind), timeout=PATIENCE_S, **options,
    )  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS, ids=["3.1.1", "5"])
@pytest.mark.parametrize("kind", ["mqtt", "mqtts", "tcp", "tls"])
async def test_aiomqtt_reports_and_is_told_to_update(kind, version):
    async with Cloud(doors=DOORS) as one:
        async with aio(one, kind, version) as client:
            await client.subscribe("downlink/ds/#", qos=1)
            await client.publish("info/mcu", json.dumps(INFO), qos=1)
            await client.publish("ds/T", "21", qos=2)
            await client.publish("get/ds", "T")
            incoming = aiter(client.messages)
            got = await anext(incoming)
            assert (str(got.topic), got.payload) == ("downlink/ds/T", b"21")
            assert await one.server.send_ota("a", "http://h/f", offer="o1", size=9) is not None
            got = await anext(incoming)
            assert (str(got.topic), got.qos) == ("downlink/ota/json", 0)
            assert json.loads(got.payload)["size"] == 9
        closed = await one.event("closed", "a")
        assert closed.data["why"] == "DISCONNECT"
        assert one.server.device("a").reports[0].version == "1.2.3"
        scheme = {"tcp": "ws", "tls": "wss"}.get(kind, kind)
        assert one.seen("login")[0].data["scheme"] == scheme


@pytest.mark.parametrize("version", VERSIONS, ids=["3.1.1", "5"])
async def test_aiomqtt_with_a_wrong_token_hears_of_bad_credentials(version):
    async with Cloud(doors=DOORS) as one:
        host, port = one.server.address_of("mqtt")
        client = aiomqtt.Client(
            host, port, username="device", password="x" * 32,
            protocol=aiomqtt.ProtocolVersion(version),
        )  # fmt: skip
        with pytest.raises(aiomqtt.MqttCodeError, match=r"[Bb]ad user name or password"):
            await client.__aenter__()


async def test_a_subscription_of_version_5_that_is_refused_says_why():
    async with Cloud(doors=DOORS) as one, aio(one, "mqtt", VERSIONS[1]) as client:
        (code,) = await client.subscribe("downlink/+/json")
        assert str(code) == "Wildcard subscription not supported"
        (code,) = await client.subscribe("other/#")
        assert str(code) == "Not authorized"


class Paho:
    """paho-mqtt with the events that it has seen."""

    def __init__(self, version: MQTTProtocolVersion) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "me", protocol=version)
        self.client.username_pw_set("device", TOKEN)
        self.messages: list[paho.MQTTMessage] = []
        self.left: list[str] = []
        self.connected, self.subscribed = threading.Event(), threading.Event()
        self.client.on_connect = lambda *_: self.connected.set()
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = lambda _client, _data, message: self.messages.append(message)
        self.client.on_disconnect = lambda _c, _d, _f, code, _p: self.left.append(str(code))

    async def come(self, address: tuple[str, int]) -> None:
        await asyncio.to_thread(self.client.connect, *address)
        self.client.loop_start()
        await until("paho's login", self.connected.is_set)

    async def go(self) -> None:
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)


@pytest.mark.parametrize("version", VERSIONS, ids=["3.1.1", "5"])
async def test_paho_answers_a_ping_and_hears_what_it_does_wrong(version):
    async with Cloud(doors=DOORS) as one:
        device = Paho(version)
        await device.come(one.server.address_of("mqtt"))
        device.client.subscribe("downlink/#")
        await until("paho's subscription", device.subscribed.is_set)
        assert await one.server.send_command("a", "ping") == 1
        await one.event("pong", "a")
        device.client.publish("home/door", "open", qos=1)
        await until("what it does wrong", lambda: len(device.messages) == 2)
        assert [message.topic for message in device.messages] == ["downlink/ping", "downlink/diag"]
        await device.go()


async def test_paho_of_version_5_hears_why_it_is_cut_off():
    async with Cloud(doors=DOORS, limits=Limits(flood_per_s=1, flood_window_s=3)) as one:
        device = Paho(VERSIONS[1])
        await device.come(one.server.address_of("mqtt"))
        for number in range(9):
            device.client.publish("ds/T", str(number))
        await until("the end", lambda: device.left)
        assert device.left[0] == "Message rate too high"
        await device.go()


async def test_amqtt_s_client_comes_and_goes():
    async with Cloud(doors=DOORS) as one:
        host, port = one.server.address_of("mqtt")
        client = MQTTClient(config={"auto_reconnect": False})
        await client.connect(f"mqtt://device:{TOKEN}@{host}:{port}/")
        await client.subscribe([("downlink/#", 1)])
        await client.publish("event/hot", b"41", qos=2)
        assert (await one.event("log_event", "a")).data["text"] == "41"
        assert await one.server.send_command("a", "reboot") == 1
        message = await client.deliver_message(timeout_duration=PATIENCE_S)
        assert message is not None
        assert message.topic == "downlink/reboot"
        await client.disconnect()


# WebSocket, by aiohttp's own client.


@contextlib.asynccontextmanager
async def websocket(one: Cloud, kind: str = "tcp", path: str = "/mqtt"):
    host, port = one.server.address_of(kind)
    scheme = "wss" if kind == "tls" else "ws"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            f"{scheme}://{host}:{port}{path}", protocols=["mqtt"], ssl=wanted(one, kind) or True
        ) as socket,
    ):
        assert socket.protocol == "mqtt"
        yield socket


async def test_packets_may_be_spread_over_websocket_messages_in_any_way():
    async with Cloud(doors=DOORS) as one, websocket(one) as socket:
        whole = connect() + publish("event/hot", "41", 1, 5)
        for at in range(0, len(whole), 7):
            await socket.send_bytes(whole[at : at + 7])
        answers = b""
        while len(answers) < 8:
            answers += await socket.receive_bytes(timeout=PATIENCE_S)
        assert answers == b"\x20\2\0\0" + packets.puback(5)
        assert (await one.event("log_event", "a")).data["text"] == "41"
        await socket.send_bytes(packets.DISCONNECT)
        await socket.receive(timeout=PATIENCE_S)
        assert (await one.event("closed", "a")).data["by"] == "device"


async def test_a_device_on_a_websocket_is_redirected_to_one():
    async with Cloud(doors=DOORS) as one, websocket(one, "tls") as socket:
        await socket.send_bytes(connect())
        await socket.receive_bytes(timeout=PATIENCE_S)
        await one.server.redirect("a", "fra1.example", 443)
        got = packets.Decoder().feed(await socket.receive_bytes(timeout=PATIENCE_S))
        uri = packets.Message.parse(next(got)).payload.decode()
        assert urlsplit(uri)[:3] == ("wss", "fra1.example:443", "/mqtt")


async def test_a_text_message_on_the_websocket_ends_the_session():
    async with Cloud(doors=DOORS) as one, websocket(one) as socket:
        await socket.send_str("CONNECT")
        assert (await socket.receive(timeout=PATIENCE_S)).type is aiohttp.WSMsgType.CLOSE
        closed = await one.event("closed")
        assert closed.data["why"] == "a WebSocket message that is not binary"


async def test_a_websocket_that_vanishes_has_its_will_done():
    async with Cloud(doors=DOORS) as one, websocket(one) as socket:
        await socket.send_bytes(connect(will=("event/gone", "bye")))
        await socket.receive_bytes(timeout=PATIENCE_S)
        socket._conn.transport.abort()
        assert (await one.event("log_event", "a")).data["text"] == "bye"
        await one.event("closed", "a")
        await until("the connection to be gone", lambda: not one.server._visits)


async def test_a_websocket_without_a_login_ends_with_the_time_for_one():
    async with Cloud(doors=DOORS, speed=20, limits=Limits(login_s=5)) as one:
        async with websocket(one) as socket:
            await socket.receive(timeout=PATIENCE_S)
        assert (await one.event("closed")).data["why"] == "no login within 5 s"


async def test_a_websocket_is_closed_when_the_cloud_stops():
    async with Cloud(doors=DOORS) as one, websocket(one) as socket:
        await socket.send_bytes(connect())
        await socket.receive_bytes(timeout=PATIENCE_S)
        await one.server.stop()
        assert (await one.event("closed", "a")).data["why"] == "the cloud was stopped"
        assert not one.server.device("a").online


async def test_the_binary_protocol_at_the_mqtt_port_and_the_reverse_are_named():
    async with Cloud(doors=DOORS) as one:
        peer = Peer(*await asyncio.open_connection(*one.server.address_of("mqtt")))
        peer.send(Cmd.LOGIN, 1, TOKEN)
        await peer.closed()
        assert (await one.event("closed")).data["why"] == "BLYNK at a port for MQTT"
        peer = Peer(*await asyncio.open_connection(*one.server.address_of("tcp")))
        peer.writer.write(connect())
        await peer.closed()
        closed = await one.event("closed", count=2)
        assert closed.data["why"] == "MQTT at a port for BLYNK and HTTP"
