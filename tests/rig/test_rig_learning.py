"""``token = "learn"``: the one device that comes after our reset is the board."""

import socket
import time
from dataclasses import dataclass

import pytest
from provision_bench import logs_in, opened

from pytest_blynk_ota.board.console import Console
from pytest_blynk_ota.cloud.device import Stranger
from pytest_blynk_ota.cloud.protocol import Cmd, encode, frame
from pytest_blynk_ota.errors import ConfigError, RigError
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.rig import learning
from pytest_blynk_ota.rig.config import check
from pytest_blynk_ota.rig.learning import knocks, learn
from pytest_blynk_ota.rig.rack import Rig

ONE, OTHER, KNOWN = "1" * 32, "2" * 32, "3" * 32
BOARD = {"chip": "esp32c3", "provision": {"kind": "none"}}
QUICK = {"base": "default", "name": "quick", "boot_s": 0, "login_s": 1}


@pytest.fixture
def rig(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))
    monkeypatch.setenv("KNOWN", KNOWN)
    monkeypatch.setattr(Console, "open", lambda self: None)
    monkeypatch.setattr(learning, "ANOTHER_S", 0.3)
    data = {
        "rig": {"name": "lab", "advertise": "127.0.0.1"},
        "board": [
            {"name": "a", "port": "/dev/none-0", "token": "learn", "profile": QUICK, **BOARD},
            {"name": "b", "port": "/dev/none-1", "token": "env:KNOWN", **BOARD},
        ],
    }
    redactor = Redactor()
    recorder = Recorder(Timeline(redactor=redactor))
    config = check(data, "lab.toml")
    made = Rig(config, tmp_path, run=tmp_path, recorder=recorder, redactor=redactor)
    yield made
    made.close()


def knock(rig, token):
    """One login; whatever becomes of it. The address that it came from."""
    with socket.create_connection(rig.cloud.address) as link:
        link.sendall(encode(frame(Cmd.LOGIN, 1, token)))
        link.settimeout(5)
        link.recv(64)
        host, port = link.getsockname()
        return f"{host}:{port}"


def test_the_one_that_comes_is_adopted_and_let_in_the_next_time(rig):
    place = rig.place("a")
    since = time.monotonic()
    knock(rig, ONE)
    learn(rig, place, since)
    assert place.token == ONE
    knock(rig, ONE)
    assert rig.cloud.device("a").session is not None or rig.recorder.timeline.wait(
        lambda batch: any(e.kind == "login" and e.board == "a" for e in batch) or None, 5
    )


def test_a_token_that_was_learned_is_in_no_evidence(rig):
    place = rig.place("a")
    since = time.monotonic()
    knock(rig, ONE)
    learn(rig, place, since)
    rig.recorder("rig", "note", "a", text=f"its token is {ONE}")
    last = rig.recorder.timeline.events()[-1]
    assert last.data["text"] == "its token is [token of a]"
    assert ONE not in str([event.to_json() for event in rig.recorder.timeline.events()])


def test_a_board_that_was_learned_keeps_its_token_when_it_is_opened_again(rig):
    place = rig.place("a")
    since = time.monotonic()
    knock(rig, ONE)
    learn(rig, place, since)
    rig._places.clear()
    place.close()
    assert rig.place("a").token == ONE


def test_who_came_before_the_reset_is_not_it(rig):
    place = rig.place("a")
    knock(rig, OTHER)
    since = time.monotonic()
    knock(rig, ONE)
    learn(rig, place, since)
    assert place.token == ONE


def test_another_board_of_the_rig_is_not_taken_for_it(rig):
    place = rig.place("a")
    since = time.monotonic()
    knock(rig, KNOWN)  # b is not open, so the cloud does not know it
    knock(rig, ONE)
    learn(rig, place, since)
    assert place.token == ONE


def test_two_devices_are_named_by_their_addresses(rig):
    place = rig.place("a")
    since = time.monotonic()
    one, other = knock(rig, ONE), knock(rig, OTHER)
    with pytest.raises(RigError, match="2 devices came with tokens") as caught:
        learn(rig, place, since)
    assert f"{one} with 1111…" in str(caught.value)
    assert f"{other} with 2222…" in str(caught.value)
    assert 'token = "env:NAME"' in str(caught.value)
    assert ONE not in str(caught.value)
    assert place.token == ""


@dataclass
class Event:
    source: str
    kind: str
    data: dict


def calls(*peers, guessed=()):
    """Devices that were turned away: tokens "1…", "2…", in this order, and what was on record."""
    strangers = [Stranger(0.0, n, str(n) * 32) for n in range(1, len(peers) + 1)]
    events = [
        Event("cloud", "connected", {"session": one.session, "peer": peer})
        for one, peer in zip(strangers, peers, strict=True)
    ]
    events += [Event("rig", "port_guessed", {"port": "h:443", "peer": peer}) for peer in guessed]
    return strangers, events


def test_where_the_address_of_the_board_is_known_nobody_else_counts():
    found = knocks(*calls("10.0.0.7:5", "10.0.0.9:6", "10.0.0.70:7"), "10.0.0.7")
    assert found.ours == {ONE: "10.0.0.7:5"}


def test_a_caller_that_may_be_another_runs_is_not_adopted():
    found = knocks(*calls("10.0.0.7:5", "10.0.0.9:6", guessed=["10.0.0.7:5"]), "")
    assert found.ours == {OTHER: "10.0.0.9:6"}
    assert found.guessed == ["10.0.0.7:5"]


def test_one_at_its_known_address_is_it_though_the_port_guessed():
    found = knocks(*calls("10.0.0.7:5", guessed=["10.0.0.7:5"]), "10.0.0.7")
    assert found.ours == {ONE: "10.0.0.7:5"}


def test_a_caller_that_may_be_another_runs_is_told_with_its_address(rig):
    place = rig.place("a")
    since = time.monotonic()
    peer = knock(rig, ONE)
    rig.recorder("rig", "port_guessed", port="127.0.0.1:443", peer=peer)
    with pytest.raises(RigError, match=rf"a device came from {peer} to a port that other runs use"):
        learn(rig, place, since)
    assert place.token == ""


def test_one_that_knocks_twice_is_one(rig):
    place = rig.place("a")
    since = time.monotonic()
    knock(rig, ONE)
    knock(rig, ONE)
    learn(rig, place, since)
    assert place.token == ONE


def test_nobody_is_told_with_the_address_that_was_expected(rig):
    place = rig.place("a")
    host, port = rig.cloud.address
    with pytest.raises(RigError, match=rf"no device came .* at {host}:{port}: does its firmware"):
        learn(rig, place, time.monotonic())


def test_what_is_no_token_is_nobody(rig):
    place = rig.place("a")
    since = time.monotonic()
    knock(rig, "short")
    with pytest.raises(RigError, match="no device came"):
        learn(rig, place, since)


def test_a_board_that_is_brought_a_token_has_none_to_learn():
    board = {"name": "a", "chip": "esp32c3", "port": "/dev/none", "token": "learn"}
    board["provision"] = {"kind": "edgent-nvs"}
    with pytest.raises(ConfigError) as caught:
        check({"rig": {"name": "lab"}, "board": [board]}, "lab.toml")
    assert caught.value.problems == (
        'board[0].token: "learn" is for a board that has a token already, and "edgent-nvs" brings '
        'it one; expected "env:NAME", or no token',
    )


def test_a_token_in_clear_is_refused_with_what_to_write():
    board = {"name": "a", "chip": "esp32c3", "port": "/dev/none", "token": ONE}
    with pytest.raises(ConfigError) as caught:
        check({"rig": {"name": "lab"}, "board": [board]}, "lab.toml")
    (problem,) = caught.value.problems
    assert problem == (
        'board[0].token: expected "env:NAME" or "file:PATH", or "learn": a token does not stand '
        "in a rig file in clear"
    )


PATCHED = """profile = "sketch"
token = "learn"
provision = { kind = "patch" }
"""


def test_the_token_of_a_board_is_learned_after_its_first_restore(tmp_path):
    with opened(tmp_path, PATCHED) as session:
        place = logs_in(session)
        assert place.token
        cursor = session.recorder.timeline.cursor
        logs_in(session)  # and known from then on
        refused = [e for e in session.recorder.timeline.events(cursor) if e.kind == "refused"]
        assert refused == []
