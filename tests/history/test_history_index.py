"""The index is made of the lines alone: in any order, twice, in pieces, it says the same."""

import random
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from history_runs import LINES, result_line, run_line, text_of
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.history import index as the_index
from pytest_blynk_ota.history import queries
from pytest_blynk_ota.history.book import Book
from pytest_blynk_ota.history.index import NAME, VERSION, Index
from pytest_blynk_ota.history.queries import Filter


def dump(index):
    """All that an index knows, without the numbers that depend on the order."""
    views = ("SELECT * FROM results", "SELECT * FROM images")
    runs = "SELECT run, rig, rig_kind, name, started, finished, complete, result, tests FROM runs"
    return [sorted(index.db.execute(text), key=repr) for text in (*views, runs)]


def answers(index):
    """What it says to each question."""
    asked = [queries.trend(index.db, Filter(), by) for by in queries.PERIODS]
    asked.append([queries.overview(index.db, Filter()), queries.shortages(index.db)])
    for ask in (queries.flakes, queries.slowest, queries.boards, queries.cases):
        asked.append(ask(index.db, Filter()))
    return asked


def made_of(files):
    """The index of a book with these files."""
    with TemporaryDirectory() as name:
        for number, lines in enumerate(files):
            Path(name, f"{number}.jsonl").write_text(text_of(lines))
        index = Index(Book(Path(name)))
        try:
            assert index.notes == ()
            return dump(index), answers(index)
        finally:
            index.close()


EXAMPLES = 40
"""Each makes several files and databases."""


@settings(max_examples=EXAMPLES)
@given(LINES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_lines_in_any_order_twice_and_in_pieces_make_the_same_index(lines, pieces, dice):
    expected = made_of([lines])
    again = [*lines, *dice.sample(lines, len(lines) // 2)]
    dice.shuffle(again)
    files = [again[piece::pieces] for piece in range(pieces)]
    assert made_of(files) == expected


@settings(max_examples=EXAMPLES)
@given(LINES, st.integers(1, 3), st.randoms(use_true_random=False))
def test_an_index_that_grew_is_the_one_that_is_made_anew(lines, steps, dice):
    dice.shuffle(lines)
    with TemporaryDirectory() as name:
        book = Book(Path(name))
        for step in range(steps):
            Path(name, f"{step}.jsonl").write_text(text_of(lines[step::steps]))
            grown = Index(book)
            said = dump(grown), answers(grown)
            assert bool(grown.rebuilt) == (step == 0)
            grown.close()
    assert said == made_of([lines])


def test_the_index_is_made_when_it_is_missing_and_used_when_it_is_there(write, book, opened):
    write(run_line(), result_line())
    assert "there is none" in opened().rebuilt
    before = (book.folder / NAME).stat()
    assert opened().rebuilt == ""
    assert (book.folder / NAME).stat() == before


def without_a_page(path, table):
    """Zeros in place of the page where a table or an index of the database begins."""
    db = sqlite3.connect(path)
    (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    data = bytearray(path.read_bytes())
    data[(page - 1) * size : page * size] = bytes(size)
    path.write_bytes(data)


def user_version(path, version):
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {version}")
    db.close()


DAMAGE = {
    "an older version": lambda path: user_version(path, VERSION - 1),
    "a newer version": lambda path: user_version(path, VERSION + 1),
    "no database": lambda path: path.write_bytes(b"x" * 5000),
    "an empty file": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:6000]),
    "a page of what flakes are asked of": lambda path: without_a_page(path, "subjects"),
    "a page of the results": lambda path: without_a_page(path, "tests"),
    "zeros in the middle": lambda path: path.write_bytes(
        path.read_bytes()[:5000] + bytes(20000) + path.read_bytes()[25000:]
    ),
    "another database": lambda path: (
        path.unlink(),
        (db := sqlite3.connect(path)).execute(f"PRAGMA user_version = {VERSION}"),
        db.close(),
    ),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_an_index_that_is_none_is_made_anew_and_nothing_is_lost(write, book, opened, how):
    write(run_line(tests=200), *(result_line(test=f"t.py::{n}") for n in range(200)))
    index = opened()
    expected = dump(index)
    index.close()
    DAMAGE[how](book.folder / NAME)
    index = opened()
    assert index.rebuilt
    assert dump(index) == expected
    assert opened().rebuilt == ""


def test_no_flipped_byte_of_the_index_costs_a_line_of_the_truth(write, book, opened):
    truth = write(run_line(tests=50), *(result_line(test=f"t.py::{n}") for n in range(50)))
    index = opened()
    expected = answers(index)
    index.close()
    whole, lines = (book.folder / NAME).read_bytes(), truth.read_bytes()
    dice = random.Random(10)
    for _ in range(30):
        data = bytearray(whole)
        data[dice.randrange(100)] ^= 1 << dice.randrange(8)  # the header: noticed, or no matter
        (book.folder / NAME).write_bytes(data)
        index = opened()
        assert answers(index) == expected
        index.close()
        assert truth.read_bytes() == lines


def test_a_line_that_was_changed_or_taken_away_is_followed(write, opened):
    write(run_line(), result_line(), name="a")
    path = write(run_line("b"), result_line("b"), name="b")
    opened()
    write(run_line("b"), result_line("b", word="rig"), name="b")
    index = opened()
    assert "b.jsonl was changed" in index.rebuilt
    assert queries.overview(index.db, Filter()).counts.rig == 1
    write(run_line("b"), result_line("b", word="firmware"), result_line("b", attempt=2), name="b")
    index = opened()
    assert "b.jsonl was changed" in index.rebuilt
    assert queries.overview(index.db, Filter()).counts.tests == 3
    write(run_line("b"), result_line("b", word="firmware"), name="b")
    index = opened()
    assert "b.jsonl was changed" in index.rebuilt
    assert queries.overview(index.db, Filter()).counts.tests == 2
    path.unlink()
    index = opened()
    assert "b.jsonl is gone" in index.rebuilt
    assert queries.overview(index.db, Filter()).runs == 1


def test_flaws_are_told_each_time_with_file_and_line(write, opened):
    path = write(run_line(), result_line())
    with path.open("a") as file:
        file.write('{"kind": "test"}\n{"half')
    for _ in range(2):
        one, two = opened().notes
        assert one == "lines.jsonl:3: schema: expected the number 1, got nothing"
        assert two.startswith("lines.jsonl:4: it ends in half a line")


def test_lines_that_contradict_each_other_are_named_and_the_first_stays(write, opened):
    write(run_line(), result_line(), name="a")
    write(run_line(rig_kind="virtual"), result_line(), result_line(word="rig"), name="b")
    index = opened()
    one, two = index.notes
    assert one.startswith(f"b.jsonl:1: run {run_line().run} is in the history with other content")
    assert one.endswith("there rig_kind is 'real', here 'virtual'; nothing was taken")
    assert two == "b.jsonl:3: another line of the same run, test, board and try differs"
    assert queries.overview(index.db, Filter()).counts.rig == 0


def test_a_file_with_nothing_but_flaws_is_told_in_a_few_lines(write, opened):
    write().write_text("x\n" * 1000)
    notes = opened().notes
    assert len(notes) == the_index.MAX_FLAWS + 1
    assert notes[-1] == "lines.jsonl: 980 more lines are no lines of a history"


def test_where_the_index_cannot_be_written_it_is_kept_in_memory(write, book, opened, monkeypatch):
    write(run_line(), result_line())
    connect = sqlite3.connect

    def refuses(path, **more):
        if path != ":memory:":
            raise sqlite3.OperationalError("unable to open database file")
        return connect(path, **more)

    monkeypatch.setattr(sqlite3, "connect", refuses)
    assert queries.overview(opened().db, Filter()).counts.tests == 1
    assert not (book.folder / NAME).exists()


def test_an_index_whose_growth_was_interrupted_has_all_or_nothing_of_it(write, opened, monkeypatch):
    write(run_line("a"), result_line("a"), name="a")
    opened().close()
    write(run_line("b"), result_line("b"), name="b")
    write(run_line("c"), result_line("c"), name="c")
    load = the_index._Loader.load

    def killed(self, path, source):
        load(self, path, source)
        raise KeyboardInterrupt

    monkeypatch.setattr(the_index._Loader, "load", killed)
    with pytest.raises(KeyboardInterrupt):
        opened()
    monkeypatch.undo()
    index = opened()
    assert index.rebuilt == ""
    assert queries.overview(index.db, Filter()).runs == 3


def hot_journal(path):
    """The journal of a process that was killed while it wrote to the index."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA cache_size = 1")  # so that pages are written before the end
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE tests SET word = 'rig', message = :text", {"text": "x" * 3000})
    journal = path.with_name(f"{NAME}-journal").read_bytes()
    db.execute("ROLLBACK")
    db.close()
    return journal


def test_the_journal_of_an_index_that_is_replaced_does_not_come_into_the_new_one(
    write, book, opened
):
    write(run_line(tests=50), *(result_line(test=f"t.py::{n}") for n in range(50)))
    opened().close()
    journal = hot_journal(book.folder / NAME)
    write(run_line(tests=3), *(result_line(test=f"t.py::{n}") for n in range(3)))
    (book.folder / f"{NAME}-journal").write_bytes(journal)
    (book.folder / NAME).write_bytes(b"no database at all")
    index = opened()
    assert queries.overview(index.db, Filter()).counts.tests == 3
    assert index.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_an_empty_history_answers_with_nothing(tmp_path):
    index = Index(Book(tmp_path / "none"))
    assert queries.overview(index.db, Filter()) == queries.Overview(
        0, 0, None, None, queries.NOTHING
    )
    assert answers(index)[0] == []
    assert not (tmp_path / "none").exists()
    index.close()
