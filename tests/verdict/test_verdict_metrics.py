"""What is measured in an operation, and how a crash reads."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from tale import SIZE, SPEED, Tale, names

from pytest_blynk_ota.cli.judge import command
from pytest_blynk_ota.verdict import Verdict
from pytest_blynk_ota.verdict.crash_told import crash_told
from pytest_blynk_ota.verdict.crashed import crashed_in
from pytest_blynk_ota.verdict.decide import Judge, _case
from pytest_blynk_ota.verdict.past import WHOLE


def prints(tale: Tale, name: str, value: float, unit: str = "B") -> Tale:
    return tale.add("uart", "metric", name=name, value=value, unit=unit)


def upgrade() -> Tale:
    return Tale(info=True).offered().downloads().comes_back("new").over()


def test_an_upgrade_has_a_boot_time_a_time_offline_and_a_rate():
    metrics = upgrade().judged().metrics
    assert set(metrics) == {"boot time", "offline time", "download rate"}
    # The tale: 0.3 s of bootloader, 5 s to the connection, 0.2 s to the login.
    assert metrics["boot time"].last == pytest.approx(5.5)
    # It left 2 s after the offer; 0.5 + 0.1 + 4 + 1 s of download, then the boot.
    assert metrics["offline time"].last == pytest.approx(0.5 + 0.1 + 4 + 1 + 5.5)
    # The connection was opened 0.1 s before the answer.
    assert metrics["download rate"].last == pytest.approx(SIZE / 4.1, rel=1e-4)
    assert metrics["download rate"].unit == "B/s"


def test_times_are_device_seconds():
    tale = upgrade()
    boot = next(e for e in tale.events if e.data.get("code") == 0xC)
    login = next(e for e in tale.events if e.kind == "login" and e.t > boot.t)
    assert tale.judged().metrics["boot time"].last == pytest.approx((login.t - boot.t) * SPEED)


def test_a_board_that_stays_away_is_offline_up_to_the_end():
    tale = Tale(op="offer").offered().stalls().wait(300).over()
    tale.control()
    assert tale.judged().metrics["offline time"].last == pytest.approx(0.5 + 0.1 + 32 + 310)


def test_time_in_which_the_test_kept_the_board_away_does_not_count():
    tale = Tale(op="offer", deadline=900).offered().stalls().add("power", "off", by="test")
    tale.wait(400).add("power", "on", by="test").boots("old", code=1).wait(5).logs_in()
    assert tale.wait(12).over().judged().metrics["offline time"].most < 60


def test_a_page_in_place_of_the_file_has_no_rate():
    tale = Tale(op="offer").offered().asks(404, 100).gets(100)
    tale.ends("server", "complete", 100, announced=100, page=True).wait(12).comes_back("old")
    assert "download rate" not in tale.over().judged().metrics


def test_printed_metrics_are_summed_up_with_their_events():
    tale = Tale(op="offer").offered(disconnects=False)
    for value in (-70, -64, -66):
        prints(tale.wait(5), "rssi", value, "dBm")
    metric = tale.wait(10).over().judged().metrics["rssi"]
    assert (metric.count, metric.first, metric.last) == (3, -70, -66)
    assert (metric.least, metric.most, metric.unit) == (-70, -64, "dBm")
    assert metric.mean == pytest.approx(-66.667)
    assert len(metric.events) == 3
    assert str(metric) == "-70 to -64 dBm, last -66 (3 values)"


def test_what_was_printed_before_the_operation_is_none_of_it():
    tale = Tale(op="offer")
    first = tale.events[0]
    event = type(first)(0, first.t, first.wall, "uart", "metric", tale.board,
                        {"name": "rssi", "value": -1, "unit": "dBm"})  # fmt: skip
    tale.events.insert(0, event)
    tale.shuffled(list)
    assert "rssi" not in tale.wait(20).over().judged().metrics


def test_the_rate_of_a_download_is_told_as_that_to_its_last_byte():
    verdict = Tale(op="offer").offered().stalls().comes_back("old").over().judged()
    assert "measured: download rate to the last byte " in str(verdict)
    assert "download rate" in verdict.metrics


def test_metrics_are_stored_and_read_back():
    tale = Tale(op="offer").offered(disconnects=False)
    verdict = prints(tale, "free heap", 200_000).wait(10).over().judged()
    stored = json.loads(json.dumps(verdict.to_json()))
    assert Verdict.from_json(stored) == verdict
    del stored["metrics"]
    assert Verdict.from_json(stored).metrics == {}


@pytest.mark.parametrize(
    ("stored", "code"),
    [({}, 0), ({"metrics": None}, 0), ({"metrics": {}}, 4), ({"outcome": None}, 4)],
    ids=["whole", "of an earlier version", "edited metrics", "no outcome"],
)
def test_a_verdict_stored_before_there_were_metrics_is_still_the_same(tmp_path, stored, code):
    tale = upgrade().flash("app1")
    tale.add("test", "finished", None, verdicts=1)
    verdict = {"operation": 1, **tale.judged().to_json(), **stored}
    verdict = {key: value for key, value in verdict.items() if value is not None or key == "flash"}
    text = "".join(event.to_json() + "\n" for event in tale.events)
    (tmp_path / "events.jsonl").write_text(text)
    (tmp_path / "verdict.json").write_text(json.dumps({"schema": 1, "verdicts": [verdict]}))
    assert CliRunner().invoke(command, [str(tmp_path)]).exit_code == code


def test_the_free_heap_that_falls_is_found_in_metrics():
    tale = Tale(op="offer").offered(disconnects=False)
    for size in (200_000, 190_000, 180_000, 170_000, 160_000):
        prints(tale.wait(5), "free heap", size)
    assert names(tale.wait(10).over().judged()) == {"heap falling"}


def test_a_falling_largest_block_is_no_falling_heap():
    tale = Tale(op="offer").offered(disconnects=False)
    for size in (200_000, 190_000, 180_000, 170_000, 160_000):
        prints(tale.wait(5), "largest free block", size)
    assert names(tale.wait(10).over().judged()) == set()


# ---- crashes

PANIC = {
    "what": "panic",
    "text": "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.",
    "kind": "LoadProhibited",
    "core": 0,
    "pc": "0x400d1234",
    "backtrace": ["0x400d1231"],
}

SENTENCES = [
    (PANIC, "LoadProhibited on core 0 at PC 0x400d1234"),
    (PANIC | {"decoded": ["0x400d1234: app_main at main.c:12", "0x400d0000: x at y.c:1"]},
     "LoadProhibited on core 0 at PC 0x400d1234 (app_main at main.c:12)"),
    (PANIC | {"decoded": ["0x400d0000: x at y.c:1"]}, "LoadProhibited on core 0 at PC 0x400d1234"),
    ({"what": "assert", "kind": "assert", "text": "", "file": "queue.c", "line": 832,
      "function": "xQueueGenericSend", "expression": "pxQueue", "core": None, "pc": None},
     "assert at queue.c:832 in xQueueGenericSend (pxQueue)"),
    ({"what": "stack_overflow", "kind": "stack overflow", "text": "", "task": "loopTask",
      "core": 1, "pc": "0x40081234"},
     "stack overflow in task loopTask on core 1 at PC 0x40081234"),
    ({"what": "task_wdt", "kind": "task watchdog", "text": "", "starved": ["IDLE0 (CPU 0)"],
      "running": {"0": "main", "1": "IDLE1"}, "core": None, "pc": "0x1"},
     "task watchdog (IDLE0 (CPU 0) did not reset it; main on CPU 0, IDLE1 on CPU 1 ran)"),
    ({"what": "esp_error", "kind": "ESP_ERROR_CHECK", "text": "", "error": "0x101",
      "error_name": "ESP_ERR_NO_MEM", "file": "./main/main.c", "line": 57, "function": "app_main",
      "expression": "start_wifi()", "core": 0, "pc": "0x400d0000"},
     "ESP_ERROR_CHECK ESP_ERR_NO_MEM at ./main/main.c:57 in app_main (start_wifi()) on core 0 "
     "at PC 0x400d0000"),
    ({"what": "brownout", "kind": "brownout", "text": "", "core": None, "pc": None}, "brownout"),
    (PANIC | {"address": "0x00000004"},
     "LoadProhibited on core 0 at PC 0x400d1234, data address 0x00000004"),
    (PANIC | {"kind": "Illegal instruction", "address": "0x00000000"},
     "Illegal instruction on core 0 at PC 0x400d1234"),
    ({"what": "panic", "text": "Guru"}, "Guru"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "sentence"), SENTENCES, ids=[row[1][:20] for row in SENTENCES])
def test_a_crash_reads_as_a_sentence(data, sentence):
    assert crash_told(data) == sentence


def reverted(**crash: object) -> Tale:
    tale = Tale(limit=1, info=True).offered().downloads().boots("new").wait(1)
    return tale.add("uart", "crash", **(PANIC | crash)).comes_back("old").closed("limit").over()


def test_the_verdict_says_what_crashed_where_and_in_which_boot():
    verdict = reverted().flash("app0").judged()
    assert verdict.crashes == ("LoadProhibited on core 0 at PC 0x400d1234 in boot 1, new (2.0.0)",)
    told = [reason.text for reason in verdict.reasons]
    assert "crash: LoadProhibited on core 0 at PC 0x400d1234, in new (2.0.0)" in told


def crashing(tale: Tale, **crash: object) -> Tale:
    return tale.wait(1).add("uart", "crash", **(PANIC | crash))


def test_a_crash_that_was_survived_is_told_with_the_firmware_that_crashed():
    tale = crashing(Tale(info=True).offered().downloads().comes_back("new"))
    (finding,) = tale.comes_back("new").over().flash("app1").judged().findings
    assert finding.text == (
        "LoadProhibited on core 0 at PC 0x400d1234, in new (2.0.0); then reset 0xc (SW_CPU)"
    )


def test_two_firmwares_that_crash_alike_are_both_named():
    tale = crashing(Tale(info=True)).comes_back("old").offered().downloads().comes_back("new")
    (finding,) = crashing(tale).comes_back("new").over().flash("app1").judged().findings
    assert "0x400d1234, in old (1.0.0) and new (2.0.0); then reset" in finding.text
    assert finding.text.endswith(" (2 times)")


def test_no_firmware_is_named_where_nothing_says_which_one_crashed():
    tale = Tale(limit=1, flash=False).offered().downloads().boots("new")
    verdict = crashing(tale).comes_back("old").closed("limit").over()
    operation = Judge(verdict.events).operation()
    case, _ = _case(operation, verdict.events, WHOLE)
    assert case.images.ran[1].image is None
    assert crashed_in(case, case.story.crashes()) == ""


def stored(tale: Tale, tmp_path, edit) -> int:
    """What ``blynk-ota judge`` says of a stored verdict whose words are edited."""
    tale.add("test", "finished", None, verdicts=1)
    verdict = edit(json.dumps({"operation": 1, **tale.judged().to_json()}))
    text = "".join(event.to_json() + "\n" for event in tale.events)
    (tmp_path / "events.jsonl").write_text(text)
    (tmp_path / "verdict.json").write_text(f'{{"schema": 1, "verdicts": [{verdict}]}}')
    return CliRunner().invoke(command, [str(tmp_path)]).exit_code


EDITS = {
    "as it is": (lambda text: text, 0),
    "of before": (
        lambda text: (
            text.replace(", in new (2.0.0)", "")
            .replace(", new (2.0.0)", "")
            .replace("at PC ", "at ")
            .replace(", data address 0x00000004", "")
        ),
        0,
    ),
    "another firmware": (lambda text: text.replace(", in new (2.0.0)", ", in old (1.0.0)"), 4),
    "another place": (lambda text: text.replace("at PC 0x400d1234", "at PC 0x400d1235"), 4),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("op", ["ship", "survived"])
def test_words_on_a_crash_that_came_later_are_no_difference_and_edited_ones_are(edit, op, tmp_path):
    how, code = EDITS[edit]
    if op == "ship":
        tale = reverted(address="0x00000004").flash("app0")
    else:
        tale = crashing(Tale(info=True).offered().downloads().comes_back("new"),
                        address="0x00000004")  # fmt: skip
        tale.comes_back("new").over().flash("app1")
    assert stored(tale, tmp_path, how) == code


def test_a_crash_of_which_only_the_first_line_is_stored_is_told_as_before():
    tale = Tale(limit=1, info=True).offered().downloads().boots("new").wait(1).crashes("Guru")
    verdict = tale.comes_back("old").closed("limit").over().flash("app0").judged()
    assert verdict.crashes == ("Guru",)
    assert not [reason for reason in verdict.reasons if reason.text.startswith("crash: ")]


def test_a_task_watchdog_that_restarts_the_board_is_a_crash_though_more_is_printed():
    tale = Tale(limit=1, info=True).offered().downloads().boots("new").wait(1)
    tale.add("uart", "crash", what="task_wdt", text="E", kind="task watchdog", fatal=True)
    tale.add("uart", "firmware", what="progress", text="x", percent=1).comes_back("old")
    assert len(tale.closed("limit").over().flash("app0").judged().crashes) == 1
