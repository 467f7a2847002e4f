"""Settings as keys of an NVS namespace: what is written is what firmware would read."""

import struct

import pytest

from pytest_blynk_ota import Settings
from pytest_blynk_ota.errors import ConfigError, RigError
from pytest_blynk_ota.firmware import nvs
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE
from pytest_blynk_ota.rig.config import check
from pytest_blynk_ota.rig.extensions import PROVISION, Extensions, Own
from pytest_blynk_ota.rig.foreign import Caller, Told, provisioning_of
from pytest_blynk_ota.rig.secret import revealed, secrets_among

SETTINGS = Settings("10.0.0.1", 8080, "0" * 32, "lab", "passphrase")
WHERE = "lab.toml, board a, provision.kind 'nvs'"


def written(keys, settings=SETTINGS, namespace="app", **options):
    """The entries that the way leaves in flash: names to type and bytes."""
    asked = {"namespace": namespace, "keys": keys, **options}
    factory = Extensions(where="lab.toml").find(PROVISION, "way to provision", "nvs")
    caller = Caller(WHERE, RigError, str)
    told = Told(provisioning_of(Own("nvs", "lab.toml", factory, {}), asked, caller), caller)
    (region,) = told.regions(settings, DEFAULT_TABLE)
    return {
        entry[8:24].split(b"\0")[0].decode(): (entry, data)
        for entry, data in nvs._entries(region.data)
    }


def test_each_key_holds_its_setting():
    keys = {"ssid": "{ssid}", "url": "{host}:{port}", "token": "{token}"}
    found = written({**keys, "port": {"value": "{port}", "type": "u16"}})
    assert set(found) == {"app", "ssid", "url", "token", "port"}
    assert {name: found[name][1].split(b"\0")[0] for name in keys} == {
        "ssid": b"lab",
        "url": b"10.0.0.1:8080",
        "token": b"0" * 32,
    }
    assert struct.unpack_from("<H", found["port"][0], 24) == (8080,)


def problem_of(provision):
    """The one mistake that is found when the rig file is checked."""
    board = {"name": "a", "chip": "esp32c3", "port": "/dev/none", "provision": provision}
    with pytest.raises(ConfigError) as caught:
        check({"rig": {"name": "lab"}, "board": [board]}, "lab.toml")
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "keys: expected a table"),
        ("ssid", "keys: expected a table"),
        ({"k" * 16: "{ssid}"}, f"keys.{'k' * 16}: expected a name of 1 to 15 bytes"),
        ({"t": "{tokn}"}, "keys.t: expected a setting"),
        ({"t": "{tokn}"}, "got 'tokn'; did you mean 'token'?"),
        ({"t": "{token.x}"}, "keys.t: expected a setting"),
        ({"t": "{}"}, "keys.t: expected a setting"),
        ({"t": "{token"}, "keys.t: "),
        ({"t": 5}, "keys.t: expected a text"),
        ({"t": {"value": "{port}"}}, "keys.t: expected a text"),
        ({"t": {"value": "{port}", "type": "u17"}}, "got 'u17'; did you mean 'u16'?"),
        ({"t": {"value": "many", "type": "u8"}}, "keys.t: expected a number of 0 to 255"),
        ({"t": "x" * 4000}, "keys.t: expected at most 3999 bytes, got 4000"),
        ({"token": "0" * 32}, "keys.token: expected"),
        ({"wifi_pass": "letmein"}, 'keys.wifi_pass: expected "env:NAME" or "file:PATH"'),
        ({"pin": "1", "psk": {"value": "1234", "type": "string"}}, "keys.psk.value: expected"),
    ],
)
def test_a_mistake_in_a_key_is_found_when_the_rig_file_is_checked(keys, said):
    problem = problem_of({"kind": "nvs", "namespace": "app", "keys": keys})
    assert problem.startswith("board[0].provision: ")
    assert said in problem
    assert "letmein" not in problem


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"namespace": "n" * 16}, "namespace: expected a name of 1 to 15 bytes"),
        ({"partition": ""}, "partition: expected a name of 1 to 15 bytes"),
        ({"partion": "nvs"}, "unexpected keyword argument 'partion'"),
    ],
)
def test_a_mistake_beside_the_keys_is_found_then_too(changes, said):
    provision = {"kind": "nvs", "namespace": "app", "keys": {"t": "{token}"}, **changes}
    assert said in problem_of(provision)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"t": {"value": "{port}", "type": "u8"}}, "keys.t: expected a number of 0 to 255"),
        ({f"k{n}": "x" * 3500 for n in range(9)}, "find no room"),
    ],
)
def test_what_does_not_fit_the_board_is_told_with_its_key(keys, said):
    with pytest.raises(RigError, match=said) as caught:
        written(keys)
    assert str(caught.value).startswith(f"{WHERE}: ")


def test_a_value_that_does_not_fit_is_not_shown():
    with pytest.raises(RigError) as caught:
        written({"t": {"value": "{passphrase}", "type": "u8"}})
    assert "passphrase" not in str(caught.value)


def test_a_secret_is_taken_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("PIN", "4{2}{")
    (tmp_path / "psk").write_text("from a file\n")
    keys = {"pin": "env:PIN", "psk": f"file:{tmp_path}/psk"}
    found = written(revealed(keys, "rig lab"))
    assert found["pin"][1].startswith(b"4{2}{\0")
    assert found["psk"][1].startswith(b"from a file\0")


def test_each_secret_that_a_table_names_is_known_by_its_key():
    keys = {"pin": "env:PIN", "port": {"value": "file:port", "type": "u16"}, "host": "{host}"}
    assert secrets_among({"keys": keys}) == {"keys.pin": "env:PIN", "keys.port.value": "file:port"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "psk cannot be read: No such file"),
        ("", "expected one line, the secret; got 0"),
        ("a\nb\n", "expected one line, the secret; got 2"),
        (b"\xff\xfe", "expected text in UTF-8"),
    ],
)
def test_a_file_that_holds_no_secret_is_told_with_the_key(tmp_path, content, said):
    path = tmp_path / "psk"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=said) as caught:
        revealed({"keys": {"psk": f"file:{path}"}}, "rig lab, board a, provision")
    assert caught.value.where == "rig lab, board a, provision.keys.psk"


def test_a_variable_that_is_not_set_is_told_with_the_key(monkeypatch):
    monkeypatch.delenv("PIN", raising=False)
    with pytest.raises(ConfigError, match="the environment variable PIN is not set") as caught:
        revealed({"keys": {"pin": {"value": "env:PIN", "type": "u8"}}}, "board a, provision")
    assert caught.value.where == "board a, provision.keys.pin.value"
