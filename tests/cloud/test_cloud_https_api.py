"""The HTTPS device API: what a device asks over HTTP, and what others at the cloud see of it."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
import random
import shutil
import time

import aiohttp
import pytest
from aiohttp import FormData
from cloud_peer import INFO, OTHER_TOKEN, TOKEN, Cloud, Peer, until
from mqtt_peer import MQTT, TCP, TLS, publish
from mqtt_peer import login as mqtt_login

from pytest_blynk_ota.cloud import https_words as words
from pytest_blynk_ota.cloud.protocol import Cmd
from pytest_blynk_ota.cloud.site import Limits

pytestmark = pytest.mark.asyncio
STRANGER = "s" * 32
BINARY_NAMES = ("isHardwareConnected", "get", "getAll", "update", "batch/update", "logEvent",
                "provision")  # fmt: skip
CURL = shutil.which("curl")
needs_curl = pytest.mark.skipif(CURL is None, reason="curl is not installed")


class Api:
    """A cloud with somebody who speaks HTTP to it."""

    def __init__(self, **options) -> None:
        self.cloud = Cloud(**{"doors": (TCP, MQTT)} | options)

    async def __aenter__(self) -> Api:
        await self.cloud.__aenter__()
        self._http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        await self.cloud.__aexit__()

    def url(self, what: str, query: str = "", token: str = TOKEN) -> str:
        host, port = self.cloud.server.address
        return f"http://{host}:{port}/external/api/{what}?token={token}{query}"

    async def get(self, what: str, query: str = "", token: str = TOKEN) -> tuple[int, str]:
        answer = await self._http.get(self.url(what, query, token))
        return answer.status, await answer.text()

    async def post(self, data: object, query: str = "&type=DUMP", **options) -> tuple[int, str]:
        answer = await self._http.post(self.url("upload", query), data=data, **options)
        return answer.status, await answer.text()


def refusal(message: str, status: int = 400) -> tuple[int, str]:
    return status, json.dumps({"error": {"message": message}}, separators=(",", ":"))


def form(content: bytes, field: str = "upfile", name: str = "coredump.bin") -> FormData:
    data = FormData()
    data.add_field(field, content, filename=name)
    return data


async def test_a_device_is_connected_while_it_is_logged_in():
    async with Api() as api:
        assert await api.get("isHardwareConnected") == (200, "false")
        device = await api.cloud.login()
        assert await api.get("isHardwareConnected") == (200, "true")
        assert await api.get("isHardwareConnected", token=OTHER_TOKEN) == (200, "false")
        device.leave()


@pytest.mark.parametrize("token", ["", "short", STRANGER])
@pytest.mark.parametrize("what", BINARY_NAMES)
async def test_a_token_that_the_rig_did_not_give_out_is_refused_and_not_recorded(
    what, token, caplog
):
    caplog.set_level(logging.DEBUG)
    async with Api() as api:
        query = "&v1=5&code=c&templateId=TMPL1"
        assert await api.get(what, query, token) == refusal("Invalid token.")
        said = api.cloud.seen("http")[0].data
        assert (said["name"], said["what"], said["status"]) == (None, what, 400)
        written = caplog.text + repr([*api.cloud.timeline.events()])
    assert not token or token == "short" or token not in written


@pytest.mark.parametrize("what", BINARY_NAMES)
async def test_a_good_token_is_in_no_log_and_no_event(what, caplog):
    caplog.set_level(logging.DEBUG)
    async with Api() as api:
        await api.get(what, "&v1=5&code=c&templateId=TMPL1")
        await api.get(what, "&dataStreamId=5")
        written = caplog.text + repr([*api.cloud.timeline.events()])
    assert TOKEN not in written
    assert f"external/api/{what}" not in written
    assert repr(what) in written


async def test_what_the_device_sent_is_what_the_api_gives():
    async with Api() as api:
        device = await api.cloud.login()
        device.send(Cmd.HARDWARE, 2, "vw", "5", "21.50")
        device.send(Cmd.HARDWARE, 3, "vw", "6", "30", "x y")
        assert await device.alive()
        assert await api.get("get", "&v5") == (200, "21.50")
        assert await api.get("get", "&v6") == (200, '[30,"x y"]')
        assert await api.get("get", "&v5&v6&v7") == (200, '{"v5":21.5,"v6":[30,"x y"]}')
        assert await api.get("getAll") == (200, '{"v5":21.5,"v6":[30,"x y"]}')
        device.leave()


@pytest.mark.parametrize(
    "query",
    ["&v1=%ff", "&v1=%ED%A0%80", "&v1=%", "&v1=%zz", "&%ff=1", "&&=&", "&v1=1;v2=2", "&code=%00",
     "&token=&v1=1", "&v1=" + "9" * 5000, "&templateId=TMPL%0a&code=%ED%A0%80&v1=1"],
)  # fmt: skip
async def test_a_strange_query_is_answered_and_harms_nobody(query, caplog):
    async with Api() as api:
        device = await api.cloud.login()
        for what in BINARY_NAMES:
            peer = Peer(*await asyncio.open_connection(*api.cloud.server.address))
            path = f"/external/api/{what}?token={TOKEN}{query}"
            peer.writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            answer = await peer.reader.readuntil(b"\r\n\r\n")
            assert answer.split()[1] in (b"200", b"400")
            peer.leave()
        assert (await api.get("isHardwareConnected"))[1] == "true"
        device.leave()
    assert TOKEN not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("what", "query", "why"),
    [
        ("get", "", words.WRONG_PIN),
        ("get", "&d5", words.WRONG_PIN),
        ("get", "&v5", words.NO_DATASTREAM),
        ("update", "", words.WRONG_PIN),
        ("update", "&v999=5", words.WRONG_PIN),
        ("update", "&v1=1&v2=2", words.WRONG_PIN),
        ("update", "&v1=%00", words.WRONG_VALUE),
        ("batch/update", "", words.WRONG_PIN),
        ("batch/update", "&v1=1&x=2", words.WRONG_PIN),
        ("logEvent", "", words.NO_CODE),
        ("logEvent", "&description=x", words.NO_CODE),
        ("provision", "", words.NO_TEMPLATE),
        ("provision", "&templateId=5", words.WRONG_TEMPLATE),
    ],
)
async def test_what_is_missing_or_wrong_is_named_and_nothing_done(what, query, why):
    async with Api() as api:
        assert await api.get(what, query) == refusal(why)
        assert await api.get("getAll") == (200, "{}")
        assert not api.cloud.seen("http_event") + api.cloud.seen("http_provision")
        assert api.cloud.seen("http")[0].data["why"] == why


async def test_an_update_reaches_the_device_and_is_kept_for_it():
    async with Api() as api:
        device = await api.cloud.login()
        assert await api.get("update", "&v7=a%20b") == (200, "")
        told = await device.receive()
        assert (told.cmd, told.parts) == (Cmd.HARDWARE, ("vw", "7", "a b"))
        assert told.id
        assert await api.get("update", "&pin=V7&value=30.5&value=50.4") == (200, "")
        assert (await device.receive()).parts == ("vw", "7", "30.5", "50.4")
        synced = await device.ask(Cmd.HARDWARE_SYNC, 9, "vr", "7")
        assert synced.parts == ("vw", "7", "30.5", "50.4")
        said = [event.data for event in api.cloud.seen("http_update")]
        assert [(one["pin"], one["values"], one["sent"]) for one in said] == [
            ("7", ["a b"], True), ("7", ["30.5", "50.4"], True)
        ]  # fmt: skip
        device.leave()


async def test_a_batch_reaches_the_device_as_one_message_for_each_pin():
    async with Api() as api:
        device = await api.cloud.login()
        assert await api.get("batch/update", "&v1=1&v2=two") == (200, "")
        got = [(await device.receive()).parts for _ in range(2)]
        assert got == [("vw", "1", "1"), ("vw", "2", "two")]
        device.leave()


async def test_a_batch_for_which_there_is_no_room_is_refused_as_a_whole(monkeypatch):
    monkeypatch.setattr("pytest_blynk_ota.cloud.device.MAX_KEPT", 2)
    async with Api() as api:
        assert await api.get("update", "&v1=1") == (200, "")
        assert await api.get("batch/update", "&v1=9&v2=2&v3=3") == refusal(words.NO_ROOM)
        assert await api.get("batch/update", "&v1=5&v2=6") == (200, "")
        assert await api.get("getAll") == (200, '{"v1":5,"v2":6}')


async def test_an_update_waits_for_a_device_that_is_away():
    async with Api() as api:
        assert await api.get("update", "&v7=5") == (200, "")
        assert not (await api.cloud.event("http_update")).data["sent"]
        device = await api.cloud.login()
        assert (await device.ask(Cmd.HARDWARE_SYNC, 9, "vr", "7")).parts == ("vw", "7", "5")
        device.leave()


async def test_a_value_larger_than_the_device_can_receive_is_refused_as_a_whole():
    async with Api() as api:
        device = await api.cloud.login()
        await device.ask(Cmd.INTERNAL, 2, *INFO)
        status, text = await api.get("batch/update", "&v1=5&v2=" + "x" * 1100)
        assert status == 400
        assert "at most 1024" in text
        assert await api.get("getAll") == (200, "{}")
        assert await device.alive(), "it was sent nothing"
        device.leave()


async def test_a_device_on_mqtt_shares_its_values_under_the_pins_number():
    async with Api() as api:
        device = await mqtt_login(api.cloud)
        device.send(publish("ds/5", "21"), publish("ds/Room", "warm"))
        assert await device.alive()
        assert await api.get("getAll") == (200, '{"v5":21,"Room":"warm"}')
        assert await api.get("update", "&v5=22") == (200, "")
        assert not api.cloud.seen("http_update")[0].data["sent"], "it has not subscribed"
        device.leave()


async def test_an_update_reaches_a_device_on_mqtt_that_has_subscribed():
    async with Api() as api:
        device = await mqtt_login(api.cloud)
        await device.subscribe("downlink/#")
        assert await api.get("update", "&pin=V5&value=1&value=two") == (200, "")
        got = await device.message()
        assert (got.topic, got.payload) == ("downlink/ds/5", b"1\0two")
        assert api.cloud.seen("http_update")[0].data["sent"]
        device.leave()


async def test_an_event_is_on_record_and_is_no_session_of_the_device():
    async with Api() as api:
        assert await api.get("logEvent", "&code=too_hot&description=91%20%C2%B0C") == (200, "")
        event = await api.cloud.event("http_event")
        assert (event.board, event.data["name"]) == (None, "a")
        assert (event.data["code"], event.data["text"]) == ("too_hot", "91 °C")


async def test_a_provisioned_device_has_told_its_template_and_version():
    async with Api() as api:
        query = "&templateId=TMPL1&build=Oct+1&ver=1.0.0&type=MCU&fwType=TMPL1&blVer=1.4.0"
        assert await api.get("provision", query) == (200, "")
        assert (await api.cloud.event("http_provision")).data["pairs"] == {
            "tmpl": "TMPL1", "build": "Oct 1", "mcu": "1.0.0", "type": "MCU", "fw-type": "TMPL1",
            "blynk": "1.4.0",
        }  # fmt: skip
        assert not api.cloud.server.device("a").reports


async def test_with_any_token_a_new_one_is_provisioned_as_a_new_device():
    async with Api(any_token=True) as api:
        assert await api.get("provision", "&templateId=TMPL1", STRANGER) == (200, "")
        assert (await api.cloud.event("http_provision")).data["name"] == "device-1"


@pytest.mark.parametrize("dump", [b"", b"core", bytes(range(256)) * 300])
async def test_an_upload_is_counted_and_hashed_and_not_kept(dump):
    async with Api() as api:
        status, url = await api.post(form(dump))
        assert status == 200
        said = (await api.cloud.event("upload")).data
        assert (said["name"], said["file"], said["type"]) == ("a", "coredump.bin", "DUMP")
        assert (said["bytes"], said["sha256"]) == (len(dump), hashlib.sha256(dump).hexdigest())
        assert url.endswith(f"/device_uploads/a/{said['sha256'][:32]}.bin")
        async with aiohttp.ClientSession() as http:
            assert (await http.get(url)).status == 410


async def test_a_file_of_exactly_the_limit_is_taken():
    async with Api() as api:
        assert (await api.post(form(bytes(words.MAX_FILE_BYTES))))[0] == 200
        assert await api.post(form(bytes(words.MAX_FILE_BYTES + 1))) == refusal(
            words.TOO_LARGE, 413
        )
        assert len(api.cloud.seen("upload")) == 1


async def test_a_body_that_announces_too_much_is_refused_before_it_comes():
    async with Api() as api:
        peer = Peer(*await asyncio.open_connection(*api.cloud.server.address))
        peer.writer.write(post(1 << 40, b""))
        answer = await peer.reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"Connection: close" in answer
        peer.leave()


async def test_a_body_without_a_length_is_read_no_further_than_it_may_be():
    async with Api() as api:
        peer = Peer(*await asyncio.open_connection(*api.cloud.server.address))
        head = post(0, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        start = b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\n'
        peer.writer.write(head + chunk(start))
        answer = asyncio.ensure_future(peer.reader.readuntil(b"\r\n\r\n"))
        sent = 0
        while not answer.done():
            peer.writer.write(chunk(bytes(1 << 16)))
            sent += 1 << 16
            assert sent < 8 * words.MAX_FILE_BYTES
            await peer.writer.drain()
        assert (await answer).startswith(b"HTTP/1.1 413 ")
        assert not api.cloud.seen("upload")
        peer.leave()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        ("multipart/form-data; boundary=b", b"", words.NOT_READABLE),
        ("multipart/form-data; boundary=b", b"no form at all", words.NOT_READABLE),
        ("multipart/form-data", b"--b--", words.NOT_READABLE),
        ("multipart/form-data; boundary=" + "b" * 200, b"--b--", words.NOT_READABLE),
        ("multipart/mixed; boundary=b", b"--b--", words.NOT_READABLE),
        ("application/octet-stream", b"dump", words.NOT_READABLE),
        ("multipart/form-data; boundary=b",
         b'--b\r\nContent-Disposition: form-data; name="upfile"\r\n\r\ncut', words.NOT_READABLE),
        ("multipart/form-data; boundary=b",
         b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
         words.NO_FILE),
        ("multipart/form-data; boundary=b",
         b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n--b--\r\n",
         words.NOT_READABLE),
    ],
)  # fmt: skip
async def test_a_body_that_is_no_form_with_a_file_is_refused(kind, body, why, caplog):
    async with Api() as api:
        assert await api.post(body, headers={"Content-Type": kind}) == refusal(why)
        assert not api.cloud.seen("upload")
    assert not caplog.records


def post(length: int, body: bytes) -> bytes:
    head = (
        f"POST /external/api/upload?token={TOKEN} HTTP/1.1\r\nHost: h\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n"
    )
    return head.encode() + body


PART = b'--b\r\nContent-Disposition: form-data; name="upfile"\r\n\r\n'


PIECES = (
    PART, b"--b\r\n", b"--b--\r\n", b"\r\n", b"\r\n\r\n", b"\n", b":", b"x", b"\0\xff", b"--c",
    b'Content-Disposition: form-data; name="upfile"', b"Content-Length: 3", b"Content-Length: -1",
    b"Content-Type: multipart/mixed; boundary=c", b"Content-Transfer-Encoding: base64",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionHeader")
async def test_whatever_is_in_a_form_is_taken_or_refused(caplog):
    pick = random.Random(5)
    async with Api() as api:
        for _ in range(300):
            body = b"".join(pick.choices(PIECES, k=pick.randint(0, 8)))
            peer = Peer(*await asyncio.open_connection(*api.cloud.server.address))
            peer.writer.write(post(len(body), body))
            assert (await peer.reader.readline())[9:12] in (b"200", b"400"), body
            peer.leave()
    assert "Traceback" not in caplog.text


async def test_the_two_hosts_and_agents_of_edgents_upload_are_taken():
    async with Api() as api:
        peer = Peer(*await asyncio.open_connection(*api.cloud.server.address))
        body = PART + b"dump\r\n--b--\r\n"
        twice = b"Host: h\r\nUser-Agent: one\r\nHost: h\r\nUser-Agent: two\r\n"
        peer.writer.write(post(len(body), body).replace(b"Host: h\r\n", twice))
        assert (await peer.reader.readline()).startswith(b"HTTP/1.1 200 ")
        assert (await api.cloud.event("upload")).data["bytes"] == 4
        peer.leave()


async def test_an_upload_that_stalls_is_cut_off_and_none(caplog):
    async with Api(speed=20, limits=Limits(login_s=5)) as api:
        peer = Peer(*await asyncio.open_connection(*api.cloud.server.address))
        peer.writer.write(post(1000, PART + b"x" * 10))
        await peer.closed()
        assert (await api.cloud.event("closed")).data["why"] == "no request for 5 s"
        assert not api.cloud.seen("upload")
    assert TOKEN not in caplog.text
    assert "Traceback" not in caplog.text


async def test_an_upload_that_drips_is_cut_off():
    async with Api(speed=60) as api:
        peer = Peer(*await asyncio.open_connection(*api.cloud.server.address))
        peer.writer.write(post(100_000, PART))
        while not api.cloud.seen("closed"):
            peer.writer.write(b"x")
            then = api.cloud.timeline.now() + 0.02
            await until("the next drop", lambda then=then: api.cloud.timeline.now() > then)
        why = api.cloud.seen("closed")[0].data["why"]
        assert why == "no request that is whole within 60 s"
        await peer.closed()


async def test_an_upload_whose_device_goes_away_is_none(caplog):
    caplog.set_level(logging.DEBUG)
    async with Api() as api:
        peer = Peer(*await asyncio.open_connection(*api.cloud.server.address))
        peer.writer.write(post(1000, PART + b"x" * 10))
        await api.cloud.event("connected")
        peer.leave()
        assert (await api.cloud.event("closed")).data["by"] == "device"
        assert not api.cloud.seen("upload")
    assert TOKEN not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "DELETE"])
async def test_another_method_is_not_allowed(method):
    async with Api() as api, aiohttp.ClientSession() as http:
        for what in BINARY_NAMES:
            answer = await http.request(method, api.url(what, "&v1=5&code=c"))
            assert (answer.status, answer.headers["Allow"]) == (405, "GET")
        assert (await http.get(api.url("upload"))).status == 405
        assert (await http.get(api.url("nothing"))).status == 404


async def test_a_compressed_body_is_not_unpacked():
    async with Api() as api:
        headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"}
        packed = gzip.compress(PART + b"dump\r\n--b--\r\n")
        assert await api.post(packed, headers=headers) == refusal(words.NOT_READABLE)


async def test_a_slow_cloud_answers_late():
    async with Api() as api:
        api.cloud.server._registry.get("a").manners.slow_s = 0.3
        begun = time.monotonic()
        assert await api.get("getAll") == (200, "{}")
        assert time.monotonic() - begun >= 0.3


async def test_while_the_cloud_is_silent_it_does_and_answers_nothing(caplog):
    async with Api(speed=20, limits=Limits(login_s=5)) as api:
        device = api.cloud.server._registry.get("a")
        device.manners.silent_until = time.monotonic() + 60
        with pytest.raises(aiohttp.ClientError):
            await api.get("update", "&v1=5")
        closed = (await api.cloud.event("closed")).data
        assert closed["why"] == "a fault of the cloud: silent"
        assert await api.get("getAll", token=OTHER_TOKEN) == (200, "{}"), "others are served"
        assert not api.cloud.seen("http_update")
    assert TOKEN not in caplog.text
    assert "Traceback" not in caplog.text


async def test_the_cloud_stops_though_a_silent_answer_is_waited_for():
    async with Api() as api:
        device = api.cloud.server._registry.get("a")
        device.manners.silent_until = time.monotonic() + 60
        asked = asyncio.ensure_future(api.get("getAll"))
        await api.cloud.event("connected")
        await api.cloud.server.stop()
        with pytest.raises(aiohttp.ClientError):
            await asked


async def curl(*options: str, url: str) -> tuple[int, str]:
    """Told its URL where no process list shows it: a token is in it."""
    process = await asyncio.create_subprocess_exec(
        CURL, "--silent", "--show-error", "--max-time", "20", "--config", "-", *options,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate(f'url = "{url}"'.encode())
    return process.returncode, out.decode()


@needs_curl
@pytest.mark.parametrize("door", [TCP, TLS], ids=["tcp", "tls"])
async def test_curl_asks_updates_and_uploads(door, tmp_path):
    dump = tmp_path / "image.png"
    dump.write_bytes(b"\0\r\n--\r\n" * 200_000)  # curl wants a 100 Continue for that much
    async with Api(doors=(door,)) as api:
        ca, trusted = tmp_path / "ca.pem", ()
        url = api.url("")
        if door is TLS:
            ca.write_text(api.cloud.server.authority.ca_pem)
            url, trusted = url.replace("http://", "https://"), ("--cacert", str(ca))
        url, token = url.split("?")
        assert await curl(*trusted, url=f"{url}update?{token}&v1=5") == (0, "")
        assert await curl(*trusted, url=f"{url}get?{token}&v1") == (0, "5")
        form_of = (*trusted, "-F", f"upfile=@{dump}")
        code, where = await curl(*form_of, url=f"{url}upload?{token}")
        assert code == 0
        assert where.startswith(url.split("/external")[0] + "/device_uploads/a/")
        said = (await api.cloud.event("upload")).data
        assert said["sha256"] == hashlib.sha256(dump.read_bytes()).hexdigest()
        dump.write_bytes(bytes(words.MAX_FILE_BYTES + 1))
        code, text = await curl(*form_of, url=f"{url}upload?{token}")
        assert (code, text) == (0, refusal(words.TOO_LARGE)[1])
