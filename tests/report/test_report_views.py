"""What a report shows of runs, before it is a page."""

import json
import os
import shutil

import pytest
from report_runs import SPEED, Folder, seal, stalled, verdict

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.report import html, markdown, write


def only(page):
    (test,) = page.tests
    return test


def test_a_test_shows_its_word_outcome_and_reasons_with_their_events(run, page):
    run.add()
    test = only(page(run))
    (operation,) = test.operations
    assert (test.word, operation.outcome) == ("firmware", "STALLED")
    assert operation.reasons[0].text == "download 1 ended: stalled"
    assert [event.seq for event in operation.reasons[0].events] == [7, 10, 13]
    assert operation.reasons[0].events[1].text == "fault fired: stall after=50%"
    assert operation.reasons[0].events[1].at == pytest.approx(1.3 * SPEED)


def test_a_cited_event_that_is_gone_is_said_to_be_gone(run, page):
    run.add(verdicts=[verdict(reasons=[{"text": "because", "events": [99]}])])
    (event,) = only(page(run)).operations[0].reasons[0].events
    assert (event.at, event.text) == (None, "the evidence holds no such event")


def test_red_tests_come_first(run, page):
    for name, word in (("a", "passed"), ("b", "rig"), ("c", "firmware"), ("d", "skipped")):
        run.add(name, word)
    assert [test.word for test in page(run).tests] == ["firmware", "rig", "passed", "skipped"]


def test_runs_of_two_machines_make_one_page(tmp_path, page):
    first, second = Folder(tmp_path / "a" / "run"), Folder(tmp_path / "b" / "run", rig="lab2")
    first.add("one")
    second.add("two", "passed")
    made = page(first, second)
    assert [test.name for test in made.tests] == ["one", "two"]
    assert [run.rig for run in made.runs] == ["lab1", "lab2"]


def test_two_results_of_one_name_are_both_kept_and_marked(tmp_path, page):
    first, second = Folder(tmp_path / "a" / "run"), Folder(tmp_path / "b" / "run")
    first.add()
    second.add(word="passed")
    tests = page(first, second).tests
    assert [test.word for test in tests] == ["firmware", "passed"]
    assert all("2 results have this id: each is shown" in test.marks for test in tests)


def test_a_test_without_evidence_is_listed(run, page):
    shutil.rmtree(run.add("gone", "error", message="worker 'gw1' crashed", folder=None))
    test = next(test for test in page(run).tests if test.name == "gone")
    assert (test.word, test.events, test.operations) == ("error", 0, ())


def test_the_duration_is_the_devices(run, page):
    run.add()
    assert only(page(run)).device_seconds == pytest.approx(3.6 * SPEED)


def test_a_download_shows_its_rate(run, page):
    run.add()
    (row,) = only(page(run)).operations[0].downloads
    assert (row["bytes"], row["rate"]) == ("102,400 of 204,800", "3.2")


def crash(t, **more):
    return (t, "uart", "crash", {"what": "panic", "text": "Guru Meditation Error", **more})


def test_crashes_in_the_same_words_are_told_once_with_the_first_moment(run, page):
    run.add(rows=[*stalled()[:-1], crash(3.2), crash(3.3), crash(3.4, pc="0x400d1234")])
    first, second = only(page(run)).crashes
    assert (first.times, first.at, second.times) == (2, pytest.approx(64.0), 1)
    assert second.facts == "PC 0x400d1234"


def test_a_crash_is_decoded_where_the_events_say_how(run, page):
    frames, decoded = ["0x400d1234", "0x400d5678"], ["loop at main.cpp:12", "app_main at x.c:3"]
    known = crash(3.2, core=0, backtrace=frames, decoded=decoded, elf="new.elf")
    run.add(rows=[*stalled()[:-1], known, crash(3.3, backtrace=frames)])
    first, second = only(page(run)).crashes
    assert (first.lines, first.facts) == (tuple(decoded), "core 0, decoded with new.elf")
    assert second.lines == tuple(frames)


def dumped(between, **more):
    """A test with a crash that is told behind so many lines of its dump."""
    guru = "Guru Meditation Error"
    lines = [(3.2, "uart", "line", {"text": text}) for text in ("before", guru)]
    dump = [(3.2, "uart", "line", {"text": f"3fc8c{i:03x}: 0x0"}) for i in range(between)]
    return [*stalled()[:-1], *lines, *dump, crash(3.2, **more)]


def crash_finding(seq, image=", in new (1.1.0)"):
    text = f"panic on core 0 at PC 0x42{image}; then reset 0xc (SW)"
    return {"name": "crash", "severity": "error", "text": text, "events": [seq]}


ERROR_FINDING = "the test passed, but there is an error finding: crash"


def test_a_crash_brings_its_first_line_for_it_is_told_behind_its_dump(run, page):
    rows = dumped(45)
    first, told = len(rows) - 46, len(rows)
    found = [crash_finding(told)]
    run.add(rows=rows, message=ERROR_FINDING, verdicts=[verdict("UPGRADED", findings=found)])
    test = only(page(run))
    (finding,) = test.operations[0].findings
    assert [event.seq for event in finding.sentence.events] == [first, told]
    assert finding.sentence.events[0].text == "Guru Meditation Error"
    assert (test.opens, test.fault.decided) == (first, told)
    assert (test.crashes[0].first, test.crashes[0].seq) == (first, told)
    assert finding.sentence.more == 0


@pytest.mark.parametrize(("image", "told"), [(", in new (1.1.0)", "new (1.1.0)"), ("", "")])
def test_a_crash_names_the_firmware_that_the_verdict_names_and_no_other(run, page, image, told):
    rows = dumped(2)
    run.add(rows=rows, verdicts=[verdict(findings=[crash_finding(len(rows), image)])])
    assert only(page(run)).crashes[0].image == told


@pytest.mark.parametrize(
    ("more", "label", "hint"),
    [
        ({}, "Backtrace (addresses)", True),
        ({"elf": "not used: of another build"}, "Backtrace (addresses)", False),
        ({"elf": "new.elf", "decoded": ["0x4201301d: f at f.c:1"]}, "Backtrace, the inn", False),
    ],
    ids=["no ELF file", "another ELF file", "decoded"],
)
def test_a_backtrace_says_what_it_is_and_how_to_read_it(run, text, more, label, hint):
    run.add(rows=dumped(2, backtrace=["0x4201301d"], **more))
    made = text(run)
    assert label in made
    assert ("--elf build/app.elf" in made) is hint
    assert ("ELF file not used: of another build" in made) is (more.get("elf", "")[:3] == "not")


def test_a_test_that_upgraded_says_beside_it_which_finding_made_it_red(run, page, text):
    rows = dumped(2)
    found = verdict("UPGRADED", findings=[crash_finding(len(rows))])
    run.add(rows=rows, message=ERROR_FINDING, verdicts=[found])
    run.add("other", message="assert expected REJECTED, got UPGRADED", verdicts=[found])
    assert [test.but for test in page(run).tests] == ["finding: crash", ""]
    assert '<span class="but">finding: crash</span>' in text(run)
    assert "| UPGRADED, finding: crash |" in markdown.render(page(run))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["firmware"], "The only test is red"),
        (["passed"], "The only test is not red"),
        (["firmware", "passed"], "1 of the 2 tests is red"),
        (["firmware", "rig", "passed"], "2 of the 3 tests are red"),
        (["firmware", "rig"], "All 2 tests are red"),
        (["passed", "skipped"], "None of the 2 tests is red"),
    ],
)
def test_the_headline_counts_as_people_do(run, page, words, told):
    for name, word in enumerate(words):
        run.add(f"test_{name}", word)
    assert page(run).headline == told


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ({"result": "rig"}, "it came to its end; the rack failed"),
        ({"result": "ok"}, "it came to its end; nothing failed"),
        (
            {"result": "incomplete", "complete": False},
            "it did not come to its end; its evidence is not whole",
        ),
        ({"result": 3}, "it came to its end; what it came to is not known"),
    ],
    ids=["rack", "ok", "stopped", "foreign"],
)
def test_the_head_says_in_plain_words_what_a_run_came_to(tmp_path, page, head, told):
    run = Folder(tmp_path / "run", **head)
    run.add()
    assert page(run).runs[0].ended == told


def test_the_clocks_are_told_once_where_they_first_meet_the_eye(run, text):
    run.add()
    assert text(run).count("20 times as fast as the wall clock.") == 1
    assert text(run).index('class="clocks') < text(run).index('<tbody>\n<tr class="group')


def test_a_link_to_evidence_says_where_it_works(run, page):
    run.add()
    made = html.render(page(run), run.path)
    assert 'title="opens while the page lies in the run&#39;s folder"' in made or (
        'title="opens while the page lies in the run\'s folder"' in made
    )


def test_the_rate_in_the_table_says_that_stalls_count(run, text):
    run.add()
    assert "kB per device second<br><small>to its end, stalls included" in text(run)


def test_the_markdown_table_has_a_row_a_test_and_the_cause(run, page):
    run.add()
    made = markdown.render(page(run))
    assert "started 2026-11-26T02:00:00+00:00 by the wall clock" in made
    assert "came at device second 26.0" in made
    assert (
        "| **firmware** | test\\_it.py::test\\_it | STALLED | The test's fault stall after=50%"
        in made
    )


def test_markdown_stays_text_whatever_the_evidence_says(run, page):
    run.add(word="rig", message="<img src=x> | [a](b) `c` @team\nsecond")
    row = markdown.render(page(run)).splitlines()[-1]
    assert "&lt;img src=x&gt; \\| \\[a\\]\\(b\\) \\`c\\` \\@team␤second" in row


def test_report_and_summary_are_written_beside_the_evidence(run):
    run.add()
    assert write.write_beside(run.path) == run.path / "report.html"
    assert (run.path / "summary.md").read_text().startswith("# lab1")
    assert not list(run.path.glob("*.part"))


def test_a_path_without_evidence_is_an_error_that_names_it(tmp_path, page):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvidenceError, match=r"empty.*expected the folder of a run"):
        write.read([tmp_path / "empty"])


def test_the_folder_of_one_test_is_a_report_too(run, page):
    folder = run.add()
    made = write.read([folder])
    assert only(made).operations[0].outcome == "STALLED"
    assert "one test's folder" in made.marks[0]


def cut(folder):
    text = (folder / "events.jsonl").read_text()
    (folder / "events.jsonl").write_text(text[: len(text) // 2])


def foreign(folder):
    (folder / "events.jsonl").write_bytes(b"\x7fELF\x00\xff" * 50)


def deep(folder):
    (folder / "verdict.json").write_text("[" * 100_000)


def wrong_kinds(folder):
    (folder / "verdict.json").write_text(
        json.dumps({"verdicts": [3, verdict(reasons=7, downloads=[1], versions={}, seconds=1e999)]})
    )


def no_verdict(folder):
    (folder / "verdict.json").unlink()


def empty(folder):
    (folder / "events.jsonl").write_text("")


def numbers_out_of_reach(folder):
    rows = stalled()
    rows[3] = (1e300, "cloud", "report", {"version": "1"})
    rows[4] = (1.0, "ota", "operation", {"op": "ship", "number": 1, "speed": -1})
    (folder / "events.jsonl").write_text(
        "".join(
            json.dumps({"schema": 1, "seq": 10**30 if i == 5 else i, "t": t, "wall": t,
                        "source": source, "kind": kind, "board": None, "data": data}) + "\n"
            for i, (t, source, kind, data) in enumerate(rows, 1)
        )
    )  # fmt: skip


def a_pipe(folder):
    (folder / "events.jsonl").unlink()
    os.mkfifo(folder / "events.jsonl")


def a_link(folder):
    (folder / "verdict.json").unlink()
    (folder / "verdict.json").symlink_to("/etc/passwd")


DAMAGE = {
    "a pipe": (a_pipe, "events.jsonl: foreign: is a pipe"),
    "a link": (a_link, "verdict.json: foreign: is a link"),
    "cut": (cut, "the end of the test is missing"),
    "foreign": (foreign, "no event"),
    "deep": (deep, "verdict.json: unreadable: is no JSON"),
    "wrong kinds": (wrong_kinds, ""),
    "no verdict": (no_verdict, "verdict.json: missing: the test ended"),
    "empty": (empty, "no event"),
    "numbers out of reach": (
        numbers_out_of_reach,
        "line 4: t: expected a finite number, got 1e+300 (and 1 more)",
    ),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_evidence_gets_a_mark_and_a_page(run, page, text, how):
    damage, mark = DAMAGE[how]
    damage(run.add())
    test = only(page(run))
    assert any(mark in one for one in test.marks) or not mark
    assert test.key in text(run)


def test_a_run_that_was_killed_says_so(tmp_path, page):
    run = Folder(tmp_path / "run", complete=False, result="incomplete")
    run.add()
    assert "not complete" in page(run).marks[0]


def test_a_folder_that_leads_out_of_the_run_is_not_read(run, page, tmp_path):
    run.add("other")
    (tmp_path / "secret").mkdir()
    run.add("it", folder="../../secret")
    made = page(run)
    assert "secret" not in "".join(test.folder for test in made.tests)
    assert any("line 2: folder: expected tests/NAME" in mark for mark in made.marks)


def test_a_linked_folder_is_no_test(run, page, tmp_path):
    run.add()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "events.jsonl").write_text("")
    (run.path / "tests" / "linked").symlink_to(tmp_path / "elsewhere")
    assert only(page(run)).name == "test_it"


def test_events_are_told_in_the_order_of_their_time(run, page):
    rows = stalled()
    late = (0.05, "uart", "line", {"text": "seen first, said last"})
    run.add(rows=[*rows[:-1], late, rows[-1]])
    assert only(page(run)).last_lines[0] == "seen first, said last"


def test_evidence_below_the_page_is_a_link_and_elsewhere_a_path(run, page, tmp_path):
    folder = run.add("a b#c")
    made = page(run)
    assert 'href="tests/a%20b%23c/"' in html.render(made, run.path)
    assert f"<code>{folder}</code>" in html.render(made, tmp_path / "elsewhere")
    assert 'href="../' not in html.render(made, tmp_path / "elsewhere")


def test_a_run_that_is_as_it_was_written_has_no_mark(run, page):
    run.add()
    seal(run.path)
    write.write_beside(run.path)  # its own pages are no change
    made = page(run)
    assert (made.marks, only(made).marks) == ((), ())


def edited(folder):
    text = (folder / "verdict.json").read_text()
    (folder / "verdict.json").write_text(text.replace("STALLED", "UPGRADED"))


def added(folder):
    (folder / "more.log").write_text("x")


def lost(folder):
    (folder / "verdict.json").unlink()


def replaced_by_a_link(folder):
    (folder / "verdict.json").rename(folder.parent / "elsewhere.json")
    (folder / "verdict.json").symlink_to("../elsewhere.json")


TAMPERED = {
    edited: "verdict.json: edited: it has ",
    added: "more.log: extra: it was not there when the run ended",
    lost: "verdict.json: missing: it was there when the run ended",
    replaced_by_a_link: "verdict.json: foreign: it is a link",
}


@pytest.mark.parametrize("how", TAMPERED, ids=lambda how: how.__name__)
def test_a_file_that_is_not_as_it_was_is_marked_at_its_test(run, page, how):
    folder = run.add()
    seal(run.path)
    how(folder)
    made = page(run)
    assert f"tests/test_it/{TAMPERED[how]}" in "\n".join(only(made).marks)
    assert made.marks[-1].endswith("when the run ended")


def test_an_edited_head_is_marked_at_the_run(run, page):
    run.add()
    seal(run.path)
    (run.path / "run.json").write_text((run.path / "run.json").read_text().replace("lab1", "lab2"))
    assert page(run).marks == (
        "run.json: edited: its content is not what it was when the run ended",
        "1 file is not as it was when the run ended",
    )


def test_a_whole_run_of_the_format_with_a_manifest_says_when_it_has_none(tmp_path, page):
    run = Folder(tmp_path / "run", schema=2)
    run.add()
    assert page(run).marks[0].startswith("manifest.json: missing")


@pytest.mark.parametrize("manifest", ["[]", "{}", '{"files": 3}', '{"files": {"run.json": 1}}'])
def test_a_manifest_that_is_none_vouches_for_nothing(run, page, manifest):
    run.add()
    (run.path / "manifest.json").write_text(manifest)
    made = page(run)
    assert not made.runs[0].whole
    assert made.marks[0].startswith(("manifest.json: unreadable: ", "manifest.json: edited: "))


@pytest.mark.parametrize(
    ("lines", "told"),
    [("x", "cut: it ends in half a line"), ("x\n", "edited: line 2: ")],
)
def test_a_result_that_cannot_be_read_is_told(run, page, lines, told):
    run.add()
    with (run.path / "results.jsonl").open("a") as results:
        results.write(lines)
    seal(run.path)
    assert page(run).marks[0].startswith(f"results.jsonl: {told}")


def test_one_file_is_counted_as_one_and_more_than_fifty_are_not_all_named(run, page):
    run.add()
    seal(run.path)
    for number in range(60):
        (run.path / f"virtual-rack-gw{number}.log").write_text("")
    marks = page(run).marks
    assert len(marks) == 52
    assert marks[-2:] == ("and 10 more", "60 files are not as they were when the run ended")


def test_a_board_that_no_test_ran_on_is_not_among_the_firmware(tmp_path, page):
    images = {which: {"version": "1.0.0"} for which in ("old", "new")}
    boards = {"c3-a": images, "c3-b": {**images, "old": {}}, "c3-c": images}
    run = Folder(tmp_path / "run", firmware=boards)
    run.add()
    run.add("test_both", boards=["c3-a", "c3-c"])
    (shown,) = page(run).runs
    assert ([row["boards"] for row in shown.firmware], shown.unused) == (["c3-a, c3-c"], "c3-b")


def test_where_no_test_names_a_board_all_are_shown(run, page):
    run.add(boards=[], rows=[])
    (shown,) = page(run).runs
    assert ([row["boards"] for row in shown.firmware], shown.unused) == (["c3-a"], "")


def test_outcomes_that_are_alike_are_counted(run, page):
    outcomes = ["UPGRADED", "UPGRADED", "STALLED", "UPGRADED"]
    run.add(verdicts=[verdict(one, operation=n) for n, one in enumerate(outcomes)])
    assert only(page(run)).outcomes_short == "UPGRADED × 2, STALLED, UPGRADED"


def test_links_to_events_stand_in_the_order_of_time(run, page):
    run.add(verdicts=[verdict(reasons=[{"text": "x", "events": [13, 99, 7, 10]}])])
    (reason,) = only(page(run)).operations[0].reasons
    assert [event.seq for event in reason.events] == [7, 10, 13, 99]


def test_a_stored_reason_is_shown_as_a_clean_sentence(run, page):
    text = "102400 of 204800 bytes.; then it  crashed:"
    run.add(verdicts=[verdict(reasons=[{"text": text, "events": []}])])
    (reason,) = only(page(run)).operations[0].reasons
    assert reason.text == "102,400 of 204,800 bytes; then it crashed"
