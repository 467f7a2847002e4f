"""Settings typed at Edgent's console: what is typed, and what is told when it does not work."""

import re

import pytest

from pytest_blynk_ota import Settings
from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.rig.config import check
from pytest_blynk_ota.rig.provision import console as typing
from pytest_blynk_ota.rig.provision.console import EdgentConsole, commands, typed
from pytest_blynk_ota.rig.rack import Rig

SETTINGS = Settings("10.0.0.1", 8080, "0" * 32, "lab", "passphrase")
OLD_USAGE = '{"status":"error","msg":"invalid arguments. expected: <auth> <ssid> <pass>"}'
NEW_USAGE = "Usage: connect <auth> [host]"
OLD_OK, NEW_OK = '{"status":"OK","msg":"trying to connect..."}', "Trying to connect..."


class Fake:
    """A board whose console answers each typed line with those of a table; by default none.

    Args:
        late: so many questions are lost, as by a board that has not started yet.
    """

    name, speed = "a", 1000.0

    def __init__(self, answers, *, late=0, before=()):
        self.answers, self.late = answers, late
        self.said, self.typed = [*before], []
        self.console = self

    @property
    def cursor(self):
        return len(self.said)

    def write(self, text):
        for line in text.split("\n"):
            if not line:
                continue
            self.typed.append(line)
            if len(self.typed) > self.late:
                self.said += [f">{line}", *self.answers(line)]

    def find(self, pattern, *, after, wall_s):
        return next(filter(None, map(pattern.search, self.said[after:])), None)

    def texts(self, after):
        return self.said[after:]


def old(line):
    return [OLD_OK if len(line.split()) > 2 else OLD_USAGE] if line.startswith("connect") else []


def new(line):
    return [NEW_OK if len(line.split()) > 1 else NEW_USAGE] if line.startswith("connect") else []


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    monkeypatch.setattr(typing, "LEAST_WALL_S", 0.0)


def told(answers, generation="", settings=SETTINGS, **fake):
    board = Fake(answers, **fake)
    EdgentConsole(generation).tell(settings, board)
    return board.typed


def test_old_edgent_gets_token_and_network_in_one_command():
    assert told(old) == ["connect", f"connect {'0' * 32} lab passphrase"]


def test_new_edgent_gets_the_network_first_and_then_token_and_host():
    expected = ["connect", "wifi add lab passphrase", f"connect {'0' * 32} 10.0.0.1"]
    assert told(new, "new") == expected


def test_a_board_that_starts_late_is_asked_again():
    assert told(old, late=3)[:4] == ["connect"] * 4


def test_the_late_answer_to_an_earlier_question_is_not_taken_for_a_refusal():
    def twice(line):
        return [OLD_USAGE, OLD_OK] if len(line.split()) > 2 else [OLD_USAGE]

    told(twice)


def test_what_stood_in_the_line_before_us_is_no_answer():
    told(lambda line: ["Command not found.", *old(line)])


def test_a_network_without_a_passphrase_is_told_without_one():
    open_network = Settings("h", 80, "0" * 32, "lab", "")
    assert commands("old", open_network) == [f"connect {'0' * 32} lab"]
    assert commands("new", open_network)[0] == "wifi add lab"


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("my lab", r"my\x20lab"),
        ("a\\b", r"a\x5cb"),
        ("tab\there", r"tab\x09here"),
        ("plain-§", "plain-§"),
    ],
)
def test_blanks_and_backslashes_are_typed_as_signs(word, line):
    assert typed(word) == line


def test_what_is_typed_is_what_edgents_console_reads():
    from pytest_blynk_ota.virtual.app.console import words_of

    for word in ("my lab", "a\\b", "\\x20", " both ", "end\\"):
        assert words_of(f"connect {typed(word)}") == ["connect", word]


def test_a_line_longer_than_the_consoles_buffer_is_refused():
    blanks = Settings("h", 80, "0" * 32, "lab", " " * 63)
    with pytest.raises(RigError, match=r"has \d+ letters, Edgent's console takes 254"):
        commands("old", blanks)


@pytest.mark.parametrize(
    ("answers", "generation", "said"),
    [
        (lambda line: [], "", r"did not answer: connect was typed \d+ times in 30 s"),
        (lambda line: ["Guru"], "", "Its last lines: .*Guru"),
        (lambda line: ["Command not found."], "", "without the command connect: not Edgent's"),
        (old, "new", r"is that of old Edgent, the rig file says new: .*generation = \"old\""),
        (new, "old", r"is that of new Edgent, the rig file says old: .*generation = \"new\""),
        (
            lambda line: (
                old(line)
                if line == "connect"
                else ['{"status":"error","msg":"invalid token size"}']
            ),
            "",
            "refuses the connect command: invalid token size",
        ),
        (
            lambda line: new(line) if line == "connect" else ["Error: invalid token size"],
            "",
            "refuses the connect command: invalid token size",
        ),
        (
            lambda line: old(line) if line == "connect" else [],
            "",
            "did not answer the connect command within 10 s",
        ),
    ],
)
def test_what_does_not_work_is_told(answers, generation, said):
    with pytest.raises(RigError, match=re.compile(said, re.DOTALL)) as caught:
        told(answers, generation)
    assert "passphrase" not in str(caught.value)
    assert "0" * 32 not in str(caught.value)


def test_another_word_for_a_generation_is_refused():
    with pytest.raises(ValueError, match="expected old or new, got 'newer'; did you mean 'new'"):
        EdgentConsole("newer")


def test_a_passphrase_is_masked_as_it_is_typed_too(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))
    monkeypatch.setenv("WIFI", "lab:my pass phrase")
    board = {"name": "a", "chip": "esp32c3", "port": "/dev/none"}
    board["provision"] = {"kind": "edgent-console"}
    redactor = Redactor()
    config = check({"rig": {"name": "lab", "advertise": "127.0.0.1"}, "board": [board]}, "lab")
    Rig(config, tmp_path, run=tmp_path, recorder=Recorder(Timeline()), redactor=redactor).close()
    for line in commands("new", Settings("h", 80, "0" * 32, "lab", "my pass phrase")):
        assert "pass" not in redactor.text(line).replace("passphrase]", "")
