"""Each kind of fault, as the bytes that a bare socket receives.

What stands at once is in a table of whole answers, byte for byte; what takes its time or ends in an
unusual way has a test of its own, named after its kind. TLS and unreachable ports:
``test_delivery_tls.py``, ``test_delivery_vanish.py``.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
import socket
import time
import zlib
from http import HTTPStatus
from pathlib import Path

import pytest

from pytest_blynk_ota.delivery import faults, filters
from pytest_blynk_ota.delivery.kinds import DIGESTS, KINDS, TLS_WAYS

SIZE = 10_000
DATA = random.Random(11).randbytes(SIZE)
MD5 = hashlib.md5(DATA).hexdigest()
SHA = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
ETAG = hashlib.sha256(DATA).hexdigest()[:32]
PROMPT_S = 1.0

FIELDS = (
    ("Content-Type", "application/octet-stream"), ("Content-Length", str(SIZE)),
    ("ETag", f'"{ETAG}"'), ("Accept-Ranges", "bytes"), ("x-MD5", MD5), ("X-SHA256", SHA),
    ("Connection", "close"),
)  # fmt: skip


def head(status="200 OK", fields=FIELDS, version="1.1", **changes):
    """A head without its Date; a change to None leaves a field out."""
    wanted = {name.replace("-", "_"): (name, value) for name, value in fields}
    for name, value in changes.items():
        wanted[name] = (wanted.get(name, (name.replace("_", "-"),))[0], value)
    rows = [f"{name}: {value}" for name, value in wanted.values() if value is not None]
    return "\r\n".join([f"HTTP/{version} {status}", *rows, "", ""]).encode()


def page(status, text, kind="text/plain; charset=utf-8", **more):
    fields = ("Content-Type", kind), ("Content-Length", str(len(text))), ("Connection", "close")
    return head(status, fields, **more) + text


def ask(bench, *texts, headers="", data=DATA, close=True, method="GET", **options):
    """A device that has asked for a file with these faults."""
    listed = [faults.parse(text) for text in texts]
    device = bench.device(bench.offer(data, *listed, **options).offer("o1"))
    headers += "Connection: close\r\n" if close else ""
    request = f"{method} {device.target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"
    device.socket.sendall(request.encode())
    return device


def everything(device):
    """All bytes until the end, without the Date, and how it ended."""
    data = b""
    try:
        while chunk := device.socket.recv(65536):
            data += chunk
    except ConnectionResetError:
        return undated(data), "rst"
    return undated(data), "fin"


def undated(data):
    return re.sub(rb"(?m)^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", b"", data, count=1)


def received(device, size):
    """Exactly so many bytes of the body, and that no other comes."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += device.socket.recv(65536)
    body = data.partition(b"\r\n\r\n")[2]
    while len(body) < size:
        body += device.socket.recv(65536)
    silent(device)
    return body


def silent(device, seconds=0.15):
    device.socket.settimeout(seconds)
    with pytest.raises(TimeoutError):
        device.socket.recv(1)
    device.socket.settimeout(10)


def chunks(data, size, last=True):
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return framed + (b"0\r\n\r\n" if last else b"")


def chunked(body, **changes):
    """A head with Transfer-Encoding where Content-Length stood."""
    fields = [(("Transfer-Encoding", "chunked") if name == "Content-Length" else (name, value))
              for name, value in FIELDS]  # fmt: skip
    return head(fields=fields, **changes) + body


def other_file(data, **changes):
    """The answer with another file, whose headers agree with it."""
    return (
        head(
            Content_Length=str(len(data)),
            ETag=f'"{hashlib.sha256(data).hexdigest()[:32]}"',
            x_MD5=hashlib.md5(data).hexdigest(),
            X_SHA256=base64.b64encode(hashlib.sha256(data).digest()).decode(),
            **changes,
        )
        + data
    )


ANSWERS = {
    "status 404": page("404 Not Found", b"404 Not Found\n"),
    "status 299": page("299 Status", b"299 Status\n"),
    "status 204": head("204 No Content", [("Connection", "close")]),
    "status 304": head("304 Not Modified", [("Connection", "close")]),
    "status 500 body=none": head(
        "500 Internal Server Error", [("Content-Length", "0"), ("Connection", "close")]),
    "status 500 body=file": head("500 Internal Server Error") + DATA,
    "page text=<b>hi</b>": page("200 OK", b"<b>hi</b>", "text/html; charset=utf-8"),
    "header name=X-New value=1": head(X_New="1") + DATA,
    'header name=content-length value="9 9"': head(Content_Length="9 9").replace(
        b"Content-Length", b"content-length") + DATA,
    "drop_header X-SHA256": head(X_SHA256=None) + DATA,
    "drop_header content-length": head(Content_Length=None) + DATA,
    "double_header Content-Length": head().replace(
        b"Content-Length: 10000\r\n", b"Content-Length: 10000\r\n" * 2) + DATA,
    "double_header Content-Length value=7": head().replace(
        b"h: 10000\r\n", b"h: 10000\r\nContent-Length: 7\r\n") + DATA,
    "length 0": head(Content_Length="0") + DATA,
    "length -1": head(Content_Length="-1") + DATA,
    "length ten": head(Content_Length="ten") + DATA,
    "length huge": head(Content_Length="5000000000") + DATA,
    "length missing": head(Content_Length=None) + DATA,
    "length off=100": head(Content_Length="10100") + DATA,
    "length off=-100": head(Content_Length="9900") + DATA,
    "digest missing": head(X_SHA256=None) + DATA,
    "digest short": head(X_SHA256=SHA[:-1]) + DATA,
    "digest long": head(X_SHA256=SHA + SHA[0]) + DATA,
    "digest upper": head(X_SHA256=SHA.upper()) + DATA,
    "digest quoted": head(X_SHA256=f'"{SHA}"') + DATA,
    "digest upper header=x-MD5": head(x_MD5=MD5.upper()) + DATA,
    "digest missing header=x-md5": head(x_MD5=None) + DATA,
    "http_version 0.9": DATA,
    "http_version 1.0": head(version="1.0") + DATA,
    "http_version 2.0": head(version="2.0") + DATA,
    "pad_headers 10 count=2": head(X_Pad_1="p" * 10, X_Pad_2="p" * 10) + DATA,
    "early 100": b"HTTP/1.1 100 Continue\r\n\r\n" + head() + DATA,
    "early 103 count=3": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + head() + DATA,
    "connection keep-alive": head(Connection="keep-alive") + DATA,
    "connection nothing": head(Connection=None) + DATA,
    "chunked 3000": chunked(chunks(DATA, 3000)),
    "chunked 3000 how=unfinished": chunked(chunks(DATA, 3000, last=False)),
    "chunked 3000 how=with-length": head(Content_Length="10000\r\nTransfer-Encoding: chunked")
        + chunks(DATA, 3000),
    "chunked 4000 how=malformed": chunked(
        chunks(DATA[:4000], 4000, False) + chunks(DATA[4000:5000], 4000, False)
        + b"no-size\r\n" + DATA[5000:8000] + b"\r\n" + chunks(DATA[8000:], 4000)),
    "etag missing": head(ETag=None) + DATA,
    "etag weak": head(ETag=f'W/"{ETAG}"') + DATA,
    "zero 100 bytes=50": head() + DATA[:100] + bytes(50) + DATA[150:],
    "swap 100 bytes=50": head() + DATA[:100] + DATA[150:200] + DATA[100:150] + DATA[200:],
    "repeat 100 bytes=50": head() + DATA[:150] + DATA[100:150] + DATA[150:-50],
    "cut 100 bytes=50": other_file(DATA[:100] + DATA[150:]),
    "cut last 100": other_file(DATA[:-100]),
    "truncate request": b"",
    "truncate status": b"HTTP/1.1 200 OK\r\n",
    "truncate headers": head(),
    "truncate 1234": head() + DATA[:1234],
    "truncate last 1": head() + DATA[:-1],
}  # fmt: skip
"""Text of a fault: all bytes until FIN."""


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_exactly_these_bytes_and_then_fin(bench, text):
    assert everything(ask(bench, text)) == (ANSWERS[text], "fin")
    fired = bench.wait("fault", phase="fired").data
    assert fired["fault"] == str(faults.parse(text))


def part(body, says, length=None):
    """A 206; ``says``: its Content-Range."""
    fields = [(*FIELDS[0],), ("Content-Length", str(length or len(body))), ("Content-Range", says)]
    return head("206 Partial Content", [*fields, *FIELDS[2:]]) + body


RANGES = {
    "truncate 500": part(DATA[1000:2000], "bytes 1000-1999/10000"),
    "ranges ignored": head(Accept_Ranges=None) + DATA,
    "ranges shifted": part(DATA[999:1999], "bytes 999-1998/10000"),
    "ranges repeated": part(DATA[:1000], "bytes 1000-1999/10000"),
    "ranges short": part(DATA[1000:1500], "bytes 1000-1499/10000"),
    "ranges wrong-total": part(DATA[1000:2000], "bytes 1000-1999/10001"),
    "truncate 1500": part(DATA[1000:1500], "bytes 1000-1999/10000", 1000),
    "zero 1100 bytes=50": part(
        DATA[1000:1100] + bytes(50) + DATA[1150:2000], "bytes 1000-1999/10000"),
    "ranges refused": head(
        f"416 {HTTPStatus(416).phrase}",
        [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "26"),
         ("Content-Range", "bytes */10000"), ("Connection", "close")],
    ) + b"416 Range Not Satisfiable\n",
}  # fmt: skip
"""Text of a fault: the answer to a request for bytes 1000 to 1999."""


@pytest.mark.parametrize("text", RANGES)
def test_a_part_is_exactly_these_bytes(bench, text):
    device = ask(bench, text, headers="Range: bytes=1000-1999\r\n")
    assert everything(device) == (RANGES[text], "fin")


def digest_of(answer, name):
    return re.search(rf"(?m)^{name}: (.*)\r$".encode(), answer)[1].decode()


def differ(one, other):
    """For each half whether two digests differ in it."""
    middle = len(one) // 2
    return one[:middle] != other[:middle], one[middle:] != other[middle:]


@pytest.mark.parametrize(("how", "halves"), [
    ("wrong", (True, True)), ("first-half", (True, False)), ("last-half", (False, True)),
    ("text", (True, True)),
])  # fmt: skip
def test_digest_is_wrong_in_the_half_asked_for_and_nothing_else_is(bench, how, halves):
    answer, _ = everything(ask(bench, f"digest {how}"))
    said = digest_of(answer, "X-SHA256")
    right = hashlib.sha256(DATA).digest()
    if how == "text":
        with pytest.raises(ValueError, match=r"(?i)base64|non-|padding|characters"):
            base64.b64decode(said, validate=True)
    else:
        assert differ(base64.b64decode(said, validate=True), right) == halves
    assert answer == head(X_SHA256=said) + DATA
    told = digest_of(everything(ask(bench, f"digest {how} header=x-MD5"))[0], "x-MD5")
    assert (len(told), differ(told, MD5)) == (32, halves)


def test_etag_is_another_in_each_answer(bench):
    campaign = bench.offer(DATA, faults.etag("changes"))
    url = campaign.offer("o1")
    told = [bench.get(url).headers["ETag"] for _ in range(3)]
    assert len(set(told)) == 3


@pytest.mark.parametrize(("name", "wbits"), [("gzip", 31), ("deflate", 15)])
def test_encoding_compresses_the_body_asked_or_not(bench, name, wbits):
    answer, ended = everything(ask(bench, f"encoding {name}"))
    packed = answer.partition(b"\r\n\r\n")[2]
    assert (zlib.decompress(packed, wbits), ended) == (DATA, "fin")
    assert f"\r\nContent-Encoding: {name}\r\nETag" in answer.decode("latin-1")
    assert f"\r\nContent-Length: {len(packed)}\r\n".encode() in answer


def test_corrupt_flips_one_bit_in_as_many_bytes_as_asked(bench):
    answer, _ = everything(ask(bench, "corrupt 5000 flips=3 seed=4"))
    body = answer.removeprefix(head())
    changed = {at: body[at] ^ DATA[at] for at in range(SIZE) if body[at] != DATA[at]}
    assert min(changed) == 5000
    assert [bits.bit_count() for bits in changed.values()] == [1, 1, 1]


@pytest.mark.parametrize(("text", "first", "stop"), [
    ("scramble 100 bytes=200 seed=3", 100, 300), ("scramble last 400", 9600, SIZE),
])  # fmt: skip
def test_scramble_puts_random_bytes_there_and_nowhere_else(bench, text, first, stop):
    answer, _ = everything(ask(bench, text))
    body = answer.removeprefix(head())
    assert (body[:first], body[stop:]) == (DATA[:first], DATA[stop:])
    assert sum(a != b for a, b in zip(body[first:stop], DATA[first:stop], strict=True)) > 150
    assert everything(ask(bench, text))[0] == answer


@pytest.mark.parametrize("how", ["beyond", "counted"])
def test_pad_adds_random_bytes_behind_the_file(bench, how):
    answer, ended = everything(ask(bench, f"pad 77 how={how}"))
    body = answer.partition(b"\r\n\r\n")[2]
    assert (body[:SIZE], len(body), ended) == (DATA, SIZE + 77, "fin")
    assert answer == (head() + body if how == "beyond" else other_file(body))


def test_other_is_another_file_whose_headers_agree(bench, tmp_path):
    path = tmp_path / "other.bin"
    path.write_bytes(DATA[::-1])
    assert everything(ask(bench, f"other path={path}")) == (other_file(DATA[::-1]), "fin")


def test_garbage_is_no_http_and_then_fin(bench):
    answer, ended = everything(ask(bench, "garbage 64 seed=2"))
    assert (len(answer), ended) == (64, "fin")
    assert not answer.startswith(b"HTTP")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["absolute", "relative", "other-host"])
def test_redirect_leads_to_the_file(bench, code, to):
    device = ask(bench, f"redirect {code} to={to} hops=2")
    address = device.socket.getpeername()
    for _ in range(2):
        answer, _ = everything(device)
        assert answer.startswith(f"HTTP/1.1 {code} ".encode())
        location = re.search(rb"(?m)^Location: (.*)\r$", answer)[1].decode()
        assert location.startswith("/" if to == "relative" else "http://127.0.0.")
        if to == "relative":
            location = f"http://{address[0]}:{address[1]}{location}"
        device = bench.device(location).request(Connection="close")
    assert device.read().body == DATA
    peer = device.socket.getpeername()
    assert (peer == address) == (to != "other-host")


def test_redirect_in_a_loop_leads_to_itself(bench):
    listed = [faults.redirect(302, to="loop")]
    url = bench.server.campaign(None, DATA, name="new.bin", faults=listed).offer("o1")
    assert [bench.get(url).headers["Location"] for _ in range(3)] == [url] * 3


def test_redirect_to_a_url_names_that_url(bench):
    answer, _ = everything(ask(bench, "redirect 302 to=http://192.0.2.1/x?y=1"))
    assert b"\r\nLocation: http://192.0.2.1/x?y=1\r\n" in answer


@pytest.mark.parametrize("kept", ["close", "stay"])
def test_connection_says_one_thing_and_does_the_other(bench, kept):
    says = "keep-alive" if kept == "close" else "close"
    device = ask(bench, f"connection {says} then={kept}", close=False)
    assert device.read().headers["Connection"] == says
    if kept == "close":
        assert device.socket.recv(1) == b""
    else:
        assert device.request().read().body == DATA


def test_chunked_without_an_end_goes_on_until_the_device_goes(bench):
    device = ask(bench, "chunked 100 how=endless")
    data = b""
    while len(data) < 40 * SIZE:
        data += device.socket.recv(65536)
    framed = data.partition(b"\r\n\r\n")[2]
    again = b"64\r\n" + DATA[:100] + b"\r\n"
    whole = chunks(DATA, 100, last=False)
    assert framed.startswith(whole + again * 100)
    device.close()
    assert bench.wait("ended").data["by"] == "device"


# Time.


@pytest.mark.parametrize(("after", "sent"), [
    ("request", b""), ("status", b"HTTP/1.1 200 OK\r\n"), ("headers", head()), ("0", head()),
    ("1", head() + DATA[:1]), ("33.3%", head() + DATA[:3330]), ("last 1", head() + DATA[:-1]),
    ("100%", head() + DATA),
])  # fmt: skip
def test_stall_comes_behind_exactly_these_bytes(bench, after, sent):
    device = ask(bench, f"stall {after}")
    bench.wait("fault", phase="fired")
    data = b""
    while len(undated(data)) < len(sent):
        data += device.socket.recv(65536)
    silent(device)
    assert undated(data) == sent
    device.close()
    assert bench.wait("fault", phase="over")


def test_stall_by_the_clock_and_for_a_time(bench):
    device = ask(bench, "bandwidth 1000", "stall 5s seconds=10")  # at 0.25 s, for 0.5 s
    answer, ended = everything(device)
    assert (answer, ended) == (head() + DATA, "fin")
    stall = bench.wait("fault", phase="fired", index=1)
    over = bench.wait("fault", phase="over", index=1)
    assert 0.49 <= over.t - stall.t < 0.49 + PROMPT_S
    assert 0 < stall.data["at"] < SIZE
    assert stall.data["at"] == over.data["at"]


def test_latency_comes_before_the_first_byte(bench):
    begun = time.monotonic()
    device = ask(bench, "latency 6")  # 0.3 s
    device.socket.recv(1, socket.MSG_PEEK)
    assert 0.3 <= time.monotonic() - begun < 0.3 + PROMPT_S
    assert everything(device) == (head() + DATA, "fin")


def rhythm(device, until):
    """The time and size of each piece that came."""
    rows, size = [], 0
    while size < until:
        piece = device.socket.recv(65536)
        size += len(piece)
        rows.append((time.monotonic(), len(piece)))
    return rows


def none_early(rows, begun, pieces, size, each_s):
    """Whether none of the last pieces came before its time. A reader that is late reads several
    at once, so their number says nothing."""
    fast, total = sum(one for _, one in rows) - pieces * size, 0
    for at, piece in rows:
        total += piece
        whole = (total - fast) // size
        if whole > 0 and ((total - fast) % size or at - begun < 0.9 * (whole - 1) * each_s):
            return False
    return True


def test_drip_comes_byte_by_byte_at_its_rate(bench):
    begun = time.monotonic()
    device = ask(bench, "drip 2 after=last 20")  # a byte each 25 ms
    rows = rhythm(device, len(head()) + 37 + SIZE)  # 37: the Date
    assert none_early(rows, begun, 20, 1, 0.025)
    assert 0.44 <= rows[-1][0] - begun < 0.44 + PROMPT_S


def test_bandwidth_comes_at_its_rate(bench):
    begun = time.monotonic()
    assert everything(ask(bench, "bandwidth 1000 jitter=0.5")) == (head() + DATA, "fin")
    assert 0.49 <= time.monotonic() - begun < 0.49 + PROMPT_S


def test_segments_come_in_pieces_of_their_size(bench):
    begun = time.monotonic()
    device = ask(bench, "segments 2500 gap=1")  # 50 ms
    rows = rhythm(device, len(head()) + 37 + SIZE)
    assert none_early(rows, begun, 3, 2500, 0.05)
    assert 0.09 <= rows[-1][0] - begun < 0.19 + PROMPT_S


def test_slow_headers_come_byte_by_byte_and_the_body_at_once(bench):
    begun = time.monotonic()
    device = ask(bench, "slow_headers 50", data=DATA[:10])  # 1 ms each
    rows = rhythm(device, 300)
    came = 0
    for at, size in rows[:-1]:
        came += size
        assert came <= 2 + (at - begun) / 0.0009
    assert time.monotonic() - begun > 0.25
    bench.wait("ended", how="complete")


@pytest.mark.parametrize(("at", "first"), [
    ("in-status", rb"HTTP/1\.1 2"), ("before-length", rb"HTTP/1.1 200 OK\r\n(.|\s)*-stream\r\n"),
    ("in-length", rb"(.|\s)*Content-Length: 10"), ("before-end", rb"(.|\s)*Connection: close\r\n"),
])  # fmt: skip
def test_split_headers_come_in_two_segments_cut_there(bench, at, first):
    device = ask(bench, f"split_headers {at} gap=3")  # 150 ms
    begun = device.socket.recv(65536)
    told = time.monotonic()
    assert re.fullmatch(first, begun)
    rest = device.socket.recv(65536)
    assert 0.14 <= time.monotonic() - told < 0.14 + PROMPT_S
    more, _ = everything(device)
    assert undated(begun + rest + more) == head() + DATA


# Ends.


@pytest.mark.parametrize(("after", "sent"), [
    ("request", b""), ("status", b"HTTP/1.1 200 OK\r\n"), ("0", head()),
    ("1234", head() + DATA[:1234]), ("100%", head() + DATA),
])  # fmt: skip
def test_reset_loses_no_byte_before_it(bench, after, sent):
    assert everything(ask(bench, f"reset {after}")) == (sent, "rst")


@pytest.mark.parametrize("end", ["truncate", "reset", "half_close"])
def test_truncate_reset_and_half_close_come_by_the_clock(bench, end):
    begun = time.monotonic()
    answer, ended = everything(ask(bench, "bandwidth 2000", f"{end} 2s"))  # 0.1 s
    assert 0.1 <= time.monotonic() - begun < 0.1 + PROMPT_S
    assert ended == ("rst" if end == "reset" else "fin")
    body = answer.removeprefix(head())
    assert DATA.startswith(body)
    assert bench.wait("fault", phase="fired", index=1).data["at"] == len(body)
    assert 0 < len(body) < SIZE


def test_half_close_is_a_fin_behind_which_the_server_listens(bench):
    device = ask(bench, "half_close 100")
    assert everything(device) == (head() + DATA[:100], "fin")
    for _ in range(3):
        device.socket.sendall(b"anybody there?")
    device.close()
    assert bench.wait("ended").data["how"] == "half"


@pytest.mark.skipif(filters.unavailable() is not None, reason="no silence on this host")
@pytest.mark.parametrize(("after", "size"), [("request", None), ("0", 0), ("500", 500)])
def test_vanish_is_silence_to_whatever_the_device_says(bench, after, size):
    device = ask(bench, f"vanish {after}")
    bench.wait("fault", phase="fired")
    if size is None:
        silent(device)
    else:
        assert received(device, size) == DATA[:size]
    device.socket.sendall(b"are you there?")
    assert bench.wait("ended").data["how"] == "vanish"
    silent(device)


@pytest.mark.parametrize(("how", "ended"), [
    ("record-cut", "UNEXPECTED_EOF_WHILE_READING"),
    ("bad-record", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
])  # fmt: skip
def test_tls_records_break_behind_exactly_these_bytes(bench, how, ended):
    campaign = bench.offer(DATA, faults.tls(how, after=4321), https=True)
    got = bench.device(campaign.offer("o1")).request().read()
    assert (got.body, got.ended) == (DATA[:4321], ended)


def test_tls_without_close_notify_ends_by_fin_alone(bench):
    campaign = bench.offer(DATA, faults.tls("no-close-notify", after=4321), https=True)
    got = bench.device(campaign.offer("o1")).request().read()
    assert (got.body, got.ended) == (DATA[:4321], "UNEXPECTED_EOF_WHILE_READING")


# When.


def test_clauses_choose_the_requests(bench):
    listed = [faults.parse(text) for text in (
        "status 501 on attempt 2", "status 502 on first 1", "status 503 on every 3",
        "status 504 on board c3-a with header X-Try=4", "status 505 on board other",
        "status 506 times 1 with header X-Once",
    )]  # fmt: skip
    campaign = bench.offer(DATA, *listed)
    urls = [campaign.offer(f"o{n}") for n in range(1, 5)]
    assert [bench.get(url).status for url in urls] == [502, 501, 503, 200]
    assert bench.get(urls[3], X_Try="4").status == 504
    assert [bench.get(urls[3], X_Once="").status for _ in range(3)] == [506, 200, 200]


def test_events_begin_and_end_a_fault(bench):
    listed = [faults.parse("status 503 from offline until login")]
    campaign = bench.offer(DATA, *listed)
    url, told = campaign.offer("o1"), []
    for event in (None, "offline", "login"):
        if event:
            campaign.saw(event)
        told.append(bench.get(url).status)
    assert told == [200, 503, 200]


def test_a_stall_until_an_event_goes_on_then(bench):
    listed = [faults.parse("stall 50% until go")]
    campaign = bench.offer(DATA, *listed)
    device = bench.device(campaign.offer("o1")).request()
    assert received(device, SIZE // 2) == DATA[: SIZE // 2]
    campaign.saw("go")
    rest = b""
    while len(rest) < SIZE // 2:
        rest += device.socket.recv(65536)
    assert rest == DATA[SIZE // 2 :]


def test_the_dice_throw_the_same_again(bench):
    def thrown():
        campaign = bench.offer(DATA, faults.parse("status 503 by chance 0.5 seed 9"))
        return [bench.get(campaign.offer(f"o{n}")).status for n in range(12)]

    first = thrown()
    assert set(first) == {200, 503}
    assert thrown() == first


# All of them.


def test_no_kind_and_no_way_is_left_out():
    here = Path(__file__)
    texts = [*ANSWERS, *RANGES]
    source = here.read_text()
    tls = source + (here.parent / "test_delivery_tls.py").read_text()
    by_name = set(re.findall(r"(?m)^def test_([a-z_]+)\(", source))
    for kind in KINDS:
        listed = any(text.split()[0] == kind for text in texts)
        named = any(name.startswith(f"{kind}_") or f"_{kind}_" in name for name in by_name)
        elsewhere = kind in ("tls", "unreachable")
        assert listed or named or elsewhere, kind
    assert [how for how in TLS_WAYS if f'"{how}"' not in tls] == []
    assert [how for how in DIGESTS if how not in source] == []
