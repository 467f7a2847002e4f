"""Writing to NVS: Espressif's bytes, in an order that survives a power cut at any step."""

from __future__ import annotations

import io
from random import Random

import pytest
from esp_idf_nvs_partition_gen import nvs_partition_gen as generator
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.nvs_page import PAGE_BYTES, Step, Type
from pytest_blynk_ota.firmware.nvs_store import Nvs

BLANK = b"\xff" * (5 * PAGE_BYTES)
LONG = "x" * 400
BLOB = bytes(range(200))


def espressifs() -> bytes:
    """A partition with one of each, by Espressif's own generator."""
    out = io.BytesIO()
    nvs = generator.nvs_open(out, 4 * PAGE_BYTES, generator.Page.VERSION2)
    generator.write_entry(nvs, "blynk", "namespace", "", "")
    generator.write_entry(nvs, "host", "data", "string", "blynk.cloud")
    generator.write_entry(nvs, "long", "data", "string", LONG)
    generator.write_entry(nvs, "lru", "data", "i16", "-2")
    generator.write_entry(nvs, "apID", "data", "u16", "3")
    generator.write_entry(nvs, "ap00", "data", "hex2bin", BLOB.hex())
    generator.nvs_close(nvs)
    return out.getvalue()


def ours() -> Nvs:
    nvs = Nvs(BLANK)
    nvs.put_string("blynk", "host", "blynk.cloud")
    nvs.put_string("blynk", "long", LONG)
    nvs.put_number("blynk", "lru", Type.I16, -2)
    nvs.put_number("blynk", "apID", Type.U16, 3)
    nvs.put_blob("blynk", "ap00", BLOB)
    return nvs


def test_what_we_write_is_byte_for_byte_what_espressif_writes():
    assert ours().data == espressifs()


def test_what_espressif_writes_reads_back():
    nvs = Nvs(espressifs())
    assert nvs.steps == []
    assert nvs.string("blynk", "host") == "blynk.cloud"
    assert nvs.string("blynk", "long") == LONG
    assert nvs.number("blynk", "lru") == -2
    assert nvs.number("blynk", "apID") == 3
    assert nvs.blob("blynk", "ap00") == BLOB


def test_what_is_not_there_is_none():
    nvs = ours()
    assert nvs.string("blynk", "fwver") is None
    assert nvs.string("system", "host") is None
    assert nvs.string("blynk", "lru") is None
    assert nvs.blob("blynk", "host") is None


def test_the_steps_alone_make_the_partition():
    nvs = ours()
    assert play(BLANK, nvs.steps) == nvs.data


def test_the_same_value_again_touches_no_flash():
    nvs = ours()
    nvs.steps.clear()
    nvs.put_string("blynk", "host", "blynk.cloud")
    nvs.put_blob("blynk", "ap00", BLOB)
    assert nvs.steps == []


def test_a_new_value_is_written_before_the_old_one_is_cleared():
    nvs = ours()
    nvs.steps.clear()
    nvs.put_number("blynk", "apID", Type.U16, 4)
    entry, bits, cleared = nvs.steps
    assert entry.data is not None
    assert len(entry.data) == 32
    assert (len(bits.data or b""), len(cleared.data or b"")) == (4, 4)
    assert nvs.number("blynk", "apID") == 4


def test_a_removed_key_and_a_cleared_namespace_are_gone():
    nvs = ours()
    assert nvs.remove("blynk", "ap00")
    assert not nvs.remove("blynk", "ap00")
    assert Nvs(nvs.data).blob("blynk", "ap00") is None
    nvs.clear("blynk")
    assert Nvs(nvs.data).string("blynk", "host") is None


def test_a_long_life_of_small_changes_never_runs_out_of_pages():
    nvs = ours()
    for number in range(2000):
        nvs.put_string("blynk", "fwver", f"1.0.{number}")
    again = Nvs(nvs.data)
    assert again.string("blynk", "fwver") == "1.0.1999"
    assert again.blob("blynk", "ap00") == BLOB
    assert any(step.data is None for step in nvs.steps)


def test_more_than_fits_is_refused():
    nvs = Nvs(BLANK)
    for number in range(4):
        nvs.put_string("blynk", f"key{number}", "y" * 3000)
    with pytest.raises(FirmwareError, match="NVS: no room left"):
        nvs.put_string("blynk", "one more", "y" * 3000)
    assert nvs.string("blynk", "key3") == "y" * 3000


@pytest.mark.parametrize("size", [0, PAGE_BYTES, 3 * PAGE_BYTES + 1])
def test_a_partition_of_a_wrong_size_is_refused(size):
    with pytest.raises(FirmwareError, match="3 or more whole pages"):
        Nvs(b"\xff" * size)


def play(data: bytes, steps: list[Step], torn: Random | None = None) -> bytes:
    """Do the steps; with ``torn`` the last one only in part."""
    flash = bytearray(data)
    for number, (offset, new) in enumerate(steps):
        last = torn is not None and number == len(steps) - 1
        if new is None:
            flash[offset : offset + PAGE_BYTES] = (
                torn.randbytes(PAGE_BYTES) if last and torn else b"\xff" * PAGE_BYTES
            )
            continue
        for place, byte in enumerate(new[: torn.randrange(len(new)) if last and torn else None]):
            flash[offset + place] &= byte
    return bytes(flash)


KEYS = ("fwver", "host", "ap00", "lru")
CHANGES = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 300)), min_size=1, max_size=60)


def change(nvs: Nvs, key: str, value: int) -> None:
    if key == "lru":
        nvs.put_number("nm_wifi", key, Type.I16, value)
    elif key == "ap00":
        nvs.put_blob("nm_wifi", key, bytes([value % 256]) * (value + 1))
    else:
        nvs.put_string("blynk", key, "v" * value)


def values(nvs: Nvs) -> dict[str, object]:
    return {
        "fwver": nvs.string("blynk", "fwver"),
        "host": nvs.string("blynk", "host"),
        "ap00": nvs.blob("nm_wifi", "ap00"),
        "lru": nvs.number("nm_wifi", "lru"),
    }


@given(CHANGES, st.integers(0, 2**32), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_after_a_power_cut_at_any_step_each_key_has_its_old_or_its_new_value(changes, at, random):
    nvs = Nvs(BLANK)
    for key, value in changes[:-1]:
        change(nvs, key, value)
    before, old = nvs.data, values(nvs)
    nvs.steps.clear()
    change(nvs, *changes[-1])
    new = values(nvs)
    steps = nvs.steps[: at % (len(nvs.steps) + 1)]
    torn = Random(at) if random.random() < 0.5 and steps else None
    after = Nvs(play(before, steps, torn))
    for key, value in values(after).items():
        assert value in (old[key], new[key])
    change(after, "fwver", 7)
    assert values(Nvs(after.data))["fwver"] == "v" * 7


@given(CHANGES)
@settings(max_examples=30, deadline=None)
def test_what_was_put_last_is_what_a_reboot_finds(changes):
    nvs = Nvs(BLANK)
    for key, value in changes * 4:
        change(nvs, key, value)
    assert values(Nvs(nvs.data)) == values(nvs)
    assert play(BLANK, nvs.steps) == nvs.data
