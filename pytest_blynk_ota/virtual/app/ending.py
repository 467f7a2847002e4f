"""How an application ends that got into trouble: its last words, its core dump, its reset.

Each kind is a row of :data:`ENDINGS`. Words and causes follow ESP-IDF (panic.c, panic_handler.c,
task_wdt.c, brownout.c, heap_caps.c, multi_heap_poisoning.c, assert.c, esp_err.c, port.c) and the
recorded logs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.virtual.app import coredump, panic
from pytest_blynk_ota.virtual.app.panic import Scene
from pytest_blynk_ota.virtual.boot.applog import elf_text
from pytest_blynk_ota.virtual.boot.bootlog import DUAL_CORE, error
from pytest_blynk_ota.virtual.boot.endings import Panic, Reset
from pytest_blynk_ota.virtual.boot.generation import generation
from pytest_blynk_ota.virtual.boot.rom import (
    DEEP_SLEEP,
    RTC_WATCHDOG,
    SOFTWARE_CPU,
    SOFTWARE_SYSTEM,
)

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.idf import Version
    from pytest_blynk_ota.virtual.boot.bootloader import Started
    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine

PANIC_BYTES_PER_S = 11520
"""The panic handler polls the UART until each byte is out, at 115200 baud (panic.c)."""
TASK_WATCHDOG_S = 5.0
"""CONFIG_ESP_TASK_WDT_TIMEOUT_S; that it resets is CONFIG_ESP_TASK_WDT_PANIC, as Arduino's."""
INTERRUPT_WATCHDOG_S = 0.3
"""CONFIG_ESP_INT_WDT_TIMEOUT_MS."""
RTC_WATCHDOG_S = 9.0
"""CONFIG_BOOTLOADER_WDT_TIME_MS."""
HARDWARE_STACK_GUARD: Version = (5, 2, 0)
"""CONFIG_ESP_SYSTEM_HW_STACK_GUARD, on RISC-V."""
BROWNOUT_IN_LOG: Version = (5, 1, 3)
BROWNOUT_IS_ERROR: Version = (5, 5, 1)
BROWNOUT_RESETS_SYSTEM: Version = (5, 3, 0)
"""What brownout.c does changed with these; between the first two a build that logs at ERROR, as
Arduino's, says nothing."""


@dataclass(frozen=True)
class Last:
    """The last moments of an application.

    Attributes:
        arduino: whether it was built as Arduino builds: log at ERROR, all in ``loopTask``.
        age: of its ESP-IDF.
        sleep_s: of a deep sleep.
    """

    machine: Machine
    log: Log
    started: Started
    scene: Scene
    arduino: bool
    age: Version
    sleep_s: float

    @property
    def dual(self) -> bool:
        """Whether the chip has two cores."""
        return self.machine.chip.name in DUAL_CORE


Words = Callable[[Last], Iterator[str]]


@dataclass(frozen=True)
class Ending:
    """One kind of trouble.

    Attributes:
        words: what the panic handler prints up to the ELF hash; ``None``: it is not reached.
        before: what happens before that.
        cause: of the reset, in the end.
        number: of the exception on each processor.
    """

    words: Words | None = None
    before: Callable[[Last], Awaitable[None]] | None = None
    cause: Callable[[Last], int] = lambda _: SOFTWARE_CPU
    number: Mapping[str, int] | None = None


async def end(machine: Machine, log: Log, started: Started, crash: Panic) -> NoReturn:
    """Die as the row of the trouble says.

    Raises:
        Reset: always; a hang does not return.
    """
    ending = ENDINGS[crash.how]
    last = _last(machine, log, started, crash, ending)
    if ending.before is not None:
        await ending.before(last)
    if ending.words is not None:
        await _say(last, [*ending.words(last)])
        await _dump_core(last)
        await _say(last, ["Rebooting..."])
    raise Reset(ending.cause(last)) from crash


def _last(machine: Machine, log: Log, started: Started, crash: Panic, ending: Ending) -> Last:
    image = started.image
    chip = machine.chip.name
    arduino = not log.verbose
    on_other = arduino and chip in DUAL_CORE and crash.pc is None  # ARDUINO_RUNNING_CORE
    scene = Scene(
        CHIPS[chip],
        elf_text(image.app_desc),
        crash.how,
        crash.pc,
        core=1 if on_other else 0,
        task="loopTask" if arduino else "main",
        number=ending.number[CHIPS[chip].arch] if ending.number else 0,
    )
    age = generation(image.app_desc.idf if image.app_desc else None)
    return Last(machine, log, started, scene, arduino, age, crash.sleep_s)


async def _say(last: Last, lines: list[str]) -> None:
    last.log.text(*lines)
    await last.machine.clock.spend(sum(len(line) + 2 for line in lines) / PANIC_BYTES_PER_S)


async def _dump_core(last: Last) -> None:
    behaviour = last.started.image.behaviour
    where = behaviour.coredump if behaviour else "none"
    if where == "uart":
        await _say(last, [*coredump.to_uart(last.machine, last.log, last.scene)])
    elif where == "flash":
        await coredump.to_flash(last.machine, last.log, last.started.table, last.scene)


# ---- words


def _exception(cause: panic.Cause) -> Words:
    return lambda last: panic.exception(last.scene, cause)


def _aborts(*before: str, details: str) -> Words:
    def words(last: Last) -> Iterator[str]:
        yield from before
        yield from panic.abortion(last.scene, details)

    return words


def _error_check(last: Last) -> Iterator[str]:
    where = last.scene.where
    yield f"ESP_ERROR_CHECK failed: esp_err_t 0x101 (ESP_ERR_NO_MEM) at 0x{where:08x}"
    yield from ('file: "./main/main.c" line 57', "func: app_main", "expression: start_wifi()")
    yield from panic.abort(last.scene)


def _cache(last: Last) -> Iterator[str]:
    disabled = "Cache disabled but cached memory region accessed"
    if last.machine.chip.name == "esp32" and last.age < (6, 0, 0):
        yield from panic.unexpected(last.scene, f"{disabled}). ")
        return
    why = {"esp32": disabled, "esp32s3": "MMU entry fault error occurred while accessing the "
           "address 0x3c0f0000 (invalid mmu entry)"}  # fmt: skip
    details = (why.get(last.machine.chip.name, "MMU entry fault"), "")
    yield from panic.unexpected(last.scene, "Cache error). ", details)


def _stack_overflow(last: Last) -> Iterator[str]:
    scene = last.scene
    if scene.arch == "riscv" and last.age >= HARDWARE_STACK_GUARD:
        bottom = scene.stack_at
        yield from panic.unexpected(
            scene,
            "Stack protection fault). ",
            (
                "",
                f'Detected in task "{scene.task}" at 0x{scene.where:08x}',
                f"Stack pointer: 0x{bottom:08x}",
                f"Stack bounds: 0x{bottom + 0x10:08x} - 0x{bottom + 0x2000:08x}",
                "",
                "",
            ),
        )
    elif last.arduino and scene.arch == "xtensa":  # CONFIG_FREERTOS_WATCHPOINT_END_OF_STACK
        details = f"Debug exception reason: Stack canary watchpoint triggered ({scene.task}) "
        yield from panic.unexpected(scene, "Unhandled debug exception). ", (details,))
    else:
        text = f"***ERROR*** A stack overflow in task {scene.task} has been detected."
        yield from panic.abortion(scene, text)


def _interrupt_watchdog(last: Last) -> Iterator[str]:
    core = last.scene.core
    reason = f"Interrupt wdt timeout on CPU{core}). "
    cores = (core, 1 - core) if last.dual else (core,)
    yield from panic.unexpected(last.scene, reason, cores=cores)


# ---- what comes before, and what comes of it


async def _wait(seconds: float, last: Last) -> None:
    await last.machine.clock.sleep(seconds)


async def _task_watchdog(last: Last) -> None:
    await _wait(TASK_WATCHDOG_S, last)
    core, task = last.scene.core, last.scene.task
    running = {n: f"IDLE{n}" if last.dual else "IDLE" for n in range(2 if last.dual else 1)}
    starved, running[core] = running[core], task
    texts = (
        "Task watchdog got triggered. "
        "The following tasks/users did not reset the watchdog in time:",
        f" - {starved} (CPU {core})",
        "Tasks currently running:",
        *(f"CPU {number}: {name}" for number, name in running.items()),
        "Aborting.",
        f"Print CPU {core} (current core) backtrace",
    )
    last.log.idf([error("task_wdt", text) for text in texts])


async def _brownout(last: Last) -> None:
    words = "Brownout detector was triggered"
    if last.age < BROWNOUT_IN_LOG:
        await _say(last, ["", words, "", ""])
    elif last.age >= BROWNOUT_IS_ERROR:
        await _say(last, [f"E BOD: {words}", "", ""])
    elif not last.arduino:
        await _say(last, [f"I BOD: {words}", "", ""])


async def _hang(_: Last) -> None:
    await asyncio.Event().wait()


async def _sleep(last: Last) -> None:
    await _wait(last.sleep_s, last)


def _cache_reset(last: Last) -> int:
    """ESP32 can clear that state by a reset of the whole system only (panic_restart)."""
    return SOFTWARE_SYSTEM if last.machine.chip.name == "esp32" else SOFTWARE_CPU


def _brownout_reset(last: Last) -> int:
    return SOFTWARE_SYSTEM if last.age >= BROWNOUT_RESETS_SYSTEM else SOFTWARE_CPU


ENDINGS: Mapping[str, Ending] = {
    "panic": Ending(_exception(panic.LOAD), number=panic.LOAD.number),
    "store": Ending(_exception(panic.STORE), number=panic.STORE.number),
    "illegal": Ending(_exception(panic.ILLEGAL), number=panic.ILLEGAL.number),
    "cache": Ending(_cache, cause=_cache_reset, number={"xtensa": 7, "riscv": 0x19}),
    "abort": Ending(lambda last: panic.abort(last.scene)),
    "assert": Ending(_aborts(details="assert failed: app_main main.c:42 (buffer != NULL)")),
    "esp_error": Ending(_error_check),
    "stack_overflow": Ending(_stack_overflow, number={"xtensa": 1, "riscv": 0x1B}),
    # CONFIG_HEAP_ABORT_WHEN_ALLOCATION_FAILS
    "heap_exhausted": Ending(_aborts(details="Mem alloc fail. size 0x00001000 caps 0x00001800")),
    "heap_corrupt": Ending(
        _aborts(
            "CORRUPT HEAP: Bad head at 0x3ffb8a9c. Expected 0xabba1234 got 0x00000000",
            details="assert failed: multi_heap_free multi_heap_poisoning.c:259 (head != NULL)",
        )
    ),
    "task_wdt": Ending(lambda last: panic.abortion(last.scene, None), before=_task_watchdog),
    "int_wdt": Ending(
        _interrupt_watchdog,
        before=partial(_wait, INTERRUPT_WATCHDOG_S),
        number={"xtensa": 5, "riscv": 0x18},
    ),
    "rtc_wdt": Ending(before=partial(_wait, RTC_WATCHDOG_S), cause=lambda _: RTC_WATCHDOG),
    "brownout": Ending(before=_brownout, cause=_brownout_reset),
    "hang": Ending(before=_hang),
    "deep_sleep": Ending(before=_sleep, cause=lambda _: DEEP_SLEEP),
}
"""Every ``how`` of a behaviour's crash."""
