"""The console's open port in the hands of a borrower."""

from __future__ import annotations

from typing import Any

from pytest_blynk_ota.board.ports import Port


class LentPort:
    """Everything of a serial port, except that closing it does nothing; counts bytes both ways.

    esptool closes the port of a chip that does not answer; the console still needs it.
    """

    sent: int
    received: int

    def __init__(self, port: Port) -> None:
        vars(self).update(_port=port, sent=0, received=0)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_port"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(vars(self)["_port"], name, value)

    @property
    def moved(self) -> int:
        """Bytes that crossed the serial line, both directions together."""
        return self.sent + self.received

    def read(self, size: int = 1) -> bytes:
        """Read as the port does."""
        data: bytes = vars(self)["_port"].read(size)
        vars(self)["received"] += len(data)
        return data

    def write(self, data: bytes) -> int:
        """Write as the port does."""
        vars(self)["_port"].write(data)
        vars(self)["sent"] += len(data)
        return len(data)

    def close(self) -> None:
        """Leave the port open: it belongs to the console."""
