"""Faults of what is sent: pages in place of the file, other files, changed bytes, chunks, parts."""

from __future__ import annotations

import base64
import hashlib
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_wire import ENDLESS_TIMES, ask, play, wire

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.steps import Fire, Over

DATA = random.Random(7).randbytes(1000)
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
HTML = b"Content-Type: text/html; charset=utf-8\r\n"


def parts(reply):
    head, _, body = wire(reply).partition(b"\r\n\r\n")
    return head.decode(), body


def fields(reply):
    return dict(line.split(": ", 1) for line in parts(reply)[0].split("\r\n")[1:])


def digests(body):
    sha256 = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return {"x-MD5": hashlib.md5(body).hexdigest(), "X-SHA256": sha256}


RIGHT = digests(DATA)


# The whole answer


@pytest.mark.parametrize(("fault", "answered"), [
    (faults.status(503), b"HTTP/1.1 503 Service Unavailable\r\n" + TEXT
     + b"Content-Length: 24\r\n\r\n503 Service Unavailable\n"),
    (faults.status(503, retry_after=9), b"HTTP/1.1 503 Service Unavailable\r\n" + TEXT
     + b"Content-Length: 24\r\nRetry-After: 9\r\n\r\n503 Service Unavailable\n"),
    (faults.status(299), b"HTTP/1.1 299 Status\r\n" + TEXT
     + b"Content-Length: 11\r\n\r\n299 Status\n"),
    (faults.status(200, body="none"), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    (faults.status(204), b"HTTP/1.1 204 No Content\r\n\r\n"),
    (faults.status(204, body="none"), b"HTTP/1.1 204 No Content\r\n\r\n"),
    (faults.status(205, body="none"), b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    (faults.status(205), b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    (faults.status(304), b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    (faults.page("<p>Log in"), b"HTTP/1.1 200 OK\r\n" + HTML
     + b"Content-Length: 9\r\n\r\n<p>Log in"),
    (faults.page(""), b"HTTP/1.1 200 OK\r\n" + HTML + b"Content-Length: 0\r\n\r\n"),
    (faults.redirect(), b"HTTP/1.1 302 Found\r\n" + TEXT
     + b"Content-Length: 10\r\nLocation: http://h/absolute/1\r\n\r\n302 Found\n"),
    (faults.redirect(308, "http://10.0.0.1/x"), b"HTTP/1.1 308 Permanent Redirect\r\n" + TEXT
     + b"Content-Length: 23\r\nLocation: http://10.0.0.1/x\r\n\r\n308 Permanent Redirect\n"),
], ids=lambda one: str(one)[:50])  # fmt: skip
def test_what_stands_in_place_of_the_file_and_what_counts_in_it_does_not_fire(fault, answered):
    hidden = [
        faults.stall("50%"),
        faults.corrupt(),
        faults.reset("3s"),
        faults.drip(),
        faults.cut(),
    ]
    reply = ask(DATA, *hidden, fault, links=lambda to, hop: f"http://h/{to}/{hop}")
    assert wire(reply) == answered
    assert (reply.page, reply.due, reply.later, reply.keep) == (True, {5: 0}, (), True)
    assert reply.announced == len(answered.split(b"\r\n\r\n", 1)[1])


@pytest.mark.parametrize("code", [206, 404, 500, 204])
def test_a_status_with_the_file_is_the_right_answer_but_for_its_first_line(code):
    reply = ask(DATA, faults.status(code, "file"), faults.stall("50%", 1))
    assert wire(reply).split(b"\r\n", 1)[1] == wire(ask(DATA)).split(b"\r\n", 1)[1]
    assert parts(reply)[0].startswith(f"HTTP/1.1 {code} ")
    assert (reply.page, reply.announced, reply.due) == (False, 1000, {0: 0, 1: 500})


def test_a_status_shows_with_the_first_line_and_a_page_with_the_whole_head():
    assert play(ask(DATA, faults.status(404))).fired == {0: 0}
    seen = play(ask(DATA, faults.page(), faults.stall("status")))
    assert (seen.fired, seen.end) == ({1: 17}, "hold")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_garbage_is_neither_head_nor_file_and_ends_the_connection(method):
    others = [faults.slow_headers(), faults.header("X-A", "b"), faults.http_version("1.0"),
              faults.encoding(), faults.chunked(), faults.stall("status"),
              faults.corrupt()]  # fmt: skip
    reply = ask(DATA, *others, faults.garbage(20, seed=4), method=method)
    assert wire(reply) == random.Random(4).randbytes(20)
    assert (reply.status, reply.announced, reply.keep, reply.page) == (0, None, False, True)
    assert reply.due == {7: 0}
    late = ask(DATA, faults.latency(2), faults.garbage())
    assert play(late).story == ["Fire", "Hold", "Over", "Fire", "Send"]


def test_the_first_whole_answer_of_the_list_stands():
    reply = ask(DATA, faults.page(), faults.status(404), faults.redirect())
    assert (reply.status, reply.due) == (200, {0: 0})


def test_redirects_follow_each_other_until_the_file_comes():
    fault = faults.redirect(307, "relative", hops=2)
    replies = [ask(DATA, fault, hop=hop, links=lambda to, hop: f"{to}-{hop}") for hop in (0, 1, 2)]
    assert [reply.status for reply in replies] == [307, 307, 200]
    assert [fields(reply).get("Location") for reply in replies] == [
        "relative-1",
        "relative-2",
        None,
    ]
    assert replies[2].due == {}


def test_a_loop_leads_to_itself_from_wherever_it_is():
    replies = [ask(DATA, faults.redirect(to="loop"), hop=hop) for hop in (0, 7)]
    assert [fields(reply)["Location"] for reply in replies] == ["?hop=0", "?hop=7"]


# Another file


def test_another_file_comes_with_its_own_digests_and_etag():
    other = random.Random(8).randbytes(700)
    reply = ask(DATA, faults.other("b.bin"), others={"b.bin": other})
    assert wire(reply) == wire(ask(other)) == wire(reply)
    assert (reply.due, reply.page) == ({0: 0}, False)


@pytest.mark.parametrize(("fault", "body"), [
    (faults.cut("50%"), DATA[:500]), (faults.cut("50%", 100), DATA[:500] + DATA[600:]),
    (faults.cut(0), b""), (faults.cut("last 1"), DATA[:-1]), (faults.cut(0, 24), DATA[24:]),
    (faults.pad(50, "counted", seed=3), DATA + random.Random(3).randbytes(50)),
], ids=str)  # fmt: skip
def test_a_file_that_was_cut_or_padded_agrees_with_its_headers(fault, body):
    reply = ask(DATA, fault)
    assert parts(reply)[1] == body
    assert fields(reply).items() >= {"Content-Length": str(len(body)), **digests(body)}.items()
    assert (reply.due, reply.keep) == ({0: 0}, True)


def test_offsets_count_in_the_file_that_was_cut():
    assert ask(DATA, faults.cut("50%"), faults.stall("50%")).due == {0: 0, 1: 250}
    reply = ask(DATA, faults.cut("50%"), faults.corrupt("50%"), headers={"range": "bytes=200-299"})
    assert reply.part == (200, 300, 500)
    assert [n for n in range(100) if reply.body[n] != DATA[200 + n]] == [50]


@pytest.mark.parametrize(("name", "wbits"), [("gzip", 31), ("deflate", 15)])
def test_a_compressed_body_unpacks_to_the_file_and_has_its_digests(name, wbits):
    reply = ask(DATA * 4, faults.encoding(name), faults.stall("50%", 1))
    head, body = fields(reply), parts(reply)[1]
    assert zlib.decompress(body, wbits) == DATA * 4
    assert len(body) < 4000
    assert head.items() >= {"Content-Encoding": name, **digests(DATA * 4)}.items()
    assert head["Content-Length"] == str(len(body))
    assert head["ETag"].endswith(f'-{name}"')
    assert reply.due == {0: 0, 1: len(body) // 2}


def test_a_page_is_compressed_as_well():
    reply = ask(DATA, faults.page("hello"), faults.encoding())
    assert zlib.decompress(parts(reply)[1], 31) == b"hello"
    assert reply.due == {0: 0, 1: 0}


# Bytes at the same length


@pytest.mark.parametrize(("fault", "body", "fired", "over"), [
    (faults.zero("50%", 100), DATA[:500] + bytes(100) + DATA[600:], 501, 600),
    (faults.swap(100, 50), DATA[:100] + DATA[150:200] + DATA[100:150] + DATA[200:], 101, 200),
    (faults.repeat(100, 50), DATA[:150] + DATA[100:150] + DATA[150:-50], 151, 1000),
], ids=str)  # fmt: skip
def test_changed_bytes_are_the_ones_that_were_asked_for(fault, body, fired, over):
    reply = ask(DATA, fault)
    assert parts(reply)[1] == body
    assert fields(reply).items() >= {"Content-Length": "1000", **RIGHT}.items()
    seen = play(reply)
    assert seen.sent == {0: fired}
    assert seen.over[0] - len(seen.head) == over
    assert reply.due == {0: fired}


@given(st.integers(0, 999), st.none() | st.integers(1, 1000), st.integers(0, 2**32))
def test_scrambled_is_each_byte_of_the_stretch_and_no_other(at, count, seed):
    fault = faults.scramble(at, count, seed)
    stop = 1000 if count is None else at + count
    reply = ask(DATA, fault)
    if stop > 1000:
        assert reply.body is DATA or bytes(reply.body) == DATA
        assert reply.due == {}
        return
    changed = [n for n in range(1000) if reply.body[n] != DATA[n]]
    assert changed == list(range(at, stop))
    assert bytes(ask(DATA, fault, attempt=2).body) == bytes(reply.body)


@given(st.integers(1, 9), st.integers(0, 2**32), st.integers(0, 900))
def test_corrupt_is_one_bit_of_each_said_byte_and_the_same_each_time(flips, seed, at):
    fault = faults.corrupt(at=at, flips=flips, seed=seed)
    reply = ask(DATA, fault)
    changed = [place for place in range(1000) if reply.body[place] != DATA[place]]
    assert (len(changed), changed[0]) == (flips, at)
    assert all((reply.body[place] ^ DATA[place]).bit_count() == 1 for place in changed)
    assert bytes(ask(DATA, fault, attempt=2).body) == bytes(reply.body)
    fire, over = (step for step in reply.steps if isinstance(step, Fire | Over))
    assert (fire.at, fire.more, over.due) == (at, {"offsets": changed}, fire.due)
    seen = play(reply)
    assert (seen.sent[0], seen.over[0] - len(seen.head)) == (at + 1, changed[-1] + 1)


def test_finer_changes_come_last_so_that_none_is_moved_away():
    listed = [faults.corrupt(700), faults.zero(600, 10), faults.repeat(100, 50)]
    body = parts(ask(DATA, *listed))[1]
    moved = DATA[:150] + DATA[100:150] + DATA[150:-50]
    assert body[600:610] == bytes(10)
    assert [n for n in range(1000) if body[n] != moved[n] and not 600 <= n < 610] == [700]


def test_zeros_that_are_zero_already_do_not_fire():
    reply = ask(bytes(100), faults.zero(0, 10), faults.swap(0, 10), faults.repeat(0, 10))
    assert reply.due == {}
    assert play(ask(b"\0\0a\0", faults.zero(0, 4))).sent == {0: 3}


def test_bytes_beyond_the_length_come_last_and_fire_when_the_file_is_out():
    reply = ask(DATA, faults.pad(20, seed=4))
    assert wire(reply) == wire(ask(DATA)) + random.Random(4).randbytes(20)
    assert (reply.announced, len(reply.body), reply.due) == (1000, 1000, {0: 1000})
    assert play(reply).story == ["Say", "Send", "Fire", "Say"]


# Chunks


def chunked(body, *sizes):
    rows, at = [], 0
    for size in sizes:
        rows += [b"%x\r\n" % size, body[at : at + size], b"\r\n"]
        at += size
    return b"".join(rows)


@pytest.mark.parametrize(("fault", "body"), [
    (faults.chunked(400), chunked(DATA, 400, 400, 200) + b"0\r\n\r\n"),
    (faults.chunked(500), chunked(DATA, 500, 500) + b"0\r\n\r\n"),
    (faults.chunked(400, "with-length"), chunked(DATA, 400, 400, 200) + b"0\r\n\r\n"),
    (faults.chunked(400, "unfinished"), chunked(DATA, 400, 400, 200)),
    (faults.chunked(400, "malformed"), chunked(DATA, 400, 100)
     + b"no-size\r\n" + DATA[500:800] + b"\r\nc8\r\n" + DATA[800:] + b"\r\n0\r\n\r\n"),
    (faults.chunked(400, "endless"), chunked(DATA, 400, 400, 200)
     + (b"190\r\n" + DATA[:400] + b"\r\n") * ENDLESS_TIMES),
], ids=str)  # fmt: skip
def test_chunks_are_framed_as_it_was_asked_for(fault, body):
    reply = ask(DATA, fault)
    head = fields(reply)
    assert parts(reply)[1] == body
    assert head["Transfer-Encoding"] == "chunked"
    assert head.get("Content-Length") == ("1000" if fault.values["how"] == "with-length" else None)
    assert (reply.announced, reply.due, len(reply.body)) == (None, {0: 0}, 1000)
    assert reply.whole is (fault.values["how"] != "unfinished")


@pytest.mark.parametrize(("how", "body"), [
    ("valid", b"0\r\n\r\n"), ("unfinished", b""), ("malformed", b"no-size\r\n0\r\n\r\n"),
    ("endless", b"1\r\n\0\r\n" * ENDLESS_TIMES),
])  # fmt: skip
def test_an_empty_body_has_chunks_too(how, body):
    assert parts(ask(DATA, faults.chunked(how=how), faults.cut(0)))[1] == body


def test_a_stall_in_a_chunk_has_its_size_line_and_one_between_two_has_not():
    head = len(parts(ask(DATA, faults.chunked(400)))[0]) + 4
    said = [wire(ask(DATA, faults.chunked(400), faults.stall(at)))[head:] for at in (399, 400, 401)]
    assert said[0] == b"190\r\n" + DATA[:399]
    assert said[1] == b"190\r\n" + DATA[:400] + b"\r\n"
    assert said[2] == b"190\r\n" + DATA[:400] + b"\r\n190\r\n" + DATA[400:401]


def test_so_many_chunks_that_their_frames_fill_the_memory_are_not_made():
    reply = ask(bytes(16_385), faults.chunked(1))
    assert (reply.due, reply.announced) == ({}, 16_385)
    assert ask(bytes(16_384), faults.chunked(1)).due == {0: 0}


# Parts


@pytest.mark.parametrize(("how", "asked", "says", "part", "body"), [
    ("shifted", "bytes=10-19", "9-18/1000", (9, 19, 1000), DATA[9:19]),
    ("shifted", "bytes=0-9", "1-10/1000", (1, 11, 1000), DATA[1:11]),
    ("shifted", "bytes=0-", "1-999/1000", (1, 1000, 1000), DATA[1:]),
    ("repeated", "bytes=10-19", "10-19/1000", (10, 20, 1000), DATA[:10]),
    ("short", "bytes=10-19", "10-14/1000", (10, 15, 1000), DATA[10:15]),
    ("wrong-total", "bytes=10-19", "10-19/1001", (10, 20, 1001), DATA[10:20]),
])  # fmt: skip
def test_another_part_is_sent_than_was_asked_for(how, asked, says, part, body):
    reply = ask(DATA, faults.ranges(how), headers={"range": asked})
    assert (reply.status, reply.part, bytes(reply.body)) == (206, part, body)
    assert fields(reply).items() >= {
        "Content-Range": f"bytes {says}", "Content-Length": str(len(body))
    }.items()  # fmt: skip
    assert (reply.due, play(reply).fired) == ({0: 0}, {0: len(parts(reply)[0]) + 4})


def test_a_range_is_ignored_or_refused():
    ignored = ask(DATA, faults.ranges("ignored"), headers={"range": "bytes=10-"})
    assert wire(ignored) == wire(ask(DATA)).replace(b"Accept-Ranges: bytes\r\n", b"")
    refused = ask(DATA, faults.ranges("refused"), faults.corrupt(), headers={"range": "bytes=10-"})
    assert (refused.status, fields(refused)["Content-Range"]) == (416, "bytes */1000")
    assert refused.due == {0: 0}


@pytest.mark.parametrize(("how", "headers"), [
    ("ignored", {}), ("refused", {"range": "bytes=5-4"}), ("refused", {"range": "bytes=1000-"}),
    ("repeated", {"range": "bytes=0-9"}), ("short", {"range": "bytes=9-9"}),
    ("shifted", {"range": "bytes=5-", "if-range": '"other"'}),
])  # fmt: skip
def test_without_a_range_that_it_can_spoil_no_fault_of_ranges_is_due(how, headers):
    reply = ask(DATA, faults.ranges(how), headers=headers)
    assert (reply.due, wire(reply)) == ({}, wire(ask(DATA, headers=headers)))


def test_a_part_is_changed_where_it_holds_changed_bytes_and_else_the_fault_is_not_due():
    listed = [faults.zero(100, 50), faults.corrupt(500), faults.pad(5)]
    reply = ask(DATA, *listed, headers={"range": "bytes=120-399"})
    assert bytes(reply.body) == bytes(30) + DATA[150:400]
    assert play(reply).sent == reply.due == {0: 1}
    reply = ask(DATA, *listed, headers={"range": "bytes=400-"})
    assert reply.due == {1: 101, 2: 600}
    assert wire(reply).endswith(DATA[501:] + random.Random(0).randbytes(5))


def test_flips_of_a_part_are_those_that_it_holds():
    whole = ask(DATA, faults.corrupt(100, flips=9, seed=1))
    places = next(step for step in whole.steps if isinstance(step, Fire)).more["offsets"]
    start, stop = places[3], places[6]
    part = ask(
        DATA, faults.corrupt(100, flips=9, seed=1), headers={"range": f"bytes={start}-{stop}"}
    )
    fire = next(step for step in part.steps if isinstance(step, Fire))
    assert fire.more == {"offsets": [place - start for place in places[3:7]]}
