"""A crash, put together from the lines that the panic handler prints. Pure.

The first line is a row of the pattern table; the lines after it are looked up in ``DETAILS``. The
end is the restart, the ELF hash's line once the place is known, or anything that has nothing to do
with it: a line may be torn, and lines of the other core may stand between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STRANGERS = 4
"""So many lines in a row that are none of its own end a crash: the other core may print, and the
panic handler's own words change."""
MAX_FRAMES = 32
"""Frames that are kept of a backtrace; ESP-IDF prints 100 at most."""
MAX_STACK_WORDS = 1024
"""Words of a RISC-V stack dump that are kept for the decoder; ESP-IDF prints 1024 bytes."""

REFINES: Mapping[str, frozenset[str]] = {
    "abort": frozenset({"esp_error", "assert", "heap", "task_wdt", "stack_overflow"}),
    "assert": frozenset({"heap"}),
    "stack_overflow": frozenset({"panic"}),
    "int_wdt": frozenset({"panic"}),
    "cache_error": frozenset({"panic"}),
    "panic": frozenset({"task_wdt"}),
}
"""A first line of the key's kind inside a crash of these kinds tells more of the same crash: each
of them ends in ``abort()`` in some release."""
KEEPS_NAME = frozenset({"abort", "assert"})
"""Those that do not give it another name by that."""

Told = dict[str, Any]


@dataclass(slots=True)
class Crash:
    """One crash that is being read.

    Attributes:
        line: number of its first line.
        data: what has been read, as it will stand in the event.
        stack: words of a RISC-V stack dump, for a decoder.
        strangers: lines in a row that were none of it.
        dump_of: the core whose registers are being read.
    """

    line: int
    data: Told
    stack: list[int] = field(default_factory=list)
    strangers: int = 0
    dump_of: int | None = None

    @property
    def placed(self) -> bool:
        """Whether its place in the code is known: a second crash would be another one."""
        return "backtrace" in self.data or "registers" in self.data


def begun(line: int, what: str, text: str) -> Crash:
    """A crash whose first line has come."""
    crash = Crash(line, {"what": what, "text": text})
    _take(crash, text)
    crash.data.setdefault("kind", KINDS[what])
    return crash


def refine(crash: Crash, what: str, text: str) -> bool:
    """Take a further first line, if it is of the same crash."""
    same = what == crash.data["what"] and what == "panic"
    if crash.placed or same or crash.data["what"] not in REFINES.get(what, ()):
        return False
    if what not in KEEPS_NAME and what != "panic":
        crash.data["what"], crash.data["kind"] = what, KINDS[what]
    if what in ("abort", "panic"):
        crash.data["fatal"] = True
    _take(crash, text)
    crash.strangers = 0
    return True


def take(crash: Crash, text: str) -> bool:
    """Take one more line. Returns False once the crash is over, by this line or before it."""
    if _take(crash, text):
        crash.strangers = 0
        return not crash.data.get("restarts")
    crash.strangers += 1
    return crash.strangers < STRANGERS


def finished(crash: Crash) -> Told:
    """The data of its event."""
    told = dict(crash.data)
    registers = told.pop("registers", {})
    for name in ("MEPC", "PC"):
        if name in registers:
            told["pc"] = _hex(registers[name])
    if "MEPC" in registers and "backtrace" not in told:
        told["backtrace"] = [_hex(registers[r]) for r in ("MEPC", "RA") if registers.get(r)]
    for name in ("EXCVADDR", "MTVAL"):
        if name in registers and told["what"] in ("panic", "double_exception"):
            told["address"] = _hex(registers[name])
    told.setdefault("core", None)
    told.setdefault("pc", None)
    told.setdefault("backtrace", [])
    told.pop("restarts", None)
    return told


def _hex(number: int) -> str:
    return f"0x{number:08x}"


def _take(crash: Crash, text: str) -> bool:
    for pattern, take_it in DETAILS:
        if found := pattern.search(text):
            take_it(crash, found)
            return True
    return False


# ---- what each line tells


def _says(*names: str) -> Callable[[Crash, re.Match[str]], None]:
    """The pattern's groups are texts of these names."""

    def take_it(crash: Crash, found: re.Match[str]) -> None:
        for at, name in enumerate(names, 1):
            if found[at] is not None:
                crash.data[name] = int(found[at]) if name == "line" else found[at].strip()

    return take_it


def _nothing(crash: Crash, found: re.Match[str]) -> None:
    """A line of the panic handler that tells nothing more."""


def _guru(crash: Crash, found: re.Match[str]) -> None:
    crash.data["core"] = int(found[1])
    reason = found[2].strip()
    if crash.data["what"] == "panic" and reason:
        crash.data["kind"] = reason
    elif reason:
        crash.data["reason"] = reason


def _reason(crash: Crash, found: re.Match[str]) -> None:
    crash.data["reason"] = found[1].strip()
    if task := re.search(r"watchpoint triggered \((.*)\)", found[1]):
        crash.data["task"] = task[1]


def _abort(crash: Crash, found: re.Match[str]) -> None:
    crash.data["pc"] = found[1]
    if found[2]:
        crash.data["core"] = int(found[2])


def _assert(crash: Crash, found: re.Match[str]) -> None:
    names = ("function", "file", "line", "expression")
    crash.data.update({n: v for n, v in zip(names, found.groups(), strict=True) if v})
    crash.data["line"] = int(crash.data["line"])


def _dump_of(crash: Crash, found: re.Match[str]) -> None:
    crash.dump_of = int(found[1])
    if crash.data.get("core") is None:
        crash.data["core"] = crash.dump_of


def _of_other_core(crash: Crash) -> bool:
    return crash.dump_of is not None and crash.dump_of != crash.data.get("core")


def _registers(crash: Crash, found: re.Match[str]) -> None:
    """A row of registers; of the core that panicked, where two dump theirs."""
    if _of_other_core(crash):
        return
    registers = crash.data.setdefault("registers", {})
    for name, value in REGISTER.findall(found.string):
        registers.setdefault(name, int(value, 16))
    if len(FRAME.findall(found.string)) > 1:  # the lines between were lost
        _backtrace(crash, found)


def _backtrace(crash: Crash, found: re.Match[str]) -> None:
    """Frames ``PC:SP``; of the core that panicked, where two print theirs."""
    if "backtrace" in crash.data or _of_other_core(crash):
        return
    frames = FRAME.findall(found.string)
    crash.data["backtrace"] = [f"0x{pc}" for pc, _ in frames[:MAX_FRAMES]]
    if "CORRUPTED" in found.string:
        crash.data["corrupted"] = True
    if not found.string.lstrip().startswith("Backtrace"):
        crash.data["torn"] = True


def _stack(crash: Crash, found: re.Match[str]) -> None:
    if len(crash.stack) < MAX_STACK_WORDS:
        crash.stack.extend(int(word, 16) for word in found[1].split())


def _starved(crash: Crash, found: re.Match[str]) -> None:
    crash.data.setdefault("starved", []).append(found[1].strip())


def _ran(crash: Crash, found: re.Match[str]) -> None:
    crash.data.setdefault("running", {})[found[1]] = found[2].strip()


def _fatal(crash: Crash, found: re.Match[str]) -> None:
    crash.data["fatal"] = True


def _restarts(crash: Crash, found: re.Match[str]) -> None:
    crash.data["fatal"] = crash.data["restarts"] = True


def _elf(crash: Crash, found: re.Match[str]) -> None:
    crash.data["elf_sha256"] = found[1]
    crash.data["fatal"] = True


KINDS: Mapping[str, str] = {
    "panic": "panic",
    "int_wdt": "interrupt watchdog",
    "task_wdt": "task watchdog",
    "rtc_wdt": "RTC watchdog",
    "cache_error": "cache error",
    "stack_overflow": "stack overflow",
    "heap": "heap trouble",
    "double_exception": "double exception",
    "abort": "abort",
    "assert": "assert",
    "esp_error": "ESP_ERROR_CHECK",
    "brownout": "brownout",
}
"""Words for each kind of first line; a plain panic has the processor's own."""

REGISTER = re.compile(r"\b([A-Z][A-Z0-9/]{0,7})\s*: 0x([0-9a-f]{8})\b")
FRAME = re.compile(r"\b0x([0-9a-f]{8}):0x([0-9a-f]{8})\b")
_TAG = r"^(?:E \(\d+\) \w+: ?)?"

DETAILS: Sequence[tuple[re.Pattern[str], Callable[[Crash, re.Match[str]], None]]] = tuple(
    (re.compile(pattern), take_it)
    for pattern, take_it in (
        # panic.c, panic_arch.c
        (r"Guru Meditation Error: Core\s+(\d+) panic'ed \(([^)]*)\)", _guru),
        (r"Debug exception reason: (.*)", _reason),
        (r'Detected in task "(.*)" at 0x', _says("task")),
        (r"^Stack (?:pointer|bounds): 0x", _nothing),
        (r"Core\s+(\d+) register dump:", _dump_of),
        (r"(?:^|\s)[A-Z][A-Z0-9/]{0,7}\s*: 0x[0-9a-f]{8}\b", _registers),
        (r"^Stack memory:", _nothing),
        (r"^[0-9a-f]{8}: ((?:0x[0-9a-f]{8}(?: |$))+)$", _stack),
        (r"^ELF file SHA256: ([0-9a-f]{8,64})$", _elf),
        (r"Rebooting\.\.\.|CPU halted\.|Panic handler entered multiple times", _restarts),
        # debug_helpers.c
        (r"\bBacktrace: ?0x|(?: ?\b0x[0-9a-f]{8}:0x[0-9a-f]{8}\b){2}", _backtrace),
        (r"Backtrace: *\|<-|^Backtrace:\s*$", _nothing),
        # abort.c, assert.c, newlib's assert.c, esp_err.c
        (r"abort\(\) was called at PC (0x[0-9a-f]+)(?: on core (\d))?", _abort),
        (r"assert failed: (\S+) (\S+):(\d+)(?: \((.*)\))?", _assert),
        (r"assertion \"(.*)\" failed: file \"(.*)\", line (\d+)(?:, function: (.*))?",
         _says("expression", "file", "line", "function")),
        (r"\S+ failed: esp_err_t (0x[0-9a-f]+)(?: \((\w+)\))? at (0x[0-9a-f]+)",
         _says("error", "error_name", "pc")),
        (r'^file: "(.*)" line (\d+)$', _says("file", "line")),
        (r"^func: (.*)", _says("function")),
        (r"^expression: (.*)", _says("expression")),
        # port.c, stack_check.c, multi_heap_poisoning.c
        (r"A stack overflow in task (.*) has been detected", _says("task")),
        (r"Stack smashing protect failure!", _nothing),
        (r"CORRUPT HEAP: (.*)", _says("reason")),
        (r"Mem alloc fail\. size (0x[0-9a-f]+)", _says("reason")),
        # task_wdt.c
        (r"Task watchdog got triggered\.", _nothing),
        (_TAG + r" ?- (.+ \(CPU \d.*\))$", _starved),
        (_TAG + r"Tasks currently running:", _nothing),
        (_TAG + r"CPU (\d): (.+)$", _ran),
        (_TAG + r"Aborting\.$", _fatal),
        (_TAG + r"Print CPU \d .*(?:backtrace|registers)", _nothing),
        # brownout.c
        (r"Brownout detector was triggered", _nothing),
        # core dump components
        (r"esp_core_dump_\w+: ", _nothing),
    )
)  # fmt: skip
"""What a line inside a crash tells; the first that is found. Sources stand above each group."""
