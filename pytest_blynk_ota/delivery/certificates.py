"""What a TLS port of the firmware server shows: the right certificate, or the wrong one wanted."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)
WRONG_NAME = "wrong-name.invalid"
"""No host has it (RFC 2606, 2)."""


class Signer(Protocol):
    """Who signs the right certificates: the authority of the rig (``cloud.tls``)."""

    @property
    def ca(self) -> trustme.CA | None:
        """The CA; None where a certificate was given, whose CA only its owner has."""

    def server_context(self, names: Sequence[str]) -> ssl.SSLContext:
        """What a TLS port of these names shows."""


class Certificates:
    """Makes the contexts of one server's TLS ports, each once.

    Where the rig's certificate was given, so that its CA cannot sign, a wrong one comes from a CA
    of its own, and is wrong in that too.

    Args:
        names: host names and addresses of the server.
    """

    def __init__(self, signer: Signer, names: Sequence[str]) -> None:
        self._signer = signer
        self._names = tuple(names)
        self._made: dict[str | None, ssl.SSLContext] = {}
        self._own: trustme.CA | None = None

    def context(self, how: str | None = None) -> ssl.SSLContext:
        """The context of a connection.

        Args:
            how: a word of ``kinds.TLS_WAYS``; None, or one that is none of the certificate or the
                version: the right one.
        """
        how = how if how in WAYS else None
        if how not in self._made:
            made = WAYS[how](self) if how is not None else self._right()
            made.num_tickets = 0  # no device comes back to resume; the first record is the answer
            self._made[how] = made
        return self._made[how]

    def _right(self) -> ssl.SSLContext:
        return self._signer.server_context(self._names)

    def _ca(self) -> trustme.CA:
        return self._signer.ca or self._another()

    def _another(self) -> trustme.CA:
        if self._own is None:
            self._own = trustme.CA(organization_name="an unknown CA")
        return self._own

    def _issued(
        self, ca: trustme.CA, *names: str, begin: dt.timedelta = -DAY, end: dt.timedelta = 365 * DAY
    ) -> ssl.SSLContext:
        now = dt.datetime.now(dt.UTC)
        leaf = ca.issue_cert(*names, not_before=now + begin, not_after=now + end)
        context = _bare()
        leaf.configure_cert(context)
        return context

    def _expired(self) -> ssl.SSLContext:
        return self._issued(self._ca(), *self._names, begin=-30 * DAY, end=-DAY)

    def _not_yet_valid(self) -> ssl.SSLContext:
        # Far off: a device without a clock believes what it is told.
        return self._issued(self._ca(), *self._names, begin=3650 * DAY, end=3651 * DAY)

    def _unknown_ca(self) -> ssl.SSLContext:
        return self._issued(self._another(), *self._names)

    def _wrong_name(self) -> ssl.SSLContext:
        return self._issued(self._ca(), WRONG_NAME)

    def _self_signed(self) -> ssl.SSLContext:
        return _self_signed(self._names)

    def _only(self, version: ssl.TLSVersion) -> ssl.SSLContext:
        context = self._right()
        context.minimum_version = context.maximum_version = version
        return context

    def _client_certificate(self) -> ssl.SSLContext:
        context = self._right()
        context.verify_mode = ssl.CERT_REQUIRED
        self._ca().configure_trust(context)
        return context


WAYS: Mapping[str, Callable[[Certificates], ssl.SSLContext]] = {
    "expired": Certificates._expired,
    "not-yet-valid": Certificates._not_yet_valid,
    "unknown-ca": Certificates._unknown_ca,
    "self-signed": Certificates._self_signed,
    "wrong-name": Certificates._wrong_name,
    "only-1.2": lambda made: made._only(ssl.TLSVersion.TLSv1_2),
    "only-1.3": lambda made: made._only(ssl.TLSVersion.TLSv1_3),
    "client-certificate": Certificates._client_certificate,
}


def _bare() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _self_signed(names: Sequence[str]) -> ssl.SSLContext:
    """A certificate that its own key has signed, for the right names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a self-signed firmware server")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 365 * DAY)
        .add_extension(x509.SubjectAlternativeName([_identity(one) for one in names]), False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = _bare()
    with tempfile.TemporaryDirectory() as folder:  # Python loads a chain from a file only
        path = Path(folder) / "chain.pem"
        path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(path)
    return context


def _identity(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
