"""``blynk-ota gate`` on folders of runs: a good release, a bad one, its binary, and mistakes."""

import hashlib
import json
import time

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from gate_runs import (
    DAY_S,
    HOUR_S,
    NEW,
    OLD,
    OTHER,
    POLICY,
    STALLED,
    UPGRADED,
    RunFolder,
    folder,
    good,
    recorded,
)

from pytest_blynk_ota.cli import app
from pytest_blynk_ota.errors import BlynkOtaError, ConfigError, UsageError
from pytest_blynk_ota.firmware.derive import restamped
from pytest_blynk_ota.verdict.outcome import FINDINGS_SINCE


def test_a_good_release_passes(tmp_path, gate):
    done = gate(good(tmp_path).seal())
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"PASS: {NEW[:12]} (sha256 {NEW[:12]}…) by policy 'release'")
    assert "updates: on esp32c3: H1: 2 of 2 passed" in done.output


def test_a_bad_release_fails_and_says_by_what(tmp_path, gate):
    run = good(tmp_path)
    run.add("bad", word="firmware", like=STALLED)
    done = gate(run.seal())
    assert done.exit_code == 1
    assert "FAIL" in done.output
    assert "test_it.py::bad: expected UPGRADED, got STALLED" in done.output
    assert f"blynk-ota report {run.path}\n" in done.output


def test_too_little_is_incomplete_and_says_what_would_do(tmp_path, gate):
    done = gate(good(tmp_path, tests=1).seal())
    assert done.exit_code == 4
    assert "run H1 on a real esp32c3, 1 more time without a failure" in done.output


def test_what_only_the_rack_is_in_the_way_of_is_its_own_code(tmp_path, gate):
    run = good(tmp_path)
    for number in range(3):
        run.add(f"lost{number}", word="rig")
    done = gate(run.seal())
    assert done.exit_code == 3
    assert "3 errors of the rack or of a test beside 2 passes" in done.output


@pytest.mark.parametrize("words", [["-k", "bare"], ["--deselect=t.py::x"], ["t.py::x"], ["--lf"]])
def test_a_run_whose_tests_were_picked_one_by_one_is_told_as_such(tmp_path, gate, words):
    picked, whole = "its tests were picked one by one", ["pytest", "hil_tests", "--scenarios=H1"]
    run = good(tmp_path, command=[*whole, *words]).seal()
    assert f"{run}: {picked} ({words[0]})" in gate(run).output
    assert picked not in gate(good(tmp_path, "whole", command=whole).seal()).output


def test_what_the_environment_adds_to_the_command_line_picks_tests_too(tmp_path, gate):
    command = ["PYTEST_ADDOPTS=-q -k bare", "pytest", "hil_tests"]
    run = good(tmp_path, command=command).seal()
    assert f"{run}: its tests were picked one by one (-k)" in gate(run).output


def test_several_runs_count_together(tmp_path, gate):
    runs = tmp_path / "runs"
    good(runs, "one", tests=1).seal()
    good(runs, "two", tests=1, at=time.time() - 2 * HOUR_S).seal()
    assert gate(runs).exit_code == 0


def test_a_script_gets_numbers(tmp_path, gate):
    done = gate(good(tmp_path).seal(), "--json")
    told = json.loads(done.output)
    assert (told["verdict"], told["code"], told["policy"]) == ("pass", 0, "release")
    share = told["judged"][0]["shares"][0]
    assert (share["runs"], share["failures"], share["needed"]) == (2, 0, 2)
    assert share["failure_rate"][0] == 0.0
    assert 0.8 < share["failure_rate"][1] < 0.85  # Clopper-Pearson, 0 of 2


def test_the_binary_is_the_one_that_the_runs_were_given(tmp_path, gate):
    done = gate(good(tmp_path).seal(), binary=None)
    assert done.exit_code == 0
    assert "app.bin" in done.output


def test_of_two_binaries_one_has_to_be_named(tmp_path, gate):
    one, two = good(tmp_path).seal(), good(tmp_path, "run2", new=OTHER).seal()
    done = gate(one, two, binary=None)
    assert isinstance(done.exception, UsageError)
    assert NEW in str(done.exception)
    assert OTHER in str(done.exception)


def test_a_policy_is_explained_without_runs(gate):
    done = gate("--explain")
    assert done.exit_code == 0
    assert "updates: on real boards, each of esp32c3: 2 runs of H1" in done.output


def test_a_policy_with_mistakes_is_refused_before_anything_is_read(tmp_path, gate):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(POLICY + "runns = 2\n")
    done = gate(tmp_path / "policy.toml", rules=wrong)
    assert done.exit_code != 0
    done = gate("--explain", rules=wrong)
    assert isinstance(done.exception, ConfigError)


def test_the_verdicts_are_believed_if_the_policy_says_so(tmp_path, gate, policy):
    policy.write_text(POLICY.replace('max_age = "7d"', 'max_age = "7d"\njudge_again = false'))
    assert gate(good(tmp_path).seal()).exit_code == 0


def test_what_a_terminal_would_obey_is_shown(tmp_path, gate):
    run = good(tmp_path)
    run.add("bad", word="firmware", like=STALLED, message="\x1b[2J\x1b[1;32mPASS\x1b[0m")
    assert "\x1b" not in gate(run.seal()).output


def test_lines_for_other_chips_are_told_and_not_judged(tmp_path, gate, policy):
    policy.write_text(POLICY + '[[line]]\nname = "s3"\nscenarios = ["H1"]\nchips = ["esp32s3"]\n')
    done = gate(good(tmp_path).seal())
    assert done.exit_code == 0
    assert "s3: is for esp32s3" in done.output


def test_a_binary_for_a_chip_that_nobody_asks_about_is_incomplete(tmp_path, gate):
    run = good(tmp_path, chip="esp32s3").seal()
    done = gate(run)
    assert done.exit_code == 4
    assert "asks for nothing on esp32s3" in done.output


# --- the binary itself


@pytest.fixture
def app_bin(tmp_path):
    """A real image."""
    path = tmp_path / "app.bin"
    words = ["image", "make", "old", "--chip", "esp32c3", "-o", str(path)]
    assert CliRunner().invoke(app, words).exit_code == 0
    return path


def derived_run(tmp_path, app_bin, name="run1"):
    """A run with one binary: New was made from it, under the version that the recording names."""
    began = next(one for one in recorded(UPGRADED) if one.kind == "operation")
    version = began.data["images"]["new"]["version"]
    made = hashlib.sha256(restamped(app_bin.read_bytes(), version)).hexdigest()
    return good(tmp_path, name, new=made, old=sha256(app_bin))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_was_made_from_the_binary_stands_for_it_only_by_the_policy(
    tmp_path, gate, policy, app_bin
):
    run = derived_run(tmp_path, app_bin).seal()
    new = POLICY + 'tested_as = "new"\n'
    policy.write_text(new)
    done = gate(run, binary=str(app_bin))
    assert done.exit_code == 4
    assert "which the policy does not let stand for it" in done.output
    policy.write_text(new.replace('max_age = "7d"', 'max_age = "7d"\nderived = ["version"]'))
    assert gate(run, binary=str(app_bin)).exit_code == 0
    assert gate(run, binary=sha256(app_bin)).exit_code == 4  # its bytes are not at hand


def test_what_only_bears_the_version_of_a_derived_image_does_not_stand_for_the_binary(
    tmp_path, gate, policy, app_bin
):
    policy.write_text(
        POLICY.replace('max_age = "7d"', 'max_age = "7d"\nderived = ["version"]')
        + 'tested_as = "new"\n'
    )
    run = good(tmp_path, new=OTHER, old=sha256(app_bin)).seal()
    assert gate(run, binary=str(app_bin)).exit_code == 4


def test_one_changed_byte_makes_another_binary(tmp_path, gate, app_bin):
    run = good(tmp_path, new=sha256(app_bin)).seal()
    assert gate(run, binary=str(app_bin)).exit_code == 0
    data = bytearray(app_bin.read_bytes())
    data[-1] ^= 1
    app_bin.write_bytes(data)
    assert gate(run, binary=str(app_bin)).exit_code == 4


@pytest.fixture
def key(tmp_path):
    """A key pair: the private file and the public one."""
    private = Ed25519PrivateKey.generate()
    files = tmp_path / "k.pem", tmp_path / "k.pub.pem"
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files[0].touch(mode=0o600)
    files[0].write_bytes(pem)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    files[1].write_bytes(public)
    return files


def verified(app_bin, key, policy, run):
    words = [f"{app_bin}.intoto.jsonl", "--key", key[1], "--image", app_bin, "--policy", policy]
    return CliRunner().invoke(app, ["gate", "verify", *map(str, words), "--run", str(run)])


def test_a_pass_is_signed_and_verified(tmp_path, gate, policy, app_bin, key):
    run = good(tmp_path, new=sha256(app_bin)).seal()
    done = gate(run, "--sign", key[0], binary=str(app_bin))
    assert done.exit_code == 0, done.output
    assert "signed: 1 test result and the summary, which is the last line" in done.stderr
    assert verified(app_bin, key, policy, run).exit_code == 0
    policy.write_text(POLICY + "# another\n")
    assert verified(app_bin, key, policy, run).exit_code == 4


def test_a_failure_leaves_no_old_pass_behind(tmp_path, gate, policy, app_bin, key):
    run = good(tmp_path, new=sha256(app_bin)).seal()
    gate(run, "--sign", key[0], binary=str(app_bin))
    bad = good(tmp_path, "bad", new=sha256(app_bin))
    bad.add("bad", word="firmware", like=STALLED)
    done = gate(bad.seal(), "--sign", key[0], binary=str(app_bin))
    assert done.exit_code == 1
    assert "signed: 1 test result, and no summary: there is no pass" in done.stderr
    checked = verified(app_bin, key, policy, bad.path)
    assert checked.exit_code == 1
    assert f"is no pass of {app_bin}" in checked.stderr
    assert "does not hold" not in checked.stderr  # the signature does


def test_nothing_is_signed_on_a_guess(tmp_path, gate, key):
    run = good(tmp_path).seal()
    assert isinstance(gate(run, "--sign", key[0], binary=None).exception, UsageError)
    assert isinstance(gate(run, "--sign", key[0]).exception, UsageError)  # where to?


# --- mistakes


def test_a_folder_without_runs_is_a_mistake(tmp_path, gate):
    (tmp_path / "empty").mkdir()
    assert isinstance(gate(tmp_path / "empty").exception, UsageError)
    run = good(tmp_path).seal()
    assert isinstance(gate(run / "tests" / "t0").exception, UsageError)


@pytest.mark.parametrize("said", ["nothing-there.bin", NEW[:-1], NEW.upper(), ""])
def test_a_binary_that_is_none_is_a_mistake(tmp_path, gate, said):
    done = gate(good(tmp_path).seal(), "--binary", said, binary=None)
    assert isinstance(done.exception, UsageError)


def test_a_file_that_is_no_image_is_a_mistake(tmp_path, gate):
    (tmp_path / "app.bin").write_bytes(b"no image")
    done = gate(good(tmp_path).seal(), binary=str(tmp_path / "app.bin"))
    assert isinstance(done.exception, BlynkOtaError)
    assert "app.bin" in str(done.exception)


def test_a_release_is_not_compared_with_itself(tmp_path, gate):
    run = good(tmp_path).seal()
    assert isinstance(gate(run, "--last", run).exception, UsageError)


def test_a_finding_that_nobody_looked_for_then_counts_today(tmp_path, gate, policy, monkeypatch):
    since = {rules: frozenset({"hang"}) for rules in FINDINGS_SINCE}
    monkeypatch.setattr("pytest_blynk_ota.verdict.again.FINDINGS_SINCE", since)
    policy.write_text(POLICY.replace("runs = 2", "runs = 1") + '[findings]\nhang = "fail"\n')
    run = folder(tmp_path)
    path = run.add("t0", like=STALLED) / "verdict.json"
    stored = json.loads(path.read_text())
    assert [one["name"] for one in stored["verdicts"][0]["findings"]] == ["hang"]
    stored["verdicts"][0] |= {"findings": [], "rules": 1}
    path.write_text(json.dumps(stored))
    done = gate(run.seal(), binary=OLD)
    assert done.exit_code == 1
    assert "findings that the policy does not allow: hang (1 update)" in done.output


def test_the_last_release_is_compared_with(tmp_path, gate, policy):
    policy.write_text(
        POLICY.replace("runs = 2", "runs = 9\nfailures_allowed = 8") + "[last_release]\n"
    )
    new = good(tmp_path, tests=1)
    for number in range(8):
        new.add(f"bad{number}", word="firmware", like=STALLED)
    before = RunFolder(tmp_path / "last", new=OLD, old=OTHER, at=time.time() - 60 * DAY_S)
    for number in range(9):
        before.add(f"t{number}")
    run = new.seal()
    assert "none was given" in gate(run).output
    done = gate(run, "--last", before.seal())
    assert done.exit_code == 1
    assert "8 of 9 failed, 0 of 9 of the last release: it fails more often" in done.output
