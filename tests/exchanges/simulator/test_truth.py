"""The journals of what was stated by themselves: what is kept, how much of it, and how it is read on."""

from exchanges.simulator.grid import Grid
from exchanges.simulator.journal import Journal
from exchanges.simulator.truth import MOST_ROWS, STATEMENTS, BookJournal, Print, Tape


def test_nothing_is_kept_before_somebody_asks() -> None:
    journal = BookJournal(Grid("0.1"), Grid("1"))
    journal.note("depth", 1, 1000, [(10, 2)], [(11, 3)])
    assert journal.read(0) == {"next": 1, "begins": 1, "books": []}
    journal.note("depth", 2, 2000, [(10, 2)], [(11, 3)])
    row = {
        "n": 1,
        "stream": "depth",
        "sequence": 2,
        "timestamp_ms": 2000,
        "bids": [["1.0", "2"]],
        "asks": [["1.1", "3"]],
    }
    assert journal.read(1) == {"next": 2, "begins": 1, "books": [row]}
    assert journal.read(2) == {"next": 2, "begins": 1, "books": []}


def test_each_stream_is_bounded_by_itself_and_what_was_forgotten_is_said() -> None:
    journal = BookJournal(Grid("1"), Grid("1"))
    journal.read(0)
    journal.note("rest", 7, 1000, [], [])
    for sequence in range(STATEMENTS + 2):
        journal.note("depth", sequence, 1000, [], [])
    told = journal.read(1)
    assert [(book["n"], book["stream"], book["sequence"]) for book in told["books"][:2]] == [
        (1, "rest", 7),
        (4, "depth", 2),
    ]
    assert told["begins"] == 4


def test_a_long_answer_comes_in_pages() -> None:
    journal = BookJournal(Grid("1"), Grid("1"))
    journal.read(0)
    for sequence in range(2 * MOST_ROWS + 3):
        journal.note("depth", sequence, 1000, [], [])
    pages, since = [], 0
    while (told := journal.read(since))["books"]:
        pages.append([book["sequence"] for book in told["books"]])
        since = told["next"]
    assert [len(page) for page in pages] == [MOST_ROWS, MOST_ROWS, 3]
    assert [sequence for page in pages for sequence in page] == list(range(2 * MOST_ROWS + 3))


def test_a_ledger_says_where_it_begins() -> None:
    numbers: Journal[int] = Journal(10)
    for number in range(1, 26):
        numbers.append(number)
    tape = Tape(numbers, lambda number: Print(number, "1", "1", "buy", 1000))
    told = tape.read(3, skew_ms=5)
    assert told["begins"] == 11
    assert [(trade["n"], trade["id"]) for trade in told["trades"]] == [(number, number) for number in range(11, 26)]
    assert (told["next"], told["trades"][0]["timestamp_ms"]) == (26, 1005)
    assert tape.read(26) == {"next": 26, "begins": 11, "trades": []}
    assert tape.read(99)["trades"] == []
