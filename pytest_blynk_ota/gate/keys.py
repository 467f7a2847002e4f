"""Ed25519 keys of an attestation, from PEM. Pure: no file, no environment.

A private key is in no message, no ``repr`` and no frame that a traceback shows, with its locals
or without: errors are raised where no key is at hand.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from pytest_blynk_ota.errors import UsageError

CREATE = "openssl genpkey -algorithm ed25519 -out release.pem"
PUBLISH = "openssl pkey -in release.pem -pubout -out release.pub.pem"
PASSPHRASE = "BLYNK_OTA_SIGNING_PASSPHRASE"
"""The variable of the environment that opens an encrypted key."""
MAX_PEM_BYTES = 64 << 10
BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
PRIVATE = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
PUBLIC = ("PUBLIC KEY",)
OTHER_LABELS: Mapping[str, str] = {
    "RSA PRIVATE KEY": "an RSA key",
    "RSA PUBLIC KEY": "an RSA key",
    "EC PRIVATE KEY": "an EC key",
    "EC PARAMETERS": "an EC key",
    "DSA PRIVATE KEY": "a DSA key",
    "OPENSSH PRIVATE KEY": "a key in the format of OpenSSH",
    "CERTIFICATE": "a certificate",
}
"""RFC 7468 and what OpenSSL and OpenSSH write."""
OTHER_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((RSAPrivateKey, RSAPublicKey), "an RSA key"),
    ((EllipticCurvePrivateKey, EllipticCurvePublicKey), "an EC key"),
)

P = 2**255 - 19
SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        P - 1,
        int.from_bytes(
            bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
            "little",
        ),
        int.from_bytes(
            bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
            "little",
        ),
    }
)
"""y of the points of edwards25519 whose order divides 8 (Chalkias and others, "Taming the many
EdDSAs", 2020). Anybody can write signatures for such a key that hold for every text."""
KNOWN_SEEDS = (
    # RFC 8032, section 7.1
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
    "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
    # what placeholders are made of
    "00" * 32,
    "ff" * 32,
    bytes(range(32)).hex(),
    bytes(range(1, 33)).hex(),
)
MIN_DIFFERENT_BYTES = 12
"""A seed of 32 random bytes has fewer than so many different ones once in 10**24."""


class Secret:
    """Bytes that are never shown."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def data(self) -> bytes:
        """The bytes."""
        return self._data

    def __repr__(self) -> str:
        return "<secret>"


class SigningKey:
    """A private key that signs. ``signer`` is securesystemslib's; ``public`` what verifies."""

    __slots__ = ("public", "signer")

    def __init__(self, signer: CryptoSigner) -> None:
        self.signer = signer
        self.public: SSlibKey = signer.public_key

    def __repr__(self) -> str:
        return f"<SigningKey {self.public.keyid}>"


def keyid_of(key: Ed25519PublicKey) -> str:
    """SHA-256 of the key's DER, as ``openssl pkey -pubin -outform DER | sha256sum`` says it."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def read_public(pem: bytes, where: str) -> SSlibKey:
    """The public key of a PEM text.

    Args:
        pem: the text.
        where: its file, for messages.

    Raises:
        UsageError: it is no public Ed25519 key, or one that anybody can sign for.
    """
    problem = _wrong_form(pem, PUBLIC)
    if problem:
        raise UsageError(f"{where}: {problem}")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{where}: is no public key that can be read: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{where}: is {_kind(key)}, expected an Ed25519 key: {PUBLISH}")
    if weak := weakness(key.public_bytes_raw()):
        raise UsageError(f"{where}: is a weak key: {weak}")
    return SSlibKey.from_crypto(key, keyid=keyid_of(key))


def read_private(pem: Secret, where: str, passphrase: Secret | None = None) -> SigningKey:
    """The private key of a PEM text.

    Args:
        pem: the text.
        where: its file or variable, for messages.
        passphrase: opens it, if it is encrypted.

    Raises:
        UsageError: it is no private Ed25519 key, a weak one, or encrypted and not opened.
    """
    found = _private(pem, passphrase)
    if isinstance(found, str):
        raise UsageError(f"{where}: {found}")
    return found


def _private(pem: Secret, passphrase: Secret | None) -> SigningKey | str:
    """The key, or what is wrong with it. Nothing is raised while a key is at hand."""
    problem = _wrong_form(pem.data, PRIVATE)
    if problem:
        return problem
    encrypted = b"ENCRYPTED" in pem.data
    if encrypted and passphrase is None:
        return f"is encrypted: its passphrase is expected in {PASSPHRASE}"
    try:
        opens = passphrase.data if encrypted and passphrase is not None else None
        key = load_pem_private_key(pem.data, opens)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # whose words may quote the key
        if encrypted:
            return f"is encrypted, and the passphrase in {PASSPHRASE} does not open it"
        return f"is no private key that can be read, expected one as made by: {CREATE}"
    if not isinstance(key, Ed25519PrivateKey):
        return f"is {_kind(key)}, expected an Ed25519 key, as made by: {CREATE}"
    public = key.public_key()
    weak = weakness(public.public_bytes_raw()) or _pattern(key.private_bytes_raw())
    if weak:
        return f"is a weak key: {weak}; make one by: {CREATE}"
    return SigningKey(CryptoSigner(key, SSlibKey.from_crypto(public, keyid=keyid_of(public))))


def _wrong_form(pem: bytes, expected: tuple[str, ...]) -> str:
    """What a PEM text is, where it is not one block of the expected kind; else ""."""
    if len(pem) > MAX_PEM_BYTES:
        return f"is larger than {MAX_PEM_BYTES} bytes, expected one key in PEM"
    labels = [found.decode("ascii") for found in BEGIN.findall(pem)]
    other = next((OTHER_LABELS[label] for label in labels if label in OTHER_LABELS), None)
    private = "PRIVATE KEY" in expected
    how = f"as made by: {CREATE if private else PUBLISH}"
    if other:
        return f"is {other}, expected an Ed25519 key in PEM, {how}"
    if not labels:
        return f"holds no key in PEM, expected an Ed25519 key, {how}"
    if len(labels) > 1:
        return f"holds {len(labels)} blocks of PEM, expected one key"
    if labels[0] in expected:
        return ""
    if labels[0] in PUBLIC:
        return f"is a public key; to sign, the private one is expected, {how}"
    if labels[0] in PRIVATE:
        return f"is a private key, which no verifier should have; expected the public one, {how}"
    return f"is {labels[0].lower()!r}, expected an Ed25519 key in PEM, {how}"


def _kind(key: Any) -> str:
    name = type(key).__name__.removesuffix("PublicKey").removesuffix("PrivateKey")
    return next((word for types, word in OTHER_KINDS if isinstance(key, types)), f"a key of {name}")


def weakness(public: bytes) -> str:
    """Why nobody should trust a public key of 32 bytes; "" if nothing is known against it."""
    y = int.from_bytes(public, "little") & (1 << 255) - 1
    if y in SMALL_ORDER_Y or y >= P:
        return "a point of small order, for which anybody can sign"
    if public in _known():
        return "its private half is printed in a standard or is a placeholder"
    return ""


@functools.cache
def _known() -> frozenset[bytes]:
    seeds = (Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)) for seed in KNOWN_SEEDS)
    return frozenset(key.public_key().public_bytes_raw() for key in seeds)


def _pattern(seed: bytes) -> str:
    if len(set(seed)) < MIN_DIFFERENT_BYTES:
        return f"its 32 bytes are only {len(set(seed))} different ones"
    if len({(after - before) % 256 for before, after in pairwise(seed)}) == 1:
        return "its 32 bytes are a plain series"
    return ""
