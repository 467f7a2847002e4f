"""The page says what the code does."""

from __future__ import annotations

from pathlib import Path

import air_page
import pytest

from pytest_blynk_ota.air import AirStatus

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "air.md"
STORIES = Path(__file__).parent


@pytest.mark.parametrize(
    "table", [air_page.transitions, air_page.gates, air_page.conditions], ids=lambda t: t.__name__
)
def test_a_table_of_the_page_is_the_code_s(table):
    """When it fails: ``python tests/air/air_page.py`` prints the tables."""
    assert "\n".join(table()) in PAGE.read_text(encoding="utf-8")


def test_every_option_stands_on_the_page_with_its_default_and_a_reason():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for begin in air_page.options():
        (line,) = (line for line in lines if line.startswith(begin))
        assert len(line) > len(begin) + 40, line


def test_every_status_names_a_test_that_exists():
    text = PAGE.read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in STORIES.glob("*.py"))
    for status in AirStatus:
        (line,) = (row for row in text.splitlines() if row.startswith(f"| `{status.name}` |"))
        test = line.split("|")[3].strip(" `")
        assert f"| {status} |" in line
        assert f"def {test}(" in sources
