"""New Edgent's log: nothing, unless it is built with LOGGER_PRINT (NetMgrLogger.h)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context

Say = Callable[[str, str, str], None]
"""Level (``E``, ``W``, ``I``), source file, text."""


def logger(context: Context) -> Say:
    """LOG_E, LOG_W and LOG_I: printed by builds that log at INFO (LOGGER_LOG_LEVEL 3)."""

    def say(level: str, file: str, text: str) -> None:
        if context.behaviour.log == "info":
            context.log.text(f"[{context.log.milliseconds:6d}][{level}][{file}] {text}")

    return say
