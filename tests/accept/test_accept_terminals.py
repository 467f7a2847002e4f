"""Terminals that are not ours, attached to virtual boards over each wire."""

from __future__ import annotations

import os
import shutil
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from accept_bench import PATIENCE_S, Running, flash_file, rig_file, running, whole_flash
from accept_terminal import in_terminal

WIRES = ("rfc2217", "socket", "pty")
QUIT = b"\x1d"
"""Ctrl+], in both."""
TRIES, TRY_S = 20, 1.0
LOG = ("ESP-ROM:esp32c3", "rst:0x1 (POWERON)", "entry 0x", "1.0.0 (build")
FIRMWARE = '"fw_ver":"1.0.0"'
MINITERM = ("serial.tools.miniterm", "{url}", "115200")
MONITOR = ("esp_idf_monitor", "--target", "esp32c3", "--port", "{url}")
NO_LINES = "[esp-idf-monitor]\ncustom_hard_reset_sequence = W0\n"
"""esp-idf-monitor moves lines when it attaches, which a pseudo-terminal refuses; not with this."""


@pytest.fixture(scope="module")
def rack(tmp_path_factory) -> Iterator[Running]:
    """A board with firmware at each wire."""
    folder = tmp_path_factory.mktemp("terminals")
    flash = flash_file(folder / "flash", whole_flash("esp32c3"))
    boards = []
    for wire in WIRES:
        own = shutil.copy(flash, folder / wire)
        keys = f'flash = "{own}", wire = "{wire}"'
        boards.append(f'name = "{wire}"\nchip = "esp32c3"\nvirtual = {{ {keys} }}')
    with running("virtual", rig_file(folder, *boards)) as started:
        yield started


def press_reset(rack: Running, name: str) -> None:
    """The board's EN button."""
    url = f"{rack.ready['outlet']}/{name}/reset"
    request = urllib.request.Request(url, data=b"{}", method="POST")
    urllib.request.urlopen(request, timeout=PATIENCE_S).close()


@pytest.mark.parametrize(
    ("program", "wire"),
    [
        (MINITERM, "socket"),
        (MINITERM, "pty"),
        (MONITOR, "rfc2217"),
        (MONITOR, "pty"),
    ],
)
def test_a_terminal_shows_the_boot_log_and_takes_commands(rack, program, wire, tmp_path):
    if program is MONITOR:
        pytest.importorskip("esp_idf_monitor", reason="it is in the extra [test]")
    config = tmp_path / "monitor.cfg"
    config.write_text(NO_LINES if wire == "pty" else "")
    url = next(board["url"] for board in rack.ready["boards"] if board["name"] == wire)
    command = [sys.executable, "-m", *(word.format(url=url) for word in program)]
    environment = {**os.environ, "ESP_IDF_MONITOR_CFGFILE": str(config)}
    with in_terminal(command, environment) as terminal:
        assert "Quit: Ctrl+]" in terminal.until("Quit: Ctrl+]")
        for _ in range(TRIES):  # it greets before it has the port
            terminal.type(b"devinfo\r")
            if FIRMWARE in terminal.until(FIRMWARE, wall_s=TRY_S):
                break
        assert FIRMWARE in terminal.text, terminal.text
        before = len(terminal.text)
        press_reset(rack, wire)
        log = terminal.until("WAIT_CONFIG", after=before)
        terminal.type(QUIT)
        assert terminal.exit_code() == 0
    places = [log.find(text) for text in LOG]
    assert -1 not in places, log
    assert places == sorted(places)
