"""What a book's owner keeps of it: whoever reads that, from any entry on, has the owner's book or none."""

from collections.abc import Sequence
from itertools import product

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.errors import UNREADABLE, BadMessage
from exchanges.feed import BOOK_FAULTS
from tests.topics.book_market import DIALECTS, EPOCH, Owner, numbers
from tests.topics.reader import Turns
from topics.book_log import BookReader
from topics.books import Books
from topics.key import Cursor
from topics.ring import Entry
from topics.topic import Topic

PRICES = {"bids": ("99.10", "99.2", "99.50"), "asks": ("100.50", "100.7", "101.30")}
CHANGES = st.lists(
    st.tuples(st.sampled_from([(side, price) for side, prices in PRICES.items() for price in prices]), st.booleans()),
    min_size=1,
    max_size=4,
)
# What happens to the owner's book, and to what it keeps of it. "missed": the venue's next message does not arrive.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), CHANGES),
        st.tuples(st.just("missed"), CHANGES),
        st.just(("publish",)),
        st.just(("publish",)),
        st.just(("lost",)),
        st.just(("whole",)),
        st.just(("another",)),
        st.tuples(st.just("reconnect"), st.sampled_from([-700, 0, 700])),
        st.just(("takeover",)),
    ),
    max_size=40,
)


def reader_of(owner: Owner) -> BookReader:
    return BookReader(owner.dialect.parse, owner.dialect.texts)


def is_whole(entry: Entry) -> bool:
    said = orjson.loads(entry.payload)
    return "anchor" in said or "whole" in said


def read_all(reader: BookReader, entries: Sequence[Entry], *, exact: bool = False) -> object:
    """What ``reader`` has after the last of ``entries``."""
    read = None
    for entry in entries:
        read = reader.read(entry, exact=exact)
    return None if read is None else (numbers(read[0]), read[1])


def change(owner: Owner, changes: Sequence[tuple[tuple[str, str], bool]], count: int) -> None:
    """Amounts are never twice the same, so that nothing lost goes unseen."""
    for number, ((side, price), removed) in enumerate(changes):
        owner.market.set(side, price, "0.000" if removed else f"{count}.{number}0")
    owner.market.advance(sequences=1 if owner.dialect is DIALECTS["bybit"] else len(changes))


# -- whatever happens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("venue", "exact"), list(product(DIALECTS, [False, True])))
@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
def test_at_each_entry_a_reader_has_the_owners_book_or_none(
    venue: str, exact: bool, steps: list[tuple[object, ...]]
) -> None:
    owner = Owner(DIALECTS[venue])
    reader, knows = reader_of(owner), False
    owner.begin()
    for count, step in enumerate([*steps, ("publish",)], 1):
        match step:
            case ("change" | "missed" as what, list(changes)):
                change(owner, changes, count)
                if what == "change":
                    owner.say()
                else:
                    owner.dialect.news(owner.market)
            case ("whole",):
                owner.say_whole()
            case ("another",):
                owner.swap()
            case ("reconnect", int(later)):
                owner.market.advance(milliseconds=later)
                owner.begin()
            case ("takeover",):
                owner.take_over()
            case ("publish" | "lost" as what,) if owner.due:
                entry, shown = owner.publish(), owner.shown
                assert shown is not None
                assert is_whole(owner.ring.contents()[0][0])
                late = read_all(reader_of(owner), owner.ring.contents()[0], exact=exact)
                assert late == (shown.numbers, owner.cursor.seq)  # whoever comes now
                if what == "lost":
                    knows = False
                    continue
                read = reader.read(entry, exact=exact)
                knows = knows or is_whole(entry)
                assert (read is not None) == knows
                if read is not None:
                    book, received = read
                    assert (numbers(book), received) == (shown.numbers, owner.cursor.seq)
                    if book.texts is not None:
                        assert (book.texts.bids, book.texts.asks) == shown.texts
                    assert exact or book.texts is None


# -- what an entry says ------------------------------------------------------------------------------------------------


def moved(owner: Owner, *changes: tuple[str, str, str]) -> None:
    """The venue changes these levels and says so."""
    for side, price, amount in changes:
        owner.market.set(side, price, amount)
    owner.market.advance()
    owner.say()


def said(entry: Entry) -> tuple[bool, int, int]:
    """Whether it has the book in numbers, and how many messages of either kind."""
    content = orjson.loads(entry.payload)
    return "anchor" in content, len(content.get("whole", ())), len(content.get("deltas", ()))


def test_an_entry_is_what_the_venue_said_since_the_one_before() -> None:
    owner = Owner(DIALECTS["bybit"])
    owner.begin()
    entries = [owner.publish()]
    for amounts in (("2.0",), ("3.0", "4.0", "5.0")):
        for amount in amounts:
            moved(owner, ("bids", "99.10", amount))
        entries.append(owner.publish())
    moved(owner, ("asks", "101.30", "0.3"))
    owner.say_whole()
    moved(owner, ("asks", "101.30", "0.4"))
    entries.append(owner.publish())

    assert [said(entry) for entry in entries] == [(False, 1, 0), (False, 0, 1), (False, 0, 3), (False, 2, 0)]


@pytest.mark.parametrize(("venue", "first"), [("binance", (True, 0, 0)), ("bybit", (False, 1, 0))])
def test_the_first_entry_is_whole_and_the_venues_own_where_it_says_whole_books(
    venue: str, first: tuple[bool, int, int]
) -> None:
    owner = Owner(DIALECTS[venue])
    owner.begin()

    assert said(owner.publish()) == first


def test_a_whole_book_is_the_newest_however_old_the_venue_says_it_is() -> None:
    owner = Owner(DIALECTS["hyperliquid"])
    reader = reader_of(owner)
    owner.begin()
    moved(owner, ("bids", "99.20", "3.5"))
    reader.read(owner.publish(), exact=False)
    owner.market.set("bids", "99.20", "0")
    owner.market.advance(milliseconds=-700)  # a server that lags behind the one before
    owner.begin()
    assert owner.shown is not None

    assert read_all(reader, [owner.publish()]) == (owner.shown.numbers, 2)


def test_a_book_that_became_another_one_is_said_in_numbers_whatever_was_heard_before() -> None:
    owner = Owner(DIALECTS["bybit"])
    owner.begin()
    reader = reader_of(owner)
    owner.market.set("bids", "99.20", "3.5")
    owner.market.advance()
    owner.swap()
    entry = owner.publish()
    assert owner.shown is not None

    assert said(entry) == (True, 0, 0)
    assert read_all(reader, [entry]) == (owner.shown.numbers, 1)


def test_what_was_heard_of_a_book_that_is_proven_no_more_is_never_said() -> None:
    owner = Owner(DIALECTS["bybit"])
    owner.begin()
    owner.publish()
    moved(owner, ("bids", "99.10", "2.0"))
    owner.log.forget()
    owner.begin()

    assert said(owner.publish()) == (False, 1, 0)


# -- how much is kept --------------------------------------------------------------------------------------------------


WIDTH = 200  # levels a side


def wide(venue: str, **bounds: int) -> Owner:
    """Whole and published."""
    owner = Owner(DIALECTS[venue], **bounds)
    for number in range(WIDTH):
        owner.market.set("bids", f"{99 - number / 100:.2f}", f"{number}.125")
        owner.market.set("asks", f"{101 + number / 100:.2f}", f"{number}.125")
    owner.market.take_changed()
    owner.begin()
    owner.publish()
    return owner


def change_one(owner: Owner, number: int) -> Entry:
    """Of its bids, and publish it."""
    moved(owner, ("bids", f"{99 - number % WIDTH / 100:.2f}", f"{number}.250"))
    return owner.publish()


@pytest.mark.parametrize("resync_every", [10_000, 100, 15])
@pytest.mark.parametrize("venue", DIALECTS)
def test_what_is_kept_is_about_four_times_the_book_at_most(venue: str, resync_every: int) -> None:
    owner = wide(venue)
    book, most, entries = owner.ring.held, 0, 0
    for number in range(600):
        change_one(owner, number)
        if number % resync_every == resync_every - 1:
            owner.begin()
            owner.publish()
        most, entries = max(most, owner.ring.held), max(entries, len(owner.ring.contents()[0]))

    assert most < 4.2 * book
    assert entries == 2 if venue == "hyperliquid" else entries >= 2 * min(resync_every, 30)


def test_a_whole_book_that_the_ring_has_dropped_is_said_anew() -> None:
    owner = wide("bybit", max_events=3, max_young_events=3)
    reader, kinds = reader_of(owner), [said(owner.ring.contents()[0][0])]
    reader.read(owner.ring.contents()[0][0], exact=False)
    for number in range(8):
        entry = change_one(owner, number)
        kinds.append(said(entry))
        assert owner.shown is not None
        assert read_all(reader, [entry]) == (owner.shown.numbers, entry.cursor.seq)

    whole, delta, again = (False, 1, 0), (False, 0, 1), (True, 0, 1)  # who has it goes on with the venue's message
    assert kinds == [whole, delta, delta, delta, again, delta, delta, delta, again]


# -- the venue's decimals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", ["bybit", "hyperliquid"])
def test_a_reader_that_begins_with_a_message_of_the_venue_has_its_decimals(venue: str) -> None:
    owner = Owner(DIALECTS[venue])
    reader = reader_of(owner)
    owner.begin()
    reader.read(owner.publish(), exact=True)
    moved(owner, ("bids", "99.20", "3.50"), ("asks", "100.50", "0.000"))
    read = reader.read(owner.publish(), exact=True)
    assert read is not None
    assert owner.shown is not None

    texts = read[0].texts
    assert texts is not None
    assert (texts.bids, texts.asks) == owner.shown.texts
    assert texts.bids[99.2] == ("99.20", "3.50")


def test_decimals_outlive_a_book_in_numbers_for_who_needs_none() -> None:
    owner = wide("bybit")
    early, late, came = reader_of(owner), reader_of(owner), 0
    early.read(owner.ring.contents()[0][0], exact=True)
    while not said(entry := change_one(owner, came))[0]:
        early.read(entry, exact=True)
        came += 1
    kept, begun = early.read(entry, exact=True), late.read(entry, exact=True)
    assert kept is not None
    assert begun is not None
    assert owner.shown is not None

    assert came > 30
    assert kept[0].texts is not None
    assert (kept[0].texts.bids, kept[0].texts.asks) == owner.shown.texts
    assert begun[0].texts is None
    assert numbers(begun[0]) == numbers(kept[0]) == owner.shown.numbers


@pytest.mark.parametrize("venue", DIALECTS)
def test_no_decimals_are_kept_for_nobody(venue: str) -> None:
    owner = Owner(DIALECTS[venue])
    reader = reader_of(owner)
    owner.begin()
    read = reader.read(owner.publish(), exact=False)

    assert read is not None
    assert read[0].texts is None


def test_decimals_that_are_wanted_later_are_kept_from_the_next_whole_message_on() -> None:
    owner = Owner(DIALECTS["hyperliquid"])
    reader = reader_of(owner)
    owner.begin()
    reader.read(owner.publish(), exact=False)
    moved(owner, ("bids", "99.20", "3.50"))
    read = reader.read(owner.publish(), exact=True)

    assert read is not None
    assert read[0].texts is not None


# -- what is read ------------------------------------------------------------------------------------------------------


WRONG = {
    "rubbish of the venue": b'{"whole":[{"topic":"orderbook.1.X"}],"received":1}',
    "crossed": b'{"anchor":{"bids":[[2,1]],"asks":[[1,1]],"sequence":1,"timestamp_ms":1},"received":1}',
    "no level": b'{"anchor":{"bids":[[0,1]],"asks":[],"sequence":1,"timestamp_ms":1},"received":1}',
    "no JSON": b"no JSON",
}


@pytest.mark.parametrize("payload", WRONG.values(), ids=WRONG)
def test_what_no_owner_can_have_kept_is_an_error(payload: bytes) -> None:
    reader = reader_of(Owner(DIALECTS["bybit"]))

    with pytest.raises((*BOOK_FAULTS, *UNREADABLE, BadMessage)):
        reader.read(Entry(Cursor(EPOCH, 1), payload), exact=False)


OUT_OF_ORDER = b'{"deltas":[%b],"received":1}' % orjson.dumps(
    {"topic": "orderbook.200.X", "type": "delta", "ts": EPOCH, "data": {"b": [], "a": [], "u": 9_999}}
)


@pytest.mark.parametrize("payload", [*WRONG.values(), OUT_OF_ORDER], ids=[*WRONG, "out of order"])
async def test_a_followed_book_that_cannot_be_read_is_shown_no_more_until_a_whole_one_comes(payload: bytes) -> None:
    owner = Owner(DIALECTS["bybit"])
    books = Books(lambda key: Topic(key, Turns().tick, clock_ms=lambda: EPOCH), reader=reader_of(owner))
    owner.begin()
    shown = [books.follow(owner.publish())]
    moved(owner, ("bids", "99.20", "3.50"))
    shown += [books.follow(owner.publish()._replace(payload=payload)), books.book is not None]
    moved(owner, ("bids", "99.20", "4.50"))
    shown += [books.follow(owner.publish())]
    owner.say_whole()
    shown += [books.follow(owner.publish())]

    assert shown == [True, False, False, False, True]
