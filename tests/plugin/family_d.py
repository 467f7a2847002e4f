"""Family D: what may go wrong with a download, and how each firmware has to come out of it.

The table is the expectation; ``--all`` runs all of it on the virtual rig and compares::

    python tests/plugin/family_d.py --all
    python tests/plugin/family_d.py D8 D19 --profile reference

``docs/reference/delivery-scenarios.md`` says the same in words.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROFILES = ("edgent-old", "edgent-new", "mqtt-idf", "reference")
OUTCOMES = {
    "U": "UPGRADED",
    "L": "DOWNLOAD_LIMIT_REACHED",
    "N": "NOT_STARTED",
    "R": "REJECTED",
    "S": "STALLED",
    "F": "DOWNLOAD_FAILED",
    "O": "OFFLINE",
}
AIR = {
    "S": "SUCCESS",
    "DL": "DOWNLOAD_LIMIT_REACHED",
    "RS": "REQUEST_SENT",
    "NR": "REQUESTED",
    "FD": "DOWNLOADED",
}
AIR_OF = {"U": "S", "L": "DL", "N": "RS", "R": "FD", "S": "NR", "F": "NR", "O": "NR"}
"""What Air shows at the end of an outcome: a try that failed shows as the GET (New Firmware
Requested) or, where the whole file was sent, as Firmware Downloaded; without a GET as Request sent.
"""
ALWAYS: Mapping[str, tuple[str, ...]] = {"mqtt-idf": ("secret in the log",)}
"""It prints the URL, with its token."""
SPEED = 40
"""Where 1 device second is 25 ms: the least distance from a limit that a row has is 5 s."""


Told = Mapping[str, Any]
"""What came of a row: outcome, air, ended (one word a download), findings, reasons."""


@dataclass(frozen=True)
class Row:
    """One scenario.

    Attributes:
        id: of the family, with a letter where it has several faults.
        faults: one text for each.
        want: a letter of ``OUTCOMES`` for each of ``PROFILES``.
        limit: of the shipment; None: a bare offer.
        names: what the DNS says of the firmware server, question by question; empty: the truth.
        speed: of the rig, where 1 device second has to be longer than at ``SPEED``.
        findings: error findings that are expected, by profile.
        air: a word of ``AIR`` for each of ``PROFILES``, where it is not that of the outcome.
    """

    id: str
    faults: tuple[str, ...]
    want: str
    limit: int | None = None
    https: bool = False
    names: tuple[str, ...] = ()
    speed: int = SPEED
    findings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    air: str = ""

    @property
    def airs(self) -> list[str]:
        """A word of ``AIR`` for each profile."""
        return self.air.split() or [AIR_OF[letter] for letter in self.want]

    @property
    def said(self) -> str:
        """What is done, in the words of the page."""
        names = [f"dns {', '.join(self.names)}"] if self.names else []
        limit = [f"limit {self.limit}"] if self.limit is not None else []
        return "; ".join([*self.faults, *names, *limit])

    def tries(self, profile: str) -> int | None:
        """How many downloads there have to be; None: the row does not say."""
        return self.limit if self.wanted(profile) == OUTCOMES["L"] else None

    def wanted_air(self, profile: str) -> str:
        return AIR[self.airs[PROFILES.index(profile)]]

    def wanted(self, profile: str) -> str:
        return OUTCOMES[self.want[PROFILES.index(profile)]]

    def expected_findings(self, profile: str) -> list[str]:
        return sorted({*ALWAYS.get(profile, ()), *self.findings.get(profile, ())})


def row(id: str, want: str, *faults: str, **more: object) -> Row:
    return Row(id, faults, want.replace(" ", ""), **more)  # type: ignore[arg-type]


HANGS = {"mqtt-idf": ("hang",)}

TABLE: tuple[Row, ...] = (
    row("D1a", "F F F F", "status 404"),
    row("D1b", "F F F F", "status 404 body=file"),
    row("D2a", "F F F F", "status 401"),
    row("D2b", "F F F F", "status 403"),
    row("D3a", "F F F F", "status 500"),
    row("D3b", "F F F F", "status 503 retry_after=30"),
    row("D4", "U U F U", "status 503 times 2", limit=3),
    row("D5a", "U U F U", "status 503 times 2", limit=3),
    row("D5b", "L L F F", "status 503", limit=3),
    row("D6a", "F F F F", "status 204"),
    row("D6b", "F F F F", "status 304"),
    row("D6c", "F U U F", "status 206 body=file"),
    row("D6d", "F F F F", "status 200 body=none"),
    row("D7", "R R R R", "page", air="NR NR NR NR"),
    row("D8", "F F U F", "length missing"),
    row("D9", "F F U U", "chunked 4096"),
    row("D10a", "F F R F", "chunked how=malformed"),
    row("D10b", "F F F F", "chunked how=endless"),
    row("D10c", "F F F F", "chunked how=unfinished"),
    row("D11", "R R R R", "length off=-100"),
    row("D12", "F F F F", "length off=100", air="FD FD FD FD"),
    row("D13a", "F F F F", "length 0"),
    row("D13b", "F F R F", "length -1"),
    row("D13c", "F F R F", "length ten"),
    row("D13d", "F F F F", "length huge", air="NR NR FD NR"),
    row("D13e", "U U R U", "double_header Content-Length"),
    row("D13f", "F F R F", "double_header Content-Length value=5000"),
    row("D13g", "R R R R", "length 1000"),
    row("D14", "F U R F", "chunked how=with-length"),
    row("D15a", "R U U R", "digest wrong header=x-MD5"),
    row("D15b", "R U U R", "digest first-half header=x-MD5"),
    row("D15c", "R U U R", "digest last-half header=x-MD5"),
    row("D15d", "U U U U", "digest upper header=x-MD5"),
    row("D16a", "U U U U", "digest missing header=x-MD5"),
    row("D16b", "U U U U", "digest short header=x-MD5"),
    row("D16c", "U U U U", "digest quoted header=x-MD5"),
    row("D17", "F F F F", "encoding gzip"),
    row("D18a", "U U U F", "pad_headers 4096 count=4"),
    row("D18b", "U U U U", "pad_headers 8192"),
    row("D19a", "U F U U", "slow_headers 20", speed=8),
    row("D19b", "S S S S", "stall request"),
    row("D19c", "S O S S", "stall status"),
    row("D19d", "U F U S", "slow_headers 2"),
    row("D20a", "F F F F", "truncate request"),
    row("D20b", "F F F F", "truncate 0"),
    row("D20c", "F F F F", "truncate 1"),
    row("D20d", "F F F F", "truncate 23"),
    row("D20e", "F F F F", "truncate 288"),
    row("D20f", "F F F F", "truncate 50%"),
    row("D20g", "F F F F", "truncate after=last 1"),
    row("D21a", "F F F F", "reset request"),
    row("D21b", "F F F F", "reset 0"),
    row("D21c", "F F F F", "reset 1"),
    row("D21d", "F F F F", "reset 23"),
    row("D21e", "F F F F", "reset 288"),
    row("D21f", "F F F F", "reset 50%"),
    row("D21g", "F F F F", "reset after=last 1"),
    row("D22a", "S S S S", "stall 0", findings=HANGS),
    row("D22b", "S S S S", "stall 50%", findings=HANGS),
    row("D22c", "S S S S", "stall after=last 4096", findings=HANGS),
    row("D22d", "L L O S", "stall 50%", limit=2),
    row("D23a", "U U U U", "stall 50% seconds=25"),
    row("D23b", "S S S U", "stall 50% seconds=60 once", findings=HANGS),
    row("D24", "S S S S", "vanish 50%", speed=10),
    row("D25a", "S S S S", "drip 1"),
    row("D25b", "U U U U", "drip 1 after=last 20"),
    row("D26", "U U U U", "bandwidth 2048"),
    row("D27", "U U U U", "segments 100 gap=0.02"),
    row("D28a", "U U U U", "pad 4096"),
    row("D28b", "U R U U", "pad 16 how=counted", "pad 4096"),
    row("D29a", "R R R R", "corrupt 50%"),
    row("D29b", "R R R R", "corrupt 50%", "drop_header x-MD5"),
    row("D29c", "R F R R", "corrupt 50% maybe", "drop_header x-MD5", "drop_header X-SHA256"),
    row("D29d", "L L R R", "corrupt 50%", limit=2),
    row("D30a", "R R R R", "repeat 50%"),
    row("D30b", "R R R R", "swap 50%"),
    row("D30c", "R R R R", "zero 50%"),
    row("D31", "R R R R", "cut 50%"),
    row(
        "D32",
        "U U F U",
        "corrupt 10% once",
        "truncate 50% once",
        "etag changes",
        limit=3,
    ),
    row("D33a", "F F U U", "redirect 301"),
    row("D33b", "F F U U", "redirect 302 to=relative"),
    row("D33c", "F F U U", "redirect 307"),
    row("D33d", "F F U U", "redirect 308 to=relative hops=2"),
    row("D34", "F F O F", "redirect to=loop", speed=20),
    row("D35", "F F U U", "redirect to=other-host"),
    row("D36", "F F F U", "truncate 50% once"),
    row("D37a", "F F F U", "truncate 50% once", "ranges ignored maybe"),
    row("D37b", "F F F U", "truncate 50% once", "ranges refused maybe"),
    row("D38", "F F F U", "truncate 50% once", "etag changes"),
    row("D39a", "F F F U", "truncate 50% once", "ranges shifted maybe"),
    row("D39b", "F F F U", "truncate 50% once", "ranges repeated maybe"),
    row("D39c", "F F F U", "truncate 50% once", "ranges wrong-total maybe"),
    row("D39d", "F F F F", "truncate 50% once", "ranges short maybe"),
    row("D40a", "N N N N", "unreachable refused"),
    row("D40b", "N N N N", "unreachable silent"),
    row("D40c", "N N N N", "unreachable refused", limit=2),
    row("D41a", "U U U U", "connection keep-alive then=close"),
    row("D41b", "U U U U", "half_close 100% maybe"),
    row("D41c", "F F U U", "early 103"),
    row("D41d", "U U U U", "http_version 1.0"),
    row("D41e", "F F F U", "early 103 gap=2"),
    row("D42a", "N N N N", names=("nxdomain",)),
    row("D42b", "N N N N", names=("silence",)),
    row("D42c", "N N N N", names=("127.0.0.9",)),
    row("D42d", "U U N U", names=("nxdomain", "right"), limit=2),
    row("D43a", "U U U F", "tls expired", https=True, air="S S S RS"),
    row("D43b", "U F F F", "tls unknown-ca", https=True, air="S RS RS RS"),
    row("D43c", "U F F F", "tls wrong-name", https=True, air="S RS RS RS"),
    row("D44a", "S S S S", "tls stalled-handshake", https=True, air="RS RS RS RS"),
    row("D44b", "F F F F", "tls version", https=True, air="RS RS RS RS"),
    row("D45a", "F F F F", "tls record-cut", https=True),
    row("D45b", "F F F F", "tls no-close-notify", https=True),
    row("D45c", "U U U U", "tls no-close-notify after=100%", https=True),
    row("D46", "F F F F", "tls client-certificate", https=True, air="RS RS RS RS"),
    row("D49", "U U U U", "stall 0 seconds=3"),
    row("D50a", "U F U U", "split_headers before-length gap=2"),
    row("D50b", "U F U U", "split_headers in-length gap=2"),
    row("D50c", "U F U U", "split_headers before-end gap=2"),
    row("D51a", "U R U R", "digest wrong"),
    row("D51b", "U F U U", "digest missing"),
    row("D51c", "U F U U", "digest short"),
    row("D51d", "U F U U", "digest quoted"),
)
"""D47 and D48 need packets to be held back, which few hosts let a test do: see the page."""

TESTS = """
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pytest_blynk_ota import faults

CASES = json.loads(Path("cases.json").read_text())
DONE = Path("done.jsonl")


def params():
    for case in CASES:
        marks = [pytest.mark.finding(name) for name in case["findings"]]
        yield pytest.param(case, id=case["id"], marks=marks)


@pytest.mark.parametrize("case", list(params()))
def test_row(ota, network, case):
    told = {"id": case["id"]}
    texts = [one for text in case["faults"] for one in faults.parse_all(text)]
    names = network.dns(case["names"]) if case["names"] else nullcontext()
    try:
        with names:
            if case["limit"] is None:
                result = ota.offer(faults=texts, https=case["https"])
            else:
                result = ota.ship(faults=texts, https=case["https"], download_limit=case["limit"])
    except Exception as error:
        told["outcome"] = f"{type(error).__name__}: {error}".split("\\n")[0]
        raise
    else:
        told["outcome"] = result.outcome.name
        told["air"] = result.air_status.name
        told["ended"] = [one.ended for one in result.downloads]
        told["findings"] = sorted(
            {one.name for one in result.findings if str(one.severity) == "error"}
        )
        told["reasons"] = [str(one) for one in result.reasons]
    finally:
        with DONE.open("a") as file:
            file.write(json.dumps(told) + "\\n")
    assert result.outcome.name == case["want"]
    assert told["findings"] == case["findings"]
    assert told["air"] == case["air"]
    assert case["tries"] in (None, len(told["ended"]))
"""


def rig_text(profiles_toml: str, profile: str, *, tls: bool, speed: int = SPEED) -> str:
    """The shipped rig, faster; with ``tls`` the board dials the cloud over TLS, so that its images
    know the rig's CA."""
    assert "speed = 20" in profiles_toml
    text = profiles_toml.replace("speed = 20", f"speed = {speed}")
    if tls:
        kind = "mqtts" if profile == "mqtt-idf" else "tls"
        text = text.replace(f'"{profile}"\n', f'"{profile}"\ndials = "{kind}"\n', 1)
    return text


def prepare(folder: Path, profile: str, rows: Sequence[Row], *, speed: int = SPEED) -> list[str]:
    """Write the inner run into a folder: the arguments of its pytest."""
    from pytest_blynk_ota.rig.shipped import folder as shipped

    tls = any(one.https for one in rows)
    rig = (shipped("rigs") / "profiles.toml").read_text()
    (folder / "rig.toml").write_text(rig_text(rig, profile, tls=tls, speed=speed))
    cases = [
        {
            "id": one.id,
            "faults": one.faults,
            "limit": one.limit,
            "names": list(one.names),
            "https": True if one.https else None,
            "want": one.wanted(profile),
            "findings": one.expected_findings(profile),
            "air": one.wanted_air(profile),
            "tries": one.tries(profile),
        }
        for one in rows
    ]
    (folder / "cases.json").write_text(json.dumps(cases))
    (folder / "test_family_d.py").write_text(TESTS)
    return ["-p", "no:cacheprovider", "--rig=rig.toml", f"--board={profile}", "test_family_d.py"]


def run(
    profile: str, rows: Sequence[Row], folder: Path, speed: int
) -> dict[str, dict[str, object]]:
    """Run rows on one board: what came of each, by id."""
    folder.mkdir(parents=True)
    arguments = prepare(folder, profile, rows, speed=speed)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "output.txt").write_text(done.stdout + done.stderr)
    path = folder / "done.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {one["id"]: one for one in map(json.loads, lines)}


def problem(one: Row, profile: str, told: Told | None) -> str | None:
    """How what came differs from the table; None: it does not."""
    if told is None:
        return "did not run"
    if told["outcome"] != one.wanted(profile):
        return f"expected {one.wanted(profile)}"
    if told["findings"] != one.expected_findings(profile):
        return f"findings {told['findings']}, expected {one.expected_findings(profile)}"
    if told["air"] != (air := one.wanted_air(profile)):
        return f"Air {told['air']}, expected {air}"
    if one.tries(profile) not in (None, len(told["ended"])):
        return f"{len(told['ended'])} downloads, expected {one.tries(profile)}"
    return None


def main() -> int:
    """Run the matrix, or a part of it; 1 if a cell differs from the table."""
    parser = argparse.ArgumentParser(description="Delivery faults on every firmware profile.")
    parser.add_argument("ids", nargs="*", help="D8, or D19b; with --all none")
    parser.add_argument("--all", action="store_true", help="every row")
    parser.add_argument("--profile", action="append", choices=PROFILES)
    parser.add_argument("--speed", type=int, help="instead of each row's own")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a new folder for the evidence")
    told = parser.parse_args()
    rows = [one for one in TABLE if told.all or {one.id, one.id.rstrip("abcdefg")} & {*told.ids}]
    if not rows:
        parser.error("no such row; give ids of the table, or --all")
    with tempfile.TemporaryDirectory() as scratch:
        return show(matrix(rows, told.profile or PROFILES, told, told.keep or Path(scratch)))


Cell = tuple[Row, str, Told | None]


def matrix(
    rows: Sequence[Row], profiles: Sequence[str], told: argparse.Namespace, folder: Path
) -> list[Cell]:
    """One pytest for each profile, scheme and speed."""
    speeds = sorted({one.speed for one in rows}, reverse=True)
    runs = [
        (profile, https, speed, part)
        for profile in profiles
        for https in (False, True)
        for speed in speeds
        if (part := [one for one in rows if (one.https, one.speed) == (https, speed)])
    ]
    with ThreadPoolExecutor(told.jobs) as pool:
        done = pool.map(
            lambda one: run(
                one[0],
                one[3],
                folder / f"{one[0]}{'-tls' if one[1] else ''}-{one[2]}",
                told.speed or one[2],
            ),
            runs,
        )
        return [
            (one, profile, came.get(one.id))
            for (profile, _, _, part), came in zip(runs, done, strict=True)
            for one in part
        ]


def show(cells: Sequence[Cell]) -> int:
    """Print the table; 1 if a cell is not as expected."""
    count: Counter[bool] = Counter()
    order = {one.id: place for place, one in enumerate(TABLE)}
    for one, profile, told in sorted(cells, key=lambda cell: order[cell[0].id]):
        wrong = problem(one, profile, told)
        count[wrong is None] += 1
        came = str(told["outcome"]) if told else "-"
        print(f"{one.id:<6}{profile:<12}{came:<24} {'ok' if wrong is None else wrong}")
    print(f"{count[True]} as expected, {count[False]} not")
    return 1 if count[False] else 0


if __name__ == "__main__":
    sys.exit(main())
