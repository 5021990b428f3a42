"""One topic: its key, its encoder and its subscribers. An event becomes bytes here, once, however many watch."""

from collections.abc import Callable, Mapping
from typing import Any

from topics import metrics
from topics.fanout import Fanout, Tick
from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.wire import DataEncoder


class Topic:
    """What clients subscribe to."""

    def __init__(self, key: TopicKey, tick: Tick, *, clock_ms: Callable[[], int]) -> None:
        self.key = key
        self.fanout = Fanout(tick)
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
        self._encoded.inc()
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
    ) -> bytes:
        """Encode ``data`` once and send it to every subscriber at the end of this turn; gives the JSON."""
        payload = self.encode(cursor, data, event_ms=event_ms, received_ms=received_ms, beside=beside)
        self.fanout.send(frame(payload))
        return payload
