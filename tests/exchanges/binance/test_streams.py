"""Which route carries what, and how it is asked for. A wrong route is acknowledged and silent for ever."""

from math import inf
from typing import Any

import orjson
import pytest

from exchanges.binance import Binance
from exchanges.binance.parse import futures, spot
from exchanges.events import Accepted
from exchanges.instrument import Instrument
from exchanges.venue import Channel, Stream


def instrument(venue_symbol: str = "BTCUSDT", market: str = "linear") -> Instrument:
    return Instrument(
        exchange="binance",
        market=market,
        symbol="any",
        venue_symbol=venue_symbol,
        base="BTC",
        quote="USDT",
        settle=None,
        kind="perp",
        active=True,
        tick_size=None,
        min_order_size=None,
        contract_size=None,
        info={},
    )


def stream(channel: Channel, market: str = "linear", venue_symbol: str = "BTCUSDT", **params: Any) -> Stream:
    return Binance().stream(channel, instrument(venue_symbol, market), params)


FUTURES, SPOT = "wss://fstream.binance.com", "wss://stream.binance.com:9443"


@pytest.mark.parametrize(
    ("channel", "market", "params", "url", "name"),
    [
        ("trades", "linear", {}, f"{FUTURES}/market/stream", "btcusdt@aggTrade"),
        ("trades", "linear", {"name": "aggTrade"}, f"{FUTURES}/market/stream", "btcusdt@aggTrade"),
        ("trades", "linear", {"name": "trade"}, f"{FUTURES}/public/stream", "btcusdt@trade"),
        ("orderbook", "linear", {"levels": 20}, f"{FUTURES}/public/stream", "btcusdt@depth@100ms"),
        ("ohlcv", "linear", {"timeframe": "1m"}, f"{FUTURES}/market/stream", "btcusdt@kline_1m"),
        ("ohlcv", "linear", {"timeframe": "1M"}, f"{FUTURES}/market/stream", "btcusdt@kline_1M"),
        ("trades", "spot", {}, f"{SPOT}/stream", "btcusdt@aggTrade"),
        ("trades", "spot", {"name": "trade"}, f"{SPOT}/stream", "btcusdt@trade"),
        ("orderbook", "spot", {"levels": 20}, f"{SPOT}/stream", "btcusdt@depth@100ms"),
        ("ohlcv", "spot", {"timeframe": "4h"}, f"{SPOT}/stream", "btcusdt@kline_4h"),
    ],
)
def test_a_stream_is_asked_for_where_the_venue_serves_it(
    channel: Channel, market: str, params: dict[str, Any], url: str, name: str
) -> None:
    found = stream(channel, market, **params)
    assert (found.endpoint.url, found.name, found.channel) == (url, name, channel)
    assert found.endpoint.parse is (spot if market == "spot" else futures)


@pytest.mark.parametrize(("levels", "throttle"), [(1, 0), (20, 100), (1000, 1000)])
def test_one_book_stream_serves_every_view(levels: int, throttle: int) -> None:
    found = stream("orderbook", levels=levels, throttleMs=throttle)
    assert (found.name, found.request) == (stream("orderbook").name, stream("orderbook").request)


@pytest.mark.parametrize(
    ("venue_symbol", "name"),
    [
        ("BTCUSDT_261225", "btcusdt_261225@aggTrade"),
        ("1000PEPEUSDT", "1000pepeusdt@aggTrade"),
        ("币安人生USDT", "币安人生usdt@aggTrade"),
        ("ÄÖÜUSDT", "ÄÖÜusdt@aggTrade"),  # lower() would ask for a stream that nobody has
        ("İUSDT", "İusdt@aggTrade"),
    ],
)
def test_only_ascii_letters_are_made_small(venue_symbol: str, name: str) -> None:
    assert stream("trades", venue_symbol=venue_symbol).name == name


def test_commands_are_what_the_venue_documents() -> None:
    found = stream("trades", venue_symbol="币安人生USDT")
    subscribe, unsubscribe = orjson.loads(found.subscribe), orjson.loads(found.unsubscribe)
    assert (subscribe["method"], subscribe["params"]) == ("SUBSCRIBE", ["币安人生usdt@aggTrade"])
    assert (unsubscribe["method"], unsubscribe["params"]) == ("UNSUBSCRIBE", ["币安人生usdt@aggTrade"])


def test_the_answer_to_a_subscription_finds_it_and_the_answer_to_its_end_does_not() -> None:
    found = stream("trades")
    subscribe, unsubscribe = orjson.loads(found.subscribe), orjson.loads(found.unsubscribe)
    assert isinstance(subscribe["id"], int)
    assert subscribe["id"] >= 0  # the venue takes unsigned integers only
    assert unsubscribe["id"] >= 0
    assert futures(orjson.dumps({"result": None, "id": subscribe["id"]})) == (found.request, [Accepted()])
    assert futures(orjson.dumps({"result": None, "id": unsubscribe["id"]}))[0] != found.request


def test_requests_of_different_streams_differ() -> None:
    requests = {
        stream(channel, venue_symbol=f"{coin}USDT").request
        for channel in ("trades", "orderbook", "ohlcv")
        for coin in ("BTC", "ETH", "SOL", "币安人生")
    }
    assert len(requests) == 12


@pytest.mark.parametrize(("market", "interval"), [("linear", 0.2), ("spot", 0.5)])
def test_commands_are_paced_by_the_venues_rule(market: str, interval: float) -> None:
    assert stream("trades", market).endpoint.subscribe_interval == interval


def test_its_sockets_live_by_protocol_pings() -> None:
    endpoint = stream("trades").endpoint
    assert (endpoint.ping, endpoint.idle_timeout, endpoint.closes_on_refusal) == (None, inf, False)
    assert 2 * endpoint.ping_interval + 1.0 < 20.0  # seconds until one that answers no more is given up


@pytest.mark.parametrize(
    ("channel", "market", "site"),
    [("trades", "linear", "futures"), ("orderbook", "linear", "futures"), ("trades", "spot", "spot")],
)
def test_both_routes_of_futures_are_one_site_and_every_socket_lives_a_day(
    channel: Channel, market: str, site: str
) -> None:
    endpoint = stream(channel, market).endpoint
    assert (endpoint.site, endpoint.lifetime) == (site, 86_400.0)


def test_base_urls_may_be_replaced_and_paths_are_appended() -> None:
    venue = Binance(ws_url="ws://127.0.0.1:1/binance", spot_ws_url="ws://127.0.0.1:1/binance-spot")
    urls = {venue.stream("trades", instrument(market=market), {}).endpoint.url for market in ("linear", "spot")}
    assert urls == {"ws://127.0.0.1:1/binance/market/stream", "ws://127.0.0.1:1/binance-spot/stream"}


def test_only_a_book_has_snapshots_and_every_stream_has_a_witness() -> None:
    found = {channel: stream(channel) for channel in ("trades", "orderbook", "ohlcv")}
    assert [channel for channel, one in found.items() if one.snapshot] == ["orderbook"]
    assert all(one.witness for one in found.values())
    assert not any(one.replays for one in found.values())
