"""One device in one shipment. Pure: time comes in with each event, as seconds of Air's clock."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_blynk_ota.air.rules import AirRules
from pytest_blynk_ota.air.status import CLOSED, UPLOAD_FAILURE_CLOSED, AirStatus
from pytest_blynk_ota.air.table import GATES, Seen, row_of
from pytest_blynk_ota.air.versions import CONDITIONS, Named, names


class Shipment:
    """The state of one device in one shipment; the rules stand in ``table.py``.

    Tell it what happens with the ``on_`` verbs, ask it with the properties. It sends nothing
    itself: where :attr:`wants_url` is true, send, and say so with :meth:`on_sent`.

    Args:
        new: what the shipped firmware calls itself.
        rules: the shipment's options.
        board: the device's name, for the choice of devices.
        now: when the shipment begins.
        ran: versions that the device is known to have run before.
    """

    def __init__(
        self,
        new: Named,
        rules: AirRules | None = None,
        *,
        board: str = "",
        now: float = 0.0,
        ran: Iterable[str] = (),
    ) -> None:
        self.new = new
        self.rules: AirRules = AirRules() if rules is None else rules
        self.now: float = now
        self.status: AirStatus = AirStatus.STARTED
        self.history: list[AirStatus] = []
        self.runs: Named = Named()
        self.session: int | None = None
        self.held: str | None = None
        self.chosen: bool = self.rules.devices is None or board in self.rules.devices
        self.paused: bool = False
        self.cancelled: bool = False
        self.clicked: bool = False
        self.released: bool = True
        self._type = ""
        self._ran = {version for version in ran if version}
        self.on_new = False
        self._success = now
        self._sent_on: set[int] = set()
        self._attempts: set[int] = set()
        self._counted = 0
        self._period = now
        self._heard = now
        self._happens(Seen.BEGIN)

    def __repr__(self) -> str:
        limit = self.rules.download_limit
        told = f"{self.attempts} of {limit or 'any number of'} attempts"
        held = f", held: {self.held}" if self.held else ""
        return f"<Shipment of {self.new.version}: {self.status}, {told}{held}>"

    # what one can ask

    @property
    def wants_url(self) -> bool:
        """Whether a URL is to go out now."""
        return self._candidate and self.held is None

    @property
    def closed(self) -> str | None:
        """Why the shipment is over for this device: a word of ``CLOSED``; None: it is not."""
        if self.status is AirStatus.UPLOAD_FAILURE:
            return UPLOAD_FAILURE_CLOSED if self.rules.upload_failure_closes else None
        if self.status is AirStatus.DOWNLOAD_LIMIT_REACHED and not self.at_limit:
            return None  # a new period has begun
        if self.status is AirStatus.SUCCESS and self.new_on_trial:
            return None
        return CLOSED.get(self.status)

    @property
    def held_for_good(self) -> bool:
        """Whether only a hand can let the next URL out."""
        return any(gate.for_good for gate in GATES if gate.word == self.held)

    @property
    def attempts(self) -> int:
        """Downloads so far in this reset period: GETs with a URL not used before."""
        return self._counted

    @property
    def at_limit(self) -> bool:
        """Whether the attempts of this period are used up."""
        return self.rules.download_limit is not None and self.attempts >= self.rules.download_limit

    @property
    def other_type(self) -> bool:
        """Whether the device's type, as it first told it here, is not the shipment's."""
        wanted = self.rules.template or self.new.fw_type
        return bool(wanted and self._type) and self._type != wanted

    @property
    def strange_version(self) -> bool:
        """Whether it runs a version that is neither New's nor known of before the file."""
        version = self.runs.version
        return bool(self._ran) and version != self.new.version and version not in self._ran

    @property
    def meets_condition(self) -> bool:
        """Whether what the device runs is what the shipment is for."""
        meets, _ = CONDITIONS[self.rules.condition]
        return meets(self.runs, self.new)

    @property
    def new_on_trial(self) -> bool:
        """Whether it is too early to say that New has stayed."""
        return self.now < self._success + self.rules.rollback_after_s

    def due(self) -> float | None:
        """When time alone changes something next; None: never."""
        times = []
        if self.status is AirStatus.REQUESTED and self.rules.upload_failure_after_s is not None:
            times.append(self._heard + self.rules.upload_failure_after_s)
        if self._counted:
            times.append(self._period + self.rules.reset_s)
        if self.held == "window":
            times.append(self.rules.next_window(self.now))
        if self.status is AirStatus.SUCCESS and self.new_on_trial:
            times.append(self._success + self.rules.rollback_after_s)
        return min(times, default=None)

    @property
    def _candidate(self) -> bool:
        """Whether the device is there, does not run New, and has no URL on this login."""
        return (
            self.session is not None
            and not self.on_new
            and self.session not in self._sent_on
            and self.closed is None
        )

    # what can happen

    def advance(self, now: float) -> None:
        """Time goes on. A time before the last one, as witnesses may tell it, moves nothing."""
        while (due := self.due()) is not None and due <= now:
            self.now = max(self.now, due)
            self._timers()
        self.now = max(self.now, now)

    def on_login(self, session: int, runs: Named, now: float) -> None:
        """The device said what it runs."""
        self.advance(now)
        self.session, self.runs = session, runs
        self._type = self._type or runs.fw_type
        build = self.new.build if self.rules.build_counts else ""
        self.on_new = names(runs.version, runs.build, self.new.version, build)
        if self.on_new:
            self._success = self.now if self.status is not AirStatus.SUCCESS else self._success
        self._happens(Seen.NEW if self.on_new else Seen.OTHER)
        if not self.on_new:
            self._ran.add(runs.version)
        self._ask_gates()

    def on_gone(self, session: int, now: float) -> None:
        """A session ended; an older one than the current one is no news."""
        self.advance(now)
        if session == self.session:
            self.session = None
            self._ask_gates()

    def on_sent(self, session: int, now: float, *, news: bool = True) -> None:
        """The URL went out on a session; ``news``: nobody has come with it yet."""
        self.advance(now)
        self._sent_on.add(session)
        if news:
            self._happens(Seen.SENT)
        self._ask_gates()

    def on_get(self, attempt: int, now: float) -> None:
        """The device asked for the file; the firmware server numbers the downloads."""
        self.advance(now)
        self._heard = self.now
        if attempt in self._attempts:
            return
        self._attempts.add(attempt)
        if not self._counted:
            self._period = self.now
        self._counted += 1
        self._happens(Seen.GET)

    def on_moved(self, now: float) -> None:
        """Bytes of the file went out, or were acknowledged."""
        self.advance(now)
        self._heard = self.now

    def on_whole(self, now: float) -> None:
        """The whole file was sent."""
        self.advance(now)
        self._happens(Seen.WHOLE)

    def on_broken(self, now: float) -> None:
        """A transfer ended before its end."""
        self.advance(now)
        self._heard = self.now
        self._happens(Seen.BROKEN)
        self._ask_gates()

    def on_mobile(self, now: float) -> None:
        """A phone took the file, to bring it to the device over BLE."""
        self.advance(now)
        self._happens(Seen.MOBILE)

    def pause(self, now: float) -> None:
        """No URL until :meth:`resume`; what is under way goes on."""
        self._by_hand(now, paused=True)

    def resume(self, now: float) -> None:
        """URLs may go out again."""
        self._by_hand(now, paused=False)

    def cancel(self, now: float) -> None:
        """No further URL, ever; what is under way goes on."""
        self._by_hand(now, cancelled=True)

    def click(self, now: float) -> None:
        """The user's click on "Update Firmware"; it stays clicked."""
        self._by_hand(now, clicked=True)

    def supersede(self, new: Named, now: float) -> None:
        """Another firmware takes New's place: a device that is here is to have it, too."""
        self.advance(now)
        self._ran.add(self.new.version)
        self.new, self.on_new = new, False
        if self.closed is not None and not self.cancelled:
            self._become(AirStatus.STARTED)
        self._sent_on.clear()
        self._ask_gates()

    def release(self, now: float, *, released: bool = True) -> None:
        """The device's stage has its turn, or has not."""
        self._by_hand(now, released=released)

    def _by_hand(self, now: float, **switches: bool) -> None:
        self.advance(now)
        for name, value in switches.items():
            setattr(self, name, value)
        self._ask_gates()

    # how it goes through the tables

    def _happens(self, seen: Seen) -> None:
        rolled_back = self.status is AirStatus.SUCCESS and seen is Seen.OTHER
        row = row_of(self, seen) if self.closed is None or rolled_back else None
        if row is not None and row.to is not None:
            self._become(row.to)

    def _become(self, status: AirStatus) -> None:
        self.status = status
        if self.history[-1:] != [status]:
            self.history.append(status)

    def _ask_gates(self) -> None:
        self.held = None
        if not self._candidate:
            return
        shut = next((gate for gate in GATES if gate.shut(self)), None)
        if shut is not None:
            self.held = shut.word
            status = shut.to(self)
            if status is not None:
                self._become(status)

    def _timers(self) -> None:
        """Everything that is due at this moment."""
        limit = self.rules.upload_failure_after_s
        silent = limit is not None and self.now >= self._heard + limit
        if silent and self.status is AirStatus.REQUESTED:
            self._happens(Seen.SILENCE)
        if self._counted and self.now >= self._period + self.rules.reset_s:
            self._counted = 0
        self._ask_gates()
