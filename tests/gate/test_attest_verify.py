"""An attestation and the files at hand: each way in which they can differ is refused and named."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attest_bench import STALL, UPGRADE, Bench, a_run, public_pem, reseal, sha256
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from every_byte import Place, places, survivors

from pytest_blynk_ota.cli.gate_verify import command

BLYNK_OTA = Path(sys.executable).with_name("blynk-ota")


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    made.sign()
    return made


def told(bench, *more, **changes):
    done = bench.verify("--json", *more, **changes)
    return done.exit_code, json.loads(done.stdout)


def whats(row):
    return [one["what"] for one in row["differences"]]


def test_what_was_signed_holds_for_its_binary_its_policy_and_its_evidence(bench):
    code, row = told(bench, "--policy", bench.policy, "--run", bench.run)
    assert (code, row["verified"], row["differences"], row["unchecked"]) == (0, True, [], [])
    assert row["subject"] == {"name": "app.bin", "sha256": sha256(bench.image.read_bytes())}
    assert row["properties"] == ["BLYNKOTA_GATE", "BLYNKOTA_UPGRADE"]
    assert row["tied_by"] == {"slot": 1, "elf": 0}
    (run,) = row["runs"]
    assert (run["result"], run["rig_kind"], run["passed"]) == ("PASSED", "virtual", 2)


def test_what_is_not_given_is_said_not_to_be_compared(bench):
    done = bench.verify()
    assert done.exit_code == 0
    assert "not compared: the policy; give --policy FILE" in done.output
    assert "not compared: the evidence; give --run FOLDER" in done.output
    assert "not compared" not in bench.verify_all().output


def test_a_folder_of_runs_stands_for_the_runs_in_it(bench, tmp_path):
    night = tmp_path / "night"
    night.mkdir()
    shutil.move(bench.run, night / "1")
    bench.run = night / "1"
    second = a_run(night / "2", bench.image.read_bytes())
    bench.sign(runs=(bench.used(bench.run), bench.used(second)))
    assert told(bench, "--run", night)[0] == 0


def test_a_binary_of_another_name_with_the_same_bytes_is_the_same_and_the_name_is_told(bench):
    other = bench.root / "firmware.bin"
    shutil.copy(bench.image, other)
    done = bench.verify(image=other)
    assert done.exit_code == 0
    assert "attested under the name app.bin" in done.output


def test_another_binary_under_the_same_name_is_refused(bench):
    bench.image.write_bytes(b"another")
    code, row = told(bench)
    assert (code, whats(row)) == (4, ["subject"])
    assert sha256(b"another") in row["differences"][0]["text"]
    assert sha256(bench.image_bytes) in row["differences"][0]["text"]


def test_the_attestation_of_another_image_is_refused(bench, tmp_path):
    (tmp_path / "b").mkdir()
    other = Bench(tmp_path / "b", image_bytes=b"another image", key=bench.key)
    other.sign()
    shutil.copy(other.envelope, bench.envelope)
    assert told(bench)[0] == 4


def test_an_old_attestation_of_the_same_image_by_an_older_policy_is_refused(bench):
    """A replay: signature and subject hold."""
    bench.policy.write_text('[policy]\nname = "stricter since last month"\n')
    code, row = told(bench, "--policy", bench.policy)
    assert (code, whats(row)) == (4, ["policy"])
    assert sha256(bench.policy.read_bytes()) in row["differences"][0]["text"]


def test_evidence_of_another_night_is_refused(bench, tmp_path):
    other = a_run(tmp_path / "other", bench.image.read_bytes())
    code, row = told(bench, "--run", other)
    assert (code, whats(row)) == (4, ["evidence", "evidence"])
    assert f"{other}: the attestation does not rest on it" in row["differences"][0]["text"]
    assert "is not given" in row["differences"][1]["text"]


def test_a_run_too_many_is_refused(bench, tmp_path):
    other = a_run(tmp_path / "other", bench.image.read_bytes())
    code, row = told(bench, "--run", bench.run, "--run", other)
    assert (code, whats(row)) == (4, ["evidence"])


def test_a_run_too_few_is_refused(bench, tmp_path):
    second = a_run(tmp_path / "second", bench.image.read_bytes())
    bench.sign(runs=(bench.used(bench.run), bench.used(second)))
    code, row = told(bench, "--run", bench.run)
    assert (code, whats(row)) == (4, ["evidence"])
    assert "is not given" in row["differences"][0]["text"]


@pytest.mark.parametrize("name", ["events.jsonl", "serial.log", "verdict.json"])
def test_evidence_that_was_changed_is_refused_with_its_file(bench, name):
    path = bench.run / "tests" / UPGRADE / name
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    code, row = told(bench, "--run", bench.run)
    assert (code, whats(row)) == (4, ["evidence"])
    assert f"tests/{UPGRADE}/{name}: edited" in row["differences"][0]["text"]


def test_evidence_that_was_changed_under_a_manifest_made_to_fit_is_refused(bench):
    path = bench.run / "tests" / UPGRADE / "serial.log"
    path.write_text("all is well\n")
    reseal(bench.run)
    assert told(bench, "--run", bench.run)[0] == 4


def test_evidence_that_was_added_or_lost_is_refused(bench):
    (bench.run / "tests" / STALL / "more.txt").write_text("x")
    shutil.rmtree(bench.run / "tests" / UPGRADE)
    code, row = told(bench, "--run", bench.run)
    texts = " ".join(one["text"] for one in row["differences"])
    assert code == 4
    assert "more.txt: extra" in texts
    assert f"{UPGRADE}/events.jsonl: missing" in texts


def test_a_run_without_its_manifest_is_an_evidence_error(bench):
    (bench.run / "manifest.json").unlink()
    done = subprocess.run(
        [BLYNK_OTA, "gate", "verify", bench.envelope,
         "--key", bench.public, "--image", bench.image, "--run", bench.run],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "manifest.json: No such file" in done.stderr


def test_there_is_no_pass_without_a_summary_and_a_failure_is_told_as_one(tmp_path):
    bench = Bench(tmp_path, words={UPGRADE: "firmware", STALL: "passed"})
    bench.sign(verdict="fail")
    code, row = told(bench)
    assert (code, whats(row)) == (1, ["failed"])
    assert "1 of its tests failed" in row["differences"][0]["text"]
    (run,) = row["runs"]
    assert run["result"] == "FAILED"


def test_evidence_that_is_not_enough_is_told_apart_from_a_failure(tmp_path):
    bench = Bench(tmp_path, words={UPGRADE: "passed", STALL: "rig"})
    bench.sign(verdict="incomplete")
    code, row = told(bench)
    assert (code, whats(row)) == (4, ["no pass"])


def test_a_failure_of_another_binary_says_nothing_of_this_one(tmp_path):
    bench = Bench(tmp_path, words={UPGRADE: "firmware"})
    bench.sign(verdict="fail")
    bench.image.write_bytes(b"another")
    assert told(bench)[0] == 4


def test_of_a_file_that_the_key_has_not_signed_nothing_is_told(bench, tmp_path):
    other = tmp_path / "other.pub.pem"
    other.write_bytes(public_pem(Ed25519PrivateKey.generate()))
    code, row = told(bench, key=other)
    assert (code, whats(row)) == (5, ["signature"])
    assert "line 1: it is signed by the key" in row["differences"][0]["text"]
    assert row["runs"] == []
    assert "subject" not in row
    said = bench.verify(key=other).output
    assert "BLYNKOTA" not in said + json.dumps(row)
    assert sha256(bench.image_bytes) not in said + json.dumps(row)


# What somebody can do who has signed envelopes, but not the key.


def lines(bench):
    return bench.envelope.read_bytes().splitlines(keepends=True)


def test_a_summary_without_its_test_result_is_refused(bench):
    bench.envelope.write_bytes(lines(bench)[1])
    code, row = told(bench)
    assert (code, whats(row)) == (4, ["statement"])
    assert "1 of 1 test results that the summary rests on are not there" in str(row)


def test_a_summary_that_was_taken_away_is_no_pass(bench):
    bench.envelope.write_bytes(lines(bench)[0])
    assert told(bench)[0] == 4


def test_a_line_that_stands_twice_is_refused(bench):
    result, summary = lines(bench)
    for data in (result * 2 + summary, result + summary * 2):
        bench.envelope.write_bytes(data)
        assert whats(told(bench)[1]) == ["statement"]


def test_the_summary_of_an_earlier_release_beside_this_one_is_refused(bench):
    old = bench.envelope.read_bytes()
    bench.policy.write_text("[policy]\nname = 'new'\n")
    bench.sign()
    bench.envelope.write_bytes(old + bench.envelope.read_bytes())
    code, row = told(bench, "--policy", bench.policy)
    assert (code, whats(row)) == (4, ["statement"])
    assert "it holds 2 summaries" in row["differences"][0]["text"]


def test_the_summary_of_one_release_with_the_test_result_of_another_is_refused(bench):
    old = lines(bench)
    bench.policy.write_text("[policy]\nname = 'new'\n")
    bench.sign()
    new = lines(bench)
    bench.envelope.write_bytes(old[0] + new[1])
    assert set(whats(told(bench)[1])) == {"statement"}


def test_a_pass_of_another_image_beside_this_one_s_failure_is_refused(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    good = Bench(tmp_path / "good")
    good.sign()
    bad = Bench(tmp_path / "bad", image_bytes=b"bad", words={UPGRADE: "firmware"}, key=good.key)
    bad.sign(verdict="fail")
    for data in (
        bad.envelope.read_bytes() + lines(good)[1],
        bad.envelope.read_bytes() + good.envelope.read_bytes(),
        good.envelope.read_bytes(),
    ):
        bad.envelope.write_bytes(data)
        code, row = told(bad)
        assert (code, row["verified"]) == (4, False)


def test_lines_in_another_order_are_refused(bench, tmp_path):
    second = a_run(tmp_path / "second", bench.image.read_bytes())
    bench.sign(runs=(bench.used(bench.run), bench.used(second)))
    one, two, summary = lines(bench)
    for data, words in (
        (two + one + summary, "not in the summary's order"),
        (one + summary + two, "the summary is not the last line"),
    ):
        bench.envelope.write_bytes(data)
        code, row = told(bench)
        assert (code, whats(row)) == (4, ["statement"])
        assert words in row["differences"][0]["text"]


def test_an_attestation_of_something_else_beside_ours_is_refused(bench):
    """In-toto would have it ignored. What decides on a release has a file of its own."""
    bench.seal({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/x"})
    theirs = bench.envelope.read_bytes()
    bench.sign()
    bench.envelope.write_bytes(bench.envelope.read_bytes() + theirs)
    code, row = told(bench)
    assert (code, whats(row)) == (4, ["statement"])
    assert "line 3: predicateType: expected" in row["differences"][0]["text"]


# What the holder of the key may have signed by mistake, or with another program.


def test_a_statement_with_two_subjects_is_refused(bench):
    statements = bench.payloads()
    for one in statements:
        one["subject"].append({**one["subject"][0], "digest": {"sha256": sha256(b"another")}})
    bench.seal(*statements)
    bench.image.write_bytes(b"another")
    code, row = told(bench)
    assert (code, whats(row)) == (4, ["statement", "statement"])
    assert "subject" in row["differences"][0]["text"]


def test_a_summary_of_another_subject_than_its_test_result_is_refused(bench):
    bench.image.write_bytes(b"another")
    result, summary = bench.payloads()
    summary["subject"][0]["digest"]["sha256"] = sha256(b"another")
    bench.seal(result, summary)
    code, row = told(bench)
    assert (code, whats(row)) == (4, ["statement"])
    assert "not of the summary's" in row["differences"][0]["text"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("predicate", "verifier", "policies", 0, "digest", "sha256"), "ee" * 32),
        (("subject", 0, "annotations", "blynkOtaDerivedFrom"), "ee" * 32),
        (("predicate", "blynkOtaInputs", 0, "digest", "sha256"), "ee" * 32),
    ],
)
def test_a_summary_that_contradicts_its_test_result_is_refused(bench, path, value):
    result, summary = bench.payloads()
    place = summary
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    bench.seal(result, summary)
    code, row = told(bench)
    assert (code, set(whats(row))) == (4, {"statement"})


def test_a_stand_in_that_names_another_original_is_refused(bench, tmp_path):
    derived = b"made from app.bin"
    run = a_run(tmp_path / "of the derived", derived)
    bench.sign(runs=(bench.used(run),), stand_ins=(sha256(derived),))
    assert told(bench)[0] == 0
    result, summary = bench.payloads()
    result["subject"][0]["annotations"]["blynkOtaDerivedFrom"] = "ee" * 32
    text = json.dumps(result, sort_keys=True, separators=(",", ":")).encode()
    summary["predicate"]["blynkOtaInputs"][0]["digest"]["sha256"] = sha256(text)
    bench.seal(result, summary)
    assert whats(told(bench)[1]) == ["statement"]


# Usage.


@pytest.mark.parametrize("given", ["private", "image", "rsa"])
def test_a_key_that_is_none_is_a_usage_error(bench, given):
    theirs = bench.root / "rsa.pub.pem"
    theirs.write_bytes(public_pem(rsa.generate_private_key(65537, 2048)))
    key = {"private": bench.private, "image": bench.image, "rsa": theirs}[given]
    done = subprocess.run(
        [BLYNK_OTA, "gate", "verify", bench.envelope,
         "--key", key, "--image", bench.image],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"blynk-ota: {key}: ")


@pytest.mark.parametrize("left_out", ["--key", "--image"])
def test_what_must_be_given_is_asked_for(bench, left_out):
    words = {"--key": bench.public, "--image": bench.image}
    del words[left_out]
    given = [str(word) for pair in words.items() for word in pair]
    done = CliRunner().invoke(command, [str(bench.envelope), *given])
    assert done.exit_code == 2
    assert left_out in done.output


def test_a_binary_given_for_the_envelope_is_a_bad_signature(bench):
    bench.envelope = bench.image
    assert told(bench)[0] == 5


def test_hostile_names_in_a_signed_statement_are_shown_as_signs(bench):
    result, summary = bench.payloads()
    for one in (result, summary):
        one["subject"][0]["name"] = "a\x1b[2Jpp\u202e.bin"
    text = json.dumps(result, sort_keys=True, separators=(",", ":")).encode()
    summary["predicate"]["blynkOtaInputs"][0]["digest"]["sha256"] = sha256(text)
    bench.seal(result, summary)
    done = bench.verify()
    assert done.exit_code == 0
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output


# One changed byte.


@pytest.mark.parametrize("what", ["envelope", "image", "policy", "evidence"])
def test_one_changed_byte_is_refused(bench, what):
    """A sample; each byte is tried by ``python tests/gate/every_byte.py``."""
    found = places(bench, what)
    step = max(1, len(found) // 40)
    tried = found[:: step | 1]
    assert len(tried) >= 20
    assert survivors(bench, tried) == []


def test_a_byte_that_the_attestation_does_not_cover_would_be_noticed_by_the_sample(bench):
    stray = bench.root / "stray.txt"
    stray.write_text("x")
    assert survivors(bench, [Place("stray", stray, 0, 1)])
