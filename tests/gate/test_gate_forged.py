"""Evidence that is not what it seems: each kind is named, and none passes the gate."""

import json
import shutil
import time
from datetime import UTC, datetime, timedelta

import pytest
from gate_runs import (
    DAY_S,
    HOUR_S,
    NEW,
    OTHER,
    POLICY,
    STALLED,
    good,
    iso,
)

from pytest_blynk_ota.evidence.manifest import manifest_of
from pytest_blynk_ota.evidence.writer import write_json


def edited(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def a_failure_called_a_pass(run):
    run.add("bad", word="firmware", like=STALLED)
    run.seal()
    edited(run.path / "results.jsonl", '"firmware"', '"passed"')


def a_failure_called_a_pass_under_a_new_manifest(run):
    a_failure_called_a_pass(run)
    run.reseal()


def a_failure_taken_out_under_a_new_manifest(run):
    run.add("bad", word="firmware", like=STALLED)
    run.seal()
    shutil.rmtree(run.path / "tests" / "bad")
    lines = (run.path / "results.jsonl").read_text().splitlines(keepends=True)
    (run.path / "results.jsonl").write_text("".join(lines[:-1]))
    run.reseal()


def a_verdict_edited_under_a_new_manifest(run):
    run.seal()
    edited(run.path / "tests/t0/verdict.json", '"UPGRADED"', '"REVERTED"')
    run.reseal()


def one_byte_of_the_events(run):
    run.seal()
    path = run.path / "tests/t0/events.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def a_virtual_board_called_real(run):
    run.head["rig_kind"] = "virtual"
    run.seal()


def a_board_that_was_two(run):
    run.identity = {**run.identity, "mac": "34:85:18:00:00:02"}
    run.add("t9")
    run.seal()


def a_run_that_was_killed(run):
    run.seal()
    data = json.loads((run.path / "run.json").read_text())
    del data["finished"]
    (run.path / "run.json").write_text(json.dumps(data))
    (run.path / "manifest.json").unlink()


def a_run_that_was_stopped(run):
    run.head["complete"] = False
    run.seal()


def a_run_without_a_manifest(run):
    run.seal()
    (run.path / "manifest.json").unlink()


def a_file_more(run):
    run.seal()
    (run.path / "tests/t0/more.txt").write_text("x")


def a_file_less(run):
    run.seal()
    (run.path / "tests/t0/verdict.json").unlink()


def a_link(run):
    run.seal()
    path = run.path / "tests/t0/events.jsonl"
    elsewhere = run.path.parent / "elsewhere.jsonl"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def a_line_twice(run):
    run.results = run.results[:1] * 2
    shutil.rmtree(run.path / "tests" / "t1")
    run.seal()


def a_test_copied_under_another_name(run):
    shutil.rmtree(run.path / "tests" / "t1")
    shutil.copytree(run.path / "tests" / "t0", run.path / "tests" / "t1")
    edited(run.path / "tests/t1/events.jsonl", "test_it.py::t0", "test_it.py::t1")
    run.seal()


def a_clock_that_jumped_in_a_test(run):
    path = run.path / "tests/t0/events.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for row in lines[len(lines) // 2 :]:
        row["wall"] += 3600
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    run.seal()


def a_clock_that_jumped_back_and_forth_in_a_test(run):
    path = run.path / "tests/t0/events.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for row in lines[len(lines) // 3 : len(lines) // 2]:
        row["wall"] -= 3600
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    run.seal()


def an_end_before_the_beginning(run):
    run.head["finished"] = iso(run.at - HOUR_S)
    run.seal()


def a_beginning_after_its_tests(run):
    run.head["started"] = iso(run.at + 600)
    run.seal()


def a_beginning_without_a_zone(run):
    run.head["started"] = "2026-11-27T10:00:00"
    run.seal()


def a_test_that_lost_its_end(run):
    path = run.path / "tests/t0/events.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    run.seal()


def an_event_taken_out(run):
    path = run.path / "tests/t0/events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:20] + lines[21:]))
    run.seal()


def events_of_another_test(run):
    edited(run.path / "tests/t0/events.jsonl", "test_it.py::t0", "test_it.py::other")
    run.seal()


def words_that_say_nothing(run):
    edited_row = run.results[0]
    edited_row["word"] = "xpassed"
    run.seal()


def a_run_of_the_old_format(run):
    run.head["schema"] = 1
    run.seal()


BLOCKED = [
    (a_failure_called_a_pass, "results.jsonl: cut: it has"),
    (a_failure_called_a_pass_under_a_new_manifest, "counts 1 firmware, results.jsonl holds 0"),
    (a_failure_taken_out_under_a_new_manifest, "counts 1 firmware, results.jsonl holds 0"),
    (a_verdict_edited_under_a_new_manifest, "judged again: outcome: stored 'REVERTED'"),
    (one_byte_of_the_events, "its content is not what it was"),
    (a_virtual_board_called_real, "run.json says that its boards are virtual"),
    (a_board_that_was_two, "the name c3-a stood for 2 boards"),
    (a_run_that_was_killed, "it was killed, or still goes on"),
    (a_run_that_was_stopped, "it was stopped on its way"),
    (a_run_without_a_manifest, "manifest.json: missing"),
    (a_file_more, "more.txt: extra"),
    (a_file_less, "verdict.json: missing"),
    (a_link, "foreign"),
    (a_line_twice, "byte for byte: it was copied"),
    (a_test_copied_under_another_name, "to the microsecond: it was copied"),
    (a_clock_that_jumped_in_a_test, "the wall clock jumped by 3600.0 s"),
    (a_clock_that_jumped_back_and_forth_in_a_test, "jumped by -3600.0 s and back, at event #"),
    (an_end_before_the_beginning, "the clock jumped"),
    (a_beginning_after_its_tests, "before its run did: the clock jumped"),
    (a_beginning_without_a_zone, "does not say when it began"),
    (a_test_that_lost_its_end, "the end of the test is missing"),
    (an_event_taken_out, "expected event #"),
    (events_of_another_test, "its events are those of test_it.py::other"),
    (words_that_say_nothing, "1 result xpassed"),
    (a_run_of_the_old_format, "it is of an old format"),
]


@pytest.mark.parametrize(("does", "said"), BLOCKED, ids=lambda one: getattr(one, "__name__", ""))
def test_evidence_that_is_not_what_it_seems_is_named_and_does_not_pass(tmp_path, gate, does, said):
    run = good(tmp_path)
    does(run)
    done = gate(run.path)
    assert done.exit_code in (1, 4), done.output
    assert said in done.output


SEEN_BY_JUDGING = (
    a_verdict_edited_under_a_new_manifest,
    a_clock_that_jumped_back_and_forth_in_a_test,
)


@pytest.mark.parametrize(("does", "said"), BLOCKED, ids=lambda one: getattr(one, "__name__", ""))
def test_nor_does_it_where_verdicts_are_believed(tmp_path, gate, policy, does, said):
    if does in SEEN_BY_JUDGING:
        pytest.skip("that is what believing them means")
    policy.write_text(POLICY.replace('max_age = "7d"', 'max_age = "7d"\njudge_again = false'))
    run = good(tmp_path)
    does(run)
    assert gate(run.path).exit_code in (1, 4)


def test_a_bad_run_beside_a_good_one_keeps_the_gate_from_passing(tmp_path, gate):
    fine, bad = good(tmp_path).seal(), good(tmp_path, "run2", at=time.time() - 2 * HOUR_S)
    one_byte_of_the_events(bad)
    assert gate(fine).exit_code == 0
    done = gate(fine, bad.path)
    assert done.exit_code == 4
    assert "! " + str(bad.path) in done.output


def test_a_run_given_twice_counts_once(tmp_path, gate):
    run = good(tmp_path, tests=1).seal()
    done = gate(run, run)
    assert done.exit_code == 4
    assert "again: it counts once" in done.output


def test_a_run_that_was_copied_counts_once_and_under_another_id_not_at_all(tmp_path, gate):
    run = good(tmp_path, tests=1).seal()
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    assert "it counts once" in gate(run, copy).output
    edited(copy / "run.json", '"id": "', '"id": "0')
    write_json(copy / "manifest.json", manifest_of(copy))
    done = gate(run, copy)
    assert done.exit_code == 4
    assert "byte for byte: it was copied" in done.output


def test_a_run_replayed_from_last_month_is_too_old(tmp_path, gate):
    done = gate(good(tmp_path, at=time.time() - 30 * DAY_S).seal())
    assert done.exit_code == 4
    assert "2 results older than 7 days" in done.output


def test_evidence_of_another_binary_is_named(tmp_path, gate):
    done = gate(good(tmp_path, new=OTHER).seal())
    assert done.exit_code == 4
    assert f"2 results are not of {NEW[:12]}…: {OTHER[:12]}…: they do not count" in done.output


def test_a_virtual_rig_does_not_stand_for_a_real_one(tmp_path, gate):
    done = gate(good(tmp_path, kind="virtual").seal())
    assert done.exit_code == 4
    assert "2 results not on real boards" in done.output


def test_real_and_virtual_boards_in_one_run_are_told_apart(tmp_path, gate):
    run = good(tmp_path, rig_kind="mixed", tests=1)
    run.identity, run.board = (
        {"kind": "virtual", "chip": "esp32c3", "mac": "02:b1:6e:00:00:01"},
        "v",
    )
    run.head["firmware"]["v"] = run.head["firmware"]["c3-a"]
    run.add("t9")
    done = gate(run.seal())
    assert done.exit_code == 4
    assert "boards of several kinds ran in it: real, virtual" in done.output
    assert "1 result not on real boards" in done.output


def test_evidence_from_tomorrow_does_not_pass(tmp_path, gate):
    done = gate(good(tmp_path, at=time.time() + DAY_S).seal())
    assert done.exit_code == 4
    assert "which is to come" in done.output


def test_an_expired_waiver_is_named(tmp_path, gate, policy):
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    policy.write_text(
        POLICY.replace('["H1"]', '["H1", "H2"]')
        + f'[[waiver]]\nline = "updates"\nscenario = "H2"\nreason = "r"\nowner = "o"\n'
        f"until = {yesterday}\n"
    )
    done = gate(good(tmp_path).seal())
    assert done.exit_code == 4
    assert "has expired, and does not count" in done.output
