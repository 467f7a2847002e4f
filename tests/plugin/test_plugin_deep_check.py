"""``ota.deep_check()``: what stands in the flash after an operation, on demand."""

import json
import sys
from pathlib import Path

TESTS = """
import pytest
from pytest_blynk_ota import Outcome, RigError, UsageError, faults


def test_a_cut_download_left_old_alone(ota):
    with pytest.raises(UsageError, match="expected one before it"):
        ota.deep_check()
    result = ota.offer(faults=[faults.truncate("50%")])
    assert result.flash is None
    deep = ota.deep_check()
    assert deep.outcome is result.outcome is Outcome.DOWNLOAD_FAILED
    assert deep.number == result.number
    running = deep.flash.running
    assert deep.flash.would_boot == running
    assert deep.flash.slots[running] == "old"
    assert set(deep.flash.slots.values()) == {"old", None}
    assert f"{running} was booted" in str(deep.flash)
    assert deep.flash.otadata[0].startswith("seq 1, ")
    assert deep.flash.otadata[1] == "erased"
    assert ota.deep_check() is deep  # nothing is read twice
    assert ota.ship().outcome is Outcome.UPGRADED


def test_after_an_upgrade_it_is_there_already(ota, board, rig):
    result = ota.ship()
    assert result.flash.slots[result.flash.running] == "new"
    assert "valid" in result.flash.otadata[1]
    assert ota.deep_check() is result
    reads = [e for e in rig.recorder.timeline.events() if (e.source, e.kind) == ("flash", "read")]
    assert len(reads) == 1


def test_not_inside_an_operation_and_not_after_a_restore(ota):
    with ota.offering(faults=[faults.status(404)]) as offering:
        with pytest.raises(UsageError, match="that has ended"):
            ota.deep_check()
    ota.restore()
    with pytest.raises(UsageError, match="Old has been restored since operation 1"):
        ota.deep_check()


def test_what_cannot_be_read_is_a_rack_error(ota, board, monkeypatch):
    ota.offer(faults=[faults.status(404)])

    def refuse(*_args, **_kwargs):
        from pytest_blynk_ota.errors import FlashFailed
        raise FlashFailed("its flash is encrypted")

    monkeypatch.setattr(board, "read_flash", refuse)
    with pytest.raises(RigError, match="encrypted"):
        ota.deep_check()
"""


def test_deep_check(pytester):
    pytester.makepyfile(test_it=TESTS)
    ran = pytester.runpytest_subprocess("-q", "-n", "2")
    ran.assert_outcomes(passed=4)
    (folder,) = pytester.path.glob(".blynk-ota/runs/*/tests/*left_old_alone*")
    verdicts = json.loads((folder / "verdict.json").read_text())["verdicts"]
    assert [row["operation"] for row in verdicts] == [1, 2]
    assert "old" in verdicts[0]["flash"]["slots"].values()
    judged = pytester.run(Path(sys.executable).with_name("blynk-ota"), "judge", folder)
    assert judged.ret == 0
    judged.stdout.fnmatch_lines(["*#1: DOWNLOAD_FAILED (the same)", "*#2: UPGRADED (the same)"])
