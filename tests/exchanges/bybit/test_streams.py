"""Which topic carries what, on which socket, and how it is asked for. One bad topic would refuse a whole command."""

from typing import Any

import orjson
import pytest

from exchanges.bybit import CAPABILITIES, Bybit
from exchanges.bybit.parse import inverse, linear
from exchanges.events import Accepted
from exchanges.instrument import Instrument
from exchanges.venue import Channel, Stream
from tests.exchanges.bybit.test_parse import read


def instrument(venue_symbol: str = "ETHUSDT", market: str = "linear") -> Instrument:
    return Instrument(
        exchange="bybit",
        market=market,
        symbol="any",
        venue_symbol=venue_symbol,
        base="ETH",
        quote="USDT",
        settle=None,
        kind="perp",
        active=True,
        tick_size=None,
        min_order_size=None,
        contract_size=None,
        info={},
    )


VENUE = Bybit()  # with its own addresses; streams are made without a word to anybody


def stream(channel: Channel, venue_symbol: str = "ETHUSDT", market: str = "linear", **params: Any) -> Stream:
    return VENUE.stream(channel, instrument(venue_symbol, market), params)


INTERVALS = {
    **{"1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "2h": "120", "4h": "240", "6h": "360"},
    **{"12h": "720", "1d": "D", "1w": "W", "1M": "M"},
}
KINDS: list[tuple[Channel, dict[str, Any]]] = [
    ("trades", {}),
    ("orderbook", {"levels": 20}),
    ("orderbook", {"levels": 500}),
    *[("ohlcv", {"timeframe": timeframe}) for timeframe in INTERVALS],
]


@pytest.mark.parametrize("market", ["linear", "inverse", "spot"])
@pytest.mark.parametrize(
    ("channel", "params", "kind"),
    [
        ("trades", {}, "publicTrade"),
        ("orderbook", {"levels": 20}, "orderbook.200"),
        ("orderbook", {"levels": 1000, "throttleMs": 500}, "orderbook.1000"),
        ("ohlcv", {"timeframe": "1m"}, "kline.1"),
    ],
)
def test_a_topic_is_asked_for_on_the_socket_of_its_category(
    market: str, channel: Channel, params: dict[str, Any], kind: str
) -> None:
    found = stream(channel, market=market, **params)
    assert (found.name, found.channel) == (f"{kind}.ETHUSDT", channel)
    assert found.endpoint.url == f"wss://stream.bybit.com/v5/public/{market}"
    assert found.endpoint.parse is (inverse if market == "inverse" else linear)


@pytest.mark.parametrize(
    ("levels", "depth"),
    [(1, 200), (5, 200), (10, 200), (20, 200), (50, 200), (100, 200), (200, 200), (500, 1000), (1000, 1000)],
)
def test_a_book_comes_from_the_shallowest_topic_in_use_that_serves(levels: int, depth: int) -> None:
    assert stream("orderbook", levels=levels).name == f"orderbook.{depth}.ETHUSDT"


def test_every_depth_offered_is_served() -> None:
    depths = {stream("orderbook", levels=levels).name for levels in CAPABILITIES.levels}
    assert depths == {"orderbook.200.ETHUSDT", "orderbook.1000.ETHUSDT"}


def test_views_of_one_depth_share_a_stream() -> None:
    views = [{"levels": 5}, {"levels": 200, "throttleMs": 250}, {"levels": 20, "mode": "delta"}]
    assert {stream("orderbook", **view).name for view in views} == {"orderbook.200.ETHUSDT"}


@pytest.mark.parametrize(("timeframe", "interval"), INTERVALS.items())
def test_a_timeframe_is_the_venues_interval(timeframe: str, interval: str) -> None:
    assert stream("ohlcv", timeframe=timeframe).name == f"kline.{interval}.ETHUSDT"


def test_the_timeframes_offered_are_those_the_venue_has() -> None:
    assert CAPABILITIES.timeframes == tuple(INTERVALS)  # and neither 8h nor 3d


@pytest.mark.parametrize("venue_symbol", ["BTCPERP", "SOLUSDT-25DEC26", "BTC-25DEC26", "ETHUSDZ26", "1000PEPEUSDT"])
def test_the_venues_symbol_is_kept_to_the_letter(venue_symbol: str) -> None:
    assert stream("trades", venue_symbol).name == f"publicTrade.{venue_symbol}"


def test_commands_name_one_topic_and_their_own_request() -> None:
    found = stream("trades")
    topics = ["publicTrade.ETHUSDT"]
    assert orjson.loads(found.subscribe) == {"req_id": topics[0], "op": "subscribe", "args": topics}
    assert orjson.loads(found.unsubscribe) == {"req_id": f"-{topics[0]}", "op": "unsubscribe", "args": topics}


@pytest.mark.parametrize(("channel", "params"), KINDS)
def test_the_answer_to_a_subscription_finds_it_and_the_answer_to_its_end_does_not(
    channel: Channel, params: dict[str, Any]
) -> None:
    found = stream(channel, **params)
    request = orjson.loads(found.subscribe)["req_id"]
    answer = {"success": True, "ret_msg": "", "conn_id": "c1", "req_id": request, "op": "subscribe"}
    assert found.endpoint.parse(orjson.dumps(answer)) == (found.request, [Accepted()])
    answer |= {"success": False, "ret_msg": "error:x", "req_id": orjson.loads(found.unsubscribe)["req_id"]}
    assert found.endpoint.parse(orjson.dumps(answer))[0] not in (found.request, found.name)


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("linear-trade-buy", stream("trades")),
        ("linear-trade-dated", stream("trades", "SOLUSDT-25DEC26")),
        ("inverse-trade", stream("trades", "ETHUSD", "inverse")),
        ("linear-kline-closed-and-next", stream("ohlcv", timeframe="1h")),
        ("spot-kline", stream("ohlcv", market="spot", timeframe="1d")),
        ("linear-book-delta", stream("orderbook", levels=20)),
        ("inverse-book-delta-keys-shuffled", stream("orderbook", "ETHUSD", "inverse", levels=500)),
    ],
)
def test_data_finds_its_stream(file: str, found: Stream) -> None:
    assert found.endpoint.parse(read(file))[0] == found.name


def test_different_subscriptions_have_different_names_and_requests() -> None:
    found = [stream(channel, coin, **params) for coin in ("BTCUSDT", "BTCPERP", "1USDT") for channel, params in KINDS]
    assert len({one.name for one in found}) == len({one.request for one in found}) == len(found)


@pytest.mark.parametrize(
    ("urls", "contracts", "spot"),
    [
        ({}, "wss://stream.bybit.com", "wss://stream.bybit.com"),
        ({"ws_url": "ws://127.0.0.1:1/bybit"}, "ws://127.0.0.1:1/bybit", "ws://127.0.0.1:1/bybit"),
        ({"spot_ws_url": "ws://127.0.0.1:2"}, "wss://stream.bybit.com", "ws://127.0.0.1:2"),
        ({"ws_url": "ws://127.0.0.1:1", "spot_ws_url": "ws://127.0.0.1:2"}, "ws://127.0.0.1:1", "ws://127.0.0.1:2"),
    ],
    ids=["as they are", "replaced", "replaced for spot", "replaced each"],
)
def test_base_urls_may_be_replaced_and_paths_are_appended(urls: dict[str, str], contracts: str, spot: str) -> None:
    venue = Bybit(**urls)
    bases = {"linear": contracts, "inverse": contracts, "spot": spot}
    for market, base in bases.items():
        url = venue.stream("trades", instrument(market=market), {}).endpoint.url
        assert url == f"{base}/v5/public/{market}"


def test_streams_of_one_category_share_an_endpoint() -> None:
    trades, candles = stream("trades"), stream("ohlcv", "BTCUSDT", timeframe="1m")
    assert trades.endpoint is candles.endpoint
    assert trades.endpoint != stream("trades", market="spot").endpoint


@pytest.mark.parametrize(
    ("urls", "sites"),
    [
        ({}, ("public", "public", "public")),
        ({"spot_ws_url": "ws://127.0.0.1:2"}, ("public", "public", "spot")),
    ],
    ids=["one host", "spot elsewhere"],
)
def test_what_is_reached_at_one_host_is_one_site(urls: dict[str, str], sites: tuple[str, ...]) -> None:
    venue = Bybit(**urls)
    found = [venue.stream("trades", instrument(market=one), {}).endpoint for one in ("linear", "inverse", "spot")]
    assert tuple(endpoint.site for endpoint in found) == sites


def test_our_pings_keep_the_socket_and_their_pongs_count_as_life() -> None:
    endpoint = stream("trades").endpoint
    ping = orjson.loads(endpoint.ping or "")
    assert ping["op"] == "ping"
    assert endpoint.ping_interval <= 20.0  # seconds: the venue's rule
    assert 2 * endpoint.ping_interval < endpoint.idle_timeout <= 18.0  # seconds; noticed within 20
    pong = {"success": True, "ret_msg": "pong", "req_id": ping["req_id"], "op": "ping"}
    assert endpoint.parse(orjson.dumps(pong)) == ("", [])


def test_no_stream_replays_or_needs_a_snapshot_by_rest_and_a_refusal_is_said() -> None:
    for channel, params in KINDS:
        found = stream(channel, **params)
        assert (found.snapshot, found.replays, found.dense, found.marks_closed) == (None, False, False, True)
        assert not found.endpoint.closes_on_refusal


def test_no_stream_speaks_unasked_so_each_has_the_newest_trade_as_its_witness() -> None:
    found = [stream(channel, **params) for channel, params in KINDS]
    assert all(one.witness is not None and not one.steady for one in found)


def test_the_topics_of_a_full_socket_fit_the_venues_limit() -> None:
    longest = max((stream(channel, "1000000BABYDOGEUSDT-25DEC26", **params).name for channel, params in KINDS), key=len)
    assert CAPABILITIES.max_streams_per_socket * len(longest) <= 21_000  # characters of all topics of one socket
