"""A locked board is refused with the reason, over each wire, and nothing is written to it."""

from __future__ import annotations

import tomllib

import pytest

from pytest_blynk_ota.board.baseline import Baseline, Region
from pytest_blynk_ota.errors import BoardLocked, ConfigError
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.rig.config import check
from pytest_blynk_ota.rig.rack import Rig

BOARDS = {
    "c3-signed": ("esp32c3", "rfc2217", "secure_boot = 2", "Secure Boot is on .*SECURE_BOOT_EN"),
    "c3-crypt": ("esp32c3", "pty", "crypt_count = 1", "Flash Encryption is on .*CRYPT_CNT = 0b1"),
    "c3-secure": (
        "esp32c3", "rfc2217", 'download = "secure"', "Secure Download Mode .ENABLE_SECURITY_DOWN"
    ),
    "s3-secure": (
        "esp32s3", "pty", 'download = "secure"', "Secure Download Mode .ENABLE_SECURITY_DOWNLOAD"
    ),
    "c3-closed": ("esp32c3", "pty", 'download = "closed"', "mode is disabled .DIS_DOWNLOAD_MODE"),
    "esp32-v1": ("esp32", "rfc2217", "secure_boot = 1", "Secure Boot is on .*V1, ABS_DONE_0"),
    "esp32-crypt": ("esp32", "pty", "crypt_count = 3", "Encryption .*FLASH_CRYPT_CNT = 0b111"),
    "esp32-closed": (
        "esp32", "rfc2217", 'download = "closed"', "mode is disabled .UART_DOWNLOAD_DIS"
    ),
    "esp32-open": ("esp32", "rfc2217", "crypt_count = 2", ""),
}  # fmt: skip
REVISIONS = {"esp32": "v3.0", "esp32c3": "v0.4", "esp32s3": "v0.2"}
NOISE = Baseline((Region("app0", 0x10000, bytes(range(256)) * 64),))


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    folder = tmp_path_factory.mktemp("locked")
    text = '[rig]\nname = "locked"\nspeed = 20\n'
    for number, (name, (chip, wire, lock, _)) in enumerate(BOARDS.items()):
        fuses = folder / f"{name}.toml"
        fuses.write_text(
            f'chip = "{chip}"\nmac = "02:b1:6e:00:00:{number:02x}"\n{lock}\n'
            f'revision = "{REVISIONS[chip]}"\nsecure_version = 0\n'
            'user = "BLYNK-OTA VIRTUAL BOARD"\n'
        )
        text += (
            f'[[board]]\nname = "{name}"\nchip = "{chip}"\nport = "virtual"\n'
            'provision = { kind = "edgent-nvs" }\n'
            f'virtual = {{ efuse = "{fuses}", wire = "{wire}" }}\n'
        )
    path = folder / "rig.toml"
    path.write_text(text)
    config = check(tomllib.loads(text), str(path))
    made = Rig(config, path, run=folder, recorder=Recorder(Timeline()), redactor=Redactor())
    yield made
    made.close()


def written(rig: Rig, name: str) -> bytes:
    """What stands where the test wants to write."""
    assert rig.virtual is not None
    return rig.virtual.control.save(name)[0x10000:][: NOISE.regions[0].size]


@pytest.mark.parametrize("name", [name for name, row in BOARDS.items() if row[3]])
def test_a_locked_board_is_refused_with_the_reason_and_a_remedy(rig, name):
    board = rig.place(name).board
    with pytest.raises(BoardLocked, match=BOARDS[name][3]) as caught:
        board.restore(NOISE)
    assert str(caught.value).startswith(f"board {name}: nothing was written: ")
    assert "What to do: " in str(caught.value)
    assert set(written(rig, name)) == {0xFF}


def test_a_table_that_is_cipher_text_is_told_as_the_lock_that_it_is(rig):
    """Not as a missing table, whose remedy would be to write one."""
    with pytest.raises(BoardLocked, match=r"Flash Encryption is on"):
        rig.place("c3-crypt").board.read_table()


def test_a_board_that_nobody_locked_is_written_to(rig):
    """Flash encryption that was switched off again, with an even count, locks nothing."""
    board = rig.place("esp32-open").board
    board.restore(NOISE)
    assert written(rig, "esp32-open") == NOISE.regions[0].data
    assert board.facts.kind == "virtual"


def test_what_does_not_fit_the_flash_is_refused_before_the_first_byte(rig):
    board = rig.place("esp32-open").board
    before = written(rig, "esp32-open")
    beyond = Baseline((Region("app0", 0x10000, bytes(16)), Region("app1", 0x400000, bytes(16))))
    with pytest.raises(ConfigError, match=r"nothing was written: its flash has 4194304 bytes"):
        board.restore(beyond)
    assert written(rig, "esp32-open") == before


def test_a_locked_board_can_still_say_who_it_is(rig):
    seen = rig.place("c3-signed").board.identity()
    assert (seen.chip, seen.mac, seen.kind) == ("esp32c3", "02:b1:6e:00:00:00", "virtual")
