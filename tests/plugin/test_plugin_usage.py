"""What is asked wrongly ends before any board is touched, with one clear message."""

import ast
import inspect
import itertools
import re

import pytest

from pytest_blynk_ota.firmware import derive
from pytest_blynk_ota.marks import FINDINGS
from pytest_blynk_ota.verdict import findings, late, losses, trust
from pytest_blynk_ota.verdict.fault_kinds import CERTIFICATES

QUICK = ("-p", "no:cacheprovider", "-p", "no:pytest_embedded", "-p", "no:hypothesispytest")
WORKERS = pytest.mark.parametrize(
    "workers",
    [pytest.param([], id="alone"), pytest.param(["-n2"], id="xdist", marks=pytest.mark.nightly)],
)


def refused(project, *arguments: str) -> str:
    """The output of a pytest that must end with one usage error and touch nothing."""
    done = project.runpytest_subprocess(*QUICK, *arguments)
    output = done.stderr.str() + done.stdout.str()
    assert done.ret == pytest.ExitCode.USAGE_ERROR, output
    assert not list(project.path.glob(".blynk-ota/runs/*"))
    assert output.count("ERROR: ") == 1
    for noise in ("Traceback", "INTERNALERROR", "crashed", "no tests ran"):
        assert noise not in output.replace("= no tests ran in", "")
    return output


@WORKERS
def test_an_unknown_rig_is_a_usage_error(project, workers):
    assert "did you mean 'virtual'" in refused(project, "--rig=virtaul", *workers)


def test_a_bad_rig_file_lists_all_its_mistakes(project):
    path = project.path / "bad.toml"
    path.write_text(
        '[rig]\nname = "x"\nspede = 1\n[[board]]\nname = "a"\nchip = "esp23"\nprot = "p"\n'
        'profile = "edgnt-old"\n'
    )
    output = refused(project, f"--rig={path}")
    for key in ("rig.spede", "board[0].chip", "board[0].port", "board[0].prot", "board[0].profile"):
        assert key in output
    assert "5 problems" in output


def test_an_unknown_board_is_a_usage_error(project):
    assert "did you mean 'c3-a'" in refused(project, "--board=c3a")


def test_a_missing_firmware_file_is_named(project):
    assert "--old" in refused(project, "--old=nowhere.bin")


def test_a_file_that_is_no_image_is_named(project):
    path = project.path / "notes.bin"
    path.write_text("not firmware")
    output = refused(project, f"--new={path}")
    assert "notes.bin" in output
    assert "ESP" in output


def test_an_image_for_another_chip_than_the_board_is_refused(project, images):
    output = refused(project, f"--old={images['old']}", "--board=esp32-a")
    assert "esp32c3" in output
    assert "the board is an esp32" in output


def test_the_same_binary_twice_is_refused(project, images):
    assert "same binary" in refused(project, f"--old={images['old']}", f"--new={images['old']}")


def test_the_same_version_and_build_twice_is_refused(project, images):
    other = project.path / "other.bin"
    other.write_bytes(derive.crash_at_start(images["old"].read_bytes()))
    output = refused(project, f"--old={images['old']}", f"--new={other}")
    assert "both are version 1.0.0" in output


MARKS = {
    "requires('pwoer')": "unknown need 'pwoer'; did you mean 'power'?",
    "requires()": "expected a need",
    "finding('hnag')": "unknown finding 'hnag'; did you mean 'hang'?",
    "finding('hang', level='x')": "unknown argument 'level'",
    "baseline(False)": "expected rollback=True or False, slot=0 or 1",
    "baseline(rolback=False)": "expected rollback=True or False, slot=0 or 1",
    "timeout(9, method='thread')": "timeout_method = signal",
    "timeout(9, 'thread')": "timeout_method = signal",
}


@WORKERS
def test_every_wrong_marker_is_told_in_one_usage_error(pytester, workers):
    pytester.makepyfile(
        "import pytest\n"
        + "".join(
            f"@pytest.mark.{mark}\ndef test_{number}(ota): pass\n"
            for number, mark in enumerate(MARKS)
        )
    )
    output = refused(pytester, *workers)
    assert f"{len(MARKS)} problems" in output
    for number, what in enumerate(MARKS.values()):
        (line,) = [line for line in output.splitlines() if f"::test_{number}: " in line]
        assert what in line


def test_markers_of_tests_that_do_not_use_the_rig_are_their_own(pytester):
    pytester.makepyfile(
        "import pytest\n@pytest.mark.requires('a car')\n@pytest.mark.finding('nemo')\n"
        "def test_it(): pass\n"
    )
    pytester.runpytest_subprocess(*QUICK).assert_outcomes(passed=1)


@WORKERS
def test_the_thread_method_of_pytest_timeout_is_refused(project, workers):
    assert "signal" in refused(project, "-o", "timeout_method=thread", *workers)


def test_the_thread_method_is_left_to_sessions_without_a_rig(pytester):
    pytester.makepyfile("def test_it(): pass\n")
    done = pytester.runpytest_subprocess("-o", "timeout_method=thread", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1)


def test_fixtures_of_the_same_names_are_not_ours(pytester):
    pytester.makepyfile(
        "import pytest\n"
        "@pytest.fixture\ndef board(): return 'chess'\n"
        "@pytest.fixture\ndef rig(): return 'oil'\n"
        "def test_it(board, rig): assert (board, rig) == ('chess', 'oil')\n"
    )
    (pytester.path / "rigs").mkdir()
    (pytester.path / "rigs" / "virtual.toml").write_text("broken")
    pytester.runpytest_subprocess(*QUICK).assert_outcomes(passed=1)
    assert not (pytester.path / ".blynk-ota").exists()


@WORKERS
def test_a_broken_rig_of_the_project_is_found_when_a_test_needs_it(project, workers):
    (project.path / "rigs").mkdir()
    (project.path / "rigs" / "virtual.toml").write_text("broken")
    assert "is no TOML" in refused(project, *workers)


def test_options_may_stand_in_the_ini_file(project, images):
    project.makeini("[pytest]\nold = old.bin\nboard = esp32-a\n")
    assert "the board is an esp32" in refused(project)


def test_paths_in_the_ini_file_start_at_it_and_those_by_hand_where_one_stands(project, images):
    project.makeini("[pytest]\nold = old.bin\n")
    below = project.mkdir("below")
    project.chdir()
    output = refused_in(project, below, "--new=../old.bin", "..")
    assert "same binary" in output


def refused_in(project, folder, *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return refused(project, *arguments)


BARE_RIG = """
[rig]
name = "bare"
speed = 20
[[board]]
name = "a"
chip = "esp32"
port = "virtual"
"""
OURS_AND_MINE = """
import pytest


@pytest.fixture
def mine(rig):
    return rig.place("z")


def test_ours(board): pass
def test_mine(mine): pass
"""


@WORKERS
def test_a_request_that_a_fixture_cannot_carry_out_is_told_without_a_way_through_our_code(
    pytester, workers, run_json
):
    pytester.path.joinpath("bare.toml").write_text(BARE_RIG)
    pytester.makepyfile(test_it=OURS_AND_MINE)
    done = pytester.runpytest_subprocess(*QUICK, "--rig=bare.toml", "-rE", *workers)
    done.assert_outcomes(errors=2)
    output = done.stdout.str()
    ours = section(output, "ERROR at setup of test_ours")
    said = "rig bare, board a: it has neither a token nor a way to provision one; expected "
    assert [line for line in ours if not line.startswith(("[gw", "blynk-ota: "))] == [
        said + 'token = "env:NAME", or provision = { kind = "edgent-nvs" }'
    ]
    assert 'return rig.place("z")' in "\n".join(section(output, "ERROR at setup of test_mine"))
    assert "ERROR test_it.py::test_ours - pytest_blynk_ota.errors.UsageError: rig" in output
    assert (run_json()["result"], run_json()["counts"]) == ("incomplete", {"error": 2})


def section(output: str, title: str) -> list[str]:
    """The lines under a headline, up to the next one."""
    rows = iter(output.splitlines())
    for row in rows:
        if row.strip("_ ") == title:
            break
    return list(itertools.takewhile(lambda row: not re.match("[_=-]{4}", row), rows))


def finding_names() -> set[str]:
    """Each literal name that a finding is given in the modules that make findings."""
    names = set()
    for module in (findings, late, losses, trust):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                names |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    return names


def test_the_marker_knows_all_findings_and_no_others():
    by_table = {"unexpected reset", "crash", *CERTIFICATES.values()}
    assert finding_names() | by_table == set(FINDINGS)


def test_a_hook_of_another_folders_conftest_is_none_of_its_business(pytester):
    """pytest puts the plugins of such a hook into a set: ours have to be fit for one."""
    for name in ("a", "b"):
        folder = pytester.mkpydir(name)
        (folder / "conftest.py").write_text("def pytest_runtest_logreport(report): pass\n")
        (folder / f"test_{name}.py").write_text("def test_it(firmware): assert firmware.old\n")
    pytester.runpytest_subprocess("a", "b").assert_outcomes(passed=2)


def test_a_test_that_keeps_its_board_dark_is_told_so_at_once(pytester, run_json):
    pytester.makepyfile("def test_it(ota, power):\n    power.off()\n    ota.ship()\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.stdout.fnmatch_lines(["*UsageError: board c3-a: this test has taken its power away*"])
    assert "rig" not in run_json()["counts"]


def test_what_a_firmware_says_of_itself_moves_no_cursor(pytester):
    pytester.makepyfile(
        "from pytest_blynk_ota import Outcome\n"
        "def test_it(ota, firmware):\n"
        "    said = {'build': '\\x1b[31mred\\u202e'}\n"
        "    result = ota.offer(firmware.behaving(reports=said))\n"
        "    assert result.outcome is Outcome.STALLED\n"
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.assert_outcomes(failed=1)
    text = done.stdout.str()
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert "\u241b[31mred" in text


def test_what_the_environment_adds_to_the_command_line_is_on_record(
    pytester, monkeypatch, run_json
):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k one")
    pytester.makepyfile("def test_one(firmware): pass\ndef test_two(firmware): pass\n")
    pytester.runpytest_subprocess(*QUICK).assert_outcomes(passed=1, deselected=1)
    assert run_json()["command"][0] == "PYTEST_ADDOPTS=-k one"
