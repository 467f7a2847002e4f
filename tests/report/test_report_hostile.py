"""Whatever a log, a version or a name says, the page is a page and shows it as text."""

import base64
import json
import re
import zlib
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_runs import Folder, stalled, verdict

from pytest_blynk_ota.report import columns, html, visible, write

NASTY = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]></style>",
    "{{ 7 * 7 }}{% raw %}",
    "\x00\x1b[31mred\x1b[0m\r\n",
    "\u202egnp.exe\u2066",
    "\ud800 lone",
    "&lt;b&gt;",
    "\" onmouseover=alert(1) '",
    "x" * 5000,
    "\u2028\u2029\x85",
)
texts = st.one_of(
    st.sampled_from(NASTY), st.text(), st.text(st.characters()), st.text("<>/!-'\"&\\=script\x00")
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(autouse=True, scope="module")
def short_scripts():
    """Our own scripts say nothing hostile, and parsing them takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "SCRIPTS", ("page/log.js",))
        yield


class Reading(HTMLParser):
    """The tags of a page and their attributes, the scripts by themselves."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.scripts, self.shown = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag == "script":
            self.scripts.append([dict(attrs), ""])

    def handle_data(self, data):
        if self.tags[-1:] == ["script"] and self.cdata_elem == "script":
            self.scripts[-1][1] += data
        else:
            self.shown.append(data)


def unpacked(attributes, text):
    if attributes.get("data-form") == "deflate":
        text = zlib.decompress(base64.b64decode(text)).decode("ascii")
    return json.loads(text)


def page_of(folder):
    return html.render(write.read([folder]))


def shape(text):
    """The page without what it says: its tags and the names of their attributes."""
    read = Reading(text)
    return read.tags, read.attributes


def build(path, said):
    """A run in which everything that can be text says the same."""
    run = Folder(
        path,
        rig=said,
        rig_kind=said,
        started=said,
        command=[said],
        tools={said: said},
        firmware={said: {"old": {"version": said, "sha256": said}, "new": {"build": said}}},
    )
    rows = stalled()
    rows[3] = (0.2, "cloud", "report", {"session": said, "version": said, "build": said})
    rows.insert(4, (0.3, "uart", "line", {"text": said}))
    rows.insert(5, (0.3, "uart", said, {said: said}))
    sentence = {"text": said, "events": [1, 5], "name": said, "severity": "error"}
    row = verdict(
        said,
        reasons=[sentence],
        findings=[sentence],
        crashes=[said],
        versions=[said],
        running=said,
        downloads=[{"number": said, "ended": said, "fault": said, "offer": said}],
    )
    folder = run.add("it", rows=rows, verdicts=[row], message=said, text=said, rerun=said,
                     boards=[said], worker=said, started=said)  # fmt: skip
    return run.path, folder


@pytest.mark.parametrize("said", NASTY)
def test_hostile_text_changes_no_tag_of_the_page(tmp_path, said):
    nasty, _ = build(tmp_path / "nasty", said)
    plain, _ = build(tmp_path / "plain", "said")
    assert shape(page_of(nasty)) == shape(page_of(plain))


@pytest.mark.parametrize("said", NASTY)
def test_hostile_text_is_shown_and_not_lost(tmp_path, said):
    folder, _ = build(tmp_path / "run", said)
    shown = "".join(Reading(page_of(folder)).shown)
    assert visible.line(said, 300)[:60].strip() in shown


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(said=texts)
def test_any_text_leaves_the_scripts_as_they_are(tmp_path_factory, said):
    folder, _ = build(tmp_path_factory.mktemp("any") / "run", said)
    text = page_of(folder)
    read = Reading(text)
    kinds = [attributes.get("type") for attributes, _ in read.scripts]
    assert kinds[-1] is None
    assert kinds.count(None) == 1
    for attributes, script in read.scripts[:-1]:
        unpacked(attributes, script)
    assert "\x00" not in text
    assert not re.search("[\ud800-\udfff\u202a-\u202e\u2066-\u2069]", text)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.lists(st.dictionaries(texts, values, max_size=4), max_size=6), head=values)
def test_any_json_in_the_files_makes_a_page(tmp_path_factory, data, head):
    folder = tmp_path_factory.mktemp("json") / "run"
    run = Folder(folder)
    test = run.add()
    (folder / "run.json").write_text(json.dumps(head))
    kinds = ["operation", "line", "report", "fault", "progress", "metric", "read", "restored"]
    sources = ["ota", "uart", "cloud", "delivery", "delivery", "uart", "flash", "ota"]
    lines = [
        json.dumps({"schema": 1, "seq": n, "t": n, "wall": n, "source": sources[n % 8],
                    "kind": kinds[n % 8], "board": None, "data": one})
        for n, one in enumerate(data)
    ]  # fmt: skip
    (test / "events.jsonl").write_text("\n".join(lines))
    (test / "verdict.json").write_text(json.dumps({"verdicts": data}))
    (folder / "results.jsonl").write_text("\n".join(json.dumps(one) for one in data))
    read = Reading(page_of(folder))
    assert read.tags[-1] == "script"


@settings(max_examples=60)
@given(data=st.binary())
def test_any_bytes_as_events_make_a_page(tmp_path_factory, data):
    run = Folder(tmp_path_factory.mktemp("bytes") / "run")
    test = run.add()
    (test / "events.jsonl").write_bytes(data)
    assert Reading(page_of(run.path)).tags[-1] == "script"


@given(data=st.dictionaries(st.text(), values.filter(lambda value: value == value)))
def test_packed_data_comes_back_and_cannot_end_its_element(data):
    try:
        packed, form = columns.pack(data)
    except ValueError:
        return  # NaN inside; columns() lets none through
    assert "<" not in packed
    assert packed.isascii()
    assert unpacked({"data-form": form}, packed) == json.loads(json.dumps(data))


def test_the_page_asks_for_nothing(tmp_path):
    folder, _ = build(tmp_path / "run", "http://example.org/x.js")
    read = Reading(page_of(folder))
    asking = {"link", "img", "iframe", "object", "embed", "base", "form", "video", "audio"}
    assert not asking & set(read.tags)
    assert "src" not in read.attributes
    assert (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'" in html.POLICY
    )


def test_a_very_long_line_is_cut_in_the_page_and_says_so(tmp_path):
    rows = stalled()
    rows[10] = (1.4, "uart", "line", {"text": "y" * 5_000_000})
    run = Folder(tmp_path / "run")
    run.add(rows=rows)
    text = page_of(run.path)
    assert len(text) < 300_000
    (data,) = (unpacked(*one) for one in Reading(text).scripts if "data-form" in one[0])
    assert any(one.endswith("… (+4998000 characters)") for one in data["texts"])


def test_control_characters_become_signs():
    assert visible.line("a\x00b\x1b[31mc\r\nd\te") == "a␀b␛[31mc␍␤d  e"
    assert visible.line("\u202eevil\ud800") == "<U+202E>evil�"
