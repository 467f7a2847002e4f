"""Types, lint, format and the direction of imports are part of the test run."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pytest_blynk_ota.cli import app

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


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Each command with the words that call it."""
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{word} ")
        elif command is not None:
            yield f"{before}{word}", command


@pytest.mark.parametrize(("name", "command"), [*commands(app)])
def test_each_option_of_a_command_is_in_its_section_of_the_page(name, command):
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    section = re.search(rf"^## `{name}\b.*?(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section, f"no section of `{name}`"
    options = [one for one in command.params if isinstance(one, click.Option)]
    missing = [
        "/".join(option.opts)
        for option in options
        if option.name != "as_json"  # said once for all, at the top of the page
        and not any(re.search(rf"(?<![\w-]){word}(?![\w-])", section[0]) for word in option.opts)
    ]
    assert not missing
