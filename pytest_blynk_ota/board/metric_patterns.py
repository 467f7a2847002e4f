"""Numbers that a firmware prints of itself: one table, each row with its source.

A rig file may add its own (:func:`own_metric`). The names are of one vocabulary with those that are
worked out from other evidence (``verdict/metrics.py``): ``docs/reference/metrics.md`` lists both.
"""

from __future__ import annotations

import re

from pytest_blynk_ota.board.rows import Build, Data, Row, row

FREE_HEAP, LEAST_HEAP, BLOCK_HEAP, RSSI, PING = (
    "free heap",
    "min free heap",
    "largest free block",
    "rssi",
    "cloud ping",
)
BYTES, DBM, MILLISECONDS = "B", "dBm", "ms"

NAME = re.compile(r"[a-z0-9][a-z0-9 _./-]{0,39}")
"""Names of metrics."""


def _number(name: str, unit: str) -> Build:
    def build(match: re.Match[str]) -> Data | None:
        try:
            value = float(match[1])
        except (TypeError, ValueError, OverflowError):  # a group that matched nothing, or words
            return None
        if value - value != 0:  # infinite, or no number: JSON has no word for it
            return None
        return {
            "name": name,
            "value": int(value) if value == int(value) else value,
            "unit": unit,
        }

    return build


def own_metric(name: str, pattern: str, unit: str) -> Row:
    """A metric of the rig file. Its pattern has been checked: one group, a number of it.

    Raises:
        re.error: the pattern is none.
    """
    return Row("metric", re.compile(pattern), _number(name, unit), "the rig file")


_EDGENT = "old Edgent Console.h `sys info`; new Edgent NetMgrConsole"
_HEAP = r"(?:heap|Heap|HEAP)"
_DEBUG_REPORT = "Arduino's chip-debug-report.cpp (core 3)"

METRIC_ROWS: tuple[Row, ...] = tuple(
    row("metric", pattern, _number(name, unit), source, *needles)
    for name, pattern, unit, source, *needles in (
        (FREE_HEAP, r"\bFree mem:\s+(\d+)$", BYTES, "old BlynkEdgent.h printDeviceBanner",
         "Free mem:"),
        (FREE_HEAP, r"Heap free:\s+(\d+) / \d+", BYTES, _EDGENT, "Heap free:"),
        (BLOCK_HEAP, r"^\s*max alloc:\s+(\d+)$", BYTES, _EDGENT, "max alloc:"),
        (LEAST_HEAP, r"^\s*min free:\s+(\d+)$", BYTES, _EDGENT, "min free:"),
        (LEAST_HEAP, r"Minimum free heap size: (\d+) bytes", BYTES,
         "ESP-IDF examples/get-started/hello_world", "Minimum free heap size:"),
        (FREE_HEAP, r"^\s*Free Bytes\s*:\s*(\d+) B", BYTES, _DEBUG_REPORT, "Free Bytes"),
        (LEAST_HEAP, r"^\s*Min Free Bytes\s*:\s*(\d+) B", BYTES, _DEBUG_REPORT, "Min Free Bytes"),
        (BLOCK_HEAP, r"^\s*Largest Free Block\s*:\s*(\d+) B", BYTES, _DEBUG_REPORT,
         "Largest Free Block"),
        # No text of one program, but what sketches write when they watch their heap: "free heap
        # 123456", "Free heap: 123456", "heap=123456".
        (FREE_HEAP, rf"^(?!.*\b(?i:min|minimum|total|largest|max|used)\b).*?"
         rf"\b(?:(?i:free)[ _]{_HEAP}(?:[ _](?i:size))?|{_HEAP}(?:[ _](?i:free))?)"
         rf"\b\W{{0,8}}(\d{{3,}})\b(?! ?Ki?B)", BYTES,
         "habit", "heap", "Heap", "HEAP"),
        (RSSI, r"wifi: ?security.*\brssi: (-?\d{1,3})$", DBM, "ESP-IDF's Wi-Fi library",
         "rssi: "),
        (RSSI, r"WiFi connected \(IP: [^,)]*, RSSI: (-?\d{1,3})\)", DBM,
         "new Edgent NetMgr", "RSSI: "),
        (RSSI, r"^mac:\S+ ip:\S+ \(.* (-\d{1,3})dBm\)$", DBM, "old Edgent Console.h `wifi show`",
         "dBm)"),
        (RSSI, r"^ssid:.* bssid:\S+ rssi:(-?\d{1,3})dBm$", DBM, "new Edgent console `wifi`",
         "rssi:"),
        (PING, r"Ready \(ping: (\d+)ms\)", MILLISECONDS, "BlynkProtocol.h", "Ready (ping:"),
    )
)  # fmt: skip
"""Every known metric."""
