"""What the stock suite shares. How it is built: docs/explanation/catalogue.md."""

import pytest
from expected import Expected

from pytest_blynk_ota.rig.shelf import Firmware


@pytest.fixture
def expected(firmware: Firmware) -> Expected:
    """What the firmware of this board has to make of a scenario."""
    return Expected(firmware.profile)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker that is done takes over what others have waiting: a sweep takes as long as ten other
    tests, and whoever has it would be waited for."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.option.dist == "load" else None
