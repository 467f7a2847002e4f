"""Commands to be run after a run, as they have to be typed in the folder that it was started in."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

TAKE_A_VALUE = (
    "-c",
    "--config-file",
    "--rootdir",
    "-o",
    "--override-ini",
    "-p",
    "--confcutdir",
    "--import-mode",
)
"""Options of pytest's own that decide what runs, and how it is found: kept as given."""
ALONE = ("--noconftest",)
"""The same, of those that take no value."""
PYTEST = ("pytest", "py.test")


@dataclass(frozen=True, slots=True)
class Start:
    """How a run was started.

    Attributes:
        argv: ``sys.argv`` of the process that the user started.
        arguments: pytest's.
        folder: that it was started in.
        root: pytest's root folder.
        path: ``$PATH``.
    """

    argv: Sequence[str]
    arguments: Sequence[str]
    folder: Path
    root: Path
    path: str

    @classmethod
    def of(cls, config: pytest.Config) -> Start:
        """The same in a worker of pytest-xdist as in the process that started it."""
        by_main = getattr(config, "workerinput", {}).get("mainargv")
        return cls(
            argv=by_main or sys.argv,
            arguments=by_main[1:] if by_main else list(config.invocation_params.args),
            folder=config.invocation_params.dir,
            root=config.rootpath,
            path=os.environ.get("PATH", ""),
        )

    def again(self, test_id: str, given: Mapping[str, str]) -> str:
        """The command that runs one test once more.

        Args:
            test_id: pytest's id of it: its file is relative to the root.
            given: our options, by flag.
        """
        file, colon, name = test_id.partition("::")
        words = [*self._pytest(), os.path.relpath(self.root / file, self.folder) + colon + name]
        options = [f"{flag}={value}" for flag, value in given.items()]
        return shlex.join([*words, *_kept(self.arguments), *options])

    def command(self, *words: str) -> str:
        """A command of ``blynk-ota``."""
        return shlex.join([self._short(self._beside / "blynk-ota"), *words])

    def near(self, path: Path) -> str:
        """A path as it is said shortest in the folder."""
        whole = _whole(self.folder / path)
        relative = os.path.relpath(whole, self.folder)
        return whole if relative.startswith("..") else relative

    def _pytest(self) -> list[str]:
        if self._is_script:
            return [self._short(Path(self.argv[0]))]
        return [self._short(Path(sys.executable)), "-m", "pytest"]

    @property
    def _is_script(self) -> bool:
        return bool(self.argv) and Path(self.argv[0]).name in PYTEST

    @property
    def _beside(self) -> Path:
        """The folder that holds what was installed with us."""
        return Path(self.argv[0] if self._is_script else sys.executable).parent

    def _short(self, tool: Path) -> str:
        """A tool by its name where ``$PATH`` leads to it, else by the shorter way to it."""
        whole = _whole(self.folder / tool)
        for place in self.path.split(os.pathsep):
            first = Path(place or ".") / tool.name
            if os.access(first, os.X_OK):
                if _whole(first) == whole:
                    return tool.name
                break
        return self.near(tool)


def _whole(path: Path) -> str:
    """An absolute path, without dots, through the links that were meant."""
    return os.path.abspath(path)  # noqa: PTH100 - resolve() would follow them out of a venv


def _kept(arguments: Sequence[str]) -> Iterator[str]:
    rest = iter(str(word) for word in arguments)
    for word in rest:
        flag, equals, _ = word.partition("=")
        joined = word[:2] in TAKE_A_VALUE and len(word) > 2  # -pno:cacheprovider
        if word in ALONE or joined or (equals and flag in TAKE_A_VALUE):
            yield word
        elif word in TAKE_A_VALUE:
            yield word
            yield from (value for value in (next(rest, None),) if value is not None)
