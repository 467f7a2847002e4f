"""labgrid's power back-ends, run by labgrid's own interpreter.

labgrid needs a fork of pyserial that overwrites the files of ours, so the two cannot live in one
environment. A back-end is a module with one function; a process calls it.
"""

from __future__ import annotations

import os
import re
import subprocess

CALL_S = 9.0
"""Wall seconds for one switch; the caller gives it 10."""
PYTHON = "LABGRID_PYTHON"
"""The environment variable that names labgrid's interpreter."""
SHOWN = 300
"""Letters of the last words of a process that failed."""
SCRIPT = """
import importlib, sys
model, host, index, on = sys.argv[1:]
backend = importlib.import_module("labgrid.driver.power." + model)
backend.power_set(host, getattr(backend, "PORT", None), index, on == "1")
"""


class LabgridFailed(Exception):
    """Raised when labgrid did not switch."""


class Labgrid:
    """An outlet that labgrid can switch, as its ``NetworkPowerPort``.

    Args:
        model: of the back-end, as ``netio`` or ``gude24``: a module of ``labgrid.driver.power``.
        host: as the model wants it: a name, or a URL.
        index: of the outlet.
        python: the interpreter that labgrid is installed for; LABGRID_PYTHON says it otherwise.

    Raises:
        LabgridFailed: no interpreter is named, or the model is no name of a module.
    """

    def __init__(self, model: str, host: str, index: int = 0, python: str = "") -> None:
        if not re.fullmatch(r"[a-z0-9_]+", model):
            raise LabgridFailed(f'expected a model as in "labgrid:netio", got {model!r}')
        self._python = python or os.environ.get(PYTHON, "")
        if not self._python:
            raise LabgridFailed(
                f"expected labgrid's own interpreter, as python = "
                f'"/opt/labgrid/bin/python" or in {PYTHON}: python -m venv /opt/labgrid; '
                f"/opt/labgrid/bin/pip install labgrid"
            )
        self._words = (model, host, str(index))

    def switch(self, on: bool) -> None:
        """Raises LabgridFailed when it did not work."""
        line = [self._python, "-c", SCRIPT, *self._words, "1" if on else "0"]
        try:
            done = subprocess.run(
                line,
                capture_output=True,
                text=True,
                timeout=CALL_S,
                check=False,
                stdin=subprocess.DEVNULL,
                env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
            )
        except OSError as error:
            raise LabgridFailed(f"{self._python} does not start: {error}") from None
        except subprocess.TimeoutExpired:
            raise LabgridFailed(f"labgrid did not end within {CALL_S:g} s") from None
        if done.returncode:
            words = (done.stderr or done.stdout).strip().rpartition("\n")[2][-SHOWN:]
            raise LabgridFailed(f"{self._words[0]} ended with {done.returncode}: {words}")
