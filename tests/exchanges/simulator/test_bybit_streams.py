"""Bybit's topics: books that a client keeps as documented, the tape, candles, tickers, liquidations."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx2
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from exchanges.simulator import bybit_book
from exchanges.simulator.bybit_instrument import Instrument
from exchanges.simulator.bybit_listings import listings
from exchanges.simulator.bybit_streams import BestStream, BookStream, Klines, Liquidations, Tape
from exchanges.simulator.candles import open_time
from exchanges.simulator.history import HOUR, MINUTE
from exchanges.simulator.market import Market
from exchanges.simulator.server import Simulator
from exchanges.simulator.streams import Stream

from .conftest import Dial, Socket

pytestmark = pytest.mark.asyncio(loop_scope="module")
PUBLIC = "/bybit/v5/public"
OPENED_MS = 1_791_642_190_123
BOOKS = [("linear", "BTCUSDT", "BTCUSDT"), ("inverse", "BTCUSD", "BTCUSD"), ("spot", "ETHUSDT", "spot/ETHUSDT")]


@pytest_asyncio.fixture(loop_scope="module")
async def dial(simulator: Simulator) -> AsyncIterator[Dial]:
    """As everywhere, but a client that leaves some frames unread is still closed at once: it reads on by itself."""
    async with AsyncExitStack() as opened:

        async def open_one(path: str) -> Socket:
            return Socket(
                await opened.enter_async_context(connect(simulator.ws_url + path, max_size=None, max_queue=None))
            )

        yield open_one


async def subscribe(dial: Dial, category: str, *topics: str) -> Socket:
    """A socket whose next message is data."""
    socket = await dial(f"{PUBLIC}/{category}")
    await socket.send({"op": "subscribe", "args": list(topics)})
    assert (await socket.receive())["success"]
    return socket


async def restarted(socket: Socket) -> Any:
    """The frame with which a book begins anew."""
    async with asyncio.timeout(5):
        return await socket.until(lambda frame: frame["data"]["u"] == 1)


class Keeper:
    """A client's book, kept as Bybit's documentation says; independent of every parser in this project."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        self.update = 0
        self.seq = 0

    def apply(self, frame: dict[str, Any]) -> None:
        data = frame["data"]
        if frame["type"] == "snapshot" or data["u"] == 1:
            self.sides = {"b": {}, "a": {}}
        else:
            assert data["u"] == self.update + 1
        assert data["seq"] >= self.seq
        self.update, self.seq = data["u"], data["seq"]
        for name, side in self.sides.items():
            side.update(data[name])
            for price, amount in data[name]:
                if amount == "0":
                    del side[price]

    def top(self, name: str) -> list[list[str]]:
        best_first = sorted(self.sides[name].items(), key=lambda level: float(level[0]), reverse=name == "b")
        return [list(level) for level in best_first]


@pytest.mark.parametrize(("category", "symbol", "key"), BOOKS)
async def test_a_book_kept_as_documented_is_the_true_book(
    dial: Dial, http: httpx2.AsyncClient, category: str, symbol: str, key: str
) -> None:
    keepers = {f"orderbook.{depth}.{symbol}": Keeper() for depth in (50, 200, 1000)}
    socket = await subscribe(dial, category, *keepers)
    whole = 0
    while whole < 3:
        frame = await socket.receive()
        keepers[frame["topic"]].apply(frame)
        whole += frame["topic"].startswith("orderbook.1000")
    await http.post("/control/freeze", json={"frozen": True})
    await socket.send({"op": "ping"})
    while "topic" in (frame := await socket.receive()):
        keepers[frame["topic"]].apply(frame)
    truth = (await http.get("/control/book", params={"venue": "bybit", "symbol": key})).json()
    for topic, keeper in keepers.items():
        depth = int(topic.split(".")[1])
        assert keeper.top("b") == truth["bids"][:depth]
        assert keeper.top("a") == truth["asks"][:depth]


async def test_a_frame_has_its_engine_time_beside_its_data(dial: Dial) -> None:
    socket = await subscribe(dial, "linear", "orderbook.50.BTCUSDT")
    snapshot, delta = await socket.receive(), await socket.receive()
    for frame in (snapshot, delta):
        assert list(frame) == ["topic", "type", "ts", "data", "cts"]
        assert list(frame["data"]) == ["s", "b", "a", "u", "seq"]
        assert frame["cts"] <= frame["ts"]
    assert (snapshot["type"], delta["type"]) == ("snapshot", "delta")
    bids, asks = ([float(price) for price, _ in snapshot["data"][side]] for side in "ba")
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)


async def test_a_late_subscriber_joins_the_same_numbers(dial: Dial) -> None:
    early = await subscribe(dial, "linear", "orderbook.50.ETHUSDT")
    await early.receive()
    late = await subscribe(dial, "linear", "orderbook.50.ETHUSDT")
    snapshot, delta = await late.receive(), await late.receive()
    assert (snapshot["type"], delta["data"]["u"]) == ("snapshot", snapshot["data"]["u"] + 1)
    assert await early.until(lambda frame: frame["data"]["u"] == delta["data"]["u"]) == delta


async def test_each_depth_is_numbered_on_its_own(dial: Dial) -> None:
    topics = [f"orderbook.{depth}.BTCUSDT" for depth in (1, 50, 200, 1000)]
    socket = await subscribe(dial, "linear", *topics)
    seen: dict[str, int] = {}
    while len(seen) < 4:
        frame = await socket.receive()
        seen[frame["topic"]] = frame["data"]["u"]
    assert len(set(seen.values())) == 4


async def test_a_lost_frame_leaves_a_hole(dial: Dial, http: httpx2.AsyncClient) -> None:
    socket = await subscribe(dial, "spot", "orderbook.200.BTCUSDT")
    before = await socket.receive()
    await http.post("/control/lose", json={"venue": "bybit", "symbol": "spot/BTCUSDT", "count": 2})
    updates = [before["data"]["u"]] + [(await socket.receive())["data"]["u"] for _ in range(6)]
    assert sorted(later - earlier for earlier, later in pairwise(updates)) == [1, 1, 1, 1, 1, 3]


@pytest.mark.parametrize("depth", [50, 1000])
async def test_a_reset_is_a_whole_book_called_a_delta(dial: Dial, http: httpx2.AsyncClient, depth: int) -> None:
    socket = await subscribe(dial, "linear", f"orderbook.{depth}.ETHUSDT")
    keeper = Keeper()
    keeper.apply(await socket.receive())
    await http.post("/control/reset", json={"venue": "bybit", "symbol": "ETHUSDT"})
    frame = await restarted(socket)
    assert frame["type"] == "delta"
    assert (len(frame["data"]["b"]), len(frame["data"]["a"])) == (depth, depth)
    keeper.apply(frame)
    keeper.apply(await socket.receive())
    assert keeper.update == 2


async def test_a_reset_reaches_the_best_level_and_rest(dial: Dial, http: httpx2.AsyncClient) -> None:
    socket = await subscribe(dial, "linear", "orderbook.1.ZENUSDT")
    await socket.receive()
    await http.post("/control/reset", json={"venue": "bybit", "symbol": "ZENUSDT"})
    assert (await restarted(socket))["type"] == "snapshot"
    query = {"category": "linear", "symbol": "ZENUSDT"}
    assert (await http.get("/bybit/v5/market/orderbook", params=query)).json()["result"]["u"] == 1
    refused = await http.post("/control/reset", json={"venue": "binance", "symbol": "BTCUSDT"})
    assert refused.status_code == 400


async def test_the_best_level_is_a_snapshot_each_time(dial: Dial) -> None:
    socket = await subscribe(dial, "inverse", "orderbook.1.BTCUSD")
    frames = [await socket.receive() for _ in range(10)]
    assert {frame["type"] for frame in frames} == {"snapshot"}
    assert {(len(frame["data"]["b"]), len(frame["data"]["a"])) for frame in frames} == {(1, 1)}
    assert all(later["data"]["u"] == earlier["data"]["u"] + 1 for earlier, later in pairwise(frames))


async def test_the_tape_is_the_ledger_in_order(dial: Dial, http: httpx2.AsyncClient) -> None:
    tapes = []
    for category, symbol, key in BOOKS:
        socket = await subscribe(dial, category, f"publicTrade.{symbol}")
        tapes.append((category, symbol, key, socket, (await socket.receive())["data"]))
    await http.post("/control/freeze", json={"frozen": True})
    for category, symbol, key, socket, rows in tapes:
        await socket.send({"op": "ping"})
        while "topic" in (frame := await socket.receive()):
            assert frame["type"] == "snapshot"
            rows.extend(frame["data"])
        query = {"venue": "bybit", "symbol": key, "limit": len(rows)}
        ledger = (await http.get("/control/trades", params=query)).json()
        facts = [(row["p"], row["v"], row["S"].lower(), row["T"]) for row in rows]
        assert facts == [(t["price"], t["amount"], t["taker_side"], t["timestamp_ms"]) for t in ledger]
        query = {"category": category, "symbol": symbol, "limit": 60}
        fetched = (await http.get("/bybit/v5/market/recent-trade", params=query)).json()["result"]["list"]
        common = min(len(rows), 60)
        both = [(row["execId"], int(row["seq"])) for row in reversed(fetched)][-common:]
        assert both == [(row["i"], row["seq"]) for row in rows][-common:]


async def test_futures_and_spot_trades_differ_in_their_ids_and_ticks(dial: Dial) -> None:
    linear = (await (await subscribe(dial, "linear", "publicTrade.BTCUSDT")).receive())["data"][0]
    spot = (await (await subscribe(dial, "spot", "publicTrade.BTCUSDT")).receive())["data"][0]
    assert UUID(linear["i"]).version == 5
    assert linear["L"] in ("PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick")
    assert spot["i"].isdecimal()
    assert "L" not in spot
    assert (linear["BT"], spot["BT"]) == (False, False)


async def test_tickers_merged_over_their_deltas_are_the_state(dial: Dial, http: httpx2.AsyncClient) -> None:
    socket = await subscribe(dial, "linear", "tickers.BTCUSDT")
    snapshot = await socket.receive()
    state = snapshot["data"]
    deltas = [await socket.receive() for _ in range(3)]
    await http.post("/control/freeze", json={"frozen": True})
    await socket.send({"op": "ping"})
    while "topic" in (frame := await socket.receive()):
        deltas.append(frame)
    assert (snapshot["type"], {frame["type"] for frame in deltas}) == ("snapshot", {"delta"})
    assert all(len(frame["data"]) < len(state) for frame in deltas)
    for frame in deltas:
        state |= frame["data"]
    query = {"category": "linear", "symbol": "BTCUSDT"}
    assert [state] == (await http.get("/bybit/v5/market/tickers", params=query)).json()["result"]["list"]


async def test_spot_tickers_are_whole_and_without_best_prices(dial: Dial) -> None:
    socket = await subscribe(dial, "spot", "tickers.BTCUSDT")
    first, second = await socket.receive(), await socket.receive()
    assert (first["type"], second["type"]) == ("snapshot", "snapshot")
    assert first["data"].keys() == second["data"].keys()
    assert "bid1Price" not in first["data"]


async def test_a_new_subscriber_hears_the_running_candle_at_once(dial: Dial) -> None:
    socket = await subscribe(dial, "linear", "kline.D.ZENUSDT")
    row = (await socket.receive())["data"][0]
    assert (row["interval"], row["confirm"], row["end"]) == ("D", False, row["start"] + 24 * HOUR - 1)


# -- without sockets: streams asked at times of the test's choosing


def instrument(key: str) -> Instrument:
    listing = next(each for each in listings(OPENED_MS) if each.key == key)
    one = Instrument(listing, Market(listing.spec, seed="7", opened_ms=OPENED_MS))
    one.market.advance(OPENED_MS)
    return one


def frames(stream: Stream, until_ms: int, *, since_ms: int = OPENED_MS) -> list[dict[str, Any]]:
    """What the stream says when it is asked whenever something is due."""
    heard = []
    now = since_ms
    while now <= until_ms:
        heard += [json.loads(payload) for payload in stream.produce(now, flush=False)]
        now = max(stream.due_ms, now + 1)
    return heard


async def test_a_book_topic_does_all_that_a_client_must_bear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bybit_book, "SNAPSHOT_EVERY", 200)
    one = instrument("BTCUSDT")
    stream = BookStream(one, 50, OPENED_MS)
    stream.produce(OPENED_MS, flush=True)
    keeper, absent, one_sided, snapshots = Keeper(), 0, 0, 0
    keeper.apply(json.loads(stream.greet(OPENED_MS)[0]))
    for frame in frames(stream, OPENED_MS + 20_000):
        data = frame["data"]
        if frame["type"] == "snapshot":
            snapshots += 1
        for name, side in keeper.sides.items():
            for price, amount in data[name]:
                if amount == "0" and price not in side:
                    absent += 1
                    side[price] = "0"  # so that keeping the book goes on as for any other
        one_sided += not (data["b"] and data["a"])
        keeper.apply(frame)
        assert (len(keeper.sides["b"]), len(keeper.sides["a"])) == (50, 50)
    assert keeper.top("b")[0][0] == one.price(one.market.bids.best)
    assert absent > 5
    assert one_sided > 50
    assert snapshots >= 3


async def test_a_best_level_that_stands_still_is_repeated_under_its_number() -> None:
    one = instrument("ZENUSDT")
    stream = BestStream(one, OPENED_MS)
    heard = frames(stream, OPENED_MS + 60_000)
    again = [(earlier, later) for earlier, later in pairwise(heard) if earlier["data"] == later["data"]]
    assert again
    assert {later["ts"] - earlier["ts"] for earlier, later in again} == {3000}
    changed = [(earlier, later) for earlier, later in pairwise(heard) if earlier["data"] != later["data"]]
    assert all(later["data"]["u"] == earlier["data"]["u"] + 1 for earlier, later in changed)


@pytest.mark.parametrize("key", ["ETHUSDT", "BTCUSD", "spot/ZENUSDT"])
async def test_a_candle_is_confirmed_once_and_equals_the_fold_of_its_trades(key: str) -> None:
    one = instrument(key)
    heard = frames(Klines(one, "1", OPENED_MS), OPENED_MS + 4 * MINUTE)
    rows = [frame["data"][0] for frame in heard]
    confirmed = [row for row in rows if row["confirm"]]
    first = open_time(OPENED_MS, MINUTE)
    assert [row["start"] for row in confirmed] == [first, first + MINUTE, first + 2 * MINUTE, first + 3 * MINUTE]
    for row in confirmed:
        trades = one.market.trades_between(row["start"], row["end"])
        assert row["volume"] == one.amount(sum(trade.amount for trade in trades))
        assert not trades or row["timestamp"] == trades[-1].time_ms
        assert trades or (row["open"] == row["close"] and float(row["turnover"]) == 0)
        assert not trades or (row["open"], row["close"]) == (one.price(trades[0].price), one.price(trades[-1].price))
    assert max(later["ts"] - earlier["ts"] for earlier, later in pairwise(heard)) <= 60_000


async def test_the_next_candle_may_begin_before_the_last_is_confirmed() -> None:
    orders = set()
    for key in ("BTCPERP", "10000LADYSUSDT"):
        heard = frames(Klines(instrument(key), "1", OPENED_MS), OPENED_MS + 2 * MINUTE)
        first = next(row["start"] for frame in heard for row in frame["data"])
        told = [(row["start"] - first, row["confirm"]) for frame in heard for row in frame["data"]]
        orders.add(told.index((0, True)) < told.index((MINUTE, False)))
    assert orders == {True, False}


async def test_many_trades_are_split_over_frames() -> None:
    one = instrument("BTCUSDT")
    stream = Tape(one, OPENED_MS)
    payloads = stream.produce(OPENED_MS + 3 * MINUTE, flush=False)
    lengths = [len(json.loads(payload)["data"]) for payload in payloads]
    assert len(lengths) > 2
    assert set(lengths[:-1]) == {1024}


async def test_a_liquidation_names_the_side_of_the_position() -> None:
    one = instrument("BTCUSDT")
    heard = frames(Liquidations(one, OPENED_MS), OPENED_MS + 2 * MINUTE)
    rows = [row for frame in heard for row in frame["data"]]
    assert rows
    takers = {
        (t.time_ms, one.price(t.price), one.amount(t.amount)): t.taker_side for t in one.market.trades.newest(20_000)
    }
    for row in rows:
        assert row["S"] == {"sell": "Buy", "buy": "Sell"}[takers[row["T"], row["p"], row["v"]]]


async def test_the_same_seed_gives_the_same_frames() -> None:
    def tell() -> list[dict[str, Any]]:
        one = instrument("ETHUSDT")
        streams: list[Stream] = [BookStream(one, 200, OPENED_MS), Tape(one, OPENED_MS)]
        return [frame for stream in streams for frame in frames(stream, OPENED_MS + 2_000)]

    assert tell() == tell()
