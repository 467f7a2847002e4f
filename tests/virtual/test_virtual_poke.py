"""``blynk-ota virtual`` as a hand at a rack that runs."""

from __future__ import annotations

import json
import sys

import pytest
from virtual_dump import dump

from pytest_blynk_ota import cli
from pytest_blynk_ota.cli.flashtext import flash_text
from pytest_blynk_ota.firmware import loaderinfo
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import Segment, build_image
from pytest_blynk_ota.firmware.otadata import State
from pytest_blynk_ota.firmware.partitions import (
    DEFAULT_TABLE,
    TABLE_BYTES,
    TABLE_OFFSET,
    Partition,
    PartitionTable,
)
from pytest_blynk_ota.virtual.chip.board import State as Doing
from pytest_blynk_ota.virtual.chip.flash import FLASH_BYTES
from pytest_blynk_ota.virtual.control.flashmap import flash_map

BOARD = "c3-a"


@pytest.fixture
def blynk_ota(monkeypatch, capsys):
    """Run ``blynk-ota virtual``: exit code, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["blynk-ota", "virtual", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, " ".join(said.err.replace("│", " ").split())

    monkeypatch.delenv("BLYNK_OTA_RACK", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return run


@pytest.fixture
def poke(blynk_ota, rack, monkeypatch):
    """The same at the rack of this test; the command worked."""
    monkeypatch.setenv("BLYNK_OTA_RACK", rack.rack.control.url)

    def run(*arguments):
        code, out, err = blynk_ota(*arguments)
        assert code == 0, err
        return out

    return run


def board(rack):
    return rack.rack.boards[BOARD]


def test_the_boards_are_listed(poke, rack):
    first, *_, last = poke("--list").splitlines()
    assert first.split()[:4] == [BOARD, "esp32c3", board(rack).chip.mac_text, board(rack).uart.url]
    assert last.endswith("running from flash")
    assert [one["name"] for one in json.loads(poke("--list", "--json"))["boards"]] == list(
        rack.rack.boards
    )


def test_the_power_is_cut_and_given_back(poke, rack):
    assert poke("--cut", BOARD) == f"{BOARD}: power off\n"
    assert board(rack).state is Doing.OFF
    assert poke("--on", BOARD) == f"{BOARD}: power on\n"
    assert board(rack).state is Doing.RUNNING


def test_the_reset_button_is_pressed(poke, rack):
    assert poke("--reset", BOARD, "--download") == f"{BOARD}: reset into download mode\n"
    assert board(rack).state is Doing.DOWNLOAD
    assert poke("--reset", BOARD) == f"{BOARD}: reset\n"
    assert board(rack).state is Doing.RUNNING


def test_a_dip_says_what_came_of_it(poke):
    assert poke("--dip", BOARD) == f"{BOARD}: 50 ms without power: a brownout reset\n"
    assert (
        poke("--dip", BOARD, "--ms", "2") == f"{BOARD}: 2 ms without power: its capacitors held\n"
    )


def test_wifi_is_pulled_and_seen_in_the_list(poke):
    assert poke("--wifi-off", BOARD) == f"{BOARD}: out of range of its access point\n"
    assert "out of Wi-Fi range" in poke("--list").splitlines()[0]
    assert poke("--wifi-on", BOARD) == f"{BOARD}: in range of its access point\n"
    assert "out of Wi-Fi range" not in poke("--list")


def test_a_flash_is_loaded_shown_and_saved(poke, tmp_path):
    source, target = tmp_path / "in.bin", tmp_path / "out.bin"
    source.write_bytes(dump("esp32c3"))
    assert "sectors changed" in poke("--load", BOARD, str(source))
    shown = poke("--flash", BOARD)
    assert "seq 1, slot 0, VALID  <- counts" in shown
    assert "dump 1.0.0" in shown
    assert shown.endswith("next boot: app0\n")
    assert json.loads(poke("--flash", BOARD, "--json"))["boots"] == "app0"
    assert f"{FLASH_BYTES:,} bytes" in poke("--save", BOARD, str(target))
    assert target.read_bytes() == source.read_bytes()


def test_the_journal_is_a_table(poke, rack):
    rack.call(board(rack).flash.erase, 0x10000, 4096)
    head, columns, row = poke("--journal", BOARD).splitlines()
    assert head == "1 flash operations; of them the last 1"
    assert row.split()[-3:] == ["erase", "0x0010000", "4096"]
    assert columns.split() == ["boot", "by", "what", "offset", "bytes"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--flash", "c3-b"], 2, "no board 'c3-b'; did you mean 'c3-a'?"),
        (["--load", BOARD, "{short}"], 2, "short.bin: the flash of c3-a has 4194304 bytes"),
        (["--load", BOARD, "{missing}"], 2, "missing.bin cannot be read: No such file"),
        (["--save", BOARD, "{missing}/x"], 2, "cannot be written"),
        (["--cut", BOARD, "--on", BOARD], 2, "one thing at a time, not --cut, --on"),
        (["--cut", BOARD, "lab1"], 2, "--cut is for a rack that runs; RIG"),
        (["--speed", "nan"], 2, "'--speed': nan is no number"),
        (["--list", "--speed", "3"], 2, "RIG, --board, --speed and --usbip start one"),
        (["--cut", BOARD, "--ms", "5"], 2, "--ms goes with --dip"),
        (["--cut", BOARD, "--download"], 2, "--download goes with --reset"),
        (["--at", "http://127.0.0.1:9", "--list"], 3, "no virtual rack answers at http://127"),
        (["--at", "127.0.0.1:9", "--list"], 2, "--at: expected http://HOST:PORT, not '127"),
        (["--at", "http://127.0.0.1:9"], 2, "--at: say what to do there: --list, --flash"),
    ],
)
def test_a_mistake_is_told_with_its_exit_code(
    blynk_ota, rack, monkeypatch, tmp_path, arguments, code, words
):
    (tmp_path / "short.bin").write_bytes(b"short")
    monkeypatch.setenv("BLYNK_OTA_RACK", rack.rack.control.url)
    names = {"short": tmp_path / "short.bin", "missing": tmp_path / "missing.bin"}
    ended, _, err = blynk_ota(*(one.format(**names) for one in arguments))
    assert words in err
    assert ended == code


def test_without_an_address_it_asks_for_one(blynk_ota):
    code, _, err = blynk_ota("--list")
    assert code == 2
    assert "--list: at which rack? Give --at URL" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (dump("esp32c3", states=(State.ABORTED, State.INVALID)), "next boot: app0"),
        (
            dump("esp32c3", states=(State.VALID, State.NEW)),
            "next boot: app0; otadata then: app0 VALID, app1 PENDING_VERIFY",
        ),
        (dump("esp32"), "would not start"),
        (b"\xff" * FLASH_BYTES, "next boot: nothing starts, again and again (invalid header"),
    ],
)
def test_people_are_told_what_boots_and_what_does_not(rack, content, words):
    rack.call(board(rack).flash.load, content)
    assert words in flash_text(flash_map(board(rack)))


BEYOND = PartitionTable((*DEFAULT_TABLE.rows, Partition("more", 1, 0x81, FLASH_BYTES, 0x1000)))


@pytest.mark.parametrize(
    ("table", "said"),
    [(b"", "partition table: blank"), (BEYOND.build(), "exceeds flash chip size")],
)
def test_without_a_table_nothing_is_said_of_otadata(rack, table, said):
    chip, content = CHIPS["esp32c3"], bytearray(dump("esp32c3"))
    parts = [
        Segment(chip.dram_base, loaderinfo.build("v5.1.4", "Nov 23 2026 17:29:49")),
        Segment(chip.iram_base, b"\1" * 64),
    ]
    loader = build_image(chip, parts, chip.iram_base)
    content[: len(loader)] = loader
    content[TABLE_OFFSET : TABLE_OFFSET + TABLE_BYTES] = table.ljust(TABLE_BYTES, b"\xff")
    rack.call(board(rack).flash.load, bytes(content))
    _, problem, boots = flash_text(flash_map(board(rack))).splitlines()
    assert said in problem
    assert boots.startswith("next boot: nothing starts")
    assert "otadata" not in boots
