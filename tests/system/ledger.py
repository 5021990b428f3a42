"""What the simulated venues really said, read over their control endpoint, compared with what a follower was given.

Imports nothing of the product. Books are compared at the same venue sequence (where there is none, at the same time),
trades one by one, candles with the venue's own REST answer once they are closed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx2

from tests.system.invariants import COMPARED, Books, Candles, Gap, Trade, Trades, View

SETTLED_MS = 3_000  # after which a book that was not found at the venue will not be
MAX_STATEMENTS = 6_000  # kept of one market
MOST_ROWS = 1_000  # in one answer


class Market(NamedTuple):
    """One market by both its names: ours (``exchange``, ``symbol``, ``params``) and the simulator's."""

    exchange: str
    symbol: str
    params: tuple[tuple[str, Any], ...]
    venue: str
    venue_symbol: str

    @property
    def name(self) -> str:
        return f"{self.venue} {self.venue_symbol}"


class Statement(NamedTuple):
    """A book as the venue stated it, before any fault touched it: its best levels as the venue's texts."""

    timestamp: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


@dataclass(slots=True)
class Verdict:
    """How a comparison went; what was wrong is in ``wrong``, in words."""

    compared: int = 0
    equal: int = 0
    unmatched: Counter[str] = field(default_factory=Counter)  # by reason
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Verdict") -> None:
        self.compared += other.compared
        self.equal += other.equal
        self.unmatched += other.unmatched
        self.wrong += other.wrong


class Ledger:
    """The truth of one market, as far as it was read; ``read`` it once before anything is subscribed to."""

    def __init__(self, http: httpx2.AsyncClient, market: Market) -> None:
        self.market = market
        self.trades: dict[str, Trade] = {}  # by id, oldest first
        self._http = http
        self._books: dict[tuple[str, int], list[Statement]] = {}  # by stream and sequence, oldest first
        self._next = {"books": 0, "trades": 0}
        self.forgotten: Counter[str] = Counter()  # how often something was forgotten before we read it

    async def read(self) -> None:
        """What the venue said since the last time."""
        for row in await self._news("books"):
            sides = [[(price, amount) for price, amount in row[side]] for side in ("bids", "asks")]
            key = (row["stream"], row["timestamp_ms"] if self._by_time else row["sequence"])
            self._books.setdefault(key, []).append(Statement(row["timestamp_ms"], *sides))
        while len(self._books) > MAX_STATEMENTS:
            del self._books[next(iter(self._books))]
        for row in await self._news("trades"):
            trade = Trade(
                str(row["id"]), float(row["price"]), float(row["amount"]), row["taker_side"], row["timestamp_ms"]
            )
            self.trades[trade.id] = trade

    def compare_books(self, books: Books, now_ms: float) -> Verdict:
        """Take the views that can be judged by now out of ``books`` and judge them."""
        verdict, views, later = Verdict(), books.views, []
        while views:
            view = views.popleft()
            statements = self._find(view, books.levels)
            if statements:
                verdict.compared += 1
                if any(equal(view, one, levels=min(COMPARED, books.levels), exact=books.delta) for one in statements):
                    verdict.equal += 1
                else:
                    verdict.wrong.append(_differ(view, statements[-1]))
            elif now_ms - view.at < SETTLED_MS:
                later.append(view)
            else:
                verdict.unmatched["forgotten by the simulator" if self.forgotten["books"] else "no such statement"] += 1
        views.extend(later)
        return verdict

    @property
    def _by_time(self) -> bool:
        return self.market.venue == "hyperliquid"

    def _find(self, view: View, levels: int) -> list[Statement]:
        key = view.timestamp if self._by_time else view.nonce
        if key is None:
            return []
        found = [one for stream in streams(self.market.venue, levels) for one in self._books.get((stream, key), ())]
        if len(found) > 1 and view.timestamp is not None:  # Bybit's numbers begin anew now and then
            found = [one for one in found if one.timestamp == view.timestamp] or found
        return found

    async def _news(self, what: str) -> list[Any]:
        """All that was said since the last time; an answer holds at most so many rows."""
        found: list[Any] = []
        while True:
            query = {"venue": self.market.venue, "symbol": self.market.venue_symbol, "since": self._next[what]}
            reply = await self._http.get(f"/control/truth/{what}", params=query)
            reply.raise_for_status()
            body = reply.json()
            if 0 < self._next[what] < body["begins"]:
                self.forgotten[what] += 1
            self._next[what] = body["next"]
            found += body[what]
            if len(body[what]) < MOST_ROWS:
                return found


class Account:
    """One topic's trades against the ledger: each delivered one, and each of the venue's that was not delivered.

    Make it when the ledger has been read to the end. ``lost`` are the venue's trades between the first and the last
    delivered that were not delivered, oldest first.
    """

    def __init__(self, ledger: Ledger, trades: Trades) -> None:
        self.lost: list[Trade] = []
        self._ledger = ledger
        self._trades = trades
        self._places = {id: place for place, id in enumerate(ledger.trades)}
        delivered = {trade.id for trade in trades.rows}
        places = [self._places[id] for id in delivered if id in self._places]
        if places:
            told = list(ledger.trades.values())[min(places) : max(places)]
            self.lost = [trade for trade in told if trade.id not in delivered]
        self._spans = [self._span(gap) for gap in trades.gaps]

    def compare(self) -> Verdict:
        """Each delivered trade with the venue's of the same id."""
        verdict = Verdict()
        for trade in self._trades.rows:
            true = self._ledger.trades.get(trade.id)
            if true is None:
                verdict.wrong.append(f"{trade} is none of the venue's")
                continue
            verdict.compared += 1
            if trade == true:
                verdict.equal += 1
            else:
                verdict.wrong.append(f"{trade} is {true} at the venue")
        return verdict

    def undeclared(self) -> list[Trade]:
        """The lost trades that lie in no gap that owns up to losing something."""
        spans = [span for gap, span in zip(self._trades.gaps, self._spans, strict=True) if gap.missing != 0]
        return [trade for trade in self.lost if not any(self._inside(trade, span) for span in spans)]

    def false_gaps(self) -> list[Gap]:
        """Those in which nothing was lost, and nothing refetched."""
        return [
            gap
            for gap, span in zip(self._trades.gaps, self._spans, strict=True)
            if gap.rows == 0 and not any(self._inside(trade, span) for trade in self.lost)
        ]

    def _inside(self, trade: Trade, span: tuple[float, float]) -> bool:
        return span[0] < self._places[trade.id] < span[1]

    def _span(self, gap: Gap) -> tuple[float, float]:
        """Between which places of the ledger a gap lies: the last trade delivered before it, the first live one after.

        The event at ``to`` may hold refetched rows and live ones; nothing is lost behind its last.
        """
        rows, ends = self._trades.rows, self._trades.ends
        before = ends.get(gap.since, 0) if gap.since else 0
        after = ends.get(gap.to, len(rows)) if gap.to else len(rows)
        low = self._places.get(rows[before - 1].id, -1) if before else -1
        place = after - 1 if gap.rows else after
        high = self._places.get(rows[place].id, len(self._places)) if 0 <= place < len(rows) else len(self._places)
        return low, high


def streams(venue: str, levels: int) -> tuple[str, ...]:
    """Where the book of a topic of so many levels comes from, in the ledger's words."""
    if venue.startswith("binance"):
        return ("depth", "rest")
    if venue == "bybit":
        return ("orderbook.200",) if levels <= 200 else ("orderbook.1000",)
    return ("l2Book:fast",) if levels <= 5 else ("l2Book",)


def equal(view: View, true: Statement, *, levels: int, exact: bool) -> bool:
    """``exact``: as texts; else as numbers."""
    if exact:
        return view.bids[:levels] == true.bids[:levels] and view.asks[:levels] == true.asks[:levels]
    return view.bids[:levels] == numbers(true.bids[:levels]) and view.asks[:levels] == numbers(true.asks[:levels])


def numbers(levels: Sequence[tuple[str, str]]) -> list[list[float]]:
    return [[float(price), float(amount)] for price, amount in levels]


def _differ(view: View, true: Statement) -> str:
    for side in ("bids", "asks"):
        shown, said = getattr(view, side), getattr(true, side)
        for place, (one, other) in enumerate(zip(shown, said, strict=False)):
            if (float(one[0]), float(one[1])) != (float(other[0]), float(other[1])):
                return f"{view.nonce} {view.timestamp}: {side} level {place} is {one}, at the venue {other}"
    return f"{view.nonce} {view.timestamp}: {len(view.bids)}, {len(view.asks)} levels, or another spelling"


async def compare_candles(http: httpx2.AsyncClient, market: Market, candles: Candles) -> Verdict:
    """Each closed candle of one minute with the venue's, but those that say that they are not complete."""
    verdict = Verdict()
    if not candles.closed:
        return verdict
    true = await minutes(http, market, since=min(candles.closed))
    for opened, complete in candles.closed.items():
        if not complete:
            verdict.unmatched["said to be incomplete"] += 1
        elif opened not in true:
            verdict.unmatched["none at the venue"] += 1
        else:
            verdict.compared += 1
            row = [float(value) for value in candles.newest[opened]]
            if row == true[opened]:
                verdict.equal += 1
            else:
                verdict.wrong.append(f"{row} is {true[opened]} at the venue; told {candles.told[opened]}")
    return verdict


async def minutes(http: httpx2.AsyncClient, market: Market, *, since: int) -> dict[int, list[float]]:
    """The venue's candles of one minute by open time, as open time, open, high, low, close, volume."""
    symbol = market.venue_symbol.removeprefix("spot/")
    rows: list[Any]
    if market.exchange == "binance":
        path = "/binance/fapi/v1/klines" if market.venue == "binance" else "/binance-spot/api/v3/klines"
        query: dict[str, Any] = {"symbol": symbol, "interval": "1m", "startTime": since, "limit": 1000}
        rows = (await http.get(path, params=query)).json()
    elif market.exchange == "bybit":
        category = "spot" if market.venue_symbol.startswith("spot/") else "linear"
        query = {"category": category, "symbol": symbol, "interval": "1", "start": since, "limit": 1000}
        rows = (await http.get("/bybit/v5/market/kline", params=query)).json()["result"]["list"]
    else:
        wanted = {"coin": symbol, "interval": "1m", "startTime": since}
        answer = await http.post("/hyperliquid/info", json={"type": "candleSnapshot", "req": wanted})
        rows = [[row[name] for name in "tohlcv"] for row in answer.json()]
    return {int(row[0]): [float(value) for value in row[:6]] for row in rows}
