"""The eFuses of one chip: what is burnt once and never cleared."""

from __future__ import annotations


class EFuses:
    """What the software of a board can burn.

    Attributes:
        secure_version: the security version below which images are refused; it only grows.
    """

    def __init__(self, secure_version: int = 0) -> None:
        self.secure_version = secure_version

    def burn_secure_version(self, version: int) -> None:
        """Raise the secure version; a lower one changes nothing."""
        self.secure_version = max(self.secure_version, version)
