"""The commands that a run prints are what the shell takes in the folder it was started in."""

import sys
from pathlib import Path

import pytest

from pytest_blynk_ota.chance import SEEDS, Chance, parsed
from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.terminal.again import Start


def start(folder: Path, *arguments: str, program: str = "pytest", path: str = "") -> Start:
    return Start((program, *arguments), arguments, folder, folder, path)


def tool(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_tool_on_the_path_goes_by_its_name(tmp_path):
    script = tool(tmp_path / "bin", "pytest")
    began = start(tmp_path, program=str(script), path=str(script.parent))
    assert began.again("test_it.py::test_a", {}) == "pytest test_it.py::test_a"


def test_a_tool_of_an_environment_goes_by_the_way_to_it(tmp_path):
    script = tool(tmp_path / ".venv" / "bin", "pytest")
    other = tool(tmp_path / "bin", "pytest")
    began = start(tmp_path, program=str(script), path=str(other.parent))
    assert began.again("test_it.py::test_a", {}) == ".venv/bin/pytest test_it.py::test_a"
    assert began.command("judge", "a b") == ".venv/bin/blynk-ota judge 'a b'"


def test_a_run_of_the_module_is_run_as_one_again(tmp_path):
    began = start(tmp_path, program="/x/pytest/__main__.py")
    assert began.again("t.py::test_a", {}) == f"{sys.executable} -m pytest t.py::test_a"


def test_a_test_is_named_from_the_folder_that_the_run_was_started_in(tmp_path):
    sub = tmp_path / "sub"
    began = Start(("pytest",), (), sub, tmp_path, "")
    assert began.again("hil/test_it.py::test_a[x y]", {}).endswith(
        "'../hil/test_it.py::test_a[x y]'"
    )


def test_what_decides_how_tests_are_found_is_kept_and_nothing_else(tmp_path):
    given = ["-x", "-p", "no:cacheprovider", "-pno:randomly", "-o", "a=b", "--rootdir=r", "-n2"]
    command = start(tmp_path, *given, "-c", "my.ini", "--noconftest", "-k", "a", "t").again(
        "t::a", {}
    )
    assert command.split("t::a ")[1] == (
        "-p no:cacheprovider -pno:randomly -o a=b --rootdir=r -c my.ini --noconftest"
    )


def test_our_own_options_come_last(tmp_path):
    command = start(tmp_path).again("t::a", {"--rig": "my lab", "--ota-seed": "7"})
    assert command.endswith("t::a '--rig=my lab' --ota-seed=7")


def test_the_same_seed_throws_the_same_for_a_test_and_other_for_another():
    first, again, other = Chance(7, "a"), Chance(7, "a"), Chance(7, "b")
    assert first.seed == first.seed == again.seed != other.seed
    assert [first.draw(), first.draw()] == [again.draw(), again.draw()]
    assert Chance(8, "a").seed != first.seed
    assert first.draw() != first.draw()


def test_asking_for_the_seed_does_not_change_what_is_drawn():
    asked, silent = Chance(7, "a"), Chance(7, "a")
    assert asked.seed is not None
    assert asked.draw() == silent.draw()


def test_a_test_that_throws_no_dice_has_not_used_its_chance():
    chance = Chance(7, "a")
    assert not chance.used
    assert chance.draw() is not None
    assert chance.used


@pytest.mark.parametrize("text", ["x", "-1", str(SEEDS), "1.5", ""])
def test_a_seed_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="--ota-seed is a whole number"):
        parsed(text)
