"""The programs as a user starts them: each with a bounded wait, and ended as by Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytest_blynk_ota.firmware import recipe
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET
from pytest_blynk_ota.rig.shipped import folder

ROOT = Path(__file__).parents[2]
BLYNK_OTA = Path(sys.executable).with_name("blynk-ota")
"""The console script of the environment that the tests run in."""
PATIENCE_S = 20.0
APP_OFFSET = 0x10000
SMALL_BYTES = 98_384
"""The smallest application that a recipe makes: esptool needs seconds for each 100 KB."""


@dataclass
class Running:
    """A command that runs until Ctrl-C, started with ``--json``.

    Attributes:
        process: the command.
        ready: its first line.
    """

    process: subprocess.Popen[str]
    ready: dict[str, Any]

    def event(self, name: str) -> dict[str, Any]:
        """The next line of that kind. Fails if the command ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if (event := json.loads(line))["event"] == name:
                return event
        raise AssertionError(f"the command ended with no {name!r}")

    def interrupt(self) -> None:
        """Ctrl-C: it must end in good order."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0


@contextlib.contextmanager
def running(*words: object, cwd: Path | None = None) -> Iterator[Running]:
    """A command until the end of the block, where it must end by Ctrl-C with exit code 0."""
    process = subprocess.Popen(
        [str(BLYNK_OTA), *map(str, words), "--json"], stdout=subprocess.PIPE, text=True, cwd=cwd
    )
    try:
        assert process.stdout is not None
        running = Running(process, json.loads(process.stdout.readline()))
        yield running
        if process.poll() is None:
            running.interrupt()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [str(BLYNK_OTA), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        cwd=cwd,
    )


def address(url: str) -> tuple[str, int]:
    """Host and port of a URL, or of ``HOST:PORT``."""
    parts = urlsplit(url if "://" in url else f"tcp://{url}")
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def is_open(url: str) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection(address(url), PATIENCE_S).close()
    except ConnectionRefusedError:
        return False
    return True


def made(name: str, chip: str, size: int | None = None) -> bytes:
    """The image of a shipped recipe."""
    text = (folder("firmware_fixtures") / f"{name}.toml").read_text()
    return recipe.make(recipe.loads(text, name), chip, size=size)


def whole_flash(chip: str) -> dict[int, bytes]:
    """What a user writes into a new board, by offset."""
    return {
        CHIPS[chip].bootloader_offset: made("bootloader", chip),
        TABLE_OFFSET: DEFAULT_TABLE.build(),
        APP_OFFSET: made("old", chip, SMALL_BYTES),
    }


def rig_file(folder: Path, *boards: str) -> Path:
    """A rig file with the virtual boards of these TOML rows, each after ``[[board]]``."""
    path = folder / "rack.toml"
    tables = (f'[[board]]\nport = "virtual"\n{board}' for board in boards)
    path.write_text("\n".join(['[rig]\nname = "accept"\nspeed = 20', *tables]) + "\n")
    return path


def flash_file(path: Path, content: dict[int, bytes]) -> Path:
    """A flash of 4 MB that holds these bytes at these offsets."""
    flash = bytearray(b"\xff" * (4 << 20))
    for offset, data in content.items():
        flash[offset : offset + len(data)] = data
    path.write_bytes(flash)
    return path
