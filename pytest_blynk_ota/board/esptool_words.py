"""What esptool says, kept for error messages instead of printed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from esp_pylib.logger import EspLog, EspLogBase
from esptool.logger import log

KEPT_WORDS = 20
"""Last lines kept; one connection that fails says about five."""

_install = threading.Lock()
_local = threading.local()


class _Listener(EspLogBase):
    """Keeps the words of threads that listen; all others go to the logger that was there before."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def _say(self, how: str, *args: Any, **kwargs: Any) -> None:
        words: list[str] | None = getattr(_local, "words", None)
        if words is None:
            getattr(self._before, how)(*args, **kwargs)
            return
        text = " ".join(str(arg) for arg in args).strip()
        if text:
            words.append(text)
            del words[:-KEPT_WORDS]

    def print(self, *args: Any, **kwargs: Any) -> None:
        self._say("print", *args, **kwargs)

    def err(self, *args: Any, suggestion: str | None = None) -> None:
        self._say("err", *args)

    def warn(self, *args: Any, suggestion: str | None = None) -> None:
        self._say("warn", *args)

    def note(self, *args: Any) -> None:
        self._say("note", *args)

    def hint(self, *args: Any) -> None:
        self._say("hint", *args)

    def debug(self, *args: Any) -> None:
        self._say("debug", *args)

    def warning(self, message: str, suggestion: str | None = None) -> None:
        """esptool's older name of ``warn``."""
        self.warn(message)

    def error(self, message: str, suggestion: str | None = None) -> None:
        """esptool's older name of ``err``."""
        self.err(message)

    def stage(self, finish: bool = False) -> None:
        if not hasattr(_local, "words"):
            self._before.stage(finish)

    def set_verbosity(self, mode: int | str) -> None:
        self._before.set_verbosity(mode)

    def progress_bar(self, *args: Any, **kwargs: Any) -> None:
        if not hasattr(_local, "words"):
            self._before.progress_bar(*args, **kwargs)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Silence esptool in this thread; yields the list that its last words go to."""
    with _install:
        if not isinstance(EspLog.instance, _Listener):
            log.set_logger(_Listener(EspLog.instance))
    words: list[str] = []
    _local.words = words
    try:
        yield words
    finally:
        del _local.words
