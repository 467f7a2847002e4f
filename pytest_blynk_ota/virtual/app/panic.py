"""The text of a panic, by kind and by processor, as recorded from real chips (panic.c)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

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

CODE = {"xtensa": 0x400D0000, "riscv": 0x42000000}
STACK = {"xtensa": 0x3FFB4000, "riscv": 0x3FC8C000}
STACK_ROWS = 16
WORDS_A_ROW = 8
FRAMES = 5


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


def exception(arch: str, cause: Cause, elf: str, pc: int | None = None) -> Iterator[str]:
    """An unhandled exception, up to the restart. ``elf`` is the short ELF hash."""
    rng = Random(f"{elf} {cause.words[arch]}")
    where = CODE[arch] + rng.randrange(0x10000, 0x20000) if pc is None else pc
    words = cause.words[arch]
    yield f"Guru Meditation Error: Core  0 panic'ed ({words}). Exception was unhandled."
    yield ""
    yield from _registers(arch, where, cause.number[arch], rng)
    yield from _stack(arch, where, rng)
    yield from _end(elf)


def abort(arch: str, elf: str) -> Iterator[str]:
    """abort() on core 0: no Guru Meditation line."""
    rng = Random(f"{elf} abort")
    where = CODE[arch] + rng.randrange(0x10000, 0x20000)
    yield ""
    yield f"abort() was called at PC 0x{where:08x} on core 0"
    if arch == "riscv":
        yield from _registers(arch, where, 0, rng)
    yield from _stack(arch, where, rng)
    yield from _end(elf)


def _registers(arch: str, pc: int, cause: int, rng: Random) -> Iterator[str]:
    names = REGISTERS[arch]
    values = {name: rng.choice((0, 1, 4, STACK[arch] + rng.randrange(0x1000))) for name in names}
    values[names[0]] = pc
    values["EXCCAUSE" if arch == "xtensa" else "MCAUSE"] = cause
    values["EXCVADDR" if arch == "xtensa" else "MTVAL"] = 0
    yield "Core  0 register dump:"
    for start in range(0, len(names), 4):
        row = names[start : start + 4]
        yield "".join(f"{name:8s}: 0x{values[name]:08x}  " for name in row)
    yield ""


def _stack(arch: str, pc: int, rng: Random) -> Iterator[str]:
    if arch == "xtensa":
        yield ""
        yield "Backtrace: " + " ".join(_frames(pc, rng))
        yield ""
        yield ""
    else:
        yield "Stack memory:"
        yield from _memory(rng)
        yield ""


def _frames(pc: int, rng: Random) -> Sequence[str]:
    pcs = [pc, *(CODE["xtensa"] + rng.randrange(0x20000) for _ in range(FRAMES - 1))]
    return [f"0x{at:08x}:0x{STACK['xtensa'] + 0x20 * n:08x}" for n, at in enumerate(pcs)]


def _memory(rng: Random) -> Iterator[str]:
    for row in range(STACK_ROWS):
        at = STACK["riscv"] + row * WORDS_A_ROW * 4
        words = (rng.choice((0, 0xA5A5A5A5, rng.getrandbits(32))) for _ in range(WORDS_A_ROW))
        yield f"{at:08x}: " + " ".join(f"0x{word:08x}" for word in words)


def _end(elf: str) -> Iterator[str]:
    yield from ("", "", f"ELF file SHA256: {elf}", "", "Rebooting...")
