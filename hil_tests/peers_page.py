"""The peers' own tests, and which scenario of ours each of them is::

python hil_tests/peers_page.py > docs/reference/peers.md
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from catalogue import scenarios

PEERS: Mapping[str, tuple[str, str]] = {
    "I": (
        "ESP-IDF",
        "`a`, `n`, `s`, `p`: pytest files of the examples advanced_https_ota, native_ota_example, "
        "simple_ota_example, partitions_ota; `u`: components/app_update/test_apps",
    ),
    "D": ("AWS IoT Device Tester", "its OTAE2E cases"),
    "P": ("FreeRTOS", "its otaPal tests"),
    "G": ("Golioth", "tests/hil/tests/ota of golioth-firmware-sdk"),
    "g": ("Golioth, samples", "pytest files of the fw_update examples"),
    "M": (
        "Mender",
        "integration tests: `ft` fault_tolerance, `bi` basic_integration, `uf` "
        "image_update_failures, `ab`, `re` deployment_aborting and _retry, `ss` state_scripts, "
        "`sg` signed_image_update, `se` security, `gr` grouping, `mtls`",
    ),
    "B": ("MCUboot", "sim/tests/core.rs"),
    "K": ("aktualizr", "tests/test_*_failure.py"),
    "R": ("RAUC", "test/nginx.conf, test_http.py"),
    "X": ("toxiproxy", "its toxics: faults, no tests"),
}
HEAD = """# What the peers test

Other projects' tests of an update, each with the scenario of the [catalogue](catalogue.md) that
does the same here. The letter before a colon is the one in the catalogue's column *Peers*. Read
in snapshots of 2024 to 2026; a scenario that is *not here* has its reason in the catalogue.

Other words of that column: **ED**, **EN** Blynk's old and new Edgent, **UP** arduino-esp32's
Updater.cpp, **F** ESP-IDF's bootloader source, **AE**, **IDF**, **EH**, **TB**, **OP** issues of
arduino-esp32, esp-idf, esphome, tronbyt and ESP32-OTA-Pull, **BC** Blynk's forum, **BA** Blynk's
documents.
"""
CASE = re.compile(r"(?:^|\s)([IDPGMBKRX]):([^\s,]+(?:, [a-z0-9][^\s,:]*(?![:\w]))*)")
SAMPLE = re.compile(r"(?:^|\s)g\.(\S+)")


def cases() -> dict[str, dict[str, list[str]]]:
    """Letter of a peer to its cases, each with ids of ours."""
    found: dict[str, dict[str, list[str]]] = {letter: {} for letter in PEERS}
    for one in scenarios().values():
        text = re.sub(r"\([^)]*\)", "", one.peers)
        for letter, listed in CASE.findall(text):
            for case in listed.split(", "):
                found[letter].setdefault(case, []).append(one.id)
        for case in SAMPLE.findall(text):
            found["g"].setdefault(case, []).append(one.id)
    return found


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for letter, listed in cases().items():
        name, where = PEERS[letter]
        lines += [f"## {name}", "", f"**{letter}**: {where}.", "", "| Case | Ours |", "|---|---|"]
        lines += [f"| {case} | {_ours(ids)} |" for case, ids in listed.items()]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _ours(ids: list[str]) -> str:
    known = scenarios()
    return ", ".join(f"{id} (not here)" if known[id].not_here else id for id in ids)


if __name__ == "__main__":
    sys.stdout.write(page())
