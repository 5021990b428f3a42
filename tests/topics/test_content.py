"""What trades and candles take for new, put into one frame, remember, and show to a joining client first."""

from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from tests.topics.reader import Clock, Reader, Turns, numbers
from tests.topics.scripted_venue import EPOCH_MS, candle, topic_key, trade, trades
from topics.candles import Candles
from topics.key import Cursor
from topics.ring import MAX_ROWS, MemoryRing, RingBudget
from topics.topic import Topic
from topics.trades import DEFAULT_TRADES, Trades


def at(seq: int) -> Cursor:
    return Cursor(EPOCH_MS, seq)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns() -> Turns:
    return Turns()


def message(payload: bytes | None) -> dict[str, Any]:
    assert payload is not None
    decoded: dict[str, Any] = orjson.loads(payload)
    return decoded


class TestTrades:
    @pytest.fixture
    def reader(self) -> Reader:
        return Reader()

    @pytest.fixture
    def content(self, turns: Turns, clock: Clock, reader: Reader) -> Trades:
        topic = Topic(topic_key("trades"), turns.tick, clock_ms=clock)
        topic.fanout.add(reader)
        return Trades(topic, MemoryRing(RingBudget()), dense=True)

    async def first(self, content: Trades, *, snapshot: bool = False, rewind: int = 0) -> dict[str, Any] | None:
        (topic,) = content.topics()
        payload = await content.first_frame(topic, at(99), snapshot=snapshot, rewind=rewind)
        return None if payload is None else message(payload)

    async def test_one_frame_holds_all_that_was_accepted_since_the_last(
        self, content: Trades, turns: Turns, reader: Reader
    ) -> None:
        content.accept(trades(1, 2))
        content.accept(trades(3, 3))
        content.publish(at(1), 5)
        turns.take()

        assert (reader.ids, reader.seqs) == ([1, 2, 3], [1])

    async def test_a_frame_is_dated_by_its_newest_trade(self, content: Trades, turns: Turns, reader: Reader) -> None:
        content.accept(trades(1, 3))
        content.publish(at(1), 77)
        turns.take()

        assert reader.messages[0]["ts"] == {"ex": EPOCH_MS + 3, "rx": 77, "tx": EPOCH_MS + 1}

    async def test_the_stored_frame_is_the_sent_one(self, content: Trades, turns: Turns, reader: Reader) -> None:
        content.accept(trades(1, 3))
        content.publish(at(1), 5)
        turns.take()

        assert [entry.payload for entry in await content.ring.last(9)] == reader.payloads

    async def test_a_trade_seen_before_is_not_new(self, content: Trades, turns: Turns, reader: Reader) -> None:
        content.accept(trades(1, 3))
        content.publish(at(1), 5)

        assert not content.accept(trades(2, 3))
        assert content.accept(trades(2, 5))
        content.publish(at(2), 6)
        turns.take()
        assert reader.ids == [1, 2, 3, 4, 5]

    async def test_a_trade_twice_in_one_message_is_one_trade(
        self, content: Trades, turns: Turns, reader: Reader
    ) -> None:
        content.accept([trade(1), trade(1), trade(2)])
        content.publish(at(1), 5)
        turns.take()

        assert reader.ids == [1, 2]

    async def test_history_is_remembered_in_the_order_of_time_and_sent_to_nobody(
        self, content: Trades, turns: Turns, reader: Reader
    ) -> None:
        primed = content.prime(at(1), [trade(3), trade(1), trade(2)], [], 5)
        turns.take()

        (entry,) = await content.ring.last(9)
        assert (primed, entry.cursor, numbers(message(entry.payload)["data"])) == (True, at(1), [1, 2, 3])
        assert reader.pushes == 0

    async def test_no_history_is_no_event(self, content: Trades) -> None:
        assert not content.prime(at(1), [], [], 5)
        assert await content.ring.last(9) == []

    async def test_what_history_held_is_not_new_in_the_stream(self, content: Trades) -> None:
        content.prime(at(1), trades(1, 3), [], 5)

        assert not content.accept(trades(1, 3))

    @pytest.mark.parametrize(("rewind", "ids"), [(1, [5]), (2, [4, 5]), (4, [2, 3, 4, 5]), (99, [1, 2, 3, 4, 5])])
    async def test_rewind_gives_the_last_trades_in_one_frame(
        self, content: Trades, rewind: int, ids: list[int]
    ) -> None:
        content.prime(at(1), trades(1, 3), [], 5)
        content.accept(trades(4, 5))
        content.publish(at(2), 6)

        frame = await self.first(content, rewind=rewind)

        assert frame is not None
        assert (numbers(frame["data"]), frame["cursor"]) == (ids, f"{EPOCH_MS}-2")

    async def test_a_snapshot_of_trades_is_the_last_hundred(self, content: Trades) -> None:
        content.prime(at(1), trades(1, 150), [], 5)

        frame = await self.first(content, snapshot=True)

        assert frame is not None
        assert numbers(frame["data"]) == list(range(151 - DEFAULT_TRADES, 151))

    async def test_a_client_that_asks_for_nothing_first_gets_nothing_first(self, content: Trades) -> None:
        content.prime(at(1), trades(1, 3), [], 5)

        assert await self.first(content) is None

    async def test_an_empty_past_is_no_frame(self, content: Trades) -> None:
        assert await self.first(content, snapshot=True, rewind=5) is None


class TestCandles:
    @pytest.fixture
    def reader(self) -> Reader:
        return Reader()

    @pytest.fixture
    def content(self, turns: Turns, clock: Clock, reader: Reader) -> Candles:
        topic = Topic(topic_key("ohlcv"), turns.tick, clock_ms=clock)
        topic.fanout.add(reader)
        return Candles(topic, MemoryRing(RingBudget()), clock_ms=clock, timeframe="1m")

    async def first(self, content: Candles, *, snapshot: bool = False, rewind: int = 0) -> list[tuple[int, float]]:
        """Minute and close of each candle of the first frame."""
        (topic,) = content.topics()
        payload = await content.first_frame(topic, at(7), snapshot=snapshot, rewind=rewind)
        return [] if payload is None else rows(message(payload))

    async def test_a_frame_holds_the_newest_state_of_each_candle_ascending(
        self, content: Candles, turns: Turns, reader: Reader
    ) -> None:
        content.accept([candle(2, close=1.0)])
        content.accept([candle(1, close=5.0), candle(2, close=2.0)])
        content.publish(at(1), 5)
        turns.take()

        assert [rows(frame) for frame in reader.messages] == [[(1, 5.0), (2, 2.0)]]

    async def test_history_is_remembered_and_sent_to_nobody(
        self, content: Candles, turns: Turns, reader: Reader
    ) -> None:
        assert content.prime(at(1), [candle(1), candle(2), candle(2, close=3.0)], [], 5)
        turns.take()

        assert reader.pushes == 0
        assert await self.first(content, rewind=9) == [(1, 100.0), (2, 3.0)]

    async def test_a_repair_is_a_frame_of_its_own_after_what_it_repairs(
        self, content: Candles, turns: Turns, reader: Reader
    ) -> None:
        closed, corrected = (replace(candle(1, close=close), closed=True) for close in (1.0, 2.0))
        content.accept([closed, corrected, candle(2)])
        more = content.publish(at(1), 5)
        content.publish(at(2), 5)
        turns.take()

        assert more
        assert [(rows(frame), "repair" in frame) for frame in reader.messages] == [
            ([(1, 1.0), (2, 100.0)], False),
            ([(1, 2.0)], True),
        ]

    async def test_what_a_fetch_after_a_reconnect_says_again_is_not_sent_again(
        self, content: Candles, turns: Turns, reader: Reader
    ) -> None:
        content.prime(at(1), [candle(1), candle(2)], [], 5)
        assert not content.accept([candle(1), candle(2)])
        assert content.accept([candle(1), candle(2, close=3.0), candle(3)])
        content.publish(at(2), 5)
        turns.take()

        assert [rows(frame) for frame in reader.messages] == [[(2, 3.0), (3, 100.0)]]

    async def test_of_so_many_candles_only_the_newest_are_compared(self, content: Candles) -> None:
        content.accept([candle(minute) for minute in range(MAX_ROWS + 1)])
        content.publish(at(1), 5)

        assert not content.accept([candle(MAX_ROWS)])
        assert content.accept([candle(0)])

    async def test_no_history_is_no_event(self, content: Candles) -> None:
        assert not content.prime(at(1), [], [], 5)
        assert await content.ring.last(9) == []

    async def test_a_past_that_comes_late_is_a_repair_and_no_loss(
        self, content: Candles, turns: Turns, reader: Reader
    ) -> None:
        content.prime(at(1), None, [candle(5, close=1.0)], 5)
        assert content.open

        assert content.mend([])[:2] == (0, 0)
        assert content.mend([candle(3), candle(4), candle(5, close=0.5)])[:2] == (0, 0)
        assert content.accept(())
        content.publish(at(2), 6)
        turns.take()

        assert [(rows(frame), frame["repair"]) for frame in reader.messages] == [([(3, 100.0), (4, 100.0)], True)]
        assert await self.first(content, rewind=9) == [(3, 100.0), (4, 100.0), (5, 1.0)]

    async def test_a_snapshot_of_candles_is_the_forming_one(self, content: Candles) -> None:
        content.prime(at(1), [candle(1), candle(2)], [], 5)
        content.accept([candle(2, close=7.0)])
        content.publish(at(2), 6)

        assert await self.first(content, snapshot=True) == [(2, 7.0)]

    @pytest.mark.parametrize(("rewind", "minutes"), [(1, [3]), (2, [2, 3]), (50, [1, 2, 3])])
    async def test_rewind_gives_the_last_candles(self, content: Candles, rewind: int, minutes: list[int]) -> None:
        content.prime(at(1), [candle(1), candle(2), candle(3)], [], 5)

        assert [minute for minute, _ in await self.first(content, rewind=rewind)] == minutes

    async def test_a_client_that_asks_for_nothing_first_gets_nothing_first(self, content: Candles) -> None:
        content.prime(at(1), [candle(1)], [], 5)

        assert await self.first(content) == []

    async def test_a_first_frame_ends_at_the_streams_cursor(self, content: Candles) -> None:
        content.prime(at(7), [candle(1)], [], 5)
        (topic,) = content.topics()

        payload = await content.first_frame(topic, at(7), snapshot=True, rewind=0)

        assert message(payload)["cursor"] == f"{EPOCH_MS}-7"


def rows(frame: dict[str, Any]) -> list[tuple[int, float]]:
    return [((row[0] - EPOCH_MS) // 60_000, row[4]) for row in frame["data"]]
