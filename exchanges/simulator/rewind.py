"""A market's book as it was a while ago, taken back change by change. Pure."""

from typing import NamedTuple

from .market import Change, Market

Rows = list[tuple[int, int]]  # (price, amount), best first


class PastBook(NamedTuple):
    """``change`` is the last one that this state of the book has in it."""

    bids: Rows
    asks: Rows
    change: Change


def book_at(market: Market, time_ms: int) -> PastBook:
    """The whole book after the last change up to ``time_ms``; as far back as the market remembers its changes."""
    sides = {"bids": dict(market.bids.amounts), "asks": dict(market.asks.amounts)}
    known = market.changes.since(0)
    place = len(known) - 1
    while place > 0 and known[place].time_ms > time_ms:
        change = known[place]
        if change.before:
            sides[change.side][change.price] = change.before
        else:
            sides[change.side].pop(change.price, None)
        place -= 1
    return PastBook(sorted(sides["bids"].items(), reverse=True), sorted(sides["asks"].items()), known[place])
