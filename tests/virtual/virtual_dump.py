"""A flash dump of a board whose first slot runs 1.0.0, made by hand."""

from __future__ import annotations

from random import Random

from pytest_blynk_ota.firmware.behaviour import Behaviour
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import AppDesc, Segment, build_image
from pytest_blynk_ota.firmware.otadata import Entry, State
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET
from pytest_blynk_ota.virtual.chip.flash import FLASH_BYTES, SECTOR_BYTES

APP0, APP1 = DEFAULT_TABLE.ota_slots


def image(chip: str, version: str) -> bytes:
    """An application that a bootloader starts."""
    made = CHIPS[chip]
    noise = Random(version).randbytes
    desc = AppDesc(
        version=version,
        project="dump",
        time="17:29:49",
        date="Nov 23 2026",
        idf="v5.1.4",
        elf_sha256=noise(32),
    )
    parts = [
        Segment(made.drom_base, desc.build() + noise(1024)),
        Segment(made.iram_base, b"\1" * 64),
    ]
    return build_image(made, parts, made.iram_base)


def dump(chip: str, *, rollback: bool = True, states: tuple[State, ...] = (State.VALID,)) -> bytes:
    """The whole flash; one otadata entry for each state, naming the slots in turn."""
    made, flash = CHIPS[chip], bytearray(b"\xff" * FLASH_BYTES)

    def put(offset: int, data: bytes) -> None:
        flash[offset : offset + len(data)] = data

    behaviour = Behaviour(kind="bootloader", rollback=rollback).to_segment()
    loader = [Segment(0, behaviour), Segment(made.iram_base, b"\1" * 64)]
    put(made.bootloader_offset, build_image(made, loader, made.iram_base))
    put(TABLE_OFFSET, DEFAULT_TABLE.build())
    otadata = DEFAULT_TABLE.otadata
    assert otadata is not None
    for number, state in enumerate(states):
        put(otadata.offset + number * SECTOR_BYTES, Entry(number + 1, state).build())
    put(APP0.offset, image(chip, "1.0.0"))
    return bytes(flash)
