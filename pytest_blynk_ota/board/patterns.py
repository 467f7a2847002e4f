"""What a line of the serial log means: one table of patterns, each row with its source.

Rows are searched anywhere in the line, because a line may follow a torn one without a line end
(`I (31) boets Jul 29 2019`). The bytes before that, colours and control characters included, are
made into lines by :class:`~pytest_blynk_ota.board.lines.LineSplitter`; what takes several lines,
as a crash does, is put together by :class:`~pytest_blynk_ota.board.log.LogReader`.

Each row names literal texts of which one stands in every line that it matches: a log of many
megabytes is looked through for those, and only the lines that hold one are searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pytest_blynk_ota.board.lines import MAX_LINE_CHARS as MAX_LINE_CHARS
from pytest_blynk_ota.board.lines import LineSplitter as LineSplitter
from pytest_blynk_ota.board.lines import clean as clean
from pytest_blynk_ota.board.metric_patterns import METRIC_ROWS
from pytest_blynk_ota.board.rows import Build, Data, Mark, Row, row

REPEATED = frozenset({"reset", "metric"})
"""Kinds of which one line may tell several; metrics of different names."""


def marks(line: str, rows: Sequence[Row] | None = None) -> Iterator[Mark]:
    """What one cleaned line says: all resets and metrics in it, and one mark of each other kind
    at most.

    Args:
        rows: those that can match it; all of the table if None.
    """
    seen: set[str] = set()
    for one in [known for known in ROWS if known.may_match(line)] if rows is None else rows:
        if one.kind in seen:
            continue
        for match in one.pattern.finditer(line):
            data = one.build(match)
            key = f"metric {data['name']}" if data and one.kind == "metric" else one.kind
            if data is None or key in seen:
                continue
            yield Mark(one.kind, data)
            if one.kind != "reset":
                seen.add(key)
            if one.kind not in REPEATED:
                break


_ROM_BOOT_MODES = ("DOWNLOAD", "UART_BOOT", "USB_BOOT")
"""Boot modes in which the ROM waits for a host and does not look at flash."""


def _text(match: re.Match[str]) -> str:
    return match.string.strip()


def _reset(match: re.Match[str]) -> Data:
    code, cause, strap, boot = match.groups()
    download = any(mode in (boot or "") for mode in _ROM_BOOT_MODES)
    told: dict[str, Any] = {"code": int(code, 16), "cause": cause, "download": download}
    return told | ({"boot": int(strap, 16)} if strap else {})


def _slot(match: re.Match[str]) -> Data:
    return {"offset": int(match[1], 16)}


def _app(field: str) -> Build:
    return lambda match: {"field": field, "value": match[1]}


def _boot(what: str, *names: str) -> Build:
    """Something that the ROM or the bootloader tells of a boot that is no error; the pattern's
    groups are texts of these names."""

    def build(match: re.Match[str]) -> Data:
        told = {name: match[at] for at, name in enumerate(names, 1) if match[at]}
        return {"what": what, "text": _text(match), **told}

    return build


def _partition(match: re.Match[str]) -> Data:
    label, type_, subtype, offset, size = match.groups()
    numbers = {"type": type_, "subtype": subtype, "offset": offset, "size": size}
    return {"what": "partition", "text": _text(match), "label": label.strip()} | {
        name: int(number, 16) for name, number in numbers.items()
    }


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


_AT = r"^>?(?:\[\d+\](?:\[\w\]\[[^]]*\])? ?)?\s*"
"""Start of a Blynk print: ``[ms] `` (old Edgent) or ``[ms][E][file] `` (new), perhaps behind a
console's prompt."""

_ROM = (
    row("reset", r"rst:0x([0-9a-f]{1,8}) \(([^)]+)\)"
        r"(?:,boot:0x([0-9a-f]{1,8})\b(?: \((.+?)(?=rst:|$))?)?",
         _reset, "ROM", "rst:0x"),
    row("boot", r"ESP-ROM:(esp32\w*)-\S+", _boot("rom", "chip"), "ROM of all but the ESP32",
         "ESP-ROM:"),
    row("boot", r"Saved PC:0x([0-9a-f]{8})", _boot("saved_pc", "pc"),
         "ROM of all but the ESP32, after a reset that was no power-on", "Saved PC:"),
    row("boot_error", r"invalid header: 0x[0-9a-f]{8}", _what("invalid_header"), "ROM",
         "invalid header: 0x"),
    row("boot_error", r"flash read err, \d+", _what("flash_read"), "ROM", "flash read err,"),
    row("boot_error", r"csum err:0x\w+!=0x\w+", _what("bootloader_checksum"), "ROM",
         "csum err:0x"),
    row("boot_error", r"Checksum failure\. Calculated 0x\w+ stored 0x\w+",
         _what("bootloader_checksum"), "ROM of all but the ESP32", "Checksum failure."),
    row("boot_error", r"Invalid image block, can't boot", _what("bootloader_segments"),
         "ROM of all but the ESP32", "Invalid image block"),
    row("boot", r"SHA-256 comparison failed:", _boot("bootloader_hash_ignored"),
        "ROM of all but the ESP32: it boots anyway", "SHA-256 comparison failed:"),
    row("boot_error", r"ets_main\.c \d+|Falling back to built-in command interpreter",
        _what("rom_gives_up"), "ROM", "ets_main.c", "built-in command interpreter"),
)  # fmt: skip

_BOOTLOADER = (
    row("slot", r"Loaded app from partition at offset 0x([0-9a-f]{1,8})(?![0-9a-f])", _slot,
        "bootloader_utility.c", "Loaded app from partition"),
    row("boot_error", r"No bootable app partitions", _what("no_bootable_app"),
         "bootloader_utility.c", "No bootable app partitions"),
    row("boot_error", r"(?:OTA app partition slot \d+|Factory(?: test)? app partition) is not "
         r"bootable", _what("slot_not_bootable"), "bootloader_utility.c", "is not bootable"),
    row("boot_error", r"ota data partition invalid", _what("otadata_invalid"),
         "bootloader_utility.c", "ota data partition invalid"),
    row("boot_error", r"ota_info partition size \d+ is too small", _what("otadata_size"),
         "bootloader_utility.c", "ota_info partition size"),
    row("boot_error", r"Failed to verify partition table|load partition table error!",
         _what("no_table"), "bootloader_utility.c, bootloader_start.c", "partition table"),
    row("boot_error", r"flash_parts: Incorrect MD5 checksum|partition \d+ invalid",
         _what("no_table"), "flash_partitions.c", "Incorrect MD5 checksum", "partition "),
    row("boot_error", r"has invalid magic byte|bad image magic", _what("bad_magic"),
         "esp_image_format.c", "has invalid magic byte", "bad image magic"),
    row("boot_error", r"Checksum failed\. Calculated 0x\w+ read 0x\w+", _what("checksum"),
         "esp_image_format.c", "Checksum failed."),
    row("boot_error", r"Image hash failed", _what("image_hash"), "esp_image_format.c",
         "Image hash failed"),
    row("boot_error", r"Image length \d+ doesn't fit", _what("too_long"), "esp_image_format.c",
         "Image length"),
    row("boot_error", r"image at 0x\w+ segment count|invalid segment (?:count|length)|"
         r"segment \d+ (?:load address|length) .*invalid|too short for app description",
         _what("segments"), "esp_image_format.c", "segment", "too short for app description"),
    row("boot_error", r"mismatch chip ID, expected \d+, found \d+", _what("chip_id"),
         "bootloader_common_loader.c", "mismatch chip ID"),
    row("boot_error", r"chip revision check failed|requires chip rev|"
         r"Image requires (?:efuse|chip)", _what("chip_revision"), "bootloader_common_loader.c",
         "chip revision check failed", "requires chip rev", "Image requires"),
    row("boot", r"boot: ESP-IDF (\S+) 2nd stage bootloader", _boot("bootloader", "idf"),
         "bootloader_init.c", "2nd stage bootloader"),
    row("boot", r"boot: chip revision: (v\d+\.\d+)", _boot("chip_revision", "revision"),
         "bootloader_init.c", "chip revision: v"),
    row("boot", r"\) boot:  ?\d+ (\S.{15}) .{16} ([0-9a-f]{2}) ([0-9a-f]{2}) ([0-9a-f]{8}) "
         r"([0-9a-f]{8})$", _partition, "bootloader_utility.c", ") boot: "),
    row("boot", r"Defaulting to factory image", _boot("defaults_to_factory"),
         "bootloader_utility.c", "Defaulting to factory image"),
    row("boot", r"No factory image, trying OTA 0", _boot("tries_slot_0"),
         "bootloader_utility.c", "No factory image, trying OTA 0"),
    row("boot", r"Set actual ota_seq=(\d+) in otadata\[(\d)\]", _boot("otadata_set", "ota_seq",
         "entry"), "bootloader_utility.c", "Set actual ota_seq="),
    row("boot", r"Falling back to test app", _boot("test_app"), "bootloader_utility.c",
         "Falling back to test app"),
    row("boot", r"(PRO|APP) CPU has been reset by WDT", _boot("reset_by_watchdog", "cpu"),
         "bootloader_init.c of the ESP32", "has been reset by WDT"),
)  # fmt: skip

# A value that runs into the next line (the UART loses bytes when its clock changes) must not pass
# for a version: hence the strict ends.
_INIT = r"(?:app_init|cpu_start): "
_APP = (
    row("app", _INIT + r"Project name:\s+((?!.*[EWIDV] \(\d+\) )\S.*)$", _app("project"),
         "esp_app_desc.c; cpu_start.c up to IDF 5.0", "Project name:"),
    row("app", _INIT + r"App version:\s+(\S+(?<!\.\.\.))$", _app("version"), "the same",
         "App version:"),
    row("app", _INIT + r"ESP-IDF:\s+(\S+)$", _app("idf"), "the same", "ESP-IDF:"),
    row("app", _INIT + r"ELF file SHA256:\s+([0-9a-f]{8,64})(?:\.\.\.)?$", _app("elf_sha256"),
         "the same", "ELF file SHA256:"),
    row("app", r"^ELF file SHA256: ([0-9a-f]{8,64})$", _app("elf_sha256"), "panic.c",
         "ELF file SHA256:"),
)  # fmt: skip

# The first line of a crash; what its further lines tell is in crash_lines.py.
_CRASHES = (
    ("int_wdt", r"Interrupt wdt timeout on CPU[01]", "panic_arch.c", "Interrupt wdt timeout"),
    ("cache_error", r"Cache (?:disabled but cached memory|error)", "panic_arch.c", "Cache "),
    ("stack_overflow", r"Stack canary watchpoint triggered|A stack overflow in task .* has been|"
     r"Stack smashing protect failure!|Stack protection fault",
     "panic_arch.c, port.c, stack_check.c", "Stack ", "A stack overflow"),
    ("heap", r"CORRUPT HEAP:|Mem alloc fail\. size 0x", "multi_heap_poisoning.c, heap_caps.c",
     "CORRUPT HEAP:", "Mem alloc fail."),
    ("double_exception", r"Double exception", "panic_arch.c of Xtensa", "Double exception"),
    ("panic", r"Guru Meditation Error: Core\s+\d+ panic'ed", "panic.c", "Guru Meditation Error"),
    ("abort", r"abort\(\) was called at PC 0x[0-9a-f]+", "abort.c", "abort() was called"),
    ("assert", r"assert failed: |assertion \".*\" failed", "assert.c, newlib", "assert failed: ",
     'assertion "'),
    ("esp_error", r"\S+ failed: esp_err_t 0x[0-9a-f]+", "esp_err.c", "failed: esp_err_t"),
    ("task_wdt", r"Task watchdog got triggered\.", "task_wdt.c", "Task watchdog got triggered."),
    ("brownout", r"Brownout detector was triggered", "brownout.c", "Brownout detector"),
    ("rtc_wdt", r"RTC (?:WDT|watchdog) (?:timeout|triggered)", "rtc_wdt.c", "RTC "),
)  # fmt: skip

# blynk.cc firmware: old = blynk-library examples/Blynk.Edgent, new = Edgent-Arduino src/,
# 8266 = examples/Blynk.Edgent/Edgent_ESP8266, lib = BlynkProtocol.h.
_FIRMWARE = (
    row("firmware", r"(\w[\w ]*?) => (OTA[_ ]UPGRADE)\b", _state, "old, new BlynkState.h",
         "OTA_UPGRADE", "OTA UPGRADE"),
    row("firmware", r"(OTA[_ ]UPGRADE) => (\w+(?: \w+)*)", _state, "old, new BlynkState.h",
         "OTA_UPGRADE", "OTA UPGRADE"),
    row("firmware", r"(?:Firmware update URL|OTA): (\S+://\S+)", _url, "old OTA.h; new, 8266",
         "Firmware update URL:", "OTA: "),
    row("firmware", r"HTTP response should be 200", _firmware("http_status_refused"), "old OTA.h",
         "HTTP response should be 200"),
    row("firmware", r"HTTP status code: (-?\d+)", _status, "new", "HTTP status code:"),
    row("firmware", r"Content-Length not defined|Content-Length .*too small",
         _firmware("no_length"), "old OTA.h, new, 8266", "Content-Length "),
    row("firmware", r"OTA written (\d+) / (\d+)", _written, "old OTA.h", "OTA written"),
    row("firmware", r"Interrupted at (\d+)(?: ?/ ?(\d+))?", _firmware("short_body", "done",
         "total"), "new", "Interrupted at"),
    row("firmware", r"Write failed\. Written (\d+)(?: ?/ ?(\d+))?", _firmware("short_body", "done",
         "total"), "8266", "Write failed. Written"),
    row("firmware", r"Flashing\.\.\. (\d+)%", _firmware("progress", "percent"), "new",
         "Flashing..."),
    row("firmware", r"Error #(\d+)", _firmware("update_error", "code"), "old OTA.h", "Error #"),
    row("firmware", r"Update failed\.|Update not ended", _firmware("update_error"),
         "old OTA.h, 8266", "Update failed.", "Update not ended"),
    row("firmware", r"SHA256 mismatch|Firmware validation failed: |X-SHA256 not defined|"
         r"Invalid X-SHA256 value", _firmware("hash_mismatch"), "new", "SHA256 mismatch",
         "Firmware validation failed: ", "X-SHA256"),
    row("firmware", r"Not enough space to (?:begin OTA|store the update)|OTA begin failed",
         _firmware("no_space"), "old OTA.h, new, 8266", "Not enough space to",
         "OTA begin failed"),
    row("firmware", rf"{_AT}(?:Cannot (?:connect|parse URL)|Connection failed)",
         _firmware("connect_failed"), "new, 8266", "Cannot ", "Connection failed"),
    row("firmware", rf"Response timeout|{_AT}Timeout$", _firmware("timeout"), "new, 8266",
         "Response timeout", "Timeout"),
    row("firmware", r"=== Update successfully completed\. Rebooting\.", _firmware("success"),
         "old, new, 8266", "=== Update successfully"),
    row("firmware", r"Restarting after error\.", _firmware("error_restart"), "old, new ESP32",
         "Restarting after error."),
    row("firmware", rf"{_AT}Firmware:\s+(\S+)(?: \(build (.+?)\))?", _version,
         "old BlynkEdgent.h printDeviceBanner", "Firmware:"),
    row("firmware", r"MicroPython (v\S+) on (\d{4}-\d\d-\d\d)", _version,
         "MicroPython's shared/runtime/pyexec.c", "MicroPython v"),
    row("firmware", r"Connect failed\. code: (\d+)", _firmware("login_failed", "code"), "lib",
         "Connect failed."),
    row("firmware", r"Login timeout|Invalid auth token", _firmware("login_failed"), "lib",
         "Login timeout", "Invalid auth token"),
    row("firmware", r"Heartbeat timeout", _firmware("heartbeat_timeout"), "lib",
         "Heartbeat timeout"),
    row("firmware", r"OTA Succeed, Rebooting", _firmware("success"),
         "Blynk's MQTT sample, with esp_https_ota", "OTA Succeed, Rebooting"),
    row("firmware", r"Firmware upgrade failed", _firmware("update_error"),
         "Blynk's MQTT sample, with esp_https_ota", "Firmware upgrade failed"),
    row("firmware", r"Packet too big: (\d+)", _firmware("packet_too_big", "bytes"), "lib",
         "Packet too big:"),
    row("firmware", r"Rollback to previously worked partition\.", _firmware("rolls_back"),
         "esp_ota_ops.c", "Rollback to previously"),
    row("firmware", r"Rollback is not possible", _firmware("rollback_failed"), "esp_ota_ops.c",
         "Rollback is not possible"),
    row("firmware", r"Running app has not confirmed state", _firmware("not_confirmed"),
         "esp_ota_ops.c", "has not confirmed state"),
    row("firmware", r"New image failed verification", _firmware("update_error"),
         "esp_ota_ops.c", "New image failed verification"),
)  # fmt: skip

ADDRESS = row(
    "address",
    r"(?:(?:Dynamic|Static) IP|\] IP|got ip|sta ip): ?((?!0\.)\d{1,3}(?:\.\d{1,3}){3})\b",
    lambda match: {"address": match[1]},
    "old ConfigMode.h, lib BlynkSimpleEsp32.h, IDF's examples, esp_netif_handlers.c",
    "Dynamic IP: ", "Static IP: ", "] IP: ", "got ip:", "sta ip: ",
)  # fmt: skip
"""The address that a board has in its network. It is not in ROWS: few rigs have a use for it."""

ROWS: tuple[Row, ...] = (
    *_ROM,
    *_BOOTLOADER,
    *_APP,
    *(
        row("crash", pattern, _what(what), source, *needles)
        for what, pattern, source, *needles in _CRASHES
    ),
    *_FIRMWARE,
    *METRIC_ROWS,
)
"""Every known text, the special before the general."""

ROM_BANNER = _ROM[0].pattern
"""The ROM's reset line, the first that every boot prints."""
DOWNLOAD_CLOSED = re.compile(r"Download mode is disabled")
"""What it says instead where an eFuse forbids that; source: ROM of the ESP32, esp-idf#6106."""
WAITING_OR_NOT = re.compile(rf"waiting for download|{DOWNLOAD_CLOSED.pattern}")
"""The ROM's last line before it listens as a loader, or does not; source: ROM."""
