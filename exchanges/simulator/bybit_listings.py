"""What trades on the simulated Bybit, and ``instruments-info``, which says so.

Source: https://bybit-exchange.github.io/docs/v5/market/instrument
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from .history import DAY
from .market import Spec

MONTH_CODES = {3: "H", 6: "M", 9: "U", 12: "Z"}  # of inverse quarterlies
LAUNCH_MS = 1_585_526_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A row of instruments-info. ``contract_type`` is empty on spot; ``delivery_ms`` 0 means for ever.

    ``key`` tells instruments of different categories apart inside this venue: spot's BTCUSDT is ``spot/BTCUSDT``.
    """

    category: str
    symbol: str
    spec: Spec
    contract_type: str = ""
    status: str = "Trading"
    delivery_ms: int = 0  # of dated contracts; of a perpetual, when it will be delisted

    @property
    def key(self) -> str:
        return key_of(self.category, self.symbol)

    @property
    def dated(self) -> bool:
        return self.contract_type.endswith("Futures")


def key_of(category: str, name: str) -> str:
    """``name`` (a symbol, a topic) as this venue's control endpoint has it."""
    return f"spot/{name}" if category == "spot" else name


def listings(now_ms: int) -> list[Listing]:
    """All categories: lively, quiet and odd symbols, dated ones, those being delisted and those that are gone."""
    return [*_linear(now_ms), *_inverse(now_ms), *_spot()]


def _linear(now_ms: int) -> list[Listing]:
    expiry = _quarter_end(now_ms)
    usdt: dict[str, Any] = {"quote": "USDT", "settle": "USDT"}
    btc: dict[str, Any] = {"base": "BTC", "tick": "0.10", "step": "0.001", **usdt}
    dead: dict[str, Any] = {
        "price": "0.6940", "tick": "0.0001", "step": "1", "amount": "500", "levels": 100, "volatility": 1,
        "trades_per_second": 0.01, "changes_per_second": 0.1, **usdt,
    }  # fmt: skip
    return [
        _perpetual("BTCUSDT", price="68405.10", amount="0.3", trades_per_second=30, changes_per_second=120, **btc),
        _perpetual(
            "ETHUSDT", base="ETH", price="3712.40", tick="0.01", step="0.01", amount="6",
            trades_per_second=24, changes_per_second=110, volatility=6, **usdt,
        ),
        _perpetual(
            "1000PEPEUSDT", base="1000PEPE", price="0.0112340", tick="0.0000010", step="100", amount="90000",
            trades_per_second=5, changes_per_second=40, levels=500, volatility=1.2, **usdt,
        ),
        _perpetual(
            "SHIB1000USDT", base="SHIB1000", price="0.013580", tick="0.000005", step="10", amount="60000",
            trades_per_second=1.5, changes_per_second=16, levels=400, volatility=1, **usdt,
        ),
        _perpetual(
            "BTCPERP", base="BTC", quote="USDC", settle="USDC", price="68398.60", tick="0.10", step="0.001",
            amount="0.2", trades_per_second=3, changes_per_second=30, levels=600,
        ),
        _perpetual(
            "ZENUSDT", base="ZEN", price="14.512", tick="0.001", step="0.1", amount="45", levels=250, volatility=1.2,
            trades_per_second=0.08, changes_per_second=1.5, warm_ms=1_800_000, **usdt,
        ),
        _perpetual(
            "10000LADYSUSDT", base="10000LADYS", price="0.0017340", tick="0.0000010", step="100", amount="70000",
            trades_per_second=0.2, changes_per_second=4, levels=200, volatility=1,
            delivery_ms=now_ms // DAY * DAY + 9 * DAY, **usdt,
        ),
        Listing(
            category="linear", symbol=f"BTCUSDT-{expiry:%d%b%y}".upper(), contract_type="LinearFutures",
            delivery_ms=int(expiry.timestamp() * 1000),
            spec=Spec(price="69120.40", amount="0.1", trades_per_second=0.4, changes_per_second=8, levels=300, **btc),
        ),
        _perpetual("FTMUSDT", base="FTM", status="Closed", delivery_ms=1_736_755_200_000, **dead),
        _perpetual("MATICUSDT", base="MATIC", status="Delivering", delivery_ms=now_ms // DAY * DAY, **dead),
    ]  # fmt: skip


def _inverse(now_ms: int) -> list[Listing]:
    """Amounts are in contracts of one US dollar."""
    expiry = _quarter_end(now_ms)
    btc: dict[str, Any] = {"base": "BTC", "quote": "USD", "settle": "BTC", "tick": "0.10", "step": "1"}
    return [
        Listing(
            category="inverse", symbol="BTCUSD", contract_type="InversePerpetual",
            spec=Spec(price="68391.30", amount="15000", trades_per_second=6, changes_per_second=60, levels=1000, **btc),
        ),
        Listing(
            category="inverse", symbol=f"BTCUSD{MONTH_CODES[expiry.month]}{expiry:%y}",
            contract_type="InverseFutures", delivery_ms=int(expiry.timestamp() * 1000),
            spec=Spec(price="69102.50", amount="9000", trades_per_second=0.3, changes_per_second=6, levels=300, **btc),
        ),
    ]  # fmt: skip


def _spot() -> list[Listing]:
    return [
        _pair(
            base="BTC", quote="USDT", price="68411.2", tick="0.1", step="0.000001", amount="0.3",
            trades_per_second=20, changes_per_second=90,
        ),
        _pair(
            base="ETH", quote="USDT", price="3713.50", tick="0.01", step="0.00001", amount="4",
            trades_per_second=14, changes_per_second=70, volatility=6,
        ),
        _pair(
            base="ZEN", quote="USDT", price="14.50", tick="0.01", step="0.01", amount="20",
            trades_per_second=0.04, changes_per_second=1, levels=200, volatility=0.3, warm_ms=1_800_000,
        ),
    ]  # fmt: skip


def instrument_row(one: Listing, number: int) -> dict[str, Any]:
    """``number`` is Bybit's symbolId."""
    spec = one.spec
    row: dict[str, Any] = {"symbol": one.symbol, "symbolId": number}
    if one.category == "spot":
        amounts = {"basePrecision": spec.step, "quotePrecision": "0.0000001", "minOrderQty": spec.step}
        amounts |= {"maxOrderQty": "17000", "minOrderAmt": "5", "maxOrderAmt": "8000000"}
        row |= {"baseCoin": spec.base, "quoteCoin": spec.quote, "innovation": "0", "status": one.status}
        row |= {"marginTrading": "utaOnly", "lotSizeFilter": amounts, "priceFilter": {"tickSize": spec.tick}}
        return row | {"symbolType": ""}
    row |= {"contractType": one.contract_type, "status": one.status, "baseCoin": spec.base, "quoteCoin": spec.quote}
    row |= {"settleCoin": spec.settle, "launchTime": str(LAUNCH_MS), "deliveryTime": str(one.delivery_ms)}
    row |= {"deliveryFeeRate": "0.0005" if one.dated else "", "priceScale": str(len(spec.tick.partition(".")[2]))}
    row["leverageFilter"] = {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"}
    row["priceFilter"] = {"minPrice": spec.tick, "maxPrice": "1999999.80", "tickSize": spec.tick}
    amounts = {"minOrderQty": spec.step, "maxOrderQty": "1000000", "qtyStep": spec.step, "minNotionalValue": "5"}
    row |= {"lotSizeFilter": amounts, "fundingInterval": 0 if one.dated else 480, "isPreListing": False}
    return row | {"preListingInfo": None, "symbolType": ""}


def _perpetual(symbol: str, *, status: str = "Trading", delivery_ms: int = 0, **facts: Any) -> Listing:
    return Listing(
        category="linear", symbol=symbol, contract_type="LinearPerpetual", status=status, delivery_ms=delivery_ms,
        spec=Spec(**facts),
    )  # fmt: skip


def _pair(**facts: Any) -> Listing:
    return Listing(category="spot", symbol=facts["base"] + facts["quote"], spec=Spec(**facts))


def _quarter_end(now_ms: int) -> datetime:
    """Delivery of the next quarterly: 08:00 UTC on the last Friday of March, June, September or December."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    quarters = [(today.year + ahead // 4, ahead % 4 * 3 + 3) for ahead in range((today.month - 1) // 3, 8)]
    fridays = (_last_friday(year, month) for year, month in quarters)
    friday = next(each for each in fridays if each > today + timedelta(days=1))
    return datetime(friday.year, friday.month, friday.day, 8, tzinfo=UTC)


def _last_friday(year: int, month: int) -> date:
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - 4) % 7)
