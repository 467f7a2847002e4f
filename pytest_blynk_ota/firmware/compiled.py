"""What each fixture application was compiled with, as stock Edgent is, and where it stands.

At the start of its data: the default host, the ``blnkopt`` section, and the TLS roots as one text.
Whoever changes them in the file changes what a virtual board does with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_blynk_ota.firmware import blnkopt
from pytest_blynk_ota.firmware.chips import CHIPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_blynk_ota.firmware.image import Image

DEFAULT_HOST, DEFAULT_PORT = "blynk.cloud", 443
"""CONFIG_DEFAULT_SERVER and _PORT of Edgent's Settings.h."""
ROOT = """\
-----BEGIN CERTIFICATE-----
MIIC6DCCAdCgAwIBAgIBATANBgkqhkiG9w0BAQsFADAsMRAwDgYDVQQKDAdFeGFt
cGxlMRgwFgYDVQQDDA9FeGFtcGxlIFJvb3QgQ0EwIBcNMjAwMTAxMDAwMDAwWhgP
MjA1MDAxMDEwMDAwMDBaMCwxEDAOBgNVBAoMB0V4YW1wbGUxGDAWBgNVBAMMD0V4
YW1wbGUgUm9vdCBDQTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAMeN
MzkMvKzcHKNGUsPMvbZSdWZXBxKEtWVR1fxBlYgpG9TBfObYL1gk+Zlx8nKWaZLH
3a4DmaxAwwjQe4ArKT0olEfg/ecIeF7KxsZ3Y+GXHfsgRfZecElHedxki+EuFsJw
1avU7Z+7lCs0Z/iqxLh55HdyjLd5j0vjMLz9Te+sVAGreeKrD6QmbSLoexoWU3eY
wcP3s/mKwmu41E2zdrmtadsxJ8SoWfO2dGi+mcGWb366ztYw3LCe+CKK+VTM/lLM
AMyq0/ykEb+Tj202RY1z73J51xTzegMedpMh36eK9LtIELg8E13AWZG8xcJFvedC
DElBysVvYkS7MMzk8hMCAwEAAaMTMBEwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG
9w0BAQsFAAOCAQEAecmrFO11e99mic9YNdXqBAtIxcu+kT9Y3nrwIkIkBY4JZVvP
wv2dztybXf3TKWlm+MK20foxbIKXfUaOon91sFUxPeL/13oPACsUwx4Bma7OGazL
2f+j0y8yCb5F0TPpVGjlVqdCFomem8HrGpEl+44S60bH8MRVmFvkBUFonZlK4Bpo
yxJ2+hFeDCNNuzX9h/v5E7lif72W8X06ShOvvf9avJNHDJfdvdxL4dnfxYjgLoXL
y3hY/jyzfvuB6we58PwnaIjZTpDu9zEov/9tXd4sjhluxZfxJL2BCsnUZN5Q4bdw
u8922AkSwOSVaDfE62YFnU5XcvEA9sw+J8641Q==
-----END CERTIFICATE-----
"""
"""A CA whose key nobody has: it was thrown away."""


def _words(text: bytes) -> bytes:
    """With a NUL, and as far as the next word: strings lie so."""
    return text + bytes(4 - len(text) % 4)


_HOST, _OPTIONS, _ROOTS = (
    _words(part)
    for part in (DEFAULT_HOST.encode(), blnkopt.stock(DEFAULT_HOST, DEFAULT_PORT), ROOT.encode())
)
BLOCK = _HOST + _OPTIONS + _ROOTS
"""As it stands in the data segment."""
OPTIONS_AT = len(_HOST)
ROOTS_AT = OPTIONS_AT + len(_OPTIONS)


@dataclass(frozen=True, slots=True)
class Compiled:
    """What an image says now.

    Attributes:
        host: its default host.
        options: the pairs of its ``blnkopt`` section.
        roots: whom it trusts, in PEM.
    """

    host: str = DEFAULT_HOST
    options: Mapping[str, str] | None = None
    roots: str = ""


def compiled(image: Image) -> Compiled:
    """Read it back; the defaults for an image that was made without it."""
    chip = CHIPS.get(image.chip)
    bases = (chip.dram_base,) if chip else ()
    data = next((one.data for one in image.segments if one.address in bases), b"")
    section = blnkopt.find(data[OPTIONS_AT:ROOTS_AT])
    if section is None:
        return Compiled()
    host, roots = (data[at:].split(b"\0", 1)[0].decode("latin-1") for at in (0, ROOTS_AT))
    return Compiled(host, section.pairs, roots)
