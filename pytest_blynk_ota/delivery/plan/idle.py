"""Why a fault that is due does not act in an answer."""

from __future__ import annotations


class Idle(Exception):
    """Raised by what would carry out a fault, where there is nothing for it to act on. It never
    leaves the plan: the answer goes without the fault, and ``check`` says the reason."""
