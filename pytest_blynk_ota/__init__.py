"""pytest-blynk-ota: firmware updates of ESP32 boards on Blynk, tested on the wire.

The names below are imported on first use, so that a pytest run that needs none of them stays
quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_blynk_ota.air import AirRules, AirStatus, Fleet
    from pytest_blynk_ota.cloud import faults as cloud_faults
    from pytest_blynk_ota.delivery import faults
    from pytest_blynk_ota.errors import BlynkOtaError, RigError, UsageError
    from pytest_blynk_ota.result import Result
    from pytest_blynk_ota.rig.extensions import PowerDriver, Provisioning, Settings
    from pytest_blynk_ota.verdict import Finding, Outcome, Verdict, judge

__version__ = "0.1.0"

_HOMES = {
    "AirRules": "air",
    "AirStatus": "air",
    "BlynkOtaError": "errors",
    "Finding": "verdict",
    "Fleet": "air",
    "Outcome": "verdict",
    "PowerDriver": "rig.extensions",
    "Provisioning": "rig.extensions",
    "Result": "result",
    "RigError": "errors",
    "Settings": "rig.extensions",
    "UsageError": "errors",
    "Verdict": "verdict",
    "judge": "verdict",
}

_MODULES = {"cloud_faults": "cloud.faults", "faults": "delivery.faults"}

__all__ = [
    "AirRules",
    "AirStatus",
    "BlynkOtaError",
    "Finding",
    "Fleet",
    "Outcome",
    "PowerDriver",
    "Provisioning",
    "Result",
    "RigError",
    "Settings",
    "UsageError",
    "Verdict",
    "__version__",
    "cloud_faults",
    "faults",
    "judge",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"pytest_blynk_ota.{_MODULES[name]}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"pytest_blynk_ota.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
