"""``blynk-ota virtual`` in one process, tools that are not ours in others."""

from __future__ import annotations

import os
import pty
import random
import select
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest
import serial
from accept_bench import (
    APP_OFFSET,
    PATIENCE_S,
    flash_file,
    rig_file,
    run,
    running,
    whole_flash,
)

WIRES = {"esp32": "socket", "esp32c3": "rfc2217", "esp32s3": "socket"}
"""One chip by the way that resets it; that is slow enough."""
BOOTED = b"INIT => WAIT_CONFIG"
READ_OFFSET = 0x290000
NOISE = random.Random(11).randbytes(8192)
ESPTOOL_S = 120.0
"""pyserial sleeps for 20 s in each command of esptool over RFC 2217: all run at once."""
QUIT_MINITERM = b"\x1d"
PROMPT = "Quit: Ctrl+]"


def switch(outlet: str, board: str, on: bool) -> None:
    """Switch a board's power, as curl does."""
    request = urllib.request.Request(f"{outlet}/{board}", data=b"%d" % on, method="PUT")
    urllib.request.urlopen(request, timeout=PATIENCE_S).close()


def esptool(url: str, *words: object) -> subprocess.Popen[str]:
    """Unmodified esptool, started as a user does."""
    return subprocess.Popen(
        [sys.executable, "-m", "esptool", "--port", url, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def boards_and_commands(folder, chip):
    """Two boards of a chip, and what esptool shall do on each: write an application, read."""
    content = whole_flash(chip)
    app = folder / f"{chip}.bin"
    app.write_bytes(content.pop(APP_OFFSET))
    content[READ_OFFSET] = NOISE
    flash = flash_file(folder / f"{chip}.flash", content)
    words = {
        "write": ("write-flash", hex(APP_OFFSET), app),
        "read": ("read-flash", hex(READ_OFFSET), len(NOISE), folder / f"{chip}.read"),
        "erase": ("erase-region", hex(READ_OFFSET), "0x1000"),
    }
    for what, command in words.items():
        own = shutil.copy(flash, folder / f"{chip}-{what}.flash")
        virtual = f'{{ flash = "{own}", wire = "{WIRES[chip]}" }}'
        table = f'name = "{chip}-{what}"\nchip = "{chip}"\nvirtual = {virtual}'
        yield f"{chip}-{what}", table, command


def test_what_esptool_writes_boots_and_it_reads_and_erases_on_every_chip(tmp_path):
    rows = [row for chip in WIRES for row in boards_and_commands(tmp_path, chip)]
    with running("virtual", rig_file(tmp_path, *(table for _, table, _ in rows))) as rack:
        urls = {board["name"]: board["url"] for board in rack.ready["boards"]}
        started = {name: esptool(urls[name], *words) for name, _, words in rows}
        for name, process in started.items():
            said, _ = process.communicate(timeout=ESPTOOL_S)
            assert process.returncode == 0, f"{name}: {said}"
        for chip in WIRES:
            assert (tmp_path / f"{chip}.read").read_bytes() == NOISE
            erased = (tmp_path / f"{chip}-erase.flash").read_bytes()[READ_OFFSET:]
            assert erased[: len(NOISE)] == b"\xff" * 4096 + NOISE[4096:]
            with serial.serial_for_url(urls[f"{chip}-write"], 115200, timeout=PATIENCE_S) as port:
                switch(rack.ready["outlet"], f"{chip}-write", False)
                switch(rack.ready["outlet"], f"{chip}-write", True)
                assert port.read_until(BOOTED).endswith(BOOTED)


def test_a_serial_terminal_shows_the_boot_log(tmp_path):
    flash = flash_file(tmp_path / "flash", whole_flash("esp32c3"))
    board = f'name = "a"\nchip = "esp32c3"\nvirtual = {{ flash = "{flash}" }}'
    with running("virtual", rig_file(tmp_path, board)) as rack:
        terminal, fd = pty.fork()
        if terminal == 0:  # the child
            line = ["-m", "serial.tools.miniterm", rack.ready["boards"][0]["url"], "115200"]
            os.execv(sys.executable, [sys.executable, *line])
        try:
            assert PROMPT in shown(fd, PROMPT)
            switch(rack.ready["outlet"], "a", False)
            switch(rack.ready["outlet"], "a", True)
            log = shown(fd, "WAIT_CONFIG")
            os.write(fd, QUIT_MINITERM)
            assert "exit" in shown(fd, "exit")
            assert os.waitpid(terminal, 0)[1] == 0
            terminal = 0
        finally:
            if terminal:
                os.kill(terminal, 9)
                os.waitpid(terminal, 0)
            os.close(fd)
    expected = ["ESP-ROM:esp32c3", "rst:0x1 (POWERON)", "entry 0x", BOOTED.decode()]
    places = [log.find(text) for text in expected]
    assert -1 not in places, log
    assert places == sorted(places)


def shown(fd: int, wanted: str) -> str:
    """What a terminal shows up to the wanted words, or until the time is over or it ends."""
    deadline = time.monotonic() + PATIENCE_S
    text = ""
    while wanted not in text:
        if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return text
        try:
            text += os.read(fd, 4096).decode(errors="replace")
        except OSError:  # Linux: the other end of a pseudo-terminal is closed
            return text
    return text


def test_a_rig_file_without_virtual_boards_is_refused():
    done = run("virtual", "lab1")
    assert done.returncode == 2
    assert "no board has port" in done.stderr


@pytest.mark.parametrize("speed", ["0", "nan", "inf", "1001"])
def test_a_speed_that_no_clock_can_have_is_wrong_usage(speed):
    done = run("virtual", "--speed", speed)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
