"""What trades on the simulated Hyperliquid, and the ``meta`` answers that say so.

Prices have at most 5 significant figures and sizes ``szDecimals``; there is no tick size on the wire.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint/perpetuals and .../spot
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from .market import Spec

USDC = 0  # its index among the tokens; the collateral of both dexes here
DEXES = ("", "xyz")  # the main one has no name; the other is builder-deployed
LEVELS = 300  # a side; the wire shows 20, coarser ones when asked for fewer significant figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A coin by its native name. ``spec`` is None for what is delisted: it is listed and has no market any more."""

    coin: str
    dex: str = ""
    size_decimals: int
    max_leverage: int = 0  # 0: spot
    only_isolated: bool = False
    tokens: tuple[int, int] = (0, 0)  # spot: base and quote by token index
    index: int = 0  # of a spot pair in its universe, which has holes
    spec: Spec | None


def perps() -> list[Listing]:
    """Perpetuals of both dexes, in the order of their universes."""
    return [
        _perp("BTC", "68405", tick="1", decimals=5, leverage=40, amount="0.9", trades=12, changes=36, volatility=3),
        _perp("ETH", "3712.4", tick="0.1", decimals=4, leverage=25, amount="14", trades=8, changes=30, volatility=4),
        Listing(coin="MATIC", size_decimals=1, max_leverage=20, spec=None),
        _perp("SOL", "171.23", tick="0.01", decimals=2, leverage=20, amount="90", trades=3, changes=20, volatility=2),
        _perp(
            "kPEPE", "0.011234", tick="0.000001", decimals=0, leverage=10, amount="90000",
            trades=1.5, changes=10, volatility=1.2,
        ),
        _perp(
            "ZEN", "14.512", tick="0.001", decimals=2, leverage=5, amount="45",
            trades=0.06, changes=1.2, isolated=True,
        ),
        _perp(
            "xyz:SP500", "6853.4", tick="0.1", decimals=3, leverage=20, amount="1.5",
            trades=1, changes=10, volatility=1.5, isolated=True,
        ),
    ]  # fmt: skip


def pairs() -> list[Listing]:
    """Spot pairs: one with a name of its own, the others named by their index."""
    return [
        _pair("PURR/USDC", 0, base=1, price="0.20512", tick="0.00001", decimals=0, amount="900", trades=0.3, changes=4),
        _pair("@107", 107, base=150, price="45.123", tick="0.001", decimals=2, amount="60", trades=2, changes=15),
        _pair("@142", 142, base=197, price="68411", tick="1", decimals=5, amount="0.1", trades=1, changes=10),
    ]


def meta(listings: Iterable[Listing], dex: str) -> dict[str, Any]:
    """``meta`` of one dex."""
    universe = []
    leverages = set()
    for each in listings:
        if each.dex != dex or not each.max_leverage:
            continue
        leverages.add(each.max_leverage)
        row: dict[str, Any] = {"name": each.coin, "szDecimals": each.size_decimals, "maxLeverage": each.max_leverage}
        row["marginTableId"] = each.max_leverage
        if each.only_isolated:
            row |= {"onlyIsolated": True, "marginMode": "strictIsolated"}
        if each.spec is None:
            row["isDelisted"] = True
        universe.append(row)
    tables = [
        [each, {"description": "", "marginTiers": [{"lowerBound": "0.0", "maxLeverage": each}]}]
        for each in sorted(leverages)
    ]
    return {"universe": universe, "marginTables": tables, "collateralToken": USDC}


def perp_dexs() -> list[dict[str, Any] | None]:
    """``perpDexs``: null stands for the main dex."""
    return [
        None,
        {
            "name": "xyz",
            "fullName": "XYZ",
            "deployer": _hex("deployer", 20),
            "oracleUpdater": None,
            "feeRecipient": _hex("fees", 20),
            "assetToStreamingOiCap": [["xyz:SP500", "500000000.0"]],
        },
    ]


def spot_meta(listings: Iterable[Listing]) -> dict[str, Any]:
    """``spotMeta``: pairs refer to tokens by number. Unified names differ: the token of bitcoin is called UBTC."""
    traded = {
        USDC: ("USDC", 8, True),
        1: ("PURR", 0, True),
        150: ("HYPE", 2, False),
        197: ("UBTC", 5, False),
    }
    tokens = []
    for index in range(max(traded) + 1):
        name, decimals, canonical = traded.get(index, (f"TOKEN{index}", 2, False))
        token: dict[str, Any] = {"name": name, "szDecimals": decimals, "weiDecimals": 8 if decimals else 5}
        token |= {"index": index, "tokenId": _hex(name, 16), "isCanonical": canonical}
        tokens.append(token | {"evmContract": None, "fullName": None, "deployerTradingFeeShare": "0.0"})
    universe = [
        {
            "name": each.coin,
            "tokens": list(each.tokens),
            "index": each.index,
            "isCanonical": not each.coin.startswith("@"),
        }
        for each in listings
        if not each.max_leverage
    ]
    return {"tokens": tokens, "universe": universe}


def _perp(
    coin: str,
    price: str,
    *,
    decimals: int,
    leverage: int,
    isolated: bool = False,
    volatility: float = 1.2,
    **rest: Any,
) -> Listing:
    dex, _, base = coin.rpartition(":")
    spec = _spec(base=base, settle="USDC", price=price, decimals=decimals, volatility=volatility, **rest)
    return Listing(coin=coin, dex=dex, size_decimals=decimals, max_leverage=leverage, only_isolated=isolated, spec=spec)


def _pair(coin: str, index: int, *, base: int, decimals: int, **rest: Any) -> Listing:
    spec = _spec(base=coin, settle="", decimals=decimals, volatility=2.5, **rest)
    return Listing(coin=coin, size_decimals=decimals, tokens=(base, USDC), index=index, spec=spec)


def _spec(*, tick: str, decimals: int, trades: float, changes: float, **rest: Any) -> Spec:
    return Spec(
        quote="USDC",
        levels=LEVELS,
        tick=tick,
        price_decimals=max(1, len(tick.partition(".")[2])),  # whole numbers are written as "68405.0"
        step=f"{10**-decimals:.{decimals}f}",
        amount_decimals=max(1, decimals),
        trades_per_second=trades,
        changes_per_second=changes,
        warm_ms=120_000 if trades > 0.1 else 1_800_000,
        **rest,
    )


def _hex(text: str, size: int) -> str:
    return "0x" + blake2b(text.encode(), digest_size=size).hexdigest()
