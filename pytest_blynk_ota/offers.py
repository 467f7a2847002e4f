"""Who makes the offers of an operation, and when: the cloud's side, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pytest_blynk_ota.air import Follower
from pytest_blynk_ota.cloud.faults import CloudFault
from pytest_blynk_ota.cloud.mischief import Mischief
from pytest_blynk_ota.delivery.campaign import Campaign
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.firmware.tag import find
from pytest_blynk_ota.restore import skew_s, standing
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.rack import CHECK_S, Rig


class Offers:
    """Decides when the device gets a URL, and sends it: the cloud's side of an operation.

    Args:
        air: follows the events by the rules of a Blynk.Air shipment; None: one bare offer.
        faults: of the cloud.
        others: what the fault ``other`` sends: by its version the image's name and its bytes.
    """

    def __init__(
        self,
        rig: Rig,
        place: Place,
        campaign: Campaign,
        air: Follower | None,
        after: int,
        faults: Sequence[CloudFault] = (),
        others: Mapping[str, tuple[str, bytes]] | None = None,
    ) -> None:
        self._faults = faults
        self._others = others or {}
        self._rig = rig
        self._mischief: Mischief | None = None
        if faults:
            self._mischief = rig.background.call(rig.cloud.misbehave(place.name, faults))
        self._place = place
        self._campaign = campaign
        self._air = air
        self._count = 0
        self._instead: tuple[str, bytes] | None = None
        """What has taken New's place: its name in the evidence, and the file."""
        self._considered: set[int] = set()
        self._greeted: set[int] = set()
        """Sessions that this operation knows to be the device's."""
        self._latest: int | None = None
        self._closed = False
        self._paused = False
        self._hands_off = False
        self._timeline = rig.recorder.timeline
        self._after = after
        self._deciding = threading.Lock()  # between our thread and a test that cancels
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="blynk-ota offers", daemon=True)

    def start(self) -> None:
        """Begin with a device that is online already, then follow the events."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Raises what went wrong on it."""
        self._stop.set()
        self._timeline.wake()
        self._thread.join()
        mischief, self._mischief = self._mischief, None
        if mischief is not None:
            self._rig.background.call(mischief.end())
        self.check()

    def check(self) -> None:
        """Raises what went wrong on the thread: without offers there is nothing to wait for."""
        if self._error:
            raise self._error

    def cancel(self) -> None:
        """No further offer; one that is going out at this moment goes first."""
        with self._deciding:
            self._close("cancelled")
            self._record("cancelled", why="by the test")

    def pause(self) -> None:
        """No offer until :meth:`resume`; one that is going out at this moment goes first."""
        with self._deciding:
            if not self._paused:
                self._paused = True
                self._record("paused")

    def resume(self) -> None:
        """Offers may go out again."""
        with self._deciding:
            if self._paused:
                self._paused = False
                self._record("resumed")

    def click(self) -> None:
        """The user's click on "Update Firmware"."""
        self._record("clicked")

    def supersede(self, name: str, data: bytes, facts: Mapping[str, Any]) -> None:
        """From now on another image is offered: at once to a device that is here."""
        with self._deciding:
            self._instead = (name, data)
            self._considered.clear()
            self._closed = False
            self._record("superseded", image=name, facts=facts)

    def hands_off(self) -> None:
        """The test does nothing more: what only a hand could send is not sent."""
        self._hands_off = True
        self._timeline.wake()

    def expire(self) -> None:
        """The deadline has passed: no further offer."""
        if not self._closed:
            with self._deciding:
                self._close("deadline")

    def _record(self, kind: str, **data: Any) -> None:
        self._rig.recorder("ota", kind, self._place.name, **data)

    def _run(self) -> None:
        try:
            self._greet()
            while not self._stop.is_set():
                batch = self._timeline.wait(
                    lambda new: new if new or self._stop.is_set() else None,
                    self._wait_s(),
                    after=self._after,
                )
                for event in batch or ():
                    self._after = event.seq
                    self._follow(event)
                self._look_at_the_clock()
        except BaseException as error:
            self._error = error
            self._timeline.wake()

    def _greet(self) -> None:
        """A device that is logged in when the operation begins counts as having just come."""
        state = self._rig.cloud.device(self._place.name)
        if not state.online or not state.reports or state.session is None:
            return
        report, events, speed = state.reports[-1], self._timeline.events(), self._rig.speed
        stands = standing(events, self._place.name, skew_s(speed) / speed)
        here = any(visit.session.number == report.session for visit in stands)
        if report.session == state.session and here:
            self._greeted.add(report.session)
            told = said_of_itself(events, report.session)
            self._record(
                "online",
                session=report.session,
                version=report.version,
                build=report.build,
                fw_type=told["fw_type"],
                library=told["library"],
            )

    def _greet_late(self, event: Event) -> None:
        """A reset that was read late may have hidden the session until the device speaks again."""
        if (event.source, event.kind) == ("cloud", "report"):
            self._greeted.add(event.data["session"])
        elif (event.source, event.kind) == ("cloud", "heard") and (
            event.data["session"] not in self._greeted
        ):
            self._greet()

    def _wait_s(self) -> float:
        """Wall seconds until the clock has to be looked at."""
        due = self._air.due_in(self._timeline.now()) if self._air else None
        return CHECK_S if due is None else min(CHECK_S, due)

    def _look_at_the_clock(self) -> None:
        """Say that a moment has come which changes something, so that a replay knows it too."""
        if self._air is None:
            return
        if self._air.due_in(self._timeline.now()) == 0.0:
            self._record("clock")
        if self._hands_off and self._air.shipment.held_for_good:
            with self._deciding:
                self._close(str(self._air.shipment.held))

    def _follow(self, event: Event) -> None:
        if event.board == self._place.name:
            self._tell_the_faults(event)
        if self._mischief is not None:
            self._rig.background.soon(self._mischief.follow, event)
        if event.board == self._place.name:
            self._greet_late(event)
            if self._air is None and (event.source, event.kind) == ("ota", "superseded"):
                self._greet()
        if self._air is not None:
            self._air.see(event)
            self._decide(self._air)
        elif event.board == self._place.name and (event.source, event.kind) in LOGINS:
            self._offer(event.data["session"])

    def _tell_the_faults(self, event: Event) -> None:
        """What faults of the download wait for. An old session that a newer one has taken the place
        of may close at any time: the device has not left by that."""
        word, session = SEEN.get((event.source, event.kind)), event.data.get("session")
        if word == "login":
            self._latest = session
        if word and not (word == "offline" and self._latest not in (None, session)):
            self._campaign.saw(word)

    def _decide(self, air: Follower) -> None:
        """What the rules of the shipment make of what has just been seen."""
        shipment = air.shipment
        if shipment.wants_url and shipment.session is not None:
            self._offer(shipment.session)
        elif shipment.closed:
            with self._deciding:
                self._close(shipment.closed)

    def _offer(self, session: int) -> None:
        """Send the URL, once on each session."""
        with self._deciding:
            if session in self._considered or self._closed or self._paused:
                return
            self._considered.add(session)
            sent = self._send()
            if self._air is None:
                self._closed = sent

    def _send(self) -> bool:
        number = self._count + 1
        offer, (name, data) = f"o{number}", self._file(number)
        url = self._campaign.offer(offer, data)
        self._record("offer", offer=offer, number=number, image=name)
        sent = self._rig.background.call(
            self._rig.cloud.send_ota(
                self._place.name,
                url,
                offer=offer,
                size=len(data),
                tag=tag_of(data),
            )
        )
        if sent is None:
            return False
        self._considered.add(sent)  # a newer session than the one that reported has it now
        self._count += 1
        return True

    def _file(self, number: int) -> tuple[str, bytes]:
        """The image of an offer, by its name in the evidence: New, unless a fault sends another."""
        for fault in self._faults:
            if fault.kind == "other" and fault.due(number):
                return self._others[fault.values["version"]]
        return self._instead or ("new", self._campaign.data)

    def _close(self, why: str) -> None:
        if not self._closed:
            self._closed = True
            self._record("closed", why=why)


SEEN = {
    ("cloud", "closed"): "offline",
    ("cloud", "login"): "login",
    ("uart", "reset"): "reset",
}
"""What faults of the download can wait for (``delivery.when.EVENTS``)."""

LOGINS = frozenset({("cloud", "report"), ("ota", "online")})
"""Events by which a device says what it runs."""


def said_of_itself(events: Sequence[Event], session: int) -> dict[str, str]:
    """Firmware type and library version, as a device named them on one session."""
    follower = Follower()
    for event in events:
        if event.source == "cloud" and event.data.get("session") == session:
            follower.see(replace(event, board=None))
    runs = follower.shipment.runs
    return {"fw_type": runs.fw_type, "library": runs.library}


def tag_of(image: bytes) -> dict[str, str]:
    """What ``downlink/ota/json`` says of a file, as far as its blnkinf tag does."""
    tag = find(image)
    said = {"type": tag.fw_type, "ver": tag.version, "build": tag.build} if tag else {}
    return {key: value for key, value in said.items() if value}
