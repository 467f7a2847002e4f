"""Which image the next operation begins with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tale import PENDING, Tale, entry

from pytest_blynk_ota.running import Left, left, still_running


def image(version: str) -> Any:
    return SimpleNamespace(version=version, build=f"build of {version}", sha256=version)


OLD, NEW = image("1.0.0"), image("2.0.0")
IMAGES = {"old": OLD, "new": NEW}


def upgraded(report: str | None = None) -> Tale:
    return Tale().offered().downloads().boots("new").wait(5).logs_in(report).wait(12).over()


def then(tale: Tale, running: str = "new") -> Any:
    before = left(tale.events, tale.board, running, IMAGES)
    return still_running(tale.events, tale.board, before, list(IMAGES.values()))


def test_what_the_verdict_named_runs_on():
    assert then(upgraded()) is NEW


def test_our_flash_read_takes_an_unconfirmed_image_away():
    tale = upgraded().flash("app1", "app0", otadata=[entry(1), entry(2, PENDING)])
    assert then(tale) is OLD


def test_another_report_after_a_reset_names_the_image():
    tale = upgraded()
    before = left(tale.events, tale.board, "new", IMAGES)
    tale.boots("old", code=1, by="test").wait(5).logs_in()
    assert still_running(tale.events, tale.board, before, list(IMAGES.values())) is OLD


def test_the_same_false_report_after_a_reset_changes_nothing():
    tale = upgraded("1.0.0")
    before = left(tale.events, tale.board, "new", IMAGES)
    tale.boots("new", code=1, by="test").wait(5).logs_in("1.0.0")
    assert still_running(tale.events, tale.board, before, list(IMAGES.values())) is NEW


def test_a_report_that_no_known_image_declares_leaves_it_open():
    tale = upgraded().boots("new", code=1, by="test").wait(5).logs_in("9.9.9")
    assert still_running(tale.events, tale.board, Left(NEW, None), [OLD]) is None
