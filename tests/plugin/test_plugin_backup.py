"""A board that is treated as the user's: nothing is written without a word, and all is kept."""

import json

import pytest

TEST = "def test_it(ota):\n    pass\n"


@pytest.fixture
def bench(pytester):
    """A rig of one board whose flash is a file, and that file."""
    flash = pytester.path / "flash.bin"
    flash.write_bytes((bytes(range(256)) * 300).ljust(4 << 20, b"\xff"))
    (pytester.path / "bench.toml").write_text(
        '[rig]\nname = "bench"\nspeed = 20\n[[board]]\nname = "c3-a"\nchip = "esp32c3"\n'
        'port = "virtual"\nprovision = { kind = "edgent-nvs" }\nprofile = "edgent-old"\n'
        f'virtual = {{ flash = "{flash}" }}\n'
    )
    pytester.makepyfile(test_it=TEST)
    return flash


def run(pytester, *more: str):
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "--rig=./bench.toml", *more)


def test_without_a_word_a_run_writes_nothing_and_names_the_option(pytester, bench, run_json):
    before = bench.read_bytes()
    done = run(pytester, "--backup=always", "--junitxml=junit.xml")
    done.assert_outcomes(errors=1)
    assert "of which there is no backup yet; nothing was written. With --yes" in done.stdout.str()
    assert "BoardLocked" in (pytester.path / "junit.xml").read_text()
    assert bench.read_bytes() == before
    assert not (pytester.path / ".blynk-ota" / "backup").exists()
    assert run_json()["rig_kind"] == "virtual", "it has said so, though nothing was written"


def test_with_yes_the_flash_is_saved_before_the_first_write(pytester, bench):
    before = bench.read_bytes()
    done = run(pytester, "--backup=always", "--yes")
    done.assert_outcomes(passed=1)
    (saved,) = (pytester.path / ".blynk-ota" / "backup").glob("*.bin")
    assert saved.read_bytes() == before
    assert bench.read_bytes() != before
    (events,) = pytester.path.glob(".blynk-ota/runs/*/tests/*/events.jsonl")
    seen = [json.loads(line) for line in events.read_text().splitlines()]
    kinds = [f"{one['source']} {one['kind']}" for one in seen]
    assert kinds.index("rig identity") < kinds.index("rig saved") < kinds.index("ota restored")


def test_a_run_in_which_no_board_was_asked_does_not_know_its_kind(pytester, bench, run_json):
    pytester.makepyfile(test_it="def test_it(board):\n    assert board.chip\n")
    run(pytester).assert_outcomes(passed=1)
    assert run_json()["rig_kind"] == "unknown"


def test_a_wrong_word_for_backup_is_refused(pytester, bench):
    done = run(pytester, "--backup=never")
    assert done.ret == 4
    assert "--backup is one of auto, always; got 'never'" in done.stderr.str()
