"""Fuzz targets of the Blynk codec and of a session. Both raise if a promise is broken.

``python tests/cloud/fuzz_protocol.py SECONDS [SEED]`` runs them on mutated sessions of a real
device's shape; the hypothesis tests use the same functions.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

from cloud_peer import INFO, TOKEN

from pytest_blynk_ota.cloud.device import Registry
from pytest_blynk_ota.cloud.protocol import (
    Cmd,
    Decoder,
    Frame,
    ProtocolError,
    encode,
    frame,
    response,
)
from pytest_blynk_ota.cloud.session import Session
from pytest_blynk_ota.cloud.site import Limits, Site


def decode(chunks: Sequence[bytes], max_body: int) -> tuple[list[Frame], str | None]:
    """All frames that the chunks hold, and what broke the stream, if anything did."""
    decoder = Decoder(max_body)
    frames: list[Frame] = []
    for chunk in chunks:
        try:
            frames += decoder.feed(chunk)
        except ProtocolError as error:
            return frames + list(error.frames), error.reason
    return frames, None


def check_decoder(data: bytes, cuts: Sequence[int], max_body: int) -> None:
    """Any bytes decode the same whole, cut and byte by byte, and encode to what came in."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    whole = decode([data], max_body)
    assert decode(pieces, max_body) == whole
    assert decode([data[i : i + 1] for i in range(len(data))], max_body) == whole
    again = b"".join(encode(message) for message in whole[0])
    assert data.startswith(again)
    if whole[1] is None:
        assert len(data) - len(again) < 5 + max_body


class Wire(asyncio.Transport):
    """A transport in memory that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written = bytearray()
        self.over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.over, "written after the end"
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def close(self) -> None:
        self.over = True

    abort = close


ANSWERS = (Cmd.RESPONSE, Cmd.INTERNAL, Cmd.HARDWARE)
"""What a device's messages are answered with: a status, time or metafield, stored values."""


def check_session(chunks: Sequence[bytes]) -> list[tuple[str, dict[str, object]]]:
    """Any bytes lead to whole answers and to at most one end; returns what was recorded."""
    said: list[tuple[str, dict[str, object]]] = []

    def record(source, kind, board=None, /, *, t=None, **data) -> None:
        assert source == "cloud"
        said.append((kind, data))

    async def play() -> None:
        registry = Registry()
        registry.add("a", TOKEN)
        site = Site(registry, record, 1.0, Limits(), lambda _: None, lambda _: None)
        session = Session(1, site, time.monotonic())
        wire = Wire()
        session.connection_made(wire)
        for chunk in chunks:
            session.data_received(chunk)
        answers, broken = decode([bytes(wire.written)], 1024)
        assert broken is None
        assert all(answer.cmd in ANSWERS and answer.id for answer in answers)
        assert wire.over == any(kind == "closed" for kind, _ in said)
        session.connection_lost(None)
        assert registry.get("a").state.online is False

    asyncio.run(play())
    assert [kind for kind, _ in said].count("closed") == 1
    assert TOKEN not in repr([data for kind, data in said if kind in ("refused", "closed")])
    return said


SESSION = (
    frame(Cmd.LOGIN, 1, TOKEN), frame(Cmd.INTERNAL, 2, *INFO), frame(Cmd.PING, 3), response(4),
    frame(Cmd.EVENT_LOG, 5, "sys_ota", "OTA started"), frame(Cmd.HARDWARE, 6, "vw", "1", "2"),
    frame(Cmd.PROPERTY, 7, "1", "label", "x"), frame(Cmd.INTERNAL, 8, "meta", "set", "a", "b"),
    frame(Cmd.INTERNAL, 9, "meta", "get", "a"), frame(Cmd.INTERNAL, 10, "rtc", "sync"),
    frame(Cmd.HARDWARE_SYNC, 11, "vr", "1"), frame(Cmd.INTERNAL, 12, "dbg", "text"),
)  # fmt: skip


def mutated(rng: random.Random) -> bytes:
    """A session with messages shuffled and a few bytes changed, cut out or put in."""
    data = bytearray(b"".join(encode(rng.choice(SESSION)) for _ in range(rng.randrange(8))))
    data = bytearray(encode(SESSION[0])) * rng.choice((0, 1, 1)) + data
    for _ in range(rng.choice((0, 1, 1, 4))):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
    return bytes(data)


def main(seconds: float, seed: int) -> None:
    """Fuzz for some seconds; the failing input is in the traceback's locals and the seed."""
    rng = random.Random(seed)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(rng)
        cuts = [rng.randrange(1 << 16) for _ in range(rng.randrange(4))]
        try:
            check_decoder(data, cuts, rng.choice((0, 16, 1024)))
            check_session([data])
        except Exception:
            print(f"seed {seed}, input {count}: {data.hex()} cuts {cuts}")
            raise
        count += 1
    print(f"{count} inputs, seed {seed}: nothing broke")


if __name__ == "__main__":
    main(
        float(sys.argv[1]) if len(sys.argv) > 1 else 10.0,
        int(sys.argv[2]) if len(sys.argv) > 2 else 1,
    )
