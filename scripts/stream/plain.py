"""A stream as lines, for pipes and files: data as columns, what happens to the stream behind a ``#``. Pure."""

from . import words
from .content import Book, Candle, Note, Print, Row


def line(row: Row) -> str:
    match row:
        case Print():
            return f"{words.stamp(row.time_ms)} {row.side:<4} {row.price!r} {row.amount!r} {row.cost!r}"
        case Note():
            return f"# {words.stamp(row.time_ms)} {row.text}"
        case Candle():
            marks = ["closed" if row.closed else "forming"]
            marks += ["repair"] * row.repaired + ["incomplete"] * (not row.complete)
            numbers = (row.open, row.high, row.low, row.close, row.volume)
            return " ".join([words.stamp(row.open_time_ms), *map(number, numbers), *marks])
        case Book():
            return book_line(row)


def book_line(book: Book) -> str:
    """The touch, the spread, and how much lies on each side of what is shown."""
    places = words.decimals([price for side in (book.bids, book.asks) for price, _ in side[:1]])
    amounts = words.decimals([amount for side in (book.bids, book.asks) for _, amount in side])
    sides = []
    for name, side in (("bid", book.bids), ("ask", book.asks)):
        total = f"{sum(amount for _, amount in side):.{amounts}f}"
        touch = f"{side[0][0]!r} {side[0][1]!r}" if side else "– –"
        sides.append(f"{name} {touch} of {total}")
    spread = "–" if book.spread is None else f"{book.spread:.{places}f}"
    mid = "–" if book.mid is None else f"{book.mid:.{places + 1}f}"
    when = words.stamp(book.received_ms if book.time_ms is None else book.time_ms)
    return f"{when} {' '.join(sides)} spread {spread} mid {mid}"


def number(value: float | None) -> str:
    return "–" if value is None else repr(value)
