"""Many virtual boards in one process, and how fast one of them is at its cloud.

Boots N boards at once against ``blynk-ota cloud`` in another process: from the start of the rack's
process to the last login, at the speed of the shipped rig and at top speed, with the memory of a
board beyond its flash file (private pages of the rack with N boards against the rack with one).
Then presses the reset button of one quiet board at top speed, over and over: from the request to
the login. Both stand against bare clients of the same protocol, without any boot, in the same run.

    python benchmarks/bench_virtual_boards.py [--boards 50] [--resets 50] [--rounds 3] [--size N]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_blynk_ota.cloud.protocol import Cmd, Decoder, encode, frame
from pytest_blynk_ota.firmware import recipe
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.nvs import edgent_config
from pytest_blynk_ota.firmware.otadata import Entry
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET
from pytest_blynk_ota.rig.control import RackControl
from pytest_blynk_ota.rig.shipped import folder

CHIP_NAMES = ("esp32c3", "esp32")
FLASH_BYTES = 4 << 20
RIG_SPEED, TOP_SPEED = 20, 1000
PATIENCE_S = 60.0
TARGET_S, TARGET_MB, TARGET_LOGIN_S = 10.0, 20.0, 0.060


class Cloud:
    """``blynk-ota cloud`` as a process; its logins come in a queue with the time they were read."""

    def __init__(self, tokens: Sequence[str]) -> None:
        main = "from pytest_blynk_ota.cli import main; main()"
        line = [sys.executable, "-c", main, "cloud", "--json"]
        for number, token in enumerate(tokens):
            line += ["--token", f"b{number}={token}"]
        self._process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address = json.loads(self._process.stdout.readline())["tcp"]
        self.logins: queue.Queue[tuple[float, str]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            event = json.loads(text)
            if event["event"] == "login":
                self.logins.put((time.perf_counter(), event["board"]))

    def wait(self, names: Sequence[str]) -> float:
        """When the last of these has logged in."""
        missing, at = set(names), 0.0
        while missing:
            at, name = self.logins.get(timeout=PATIENCE_S)
            missing.discard(name)
        return at

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def dump(chip: str, address: str, token: str, images: dict[str, bytes]) -> bytes:
    """The flash of a board that runs the shipped Old, with the cloud in its settings."""
    host, _, port = address.rpartition(":")
    otadata, nvs = DEFAULT_TABLE.otadata, DEFAULT_TABLE.find("nvs")
    assert otadata is not None
    assert nvs is not None
    settings = edgent_config(
        ssid="lab", password="passphrase", token=token, host=host, port=int(port), size=nvs.size
    )
    flash = bytearray(b"\xff" * FLASH_BYTES)
    for offset, data in (
        (CHIPS[chip].bootloader_offset, images[f"bootloader {chip}"]),
        (TABLE_OFFSET, DEFAULT_TABLE.build()),
        (nvs.offset, settings),
        (otadata.offset, Entry(1).build()),
        (DEFAULT_TABLE.ota_slots[0].offset, images[f"old {chip}"]),
    ):
        flash[offset : offset + len(data)] = data
    return bytes(flash)


def make_images(size: int) -> dict[str, bytes]:
    """Bootloader and Old of each chip, the latter ``size`` bytes long."""
    made = {}
    for name in ("bootloader", "old"):
        text = (folder("firmware_fixtures") / f"{name}.toml").read_text(encoding="utf-8")
        for chip in CHIP_NAMES:
            known = recipe.loads(text, f"{name}.toml")
            made[f"{name} {chip}"] = recipe.make(known, chip, size=size if name == "old" else None)
    return made


def make_rig(where: Path, count: int, address: str, images: dict[str, bytes]) -> Path:
    """A rig file of ``count`` boards, each with its flash file."""
    lines = ["[rig]", 'name = "bench"']
    for number in range(count):
        chip, flash = CHIP_NAMES[number % len(CHIP_NAMES)], where / f"b{number}.bin"
        flash.write_bytes(dump(chip, address, token_of(number), images))
        lines += [
            "[[board]]",
            f'name = "b{number}"',
            f'chip = "{chip}"',
            'port = "virtual"',
            f'virtual = {{ flash = "{flash}" }}',
        ]
    path = where / f"rig{count}.toml"
    path.write_text("\n".join(lines))
    return path


def token_of(number: int) -> str:
    return f"{number:032d}"


@contextlib.contextmanager
def rack(rig: Path, speed: float) -> Iterator[tuple[float, int, dict[str, Any]]]:
    """A rack: when it was started, its process id, what it announced."""
    line = [sys.executable, "-m", "pytest_blynk_ota.virtual", str(rig), "--json", "--lifeline"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*line, "--speed", str(speed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield began, process.pid, json.loads(process.stdout.readline())
    finally:
        process.communicate()


def private_mb(pid: int) -> tuple[float, float]:
    """Of a process: private pages, and all resident ones but those of flash files; in MB."""
    anonymous = other = 0
    flash = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        word, *rest = line.split()
        if not word.endswith(":"):
            flash = line.endswith(".bin")
        elif word == "Anonymous:":
            anonymous += int(rest[0])
        elif word == "Rss:" and not flash:
            other += int(rest[0])
    return anonymous / 1024, other / 1024


async def bare_login(address: str, token: str) -> asyncio.StreamWriter:
    """Connect, log in, wait for the answer: what no device can do without."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(encode(frame(Cmd.LOGIN, 1, token)))
    decoder = Decoder()
    while not decoder.feed(await reader.read(1024)):
        pass
    return writer


async def bare_clients(address: str, count: int) -> None:
    made = await asyncio.gather(*(bare_login(address, token_of(one)) for one in range(count)))
    for writer in made:
        writer.close()


def many(cloud: Cloud, where: Path, count: int, rounds: int, images: dict[str, bytes]) -> None:
    """Prints the first table."""
    names = [f"b{number}" for number in range(count)]
    rig = make_rig(where, count, cloud.address, images)
    alone = make_rig(where, 1, cloud.address, images)
    bare = []
    for _ in range(rounds):
        began = time.perf_counter()
        asyncio.run(bare_clients(cloud.address, count))
        bare.append(cloud.wait(names) - began)
    print(f"{count} boards in one process, start of the rack to the last login, {rounds} rounds")
    print(f"  {'bare clients of one process':<28} {statistics.median(bare):6.2f} s")
    for speed in (RIG_SPEED, TOP_SPEED):
        took = []
        for _ in range(rounds):
            with rack(rig, speed) as (began, pid, _):
                took.append(cloud.wait(names) - began)
                memory = private_mb(pid)
        middle, worst = statistics.median(took), max(took)
        print(
            f"  {f'boards at speed {speed}':<28} {middle:6.2f} s, at most {worst:.2f} s"
            f" (target {TARGET_S:.0f}); {middle / statistics.median(bare):.1f} times the bare ones"
        )
    with rack(alone, TOP_SPEED) as (_, pid, _):
        cloud.wait(names[:1])
        first = private_mb(pid)
    board = [(one - other) / (count - 1) for one, other in zip(memory, first, strict=True)]
    print(
        f"  memory of a board: {board[0]:.2f} MB private, {board[1]:.2f} MB resident beyond its "
        f"flash file (target {TARGET_MB:.0f}); the rack with one board: {first[1]:.0f} MB"
    )


def one(cloud: Cloud, where: Path, resets: int, images: dict[str, bytes]) -> None:
    """Prints the second table."""
    bare, took = [], []
    rig = make_rig(where, 1, cloud.address, images)
    for _ in range(resets):
        began = time.perf_counter()
        writer = asyncio.run(bare_login(cloud.address, token_of(0)))
        bare.append(cloud.wait(["b0"]) - began)
        with contextlib.suppress(RuntimeError):
            writer.close()  # its event loop has gone, and the connection with it
    with rack(rig, TOP_SPEED) as (_, _, ready):
        cloud.wait(["b0"])
        control = RackControl(ready["outlet"])
        control.boards()
        for _ in range(resets):
            began = time.perf_counter()
            control.reset("b0")
            took.append(cloud.wait(["b0"]) - began)
    middle = statistics.median(took)
    tail = sorted(took)[int(len(took) * 0.9)]
    print(f"reset to login at speed {TOP_SPEED}, {resets} resets of one board")
    print(f"  {'bare client':<28} {statistics.median(bare) * 1000:6.1f} ms")
    print(
        f"  {'board':<28} {middle * 1000:6.1f} ms, 9 in 10 within {tail * 1000:.1f} ms"
        f" (target {TARGET_LOGIN_S * 1000:.0f}); {middle / statistics.median(bare):.1f} times the "
        "bare one"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--boards", type=int, default=50)
    parser.add_argument("--resets", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=1_000_000, help="bytes of the firmware")
    options = parser.parse_args()
    images = make_images(options.size)
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, images of {options.size:,} bytes")
    with tempfile.TemporaryDirectory() as name:
        cloud = Cloud([token_of(number) for number in range(options.boards)])
        try:
            many(cloud, Path(name), options.boards, options.rounds, images)
            one(cloud, Path(name), options.resets, images)
        finally:
            cloud.close()


if __name__ == "__main__":
    main()
