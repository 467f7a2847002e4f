"""What stands beside the outcome."""

from __future__ import annotations

import pytest
from tale import BLANK, PENDING, SIZE, UNDEFINED, Tale, entry, image, names

from pytest_blynk_ota.verdict import Outcome

SWITCHED = [entry(1), entry(2)]


def upgraded(**how: object) -> Tale:
    tale = Tale(**how).offered().downloads().comes_back("new")  # type: ignore[arg-type]
    return tale.closed("success")


def test_a_download_open_past_the_stall_limit_of_a_board_that_is_there_is_a_hang():
    tale = Tale(op="offer").offered(disconnects=False).asks().wait(1).gets(500).wait(60).over()
    verdict = tale.judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.STALLED, {"hang"})


def test_success_printed_and_old_booted_is_a_false_success():
    tale = Tale(op="offer", info=True).offered().downloads(into=None).prints("success")
    verdict = tale.comes_back("old").over().judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.REJECTED, {"false success"})


def test_success_printed_after_a_file_that_never_came_is_a_false_success_too():
    """A body without a length, taken for one without a byte."""
    tale = Tale(op="offer", info=True).offered().asks(announced=None).gets(500)
    tale.ends("device", "rst", 500, announced=None).prints("success")
    verdict = tale.comes_back("old").over().judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.DOWNLOAD_FAILED, {"false success"})


def test_old_new_old_new_is_upgraded_and_went_back():
    tale = Tale(info=True).offered().downloads().comes_back("new").crashes().comes_back("old")
    tale.offered().downloads().comes_back("new")
    verdict = tale.closed("success").over().judged()
    assert verdict.outcome is Outcome.UPGRADED
    assert names(verdict) == {"went back", "crash"}


def cut_in_its_first_boot(wait_s: float) -> Tale:
    tale = Tale(info=True).offered().downloads().boots("new").wait(2).logs_in().wait(wait_s)
    tale.add("power", "off", by="test").wait(1).add("power", "on", by="test")
    tale.comes_back("old", code=0x1, cause="POWERON")
    return tale.offered().downloads().comes_back("new").closed("success").over()


def test_new_taken_back_by_the_tests_own_power_cut_before_it_settled_is_no_fault():
    verdict = cut_in_its_first_boot(wait_s=1).judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.UPGRADED, set())
    assert "went back" in names(verdict, "info")


def test_new_that_had_settled_and_is_gone_after_the_tests_power_cut_went_back():
    assert "went back" in names(cut_in_its_first_boot(wait_s=30).judged())


@pytest.mark.parametrize(("lives_on", "told"), [(False, 1), (True, 0)])
def test_a_task_watchdog_is_a_crash_if_nothing_but_the_panics_own_words_follow(lives_on, told):
    tale = Tale(info=True).offered().downloads().boots("new").wait(5)
    tale.add("uart", "crash", what="task_wdt", text="Task watchdog got triggered.")
    if lives_on:
        tale.prints("progress")
    tale.add("uart", "app", field="elf_sha256", value="1d5692c5d")
    tale.comes_back("old").over()
    assert len(tale.judged().crashes) == told


@pytest.mark.parametrize(("code", "crash", "name"), [
    (0xC, True, "crash"), (0x7, False, "unexpected reset"), (0xC, False, "unexpected reset"),
])  # fmt: skip
def test_a_reset_that_was_survived_is_an_error_even_in_a_good_result(code, crash, name):
    tale = Tale(info=True).wait(5)
    if crash:
        tale.crashes()
    tale.boots("old", code=code).wait(5).logs_in().wait(1)
    tale.offered().downloads().comes_back("new").closed("success").over()
    verdict = tale.judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.UPGRADED, {name})


def test_a_restart_in_the_middle_of_a_healthy_download_is_unexpected():
    tale = Tale(op="offer").offered().asks().wait(1).gets(SIZE // 2).comes_back("old").over()
    assert "unexpected reset" in names(tale.judged())


def test_only_one_restart_after_a_download_is_expected():
    tale = Tale(op="offer").offered().stalls().boots("old").wait(5).boots("old").wait(5).logs_in()
    assert names(tale.wait(12).over().judged()) == {"unexpected reset"}


def test_resets_by_the_test_are_expected():
    tale = Tale(op="offer").offered().stalls().comes_back("old")
    tale.boots("old", code=1, cause="POWERON", by="test").wait(5).logs_in().wait(12).over()
    assert names(tale.judged()) == set()


def test_a_power_cycle_by_the_test_with_a_lost_banner_is_one_expected_boot():
    tale = Tale(op="offer").offered().stalls().add("power", "off", by="test").wait(4)
    verdict = tale.add("power", "on", by="test").wait(8).logs_in().wait(12).over().judged()
    assert (verdict.boots, names(verdict)) == (1, set())


def test_a_sleepers_wake_is_expected():
    tale = Tale(op="offer", sleeper=True).offered().stalls()
    for _ in range(3):
        tale.boots("old", code=5, cause="DSLEEP").wait(3).logs_in().wait(2).leaves()
    verdict = tale.over().judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.STALLED, set())


@pytest.mark.parametrize(("rollback", "severity"), [(True, "error"), (False, "info")])
def test_an_entry_without_a_state_is_no_rollback_protection(rollback, severity):
    tale = upgraded(rollback=rollback).over()
    verdict = tale.flash("app1", otadata=[entry(1), entry(2, UNDEFINED)]).judged()
    assert "no rollback protection" in names(verdict, severity)


def test_new_that_settled_unconfirmed_is_found():
    tale = upgraded().over().flash("app1", "app0", otadata=[entry(1), entry(2, PENDING)])
    verdict = tale.judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.UPGRADED, {"confirmation not seen"})


@pytest.mark.parametrize(
    ("label", "otadata", "what"),
    [("app0", [BLANK, BLANK], "slot app0 (old)"), (None, [entry(1), entry(2)], "nothing")],
)
def test_new_that_runs_and_would_not_be_started_again_is_found(label, otadata, what):
    tale = upgraded().over().flash(None, label, otadata=otadata)
    verdict = tale.judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.UPGRADED, {"will not stay"})
    assert what in verdict.findings[0].text


def test_a_flash_that_the_test_itself_wrote_blames_no_image_for_what_starts_next():
    tale = upgraded().add("test", "action", what="flash.damage", spans=[[0xE000, 0x2000]]).over()
    assert names(tale.flash(None, "app0", otadata=[BLANK, BLANK]).judged()) == set()


def test_new_that_survives_a_reset_inside_its_self_test_was_confirmed_too_early():
    tale = Tale(info=True, self_test_s=20.0).offered().downloads().boots("new").wait(5).logs_in()
    tale.wait(3).boots("new", code=1, by="test").wait(5).logs_in().wait(30).closed("success").over()
    assert "confirmed before self-test" in names(tale.judged())


def test_a_stall_that_is_sat_out_for_too_long_is_found():
    tale = Tale(op="offer").offered().asks().wait(1).gets(9).fault("stall after=9", at=9).wait(90)
    verdict = tale.ends("device", "fin", 9).wait(10).comes_back("old").over().judged()
    assert names(verdict) == {"stall too long"}


def test_time_in_which_the_rig_itself_stood_still_is_not_the_devices():
    tale = Tale(op="offer").offered().asks().wait(1).gets(9).fault("stall after=9", at=9).wait(10)
    for _ in range(8):
        tale.wait(10).add("rig", "late", seconds=8 / 20)  # of the host, at speed 20
    verdict = tale.ends("device", "fin", 9).wait(10).comes_back("old").over().judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.STALLED, set())


@pytest.mark.parametrize(("seconds", "found"), [(42, set()), (90, {"stall too long"})])
def test_a_stall_that_a_restart_ends_may_last_the_time_in_the_error_state_too(seconds, found):
    tale = Tale(op="offer").offered().asks().wait(1).gets(9).fault("stall after=9", at=9)
    assert names(tale.wait(seconds).comes_back("old").over().judged()) == found


def test_a_board_that_comes_back_late_was_offline_too_long():
    tale = Tale(op="offer", deadline=900).offered().stalls().boots("old").wait(300).logs_in()
    assert names(tale.wait(12).over().judged()) == {"offline too long"}


def test_time_without_power_is_not_offline_time():
    tale = Tale(op="offer", deadline=900).offered().stalls().add("power", "off", by="test")
    tale.wait(400).add("power", "on", by="test").boots("old", code=1).wait(5).logs_in()
    assert names(tale.wait(12).over().judged()) == set()


def test_a_board_that_waits_to_be_configured_lost_its_config():
    tale = Tale(op="offer").offered().stalls().comes_back("old")
    tale.add("uart", "line", text="[100] INITIALIZING => WAIT_CONFIG").over()
    assert names(tale.judged()) == {"config lost"}


def test_free_heap_that_falls_with_each_print_is_found():
    tale = Tale(op="offer").offered(disconnects=False)
    for size in (200_000, 190_000, 180_000, 170_000, 160_000):
        tale.wait(5).add("uart", "line", text=f"free heap: {size}")
    assert names(tale.wait(10).over().judged()) == {"heap falling"}


def test_the_slot_that_old_ran_from_must_still_hold_it():
    tale = upgraded().over().flash("app1", otadata=SWITCHED, app0=None)
    assert names(tale.judged()) == {"other slot damaged"}


def test_a_slot_that_the_test_wrote_to_is_not_damaged_by_the_update():
    tale = upgraded().add("test", "action", what="flash.write", spans=[[0x10000, 4096]])
    tale.over().flash("app1", otadata=SWITCHED, app0=None)
    assert names(tale.judged()) == set()


def test_a_token_on_the_uart_is_a_secret_in_the_log():
    tale = upgraded(info=True).add("uart", "line", text="auth [token of c3-a]").over()
    assert names(tale.judged()) == {"secret in the log"}


def test_the_used_up_token_of_a_download_url_is_no_secret():
    tale = upgraded(info=True).add("uart", "line", text="url http://x/?token=[url token]").over()
    assert names(tale.judged()) == set()


def test_two_boards_that_lose_the_network_together_are_an_unexplained_loss():
    tale = Tale(op="offer").offered().asks().wait(1).gets(500, 900).wait(8)
    tale.add("cloud", "closed", "other", session=50, by="server", why="silent for 92 s")
    tale.ends("device", "timeout", 500, 900).wait(10).comes_back("old").over()
    verdict = tale.judged()
    assert names(verdict, "warn") == {"unexplained loss"}
    assert verdict.outcome is Outcome.STALLED


def test_a_loss_under_our_own_fault_is_explained():
    tale = Tale(op="offer").offered().stalls()
    tale.add("cloud", "closed", "other", session=50, by="server", why="silent for 92 s")
    assert names(tale.comes_back("old").over().judged(), "warn") == set()


def test_an_unexpected_reset_after_the_watch_is_late():
    tale = upgraded(info=True).over()
    assert names(tale.judged()) == set()
    tale.wait(20).crashes().boots("new")
    assert names(tale.judged()) == {"late"}


def test_another_image_after_the_tests_own_power_cycle_is_late():
    tale = upgraded(info=True).over().wait(5)
    tale.boots("old", code=1, cause="POWERON", by="test").wait(5).logs_in()
    assert names(tale.judged()) == {"late"}


def test_the_same_image_after_the_tests_own_power_cycle_is_not():
    tale = upgraded(info=True).over().wait(5)
    tale.boots("new", code=1, cause="POWERON", by="test").wait(5).logs_in()
    assert names(tale.judged()) == set()


def test_going_offline_after_the_watch_is_late():
    tale = upgraded(info=True).over().wait(5).leaves().wait(200).add("uart", "line", text="x")
    assert names(tale.judged()) == {"late"}


def reset_after_the_watch(by: str) -> Tale:
    """New is up, and is reset by the rig, which reads the flash, or by the test."""
    tale = upgraded(info=True).over()
    if by == "rig":
        return tale.flash("app1", otadata=[entry(1), entry(2)])
    return tale.wait(5).boots("new", code=1, cause="POWERON", by="test")


@pytest.mark.parametrize("by", ["rig", "test"])
def test_a_board_that_stays_silent_after_a_reset_of_ours_is_late(by):
    tale = reset_after_the_watch(by).wait(200).add("test", "finished", verdicts=1)
    late = [finding.text for finding in tale.judged().findings if finding.name == "late"]
    assert len(late) == 1
    assert "offline for 20" in late[0]
    assert late[0].endswith(f"after a reset by the {by}")


@pytest.mark.parametrize("by", ["rig", "test"])
def test_a_board_is_given_its_time_after_a_reset_of_ours(by):
    for tale in (
        reset_after_the_watch(by).wait(40).add("test", "finished", verdicts=1),
        reset_after_the_watch(by).wait(60).logs_in().wait(200).add("uart", "line", text="x"),
        reset_after_the_watch(by).wait(5).add("power", "off", by="test").wait(200),
    ):
        assert names(tale.add("test", "finished", verdicts=1).judged()) == set()


@pytest.mark.parametrize("seconds", [30, 200])
def test_a_connection_that_has_not_logged_in_yet_is_no_endless_absence(seconds):
    for tale in (reset_after_the_watch("rig"), upgraded(info=True).over().wait(5).leaves()):
        tale.wait(5).add("cloud", "connected", session=99, peer="10.0.0.2:5").wait(seconds)
        late = names(tale.add("test", "finished", verdicts=1).judged())
        assert late == ({"late"} if seconds == 200 else set())


def test_a_silence_after_the_test_wrote_into_the_flash_is_not_late():
    tale = upgraded(info=True).over().add("test", "action", what="flash.damage", spans=[[0, 9]])
    tale.boots("new", code=1, by="test").wait(200).add("test", "finished", verdicts=1)
    assert names(tale.judged()) == set()


def test_what_comes_after_the_next_operation_is_not_late():
    tale = upgraded(info=True).over()
    tale.images["third-1"] = image("3.0.0")
    tale.wait(5).begins("offer", running="new", offered="third-1").wait(5).crashes().boots("new")
    assert names(tale.judged(1)) == set()


def test_findings_come_errors_first():
    tale = Tale(op="offer", info=True).wait(5).boots("old", code=7).wait(5).logs_in()
    tale.offered().downloads().boots("new").wait(1).crashes().comes_back("old").over()
    verdict = tale.judged()
    assert [f.severity for f in verdict.findings] == ["error", "info"]


def test_a_crash_after_a_download_is_no_restart_after_it():
    tale = Tale(op="offer").offered().stalls().crashes().comes_back("old").over()
    assert names(tale.judged()) == {"crash"}


def test_a_crash_soon_after_a_power_on_without_banner_is_not_taken_for_the_banner():
    tale = Tale(op="offer").offered().stalls().add("power", "off", by="test").wait(4)
    tale.add("power", "on", by="test").wait(10).crashes().comes_back("old").over()
    assert names(tale.judged()) == {"crash"}


def test_a_loop_that_goes_on_after_the_watch_is_not_late():
    tale = Tale(op="offer", info=True).offered().downloads().boots("new")
    for _ in range(5):
        tale.wait(2).crashes().boots("new")
    verdict = tale.wait(1).over().wait(5).crashes().boots("new").judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.BOOT_LOOP, set())
    assert len([f for f in verdict.findings if f.name == "crash"]) == 1, "the same is told once"


def test_what_comes_after_a_restore_is_not_late():
    tale = upgraded(info=True).over().control().boots("old", code=1, by="test").wait(5).logs_in()
    assert names(tale.judged()) == set()


def test_marks_that_old_and_new_share_make_no_third():
    same = {"elf_sha256": "ab" * 32, "app_version": "v", "project": "p"}
    images = {"old": image("1.0.0", **same), "new": image("2.0.0", **same)}
    tale = Tale(op="offer", images=images).offered().stalls().boots("old", info=False)
    tale.add("uart", "app", field="version", value="unheard of").wait(5).logs_in().wait(12).over()
    assert tale.judged().running_image == "old"
