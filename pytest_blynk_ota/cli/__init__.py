"""The command line ``blynk-ota``: each command in a file of its own, loaded when it is called.

Exit codes: 0 fine, 1 the firmware failed, 2 usage or configuration, 3 the rig failed, 4 evidence
incomplete, 5 bad signature; 130 Ctrl-C before the command was done.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import rich_click as click

from pytest_blynk_ota import __version__
from pytest_blynk_ota.errors import (
    BadSignature,
    BlynkOtaError,
    EvidenceError,
    RigError,
    UsageError,
)

COMMANDS = {
    "clean": "remove old runs, and keep their results",
    "cloud": "the local Blynk server on its own",
    "demo": "four updates on a board made of software, and the report",
    "flash": "what a dump of a board's flash would boot, and why",
    "gate": "decide on a release by a policy; check what was attested",
    "history": "what all runs came to: trend, flakes, slowest tests, worst boards",
    "image": "read, make and patch firmware images",
    "init": "the first tests of a project",
    "judge": "decide again from stored evidence",
    "mutants": "whether a suite finds the bugs that can be planted",
    "profile": "learn how a firmware behaves, for its rig file",
    "report": "one page of runs: verdicts, reasons, time lines, logs",
    "rig": "check rig files; who has which board; put back what it held",
    "serve": "the fault-injecting firmware server on its own",
    "virtual": "the virtual rack on its own",
}
EXIT_CODES: tuple[tuple[type[BlynkOtaError], int], ...] = (
    (UsageError, 2),
    (RigError, 3),
    (EvidenceError, 4),
    (BadSignature, 5),
)
INTERRUPTED = 128 + 2
"""As shells say it of a program that SIGINT has ended."""


class Lazy(click.RichGroup):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"pytest_blynk_ota.cli.{name}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Ctrl-C before a command is done: click's own code for that, 1, blames the firmware."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="blynk-ota")
def app() -> None:
    """Firmware updates of ESP32 boards on Blynk, tested on the wire.

    Example: blynk-ota virtual
    """


def main() -> None:
    """Run the command line; our errors become one message and their exit code."""
    try:
        app(prog_name="blynk-ota")
    except BlynkOtaError as error:
        click.echo(f"blynk-ota: {error}", err=True)
        sys.exit(next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1))
