"""TLS as a board speaks it: over one of its own TCP connections, so that ghosts stay right.

What ESP-IDF's mbedTLS is by default: TLS 1.2 and no other version, one given CA, the server's name
checked. Whether dates are checked is a build option (CONFIG_MBEDTLS_HAVE_TIME_DATE, off in ESP-IDF
and in Arduino's libraries); then the device's own clock decides. A close is a FIN, without
``close_notify``, as esp_tls and Arduino's clients do it.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.network.sockets import SEGMENT_BYTES
from pytest_blynk_ota.virtual.network.tcp import Connection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: OpenSSL would use the host's clock."""
RECORD_BYTES = 16384 + 2048

VERIFY_FAILED = -0x2700
CONN_EOF = -0x7280
FATAL_ALERT = -0x7780
BAD_PROTOCOL_VERSION = -0x6E80
INVALID_RECORD = -0x7200
CONN_RESET = -0x0050
ERRORS: Mapping[int, str] = {
    VERIFY_FAILED: "X509 - Certificate verification failed, e.g. CRL, CA or signature check failed",
    CONN_EOF: "SSL - The connection indicated an EOF",
    FATAL_ALERT: "SSL - A fatal alert message was received from our peer",
    BAD_PROTOCOL_VERSION: "SSL - Handshake protocol not within min/max boundaries",
    INVALID_RECORD: "SSL - An invalid SSL record was received",
    CONN_RESET: "NET - Connection was reset by peer",
}
"""Codes and words of mbedTLS 3 (error.c)."""

UNTRUSTED = "The certificate is not correctly signed by the trusted CA"
WRONG_NAME = "The certificate Common Name (CN) does not match with the expected CN"
EXPIRED = "The certificate validity has expired"
FUTURE = "The certificate validity starts in the future"
"""mbedtls_x509_crt_verify_info()."""
NAME_MISMATCH = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH of OpenSSL."""


class TlsFailed(OSError):
    """Raised when TLS cannot be set up, or breaks.

    Attributes:
        code: as mbedTLS numbers it, negative.
        why: for a certificate, what is wrong with it.
    """

    def __init__(self, code: int, why: str = "") -> None:
        self.code = code
        self.why = why
        super().__init__(f"-0x{-code:04x} {self.words}" + (f": {why}" if why else ""))

    @property
    def words(self) -> str:
        """mbedTLS's sentence for the code."""
        return ERRORS.get(self.code, "UNKNOWN ERROR CODE")


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a firmware trusts.

    Attributes:
        ca: certificates in PEM; empty and not ``insecure``: nobody.
        insecure: any certificate will do (``setInsecure()``).
        dates: whether validity dates are checked.
    """

    ca: str = ""
    insecure: bool = False
    dates: bool = False


class TlsConnection(Connection):
    """A connection inside a connection; :meth:`handshake` before all else."""

    def __init__(self, raw: Connection, host: str, trust: Trust, unix_time: float = 0.0) -> None:
        self._raw = raw
        self._ahead = b""
        self._trust = trust
        self._unix_time = unix_time
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._context = _context(trust)
        name = None if trust.insecure else host
        self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    async def handshake(self) -> None:
        """Until both sides are sure; put the clock's ``within`` around it.

        Raises:
            TlsFailed: the peer is not whom we trust, or no TLS 1.2 came about.
            OSError: the connection broke.
        """
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLError as error:
                await self._say_goodbye()
                raise _failed(error) from error
        await self._flush()
        if self._trust.dates and not self._trust.insecure:
            self._check_dates()

    async def read(self, limit: int = SEGMENT_BYTES) -> bytes:
        """Up to ``limit`` bytes; ``b""`` once the peer has said ``close_notify``.

        Raises:
            TlsFailed: the peer closed without it, or what came is no record.
        """
        if self._ahead:
            data, self._ahead = self._ahead[:limit], self._ahead[limit:]
            return data
        while True:
            try:
                return self._tls.read(limit)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise _failed(error) from error

    @property
    def buffered(self) -> int:
        """Decrypted bytes that can be read without waiting."""
        return len(self._ahead) + self._tls.pending()

    async def write(self, data: bytes) -> None:
        """Send all of ``data``; returns when the layer below has it."""
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise _failed(error) from error
        await self._flush()

    def probe_peer(self, idle_s: float, interval_s: float, count: int) -> None:
        """As of the connection below."""
        self._raw.probe_peer(idle_s, interval_s, count)

    @property
    def is_unanswered(self) -> bool:
        """As of the connection below."""
        return self._raw.is_unanswered

    def close(self) -> None:
        """Close with FIN and no word of TLS."""
        self._raw.close()

    def abort(self) -> None:
        """Close with RST."""
        self._raw.abort()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._raw.write(self._outgoing.read())

    async def _feed(self) -> None:
        data = await self._raw.read(RECORD_BYTES)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _say_goodbye(self) -> None:
        """The alert that tells the peer why; it may be gone already."""
        try:
            await self._flush()
        except OSError:
            return

    def _check_dates(self) -> None:
        """The peer's certificate and the trusted ones, by the device's clock.

        Raises:
            TlsFailed: one is not valid now.
        """
        for certificate in (self._tls.getpeercert(), *self._context.get_ca_certs()):
            why = _outside(certificate or {}, self._unix_time)
            if why:
                raise TlsFailed(VERIFY_FAILED, why)


def _context(trust: Trust) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    if trust.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    if trust.ca:
        context.load_verify_locations(cadata=trust.ca)
    return context


def _outside(certificate: Mapping[str, Any], now: float) -> str:
    """Why a certificate is not valid at a time; empty: it is."""
    begins, ends = certificate.get("notBefore"), certificate.get("notAfter")
    if ends and now > ssl.cert_time_to_seconds(ends):
        return EXPIRED
    if begins and now < ssl.cert_time_to_seconds(begins):
        return FUTURE
    return ""


def _failed(error: ssl.SSLError) -> TlsFailed:
    """OpenSSL's complaint in mbedTLS's numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        wrong_name = error.verify_code in NAME_MISMATCH
        return TlsFailed(VERIFY_FAILED, WRONG_NAME if wrong_name else UNTRUSTED)
    reason = error.reason or ""
    if isinstance(error, ssl.SSLEOFError) or "EOF" in reason:
        return TlsFailed(CONN_EOF)
    if "UNSUPPORTED_PROTOCOL" in reason or "WRONG_SSL_VERSION" in reason:
        return TlsFailed(BAD_PROTOCOL_VERSION)
    if "ALERT" in reason:
        return TlsFailed(FATAL_ALERT)
    return TlsFailed(INVALID_RECORD)
