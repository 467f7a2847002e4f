"""Settings that stand in an image are replaced in place, and the image stays a good one."""

from __future__ import annotations

import datetime as dt
import ssl
from random import Random

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pytest_blynk_ota.cloud.tls import Authority
from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import blnkopt, texts
from pytest_blynk_ota.firmware.compiled import DEFAULT_HOST, ROOT, compiled
from pytest_blynk_ota.firmware.derive import pointed, provisioned
from pytest_blynk_ota.firmware.image import SIGNATURE_V2_MAGIC, parse

SETTINGS = {
    "ssid": "lab",
    "passphrase": "passphrase",
    "token": "0" * 32,
    "host": "10.0.0.1",
    "port": 8080,
}


def signed(data: bytes) -> bytes:
    """With a secure boot signature of version 2 behind it."""
    return data.ljust(-(-len(data) // 4096) * 4096, b"\xff") + SIGNATURE_V2_MAGIC.ljust(4096)


def root(*, name="Example", v1=False) -> str:
    """A CA in PEM, whose key is gone."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2050, 1, 1, tzinfo=dt.UTC))
    )
    if not v1:
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


# -- the blnkopt section


def test_a_stock_section_holds_placeholders_and_the_defaults(new):
    section = blnkopt.find(new)
    assert section is not None
    assert section.pairs["ssid"].startswith("PlaceholderPlaceholder")
    assert "auth" not in section.pairs
    assert (section.pairs["host"], section.pairs["port"]) == ("blynk.cloud", "443")


def test_settings_in_the_section_leave_a_good_image_of_the_same_length(new):
    data = provisioned(new, **SETTINGS)
    assert parse(data).problems == ()
    assert len(data) == len(new)
    assert compiled(parse(data)).options == {
        "ssid": "lab",
        "pass": "passphrase",
        "auth": "0" * 32,
        "host": "10.0.0.1",
        "port": "8080",
    }


def test_nothing_else_in_the_image_changes(new):
    section = blnkopt.find(new)
    data = provisioned(new, **SETTINGS)
    changed = [at for at in range(len(new)) if data[at] != new[at]]
    inside = range(section.offset, section.offset + section.size)
    assert all(at in inside or at >= len(new) - 33 for at in changed)  # checksum and SHA-256


def test_a_magic_in_other_data_is_no_section():
    assert blnkopt.find(b"blnkopt\0\xff\xfe\0\0" + blnkopt.stock("h", 1)).pairs["host"] == "h"
    assert blnkopt.find(b"blnkopt\0ssid\0no end") is None
    assert blnkopt.find(b"blnkopt\0\0") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ssid": "s" * 34}, "blnkopt: ssid has 34 bytes, room is for 33"),
        ({"passphrase": "p" * 64}, "blnkopt: pass has 64 bytes, room is for 63"),
        ({"host": "h" * 34}, "blnkopt: host has 34 bytes, room is for 33"),
    ],
)
def test_a_setting_longer_than_the_firmwares_field_is_refused(new, changes, said):
    with pytest.raises(FirmwareError, match=said):
        provisioned(new, **{**SETTINGS, **changes})


def test_a_section_without_its_placeholders_has_no_room(new):
    data = new.replace(blnkopt.PLACEHOLDER, b"lab".ljust(len(blnkopt.PLACEHOLDER), b"\0"))
    with pytest.raises(FirmwareError, match=r"the settings have \d+ bytes, room is for 10;"):
        blnkopt.patched(data, **SETTINGS)


def test_an_image_without_a_section_is_none_of_old_edgents(new):
    data = new.replace(b"blnkopt\0", b"blnkopT\0")
    with pytest.raises(FirmwareError, match="it has no blnkopt section"):
        blnkopt.patched(data, **SETTINGS)


# -- host and roots


def test_a_fixture_holds_its_host_and_its_root_as_stock_firmware_does(new):
    found = compiled(parse(new))
    assert (found.host, found.roots) == (DEFAULT_HOST, ROOT)
    (text,) = texts.roots_of(new)
    assert text.subjects == ("CN=Example Root CA,O=Example",)
    assert len(texts.places_of(new, DEFAULT_HOST)) == 2  # the other is in its blnkopt section


def talk(server: ssl.SSLContext, trusted: str) -> None:
    """A handshake with a server by a client that trusts nobody else. Raises ssl.SSLError."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=trusted)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname="10.0.0.1")
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert one.version() is not None


def test_who_trusts_only_what_is_read_back_from_the_image_trusts_the_rig_and_nobody_else(new):
    rig, other = Authority(), Authority()
    data = pointed(new, default_host="blynk.cloud", host="10.0.0.1", ca=rig.ca_pem)
    assert parse(data).problems == ()
    (text,) = texts.roots_of(data)
    talk(rig.server_context(("10.0.0.1",)), text.pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(other.server_context(("10.0.0.1",)), text.pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(rig.server_context(("10.0.0.1",)), texts.roots_of(new)[0].pem)


def test_a_patched_image_dials_the_new_host_and_has_no_other_length(new):
    data = pointed(new, default_host="blynk.cloud", host="10.0.0.1")
    assert compiled(parse(data)).host == "10.0.0.1"
    assert compiled(parse(data)).roots == ROOT
    assert b"blynk.cloud\0" not in data
    assert len(data) == len(new)


def test_a_patched_host_leaves_a_blnkopt_section_that_can_be_read(new):
    data = pointed(new, default_host="blynk.cloud", host="10.0.0.1")
    before, after = blnkopt.find(new), blnkopt.find(data)
    assert dict(after.pairs) == {**before.pairs, "host": "10.0.0.1"}
    assert list(after.pairs) == ["ssid", "host", "port"]


def test_a_text_keeps_its_length_for_code_that_knows_it():
    old = root(name="a name that is a good deal longer than the other") + root(name="another")
    data = b"\0" + old.encode() + b"\0behind"
    fresh = texts.with_roots(data, root(name="rig"))
    assert len(fresh) == len(data)
    assert fresh.endswith(b"\n\0behind")
    assert texts.roots_of(fresh)[0].subjects == ("CN=rig",)


def test_each_text_of_roots_is_replaced():
    data = b"\0".join([root(name="a" * 40).encode(), root(name="b" * 40, v1=True).encode(), b""])
    assert len(texts.roots_of(data)) == 2
    found = texts.roots_of(texts.with_roots(data, root(name="rig", v1=True)))
    assert [text.subjects for text in found] == [("CN=rig",), ("CN=rig",)]


def test_the_devices_own_certificate_is_no_root_and_stays():
    own = trustme.CA().issue_cert("device.example").cert_chain_pems[0].bytes()
    data = own + b"\0" + root(name="a" * 40).encode() + b"\0"
    assert texts.with_roots(data, root(name="rig")).startswith(own + b"\0")
    with pytest.raises(FirmwareError, match="it has no TLS root certificate in PEM"):
        texts.with_roots(own + b"\0", root())


def test_a_root_that_is_too_short_for_the_rigs_is_told_with_both_lengths():
    short, long = root(name="r"), root(name="rig" * 20)
    said = rf"root 'CN=r' at 0x1 has {len(short)} bytes, the rig's CA has {len(long)}"
    with pytest.raises(FirmwareError, match=said):
        texts.with_roots(b"\0" + short.encode() + b"\0", long)


def test_a_host_that_is_too_long_is_told_with_both_lengths(new):
    said = r"host '192\.168\.178\.20' has 14 bytes, in place of 'blynk\.cloud' .* room for 11"
    with pytest.raises(FirmwareError, match=said):
        pointed(new, default_host="blynk.cloud", host="192.168.178.20")


def test_a_host_is_a_text_by_itself_and_no_part_of_another():
    assert texts.places_of(b"my.blynk.cloud\0blynk.cloud\0blynk.clouds\0", "blynk.cloud") == [15]


def test_a_host_that_is_not_there_is_told(new):
    with pytest.raises(FirmwareError, match=r"does not hold its host 'fra1\.blynk\.cloud'"):
        pointed(new, default_host="fra1.blynk.cloud", host="10.0.0.1")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: provisioned(data, **SETTINGS),
        lambda data: pointed(data, default_host="blynk.cloud", host="10.0.0.1"),
    ],
)
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (signed, "it is signed, and a change breaks the signature"),
        (lambda data: bytes(byte ^ 0xA5 for byte in data), "no ESP image"),
        (lambda data: data[:-1], "it is damaged already"),
    ],
)
def test_a_signed_an_encrypted_and_a_damaged_image_are_refused(new, change, spoil, said):
    with pytest.raises(FirmwareError, match=said):
        change(spoil(new))


def test_an_encrypted_image_is_called_so(new):
    noise = Random(1).randbytes(len(new) // 16 * 16)
    with pytest.raises(FirmwareError, match="looks encrypted; give the image as it was before"):
        provisioned(b"\x00" + noise[1:], **SETTINGS)
