"""What the stock suite shares. How it is built: docs/explanation/catalogue.md."""

import pytest
from expected import Expected

from pytest_blynk_ota.rig.shelf import Firmware


@pytest.fixture
def expected(firmware: Firmware) -> Expected:
    """What the firmware of this board has to make of a scenario."""
    return Expected(firmware.profile)
