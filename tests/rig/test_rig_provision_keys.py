"""Settings as keys of an NVS namespace: what is written is what firmware would read."""

import struct

import pytest

from pytest_blynk_ota import Settings
from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.firmware import nvs
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE
from pytest_blynk_ota.rig.extensions import PROVISION, Extensions
from pytest_blynk_ota.rig.foreign import Caller, Told, provisioning_of

SETTINGS = Settings("10.0.0.1", 8080, "0" * 32, "lab", "passphrase")
WHERE = "lab.toml, board a, provision.kind 'nvs'"


def written(keys, settings=SETTINGS, namespace="app", **options):
    """The entries that the way leaves in flash: names to type and bytes."""
    asked = {"namespace": namespace, "keys": keys, **options}
    own = Extensions(where="lab.toml").own(PROVISION, "way to provision", "nvs", asked)
    caller = Caller(WHERE, RigError, str)
    told = Told(provisioning_of(own, own.options, caller), caller)
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


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "keys: expected a table"),
        ({"k" * 16: "{ssid}"}, "expected a name of 1 to 15 bytes"),
        ({"t": "{tokn}"}, r"keys.t: expected a setting .* got 'tokn'"),
        ({"t": "{token.x}"}, "keys.t: expected a setting"),
        ({"t": "{token"}, "keys.t: "),
        ({"t": 5}, "keys.t: expected a text"),
        ({"t": "env:TOKEN"}, "keys.t: expected a text with settings"),
        ({"t": {"value": "{port}", "type": "u7"}}, "keys.t: expected a type"),
        ({"t": {"value": "{port}", "type": "u8"}}, "keys.t: expected a number of 0 to 255"),
        ({"t": "x" * 4000}, "keys.t: expected at most 3999 bytes, got 4000"),
        ({f"k{n}": "x" * 3500 for n in range(9)}, "find no room"),
    ],
)
def test_what_does_not_fit_is_told_with_its_key(keys, said):
    with pytest.raises(RigError, match=said) as caught:
        written(keys)
    assert str(caught.value).startswith(f"{WHERE}: ")


def test_a_value_that_does_not_fit_is_not_shown():
    with pytest.raises(RigError) as caught:
        written({"t": {"value": "{passphrase}", "type": "u8"}})
    assert "passphrase" not in str(caught.value)
