"""Whether the files of a run are as they were when it ended: what manifest.json says of them.

A manifest is no signature: it shows what was changed, lost or added by accident or in good faith.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
NOT_IN_IT = frozenset({MANIFEST, "report.html", "summary.md"})
"""Itself, and what is written from the other files and may be written again."""
CHUNK_BYTES = 1 << 20


def changes(run: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each file that is not as the manifest says: its path in the run, and what is wrong.

    Args:
        run: the folder.
        manifest: what manifest.json holds.
    """
    known = manifest.get("files")
    files = known if isinstance(known, Mapping) else {}
    there = set(_names(run))
    for name in sorted(there.union(files)):
        if name not in there:
            yield name, "is missing; it was there when the run ended"
        elif name not in files:
            yield name, "was not there when the run ended"
        elif (digest := _digest(run / name)) != _expected(files[name]):
            yield name, "was changed after the run ended" if digest else "cannot be read"


def _names(run: Path) -> Iterator[str]:
    """All files below the run, links too, without entering linked folders."""
    for folder, folders, files in os.walk(run, followlinks=False):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*files, *links):
            path = Path(folder, name).relative_to(run).as_posix()
            if path not in NOT_IN_IT and not path.endswith(".part"):
                yield path


def _expected(entry: Any) -> str:
    found = entry.get("sha256") if isinstance(entry, Mapping) else None
    return found if isinstance(found, str) else "a digest"


def _digest(path: Path) -> str:
    """The SHA-256 of a file; empty for what is none."""
    digest = hashlib.sha256()
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except (OSError, ValueError):
        return ""
    return digest.hexdigest()
