"""A real shipment of another server passes through the relay, and through our firmware server."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_blynk_ota.cloud.doors import Door
from pytest_blynk_ota.cloud.server import CloudServer
from pytest_blynk_ota.delivery.server import DeliveryServer
from pytest_blynk_ota.rig.background import Background

TOKEN = "0123456789abcdef0123456789abcdef"
RIG = """
[rig]
name = "relayed"
speed = 40
[[board]]
name = "a"
chip = "esp32c3"
port = "virtual"
power = "virtual"
provision = {{ kind = "edgent-nvs" }}
token = "env:FAR_TOKEN"
profile = "edgent-old-info"
[cloud]
relay = "{kind}://{host}:{port}"
{ca}
"""
TESTS = """
from pathlib import Path

import pytest

from pytest_blynk_ota import Outcome, faults

GO = Path("go")


@pytest.fixture
def relayed(ota):
    def run(**options):
        with ota.relaying(timeout=90, **options) as relaying:
            GO.touch()
        return relaying.result

    GO.unlink(missing_ok=True)
    yield run
    GO.unlink(missing_ok=True)


def test_it_passes(relayed):
    result = relayed()
    assert result.outcome is Outcome.UPGRADED
    assert result.running == "1.1.0"
    assert not result.findings


def test_it_stalls_and_gets_through(relayed):
    result = relayed(faults=[faults.stall(after="50%").on_attempt(1)])
    assert [one.ended for one in result.downloads] == ["stalled", "complete"]
    assert result.outcome is Outcome.UPGRADED


def test_ours_goes_to_the_device_alone(ota):
    assert ota.ship().outcome is Outcome.UPGRADED
"""
OTHER_FILE = """
from pathlib import Path


def test_it(ota):
    with ota.relaying(timeout=90):
        Path("go").touch()
"""


class Far:
    """Another Blynk cloud: while the file ``go`` is there, it offers New at each login on Old."""

    def __init__(self, image: bytes, kind: str, go: Path) -> None:
        self.log: list[tuple[str, str, dict]] = []
        self._go = go
        self._runs: dict[int, str] = {}
        self._told: set[int] = set()
        self._background = Background()
        self.cloud = CloudServer(self._record, speed=40, doors=[Door(kind)])
        self.cloud.add_device("far", TOKEN)
        self._delivery = DeliveryServer(self._record, speed=40)
        self._background.call(self.cloud.start())
        self._background.call(self._delivery.start())
        self._campaign = self._delivery.campaign("far", image, name="new.bin")
        self._background.call(self._begin())

    def _record(self, source, kind, board=None, /, *, t=None, **data) -> None:
        self.log.append((source, kind, data))
        if (source, kind) == ("cloud", "report"):
            self._runs[data["session"]] = data["version"]

    async def _begin(self) -> None:
        self._offers = asyncio.ensure_future(self._offer())

    async def _offer(self) -> None:
        while True:
            state = self.cloud.device("far")
            runs = self._runs.get(state.session)
            wanted = state.session not in self._told and runs == "1.0.0"
            if self._go.exists() and state.online and wanted:
                self._told.add(state.session)
                name = f"far{len(self._told)}"
                await self.cloud.send_ota("far", self._campaign.offer(name), offer=name)
            await asyncio.sleep(0.02)

    def seen(self, source: str, kind: str) -> list[dict]:
        return [data for one, what, data in self.log if (one, what) == (source, kind)]

    def stop(self) -> None:
        self._campaign.close()
        self._background.call(self._delivery.stop())
        self._background.call(self.cloud.stop())
        self._background.stop()


@contextmanager
def far_cloud(image: bytes, kind: str, go: Path):
    far = Far(image, kind, go)
    try:
        yield far
    finally:
        far.stop()


def rig(pytester, far: Far, kind: str) -> str:
    host, port = far.cloud.address
    ca = ""
    if kind == "tls":
        (pytester.path / "far.pem").write_text(far.cloud.authority.ca_pem)
        ca = f'relay_ca = "{pytester.path / "far.pem"}"'
    text = RIG.format(kind=kind, host=host, port=port, ca=ca)
    (pytester.path / "rig.toml").write_text(text)
    return "--rig=rig.toml"


@pytest.mark.parametrize("kind", ["tcp", pytest.param("tls", marks=pytest.mark.nightly)])
def test_a_shipment_of_another_server_goes_through_our_firmware_server(
    pytester, monkeypatch, images, kind
):
    monkeypatch.setenv("FAR_TOKEN", TOKEN)
    pytester.makepyfile(TESTS)
    with far_cloud(images["new"].read_bytes(), kind, pytester.path / "go") as far:
        given = "--old=old.bin", "--new=new.bin"
        run = pytester.runpytest_subprocess(rig(pytester, far, kind), *given)
        run.assert_outcomes(passed=3)
        versions = {one["version"] for one in far.seen("cloud", "report")}
        assert versions == {"1.0.0", "1.1.0"}
        assert len(far.seen("cloud", "ota_sent")) == 3, "one, and two where the first stalled"
        assert all(one["how"] == "complete" for one in far.seen("delivery", "ended"))
    for path in pytester.path.glob(".blynk-ota/runs/*/**/*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_another_file_than_new_is_no_verdict(pytester, monkeypatch, images):
    monkeypatch.setenv("FAR_TOKEN", TOKEN)
    pytester.makepyfile(OTHER_FILE)
    with far_cloud(images["old"].read_bytes(), "tcp", pytester.path / "go") as far:
        run = pytester.runpytest_subprocess(rig(pytester, far, "tcp"))
        run.assert_outcomes(errors=1)
        run.stdout.fnmatch_lines(["*the relayed server ships another file*"])


def test_without_a_relay_no_other_server_can_begin_an_update(pytester):
    pytester.makepyfile("def test_it(ota):\n    ota.relayed()\n")
    run = pytester.runpytest_subprocess()
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*rig virtual has no relay*"])
