"""One topic: its key, its encoder and its subscribers. An event becomes bytes here, once, however many watch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from topics import metrics
from topics.backlog import BookBacklog, CandleBacklog, TradeBacklog
from topics.fanout import Fanout
from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.ring import Row
from topics.subscriber import Backlog
from topics.tick import Tick
from topics.wire import DataEncoder, candle_data, candle_meta


class Topic:
    """What clients subscribe to."""

    def __init__(self, key: TopicKey, tick: Tick, *, clock_ms: Callable[[], int]) -> None:
        self.key = key
        self.show: Callable[[], bytes | None] = lambda: None  # a book's view as last sent; its view sets it
        self.fanout = Fanout(tick, self._backlog())
        self._encoder = DataEncoder(key)
        self._clock_ms = clock_ms
        self._encoded = metrics.FRAMES.labels(key.exchange, key.channel)

    def encode(
        self,
        cursor: Cursor,
        data: Any,
        *,
        event_ms: int | None,
        received_ms: int,
        beside: Mapping[str, Any] | None = None,
    ) -> bytes:
        """``data`` as a data frame's JSON, for the ring or for one client; ``beside`` are further fields of it."""
        self._encoded.count += 1
        return self._encoder.encode(
            cursor, data, event_ms=event_ms, received_ms=received_ms, now_ms=self._clock_ms(), beside=beside
        )

    def publish(
        self,
        cursor: Cursor,
        data: Any,
        *,
        event_ms: int | None,
        received_ms: int,
        beside: Mapping[str, Any] | None = None,
        rows: Sequence[Any] = (),
    ) -> bytes:
        """Encode ``data`` once and send it to every subscriber at the end of this turn; gives the JSON.

        ``rows``: what those who are behind will have missed by it.
        """
        payload = self.encode(cursor, data, event_ms=event_ms, received_ms=received_ms, beside=beside)
        self.fanout.send(cursor, frame(payload), rows)
        return payload

    def _backlog(self) -> Backlog:
        match self.key.channel:
            case "trades":
                return TradeBacklog(self.key)
            case "ohlcv":
                return CandleBacklog(self.key, self._encode_candles)
            case "orderbook":
                return BookBacklog(self.key, self._show_book)

    def _show_book(self) -> bytes | None:
        return self.show()

    def _encode_candles(self, cursor: Cursor, rows: Sequence[Row], repair: bool) -> bytes:
        beside = {**({"repair": True} if repair else {}), **candle_meta(rows)}
        return self.encode(cursor, candle_data(rows), event_ms=None, received_ms=self._clock_ms(), beside=beside)
