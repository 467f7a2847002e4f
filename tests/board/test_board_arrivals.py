"""Bytes that were read late: when they came is told as well as it is known, and never wrong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.board.arrivals import Arrivals, Piece

steps = st.lists(
    st.tuples(st.sampled_from(["come", "look", "read", "idle"]), st.integers(1, 9)), max_size=40
)


class Port:
    """A port whose bytes are their own numbers, with the true times of all of them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.came: list[float] = []
        self.looked: list[tuple[int, float]] = []
        self.arrivals = Arrivals(0.0)
        self.pieces: list[Piece] = []

    def come(self, count: int) -> None:
        self.came += [self.now] * count

    def look(self, _: int) -> None:
        if len(self.came) > self.arrivals.read:
            self.arrivals.unread(len(self.came), self.now)
            self.looked.append((len(self.came), self.now))

    def read(self, most: int) -> None:
        """All that is there, or as much as the reader takes at once."""
        began, first = self.now, self.arrivals.read
        data = bytes(range(first, min(len(self.came), first + most)))
        rest = len(self.came) > first + most
        self.pieces += self.arrivals.dated(data, began, self.now, rest=rest)

    def idle(self, _: int) -> None:
        """Time passes."""


@given(steps)
def test_each_byte_came_between_the_times_that_are_told(steps):
    port = Port()
    for verb, count in steps:
        port.now += 1.0
        getattr(port, verb)(min(count, 255 - len(port.came)))
    told = [piece for piece in port.pieces for _ in piece.data]
    assert b"".join(piece.data for piece in port.pieces) == bytes(range(len(told)))
    assert port.arrivals.read == len(told)
    for number, piece in enumerate(told):
        assert piece.since <= port.came[number] <= piece.t
        looks = [t for upto, t in port.looked if number < upto and t >= port.came[number]]
        assert piece.t <= min(looks, default=piece.t)


def test_what_nobody_looked_at_came_when_it_was_read():
    arrivals = Arrivals(1.0)
    assert [*arrivals.dated(b"ab", 1.5, 2.0, rest=False)] == [Piece(1.0, 2.0, b"ab")]


def test_what_waited_came_before_the_look_and_what_followed_when_it_was_read():
    arrivals = Arrivals(1.0)
    arrivals.unread(2, 3.0)
    arrivals.unread(3, 4.0)
    pieces = [*arrivals.dated(b"abcd", 1.5, 5.0, rest=False)]
    assert pieces == [Piece(1.0, 3.0, b"ab"), Piece(1.0, 4.0, b"c"), Piece(1.0, 5.0, b"d")]
    assert [*arrivals.dated(b"e", 5.0, 6.0, rest=False)] == [Piece(1.5, 6.0, b"e")]


def test_what_a_borrower_has_read_dates_nothing_that_comes_later():
    arrivals = Arrivals(1.0)
    arrivals.unread(9, 3.0)
    arrivals.forget(8.0)
    assert [*arrivals.dated(b"ab", 8.0, 9.0, rest=False)] == [Piece(8.0, 9.0, b"ab")]
