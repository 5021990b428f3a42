"""The simulated Hyperliquid over REST: what ``POST /info`` answers, and how it refuses."""

import json
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from exchanges.simulator.server import Simulator

MINUTE, HOUR = 60_000, 3_600_000
NOT_A_REQUEST = "Failed to deserialize the JSON body into the target type"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def fresh_allowance(simulator: Simulator) -> None:
    """The simulator is one for the whole file, what it allows an address in a minute is for each test."""
    simulator.floor.venues["hyperliquid"].forgive()


async def ask(http: httpx2.AsyncClient, **body: Any) -> Any:
    reply = await http.post("/hyperliquid/info", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def freeze(http: httpx2.AsyncClient) -> int:
    return int((await http.post("/control/freeze", json={"frozen": True})).json()["time"])


async def ledger(http: httpx2.AsyncClient, coin: str) -> list[dict[str, Any]]:
    params = {"venue": "hyperliquid", "symbol": coin, "limit": 20_000}
    rows: list[dict[str, Any]] = (await http.get("/control/trades", params=params)).json()
    return rows


async def test_a_book_is_twenty_levels_of_the_true_one(http: httpx2.AsyncClient) -> None:
    now = await freeze(http)
    book = await ask(http, type="l2Book", coin="BTC")
    truth = (await http.get("/control/book", params={"venue": "hyperliquid", "symbol": "BTC"})).json()
    assert (book["coin"], book["time"]) == ("BTC", now)
    for side, true in zip(book["levels"], (truth["bids"], truth["asks"]), strict=True):
        assert [[level["px"], level["sz"]] for level in side] == true[:20]
        assert all(level["n"] >= 1 for level in side)


@pytest.mark.parametrize(
    ("figures", "mantissa", "width"), [(4, None, 10), (3, None, 100), (5, 5, 5), (5, 2, 2), (5, None, 1)]
)
async def test_an_aggregated_book_rounds_away_from_the_middle_and_loses_nothing(
    http: httpx2.AsyncClient, figures: int, mantissa: int | None, width: int
) -> None:
    await freeze(http)
    book = await ask(http, type="l2Book", coin="BTC", nSigFigs=figures, mantissa=mantissa)
    truth = (await http.get("/control/book", params={"venue": "hyperliquid", "symbol": "BTC"})).json()
    for side, true, up in zip(book["levels"], (truth["bids"], truth["asks"]), (False, True), strict=True):
        expected: dict[Decimal, Decimal] = {}
        for price, amount in true:
            whole, rest = divmod(Decimal(price), width)
            bucket = (whole + (1 if up and rest else 0)) * width
            expected[bucket] = expected.get(bucket, Decimal(0)) + Decimal(amount)
        assert [(Decimal(level["px"]), Decimal(level["sz"])) for level in side] == list(expected.items())[:20]
    (bid, *_), (ask_, *_) = book["levels"]
    assert Decimal(book["spread"]) == Decimal(ask_["px"]) - Decimal(bid["px"])


async def test_an_unknown_coin_has_no_book_and_a_delisted_one_an_empty_one(http: httpx2.AsyncClient) -> None:
    assert [await ask(http, type="l2Book", coin=coin) for coin in ("NOPE", "btc", "SP500", "XYZ:SP500")] == [None] * 4
    assert (await ask(http, type="l2Book", coin="MATIC"))["levels"] == [[], []]
    assert await ask(http, type="recentTrades", coin="MATIC") == []


@pytest.mark.parametrize(
    ("body", "content_type", "status", "text"),
    [
        ('{"type":"l2Book"}', "application/json", 422, NOT_A_REQUEST),
        ('{"type":"nothing"}', "application/json", 422, NOT_A_REQUEST),
        ('{"coin":"BTC"}', "application/json", 422, NOT_A_REQUEST),
        ('{"type":"l2Book","coin":["BTC"]}', "application/json", 422, NOT_A_REQUEST),
        ('{"type":"candleSnapshot","req":{"coin":"BTC","interval":"6h","startTime":0}}', "application/json", 422,
         NOT_A_REQUEST),
        ('{"type":"candleSnapshot","req":{"coin":"BTC","interval":"1m"}}', "application/json", 422, NOT_A_REQUEST),
        ("nonsense", "application/json", 400, "Failed to parse the request body as JSON"),
        ('{"type":"meta","dex":"nope"}', "application/json", 500, "null"),
        ('{"type":"metaAndAssetCtxs","dex":"XYZ"}', "application/json", 500, "null"),
        ('{"type":"fundingHistory","coin":"NOPE","startTime":0}', "application/json", 500, "null"),
        ('{"type":"candleSnapshot","req":{"coin":"NOPE","interval":"1m","startTime":0}}', "application/json", 500,
         "null"),
    ],
)  # fmt: skip
async def test_refusals_are_text_and_never_a_json_object(
    http: httpx2.AsyncClient, body: str, content_type: str, status: int, text: str
) -> None:
    reply = await http.post("/hyperliquid/info", content=body, headers={"Content-Type": content_type})
    assert (reply.status_code, reply.text) == (status, text)
    assert reply.headers["content-type"].startswith("text/plain" if status < 500 else "application/json")


async def test_only_json_that_is_posted_is_read(http: httpx2.AsyncClient) -> None:
    body = '{"type":"allMids"}'
    as_text = await http.post("/hyperliquid/info", content=body, headers={"Content-Type": "text/plain"})
    assert as_text.status_code == 415
    assert (await http.get("/hyperliquid/info")).status_code == 405
    with_charset = {"Content-Type": "application/json; charset=utf-8"}
    assert (await http.post("/hyperliquid/info", content=body, headers=with_charset)).status_code == 200


async def test_recent_trades_are_ten_of_the_ledger(http: httpx2.AsyncClient) -> None:
    await freeze(http)
    rows = await ask(http, type="recentTrades", coin="ETH")
    true = (await ledger(http, "ETH"))[-10:]
    sides = {"buy": "B", "sell": "A"}
    rows.sort(key=lambda row: row["time"])  # the order is not part of the protocol
    assert sorted((row["px"], row["sz"], row["side"], row["time"]) for row in rows) == sorted(
        (t["price"], t["amount"], sides[t["taker_side"]], t["timestamp_ms"]) for t in true
    )
    assert len({row["tid"] for row in rows}) == 10
    assert all(0 <= row["tid"] < 2**50 and len(row["users"]) == 2 for row in rows)


async def test_candles_are_the_fold_of_the_ledger_and_have_no_closed_flag(http: httpx2.AsyncClient) -> None:
    now = await freeze(http)
    trades = await ledger(http, "SOL")
    since = trades[0]["timestamp_ms"] // MINUTE * MINUTE
    rows = await ask(
        http, type="candleSnapshot", req={"coin": "SOL", "interval": "1m", "startTime": since, "endTime": now}
    )
    assert len(rows) >= 2
    for row in rows:
        assert row.keys() == {"t", "T", "s", "i", "o", "c", "h", "l", "v", "n"}
        inside = [trade for trade in trades if row["t"] <= trade["timestamp_ms"] <= row["T"]]
        prices = [Decimal(trade["price"]) for trade in inside]
        assert [Decimal(row[key]) for key in "ohlc"] == [prices[0], max(prices), min(prices), prices[-1]]
        assert Decimal(row["v"]) == sum(Decimal(trade["amount"]) for trade in inside)
        assert (row["n"], row["T"], row["s"], row["i"]) == (len(inside), row["t"] + MINUTE - 1, "SOL", "1m")


async def test_only_the_latest_5000_candles_exist_and_the_end_may_be_left_out(http: httpx2.AsyncClient) -> None:
    rows = await ask(http, type="candleSnapshot", req={"coin": "BTC", "interval": "1m", "startTime": 0})
    assert 4_950 < len(rows) <= 5_000
    assert [row["t"] for row in rows] == sorted(row["t"] for row in rows)
    later = {"coin": "BTC", "interval": "1M", "startTime": 10**15}
    assert await ask(http, type="candleSnapshot", req=later) == []


async def test_an_interval_without_trades_has_no_candle(http: httpx2.AsyncClient) -> None:
    rows = await ask(http, type="candleSnapshot", req={"coin": "ZEN", "interval": "1m", "startTime": 0})
    assert all(row["n"] > 0 for row in rows)
    assert len(rows) < (rows[-1]["t"] - rows[0]["t"]) // MINUTE


async def test_the_universe_tells_what_is_delisted_and_dexes_keep_their_prefix(http: httpx2.AsyncClient) -> None:
    meta, contexts = await ask(http, type="metaAndAssetCtxs")
    assert len(meta["universe"]) == len(contexts)
    delisted = [row["name"] for row in meta["universe"] if row.get("isDelisted")]
    assert delisted == ["MATIC"]
    assert all("isDelisted" not in row for row in meta["universe"] if row["name"] != "MATIC")
    by_name = {row["name"]: context for row, context in zip(meta["universe"], contexts, strict=True)}
    assert by_name["MATIC"]["midPx"] is None
    assert by_name["kPEPE"]["markPx"].startswith("0.01")

    null, dex = await ask(http, type="perpDexs")
    assert (null, dex["name"]) == (None, "xyz")
    builder = await ask(http, type="meta", dex="xyz")
    assert [row["name"] for row in builder["universe"]] == ["xyz:SP500"]
    assert await ask(http, type="allPerpMetas") == [meta, builder]


async def test_spot_pairs_are_named_by_index_and_contexts_join_by_coin(http: httpx2.AsyncClient) -> None:
    meta, contexts = await ask(http, type="spotMetaAndAssetCtxs")
    tokens = {token["index"]: token["name"] for token in meta["tokens"]}
    named = {row["name"]: tuple(tokens[each] for each in row["tokens"]) for row in meta["universe"]}
    assert named == {"PURR/USDC": ("PURR", "USDC"), "@107": ("HYPE", "USDC"), "@142": ("UBTC", "USDC")}
    by_coin = {context["coin"]: context for context in contexts}
    assert named.keys() < by_coin.keys()
    assert [row["name"] for row in meta["universe"]] != [context["coin"] for context in contexts[:3]]
    assert await ask(http, type="spotMeta") == meta


async def test_mids_are_between_bid_and_ask_and_a_dex_has_its_own(http: httpx2.AsyncClient) -> None:
    await freeze(http)
    mids = await ask(http, type="allMids")
    assert mids.keys() == {"BTC", "ETH", "SOL", "kPEPE", "ZEN", "PURR/USDC", "@107", "@142"}
    for coin, mid in mids.items():
        bid, best_ask = (side[0]["px"] for side in (await ask(http, type="l2Book", coin=coin))["levels"])
        assert Decimal(mid) == (Decimal(bid) + Decimal(best_ask)) / 2
    assert (await ask(http, type="allMids", dex="xyz")).keys() == {"xyz:SP500"}


async def test_prices_have_five_significant_figures_and_sizes_their_decimals(http: httpx2.AsyncClient) -> None:
    universe = (await ask(http, type="meta"))["universe"]
    for row in universe:
        bids, asks = (await ask(http, type="l2Book", coin=row["name"]))["levels"]
        for level in bids + asks:
            assert len(Decimal(level["px"]).normalize().as_tuple().digits) <= 5
            assert -int(Decimal(level["px"]).normalize().as_tuple().exponent) <= 6 - row["szDecimals"]
            assert -int(Decimal(level["sz"]).normalize().as_tuple().exponent) <= row["szDecimals"]


async def test_funding_is_settled_just_after_each_hour(http: httpx2.AsyncClient) -> None:
    now = (await ask(http, type="exchangeStatus"))["time"]
    rows = await ask(http, type="fundingHistory", coin="BTC", startTime=now - 6 * HOUR, endTime=now)
    assert len(rows) == 6
    assert all(1 <= row["time"] % HOUR <= 118 for row in rows)
    assert {row["coin"] for row in rows} == {"BTC"}
    predicted = dict(await ask(http, type="predictedFundings"))
    assert dict(predicted["BTC"])["HlPerp"]["nextFundingTime"] <= now + 1_000  # what it names is already settled


async def test_weight_above_1200_in_a_minute_is_refused_without_advice(
    http: httpx2.AsyncClient, simulator: Simulator
) -> None:
    before = (await http.get("/control/counters")).json()["hyperliquid"]["requests"]
    for _ in range(59):
        await ask(http, type="meta")
    await ask(http, type="l2Book", coin="BTC")
    assert simulator.floor.venues["hyperliquid"].counters.weight == 59 * 20 + 2
    refused = await http.post("/hyperliquid/info", json={"type": "meta"})
    assert refused.status_code == 429
    assert "retry-after" not in refused.headers
    counted = (await http.get("/control/counters")).json()["hyperliquid"]
    assert counted["requests"]["/info meta"] == before.get("/info meta", 0) + 60


async def test_many_rows_weigh_more(http: httpx2.AsyncClient, simulator: Simulator) -> None:
    rows = await ask(http, type="candleSnapshot", req={"coin": "BTC", "interval": "1h", "startTime": 0})
    assert simulator.floor.venues["hyperliquid"].counters.weight == 20 + len(rows) // 60


async def test_the_same_seed_gives_the_same_coins_and_ids() -> None:
    async with Simulator(seed=3) as one, Simulator(seed=3) as other:
        assert json.dumps(await _first_trades(one)) == json.dumps(await _first_trades(other))


async def _first_trades(simulator: Simulator) -> list[Any]:
    """The first prints ever of two coins, without the time of the start."""
    markets = simulator.floor.venues["hyperliquid"].markets
    return [[trade[:4] for trade in markets[coin].trades.newest(10**6)[:20]] for coin in ("BTC", "@107")]
