"""Telnet commands in a stream of bytes (RFC 854, RFC 855)."""

from __future__ import annotations

from serial.rfc2217 import DO, DONT, IAC, IAC_DOUBLED, SB, SE, WILL, WONT


class TelnetParser:
    """Splits a Telnet stream into data (command ``b""``), options and subnegotiations."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """Take bytes in any pieces; returns (command, payload) pairs in order."""
        data, items, at = self._rest + chunk, [], 0
        while at < len(data):
            iac = data.find(IAC, at)
            if iac != at:
                end = len(data) if iac < 0 else iac
                items.append((b"", data[at:end]))
                at = end
                continue
            item, used = self._command(data, at)
            if not used:
                break
            at += used
            if item is not None:
                items.append(item)
        self._rest = data[at:]
        return items

    @staticmethod
    def _command(data: bytes, at: int) -> tuple[tuple[bytes, bytes] | None, int]:
        """The command at ``at`` and its length; length 0 where it is not complete yet."""
        verb = data[at + 1 : at + 2]
        if verb == IAC:
            return (b"", IAC), 2
        if verb in (WILL, WONT, DO, DONT):
            option = data[at + 2 : at + 3]
            return ((verb, option), 3) if option else (None, 0)
        if verb != SB:
            return None, 2 if verb else 0
        end = at + 2
        while (end := data.find(IAC, end)) >= 0:
            if data[end + 1 : end + 2] == SE:
                body = data[at + 2 : end].replace(IAC_DOUBLED, IAC)
                return (SB, body), end + 2 - at
            end += 2
        return None, 0
