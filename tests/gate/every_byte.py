"""Changes each byte of a binary, its evidence, its policy and its attestation, one at a time.

``python tests/gate/every_byte.py [POSITIONS]`` tries at least so many positions (all of them, and
with other changes again from the first on, until they are enough; 0, the default: each once), and
ends with code 1 if one changed byte was not refused.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from attest_bench import UPGRADE, Bench

from pytest_blynk_ota.evidence.manifest import MANIFEST, manifest_of

CODES = {"envelope": 5, "image": 4, "policy": 4, "evidence": 4}
"""What a changed byte ends with, by what it was changed in."""
CHANGES = (0x01, 0x20, 0x80, 0xFF)
"""What is flipped, in turn: the lowest bit, the case of a letter, the highest bit, all."""


@dataclass(frozen=True, slots=True)
class Place:
    """One byte to change: what of the release it is in, its file, where, and what to flip."""

    what: str
    path: Path
    at: int
    flip: int


def places(bench: Bench, what: str, turn: int = 0) -> Sequence[Place]:
    """Each byte of the envelope, the image, the policy or the evidence."""
    files = {"envelope": [bench.envelope], "image": [bench.image], "policy": [bench.policy]}
    evidence = [bench.run / name for name in (*manifest_of(bench.run)["files"], MANIFEST)]
    return [
        Place(what, path, at, CHANGES[(at + turn) % len(CHANGES)])
        for path in files.get(what, evidence)
        for at in range(path.stat().st_size)
    ]


def survivors(bench: Bench, tried: Sequence[Place]) -> list[str]:
    """The places whose change was not refused with the right code."""
    return [
        f"{place}: code {code}" for place in tried if (code := _code(bench, place)) != _due(place)
    ]


def _due(place: Place) -> int:
    return CODES.get(place.what, 4)


def _code(bench: Bench, place: Place) -> int:
    """The exit code with one byte changed; the file is as it was afterwards."""
    good = place.path.read_bytes()
    bad = bytearray(good)
    bad[place.at] ^= place.flip
    try:
        place.path.write_bytes(bad)
        return bench.code()
    finally:
        place.path.write_bytes(good)


def _all(bench: Bench, positions: int) -> Iterator[Place]:
    turn, given = 0, 0
    while turn == 0 or given < positions:
        for what in CODES:
            for place in places(bench, what, turn):
                yield place
                given += 1
        turn += 1


def main(positions: int) -> int:
    """Try all; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), words={UPGRADE: "passed"})
        bench.sign()
        assert bench.code() == 0, "the untouched release is refused"
        begun, count, bad = time.monotonic(), Counter(), 0
        for place in _all(bench, positions):
            for line in survivors(bench, [place]):
                bad += 1
                print(f"not refused: {line}")
            count[place.what] += 1
        told = ", ".join(f"{number} of the {what}" for what, number in count.items())
        seconds = time.monotonic() - begun
        print(f"{count.total()} bytes changed ({told}) in {seconds:.0f} s: {bad} not refused")
    return 1 if bad else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("positions", nargs="?", type=int, default=0, help="the least; 0: each once")
    sys.exit(main(parser.parse_args().positions))
