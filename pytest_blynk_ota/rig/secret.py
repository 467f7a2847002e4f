"""Secrets, which a rig file names and never holds: ``env:NAME`` and ``file:PATH``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import ConfigError

ENV, FILE = "env:", "file:"
LEARN = "learn"
"""Of a token: that of the device which comes after our reset."""
EXPECTED = '"env:NAME" or "file:PATH"'
SOUNDS_SECRET = re.compile(r"(?i)(.*[_.-])?(pass(word|wd|phrase|key)?|pwd|psk|secret|token)")
"""Names of keys whose value nobody may read in a rig file."""


class Secret(str):
    """A value that did not stand in the rig file: it is taken as it is, and never shown."""

    __slots__ = ()


def is_reference(value: object) -> bool:
    """Whether a value of a rig file stands for a secret."""
    return isinstance(value, str) and value.startswith((ENV, FILE))


def secret(reference: str, what: str) -> Secret:
    """The value behind ``env:NAME``, or the one line of the file behind ``file:PATH``.

    Args:
        what: the rig, the board and the key, as messages begin. A relative path is one of the
            folder that pytest was started in.

    Raises:
        ConfigError: the variable is not set; the file cannot be read, or has not one line.
    """
    if not reference.startswith(FILE):
        name = reference.removeprefix(ENV)
        if value := os.environ.get(name, ""):
            return Secret(value)
        raise ConfigError(what, [f"the environment variable {name} is not set"])
    path = Path(reference.removeprefix(FILE)).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(what, [f"{path} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError(what, [f"{path}: expected text in UTF-8"]) from None
    lines = text.splitlines()
    if len(lines) != 1 or not lines[0]:
        raise ConfigError(what, [f"{path}: expected one line, the secret; got {len(lines)}"])
    return Secret(lines[0])


def peek(reference: str) -> str:
    """The same, "" where there is none: it will be told when it is needed."""
    try:
        return secret(reference, "")
    except ConfigError:
        return ""


def secrets_among(options: Mapping[str, Any]) -> dict[str, str]:
    """The keys whose value stands for a secret, those of tables inside too, as ``keys.token``."""
    return {key: value for key, value in _flat(options) if is_reference(value)}


def in_clear(options: Mapping[str, Any]) -> str:
    """The first key that by its name holds a secret, and has it in clear; "" if none has."""
    for key, value in _flat(options):
        if isinstance(value, str) and value and not is_reference(value):
            name = key.removesuffix(".value").rpartition(".")[2]
            if SOUNDS_SECRET.fullmatch(name) and "{" not in value:
                return key
    return ""


def revealed(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The options with each secret in its place. Raises ConfigError as :func:`secret`."""
    made: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            made[key] = revealed(value, f"{where}.{key}")
        else:
            made[key] = secret(value, f"{where}.{key}") if is_reference(value) else value
    return made


def _flat(options: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
