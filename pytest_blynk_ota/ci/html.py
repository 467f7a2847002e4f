"""A link to a test's evidence in pytest-html's report, where that is installed and asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def link(config: pytest.Config, report: pytest.TestReport, folder: Path) -> None:
    """Add a link to the evidence, as seen from the report, to a test's report."""
    page = config.getoption("htmlpath", None)
    plugin: Any = config.pluginmanager.getplugin("html")
    if not page or plugin is None:
        return
    import pytest_html

    page_folder = (config.invocation_params.dir / page).parent
    extras = list(getattr(report, "extras", []))
    extras.append(pytest_html.extras.url(os.path.relpath(folder, page_folder), name="evidence"))
    report.extras = extras  # type: ignore[attr-defined]  # pytest-html's own
