"""Fuzz target of what reads faults. It raises if a promise is broken.

``python tests/delivery/fuzz_faults.py SECONDS [SEED]`` runs it on words of the language, well and
badly put together; the hypothesis tests use the same functions.
"""

from __future__ import annotations

import random
import string
import sys
import time

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.fault_text import METHODS
from pytest_blynk_ota.delivery.kinds import KINDS
from pytest_blynk_ota.delivery.when import EVENTS
from pytest_blynk_ota.errors import FaultError

GLUE = (
    "on attempt", "on first", "on every", "on board", "with header", "from", "until", "times",
    "once", "by chance", "seed", "pick", "of", "maybe", "then", "or", "and", "none", "random",
    "last", "=", ",", '"', "(", ")", ").", "faults.", "seq(", "'", "1", "0", "-1", "50%", "3s",
    "1e999", "nan", "²", "٣", "\\", "\0", "\n", "0x10", "1_0", "c3-a", "None", "True", "[", "]",
)  # fmt: skip


def said() -> list[str]:
    """All words of the language, and some that are none."""
    params = {name for kind in KINDS.values() for name in kind}
    return [*KINDS, *params, *(f"{name}=" for name in params), *METHODS, *EVENTS, *GLUE]


def check_text(text: str) -> bool:
    """A text is one or several faults that read back from both forms, or is refused by a
    FaultError of one line."""
    found: tuple[faults.Fault, ...] = ()
    try:
        found = faults.parse_all(text)
    except FaultError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert len(refused.splitlines()) == 1
        return False
    assert found
    for one in found:
        assert faults.parse(str(one)) == one
        assert faults.parse(repr(one)) == one
        assert faults.parse(str(one)).when == one.when == faults.parse(repr(one)).when
    return True


def mutated(text: str, seed: int) -> str:
    """The text with a few letters and words lost, doubled, swapped or replaced."""
    dice = random.Random(seed)
    letters = list(text)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(letters) + 1)
        way = dice.randrange(4)
        if way == 0:
            del letters[place : place + dice.randint(1, 3)]
        elif way == 1:
            letters[place:place] = letters[place : place + dice.randint(1, 8)]
        elif way == 2:
            letters[place : place + 1] = [dice.choice(string.printable + "²٣ü")]
        else:
            letters[place:place] = [" ", dice.choice(said()), " "]
    return "".join(letters)


def main(seconds: float, seed: int) -> None:
    """Fuzz for so long; says how much was read."""
    dice, words = random.Random(seed), said()
    tried = read = 0
    begun = time.monotonic()
    good = [str(one) for one in faults.ANY] + [repr(one) for one in faults.ANY]
    while time.monotonic() - begun < seconds:
        count = dice.randint(1, 12)
        text = (
            mutated(dice.choice(good), dice.randrange(2**32))
            if dice.random() < 0.5
            else dice.choice([" ", ""]).join(dice.choice(words) for _ in range(count))
        )
        tried += 1
        try:
            if check_text(text):
                read += 1
                good = [*good[-500:], text]
        except BaseException:
            print(f"broken by {text!r} (seed {seed})")
            raise
    print(f"{tried} texts, {read} of them faults")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
