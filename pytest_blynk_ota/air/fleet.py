"""One shipment to many devices: who it is for, whose turn it is. Pure, as its machines are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pytest_blynk_ota.air.machine import Shipment
from pytest_blynk_ota.air.rules import AirRules
from pytest_blynk_ota.air.status import AirStatus
from pytest_blynk_ota.air.versions import Named
from pytest_blynk_ota.errors import UsageError


@dataclass(frozen=True, slots=True)
class Target:
    """A device that is known before it logs in.

    Attributes:
        name: what it is called.
        zone: its time zone; None: the shipment's.
        auto_update: its metafield "Firmware Update Control"; None: the shipment's.
        runs: what it was last heard to run.
    """

    name: str
    zone: str | None = None
    auto_update: bool | None = None
    runs: str = ""


class Fleet:
    """A shipment's devices, each with a machine of its own.

    Drive it with the machines' verbs: ``fleet["name"].on_login(…)``. Then :meth:`turn` says who is
    to be sent the URL. Stages: the share of a stage is counted over the devices in the order in
    which they came; a later one makes the share larger, so nobody who had a turn loses it.

    Args:
        new: what the shipped firmware calls itself.
        rules: the shipment's options.
        targets: the devices known when it begins.
        now: when it begins, in seconds of Air's clock.

    Raises:
        UsageError: two targets have one name.
    """

    def __init__(
        self,
        new: Named,
        rules: AirRules | None = None,
        targets: Iterable[Target] = (),
        *,
        now: float = 0.0,
    ) -> None:
        self.new = new
        self.rules = AirRules() if rules is None else rules
        self.now = now
        self.stage = 0
        self.devices: dict[str, Shipment] = {}
        self._paused = self._cancelled = False
        self._waiting: tuple[str, ...] = ()
        for target in targets:
            self.join(target, now)

    def __repr__(self) -> str:
        told = ", ".join(f"{count} {status}" for status, count in sorted(self.counts.items()))
        return f"<Fleet of {self.new.version}, stage {self.stage + 1}: {told or 'nobody'}>"

    def __getitem__(self, name: str) -> Shipment:
        """The machine of a device; one that is new to the shipment joins it."""
        return self.devices.get(name) or self.join(Target(name), self.now)

    def join(self, target: Target, now: float) -> Shipment:
        """A device becomes one of the shipment's: at its begin, or later.

        Raises:
            UsageError: it is one already.
        """
        if target.name in self.devices:
            raise UsageError(f"device {target.name!r} is in the shipment already: name it once")
        self.now = max(self.now, now)
        rules = replace(
            self.rules,
            zone=target.zone or self.rules.zone,
            auto_update=(
                self.rules.auto_update if target.auto_update is None else target.auto_update
            ),
        )
        machine = Shipment(self.new, rules, board=target.name, now=self.now, ran=[target.runs])
        self.devices[target.name] = machine
        if self._paused:
            machine.pause(now)
        if self._cancelled:
            machine.cancel(now)
        self._release()
        return machine

    def turn(self, now: float) -> tuple[str, ...]:
        """Who is to be sent the URL now; opens the next stage when it is time.

        Those who have waited longest come first, so that a server which sends to a few at a time
        leaves nobody behind.
        """
        self.now = max(self.now, now)
        for machine in self.devices.values():
            machine.advance(self.now)
        while self.stage + 1 < len(self.rules.stages) and self._stage_is_done():
            self.next_stage()
        wanting = {name for name, machine in self.devices.items() if machine.wants_url}
        kept = [name for name in self._waiting if name in wanting]
        came = [name for name in self.devices if name in wanting.difference(kept)]
        self._waiting = (*kept, *came)
        return self._waiting

    def next_stage(self) -> None:
        """Go on by hand, whatever became of the stage before."""
        self.stage = min(self.stage + 1, len(self.rules.stages) - 1)
        self._release()

    def pause(self, now: float) -> None:
        """No URL to anybody until :meth:`resume`."""
        self._paused = True
        for machine in self.devices.values():
            machine.pause(now)

    def resume(self, now: float) -> None:
        """URLs may go out again."""
        self._paused = False
        for machine in self.devices.values():
            machine.resume(now)

    def cancel(self, now: float) -> None:
        """No further URL to anybody."""
        self._cancelled = True
        for machine in self.devices.values():
            machine.cancel(now)

    def due(self) -> float | None:
        """When time alone changes something next; None: never."""
        times = [due for one in self.devices.values() if (due := one.due()) is not None]
        return min(times, default=None)

    @property
    def statuses(self) -> Mapping[str, AirStatus]:
        """The status of each chosen device."""
        return {name: one.status for name, one in self.devices.items() if one.chosen}

    @property
    def counts(self) -> Mapping[AirStatus, int]:
        """How many devices have each status."""
        return Counter(self.statuses.values())

    @property
    def _chosen(self) -> list[Shipment]:
        return [machine for machine in self.devices.values() if machine.chosen]

    def _of_stages(self) -> list[Shipment]:
        """The devices of the stages up to the present one."""
        chosen = self._chosen
        # 0.1 of 10 devices is one, though 0.1 * 10 may be a little more
        many = math.ceil(round(self.rules.stages[self.stage] * len(chosen), 9))
        return chosen[:many]

    def _release(self) -> None:
        mine = {id(machine) for machine in self._of_stages()}
        for machine in self._chosen:
            if machine.released != (id(machine) in mine):
                machine.release(self.now, released=id(machine) in mine)

    def _stage_is_done(self) -> bool:
        """Whether enough of the present stage run New."""
        stage = self._of_stages()
        return bool(stage) and sum(map(_is_well, stage)) >= self.rules.stage_success * len(stage)


def _is_well(machine: Shipment) -> bool:
    return machine.on_new or machine.status is AirStatus.SUCCESS
