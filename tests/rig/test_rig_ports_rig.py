"""What a rig with fixed ports tells of its boards, and what it holds back of them."""

import pytest
from porters import porter_here, until

from pytest_blynk_ota.board.console import Console
from pytest_blynk_ota.errors import Unavailable
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.rig.config import check
from pytest_blynk_ota.rig.ports.tenants import hashed
from pytest_blynk_ota.rig.rack import Rig


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes a rig of one real board at the port of a porter; the porter is here."""
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))
    monkeypatch.setenv("TOKEN", "t" * 32)
    monkeypatch.setattr(Console, "open", lambda self: None)
    rigs = []

    def make(porter, **board) -> Rig:
        row = {"name": "a", "chip": "esp32", "port": "/dev/none", "token": "env:TOKEN", **board}
        data = {
            "rig": {"name": "lab", "advertise": "127.0.0.1"},
            "board": [row],
            "cloud": {"ports": {"tcp": [porter.where.port]}},
        }
        rigs.append(
            Rig(
                check(data, "lab"),
                tmp_path,
                run=tmp_path,
                recorder=Recorder(Timeline()),
                redactor=Redactor(),
            )
        )
        return rigs[-1]

    with porter_here() as porter:
        yield lambda **board: (porter, make(porter, **board))
        for rig in rigs:
            rig.close()
            until("the tenant to leave", lambda: not porter._tenants)


def test_a_board_that_is_taken_is_known_at_the_port_by_its_token_and_its_address(made):
    porter, rig = made(address="10.0.0.7")
    rig.place()
    (tenant,) = porter._tenants
    assert (tenant.tokens, tenant.addresses) == ({hashed("t" * 32)}, {"10.0.0.7"})
    assert tenant.is_open


def test_only_what_is_of_our_board_is_held_back_at_a_fixed_port(made):
    porter, rig = made(address="10.0.0.7")
    rig.place()
    ports = rig._ports()
    assert ports.calls == ((porter.where.port, "10.0.0.7"),)
    assert porter.where.port not in ports.tcp
    assert ports.tcp == tuple(sorted(rig.delivery.ports))


def test_a_board_whose_address_is_not_known_cannot_be_kept_apart_and_that_is_said(made):
    _, rig = made()
    rig.place()
    with pytest.raises(
        Unavailable, match=r"board a .* printed its address, so the rig file has to name it"
    ):
        rig._ports()


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("[2189] Using Dynamic IP: 192.168.1.31", "192.168.1.31"),
        ("[2189] Using Static IP: 192.168.1.31", "192.168.1.31"),
        ("[734] IP: 10.0.0.7", "10.0.0.7"),
        ("[WIFI] got ip:10.0.0.7", "10.0.0.7"),
        ("I (2345) esp_netif_handlers: sta ip: 10.0.0.7, mask: 255.255.255.0", "10.0.0.7"),
        ("got ip:0.0.0.0", None),
        ("[812] AP IP:   192.168.4.1", None),
    ],
)
def test_a_board_that_prints_its_address_is_known_by_it(made, line, address):
    porter, rig = made()
    place = rig.place()
    (tenant,) = porter._tenants
    for text in ("got ip:10.9.9.9", line):  # the last one counts
        place.board.console._take(place.board.console._log.feed(text.encode() + b"\n"))
    wanted = {address or "10.9.9.9"}
    until("the porter to know", lambda: tenant.addresses == wanted)
    assert rig._ports().calls == tuple((porter.where.port, one) for one in wanted)
