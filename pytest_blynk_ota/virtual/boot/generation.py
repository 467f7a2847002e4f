"""Which ESP-IDF an image was built with: logs changed from release to release.

Found by comparing the tags of espressif/esp-idf from v4.4 to v6.1 and the recorded logs.
"""

from __future__ import annotations

from pytest_blynk_ota.firmware.idf import BEFORE_RELEASE, Version, version

DEFAULT: Version = (5, 1, 4)
"""Of an image that does not say: Arduino core 3.0, and what our recipes say too."""

DATE_OF_BUILD: Version = (5, 1, 0)
"""The bootloader names the day too, before that the time alone (bootloader_init.c)."""
MAIN_TASK: Version = (5, 1, 0)
"""app_startup.c instead of one text for each processor port."""
QUIET_CORES: Version = (5, 2, 0)
"""``Pro cpu up.`` and the like are no longer said (cpu_start.c), nor which CPU schedules."""
SHORT_HASH: Version = (5, 2, 0)
"""CONFIG_APP_RETRIEVE_LEN_ELF_SHA is 9, before that 16."""
PLAIN_HEAPS: Version = (5, 2, 0)
"""Names of the heaps (memory_layout.c)."""
APP_INIT: Version = (5, 3, 0)
"""The application's description is printed by esp_app_desc.c and not by startup.c."""
EFUSE_REVISION: Version = (5, 3, 0)
"""The bootloader names the eFuse block's revision (bootloader_init.c)."""
PLAIN_LOG: Version = (5, 4, 0)
"""CONFIG_LOG_COLORS and CONFIG_BOOTLOADER_LOG_COLORS are off."""
CONSOLE_PINS: Version = (6, 0, BEFORE_RELEASE)
"""The console's pins are named (cpu_start.c)."""


def generation(text: str | None) -> Version:
    """``v5.1.4`` as (5, 1, 4)."""
    return version(text) or DEFAULT


def coloured(built: Version) -> bool:
    """Whether a build of this age colours its log, unless told otherwise."""
    return built < PLAIN_LOG
