"""manifest.json: the digest of each file of a run, written when it ends. What else lies in its
folder is somebody else's: the folder may be a project's own.

It shows what was changed, lost or added afterwards, by accident or in good faith. It is no
signature: who edits a file can write a manifest that fits.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.files import is_there, kind_of, walk
from pytest_blynk_ota.evidence.marks import Flaw, Mark

MANIFEST_SCHEMA = 1
MANIFEST = "manifest.json"
RACK_LOGS = "virtual-rack*.log"
IN_IT = ("run.json", "results.jsonl", RACK_LOGS)
"""And all in ``tests``; but not what is written from these, and may be written again."""
TESTS = "tests"
PAGE = "report.html"
"""``blynk-ota report`` writes it into the folder of a test, too."""
CHUNK_BYTES = 1 << 20
Look = Callable[[str, bytes, str], None]
"""Takes the name of a file in the run's folder, its bytes and their SHA-256."""


def manifest_of(root: Path) -> dict[str, Any]:
    """The manifest of a run as it stands now. Raises EvidenceError or OSError."""
    return {"schema": MANIFEST_SCHEMA, "files": entries(root)}


def entries(root: Path) -> dict[str, Any]:
    """Digest and size of each file of a run by its path. Raises as :func:`manifest_of`."""
    return _entries(root, _names(root))


def entries_in(folder: Path) -> dict[str, Any]:
    """The same of all files in the folder of a test. Raises as :func:`manifest_of`."""
    return _entries(folder, (name for name in walk(folder) if name != PAGE))


def logs_in(root: Path) -> dict[str, Any]:
    """The same of the logs of a run's virtual racks. Raises as :func:`manifest_of`."""
    return _entries(root, (path.name for path in sorted(root.glob(RACK_LOGS))))


def _entries(root: Path, names: Iterable[str]) -> dict[str, Any]:
    return {name: _entry(root / name) for name in names if not kind_of(root / name)}


def changes(
    root: Path, manifest: Mapping[str, Any], under: str = "", look: Look | None = None
) -> Iterator[Mark]:
    """How the files of a run differ from its manifest.

    Args:
        root: the folder of the run.
        manifest: what ``manifest.json`` holds.
        under: only what lies in this folder of it, such as ``tests/x``.
        look: is shown each file that is as it was, with the very bytes that were compared.

    Raises:
        EvidenceError: it is no manifest.
    """
    expected = files_of(manifest)
    inside = f"{under}/" if under else ""
    there = {name for name in _names(root) if name.startswith(inside)}
    if not under:  # what an earlier version had in it
        there |= set(expected) & {path.name for path in root.iterdir()}
    for name in sorted({name for name in expected if name.startswith(inside)} | there):
        if name not in there:
            yield Mark(name, Flaw.MISSING, "it was there when the run ended")
        elif name not in expected:
            yield Mark(name, Flaw.EXTRA, "it was not there when the run ended")
        elif mark := _change(root, name, expected[name], look):
            yield mark


def changes_of(root: Path, manifest: Mapping[str, Any], names: Iterable[str]) -> Iterator[Mark]:
    """How some files of a run differ from its manifest; no other file is looked at.

    Raises:
        EvidenceError: it is no manifest.
    """
    expected = files_of(manifest)
    for name in names:
        there = is_there(root / name)
        if name not in expected:
            if there:
                yield Mark(name, Flaw.EXTRA, "it was not there when the run ended")
        elif not there:
            yield Mark(name, Flaw.MISSING, "it was there when the run ended")
        elif mark := _change(root, name, expected[name], None):
            yield mark


def _names(root: Path) -> Iterator[str]:
    """The files of a run, as paths relative to it; links are named, and not followed."""
    for pattern in IN_IT:
        yield from (path.name for path in sorted(root.glob(pattern)))
    if (root / TESTS).is_symlink():
        yield TESTS
    else:
        for name in walk(root / TESTS):
            if name.partition("/")[2] != PAGE:
                yield f"{TESTS}/{name}"


def _change(root: Path, name: str, entry: Mapping[str, Any], look: Look | None) -> Mark | None:
    path = f"{root}/{name}"  # a run has tens of thousands of files: no objects for their paths
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            what = f"it is {kind_of(root / name)}, it was a file when the run ended"
            return Mark(name, Flaw.FOREIGN, what)
        size = found.st_size
        if size != entry["bytes"]:
            flaw = Flaw.CUT if size < entry["bytes"] else Flaw.EDITED
            return Mark(name, flaw, f"it has {size} bytes, it had {entry['bytes']}")
        if look is None and size > CHUNK_BYTES:
            same = _entry(root / name)["sha256"] == entry["sha256"]
        else:
            data = _whole(path, size)
            digest = hashlib.sha256(data).hexdigest()
            same = digest == entry["sha256"]
            if same and look is not None:
                look(name, data, digest)
        if not same:
            return Mark(name, Flaw.EDITED, "its content is not what it was when the run ended")
    except OSError as error:
        return Mark(name, Flaw.UNREADABLE, error.strerror or str(error))
    return None


def _whole(path: str, size: int) -> bytes:
    """All bytes of a file. Never of a link that took its place since. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        data = os.read(file, size + 1)
        while part := os.read(file, CHUNK_BYTES):
            data += part
        return data
    finally:
        os.close(file)


def _entry(path: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return {"sha256": digest.hexdigest(), "bytes": size}


def files_of(manifest: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Digest and size of each file by its path. Raises EvidenceError: it is no manifest."""
    if manifest.get("schema") != MANIFEST_SCHEMA:
        raise EvidenceError(
            f"{MANIFEST}: schema: expected {MANIFEST_SCHEMA}, got {manifest.get('schema')!r}"
        )
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise EvidenceError(f"{MANIFEST}: files: expected an object, got {files!r:.60}")
    for name, entry in files.items():
        good = isinstance(entry, dict) and (
            isinstance(entry.get("sha256"), str) and type(entry.get("bytes")) is int
        )
        if not good:
            raise EvidenceError(f"{MANIFEST}: files: {name!r:.80}: expected sha256 and bytes")
    return files
