"""The page in a browser: what a reader sees and does. Opened from a file, with no network."""

import pytest
from report_runs import Folder, stalled, verdict

from pytest_blynk_ota.report import html, write

OVERLAPS = """(() => {
  const boxes = [...document.querySelectorAll('.line .labels button:not([hidden])')]
    .map((one) => one.getBoundingClientRect());
  let found = 0;
  boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
    const beside = a.right <= b.left || b.right <= a.left;
    if (!beside && a.top < b.bottom - 1 && b.top < a.bottom - 1) found++;
  }));
  return [boxes.length, found];
})()"""
ROWS = """[...document.querySelectorAll('.log .row:not([hidden])')].map((row) => row.textContent)"""
AT = "document.querySelector('.log .row.at')?.textContent"
VIEW = "blynkOta.shown().line.view()"
CHOSEN = (
    "[...document.querySelectorAll('#table tr.test:not([hidden])')].map((row) => row.dataset.key)"
)
WIDE = "document.documentElement.scrollWidth"


def many(count, text="line {}"):
    """A test with so many lines of log."""
    rows = stalled()
    lines = [
        (1.0 + i * 2.5 / count, "uart", "line", {"text": text.format(i)}) for i in range(count)
    ]
    return sorted([*rows[:-1], *lines], key=lambda row: row[0]) + rows[-1:]


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """A run with one test of each kind, as a page."""
    run = Folder(tmp_path_factory.mktemp("report") / "run")
    run.add("test_stall")
    run.add("test_rack", "rig", message="PortGone: it vanished", verdicts=[])
    run.add("test_good", "passed", message=None, verdicts=[verdict("UPGRADED")])
    run.add("test_busy", rows=many(5000))
    return write.write_beside(run.path)


def test_the_table_shows_each_test_and_no_test_itself(browser, report):
    browser.open(report)
    assert browser.js("document.querySelectorAll('#table tr.test').length") == 4
    assert browser.js("[...document.querySelectorAll('article')].every((one) => !one.offsetParent)")


def test_filters_leave_what_fits(browser, report):
    browser.open(report)
    browser.js("document.querySelector('.words [data-word=rig]').click()")
    assert browser.js(CHOSEN) == ["t2"]
    browser.js("document.querySelector('.words [data-word=rig]').click()")
    browser.js(
        "{ const one = document.getElementById('by-outcome'); one.value = 'UPGRADED';"
        " one.dispatchEvent(new Event('change')) }"
    )
    assert browser.js(CHOSEN) == ["t3"]


def test_text_filters_by_name_and_cause(browser, report):
    browser.open(report)
    browser.key("/", *"vanished")
    assert browser.js(CHOSEN) == ["t2"]


def test_a_click_on_a_heading_sorts_and_the_third_brings_the_groups_back(browser, report):
    browser.open(report)
    click = "document.querySelector('th[data-sort=name]').click()"
    names = "[...document.querySelectorAll('#table tr.test a')].map((one) => one.textContent)"
    before = browser.js(names)
    browser.js(click)
    assert browser.js(names) == sorted(before)
    browser.js(click)
    assert browser.js(names) == sorted(before, reverse=True)
    browser.js(click)
    assert browser.js(names) == before


def test_keys_go_through_the_tests_and_back(browser, report):
    browser.open(report)
    browser.key("j", "j", "Enter")
    assert browser.js("location.hash") == "#t1"
    browser.key("j")
    assert browser.js("location.hash") == "#t2"
    browser.key("k", "k", "Escape")
    assert browser.js("location.hash") == ""
    assert browser.js("document.querySelector('tr.current').dataset.key") == "t0"


def test_the_question_mark_shows_the_keys_and_escape_hides_them(browser, report):
    browser.open(report)
    browser.key("?")
    assert browser.js("document.getElementById('help').open")
    browser.key("Escape")
    assert not browser.js("document.getElementById('help').open")


def test_a_click_on_a_reason_marks_its_event_in_log_and_time_line(browser, report):
    browser.open(report, "#t0")
    browser.js("document.querySelector('#t0 .reasons .ev:nth-of-type(2)').click()")
    browser.drawn()
    assert browser.js("location.hash") == "#t0/10"
    assert browser.js(AT).startswith("#1026.000 s")
    a, b = browser.js(VIEW)
    assert a < 26 < b
    assert not browser.js("document.querySelector('.line .cursor').hidden")


def test_a_link_to_an_event_opens_there(browser, report):
    browser.open(report, "#t1/2500")
    assert browser.js(AT).startswith("#2500")


def test_zoom_and_pan_by_keys_and_wheel(browser, report):
    browser.open(report, "#t0")
    a, b = browser.js(VIEW)
    browser.key("+")
    c, d = browser.js(VIEW)
    assert d - c == pytest.approx((b - a) / 2)
    browser.key("ArrowRight")
    assert browser.js(VIEW)[0] > c
    browser.key("0")
    whole = browser.js(VIEW)
    x, y = browser.js("(() => { const r = document.querySelector('.line').getBoundingClientRect();"
                      " return [r.left + r.width / 2, r.top + 40] })()")  # fmt: skip
    browser.click(x, y)
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)
    browser.drawn()
    e, f = browser.js(VIEW)
    assert f - e < whole[1] - whole[0]


def test_a_drag_moves_the_time_line(browser, report):
    browser.open(report, "#t0")
    browser.key("+", "+")
    before = browser.js(VIEW)
    x, y = browser.js("(() => { const r = document.querySelector('.line').getBoundingClientRect();"
                      " return [r.left + r.width / 2, r.top + 10] })()")  # fmt: skip
    browser.mouse("mousePressed", x, y, button="left", clickCount=1)
    browser.mouse("mouseMoved", x - 100, y, button="left", buttons=1)
    browser.mouse("mouseReleased", x - 100, y, button="left", clickCount=1)
    browser.drawn()
    assert browser.js(VIEW)[0] > before[0]


def test_the_log_follows_the_cursor(browser, report):
    browser.open(report, "#t1")
    browser.js("document.querySelector('.line').scrollIntoView()")
    left, width, top = browser.js(
        "(() => { const r = document.querySelector('.line').getBoundingClientRect();"
        " return [r.left, r.width, r.top] })()"
    )
    browser.mouse("mouseMoved", left + width * 0.8, top + 60)
    browser.drawn()
    a, b = browser.js(VIEW)
    gutter = 104
    wanted = a + (width * 0.8 - gutter) / (width - gutter) * (b - a)
    times = [float(row.split(" s")[0][-6:].lstrip("#")) for row in browser.js(ROWS)]
    assert min(times) - 0.2 <= wanted <= max(times) + 0.2


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("zooms", [0, 3, 6])
def test_no_label_stands_on_another(browser, report, width, zooms):
    browser.open(report, "#t0", width=width)
    browser.key("0", *"+" * zooms)
    count, overlaps = browser.js(OVERLAPS)
    assert overlaps == 0
    assert count > 0 or zooms


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("place", ["", "#t0", "#t1"])
def test_nothing_is_wider_than_the_window(browser, report, width, place):
    browser.open(report, place, width=width)
    assert browser.js(WIDE) <= width


def test_of_a_long_log_only_the_rows_in_sight_exist(browser, report):
    browser.open(report, "#t1")
    assert browser.js("document.querySelectorAll('.log .row').length") < 60
    browser.js("document.querySelector('.log').scrollTop = 1e9")
    browser.drawn()
    assert any(row.endswith("test ends") for row in browser.js(ROWS))


def test_the_log_of_a_red_test_opens_where_it_failed(browser, tmp_path):
    run = Folder(tmp_path / "run")
    rows = many(5000)
    number = next(i for i, row in enumerate(rows, 1) if row[3].get("text") == "line 4000")
    finding = {"name": "late", "severity": "error", "text": "x", "events": [number]}
    message = "the test passed, but there are error findings:"
    run.add(rows=rows, message=message, verdicts=[verdict("UPGRADED", findings=[finding])])
    browser.open(write.write_beside(run.path), "#t0")
    assert any(row.endswith("line 4000") for row in browser.js(ROWS))


def test_the_log_can_be_searched(browser, report):
    browser.open(report, "#t1")
    browser.key("/", *"line 1234")
    assert [row.split("line ")[-1] for row in browser.js(ROWS)] == ["1234"]


def test_a_dark_system_gets_a_dark_page_and_the_switch_wins(browser, report):
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.media(prefers_color_scheme="dark")
    browser.open(report)
    dark = browser.js(ground)
    browser.key("t")
    assert browser.js("document.documentElement.dataset.theme") == "light"
    assert browser.js(ground) != dark
    browser.key("t")
    assert browser.js(ground) == dark
    browser.key("t")
    browser.media(prefers_color_scheme="light")
    assert browser.js(ground) != dark


def test_on_paper_all_text_stands_and_no_control(browser, report):
    browser.open(report)
    browser.media(media="print")
    shown = "document.querySelector({!r}).getClientRects().length"
    assert browser.js(shown.format("#t3 h2"))
    assert browser.js(shown.format("#t0 .sources"))
    for control in ("#theme", ".filters", "#t0 .evidence"):
        assert not browser.js(shown.format(control))
    assert browser.pdf().startswith(b"%PDF")


def test_without_scripts_all_text_is_there(browser, report):
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.load(report.as_uri())
        root = browser.ask("DOM.getDocument")["root"]["nodeId"]
        node = browser.ask("DOM.querySelector", nodeId=root, selector="#t0 .fault")["nodeId"]
        assert browser.ask("DOM.getBoxModel", nodeId=node)["model"]["height"] > 10
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)


def test_a_browser_that_cannot_unpack_says_so_and_plain_pages_need_not(browser, report, tmp_path):
    broken = tmp_path / "old.html"
    text = report.read_text()
    broken.write_text(
        text.replace("<head>", "<head><script>delete DecompressionStream</script>", 1)
    )
    browser.open(broken, "#t0")
    assert "cannot unpack" in browser.js("document.querySelector('.trouble').textContent")
    plain = html.render(write.read([report.parent], plain=True))
    broken.write_text(
        plain.replace("<head>", "<head><script>delete DecompressionStream</script>", 1)
    )
    browser.open(broken, "#t0")
    assert browser.js(ROWS)


HOSTILE = (
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror='window.hacked=1'>",
    "<!--<script>window.hacked=1</script>",
    "\x00\x1b[31m\x07 \ud800 \u202etxt.exe",
    "x" * 20000,
    "' onmouseover='window.hacked=1",
)


def test_hostile_text_is_text_in_the_browser_too(browser, tmp_path):
    run = Folder(tmp_path / "run", rig=HOSTILE[0])
    for place, said in enumerate(HOSTILE):
        rows = stalled()
        rows[3] = (0.2, "cloud", "report", {"session": 3, "version": said, "build": said})
        rows.insert(4, (0.3, "uart", "line", {"text": said}))
        rows.insert(4, (0.3, "uart", "crash", {"what": said, "text": said}))
        row = verdict(reasons=[{"text": said, "events": [4, 5, 6]}])
        run.add(f"test_{place}", rows=rows, verdicts=[row], message=said, text=said, boards=[said])
    page = write.write_beside(run.path)
    for place in range(len(HOSTILE)):
        browser.open(page, f"#t{place}/6")
        browser.js("document.querySelectorAll('.line .labels button').forEach((b) => b.click())")
        browser.drawn()
        assert browser.js(WIDE) <= 1280
    assert browser.js("window.hacked === undefined")


def test_progress_is_in_the_log_when_asked_for(browser, report):
    browser.open(report, "#t0")
    progress = "#8connection 2: 60,000 bytes written, 40,000 acknowledged"
    rows = "[...document.querySelectorAll('.log .row:not([hidden])')].map((row) =>"
    rows += " row.querySelector('.seq').textContent + row.querySelector('.text').textContent)"
    assert progress not in browser.js(rows)
    browser.js("[...document.querySelectorAll('.tools label')].at(-1).click()")
    browser.drawn()
    assert progress in browser.js(rows)


def test_each_metric_has_a_lane_with_its_unit(browser, report):
    browser.open(report, "#t0")
    names = "[...document.querySelectorAll('.line .name')].map((one) => one.textContent)"
    assert browser.js(names)[-1] == "free heap"
    assert browser.js("document.querySelectorAll('.line .uplot').length") == 2


def test_what_a_reason_rests_on_has_its_label_when_others_have_no_room(browser, tmp_path):
    run = Folder(tmp_path / "run")
    crowd = [(1.0 + i / 1000, "uart", "reset", {"cause": f"cause {i}"}) for i in range(1000)]
    rows = sorted([*stalled(), *crowd], key=lambda row: row[0])
    number = next(i for i, row in enumerate(rows, 1) if row[3].get("cause") == "cause 700")
    run.add(rows=rows, verdicts=[verdict(reasons=[{"text": "loop", "events": [number]}])])
    browser.open(write.write_beside(run.path), "#t0")
    labels = "[...document.querySelectorAll('.labels button:not([hidden])')]"
    labels += ".map((one) => one.textContent)"
    shown = [text for text in browser.js(labels) if text.startswith("reset cause")]
    assert shown == ["reset cause 700"]


def test_dense_events_share_ticks_and_labels_come_back_on_zoom(browser, tmp_path):
    run = Folder(tmp_path / "run")
    crowd = [(1.0 + i / 1000, "uart", "reset", {"cause": f"cause {i}"}) for i in range(1000)]
    run.add(rows=sorted([*stalled(), *crowd], key=lambda row: row[0]))
    browser.open(write.write_beside(run.path), "#t0")
    assert browser.js(OVERLAPS)[0] < 20
    browser.js("blynkOta.shown().line.show(30, 31)")
    browser.drawn()
    count, overlaps = browser.js(OVERLAPS)
    assert count >= 20
    assert overlaps == 0


RIGHT = "Math.round(document.querySelector({!r}).getBoundingClientRect().right)"
LEFT = "Math.round(document.querySelector({!r}).getBoundingClientRect().left)"


def test_the_log_opens_at_the_fault_and_not_at_the_request_before_it(browser, report):
    browser.open(report, "#t1")
    rows = browser.js(ROWS)
    assert any(row.endswith("fault fired: stall after=50%") for row in rows)
    assert not any("bytes announced" in row for row in rows)
    assert "fault fired" in browser.js("document.querySelector('.log .row.decided').textContent")


def test_what_went_wrong_and_what_went_well_do_not_look_alike(browser, tmp_path):
    run = Folder(tmp_path / "run")
    rows = stalled()
    rows.insert(-3, (2.95, "uart", "crash", {"what": "panic", "text": "Guru"}))
    rows.insert(-1, (3.55, "ota", "closed", {"why": "success"}))
    seqs = [
        place
        for place, row in enumerate(rows, 1)
        if row[2] in ("crash", "closed", "operation", "reset")
    ]
    run.add(rows=rows, verdicts=[verdict(reasons=[{"text": "x", "events": seqs}])])
    browser.open(write.write_beside(run.path), "#t0")
    browser.key("0")
    ground = (
        "getComputedStyle([...document.querySelectorAll('.labels button.cited')]"
        ".find((one) => one.textContent === {!r})).backgroundColor"
    )
    labels = ("crash: panic", "closed: success", "offer begins")
    assert len({browser.js(ground.format(label)) for label in labels}) == 3
    told = browser.js("document.querySelector('.legend').textContent")
    assert told.startswith("a reason rests on itwent wrongwent well")
    assert told.endswith("the part that the log shows")


def test_each_time_says_by_which_clock(browser, report):
    browser.open(report, "#t0/10")
    read = "document.querySelector({!r}).textContent"
    assert "device time" in browser.js(read.format(".loghead"))
    whole = browser.js(read.format(".whole"))
    assert whole.startswith("#10  26.0000 s device time, 2027-01-15 08:00:01.300 UTC wall clock")
    left, top = browser.js(
        "(() => { const r = document.querySelector('.line').getBoundingClientRect();"
        " return [r.left + r.width / 2, r.top + 60] })()"
    )
    browser.mouse("mouseMoved", left, top)
    browser.drawn()
    assert " s device time; last event #" in browser.js(read.format(".tools .read"))
    text = browser.js(read.format("#t0"))
    assert "at device second 26.0" in text
    assert "3.6 s wall clock" in text


def test_headings_search_and_table_stand_in_line(browser, report):
    browser.open(report)
    inner = "document.createRange()"
    heading = (
        f"(() => {{ const r = {inner}; r.selectNodeContents(document.querySelector("
        "'#table thead th')); return Math.round(r.getBoundingClientRect().left) })()"
    )
    assert (
        browser.js(heading) == browser.js(LEFT.format(".filters")) == browser.js(LEFT.format("h1"))
    )
    assert browser.js(RIGHT.format("#by-text")) == browser.js(RIGHT.format(".filters"))


def test_a_narrow_window_says_whose_fault_and_keeps_words_apart(browser, report):
    browser.open(report, width=390)
    assert browser.js("document.querySelector('tr.test td.who').getClientRects().length")
    gap = (
        "document.querySelectorAll('table.firmware b')[1].getBoundingClientRect().left -"
        " document.querySelectorAll('.which')[1].getBoundingClientRect().right"
    )
    assert browser.js(gap) >= 4
    assert browser.js("document.getElementById('ask').getBoundingClientRect().top") >= 6
    assert browser.js(RIGHT.format("#ask")) <= 390 - 10


IN_SIGHT = """(() => {
  const inside = (selector) => {
    const box = document.querySelector(selector).getBoundingClientRect();
    return box.height > 0 && box.top >= 0 && box.bottom <= innerHeight + 0.5;
  };
  const row = document.querySelector('.log .row.at').getBoundingClientRect();
  const log = document.querySelector('.log').getBoundingClientRect();
  const axis = document.querySelector('.line canvas.axis').getBoundingClientRect();
  return [inside('.log .row.at'), row.top >= log.top && row.bottom <= log.bottom + 0.5,
    inside('.whole'), axis.top >= 0 && axis.bottom <= row.top];
})()"""


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (1400, 2400), (420, 900), (1280, 640)])
@pytest.mark.parametrize("link", [".fault .ev", ".reasons .ev:nth-of-type(3)"])
def test_a_click_on_an_event_brings_its_row_its_text_and_the_axis_into_sight(
    browser, report, width, height, link
):
    browser.open(report, "#t0", width=width, height=height)
    browser.js(f"document.querySelector('#t0 {link}').click()")
    browser.drawn()
    assert browser.js(IN_SIGHT) == [True] * 4


def beaten(*more):
    """A board that prints its free heap twice in each of two boots, and once before the offer."""
    rows = [
        (t, "uart", "metric", {"name": name, "value": 1000 * t, "unit": "B"})
        for name, times in (("free heap", (1.5, 1.6, 3.2, 3.3)), ("early", (0.15,)))
        for t in times
    ]
    return sorted([*stalled()[:-1], *rows, *more], key=lambda row: row[0])


NAMES = """[...document.querySelectorAll('.line .name')]
  .filter((one) => one.getClientRects().length).map((one) => one.textContent)"""


def test_a_lane_that_ended_before_the_view_begins_comes_when_one_looks_so_far_back(
    browser, tmp_path
):
    run = Folder(tmp_path / "run")
    late = [(t + 4 if t > 0.2 else t, *rest) for t, *rest in beaten()]
    run.add(rows=late, verdicts=[])
    browser.open(write.write_beside(run.path), "#t0")
    assert browser.js(VIEW)[0] > 0
    assert "early" not in browser.js(NAMES)
    browser.key("0")
    assert "early" in browser.js(NAMES)


def test_no_line_of_a_metric_goes_through_a_reset(browser, tmp_path):
    run = Folder(tmp_path / "run")
    run.add(rows=beaten(), verdicts=[])
    browser.open(write.write_beside(run.path), "#t0")
    drawn = """(() => {
      const data = blynkOta.shown().data;
      const metric = data.metrics.find((one) => one.name === "free heap");
      return [...Charts.restarts(data, metric.place)];
    })()"""
    assert browser.js(drawn) == [0, 0, 0, 1, 0]
    gaps = "Charts.slice([0, 100], 500, [1, 2, 3, 4], [[5, 6, 7, 8]], [0, 0, 1, 0])[1]"
    assert browser.js(gaps) == [5, 6, None, 7, 8]
    assert browser.js("Charts.lonely([5, null, 6, 7, null, 8])") == [0, 5]


def test_what_is_read_out_of_a_line_does_not_say_the_line_again(browser, tmp_path):
    run = Folder(tmp_path / "run")
    line = "[14] RUNNING => OTA_UPGRADE"
    more = [
        (1.45, "uart", "line", {"text": f" {line} "}),
        (1.45, "uart", "firmware", {"what": "ota_state", "text": line}),
        (1.45, "uart", "metric", {"name": "ping", "value": 3, "unit": "ms"}),
    ]
    run.add(rows=beaten(*more), verdicts=[])
    browser.open(write.write_beside(run.path), "#t0")
    browser.key("/", *"ota_state")
    row = "document.querySelector('.log .row:not([hidden])')"
    assert browser.js(f"{row}.querySelector('.text').textContent") == "↳ firmware (ota_state)"
    style = f"getComputedStyle({row}.querySelector('.text'))"
    assert browser.js(f"parseFloat({style}.fontSize)") < 12
    browser.js(f"{row}.click()")
    assert line in browser.js("document.querySelector('.whole').textContent")


def test_the_log_of_a_passed_test_begins_where_its_time_line_does(browser, tmp_path):
    run = Folder(tmp_path / "run")
    lines = [(0.3 + i / 50, "uart", "line", {"text": f"restore {i}"}) for i in range(50)]
    rows = [*stalled()[:4], *lines, *((t + 2, *rest) for t, *rest in stalled()[4:])]
    rows += [(6.0 + i / 50, "uart", "line", {"text": f"later {i}"}) for i in range(50)]
    run.add("test_good", "passed", rows=rows, message=None, verdicts=[verdict("UPGRADED")])
    browser.open(write.write_beside(run.path), "#t0")
    begin = browser.js(VIEW)[0]
    assert begin > 0
    first = float(browser.js("document.querySelector('.log .row .time').textContent").split()[0])
    assert first >= begin - 0.01


def test_the_log_of_a_crash_opens_at_its_first_line(browser, tmp_path):
    run = Folder(tmp_path / "run")
    guru = "Guru Meditation Error"
    dump = [(3.2, "uart", "line", {"text": f"3fc8c{i:03x}: 0x0"}) for i in range(60)]
    crash = (3.2, "uart", "crash", {"what": "panic", "text": guru})
    rows = [*stalled()[:-1], (3.2, "uart", "line", {"text": guru}), *dump, crash]
    finding = {"name": "crash", "severity": "error", "text": "x", "events": [len(rows)]}
    message = "the test passed, but there is an error finding: crash: x"
    run.add(rows=rows, message=message, verdicts=[verdict("UPGRADED", findings=[finding])])
    browser.open(write.write_beside(run.path), "#t0")
    seen = browser.js(ROWS)
    assert any(row.endswith(f"uart{guru}") for row in seen)
    assert any("is logged in" in row or "login" in row for row in seen), "what came before it"


def test_a_long_hash_is_short_on_the_screen_and_whole_in_a_copy_and_on_paper(browser, report):
    browser.open(report)
    wide = "document.querySelector('.sha').getBoundingClientRect().width"
    short = browser.js(wide)
    assert short < 110
    assert browser.js("document.querySelector('.sha').title").startswith("SHA-256 " + "75b8" * 16)
    copied = (
        "(getSelection().selectAllChildren(document.querySelector('.sha')), '' + getSelection())"
    )
    assert browser.js(copied) == "75b8" * 16
    browser.media(media="print")
    assert browser.js(wide) > short
    browser.open(report, width=720)
    right = "document.querySelector({!r}).getBoundingClientRect().right"
    for part in ("table.firmware", "#t0 .downloads"):
        assert browser.js(right.format(part)) <= browser.js(right.format("main"))


def test_the_name_of_a_test_looks_like_a_link(browser, report):
    browser.open(report)
    colour = "getComputedStyle(document.querySelector({!r})).color"
    link = browser.js(colour.format("#table .what a"))
    browser.js("location.hash = '#t0'")
    browser.drawn()
    assert link == browser.js(colour.format("#t0 .path a"))
