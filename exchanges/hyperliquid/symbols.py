"""``allPerpMetas`` and ``spotMeta`` → instruments. Pure, but for counting the rows it cannot read.

Coin names are case-sensitive (``kPEPE``, ``xyz:SP500``, ``@107``) and are taken from the lists as they are; unified
names follow CCXT: ``KPEPE/USDC:USDC``, ``XYZ-SP500/USDC:USDC``, ``HYPE/USDC``.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint
"""

from typing import Any

from exchanges.errors import UNREADABLE, BadMessage
from exchanges.fetch import readable
from exchanges.instrument import Instrument, unified_symbol

# Bridged assets under the names the rest of the world uses, as CCXT has them.
RENAMED = {
    "HPENGU": "PENGU",
    "UBONK": "BONK",
    "UBTC": "BTC",
    "UDZ": "2Z",
    "UETH": "ETH",
    "UFART": "FARTCOIN",
    "UPUMP": "PUMP",
    "USDT0": "USDT",
    "USOL": "SOL",
    "UUUSPX": "SPX",
    "UXPL": "XPL",
    "XAUT0": "XAUT",
}


def perp_instruments(metas: list[dict[str, Any]], spot_meta: dict[str, Any]) -> list[Instrument]:
    """The perpetuals of every dex, the main one first; a dex's name is part of its coins' names.

    Raises:
        BadMessage: the answers are not what Hyperliquid documents.
    """
    try:
        tokens = _tokens(spot_meta)
        rows = [(row, meta["collateralToken"]) for meta in metas for row in meta["universe"]]
        return readable("hyperliquid", rows, lambda pair: perp(pair[0], collateral=tokens[pair[1]]))
    except UNREADABLE as error:
        raise BadMessage("hyperliquid", repr(error)) from error


def spot_instruments(spot_meta: dict[str, Any]) -> list[Instrument]:
    """The spot pairs, in the venue's order. Raises as ``perp_instruments`` does."""
    try:
        tokens = _tokens(spot_meta)
        sizes = {token["index"]: token["szDecimals"] for token in spot_meta["tokens"]}
        return readable("hyperliquid", spot_meta["universe"], lambda row: spot(row, tokens, sizes))
    except UNREADABLE as error:
        raise BadMessage("hyperliquid", repr(error)) from error


def perp(row: dict[str, Any], *, collateral: str) -> Instrument:
    base = row["name"].replace(":", "-").upper()
    return Instrument(
        exchange="hyperliquid",
        market="perp",
        symbol=unified_symbol(base, collateral, settle=collateral),
        venue_symbol=row["name"],
        base=base,
        quote=collateral,
        settle=collateral,
        kind="perp",
        active=not row.get("isDelisted", False),
        tick_size=None,  # five significant figures: the tick depends on the price
        min_order_size=10.0 ** -row["szDecimals"],
        contract_size=1.0,
        info=row,
    )


def spot(row: dict[str, Any], tokens: dict[int, str], sizes: dict[int, int]) -> Instrument:
    base, quote = (tokens[index] for index in row["tokens"])
    return Instrument(
        exchange="hyperliquid",
        market="spot",
        symbol=unified_symbol(base, quote),
        venue_symbol=row["name"],
        base=base,
        quote=quote,
        settle=None,
        kind="spot",
        active=True,
        tick_size=None,
        min_order_size=10.0 ** -sizes[row["tokens"][0]],
        contract_size=None,
        info=row,
    )


def _tokens(spot_meta: dict[str, Any]) -> dict[int, str]:
    """Token names by their index, which is no position: it has holes."""
    return {token["index"]: RENAMED.get(token["name"], token["name"]) for token in spot_meta["tokens"]}
