"""One operation on a board: offers go out, the watch goes on, the judge speaks.

``Operation`` is what ``ota.shipping()`` and ``ota.offering()`` give to a ``with`` statement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pytest_blynk_ota.air import AirStatus, Follower, air_status
from pytest_blynk_ota.cloud.faults import CloudFault
from pytest_blynk_ota.errors import NotReached, UsageError
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.offers import Offers
from pytest_blynk_ota.result import Result
from pytest_blynk_ota.rig.config import DeliverySection
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.profiles import PROFILES
from pytest_blynk_ota.rig.rack import CHECK_S, Rig
from pytest_blynk_ota.verdict.watch import Watch, Watcher

ON_ITS_WAY_S = 0.05
"""Wall seconds for what has left the rack to be read, before its absence counts as silence."""


class Operation:
    """A shipment or an offer under way; ``result`` is there when the ``with`` block has ended.

    Args:
        faults: of the download and of the cloud.
        delivery: how the file is delivered.
        begin: called when the operation begins; gives the data of the ``ota/operation`` event.
        ships: whether it is a Blynk.Air shipment, by the rules in that event; else one bare offer.
        offers: who makes the offers.
        others: what the fault ``other`` sends: by its version the image's name and its bytes.
        superseding: called with an image that is to be offered, too; gives its name in the
            evidence, its bytes and its facts.
        judged: called when the watch is over; gives the result.
    """

    def __init__(
        self,
        rig: Rig,
        place: Place,
        image: bytes,
        faults: Sequence[Any],
        delivery: DeliverySection,
        begin: Callable[[], Mapping[str, Any]],
        ships: bool,
        judged: Callable[[], Result],
        offers: type[Offers] = Offers,
        *,
        others: Mapping[str, tuple[str, bytes]] | None = None,
        superseding: Callable[[Image], tuple[str, bytes, Mapping[str, Any]]],
    ) -> None:
        self._superseding = superseding
        self._made_by = offers
        self._others = others
        self._rig = rig
        self._place = place
        self._image = image
        self._faults = faults
        self._delivery = delivery
        self._begin = begin
        self._ships = ships
        self._judged = judged
        self._result: Result | None = None
        self._timeline = rig.recorder.timeline
        self._after = 0
        self._watch = Watcher()

    @property
    def result(self) -> Result:
        """The result. Raises RuntimeError inside the ``with`` block, where there is none yet."""
        if self._result is None:
            raise RuntimeError("the operation has no result yet: read it after the with block")
        return self._result

    @property
    def evidence(self) -> Path:
        """The folder of the evidence."""
        return self.result.evidence

    def __enter__(self) -> Operation:
        if self._place.busy:
            raise UsageError(
                f"board {self._place.name}: a shipment or an offer is under way; leave its "
                "with block before the next one begins"
            )
        cloud = [fault for fault in self._faults if isinstance(fault, CloudFault)]
        delivery = [fault for fault in self._faults if not isinstance(fault, CloudFault)]
        how = self._delivery
        self._campaign = self._rig.delivery.campaign(
            self._place.name,
            self._image,
            name="new.bin",
            faults=delivery,
            https=how.https,
            lifetime_s=how.expires,
            single_use=how.single_use,
        )
        try:
            self._after = self._timeline.cursor
            self._rig.recorder("ota", "operation", self._place.name, **self._begin())
            air = Follower() if self._ships else None
            self._offers = self._made_by(
                self._rig, self._place, self._campaign, air, self._after, cloud, self._others
            )
            self._offers.start()
            self._place.busy = True
        except BaseException:
            self._campaign.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            try:
                if self._result is None:
                    self._abandon()
            finally:  # after the offers: a URL made later would outlive the operation
                self._place.busy = False
                self._campaign.close()

    def _abandon(self) -> None:
        """End the thread after a failure; its own trouble must not hide the first one."""
        try:
            self._offers.stop()
        except Exception as second:
            self._rig.recorder(
                "rig", "error", self._place.name, error=type(second).__name__, message=str(second)
            )

    def _finish(self) -> None:
        self._offers.hands_off()
        why = self.await_end()
        self._rig.recorder("ota", "watch_ended", self._place.name, why=why)
        self._offers.stop()
        self._result = self._judged()

    def await_end(self) -> str:
        """Wait until nothing that could change the outcome is still to come; says why."""
        while True:
            self._rig.check()
            self._offers.check()
            seen = self._timeline.cursor
            state = self._look()
            if state.over:
                return state.why
            self._timeline.wait(
                lambda new: True if new else None,
                min(max(state.wake_in, 0.002), CHECK_S),
                after=seen,
            )

    def _look(self) -> Watch:
        """The state of the watch. Its end is looked at twice: on a busy host the crash that
        settles nothing may be on its way, or the rack may not have had its turn for a while."""
        state = self._watch(self._timeline.events(), self._timeline.now())
        if state.is_late:
            self._offers.expire()
        if not state.over:
            return state
        self._rig.catch_up()
        self._timeline.wait(lambda new: None, ON_ITS_WAY_S, after=self._timeline.cursor)
        return self._watch(self._timeline.events(), self._timeline.now())

    def cancel(self) -> None:
        """Cancel the shipment: no further offer; a download under way goes on."""
        self._offers.cancel()

    def stay(self, seconds: float) -> None:
        """Let so many device seconds pass, for a test in which nothing may happen.

        Raises:
            RigError: the rack failed meanwhile.
        """
        ends = self._timeline.now() + seconds / self._rig.speed
        while (left := ends - self._timeline.now()) > 0:
            self._rig.check()
            self._offers.check()
            self._timeline.wait(lambda new: None, min(left, CHECK_S), after=self._timeline.cursor)

    def pause(self) -> None:
        """Pause the shipment: no offer until :meth:`resume`; a download under way goes on."""
        self._offers.pause()

    def resume(self) -> None:
        """Go on with a paused shipment: a device that waits is offered the file now."""
        self._offers.resume()

    def click(self) -> None:
        """The user's click on "Update Firmware"; it counts from now on, and stays."""
        self._offers.click()

    def supersede(self, image: Image) -> None:
        """From now on another image is on offer: a device that is here is sent its URL at once,
        whatever it is doing, any other one when it logs in. Whichever of the images runs at the
        end is New.

        Raises:
            UsageError: it cannot be told from one that runs, or is on offer.
        """
        self._offers.supersede(*self._superseding(image))

    def go(self) -> None:
        """Say ``go`` to the faults that wait for it, by ``until_event`` or ``from_event``."""
        self._rig.recorder("test", "action", self._place.name, what="go")
        self._campaign.saw("go")

    def _check_that_it_prints(self) -> None:
        profile = self._place.profile
        if profile.prints_progress or profile.name == "default":  # of which nothing is known
            return
        do = [one.name for one in PROFILES.values() if one.prints_progress]
        raise UsageError(
            f"board {self._place.name}: firmware of the profile {profile.name} prints no progress "
            f"({' and '.join(do)} do); wait for it by what the device acknowledges, by='ack'"
        )

    def _printed_progress(self) -> bool:
        return any(
            event.board == self._place.name and event.data.get("what") == "progress"
            for event in self._timeline.events(self._after)
            if (event.source, event.kind) == ("uart", "firmware")
        )

    @property
    def air_status(self) -> AirStatus:
        """What Blynk.Air would show now."""
        return air_status(self._timeline.events(self._after))

    def wait_for(
        self,
        *,
        progress: float | None = None,
        log: str | None = None,
        report: str | None = None,
        download: int | None = None,
        air_status: AirStatus | None = None,
        by: str = "ack",
    ) -> None:
        """Wait for a moment of the operation; its end without that moment is a failure.

        Args:
            progress: part of the file, 0 to 1, that the device has acknowledged.
            by: ``log``: by the progress that the device itself prints, where its firmware does.
            log: regular expression that a line of the log matches.
            report: version that the device reports.
            download: number of the download that ``progress`` speaks of; any if None.
            air_status: status that Blynk.Air shows, or has shown in this operation.

        Raises:
            NotReached: the operation ended first; says how.
            ValueError: not exactly one of progress, log, report and air_status was given.
            UsageError: the firmware of this board's profile prints no progress.
        """
        from pytest_blynk_ota.moments import moment

        if by == "log":
            self._check_that_it_prints()
        awaited, found = moment(
            progress=progress,
            log=log,
            report=report,
            download=download,
            air_status=air_status,
            by=by,
            size=len(self._image),
        )
        cursor = self._after
        while True:
            self._rig.check()
            self._offers.check()
            state = self._look()
            batch = self._timeline.events(cursor)
            cursor += len(batch)
            if any(found(event) for event in batch if event.board == self._place.name):
                return
            if state.over:
                mute = by == "log" and not self._printed_progress()
                what = "the firmware prints no progress that is known here; " if mute else ""
                raise NotReached(awaited, f"{what}the operation ended first: {state.why}")
            self._timeline.wait(
                lambda new: True if new else None,
                min(max(state.wake_in, 0.002), CHECK_S),
                after=cursor,
            )
