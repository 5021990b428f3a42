"""One Bybit symbol: a market with Bybit's ids, its cross sequence and, on inverse contracts, its turnover in coin.

Source: https://bybit-exchange.github.io/docs/v5/websocket/public/trade
"""

from collections.abc import Callable
from uuid import UUID, uuid5

from .bybit_book import BestLevel, BookTopic
from .bybit_listings import Listing
from .candles import Trade, close_time
from .grid import Grid
from .history import DAY, MINUTE, Candle
from .market import Market, Touch
from .truth import BookJournal, Print, Rows, Tape

DEPTHS = (50, 200, 1000)
RPI_EVERY = 37  # every n-th fill took a retail price improvement order
YEAR_2026 = 1_767_225_600_000
SEQ_BASE, SEQ_PER_MS = 452_600_000_000, 7
SPOT_TRADE_BASE, SPOT_TRADES_PER_MS = 2_290_000_000_000_000_000, 100_000
TRADE_IDS = UUID("9e0c2f1c-57b1-5d35-9e0c-0000b1b17000")
COIN = Grid("0.00000001")  # turnover of inverse contracts
TURNOVER_DAYS = 8  # of exact minutes


def seq(time_ms: int) -> int:
    """The cross sequence of a time: rises, has holes, and compares books of all depths with trades."""
    return SEQ_BASE + (time_ms - YEAR_2026) * SEQ_PER_MS


class Turnover:
    """Coin that changed hands on an inverse contract, by minute; every fill is rounded on its own to 1e-8."""

    def __init__(self, market: Market) -> None:
        self._minutes: dict[int, tuple[int, int, int]] = {}  # volume, cost (as candles count it), turnover
        self._scale = 10**8 * market.prices.count("1") // market.amounts.count("1")

    def hear(self, trade: Trade) -> None:
        minute = trade.time_ms // MINUTE * MINUTE
        if minute not in self._minutes and len(self._minutes) > TURNOVER_DAYS * DAY // MINUTE:
            del self._minutes[next(iter(self._minutes))]
        volume, cost, turnover = self._minutes.get(minute, (0, 0, 0))
        turnover += self.of(trade.amount, trade.price)
        self._minutes[minute] = volume + trade.amount, cost + trade.price * trade.amount, turnover

    def within(self, candle: Candle, timeframe: int) -> int:
        """Exact for what was heard; what lies before is counted at its average price."""
        volume, cost, turnover = candle.volume, candle.cost, 0
        until = close_time(candle.open_ms, timeframe)
        known_from, known_until = next(iter(self._minutes), until), next(reversed(self._minutes), 0) + MINUTE
        for minute in range(max(candle.open_ms, known_from), min(until, known_until), MINUTE):
            heard = self._minutes.get(minute, (0, 0, 0))
            volume, cost, turnover = volume - heard[0], cost - heard[1], turnover + heard[2]
        return turnover + (self.of(volume * volume, cost) if volume > 0 else 0)

    def of(self, amount: int, price: int) -> int:
        """Contracts over price, in 1e-8 of a coin, rounded."""
        return (2 * amount * self._scale + price) // (2 * price)


class Instrument:
    """A listing, its market, how Bybit numbers what happens there, and its books, which are numbered for everybody.

    ``stated`` remembers what was said of them.
    """

    def __init__(self, listing: Listing, market: Market, *, skew_ms: Callable[[], int] = lambda: 0) -> None:
        self.listing = listing
        self.symbol = listing.symbol
        self.category = listing.category
        self.market = market
        self.futures = listing.category != "spot"
        self.price: Callable[[int], str] = market.prices.text
        self.amount: Callable[[int], str] = market.amounts.text
        self._cost = market.prices.times(market.amounts).text
        self._coin: Turnover | None = None
        if listing.category == "inverse":
            self._coin = Turnover(market)
            market.heard.append(self._coin.hear)
        self.day = 0, Candle(open_ms=0, open=0, high=0, low=0, close=0)  # when the tickers last looked, what they saw
        self.stated = BookJournal(market.prices, market.amounts, skew_ms)
        self.best = BestLevel(self.symbol, market, seq)
        self.best.stated = self._note_best
        self.books = {depth: BookTopic(self.symbol, market, depth, seq) for depth in DEPTHS}

    def note(self, depth: int, now_ms: int, *, stream: str = "") -> None:
        """The book of a depth has been stated as it was pushed last, over a topic unless ``stream`` says otherwise."""
        if self.stated.recording:
            topic = self.books[depth]
            sides: tuple[Rows, Rows] = topic.bids.items(), topic.asks.items()
            self.stated.note(stream or f"orderbook.{depth}", topic.update, now_ms, *sides)

    def _note_best(self, update: int, now_ms: int, touch: Touch) -> None:
        bids, asks = [(touch.bid, touch.bid_amount)], [(touch.ask, touch.ask_amount)]
        self.stated.note("orderbook.1", update, now_ms, bids, asks)

    def tapes(self) -> dict[str, Tape]:
        """Trades as the topic has them; its ids are texts."""

        def state(trade: Trade) -> Print:
            price, amount = self.price(trade.price), self.amount(trade.amount)
            return Print(self.trade_id(trade), price, amount, trade.taker_side, trade.time_ms)

        return {"publicTrade": Tape(self.market.trades, state)}

    def restart(self) -> None:
        """Let every book begin anew with its next frame, as after a restart of the venue's service."""
        self.best.restart = True
        for book in self.books.values():
            book.restart = True

    def turnover(self, candle: Candle, timeframe: int) -> str:
        """In quote units; of inverse contracts in the coin that they are settled in."""
        if self._coin is None:
            return self._cost(candle.cost)
        return COIN.text(self._coin.within(candle, timeframe))

    def value(self, amount: int, price: int) -> str:
        """``amount`` at ``price``, as turnover counts."""
        return self._cost(amount * price) if self._coin is None else COIN.text(self._coin.of(amount, price))

    def trade_id(self, trade: Trade) -> str:
        """A UUID, on spot a number; the same over websocket and REST, and another in every run."""
        if self.futures:
            return str(uuid5(TRADE_IDS, f"{self.symbol} {trade.id} {trade.time_ms}"))
        after = (trade.time_ms - YEAR_2026) * SPOT_TRADES_PER_MS
        return str(SPOT_TRADE_BASE + after + trade.id % SPOT_TRADES_PER_MS)

    def is_rpi(self, trade: Trade) -> bool:
        return self.futures and trade.id % RPI_EVERY == 0
