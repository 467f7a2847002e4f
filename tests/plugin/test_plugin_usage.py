"""What is asked wrongly ends before any board is touched, with one clear message."""

import pytest

from pytest_blynk_ota.firmware import derive, recipe
from pytest_blynk_ota.rig.shipped import folder

TEST = "def test_it(ota):\n    ota.ship()\n"


@pytest.fixture
def project(pytester):
    pytester.makepyfile(TEST)
    return pytester


@pytest.fixture
def images(project):
    """Old and New for the C3 as files, as a user has them."""
    made = {}
    for name in ("old", "new"):
        text = (folder("firmware_fixtures") / f"{name}.toml").read_text()
        path = project.path / f"{name}.bin"
        path.write_bytes(recipe.make(recipe.loads(text, name), "esp32c3"))
        made[name] = path
    return made


def refused(project, *arguments: str) -> str:
    done = project.runpytest_subprocess(*arguments)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert not list(project.path.glob(".blynk-ota/runs/*"))
    return done.stderr.str() + done.stdout.str()


def test_an_unknown_rig_is_a_usage_error(project):
    assert "did you mean 'virtual'" in refused(project, "--rig=virtaul")


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


def test_an_unknown_need_is_a_usage_error(pytester):
    pytester.makepyfile(
        "import pytest\n@pytest.mark.requires('pwoer')\ndef test_it(ota):\n    pass\n"
    )
    done = pytester.runpytest_subprocess()
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "unknown need" in done.stderr.str() + done.stdout.str()


def test_the_thread_method_of_pytest_timeout_is_refused(project):
    assert "signal" in refused(project, "-o", "timeout_method=thread")
