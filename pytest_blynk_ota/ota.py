"""The story of an update: restore Old, serve New, trigger, watch, judge.

::

    ota.restore()          once per test, by the fixture
    ota.ship(image)        a Blynk.Air shipment: offered again until Success, limit or rollback
    ota.offer(image)       one bare InternalPinOTA, and no more
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_blynk_ota.air import AirRules
from pytest_blynk_ota.beginning import (
    DOWNLOAD_LIMIT,
    check_arguments,
    default_deadline_s,
    otadata_known,
    planned,
    with_limit,
)
from pytest_blynk_ota.chance import Chance, drawn
from pytest_blynk_ota.cloud.faults import CloudFault, check_behind_relay, refuse_idle
from pytest_blynk_ota.delivery.faults import Fault, flat, parse_all
from pytest_blynk_ota.delivery.standing import fitting
from pytest_blynk_ota.errors import FaultError, FlashFailed, RigError, Undecided, UsageError
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.holdings import Holdings
from pytest_blynk_ota.offers import Offers
from pytest_blynk_ota.relayed import TheirOffers
from pytest_blynk_ota.restore import (
    USUAL,
    Wanted,
    await_settled,
    restore,
    skew_s,
)
from pytest_blynk_ota.result import Result
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.profiles import Profile
from pytest_blynk_ota.rig.rack import Rig
from pytest_blynk_ota.rig.shelf import Firmware, refuse_equal
from pytest_blynk_ota.shipment import Operation
from pytest_blynk_ota.sweep import PowerCutSweep
from pytest_blynk_ota.sweep_run import sweep, sweep_plan
from pytest_blynk_ota.verdict import NEW_RUNS, judge

BARE_OFFER = AirRules(download_limit=None)
"""What Air would show of a device that is sent one URL, whatever comes of it."""

GATHER_ORDER = ("flash", "power_cycle", "control")
"""What is gathered where a verdict is in doubt, the cheapest first."""

AnyFault = Fault | CloudFault
"""What may go wrong: with a download, or at the cloud."""

AnyFaults = Sequence[AnyFault | Sequence[AnyFault]]
"""What stands in a test's list: faults, and what ``faults.seq`` and ``faults.random`` give."""


class Ota:
    """The ``ota`` fixture: operations on one board, from a known baseline.

    Args:
        rig: the rig.
        place: the board.
        firmware: Old, New and what is derived from them.
        evidence: the folder of this test.
        keep: called with each result as it is made; one of a number that was before replaces it.
        chance: the dice of this test.
    """

    def __init__(
        self,
        rig: Rig,
        place: Place,
        firmware: Firmware,
        evidence: Path,
        keep: Callable[[Result], None],
        *,
        chance: Chance | None = None,
        wanted: Wanted = USUAL,
    ) -> None:
        self._rig = rig
        self._place = place
        self._firmware = firmware
        self._evidence = evidence
        self._keep = keep
        self._chance = chance or Chance(drawn(), "")
        self._wanted = wanted
        self._number = 0
        self._last: Result | None = None
        self._overwritten = False
        self._holdings = Holdings(place.name, firmware, factory=wanted.factory)

    def __repr__(self) -> str:
        return f"<ota on {self._place.name}: {self._firmware!r}>"

    @property
    def seed(self) -> int:
        """A number of this test for what it leaves to chance: ``faults.random(seed=ota.seed)``.

        Another in each run; with the run's ``--ota-seed`` the same again.
        """
        return self._chance.seed

    def restore(self) -> None:
        """Bring Old back and wait until it has settled.

        Raises:
            RigError: the board cannot be written, or Old does not come up.
            UsageError: a virtual board cannot run Old.
        """
        if self._place.config.is_virtual and self._firmware.old.behaviour is None:
            raise UsageError(
                f"board {self._place.name} is made of software and runs only images that carry a "
                f"behaviour segment (blynk-ota image make); firmware of your own needs a rig with "
                f"a real board"
            )
        self._overwritten = True
        timeline = self._rig.recorder.timeline
        before = timeline.cursor
        self._holdings.state = restore(self._rig, self._place, self._firmware, self._wanted)
        self._old_is_up(before)

    def rewound(self, start: Callable[[], None]) -> None:
        """A virtual rack has put back the flash that the restore had left: start it into Old.

        Raises:
            RigError: Old does not come up.
        """
        assert self._holdings.state is not None, "restore() comes before the first sweep"
        self._overwritten = True
        before = self._rig.recorder.timeline.cursor
        self._rig.recorder(
            "ota",
            "restored",
            self._place.name,
            image="old",
            slots=self._holdings.state.slots,
            otadata=self._holdings.state.otadata,
            wrote_bytes=0,
            serial_bytes=0,
            seconds=0.0,
            regions=["snapshot"],
            how="snapshot",
        )
        start()
        self._old_is_up(before, settle_s=0.0)  # it had settled when the snapshot was taken

    def _old_is_up(self, after: int, settle_s: float | None = None) -> None:
        old = self._firmware.old
        await_settled(self._rig, self._place, old, after=after, settle_s=settle_s)
        self._holdings.restored()

    def ship(
        self,
        image: Image | None = None,
        *,
        faults: AnyFaults = (),
        download_limit: int = DOWNLOAD_LIMIT,
        rules: AirRules | None = None,
        timeout: float | None = None,
        https: bool | None = None,
        expires: float | None = None,
    ) -> Result:
        """A Blynk.Air shipment, watched to its end.

        Args:
            image: what to ship; the firmware's New if None.
            faults: what goes wrong with the downloads, and at the cloud.
            download_limit: downloads before Air gives up.
            rules: all other options of the shipment; the defaults of ``AirRules`` if None.
            timeout: device seconds; by default enough for every download to stall.
            https: whether the URL is an https one; as the rig file says if None.
            expires: device seconds from the moment a URL is made, after which it is answered with
                403; as the rig file says if None.

        Raises:
            UsageError: the image cannot be told from the one that runs.
            RigError: the rack failed, or the evidence does not decide.
        """
        operation = self.shipping(
            image,
            faults=faults,
            download_limit=download_limit,
            rules=rules,
            timeout=timeout,
            https=https,
            expires=expires,
        )
        self._must_have_power()
        with operation as shipment:
            pass
        return shipment.result

    def offer(
        self,
        image: Image | None = None,
        *,
        faults: AnyFaults = (),
        timeout: float | None = None,
        https: bool | None = None,
        expires: float | None = None,
    ) -> Result:
        """One bare InternalPinOTA, watched to its end. Arguments and errors as for ``ship``."""
        operation = self.offering(
            image, faults=faults, timeout=timeout, https=https, expires=expires
        )
        self._must_have_power()
        with operation as offering:
            pass
        return offering.result

    def _must_have_power(self) -> None:
        """Raises UsageError if the test itself keeps the board dark: nobody will give it back."""
        if self._place.power is not None and self._place.power.is_off:
            raise UsageError(
                f"board {self._place.name}: this test has taken its power away, and nothing can "
                "be offered to it: call power.on() before, or give the power back within "
                "ota.shipping(…) or ota.offering(…)"
            )

    def shipping(
        self,
        image: Image | None = None,
        *,
        faults: AnyFaults = (),
        download_limit: int = DOWNLOAD_LIMIT,
        rules: AirRules | None = None,
        timeout: float | None = None,
        https: bool | None = None,
        expires: float | None = None,
    ) -> Operation:
        """``ship`` as a context manager, for a hand in the middle."""
        return self._operation(
            "ship",
            image,
            faults,
            with_limit(rules, download_limit),
            timeout,
            https=https,
            expires=expires,
        )

    def offering(
        self,
        image: Image | None = None,
        *,
        faults: AnyFaults = (),
        timeout: float | None = None,
        https: bool | None = None,
        expires: float | None = None,
    ) -> Operation:
        """``offer`` as a context manager, for a hand in the middle."""
        return self._operation(
            "offer", image, faults, BARE_OFFER, timeout, https=https, expires=expires
        )

    def relayed(
        self,
        image: Image | None = None,
        *,
        faults: AnyFaults = (),
        timeout: float | None = None,
    ) -> Result:
        """An update that the relayed server begins, watched to its end: its file is served here.

        Args:
            image: what it ships; the firmware's New if None.
            faults: what goes wrong with the downloads.
            timeout: device seconds, those until it begins included.

        Raises:
            UsageError: the rig file names no relay, or a fault is one of the cloud.
            RigError: it ships another file, or the file cannot be had; or as for ``ship``.
        """
        with self.relaying(image, faults=faults, timeout=timeout) as relaying:
            pass
        return relaying.result

    def relaying(
        self,
        image: Image | None = None,
        *,
        faults: AnyFaults = (),
        timeout: float | None = None,
    ) -> Operation:
        """``relayed`` as a context manager, for a hand in the middle. The other server's shipment
        can be cancelled, paused, resumed and clicked there, not here."""
        if self._rig.config.cloud.relay is None:
            raise UsageError(
                f"rig {self._rig.name} has no relay, so no other server can begin an update; its "
                f'file would say: [cloud] relay = "HOST:PORT"'
            )
        if any(isinstance(fault, CloudFault) for fault in flat(faults)):
            raise FaultError(
                "ota.relayed(): the other server makes the offers, so no fault of the cloud can "
                "begin in one; expected faults of the download alone"
            )
        return self._operation("offer", image, faults, BARE_OFFER, timeout, TheirOffers)

    def sweep_power_cuts(
        self,
        image: Image | None = None,
        *,
        torn: int = 2,
        members: int = 1,
        seed: int | None = None,
        timeout: float | None = None,
        bricks: int | None = 2,
    ) -> PowerCutSweep:
        """One shipment, cut everywhere: Old is restored before each, and the last one's end left.

        On a virtual board every flash operation of the update is a place for a cut. All are
        decided, and some of each kind really made; a real board's are sampled moments.

        Args:
            image: what to ship; the firmware's New if None.
            torn: variants of each torn flash operation.
            members: cuts really made of each kind.
            seed: gives the same cuts again; drawn from the run's seed if None.
            timeout: of each shipment, as for ``ship``.
            bricks: stop when so many cuts were not survived, each of which costs a shipment's
                whole deadline; such a sweep is not ``all_well``. None: make all cuts.

        Raises:
            UsageError: the board has no outlet, or an argument is wrong.
            RigError: the rack failed, or a cut did not come where it should.
        """
        offered = image or self._firmware.new
        check_arguments(image, (), None, timeout)
        profile = self._profile(offered)
        wait_s = default_deadline_s(profile, len(offered.data), 1)
        thrown = self._chance.draw() if seed is None else seed
        plan = sweep_plan(torn, members, thrown, timeout, wait_s, profile.self_test_s, bricks)
        if self._number:
            self.restore()
        return sweep(self, self._rig, self._place, offered, plan, self._evidence)

    def _operation(
        self,
        op: str,
        image: Image | None,
        listed: AnyFaults,
        rules: AirRules,
        timeout: float | None,
        offers: type[Offers] = Offers,
        https: bool | None = None,
        expires: float | None = None,
    ) -> Operation:
        limit = rules.download_limit
        check_arguments(image, listed, limit, timeout, https, expires)
        delivery = self._rig.config.delivery
        given = {"https": https, "expires": expires}
        delivery = delivery.model_copy(
            update={key: value for key, value in given.items() if value is not None}
        )
        cloud = [fault for fault in flat(listed) if isinstance(fault, CloudFault)]
        if self._rig.config.cloud.relay is not None:
            check_behind_relay(cloud)
        refuse_idle(cloud)
        offered = image or self._firmware.new
        theirs = flat([parse_all(text) for text in delivery.faults])
        faults = (*flat(listed), *fitting(theirs, offered.data, https=delivery.https))
        running = self._holdings.running(self._events())
        if running is not None:
            refuse_equal(running, offered, ("the running image", "the offered image"))
        others = self._others(offered, faults)
        names = self._holdings.named(running, offered, *others.values())
        named = {image.sha256: name for name, image in names.items()}
        profile = self._profile(offered)
        slow = [fault for fault in faults if isinstance(fault, Fault)]
        size = len(offered.data)
        late_s = self._rig.network.slowness_s(size)
        deadline = timeout or default_deadline_s(profile, size, limit or 1, slow, late_s)

        def begin() -> Mapping[str, Any]:
            # Not before: one that is refused, or never entered, leaves no trace.
            self._number += 1
            self._overwritten = False
            self._holdings.begin(running, names)
            told = self._describe(op, limit, deadline, profile, faults)
            told = {**told, "air": rules.to_data()}
            self._holdings.offered(offered, *others.values())
            return told

        ships = op == "ship"
        return Operation(
            self._rig,
            self._place,
            offered.data,
            faults,
            delivery,
            begin,
            ships,
            self._judged,
            offers,
            others={
                version: (named[image.sha256], image.data) for version, image in others.items()
            },
            superseding=self._holdings.superseding,
        )

    def _profile(self, offered: Image) -> Profile:
        """The board's profile, with the self-test that the offered image says it has."""
        profile = self._place.profile
        behaviour = offered.behaviour
        if behaviour is not None and behaviour.self_test is not None:
            return profile.with_self_test(behaviour.self_test.after_s)
        return profile

    def _others(self, offered: Image, faults: Sequence[AnyFault]) -> dict[str, Image]:
        """What faults of the cloud send in its place, by version."""
        versions = [
            str(fault.values["version"])
            for fault in faults
            if isinstance(fault, CloudFault) and fault.kind == "other"
        ]
        others = {version: self._firmware.restamped(offered, version) for version in versions}
        for image in others.values():
            refuse_equal(offered, image, ("the offered image", "the other one"))
        return others

    def _describe(
        self,
        op: str,
        limit: int | None,
        deadline: float,
        profile: Profile,
        faults: Sequence[AnyFault],
    ) -> Mapping[str, Any]:
        """The data of the ``ota/operation`` event: all that the judge has to know."""
        return {
            "op": op,
            "number": self._number,
            "limit": limit,
            "deadline_s": deadline,
            "speed": self._rig.speed,
            "skew_s": skew_s(self._rig.speed),
            "profile": profile.to_data(),
            "offered": "new",
            **self._holdings.describe(self._events()),
            "otadata": otadata_known(self._events(), self._place.name),
            "faults": [
                planned(fault, self._place.name) for fault in faults if isinstance(fault, Fault)
            ],
            "cloud_faults": [
                {
                    "text": str(fault),
                    "maybe": fault.may,
                    "offers": list(fault.offers) if fault.offers else None,
                    "later": fault.is_later,
                }
                for fault in faults
                if isinstance(fault, CloudFault)
            ],
            "uart": True,
            "flash": True,
        }

    def _events(self) -> Sequence[Event]:
        return self._rig.recorder.timeline.events()

    def _judged(self) -> Result:
        """Judge, and gather what the judge asks for, until it is sure or nothing helps."""
        lines = tuple(self._place.board.console.last())  # before our own resets add to them
        asked: set[str] = set()
        while True:
            try:
                verdict = judge(self._events())
            except Undecided as thin:
                wanted = [want for want in GATHER_ORDER if want in thin.wants - asked]
                if not wanted:
                    raise
            else:
                # Whether New is confirmed, so that it stays, is told by otadata alone.
                if verdict.outcome not in NEW_RUNS or "flash" in asked:
                    break
                wanted = ["flash"]
            asked.add(wanted[0])
            self._gather(wanted[0])
        if "control" not in asked:  # else the board has been restored since
            self._holdings.judged(verdict, self._events())
        result = Result(self._number, verdict, self._evidence, lines)
        self._done(result)
        return result

    def deep_check(self) -> Result:
        """Read otadata and the slots back over the loader, and judge the last operation with them.

        Nothing is read twice: after ``UPGRADED``, and where the other witnesses left a doubt, it
        has been done. The board is reset by it.

        Returns:
            The result of the last operation, its ``flash`` filled in; it takes the old one's place.

        Raises:
            UsageError: there was no operation, or the next one is under way.
            FlashFailed: flash cannot be read, as where it is encrypted.
            RigError: with what stands there the evidence does not decide, or the rack failed.
        """
        if self._last is None or self._place.busy:
            raise UsageError(
                f"board {self._place.name}: ota.deep_check() looks at an operation that has ended; "
                f"expected one before it"
            )
        if self._last.flash is None and self._overwritten:
            raise UsageError(
                f"board {self._place.name}: Old has been restored since operation "
                f"{self._last.number}, so its flash cannot be looked at any more; expected "
                f"ota.deep_check() before that"
            )
        if self._last.flash is None:
            self._gather("flash", must=True)
            verdict = judge(self._events(), self._last.number)
            self._holdings.judged(verdict, self._events())
            self._done(replace(self._last, verdict=verdict))
        return self._last

    def _done(self, result: Result) -> None:
        self._last = result
        self._keep(result)

    def _gather(self, want: str, *, must: bool = False) -> None:
        """Ask one more witness. The control comes last: it overwrites what the others read."""
        name, record = self._place.name, self._rig.recorder
        if want == "flash":
            images = {key: image.data for key, image in self._holdings.names.items()}
            state = self._holdings.state
            assert state is not None, "restore() comes before the first operation"
            rollback = self._wanted.rollback and self._place.profile.rollback
            # A failure is on record: the judge believes the others then.
            with contextlib.nullcontext() if must else contextlib.suppress(FlashFailed):
                self._place.board.read_flash(
                    state.table,
                    images,
                    rollback=rollback,
                    core_dump=self._has_crashed(),
                )
        elif want == "power_cycle":
            record("ota", "power_cycled", name, why="bricked")
            if self._place.power:
                self._place.power.cycle(by="rig")
            else:
                self._place.board.reset(by="rig")
            self._wait_boot()
        elif want == "control":
            try:
                self.restore()
            except RigError as error:
                record("ota", "control", name, ok=False, detail=str(error).splitlines()[0])
            else:
                record("ota", "control", name, ok=True, detail="Old restored and logged in")

    def _has_crashed(self) -> bool:
        """Whether the board has told of a crash since it was restored."""
        for event in reversed(self._events()):
            key = (event.source, event.kind, event.board)
            if key == ("uart", "crash", self._place.name):
                return True
            if key == ("ota", "restored", self._place.name):
                return False
        return False

    def _wait_boot(self) -> None:
        """Give the board the time of one boot; whatever it says in it is evidence."""
        timeline = self._rig.recorder.timeline
        seconds = self._rig.timeout(self._place.profile.boot_s)
        timeline.wait(lambda new: None, seconds, after=timeline.cursor)
