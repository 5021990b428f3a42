"""A book taken back to an earlier time is the book that was there at that time."""

from exchanges.simulator.market import Market, Spec
from exchanges.simulator.rewind import book_at

OPENED = 1_795_000_000_000
SPEC = Spec(
    base="X", quote="Y", price="100", tick="0.1", step="0.1", amount="1", trades_per_second=20, changes_per_second=80,
    levels=100,
)  # fmt: skip


def market() -> Market:
    made = Market(SPEC, seed="s", opened_ms=OPENED)
    made.advance(OPENED)
    return made


def test_every_earlier_state_can_be_had_again() -> None:
    one = market()
    states = []
    for now in range(OPENED, OPENED + 20_000, 137):
        one.advance(now)
        states.append((now, one.bids.top(), one.asks.top(), one.last_change))
    assert len({change.sequence for *_, change in states}) > 100
    for now, bids, asks, change in states:
        assert book_at(one, now) == (bids, asks, change)


def test_beyond_memory_it_is_the_oldest_that_is_known() -> None:
    one = market()
    oldest = one.changes.since(0)[0]
    assert book_at(one, 0).change == oldest
