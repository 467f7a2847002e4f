"""A board's flash is saved once, before the first write, and only with the user's word."""

from __future__ import annotations

import json
import os

import pytest

from pytest_blynk_ota.board.safety import Facts
from pytest_blynk_ota.errors import BoardLocked, UsageError
from pytest_blynk_ota.rig.backup import Backups, Doorkeeper, Permit

MAC = "24:0a:c4:00:01:10"
FACTS = Facts("esp32c3", MAC, 4096, marked=False)
VIRTUAL = Facts("esp32c3", MAC, 4096, marked=True)
EMULATED = Facts("esp32c3", "00:00:00:00:00:00", 4096, marked=False)
DATA = bytes(range(256)) * 16


@pytest.fixture
def backups(tmp_path) -> Backups:
    return Backups(tmp_path / "backup")


def files(backups: Backups) -> list[str]:
    return sorted(path.name for path in backups.folder.iterdir())


def test_what_is_saved_is_found_by_the_mac_with_all_that_was_known(backups):
    made = backups.save(FACTS, "c3-a", DATA)
    found = backups.of(FACTS, "another-name")
    assert found == made
    assert found.read() == DATA
    said = json.loads(found.path.with_suffix(".json").read_text())
    assert (said["mac"], said["chip"], said["flash_bytes"]) == (MAC, "esp32c3", 4096)
    assert said["taken"].endswith("+00:00")
    assert files(backups) == ["24-0a-c4-00-01-10.bin", "24-0a-c4-00-01-10.json"]
    assert found.path.stat().st_mode & 0o077 == 0, "it may hold passwords"


def test_a_backup_is_never_overwritten(backups):
    backups.save(FACTS, "c3-a", DATA)
    with pytest.raises(UsageError, match="is there already, and is not overwritten"):
        backups.save(FACTS, "c3-a", bytes(4096))
    assert backups.of(FACTS, "c3-a").read() == DATA
    assert [name for name in files(backups) if name.endswith(".part")] == []


@pytest.mark.parametrize("torn", ["write", "fsync", "link"])
def test_an_interrupted_backup_is_no_backup_and_the_next_is_whole(backups, monkeypatch, torn):
    """Whatever the moment: before the last rename there is nothing that counts."""

    def cut(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if torn == "write":
            patch.setattr("pytest_blynk_ota.rig.backup._written", cut)
        else:
            patch.setattr(os, torn, cut)
        with pytest.raises(KeyboardInterrupt):
            backups.save(FACTS, "c3-a", DATA)
    assert backups.of(FACTS, "c3-a") is None
    backups.save(FACTS, "c3-a", DATA)
    assert backups.of(FACTS, "c3-a").read() == DATA
    assert [name for name in files(backups) if name.endswith(".part")] == []


def test_on_a_file_system_without_hard_links_it_is_not_overwritten_either(backups, monkeypatch):
    def no_links(*_args):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    backups.save(FACTS, "c3-a", DATA)
    with pytest.raises(UsageError, match="is there already"):
        backups.save(FACTS, "c3-a", bytes(4096))
    assert backups.of(FACTS, "c3-a").read() == DATA


def test_half_a_flash_is_not_saved(backups):
    with pytest.raises(UsageError, match="expected 4096 bytes, got 100"):
        backups.save(FACTS, "c3-a", DATA[:100])
    assert backups.of(FACTS, "c3-a") is None


def test_a_changed_byte_is_found_before_anything_is_written_back(backups):
    path = backups.save(FACTS, "c3-a", DATA).path
    path.write_bytes(b"!" + DATA[1:])
    with pytest.raises(UsageError, match="not the bytes that were saved on"):
        backups.of(FACTS, "c3-a").read()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("mac", "24:0a:c4:00:01:11", "with the MAC 24:0a:c4:00:01:11, not 24:0a:c4:00:01:10"),
        ("chip", "esp32", "with the chip esp32, not esp32c3"),
        ("flash_bytes", 8192, "with the flash size 8192, not 4096"),
        ("sha256", None, "expected str sha256, got None"),
    ],
)
def test_a_backup_of_another_board_is_refused_by_what_differs(backups, field, value, words):
    beside = backups.save(FACTS, "c3-a", DATA).path.with_suffix(".json")
    beside.write_text(json.dumps({**json.loads(beside.read_text()), field: value}))
    with pytest.raises(UsageError, match=words):
        backups.of(FACTS, "c3-a")


@pytest.mark.parametrize("text", [None, "", "[]", "{"])
def test_bytes_that_nothing_describes_are_no_backup_to_trust(backups, text):
    beside = backups.save(FACTS, "c3-a", DATA).path.with_suffix(".json")
    beside.unlink()
    if text is not None:
        beside.write_text(text)
    with pytest.raises(UsageError, match=r"24-0a-c4-00-01-10.json beside it should say what it is"):
        backups.of(FACTS, "c3-a")


# ---- the user's word


class Door:
    """A doorkeeper, and what it did."""

    def __init__(self, backups: Backups, **allowed) -> None:
        self.events: list[tuple[str, dict]] = []
        self.reads = 0
        self.questions: list[str] = []
        answers = iter(allowed.pop("answers", ()))

        def ask(text: str) -> bool | None:
            self.questions.append(text)
            return next(answers)

        permit = Permit(backups, ask=allowed.pop("ask", ask), **allowed)
        self._keeper = Doorkeeper(permit, "c3-a", "/dev/ttyUSB0", self._record)

    def _record(self, source, kind, board=None, /, *, t=None, **data):
        self.events.append((f"{source} {kind}", data))

    def _read(self) -> bytes:
        self.reads += 1
        return DATA

    def comes(self, facts: Facts = FACTS) -> None:
        self._keeper(facts, self._read)


def test_with_nobody_to_ask_a_real_board_is_refused_and_the_option_named(backups):
    for door in (Door(backups, ask=None), Door(backups, answers=[None])):
        with pytest.raises(BoardLocked, match=r"nothing was written. With --yes its .* are saved"):
            door.comes()
        assert (door.reads, backups.folder.exists()) == (0, False)


def test_yes_saves_without_a_question(backups):
    door = Door(backups, yes=True)
    door.comes()
    assert (door.questions, door.reads) == ([], 1)
    assert backups.of(FACTS, "c3-a").read() == DATA


def test_who_agrees_is_asked_once_and_told_how_to_go_back(backups):
    door = Door(backups, answers=[True])
    door.comes()
    assert "real esp32c3 with the MAC 24:0a:c4:00:01:10" in door.questions[0]
    assert "blynk-ota rig restore c3-a" in door.questions[0]
    again = Door(backups)
    again.comes()
    assert (again.questions, again.reads) == ([], 0), "there is a backup"


def test_who_says_no_is_not_asked_again_in_this_run(backups):
    door = Door(backups, answers=[False])
    for _ in range(2):
        with pytest.raises(BoardLocked, match="you did not agree"):
            door.comes()
    assert (len(door.questions), door.reads) == (1, 0)


def test_who_agreed_is_not_asked_again_when_the_reading_failed(backups):
    door = Door(backups, answers=[True])
    whole = door._read
    door._read = lambda: DATA[:100]
    with pytest.raises(UsageError):
        door.comes()
    door._read = whole
    door.comes()
    assert len(door.questions) == 1
    assert backups.of(FACTS, "c3-a").read() == DATA


def test_a_virtual_board_needs_no_word_unless_it_is_asked_for(backups):
    door = Door(backups, ask=None)
    door.comes(VIRTUAL)
    assert door.reads == 0
    with pytest.raises(BoardLocked, match="a virtual esp32c3"):
        Door(backups, ask=None, always=True).comes(VIRTUAL)


def test_an_emulated_board_is_the_user_s_too_and_goes_by_its_name(backups):
    Door(backups, yes=True).comes(EMULATED)
    assert files(backups) == ["emulated-c3-a.bin", "emulated-c3-a.json"]


def test_who_the_board_is_is_on_record_whatever_comes_of_it(backups):
    door = Door(backups, ask=None)
    with pytest.raises(BoardLocked):
        door.comes()
    assert door.events == [
        ("rig identity", {"kind": "real", "chip": "esp32c3", "mac": MAC, "flash_bytes": 4096})
    ]
