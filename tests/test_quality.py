"""Types, lint, format and the direction of imports are part of the test run."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHECKS = {
    "types": [sys.executable, "-m", "mypy"],
    "lint": [sys.executable, "-m", "ruff", "check", "."],
    "format": [sys.executable, "-m", "ruff", "format", "--check", "."],
    "imports": [str(BIN / "lint-imports")],
}


@pytest.mark.parametrize("check", CHECKS)
def test_the_code_passes(check):
    done = subprocess.run(CHECKS[check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_python_examples_of_the_pages_parse():
    """What does not parse is a warning when the docs are built, and that an error."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    examples = [
        (page, example)
        for page in pages
        for example in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.M)
    ]
    assert len(examples) >= 4
    for page, example in examples:
        ast.parse(example, filename=str(page))
