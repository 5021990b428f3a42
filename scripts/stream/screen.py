"""A stream as a full terminal: two lines of how it fares, then what it says. Pure: it is told the time."""

from collections.abc import Sequence
from itertools import accumulate

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import chart, words
from .content import Book, Candle, Ladder, Note, Print, Series, Tape
from .watch import Watch

UP, DOWN, BAD, DIM = "green", "red", "bold yellow", "dim"
SIDES = {"buy": ("▲ buy", UP), "sell": ("▼ sell", DOWN)}  # words beside the colours: not everybody sees them
STATES = {"live": "bold green", "connecting": "bold cyan", "resyncing": "bold cyan"}  # all others: BAD
EIGHTHS = " ▏▎▍▌▋▊▉█"
HEADER_ROWS = 5  # topic and state, price, facts, the newest note, and an empty one
OLD_MS = 10_000  # the slowest book, a deep one of Hyperliquid, comes every five seconds
LADDER_ROWS = 3  # the head, the line between the sides, and the totals


def screen(watch: Watch, now_ms: int, *, width: int, height: int, direct: bool = False) -> Group:
    """Everything, in at most ``height`` rows. ``direct``: no gateway stands between the venue and us."""
    room = max(1, height - HEADER_ROWS)
    return Group(*header(watch, now_ms, direct=direct), body(watch, now_ms, width=width, room=room))


def body(watch: Watch, now_ms: int, *, width: int, room: int) -> RenderableType:
    match watch.content:
        case Tape(rows=rows) if rows:
            return tape(rows, room)
        case Ladder(book=Book() as book):
            return ladder(book, now_ms, width=width, room=room)
        case Series(candles=candles) if candles:
            return candle_chart(candles, width=width, room=room)
    return Text("waiting for the first update", DIM)


def header(watch: Watch, now_ms: int, *, direct: bool) -> list[Text]:
    first, second, third, fourth = (Text(no_wrap=True, overflow="ellipsis") for _ in range(4))
    first.append(watch.channel, "bold")
    if watch.topic is not None:
        first.append(f"  {words.topic(watch.topic)}", "bold")
    if direct:
        first.append("  direct", "cyan")
    first.append(f"  {state(watch, now_ms)}", STATES.get(watch.state, BAD))
    price = watch.content.price()
    if price is not None:
        places = words.decimals([price.last, price.before])
        sign, colour = ("▲", UP) if price.change > 0 else ("▼", DOWN) if price.change < 0 else ("=", DIM)
        second.append(words.fixed(price.last, places), "bold")
        change = words.signed(round(price.change, places), places)
        second.append(f"  {sign} {change} ({words.signed(price.percent, 3)} %) {price.since}", colour)
    third.append("  ".join(facts(watch, now_ms, direct=direct)), DIM)
    if watch.note is not None:
        fourth.append(f"{words.clock(watch.note.time_ms)[:8]} {watch.note.text}", BAD if watch.note.bad else DIM)
    return [first, second, third, fourth, Text()]


def state(watch: Watch, now_ms: int) -> str:
    if watch.retry_at_ms is None or watch.state == "live":
        return watch.state
    return f"{watch.state}, next try in {words.span(max(0, watch.retry_at_ms - now_ms))}"


def facts(watch: Watch, now_ms: int, *, direct: bool) -> list[str]:
    delays = watch.delays
    told = [f"{watch.rate(now_ms):.1f}/s", f"{watch.updates} updates", f"{watch.gaps} gaps"]
    venue = "–" if delays.venue is None else words.span(delays.venue)
    if direct:
        return [*told, f"exchange → here {venue}"]
    here = "–" if delays.here is None else words.span(delays.here)
    return [*told, f"exchange → gateway {venue}", f"gateway → here {here}"]


# -- tape --------------------------------------------------------------------------------------------------------------


def tape(rows: Sequence[Print | Note], room: int) -> RenderableType:
    """The newest first."""
    shown = list(rows)[: -room - 1 : -1]  # one row of them is the head's
    prints = [row for row in shown if isinstance(row, Print)]
    prices = words.decimals(row.price for row in prints)
    amounts = words.decimals(row.amount for row in prints)
    lines = [Text(f"{'time (UTC)':<12}  {'side':<6}  {'price':>14}  {'amount':>14}  {'cost':>16}", DIM)]
    for row in shown[: max(0, room - 1)]:
        if isinstance(row, Note):
            lines.append(note_line(row))
            continue
        side, colour = SIDES[row.side]
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{words.clock(row.time_ms)}  ", DIM)
        line.append(f"{side:<6}  {words.fixed(row.price, prices):>14}", colour)
        line.append(f"  {words.fixed(row.amount, amounts):>14}  {words.fixed(row.cost, 2):>16}")
        lines.append(line)
    return Group(*lines)


def note_line(note: Note) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{words.clock(note.time_ms)}  ", DIM)
    line.append(f"── {note.text} ──", BAD if note.bad else DIM)
    return line


# -- ladder ------------------------------------------------------------------------------------------------------------


def ladder(book: Book, now_ms: int, *, width: int, room: int) -> RenderableType:
    """Asks above bids, the best of both in the middle; as many levels as fit."""
    levels = max(1, (room - LADDER_ROWS) // 2)
    asks, bids = book.asks[:levels], book.bids[:levels]
    prices = words.decimals(price for price, _ in [*asks, *bids])
    amounts = words.decimals(amount for _, amount in [*asks, *bids])
    most = max((amount for _, amount in [*asks, *bids]), default=1.0)
    bar_width = max(4, width - 4 - 4 * 2 - 3 * 14)

    table = Table(box=None, padding=(0, 2, 0, 0), header_style=DIM, show_edge=False, pad_edge=False)
    table.add_column("side", width=4, no_wrap=True)
    table.add_column("price", width=14, justify="right", no_wrap=True)
    table.add_column("amount", width=14, justify="right", no_wrap=True)
    table.add_column("cumulative", width=14, justify="right", no_wrap=True)
    table.add_column("", width=bar_width, no_wrap=True)

    def add(name: str, side: Sequence[tuple[float, float]], colour: str, *, worst_first: bool) -> None:
        sums = accumulate(amount for _, amount in side)
        rows = [
            (
                Text(name, colour),
                Text(words.fixed(price, prices), colour),
                words.fixed(amount, amounts),
                Text(words.fixed(total, amounts), DIM),
                Text(bar(amount / most, bar_width), colour),
            )
            for (price, amount), total in zip(side, sums, strict=True)
        ]
        for row in reversed(rows) if worst_first else rows:
            table.add_row(*row)

    add("ask", asks, DOWN, worst_first=True)
    spread = "–" if book.spread is None else words.fixed(book.spread, prices)
    share = "" if not book.spread or not book.mid else f"{10_000 * book.spread / book.mid:.2f} bp"
    age_ms = now_ms - book.received_ms
    table.add_row(
        Text("mid", "bold"),
        Text(words.fixed(book.mid, prices + 1), "bold"),
        f"spread {spread}",
        share,
        Text(f"age {words.span(age_ms)}", BAD if age_ms >= OLD_MS else ""),
    )
    add("bid", bids, UP, worst_first=False)
    return table


def bar(share: float, width: int) -> str:
    """``share`` of ``width`` columns, to an eighth of one; what is there at all shows."""
    eighths = max(1, round(8 * width * share)) if share > 0 else 0
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (EIGHTHS[rest] if rest else "")


# -- chart -------------------------------------------------------------------------------------------------------------


def candle_chart(candles: Sequence[Candle], *, width: int, room: int) -> RenderableType:
    newest = candles[-1]
    places = words.decimals((newest.open, newest.high, newest.low, newest.close))
    told = "  ".join(
        f"{name} {words.fixed(value, places)}"
        for name, value in (("O", newest.open), ("H", newest.high), ("L", newest.low), ("C", newest.close))
    )
    volume = "–" if newest.volume is None else f"{newest.volume:,g}"
    state = "closed" if newest.closed else "forming"
    head = Text(f"{words.stamp(newest.open_time_ms)[:16]}Z  {told}  V {volume}  {state}", no_wrap=True)
    legend = Text(chart.LEGEND, DIM, no_wrap=True, overflow="ellipsis")
    return Group(head, *chart.draw(candles, width, max(8, room - 2)), legend)
