"""The page "Add your own" says what works: each of its examples runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/how-to/extend.md"
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", re.M | re.S)


def test_each_example_of_the_page_runs(pytester):
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert [name for name, _ in blocks] == [
        *("test_mine.py", "conftest.py", "test_hotel.py"),
        *("rigs/mine.toml", "test_door_lock.py", "test_lines.py"),
    ]
    for name, text in blocks:
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    done = pytester.runpytest_subprocess("--rig=mine", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=4)


def test_the_scenario_of_the_page_is_under_ten_lines():
    text = next(text for name, text in BLOCK.findall(PAGE.read_text()) if name == "test_mine.py")
    body = text[text.index("@pytest") :].strip().splitlines()
    assert len(body) < 10
