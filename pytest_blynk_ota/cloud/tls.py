"""Who the servers of a rig say they are: a CA of the rig's own, or a certificate that was given.

The CA is made by trustme for each rig that opens a TLS port, and lives as long as the process: only
its certificate (public) ever leaves it. Firmware has to trust that certificate, as ``ca`` of its
recipe says, or be built with it; a board in the field is built with public CAs and needs a given
certificate that one of those has signed.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import trustme

from pytest_blynk_ota.errors import UsageError

ORGANIZATION = "pytest-blynk-ota rig"


class Authority:
    """A CA that signs the certificates of one rig's servers.

    Attributes:
        ca_pem: the CA's certificate, for firmware and clients to trust; "" where a certificate was
            given, whose CA only its owner knows.
    """

    def __init__(self) -> None:
        self._ca: trustme.CA | None = trustme.CA(organization_name=ORGANIZATION)
        self._given: tuple[Path, Path] | None = None
        self.ca_pem = self._ca.cert_pem.bytes().decode()

    @classmethod
    def given(cls, certificate: Path, key: Path) -> Authority:
        """One that shows the same certificate chain at every port.

        Raises:
            UsageError: the files cannot be read, or do not belong together.
        """
        authority = cls.__new__(cls)
        authority._ca, authority._given, authority.ca_pem = None, (certificate, key), ""
        authority.server_context(())
        return authority

    @property
    def ca(self) -> trustme.CA | None:
        """The CA; None where a certificate was given."""
        return self._ca

    def server_context(self, names: Sequence[str]) -> ssl.SSLContext:
        """What a TLS port shows: TLS 1.2 at least (Blynk documentation, security.md).

        Args:
            names: host names and addresses that the certificate is for; a given one has its own.

        Raises:
            UsageError: a given certificate or key cannot be read, or they do not belong together.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._ca is not None:
            self._ca.issue_cert(*names).configure_cert(context)
        elif self._given is not None:
            _load(context, *self._given)
        return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for path in (certificate, key):
        if not path.is_file():
            raise UsageError(f"TLS: expected a PEM file at {path}, there is none")

    def no_passphrase() -> bytes:
        # Without this OpenSSL asks for one at the terminal, in the middle of a run.
        raise UsageError(f"TLS: the key {key} is encrypted; expected one without a passphrase")

    try:
        context.load_cert_chain(certificate, key, no_passphrase)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            f"TLS: {certificate} and {key} are no certificate chain and its key in PEM: "
            f"{error.strerror or error}"
        ) from error
