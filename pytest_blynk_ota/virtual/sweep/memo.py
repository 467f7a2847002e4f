"""A pure function of flash bytes, computed once for each content that it looks at.

What it read is kept as a tree: a span, then by what stood there the next span, down to the result.
The next call walks the same way over other bytes. A function that reads nothing else cannot tell
the difference, so a result that is found is the result that would be computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

Read = Callable[[int, int], bytes]
T = TypeVar("T")


class Content(Protocol):
    """Bytes that can be told apart without reading all of them."""

    def read(self, offset: int, length: int) -> bytes:
        """Bytes; fewer at the end."""

    def key(self, offset: int, length: int) -> bytes:
        """Equal only where the bytes are."""


@dataclass(slots=True)
class _Found(Generic[T]):
    value: T


@dataclass(slots=True)
class _Span(Generic[T]):
    offset: int
    length: int
    then: dict[bytes, _Span[T] | _Found[T]] = field(default_factory=dict)


class Memo(Generic[T]):
    """Calls ``function(read)`` where the answer is not known yet.

    Attributes:
        computed: how many times it had to.
    """

    def __init__(self, function: Callable[[Read], T]) -> None:
        self.computed = 0
        self._function = function
        self._root: _Span[T] | _Found[T] | None = None

    def __call__(self, content: Content) -> T:
        """The function's value for this content."""
        node = self._root
        while isinstance(node, _Span):
            node = node.then.get(content.key(node.offset, node.length))
        return self._compute(content) if node is None else node.value

    def _compute(self, content: Content) -> T:
        asked: list[tuple[int, int]] = []

        def read(offset: int, length: int) -> bytes:
            asked.append((offset, length))
            return content.read(offset, length)

        self.computed += 1
        value = self._function(read)
        leaf: _Span[T] | _Found[T] = _Found(value)
        for offset, length in reversed(asked):
            span = _Span[T](offset, length)
            span.then[content.key(offset, length)] = leaf
            leaf = span
        self._root = _merged(self._root, leaf)
        return value


def _merged(known: _Span[T] | _Found[T] | None, new: _Span[T] | _Found[T]) -> _Span[T] | _Found[T]:
    """Hang a new way, which has one content at each span, into the tree."""
    root, node = known or new, known
    while isinstance(node, _Span) and isinstance(new, _Span):
        ((key, then),) = new.then.items()
        if key not in node.then:
            node.then[key] = then
            break
        node, new = node.then[key], then
    return root
