"""What was in flash for each recorded transcript, and which resets it shows: the table of cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from vfw_recorded import (
    HELLO,
    HELLO_C3,
    HELLO_DUMPS,
    HELLO_PANICS_C3,
    IDF_50,
    IDF_60_C3,
    IDF_61,
    IDF_61_C3,
    INFO_NEW,
    INFO_OLD,
    ONCE,
    PY,
    PY_120,
    PY_123,
    PY_126,
    PY_APP_C3,
    PY_C3,
    UNITY,
    UNITY_APP,
    UNITY_APP_C3,
    UNITY_C3,
    micropython,
)
from vfw_recordings import (
    BEYOND,
    BOTH,
    FACTORY,
    FLASH_8MB,
    SLOTS,
    App,
    Damage,
    Loader,
    Stage,
    chosen,
    held_back,
    patched,
    payload_flipped,
    truncated,
)

from pytest_blynk_ota.firmware.derive import bad_checksum, bad_hash
from pytest_blynk_ota.firmware.otadata import State
from pytest_blynk_ota.firmware.partitions import TABLE_OFFSET


@dataclass(frozen=True)
class Case:
    """A recording that a virtual board repeats.

    Attributes:
        stage: makes the board.
        causes: of its boots, one after the other.
        then: what is changed in flash before a boot, by its number.
        dropped: boots of the recording that are the emulated chip's.
        hides: a text whose lines of ours are left out.
    """

    stage: Callable[[], Stage]
    causes: tuple[int, ...] = (1,)
    then: Mapping[int, Callable[[Stage], None]] = field(default_factory=dict)
    dropped: tuple[int, ...] = ()
    hides: str | None = None


def plain(loader: Loader, app: App | None) -> Callable[[], Stage]:
    """One application in the factory partition."""

    def make() -> Stage:
        stage = Stage(loader, FACTORY)
        if app is not None:
            stage.put("factory", app.build())
        return stage

    return make


def slots(
    loader: Loader, first: App | bytes, second: App | bytes | None, *entries, table=SLOTS
) -> Callable[[], Stage]:
    """Two slots and otadata."""

    def make() -> Stage:
        stage = Stage(loader, table)
        for label, app in (("ota_0", first), ("ota_1", second)):
            if app is not None:
                stage.put(label, app.build() if isinstance(app, App) else app)
        stage.otadata(*(entries or chosen(1)))
        return stage

    return make


def damaged(loader: Loader, app: App, damage: Damage | None) -> Callable[[], Stage]:
    """Slot 1 is chosen and its image is bad; ``None``: it is empty."""
    bad = damage(app.build()) if damage is not None else None
    return slots(loader, app, bad, *chosen(1))


def with_factory(loader: Loader, app: App, **images: bytes) -> Callable[[], Stage]:
    """A factory application and two slots on 8 MB of flash, slot 1 chosen unless ``blank``."""

    def make() -> Stage:
        big = replace(loader, header3=FLASH_8MB | loader.header3 & 0xF)
        stage = Stage(big, BOTH, size=8 << 20)
        for label, image in {"factory": app.build(), **images}.items():
            stage.put(label, image)
        stage.otadata(*chosen(1))
        return stage

    return make


def blank(make: Callable[[], Stage]) -> Callable[[], Stage]:
    """With erased otadata."""

    def erased() -> Stage:
        stage = make()
        stage.otadata(None, None)
        return stage

    return erased


def broken(loader: Loader, change: Callable[[Stage], None], table=SLOTS) -> Callable[[], Stage]:
    """A board whose bootloader or table is changed behind its back."""

    def make() -> Stage:
        stage = Stage(loader, table)
        change(stage)
        return stage

    return make


def without_md5(stage: Stage) -> None:
    """The table's MD5 row never written."""
    rows = SLOTS.build()[: 32 * len(SLOTS.rows)]
    stage.write(TABLE_OFFSET, rows)
    stage.put("ota_0", HELLO_C3.build())
    stage.put("ota_1", HELLO_C3.build())
    stage.otadata(*chosen(1))


WRONG_CHIP = {"esp32": b"\5\0", "esp32c3": b"\0\0"}
DAMAGES: Mapping[str, Callable[[str], Damage | None]] = {
    "bad_hash": lambda _: bad_hash,
    "bad_hash_only_payload": lambda _: payload_flipped,
    "empty": lambda _: None,
    "held_back_16": lambda _: held_back,
    "min_rev_too_high": lambda _: patched(15, b"\xff\x7f"),
    "too_many_segments": lambda _: patched(1, b"\x11"),
    "truncated_last_4k": lambda _: truncated,
    "wrong_chip": lambda chip: patched(12, WRONG_CHIP[chip]),
}


def no_bootloader(stage: Stage) -> None:
    stage.erase(stage.chip.bootloader_offset, 0x7000)


def flipped_bit(stage: Stage) -> None:
    stage.flip(stage.chip.bootloader_offset + 0x3000)


def damaged_row(stage: Stage) -> None:
    stage.machine.flash.program(TABLE_OFFSET + 12, b"\0")


def nothing(stage: Stage) -> None:
    """As it is: slots and otadata are empty."""


def update(stage: Stage) -> None:
    stage.otadata(*chosen(1, state=State.NEW))


COMPARED: dict[str, Case] = {
    "esp32_poweron_idf-hello-5.0.1-esp32": Case(plain(IDF_50, HELLO)),
    "esp32_poweron_idf-unittest-6.1dev-esp32": Case(plain(UNITY, UNITY_APP)),
    "esp32_poweron_idf-hello-6.1dev-coredump-flash-esp32": Case(
        plain(IDF_61, HELLO_DUMPS), (1, 0xC, 0xC), hides="vaddr=00000000"
    ),
    "esp32c3_poweron_idf-hello-6.0dev-esp32c3": Case(plain(IDF_60_C3, HELLO_C3)),
    "esp32c3_hello_restart": Case(plain(IDF_60_C3, HELLO_C3), (1, 0xC)),
    "esp32c3_panic_app": Case(
        plain(IDF_61_C3, HELLO_PANICS_C3), (1, 0xC, 0xC), hides="vaddr=00000000"
    ),
    "esp32_unity_menu": Case(
        plain(UNITY, replace(UNITY_APP, behaviour=ONCE)), (1, 0xC), hides="vaddr=00000000"
    ),
    "esp32c3_unity_menu": Case(
        plain(UNITY_C3, replace(UNITY_APP_C3, behaviour=ONCE)), (1, 0xC), hides="vaddr=00000000"
    ),
    "esp32_poweron_micropython_1.20.0": Case(plain(PY_120, PY)),
    "esp32_poweron_micropython_1.26.1": Case(plain(PY_126, PY)),
    "esp32c3_poweron_micropython_1.24.1": Case(plain(PY_C3, PY_APP_C3)),
    "esp32_resets_micropython": Case(plain(PY_123, PY), (1, 0xC, 0xC)),
    "esp32c3_resets_micropython": Case(plain(PY_C3, PY_APP_C3), (1, 0xC, 0xC)),
    "esp32_interrupt_watchdog": Case(plain(PY_123, PY), (1, 7), dropped=(1,)),
    "esp32_panic_loadprohibited_120": Case(
        plain(PY_120, micropython("esp32", "v4.4.4", "d0595d695c66ca30",
              crash={"when": "start", "how": "panic", "times": 1})), (1, 0xC)),
    "esp32_panic_loadprohibited_126": Case(
        plain(PY_126, micropython("esp32", "v5.4.2", "d01d5c5a5",
              crash={"when": "start", "how": "panic", "times": 1})), (1, 0xC)),
    "esp32c3_panic_store_access_fault": Case(
        plain(PY_C3, micropython("esp32c3", "v5.2.2", "f2180b0cd", **ONCE)), (1, 0xC)),
    **{
        f"{loader.chip}_slot1_{name}": Case(damaged(loader, app, damage(loader.chip)))
        for loader, app in ((IDF_50, HELLO), (IDF_60_C3, HELLO_C3))
        for name, damage in DAMAGES.items()
    },
    "esp32_both_slots_empty": Case(broken(IDF_50, nothing), (1, 3, 3, 3)),
    "esp32c3_both_slots_bad": Case(
        slots(IDF_60_C3, bad_checksum(HELLO_C3.build()), bad_hash(HELLO_C3.build())), (1, *[3] * 12)
    ),
    "esp32_all_bad_with_factory": Case(
        with_factory(IDF_50, HELLO, factory=bad_hash(HELLO.build()),
                     ota_0=bad_checksum(HELLO.build())), (1, 3, 3)),
    "esp32c3_all_bad_with_factory": Case(
        with_factory(IDF_60_C3, HELLO_C3, factory=bad_hash(HELLO_C3.build()),
                     ota_0=bad_checksum(HELLO_C3.build())), (1, *[3] * 16)),
    "esp32_factory_fallback_slots_bad": Case(
        with_factory(IDF_50, HELLO, ota_0=bad_checksum(HELLO.build()),
                     ota_1=HELLO.build()[: len(HELLO.build()) // 2])),
    "esp32_factory_fallback_slots_empty": Case(with_factory(IDF_50, HELLO)),
    "esp32c3_factory_fallback_slots_empty": Case(with_factory(IDF_60_C3, HELLO_C3)),
    "esp32c3_factory_fallback_otadata_erased": Case(blank(with_factory(
        IDF_60_C3, HELLO_C3, ota_0=HELLO_C3.build(), ota_1=HELLO_C3.build()))),
    "esp32_otadata_bad_crc_both": Case(slots(
        IDF_50, HELLO, HELLO, *(e.build()[:-1] + b"\0" for e in chosen(1)))),
    "esp32_otadata_erased_no_factory": Case(slots(IDF_50, HELLO, HELLO, None, None)),
    "esp32c3_otadata_erased_no_factory": Case(slots(IDF_60_C3, HELLO_C3, HELLO_C3, None, None)),
    "esp32_partition_exceeds_flash": Case(broken(IDF_50, nothing, BEYOND), (1, 3, 3)),
    "esp32c3_partition_exceeds_flash": Case(broken(IDF_60_C3, nothing, BEYOND), (1, 3, 3)),
    "esp32_partition_table_bad_md5": Case(broken(IDF_50, damaged_row), (1, 3, 3)),
    "esp32c3_partition_table_no_md5": Case(broken(IDF_60_C3, without_md5)),
    "esp32_blank_flash": Case(broken(IDF_50, no_bootloader)),
    "esp32_no_bootloader": Case(broken(IDF_50, no_bootloader)),
    "esp32c3_no_bootloader": Case(broken(IDF_60_C3, no_bootloader)),
    "esp32_bootloader_bit_flip": Case(broken(IDF_50, flipped_bit)),
    "esp32c3_bootloader_bit_flip": Case(broken(IDF_60_C3, flipped_bit)),
    "esp32_ota_no_rollback_bootloader": Case(
        slots(IDF_50, INFO_OLD, INFO_NEW, *chosen(0)), (1, 0xC, 0xC), then={1: update}),
    "esp32_ota_corrupt_image_refused": Case(slots(PY_123, PY, None, *chosen(0)), (1, 0xC)),
    "esp32_ota_power_cut_in_download": Case(slots(PY_123, PY, None, *chosen(0)), (1, 1)),
    "esp32_ota_server_errors": Case(slots(PY_123, PY, None, *chosen(0))),
    "esp32_ota_success_confirmed": Case(
        slots(PY_123, PY, PY, *chosen(0)), (1, 0xC, 0xC), then={1: update}),
    "esp32_ota_unconfirmed_rollback": Case(
        slots(PY_123, PY, PY, *chosen(0)), (1, 0xC, 0xC), then={1: update}),
    "esp32c3_ota_stalled_power_cycle": Case(slots(PY_C3, PY_APP_C3, None, *chosen(0)), (1, 1)),
    "esp32c3_new_unconfirmed_rollback": Case(
        slots(PY_C3, PY_APP_C3, HELLO_C3, *chosen(1, state=State.NEW)), (1, 0xC, 1)),
    "esp32c3_ota_unconfirmed_rollback": Case(
        slots(PY_C3, PY_APP_C3, HELLO_C3, *chosen(0)), (1, 1, 0xC), then={1: update}),
}  # fmt: skip

TORN = {
    "esp32_poweron_idf-hello-5.0.1-esp32": 2,
    "esp32_poweron_idf-unittest-6.1dev-esp32": 1,
    "esp32c3_hello_restart": 2,
    "esp32c3_panic_app": 3,
    "esp32_unity_menu": 4,
    "esp32_slot1_bad_hash_only_payload": 1,
    "esp32_slot1_held_back_16": 1,
    "esp32_slot1_min_rev_too_high": 1,
    "esp32_slot1_too_many_segments": 1,
    "esp32_slot1_truncated_last_4k": 1,
    "esp32_slot1_wrong_chip": 3,
    "esp32c3_slot1_bad_hash": 1,
    "esp32c3_slot1_bad_hash_only_payload": 1,
    "esp32c3_slot1_min_rev_too_high": 1,
    "esp32_both_slots_empty": 2,
    "esp32c3_both_slots_bad": 3,
    "esp32_all_bad_with_factory": 2,
    "esp32c3_all_bad_with_factory": 1,
    "esp32_factory_fallback_slots_bad": 1,
    "esp32c3_factory_fallback_otadata_erased": 1,
    "esp32_otadata_bad_crc_both": 2,
    "esp32_otadata_erased_no_factory": 2,
    "esp32_ota_no_rollback_bootloader": 1,
    "esp32c3_ota_unconfirmed_rollback": 1,
}
"""How many lines of a recording have lost bytes; of all others none has."""
