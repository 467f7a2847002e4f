"""Who may be written to: rules over eFuses and security info, without a board."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
from pathlib import Path

import pytest
import yaml

from pytest_blynk_ota.board.safety import (
    EMULATED,
    FUSES,
    REAL,
    VIRTUAL,
    Locks,
    SecurityInfo,
    kind_of,
    locks_of,
    refusals,
    too_small,
)
from pytest_blynk_ota.virtual.chip.chips import MODELS, make_chip
from pytest_blynk_ota.virtual.chip.efuse import EFuses
from pytest_blynk_ota.virtual.chip.efuse import Locks as Burnt

STATES = [
    Burnt(*state) for state in itertools.product((0, 1, 2), range(4), ("open", "secure", "closed"))
]


@pytest.fixture(params=sorted(FUSES))
def chip(request) -> str:
    return request.param


def burnt(chip: str, locks: Burnt) -> tuple[dict[int, int], SecurityInfo | None]:
    """What a chip with these locks says, as the virtual one does."""
    fuses = EFuses(make_chip(MODELS[chip], bytes.fromhex("240ac4000110")))
    fuses.locks = locks
    info = fuses.security_info()
    known = None if info is None else SecurityInfo(int.from_bytes(info[:4], "little"), info[4])
    return fuses.words(), known


def can_be(chip: str, locks: Burnt) -> bool:
    room = MODELS[chip].efuses
    version = locks.secure_boot == 0 or locks.secure_boot in room.secure_boot
    return version and (locks.download != "secure" or room.download_secure is not None)


def test_each_state_of_each_chip_is_read_as_it_was_burnt(chip):
    for state in filter(lambda one: can_be(chip, one), STATES):
        found = locks_of(chip, *burnt(chip, state))
        assert bool(found.secure_boot) is (state.secure_boot > 0), state
        assert bool(found.flash_encryption) is (state.crypt_count % 2 == 1), state
        assert bool(found.download_off) is (state.download == "closed"), state
        assert bool(found.download_secure) is (state.download == "secure"), state
        open_ = not state.secure_boot and state.crypt_count % 2 == 0 and state.download == "open"
        assert (refusals(found) == []) is open_, state


def test_the_security_info_alone_is_enough(chip):
    """In Secure Download Mode no register can be read."""
    assert locks_of(chip, {}, SecurityInfo(0b001, 0)).secure_boot
    assert locks_of(chip, {}, SecurityInfo(0b100, 0)).download_secure
    assert locks_of(chip, {}, SecurityInfo(0, 0b001)).flash_encryption
    assert locks_of(chip, {}, SecurityInfo(0b111 ^ 0b101, 0b011)) == Locks()


@pytest.mark.parametrize("lock", [field.name for field in dataclasses.fields(Locks)])
def test_each_lock_alone_is_refused_by_its_fuse_s_name_with_a_remedy(lock):
    (said,) = refusals(Locks(**{lock: "SOME_FUSE = 0b1"}))
    assert "(SOME_FUSE = 0b1)" in said
    assert "What to do: " in said
    assert "{" not in said


def test_what_owns_a_chip_names_the_fuse_that_espefuse_names():
    assert locks_of("esp32", {0x3FF5A018: 1 << 4}, None).secure_boot == "Secure Boot V1, ABS_DONE_0"
    (said,) = refusals(locks_of("esp32c3", {0x60008834: 1 << 18}, None))
    assert "SPI_BOOT_CRYPT_CNT = 0b1" in said
    assert "espefuse burn-efuse SPI_BOOT_CRYPT_CNT" in said


def test_the_fuses_are_where_espefuse_looks_for_them(chip):
    """Against the definitions that espefuse ships."""
    found = importlib.util.find_spec("espefuse")
    assert found is not None
    path = Path(*found.submodule_search_locations, "efuse_defs", f"{chip}.yaml")
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))["EFUSES"]
    base = {"esp32": 0x3FF5A000, "esp32c3": 0x6000882C, "esp32s3": 0x6000702C}[chip]
    fuses = FUSES[chip]
    every = [*fuses.secure_boot.values(), fuses.crypt_count, fuses.download_off]
    every += [fuses.download_secure] if fuses.download_secure else []
    for fuse in every:
        row = rows[fuse.name]
        assert (fuse.address, fuse.shift, fuse.width) == (
            base + 4 * row["word"],
            row["pos"],
            row["len"],
        ), fuse


@pytest.mark.parametrize(
    ("mac", "marked", "kind"),
    [
        ("24:0a:c4:00:01:10", False, REAL),
        ("02:b1:6e:1f:67:7d", True, VIRTUAL),
        ("02:b1:6e:1f:67:7d", False, REAL),  # the mark is what counts, not the MAC
        ("00:00:00:00:00:00", False, EMULATED),
        ("00:00:00:00:00:00", True, VIRTUAL),
    ],
)
def test_the_kind_of_a_board_is_what_its_efuses_say(mac, marked, kind):
    assert kind_of(mac, marked=marked) == kind


def test_what_ends_with_the_flash_fits_and_a_byte_more_does_not():
    assert too_small(4 << 20, 4 << 20, "it") == ""
    assert "4194304 bytes (4 MB), but slot app1 ends at 0x400001" in too_small(
        (4 << 20) + 1, 4 << 20, "slot app1"
    )
