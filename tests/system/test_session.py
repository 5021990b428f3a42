"""A client's session against a running gateway: the base contract, the extensions, and everything that is wrong."""

import orjson
import pytest
from httpx2 import AsyncClient
from websockets.exceptions import ConnectionClosed

from tests.system import processes
from tests.system.processes import Client

BASE_TYPES = {
    "subscribed",
    "alreadySubscribed",
    "unsubscribed",
    "trades",
    "orderbook",
    "ohlcv",
    "pong",
    "warning",
    "error",
}
VENUES = {
    "binance": ("BTC/USDT:USDT", {}),
    "bybit": ("BTC/USDT:USDT", {"category": "linear"}),
    "hyperliquid": ("BTC/USDC:USDC", {}),
}
CHANNELS = ("trades", "orderbook", "ohlcv")
BTC = {"exchange": "binance", "symbol": "BTC/USDT:USDT"}


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("exchange", VENUES)
async def test_a_base_client_gets_an_ack_and_then_data_and_only_base_types(
    client: Client, exchange: str, channel: str
) -> None:
    symbol, params = VENUES[exchange]
    await client.send(op="subscribe", channel=channel, exchange=exchange, symbol=symbol, params=params)
    acknowledged = await client.next()
    data = await client.expect(type=channel)
    await client.send(op="unsubscribe", channel=channel, exchange=exchange, symbol=symbol, params=params)
    await client.send(op="ping")
    assert await client.expect(type="pong") == {"type": "pong"}
    assert acknowledged["type"] == "subscribed"
    assert set(data["topic"]) == {"exchange", "symbol", "params"}
    assert data["topic"] == acknowledged["topic"]
    assert data["topic"]["symbol"] == symbol
    assert {message["type"] for message in client.received()} <= BASE_TYPES


@pytest.mark.parametrize("exchange", VENUES)
async def test_trades_have_the_ccxt_shape(client: Client, exchange: str) -> None:
    symbol, _ = VENUES[exchange]
    await client.send(op="subscribe", channel="trades", exchange=exchange, symbol=symbol)
    trade = (await client.expect(type="trades"))["data"][0]
    names = "info id timestamp datetime symbol order type side takerOrMaker price amount cost fee fees"
    assert list(trade) == names.split()
    assert trade["symbol"] == symbol
    assert trade["side"] in ("buy", "sell")
    assert trade["info"]


async def test_seq_rises_by_one_on_trades_and_every_frame_says_when(client: Client) -> None:
    await client.send(op="subscribe", channel="trades", **BTC)
    frames = [await client.expect(type="trades") for _ in range(10)]
    cursors = [tuple(map(int, frame["cursor"].split("-"))) for frame in frames]
    assert [seq - cursors[0][1] for _, seq in cursors] == list(range(10))
    assert len({epoch for epoch, _ in cursors}) == 1
    assert all(frame["ts"]["ex"] <= frame["ts"]["rx"] <= frame["ts"]["tx"] for frame in frames)


async def test_two_clients_get_the_same_bytes(gateway_url: str) -> None:
    async with processes.client(gateway_url) as one, processes.client(gateway_url) as two:
        for client in (one, two):
            await client.send(op="subscribe", channel="trades", **BTC)
            await client.send(op="subscribe", channel="orderbook", **BTC)
        for _ in range(30):
            await one.next()
            await two.next()
    by_cursor = [
        {
            (message["type"], message["cursor"]): text
            for text in client.frames
            if "cursor" in (message := orjson.loads(text))
        }
        for client in (one, two)
    ]
    shared = by_cursor[0].keys() & by_cursor[1].keys()
    assert len(shared) >= 10
    assert all(by_cursor[0][cursor] == by_cursor[1][cursor] for cursor in shared)


async def test_aliases_and_other_names_are_the_same_topic(client: Client) -> None:
    await client.send(op="subscribe", channel="orderbook", id=1, **BTC, params={"levels": 7})
    first = await client.expect(id=1)
    same = {"exchange": "binance", "symbol": "BTCUSDT", "params": {"depth": 10, "type": "swap"}}
    await client.send(op="subscribe", channel="orderbook", id=2, **same)
    second = await client.expect(id=2)
    assert first["topic"]["params"] == {"levels": 10}
    assert (second["type"], second["topic"]) == ("alreadySubscribed", first["topic"])


async def test_spot_topics_say_so(client: Client) -> None:
    await client.send(
        op="subscribe", channel="trades", id=1, exchange="binance", symbol="BTC/USDT", params={"type": "spot"}
    )
    assert (await client.expect(id=1))["topic"]["params"] == {"type": "spot"}
    await client.send(op="subscribe", channel="trades", id=2, exchange="binance", symbol="BTC/USDT")
    assert (await client.expect(id=2))["topic"]["symbol"] == "BTC/USDT:USDT"


async def test_the_first_book_frame_is_complete_and_never_crossed(client: Client) -> None:
    await client.send(op="subscribe", channel="orderbook", **BTC, params={"levels": 50})
    for _ in range(10):
        book = (await client.expect(type="orderbook"))["data"]
        assert len(book["bids"]) == len(book["asks"]) == 50
        assert book["bids"][0][0] < book["asks"][0][0]
        assert book["bids"] == sorted(book["bids"], reverse=True)
        assert book["asks"] == sorted(book["asks"])


async def test_rewind_gives_history_that_the_stream_continues(client: Client) -> None:
    await client.send(op="subscribe", channel="trades", rewind=50, **BTC)
    history = await client.expect(type="trades")
    following = await client.expect(type="trades")
    assert len(history["data"]) == 50
    ids = [int(trade["id"]) for trade in history["data"] + following["data"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_candles_can_be_rewound_and_end_with_the_forming_one(client: Client) -> None:
    await client.send(op="subscribe", channel="ohlcv", rewind=20, **BTC, params={"timeframe": "5m"})
    times = [row[0] for row in (await client.expect(type="ohlcv"))["data"]]
    assert times == list(range(times[0], times[0] + 20 * 300_000, 300_000))


async def test_hello_tells_limits_and_is_followed_by_heartbeats(simulator_url: str) -> None:
    with processes.gateway(simulator_url, limits__heartbeat="1") as url:
        async with processes.client(url) as client:
            await client.send(op="hello", id="h", client="test/1")
            hello = await client.expect(type="hello")
            await client.expect(type="heartbeat")
    assert (hello["id"], hello["protocol"], hello["heartbeatMs"]) == ("h", 1, 1000)
    assert hello["limits"]["subscriptions"] == 200
    assert set(hello["channels"]) == set(CHANNELS)


async def test_a_batch_answers_each_item_and_one_bad_item_harms_no_other(client: Client) -> None:
    await client.send(op="hello")
    items = [{"channel": "trades", **BTC}, {"channel": "nope", **BTC}, 5, {"channel": "orderbook", **BTC}]
    await client.send(op="subscribe", id="b", topics=items)
    done = await client.expect(type="batch")
    answers = {m["index"]: m["type"] for m in client.received(id="b") if "index" in m}
    assert answers == {0: "subscribed", 1: "error", 2: "error", 3: "subscribed"}
    assert done == {"type": "batch", "id": "b", "ok": 2, "failed": 2}


async def test_list_and_unsubscribe_all(client: Client) -> None:
    await client.send(op="subscribe", channel="trades", **BTC)
    await client.send(op="subscribe", channel="ohlcv", **BTC)
    await client.send(op="list", id=1)
    listed = await client.expect(type="subscriptions")
    await client.send(op="unsubscribeAll", id=2)
    await client.send(op="list", id=3)
    empty = await client.expect(type="subscriptions", id=3)
    assert [row["channel"] for row in listed["topics"]] == ["trades", "ohlcv"]
    assert len(client.received(type="unsubscribed", id=2)) == 2
    assert empty["topics"] == []


async def test_no_data_of_a_topic_follows_its_unsubscribed(client: Client) -> None:
    await client.send(op="subscribe", channel="orderbook", **BTC)
    await client.expect(type="orderbook")
    await client.send(op="unsubscribe", channel="orderbook", **BTC)
    await client.expect(type="unsubscribed")
    await client.send(op="subscribe", channel="trades", **BTC)
    for _ in range(5):
        assert (await client.next())["type"] != "orderbook"


async def test_a_snapshot_can_be_asked_for_once_a_second(client: Client) -> None:
    await client.send(op="subscribe", channel="orderbook", **BTC)
    await client.expect(type="orderbook")
    await client.send(op="snapshot", channel="orderbook", id=1, **BTC)
    await client.send(op="snapshot", channel="orderbook", id=2, **BTC)
    assert (await client.expect(type="error", id=2))["code"] == "RATE_LIMITED"


WRONG = {
    "not JSON": ("{", "INVALID_MESSAGE", None),
    "not an object": ("[1]", "INVALID_MESSAGE", None),
    "no op": ({}, "INVALID_COMMAND", "op"),
    "unknown op": ({"op": "buy"}, "INVALID_COMMAND", "op"),
    "op of a wrong type": ({"op": 5}, "INVALID_COMMAND", "op"),
    "unknown field": ({"op": "ping", "x": 1}, "INVALID_COMMAND", "x"),
    "unknown channel": ({"op": "subscribe", "channel": "news", **BTC}, "INVALID_TOPIC", "channel"),
    "no channel": ({"op": "subscribe", **BTC}, "INVALID_TOPIC", "channel"),
    "unknown exchange": (
        {"op": "subscribe", "channel": "trades", "exchange": "mtgox", "symbol": "BTC/USD"},
        "UNSUPPORTED_EXCHANGE",
        "exchange",
    ),
    "unknown symbol": (
        {"op": "subscribe", "channel": "trades", "exchange": "binance", "symbol": "NO/NE"},
        "BAD_SYMBOL",
        "symbol",
    ),
    "no symbol": ({"op": "subscribe", "channel": "trades", "exchange": "binance"}, "INVALID_TOPIC", "symbol"),
    "symbol of a wrong type": (
        {"op": "subscribe", "channel": "trades", "exchange": "binance", "symbol": 5},
        "INVALID_TOPIC",
        "symbol",
    ),
    "symbol too long": (
        {"op": "subscribe", "channel": "trades", "exchange": "binance", "symbol": "B" * 65},
        "INVALID_TOPIC",
        "symbol",
    ),
    "unknown timeframe": (
        {"op": "subscribe", "channel": "ohlcv", **BTC, "params": {"timeframe": "7m"}},
        "INVALID_TOPIC",
        "timeframe",
    ),
    "too many levels": (
        {"op": "subscribe", "channel": "orderbook", **BTC, "params": {"levels": 5000}},
        "INVALID_TOPIC",
        "levels",
    ),
    "levels of a wrong type": (
        {"op": "subscribe", "channel": "orderbook", **BTC, "params": {"levels": "20"}},
        "INVALID_TOPIC",
        "levels",
    ),
    "unknown parameter": (
        {"op": "subscribe", "channel": "trades", **BTC, "params": {"speed": 1}},
        "INVALID_TOPIC",
        "params.speed",
    ),
    "params of a wrong type": (
        {"op": "subscribe", "channel": "trades", **BTC, "params": []},
        "INVALID_TOPIC",
        "params",
    ),
    "rewind of a wrong type": (
        {"op": "subscribe", "channel": "trades", **BTC, "rewind": "5"},
        "VALIDATION_ERROR",
        "rewind",
    ),
    "cursor": ({"op": "subscribe", "channel": "trades", **BTC, "since": "yesterday"}, "BAD_CURSOR", "since"),
    "cursor with too much": ({"op": "subscribe", "channel": "trades", **BTC, "since": "1-1-1"}, "BAD_CURSOR", "since"),
    "grouped books": (
        {"op": "subscribe", "channel": "orderbook", **BTC, "params": {"group": "0.5"}},
        "UNSUPPORTED_FEATURE",
        "params.group",
    ),
    "path in a symbol": (
        {"op": "subscribe", "channel": "trades", "exchange": "binance", "symbol": "btcusdt@trade/ethusdt"},
        "BAD_SYMBOL",
        "symbol",
    ),
    "not subscribed": ({"op": "unsubscribe", "channel": "trades", **BTC}, "NOT_SUBSCRIBED", None),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_said_the_connection_lives_and_no_venue_hears_of_it(
    client: Client, control: AsyncClient, case: str
) -> None:
    command, code, field = WRONG[case]
    before = (await control.get("/control/counters")).json()["binance"]["subscribes_total"]
    if isinstance(command, str):
        await client.connection.send(command)
    else:
        await client.send(id="x", **command)
    error = await client.expect(type="error")
    await client.send(op="ping")
    await client.expect(type="pong")
    assert error["code"] == code
    assert error["message"]
    assert error["retryable"] is False
    if field:
        assert error["details"]["field"] == field
        assert error["details"].keys() & {"allowed", "suggestions", "supported"} or code in (
            "VALIDATION_ERROR",
            "INVALID_TOPIC",
        )
    if not isinstance(command, str):
        assert error["id"] == "x"
    assert (await control.get("/control/counters")).json()["binance"]["subscribes_total"] == before


async def test_a_symbol_in_the_wrong_case_is_suggested(client: Client) -> None:
    await client.send(op="subscribe", channel="trades", exchange="binance", symbol="btcusdt")
    assert "BTC/USDT:USDT" in (await client.expect(type="error"))["details"]["suggestions"]


async def test_a_command_over_64_kib_closes_1009(client: Client) -> None:
    with pytest.raises(ConnectionClosed) as closed:
        await client.connection.send("x" * 65_537)
        await client.expect(type="never")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_binary_frames_of_json_are_commands_too(client: Client) -> None:
    await client.connection.send(b'{"op":"ping"}')
    await client.expect(type="pong")


async def test_the_clock_ping_echoes_what_it_was_given(client: Client) -> None:
    await client.send(op="ping", id=7, t=123.5)
    pong = await client.expect(type="pong")
    assert (pong["id"], pong["t"]) == (7, 123.5)
    assert pong["rx"] <= pong["tx"]


async def test_more_subscriptions_than_allowed_are_refused(simulator_url: str) -> None:
    with processes.gateway(simulator_url, limits__subscriptions_per_connection="2") as url:
        async with processes.client(url) as client:
            for channel in CHANNELS:
                await client.send(op="subscribe", channel=channel, id=channel, **BTC)
            refused = await client.expect(type="error", id="ohlcv")
    assert refused["code"] == "SUBSCRIPTION_LIMIT"


async def test_a_page_of_another_site_is_refused_and_told_which_setting_allows_it(http: AsyncClient) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answer = await http.get("/v1/ws", headers={**upgrade, "Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "GATEWAY_ALLOWED_ORIGINS" in answer.json()["message"]


async def test_a_page_on_localhost_may_connect(gateway_url: str) -> None:
    async with processes.client(gateway_url, origin="http://localhost:5173") as client:
        await client.send(op="ping")
        await client.expect(type="pong")
