"""The tables of docs/reference/air.md, made from the code; run it to print them."""

from __future__ import annotations

from pytest_blynk_ota.air import AirRules, AirStatus
from pytest_blynk_ota.air.status import OPEN
from pytest_blynk_ota.air.table import GATES, TRANSITIONS
from pytest_blynk_ota.air.versions import CONDITIONS

GATE_STATUS = {
    "type mismatch": f"{AirStatus.TYPE_MISMATCH}: closed",
    "condition not met": f"{AirStatus.VERSION_MISMATCH}: closed, where the condition is "
    "`lower version` and the device's is higher; else it stays",
    "limit": f"{AirStatus.DOWNLOAD_LIMIT_REACHED}: closed",
    "awaiting the user": f"{AirStatus.AWAITING_USER_ACTION}",
}


def transitions() -> list[str]:
    return [
        "| Seen | In the status | If | Status after it | Source |",
        "|---|---|---|---|---|",
        *(
            f"| {row.seen} | {statuses(row.status)} | {row.when} | "
            f"{row.to or 'stays'} | {row.source} |"
            for row in TRANSITIONS
        ),
    ]


def statuses(found: frozenset[AirStatus]) -> str:
    more = found - OPEN if found >= OPEN else found
    named = ", ".join(str(status) for status in AirStatus if status in more)
    return ", ".join(part for part in ("any open one" if found >= OPEN else "", named) if part)


def gates() -> list[str]:
    return [
        "| Shut by | Status | Source |",
        "|---|---|---|",
        *(
            f"| {gate.word} | {GATE_STATUS.get(gate.word, 'stays')} | {gate.source} |"
            for gate in GATES
        ),
    ]


def conditions() -> list[str]:
    return [
        "| `condition` | Source |",
        "|---|---|",
        *(f"| `{word}` | {source} |" for word, (_, source) in CONDITIONS.items()),
    ]


def options() -> list[str]:
    """The first two columns of the options."""
    return [
        f"| `{field.name}` | `{field.default!r}` |"
        for field in AirRules.__dataclass_fields__.values()
    ]


if __name__ == "__main__":
    for table in (transitions, gates, conditions, options):
        print("\n".join([*table(), ""]))
