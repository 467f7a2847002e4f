"""One line of a policy against the results that may count for it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pytest_blynk_ota.gate.accept import Binary
from pytest_blynk_ota.gate.claims import Claim
from pytest_blynk_ota.gate.decision import Verdict
from pytest_blynk_ota.gate.policy import Demand, Line, Waiver
from pytest_blynk_ota.gate.remedies import remedy
from pytest_blynk_ota.gate.statistics import interval, runs_needed, upper_bound
from pytest_blynk_ota.gate.words import count, percent

WORST_FIRST: Sequence[Verdict] = ("fail", "incomplete", "pass")
SHOWN_CONFIDENCE = 0.95
"""Of the interval that is told of a rate that nobody asked for."""
FAILURES_TOLD = 3
MAX_REASON_CHARS = 80
DERIVED = (
    "in which an image made from it was installed, which the policy does not let stand for it "
    "(derived)"
)
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Share:
    """One scenario of a line, or all of them together, judged.

    Attributes:
        what: the scenario, or several, comma-separated.
        runs, failures: results that count, and how many of them failed.
        needed: the least runs that can decide.
        low, high: the interval of the failure rate, 95 %, two-sided.
        sentence: why, without a full stop.
        short: passes that are missing.
        used: the results that count.
    """

    what: str
    verdict: Verdict
    runs: int
    failures: int
    needed: int
    low: float
    high: float
    sentence: str
    short: int = 0
    used: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """A line, judged.

    Attributes:
        chip: that it was judged on.
        shares: its parts, each with its own verdict.
        waived: what was not asked for.
        apart: how many results could not count, by reason.
        warnings: findings that the policy wants told.
    """

    line: Line
    chip: str
    verdict: Verdict
    shares: tuple[Share, ...]
    waived: tuple[Waiver, ...]
    apart: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]
    sentence: str
    remedy: str

    @property
    def used(self) -> tuple[Claim, ...]:
        """The results that count."""
        seen = {id(claim): claim for share in self.shares for claim in share.used}
        return tuple(seen.values())


def worst(verdicts: Iterable[Verdict], none: Verdict = "pass") -> Verdict:
    """The worst of several; ``none`` if there are none."""
    found = set(verdicts)
    return next((one for one in WORST_FIRST if one in found), none)


def judge_line(
    line: Line,
    chip: str,
    claims: Sequence[Claim],
    waivers: Sequence[Waiver],
    binary: Binary,
    *,
    blocked: frozenset[int],
    now: float,
    barred: Sequence[Claim] = (),
) -> Judged:
    """Judge one line on one chip.

    Args:
        claims: in the order of their time.
        barred: of images made from the binary, which the policy does not let stand for it.
        waivers: those in force.
        blocked: numbers of runs whose passes do not count.
        now: seconds since the epoch.
    """
    mine = [
        one for one in waivers if one.line == line.name and (not one.chips or chip in one.chips)
    ]
    scenarios = [one for one in line.scenarios if one not in {w.scenario for w in mine}]
    apart: Counter[str] = Counter()
    counted = [
        claim
        for claim in claims
        if any(claim.of(one) for one in scenarios)
        and _counts(claim, line, chip, binary, blocked, now, apart)
    ]
    instead = [one for one in barred if one.outcome == "pass" and any(map(one.of, scenarios))]
    if instead:
        apart[DERIVED] += len(instead)
    shares = tuple(_shares(line, scenarios, counted))
    broken, warnings = _findings(line, counted, binary)
    verdict = worst([one.verdict for one in shares] + ["fail"] * bool(broken))
    return Judged(
        line,
        chip,
        verdict,
        shares,
        tuple(mine),
        tuple(sorted(apart.items())),
        tuple(warnings),
        _sentence(line, chip, shares, mine, apart, broken, warnings),
        remedy(line, chip, shares, binary, barred=DERIVED in apart, finding=bool(broken)),
    )


def _counts(
    claim: Claim,
    line: Line,
    chip: str,
    binary: Binary,
    blocked: frozenset[int],
    now: float,
    apart: Counter[str],
) -> bool:
    """Whether a result may count; if it is one and may not, ``apart`` gets the reason."""
    if claim.outcome not in ("pass", "fail"):
        apart[_no_result(claim)] += 1
        return False
    if claim.outcome == "pass":
        reason = _proves_nothing(claim, line, binary) or _not_of(claim, line, chip, now)
        reason = reason or ("of a run with something wrong" if claim.run in blocked else "")
    else:
        reason = _not_of(claim, line, chip, now)
        if not reason and not _takes_part(claim, line, binary):
            reason = f"not tested as {line.tested_as}"
    if reason:
        apart[reason] += 1
    return not reason


def _no_result(claim: Claim) -> str:
    if claim.outcome == "broken":
        return "of an error of the rack or of the test"
    return f"{claim.word}" + (f" ({claim.message[:MAX_REASON_CHARS]})" if claim.message else "")


def _not_of(claim: Claim, line: Line, chip: str, now: float) -> str:
    """Why a result is not of what the line asks for; a failure on a board that never said who it is
    is."""
    if now - claim.began > line.max_age_s:
        return f"older than {_age(line.max_age_s)}"
    failed = claim.outcome == "fail"
    if claim.chips and (chip not in claim.chips if failed else claim.chips != {chip}):
        return f"not on {chip} alone" if chip in claim.chips else f"not on {chip}"
    if not claim.chips and not failed:
        return "on a board that did not say who it is"
    if line.rig != "any" and claim.kinds - ({line.rig, "unknown"} if failed else {line.rig}):
        return f"not on {line.rig} boards"
    return ""


def _takes_part(claim: Claim, line: Line, binary: Binary) -> bool:
    """Whether a failure is one of the binary in the part that the line asks for."""
    if not claim.touched:
        return True
    part = {"old": claim.ran, "new": claim.offered, "either": claim.touched}[line.tested_as]
    return bool(part & binary.hashes)


def _proves_nothing(claim: Claim, line: Line, binary: Binary) -> str:
    """Why a pass says nothing of the binary; "" where it does."""
    if not claim.operations:
        return "without any update in it"
    if claim.digest is None:
        return "without evidence"
    part = {"old": claim.ran, "new": claim.arrived, "either": claim.ran | claim.arrived}
    if part[line.tested_as] & binary.hashes:
        return ""
    if claim.arrived & binary.refused:
        return DERIVED
    if claim.touched & binary.hashes and line.tested_as == "either":
        return "in which the binary was offered and never ran"
    return {"old": "in which it did not do the update", "new": "in which it was not installed"}.get(
        line.tested_as, "in which it did not take part"
    )


def _shares(line: Line, scenarios: Sequence[str], counted: Sequence[Claim]) -> Iterator[Share]:
    for scenario in scenarios:
        used = [one for one in counted if one.of(scenario)]
        if line.pool:
            yield _present(line, scenario, used)
        else:
            yield _share(line, scenario, used, line.demand)
    if line.pool and scenarios:
        yield _share(line, ", ".join(scenarios), counted, line.demand)


def _present(line: Line, what: str, used: Sequence[Claim]) -> Share:
    """Whether a scenario of a pool passed as often as it has to; its failures are the pool's."""
    passes = sum(one.outcome == "pass" for one in used)
    missing = line.repetitions - passes
    text = f"{what}: {passes} of {len(used)} passed"
    return Share(
        what,
        "incomplete" if missing > 0 else "pass",
        len(used),
        len(used) - passes,
        line.repetitions,
        0.0,
        1.0,
        text + (f", {line.repetitions} asked for" if missing > 0 else ""),
        max(missing, 0),
    )


def _share(line: Line, what: str, used: Sequence[Claim], demand: Demand) -> Share:
    runs, failures = len(used), sum(one.outcome == "fail" for one in used)
    verdict, why, short = _verdict(used, demand)
    missing = line.repetitions - (runs - failures)
    if verdict == "pass" and demand.walk is not None and missing > 0:
        verdict, why, short = "incomplete", "", missing
    low, high = interval(failures, runs, SHOWN_CONFIDENCE) if runs else (0.0, 1.0)
    return Share(
        what, verdict, runs, failures, demand.runs, low, high,
        _told(what, used, runs, failures, demand, why), short, tuple(used),
    )  # fmt: skip


def _verdict(used: Sequence[Claim], demand: Demand) -> tuple[Verdict, str, int]:
    """The verdict on results in their order; why, where there is more to say than numbers; and how
    many passes are missing."""
    failed = [one.outcome == "fail" for one in used]
    if demand.walk is not None:
        said, runs, failures = demand.walk.follow(failed)
        if said is None:
            return "incomplete", "", demand.walk.pass_after[failures] - runs
        if not said:
            return "fail", f"clear after {count(runs, 'run')}, {failures} of them failed", 0
    else:
        said, missing = _counted(failed, demand)
        if said is None:
            return "incomplete", "", missing
        if not said:
            return "fail", "", 0
    if demand.rate is None or demand.confidence is None:
        return ("pass" if sum(failed) <= demand.allowed else "fail"), "", 0
    # What was decided is not taken back by chance, but by failures that came after it.
    bound = upper_bound(sum(failed), len(failed), demand.confidence)
    if bound > demand.rate + ROUNDING:
        return "fail", "of all results, those behind the decision too", 0
    return "pass", "", 0


def _counted(failed: Sequence[bool], demand: Demand) -> tuple[bool | None, int]:
    """What a count that was fixed in advance says, in the order of the results, as soon as those
    that are still to come cannot change it; and how many passes are missing."""
    missing, spare = demand.runs - demand.allowed, demand.allowed
    for one in failed:
        missing, spare = missing - (not one), spare - one
        if spare < 0:
            return False, 0
        if missing <= 0:
            return True, 0
    return None, missing


def _told(
    what: str, used: Sequence[Claim], runs: int, failures: int, demand: Demand, why: str
) -> str:
    text = f"{what}: {runs - failures} of {runs} passed"
    if demand.rate is not None and demand.confidence is not None:
        text += (
            f"; failure rate at most {percent(demand.rate)} asked for with "
            f"{percent(demand.confidence)} confidence, which takes {count(demand.runs, 'run')}"
        )
        if runs:
            shown = upper_bound(failures, runs, demand.confidence)
            text += f", shown is at most {percent(shown)}"
    elif runs < demand.runs:
        text += f", {demand.runs} asked for"
    if why:
        text += f" ({why})"
    bad = [one for one in used if one.outcome == "fail"]
    told = [f"{one.id}: {one.message or one.word}" for one in bad[:FAILURES_TOLD]]
    if len(bad) > FAILURES_TOLD:
        told.append(f"and {len(bad) - FAILURES_TOLD} more")
    return text + ("; failed: " + "; ".join(told) if told else "")


def _findings(line: Line, counted: Sequence[Claim], binary: Binary) -> tuple[list[str], list[str]]:
    """Findings of updates in which the binary took part: those that fail, and those to tell."""
    seen: Counter[str] = Counter()
    for claim in counted:
        for one in claim.operations:
            if {one.running, one.offered, one.ended_on} & binary.hashes:
                seen.update(set(one.findings))
    told = {
        name: f"{name} ({count(number, 'update')})"
        for name, number in sorted(seen.items())
        if line.findings.get(name, "warn") != "ignore"
    }
    fails = [text for name, text in told.items() if line.findings.get(name) == "fail"]
    return fails, [text for text in told.values() if text not in fails]


def _sentence(
    line: Line,
    chip: str,
    shares: Sequence[Share],
    waived: Sequence[Waiver],
    apart: Counter[str],
    broken: Sequence[str],
    warnings: Sequence[str],
) -> str:
    parts = [one.sentence for one in shares if one.verdict != "pass"]
    well = [one for one in shares if one.verdict == "pass"]
    if well:
        parts.append("; ".join(one.sentence for one in well))
    if waived:
        parts.append("waived: " + "; ".join(map(str, waived)))
    if broken:
        parts.append("findings that the policy does not allow: " + ", ".join(broken))
    if warnings:
        parts.append("findings: " + ", ".join(warnings))
    if apart:
        parts.append(
            "not counted: "
            + "; ".join(f"{count(number, 'result')} {why}" for why, number in sorted(apart.items()))
        )
    return f"on {chip}: " + ". ".join(parts)


def _age(seconds: float) -> str:
    hours = seconds / 3600
    return count(round(hours / 24), "day") if hours % 24 == 0 else count(round(hours), "hour")


def needs(line: Line) -> str:
    """How many runs a line takes, in advance."""
    demand, scenarios = line.demand, len(line.scenarios)
    each = (
        f"of {', '.join(line.scenarios)}"
        if line.pool
        else f"of each of {', '.join(line.scenarios)}"
    )
    each = f"of {line.scenarios[0]}" if scenarios == 1 else each
    if demand.rate is None or demand.confidence is None:
        text = f"{count(demand.runs, 'run')} {each}"
        return text + (f", {demand.allowed} of which may fail" if demand.allowed else "")
    rate, sure = percent(demand.rate), percent(demand.confidence)
    if demand.walk is not None:
        walk = demand.walk
        passes = ", ".join(
            f"{after} with {count(k, 'failure') if k else 'none'}"
            for k, after in enumerate(walk.pass_after)
        )
        good, bad = walk.promise(walk.good), walk.promise(walk.bad)
        return (
            f"at most {rate} with {sure} confidence, {each}: passes after {passes} failing, at "
            f"most {count(walk.last, 'run')}; on average {good.runs:.0f} of a release that fails "
            f"{percent(walk.good)} of its runs, and {bad.runs:.0f} of one that fails {rate}; "
            f"passes {percent(bad.passes)} of such bad ones, fails {percent(1 - good.passes)} of "
            "such good ones"
        )
    more = runs_needed(demand.rate, demand.confidence, demand.allowed + 1)
    allowed = count(demand.allowed, "failure") if demand.allowed else "no failure"
    return (
        f"at most {rate} with {sure} confidence: {count(demand.runs, 'run')} {each} with {allowed} "
        f"(a policy that allows {demand.allowed + 1} takes {more})"
    )
