"""A folder that the user named for a run's evidence."""

import pytest

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.plugin import run_folder
from pytest_blynk_ota.runs import hold, renew


@pytest.fixture
def named(tmp_path):
    """A folder with an earlier run of one test in it, and of one that a kill left empty."""
    (tmp_path / "run.json").write_text('{"schema": 2}')
    for name in ("test_it-0123ab", "killed-0123ab"):
        (tmp_path / "tests" / name).mkdir(parents=True)
    (tmp_path / "tests" / "test_it-0123ab" / "events.jsonl").write_text("")
    return tmp_path


def test_an_earlier_run_is_replaced(named):
    (named / "notes.txt").write_text("mine")
    renew(named)
    assert [path.name for path in named.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("file", ["tests/test_mine.py", "tests/sub/notes.txt"])
def test_a_project_with_tests_of_its_own_is_refused_and_left_whole(named, file):
    (named / file).parent.mkdir(exist_ok=True)
    (named / file).write_text("mine")
    before = sorted(named.rglob("*"))
    with pytest.raises(UsageError, match=r"tests/.* is no evidence.*nothing was removed"):
        hold(named)
    assert sorted(named.rglob("*")) == before


def test_it_is_refused_before_the_first_run_too(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_mine.py").write_text("mine")
    with pytest.raises(UsageError, match=r"test_mine\.py is no evidence"):
        hold(tmp_path)


def test_a_link_in_the_place_of_tests_is_not_followed(named, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (named / "link").mkdir()
    (named / "link" / "run.json").write_text('{"schema": 2}')
    (named / "link" / "tests").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="link/tests is no evidence"):
        hold(named / "link")


def test_a_run_json_of_another_program_is_refused(tmp_path):
    (tmp_path / "run.json").write_text('{"mine": 1}')
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(UsageError, match=r"run\.json is no evidence"):
        hold(tmp_path)
    assert (tmp_path / "report.html").read_text() == "mine"


def test_a_run_json_that_a_kill_has_torn_is_replaced(named):
    (named / "run.json").write_text('{"sch')
    hold(named)()
    renew(named)
    assert not list(named.iterdir())


def test_a_folder_that_a_run_still_writes_to_is_refused_until_its_end(named):
    release = hold(named)
    with pytest.raises(UsageError, match=r"another run writes there.*nothing was removed"):
        hold(named)
    release()
    hold(named)()


def test_a_second_run_takes_no_evidence_from_one_that_goes_on(pytester, named):
    pytester.makepyfile("def test_it(ota): pass")
    release = hold(named)
    before = sorted(named.rglob("*"))
    done = pytester.runpytest_inprocess(f"--evidence={named}", "-p", "no:cacheprovider")
    assert "another run writes there" in done.stdout.str() + done.stderr.str()
    assert sorted(named.rglob("*")) == before
    release()


@pytest.mark.parametrize(
    "name", ["results.jsonl", "manifest.json", "report.html", "summary.md", "virtual-rack-gw0.log"]
)
def test_a_file_of_another_program_is_kept_where_no_run_was(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=f"{name} is no evidence"):
        hold(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(("below", "error"), [("", UsageError), ("below", NotADirectoryError)])
def test_a_file_is_no_folder(tmp_path, below, error):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(error, match="file"):
        hold(tmp_path / "file" / below)


@pytest.mark.parametrize("taken", ["summary.md", ""], ids=["by another program", "by a file"])
def test_what_is_wrong_with_the_folder_is_told_once_before_any_test(pytester, tmp_path, taken):
    folder = tmp_path / "folder"
    (folder / taken).parent.mkdir(exist_ok=True)
    (folder / taken).write_text("mine")
    pytester.makepyfile("def test_a(ota): pass\ndef test_b(ota): pass")
    done = pytester.runpytest_inprocess(f"--evidence={folder}", "-p", "no:cacheprovider")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    (told,) = [line for line in done.stderr.lines if line.startswith("ERROR: ")]
    assert f"--evidence {folder}: " in told
    assert (folder / taken).read_text() == "mine"


def test_what_is_only_collected_takes_no_folder(pytester, tmp_path):
    pytester.makepyfile("def test_it(ota): pass")
    folder = tmp_path / "new"
    pytester.runpytest_inprocess(f"--evidence={folder}", "--co", "-p", "no:cacheprovider")
    assert not folder.exists()


def test_a_run_that_was_refused_does_not_begin_when_the_first_ends(pytester, named):
    """Though a plugin that tries again, and a fixture that a test asks for itself, ask anew."""
    config = pytester.parseconfig(f"--evidence={named}")
    before = sorted(named.rglob("*"))
    first = hold(named)
    with pytest.raises(UsageError, match="another run writes there"):
        run_folder(config)
    first()
    with pytest.raises(UsageError, match="another run writes there"):
        run_folder(config)
    assert sorted(named.rglob("*")) == before
