"""``blynk-ota flash explain``."""

from __future__ import annotations

import json

import pytest
from bootloader_oracle import Flash, app, rows, small_flash
from click.testing import CliRunner

from pytest_blynk_ota.cli.flash import command
from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.firmware.otadata import Entry, State

SAMPLE_STEP = 9
"""Every ninth recorded decision: all bootloaders and layouts, in two seconds."""


def run(*arguments, code: int = 0):
    done = CliRunner().invoke(
        command, ["explain", *map(str, arguments)], catch_exceptions=False
    )  # fmt: skip
    assert done.exit_code == code, done.output
    return done


def lines(done) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def dump(tmp_path):
    """A dump whose second slot is on trial."""
    otadata = (Entry(1).build(), Entry(2, State.NEW).build())
    path = tmp_path / "dump.bin"
    path.write_bytes(small_flash(otadata, (app("esp32", 1), app("esp32", 2))).data)
    return path


@pytest.mark.parametrize("rollback", [True, False])
def test_recorded_decisions_come_out_one_line_a_dump(tmp_path, rollback):
    cases = [row for row in rows() if row["rollback_enabled"] is rollback][::SAMPLE_STEP]
    for number, row in enumerate(cases):
        (tmp_path / f"{number:03}.bin").write_bytes(Flash(row).data)
    paths = sorted(tmp_path.iterdir())
    told = lines(run(*paths, "--rollback", "on" if rollback else "off", "--json"))
    differing = []
    for path, row, found in zip(paths, cases, told, strict=True):
        boots = [(row, found)]
        boots += [(row["second_boot"], found["second_boot"])] if "second_boot" in row else []
        for wanted, boot in boots:
            otadata = [wanted.get(f"otadata{number}_after") for number in (0, 1)]
            if (wanted["loaded_offset"], otadata) != (boot["loaded_offset"], boot["otadata_after"]):
                differing.append((row["id"], boot))
        assert (found["dump"], found["chip"]) == (str(path), row["chip"])
    assert differing == []
    assert len(cases) > 20


def test_the_page_tells_table_otadata_images_and_both_boots(dump):
    page = run(dump, "--rollback", "on").stdout
    for words in (
        f"{dump}\n4 MB, esp32 (application in app0), rollback on (--rollback)",
        "app1 <-    ota_1    0x20000  64 KB  good hello_world 2.0",
        "1             2  NEW    right  app1",
        "This boot: app1 at 0x20000\n  [rule 5] otadata[1] is valid and has the higher number",
        "Next boot, if it does not confirm itself: app0 at 0x10000\n  [rule 3]",
        "! There is no bootloader at 0x1000",
    ):
        assert words in page


def test_where_rollback_is_not_known_the_page_tells_what_it_would_change(dump):
    page = run(dump).stdout
    assert "rollback off (not known: ESP-IDF's default)" in page
    assert "Next boot, if it does not confirm itself: the same, and nothing is written" in page
    assert "with --rollback on:\n  This boot: app1 at 0x20000" in page
    assert "  Next boot: app0 at 0x10000\n    [rule 3]" in page
    told = lines(run(dump, "--json"))[0]
    assert (told["rollback"], told["rollback_known"]) == (False, False)
    assert [boot["loaded"] for boot in told["other_rollback"]] == ["app1", "app0"]


def test_a_dump_that_starts_nothing_is_explained_with_code_0(tmp_path):
    path = tmp_path / "none.bin"
    path.write_bytes(small_flash((b"\xff" * 32,) * 2, (b"",)).data)
    told = lines(run(path, "--chip", "esp32", "--json"))[0]
    assert told["loaded_offset"] is None
    assert told["otadata_after"] == ["ff" * 32, "ff" * 32]
    assert (
        told["apps"][0]["line"] == "image at 0x10000 has invalid magic byte (nothing flashed here?)"
    )
    assert "This boot: nothing starts" in run(path, "--chip", "esp32").stdout


def test_a_bad_dump_among_good_ones_loses_nothing(dump, tmp_path):
    missing, image = tmp_path / "nowhere.bin", tmp_path / "app.bin"
    image.write_bytes(app("esp32", 1))
    done = run(missing, dump, image, dump, "--json", code=2)
    told = lines(done)
    assert [found["loaded_offset"] for found in told] == [None, 0x20000, None, 0x20000]
    assert [found["dump"] for found in told] == [str(p) for p in (missing, dump, image, dump)]
    assert "nowhere.bin: cannot be read" in told[0]["error"]
    assert told[1]["error"] is None
    assert told[2]["otadata_after"] == [None, None]
    for words in ("nowhere.bin: cannot be read", "app.bin: an application image"):
        assert words in done.stderr
    assert run(missing, dump, code=2).stdout.startswith(str(dump))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--chip", "esp32c"], "unknown chip 'esp32c'; known are esp32, esp32c3, esp32s3; did you"),
        (["--revision", "4"], "--revision: expected a chip revision as \"v0.4\", not '4'"),
        (["--flash-size", "3MB"], "--flash-size: expected one of 1MB, 2MB, 4MB"),
        (["--table-offset", "0x8001"], "--table-offset: expected the address of a 4 KB sector"),
        (["--table-offset", "here"], "not 'here'"),
    ],
)
def test_a_wrong_option_is_named(dump, options, words):
    done = CliRunner().invoke(command, ["explain", str(dump), *options])
    assert isinstance(done.exception, UsageError)
    assert words in str(done.exception)


def test_what_is_known_of_the_board_changes_the_decision(dump):
    def loaded(*options) -> str | None:
        return lines(run(dump, "--json", *options))[0]["loaded"]

    assert loaded() == "app1"
    assert loaded("--secure-version", 1) is None
    assert loaded("--chip", "esp32c3") is None
    assert loaded("--revision", "v3.0", "--flash-size", "4mb", "--table-offset", "0x8000") == "app1"
