"""Faults as curl sees them: its exit codes are another reader's word for what came."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from pytest_blynk_ota.delivery import faults, filters

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

DATA = random.Random(12).randbytes(50_000)

CODES = {
    # Exit codes: man curl. 18: fewer bytes than announced; 28: --max-time is over; 52: no answer;
    # 56: RST, or framing that is none; 61: a coding that is none; 8: a reply that is none.
    "status 503": (22, None),
    "status 404 body=file": (22, None),
    "page text=hello": (0, b"hello"),
    "redirect 301": (0, DATA),
    "redirect 302 to=relative hops=3": (0, DATA),
    "redirect 307 to=other-host": (0, DATA),
    "redirect 308 to=loop": (47, None),
    "garbage": (1, None),
    "http_version 0.9": (1, None),
    "http_version 1.0": (0, DATA),
    "early 103 count=2": (0, DATA),
    "truncate request": (52, None),
    "truncate 0": (18, b""),
    "truncate 33333": (18, DATA[:33333]),
    "half_close 33333": (18, DATA[:33333]),
    "reset request": (56, None),
    "reset 33333": (56, DATA[:33333]),
    "stall 33333": (28, DATA[:33333]),
    "stall request": (28, None),
    "drip 1 after=33333": (28, None),
    "length off=100": (18, DATA),
    "length off=-100": (0, DATA[:-100]),
    "length missing": (0, DATA),
    "length huge": (18, DATA),
    "length 0": (0, b""),
    "double_header Content-Length": (0, DATA),
    "chunked 4096": (0, DATA),
    "chunked how=with-length": (0, DATA),
    "chunked how=unfinished": (18, DATA),
    "chunked how=malformed": (56, DATA[:25_000]),
    "chunked how=endless": (28, None),
    "corrupt 100": (0, None),
    "zero 100 bytes=10": (0, DATA[:100] + bytes(10) + DATA[110:]),
    "pad 100": (0, DATA),
    "cut last 1000": (0, DATA[:-1000]),
    "digest wrong": (0, DATA),
    "pad_headers 1000 count=10": (0, DATA),
    "split_headers": (0, DATA),
    "slow_headers 100": (0, DATA),
    "segments 5000": (0, DATA),
    "latency 2": (0, DATA),
}
"""Text of a fault: curl's exit code, and the bytes that it leaves; None: that is no matter."""


TIME_IS_OVER = 28
SOON = ("--max-time", "0.7")


def curl(target, url, *options):
    """Fetch it; the exit code and the bytes."""
    command = ["curl", "-sfL", "--max-redirs", "5", "--max-time", "5", "-o", str(target)]
    code = subprocess.run([*command, *options, url], timeout=20).returncode
    return code, target.read_bytes() if target.exists() else b""


@pytest.mark.parametrize("text", CODES)
def test_curl_says_what_came_by_its_exit_code(bench, tmp_path, text):
    wanted, bytes_left = CODES[text]
    url = bench.offer(DATA, faults.parse(text)).offer("o1")
    code, got = curl(tmp_path / "got.bin", url, *(SOON if wanted == TIME_IS_OVER else ()))
    assert code == wanted
    assert bytes_left is None or got == bytes_left
    bench.wait("fault", phase="fired")


@pytest.mark.parametrize("name", ["gzip", "deflate"])
def test_curl_unpacks_what_was_packed(bench, tmp_path, name):
    url = bench.offer(DATA, faults.encoding(name)).offer("o1")
    assert curl(tmp_path / "a", url, "--compressed") == (0, DATA)


def test_curl_gets_the_file_over_https(bench, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_text(bench.ca_pem)
    url = bench.offer(DATA, https=True).offer("o1")
    assert curl(tmp_path / "a", url, "--cacert", str(ca)) == (0, DATA)
    assert curl(tmp_path / "b", url)[0] == 60


@pytest.mark.parametrize(("how", "codes"), [
    ("record-cut", (18, 56)),  # versions differ in what they call an end inside a record
    ("bad-record", (56,)),
])  # fmt: skip
def test_curl_refuses_a_broken_record(bench, tmp_path, how, codes):
    url = bench.offer(DATA, faults.tls(how, after=20_000), https=True).offer("o1")
    code, got = curl(tmp_path / "a", url, "-k")
    assert code in codes
    assert got == DATA[:20_000]


@pytest.mark.skipif(filters.unavailable() is not None, reason="no silence on this host")
@pytest.mark.parametrize(("text", "code"), [
    ("unreachable refused", 7), ("unreachable silent", 28), ("vanish 100", 28),
])  # fmt: skip
def test_curl_finds_nobody(bench, tmp_path, text, code):
    url = bench.offer(DATA, faults.parse(text)).offer("o1")
    assert curl(tmp_path / "a", url, *(SOON if code == TIME_IS_OVER else ()))[0] == code
    bench.wait("fault", phase="fired")


def test_curl_resumes_behind_a_cut(bench, tmp_path):
    campaign = bench.offer(DATA, faults.truncate(20_000).times(1))
    url, target = campaign.offer("o1"), tmp_path / "got.bin"
    assert curl(target, url) == (18, DATA[:20_000])
    assert curl(target, url, "-C", "-") == (0, DATA)


def test_curl_gives_up_to_resume_where_ranges_are_ignored(bench, tmp_path):
    url, target = bench.offer(DATA, faults.ranges("ignored")).offer("o1"), tmp_path / "got.bin"
    target.write_bytes(DATA[:100])
    assert curl(target, url, "-C", "-")[0] == 33  # HTTP server does not support ranges
