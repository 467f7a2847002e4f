"""The updates that a firmware's ways are learned from, on the board of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.learn import ways
from pytest_blynk_ota.learn.ways import Probe
from pytest_blynk_ota.rig.profiles import DIGESTS
from pytest_blynk_ota.verdict import Outcome

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import Image
    from pytest_blynk_ota.ota import Ota
    from pytest_blynk_ota.rig.rack import Rig
    from pytest_blynk_ota.rig.shelf import Firmware

HEADERS = {"x-md5": "x-MD5", "x-sha256": "X-SHA256"}
"""The digest headers, as Blynk's servers spell them."""

Say = Callable[[str], None]


class Probes:
    """Updates from Old, each with one thing wrong.

    Args:
        say: told what is tried, and what it came to.
    """

    def __init__(self, ota: Ota, rig: Rig, say: Say) -> None:
        self._ota = ota
        self._rig = rig
        self._say = say
        self._fresh = True

    def update(self, what: str, *bad: str, image: Image | None = None) -> Probe:
        """One offer from Old. Raises RigError."""
        if not self._fresh:
            self._ota.restore()
        self._fresh = False
        timeline = self._rig.recorder.timeline
        after = timeline.cursor
        listed = [one.maybe() for text in bad for one in faults.parse_all(text)]
        result = self._ota.offer(image, faults=listed)
        self._say(f"{what}: {result.outcome}")
        events = [event for event in timeline.events() if event.seq >= after]
        return Probe(result.outcome, events, self._rig.speed)


def learn(probes: Probes, firmware: Firmware) -> dict[str, Any]:
    """The ways of the firmware: keys of a profile.

    Raises:
        RigError: the rack failed.
        ValueError: not even an update with nothing wrong gets through.
    """
    clean = probes.update("a clean update")
    if clean.outcome is not Outcome.UPGRADED:
        raise ValueError(f"an update with nothing in its way came to {clean.outcome}")
    found = dict(ways.of_clean_update(clean))
    found |= ways.of_refused_download(probes.update("a download that is refused", "status 503"))
    found |= ways.of_stall(probes.update("a download that stalls", "stall 50%"))
    for key, bad in TRAITS.items():
        probe = probes.update(key, bad)
        found[key] = probe.outcome is Outcome.UPGRADED
    found["resumes"] = found["resumes"] and found["tries"] > 1
    wrong = {
        name: probes.update(f"a wrong {HEADERS[name]}", f"digest wrong header={HEADERS[name]}")
        for name in DIGESTS
    }
    none = probes.update("no digest", *(f"drop_header {name}" for name in HEADERS.values()))
    found |= ways.of_digests(wrong, none)
    crash = probes.update("a crash at the start", image=firmware.crashes_at_start())
    found |= ways.of_crash(crash)
    return found


TRAITS = {"redirects": "redirect 302", "chunked": "chunked 4096", "resumes": "truncate 50% once"}
"""Fields of a profile, and the thing wrong that only a firmware with them survives."""
