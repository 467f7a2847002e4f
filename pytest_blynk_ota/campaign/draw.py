"""Drawing plans: the same seed and number give the same plan, whatever ran before."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from pytest_blynk_ota.campaign.plan import Plan, Step

Draw = Callable[[random.Random], str]

MOST_STEPS = 3
CUT_CHANCE = 0.35
CLOUD_CHANCE = 0.2
SHIP_CHANCE = 0.5


def _offset(dice: random.Random) -> str:
    """Where in the file: its ends and the edges of blocks are where code goes wrong."""
    return dice.choice(
        [
            "0",
            "1",
            "23",
            "288",
            str(dice.choice([4096, 65536]) + dice.choice([-1, 0, 1])),
            f"{dice.randrange(1, 100)}%",
            f"{dice.randrange(1, 100)}%",
        ]
    )


DOWNLOAD: Sequence[Draw] = (
    lambda dice: f"stall {_offset(dice)}",
    lambda dice: f"stall {_offset(dice)} seconds={dice.randrange(1, 60)}",
    lambda dice: f"truncate {_offset(dice)}",
    lambda dice: f"reset {_offset(dice)}",
    lambda dice: f"corrupt {_offset(dice)}",
    lambda dice: f"status {dice.choice([404, 403, 500, 503])}",
    lambda dice: f"status 503 times {dice.randrange(1, 3)}",
    lambda dice: f"bandwidth {dice.choice([8_000, 20_000, 40_000])}",
    lambda dice: f"segments {dice.choice([100, 536, 1000])} gap=0.01",
    lambda dice: f"latency {dice.randrange(1, 5)}",
    lambda dice: "chunked 4096",
    lambda dice: "redirect 302",
    lambda dice: f"length off={dice.choice([-100, 100])}",
    lambda dice: f"cut {_offset(dice)}",
    lambda dice: "digest wrong",
)
CLOUD: Sequence[Draw] = (
    lambda dice: "drop",
    lambda dice: f"delay seconds={dice.randrange(1, 30)}",
    lambda dice: f"twice seconds={dice.randrange(1, 10)}",
    lambda dice: f"restart at=request seconds={dice.randrange(1, 30)}",
    lambda dice: f"refuse at=delivered seconds={dice.randrange(5, 60)}",
)


def draw(seed: int, number: int, *, power: bool = True) -> Plan:
    """The plan of this number, from 1 on.

    Args:
        power: whether the board has an outlet; without one no power is cut.
    """
    dice = random.Random(f"{seed}/{number}")
    return Plan(tuple(_step(dice, power=power) for _ in range(dice.randint(1, MOST_STEPS))))


def _step(dice: random.Random, *, power: bool) -> Step:
    """Every die is thrown, needed or not: so a board without an outlet has the same faults."""
    op = "ship" if dice.random() < SHIP_CHANCE else "offer"
    bad = tuple(one(dice) for one in dice.sample(DOWNLOAD, dice.choice([0, 1, 1, 1])))
    cloud = tuple(one(dice) for one in dice.sample(CLOUD, int(dice.random() < CLOUD_CHANCE)))
    cut, at = dice.random() < CUT_CHANCE, round(dice.uniform(0.02, 0.98), 2)
    limit = dice.randint(1, 3)
    return Step(op, bad, cloud, at if cut and power else None, limit if op == "ship" else None)
