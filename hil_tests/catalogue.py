"""The catalogue of scenarios, read from catalogue.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row.

    Attributes:
        what: what is done to the update.
        device: how the device has to end, where it is not as the family's default says.
        air: what Blynk.Air shows, where it is not the family's default.
        peers: who tests it too, or where it was seen.
        rig: what it needs of a rig.
        not_here: why no rig can do it yet; empty: it has a test.
    """

    id: str
    what: str
    device: str = ""
    air: str = ""
    peers: str = ""
    rig: str = ""
    not_here: str = ""

    @property
    def family(self) -> str:
        """The letter of its family."""
        return re.sub(r"\d", "", self.id)


@dataclass(frozen=True, slots=True)
class Family:
    """Scenarios of one kind; ``default`` is what holds where a row says nothing."""

    letter: str
    title: str
    default: str


@cache
def families() -> Mapping[str, Family]:
    """By letter, in the order of the file."""
    return {letter: Family(letter, **one) for letter, one in _data()["family"].items()}


@cache
def scenarios() -> Mapping[str, Scenario]:
    """By id, in the order of the file."""
    return {id: Scenario(id, **one) for id, one in _data()["scenario"].items()}


def _data() -> dict[str, dict[str, dict[str, str]]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))
