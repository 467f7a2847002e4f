"""Relays in the network and labgrid's back-ends: what they are told, and what they answer."""

from __future__ import annotations

import ast
import http.server
import json
import stat
import sys
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from pytest_blynk_ota.errors import ConfigError
from pytest_blynk_ota.rig.config import load
from pytest_blynk_ota.rig.drivers.labgrid import Labgrid, LabgridFailed
from pytest_blynk_ota.rig.drivers.relays import RelayFailed, Shelly, Tasmota


class Device(http.server.BaseHTTPRequestHandler):
    """A relay in the network: a Shelly and a Tasmota in one."""

    def do_GET(self):
        device, url = self.server, urlsplit(self.path)
        words = {key: values[0] for key, values in parse_qs(url.query).items()}
        device.asked.append(self.path)
        code, answer = device.answer or (200, self._obey(url.path, words))
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    def _obey(self, path, words):
        device = self.server
        if path == "/rpc/Switch.Set":
            if not device.stuck:
                device.on[int(words["id"])] = words["on"] == "true"
            return {"was_on": False}
        if path == "/rpc/Switch.GetStatus":
            return {"id": 0, "output": device.on.get(int(words["id"]), False)}
        if words.get("password", "") != device.password:
            return {"WARNING": "Need user=<username>&password=<password>"}
        name, _, state = words["cmnd"].partition(" ")
        channel = int(name.removeprefix("Power"))
        if state and not device.stuck:
            device.on[channel] = state == "ON"
        shown = "POWER" if device.single else f"POWER{channel}"
        return {shown: "ON" if device.on.get(channel) else "OFF"}

    def log_message(self, *_):
        pass


@pytest.fixture
def device():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Device)
    server.on, server.asked, server.answer, server.password = {}, [], None, ""
    server.stuck = server.single = False
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_shelly_switches_the_channel_that_is_meant(device):
    relay = Shelly(device.url + "/", channel=2)
    relay.switch(True)
    assert device.on == {2: True}
    relay.switch(False)
    assert device.on == {2: False}
    assert device.asked[0] == "/rpc/Switch.Set?id=2&on=true"


@pytest.mark.parametrize("single", [False, True], ids=["POWER1", "POWER"])
def test_a_tasmota_switches_and_may_call_its_only_relay_power(device, single):
    device.single = single
    relay = Tasmota(device.url)
    relay.switch(True)
    assert device.on == {1: True}
    relay.switch(False)
    assert device.on == {1: False}


def test_a_tasmota_with_a_password_is_told_it_and_no_message_shows_it(device):
    device.password = "hunter22"
    Tasmota(device.url, password="hunter22").switch(True)
    assert device.on == {1: True}
    with pytest.raises(RelayFailed, match="Need user") as failed:
        Tasmota(device.url, password="wrong-one").switch(False)
    device.answer = (500, b"")
    with pytest.raises(RelayFailed) as broken:
        Tasmota(device.url, password="hunter22").switch(False)
    assert "wrong-one" not in str(failed.value)
    assert "hunter22" not in str(broken.value)


@pytest.mark.parametrize("make", [Shelly, Tasmota])
def test_a_relay_that_says_yes_and_does_nothing_is_noticed(device, make):
    device.stuck = True
    with pytest.raises(RelayFailed, match=r"told ON|expected ON"):
        make(device.url).switch(True)


@pytest.mark.parametrize("make", [Shelly, Tasmota])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((500, b"oops"), "answers 500"),
        ((401, b""), "answers 401"),
        ((200, b"<html>"), "expected a JSON object"),
        ((200, b"[1]"), "expected a JSON object"),
        ((200, b"{}"), "says|expected"),
        ((200, b"\xff\x00"), "expected a JSON object"),
    ],
)
def test_an_answer_that_is_none_says_what_came(device, make, answer, words):
    device.answer = answer
    with pytest.raises(RelayFailed, match=words):
        make(device.url).switch(True)


@pytest.mark.parametrize("make", [Shelly, Tasmota])
def test_a_relay_that_is_away_is_said_to_be(make, unused_tcp_port_factory):
    with pytest.raises(RelayFailed, match=r"does not answer .* is it on"):
        make(f"http://127.0.0.1:{unused_tcp_port_factory()}").switch(True)


BACKEND = """
import sys
PORT = 80
def power_set(host, port, index, value):
    if host == "broken":
        raise SystemExit("no such outlet " + index)
    open({log!r}, "a").write(repr((host, port, index, value)) + "\\n")
"""


@pytest.fixture
def labgrid(tmp_path):
    """An interpreter with a labgrid whose back-end writes down what it is told."""
    package = tmp_path / "packages" / "labgrid" / "driver" / "power"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    log = tmp_path / "log"
    (package / "outlets4.py").write_text(BACKEND.format(log=str(log)))
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/packages exec {sys.executable} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return str(python), log


def test_a_back_end_of_labgrid_is_called_as_labgrid_does(labgrid):
    python, log = labgrid
    outlet = Labgrid("outlets4", "rack-pdu", 3, python)
    outlet.switch(True)
    outlet.switch(False)
    told = [ast.literal_eval(line) for line in log.read_text().splitlines()]
    assert told == [("rack-pdu", 80, "3", True), ("rack-pdu", 80, "3", False)]


def test_what_a_back_end_says_when_it_fails_is_told(labgrid):
    python, _ = labgrid
    with pytest.raises(LabgridFailed, match="outlets4 ended with 1: no such outlet 3"):
        Labgrid("outlets4", "broken", 3, python).switch(True)
    with pytest.raises(LabgridFailed, match=r"No module named 'labgrid.driver.power.other'"):
        Labgrid("other", "x", 3, python).switch(True)


def test_labgrid_is_looked_for_where_the_environment_says(labgrid, monkeypatch):
    monkeypatch.setenv("LABGRID_PYTHON", labgrid[0])
    Labgrid("outlets4", "rack-pdu").switch(True)
    assert labgrid[1].exists()
    monkeypatch.delenv("LABGRID_PYTHON")
    with pytest.raises(LabgridFailed, match="expected labgrid's own interpreter"):
        Labgrid("outlets4", "rack-pdu")
    with pytest.raises(LabgridFailed, match="does not start"):
        Labgrid("outlets4", "rack-pdu", python="/no/such/python").switch(True)
    with pytest.raises(LabgridFailed, match="expected a model"):
        Labgrid("../x", "rack-pdu", python="/no/such/python")


RIG = """
[rig]
name = "lab1"
[[board]]
name = "a"
chip = "esp32"
port = "/dev/ttyUSB0"
token = "env:TOKEN"
power = {power}
"""


def rig_file(folder, power):
    path = folder / "rig.toml"
    path.write_text(RIG.format(power=power))
    return path


@pytest.mark.parametrize(
    "power",
    [
        '{ driver = "shelly", url = "http://10.0.0.2", channel = 1 }',
        '{ driver = "tasmota", url = "http://10.0.0.2", password = "env:RELAY" }',
        '{ driver = "labgrid:netio", host = "pdu", index = 2, python = "/opt/labgrid/bin/python" }',
    ],
)
def test_a_rig_file_names_them(tmp_path, power):
    assert load(rig_file(tmp_path, power)).board[0].power.own is not None


@pytest.mark.parametrize(
    ("power", "words"),
    [
        ('{ driver = "shelly" }', "missing a required argument: 'url'"),
        ('{ driver = "shelly", url = "http://x", outlet = 1 }', "takes url, channel"),
        ('{ driver = "shely", url = "http://x" }', "did you mean 'shelly'|shelly"),
        ('{ driver = "labgrid:netio", index = 2 }', "missing a required argument: 'host'"),
    ],
)
def test_a_mistake_in_it_is_told_with_its_key(tmp_path, power, words):
    with pytest.raises(ConfigError, match=words) as error:
        load(rig_file(tmp_path, power))
    assert "board[0].power" in str(error.value)
