"""Hosts of USB/IP that misbehave, one after the other; after each hundred a good one is served.

python tests/virtual/fuzz_usbip.py [--hosts 10000] [--seed N]
"""

from __future__ import annotations

import argparse
import random
import time

from usbip_host import running, still_serves, storm, url_of

BATCH = 100


def main() -> None:
    """Until enough hosts were there; an error at the first good one that is not served."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    dice, begun = random.Random(chosen.seed), time.monotonic()
    with running() as rack:
        for _ in range(0, chosen.hosts, BATCH):
            storm(url_of(rack, "c3-a"), dice, BATCH)
            still_serves(url_of(rack, "c3-a"))
    print(f"{chosen.hosts} hosts in {time.monotonic() - begun:.0f} s, and the next one was served")


if __name__ == "__main__":
    main()
