"""New Edgent's download: BlynkHttpOTA.h and BlynkUpdater.h of Edgent-Arduino 0.9.0."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.arduino_http import ArduinoHttp
from pytest_blynk_ota.virtual.app.dial import dial, trust_of
from pytest_blynk_ota.virtual.app.edgent_ota import crash_half_way
from pytest_blynk_ota.virtual.app.update import Update, UpdateError

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.app.edgent_log import Say
    from pytest_blynk_ota.virtual.network.tcp import Connection
    from pytest_blynk_ota.virtual.network.tls import Trust

CONNECT_TIMEOUT_S, HANDSHAKE_TIMEOUT_S = 3.0, 10.0
"""setTimeout(3), setHandshakeTimeout(10)."""
LEAST_BYTES = 1024
SHA256_CHARS = 44
PIECE_BYTES = 256
PORTS = {"http": 80, "https": 443}
FILE = "BlynkHttpOTA.h"
UPDATE_ERRORS = {
    UpdateError.READ: "Flash Read Failed",
    UpdateError.SIZE: "Bad Size Given",
    UpdateError.ACTIVATE: "Could Not Activate The Firmware",
    UpdateError.NO_PARTITION: "Partition Could Not be Found",
    UpdateError.ABORT: "Aborted",
    UpdateError.DECRYPT: "Decryption error",
}
"""Update.errorString() of Updater.cpp."""


def rewritten(url: str, tls: bool) -> str:
    """``startOTA()``: builds with TLS ask for https, unless the URL ends in ``&s=0``."""
    return url if not tls or url.endswith("&s=0") else url.replace("http://", "https://")


async def connect(
    context: Context, protocol: str, host: str, port: int, say: Say
) -> Connection | None:
    """``getConnectedClient()``; None: the reason is printed, if there is one."""
    trust: Trust | None = None
    if protocol in ("https", "tls"):
        trust = trust_of(context)
        if trust is None:  # a build without TLS
            say("E", "BlynkNetMgrClients.h", "Network interface not found")
            return None
    elif protocol not in ("http", "tcp"):
        say("E", "BlynkNetMgrClients.h", f"Unsupported protocol: {protocol}")
        return None
    limit = CONNECT_TIMEOUT_S + (HANDSHAKE_TIMEOUT_S if trust else 0.0)
    try:
        async with context.machine.clock.within(context.machine.clock.timeout(limit)):
            return await dial(context.machine, host, port, trust)
    except OSError:  # TimeoutError is one
        return None


async def download(context: Context, url: str, say: Say) -> bool:
    """``downloadUpgrade()``: fetch and select; every failure has its line, most of them at once."""
    say("I", FILE, f"OTA: {url}")
    where = _parse(url)
    if where is None:
        say("E", FILE, "Cannot parse URL")
        return False
    protocol, host, port, path = where
    say("I", FILE, f"Connecting to {host}:{port}")
    connection = await connect(context, protocol, host, port, say)
    if connection is None:
        say("E", FILE, "Cannot connect")
        return False
    http = ArduinoHttp(context.machine, connection)
    try:
        await http.request("GET", host, port, path)
        return await _install(context, http, say)
    finally:
        http.halt()


def _parse(url: str) -> tuple[str, str, int, str] | None:
    """``parseURL()``; no colon: None. Any other text has a host, if a strange one."""
    protocol, colon, rest = url.partition(":")
    if not colon:
        return None
    server, slash, path = rest[2:].partition("/")
    host, has_port, port = server.partition(":")
    digits = port if port.isdecimal() else "0"
    number = min(int(digits), 0xFFFF) if has_port else PORTS.get(protocol, 0)
    return protocol, host, number, slash + path or "/"


async def _install(context: Context, http: ArduinoHttp, say: Say) -> bool:
    def no(why: str) -> bool:
        say("E", FILE, why)
        return False

    status = await http.status()
    if not 200 <= status <= 299:
        return no(f"HTTP status code: {status}")
    digest = (await http.headers()).get("x-sha256", "")
    length = http.content_length
    if length < LEAST_BYTES:
        return no("Content-Length not defined or too small")
    if not digest:
        return no("X-SHA256 not defined")
    update = Update(context.machine, context.ota, allocates=context.behaviour.allocates)
    if not update.begin(length):
        return no("Not enough space to store the update")
    if len(digest.strip()) != SHA256_CHARS:
        return no(f"Invalid X-SHA256 value: {digest}")
    actual = await _write(context, http, update, length)
    if actual is None:
        return False
    written, sha = actual
    context.machine.print("\n")
    if written != length:
        return no(f"Interrupted at {written} / {length} bytes")
    if sha != digest.strip():
        say("E", "BlynkUpdater.h", f"SHA256 mismatch (expected: {digest}, actual: {sha})")
        return no(f"Firmware validation failed: {UPDATE_ERRORS[UpdateError.ABORT]}")
    if not await update.end():
        return no(f"Firmware validation failed: {UPDATE_ERRORS.get(update.error, 'UNKNOWN')}")
    say("I", FILE, "=== Update successfully completed. Rebooting.")
    return True


async def _write(
    context: Context, http: ArduinoHttp, update: Update, length: int
) -> tuple[int, str] | None:
    """Bytes written and their digest; None: refused by the Update class, without a word."""
    clock = context.machine.clock
    sha, written, shown = hashlib.sha256(), 0, 0
    half_way = crash_half_way(context)
    heard = clock.now()
    patience = clock.timeout(context.behaviour.stall_s) * clock.speed
    while written < length and clock.now() - heard < patience:
        data = await http.read(PIECE_BYTES)
        if not data:
            continue
        if not await update.write(data):
            return None
        sha.update(data)
        heard = clock.now()
        written += len(data)
        half_way(written, length)
        percent = written * 100 // length
        if percent > shown or percent == 100:
            context.machine.print(f"\r Flashing... {percent}%")
            shown = percent
    return written, base64.b64encode(sha.digest()).decode()
