"""A rig reaches its virtual boards over each wire, and resets them where the wire has no lines."""

import tomllib

import pytest

from pytest_blynk_ota.board.patterns import ROM_BANNER
from pytest_blynk_ota.errors import LoaderSilent
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.rig.config import check
from pytest_blynk_ota.rig.rack import Rig

WIRES = {
    "socket": 'wire = "socket"',
    "pty": 'wire = "pty"',
    "jtag": 'usb = "jtag"',
    "paced": "paced = true",
}
RESETS = {"jtag": "rst:0x15 (USB_UART_CHIP_RESET)"}


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wires")
    path = folder / "rig.toml"
    path.write_text(
        '[rig]\nname = "wires"\nspeed = 20\n'
        + "".join(
            f'[[board]]\nname = "{name}"\nchip = "esp32c3"\nport = "virtual"\npower = "virtual"\n'
            f'provision = {{ kind = "edgent-nvs" }}\nvirtual = {{ {keys} }}\n'
            for name, keys in WIRES.items()
        )
    )
    config = check(tomllib.loads(path.read_text()), str(path))
    made = Rig(config, path, run=folder, recorder=Recorder(Timeline()), redactor=Redactor())
    yield made
    made.close()


@pytest.mark.parametrize("name", WIRES)
def test_a_board_is_reset_into_its_loader_and_out_again(rig, name):
    board = rig.place(name).board
    seen = board.identity()
    assert (seen.chip, seen.virtual) == ("esp32c3", True)
    cursor = board.console.cursor
    board.reset()
    banner = board.console.find(ROM_BANNER, after=cursor, wall_s=5)
    assert banner
    assert banner.string.startswith(RESETS.get(name, "rst:0x1 (POWERON)"))


def test_a_board_without_lines_and_power_is_silent_in_its_loader_a_fault_of_the_rack(rig):
    place = rig.place("socket")
    place.power.off()
    try:
        with pytest.raises(LoaderSilent):
            place.board.identity()
    finally:
        place.power.on()
    assert place.board.identity().chip == "esp32c3"
