"""What of the events stands in the page: times, lines, stretches, curves, metrics."""

from dataclasses import replace

import pytest
from report_runs import SPEED, stalled

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.report.columns import TICKS_PER_S, columns
from pytest_blynk_ota.report.spans import cut_short, spans
from pytest_blynk_ota.report.words import LANES, in_words, label, tone


def events(*rows, board="c3-a"):
    return [
        Event(seq, t, 0.0, source, kind, board, data)
        for seq, (t, source, kind, data) in enumerate(rows, 1)
    ]


def stretches(*rows):
    return [(one.lane, one.start, one.end, one.text, one.tone) for one in spans(events(*rows))]


def data_of(*rows):
    return columns(events(*rows), SPEED, [])


def sums(steps):
    total, found = 0, []
    for step in steps:
        total += step
        found.append(total)
    return found


def test_times_are_ticks_since_the_first_event():
    data = data_of((7.0, "power", "on", {}), (7.5, "power", "off", {}))
    assert sums(data["ticks"]) == [0, 0.5 * TICKS_PER_S]
    assert data["speed"] == SPEED


def test_each_event_has_its_line_and_a_line_that_repeats_is_stored_once():
    row = (1.0, "uart", "line", {"text": "again"})
    data = data_of(row, (1.1, "cloud", "login", {"session": 3}), row)
    assert [data["texts"][place] for place in data["text"]] == [
        "again",
        "session 3: login",
        "again",
    ]
    assert len(data["texts"]) == 2


def test_progress_is_a_curve_and_no_text():
    data = columns(events(*stalled()), SPEED, [])
    curve = data["progress"]
    assert sums(curve["place"]) == [7, 8, 12]
    assert sums(curve["written"]) == [60000, 102400, 102400]
    assert sums(curve["acked"]) == [40000, 90000, 102400]
    assert curve["announced"] == [204800]
    assert [data["text"][place] for place in (7, 8)] == [-1, -1]


def test_a_metric_is_a_curve_with_its_unit():
    (metric,) = columns(events(*stalled()), SPEED, [])["metrics"]
    assert metric == {"name": "free heap", "unit": "B", "place": [11], "value": [180000]}


@pytest.mark.parametrize("value", ["90", None, True, float("nan"), float("inf"), 10**400])
def test_a_metric_that_is_no_number_is_left_to_the_log(value):
    data = data_of((1.0, "uart", "metric", {"name": "x", "value": value}))
    assert data["metrics"] == []


def test_every_event_stands_in_a_lane_an_unknown_one_too():
    data = data_of(*stalled(), (4.0, "martian", "landed", {"where": "here"}))
    lanes = {kind[0]: LANES[kind[2]] for kind in data["kinds"]}
    assert lanes["martian"] == "test"
    used = {LANES[kind[2]] for kind in data["kinds"]}
    assert used == {"test", "faults", "cloud", "downloads", "uart"}
    assert data["texts"][data["text"][-1]] == "landed where=here"


def test_power_is_off_until_it_is_on():
    off, on = (1.0, "power", "off", {}), (2.0, "power", "on", {})
    assert stretches(off, on) == [("power", 0, 1, "off", "off")]


def test_a_download_says_how_it_ended_and_is_good_only_if_complete():
    def download(how):
        begin = (1.0, "delivery", "response", {"conn": 1, "status": 200})
        return stretches(begin, (2.0, "delivery", "ended", {"conn": 1, "how": how, "by": "server"}))

    assert download("complete") == [("downloads", 0, 1, "HTTP 200, complete by server", "good")]
    assert download("rst")[0][3:] == ("HTTP 200, rst by server", "bad")


RST = {"conn": 2, "by": "device", "how": "rst", "acked": 9, "announced": 20}
DIES = [
    (1.0, "delivery", "response", {"conn": 2, "status": 200, "announced": 20}),
    (2.0, "delivery", "ended", RST),
    (2.1, "uart", "port_lost", {"why": "gone"}),
    (2.2, "rig", "error", {"error": "RigError", "message": "dead"}),
]


def test_a_download_that_ended_as_the_rack_died_is_cut_off_by_nobody():
    rows = events(*DIES)
    assert cut_short(rows) == {2}
    data = columns(rows, SPEED, [], cut_short(rows))
    download = next(span for span in data["spans"] if span[0] == LANES.index("downloads"))
    assert download[3:] == ["HTTP 200, cut off", "off"]
    assert (1, "cut off") in [(place, text) for place, text, _ in data["labels"]]
    assert 1 not in data["bad"]
    told = data["texts"][data["text"][1]]
    assert told == "connection 2: cut off as the rack failed, 9 of 20 bytes acknowledged"


@pytest.mark.parametrize(
    "row",
    [
        (2.05, "uart", "line", {"text": "Timeout"}),
        (2.05, "cloud", "login", {"session": 4}),
        (2.05, "delivery", "request", {"conn": 3}),
    ],
    ids=lambda row: f"{row[1]} {row[2]}",
)
def test_a_download_after_which_the_board_spoke_was_ended_by_the_device(row):
    assert cut_short(events(*DIES[:2], row, *DIES[2:])) == frozenset()
    other = replace(events(row)[0], board="c3-b")
    assert cut_short([*events(*DIES), other]) == {2}, "another board says nothing of it"


def test_a_whole_download_is_whole_though_the_rack_died_after_it():
    rows = [DIES[0], (2.0, "delivery", "ended", {**RST, "how": "complete"}), *DIES[2:]]
    assert cut_short(events(*rows)) == frozenset()


def test_a_fault_lasts_until_it_is_over_and_one_that_never_ends_has_no_end():
    fault = {"conn": 1, "index": 0, "fault": "stall"}
    fired = (1.0, "delivery", "fault", {**fault, "phase": "fired"})
    assert stretches(fired) == [("faults", 0, None, "stall", "bad")]
    assert stretches(fired, (2.0, "delivery", "fault", {**fault, "phase": "over"}))[0][2] == 1


def test_sessions_and_boots_are_called_by_the_version_named_in_them():
    found = stretches(
        (1.0, "uart", "reset", {"cause": "POWERON"}),
        (1.1, "uart", "firmware", {"what": "version", "version": "1.1.0"}),
        (1.2, "cloud", "login", {"session": 7}),
        (1.3, "cloud", "report", {"session": 7, "version": "1.1.0"}),
    )
    assert [one[3] for one in found] == ["boot: 1.1.0", "session 7: 1.1.0"]


def test_a_boot_lasts_to_the_next_reset_or_to_the_power_cut():
    reset = (1.0, "uart", "reset", {})
    found = stretches(reset, (2.0, "uart", "reset", {}), (3.0, "power", "off", {}))
    assert [one[1:3] for one in found if one[0] == "uart"] == [(0, 1), (1, 2)]


def test_a_stretch_whose_end_was_lost_ends_where_the_next_of_its_kind_begins():
    found = stretches(
        (1.0, "cloud", "login", {"session": 1}), (2.0, "cloud", "login", {"session": 1})
    )
    assert [one[1:3] for one in found] == [(0, 1), (1, None)]


def test_what_the_test_does_to_the_network_lasts_until_it_is_undone():
    found = stretches(
        (1.0, "test", "action", {"what": "ap.off"}),
        (2.0, "test", "action", {"what": "link.shaped", "text": "loss 5%"}),
        (3.0, "test", "action", {"what": "link.shaped", "text": ""}),
        (4.0, "test", "action", {"what": "ap.on"}),
    )
    assert found == [("faults", 0, 3, "ap.off", "off"), ("faults", 1, 2, "loss 5%", "bad")]


def test_boards_are_kept_apart():
    both = [*events((1.0, "power", "off", {})), *events((2.0, "power", "on", {}), board="esp32-a")]
    assert [one.end for one in spans(both)] == [None]


def test_of_several_boards_stretches_and_labels_say_which():
    reset = (1.0, "uart", "reset", {"cause": "POWERON"})
    one = columns(events(reset), SPEED, [])
    assert (one["spans"][0][3], one["labels"][0][1]) == ("boot", "reset POWERON")
    both = [*events(reset), *events(reset, board="esp32-a")]
    data = columns(both, SPEED, [])
    assert [span[3] for span in data["spans"]] == ["c3-a: boot", "esp32-a: boot"]
    assert data["labels"][1][1] == "esp32-a: reset POWERON"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((1, "uart", "slot", {"offset": 65536}), "the bootloader loads the slot at 0x10000"),
        ((1, "uart", "slot", {}), "the bootloader loads the slot at "),
        (
            (
                1,
                "ota",
                "restored",
                {"wrote_bytes": 4, "slots": {"app0": {"image": "old"}, "app1": {}}},
            ),
            "Old restored (4 bytes written): app0: old, app1: nothing known",
        ),
        ((1, "uart", "crash", {"what": ["x"], "text": {"a": 1}}), 'crash (["x"]): {"a": 1}'),
    ],
)
def test_an_event_is_said_in_words_whatever_it_holds(row, said):
    assert in_words(events(row)[0]) == said


def test_a_long_label_is_cut():
    text, weight = label(events((1, "cloud", "fault", {"text": "x" * 500}))[0])
    assert (len(text) < 80, weight) == (True, 3)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("uart", "crash", {}), "bad"),
        (("delivery", "fault", {"phase": "fired"}), "bad"),
        (("delivery", "fault", {"phase": "over"}), ""),
        (("delivery", "ended", {"how": "complete"}), "good"),
        (("delivery", "ended", {"how": "rst"}), "bad"),
        (("ota", "closed", {"why": "success"}), "good"),
        (("ota", "closed", {"why": "download limit"}), ""),
        (("cloud", "login", {}), ""),
    ],
)
def test_an_event_says_whether_something_went_wrong_or_well(row, told):
    (event,) = events((1, *row))
    assert tone(event) == told
    data = columns([event], SPEED, [])
    assert (data["bad"], data["good"]) == ([0] * (told == "bad"), [0] * (told == "good"))


def test_a_whole_answer_that_refuses_is_no_download_that_went_well():
    conn = {"conn": 1}
    ended = (1.1, "delivery", "ended", {**conn, "how": "complete", "by": "server"})
    for status, tone_of_it in ((404, "bad"), (200, "good"), (302, "good")):
        rows = [(1.0, "delivery", "response", {**conn, "status": status}), ended]
        assert 1 in columns(events(*rows), SPEED, [])[tone_of_it]
        assert stretches(*rows)[0][4] == tone_of_it


def test_the_end_of_a_fault_is_no_bad_news():
    fault = {"fault": "stall"}
    assert label(events((1, "delivery", "fault", {**fault, "phase": "fired"}))[0])[1] == 3
    assert label(events((1, "delivery", "fault", {**fault, "phase": "over"}))[0])[1] < 3


def test_of_a_board_whose_port_is_lost_nothing_is_known_any_more():
    found = stretches((1.0, "uart", "reset", {}), (2.0, "uart", "port_lost", {"why": "gone"}))
    assert [one[:3] for one in found] == [("uart", 0, 1), ("power", 1, None)]


@pytest.mark.parametrize("wall", [float("inf"), -1, "x", 1e300, None])
def test_a_wall_clock_that_cannot_be_is_none(wall):
    (event,) = events((1, "cloud", "login", {}))
    assert columns([replace(event, wall=1.8e9)], SPEED, [])["wall"] == 1.8e9
    assert columns([replace(event, wall=wall)], SPEED, [])["wall"] is None
