"""A test's evidence in an Allure report, where allure-pytest is installed and asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

ATTACHED = {
    "serial.log": "text/plain",
    "verdict.json": "application/json",
    "http.jsonl": "text/plain",
    "flash.json": "application/json",
    "events.jsonl": "text/plain",
}


def wanted(config: pytest.Config) -> bool:
    """Whether this run writes an Allure report."""
    return bool(
        config.pluginmanager.hasplugin("allure_pytest")
        and config.getoption("allure_report_dir", None)
    )


def attach(folder: Path, properties: Iterable[tuple[str, object]]) -> None:
    """Add the files of a test's evidence to the test that runs, and what it was about.

    Args:
        folder: its evidence.
        properties: of its report, ours alone.
    """
    import allure

    for name, value in properties:
        allure.dynamic.parameter(name, str(value), excluded=True)
    for file, kind in ATTACHED.items():
        path = folder / file
        if path.is_file():
            allure.attach(
                path.read_bytes(), name=file, attachment_type=kind, extension=path.suffix[1:]
            )
