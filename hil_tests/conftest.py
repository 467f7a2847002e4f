"""The stock suite runs on each board of the virtual rig; elsewhere on one free board."""

import pytest

VIRTUAL_BOARDS = ("c3-a", "esp32-a")  # one boots quietly, one logs at INFO: rigs/virtual.toml


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    config = metafunc.config
    chosen = any(config.getoption(f"blynk_{name}") for name in ("board", "old", "new"))
    rig = config.getoption("blynk_rig") or config.getini("rig") or "virtual"
    if rig == "virtual" and not chosen and "_blynk_ota_place" in metafunc.fixturenames:
        metafunc.parametrize("_blynk_ota_place", VIRTUAL_BOARDS, indirect=True)
