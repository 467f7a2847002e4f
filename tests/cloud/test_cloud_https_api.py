"""The HTTPS device API: what is asked, answered, refused and on record."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest
from cloud_peer import OTHER_TOKEN, TOKEN, Cloud
from mqtt_peer import MQTT, TCP, TLS, login

from pytest_blynk_ota.cloud.https_api import MAX_UPLOAD_BYTES
from pytest_blynk_ota.cloud.protocol import Cmd, frame

pytestmark = pytest.mark.asyncio
DOORS = (TCP, TLS, MQTT)


class Api:
    """The API of one cloud."""

    def __init__(self, cloud: Cloud, http: aiohttp.ClientSession) -> None:
        self.cloud, self.http = cloud, http

    def url(self, path: str, kind: str = "tcp") -> str:
        host, port = self.cloud.server.address_of(kind)
        return f"http{'s' if kind == 'tls' else ''}://{host}:{port}/external/api/{path}"

    async def get(self, path: str, **query: str | list[str]) -> tuple[int, str]:
        answer = await self.http.get(self.url(path), params={"token": TOKEN, **query})
        return answer.status, await answer.text()

    async def upload(self, data: bytes, *, field: str = "upfile", token: str = TOKEN):
        form = aiohttp.FormData()
        form.add_field(field, data, filename="x.bin")
        query = {"token": token, "type": "DUMP"}
        answer = await self.http.post(self.url("upload"), params=query, data=form)
        return answer.status, await answer.text()


@asynccontextmanager
async def api(**options):
    async with Cloud(doors=DOORS, **options) as cloud, aiohttp.ClientSession() as http:
        yield Api(cloud, http)


async def test_whether_a_device_is_connected():
    async with api() as one:
        assert await one.get("isHardwareConnected") == (200, "false")
        device = await one.cloud.login()
        assert await one.get("isHardwareConnected") == (200, "true")
        device.leave()


async def test_a_value_goes_to_the_device_and_stays():
    async with api() as one:
        device = await one.cloud.login()
        assert await one.get("update", v1="5", V2="7") == (200, "")
        told = [await device.receive(), await device.receive()]
        assert [(one.cmd, one.parts) for one in told] == [
            (Cmd.HARDWARE, ("vw", "1", "5")),
            (Cmd.HARDWARE, ("vw", "2", "7")),
        ]
        assert await one.get("get", v1="") == (200, "5")
        assert await one.get("get", v1="", v2="") == (200, '{"v1": "5", "v2": "7"}')
        assert await device.ask(Cmd.HARDWARE_SYNC, 9, "vr", "2") == frame(
            Cmd.HARDWARE, 9, "vw", "2", "7"
        )
        device.leave()


async def test_a_value_reaches_a_device_on_mqtt_that_has_subscribed():
    async with api() as one:
        device = await login(one.cloud)
        await device.subscribe("downlink/ds/#")
        assert await one.get("update", v3="on") == (200, "")
        message = await device.message()
        assert (message.topic, message.payload) == ("downlink/ds/3", b"on")
        device.leave()


async def test_what_a_device_has_written_can_be_got():
    async with api() as one:
        device = await one.cloud.login()
        device.send(Cmd.HARDWARE, 2, "vw", "4", "23.5")
        assert await device.alive()
        assert await one.get("get", v4="") == (200, "23.5")
        device.leave()


async def test_an_event_is_on_record_and_is_no_session_of_the_device():
    async with api() as one:
        assert await one.get("logEvent", code="hot", description="42 degrees") == (200, "")
        event = one.cloud.seen("http_event")[0]
        assert (event.board, event.data["name"]) == (None, "a")
        assert (event.data["code"], event.data["text"]) == ("hot", "42 degrees")
        assert one.cloud.seen("login") == one.cloud.seen("log_event") == []
        assert one.cloud.seen("http")[0].data["status"] == 200


@pytest.mark.parametrize("data", [b"", b"core" * 1000, bytes(MAX_UPLOAD_BYTES)])
async def test_an_upload_is_on_record_with_its_digest(data):
    async with api() as one:
        assert await one.upload(data) == (200, "")
        said = one.cloud.seen("upload")[0].data
        assert (said["name"], said["type"], said["bytes"]) == ("a", "DUMP", len(data))
        assert said["sha256"] == hashlib.sha256(data).hexdigest()


INVALID = '{"error": {"message": "Invalid token."}}'


@pytest.mark.parametrize("token", ["", "x" * 32, TOKEN[:-1]])
@pytest.mark.parametrize("path", ["isHardwareConnected", "get", "update", "logEvent", "provision"])
async def test_an_unknown_token_is_refused_and_in_no_event_and_no_log(path, token, caplog):
    caplog.set_level(logging.DEBUG)
    async with api() as one:
        assert await one.get(path, token=token, v1="1") == (400, INVALID)
        assert await one.upload(b"x", token=token) == (400, INVALID)
        assert {event.data["name"] for event in one.cloud.seen("http")} == {None}
    written = caplog.text.replace("aiohttp.client", "") + repr(one.cloud.timeline.events())
    assert not token or token not in written


@pytest.mark.parametrize(
    ("path", "query", "why"),
    [
        ("get", {}, "no pin is named"),
        ("get", {"v1": ""}, "v1 has no value"),
        ("get", {"pin": "1"}, "'pin' is no pin"),
        ("update", {"v1000": "1"}, "'v1000' is no pin"),
        ("update", {"v1": "a\0b"}, "may not hold a NUL"),
        ("logEvent", {"description": "x"}, "code is missing"),
        ("provision", {"templateId": "TMPLx"}, "makes no devices"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_its_reason(path, query, why):
    async with api() as one:
        status, text = await one.get(path, **query)
        assert status == 400
        assert why in text


async def test_an_upload_that_is_none_is_refused_and_a_too_large_one_as_well():
    async with api() as one:
        assert (await one.upload(b"x", field="other"))[0] == 400
        assert (await one.upload(bytes(MAX_UPLOAD_BYTES + 1)))[0] == 413
        answer = await one.http.post(one.url("upload"), params={"token": TOKEN}, data=b"x")
        assert answer.status == 400
        head = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await one.http.post(
            one.url("upload"), params={"token": TOKEN}, data=b"no form", headers=head
        )
        assert answer.status == 400
        assert one.cloud.seen("upload") == []


async def test_another_method_is_not_allowed_and_another_path_not_there():
    async with api() as one:
        assert (await one.http.post(one.url("get"), params={"token": TOKEN})).status == 405
        assert (await one.http.get(one.url("nothing"), params={"token": TOKEN})).status == 404


async def test_nobody_else_feels_a_request_that_is_broken_off():
    async with api() as one:
        beside = await one.cloud.login(OTHER_TOKEN)
        host, port = one.cloud.server.address
        _, writer = await asyncio.open_connection(host, port)
        writer.write(
            f"POST /external/api/upload?token={TOKEN} HTTP/1.1\r\nHost: h\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n"
            "Content-Length: 9999\r\n\r\n--b".encode()
        )
        await writer.drain()
        writer.transport.abort()
        await one.cloud.event("closed")
        assert await beside.alive()
        beside.leave()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs the curl command")
@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_curl_asks_over_plain_and_tls(kind, tmp_path):
    ca = tmp_path / "ca.pem"
    async with api() as one:
        ca.write_text(one.cloud.server.authority.ca_pem)
        asked = await asyncio.create_subprocess_exec(
            "curl", "-sS", "--max-time", "10", "--cacert", str(ca),
            one.url(f"isHardwareConnected?token={TOKEN}", kind),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await asked.communicate()
        assert output == b"false"


async def test_the_api_is_behind_tls_too():
    async with api() as one:
        context = ssl.create_default_context(cadata=one.cloud.server.authority.ca_pem)
        url = one.url("isHardwareConnected", "tls")
        answer = await one.http.get(url, params={"token": TOKEN}, ssl=context)
        assert await answer.text() == "false"
