"""What is attested: statements of in-toto, what ties a binary to what ran, and derived images."""

import errno
import hashlib
import json
import shutil
from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from attest_bench import NOW, RACK, STALL, UPGRADE, Bench, a_run, reseal, sha256
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.errors import EvidenceError, UsageError
from pytest_blynk_ota.gate.decision import RigUsed, Subject
from pytest_blynk_ota.gate.envelope import canonical
from pytest_blynk_ota.gate.statement import parsed
from pytest_blynk_ota.gate.tie import seen_in

SUBJECT, OTHER = "5b" * 32, "07" * 32
ELF = "c0ffee" * 10 + "beef"


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_pass_is_a_test_result_for_the_run_and_a_summary_that_rests_on_it(bench):
    bench.sign()
    result, summary = bench.payloads()
    policy = {"name": "policy", "digest": {"sha256": sha256(bench.policy.read_bytes())}}
    manifest = sha256((bench.run / "manifest.json").read_bytes())
    assert result["_type"] == summary["_type"] == "https://in-toto.io/Statement/v1"
    assert result["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert summary["predicateType"] == "https://in-toto.io/attestation/svr/v0.2"
    for one in (result, summary):
        (subject,) = one["subject"]
        assert subject["name"] == "app.bin"
        assert subject["digest"] == {"sha256": sha256(bench.image.read_bytes())}
    said = result["predicate"]
    rig, by, evidence = said["configuration"]
    assert said["result"] == "PASSED"
    assert said["passedTests"] == [
        "test_update.py::test_a_stall",
        "test_update.py::test_an_upgrade",
    ]
    assert said["warnedTests"] == said["failedTests"] == []
    assert (rig["digest"], by) == ({"sha256": "ab" * 32}, policy)
    assert rig["annotations"] == {"blynkOtaRig": "virtual", "blynkOtaKind": "virtual"}
    assert evidence["digest"] == {"sha256": manifest}
    assert evidence["annotations"]["blynkOtaAs"] == ["new"]
    assert summary["predicate"]["verifier"]["policies"] == [policy]
    assert summary["predicate"]["properties"] == ["BLYNKOTA_GATE", "BLYNKOTA_UPGRADE"]
    assert summary["predicate"]["timeCreated"] == "2026-11-27T03:00:00Z"
    text = json.dumps(result, sort_keys=True, separators=(",", ":")).encode()
    (rests_on,) = summary["predicate"]["blynkOtaInputs"]
    assert rests_on["digest"] == {"sha256": hashlib.sha256(text).hexdigest()}


@pytest.mark.parametrize("verdict", ["fail", "incomplete"])
def test_without_a_pass_there_is_no_summary_and_an_old_one_is_gone(bench, verdict):
    bench.sign()
    bench.sign(verdict=verdict)
    assert [one["predicateType"].split("/")[-2] for one in bench.payloads()] == ["test-result"]


@pytest.mark.parametrize(
    ("words", "result", "lists"),
    [
        ({UPGRADE: "passed", STALL: "skipped"}, "PASSED", (1, 0, 0)),
        ({UPGRADE: "passed", STALL: "rig"}, "WARNED", (1, 0, 0)),
        ({UPGRADE: "passed", STALL: "error"}, "WARNED", (1, 0, 0)),
        ({UPGRADE: "passed", STALL: "xfailed"}, "FAILED", (1, 0, 1)),
        ({UPGRADE: "passed", STALL: "xpassed"}, "WARNED", (1, 1, 0)),
        ({UPGRADE: "passed", STALL: "firmware"}, "FAILED", (1, 0, 1)),
        ({UPGRADE: "firmware", STALL: "rig"}, "FAILED", (0, 0, 1)),
        ({UPGRADE: "skipped", STALL: "skipped"}, "WARNED", (0, 0, 0)),
        ({RACK: "rig"}, "WARNED", (0, 0, 0)),
    ],
)
def test_what_the_tests_came_to_makes_the_result(tmp_path, words, result, lists):
    bench = Bench(tmp_path, words=words)
    bench.sign(verdict="incomplete")
    said = bench.payloads()[0]["predicate"]
    assert said["result"] == result
    assert tuple(len(said[f"{name}Tests"]) for name in ("passed", "warned", "failed")) == lists


@pytest.mark.parametrize("words", [("passed", "firmware"), ("firmware", "passed")])
def test_a_test_that_ran_twice_is_in_one_list_the_worst(bench, words):
    results = bench.run / "results.jsonl"
    first, second = results.read_text().splitlines()
    twice = [json.loads(second) | {"word": words[0]}]
    twice.append(json.loads(second) | {"word": words[1], "folder": None})
    results.write_text("\n".join([first, *map(json.dumps, twice)]) + "\n")
    run = json.loads((bench.run / "run.json").read_text())
    (bench.run / "run.json").write_text(json.dumps({**run, "result": "firmware"}))
    reseal(bench.run)
    bench.sign(verdict="fail")
    said = bench.payloads()[0]["predicate"]
    assert (said["passedTests"], said["failedTests"]) == (
        ["test_update.py::test_a_stall"],
        ["test_update.py::test_an_upgrade"],
    )


def test_tests_in_which_another_binary_took_part_are_not_told(bench):
    events = bench.run / "tests" / STALL / "events.jsonl"
    events.write_text(events.read_text().replace(sha256(bench.image_bytes), "07" * 32))
    reseal(bench.run)
    bench.sign()
    assert bench.payloads()[0]["predicate"]["passedTests"] == ["test_update.py::test_an_upgrade"]


def test_a_test_without_an_update_counts_for_what_its_board_was_to_run(bench):
    events = bench.run / "tests" / STALL / "events.jsonl"
    quiet = events.read_text().replace('"kind": "operation"', '"kind": "nothing"')
    events.write_text(quiet)
    reseal(bench.run)
    bench.sign()
    assert len(bench.payloads()[0]["predicate"]["passedTests"]) == 2
    results = bench.run / "results.jsonl"
    results.write_text(results.read_text().replace('"c3-a"', '"esp32-a"', 1))
    reseal(bench.run)
    bench.sign()
    assert bench.payloads()[0]["predicate"]["passedTests"] == ["test_update.py::test_an_upgrade"]


def test_a_binary_of_which_there_is_no_evidence_cannot_be_attested(bench):
    with pytest.raises(EvidenceError, match=r"no test of the evidence had app\.bin, sha256 00000"):
        bench.sign(subject=Subject("app.bin", "00" * 32))
    assert not bench.envelope.exists()


def test_a_run_of_another_binary_is_left_out_and_may_be_given_to_verify(bench, tmp_path):
    other = a_run(tmp_path / "other", b"another binary")
    bench.sign(runs=(bench.used(bench.run), bench.used(other)))
    assert len(bench.payloads()) == 2
    done = bench.verify("--run", bench.run, "--run", other)
    assert done.exit_code == 0
    assert f"{other}: is about other binaries" in done.output


@pytest.mark.parametrize(
    ("old_path", "new_path", "derived"),
    [
        ("build/app.bin", None, True),
        ("build/old.bin", "build/app.bin", False),
        (None, None, False),  # both were made from recipes
    ],
)
def test_a_new_that_was_made_from_old_is_attested_as_derived(bench, old_path, new_path, derived):
    run = json.loads((bench.run / "run.json").read_text())
    firmware = run["firmware"]["c3-a"]
    firmware["old"]["path"], firmware["new"]["path"] = old_path, new_path
    (bench.run / "run.json").write_text(json.dumps(run))
    reseal(bench.run)
    bench.sign()
    for one in bench.payloads():
        said = one["subject"][0]["annotations"].get("blynkOtaDerivedFrom")
        assert said == (firmware["old"]["sha256"] if derived else None)


def test_a_run_that_is_given_twice_is_attested_once(bench, tmp_path):
    copy = shutil.copytree(bench.run, tmp_path / "copy")
    bench.sign(runs=(bench.used(bench.run), bench.used(bench.run), bench.used(copy)))
    assert len(bench.payloads()) == 2
    assert bench.verify("--run", bench.run, "--run", copy).exit_code == 0


def test_an_image_that_stands_in_for_itself_is_attested_once(bench):
    bench.sign(stand_ins=(bench.decision().subject.sha256,))
    assert len(bench.payloads()) == 2
    assert bench.verify_all().exit_code == 0


def test_evidence_that_was_changed_since_the_decision_cannot_be_attested(bench):
    decision = bench.decision()
    (bench.run / "tests" / UPGRADE / "serial.log").write_text("all is well\n")
    with pytest.raises(EvidenceError, match=r"serial\.log: .*it has \d+ bytes"):
        bench.sign()
    reseal(bench.run)
    with pytest.raises(
        EvidenceError, match=r"manifest\.json: its sha256 is .* when the gate decided"
    ):
        bench.sign(runs=decision.runs)


def test_a_rig_of_another_kind_than_the_decision_names_cannot_be_attested(bench):
    """A virtual rig that has the name of a real one is not taken for it."""
    rigs = (RigUsed("virtual", "real", None),)
    with pytest.raises(EvidenceError, match=r"its rig virtual \(virtual\) is not among those"):
        bench.sign(rigs=rigs)
    bench.sign(rigs=(*rigs, RigUsed("virtual", "virtual", None)))
    rig = bench.payloads()[0]["predicate"]["configuration"][0]
    assert rig["annotations"]["blynkOtaKind"] == "virtual"


@pytest.mark.parametrize(("said", "kind"), [("real", "real"), (None, "unknown")])
def test_the_kind_of_a_rig_is_what_its_boards_say_and_not_what_run_json_does(tmp_path, said, kind):
    bench = Bench(tmp_path)
    for test in (bench.run / "tests").iterdir():
        events = test / "events.jsonl"
        text = events.read_text()
        if said:
            events.write_text(
                text.replace('"kind": "virtual", "chip"', f'"kind": "{said}", "chip"')
            )
        else:
            events.write_text(text.replace('"kind": "identity"', '"kind": "nothing"'))
    reseal(bench.run)
    bench.sign(rigs=(RigUsed("virtual", kind, None),))
    rig = bench.payloads()[0]["predicate"]["configuration"][0]
    assert rig["annotations"]["blynkOtaKind"] == kind


def forget_the_rig_file(bench):
    run = json.loads((bench.run / "run.json").read_text())
    del run["rig_file_sha256"]
    (bench.run / "run.json").write_text(json.dumps(run))
    reseal(bench.run)


@pytest.mark.parametrize("known", [(None,), ("ab" * 32, "cd" * 32), ("ab" * 32, None)])
def test_where_the_rig_file_is_not_known_none_is_claimed(bench, known):
    forget_the_rig_file(bench)
    bench.sign(rigs=tuple(RigUsed("virtual", "virtual", sha) for sha in known))
    rig = bench.payloads()[0]["predicate"]["configuration"][0]
    assert "digest" not in rig
    assert rig["uri"] == "urn:x-blynk-ota:rig:virtual"
    assert bench.verify_all().exit_code == 0


@pytest.mark.parametrize("said", ["", "AB" * 32, "ab" * 32 + "\n", 7])
def test_a_hash_of_the_rig_file_that_is_none_is_a_mark_of_its_run(bench, said):
    run = json.loads((bench.run / "run.json").read_text())
    (bench.run / "run.json").write_text(json.dumps(run | {"rig_file_sha256": said}))
    reseal(bench.run)
    with pytest.raises(EvidenceError, match=r"rig_file_sha256: expected 64 hexadecimal digits"):
        bench.sign()


def test_a_rig_file_that_the_decision_knows_is_taken_from_there_if_the_run_does_not_say(bench):
    forget_the_rig_file(bench)
    bench.sign(rigs=(RigUsed("virtual", "virtual", "cd" * 32),))
    rig = bench.payloads()[0]["predicate"]["configuration"][0]
    assert rig["digest"] == {"sha256": "cd" * 32}


def test_a_derived_image_is_attested_as_one(bench):
    bench.sign(derived_from="0d" * 32)
    for one in bench.payloads():
        assert one["subject"][0]["annotations"]["blynkOtaDerivedFrom"] == "0d" * 32
    done = bench.verify()
    assert done.exit_code == 0
    assert f"a derived image: made from {'0d' * 32}, for which this is no pass" in done.output


def test_a_derived_image_does_not_pass_for_its_original(bench, tmp_path):
    original = tmp_path / "original.bin"
    original.write_bytes(b"the original")
    bench.sign(derived_from=sha256(b"the original"))
    done = bench.verify(image=original)
    assert done.exit_code == 4
    assert "which was derived from original.bin; what holds for a derived image" in done.output


def test_where_the_policy_lets_derived_images_stand_in_each_is_named(bench, tmp_path):
    derived = b"made from app.bin"
    run = a_run(tmp_path / "of the derived", derived)
    bench.sign(runs=(bench.used(run),), stand_ins=(sha256(derived),))
    result, summary = bench.payloads()
    assert result["subject"][0]["digest"] == {"sha256": sha256(derived)}
    notes = summary["subject"][0]["annotations"]
    original = sha256(bench.image.read_bytes())
    assert result["subject"][0]["annotations"]["blynkOtaDerivedFrom"] == original
    assert notes["blynkOtaStandIns"] == [sha256(derived)]
    assert notes["blynkOtaTiedBy"] == {"slot": 0, "elf": 0}  # what ran was another binary
    assert bench.verify("--run", run).exit_code == 0
    (tmp_path / "derived.bin").write_bytes(derived)
    done = bench.verify(image=tmp_path / "derived.bin")
    assert (done.exit_code, "only stood in for it" in done.output) == (4, True)


def test_two_runs_are_two_test_results_and_one_summary(bench, tmp_path):
    second = a_run(tmp_path / "second", bench.image.read_bytes())
    bench.sign(runs=(bench.used(bench.run), bench.used(second)))
    assert len(bench.payloads()) == 3
    assert bench.payloads()[2]["subject"][0]["annotations"]["blynkOtaTiedBy"]["slot"] == 2
    assert bench.verify("--run", bench.run, "--run", second).exit_code == 0


def test_what_the_firmware_alone_says_is_no_tie_and_the_attestation_says_so(tmp_path):
    bench = Bench(tmp_path, words={STALL: "passed"})
    bench.sign()
    for one in bench.payloads():
        assert one["subject"][0]["annotations"]["blynkOtaTiedBy"] == {"slot": 0, "elf": 0}
    assert "nothing ties it to what ran but the firmware's own word" in bench.verify().output


def test_names_of_tests_in_any_script_are_attested_and_verified(bench):
    results = bench.run / "results.jsonl"
    odd = "t.py::test_\u202e\udfff[" + "ü" * 5000
    rows = [json.loads(line) | {"id": odd} for line in results.read_text().splitlines()]
    results.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for test in (bench.run / "tests").iterdir():
        events = (test / "events.jsonl").read_text().splitlines()
        first = json.loads(events[0])
        first["data"]["id"] = odd
        (test / "events.jsonl").write_text("\n".join([json.dumps(first), *events[1:]]) + "\n")
    reseal(bench.run)
    bench.sign()
    (name,) = bench.payloads()[0]["predicate"]["passedTests"]
    assert name.startswith("t.py::test_\u202e\\udfff[ü")
    assert bench.verify_all().exit_code == 0


def test_the_time_is_written_in_utc(bench, monkeypatch):
    monkeypatch.setattr("attest_bench.NOW", NOW.astimezone(timezone(timedelta(hours=9))))
    bench.sign()
    assert bench.payloads()[1]["predicate"]["timeCreated"] == "2026-11-27T03:00:00Z"


def test_the_same_decision_is_signed_to_the_same_bytes(bench):
    first = bench.sign().read_bytes()
    assert bench.sign().read_bytes() == first


def test_a_full_disk_leaves_neither_half_a_file_nor_an_old_pass(bench, monkeypatch):
    bench.sign()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pytest_blynk_ota.cli.gate_attest.os.fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        bench.sign()
    assert not list(bench.root.glob("app.bin.*"))


def test_where_nothing_can_be_attested_no_old_pass_is_left(bench):
    bench.sign()
    (bench.run / "tests" / UPGRADE / "serial.log").unlink()
    bench.sign(verdict="incomplete")
    assert not bench.envelope.exists()
    with pytest.raises(EvidenceError, match=r"serial\.log: missing"):
        bench.sign()


def test_a_place_that_cannot_be_written_is_a_usage_error_and_leaves_nothing(bench):
    bench.envelope.mkdir()
    with pytest.raises(UsageError, match=r"app\.bin\.intoto\.jsonl: .*name another file"):
        bench.sign()
    assert not list(bench.root.glob("*.part"))


# What ties a binary to what ran.


def line(source, kind, board="c3-a", **data):
    row = {"schema": 1, "seq": 1, "t": 1.0, "wall": 1.0, "source": source, "kind": kind}
    return json.dumps(row | {"board": board, "data": data})


def image(sha, elf=ELF):
    return {"sha256": sha, "elf_sha256": elf}


OPERATION = line("ota", "operation", images={"new": image(SUBJECT), "old": image(OTHER, "ab" * 32)})


def read(running="app1", would_boot="app1", started=None, board="c3-a", held="new"):
    slots = {"app0": {"offset": 65536, "image": "old"}, "app1": {"offset": 1376256, "image": held}}
    return line(
        "flash", "read", board, slots=slots, running=running, would_boot=would_boot, started=started
    )


def printed(value=ELF[:9], field="elf_sha256", board="c3-a"):
    return line("uart", "app", board, field=field, value=value)


SLOT, ELF_HASH, NOTHING = (True, False), (False, True), (False, False)


def tie(*lines, sha=SUBJECT):
    seen = seen_in("\n".join(lines).encode() + b"\n", sha)
    return seen.slot, seen.elf


def test_the_hash_of_the_slot_that_was_booted_ties():
    assert tie(OPERATION, read()) == SLOT


def test_a_slot_on_trial_that_was_started_ties():
    assert tie(OPERATION, read(would_boot="app0", started="app1")) == SLOT


LISTED = line("flash", "read", slots=["app1"], running="app1", would_boot="app1")
NO_SLOT = {
    "the other slot was booted": [OPERATION, read(running="app0", would_boot="app0")],
    "it was selected and did not boot": [OPERATION, read(would_boot="app0")],
    "another image was in the slot": [OPERATION, read(held="old")],
    "nothing that is known was in the slot": [OPERATION, read(held=None)],
    "a name that the operation does not know": [OPERATION, read(held="third-1")],
    "no operation told what the names are": [read()],
    "it was read before the operation": [read(), OPERATION],
    "Old was restored before the read": [OPERATION, line("ota", "restored"), read()],
    "it is another board": [OPERATION, read(board="c3-b")],
    "no slot was booted": [OPERATION, read(running=None, would_boot=None)],
    "half a line": [OPERATION, read()[:-1]],
    "slots of another form": [OPERATION, LISTED],
    "images of another form": [line("ota", "operation", images=[SUBJECT]), read()],
    "the firmware prints such a line": [OPERATION, line("uart", "line", text=read())],
}  # fmt: skip


@pytest.mark.parametrize("name", NO_SLOT)
def test_no_slot_ties_where(name):
    assert tie(*NO_SLOT[name]) == NOTHING


def test_the_printed_hash_of_its_elf_file_ties():
    assert tie(OPERATION, printed()) == ELF_HASH


TWINS = line("ota", "operation", images={"new": image(SUBJECT), "old": image(OTHER)})
ZEROS = line("ota", "operation", images={"new": image(SUBJECT, "0" * 64)})
NO_ELF = {
    "another image has the same, as one that was restamped": [TWINS, printed()],
    "it is the other's": [OPERATION, printed("ab" * 4)],
    "too few digits": [OPERATION, printed(ELF[:7])],
    "another field": [OPERATION, printed(field="version")],
    "zeros, as the build left it out": [ZEROS, printed("0" * 9)],
    "no text": [OPERATION, printed(None)],
    "another board": [OPERATION, printed(board="c3-b")],
}


@pytest.mark.parametrize("name", NO_ELF)
def test_no_printed_hash_ties_where(name):
    assert tie(*NO_ELF[name]) == NOTHING


@given(st.lists(st.sampled_from([OPERATION, TWINS, read(), read(held="old"), printed(), "x", ""])))
def test_no_order_of_lines_makes_a_tie_without_the_binary(lines):
    assert tie(*lines, sha="99" * 32) == NOTHING
    if not any(one in (OPERATION, TWINS) for one in lines):
        assert tie(*lines) == NOTHING


# Statements are read strictly.


def broken(statement, path, value):
    *above, last = path
    place = statement
    for key in above:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return statement


BROKEN = {
    "a type of statement that is none": (1, ["_type"], "https://in-toto.io/Statement/v0.1"),
    "no type": (1, ["_type"], None),
    "an unknown predicate": (1, ["predicateType"], "https://slsa.dev/verification_summary/v1"),
    "a predicate that is no text": (1, ["predicateType"], ["x"]),
    "the type of the other": (1, ["predicateType"], "https://in-toto.io/attestation/test-result/v0.1"),
    "the other of the type": (0, ["predicateType"], "https://in-toto.io/attestation/svr/v0.2"),
    "an older version": (1, ["predicateType"], "https://in-toto.io/attestation/svr/v0.1"),
    "no subject": (1, ["subject"], []),
    "a digest in capitals": (1, ["subject", 0, "digest", "sha256"], "AB" * 32),
    "half a digest": (1, ["subject", 0, "digest", "sha256"], "ab" * 16),
    "a digest and a line end": (1, ["subject", 0, "digest", "sha256"], "ab" * 32 + "\n"),
    "another digest beside it": (1, ["subject", 0, "digest", "sha1"], "ab" * 20),
    "nothing on the tie": (1, ["subject", 0, "annotations", "blynkOtaTiedBy"], None),
    "a tie that is no number": (1, ["subject", 0, "annotations", "blynkOtaTiedBy", "slot"], "1"),
    "a tie below zero": (1, ["subject", 0, "annotations", "blynkOtaTiedBy", "slot"], -1),
    "the verifier of others": (1, ["predicate", "verifier", "id"], "pkg:pypi/other@1"),
    "no policy": (1, ["predicate", "verifier", "policies"], []),
    "no property": (1, ["predicate", "properties"], []),
    "not the gate's property": (1, ["predicate", "properties"], ["BLYNKOTA_UPGRADE"]),
    "no input": (1, ["predicate", "blynkOtaInputs"], []),
    "a time without a zone": (1, ["predicate", "timeCreated"], "2026-11-27T03:00:00"),
    "an unknown field": (1, ["predicate", "waived"], True),
    "an unknown result": (0, ["predicate", "result"], "GREEN"),
    "configuration left out": (0, ["predicate", "configuration", 2], None),
    "configuration in another order": (0, ["predicate", "configuration", 0, "name"], "policy"),
    "a rig with digest and uri": (0, ["predicate", "configuration", 0, "uri"], "urn:x"),
    "a test that is no text": (0, ["predicate", "passedTests"], [1]),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_statement_of_ours_is_refused_though_it_is_signed(bench, name):
    number, path, value = BROKEN[name]
    bench.sign()
    statements = bench.payloads()
    broken(statements[number], path, value)
    bench.seal(*statements)
    done = bench.verify_all()
    assert done.exit_code == 4
    assert f"statement: line {number + 1}: " in done.output
    assert "written in another way" not in done.output  # the mistake itself is named


def test_a_statement_that_was_written_in_another_way_is_refused(bench):
    bench.sign()
    text = canonical(bench.payloads()[1])
    assert parsed(text).text() == text
    for other in (
        text.replace(b":", b": ", 1),
        text.replace(b"app.bin", b"a\\u0070p.bin"),
        text.replace(b'"slot":1', b'"slot":1.0'),
        text[:-1] + b',"_type":"https://in-toto.io/Statement/v1"}',
        text + b"\n",
        b"\xef\xbb\xbf" + text,
        b"[" * 100_000,
        b"[1]",
        b"",
    ):
        assert other != text
        with pytest.raises(ValueError):
            parsed(other)


def test_a_decision_may_not_attest_runs_of_another(bench, tmp_path):
    with pytest.raises(EvidenceError, match="nothing to attest"):
        bench.sign(runs=())
    used = bench.used(a_run(tmp_path / "other", b"another binary"))
    with pytest.raises(EvidenceError, match="when the gate decided"):
        bench.sign(runs=(replace(used, path=str(bench.run)),))


def test_a_decision_that_names_no_hash_of_a_policy_cannot_be_attested(bench):
    with pytest.raises(EvidenceError, match=r"nothing can be attested: .*sha256"):
        bench.sign(policy_sha256="")
