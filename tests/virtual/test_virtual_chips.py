"""Chips are table entries; what tells one from another stands in its eFuses."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import struct
import subprocess
import sys
import tomllib

import pytest
from esptool.targets import CHIP_DEFS
from esptool_matrix import chips
from loader_frames import request
from virtual_bench import MAC, Bench

from pytest_blynk_ota.board.flasher import VIRTUAL_MARK_AT
from pytest_blynk_ota.errors import ConfigError, UsageError
from pytest_blynk_ota.firmware import chips as firmware_chips
from pytest_blynk_ota.firmware import recipe
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET
from pytest_blynk_ota.rig.shipped import folder
from pytest_blynk_ota.virtual.boot.applog import TARGETS
from pytest_blynk_ota.virtual.boot.rom import ROMS
from pytest_blynk_ota.virtual.boot.run import execute
from pytest_blynk_ota.virtual.chip.board import Board, State
from pytest_blynk_ota.virtual.chip.chips import (
    MARKER,
    MODELS,
    make_chip,
    parse_mac,
    parse_revision,
    security_info,
)
from pytest_blynk_ota.virtual.chip.efuse import WORD, EFuses, Locks
from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.chip.registers import WATCHDOG_ENABLED, WATCHDOG_KEY, Registers
from pytest_blynk_ota.virtual.loader import slip
from pytest_blynk_ota.virtual.loader.requests import SYNC_BODY
from pytest_blynk_ota.virtual.loader.session import Loader
from pytest_blynk_ota.virtual.settings import BoardSettings, load

APP_OFFSET = 0x10000
SMALL_BYTES = 98_384


def fuses(name, path=None, fixed=(), **changes):
    chip = dataclasses.replace(make_chip(MODELS[name], MAC), **changes)
    return EFuses(chip, path, fixed)


@pytest.fixture(params=sorted(MODELS))
def name(request):
    return request.param


# ---- a next chip costs an entry


@pytest.fixture
def next_chip(monkeypatch):
    """A made-up chip, in the four tables that a chip has an entry in."""
    name = "esp32x9"
    like = firmware_chips.CHIPS["esp32c3"]
    own = dataclasses.replace(like, name=name, image_id=99, bootloader_offset=0x2000)
    model = dataclasses.replace(
        MODELS["esp32c3"], name=name, image_id=99, security_info=security_info(99, 1)
    )
    monkeypatch.setitem(firmware_chips.CHIPS, name, own)
    monkeypatch.setitem(firmware_chips.IMAGE_IDS, 99, name)
    monkeypatch.setitem(MODELS, name, model)
    rom = dataclasses.replace(ROMS["esp32c3"], greeting=("ESP-ROM:esp32x9-api1",))
    monkeypatch.setitem(ROMS, name, rom)
    monkeypatch.setitem(TARGETS, name, TARGETS["esp32c3"])
    return name


def test_a_next_chip_costs_an_entry_and_loads(next_chip):
    flash = NorFlash()
    bench = Bench(make_chip(MODELS[next_chip], MAC), flash)
    chip_id = struct.unpack_from("<I", bench.ask(0x14)[0].body, 12)[0]
    bench.start_stub()
    bench.ask(0x02, 16, 1, 0x4000, 0x1000, 0)
    bench.send_block(0x03, bytes(16))
    assert chip_id == 99
    assert flash.read(0x1000, 16) == bytes(16)
    flash.close()


def test_a_next_chip_costs_an_entry_and_boots(next_chip, tmp_path):
    rig = tmp_path / "rig.toml"
    rig.write_text(f'[[board]]\nname = "x"\nchip = "{next_chip}"\nport = "virtual"\n')
    [settings] = load(rig).boards
    log = asyncio.run(boot_log(settings))
    assert "ESP-ROM:esp32x9-api1" in log
    assert "INIT => WAIT_CONFIG" in log


async def boot_log(settings: BoardSettings) -> str:
    """What a board with Old in its flash prints until its application waits for settings."""
    said: list[str] = []
    heard = asyncio.Event()

    def failed(error: BaseException) -> None:
        said.append(repr(error))
        heard.set()

    def sent(data: bytes) -> None:
        said.append(data.decode())
        if "INIT => WAIT_CONFIG" in "".join(said):
            heard.set()

    board = Board(settings, execute, speed=100.0, failed=failed)
    for offset, name in ((0x2000, "bootloader"), (APP_OFFSET, "old")):
        text = (folder("firmware_fixtures") / f"{name}.toml").read_text()
        size = None if name == "bootloader" else SMALL_BYTES
        board.flash.program(
            offset, recipe.make(recipe.loads(text, name), settings.chip.name, size=size)
        )
    board.flash.program(TABLE_OFFSET, DEFAULT_TABLE.build())
    board.uart.send = sent
    try:
        await board.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await heard.wait()
    finally:
        await board.stop()
    return "".join(said)


# ---- what is burnt


def test_no_two_places_of_a_chip_s_efuses_overlap(name):
    places = MODELS[name].efuses
    bits = [*places.minor, *places.major, places.secure_version, *places.secure_boot.values()]
    bits += [places.crypt_count, places.download_off]
    if places.download_secure is not None:
        bits.append(places.download_secure)
    if places.mac_check is not None:
        bits.append(places.mac_check)
    used = [(one.address, one.shift + n) for one in bits for n in range(one.width)]
    used += [(places.mac, n) for n in range(32)] + [(places.mac + 4, n) for n in range(16)]
    used += [(places.marker + at, n) for at in range(0, 32, 4) for n in range(32)]
    assert len(set(used)) == len(used)


def test_the_marker_stands_in_the_efuses_of_every_chip(bench):
    address = bench.chip.model.efuses.marker
    words = [bench.ask(0x0A, address + 4 * n)[0].value for n in range(8)]
    assert struct.pack("<8I", *words).rstrip(b"\0") == MARKER


def test_the_test_side_looks_for_the_marker_where_it_is():
    assert {name: model.efuses.marker for name, model in MODELS.items()} == VIRTUAL_MARK_AT


def test_the_host_cannot_write_what_is_burnt(bench):
    address = bench.chip.model.efuses.mac
    before = bench.ask(0x0A, address)[0].value
    bench.ask(0x09, address, 0x12345678, 0xFFFFFFFF, 0)
    assert bench.ask(0x0A, address)[0].value == before


@pytest.mark.parametrize(
    ("chip", "address", "shift", "room"),
    [
        ("esp32", 0x3FF5A088, 0, 32),  # EFUSE_BLK3_RDATA4
        ("esp32c3", 0x6000883C, 14, 16),  # EFUSE_RD_REPEAT_DATA3
        ("esp32s3", 0x6000703C, 14, 16),
    ],
)
def test_a_secure_version_is_as_many_bits_as_it_says(chip, address, shift, room):
    burnt = fuses(chip)
    assert burnt.burn_secure_version(3)
    assert burnt.words()[address] >> shift == 0b111
    assert burnt.burn_secure_version(room)
    assert burnt.words()[address] >> shift == (1 << room) - 1
    assert not burnt.burn_secure_version(room + 1)
    assert burnt.secure_version == room


def test_a_secure_version_never_falls(name):
    burnt = fuses(name)
    burnt.burn_secure_version(2)
    assert burnt.burn_secure_version(1)
    assert burnt.secure_version == 2


@pytest.mark.parametrize("text", ["v4.0", "v0.16", "3", "v3.4"])
def test_a_revision_that_the_efuses_have_no_room_for_cannot_be(text):
    with pytest.raises(UsageError, match="revision"):
        parse_revision(text, MODELS["esp32"])


@pytest.mark.parametrize("text", ["02:b1:6e:00:00", "02:b1:6e:00:00:0g", "", "02-b1:6e"])
def test_a_mac_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="MAC"):
        parse_mac(text)


# ---- the file


def test_a_missing_file_is_made_with_what_the_rig_says(name, tmp_path):
    path = tmp_path / "new" / "fuses.toml"
    fuses(name, path)
    said = tomllib.loads(path.read_text())
    assert (said["chip"], said["mac"], said["secure_version"]) == (name, MAC.hex(":"), 0)
    assert parse_revision(said["revision"], MODELS[name]) == MODELS[name].revision
    assert said["user"] == MARKER.decode()
    assert list(path.parent.iterdir()) == [path], "and nothing beside it"


def test_what_was_burnt_outlives_the_rack(name, tmp_path):
    path = tmp_path / "fuses.toml"
    fuses(name, path).burn_secure_version(5)
    other = make_chip(MODELS[name], bytes(6), 101)
    again = EFuses(other, path)
    assert again.secure_version == 5
    assert (again.chip.mac, again.chip.revision) == (MAC, MODELS[name].revision)


GOOD = {
    "chip": '"esp32c3"',
    "mac": '"24:0a:c4:00:01:10"',
    "revision": '"v0.4"',
    "secure_version": "1",
    "user": f'"{MARKER.decode()}"',
}


def written(path, **changes):
    lines = {**GOOD, **changes}
    path.write_text("".join(f"{key} = {value}\n" for key, value in lines.items() if value))
    return path


def test_a_file_that_is_right_is_the_chip(tmp_path):
    burnt = fuses("esp32c3", written(tmp_path / "f"))
    assert (burnt.chip.revision, burnt.secure_version) == (4, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chip": '"esp32"'}, "chip: expected 'esp32c3', as the rig file says, not 'esp32'"),
        ({"mac": '"24:0a"'}, "mac: expected a MAC address"),
        ({"revision": '"v9.0"'}, "revision: an esp32c3 of revision v9.0 cannot be"),
        ({"secure_version": "17"}, "secure_version: expected a number from 0 to 16, not 17"),
        ({"secure_version": "true"}, "secure_version: expected a number from 0 to 16, not True"),
        ({"secure_boot": "1"}, "secure_boot: expected 0 or 2, the version of secure boot, not 1"),
        ({"crypt_count": "4"}, "crypt_count: expected a number of burnt bits from 0 to 3, not 4"),
        ({"download": '"shut"'}, "download: expected one of open, secure, closed, not 'shut'"),
        ({"user": '"mine"'}, "user: expected 'BLYNK-OTA VIRTUAL BOARD', not 'mine'"),
        ({"mac": None}, "mac: missing"),
        ({"secure_versoin": "1"}, "secure_versoin: no such key; did you mean 'secure_version'?"),
        ({"mac": '"'}, "cannot be read"),
    ],
)
def test_each_mistake_in_the_file_is_named_with_its_key(tmp_path, changes, words):
    with pytest.raises(ConfigError) as caught:
        fuses("esp32c3", written(tmp_path / "f", **changes))
    assert words in str(caught.value)
    assert str(tmp_path / "f") in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path):
    path = written(tmp_path / "f", mac='"x"', revision='"y"', secure_version="-1", more="1")
    with pytest.raises(ConfigError) as caught:
        fuses("esp32c3", path)
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("key", ["mac", "revision"])
def test_the_rig_file_cannot_give_a_burnt_chip_another(tmp_path, key):
    path = written(tmp_path / "f")
    with pytest.raises(ConfigError, match=f"{key}: the rig file says another"):
        fuses("esp32c3", path, {key}, mac=bytes(6), revision=3)
    fuses("esp32c3", path, {key}, mac=MAC, revision=4)


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        fuses("esp32", tmp_path / "taken" / "fuses.toml")


def test_a_board_has_the_identity_of_its_file(tmp_path):
    path = written(tmp_path / "f")
    rig = tmp_path / "rig.toml"
    rig.write_text(
        '[[board]]\nname = "a"\nchip = "esp32c3"\nport = "virtual"\n'
        f'virtual = {{ efuse = "{path}", mac = "24:0a:c4:00:01:10" }}\n'
    )

    async def story() -> None:
        board = Board(load(rig).boards[0], execute, failed=lambda _error: None)
        assert (board.chip.mac_text, board.chip.revision) == ("24:0a:c4:00:01:10", 4)
        assert board.efuses.secure_version == 1
        await board.stop()

    asyncio.run(story())


def test_espefuse_finds_what_was_burnt(tmp_path):
    """The command line of espefuse, on all chips at once."""
    with chips(tmp_path, "socket") as made:
        started = {}
        for name, chip in made.items():
            chip.board.efuses.burn_secure_version(2)
            words = ["--chip", name, "--port", chip.board.uart.url, "summary"]
            started[name] = subprocess.Popen(
                [sys.executable, "-m", "espefuse", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        for name, process in started.items():
            said, _ = process.communicate(timeout=60)
            assert process.returncode == 0, said
            assert re.search(r"SECURE_VERSION .* = 3 R/W", said), said
            assert made[name].board.chip.mac_text in said
            assert MARKER[:15].hex(" ") in said


def test_esptool_sees_secure_boot_and_flash_encryption_that_were_burnt(name):
    """By esptool's own reading of the registers."""
    booting = [Locks(secure_boot=version) for version in MODELS[name].efuses.secure_boot]
    for locks in (Locks(), *booting, Locks(crypt_count=1), Locks(crypt_count=2)):
        burnt = fuses(name)
        burnt.locks = locks
        esp = CHIP_DEFS[name].__new__(CHIP_DEFS[name])
        esp.read_reg = Registers(burnt, lambda: 115200).read
        assert bool(esp.get_secure_boot_enabled()) is (locks.secure_boot > 0)
        assert bool(esp.get_flash_encryption_enabled()) is (locks.crypt_count % 2 == 1)


def test_security_info_says_what_is_locked():
    burnt = fuses("esp32c3")
    burnt.locks = Locks(secure_boot=2, crypt_count=3, download="secure")
    info = burnt.security_info()
    assert info is not None
    assert struct.unpack_from("<IB", info) == (0b101, 0b111)
    assert info[5:] == MODELS["esp32c3"].security_info[5:]
    assert fuses("esp32").security_info() is None


@pytest.mark.parametrize("op", [0x0A, 0x09, 0x05, 0x13, 0x0E])
def test_secure_download_mode_knows_few_commands(op):
    burnt = fuses("esp32c3")
    burnt.locks = Locks(download="secure")
    sent = bytearray()
    loader = Loader(burnt, NorFlash(), sent.extend, lambda _cause: None)
    loader.feed(request(0x14, b""))
    assert slip.Decoder().feed(bytes(sent))[0][-4:] == bytes(4)
    sent.clear()
    loader.feed(request(op, bytes(16)))
    assert slip.Decoder().feed(bytes(sent))[0][-4:] == b"\x01\x05\0\0"


def test_closed_download_mode_says_so_and_answers_nothing(tmp_path, name):
    path = tmp_path / "fuses.toml"
    fuses(name, path)
    path.write_text(path.read_text().replace('download = "open"', 'download = "closed"'))
    rig = tmp_path / "rig.toml"
    rig.write_text(
        f'[[board]]\nname = "a"\nchip = "{name}"\nport = "virtual"\n'
        f'virtual = {{ efuse = "{path}" }}\n'
    )

    async def story() -> str:
        board = Board(load(rig).boards[0], execute, failed=lambda _error: None)
        said: list[bytes] = []
        heard = asyncio.Event()

        def hear(data: bytes) -> None:
            said.append(data)
            if b"Download mode is disabled" in data:
                heard.set()

        board.uart.send = hear
        board.power(True)
        board.press_reset(download=True)
        await heard.wait()
        board._received(request(0x08, SYNC_BODY))
        await board.stop()
        return b"".join(said).decode()

    text = asyncio.run(asyncio.wait_for(story(), 10))
    assert "waiting for download" not in text
    assert text.endswith("Restart with GPIO0 high.\r\n"), text


def test_a_watchdog_does_not_wake_a_board_without_power(tmp_path, monkeypatch):
    rig = tmp_path / "rig.toml"
    rig.write_text('[[board]]\nname = "a"\nchip = "esp32c3"\nport = "virtual"\n')
    registers = MODELS["esp32c3"].watchdog
    set_up = [(registers.protect, WATCHDOG_KEY), (registers.config, WATCHDOG_ENABLED)]

    async def story() -> None:
        board = Board(load(rig).boards[0], execute, failed=lambda _error: None)
        monkeypatch.setattr(board.clock, "timeout", lambda _seconds: 0.0)
        board.power(True)
        board.press_reset(download=True)
        await ticks()
        assert board.state is State.DOWNLOAD
        for address, value in set_up:
            board.uart.receive(request(0x09, struct.pack("<4I", address, value, WORD, 0)))
        board.power(False)
        await ticks()
        assert board.state is State.OFF
        await board.stop()

    asyncio.run(story())


async def ticks() -> None:
    """Everything that is due has its turn."""
    for _ in range(10):
        await asyncio.sleep(0)
