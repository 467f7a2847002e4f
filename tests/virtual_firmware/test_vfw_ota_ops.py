"""esp_ota_ops of a running application: what it writes to flash, and in which order."""

from __future__ import annotations

import pytest
from vfw_bench import APP0, APP1, OTADATA, SLOT_BYTES, Bench, entry, story
from vfw_peer import PowerCut

from pytest_blynk_ota.firmware.derive import bad_hash
from pytest_blynk_ota.firmware.otadata import State
from pytest_blynk_ota.virtual.app.ota_errors import OtaError, OtaRefused
from pytest_blynk_ota.virtual.app.ota_ops import SEQUENTIAL_WRITES, SIZE_UNKNOWN, OtaOps
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.boot.rom import POWER_ON
from pytest_blynk_ota.virtual.boot.run import start

BLOCK, SECTOR = 0x10000, 0x1000
SECTOR0, SECTOR1 = OTADATA.offset, OTADATA.offset + SECTOR


async def running(bench: Bench) -> OtaOps:
    """The operations of the application that the bootloader starts; the journal begins then."""
    log, started = await start(bench.machine, POWER_ON)
    bench.machine.flash.journal.clear()
    return OtaOps(bench.machine, log, started)


def done(bench: Bench) -> list[tuple[str, int, int]]:
    """The journal, programs of one span put together."""
    rows: list[tuple[str, int, int]] = []
    for kind, offset, length, *_ in bench.machine.flash.journal:
        if rows and kind == rows[-1][0] == "program" and sum(rows[-1][1:]) == offset:
            rows[-1] = (kind, rows[-1][1], rows[-1][2] + length)
        else:
            rows.append((kind, offset, length))
    return rows


def error(action) -> OtaError:
    with pytest.raises(OtaRefused) as refused:
        story(action)
    return refused.value.error


def test_an_update_erases_the_slot_then_the_inactive_entry_then_writes_then_selects():
    with Bench() as bench:
        bench.otadata(entry(3), entry(2))
        new = bench.app("2.0.0")

        async def update() -> None:
            ops = await running(bench)
            handle = await ops.begin(ops.next_update_partition(), len(new))
            await handle.write(new[:1000])
            await handle.write(new[1000:])
            await handle.end()
            await ops.choose(handle.target)

        story(update())
        erased = [("erase", at, SECTOR) for at in range(APP1, APP1 + len(new), SECTOR)]
        assert done(bench) == [
            *erased,
            ("erase", SECTOR1, SECTOR),
            ("program", APP1, len(new)),
            ("erase", SECTOR1, SECTOR),
            ("program", SECTOR1, 32),
        ]
        assert bench.entries() == (entry(3), entry(4, State.NEW))


@pytest.mark.parametrize("size", [0, SIZE_UNKNOWN])
def test_an_update_of_unknown_size_erases_the_whole_slot(size):
    with Bench() as bench:

        async def begin() -> None:
            ops = await running(bench)
            await ops.begin(ops.next_update_partition(), size)

        story(begin())
        assert done(bench) == [("erase", at, BLOCK) for at in range(APP1, APP1 + SLOT_BYTES, BLOCK)]


def test_sequential_writes_erase_each_sector_as_it_is_reached():
    with Bench(rollback=False) as bench:

        async def write() -> None:
            ops = await running(bench)
            handle = await ops.begin(ops.next_update_partition(), SEQUENTIAL_WRITES)
            for size in (1000, 3096, 100, 9000):
                await handle.write(b"\xe9" * size)

        story(write())
        assert done(bench) == [
            ("erase", APP1, SECTOR),
            ("program", APP1, 4096),
            ("erase", APP1 + SECTOR, SECTOR),
            ("program", APP1 + SECTOR, 100),
            ("erase", APP1 + 2 * SECTOR, SECTOR),
            ("erase", APP1 + 3 * SECTOR, SECTOR),
            ("program", APP1 + 4196, 9000),
        ]


OTHERS = [
    (entry(2, State.VALID), True),
    (entry(2, State.ABORTED), True),
    (None, False),
    (entry(3, State.VALID), False),  # names the slot that runs
]


@pytest.mark.parametrize(("other", "goes"), OTHERS)
def test_only_an_entry_that_names_another_slot_is_erased_at_the_beginning(other, goes):
    with Bench() as bench:
        bench.otadata(entry(5), other)

        async def begin() -> None:
            ops = await running(bench)
            await ops.begin(ops.next_update_partition(), SECTOR)

        story(begin())
        assert bench.entries() == (entry(5), None if goes else other)


def test_no_update_begins_while_the_running_application_is_unconfirmed():
    with Bench() as bench:
        bench.otadata(entry(1, State.NEW), None)

        async def begin() -> None:
            ops = await running(bench)
            await ops.begin(ops.next_update_partition())

        assert error(begin()) is OtaError.ROLLBACK_INVALID_STATE
        assert "Running app has not confirmed state (ESP_OTA_IMG_PENDING_VERIFY)" in bench.text
        assert done(bench) == []


def test_without_rollback_an_update_begins_in_any_state_and_leaves_the_entries_alone():
    with Bench(rollback=False) as bench:
        bench.otadata(entry(1, State.PENDING_VERIFY), entry(2, State.ABORTED))

        async def begin() -> None:
            ops = await running(bench)
            await ops.begin(ops.next_update_partition(), SECTOR)

        story(begin())
        assert done(bench) == [("erase", APP1, SECTOR)]


def test_the_running_slot_is_no_target():
    with Bench() as bench:

        async def begin() -> None:
            ops = await running(bench)
            await ops.begin(ops._started.partition)

        assert error(begin()) is OtaError.PARTITION_CONFLICT


def test_data_that_does_not_begin_like_an_image_is_refused_at_the_first_byte():
    with Bench() as bench:

        async def write() -> None:
            ops = await running(bench)
            handle = await ops.begin(ops.next_update_partition(), SECTOR)
            await handle.write(b"<html>")

        assert error(write()) is OtaError.VALIDATE_FAILED
        assert "OTA image has invalid magic byte (expected 0xE9, saw 0x3c)" in bench.text
        assert bench.read(APP1, 1) == b"\xff"


@pytest.mark.parametrize("size", [SIZE_UNKNOWN, SEQUENTIAL_WRITES])
def test_what_is_longer_than_the_slot_is_refused(size):
    with Bench(rollback=False) as bench:

        async def write() -> None:
            ops = await running(bench)
            handle = await ops.begin(ops.next_update_partition(), size)
            for _ in range(SLOT_BYTES // BLOCK + 1):
                await handle.write(b"\xe9" * BLOCK)

        assert error(write()) is OtaError.INVALID_SIZE
        assert max(offset + length for _, offset, length in done(bench)) <= APP1 + SLOT_BYTES


def test_a_bad_image_is_refused_at_the_end_and_leaves_otadata_as_it_was():
    with Bench() as bench:
        broken = bad_hash(bench.app("2.0.0"))

        async def update() -> None:
            ops = await running(bench)
            handle = await ops.begin(ops.next_update_partition(), len(broken))
            await handle.write(broken)
            await handle.end()

        assert error(update()) is OtaError.VALIDATE_FAILED
        assert "Image hash failed - image is corrupt" in bench.text
        assert "New image failed verification" in bench.text
        assert bench.entries() == (entry(1), None)


def test_an_update_without_a_byte_has_no_end():
    with Bench() as bench:

        async def update() -> None:
            ops = await running(bench)
            await (await ops.begin(ops.next_update_partition(), SECTOR)).end()

        assert error(update()) is OtaError.INVALID_ARG


def test_power_lost_between_erase_and_write_of_an_entry_leaves_the_old_application():
    with Bench() as bench:
        bench.put(APP1, bench.app("2.0.0"))

        async def choose() -> None:
            ops = await running(bench)
            bench.machine.cut_at = bench.machine.operations + 2
            with pytest.raises(PowerCut):
                await ops.choose(ops.next_update_partition())

        story(choose())
        assert bench.entries()[0] == entry(1)
        assert story(running(bench))._started.partition.offset == APP0


def test_with_anti_rollback_an_image_of_a_lower_secure_version_is_erased():
    with Bench() as bench:
        bench.secure_bootloader()
        bench.machine.efuses.burn_secure_version(3)
        bench.put(APP0, bench.app("1.0.0", secure_version=3))
        bench.put(APP1, bench.app("2.0.0", secure_version=2))

        async def choose() -> None:
            ops = await running(bench)
            await ops.choose(ops.next_update_partition())

        assert error(choose()) is OtaError.SMALL_SECURE_VERSION
        assert bench.read(APP1, 64) == b"\xff" * 64
        assert bench.entries() == (entry(1), None)


def test_an_application_that_confirms_itself_burns_its_secure_version_after_the_entry():
    with Bench() as bench:
        bench.secure_bootloader()
        bench.put(APP0, bench.app("1.0.0", secure_version=4))
        bench.otadata(entry(1, State.NEW), None)

        async def confirm() -> int:
            ops = await running(bench)
            assert bench.machine.efuses.secure_version == 0
            await ops.mark_valid()
            return bench.machine.efuses.secure_version

        assert story(confirm()) == 4
        assert bench.entries() == (entry(1), None)


def test_a_check_logs_the_segments_that_it_looks_at():
    with Bench() as bench:
        bench.put(APP1, bench.app("2.0.0"))

        async def choose() -> None:
            ops = await running(bench)
            bench.machine.output.clear()
            await ops.choose(ops.next_update_partition())

        story(choose())
        assert f"esp_image: segment 0: paddr={APP1 + 0x20:08x} vaddr=3c000020" in bench.text


def test_without_another_good_image_an_application_cannot_reject_itself():
    with Bench() as bench:
        bench.put(APP1, bad_hash(bench.app("2.0.0")))
        bench.otadata(entry(3, State.NEW), entry(2))

        async def reject() -> bool:
            ops = await running(bench)
            await ops.mark_invalid_and_reboot()
            return ops.rollback_is_possible()

        assert story(reject()) is False
        assert "Rollback is not possible, do not have any suitable apps in slots" in bench.text
        assert done(bench) == []


def test_an_application_that_rejects_itself_restarts_into_the_other():
    with Bench() as bench:
        bench.put(APP1, bench.app("2.0.0"))
        bench.otadata(entry(3, State.NEW), entry(2))

        async def reject() -> None:
            with pytest.raises(Reset):
                await (await running(bench)).mark_invalid_and_reboot()

        story(reject())
        assert bench.entries() == (entry(3, State.INVALID), entry(2))
        assert story(running(bench))._started.partition.offset == APP1
