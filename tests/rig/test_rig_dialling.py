"""What a board will dial and whether it will trust us is known before it tries."""

from dataclasses import replace

import pytest
import trustme
from provision_bench import opened

from pytest_blynk_ota.cloud.tls import Authority
from pytest_blynk_ota.firmware import behaviour, recipe
from pytest_blynk_ota.firmware.derive import pointed, with_behaviour
from pytest_blynk_ota.firmware.image import mend, parse
from pytest_blynk_ota.rig.dialling import Dialling, mismatches, summary
from pytest_blynk_ota.rig.doctor import Failed, Patient
from pytest_blynk_ota.rig.extensions import SETTINGS

FIXTURE = recipe.make(recipe.Recipe(), "esp32c3")
STOCK = mend(FIXTURE.replace(behaviour.MAGIC, b"NOTHING."))
"""As a user has it: host, blnkopt section and root of its own, and no behaviour."""
OURS = Authority()
OLD = Dialling(
    host="10.0.0.1",
    port=4433,
    kind="tls",
    gives=SETTINGS,
    open_ports=[4433],
    fixture="edgent-old",
    forwarded=False,
    https=False,
    image=None,
    authority=OURS,
)


def image_of(data):
    return parse(data, "old")


def pointed_at_us(ca=OURS.ca_pem):
    return image_of(pointed(STOCK, default_host="blynk.cloud", host="10.0.0.1", ca=ca))


def only(board):
    (found,) = mismatches(board)
    return found


def test_old_edgent_that_is_told_all_and_trusts_us_dials_us():
    board = replace(OLD, image=pointed_at_us())
    assert not [*mismatches(board)]
    assert summary(board).startswith("it dials 10.0.0.1:4433 with TLS; trusts 'OU=Testing CA")


def test_firmware_that_trusts_others_is_told_with_their_names():
    found = only(replace(OLD, image=image_of(STOCK)))
    assert found.detail.startswith("this board dials 10.0.0.1:4433 and will not trust us: ")
    assert "it trusts 'CN=Example Root CA,O=Example'" in found.detail
    assert 'provision = { kind = "patch" }' in found.remedy


def test_a_certificate_that_was_given_is_held_against_the_roots_and_the_host(tmp_path):
    ca, other = trustme.CA(), trustme.CA()

    def given(signer, host):
        made = signer.issue_cert(host)
        made.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
        made.private_key_pem.write_to_path(tmp_path / "key.pem")
        return Authority.given(tmp_path / "chain.pem", tmp_path / "key.pem")

    image = pointed_at_us(ca.cert_pem.bytes().decode())
    assert not [*mismatches(replace(OLD, image=image, authority=given(ca, "10.0.0.1")))]
    found = only(replace(OLD, image=image, authority=given(ca, "10.0.0.2")))
    assert "IP address mismatch" in found.detail
    there = replace(OLD, host="10.0.0.2", gives=(*SETTINGS, "ca"), image=image)
    assert not [*mismatches(replace(there, authority=given(ca, "10.0.0.2")))]
    found = only(replace(OLD, image=image, authority=given(other, "10.0.0.1")))
    assert found.remedy.startswith("give [cloud] the certificate and key")  # no CA to put into it


def test_firmware_whose_roots_cannot_be_read_is_not_accused():
    image = image_of(mend(STOCK.replace(b"BEGIN CERT", b"BEGUN CERT")))
    board = replace(OLD, image=image)
    assert not [*mismatches(board)]
    assert "whom it trusts cannot be read from it" in summary(board)


def test_old_edgent_that_is_not_told_its_host_dials_the_one_it_was_built_for():
    board = replace(OLD, gives=("token", "ssid", "passphrase"), image=image_of(STOCK))
    found = [*mismatches(board)]
    assert found[0].detail.startswith("this board dials blynk.cloud:443, where it was built for")
    assert 'CONFIG_DEFAULT_SERVER "10.0.0.1"' in found[0].remedy


def test_old_edgent_that_was_patched_still_dials_its_own_port():
    board = replace(OLD, gives=("host", "ca"), image=pointed_at_us())
    found = only(board)
    assert found.detail == (
        "this board dials 10.0.0.1:443, as it was built; this rig's cloud listens at 4433 (tls)"
    )
    assert "[cloud] ports = { tls = [443] }" in found.remedy
    assert not [*mismatches(replace(board, open_ports=[443]))]


def test_new_edgent_dials_fixed_ports_whatever_it_is_told():
    found = only(replace(OLD, fixture="edgent-new"))
    assert "dials 10.0.0.1:443, then 10.0.0.1:9443, whatever it is told" in found.detail
    found = only(replace(OLD, fixture="edgent-new", kind="tcp"))
    assert "dials 10.0.0.1:80, then 10.0.0.1:8080" in found.detail
    assert not [*mismatches(replace(OLD, fixture="edgent-new", open_ports=[9443]))]


def test_the_router_of_a_virtual_rack_leads_fixed_ports_to_us():
    assert not [*mismatches(replace(OLD, fixture="edgent-new", forwarded=True))]


def test_old_edgent_where_the_rig_file_has_no_tls_is_told():
    found = only(replace(OLD, kind="tcp", image=image_of(STOCK)))
    assert "speaks TLS at any port, as old Edgent does" in found.detail
    assert 'dials = "tls"' in found.remedy
    without_roots = image_of(mend(STOCK.replace(b"BEGIN CERT", b"BEGUN CERT")))
    assert not [*mismatches(replace(OLD, kind="tcp", image=without_roots))]


def test_a_fixture_speaks_what_its_behaviour_says():
    board = replace(OLD, kind="tcp", image=image_of(FIXTURE))
    assert not [*mismatches(board)]
    assert summary(board) == "it dials 10.0.0.1:4433, without TLS"
    trusting = image_of(with_behaviour(FIXTURE, tls=True, ca=OURS.ca_pem))
    assert not [*mismatches(replace(OLD, image=trusting))]
    assert "will not trust us" in only(replace(OLD, image=image_of(FIXTURE))).detail


def test_new_edgent_without_tls_fetches_no_https():
    board = replace(OLD, fixture="edgent-new", kind="tcp", forwarded=True, https=True)
    assert "fetches no https URL" in only(board).detail
    assert "delivery.https = false" in only(board).remedy


@pytest.mark.parametrize("kind", ["tcp", "tls", "mqtt", "mqtts"])
def test_of_a_board_of_which_nothing_is_known_nothing_is_said(kind):
    assert not [*mismatches(replace(OLD, kind=kind))]


def test_the_doctor_says_what_a_board_dials_and_why_it_will_not_trust_us(tmp_path):
    with opened(tmp_path, 'dials = "tls"\nprovision = { kind = "edgent-nvs" }') as session:
        section = session.config.pick("a")
        patient = Patient(session.rig, section, lambda place: image_of(STOCK))
        patient.port()
        patient.firmware()
        with pytest.raises(Failed) as caught:
            patient.dials()
        host, port = session.rig.cloud.address_of("tls")
        said = f"this board dials {host}:{port} and will not trust us: "
        assert caught.value.detail.startswith(said)
        assert 'kind = "patch"' in caught.value.remedy
