"""Who has a fixed port at this moment, without touching it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pytest_blynk_ota.cloud.port_holder import holder_of_port
from pytest_blynk_ota.rig.ports.messages import Message, Where
from pytest_blynk_ota.rig.ports.reach import told


@dataclass(frozen=True, slots=True)
class PortState:
    """A fixed port.

    Attributes:
        where: which.
        kind: of door, as the rig file says.
        porter: what its porter says; None if it has none.
        other: the program that has it in place of a porter; "" if none is seen.
    """

    where: Where
    kind: str
    porter: Message | None
    other: str = ""

    @property
    def state(self) -> str:
        """``free``, ``kept`` (by a porter, for the next run), ``used`` or ``taken`` by others."""
        if self.porter is None:
            return "taken" if self.other else "free"
        return "used" if self.porter["tenants"] else "kept"

    def row(self) -> dict[str, Any]:
        """For JSON."""
        row: dict[str, Any] = {
            "cloud_port": str(self.where),
            "kind": self.kind,
            "state": self.state,
        }
        if self.porter is not None:
            row |= {key: self.porter[key] for key in ("pid", "user")}
            row["tenants"] = [
                {
                    "pid": one["pid"],
                    "run": one["run"],
                    "user": one["user"],
                    "since": _iso(one["since"]),
                }
                for one in self.porter["tenants"]
            ]
        elif self.other:
            row["holder"] = self.other
        return row

    def __str__(self) -> str:
        words = {
            "free": "free",
            "taken": f"held by another program: {self.other}",
            "kept": "used by nobody, ",
            "used": f"used by {'; '.join(self._tenants())}; ",
        }[self.state]
        if self.porter is not None:
            words += f"kept by pid {self.porter['pid']} of {self.porter['user']}"
        return f"{self.where}  {self.kind}  {words}"

    def _tenants(self) -> Sequence[str]:
        tenants = self.porter["tenants"] if self.porter else ()
        return [f"pid {one['pid']} of {one['user']} since {_iso(one['since'])}" for one in tenants]


def _iso(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds")


def state_of_port(where: Where, kind: str) -> PortState:
    """Who has a fixed port."""
    porter = told(where)
    return PortState(where, kind, porter, "" if porter else holder_of_port(where.port))
