"""The catalogue as a page, with what each scenario came to in stored runs::

python hil_tests/catalogue_page.py [RUN...] > docs/reference/catalogue.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from catalogue import Scenario, families, scenarios

from pytest_blynk_ota.evidence.results import WORST_FIRST, TestResult
from pytest_blynk_ota.evidence.run import read_run

HEAD = """# The catalogue

Every way in which an update fails that the [stock suite](../explanation/catalogue.md) knows, made
from `hil_tests/catalogue.toml` by `python hil_tests/catalogue_page.py RUN…`. `pytest hil_tests
--scenarios=D22,P` runs some of them.

**Device**: **N** the new image runs, confirmed, and its version is reported; **O** the old one
runs, and the other slot is not selected; **R** New has booted, then Old is back. *Bounded*: it
ends by a deadline. A client without the feature that a scenario is about (ranges, redirects) must
end in O.

**Air**: **S** Success, **UF** Upload failure, **DL** Download limit reached, **RB** Rollback,
**TM** Firmware type mismatch, **VM** Firmware version mismatch, **RS** Request sent, **NR** New
Firmware Requested, **FD** Firmware Downloaded; a→b: for each try → at last. What a stock firmware
really shows is in [Delivery scenarios](delivery-scenarios.md), and in the tests.

**Peers** that test it too, or where it was seen: [](peers.md) has the letters.

**Last result**: in the runs that this page was made from, the worst of its tests on all their
boards; *skipped* says that no board there had what it needs, *–* that it did not run.
"""


def page(results: Iterable[TestResult]) -> str:
    """The whole page."""
    last = last_results(results)
    lines = [HEAD]
    for family in families().values():
        lines += [f"## {family.letter}. {family.title}", "", f"Default: {family.default}.", ""]
        lines += ["| Id | What | Device | Air | Peers | Last result |", "|---|---|---|---|---|---|"]
        lines += rows(family.letter, last)
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def rows(letter: str, last: Mapping[str, str]) -> Iterator[str]:
    """The rows of a family."""
    for one in scenarios().values():
        if one.family == letter:
            cells = [one.id, one.what, one.device, one.air, one.peers, _result(one, last)]
            yield f"| {' | '.join(cells)} |"


def _result(one: Scenario, last: Mapping[str, str]) -> str:
    return f"not here: {one.not_here}" if one.not_here else last.get(one.id, "–")


def last_results(results: Iterable[TestResult]) -> dict[str, str]:
    """The worst word of each scenario; that a test of it was skipped counts least."""
    last: dict[str, str] = {}
    for result in results:
        for id in {one.rstrip("abcdefghijklmnopqrstuvwxyz") for one in result.scenarios}:
            last[id] = min(last.get(id, "skipped"), result.word, key=WORST_FIRST.index)
    return last


def main(runs: Iterable[str]) -> None:
    """Print the page."""
    stored = [read_run(Path(run), check=False) for run in runs]
    told = [test.result for run in stored for test in run.tests if test.result]
    sys.stdout.write(page(told))


if __name__ == "__main__":
    main(sys.argv[1:])
