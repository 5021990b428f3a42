"""What is asked of Hyperliquid's one kind of socket, and how answers and data find back to it."""

import json
from typing import Any

import orjson
import pytest

from exchanges.events import Accepted
from exchanges.hyperliquid import CAPABILITIES, Hyperliquid
from exchanges.hyperliquid.parse import parse
from exchanges.instrument import Instrument
from exchanges.venue import Channel, Rate, Stream
from tests.exchanges.hyperliquid.test_parse import read


def instrument(coin: str = "ETH", market: str = "perp") -> Instrument:
    return Instrument(
        exchange="hyperliquid",
        market=market,
        symbol="any",
        venue_symbol=coin,
        base="any",
        quote="USDC",
        settle=None,
        kind="perp",
        active=True,
        tick_size=None,
        min_order_size=None,
        contract_size=None,
        info={},
    )


VENUE = Hyperliquid()  # it opens nothing before it is asked by REST, and is dear to make


def stream(channel: Channel, coin: str = "ETH", market: str = "perp", **params: Any) -> Stream:
    return VENUE.stream(channel, instrument(coin, market), params)


KINDS: list[tuple[Channel, int, str]] = [
    ("trades", 5, "1m"),
    ("orderbook", 5, "1m"),
    ("orderbook", 20, "1m"),
    ("ohlcv", 5, "1m"),
    ("ohlcv", 5, "1M"),
]


ASKED: list[tuple[Channel, str, dict[str, Any], str, dict[str, Any]]] = [
    ("trades", "ETH", {}, "trades:ETH", {"type": "trades", "coin": "ETH"}),
    ("trades", "kPEPE", {}, "trades:kPEPE", {"type": "trades", "coin": "kPEPE"}),
    ("trades", "PURR/USDC", {}, "trades:PURR/USDC", {"type": "trades", "coin": "PURR/USDC"}),
    ("trades", "@107", {}, "trades:@107", {"type": "trades", "coin": "@107"}),
    ("orderbook", "ETH", {"levels": 5}, "l2Book:ETH:fast", {"type": "l2Book", "coin": "ETH", "fast": True}),
    ("orderbook", "ETH", {"levels": 20}, "l2Book:ETH", {"type": "l2Book", "coin": "ETH", "fast": False}),
    (
        "orderbook",
        "xyz:SP500",
        {"levels": 1},
        "l2Book:xyz:SP500:fast",
        {"type": "l2Book", "coin": "xyz:SP500", "fast": True},
    ),
    (
        "ohlcv",
        "@107",
        {"timeframe": "1M"},
        "candle:@107:1M",
        {"type": "candle", "coin": "@107", "interval": "1M"},
    ),
]


@pytest.mark.parametrize(("channel", "coin", "params", "name", "subscription"), ASKED, ids=[row[3] for row in ASKED])
def test_a_subscription_has_the_coin_as_the_venue_writes_it(
    channel: Channel, coin: str, params: dict[str, Any], name: str, subscription: dict[str, Any]
) -> None:
    found = stream(channel, coin, **params)
    assert (found.channel, found.name, found.request) == (channel, name, name)
    assert orjson.loads(found.subscribe) == {"method": "subscribe", "subscription": subscription}
    # The venue takes back only what is described as it was asked for, ``fast`` included.
    assert orjson.loads(found.unsubscribe) == {"method": "unsubscribe", "subscription": subscription}


@pytest.mark.parametrize(("levels", "fast"), [(1, True), (5, True), (10, False), (20, False)])
def test_up_to_five_levels_come_from_the_fast_book_and_more_from_the_plain_one(levels: int, fast: bool) -> None:
    found = stream("orderbook", levels=levels, throttleMs=100)
    assert orjson.loads(found.subscribe)["subscription"]["fast"] is fast


def test_views_of_one_book_share_its_stream_and_the_two_books_of_a_coin_do_not() -> None:
    named = {levels: stream("orderbook", levels=levels).name for levels in CAPABILITIES.levels}
    assert named[1] == named[5] != named[10] == named[20]
    assert named[CAPABILITIES.default_levels] == named[5]  # nobody gets a book of five seconds ago by default


@pytest.mark.parametrize("timeframe", CAPABILITIES.timeframes)
def test_a_timeframe_is_the_venues_interval(timeframe: str) -> None:
    found = stream("ohlcv", timeframe=timeframe)
    assert found.name == f"candle:ETH:{timeframe}"
    assert orjson.loads(found.subscribe)["subscription"]["interval"] == timeframe


def test_the_timeframes_offered_are_those_the_venue_has() -> None:
    documented = "1m 3m 5m 15m 30m 1h 2h 4h 8h 12h 1d 3d 1w 1M"
    assert " ".join(CAPABILITIES.timeframes) == documented  # and no 6h


@pytest.mark.parametrize(("channel", "coin", "params"), [row[:3] for row in ASKED], ids=[row[3] for row in ASKED])
def test_the_acknowledgement_finds_its_stream_with_defaults_filled_in(
    channel: Channel, coin: str, params: dict[str, Any]
) -> None:
    found = stream(channel, coin, **params)
    asked = orjson.loads(found.subscribe)
    defaults = {"nSigFigs": None, "mantissa": None} if channel == "orderbook" else {}
    asked["subscription"] = defaults | asked["subscription"]
    assert parse(orjson.dumps({"channel": "subscriptionResponse", "data": asked})) == (found.request, [Accepted()])
    twice = f"Already subscribed: {json.dumps(asked['subscription'])}"
    assert parse(orjson.dumps({"channel": "error", "data": twice})) == (found.request, [Accepted()])


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("trades-buy", stream("trades")),
        ("trades-of-a-dex", stream("trades", "xyz:SP500")),
        ("trades-spot", stream("trades", "@107", "spot")),
        ("book-plain", stream("orderbook", levels=20)),
        ("book-fast", stream("orderbook", levels=5)),
        ("book-one-side-empty", stream("orderbook", "xyz:SP500", levels=5)),
        ("candle", stream("ohlcv", timeframe="1m")),
        ("candle-month", stream("ohlcv", "@107", "spot", timeframe="1M")),
    ],
)
def test_data_finds_its_stream(file: str, found: Stream) -> None:
    assert parse(read(file))[0] == found.name


def test_different_subscriptions_have_different_names() -> None:
    found = [
        stream(channel, coin, levels=levels, timeframe=timeframe).name
        for coin in ("PEPE", "kPEPE", "KPEPE", "xyz:PEPE", "@1", "@10")
        for channel, levels, timeframe in KINDS
    ]
    assert len(set(found)) == 30


def test_one_socket_carries_both_markets() -> None:
    venue = Hyperliquid(spot_ws_url="wss://elsewhere", ws_url="wss://here")
    endpoints = [venue.stream("trades", instrument(market=market), {}).endpoint for market in ("perp", "spot")]
    assert endpoints[0] is endpoints[1]


@pytest.mark.parametrize(
    ("urls", "url"),
    [
        ({}, "wss://api.hyperliquid.xyz/ws"),
        ({"ws_url": "ws://127.0.0.1:1/hyperliquid"}, "ws://127.0.0.1:1/hyperliquid/ws"),
        ({"spot_ws_url": "ws://127.0.0.1:2"}, "ws://127.0.0.1:2/ws"),
    ],
    ids=["as it is", "replaced", "replaced for spot"],
)
def test_base_urls_may_be_replaced_and_the_path_is_appended(urls: dict[str, str], url: str) -> None:
    assert Hyperliquid(**urls).stream("trades", instrument(), {}).endpoint.url == url


def test_our_pings_keep_the_socket_and_their_pongs_count_as_life() -> None:
    endpoint = stream("trades").endpoint
    assert orjson.loads(endpoint.ping or "") == {"method": "ping"}
    assert 2 * endpoint.ping_interval < endpoint.idle_timeout <= 18.0  # noticed within 20; the venue hangs up after 60


def test_a_refusal_is_a_hang_up() -> None:
    assert stream("trades").endpoint.closes_on_refusal


def test_connects_and_messages_are_counted_by_the_address() -> None:
    assert (CAPABILITIES.connects, CAPABILITIES.messages) == (Rate(30, 60.0), Rate(2000, 60.0))


def test_only_trades_begin_with_a_replay_and_no_stream_needs_a_snapshot_by_rest() -> None:
    found = [stream("trades"), stream("orderbook", levels=5), stream("ohlcv", timeframe="1m")]
    assert [one.replays for one in found] == [True, False, False]
    assert not any(one.snapshot or one.dense or one.marks_closed for one in found)


def test_books_come_at_their_own_rhythm_and_of_the_rest_the_newest_trade_is_the_witness() -> None:
    found = [stream("trades"), stream("orderbook", levels=5), stream("ohlcv", timeframe="1m")]
    assert [(one.steady, one.witness is None) for one in found] == [(False, False), (True, True), (False, False)]
