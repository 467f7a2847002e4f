"""Asking the holder of a board to end. A lock that lives is never broken."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from pytest_blynk_ota.errors import LeaseHeld
from pytest_blynk_ota.rig.lease import Holder, State, state_of

LOOK_S = 0.1


def ask_to_end(board: str, port: str, *, patience_s: float) -> Holder | None:
    """Interrupt the run that holds a board, as Ctrl-C does, and wait until the board is free.

    The label only says whom; the system's list of locks has to agree, or nobody is signalled: a
    label that was left may carry a number which another process has by now.

    Args:
        board: its name, for messages.
        port: as the rig file names it.
        patience_s: wall seconds in which the run may come to its end.

    Returns:
        Who had it; None if nobody had.

    Raises:
        LeaseHeld: it is held still, and why nothing could be done.
    """
    state = state_of(port)
    if not state.held:
        return None
    try:
        os.kill(_whom(board, port, state), signal.SIGINT)
    except PermissionError:
        raise LeaseHeld(
            f"board {board} ({port}) is held by {state}, which belongs to another user: ask them, "
            f"or call this as root"
        ) from None
    except ProcessLookupError:  # it has just ended
        pass
    deadline = time.monotonic() + patience_s
    pause = threading.Event()
    while (now := state_of(port)).held and now.pid == state.pid:
        if time.monotonic() >= deadline:
            raise LeaseHeld(
                f"board {board} ({port}) is held still, {patience_s:g} s after its holder was "
                f"asked to end: {state}; it may be tidying up: ask again, or look at that process"
            )
        pause.wait(LOOK_S)  # nobody announces that a lock is free
    return state.holder


def _whom(board: str, port: str, state: State) -> int:
    """The process to interrupt: the controller of pytest-xdist, where it is one of its workers."""
    if not state.is_sure or state.holder is None or state.pid is None:
        other = f"pid {state.pid}" if state.pid else "a process of another container or host"
        raise LeaseHeld(
            f"board {board} ({port}) is held by {other}, and its label does not say what that is "
            f"(it says: {state}); nothing was asked to end"
        )
    return state.holder.run if _parent_of(state.pid) == state.holder.run else state.pid


def _parent_of(pid: int) -> int | None:
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(after_name[1])
    except (OSError, ValueError, IndexError):
        return None
