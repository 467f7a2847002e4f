"""``blynk-ota gate``: the release decision and its attestation."""

from __future__ import annotations

import rich_click as click

from pytest_blynk_ota.cli import gate_verify


@click.group("gate")
def command() -> None:
    """Decide on a release, and check what was decided.

    Example: blynk-ota gate verify app.bin.intoto.jsonl --key release.pub.pem --image app.bin
    """


command.add_command(gate_verify.command)
