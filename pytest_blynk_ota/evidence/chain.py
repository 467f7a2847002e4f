"""What holds the files of a run together: digests, each over what came before. No signature.

=======================  ===========================================================
test's ``started`` event the run's id: evidence of another run is noticed
a line of results.jsonl  ``evidence``: the digest of all files of its test; ``before``:
                         the digest of the line before it; in the first line that of
                         run.json as it was when the run began
run.json                 ``results``: how many lines, and the digest of the last one;
                         ``logs``: that of the virtual racks' logs; ``digest``: that of
                         all else in it
=======================  ===========================================================

Whoever changes one of them has to make all behind it anew: an accident does not, and a hand that
edits one file does not either. A program that writes all of them can; only a signature shows that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_blynk_ota.evidence.manifest import PAGE, TESTS, entries_in, logs_in

SINCE = 3
"""The schema of run.json that brought all of this."""
DIGEST = "digest"
AT_THE_END = frozenset({
    "rig_kind", "complete", "result", "counts", "collected", "ended", "results", "logs", "finished",
    DIGEST,
})  # fmt: skip
"""Keys of run.json that the end of a run writes, or writes anew."""


def of_line(line: bytes) -> str:
    """The digest of one line of results.jsonl, without its line end."""
    return hashlib.sha256(line).hexdigest()


def of_start(data: Mapping[str, Any]) -> str:
    """The digest of run.json as it was when the run began: the first line hangs on it."""
    return _of({key: value for key, value in data.items() if key not in AT_THE_END})


def of_run(data: Mapping[str, Any]) -> str:
    """The digest of run.json that stands in itself."""
    return _of({key: value for key, value in data.items() if key != DIGEST})


def of_test(folder: Path) -> str:
    """The digest of a test's folder: the names and contents of all its files.

    Raises:
        EvidenceError or OSError: one cannot be read.
    """
    return _of(entries_in(folder))


def of_tests(files: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The same of each test's folder by its path in the run, from the files of a manifest that
    they have all been compared with: none is read again."""
    found: dict[str, dict[str, Any]] = {}
    for path, entry in files.items():
        tests, _, rest = path.partition("/")
        folder, _, name = rest.partition("/")
        if tests == TESTS and name and name != PAGE:
            entries = found.setdefault(f"{tests}/{folder}", {})
            entries[name] = {"sha256": entry["sha256"], "bytes": entry["bytes"]}
    return {folder: _of(entries) for folder, entries in found.items()}


def of_logs(run: Path) -> str:
    """The digest of the logs of a run's virtual racks. Raises as :func:`of_test`."""
    return _of(logs_in(run))


def _of(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
