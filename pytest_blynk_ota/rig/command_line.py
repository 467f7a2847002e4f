"""Command lines of a rig file, which switch something of the rack."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from pytest_blynk_ota.errors import RigError

COMMAND_TIMEOUT_S = 10.0
"""Wall seconds that a command has: a hub takes about 2 s."""


def run_line(
    line: Sequence[str],
    what: str,
    raises: type[RigError],
    *,
    timeout_s: float = COMMAND_TIMEOUT_S,
) -> None:
    """Run a command line to its end.

    Args:
        what: it is for, as messages say it: ``power``.
        raises: the error of it.
        timeout_s: wall seconds.

    Raises:
        RigError: of the kind ``raises``: it does not start, does not end, or ends with an error.
    """
    try:
        done = subprocess.run(
            line,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise raises(f"{what} command {line[0]!r} failed: {error}") from error
    if done.returncode:
        raise raises(
            f"{what} command {' '.join(line)!r} ended with {done.returncode}: "
            f"{(done.stderr or done.stdout).strip()[-300:]}"
        )
