"""Anti-rollback: bootloader_utility.c with CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK, line by line."""

from __future__ import annotations

import pytest
from bootloader_oracle import app, secured, small_flash

from pytest_blynk_ota.firmware.bootrules import Log, Rule, decide
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.otadata import Entry, State
from pytest_blynk_ota.firmware.partitions import Partition

BLANK = (b"\xff" * 32, b"\xff" * 32)
NEWER_IN_1 = (Entry(1).build(), Entry(2).build())


def image(version: int, chip: str = "esp32c3") -> bytes:
    return secured(app(chip, version), version)


def boot(otadata, images, efuses: int, *more, chip: str = "esp32c3"):
    flash = small_flash(otadata, images, *more)
    return decide(flash.read, True, CHIPS[chip], secure_version=efuses)


def said(decision, tag: str = "boot") -> list[str]:
    return [step.text for step in decision.steps if isinstance(step, Log) and step.tag == tag]


def test_an_entry_whose_application_is_below_the_efuses_is_passed_over():
    decision = boot(NEWER_IN_1, (image(3), image(1)), 2)
    assert (decision.loaded.label, decision.active) == ("app0", 0)
    assert said(decision)[:2] == [
        "Enabled a check secure version of app for anti rollback",
        "Secure version (from eFuse) = 2",
    ]
    assert [(row.label, problem.what) for row, problem in decision.rejected] == [
        ("app1", "secure_version")
    ]


def test_an_application_as_old_as_the_efuses_starts():
    assert boot(NEWER_IN_1, (image(1), image(2)), 2).loaded.label == "app1"


def test_the_efuses_move_up_when_a_valid_entry_is_gone_by():
    decision = boot(NEWER_IN_1, (image(1), image(3)), 1)
    assert decision.burn == 3
    assert said(decision, "efuse") == ["Anti-rollback is set. eFuse field is updated(3)."]


def test_an_application_that_is_on_trial_moves_nothing():
    decision = boot((Entry(1).build(), Entry(2, State.NEW).build()), (image(1), image(3)), 1)
    assert (decision.loaded.label, decision.burn) == ("app1", None)
    assert Entry.parse(decision.writes[0].data).state == State.PENDING_VERIFY


def test_blank_otadata_tries_all_slots_and_takes_the_first_that_is_new_enough():
    decision = boot(BLANK, (image(1), image(4)), 2)
    assert (decision.rule, decision.loaded.label, decision.burn) == (Rule.INITIAL, "app1", 4)
    assert Entry.parse(decision.writes[0].data) == Entry(2, State.VALID)
    assert said(decision)[2:4] == [
        "otadata[0..1] in initial state",
        "OTA app partition slot 0 is not bootable",
    ]


def test_blank_otadata_starts_a_factory_application_without_writing():
    factory = Partition("factory", 0, 0, 0x30000, 0x10000)
    decision = boot(BLANK, (image(1), image(4)), 2, (factory, image(2)))
    assert (decision.loaded, decision.writes, decision.burn) == (factory, (), None)


def test_both_entries_aborted_are_no_initial_state():
    aborted = tuple(Entry(seq, State.ABORTED).build() for seq in (1, 2))
    decision = boot(aborted, (image(2), image(2)), 1)
    assert (decision.rule, decision.loaded.label) == (Rule.NO_ENTRY, "app0")
    assert decision.writes == ()


def test_an_erased_slot_has_no_description_and_is_not_looked_at_further():
    decision = boot(NEWER_IN_1, (b"", b""), 0)
    assert decision.loaded is None
    assert said(decision)[2:] == [
        "Failed to get partition description 261",
        "Failed to get partition description 261",
        "ota data partition invalid and no factory, will try all partitions",
        "Failed to get partition description 261",
        "OTA app partition slot 0 is not bootable",
        "Failed to get partition description 261",
        "OTA app partition slot 1 is not bootable",
        "Failed to get partition description 258",
        "No bootable app partitions in the partition table",
    ]


@pytest.mark.parametrize(("chip", "most"), [("esp32", 32), ("esp32c3", 16)])
def test_more_versions_than_the_efuses_have_bits_cannot_be_written(chip, most):
    images = (image(1, chip), image(most + 1, chip))
    decision = boot(NEWER_IN_1, images, 1, chip=chip)
    assert (decision.loaded.label, decision.burn) == ("app1", None)
    assert said(decision, "efuse") == [
        f"Max secure version is {most}. Given {most + 1} version can not be written."
    ]
    assert boot(NEWER_IN_1, (images[0], image(most, chip)), 1, chip=chip).burn == most


def test_without_slots_no_entry_can_be_gone_by():
    decision = boot(NEWER_IN_1, (), 1)
    assert (decision.rule, decision.loaded) == (Rule.NO_ENTRY, None)
