"""What a policy may ask for by one word: groups of the catalogue's scenarios. Data.

All but ROLLBACK run with one ``.bin`` of a user's own; its scenarios need images that misbehave
when told to. None of them waits for the night.
"""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "BLYNKOTA_"
"""Before a property's name where it is attested."""

PROPERTIES: Mapping[str, tuple[str, ...]] = {
    # it gets there, again and again, and says so
    "UPGRADE": ("H1", "H2", "H10"),
    # a download that stands still ends, and the next one gets through
    "STALL_RECOVERY": ("D19b", "D22a", "D23b", "H9"),
    # a download that ends too early is not started
    "CUT_RECOVERY": ("D12", "D20f", "D20g", "D21f"),
    # an answer that is no firmware is not taken for one
    "BAD_ANSWERS": ("D1a", "D3a", "D5b", "D7", "D11"),
    # a damaged image is not started
    "BAD_IMAGES": ("I1", "I2a", "I3", "I5", "I6"),
    # Old comes back when New is no good
    "ROLLBACK": ("B1", "B2", "B9", "B11", "B24"),
    # the power may go away at any moment
    "POWER_LOSS": ("P1", "P3", "P14", "P16", "P17"),
    # the cloud goes away and comes back
    "CLOUD_LOSS": ("C3", "C5", "C6", "C7"),
    # settings outlive the update
    "SETTINGS_KEPT": ("T1",),
}
