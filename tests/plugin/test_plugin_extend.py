"""The page "Add your own" says what works: each of its examples runs as it stands there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/how-to/extend.md"
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", re.M | re.S)
PACKAGE = ("lab_tools.py", "pyproject.toml")


def install(site: Path) -> None:
    """What pip would leave of the page's package: its module, and its entry points."""
    about = tomllib.loads((site / "pyproject.toml").read_text())["project"]
    info = site / f"lab_tools-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in rows.items())
        for group, rows in about["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))


@pytest.mark.nightly
def test_each_example_of_the_page_runs(pytester, monkeypatch):
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert [name for name, _ in blocks] == [
        *("test_mine.py", "conftest.py", "test_hotel.py"),
        *("rigs/mine.toml", "test_door_lock.py"),
        *("conftest.py", *PACKAGE, "rigs/bench.toml", "test_bench.py"),
        "test_lines.py",
    ]
    site = pytester.mkdir("site")
    for name, text in blocks:
        path = (site if name in PACKAGE else pytester.path) / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:  # one conftest.py, shown in two pieces
            file.write(text)
    install(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("RELAY", "relay-password-1")
    args = ("-p", "no:cacheprovider")
    done = pytester.runpytest_subprocess("--rig=mine", "--ignore=test_bench.py", *args)
    done.assert_outcomes(passed=4)
    done = pytester.runpytest_subprocess("--rig=bench", "test_bench.py", *args)
    done.assert_outcomes(passed=1)


def test_the_scenario_of_the_page_is_under_ten_lines():
    text = next(text for name, text in BLOCK.findall(PAGE.read_text()) if name == "test_mine.py")
    body = text[text.index("@pytest") :].strip().splitlines()
    assert len(body) < 10
