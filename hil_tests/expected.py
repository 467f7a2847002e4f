"""What is right depends on the firmware: a column for each of the stock ones.

A cell is a letter; a row has one for each of ``COLUMNS``. A firmware that a rig file describes
(``profile = { base = …, redirects = true }``) has the column of its base; where a row names the
trait that it turns on, that of a stock firmware with the same trait. A firmware that nobody has
described (profile ``default``) may end a row in any way in which one of the stock ones does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_blynk_ota import AirStatus, Outcome
from pytest_blynk_ota.result import Result
from pytest_blynk_ota.rig.profiles import PROFILES, Profile

COLUMNS = ("edgent-old", "edgent-new", "mqtt-idf", "reference")
OUTCOMES: Mapping[str, Outcome] = {
    "U": Outcome.UPGRADED,
    "L": Outcome.DOWNLOAD_LIMIT_REACHED,
    "N": Outcome.NOT_STARTED,
    "R": Outcome.REJECTED,
    "S": Outcome.STALLED,
    "F": Outcome.DOWNLOAD_FAILED,
    "O": Outcome.OFFLINE,
    "V": Outcome.REVERTED,
    "B": Outcome.ROLLED_BACK,
    "C": Outcome.BOOT_LOOP,
    "Q": Outcome.NOT_REPORTED,
}
AIR: Mapping[str, AirStatus] = {
    "S": AirStatus.SUCCESS,
    "DL": AirStatus.DOWNLOAD_LIMIT_REACHED,
    "RS": AirStatus.REQUEST_SENT,
    "NR": AirStatus.REQUESTED,
    "FD": AirStatus.DOWNLOADED,
    "RB": AirStatus.ROLLBACK,
    "TM": AirStatus.TYPE_MISMATCH,
    "VM": AirStatus.VERSION_MISMATCH,
}
AIR_OF: Mapping[str, str] = {
    "U": "S",
    "L": "DL",
    "N": "RS",
    "R": "FD",
    "S": "NR",
    "F": "NR",
    "O": "NR",
    "V": "FD",
    "B": "RB",
    "C": "FD",
    "Q": "FD",
}
"""What Air shows at the end of an outcome: a try that failed shows as the GET (New Firmware
Requested) or, where the whole file was sent, as Firmware Downloaded; without a GET as Request sent.
"""


@dataclass(frozen=True, slots=True)
class Expected:
    """How the firmware with this profile has to come out of a row."""

    profile: Profile

    @property
    def is_known(self) -> bool:
        """Whether anybody has said how this firmware behaves."""
        return self.profile.name != "default" and self.profile.fixture in COLUMNS

    def column(self, trait: str | None = None) -> int:
        """The stock firmware that this one is like, for a row that turns on a trait."""
        own = self.profile.fixture
        alike = [own, *(one for one in COLUMNS if one != own)]
        if trait is not None:
            mine = getattr(self.profile, trait)
            alike = [one for one in alike if getattr(PROFILES[one], trait) == mine] or alike
        return COLUMNS.index(alike[0])

    def outcome(self, want: str, trait: str | None = None) -> Outcome:
        """The cell of a row. Only for a known firmware."""
        return OUTCOMES[want.replace(" ", "")[self.column(trait)]]

    def check(self, result: Result, want: str, air: str = "", trait: str | None = None) -> None:
        """Assert that a result is in the firmware's cell of the row.

        Args:
            want: a letter for each of ``COLUMNS``.
            air: a word of ``AIR`` for each, where it is not that of the outcome.
            trait: the field of the profile that the row turns on.
        """
        want = want.replace(" ", "")
        if not self.is_known:
            assert result.outcome in {OUTCOMES[letter] for letter in want}
            return
        at = self.column(trait)
        assert result.outcome is OUTCOMES[want[at]]
        words = air.split() or [AIR_OF[letter] for letter in want]
        assert result.air_status is AIR[words[at]]
