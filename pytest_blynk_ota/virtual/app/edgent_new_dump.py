"""New Edgent's upload of a core dump: BlynkSysCoredump.cpp, uploadCoreDump() in BlynkHttpOTA.h."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app import coredump
from pytest_blynk_ota.virtual.app.arduino_http import ArduinoHttp
from pytest_blynk_ota.virtual.app.edgent_new_ota import connect
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.app.edgent_log import Say

BOUNDARY = "blynk-esp32-coredump"
PATH = "/external/api/upload?type=DUMP&token="


def stored_core_dump(context: Context) -> bytes:
    """``esp_core_dump_image_get()``: what the partition holds, if its length word can be right."""
    place = coredump.found(context.started.table)
    if place is None:
        return b""
    size = int.from_bytes(context.machine.flash.read(place.offset, 4), "little")
    if not 4 <= size <= place.size:
        return b""
    return context.machine.flash.read(place.offset, size)


async def clear_core_dump(context: Context) -> None:
    """``esp_core_dump_image_erase()``: the partition, then a blank length and three zero words."""
    place = coredump.found(context.started.table)
    if place is not None:
        await context.machine.erase(place.offset, place.size // SECTOR_BYTES * SECTOR_BYTES)
        await context.machine.program(place.offset, b"\xff" * 4 + bytes(12))


async def upload_core_dump(context: Context, host: str, token: str, say: Say) -> None:
    """Ten seconds after the first login: a core dump goes to the cloud and is erased.

    Erased even if nobody was there to take it.
    """
    dump = stored_core_dump(context)
    if not dump:
        return
    words = f"System crash detected. Uploading core dump ({len(dump)} bytes) to {host}"
    say("W", "BlynkEdgent.h", words)
    tls = context.behaviour.tls
    ports = context.behaviour.ports or ((443,) if tls else (80,))
    status = await _post(context, host, ports[0], token, dump, say)
    await clear_core_dump(context)
    if not 200 <= status < 300:
        say("E", "BlynkEdgent.h", "Core dump upload failed")


async def _post(
    context: Context,
    host: str,
    port: int,
    token: str,
    dump: bytes,
    say: Say,
) -> int:
    protocol = "https" if context.behaviour.tls else "http"
    connection = await connect(context, protocol, host, port, say)
    if connection is None:
        return -1
    head = (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="upfile"; filename="coredump.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    body = head + dump + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = (
        "Connection: close",
        f"Host: {host}",
        "User-Agent: ESP32-Arduino",
        "Connection: close",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {len(body)}",
    )
    http = ArduinoHttp(context.machine, connection)
    try:
        await http.request("POST", host, port, PATH + token, *headers, body=body)
        return await http.status()
    finally:
        http.stop()
