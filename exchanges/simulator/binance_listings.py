"""What trades on the simulated Binance, and exchangeInfo, which says so.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Exchange-Information
and https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md#exchange-information
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from .binance_instrument import Listing
from .history import DAY
from .market import Spec


def futures_listings(today: date) -> list[Listing]:
    """The symbols of USD-M futures: lively, quiet, odd ones, a dated one, one that is being delisted."""
    quarter_end = _quarter_end(today)
    delivery_ms = int(quarter_end.timestamp() * 1000)
    btc = {"base": "BTC", "quote": "USDT", "settle": "USDT", "tick": "0.10", "step": "0.001"}
    return [
        _perpetual(price="68405.10", amount="0.3", trades_per_second=30, changes_per_second=120, **btc),
        _perpetual(
            base="ETH", quote="USDT", settle="USDT", price="3712.40", tick="0.01", step="0.001", amount="6",
            trades_per_second=24, changes_per_second=110, volatility=6,
        ),
        _perpetual(
            base="BTC", quote="USDC", settle="USDC", price="68398.6", tick="0.1", step="0.001", amount="0.2",
            trades_per_second=3, changes_per_second=30, levels=600,
        ),
        _perpetual(
            base="1000PEPE", quote="USDT", settle="USDT", price="0.0112340", tick="0.0000010", step="1",
            amount="90000", trades_per_second=6, changes_per_second=40, levels=500, volatility=1.2,
        ),
        _perpetual(
            base="币安人生", quote="USDT", settle="USDT", price="0.13620", tick="0.00001", step="1", amount="4000",
            trades_per_second=1.5, changes_per_second=16, levels=400, volatility=2,
        ),
        _perpetual(
            base="ZEN", quote="USDT", settle="USDT", price="14.512", tick="0.001", step="0.1", amount="45",
            trades_per_second=0.08, changes_per_second=1.5, levels=250, volatility=1.2, warm_ms=1_800_000,
        ),
        Listing(
            symbol=f"BTCUSDT_{quarter_end:%y%m%d}", pair="BTCUSDT", contract_type="CURRENT_QUARTER",
            delivery_ms=delivery_ms, onboard_ms=delivery_ms - 180 * DAY,
            spec=_spec(
                price="69120.4", amount="0.1", trades_per_second=0.4, changes_per_second=8, levels=300,
                **(btc | {"tick": "0.1"}),
            ),
        ),
        Listing(
            symbol="FTMUSDT", pair="FTMUSDT", contract_type="PERPETUAL", status="SETTLING",
            delivery_ms=1_736_755_200_000,  # delisted contracts are still called perpetual, with a real delivery date
            spec=_spec(
                base="FTM", quote="USDT", settle="USDT", price="0.6940", tick="0.0001", step="1", amount="500",
                trades_per_second=0.01, changes_per_second=0.1, levels=100, volatility=1,
            ),
        ),
    ]  # fmt: skip


def spot_listings() -> list[Listing]:
    """The symbols of spot; every price and quantity is written with 8 decimals."""
    return [
        _pair(
            base="BTC", quote="USDT", price="68411.20", tick="0.01", step="0.00001", amount="0.3",
            trades_per_second=20, changes_per_second=90, levels=1500, volatility=60,
        ),
        _pair(
            base="ETH", quote="USDT", price="3713.50", tick="0.01", step="0.0001", amount="4",
            trades_per_second=14, changes_per_second=70, volatility=6,
        ),
        _pair(
            base="ETH", quote="BTC", price="0.05428", tick="0.00001", step="0.001", amount="3",
            trades_per_second=0.7, changes_per_second=10, levels=300, volatility=0.4,
        ),
        _pair(
            base="ZEN", quote="USDT", price="14.50", tick="0.01", step="0.01", amount="20",
            trades_per_second=0.04, changes_per_second=1, levels=200, volatility=0.3, warm_ms=1_800_000,
        ),
    ]  # fmt: skip


def futures_info(listings: list[Listing], now: int) -> dict[str, Any]:
    rows = []
    for each in listings:
        spec = each.spec
        row: dict[str, Any] = {"symbol": each.symbol, "pair": each.pair, "contractType": each.contract_type}
        row |= {"deliveryDate": each.delivery_ms, "onboardDate": each.onboard_ms, "status": each.status}
        row |= {"baseAsset": spec.base, "quoteAsset": spec.quote, "marginAsset": spec.settle}
        row |= {
            "pricePrecision": len(spec.tick.partition(".")[2]),
            "quantityPrecision": len(spec.step.partition(".")[2]),
        }
        row |= {"baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN", "underlyingSubType": ["PoW"]}
        prices = {"filterType": "PRICE_FILTER", "minPrice": spec.tick, "maxPrice": "4529764", "tickSize": spec.tick}
        amounts = {"minQty": spec.step, "maxQty": "1000000", "stepSize": spec.step}
        filters = [prices, {"filterType": "LOT_SIZE", **amounts}, {"filterType": "MARKET_LOT_SIZE", **amounts}]
        filters.append({"filterType": "MIN_NOTIONAL", "notional": "50"})
        rows.append(row | {"filters": filters, "orderTypes": ["LIMIT", "MARKET"], "timeInForce": ["GTC", "IOC"]})
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400}]
    info: dict[str, Any] = {"timezone": "UTC", "serverTime": now, "futuresType": "U_MARGINED", "rateLimits": limits}
    assets = [{"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"} for asset in ("USDT", "USDC")]
    return info | {"exchangeFilters": [], "assets": assets, "symbols": rows}


def spot_info(listings: list[Listing], now: int) -> dict[str, Any]:
    rows = []
    for each in listings:
        spec = each.spec
        row: dict[str, Any] = {"symbol": each.symbol, "status": each.status, "baseAsset": spec.base}
        row |= {"baseAssetPrecision": 8, "quoteAsset": spec.quote, "quotePrecision": 8, "quoteAssetPrecision": 8}
        row |= {"orderTypes": ["LIMIT", "MARKET"], "isSpotTradingAllowed": True, "isMarginTradingAllowed": False}
        tick, step = f"{float(spec.tick):.8f}", f"{float(spec.step):.8f}"
        prices = {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick}
        amounts = {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step}
        notional = {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True}
        row |= {"filters": [prices, amounts, notional], "permissions": [], "permissionSets": [["SPOT"]]}
        rows.append(row)
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}]
    return {"timezone": "UTC", "serverTime": now, "rateLimits": limits, "exchangeFilters": [], "symbols": rows}


def _spec(**facts: Any) -> Spec:
    return Spec(**facts)


def _perpetual(**facts: Any) -> Listing:
    symbol = facts["base"] + facts["quote"]
    return Listing(symbol=symbol, pair=symbol, contract_type="PERPETUAL", spec=Spec(**facts))


def _pair(**facts: Any) -> Listing:
    symbol = facts["base"] + facts["quote"]
    return Listing(symbol=symbol, pair=symbol, spec=Spec(price_decimals=8, amount_decimals=8, **facts))


def _quarter_end(today: date) -> datetime:
    """Delivery of the current quarter's contract: 08:00 UTC on the last Friday of March, June, September, December."""
    for month in range(today.month, today.month + 6):
        if month % 3 == 0:
            year, index = today.year + (month - 1) // 12, (month - 1) % 12 + 1
            first_of_next = date(year + index // 12, index % 12 + 1, 1)
            friday = first_of_next - timedelta(days=(first_of_next.weekday() - 5) % 7 + 1)
            if friday > today:
                return datetime(friday.year, friday.month, friday.day, 8, tzinfo=UTC)
    raise AssertionError("six months always hold a quarter's end")
