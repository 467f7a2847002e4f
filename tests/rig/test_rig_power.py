"""Outlets: what they do, and whose fault it is when they do not."""

import http.server
import sys
import threading
import time

import pytest

from pytest_blynk_ota.errors import OutletUnreachable
from pytest_blynk_ota.rig.power import SILENT_AFTER_S, CommandOutlet, HttpOutlet, Power

PYTHON = sys.executable


class Switch:
    """An outlet in memory."""

    def __init__(self, broken: bool = False) -> None:
        self.states: list[bool] = []
        self.broken = broken

    def switch(self, on: bool) -> None:
        self.states.append(on)
        if self.broken and not on:
            raise OutletUnreachable("stuck")


def test_a_cycle_goes_off_and_on_and_is_recorded():
    seen: list[tuple[str, str, str | None]] = []
    switch = Switch()

    def record(source, kind, board=None, /, **_):
        seen.append((source, kind, board))

    Power("a", switch, record, speed=1000).cycle()
    assert switch.states == [False, True]
    assert seen == [("power", "off", "a"), ("power", "on", "a")]


def test_a_command_outlet_runs_its_line(tmp_path):
    mark = tmp_path / "on"
    CommandOutlet([PYTHON, "-c", f"open({str(mark)!r}, 'w')"], ["false"]).switch(True)
    assert mark.exists()


def test_a_failing_command_is_a_rig_error_with_its_words():
    outlet = CommandOutlet([PYTHON, "-c", "import sys; sys.exit('no such hub')"], ["true"])
    with pytest.raises(OutletUnreachable, match="no such hub"):
        outlet.switch(True)


def test_a_missing_command_is_a_rig_error():
    with pytest.raises(OutletUnreachable, match="no-such-program"):
        CommandOutlet(["no-such-program"], ["true"]).switch(True)


def test_an_outlet_that_does_not_answer_is_a_rig_error(unused_tcp_port_factory):
    with pytest.raises(OutletUnreachable, match="did not switch off"):
        HttpOutlet(f"http://127.0.0.1:{unused_tcp_port_factory()}/a").switch(False)


def test_a_cycle_whose_off_was_not_answered_gives_the_power_back():
    switch = Switch(broken=True)
    with pytest.raises(OutletUnreachable, match="stuck"):
        Power("a", switch, lambda *_, **__: None, speed=1000).cycle()
    assert switch.states == [False, True]


def test_power_that_a_test_left_off_is_given_back_once():
    switch = Switch()
    power = Power("a", switch, lambda *_, **__: None, speed=1000)
    power.ensure()
    power.off()
    power.ensure()
    power.ensure()
    assert switch.states == [False, True]


class Answering(http.server.BaseHTTPRequestHandler):
    """An outlet that does what it is told, or speaks no HTTP."""

    def do_PUT(self):
        if self.path == "/garbage":
            self.wfile.write(b"hello\r\n")
            return
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Keep quiet."""


@pytest.fixture
def outlet():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_proxy_of_the_environment_is_not_for_outlets(
    outlet, monkeypatch, unused_tcp_port_factory
):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_tcp_port_factory()}")
    HttpOutlet(f"{outlet}/a").switch(True)


def test_an_outlet_that_speaks_no_http_is_a_rig_error(outlet):
    with pytest.raises(OutletUnreachable, match="did not switch on"):
        HttpOutlet(f"{outlet}/garbage").switch(True)


@pytest.mark.parametrize(
    ("line", "late_s", "told"),
    [
        ("State: RUNNING", SILENT_AFTER_S, True),
        ("State: RUNNING", SILENT_AFTER_S - 0.1, False),  # read late, said before
        ("\ufffd~\ufffd\x00", SILENT_AFTER_S, False),  # a wire that floats
    ],
)
def test_an_outlet_is_not_believed_when_its_board_goes_on_talking(line, late_s, told):
    rows, switch = [], Switch()
    power = Power("a", switch, lambda *_, **__: None, 1, lambda: rows)
    rows.append((time.monotonic() - 60, "State: RUNNING"))  # long before
    power.off()
    rows.append((time.monotonic() + late_s, line))
    if told:
        with pytest.raises(OutletUnreachable, match=r"board a: .* still talked: 'State: RUNNING'"):
            power.on()
    else:
        power.on()
    assert switch.states == [False, True]  # the power is back in any case
    power.on()  # told once
