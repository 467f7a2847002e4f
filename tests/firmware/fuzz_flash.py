"""Fuzz targets of what reads a flash: tables, otadata, whole dumps. All raise on a broken promise.

``python tests/firmware/fuzz_flash.py SECONDS [SEED]`` runs them on damaged dumps; the hypothesis
tests use the same functions.
"""

from __future__ import annotations

import json
import random
import sys
import time

from bootloader_oracle import app, small_flash

from pytest_blynk_ota.cli.flash import facts
from pytest_blynk_ota.cli.flash_page import page
from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import otadata
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.explain import Boot, Explanation, explain
from pytest_blynk_ota.firmware.explain_settings import Asked
from pytest_blynk_ota.firmware.otadata import Entry, State
from pytest_blynk_ota.firmware.partitions import ROW, Partition, PartitionTable

IDFS = ("v4.4", "v5.0.1", "v5.4.2", "v6.1", None)
DUMP_BYTES = 0x50000


def check_table(data: bytes, flash_size: int | None) -> None:
    """Any bytes are a table whose rows are theirs, or are refused by a FirmwareError."""
    for idf in IDFS:
        try:
            table = PartitionTable.parse(data, flash_size=flash_size, idf=idf)
        except FirmwareError:
            continue
        for number, row in enumerate(table.rows):
            assert ROW.unpack_from(data, number * ROW.size)[1:5] == (
                row.type, row.subtype, row.offset, row.size
            )  # fmt: skip


def check_entry(data: bytes) -> None:
    """Any 32 bytes are an entry, and are built again from it."""
    try:
        entry = Entry.parse(data)
    except FirmwareError:
        assert len(data) < otadata.ENTRY_BYTES
        return
    assert entry.build() == data[: otadata.ENTRY_BYTES]
    assert not (entry.is_valid and (entry.is_invalid or not entry.crc_ok))


def check_dump(data: bytes, asked: Asked) -> Explanation | None:
    """Any bytes are explained, as JSON and as a page, or are refused by a FirmwareError."""
    try:
        found = explain(data, asked)
    except FirmwareError:
        return None
    json.dumps(facts(found))
    assert page("dump", found)
    for boot in (found.first, found.second, *(found.other or ())):
        _check_boot(boot)
    assert found.second.before == found.first.after
    if found.first.loaded is not None:
        assert found.first.loaded in [app.partition for app in found.apps if app.problem is None]
    return found


def _check_boot(boot: Boot) -> None:
    if boot.decision is None:
        assert boot.before == boot.after
        return
    assert (boot.before is None) == (boot.after is None)
    written = len({write.offset for write in boot.decision.writes})
    changed = sum(a != b for a, b in zip(boot.before or (), boot.after or (), strict=True))
    assert changed <= written <= 2


def dump(rng: random.Random) -> bytes:
    """A small dump of a board that was updated now and then."""
    states = [*State, 5, 0xFE]
    entries = [
        Entry(rng.choice([0, 1, 2, 3, 7, otadata.ERASED]), rng.choice(states)).build()
        for _ in range(2)
    ]
    slots = tuple(app("esp32c3", rng.randrange(4)) for _ in range(rng.randrange(4)))
    more = []
    if rng.random() < 0.5:
        subtype = rng.choice([0x00, 0x20, 0x1F])
        more.append((Partition("more", 0, subtype, 0x40000, 0x10000), app("esp32c3", 9)))
    return bytes(small_flash((entries[0], entries[1]), slots, *more).data[:DUMP_BYTES])


PLACES = (0, 0x8000, 0xD000, 0xE000, 0x10000, 0x20000)


def mutated(rng: random.Random) -> tuple[bytes, Asked]:
    """A dump with bytes changed where they matter, or cut; and what is known beside it."""
    data = bytearray(dump(rng))
    for _ in range(rng.choice((0, 1, 1, 2, 8))):
        at = rng.choice(PLACES) + rng.randrange(0x120)
        new = rng.choice([b"\xff", b"\x00", b"\xe9", rng.randbytes(1), rng.randbytes(4)])
        data[at : at + len(new)] = new
    if rng.random() < 0.1:
        del data[rng.randrange(len(data)) :]
    asked = Asked(
        chip=rng.choice([None, *CHIPS.values()]),
        rollback=rng.choice([None, True, False]),
        revision=rng.choice([None, 0, 3, 301]),
        secure_version=rng.choice([None, None, 0, 1]),
        flash_size=rng.choice([None, 1 << 20, 4 << 20]),
        table_offset=rng.choice([0x8000, 0x8000, 0x8000, 0, 0x9000]),
    )
    return bytes(data), asked


def main(seconds: float, seed: int) -> None:
    """Fuzz for some seconds; a failing input is made again from its seed."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number = seed * 1_000_000 + count
        data, asked = mutated(random.Random(number))
        try:
            check_table(data[0x8000:0x8C00], asked.flash_size)
            check_entry(data[0xD000:0xD020])
            check_dump(data, asked)
        except Exception:
            print(f"input of mutated(random.Random({number})): {asked}")
            raise
        count += 1
    print(f"{count} inputs, seed {seed}: nothing broke")


if __name__ == "__main__":
    main(
        float(sys.argv[1]) if len(sys.argv) > 1 else 10.0,
        int(sys.argv[2]) if len(sys.argv) > 2 else 1,
    )
