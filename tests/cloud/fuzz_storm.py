"""A storm of good and bad frames over the sockets of a whole cloud; nobody else may feel it.

``python tests/cloud/fuzz_storm.py --frames 1000000 [--seed 1]``; the tests send 100,000.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Callable

from cloud_peer import OTHER_TOKEN, TOKEN, Cloud, until
from fuzz_protocol import SESSION
from mqtt_peer import connect, publish

from pytest_blynk_ota.cloud.doors import Door
from pytest_blynk_ota.cloud.protocol import Cmd, Frame, encode, frame
from pytest_blynk_ota.cloud.site import Limits

FRAMES_A_CONNECTION = 250
BROKEN_SHARE = 0.004
"""Of the frames: one that breaks the stream ends the connection, and most should be heard."""

HARMLESS = [cmd for cmd in Cmd if cmd not in (Cmd.RESPONSE, Cmd.LOGIN, Cmd.REDIRECT)]
"""What ends no session, whatever the body is."""
TOPICS = ("info/mcu", "ds/A", "batch_ds", "event/x", "get/ds", "elsewhere/x", "a" * 99)


def binary(rng: random.Random) -> bytes:
    """One frame of the binary protocol: a device's, a strange one, or a broken one."""
    kind = rng.random()
    if kind < BROKEN_SHARE:
        data = bytearray(encode(rng.choice(SESSION)))
        data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)
    if kind < 0.2:
        cmd = rng.choice(HARMLESS)
        return encode(Frame(cmd, rng.randrange(1, 1 << 16), rng.randbytes(rng.randrange(40))))
    return encode(rng.choice(SESSION[1:]))


def mqtt(rng: random.Random) -> bytes:
    """One packet of MQTT: a publish on some topic, or a broken one."""
    topic = rng.choice(
        ["info/mcu", "ds/A", "batch_ds", "event/x", "get/ds", "elsewhere/x", "a" * 99]
    )
    payload = rng.choice([b"{}", b'{"ver":"1"}', b"23", rng.randbytes(20)])
    data = bytearray(publish(topic, payload))
    if rng.random() < BROKEN_SHARE:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


STORMS: dict[str, tuple[bytes, Callable[[random.Random], bytes]]] = {
    # Port: how a device logs in there, and what it says.
    "tcp": (encode(frame(Cmd.LOGIN, 1, TOKEN)), binary),
    "mqtt": (connect(TOKEN), mqtt),
}


async def storm(frames: int, seed: int) -> dict[str, int]:
    """Send so many frames; returns how many were sent at each port.

    Raises:
        AssertionError: the other device was not served, or something of the storm is left.
    """
    rng = random.Random(seed)
    sent = dict.fromkeys(STORMS, 0)
    limits = Limits(flood_per_s=None)
    async with Cloud(doors=[Door(kind) for kind in STORMS], limits=limits) as cloud:
        beside = await cloud.login(OTHER_TOKEN)
        tasks = len(asyncio.all_tasks())
        while sum(sent.values()) < frames:
            for kind, (login, say) in STORMS.items():
                parts = [say(rng) for _ in range(FRAMES_A_CONNECTION)]
                await one_connection(cloud, kind, login + b"".join(parts))
                sent[kind] += len(parts)
                assert await beside.alive(), f"seed {seed}, after {sent}"
            cloud.timeline._events.clear()  # a million of them would be a gigabyte
        await until("the storm to be over", lambda: len(cloud.server._visits) == 1)
        await until("its tasks to be over", lambda: len(asyncio.all_tasks()) <= tasks)
        beside.leave()
    return sent


async def one_connection(cloud: Cloud, kind: str, data: bytes) -> None:
    reader, writer = await asyncio.open_connection(*cloud.server.address_of(kind))
    drain = asyncio.ensure_future(reader.read(-1))
    try:
        writer.write(data)
        await writer.drain()
        writer.write_eof()
    except OSError:
        pass  # cut off, as it should be
    async with asyncio.timeout(20):
        await asyncio.wait([drain])
    if not drain.cancelled():
        drain.exception()  # a reset is as good an end as any
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.monotonic()
    sent = asyncio.run(storm(options.frames, options.seed))
    print(f"seed {options.seed}: {sent} in {time.monotonic() - begun:.0f} s: nothing broke")


if __name__ == "__main__":
    main()
