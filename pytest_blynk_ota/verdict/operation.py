"""What is agreed when an operation begins: its images, its faults, the ways of the firmware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pytest_blynk_ota.evidence.event import Event


@dataclass(frozen=True, slots=True)
class Ways:
    """The firmware profile of an operation; ``_s`` fields are device seconds.

    The numbers stand for a firmware without a profile; ``named`` is False then.
    """

    name: str = "none"
    login_s: float = 60.0
    request_s: float = 20.0
    stall_s: float = 30.0
    apply_s: float = 30.0
    error_restart_s: float = 10.0
    boot_s: float = 15.0
    settle_s: float = 10.0
    self_test_s: float = 0.0
    in_flight_stall_s: float = 5.0
    loop: int = 4
    rollback: bool = True
    sleeper: bool = False
    named: bool = False
    digests: tuple[str, ...] = ("x-md5",)

    @classmethod
    def of(cls, profile: Mapping[str, Any] | None) -> Ways:
        """Read the profile as it stands in the evidence; what it does not say is a default."""
        given = {
            key: value
            for key, value in (profile or {}).items()
            if key in cls.__slots__ and key != "named" and value is not None
        }
        named = given.get("name", "default") != "default"
        if "digests" in given:
            given["digests"] = tuple(given["digests"])
        return cls(**given, named=named)

    @property
    def settle(self) -> float:
        """Device seconds of unbroken login that make a board settled (the end of the watch)."""
        return max(self.settle_s, self.self_test_s + 5 if self.self_test_s else 0.0)


@dataclass(frozen=True, slots=True)
class Operation:
    """The ``ota/operation`` event, typed. Names are keys of ``images``."""

    t: float
    seq: int
    board: str | None
    number: int
    op: str
    limit: int | None
    deadline_s: float
    speed: float
    skew_s: float
    ways: Ways
    images: Mapping[str, Mapping[str, Any]]
    running: str | None
    offered: str
    slots: Mapping[str, Mapping[str, Any]]
    otadata: tuple[str, ...] | None
    faults: tuple[Mapping[str, Any], ...]
    cloud_faults: tuple[Mapping[str, Any], ...]
    uart: bool
    flash: bool
    factory: Mapping[str, Any] | None = None
    """Label, offset, size and image of the factory partition, where it is known what is there."""
    others: frozenset[str] = frozenset()
    """The images that were on offer at another time: before another took their place, or then."""

    @classmethod
    def of(cls, event: Event) -> Operation:
        data = event.data
        return cls(
            t=event.t,
            seq=event.seq,
            board=event.board,
            number=data["number"],
            op=data["op"],
            limit=data["limit"],
            deadline_s=data["deadline_s"],
            speed=data["speed"],
            skew_s=data["skew_s"],
            ways=Ways.of(data["profile"]),
            images=data["images"],
            running=data["running"],
            offered=data["offered"],
            slots=data["slots"],
            otadata=tuple(data["otadata"]) if data["otadata"] else None,
            faults=tuple(data["faults"]),
            cloud_faults=tuple(data.get("cloud_faults", ())),
            uart=data["uart"],
            flash=data["flash"],
            factory=data.get("factory"),
        )

    def superseded(self, data: Mapping[str, Any]) -> Operation:
        """The same where another image has taken the place of the offered one, by the data of
        ``ota/superseded``."""
        images = {**self.images, data["image"]: data["facts"]}
        return replace(self, images=images).offering(data["image"])

    def offering(self, image: str) -> Operation:
        """The same with another of its images as the one on offer."""
        others = (self.others | {self.offered}) - {image}
        return replace(self, offered=image, others=others)

    @property
    def tried(self) -> frozenset[str]:
        """The images that were on offer: each of them is New, where none of them runs."""
        return (self.others - {self.running}) | {self.offered}

    @property
    def skew(self) -> float:
        """Wall seconds within which two witnesses' events have no order."""
        return self.skew_s / self.speed

    def wall(self, device_s: float) -> float:
        """Device seconds in wall seconds."""
        return device_s / self.speed
