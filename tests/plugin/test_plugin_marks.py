"""A marker of ours that is mistyped is an error; pytest alone would warn, and go on without it."""

import pytest

from pytest_blynk_ota import marks
from pytest_blynk_ota.errors import ConfigError


@pytest.fixture
def check(pytester):
    """Checks the one test of a source, of which these lines stand above it."""

    def check(*lines: str, ini: str = "") -> None:
        pytester.makeini(f"[pytest]\nmarkers =\n{ini}")
        source = "\n".join(["import pytest", *lines, "def test_it(): pass"])
        (item,) = pytester.getitems(source)
        marks.check(item.config, [item])

    return check


@pytest.mark.filterwarnings("ignore::pytest.PytestUnknownMarkWarning")
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ('findng("hang")', "finding"),
        ('findings("hang")', "finding"),
        ('require("power")', "requires"),
        ('scenarios("D22a")', "scenario"),
        ("base_line(slot=1)", "baseline"),
        ("nigthly", "nightly"),
        ("smok", "smoke"),
        ("soaks", "soak"),
    ],
)
def test_a_mistyped_marker_of_ours_is_an_error_that_says_which_was_meant(check, typed, meant):
    with pytest.raises(ConfigError, match=rf"::test_it: unknown marker .*; did you mean '{meant}'"):
        check(f"@pytest.mark.{typed}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnknownMarkWarning")
@pytest.mark.parametrize("other", ["slow", "integration", "final", "fixture", "flaky", "night"])
def test_a_marker_that_is_none_of_ours_is_left_to_pytest(check, other):
    check(f"@pytest.mark.{other}")


@pytest.mark.parametrize("line", ["soaks: for long", "findngs(a, b): of ours", "smok"])
def test_a_marker_that_somebody_registered_is_theirs_however_much_alike(check, line):
    name = line.partition(":")[0].partition("(")[0]
    check(f"@pytest.mark.{name}", ini=f"    {line}\n")


def test_our_own_markers_and_those_of_pytest_are_known(check):
    check('@pytest.mark.finding("hang")', "@pytest.mark.nightly", "@pytest.mark.skipif(True)")
