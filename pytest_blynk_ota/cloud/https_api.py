"""The HTTPS device API at ``/external/api`` of the HTTP room.

The rules, in order:

1. Who asks is told by ``token`` alone. One that the rig did not give out is answered 400, as the
   documentation has it: no Edgent goes into its configuration mode for that.
2. What is set here is set for the binary protocol and for MQTT too, and the device is told at once
   if it is logged in.
3. Nobody logs in here: a device that only speaks HTTP is not connected, and what is on record names
   it in the data, not as the event's board.
4. A body is read for an upload only, and no further than it may be.

Source: Blynk documentation, device-https-api. A token stands in each URL, so no URL, query or
exception of aiohttp's is ever put on record.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import web

from pytest_blynk_ota.cloud import https_words as words
from pytest_blynk_ota.cloud.device import Device
from pytest_blynk_ota.cloud.https_upload import read_upload
from pytest_blynk_ota.cloud.https_words import Query, Refusal, Values, first

if TYPE_CHECKING:
    from pytest_blynk_ota.cloud.http_room import Guest, HttpRoom

BASE: Final = "/external/api"
UPLOADS: Final = "/device_uploads"
"""Where the cloud says that an uploaded file is (upload-a-file.md)."""
NOT_KEPT: Final = "an uploaded file is counted and hashed, and not kept\n"
SHORT_NAME_CHARS: Final = 32


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a device.

    Attributes:
        query: the parameters of its URL.
        say: puts something on record, with the name of the device.
    """

    device: Device
    query: Query
    request: web.Request
    say: Callable[..., None]


Rule = Callable[[Call], Awaitable[web.Response]]


def add_https_api(app: web.Application, room: HttpRoom) -> None:
    """The device API: a part of the HTTP room."""

    def answering(rule: Rule) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            return await _answer(room, request, rule)

        return answer

    for name, rule in GETS.items():
        app.router.add_get(f"{BASE}/{name}", answering(rule), allow_head=False)
    app.router.add_post(f"{BASE}/upload", answering(_upload))
    app.router.add_get(UPLOADS + "/{name:.+}", _not_kept, allow_head=False)


async def _answer(room: HttpRoom, request: web.Request, rule: Rule) -> web.Response:
    device = room.site.registry.by_token(request.query.get("token", ""))
    name, number = device.board if device else None, room.guest(request).number

    def say(kind: str, **data: object) -> None:
        room.site.say(kind, None, number, t=None, name=name, **data)

    why: dict[str, str] = {}
    try:
        if device is None:
            raise Refusal(words.INVALID_TOKEN)
        await _faults(device, room.guest(request))
        answer = await rule(Call(device, tuple(request.query.items()), request, say))
    except Refusal as no:
        answer, why = _refused(no), {"why": str(no)}
    say("http", what=request.path.removeprefix(BASE + "/"), status=answer.status, **why)
    return answer


async def _faults(device: Device, guest: Guest) -> None:
    """What a fault of the cloud does to an answer."""
    if device.manners.is_silent(time.monotonic()):
        await guest.ignore("a fault of the cloud: silent")
    if device.manners.slow_s:
        await guest.lost_within(device.manners.slow_s)


def _refused(no: Refusal) -> web.Response:
    answer = _json({"error": {"message": str(no)}}, no.status)
    if no.status == web.HTTPRequestEntityTooLarge.status_code:
        answer.force_close()  # the rest of the body would be taken for a request
    return answer


def _json(value: object, status: int = 200) -> web.Response:
    text = json.dumps(value, separators=(",", ":"))
    return web.Response(text=text, status=status, content_type="application/json")


async def _connected(call: Call) -> web.Response:
    """``true`` or ``false`` (is-device-connected.md)."""
    return _json(call.device.state.online)


async def _get(call: Call) -> web.Response:
    """One value alone, several as an object (get-datastream-value.md, get-multiple-…)."""
    pins = words.wanted(call.query)
    known = call.device.values
    if len(pins) > 1:
        return _json(words.known(known, pins))
    if pins[0] not in known:
        raise Refusal(words.NO_DATASTREAM)
    values = known[pins[0]]
    return web.Response(text=values[0]) if len(values) == 1 else _json(words.shown(values))


async def _get_all(call: Call) -> web.Response:
    """Those that have a value (get-multiple-datastream-values.md)."""
    return _json(words.known(call.device.values, call.device.values))


async def _update(call: Call) -> web.Response:
    """One datastream (update-datastream-value.md)."""
    found = words.updates(call.query)
    if len(found) > 1:
        raise Refusal(words.WRONG_PIN)  # ours: `batch/update` is for several
    return _set(call, found)


async def _batch_update(call: Call) -> web.Response:
    """Several at once (update-multiple-datastreams-api.md)."""
    return _set(call, words.updates(call.query))


def _set(call: Call, found: Mapping[str, Values]) -> web.Response:
    """All of them or none."""
    for pin, values in found.items():
        words.fits(pin, values, call.device.state.buff_in)
    if not call.device.values.has_room_for(*found):
        raise Refusal(words.NO_ROOM)
    for pin, values in found.items():
        call.device.values[pin] = values
        link = call.device.current
        sent = link is not None and link.send_value(pin, values)
        call.say("http_update", pin=pin, values=list(values), sent=sent)
    return web.Response()


async def _log_event(call: Call) -> web.Response:
    """Whether a template has the code is not asked (trigger-events-api.md): there is none."""
    code = first(call.query, "code")
    if not code:
        raise Refusal(words.NO_CODE)
    call.say("http_event", code=code, text=first(call.query, "description"))
    return web.Response()


async def _provision(call: Call) -> web.Response:
    """The device has a token and says so: the last step of its provisioning.

    It names a version here; that is no report, since it may not run yet.
    """
    call.say("http_provision", pairs=words.provisioned(call.query))
    return web.Response()


async def _upload(call: Call) -> web.Response:
    """Answered with the URL of the file (upload-a-file.md)."""
    upload = await read_upload(call.request)
    call.say("upload", type=first(call.query, "type"), file=upload.name, bytes=upload.size,
             sha256=upload.sha256)  # fmt: skip
    suffix = PurePosixPath(upload.name).suffix
    plain = suffix if suffix[1:].isascii() and suffix[1:].isalnum() else ""
    path = f"{quote(call.device.board, safe='')}/{upload.sha256[:SHORT_NAME_CHARS]}{plain}"
    return web.Response(text=f"{call.request.scheme}://{call.request.host}{UPLOADS}/{path}")


async def _not_kept(_: web.Request) -> web.Response:
    return web.Response(text=NOT_KEPT, status=web.HTTPGone.status_code)


GETS: Final[Mapping[str, Rule]] = {
    "isHardwareConnected": _connected,
    "get": _get,
    "getAll": _get_all,
    "update": _update,
    "batch/update": _batch_update,
    "logEvent": _log_event,
    "provision": _provision,
}
"""What is asked with GET, below :data:`BASE`."""
