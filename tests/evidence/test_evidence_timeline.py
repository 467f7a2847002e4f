"""The timeline: order, cursors, files that survive a kill."""

import errno
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.errors import EvidenceError, RigError
from pytest_blynk_ota.evidence.bundle import folder_name, read_test
from pytest_blynk_ota.evidence.event import Event, parse_events
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.evidence.writer import TestBundle
from pytest_blynk_ota.session import Session

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(min_size=1).filter(str.isidentifier), JSON, max_size=4))
def test_an_event_reads_back_as_it_was_written(data):
    event = Event(1, 1.5, 2.5, "uart", "line", "a", data)
    assert Event.from_json(event.to_json()) == event


def test_events_are_numbered_in_the_order_of_all_threads():
    timeline = Timeline()
    threads = [
        threading.Thread(target=lambda: [timeline.add("x", "y") for _ in range(100)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.seq for event in timeline.events()] == list(range(1, 401))


def test_what_was_seen_stays_as_it_was_while_the_timeline_grows():
    timeline = Timeline()
    timeline.add("uart", "line", text="one")
    timeline.add("uart", "line", text="two")
    seen = timeline.events()
    timeline.add("uart", "line", text="three")
    assert [event.data["text"] for event in seen] == ["one", "two"]
    assert [event.seq for event in reversed(seen)] == [2, 1]
    assert len(seen) == 2
    assert (seen[-1].seq, [event.seq for event in seen[1:]]) == (2, [2])
    with pytest.raises(IndexError):
        seen[2]


def test_a_wait_sees_what_came_before_it_and_consumes_nothing():
    timeline = Timeline()
    timeline.add("uart", "line", text="ready")
    for _ in range(2):
        found = timeline.wait(lambda batch: batch[0] if batch else None, 0)
        assert found.data["text"] == "ready"


def test_a_wait_ends_as_soon_as_its_event_comes():
    timeline = Timeline()
    timer = threading.Timer(0.02, timeline.add, ("uart", "line"))
    timer.start()
    assert timeline.wait(lambda batch: batch or None, 10) is not None
    timer.join()


def test_a_wait_gives_none_when_its_time_is_over():
    assert Timeline().wait(lambda batch: batch or None, 0.01) is None


def test_a_recorder_follows_the_switch_to_another_timeline():
    first, second = Timeline(), Timeline()
    recorder = Recorder(first)
    recorder("a", "b")
    assert recorder.switch(second) is first
    recorder("a", "c")
    assert [event.kind for event in second.events()] == ["c"]


def test_a_torn_last_line_is_marked_and_the_rest_is_read(tmp_path):
    whole = Event(1, 0, 0, "a", "b", None, {}).to_json()
    (tmp_path / "events.jsonl").write_text(whole + "\n" + whole[:20])
    stored = read_test(tmp_path)
    assert len(stored.events) == 1
    assert "events.jsonl: cut: it ends in half a line" in map(str, stored.marks)


def test_a_torn_line_in_the_middle_names_its_number():
    whole = Event(1, 0, 0, "a", "b", None, {}).to_json() + "\n"
    with pytest.raises(ValueError, match="line 1"):
        parse_events("{\n" + whole)


def test_a_bundle_holds_events_and_views(tmp_path):
    bundle = TestBundle(tmp_path, "tests/test_x.py::test_y", Redactor())
    bundle.timeline.add("uart", "line", "a", text="hello")
    bundle.timeline.add("delivery", "request", "a", path="/f")
    bundle.finish([{"outcome": "UPGRADED"}])
    assert "hello" in (bundle.folder / "serial.log").read_text()
    assert "/f" in (bundle.folder / "http.jsonl").read_text()
    stored = read_test(bundle.folder)
    events, verdicts = stored.events, stored.verdicts
    assert not stored.marks
    assert [event.source for event in events] == ["test", "uart", "delivery", "test"]
    assert verdicts == [{"outcome": "UPGRADED"}]


def test_a_folder_without_events_is_no_evidence(tmp_path):
    with pytest.raises(EvidenceError, match="expected the folder of one test"):
        read_test(tmp_path)


def test_two_tests_never_share_a_folder():
    assert folder_name("a/b.py::t[x/y]") != folder_name("a/b.py::t[x.y]")


def test_a_rerun_does_not_keep_the_verdict_of_the_run_before(tmp_path):
    TestBundle(tmp_path, "t", Redactor()).finish([{"outcome": "UPGRADED"}])
    killed = TestBundle(tmp_path, "t", Redactor())
    killed.timeline.close()
    assert read_test(killed.folder).verdicts is None


def test_a_judge_that_stumbles_does_not_cost_the_evidence(tmp_path):
    bundle = TestBundle(tmp_path, "t", Redactor())
    session = SimpleNamespace(_rig=None, recorder=Recorder(bundle.timeline), redactor=Redactor())
    broken = SimpleNamespace(number=1, verdict=SimpleNamespace(to_json=dict))
    bundle.timeline.add("ota", "operation", "a", number=1)  # says nothing that a judge needs
    with pytest.raises(KeyError):
        Session.finish(session, bundle, [broken])
    stored = read_test(bundle.folder)
    events, verdicts = stored.events, stored.verdicts
    assert events[-1].kind == "finished"
    assert verdicts == [{"operation": 1}]


def test_a_finished_bundle_without_its_end_is_marked(tmp_path):
    bundle = TestBundle(tmp_path, "t", Redactor())
    bundle.timeline.add("uart", "line", "a", text="hello")
    bundle.finish([])
    path = bundle.folder / "events.jsonl"
    path.write_text(path.read_text()[:-20])
    marks = [str(mark) for mark in read_test(bundle.folder).marks]
    assert marks == [
        "events.jsonl: cut: it ends in half a line",
        "events.jsonl: cut: the end of the test is missing: the last whole event is #2",
    ]


def test_on_a_full_disk_nothing_comes_behind_half_a_line_and_the_rack_is_at_fault(
    tmp_path, monkeypatch
):
    bundle = TestBundle(tmp_path, "t", Redactor())
    sink, left = bundle.timeline._sink, [2]
    real = sink._file

    class Full:
        """Takes two more lines, half of the next one, and then nothing any more."""

        def write(self, data):
            left[0] -= 1
            if left[0] < -1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real.write(data if left[0] >= 0 else data[: len(data) // 2])

        def __enter__(self):
            return real.__enter__()

        def __exit__(self, *error):
            return real.__exit__(*error)

    monkeypatch.setattr(sink, "_file", Full())
    for n in range(5):
        bundle.timeline.add("uart", "line", "a", text=f"line {n}")
    assert len(bundle.timeline) == 6
    with pytest.raises(RigError, match=r"events\.jsonl'?"):
        bundle.finish([])
    stored = read_test(bundle.folder)
    assert [event.seq for event in stored.events] == [1, 2, 3]
    assert not stored.ended
    assert any("half a line" in mark.text for mark in stored.marks)


def test_what_cannot_be_written_to_the_device_is_told_when_the_file_is_closed(tmp_path):
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    timeline = Timeline(path=tmp_path / "full.jsonl")
    timeline.add("uart", "line", "a", text="lost")
    with pytest.raises(OSError, match="No space left"):
        timeline.close()
    assert len(timeline.events()) == 1
