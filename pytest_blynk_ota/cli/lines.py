"""What the commands share that run until Ctrl-C and print a line for each thing they see."""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    import asyncio


class FiniteRange(click.FloatRange):
    """A range of numbers without ``nan``, which no comparison refuses, and ``inf``."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number. Fails as options do for one that is none."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number; expected one as 20", param, ctx)
        return number


class Lines:
    """Standard output, a line at a time, until nobody reads it.

    Attributes:
        unread: called when the other end of the output is gone.
    """

    def __init__(self) -> None:
        self.unread: Callable[[], object] = lambda: None

    def print(self, line: str) -> None:
        """Print one line at once. Never raises for a reader that has left."""
        try:
            click.echo(line)
        except BrokenPipeError:
            # What is still buffered must not fail again at exit (Python docs, SIGPIPE).
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.unread()


def is_everywhere(host: str) -> bool:
    """Whether it is an address to listen at that nobody can dial, as ``0.0.0.0``."""
    try:
        return not host or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        try:
            return not any(socket.inet_aton(host))  # 0 is short for it
        except OSError:
            return False


def undialled(host: str) -> str:
    """What is wrong with such an address where a file is to be fetched from it."""
    return (
        f"no device can fetch a file from {host}: give --host the address of this host that "
        "devices reach (`ip address` lists them)"
    )


def end_of(lines: Lines) -> asyncio.Event:
    """Set by SIGINT, by SIGTERM, or when nobody reads the lines. Call it on the event loop."""
    import asyncio
    import signal

    end = asyncio.Event()
    lines.unread = end.set
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    return end
