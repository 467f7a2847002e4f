"""What a test leaves to chance, from one number a run: the same number throws the same again.

``--ota-seed`` names it; a run without it draws one and tells it. Each test has dice of its own, so
that it throws the same whether it runs alone or among others.
"""

from __future__ import annotations

import random
import secrets

from pytest_blynk_ota.errors import UsageError

SEEDS = 1 << 32


def drawn() -> int:
    """A seed for a run that names none."""
    return secrets.randbelow(SEEDS)


def parsed(text: str) -> int:
    """The seed that a user gave.

    Raises:
        UsageError: it is none.
    """
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed < SEEDS:
        raise UsageError(
            f"--ota-seed is a whole number from 0 to {SEEDS - 1}, as a run names it; got {text!r}"
        )
    return seed


class Chance:
    """The dice of one test.

    Args:
        seed: of the run.
        test_id: of the test.

    Attributes:
        run_seed: of the run.
        used: whether the test has asked for anything.
    """

    def __init__(self, seed: int, test_id: str) -> None:
        self.run_seed = seed
        self.used = False
        self._dice = random.Random(f"{seed}/{test_id}")
        self._own = self._dice.randrange(SEEDS)

    @property
    def seed(self) -> int:
        """A number of this test: the same each time it is asked for."""
        self.used = True
        return self._own

    def draw(self) -> int:
        """Another number each time; the same ones in the same order in each run with the seed."""
        self.used = True
        return self._dice.randrange(SEEDS)
