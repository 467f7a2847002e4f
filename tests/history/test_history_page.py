"""The page of a history: what it shows, with and without scripts, whatever the history holds."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from history_runs import at, result_line, run_line, text_of

from pytest_blynk_ota.cli.history import command
from pytest_blynk_ota.errors import UsageError

sys.path.append(str(Path(__file__).parents[1] / "report"))
import chromium

BARS = "[...document.querySelectorAll('#rows .strip i')].map((one) => one.className)"
ROWS = (
    "[...document.querySelectorAll('#rows tr:not([hidden]) .test')].map((one) => one.textContent)"
)
HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\u202e\x1b[31m"
)


@pytest.fixture
def page(tmp_path):
    """Makes the page of these lines; returns its path."""

    def page(*lines, options=()):
        (tmp_path / "history").mkdir(exist_ok=True)
        (tmp_path / "history" / "lines.jsonl").write_text(text_of(lines))
        path = tmp_path / "out" / "it.html"
        given = ["page", "--history", str(tmp_path / "history"), "-o", str(path), *options]
        done = CliRunner().invoke(command, given)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        page.said = done.stdout
        return path

    return page


@pytest.fixture(scope="module")
def _chromium():
    path = chromium.found()
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    browser = chromium.Chromium(path)
    yield browser
    browser.close()


@pytest.fixture
def browser(_chromium):
    """A headless Chromium; a script error or a request of the page fails the test."""
    _chromium.media()
    yield _chromium
    assert _chromium.troubles() == []


def nights(words, **more):
    found = []
    for day, word in enumerate(words):
        found.append(run_line(f"run{day}", started=at(day), finished=at(day + 0.1)))
        found.append(result_line(f"run{day}", word, **{"at": at(day)} | more))
    return found


USUAL = ("passed", "firmware", "rig", "passed", "error", "skipped", "xfailed", "xpassed")


def test_the_page_says_all_without_a_script(page):
    text = page(*nights(USUAL, message="PortGone: it vanished")).read_text()
    assert "<h1>1 firmware failure in 5 results of firmware</h1>" in text
    assert ">pFRpEsxX</span>" in text
    assert "lab1/c3-a" in text
    assert "PortGone: it vanished" in text
    assert '<td class="number bad" data-name="Flips">4</td>' in text
    assert "2026-11-20" in text
    assert page.said.startswith("1 tests of 8 runs, 1 flips: ")


def test_the_page_is_written_into_the_history_and_named_by_json(tmp_path):
    (tmp_path / "lines.jsonl").write_text(text_of(nights(USUAL)))
    done = CliRunner().invoke(command, ["page", "--history", str(tmp_path), "--json"])
    row = json.loads(done.stdout)
    path = tmp_path / "history.html"
    assert row == {
        "page": str(path),
        "bytes": path.stat().st_size,
        "runs": 8,
        "tests": 1,
        "flakes": 1,
    }


def test_a_page_that_cannot_be_written_is_a_usage_error(tmp_path, page):
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="name another file with -o"):
        page(*nights(USUAL))


def test_a_page_of_some_results_says_of_which(page):
    text = page(
        *nights(USUAL), options=["--test", "test_it", "--rig-kind", "real", "--since", "2026-11-22"]
    ).read_text()
    assert "<p>Of test test_it, rig kind real, since 2026-11-22 00:00 UTC.</p>" in text
    assert ">RpEsxX</span>" in text


@pytest.mark.parametrize(("days", "by"), [(183, "day"), (184, "week")])
def test_a_long_history_is_drawn_by_week(page, days, by):
    lines = [result_line("a"), result_line("b", at=at(days))]
    assert f"<h2>Trend, by {by}</h2>" in page(*lines).read_text()
    assert "<h2>Trend, by month</h2>" in page(*lines, options=["--by", "month"]).read_text()


def test_what_is_wrong_with_the_history_stands_in_the_page(page):
    text = page(run_line("a", tests=3), result_line("a"), result_line("b")).read_text()
    assert '<p class="mark">run a: 1 of its 3 results are here</p>' in text
    assert '<p class="mark">run b: its own line is missing</p>' in text


def test_an_empty_history_is_a_page(browser, page):
    path = page()
    browser.open(path)
    assert browser.js("document.querySelector('h1').textContent") == "No result is in this history"


def test_strips_become_bars_that_tell_word_and_time(browser, page):
    browser.open(page(*nights(USUAL)))
    assert browser.js(BARS) == list(USUAL)
    titles = "[...document.querySelectorAll('#rows .strip i')].map((one) => one.title)"
    assert browser.js(titles)[1] == "firmware, 2026-11-21 02:00 UTC"


def test_curves_are_drawn_and_drawn_again_when_the_window_changes(browser, page):
    path = page(*nights(USUAL))
    for width in (1280, 390):
        browser.open(path, width=width)
        assert browser.js("document.querySelectorAll('.curves canvas').length") == 2
        assert browser.js("document.documentElement.scrollWidth") <= width
        legend = browser.js("document.querySelector('#rates .u-legend').textContent")
        assert "firmware failures" in legend
        assert "rack errors" in legend


def test_what_fails_most_stands_first_and_a_name_filters(browser, page):
    good = nights(["passed"] * 3, test="t.py::good")
    bad = [line for line in nights(["firmware"] * 3, test="t.py::z_bad") if hasattr(line, "word")]
    browser.open(page(*good, *bad))
    assert browser.js(ROWS) == ["t.py::z_bad", "t.py::good"]
    browser.key("/", *"good")
    assert browser.js(ROWS) == ["t.py::good"]
    assert browser.js("document.getElementById('shown').textContent") == "1 of 2"


def test_a_dark_system_gets_a_dark_page_and_the_switch_wins(browser, page):
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.media(prefers_color_scheme="dark")
    browser.open(page(*nights(USUAL)))
    dark = browser.js(ground)
    browser.key("t")
    assert browser.js("document.documentElement.dataset.theme") == "light"
    assert browser.js(ground) != dark
    browser.key("t", "t")


def test_hostile_names_are_text(browser, page):
    lines = nights(USUAL, test=HOSTILE, board=HOSTILE, rig=HOSTILE, message=HOSTILE)
    lines += [run_line("x", rig=HOSTILE, images={"1e" * 32: HOSTILE}), result_line("x", test="y")]
    path = page(*lines, options=["--test", "<"])
    assert "<img" not in path.read_text()
    assert "\u202e" not in path.read_text()
    browser.open(path)
    assert browser.js("window.hacked === undefined")
    assert browser.js("document.documentElement.scrollWidth") <= 1280
