"""Every venue that is offered can be made, and says what it offers in words that fit together."""

import pytest

from exchanges.registry import VENUES, create
from exchanges.venue import CHANNELS, TIMEFRAMES_MS


@pytest.mark.parametrize("name", VENUES)
async def test_a_venue_goes_by_its_name(name: str) -> None:
    venue = create(name)
    assert venue.name == name
    await venue.close()


@pytest.mark.parametrize("name", VENUES)
async def test_a_venue_is_made_with_other_urls(name: str) -> None:
    await create(name, rest_url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1").close()


@pytest.mark.parametrize("name", VENUES)
async def test_capabilities_fit_together(name: str) -> None:
    venue = create(name)
    offered = venue.capabilities
    assert offered.default_market in offered.markets.values()
    assert offered.default_levels in offered.levels
    assert list(offered.levels) == sorted(set(offered.levels))
    assert set(offered.channels) <= set(CHANNELS)
    assert set(offered.timeframes) <= set(TIMEFRAMES_MS)
    assert 0 < offered.share_from <= offered.max_sockets
    await venue.close()
