"""The ``campaign`` fixture: what was asked for on the command line, and how problems are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_blynk_ota.campaign.book import Book, Entry
from pytest_blynk_ota.campaign.plan import load
from pytest_blynk_ota.campaign.run import Budget, Campaign, OnBoard, problem_with
from pytest_blynk_ota.chance import Chance
from pytest_blynk_ota.ota import Ota
from pytest_blynk_ota.reporting import again
from pytest_blynk_ota.rig.place import Place

DEFAULT_BUDGET = "10"
FOLDER = Path(".blynk-ota/campaigns")


class Trouble:
    """A campaign on the board of a test."""

    def __init__(
        self,
        item: pytest.Item,
        ota: Ota,
        place: Place,
        chance: Chance,
        *,
        budget: str | None,
        plan: Path | None,
    ) -> None:
        self._item = item
        self._place = place
        self._chance = chance
        self._budget = Budget.parse(budget or DEFAULT_BUDGET)
        self._plan = None if plan is None else load(plan)
        self._hands = OnBoard(ota, place.power, frozenset(place.profile.known))

    def run(self) -> None:
        """Run plans until the budget is spent, or the one of ``--plan``; fails with what was found.

        The same ``--ota-seed`` goes on where a campaign stopped, and keeps what it had found.

        Raises:
            RigError: the rack failed; the plan that was under way is not counted.
        """
        if self._plan is not None:
            if problem := problem_with(self._plan, self._hands):
                pytest.fail(f"{problem}\nthe plan: {self._plan}", pytrace=False)
            return
        seed = self._chance.run_seed
        self._chance.used = True
        book = Book(self._item.config.rootpath / FOLDER, seed, self._place.name)
        campaign = Campaign(seed, book, self._hands, power=self._place.power is not None)
        if found := campaign.run(self._budget):
            lines = "\n".join(self._told(entry) for entry in found)
            pytest.fail(
                f"{len(found)} of {len(book.entries)} plans of seed {seed} failed:\n{lines}",
                pytrace=False,
            )

    def _told(self, entry: Entry) -> str:
        command = again(self._item, plan=str(entry.file))
        return f"plan {entry.number}: {entry.problem}\n  run again: {command}"
