"""Connections that have not logged in: how many one address may have at a time."""

from __future__ import annotations


class WaitingRoom:
    """Who has come and not logged in, by address, oldest first.

    Args:
        seats: connections of one address that may wait.
    """

    def __init__(self, seats: int) -> None:
        self._seats = seats
        self._by_peer: dict[str, dict[int, None]] = {}
        self._peers: dict[int, str] = {}

    def arrive(self, number: int, peer: str) -> int | None:
        """Take a connection in; the number of the one that has to go for it, or None."""
        mine = self._by_peer.setdefault(peer, {})
        mine[number] = None
        self._peers[number] = peer
        if len(mine) <= self._seats:
            return None
        oldest = next(iter(mine))
        self.leave(oldest)
        return oldest

    def leave(self, number: int) -> str | None:
        """It has logged in, or is gone; its address, if it was waiting."""
        peer = self._peers.pop(number, None)
        if peer is not None:
            del self._by_peer[peer][number]
            if not self._by_peer[peer]:
                del self._by_peer[peer]
        return peer
