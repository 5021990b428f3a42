"""Binance's trades as its streams state them, for those who check what became of them.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from collections.abc import Mapping

from .binance_instrument import AGGREGATE_BASE, Aggregate, Instrument
from .candles import Trade
from .truth import Print, Tape


def tapes(one: Instrument) -> Mapping[str, Tape]:
    """``trade`` without the prints that are not book trades; they lie in the holes of its ids."""

    def aggregate(each: Aggregate) -> Print:
        price, amount = one.price(each.price), one.amount(each.amount)
        return Print(AGGREGATE_BASE + each.id, price, amount, each.taker_side, each.time_ms)

    def trade(each: Trade) -> Print:
        price, amount = one.price(each.price), one.amount(each.amount)
        return Print(one.trade_id(each.id), price, amount, each.taker_side, each.time_ms)

    return {"aggTrade": Tape(one.closed_aggregates(), aggregate), "trade": Tape(one.market.trades, trade)}
