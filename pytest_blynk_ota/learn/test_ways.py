"""What ``blynk-ota profile`` has pytest run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_blynk_ota.learn import OUT
from pytest_blynk_ota.learn.probes import Probes, learn
from pytest_blynk_ota.ota import Ota
from pytest_blynk_ota.rig.rack import Rig
from pytest_blynk_ota.rig.shelf import Firmware


@pytest.mark.finding("hang", "secret in the log", "crash", "no rollback protection", "went back")
@pytest.mark.finding("digest not checked")
def test_the_ways_of_a_firmware(ota: Ota, rig: Rig, firmware: Firmware) -> None:
    said: list[str] = []
    found = learn(Probes(ota, rig, said.append), firmware)
    told = {"ways": found, "said": said, "base": firmware.profile.name}
    Path(os.environ[OUT]).write_text(json.dumps(told), encoding="utf-8")
