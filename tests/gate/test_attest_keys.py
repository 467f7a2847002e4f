"""Keys: what is none that can sign is refused by name, and a private one is never shown."""

import logging
import os
import subprocess
import sys
import traceback
from io import StringIO
from pathlib import Path

import pytest
from attest_bench import private_pem, public_pem, write_private
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from rich.console import Console
from rich.traceback import Traceback

from pytest_blynk_ota.cli.gate_keys import VARIABLE, public_key, signing_key
from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.gate.keys import (
    KNOWN_SEEDS,
    PASSPHRASE,
    SMALL_ORDER_Y,
    P,
    Secret,
    read_private,
    weakness,
)

OURS = Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
D = -121665 * pow(121666, -1, P) % P
"""The constant of edwards25519 (RFC 8032, section 5.1)."""


def traditional(key):
    kind = form.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(form.Encoding.PEM, kind, form.NoEncryption())


def openssh(key):
    kind = form.PrivateFormat.OpenSSH
    return key.private_bytes(form.Encoding.PEM, kind, form.NoEncryption())


def of_seed(seed):
    return private_pem(Ed25519PrivateKey.from_private_bytes(seed))


def raw_public(data):
    return Ed25519PublicKey.from_public_bytes(data).public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.fixture(autouse=True)
def _no_key_around_us(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(PASSPHRASE, raising=False)


def test_a_key_from_a_file_and_from_the_environment_are_the_same(tmp_path, monkeypatch):
    path = write_private(tmp_path / "k.pem", private_pem(OURS))
    of_file = signing_key(path)
    monkeypatch.setenv(VARIABLE, private_pem(OURS).decode())
    of_environment = signing_key(None)
    assert of_file.public.keyid == of_environment.public.keyid
    public = tmp_path / "k.pub.pem"
    public.write_bytes(public_pem(OURS))
    assert public_key(public).keyid == of_file.public.keyid


def test_a_file_comes_before_the_environment(tmp_path, monkeypatch):
    path = write_private(tmp_path / "k.pem", private_pem(OURS))
    alone = signing_key(path)
    monkeypatch.setenv(VARIABLE, private_pem(Ed25519PrivateKey.generate()).decode())
    assert signing_key(path).public.keyid == alone.public.keyid
    assert signing_key(None).public.keyid != alone.public.keyid


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_without_a_file_and_a_variable_there_is_no_key(value, monkeypatch):
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert signing_key(None) is None


def test_a_passphrase_of_the_environment_opens_an_encrypted_key(tmp_path, monkeypatch):
    locked = write_private(tmp_path / "locked.pem", private_pem(OURS, b"open sesame"))
    plain = write_private(tmp_path / "plain.pem", private_pem(OURS))
    monkeypatch.setenv(PASSPHRASE, "open sesame")
    assert signing_key(locked).public.keyid == signing_key(plain).public.keyid


WRONG_PRIVATE = {
    "RSA": (private_pem(RSA), "an RSA key"),
    "RSA, traditional": (traditional(RSA), "an RSA key"),
    "EC": (private_pem(EC), "an EC key"),
    "EC, traditional": (traditional(EC), "an EC key"),
    "DSA": (traditional(dsa.generate_private_key(1024)), "a DSA key"),
    "Ed448": (private_pem(ed448.Ed448PrivateKey.generate()), "Ed448"),
    "X25519": (private_pem(x25519.X25519PrivateKey.generate()), "X25519"),
    "of OpenSSH": (openssh(OURS), "the format of OpenSSH"),
    "public": (public_pem(OURS), "a public key; to sign, the private one"),
    "encrypted": (private_pem(OURS, b"secret words"), PASSPHRASE),
    "a certificate": (b"-----BEGIN CERTIFICATE-----\n", "a certificate"),
    "two": (private_pem(OURS) * 2, "2 blocks"),
    "empty": (b"", "holds no key in PEM"),
    "no PEM": (b"hunter2", "holds no key in PEM"),
    "broken": (private_pem(OURS).replace(b"MC4", b"MC5"), "no private key that can be read"),
    "escaped line ends": (private_pem(OURS).replace(b"\n", b"\\n"), "can be read"),
    "endless": (b"-----BEGIN PRIVATE KEY-----" + b"A" * (1 << 20), "larger than"),
    "one byte 32 times": (of_seed(b"\x07" * 32), "weak key: its 32 bytes are only 1"),
    "zeros": (of_seed(bytes(32)), "weak key"),
    "a series": (of_seed(bytes(range(5, 37))), "a plain series"),
    "from RFC 8032": (of_seed(bytes.fromhex(KNOWN_SEEDS[0])), "printed in a standard"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_PRIVATE)
def test_what_cannot_sign_is_refused_by_name(name, tmp_path, monkeypatch):
    data, words = WRONG_PRIVATE[name]
    path = write_private(tmp_path / "k.pem", data)
    with pytest.raises(UsageError, match=words) as raised:
        signing_key(path)
    assert str(raised.value).startswith(f"{path}: ")
    if data.strip() and len(data) < 100_000:  # a blank variable is none, a huge one no kernel takes
        monkeypatch.setenv(VARIABLE, data.decode())
        with pytest.raises(UsageError, match=words) as raised:
            signing_key(None)
        assert str(raised.value).startswith(f"{VARIABLE}: ")


WRONG_PUBLIC = {
    "RSA": (public_pem(RSA), "an RSA key"),
    "EC": (public_pem(EC), "an EC key"),
    "Ed448": (public_pem(ed448.Ed448PrivateKey.generate()), "Ed448"),
    "private": (private_pem(OURS), "is a private key, which no verifier should have"),
    "encrypted private": (private_pem(OURS, b"secret words"), "is a private key"),
    "of OpenSSH": (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA x@y", "holds no key in PEM"),
    "of a known seed": (
        public_pem(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(KNOWN_SEEDS[4]))),
        "weak key",
    ),
    "the neutral point": (raw_public(b"\x01" + bytes(31)), "small order"),
    "the same, written otherwise": (raw_public((P + 1).to_bytes(32, "little")), "small order"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_PUBLIC)
def test_what_cannot_verify_is_refused_by_name(name, tmp_path):
    data, words = WRONG_PUBLIC[name]
    path = tmp_path / "k.pub.pem"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=words):
        public_key(path)


def double(point):
    """2P on -x² + y² = 1 + dx²y² (RFC 8032, section 5.1)."""
    x, y = point
    bend = D * x * x * y * y % P
    return 2 * x * y * pow(1 + bend, -1, P) % P, (y * y + x * x) * pow(1 - bend, -1, P) % P


def root(value):
    """A square root modulo P; None if there is none."""
    found = pow(value, (P + 3) // 8, P)
    for one in (found, found * pow(2, (P - 1) // 4, P) % P):
        if one * one % P == value % P:
            return one
    return None


def test_the_points_of_small_order_are_those_that_double_to_nothing():
    for y in SMALL_ORDER_Y:
        x = root((y * y - 1) * pow(D * y * y + 1, -1, P) % P)
        assert x is not None, f"{y:x} is no point"
        assert double(double(double((x, y)))) == (0, 1)
    assert len(SMALL_ORDER_Y) == 5  # of eight points: y of order 1, 2, 4 (two of them), 8 (four)


def test_everybody_can_sign_for_the_neutral_point_which_is_why_it_is_refused():
    neutral = b"\x01" + bytes(31)
    Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"any text at all")
    assert weakness(neutral)
    assert weakness(neutral[:31] + b"\x80")  # the same with the other sign


def test_keys_at_random_are_not_weak():
    for _ in range(200):
        made = read_private(Secret(private_pem(Ed25519PrivateKey.generate())), "made")
        assert repr(made) == f"<SigningKey {made.public.keyid}>"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666, 0o777])
def test_a_private_key_that_everybody_may_read_or_write_is_refused(mode, tmp_path):
    path = write_private(tmp_path / "k.pem", private_pem(OURS), mode)
    with pytest.raises(UsageError, match=r"everybody on this host.*chmod 600"):
        signing_key(path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_private_key_of_its_owner_and_a_group_is_read(mode, tmp_path):
    path = write_private(tmp_path / "k.pem", private_pem(OURS), mode)
    assert signing_key(path) is not None


def test_a_public_key_may_be_read_by_everybody(tmp_path):
    path = tmp_path / "k.pub.pem"
    path.write_bytes(public_pem(OURS))
    path.chmod(0o644)
    assert public_key(path)


def test_a_key_may_come_out_of_a_pipe():
    inlet, outlet = os.pipe()
    os.write(outlet, private_pem(OURS))
    os.close(outlet)
    try:
        assert signing_key(Path(f"/dev/fd/{inlet}")) is not None
    finally:
        os.close(inlet)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_key_that_cannot_be_read_is_a_usage_error_with_its_path(make, tmp_path):
    make(tmp_path / "k.pem")
    with pytest.raises(UsageError, match=r"k\.pem: .*expected the file of a key"):
        signing_key(tmp_path / "k.pem")


def told(error):
    """All that tracebacks show of an error beyond the test's own frame, locals included."""
    inside = error.__traceback__.tb_next
    out = StringIO()
    rich = Traceback.from_exception(type(error), error, inside, show_locals=True)
    Console(file=out, width=500).print(rich)
    plain = traceback.TracebackException(type(error), error, inside, capture_locals=True)
    return out.getvalue() + "".join(plain.format())


WEAK = Ed25519PrivateKey.from_private_bytes(bytes(range(100, 132)))
SHOWN = {
    "RSA": (private_pem(RSA), b""),
    "EC": (private_pem(EC), b""),
    "weak": (private_pem(WEAK), b""),
    "broken": (private_pem(OURS).replace(b"MC4", b"MC5"), b""),
    "passphrase": (private_pem(OURS, b"the right one"), b"the wrong one"),
    "two": (private_pem(OURS) * 2, b"not needed here"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_no_traceback_and_no_log_shows_a_private_key_nor_its_passphrase(
    name, tmp_path, caplog, monkeypatch
):
    data, passphrase = SHOWN[name]
    caplog.set_level(logging.DEBUG)
    path = write_private(tmp_path / "k.pem", data)
    monkeypatch.setenv(VARIABLE, data.decode())
    monkeypatch.setenv(PASSPHRASE, passphrase.decode())
    seen = ""
    for given in (path, None):
        with pytest.raises(UsageError) as raised:
            signing_key(given)
        seen += told(raised.value)
    assert seen.count("in signing_key") == 4
    assert "<secret>" in seen  # the locals were there to be shown
    secrets = [*data.decode().splitlines()[1:-1], passphrase.decode()]
    assert not [one for one in secrets if one and one in seen + caplog.text]


def test_a_signing_key_prints_its_public_half_alone(tmp_path):
    key = signing_key(write_private(tmp_path / "k.pem", private_pem(OURS)))
    shown = repr(key) + str(key) + repr(vars(key.signer)) + repr(vars(key.public))
    raw = OURS.private_bytes_raw()
    assert key.public.keyid in repr(key)
    for secret in (raw.hex(), repr(raw)[2:-1], private_pem(OURS).decode().splitlines()[1]):
        assert secret not in shown


def test_a_process_that_cannot_read_its_key_says_so_without_it():
    """As users have it: the variable is set, and what is raised comes out of the interpreter."""
    code = "from pytest_blynk_ota.cli.gate_keys import signing_key; signing_key(None)"
    data = private_pem(OURS).replace(b"MC4", b"MC5").decode()
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code],
        env={**os.environ, VARIABLE: data},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "BLYNK_OTA_SIGNING_KEY: is no private key" in done.stderr
    assert data.splitlines()[1] not in done.stdout + done.stderr
