"""A console on a serial port that a test speaks for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serial_server import SerialServer

from pytest_blynk_ota.board.console import Console
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline


@pytest.fixture
def server() -> Iterator[SerialServer]:
    server = SerialServer()
    yield server
    if server.alive:
        server.drop()


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


@pytest.fixture
def console(server: SerialServer, timeline: Timeline) -> Iterator[Console]:
    with Console("c3-a", server.url, Recorder(timeline)) as console:
        yield console
