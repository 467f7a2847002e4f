"""``blynk-ota serve`` as a user and a script see it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

import pytest_blynk_ota
from pytest_blynk_ota.cli.serve import command
from pytest_blynk_ota.cli.serve_lines import BarPrinter, text_of
from pytest_blynk_ota.delivery import files
from pytest_blynk_ota.errors import FaultError, FirmwareError, UsageError

RUN = "from pytest_blynk_ota.cli.serve import command; command()"
HOME = str(Path(pytest_blynk_ota.__file__).parents[1])


@pytest.fixture
def serving(tmp_path):
    """Starts the command on a file of 5000 bytes; it must end by Ctrl-C with exit code 0."""
    file = tmp_path / "new.bin"
    file.write_bytes(bytes(range(250)) * 20)
    started = []

    def start(*options):
        started.append(subprocess.Popen(
            [sys.executable, "-c", RUN, str(file), *options], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": HOME},
        ))  # fmt: skip
        return file, started[-1].stdout

    start.started = started
    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert process.returncode == 0


def get(url):
    """Fetch with a bare socket until the server ends it."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 10) as device:
        device.sendall(f"GET {parts.path}?{parts.query} HTTP/1.0\r\n\r\n".encode())
        data = b""
        while chunk := device.recv(65536):
            data += chunk
    return data.partition(b"\r\n\r\n")[2]


def test_the_first_json_line_says_where_and_the_others_what_happened(serving):
    file, lines = serving("--json", "--fault", "truncate 50% on attempt 1")
    ready = json.loads(next(lines))
    assert ready["event"] == "ready"
    assert ready["url"].startswith("http://127.0.0.1:")
    assert ready["path"] == str(file)
    assert ready["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert get(ready["url"]) == file.read_bytes()[:2500]
    assert get(ready["url"]) == file.read_bytes()
    events = []
    while [event["event"] for event in events].count("ended") < 2:
        events.append(json.loads(next(lines)))
    ends = [event for event in events if event["event"] == "ended"]
    assert [(end["attempt"], end["how"]) for end in ends] == [(1, "fin"), (2, "complete")]
    fired = [event for event in events if event.get("phase") == "fired"]
    assert [(event["fault"], event["at"]) for event in fired] == [
        ("truncate after=50% on attempt 1", 2500)
    ]


def test_a_person_reads_sentences(serving):
    _, lines = serving("--fault", "stall 100 seconds=0.1")
    announced = [next(lines), next(lines), next(lines)]
    get(announced[1].strip())
    said = announced
    while "ended by" not in said[-1]:
        said.append(next(lines))
    text = "".join(said)
    assert "Ctrl-C ends it." in announced[2]
    assert "attempt 1: stall after=100 seconds=0.1: fired at byte 100" in text
    assert "ended by server, complete: 5000 of 5000 bytes acknowledged" in text


def run(*words):
    return CliRunner().invoke(command, [str(word) for word in words])


def test_a_missing_file_is_a_firmware_error_that_names_it(tmp_path):
    for file in (tmp_path / "none.bin", tmp_path):
        result = run(file)
        assert isinstance(result.exception, FirmwareError)
        assert str(file) in str(result.exception)


def test_an_unknown_fault_is_refused_before_anything_is_served(tmp_path):
    file = tmp_path / "new.bin"
    file.write_bytes(b"x")
    result = run(file, "--fault", "stal after=50%")
    assert isinstance(result.exception, FaultError)
    assert "did you mean 'stall'" in str(result.exception)


def test_a_taken_port_is_a_usage_error(tmp_path):
    file = tmp_path / "new.bin"
    file.write_bytes(b"x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(file, "--port", port)
    assert isinstance(result.exception, UsageError)
    assert str(port) in str(result.exception)


def test_a_row_of_faults_is_one_text(serving):
    file, lines = serving("--json", "--fault", "status 503 then none then truncate 10")
    url = json.loads(next(lines))["url"]
    assert [get(url), get(url), get(url), get(url)] == [
        b"503 Service Unavailable\n", file.read_bytes(), file.read_bytes()[:10], file.read_bytes()
    ]  # fmt: skip


def test_over_tls_the_ca_is_written_and_the_url_is_used_up(serving, tmp_path):
    file, lines = serving("--json", "--https", "--single-use", "--write-ca", str(tmp_path / "ca"))
    url = json.loads(next(lines))["url"]
    trust = ssl.create_default_context(cafile=str(tmp_path / "ca"))
    with urllib.request.urlopen(url, context=trust, timeout=10) as answer:
        assert answer.read() == file.read_bytes()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url, context=trust, timeout=10)


def test_each_of_several_files_has_its_own_url(serving, tmp_path):
    other = tmp_path / "other.bin"
    other.write_bytes(b"other")
    file, lines = serving(str(other), "--json")
    ready = json.loads(next(lines))
    assert [get(one["url"]) for one in ready["files"]] == [file.read_bytes(), b"other"]
    assert ready["url"] == ready["files"][0]["url"]


def test_a_terminal_shows_bars_and_the_same_sentences():
    printer = BarPrinter()
    printer._console.file = screen = io.StringIO()
    facts = {"conn": 1, "offer": "o1", "attempt": 1}
    with printer:
        printer.say("response", facts | {"status": 200, "announced": 100})
        printer.say("progress", facts | {"written": 60, "acked": 50})
        assert [task.completed for task in printer._progress.tasks] == [50]
        printer.say("ended", facts | {"by": "device", "how": "rst", "acked": 50, "announced": 100})
        assert not printer._progress.tasks
    assert "ended by device, rst: 50 of 100 bytes acknowledged" in screen.getvalue()


@pytest.mark.parametrize(("agreed", "says"), [
    ({"version": "TLSv1.3", "cipher": "X", "why": None}, "#1 TLSv1.3, X"),
    ({"version": None, "cipher": None, "why": "expired"}, "#1 no TLS: expired"),
])  # fmt: skip
def test_a_handshake_is_told_either_way(agreed, says):
    assert text_of("handshake", {"conn": 1, "attempt": None, **agreed}) == says


@pytest.mark.parametrize("words", [
    ("--certificate", __file__), ("--write-ca", "ca.pem"), ("--host", ""), ("--expires", "0"),
])  # fmt: skip
def test_options_that_do_not_go_together_are_wrong_usage(tmp_path, words):
    file = tmp_path / "new.bin"
    file.write_bytes(b"x")
    result = run(file, *words)
    assert result.exit_code == 2
    assert words[0] in result.output


def test_an_empty_file_is_no_firmware(tmp_path):
    file = tmp_path / "new.bin"
    file.touch()
    assert isinstance(run(file).exception, FirmwareError)


@pytest.mark.parametrize("option", ["--speed", "--expires"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_no_number_is_refused_by_the_name_of_its_option(tmp_path, option, value):
    file = tmp_path / "new.bin"
    file.write_bytes(b"x")
    told = CliRunner().invoke(command, [str(file), option, value, "--host", "1.2.3.4"])
    assert told.exit_code == 2
    assert option in told.output


def test_the_ca_is_not_written_over_the_file_to_serve(tmp_path):
    file = tmp_path / "new.bin"
    file.write_bytes(b"firmware")
    again = tmp_path / "." / "new.bin"
    options = [str(file), "--https", "--write-ca", str(again), "--host", "1.2.3.4"]
    told = CliRunner().invoke(command, options)
    assert file.read_bytes() == b"firmware"
    assert told.exit_code == 2
    assert "would overwrite the file to serve" in " ".join(told.output.split())


@pytest.mark.parametrize("clause", ["on board c3-a", "from login"])
def test_a_fault_that_waits_for_what_serve_never_learns_is_refused(tmp_path, clause):
    file = tmp_path / "new.bin"
    file.write_bytes(b"firmware")
    options = [str(file), "--fault", f"status 503 {clause}", "--host", "1.2.3.4"]
    told = CliRunner().invoke(command, options)
    assert isinstance(told.exception, FaultError)
    assert f"status code=503 {clause} could never fire" in str(told.exception)


def test_a_long_url_has_no_line_break_on_a_narrow_terminal():
    printer = BarPrinter()
    printer._console.file = screen = io.StringIO()
    printer._console.width = 40
    url = "http://127.0.0.1:40000/f/" + 100 * "x"
    printer.say("ready", {"path": "new.bin", "sha256": 64 * "0", "url": url})
    assert url in screen.getvalue().splitlines()


def test_the_bar_of_an_answer_of_no_attempt_says_so():
    printer = BarPrinter()
    printer._console.file = io.StringIO()
    with printer:
        printer.say("response", {"conn": 1, "attempt": None, "status": 404, "announced": 14})
        assert [task.description for task in printer._progress.tasks] == ["#1 attempt ?"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", "0:0:0:0:0:0:0:0"])
def test_an_address_that_no_device_can_fetch_from_is_refused(tmp_path, host):
    file = tmp_path / "new.bin"
    file.write_bytes(b"firmware")
    told = run(file, "--host", host, "--fault", "stall 10000")  # refused too, but behind it
    assert told.exit_code == 2
    assert f"no device can fetch a file from {host}" in " ".join(told.output.split())


@pytest.mark.parametrize(("kind", "says"), [("fifo", "is a pipe"), ("zero", "is a device")])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path, kind, says):
    path = Path("/dev/zero")
    if kind == "fifo":
        path = tmp_path / "new.bin"
        os.mkfifo(path)
    told = run(path, "--host", "1.2.3.4")
    assert isinstance(told.exception, FirmwareError)
    assert str(told.exception).startswith(f"{path} {says}, no regular file")


def test_what_no_flash_can_hold_is_refused_before_it_is_read(tmp_path):
    file = tmp_path / "new.bin"
    with file.open("wb") as sparse:
        sparse.truncate(files.MOST_BYTES + 1)
    told = run(file, "--host", "1.2.3.4")
    assert isinstance(told.exception, FirmwareError)
    assert "no ESP32 has flash for more than 67108864 (64 MB)" in str(told.exception)


def test_a_fault_of_a_download_that_a_single_use_url_has_not_is_refused(tmp_path):
    file = tmp_path / "new.bin"
    file.write_bytes(b"firmware")
    told = run(file, "--single-use", "--fault", "none then status 503", "--host", "1.2.3.4")
    assert isinstance(told.exception, FaultError)
    assert "status code=503 on attempt 2 could never fire: with --single-use" in str(told.exception)


def test_at_its_end_it_says_which_faults_never_fired(serving):
    first, second = "truncate 10 on attempt 1", "status 503 on attempt 3 maybe"
    file, lines = serving(
        "--json", "--fault", first, "--fault", second, "--fault", "stall 0 on attempt 2"
    )
    get(json.loads(next(lines))["url"])
    serving.started[-1].send_signal(signal.SIGINT)
    told = [json.loads(line) for line in lines]
    assert [one for one in told if one["event"] == "unfired"] == [
        {
            "event": "unfired",
            "path": str(file),
            "index": 1,
            "fault": "status code=503 on attempt 3 maybe",
            "maybe": True,
        },
        {
            "event": "unfired",
            "path": str(file),
            "index": 2,
            "fault": "stall after=0 on attempt 2",
            "maybe": False,
        },
    ]


@pytest.mark.parametrize(("kind", "facts", "says"), [
    ("response", {"status": 0, "announced": None}, "no HTTP, no length announced"),
    ("response", {"status": 200, "announced": 0}, "200, 0 bytes announced"),
    ("ended", {"by": "server", "how": "complete", "acked": 64, "announced": None},
     "ended by server, complete: 64 bytes acknowledged"),
    ("unfired", {"path": "new.bin", "fault": "reset after=0"},
     "new.bin: reset after=0: never fired"),
])  # fmt: skip
def test_what_an_answer_does_not_say_is_told_in_words(kind, facts, says):
    assert text_of(kind, {"conn": 1, "attempt": 1, **facts}).endswith(says)
