"""``blynk-ota image``."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pytest_blynk_ota.cli.image import command
from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.firmware.image import parse


@pytest.fixture
def run():
    """Run the command; our own errors come through."""

    def runs(*arguments) -> str:
        done = CliRunner().invoke(command, [str(one) for one in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return runs


def failing(*arguments) -> str:
    done = CliRunner().invoke(command, [str(one) for one in arguments])
    assert isinstance(done.exception, UsageError)
    return str(done.exception)


@pytest.fixture
def file(run, tmp_path):
    path = tmp_path / "new.bin"
    run("make", "new", "--chip", "esp32c3", "-o", path)
    return path


def test_made_from_a_shipped_recipe_it_says_what_it_is(run, file):
    text = run("info", file)
    for words in ("esp32c3", "1.1.0", "TMPLvirtual01", "problems       none"):
        assert words in text


def test_facts_come_as_one_json_object(run, file):
    known = json.loads(run("info", file, "--json"))
    assert known["chip"] == "esp32c3"
    assert known["tag"]["mcu"] == known["version"] == "1.1.0"
    assert known["behaviour"]["kind"] == "app"
    assert known["sha256"] == parse(file.read_bytes()).sha256


def test_a_recipe_of_ones_own_can_be_made_and_changed(run, tmp_path):
    recipe, out = tmp_path / "mine.toml", tmp_path / "mine.bin"
    recipe.write_text('version = "4.0.0"\n')
    run("make", recipe, "--chip", "esp32", "--size", 120000, "--log", "info", "-o", out)
    image = parse(out.read_bytes())
    assert (image.version, image.chip, len(image.data)) == ("4.0.0", "esp32", 120000)
    assert image.behaviour.log == "info"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--bad-hash"], "SHA-256 is wrong"),
        (["--bad-checksum"], "checksum is wrong"),
        (["--cut", "5000"], "cut: 5000 bytes"),
    ],
)
def test_a_patched_image_has_the_fault_asked_for(run, file, tmp_path, options, problem):
    out = tmp_path / "bad.bin"
    assert problem in run("patch", file, *options, "-o", out)
    assert any(problem in found for found in parse(out.read_bytes()).problems)


@pytest.mark.parametrize(
    ("options", "chip", "version"),
    [
        (["--version", "1.2.0"], "esp32c3", "1.2.0"),
        (["--wrong-chip"], "esp32", "1.1.0"),
        (["--crash-at-start"], "esp32c3", "1.1.0"),
    ],
)
def test_other_patches_leave_a_sound_image(run, file, tmp_path, options, chip, version):
    out = tmp_path / "other.bin"
    known = json.loads(run("patch", file, *options, "-o", out, "--json"))
    assert (known["problems"], known["chip"], known["version"]) == ([], chip, version)
    assert out.read_bytes() != file.read_bytes()


def test_exactly_one_patch_is_asked_for(file, tmp_path):
    out = tmp_path / "x.bin"
    assert "exactly one of --version, --wrong-chip" in failing("patch", file, "-o", out)
    assert "got 2" in failing("patch", file, "--bad-hash", "--cut", 9000, "-o", out)
    assert not out.exists()


def test_what_cannot_be_read_or_written_is_named(file, tmp_path):
    assert "nowhere.bin: cannot be read" in failing("info", tmp_path / "nowhere.bin")
    assert "cannot be written" in failing("patch", file, "--bad-hash", "-o", tmp_path / "a" / "b")
    assert "did you mean 'new'" in failing("make", "nwe", "--chip", "esp32", "-o", tmp_path / "x")
    text = tmp_path / "text.bin"
    text.write_text("hello")
    assert "text.bin: no ESP image" in failing("info", text)
