"""The text of a panic, by kind and by processor (panic.c, panic_arch.c, recorded logs)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.chips import Chip

REGISTERS: Mapping[str, tuple[str, ...]] = {
    "xtensa": (
        *("PC", "PS", *(f"A{n}" for n in range(16)), "SAR", "EXCCAUSE"),
        *("EXCVADDR", "LBEG", "LEND", "LCOUNT"),
    ),
    "riscv": (
        *("MEPC", "RA", "SP", "GP", "TP", "T0", "T1", "T2", "S0/FP", "S1"),
        *(f"A{n}" for n in range(8)),
        *(f"S{n}" for n in range(2, 12)),
        *("T3", "T4", "T5", "T6", "MSTATUS", "MTVEC", "MCAUSE", "MTVAL", "MHARTID"),
    ),
}
"""Register dump order (panic_arch.c of each processor); four to a line."""
CAUSE_REGISTER = {"xtensa": "EXCCAUSE", "riscv": "MCAUSE"}
ADDRESS_REGISTER = {"xtensa": "EXCVADDR", "riscv": "MTVAL"}
STACK_REGISTER = {"xtensa": "A1", "riscv": "SP"}

STACK_ABOVE_DATA = 0x4000
"""Where the stack of a task is: so far above the beginning of data RAM."""
STACK_ROWS = 32
WORDS_A_ROW = 8
FRAMES = 5
UNHANDLED = "Exception was unhandled."


@dataclass(frozen=True)
class Cause:
    """A processor exception: its words and its number on each processor."""

    words: Mapping[str, str]
    number: Mapping[str, int]


ILLEGAL = Cause(
    {"xtensa": "IllegalInstruction", "riscv": "Illegal instruction"}, {"xtensa": 0, "riscv": 2}
)
LOAD = Cause(
    {"xtensa": "LoadProhibited", "riscv": "Load access fault"}, {"xtensa": 0x1C, "riscv": 5}
)
STORE = Cause(
    {"xtensa": "StoreProhibited", "riscv": "Store access fault"}, {"xtensa": 0x1D, "riscv": 7}
)


@dataclass(frozen=True)
class Scene:
    """Where a panic happens; everything in its dump follows from this.

    Attributes:
        chip: that dies.
        elf: the short ELF hash.
        kind: name of the trouble.
        pc: the program counter; ``None``: somewhere in the code.
        core: the core that panics.
        task: the task that runs there.
        number: of the exception.
    """

    chip: Chip
    elf: str
    kind: str
    pc: int | None = None
    core: int = 0
    task: str = "main"
    number: int = 0

    @property
    def arch(self) -> str:
        """``xtensa`` or ``riscv``."""
        return self.chip.arch

    @property
    def stack_at(self) -> int:
        """The stack pointer."""
        return self.chip.dram_base + STACK_ABOVE_DATA

    @property
    def seed(self) -> str:
        """The same image dies the same way each time."""
        return f"{self.elf} {self.kind}"

    @cached_property
    def registers(self) -> Mapping[str, int]:
        """Their values by name, in the order of the dump."""
        rng = Random(self.seed)
        names = REGISTERS[self.arch]
        stack = self.stack_at
        values = {name: rng.choice((0, 1, 4, stack + rng.randrange(0x1000))) for name in names}
        code = self.chip.irom.start + rng.randrange(0x10000, 0x20000)
        values[names[0]] = code if self.pc is None else self.pc
        values[STACK_REGISTER[self.arch]] = stack
        values[CAUSE_REGISTER[self.arch]] = self.number
        values[ADDRESS_REGISTER[self.arch]] = 0
        return values

    @property
    def where(self) -> int:
        """The program counter."""
        return self.registers[REGISTERS[self.arch][0]]

    @cached_property
    def stack(self) -> Sequence[int]:
        """The words from the stack pointer on."""
        rng = Random(self.seed + " stack")
        values = (0, 0xA5A5A5A5, rng.getrandbits(32))
        return [rng.choice(values) for _ in range(STACK_ROWS * WORDS_A_ROW)]


def exception(scene: Scene, cause: Cause) -> Iterator[str]:
    """An unhandled exception of the processor, up to the ELF hash."""
    yield from unexpected(scene, f"{cause.words[scene.arch]}). {UNHANDLED}")


def unexpected(
    scene: Scene, reason: str, details: Sequence[str] = ("",), *, cores: Sequence[int] = ()
) -> Iterator[str]:
    """A panic with a reason.

    Args:
        reason: what stands in parentheses, and behind them.
        details: lines between reason and registers.
        cores: which dump their state; empty: the one that panics.
    """
    yield f"Guru Meditation Error: Core  {scene.core} panic'ed ({reason}"
    yield from details
    for core in cores or (scene.core,):
        yield from _registers(scene, core)
        yield from _stack(scene)
    yield from _end(scene.elf)


def abortion(scene: Scene, details: str | None) -> Iterator[str]:
    """What ``esp_system_abort`` makes of its words: no Guru Meditation line."""
    yield ""
    yield details or ""
    if scene.arch == "riscv":
        yield from _registers(scene, scene.core)
    else:
        yield ""
    yield from _stack(scene)
    yield from _end(scene.elf)


def abort(scene: Scene) -> Iterator[str]:
    """``abort()``."""
    where = f"abort() was called at PC 0x{scene.where:08x} on core {scene.core}"
    yield from abortion(scene, where)


def _registers(scene: Scene, core: int) -> Iterator[str]:
    names = REGISTERS[scene.arch]
    yield f"Core  {core} register dump:"
    for start in range(0, len(names), 4):
        row = names[start : start + 4]
        yield "".join(f"{name:8s}: 0x{scene.registers[name]:08x}  " for name in row)
    yield ""


def _stack(scene: Scene) -> Iterator[str]:
    if scene.arch == "xtensa":
        yield ""
        yield "Backtrace: " + " ".join(_frames(scene))
        yield ""
        yield ""
    else:
        yield "Stack memory:"
        yield from _memory(scene)
        yield ""


def _frames(scene: Scene) -> Iterator[str]:
    rng = Random(scene.seed + " frames")
    code = scene.chip.irom.start
    places = [scene.where, *(code + rng.randrange(0x20000) for _ in range(FRAMES - 1))]
    return (f"0x{at:08x}:0x{scene.stack_at + 0x20 * n:08x}" for n, at in enumerate(places))


def _memory(scene: Scene) -> Iterator[str]:
    for row in range(STACK_ROWS):
        at = scene.stack_at + row * WORDS_A_ROW * 4
        words = scene.stack[row * WORDS_A_ROW : (row + 1) * WORDS_A_ROW]
        yield f"{at:08x}: " + " ".join(f"0x{word:08x}" for word in words)


def _end(elf: str) -> Iterator[str]:
    yield from ("", "", f"ELF file SHA256: {elf}", "")
