"""Keys of an attestation from files and the environment; what is read is never shown."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.gate.keys import MAX_PEM_BYTES, PASSPHRASE, Secret, read_private, read_public

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

    from pytest_blynk_ota.gate.keys import SigningKey

VARIABLE = "BLYNK_OTA_SIGNING_KEY"
"""The variable that holds a private key as PEM, for CI servers."""
OTHERS_MAY = stat.S_IROTH | stat.S_IWOTH


def signing_key(path: Path | None) -> SigningKey | None:
    """The private key to sign with; None if none is given.

    Args:
        path: its file. Without one the variable ``BLYNK_OTA_SIGNING_KEY`` counts, if it is set.

    Raises:
        UsageError: it cannot be read, everybody may read it, or it is none that can sign.
    """
    passphrase = _variable(PASSPHRASE)
    if path is not None:
        return read_private(_read(path, private=True), str(path), passphrase)
    pem = _variable(VARIABLE)
    return read_private(pem, VARIABLE, passphrase) if pem is not None else None


def _variable(name: str) -> Secret | None:
    """A variable of the environment; None if it is not set or blank. Its value and the environment
    itself, whose ``repr`` has all values, are in no frame from which an error is raised."""
    value = os.environ.get(name, "")
    return Secret(os.fsencode(value)) if value.strip() else None


def public_key(path: Path) -> SSlibKey:
    """The public key of a file. Raises UsageError."""
    return read_public(_read(path, private=False).data, str(path))


def _read(path: Path, *, private: bool) -> Secret:
    """A file of a key; a pipe will do, as a shell gives one for ``<(command)``."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if private and mode & OTHERS_MAY:
                raise UsageError(
                    f"{path}: everybody on this host may read or write this private key; expected "
                    f"chmod 600 {path}, and a new key if others could have read it"
                )
            return Secret(file.read(MAX_PEM_BYTES + 1))
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or error}; expected the file of a key"
        ) from error
