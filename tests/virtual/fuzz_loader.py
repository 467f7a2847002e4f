"""Feeds frames that hypothesis makes up to the loaders of all chips, and says how many.

    python tests/virtual/fuzz_loader.py [--frames 100000]

Each run has other frames; what fails is printed by hypothesis, with the call that shows it again.
"""

from __future__ import annotations

import argparse
import time

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from loader_frames import pieces, rare_pieces, recovers

from pytest_blynk_ota.virtual.chip.chips import MODELS

EXAMPLES = 2000
"""In one go: hypothesis keeps what it has tried."""


def main() -> None:
    """Until enough frames were fed; AssertionError at the first that does harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    wanted = parser.parse_args().frames
    fed = dict.fromkeys(MODELS, 0)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(
        name=st.sampled_from(sorted(MODELS)),
        heard=st.one_of(*[pieces] * 19, rare_pieces),
        stub=st.booleans(),
    )
    def feed(name: str, heard: list[bytes], stub: bool) -> None:
        recovers(name, heard, stub=stub)
        fed[name] += len(heard)

    begun = time.monotonic()
    while sum(fed.values()) < wanted:
        feed()
    seconds = time.monotonic() - begun
    print(f"{sum(fed.values())} frames in {seconds:.0f} s, each recovered from: {fed}")


if __name__ == "__main__":
    main()
