"""Tales that several files tell, and what they ask of a verdict."""

from __future__ import annotations

from tale import ABORTED, SIZE, Tale, entry, planned

from pytest_blynk_ota.verdict import Verdict

HALF = SIZE // 2
SWITCHED = [entry(1), entry(2)]
REVERTED_OTADATA = [entry(1), entry(2, ABORTED)]


def upgraded(**how: object) -> Tale:
    tale = Tale(**how).offered().downloads().comes_back("new")  # type: ignore[arg-type]
    return tale.closed("success").over()


def loops(**how: object) -> Tale:
    tale = Tale(op="offer", deadline=100, **how).offered().downloads()  # type: ignore[arg-type]
    tale.boots("new")
    for _ in range(5):
        tale.wait(1).crashes().wait(0.2).boots("new")
    return tale.wait(1).crashes().over()


def tale(*texts: str, stays: bool = False, info: bool = True, **more) -> Tale:
    """An offer under way, with these faults planned and sure to fire."""
    faults = tuple(planned(text) for text in texts)
    return Tale(op="offer", faults=faults, info=info, **more).offered(disconnects=not stays)


def back(one: Tale, after: float = 10) -> Verdict:
    """Restart into Old, the end, the verdict."""
    return one.wait(after).comes_back("old").over().judged()


def word(verdict: Verdict) -> str:
    assert len(verdict.downloads) == 1
    return verdict.downloads[0].ended


def reasons(verdict: Verdict) -> str:
    return "\n".join(str(reason) for reason in verdict.reasons)
