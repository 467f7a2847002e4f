"""A history in a folder of its own."""

import pytest
from history_runs import text_of

from pytest_blynk_ota.history.book import Book
from pytest_blynk_ota.history.index import Index
from pytest_blynk_ota.history.take import sources_in, take


@pytest.fixture
def book(tmp_path):
    """An empty history."""
    book = Book(tmp_path / "history")
    book.folder.mkdir()
    return book


@pytest.fixture
def write(book):
    """Writes lines into a file of the history."""

    def write(*lines, name="lines"):
        path = book.folder / f"{name}.jsonl"
        path.write_text(text_of(lines))
        return path

    return write


@pytest.fixture
def taken(book):
    """Takes sources into the history; returns what came of each."""
    return lambda *paths: [one for path in paths for one in take(book, sources_in(path))]


@pytest.fixture
def opened(book):
    """Opens the index; all of them are closed at the end."""
    found = []

    def opened():
        found.append(Index(book))
        return found[-1]

    yield opened
    for index in found:
        index.close()
