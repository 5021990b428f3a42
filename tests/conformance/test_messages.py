"""Every recorded message is read by our adapter, and means what its channel says.

``OUTSIDE`` names the few recordings that no venue sends where we listen, and what becomes of each.
"""

import pytest

from exchanges.errors import BadMessage
from exchanges.events import BookDelta, BookSnapshot, Candle, Trade, Unknown
from tests.conformance.recordings import Recording, cases, named
from tests.conformance.venues import events

MEANINGS: dict[str, tuple[type, ...]] = {
    "trades": (Trade,),
    "ohlcv": (Candle,),
    "orderbook": (BookSnapshot, BookDelta),
    "rest.orderbook": (BookSnapshot,),
}
OUTSIDE = {
    # A partial book, which we never subscribe to: it has no event type, and its body is that of REST.
    "fixtures/binance.orderbook:1": Unknown,
    # Made by the recorder out of REST answers; no stream of the venue is called that.
    "tardis/binance.orderbook:1": Unknown,
    "tardis/binanceusdm.orderbook:2": Unknown,
    # An aggregate trade without its id, written by hand for a mapper that does not read it.
    "tardis/binanceusdm.trades:1": BadMessage,
}


@pytest.mark.parametrize("recording", cases(*MEANINGS, where=lambda recording: str(recording) not in OUTSIDE))
def test_a_recorded_message_maps_to_events_of_its_channel(recording: Recording) -> None:
    found = events(recording)

    assert found
    assert {type(event) for event in found} <= set(MEANINGS[recording.channel])


@pytest.mark.parametrize("recording", cases("ticker", "other"))
def test_a_message_of_a_channel_we_do_not_offer_maps_to_nothing(recording: Recording) -> None:
    assert [event for event in events(recording) if not isinstance(event, Unknown)] == []


@pytest.mark.parametrize("recording", named(*OUTSIDE))
def test_what_no_venue_sends_where_we_listen_is_unknown_or_refused(recording: Recording) -> None:
    outcome = OUTSIDE[str(recording)]

    if outcome is Unknown:
        assert [type(event) for event in events(recording)] == [Unknown]
    else:
        with pytest.raises(outcome):
            events(recording)
