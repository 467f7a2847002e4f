"""``--rig auto`` and ``--rig PORT``: a rig of one board, without a file of the user's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_blynk_ota.board.naming import label_of, names_a_port
from pytest_blynk_ota.errors import RigError, Unavailable, UsageError
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.rig.discovery import AUTO, Found, identity_of, the_board
from pytest_blynk_ota.rig.rig_text import rig_text

WIFI, TOKEN = "WIFI", "BLYNK_TOKEN"
"""Environment variables that say what a rig file would."""
IN_NVS = 'profile   = "edgent-old"\nprovision = { kind = "edgent-nvs", wifi = "env:WIFI" }\n'
OWN = 'provision = { kind = "none" }\n'
WITH_TOKEN = 'token     = "env:BLYNK_TOKEN"\n'


def is_one_board(word: str) -> bool:
    """Whether ``--rig`` asks for the board itself, not for a rig file."""
    return word == AUTO or names_a_port(word)


def rig_of_one(
    word: str, root: Path, *, has_firmware: bool, environ: Mapping[str, str] = os.environ
) -> Path:
    """Ask the board which chip it is, and write its rig file, to be run and to be copied.

    Args:
        word: ``auto``, or a name of a port.
        root: the file goes into its ``.blynk-ota``.
        has_firmware: whether a firmware for it was given.
        environ: says how its firmware learns its network and token.

    Raises:
        UsageError: what is missing: settings, firmware, a board, its answer.
    """
    settings = _settings(word, environ)
    try:
        found = the_board(word)
        told = identity_of(found.name)
    except RigError as error:
        raise Unavailable(f"--rig {word}: {error}") from error
    if told.chip not in CHIPS:
        raise Unavailable(
            f"--rig {word}: {found.name} is an {told.chip}; chips that can be tested: "
            f"{', '.join(CHIPS)}"
        )
    if not (told.virtual or has_firmware):
        raise UsageError(
            f"--rig {word}: {found.name} is a real {told.chip}, and the shipped images run on "
            "boards made of software alone; give your firmware: --old build/firmware.bin"
        )
    board = Found(found.port, found.name, told=told)
    path = root / ".blynk-ota" / "rigs" / f"{label_of(word)}.toml"
    text = rig_text(label_of(word), str(path), [board], settings, f"pytest --rig {word}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(f".{os.getpid()}.part")
        half.write_text(text, encoding="utf-8")
        half.replace(path)
    except OSError as error:
        raise UsageError(f"--rig {word}: cannot write {path}: {error.strerror}") from error
    return path


def _settings(word: str, environ: Mapping[str, str]) -> str:
    """How its firmware gets to the rig's cloud, by what the environment says."""
    token = WITH_TOKEN if environ.get(TOKEN) else ""
    if environ.get(WIFI):
        return IN_NVS + token
    if token:
        return OWN + token
    raise UsageError(
        f"--rig {word}: how does its firmware learn its network and token? Set the environment "
        f'variable {WIFI} to "ssid:passphrase" if it keeps them in NVS, as old Edgent does: the '
        f"rig writes them there. Or set {TOKEN} to the token that the firmware has. All else can "
        "be said in a rig file: blynk-ota rig init"
    )
