"""What a line of the serial log means: one table of patterns, each row with its source.

Rows are searched anywhere in the line, because a line may follow a torn one without a line end
(`I (31) boets Jul 29 2019`). The bytes before that, colours and control characters included, are
made into lines by :class:`LineSplitter`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_LINE_CHARS = 4096
"""A line longer than this is noise (a wrong baud rate sends no line ends) and is cut here."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b-\x1f\x7f]")
_LINE_END = re.compile(r"\r\n|\n|\r")

Data = Mapping[str, Any]
Build = Callable[[re.Match[str]], Data | None]


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that a line says: ``kind`` and ``data`` of the event ``uart/<kind>``."""

    kind: str
    data: Data


@dataclass(frozen=True, slots=True)
class Row:
    """One known text: where it comes from and which mark it makes."""

    kind: str
    pattern: re.Pattern[str]
    build: Build
    source: str


def clean(text: str) -> str:
    """Remove ANSI escapes and control characters other than tab, and trailing space."""
    return _ESCAPES.sub("", text).rstrip()


class LineSplitter:
    """Makes lines of bytes that come in any pieces, with CR LF, LF or CR, garbage included.

    A lone CR ends a line too: progress such as ``\\r Flashing... 40%`` has no other end. Blank
    lines are dropped. Bytes that are no UTF-8 become U+FFFD.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""

    @property
    def rest(self) -> str:
        """The line that has not ended yet, cleaned."""
        return clean(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """Take bytes; returns the lines that they end."""
        *ended, self._rest = _LINE_END.split(self._rest + self._decode(data))
        while len(self._rest) > MAX_LINE_CHARS:
            ended.append(self._rest[:MAX_LINE_CHARS])
            self._rest = self._rest[MAX_LINE_CHARS:]
        return [line for line in map(clean, ended) if line]

    def flush(self) -> list[str]:
        """End the line that is under way, as when the board lost power in the middle of it."""
        return self.feed(b"\n")


def marks(line: str) -> Iterator[Mark]:
    """What one cleaned line says: all resets in it, and one mark of each other kind at most."""
    seen: set[str] = set()
    for row in ROWS:
        if row.kind in seen:
            continue
        for match in row.pattern.finditer(line):
            data = row.build(match)
            if data is None:
                continue
            yield Mark(row.kind, data)
            if row.kind != "reset":
                seen.add(row.kind)
                break


_ROM_BOOT_MODES = ("DOWNLOAD", "UART_BOOT", "USB_BOOT")
"""Boot modes in which the ROM waits for a host and does not look at flash."""


def _text(match: re.Match[str]) -> str:
    return match.string.strip()


def _reset(match: re.Match[str]) -> Data:
    code, cause, boot = match.groups()
    download = any(mode in (boot or "") for mode in _ROM_BOOT_MODES)
    return {"code": int(code, 16), "cause": cause, "download": download}


def _slot(match: re.Match[str]) -> Data:
    return {"offset": int(match[1], 16)}


def _app(field: str) -> Build:
    return lambda match: {"field": field, "value": match[1]}


def _what(what: str) -> Build:
    return lambda match: {"what": what, "text": _text(match)}


def _firmware(what: str, *numbers: str) -> Build:
    """A print of the firmware; the pattern's groups are whole numbers of these names."""

    def build(match: re.Match[str]) -> Data:
        values = {name: int(match[index]) for index, name in enumerate(numbers, 1) if match[index]}
        return {"what": what, "text": _text(match), **values}

    return build


def _status(match: re.Match[str]) -> Data | None:
    status = int(match[1])
    if 200 <= status < 300:
        return None
    return {"what": "http_status_refused", "text": _text(match), "status": status}


def _written(match: re.Match[str]) -> Data:
    done, total = int(match[1]), int(match[2])
    what = "short_body" if done < total else "written"
    return {"what": what, "text": _text(match), "done": done, "total": total}


def _url(match: re.Match[str]) -> Data:
    return {"what": "ota_url", "text": _text(match), "url": match[1]}


def _state(match: re.Match[str]) -> Data:
    return {"what": "ota_state", "text": _text(match), "from": match[1], "to": match[2]}


def _version(match: re.Match[str]) -> Data:
    return {"what": "version", "text": _text(match), "version": match[1], "build": match[2]}


def _row(kind: str, pattern: str, build: Build, source: str) -> Row:
    return Row(kind, re.compile(pattern), build, source)


_AT = r"^>?(?:\[\d+\](?:\[\w\]\[[^]]*\])? ?)?\s*"
"""Start of a Blynk print: ``[ms] `` (old Edgent) or ``[ms][E][file] `` (new), perhaps behind a
console's prompt."""

_ROM = (
    _row("reset", r"rst:0x([0-9a-f]+) \(([^)]+)\)(?:,boot:0x[0-9a-f]+(?: \((.+?)(?=rst:|$))?)?",
         _reset, "ROM"),
    _row("boot_error", r"invalid header: 0x[0-9a-f]{8}", _what("invalid_header"), "ROM"),
    _row("boot_error", r"flash read err, \d+", _what("flash_read"), "ROM"),
    _row("boot_error", r"csum err:0x\w+!=0x\w+", _what("bootloader_checksum"), "ROM"),
)  # fmt: skip

_BOOTLOADER = (
    _row("slot", r"Loaded app from partition at offset 0x([0-9a-f]+)", _slot,
         "bootloader_utility.c"),
    _row("boot_error", r"No bootable app partitions", _what("no_bootable_app"),
         "bootloader_utility.c"),
    _row("boot_error", r"(?:OTA app partition slot \d+|Factory(?: test)? app partition) is not "
         r"bootable", _what("slot_not_bootable"), "bootloader_utility.c"),
    _row("boot_error", r"ota data partition invalid", _what("otadata_invalid"),
         "bootloader_utility.c"),
    _row("boot_error", r"ota_info partition size \d+ is too small", _what("otadata_size"),
         "bootloader_utility.c"),
    _row("boot_error", r"Failed to verify partition table|load partition table error!",
         _what("no_table"), "bootloader_utility.c, bootloader_start.c"),
    _row("boot_error", r"flash_parts: Incorrect MD5 checksum|partition \d+ invalid",
         _what("no_table"), "flash_partitions.c"),
    _row("boot_error", r"has invalid magic byte|bad image magic", _what("bad_magic"),
         "esp_image_format.c"),
    _row("boot_error", r"Checksum failed\. Calculated 0x\w+ read 0x\w+", _what("checksum"),
         "esp_image_format.c"),
    _row("boot_error", r"Image hash failed", _what("image_hash"), "esp_image_format.c"),
    _row("boot_error", r"Image length \d+ doesn't fit", _what("too_long"), "esp_image_format.c"),
    _row("boot_error", r"image at 0x\w+ segment count|invalid segment (?:count|length)|"
         r"segment \d+ (?:load address|length) .*invalid|too short for app description",
         _what("segments"), "esp_image_format.c"),
    _row("boot_error", r"mismatch chip ID, expected \d+, found \d+", _what("chip_id"),
         "bootloader_common_loader.c"),
    _row("boot_error", r"chip revision check failed|requires chip rev|"
         r"Image requires (?:efuse|chip)", _what("chip_revision"), "bootloader_common_loader.c"),
)  # fmt: skip

# A value that runs into the next line (the UART loses bytes when its clock changes) must not pass
# for a version: hence the strict ends.
_INIT = r"(?:app_init|cpu_start): "
_APP = (
    _row("app", _INIT + r"Project name:\s+((?!.*[EWIDV] \(\d+\) )\S.*)$", _app("project"),
         "esp_app_desc.c; cpu_start.c up to IDF 5.0"),
    _row("app", _INIT + r"App version:\s+(\S+(?<!\.\.\.))$", _app("version"), "the same"),
    _row("app", _INIT + r"ESP-IDF:\s+(\S+)$", _app("idf"), "the same"),
    _row("app", _INIT + r"ELF file SHA256:\s+([0-9a-f]{8,64})(?:\.\.\.)?$", _app("elf_sha256"),
         "the same"),
    _row("app", r"^ELF file SHA256: ([0-9a-f]{8,64})$", _app("elf_sha256"), "panic.c"),
)  # fmt: skip

_CRASHES = (
    ("int_wdt", r"Interrupt wdt timeout on CPU[01]", "panic_arch.c"),
    ("cache_error", r"Cache (?:disabled but cached memory|error)", "panic_arch.c"),
    ("stack_overflow", r"Stack canary watchpoint triggered|A stack overflow in task .* has been|"
     r"Stack smashing protect failure!|Stack protection fault", "panic_arch.c, port.c"),
    ("heap", r"CORRUPT HEAP:|Mem alloc fail\. size 0x", "heap, heap_caps.c"),
    ("panic", r"Guru Meditation Error: Core\s+\d+ panic'ed|Double exception", "panic.c"),
    ("abort", r"abort\(\) was called at PC 0x[0-9a-f]+", "abort.c"),
    ("assert", r"assert failed: |assertion \".*\" failed", "assert.c, newlib"),
    ("esp_error", r"\S+ failed: esp_err_t 0x[0-9a-f]+", "esp_err.c"),
    ("task_wdt", r"Task watchdog got triggered\.", "task_wdt.c"),
    ("brownout", r"Brownout detector was triggered", "brownout.c"),
    ("rtc_wdt", r"RTC (?:WDT|watchdog) (?:timeout|triggered)", "rtc_wdt.c"),
)  # fmt: skip

# blynk.cc firmware: old = blynk-library examples/Blynk.Edgent, new = Edgent-Arduino src/,
# 8266 = examples/Blynk.Edgent/Edgent_ESP8266, lib = BlynkProtocol.h.
_FIRMWARE = (
    _row("firmware", r"(\w[\w ]*?) => (OTA[_ ]UPGRADE)\b", _state, "old, new BlynkState.h"),
    _row("firmware", r"(OTA[_ ]UPGRADE) => (\w+(?: \w+)*)", _state, "old, new BlynkState.h"),
    _row("firmware", r"(?:Firmware update URL|OTA): (\S+://\S+)", _url, "old OTA.h; new, 8266"),
    _row("firmware", r"HTTP response should be 200", _firmware("http_status_refused"), "old OTA.h"),
    _row("firmware", r"HTTP status code: (-?\d+)", _status, "new"),
    _row("firmware", r"Content-Length not defined|Content-Length .*too small",
         _firmware("no_length"), "old OTA.h, new, 8266"),
    _row("firmware", r"OTA written (\d+) / (\d+)", _written, "old OTA.h"),
    _row("firmware", r"Interrupted at (\d+)(?: ?/ ?(\d+))?", _firmware("short_body", "done",
         "total"), "new"),
    _row("firmware", r"Write failed\. Written (\d+)(?: ?/ ?(\d+))?", _firmware("short_body", "done",
         "total"), "8266"),
    _row("firmware", r"Flashing\.\.\. (\d+)%", _firmware("progress", "percent"), "new"),
    _row("firmware", r"Error #(\d+)", _firmware("update_error", "code"), "old OTA.h"),
    _row("firmware", r"Update failed\.|Update not ended", _firmware("update_error"),
         "old OTA.h, 8266"),
    _row("firmware", r"SHA256 mismatch|Firmware validation failed: |X-SHA256 not defined|"
         r"Invalid X-SHA256 value", _firmware("hash_mismatch"), "new"),
    _row("firmware", r"Not enough space to (?:begin OTA|store the update)|OTA begin failed",
         _firmware("no_space"), "old OTA.h, new, 8266"),
    _row("firmware", rf"{_AT}(?:Cannot (?:connect|parse URL)|Connection failed)",
         _firmware("connect_failed"), "new, 8266"),
    _row("firmware", rf"Response timeout|{_AT}Timeout$", _firmware("timeout"), "new, 8266"),
    _row("firmware", r"=== Update successfully completed\. Rebooting\.", _firmware("success"),
         "old, new, 8266"),
    _row("firmware", r"Restarting after error\.", _firmware("error_restart"), "old, new ESP32"),
    _row("firmware", rf"{_AT}Firmware:\s+(\S+)(?: \(build (.+?)\))?", _version,
         "old BlynkEdgent.h printDeviceBanner"),
    _row("firmware", r"Connect failed\. code: (\d+)", _firmware("login_failed", "code"), "lib"),
    _row("firmware", r"Login timeout|Invalid auth token", _firmware("login_failed"), "lib"),
    _row("firmware", r"Heartbeat timeout", _firmware("heartbeat_timeout"), "lib"),
)  # fmt: skip

ROWS: tuple[Row, ...] = (
    *_ROM,
    *_BOOTLOADER,
    *_APP,
    *(_row("crash", pattern, _what(what), source) for what, pattern, source in _CRASHES),
    *_FIRMWARE,
)
"""Every known text, the special before the general."""

ROM_BANNER = _ROM[0].pattern
"""The ROM's reset line, the first that every boot prints."""
WAITING_FOR_DOWNLOAD = re.compile(r"waiting for download")
"""The ROM's last line before it listens as a loader; source: ROM."""
