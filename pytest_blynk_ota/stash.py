"""Under which names the plugin keeps in pytest what it knows: of the run, and for its workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_blynk_ota.errors import UsageError
    from pytest_blynk_ota.reporting import Running
    from pytest_blynk_ota.runs import Tally
    from pytest_blynk_ota.session import Session
    from pytest_blynk_ota.terminal.rows import Rows

SESSION: pytest.StashKey[Session] = pytest.StashKey()
SEED: pytest.StashKey[int] = pytest.StashKey()
RUN: pytest.StashKey[Path] = pytest.StashKey()
HELD: pytest.StashKey[UsageError | None] = pytest.StashKey()
"""There once the folder that the user named was asked for; why it was refused, if it was."""
TALLY: pytest.StashKey[Tally] = pytest.StashKey()
ROWS: pytest.StashKey[Rows] = pytest.StashKey()
COMPLETE: pytest.StashKey[bool] = pytest.StashKey()
REPORT: pytest.StashKey[tuple[str, ...]] = pytest.StashKey()
"""Where the report is, in words, and what of the run could not be written for others to read."""
RUNNING: pytest.StashKey[Running] = pytest.StashKey()
"""The test on the rig that runs now."""
PLACE = "_blynk_ota_place"
"""The fixture that takes a board and skips where it lacks something."""
TO_WORKER = "blynk_ota_run"
SEED_TO_WORKER = "blynk_ota_seed"
RIG_TO_WORKER = "blynk_ota_rig"
"""The file of a rig that the controller has made: the board is asked once."""
FROM_WORKER = "blynk_ota_usage"
