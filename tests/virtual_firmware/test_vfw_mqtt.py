"""The MQTT sample: its packets beside those of amqtt, and its life at amqtt's broker."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from amqtt.adapters import BufferReader
from amqtt.broker import Broker
from amqtt.client import MQTTClient
from amqtt.mqtt import packet_class
from amqtt.mqtt.packet import MQTTFixedHeader
from amqtt.mqtt.publish import PublishPacket
from hypothesis import given, settings
from hypothesis import strategies as st
from vfw_bench import APP0, APP1, FW_TYPE, Bench, entry, story
from vfw_peer import TOKEN, WebPeer, listening, run

from pytest_blynk_ota.firmware.derive import bad_hash
from pytest_blynk_ota.firmware.otadata import State
from pytest_blynk_ota.virtual.app import mqtt_packets as packets
from pytest_blynk_ota.virtual.app.mqtt_client import MqttClient
from pytest_blynk_ota.virtual.app.mqtt_packets import Decoder, Kind, Message, MqttError
from pytest_blynk_ota.virtual.network.tcp import Network

TOPICS = st.text("abc/_é", min_size=1, max_size=40)
TAGGED = {"type": FW_TYPE, "ver": "2.0.0", "build": "x", "size": 1}


# ---- packets


async def read_by_amqtt(data: bytes) -> Any:
    reader = BufferReader(data)
    header = await MQTTFixedHeader.from_stream(reader)
    return await packet_class(header).from_stream(reader, fixed_header=header)


@given(TOPICS, st.binary(max_size=300), st.integers(0, 1), st.integers(1, 0xFFFF), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_message_of_ours_is_read_by_another_implementation(topic, payload, qos, number, retain):
    ours = Message(topic, payload, qos, number if qos else 0, retain=retain)
    theirs = run(read_by_amqtt(ours.build()))
    assert (theirs.topic_name, theirs.data, theirs.qos, theirs.retain_flag) == (
        (topic, payload, qos, retain)
    )
    assert (theirs.packet_id or 0) == ours.number


@given(TOPICS, st.binary(max_size=300), st.integers(0, 1), st.integers(1, 0xFFFF), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_message_of_another_implementation_is_read_by_us(topic, payload, qos, number, dup):
    theirs = PublishPacket.build(topic, payload, number if qos else None, dup, qos, False)
    (packet,) = Decoder().feed(theirs.to_bytes())
    ours = Message.parse(packet)
    assert ours == Message(topic, payload, qos, number if qos else 0, dup)


def test_a_connect_of_ours_is_read_by_another_implementation():
    theirs = run(read_by_amqtt(packets.connect("ESP32_1", "device", TOKEN, 120)))
    assert (theirs.client_id, theirs.username, theirs.password) == ("ESP32_1", "device", TOKEN)
    assert (theirs.keep_alive, theirs.clean_session_flag) == (120, True)


def test_a_subscribe_and_a_puback_of_ours_are_read_by_another_implementation():
    subscribe = run(read_by_amqtt(packets.subscribe(7, "downlink/#", 0)))
    assert subscribe.variable_header.packet_id == 7
    assert subscribe.payload.topics == [("downlink/#", 0)]
    assert run(read_by_amqtt(packets.puback(9))).variable_header.packet_id == 9


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_packets_are_the_same_however_the_stream_is_cut(payloads, size):
    stream = b"".join(Message("t", payload).build() for payload in payloads)
    decoder = Decoder()
    found = [
        packet
        for start in range(0, len(stream), size)
        for packet in decoder.feed(stream[start : start + size])
    ]
    assert [Message.parse(packet).payload for packet in found] == payloads


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_junk_is_refused_by_name_or_waits_for_more(junk):
    try:
        for packet in Decoder().feed(junk):
            if packet.kind == Kind.PUBLISH:
                Message.parse(packet)
    except MqttError:
        pass


# ---- the firmware at a broker


class Cloud:
    """amqtt's broker, and a client of amqtt's as the cloud behind it."""

    def __init__(self, port: int, client: MQTTClient) -> None:
        self.port = port
        self._client = client
        self.heard: list[tuple[str, str]] = []

    async def send(self, topic: str, payload: str | dict[str, Any], qos: int = 0) -> None:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        await self._client.publish(topic, text.encode(), qos=qos)

    async def hears(self, topic: str) -> str:
        """The next message to a topic."""
        while True:
            message = await self._client.deliver_message(timeout_duration=10)
            self.heard.append((message.topic, message.data.decode()))
            if message.topic == topic:
                return self.heard[-1][1]


@asynccontextmanager
async def cloud_of(tls: trustme.LeafCert | None = None, tmp: Any = None):
    listeners: dict[str, Any] = {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}
    if tls is not None:
        tls.private_key_pem.write_to_path(tmp / "key.pem")
        tls.cert_chain_pems[0].write_to_path(tmp / "cert.pem")
        files = {"certfile": tmp / "cert.pem", "keyfile": tmp / "key.pem"}
        listeners["secure"] = {"bind": "127.0.0.1:0", "ssl": True, **files}
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": listeners, "plugins": plugins})
    await broker.start()
    ports = {
        name: server.instance.sockets[0].getsockname()[1]
        for name, server in broker._servers.items()
    }
    client = MQTTClient(config={"auto_reconnect": False})
    await client.connect(f"mqtt://127.0.0.1:{ports['default']}/")
    await client.subscribe([("info/#", 1), ("ds/#", 1)])
    try:
        yield Cloud(ports["secure" if tls else "default"], client)
    finally:
        await client.disconnect()
        await broker.shutdown()


class Sample:
    """A bench with the sample in it."""

    def __init__(self, port: int, **behaviour: Any) -> None:
        self.bench = Bench(rollback=behaviour.pop("rollback", False))
        machine = self.bench.machine
        machine.network = Network(clock=machine.clock)
        host = behaviour.pop("host", "127.0.0.1")
        self._settings = {"host": host, "port": port, "token": TOKEN, "ssid": "lab"}
        self._behaviour = {"profile": "mqtt-idf", "confirm": "never", **behaviour}
        self.bench.put(APP0, self.app("1.0.0"))

    def app(self, version: str) -> bytes:
        return self.bench.app(version, settings=self._settings, **self._behaviour)

    @property
    def text(self) -> str:
        return self.bench.text


@asynccontextmanager
async def meeting(**behaviour: Any):
    """Cloud and board, met."""
    async with cloud_of() as cloud:
        sample = Sample(cloud.port, **behaviour)
        async with sample.bench.living():
            await cloud.hears("info/mcu")
            await sample.bench.machine.see(r"MQTT_EVENT_SUBSCRIBED")
            yield cloud, sample
        sample.bench.machine.close()


def tell(web: WebPeer, **order: Any) -> Callable[[tuple[str, int]], dict[str, Any]]:
    def made(address: tuple[str, int]) -> dict[str, Any]:
        return {"url": f"http://{address[0]}:{address[1]}/f/new?token=x", **TAGGED, **order}

    return made


async def offer(web: WebPeer, until: str, **behaviour: Any) -> Sample:
    """Order an update; live until the log says so."""
    async with meeting(**behaviour) as (cloud, sample):
        if not web.data:
            web.data = sample.app("2.0.0")
        async with listening(web.serve) as address:
            await cloud.send("downlink/ota/json", tell(web)(address))
            await sample.bench.machine.see(until)
            if "Rebooting" in until:
                assert '"ver":\t"2.0.0"' in await cloud.hears("info/mcu")
    return sample


def test_at_each_connect_the_device_says_what_it_is():
    async def meet() -> tuple[str, Sample]:
        async with cloud_of() as cloud:
            sample = Sample(cloud.port)
            async with sample.bench.living():
                info = await cloud.hears("info/mcu")
                await cloud.hears("ds/Random")
                await sample.bench.machine.see("MQTT_EVENT_PUBLISHED, msg_id=3")
            sample.bench.machine.close()
        return info, sample

    info, sample = story(meet())
    assert json.loads(info) == {
        "tmpl": FW_TYPE, "ver": "1.0.0", "build": "", "type": FW_TYPE, "rxbuff": 512
    }  # fmt: skip
    order = re.findall(r"\[MQTT\]: MQTT_EVENT_(\w+)", sample.text)
    assert order[:3] == ["BEFORE_CONNECT", "CONNECTED", "SUBSCRIBED"]


def test_a_healthy_update_ends_on_new_and_reports_it():
    web = WebPeer(b"")
    sample = story(offer(web, "OTA Succeed, Rebooting"))
    assert "esp_https_ota: Starting OTA..." in sample.text
    assert "esp_https_ota: Writing to <app1> partition at offset 0x" in sample.text
    assert sample.text.index("[OTA]: start") < sample.text.index("[OTA]: url[http://")
    assert web.requests[0].startswith("GET /f/new?token=x HTTP/1.1\r\nUser-Agent: ESP32 HTTP")


def test_a_broken_image_fails_with_its_code_and_the_link_lives_on():
    async def spoil() -> str:
        async with meeting() as (cloud, sample):
            web = WebPeer(bad_hash(sample.app("2.0.0")))
            async with listening(web.serve) as address:
                await cloud.send("downlink/ota/json", tell(web)(address))
                await sample.bench.machine.see(r"Firmware upgrade failed \[5379\]")
                await cloud.send("downlink/ds/1", "still here", qos=1)
                await sample.bench.machine.see("DATA=still here")
            assert sample.bench.entries() == (entry(1), None)
            return sample.text

    assert "esp_ota_ops: New image failed verification" in story(spoil())


FAULTS = [
    ({"head": "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}, -1, r"File not found\(404\)"),
    ({"head": "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"}, -1, r"Server error \(503\)"),
    ({"head": "nonsense\r\n\r\n"}, -1, "Failed to establish HTTP connection"),
    ({"head": "", "stop_after": 0, "closes": False}, -28679, "Connection timed out"),
    ({"stop_after": 500}, -1, "Complete headers were not received"),
    ({"stop_after": 9000}, -1, "data read -1, errno 128"),
]


@pytest.mark.parametrize(("how", "code", "line"), FAULTS)
def test_a_failed_download_is_reported_with_its_code(how, code, line):
    text = story(offer(WebPeer(b"", **how), rf"Firmware upgrade failed \[{code}\]")).text
    assert re.search(line, text)


@pytest.mark.parametrize("missing", ["type", "ver", "build", "size", "url"])
def test_an_order_without_a_member_makes_it_panic(missing):
    async def order() -> str:
        async with meeting() as (cloud, sample):
            whole = {"url": "http://127.0.0.1:9/", **TAGGED}
            del whole[missing]
            await cloud.send("downlink/ota/json", whole)
            await sample.bench.machine.see("Guru Meditation Error")
            return sample.text

    assert "Load access fault" in story(order())


def test_an_order_longer_than_its_buffer_is_no_json_and_makes_it_panic():
    async def order() -> None:
        async with meeting() as (cloud, sample):
            url = "http://127.0.0.1:9/" + "x" * 1024
            await cloud.send("downlink/ota/json", {"url": url, **TAGGED})
            await sample.bench.machine.see("Guru Meditation Error")

    story(order())


def test_a_redirection_moves_it_to_another_broker():
    async def move() -> None:
        async with cloud_of() as other, meeting() as (cloud, _):
            await cloud.send("downlink/redirect", f"mqtt://127.0.0.1:{other.port}")
            await other.hears("info/mcu")

    story(move())


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        ("mqtts://127.0.0.1:1", r"wrong protocol \[mqtts\]"),
        ("mqtt://127.0.0.1", "malformed redirect address"),
    ],
)
def test_a_redirection_that_makes_no_sense_is_said_and_ignored(uri, line):
    async def move() -> None:
        async with meeting() as (cloud, sample):
            await cloud.send("downlink/redirect", uri)
            await sample.bench.machine.see(line)

    story(move())


def test_a_broker_that_goes_and_comes_is_found_again():
    async def lose() -> None:
        async with cloud_of() as cloud:
            sample = Sample(cloud.port)
            async with sample.bench.living():
                await cloud.hears("info/mcu")
                sample.bench.machine.network._air.set({"ap": False})
                await sample.bench.machine.see("MQTT_EVENT_DISCONNECTED")
                sample.bench.machine.network._air.set({"ap": True})
                await cloud.hears("info/mcu")
            sample.bench.machine.close()

    story(lose())


def test_a_broker_that_goes_before_the_device_has_said_what_it_is_is_found_again(monkeypatch):
    sending, cut = MqttClient._send, []

    async def send(client: MqttClient, data: bytes) -> None:
        if data[0] >> 4 == Kind.SUBSCRIBE and not cut:
            cut.append(data)
            client.close()
        await sending(client, data)

    async def lose() -> None:
        async with cloud_of() as cloud:
            sample = Sample(cloud.port)
            async with sample.bench.living():
                await sample.bench.machine.see("MQTT_EVENT_DISCONNECTED")
                await cloud.hears("info/mcu")
            sample.bench.machine.close()

    monkeypatch.setattr(MqttClient, "_send", send)
    story(lose())
    assert cut


def test_without_a_token_it_stays_up_and_says_so():
    async def boot() -> None:
        sample = Sample(9)
        sample._settings["token"] = ""
        sample.bench.put(APP0, sample.app("1.0.0"))
        await sample.bench.until("Can't read auth token")
        sample.bench.machine.close()

    story(boot())


def test_a_token_typed_at_the_console_is_kept_and_used():
    async def boot() -> str:
        async with cloud_of() as cloud:
            sample = Sample(cloud.port)
            sample._settings["token"] = ""
            sample.bench.put(APP0, sample.app("1.0.0"))
            typed: asyncio.Queue[str] = asyncio.Queue()
            sample.bench.machine.read_line = typed.get  # type: ignore[method-assign]
            async with sample.bench.living():
                typed.put_nowait("set_auth_token")
                typed.put_nowait(f"set_auth_token {TOKEN}")
                await sample.bench.machine.see("^ok$")
            async with sample.bench.living():
                await cloud.hears("info/mcu")
            sample.bench.machine.close()
            return sample.text

    assert "wrong usage" in story(boot())


def test_with_rollback_an_image_that_never_confirms_refuses_the_next_update():
    async def twice() -> None:
        async with cloud_of() as cloud:
            sample = Sample(cloud.port, rollback=True)
            sample.bench.otadata(entry(1, State.NEW), None)
            web = WebPeer(sample.app("2.0.0"))
            async with sample.bench.living(), listening(web.serve) as address:
                await cloud.hears("info/mcu")
                await sample.bench.machine.see("MQTT_EVENT_SUBSCRIBED")
                await cloud.send("downlink/ota/json", tell(web)(address))
                await sample.bench.machine.see(r"Firmware upgrade failed \[5382\]")
            assert sample.bench.read(APP1, 16) == b"\xff" * 16
            sample.bench.machine.close()

    story(twice())


@pytest.mark.parametrize("trusted", [True, False])
def test_over_tls_only_a_broker_of_its_own_ca_is_believed(tmp_path, trusted):
    ca = trustme.CA()
    mine = ca if trusted else trustme.CA()

    async def meet() -> None:
        async with cloud_of(ca.issue_cert("localhost"), tmp_path) as cloud:
            pem = mine.cert_pem.bytes().decode()
            sample = Sample(cloud.port, tls=True, ca=pem, host="localhost")
            async with sample.bench.living():
                if trusted:
                    await cloud.hears("info/mcu")
                else:
                    await sample.bench.machine.see("Last error reported from tls stack: 0x2700")
            sample.bench.machine.close()

    story(meet())


def test_the_test_broker_can_speak_tls(tmp_path):
    """Else the test above would prove nothing."""
    ca = trustme.CA()

    async def handshake() -> str | None:
        async with cloud_of(ca.issue_cert("localhost"), tmp_path) as cloud:
            context = ssl.create_default_context()
            ca.configure_trust(context)
            _, writer = await asyncio.open_connection("localhost", cloud.port, ssl=context)
            version = writer.get_extra_info("ssl_object").version()
            writer.close()
            return version

    assert story(handshake()) in ("TLSv1.2", "TLSv1.3")


class MuteBroker:
    """It lets everybody in and says no more."""

    def __init__(self) -> None:
        self.heard: list[packets.Packet] = []
        self.news = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        while data := await reader.read(4096):
            for packet in decoder.feed(data):
                self.heard.append(packet)
                if packet.kind == Kind.CONNECT:
                    writer.write(bytes([Kind.CONNACK << 4, 2, 0, 0]))
            self.news.set()

    async def hears(self, what: Callable[[packets.Packet], bool]) -> None:
        while not any(what(packet) for packet in self.heard):
            await self.news.wait()
            self.news.clear()


def test_a_broker_that_says_nothing_gets_messages_again_marked_as_such_and_pings():
    async def live(bench: Bench) -> None:
        broker = MuteBroker()
        async with listening(broker.serve) as (host, port):
            settings = {"host": host, "port": port, "token": TOKEN}
            bench.put(APP0, bench.app("1.0.0", profile="mqtt-idf", settings=settings))
            async with bench.living():
                await broker.hears(lambda one: one.kind == Kind.PUBLISH and Message.parse(one).dup)
                await broker.hears(lambda one: one.kind == packets.Kind.PINGREQ)
                await bench.machine.see("No PING_RESP, disconnected")
        again = [Message.parse(one) for one in broker.heard if one.kind == Kind.PUBLISH]
        first = again[0]
        assert not first.dup
        assert [one.payload for one in again if one.dup and one.number == first.number]

    with Bench() as bench:
        story(live(bench))
