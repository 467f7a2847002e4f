"""Each outcome, by hand-written evidence, as different witnesses saw it."""

from __future__ import annotations

import pytest
from tale import ABORTED, BLANK, PENDING, SIZE, Tale, entry, image, names
from told_tales import REVERTED_OTADATA, SWITCHED, loops, upgraded

from pytest_blynk_ota.air import AirStatus
from pytest_blynk_ota.errors import Undecided
from pytest_blynk_ota.verdict import Outcome, Verdict

# 5 UPGRADED


def test_new_by_its_own_marks_and_its_report_is_upgraded():
    verdict = upgraded(info=True).judged()
    assert verdict.outcome is Outcome.UPGRADED
    assert verdict.air_status is AirStatus.SUCCESS
    assert (verdict.running, verdict.running_image) == ("2.0.0", "new")
    assert [download.ended for download in verdict.downloads] == ["complete"]
    assert (verdict.boots, verdict.versions, verdict.partial) == (1, ("2.0.0",), False)
    assert verdict.slots["app1"]["image"] == "new"
    assert names(verdict) == set()


def test_a_quiet_board_needs_its_flash_read_before_its_report_is_believed():
    tale = upgraded()
    thin = tale.undecided()
    assert thin.wants == {"flash"}
    assert {"UPGRADED", "MISREPORTED", "REJECTED"} <= set(thin.candidates)
    verdict = tale.flash("app1", otadata=SWITCHED).judged()
    assert (verdict.outcome, verdict.partial) == (Outcome.UPGRADED, False)


def test_without_any_flash_the_report_is_believed_and_the_verdict_is_partial():
    verdict = upgraded(flash=False).judged()
    assert (verdict.outcome, verdict.partial) == (Outcome.UPGRADED, True)


def test_unreadable_flash_leaves_the_report_and_the_verdict_is_partial():
    verdict = upgraded().unreadable().judged()
    assert (verdict.outcome, verdict.partial) == (Outcome.UPGRADED, True)


def test_without_a_uart_flash_names_the_image_and_the_verdict_is_partial():
    verdict = upgraded(uart=False).flash("app1", otadata=SWITCHED).judged()
    assert (verdict.outcome, verdict.partial) == (Outcome.UPGRADED, True)
    assert verdict.boots == 0  # nobody saw one


def test_a_stalled_download_and_then_a_good_one_is_upgraded_with_two_downloads():
    tale = Tale(info=True, faults=("stall after=50% on attempt 1",), attempts={0: [1]})
    tale.offered().stalls("stall after=50% on attempt 1").comes_back("old")
    verdict = tale.offered().downloads().comes_back("new").closed("success").over().judged()
    assert verdict.outcome is Outcome.UPGRADED
    assert [download.ended for download in verdict.downloads] == ["stalled", "complete"]
    assert verdict.downloads[0].fault == "stall after=50% on attempt 1"
    assert names(verdict) == set()


# 6 NOT_REPORTED


def test_new_that_logs_in_and_names_no_version_is_not_reported():
    tale = Tale(op="offer", info=True).offered().downloads().boots("new").wait(5).logs_in("")
    verdict = tale.wait(40).over().judged()
    assert (verdict.outcome, verdict.running) == (Outcome.NOT_REPORTED, "2.0.0")
    assert verdict.air_status is AirStatus.DOWNLOADED


def test_a_quiet_new_that_reports_nothing_is_known_by_its_slot():
    tale = Tale(op="offer").offered().downloads().boots("new").wait(5).logs_in("").wait(40).over()
    assert tale.undecided().wants == {"flash"}
    assert tale.flash("app1", otadata=SWITCHED).judged().outcome is Outcome.NOT_REPORTED


def test_a_quiet_new_that_reports_nothing_is_undecided_without_flash():
    tale = Tale(op="offer", flash=False).offered().downloads().boots("new").wait(5).logs_in("")
    thin = tale.wait(40).over().undecided()
    assert thin.wants == frozenset()
    assert "NOT_REPORTED" in thin.candidates


# 4 MISREPORTED


@pytest.mark.parametrize("info", [True, False])
def test_new_that_reports_a_third_version_is_misreported(info):
    tale = Tale(op="offer", info=info).offered().downloads().boots("new").wait(5).logs_in("9.9.9")
    tale.wait(40).over()
    if not info:
        assert tale.undecided().wants == {"flash"}
        tale.flash("app1", otadata=SWITCHED)
    verdict = tale.judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.MISREPORTED, "new")
    assert any("reported 9.9.9" in str(reason) for reason in verdict.reasons)


def test_old_that_boots_again_and_reports_new_is_misreported():
    tale = Tale().offered().downloads().boots("old").wait(5).logs_in("2.0.0").wait(12).over()
    verdict = tale.flash("app0").judged()
    assert (verdict.outcome, verdict.running) == (Outcome.MISREPORTED, "1.0.0")


def test_the_same_version_with_another_build_is_misreported():
    tale = Tale(op="offer", info=True).offered().downloads().boots("new").wait(5)
    verdict = tale.logs_in("2.0.0", "another build").wait(40).over().judged()
    assert verdict.outcome is Outcome.MISREPORTED


def test_a_report_of_new_before_any_whole_download_is_misreported():
    tale = Tale(op="offer", info=True).offered().stalls().boots("old").wait(5).logs_in("2.0.0")
    assert tale.wait(40).over().judged().outcome is Outcome.MISREPORTED


def test_without_tags_new_may_say_anything_but_what_old_said():
    bare = {"build": None, "fw_type": None}
    images = {"old": image("1.0.0", **bare), "new": image("x", **bare)}
    tale = Tale(op="offer", info=True, images=images).offered().downloads().boots("new").wait(5)
    assert tale.logs_in("7.7").wait(40).over().judged().outcome is Outcome.UPGRADED
    tale = Tale(op="offer", info=True, images=images, online=False)
    tale.events.clear()
    tale.number, tale.now = 0, -60
    tale.boots("old", code=1, by="rig").wait(5).logs_in("0.1", "b").wait(55).begins("offer")
    tale.offered().downloads().boots("new").wait(5).logs_in("0.1", "b").wait(40).over()
    assert tale.judged().outcome is Outcome.MISREPORTED


# 7 ROLLED_BACK


def rolled_back(**how: object) -> Tale:
    tale = Tale(**how).offered().downloads().boots("new").wait(5).logs_in()  # type: ignore[arg-type]
    tale.closed("success").wait(8)
    return tale.boots("old", code=0xC).wait(5).logs_in().wait(12).over()


@pytest.mark.parametrize("info", [True, False])
def test_new_that_reported_and_gave_way_to_old_is_rolled_back(info):
    tale = rolled_back(info=info)
    if not info:
        assert tale.undecided().wants == {"flash"}
        tale.flash("app0", otadata=REVERTED_OTADATA)
    verdict = tale.judged()
    assert (verdict.outcome, verdict.running) == (Outcome.ROLLED_BACK, "1.0.0")
    assert verdict.air_status is AirStatus.ROLLBACK
    assert verdict.versions == ("2.0.0", "1.0.0")
    assert names(verdict) == set(), "the reset belongs to the outcome"
    assert names(verdict, "info") == {"unexpected reset"}


def test_a_rollback_without_flash_is_believed_from_the_reports():
    verdict = rolled_back(flash=False).judged()
    assert (verdict.outcome, verdict.partial) == (Outcome.ROLLED_BACK, True)


# 8 REVERTED


def crashes_before_login(**how: object) -> Tale:
    tale = Tale(limit=1, **how).offered().downloads().boots("new").wait(1).crashes()  # type: ignore[arg-type]
    return tale.wait(0.5).comes_back("old").closed("limit").over()


@pytest.mark.parametrize("info", [True, False])
def test_new_that_crashed_before_its_login_is_reverted(info):
    tale = crashes_before_login(info=info)
    if not info:
        assert tale.undecided().wants == {"flash"}
        tale.flash("app0", otadata=REVERTED_OTADATA)
    verdict = tale.judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.REVERTED, "old")
    assert len(verdict.crashes) == 1
    assert any("limit of 1" in reason.text for reason in verdict.reasons)
    assert names(verdict) == set()


def test_a_quiet_revert_without_flash_is_undecided():
    thin = crashes_before_login(flash=False).undecided()
    assert {"REVERTED", "DOWNLOAD_LIMIT_REACHED"} <= set(thin.candidates)
    assert thin.wants == frozenset()


def test_a_third_image_that_runs_is_reverted():
    tale = Tale(op="offer", info=True).offered().downloads().boots("stale", info=False).wait(1)
    tale.add("uart", "app", field="version", value="0.5.0").wait(5).logs_in("0.5.0").wait(20).over()
    verdict = tale.judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.REVERTED, "third")
    assert any("neither the image that ran before" in str(one) for one in verdict.reasons)
    assert verdict.running == "0.5.0"


# 9 DOWNLOAD_LIMIT_REACHED


def test_three_stalled_downloads_end_at_the_limit_without_any_flash():
    tale = Tale(faults=("stall after=50%",))
    for _ in range(3):
        tale.offered().stalls().comes_back("old")
    verdict = tale.closed("limit").over().judged()
    assert verdict.outcome is Outcome.DOWNLOAD_LIMIT_REACHED
    assert verdict.air_status is AirStatus.DOWNLOAD_LIMIT_REACHED
    assert [download.ended for download in verdict.downloads] == ["stalled"] * 3
    assert (verdict.boots, names(verdict)) == (3, set())


@pytest.mark.parametrize("info", [True, False])
def test_a_refused_image_offered_up_to_the_limit(info):
    tale = Tale(info=info, limit=2)
    for _ in range(2):
        tale.offered().downloads(into=None).prints("update_error", code=9).wait(10)
        tale.comes_back("old")
    tale.closed("limit").over()
    if not info:
        assert tale.undecided().wants == {"flash"}
        tale.flash("app0")
    verdict = tale.judged()
    assert verdict.outcome is Outcome.DOWNLOAD_LIMIT_REACHED
    assert [download.ended for download in verdict.downloads] == ["complete", "complete"]


# 10 NOT_STARTED


def test_an_offer_that_nobody_follows_is_not_started():
    verdict = Tale(op="offer").offered(disconnects=False).wait(30).over().judged()
    assert (verdict.outcome, verdict.downloads) == (Outcome.NOT_STARTED, ())
    assert verdict.air_status is AirStatus.REQUEST_SENT


def test_a_withheld_offer_is_not_started_and_says_why():
    tale = Tale(op="offer").add("ota", "withheld", why="another firmware type").wait(30).over()
    verdict = tale.judged()
    assert verdict.outcome is Outcome.NOT_STARTED
    assert any("another firmware type" in reason.text for reason in verdict.reasons)


# 11 REJECTED


@pytest.mark.parametrize("info", [True, False])
def test_a_whole_file_that_was_never_started_is_rejected(info):
    tale = Tale(op="offer", info=info).offered().downloads(into=None).prints("update_error", code=9)
    tale.wait(10).comes_back("old").over()
    if not info:
        assert tale.undecided().wants == {"flash"}
        tale.flash("app0")
    verdict = tale.judged()
    assert (verdict.outcome, verdict.running) == (Outcome.REJECTED, "1.0.0")
    assert verdict.air_status is AirStatus.DOWNLOADED


def test_a_whole_file_and_no_restart_is_rejected_by_the_uart_alone():
    tale = Tale(op="offer").offered(disconnects=False).downloads(into=None).wait(40).over()
    verdict = tale.judged()
    assert verdict.outcome is Outcome.REJECTED
    assert any("did not restart" in reason.text for reason in verdict.reasons)


def test_a_device_that_leaves_a_healthy_download_has_rejected_it():
    tale = Tale(op="offer").offered().asks().wait(1).gets(5000).ends("device", "fin", 5000)
    verdict = tale.wait(10).comes_back("old").over().judged()
    assert (verdict.outcome, verdict.downloads[0].ended) == (Outcome.REJECTED, "abandoned")


def test_a_rejected_file_is_undecided_without_flash_and_marks():
    tale = Tale(op="offer", flash=False).offered().downloads(into=None).wait(10).comes_back("old")
    thin = tale.over().undecided()
    assert set(thin.candidates) == {"REVERTED", "REJECTED"}


# 12 STALLED, 13 DOWNLOAD_FAILED


def test_a_stall_until_the_device_gives_up_is_stalled():
    verdict = Tale(op="offer").offered().stalls().comes_back("old").over().judged()
    assert verdict.outcome is Outcome.STALLED
    assert verdict.air_status is AirStatus.REQUESTED
    assert names(verdict) == set()


def test_a_stall_without_uart_and_flash_is_stalled_all_the_same():
    tale = Tale(op="offer", uart=False, flash=False).offered().stalls().comes_back("old").over()
    verdict = tale.judged()
    assert (verdict.outcome, verdict.partial) == (Outcome.STALLED, True)


def test_a_refused_request_is_download_failed():
    tale = Tale(op="offer").offered().asks(404, 14).wait(0.5)
    tale.ends("server", "complete", 14, announced=14).wait(10).comes_back("old").over()
    verdict = tale.judged()
    assert (verdict.outcome, verdict.downloads[0].ended) == (Outcome.DOWNLOAD_FAILED, "refused")
    assert verdict.air_status is AirStatus.REQUESTED


def test_a_power_cut_in_the_download_is_a_cut_and_the_next_offer_upgrades():
    tale = Tale(info=True).offered().asks().wait(2).gets(int(SIZE * 0.6), SIZE)
    tale.add("power", "off", by="test").wait(2).add("power", "on", by="test").wait(0.2)
    tale.boots("old", code=1, cause="POWERON").wait(5).logs_in().wait(1)
    tale.offered().downloads().comes_back("new").closed("success").over()
    verdict = tale.judged()
    assert (verdict.outcome, verdict.downloads[0].ended) == (Outcome.UPGRADED, "cut")
    assert (verdict.boots, names(verdict)) == (2, set())


# 1 BRICKED


def bricked(**how: object) -> Tale:
    tale = Tale(op="offer", deadline=100, **how).offered().downloads()  # type: ignore[arg-type]
    for _ in range(6):
        tale.fails_to_boot().wait(1)
    return tale.wait(120).over()


def test_boot_errors_before_and_after_a_power_cycle_are_bricked():
    tale = bricked()
    assert tale.undecided().wants == {"flash"}
    tale.flash(None, None).fails_to_boot()
    assert tale.undecided().wants == {"power_cycle"}
    verdict = tale.power_cycled().fails_to_boot(1).judged()
    assert (verdict.outcome, verdict.running) == (Outcome.BRICKED, None)


def test_boot_errors_alone_are_enough_where_flash_cannot_be_read():
    tale = bricked(flash=False)
    assert tale.undecided().wants == {"power_cycle"}
    assert tale.power_cycled().fails_to_boot(1).judged().outcome is Outcome.BRICKED


def test_a_board_that_starts_after_the_power_cycle_was_not_bricked():
    tale = bricked().flash(None, None).power_cycled()
    tale.boots("new", code=1, info=True).wait(5).logs_in().wait(12)
    tale.control()
    assert tale.judged().outcome is not Outcome.BRICKED


# 2 BOOT_LOOP


@pytest.mark.parametrize("info", [True, False])
def test_an_app_that_crashes_again_and_again_is_a_boot_loop(info):
    verdict = loops(info=info).judged()
    assert verdict.outcome is Outcome.BOOT_LOOP
    assert names(verdict) == set()


def test_a_boot_loop_that_nobody_can_see_is_offline_and_partial():
    tale = loops(uart=False)
    assert tale.undecided().wants == {"flash"}
    tale.flash("app1", otadata=SWITCHED)
    assert tale.undecided().wants == {"control"}
    verdict = tale.control().judged()
    assert (verdict.outcome, verdict.partial) == (Outcome.OFFLINE, True)


# 3 OFFLINE


def finds_no_cloud(**how: object) -> Tale:
    tale = Tale(op="offer", deadline=100, **how).offered().downloads()  # type: ignore[arg-type]
    return tale.boots("new").wait(120).over()


@pytest.mark.parametrize("info", [True, False])
def test_new_that_finds_no_cloud_is_offline_once_old_proves_the_rig(info):
    tale = finds_no_cloud(info=info)
    if not info:
        assert tale.undecided().wants == {"flash"}
        tale.flash("app1", otadata=[entry(1), entry(2, PENDING)])
    assert tale.undecided().wants == {"control"}
    verdict = tale.control().judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.OFFLINE, "new")
    assert verdict.air_status is AirStatus.DOWNLOADED


def test_a_quiet_board_that_is_silent_but_bootable_is_offline_not_bricked():
    tale = finds_no_cloud()
    assert set(tale.undecided().candidates) == {"BRICKED", "OFFLINE"}
    assert tale.flash("app1", otadata=SWITCHED).control().judged().outcome is Outcome.OFFLINE


def test_an_open_download_within_its_stall_limit_is_stalled_not_offline():
    tale = Tale(op="offer", deadline=20).offered().asks()
    for step in range(1, 30):
        tale.wait(5).gets(step)
    assert tale.over().judged().outcome is Outcome.STALLED


def test_an_open_download_past_its_stall_limit_with_the_board_away_is_offline():
    tale = Tale(op="offer", deadline=20).offered().asks().wait(1).gets(500).wait(100).over()
    verdict = tale.control().judged()
    assert verdict.outcome is Outcome.OFFLINE
    assert verdict.downloads[0].ended == "open"


# the verdict itself


def test_a_verdict_survives_its_json():
    verdict = rolled_back(info=True).judged()
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_a_verdict_prints_its_outcome_and_its_reasons():
    text = str(upgraded(info=True).judged())
    assert text.startswith("UPGRADED; Air: Success; running: 2.0.0 (new)")
    assert "because new (2.0.0) runs" in text


def test_the_same_evidence_gives_the_same_verdict_twice():
    tale = upgraded(info=True)
    assert tale.judged() == tale.judged(1)


def test_blank_otadata_at_the_start_counts_any_seq_as_selected():
    tale = Tale(op="offer", otadata=[BLANK, BLANK]).offered().downloads().wait(10)
    verdict = tale.comes_back("old").over().flash("app0", otadata=[entry(2, ABORTED), BLANK])
    assert verdict.judged().outcome is Outcome.REVERTED


def test_undecided_is_a_rig_error_that_names_its_candidates():
    with pytest.raises(Undecided, match=r"MISREPORTED, UPGRADED"):
        upgraded().judged()


# several operations in one timeline


def test_an_operation_that_begins_in_an_error_restart_inherits_its_expected_reset():
    tale = Tale(op="offer", deadline=35).offered().stalls().over()
    tale.begins("ship").comes_back("old").offered().downloads().comes_back("new")
    verdict = tale.closed("success").over().flash("app1", otadata=SWITCHED).judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.UPGRADED, set())
    assert [download.ended for download in verdict.downloads] == ["complete"]


def test_three_upgrades_in_a_row_are_judged_each_on_its_own():
    tale = upgraded(info=True)
    tale.images["third"] = image("3.0.0")
    tale.images["fourth"] = image("4.0.0")
    for running, offered in (("new", "third"), ("third", "fourth")):
        tale.begins("ship", running=running, offered=offered, otadata=None).offered()
        tale.downloads(into=offered).comes_back(offered).closed("success").over()
    assert [tale.judged(n).running for n in (1, 2, 3)] == ["2.0.0", "3.0.0", "4.0.0"]
    assert {tale.judged(n).outcome for n in (1, 2, 3)} == {Outcome.UPGRADED}


def test_a_rollback_of_the_first_operation_selects_nothing_in_the_second():
    tale = rolled_back(info=True)
    tale.begins("offer", otadata=REVERTED_OTADATA).offered().downloads(into="new").wait(10)
    tale.comes_back("old").over().flash("app0", otadata=REVERTED_OTADATA)
    assert tale.judged().outcome is Outcome.REJECTED


def test_a_second_rollback_leaves_the_otadata_of_the_first():
    """The next update writes over the entry that was taken back, with the same seq."""
    tale = Tale(op="offer", otadata=REVERTED_OTADATA).offered().downloads().boots("new")
    tale.prints("version", version="2.0.0", build="build of 2.0.0").wait(2).crashes()
    tale.comes_back("old").over().flash("app0", otadata=REVERTED_OTADATA)
    assert tale.judged().outcome is Outcome.REVERTED


def test_a_name_that_two_images_share_means_the_one_that_can_be_there():
    """The rolled-back image of the first operation says the same version, but was written over."""
    images = {"old": image("1.0.0"), "new": image("2.0.0"), "third-1": image("2.0.0", sha256="3")}
    tale = Tale(op="offer", images=images, otadata=REVERTED_OTADATA, slots={"app0": "old",
                "app1": "third-1"}).offered().downloads().boots("new")  # fmt: skip
    tale.prints("version", version="2.0.0", build="build of 2.0.0").wait(2).crashes()
    tale.comes_back("old").over().flash("app0", otadata=REVERTED_OTADATA)
    verdict = tale.judged()
    assert (verdict.outcome, verdict.running) == (Outcome.REVERTED, "1.0.0")


def test_a_refusal_after_a_rollback_is_told_by_the_firmwares_own_words():
    tale = Tale(op="offer", otadata=REVERTED_OTADATA).offered().downloads(into=None).wait(10)
    tale.comes_back("old").over().flash("app0", otadata=REVERTED_OTADATA, app1=None)
    assert tale.judged().outcome is Outcome.REJECTED


UNCONFIRMED = [entry(1), entry(2, PENDING)]


def taken_back_between(**how: object) -> Tale:
    """New was never confirmed; the test cuts the power between two operations."""
    tale = Tale(op="offer", **how).offered().downloads().comes_back("new").over()  # type: ignore[arg-type]
    tale.images["third"] = image("3.0.0")
    tale.add("power", "off", by="test").wait(2).add("power", "on", by="test")
    tale.boots("old", code=1, cause="POWERON").prints(
        "version", version="1.0.0", build="build of 1.0.0"
    )
    tale.begins("offer", running="new", offered="third", otadata=UNCONFIRMED)
    return tale.wait(5).logs_in().offered()


@pytest.mark.parametrize("info", [False, True])
def test_old_is_what_ran_at_the_begin_not_what_ran_before_a_power_cut(info):
    tale = taken_back_between(info=info).downloads(into="third").comes_back("third").over()
    verdict = tale.flash("app1", otadata=SWITCHED).judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.UPGRADED, "third")


@pytest.mark.parametrize("info", [False, True])
def test_what_was_running_before_a_power_cut_is_no_third(info):
    tale = taken_back_between(info=info).stalls().comes_back("old").over()
    verdict = tale.flash("app0", otadata=REVERTED_OTADATA).judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.STALLED, "old")


def test_what_an_operation_without_a_verdict_offered_may_be_in_any_slot():
    """It restarts into that image, which then downloads New over the slot of Old."""
    images = {"old": image("1.0.0"), "new": image("3.0.0"), "third-1": image("2.0.0")}
    tale = Tale(images=images, slots={"app0": ["old", "third-1", None],
                "app1": ["third-1", None]})  # fmt: skip
    tale.wait(2).add("uart", "reset", code=0xC, cause="SW_CPU", download=False)
    tale.prints("version", version="2.0.0", build="build of 2.0.0").wait(2)
    tale.logs_in("2.0.0").offered().downloads(into=None).boots("new").wait(2).logs_in().wait(12)
    tale.closed("success").over().flash("app0", otadata=[entry(3), entry(2)], app0="new",
                                        app1="third-1")  # fmt: skip
    verdict = tale.judged()
    assert (verdict.outcome, verdict.running) == (Outcome.UPGRADED, "3.0.0")
    assert "other slot damaged" not in names(verdict)


def test_a_session_that_ended_with_a_reset_says_nothing_for_the_boot_after_it():
    tale = Tale(op="offer", info=True).offered().downloads().boots("new").wait(5).logs_in()
    tale.wait(20).crashes().boots("new").wait(60).over()
    assert tale.undecided().candidates == ("OFFLINE",), "TCP has not noticed, the login is gone"


def test_elf_hash_and_slot_in_conflict_ask_for_flash():
    tale = Tale(op="offer").offered().downloads().boots("new", info=False).wait(0.3)
    tale.add("uart", "slot", offset=0x10000).add("uart", "app", field="version", value="2.0.0")
    tale.wait(5).logs_in().wait(12).over()
    assert tale.undecided().wants == {"flash"}
    verdict = tale.flash("app1", otadata=SWITCHED).judged()
    assert verdict.outcome is Outcome.UPGRADED
    assert any("witnesses disagree" in reason.text for reason in verdict.reasons)


def test_marks_that_old_and_new_share_say_nothing():
    same = {"elf_sha256": "ab" * 32, "app_version": "arduino", "project": "sketch"}
    images = {"old": image("1.0.0", **same), "new": image("2.0.0", **same)}
    tale = Tale(op="offer", images=images).offered().downloads().boots("new", info=False)
    tale.add("uart", "app", field="elf_sha256", value="abababab").wait(5).logs_in().wait(12).over()
    assert tale.undecided().wants == {"flash"}


def test_a_firmware_without_a_profile_is_told_in_the_reasons():
    reasons = upgraded(info=True, name="default").judged().reasons
    assert any("default times were used" in reason.text for reason in reasons)


def test_links_lost_in_silence_are_drops_though_no_session_was_closed():
    tale = Tale(op="offer", info=True).offered().downloads().boots("new")
    for _ in range(6):
        tale.wait(3).logs_in()
    assert tale.over().undecided().candidates == ("OFFLINE",)


def test_a_device_that_leaves_under_a_fault_has_not_rejected_the_file():
    tale = Tale(op="offer", faults=("bandwidth bytes_per_s=100",)).offered().asks().wait(1)
    tale.gets(100).fault("bandwidth bytes_per_s=100", 0).ends("device", "fin", 100).wait(10)
    assert tale.comes_back("old").over().judged().outcome is Outcome.DOWNLOAD_FAILED


def test_a_whole_file_and_a_reset_by_the_test_is_a_failed_download_not_a_rejected_one():
    tale = Tale(op="offer", info=True).offered().downloads(into=None)
    tale.boots("old", code=1, by="test").wait(5).logs_in().wait(12).over()
    verdict = tale.judged()
    assert verdict.outcome is Outcome.DOWNLOAD_FAILED
    assert any("the test reset the board" in reason.text for reason in verdict.reasons)


def test_old_at_the_start_needs_no_flash_though_new_still_stands_in_a_slot():
    tale = Tale(op="offer", slots={"app0": "old", "app1": "new"}).offered(disconnects=False)
    assert tale.wait(30).over().judged().outcome is Outcome.NOT_STARTED


def test_a_slot_that_was_started_holds_the_damaged_image_not_nothing():
    tale = Tale(op="offer", faults=("corrupt at=50%",)).offered().asks().wait(2).gets(SIZE)
    tale.fault("corrupt at=50%").ends("server", "complete", SIZE).boots("new")
    tale.add("uart", "slot", offset=0x150000).wait(5).logs_in().wait(12).over()
    assert tale.judged().running_image == "new"


def test_a_quiet_new_on_trial_that_claims_to_be_old_is_found_out_by_what_could_start():
    tale = Tale(op="offer").offered().downloads().boots("new").wait(5).logs_in("1.0.0").wait(12)
    tale.over().flash("app1", "app0", otadata=[entry(1), entry(2, PENDING)], started="app1")
    verdict = tale.judged()
    assert (verdict.outcome, verdict.running) == (Outcome.MISREPORTED, "2.0.0")
    assert names(verdict) == {"confirmation not seen"}


# events of two witnesses within the skew
