"""The HTTPS device API at ``/external/api`` of the HTTP room.

Source of all routes: Blynk documentation, device-https-api; of the upload: Edgent-Arduino,
BlynkHttpOTA.h. A token stands in the query, so no request is ever logged as it came. What is on
record names its device in the data and not as the event's board: a request over HTTP is no session
of the device.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import BodyPartReader, web

if TYPE_CHECKING:
    from pytest_blynk_ota.cloud.device import Device
    from pytest_blynk_ota.cloud.http_room import HttpRoom

ROOT: Final = "/external/api"
MAX_UPLOAD_BYTES: Final = 5 << 20
"""Blynk documentation, device-https-api ("Upload a file")."""
UPLOAD_FIELD: Final = "upfile"
PIN: Final = re.compile(r"[vV](\d{1,3})")
INVALID_TOKEN: Final = "Invalid token."


class Refused(Exception):
    """Raised when a request cannot be done; the text says why.

    Args:
        status: of the answer. The documentation shows 400 alone.
    """

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class Api:
    """The handlers; each gets the device whose token the query holds."""

    def __init__(self, room: HttpRoom) -> None:
        self._room = room

    async def is_connected(self, device: Device, request: web.Request) -> web.Response:
        """``isHardwareConnected``: ``true`` or ``false``."""
        return web.json_response(device.state.online)

    async def get(self, device: Device, request: web.Request) -> web.Response:
        """``get?token&v1``: the value; of several pins a JSON object."""
        pins = _pins(request)
        known = {f"v{pin}": _shown(device, pin) for pin in pins}
        if len(known) == 1:
            return web.Response(text=next(iter(known.values())))
        return web.json_response(known)

    async def update(self, device: Device, request: web.Request) -> web.Response:
        """``update?token&v1=5``: kept, and sent to the device if it is there."""
        for pin in _pins(request):
            values = tuple(
                value
                for key, value in request.query.items()
                if (found := PIN.fullmatch(key)) and found[1] == pin
            )
            if any("\0" in value for value in values):
                raise Refused(f"v{pin}: a value may not hold a NUL")
            device.values[pin] = values
            if device.current is not None:
                device.current.send_value(pin, values)
        return web.Response()

    async def log_event(self, device: Device, request: web.Request) -> web.Response:
        """``logEvent?token&code[&description]``: as an EVENT_LOG of the device."""
        code = request.query.get("code", "")
        if not code:
            raise Refused("code is missing")
        text = request.query.get("description", "")
        self._say(device, request, "http_event", code=code, text=text)
        return web.Response()

    async def provision(self, device: Device, request: web.Request) -> web.Response:
        """``provision``: makes a device of a template, of which this cloud has none."""
        raise Refused("this cloud makes no devices: their tokens stand in the rig file")

    async def upload(self, device: Device, request: web.Request) -> web.Response:
        """``upload?token&type``: a file in the field ``upfile``; its digest is kept, not it."""
        if not request.content_type.startswith("multipart/"):
            raise Refused(f"expected a multipart form with the field {UPLOAD_FIELD}")
        try:
            size, digest = await _uploaded(request)
        except ValueError as error:  # aiohttp's, of a form that cannot be read
            raise Refused(f"the form cannot be read: {error}") from None
        kind = request.query.get("type", "")
        self._say(device, request, "upload", type=kind, bytes=size, sha256=digest)
        return web.Response()

    def _say(self, device: Device, request: web.Request, kind: str, **data: object) -> None:
        number = self._room.guest(request).number
        self._room.site.say(kind, None, number, t=None, name=device.board, **data)

    def guarded(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The handler for a request with a token that the rig gave out; others are refused."""

        async def answer(request: web.Request) -> web.Response:
            what = request.path.removeprefix(ROOT + "/")
            device = self._room.site.registry.by_token(request.query.get("token", ""))
            try:
                if device is None:
                    raise Refused(INVALID_TOKEN)
                response = await handler(self, device, request)
            except Refused as refusal:
                response = web.Response(
                    text=json.dumps({"error": {"message": str(refusal)}}),
                    status=refusal.status,
                    content_type="application/json",
                )
            guest, name = self._room.guest(request), device.board if device else None
            self._room.site.say(
                "http", None, guest.number, name=name, what=what, status=response.status
            )
            return response

        return answer


Handler = Callable[[Api, "Device", web.Request], Awaitable[web.Response]]

ROUTES: Final[Mapping[tuple[str, str], Handler]] = {
    ("GET", "isHardwareConnected"): Api.is_connected,
    ("GET", "get"): Api.get,
    ("GET", "update"): Api.update,
    ("GET", "batch/update"): Api.update,
    ("GET", "logEvent"): Api.log_event,
    ("GET", "provision"): Api.provision,
    ("POST", "upload"): Api.upload,
}


def add_https_api(app: web.Application, room: HttpRoom) -> None:
    """The device API: a part of the HTTP room."""
    api = Api(room)
    for (method, path), handler in ROUTES.items():
        app.router.add_route(method, f"{ROOT}/{path}", api.guarded(handler))


def _pins(request: web.Request) -> list[str]:
    """The pins that a query names, each once."""
    others = [key for key in request.query if key != "token" and not PIN.fullmatch(key)]
    if others:
        raise Refused(f"{others[0]!r} is no pin: expected v0 to v255")
    pins = [found[1] for key in request.query if (found := PIN.fullmatch(key))]
    if not pins:
        raise Refused("no pin is named: expected v0 to v255")
    return list(dict.fromkeys(pins))


def _shown(device: Device, pin: str) -> str:
    if pin not in device.values:
        raise Refused(f"v{pin} has no value")
    return "\0".join(device.values[pin])


async def _uploaded(request: web.Request) -> tuple[int, str]:
    """Size and SHA-256 of the file in a form. Raises Refused."""
    form = await request.multipart()
    while (part := await form.next()) is not None:
        if isinstance(part, BodyPartReader) and part.name == UPLOAD_FIELD:
            size, digest = 0, hashlib.sha256()
            while chunk := await part.read_chunk():
                size += len(chunk)
                if size > MAX_UPLOAD_BYTES:
                    raise Refused(f"the file has more than {MAX_UPLOAD_BYTES} bytes", 413)
                digest.update(chunk)
            return size, digest.hexdigest()
    raise Refused(f"the form has no field {UPLOAD_FIELD}")
