"""The ELF files of a run, and crashes decoded with them.

An ELF file fits an application if its SHA-256 is the one that the application prints, or holds in
its descriptor; with another one the lines would be wrong, so it is not used, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_blynk_ota.errors import UsageError

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.elf import Elf
    from pytest_blynk_ota.firmware.image import AppDesc

MIN_HASH_LETTERS = 8
"""An application prints 9 letters of the hash (CONFIG_APP_RETRIEVE_LEN_ELF_SHA) or 16; fewer, when
its line was torn, prove nothing."""
MAX_FRAMES = 16
"""Of a backtrace so many addresses are decoded: the reader of the console waits for it."""

Told = Mapping[str, Any]


def read_elf(path: Path, said_by: str) -> list[Elf]:
    """The ELF file at a path, or all of a folder.

    Raises:
        UsageError: there is none, or it cannot be read.
        FirmwareError: it is no ELF file.
    """
    from pytest_blynk_ota.firmware.elf import Elf  # pyelftools only where there is a file

    files = sorted(path.glob("*.elf")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{said_by} {path}: the folder holds no *.elf file")
    try:
        return [Elf(file.read_bytes(), f"{said_by} {file}") for file in files]
    except OSError as error:
        raise UsageError(f"{said_by} {path}: {error.strerror}; expected an ELF file") from error


def beside(binary: Path | None) -> list[Elf]:
    """The ELF file beside a binary, as every build leaves it: ``app.elf`` of ``app.bin``."""
    if binary is None or not (path := binary.with_suffix(".elf")).is_file():
        return []
    return read_elf(path, "beside the binary:")


class Elves:
    """The known ELF files of one board's firmware."""

    def __init__(self, elves: Iterable[Elf] = ()) -> None:
        self._elves = {elf.sha256: elf for elf in elves}

    def __len__(self) -> int:
        return len(self._elves)

    def __repr__(self) -> str:
        return f"<{len(self)} ELF files>"

    def misfits(self, descriptors: Iterable[AppDesc | None]) -> list[str]:
        """A sentence for each file that is of no image with one of these descriptors."""
        known = {one.elf_sha256.hex() for one in descriptors if one is not None}
        return [
            f"{elf.where}: its SHA-256 {elf.sha256[:9]}… is not that of the firmware's ELF file "
            f"({' or '.join(f'{one[:9]}…' for one in sorted(known)) or 'unknown'}): it is not used"
            for elf in self._elves.values()
            if elf.sha256 not in known
        ]

    def decode(self, crash: Told, stack: Sequence[int] = ()) -> Told:
        """What is added to the data of a ``uart/crash`` event: ``decoded`` and ``elf``, or why
        there is nothing to add. Empty without any ELF file."""
        if not self._elves:
            return {}
        shown = str(crash.get("elf_sha256") or "")
        if len(shown) < MIN_HASH_LETTERS:
            return {"elf": "not used: the application did not print the hash of its ELF file"}
        elf = next((elf for sha, elf in self._elves.items() if sha.startswith(shown)), None)
        if elf is None:
            return {"elf": f"not used: none of those given has the SHA-256 {shown}…"}
        return {"elf": elf.where, "decoded": _decoded(elf, crash, stack)}


def _decoded(elf: Elf, crash: Told, stack: Sequence[int]) -> list[str]:
    """A line for the place, each frame of the backtrace, and who perhaps called."""
    trace = [int(address, 16) for address in crash.get("backtrace") or ()]
    pc = int(crash["pc"], 16) if crash.get("pc") else None
    rows = [] if pc is None else [(pc, pc, "")]
    behind = 1 if stack else 0  # RISC-V tells where a call returns to, Xtensa where it stands
    rows += [(at, at - behind, "") for at in trace if pc is None or at not in (pc, pc - 3)]
    rows += [(at, at - 1, "perhaps ") for at in elf.callers(stack) if at not in trace]
    return [
        f"0x{shown:08x}: {perhaps}{found}"
        for shown, looked_up, perhaps in rows[: 2 * MAX_FRAMES]
        if (found := elf.at(looked_up)) is not None
    ]
