"""Which image runs: other files than New, factory, marks of several, a second New."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tale import BEGIN, SIZE, SPEED, Tale, image, names
from told_tales import REVERTED_OTADATA, SWITCHED

from pytest_blynk_ota.verdict import Outcome
from pytest_blynk_ota.verdict.watch import watch


def third_image_offered(**how: object) -> Tale:
    """The URL of the operation led to another image than New, and the device runs it."""
    tale = Tale(op="offer", **how)
    tale.images["third-1"] = image("3.0.0")
    tale.begins("offer").offered(image="third-1").downloads(into="third-1")
    return tale.comes_back("third-1").wait(12).over()


def test_another_file_than_new_behind_the_url_is_a_third_image():
    verdict = third_image_offered(info=True).judged()
    assert (verdict.outcome, verdict.running) == (Outcome.REVERTED, "3.0.0")
    verdict = third_image_offered().flash("app1", otadata=SWITCHED).judged()
    assert (verdict.outcome, verdict.running) == (Outcome.REVERTED, "3.0.0")


def test_a_report_alone_does_not_make_another_file_new():
    assert "UPGRADED" not in str(third_image_offered().undecided())


def written_by_the_test(factory: str | None, **how: object) -> Tale:
    """The test spoils both slots of a board, which then runs the older image of another place."""
    tale = Tale(**how)
    tale.images["third-1"] = image("0.9.0")
    place = {"label": "factory", "offset": 0x290000, "size": 0x140000, "image": factory}
    tale.begins("ship", factory=place if factory else None)
    tale.wait(2).add(
        "test", "action", what="flash.write", spans=[[0x10000, 4096], [0x150000, 4096]]
    )
    tale.leaves().boots("third-1", by="test").wait(5).logs_in().wait(12)
    return tale.closed("cancelled").over()


def test_what_a_slot_held_before_the_test_wrote_there_is_not_taken_to_run():
    tale = written_by_the_test(None)
    assert tale.undecided().wants == {"flash"}
    verdict = tale.flash("app0", None, app0=None).judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.REVERTED, "third")


def test_the_factory_image_is_known_by_its_name():
    tale = written_by_the_test("third-1")
    verdict = tale.flash("app0", "factory", app0=None, factory="third-1").judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.REVERTED, "third-1")
    assert verdict.running == "0.9.0"


def test_a_bootloader_that_names_the_factory_partition_names_its_image():
    tale = written_by_the_test("third-1")
    start = next(e for e in tale.events if e.kind == "reset" and e.source == "uart" and e.t > BEGIN)
    slot = replace(start, kind="slot", data={"offset": 0x290000})
    at = tale.events.index(start) + 1
    tale.events[at:at] = [slot]
    tale.events = [replace(event, seq=seq) for seq, event in enumerate(tale.events, 1)]
    verdict = tale.judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.REVERTED, "third-1")


def test_an_image_that_a_mark_of_several_leaves_alone_is_known_by_that_mark():
    images = {"old": image("1.0.0"), "new": image("2.0.0")}
    images["third-1"] = images["new"] | {"sha256": "third"}  # made of New: its ELF hash is the same
    tale = Tale(info=False, images=images).offered().downloads().boots("new").wait(3)
    tale.add("uart", "app", field="elf_sha256", value=images["new"]["elf_sha256"][:9])
    reason = tale.logs_in().wait(15).over().judged().reasons[0]
    assert reason.text == "new (2.0.0) runs: the boot log or the crash names it"


def superseded(*, both: bool) -> Tale:
    """A third image takes New's place in the download; the device ends on it, or stays on New."""
    tale = Tale(op="ship", info=True).offered(image="new").asks().gets(SIZE // 2)
    tale.add("ota", "superseded", image="third-1", facts=image("3.0.0"))
    tale.gets(SIZE).ends("server", "complete", SIZE).lands("new").comes_back("new")
    if both:
        tale.offered(image="third-1").downloads(into=None).lands("third-1", "app0")
        tale.images = {**tale.images, "third-1": image("3.0.0")}
        tale.comes_back("third-1")
    return tale.wait(12).closed("success").over()


def test_of_two_images_on_offer_new_is_the_one_that_runs():
    both, one = superseded(both=True).judged(), superseded(both=False).judged()
    assert (both.outcome, both.running, both.running_image) == (
        Outcome.UPGRADED,
        "3.0.0",
        "third-1",
    )
    assert (one.outcome, one.running, one.running_image) == (Outcome.UPGRADED, "2.0.0", "new")


def taken_back_after_superseding(*, reports: bool, info: bool, flash: bool) -> Tale:
    """New starts, another image is put on offer in its place and stalls, and Old is back."""
    tale = Tale(info=info, flash=flash).offered(image="new").downloads().boots("new").wait(5)
    tale.logs_in(None if reports else "").wait(12)
    tale.add("ota", "superseded", image="third-1", facts=image("3.0.0"))
    tale.offered(image="third-1").stalls().crashes().comes_back("old")
    tale.add("ota", "cancelled", why="by the test").wait(20).over()
    return tale.flash("app0", otadata=REVERTED_OTADATA) if flash else tale


@pytest.mark.parametrize("info", [False, True])
@pytest.mark.parametrize("flash", [False, True])
def test_an_image_that_reported_before_another_took_its_place_was_rolled_back(info, flash):
    verdict = taken_back_after_superseding(reports=True, info=info, flash=flash).judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.ROLLED_BACK, "old")
    assert verdict.reasons[0].text == "New had reported 2.0.0"
    assert "crash" in names(verdict, "info")  # it led to the outcome, and was not survived


@pytest.mark.parametrize("flash", [False, True])
def test_an_image_that_started_before_another_took_its_place_was_reverted(flash):
    verdict = taken_back_after_superseding(reports=False, info=True, flash=flash).judged()
    assert (verdict.outcome, verdict.running_image) == (Outcome.REVERTED, "old")


def test_the_watch_ends_with_the_image_that_was_put_on_offer_last():
    tale = superseded(both=False)
    begun = next(e for e in tale.events if e.kind == "superseded")
    seen = [e for e in tale.events if e.kind not in ("closed", "watch_ended")]
    now = seen[-1].t + 30 / SPEED
    assert not watch(seen, now).over  # New is in, and that is not all
    without = [e for e in seen if e is not begun]
    assert watch(without, now).why == "New reported and settled"
