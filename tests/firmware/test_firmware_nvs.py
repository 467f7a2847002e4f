"""Settings of old Edgent in NVS: Espressif's generator writes them, our reader finds them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.nvs import (
    EdgentConfig,
    edgent_config,
    read_blob,
    read_edgent_config,
)

GIVEN = {
    "ssid": "lab",
    "password": "correct horse",
    "token": "t" * 32,
    "host": "127.0.0.1",
    "port": 12345,
}


def text(most: int) -> st.SearchStrategy[str]:
    return st.text("abcXYZ0189 _-.äß", max_size=most // 2)


@settings(max_examples=30)
@given(text(33), text(63), text(33), text(33), st.integers(1, 65535))
def test_settings_are_read_back(ssid, password, token, host, port):
    wanted = EdgentConfig(ssid, password, token, host, port)
    nvs = edgent_config(ssid=ssid, password=password, token=token, host=host, port=port)
    assert read_edgent_config(nvs) == wanted


@pytest.mark.parametrize("size", [0x3000, 0x5000, 0x6000])
def test_the_partition_has_its_size(size):
    nvs = edgent_config(**GIVEN, size=size)
    assert len(nvs) == size
    assert read_edgent_config(nvs) == EdgentConfig(**GIVEN)


def test_the_blob_is_laid_out_as_the_firmware_has_it():
    blob = read_blob(edgent_config(**GIVEN), "blynk", "config")
    assert len(blob) == 212
    assert blob[:4] == bytes.fromhex("6b6e6c62")
    assert blob[19] == 1
    assert blob[20:24] == b"lab\0"
    assert int.from_bytes(blob[186:188], "little") == 12345


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ssid": "s" * 34}, "ssid has 34 bytes, room is for 33"),
        ({"password": "p" * 64}, "password"),
        ({"token": "t" * 34}, "token"),
        ({"host": "h" * 34}, "host"),
        ({"port": 0}, "port 0"),
        ({"port": 65536}, "port 65536"),
    ],
)
def test_what_the_firmware_has_no_room_for_is_refused(change, words):
    with pytest.raises(FirmwareError, match=words):
        edgent_config(**{**GIVEN, **change})


def test_a_blank_partition_holds_no_settings():
    assert read_edgent_config(b"\xff" * 0x5000) is None
    assert read_edgent_config(b"") is None


def test_settings_of_which_a_bit_flipped_are_none():
    nvs = bytearray(edgent_config(**GIVEN))
    nvs[nvs.index(b"correct")] ^= 1
    assert read_edgent_config(bytes(nvs)) is None


@settings(max_examples=50)
@given(st.binary(max_size=300), st.integers(0, 4096))
def test_no_bytes_break_the_reader(noise, place):
    nvs = bytearray(edgent_config(**GIVEN, size=0x3000))
    nvs[place : place + len(noise)] = noise
    read_edgent_config(bytes(nvs))
