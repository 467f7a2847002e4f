"""Since when ESP-IDF's bootloader does what: the few rules that changed between its versions.

Found by comparing the tags of espressif/esp-idf from v4.4 to v6.1; fixes also went to the older
release branches, so a rule has one first version on each of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Version = tuple[int, int, int]

NEWEST: Version = (6, 0, 0)
"""What a bootloader of unknown age is taken for: the last release with a number of its own."""

BEFORE_RELEASE = -1
"""Patch number of ``v6.0-dev``: it comes before v6.0 and behind all of v5.x."""

FULL_REVISIONS = "full revisions"
"""min_chip_rev_full and max_chip_rev_full are looked at, not the one byte before them."""
REVISION_CHECK_FAILED = "revision check failed"
"""The line is ``chip revision check failed. Required …``, before that ``Image requires …``."""
EFUSE_BLOCK = "efuse block"
"""The eFuse block revisions in the app description are looked at (not on the ESP32)."""
DESCRIPTION_FITS = "description fits"
"""The first segment must have room for an app description."""
TABLE_NOT_BLANK = "table not blank"
"""A blank table is refused; before that it is a table without partitions."""
NO_WRAP = "no wrap"
"""An offset and a size whose sum wraps around 32 bits are refused as well."""

SINCE: Mapping[str, tuple[Version, ...]] = {
    FULL_REVISIONS: ((4, 4, 5), (5, 0, 1)),  # bootloader_common_loader.c
    REVISION_CHECK_FAILED: ((5, 5, 0),),  # bootloader_common_loader.c
    EFUSE_BLOCK: ((5, 1, 7), (5, 2, 3), (5, 3, 2), (5, 4, 0)),  # esp_image_format.c
    DESCRIPTION_FITS: ((6, 2, BEFORE_RELEASE),),  # esp_image_format.c
    TABLE_NOT_BLANK: ((5, 5, 0),),  # flash_partitions.c
    NO_WRAP: ((6, 1, 0),),  # flash_partitions.c
}
"""First version on each release branch; the last one holds for all branches behind it."""

TEXT = re.compile(r"v?(\d{1,3})\.(\d{1,3})(?:\.(\d{1,4}))?(-dev\b)?")


def version(text: str | None) -> Version | None:
    """``v5.0.1-751-g96c4ec8df2`` as (5, 0, 1); ``None``: it is no version."""
    found = TEXT.match(text or "")
    if found is None:
        return None
    major, minor, patch, dev = found.groups()
    return int(major), int(minor), BEFORE_RELEASE if dev else int(patch or 0)


def holds(rule: str, idf: str | None) -> bool:
    """Whether a bootloader of this version follows the rule."""
    own = version(idf) or NEWEST
    firsts = SINCE[rule]
    for first in firsts:
        if first[:2] == own[:2]:
            return own >= first
    return own > firsts[-1]
