"""Binance's streams without sockets: time is a number here, so a minute costs nothing."""

from datetime import date
from typing import Any

import orjson

from exchanges.simulator.binance_book import BestPrices, Depth, PartialDepth
from exchanges.simulator.binance_instrument import Instrument, Listing
from exchanges.simulator.binance_listings import futures_listings, spot_listings
from exchanges.simulator.binance_streams import AggregatedTape, Klines, Tape
from exchanges.simulator.candles import MINUTE
from exchanges.simulator.market import Market
from exchanges.simulator.streams import Stream

OPENED = 1_795_000_012_345
FUTURES = {listing.symbol: listing for listing in futures_listings(date(2026, 11, 21))}
SPOT = {listing.symbol: listing for listing in spot_listings()}


def instrument(listing: Listing) -> Instrument:
    one = Instrument(listing, Market(listing.spec, seed="s", opened_ms=OPENED))
    one.market.advance(OPENED)
    return one


def run(stream: Stream, *, seconds: float, since: int = OPENED) -> list[dict[str, Any]]:
    """Everything the stream says, looked at every 20 ms as the server does."""
    events = []
    for now in range(since, since + int(seconds * 1000) + 1, 20):
        if now >= stream.due_ms:
            events += [orjson.loads(payload) for payload in stream.produce(now, flush=False)]
    return events


def test_depth_events_chain_by_pu_and_rebuild_the_book() -> None:
    one = instrument(FUTURES["BTCUSDT"])
    held = {"b": dict(one.market.bids.top()), "a": dict(one.market.asks.top())}
    before = one.last_update_id
    stream = Depth(one, 100)
    events = run(stream, seconds=20)
    events += [orjson.loads(payload) for payload in stream.produce(one.market.time_ms, flush=True)]

    for event in events:
        assert event["pu"] == before
        assert before < event["U"] <= event["u"]
        assert event["U"] > before + 1  # ids are shared by all symbols: never contiguous
        before = event["u"]
        for key in ("b", "a"):
            for price, amount in event[key]:
                held[key][one.market.prices.count(price)] = one.market.amounts.count(amount)
    assert before == one.last_update_id
    present = {key: {price: amount for price, amount in side.items() if amount} for key, side in held.items()}
    assert present == {"b": dict(one.market.bids.top()), "a": dict(one.market.asks.top())}


def test_a_few_percent_of_level_updates_remove_what_was_never_there() -> None:
    one = instrument(FUTURES["BTCUSDT"])
    held = {"b": {price for price, _ in one.market.bids.top()}, "a": {price for price, _ in one.market.asks.top()}}
    updates = unknown = one_sided = 0
    for event in run(Depth(one, 100), seconds=60):
        one_sided += not (event["b"] and event["a"])
        for key in ("b", "a"):
            for text, amount in event[key]:
                price = one.market.prices.count(text)
                updates += 1
                if float(amount):
                    held[key].add(price)
                else:
                    unknown += price not in held[key]
                    held[key].discard(price)
    assert 0.01 < unknown / updates < 0.05
    assert one_sided


def test_spot_depth_is_contiguous_and_has_no_pu() -> None:
    one = instrument(SPOT["ETHUSDT"])
    before = one.last_update_id
    for event in run(Depth(one, 100), seconds=10):
        assert event["U"] == before + 1
        assert event.keys() == {"e", "E", "s", "U", "u", "b", "a"}
        before = event["u"]


def test_a_stall_longer_than_the_memory_shows_as_a_gap_and_not_as_a_wrong_book() -> None:
    one = instrument(FUTURES["BTCUSDT"])
    stream = Depth(one, 100)
    before = one.last_update_id
    (payload,) = stream.produce(OPENED + 200_000, flush=False)
    event = orjson.loads(payload)
    assert before < event["pu"] < event["U"]


def test_partial_depth_is_the_whole_top_best_first() -> None:
    one = instrument(FUTURES["BTCUSDT"])
    event = run(PartialDepth(one, 10, 100), seconds=1)[-1]
    assert len(event["b"]) == len(event["a"]) == 10
    assert [float(price) for price, _ in event["b"]] == sorted((float(p) for p, _ in event["b"]), reverse=True)
    assert event["pu"] < event["U"] <= event["u"]


def test_best_prices_agree_with_the_book_at_the_same_update_id() -> None:
    one = instrument(FUTURES["BTCUSDT"])
    tickers = {event["u"]: event for event in run(BestPrices(one, OPENED), seconds=5)}
    assert len(tickers) > 50
    newest = tickers[max(tickers)]
    assert newest["b"] == one.price(one.market.bids.best)
    assert newest["A"] == one.amount(one.market.asks.amounts[one.market.asks.best])


def test_trade_ids_are_dense_only_with_the_prints_that_are_not_book_trades() -> None:
    one = instrument(FUTURES["BTCUSDT"])
    events = run(Tape(one, OPENED), seconds=120)
    ids = [event["t"] for event in events]

    assert ids == list(range(ids[0], ids[0] + len(ids)))
    kinds = {event["X"] for event in events}
    assert kinds == {"MARKET", "NA", "INSURANCE_FUND"}
    assert all((event["p"], event["q"]) == ("0", "0") for event in events if event["X"] == "NA")
    book_trades = [event["t"] for event in events if event["X"] == "MARKET"]
    assert book_trades == [one.trade_id(trade.id) for trade in one.market.trades.newest(len(book_trades))]


def test_aggregates_are_dense_and_hold_every_fill_once() -> None:
    one = instrument(FUTURES["BTCUSDT"])
    events = run(AggregatedTape(one, OPENED), seconds=60)
    trades = {one.trade_id(trade.id): trade for trade in one.market.trades.newest(100_000)}

    assert [event["a"] for event in events] == list(range(events[0]["a"], events[0]["a"] + len(events)))
    for event in events:
        fills = [trade for number, trade in trades.items() if event["f"] <= number <= event["l"]]
        assert event["q"] == one.amount(sum(fill.amount for fill in fills))
        assert {one.price(fill.price) for fill in fills} == {event["p"]}
        assert {fill.taker_side == "sell" for fill in fills} == {event["m"]}
        assert fills[-1].time_ms // 100 == fills[0].time_ms // 100 == event["T"] // 100
        assert 0 <= event["E"] - event["T"] <= 200
    covered = [number for event in events for number in range(event["f"], event["l"] + 1) if number in trades]
    assert covered == [number for number in trades if covered[0] <= number <= covered[-1]]
    assert any(event["nq"] != event["q"] for event in events)


def test_aggregates_do_not_depend_on_who_asked_when() -> None:
    watched, asked = instrument(FUTURES["ETHUSDT"]), instrument(FUTURES["ETHUSDT"])
    run(AggregatedTape(watched, OPENED), seconds=30)
    asked.market.advance(watched.market.time_ms)
    assert watched.closed_aggregates().newest(10_000) == asked.closed_aggregates().newest(10_000)


def test_a_candle_is_closed_once_and_a_little_late() -> None:
    one = instrument(FUTURES["BTCUSDT"])
    events = run(Klines(one, "1m", every_ms=250), seconds=100)
    closed = [event for event in events if event["k"]["x"]]

    assert [event["k"]["t"] for event in closed] == [OPENED // MINUTE * MINUTE + n * MINUTE for n in (0, 1)]
    for event in closed:
        assert 180 <= event["E"] - event["k"]["T"] <= 230
        truth = one.market.candle(MINUTE, event["k"]["t"])
        assert (event["k"]["o"], event["k"]["v"]) == (one.price(truth.open), one.amount(truth.volume))
        assert (event["k"]["f"], event["k"]["L"]) == (one.trade_id(truth.first_id), one.trade_id(truth.last_id))
    running = [event for event in events if not event["k"]["x"]]
    assert 200 < len(running) < 410


def test_a_candle_without_trades_closes_flat_with_ids_of_minus_one() -> None:
    one = instrument(FUTURES["ZENUSDT"])
    closed = [event["k"] for event in run(Klines(one, "1m", every_ms=250), seconds=1200) if event["k"]["x"]]
    empty = [candle for candle in closed if candle["n"] == 0]

    assert len(closed) == 20
    assert empty
    assert all((candle["f"], candle["L"]) == (-1, -1) for candle in empty)
    assert all(candle["o"] == candle["h"] == candle["l"] == candle["c"] for candle in empty)
