"""``python -m pytest_blynk_ota.rig.ports ADDRESS PORT LINGER_S``: a porter, behind its starter.

It says one JSON line on standard output, and from then on nothing: ``{"ready": pid}``; ``{"taken":
true}``, where another porter holds the port; or ``{"errno": …, "said": …}``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback

from pytest_blynk_ota.rig.ports.messages import Where
from pytest_blynk_ota.rig.ports.porter import Porter


def main() -> int:
    address, port, linger_s = sys.argv[1:]
    if os.fork():  # so that the starter has no child that it would have to wait for
        return 0
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        porter = Porter(Where(address, int(port)), float(linger_s))
    except BlockingIOError:
        _say({"taken": True})
        return 0
    except OSError as error:
        _say({"errno": error.errno, "said": str(error)})
        return 1
    signal.signal(signal.SIGTERM, porter.end)
    os.chdir("/")  # it keeps no folder from being unmounted
    _say({"ready": os.getpid()})
    try:
        porter.run()
    except BaseException as error:
        porter.last_words("".join(traceback.format_exception_only(error)).strip())
        raise
    return 0


def _say(row: dict[str, object]) -> None:
    """The one line; then let go of what the starter has given us."""
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nothing, handle)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
