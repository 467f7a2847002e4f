"""``blynk-ota serve`` as a user and a script see it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

import pytest_blynk_ota
from pytest_blynk_ota.cli.serve import command
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
