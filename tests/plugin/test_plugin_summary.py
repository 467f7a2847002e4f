"""The end of a run on the rig, whichever way it ends; no board is touched here."""

import pytest

TESTS = """
import pytest

def test_good(firmware): pass

def test_bad(firmware):
    assert firmware.old.version == "9"

def test_wrong(firmware):
    firmware.read("none.bin")

@pytest.mark.skip(reason="no time")
def test_late(firmware): pass

def test_no_rig(): assert False
"""


@pytest.fixture
def run(pytester):
    """Runs pytest on a source; gives the lines between our heading and pytest's next one."""

    def run(source: str, *arguments: str) -> list[str]:
        pytester.makepyfile(test_it=source)
        done = pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)
        rows = iter(done.outlines)
        for row in rows:
            if row.strip("= ") == "blynk-ota":
                break
        ours = []
        for row in rows:
            if row.startswith("=="):
                break
            ours.append(row)
        return ours

    return run


def heads(rows: list[str]) -> list[str]:
    return [row for row in rows if not row.startswith(" ")]


@pytest.mark.parametrize(
    "workers",
    [pytest.param([], id="alone"), pytest.param(["-n2"], id="xdist", marks=pytest.mark.nightly)],
)
def test_each_group_is_there_once_and_none_is_empty(run, workers):
    rows = run(TESTS, *workers)
    assert heads(rows)[:3] == [
        "1 firmware failure",
        "1 mistake in a test: what it asks for cannot be done, or is written wrongly",
        "1 skipped",
    ]
    assert "  1 × no time" in rows
    assert rows[-2].startswith("blynk-ota: 1 firmware, 1 error, 1 passed, 1 skipped; evidence in ")
    assert not any("test_no_rig" in row for row in rows)


def test_a_run_in_which_all_passed_says_where_its_evidence_is_and_no_more(pytester, run_folder):
    pytester.makepyfile("def test_it(firmware): pass\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    said, _ = [row for row in done.outlines if row.startswith("blynk-ota: ")]
    assert said == f"blynk-ota: 1 passed; evidence in {run_folder().relative_to(pytester.path)}"
    assert not any(row.strip("= ") == "blynk-ota" for row in done.outlines)


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        (TESTS, ["-x"]),
        pytest.param(TESTS, ["-x", "-n1"], marks=pytest.mark.nightly),
        (
            "def test_bad(firmware): assert False\n"
            "def test_stop(firmware): raise KeyboardInterrupt\n",
            [],
        ),
    ],
    ids=["first failure", "first failure under xdist", "interrupted"],
)
def test_a_run_that_was_stopped_says_so_and_what_failed_until_then(run, source, arguments):
    rows = run(source, *arguments)
    assert "1 firmware failure" in rows
    assert "stopped early; 1 firmware" in rows[-2]


def test_a_file_that_cannot_be_collected_leaves_nothing_to_say(pytester):
    pytester.makepyfile(test_it="def test_it(firmware): pass\n", test_broken="import nowhere\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert "INTERNALERROR" not in done.stdout.str() + done.stderr.str()
    assert not any("blynk-ota: " in row for row in done.outlines)
    done = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--continue-on-collection-errors"
    )
    done.stdout.fnmatch_lines("blynk-ota: *1 passed; evidence in *")
