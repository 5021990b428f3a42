"""A venue's list of markets: kept when a refresh fails, group by group, and remembered on disk."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from exchanges.catalogue import FIRST_RETRY, LONGEST_RETRY, REFRESH, CatalogueKeeper
from exchanges.errors import BadSymbol, VenueUnavailable
from exchanges.instrument import Instrument, unified_symbol
from exchanges.venue import Capabilities
from tests.exchanges.toy_venue import CAPABILITIES, PATIENCE, Bell

pytestmark = pytest.mark.jumping_clock

AWAY = VenueUnavailable("away")


def listed(base: str, *, spot: bool = False) -> Instrument:
    settle = None if spot else "USDT"
    return Instrument(
        exchange="toy",
        market="spot" if spot else "linear",
        symbol=unified_symbol(base, "USDT", settle=settle),
        venue_symbol=f"{base}USDT",
        base=base,
        quote="USDT",
        settle=settle,
        kind="spot" if spot else "perp",
        active=True,
        tick_size=0.1,
        min_order_size=None,
        contract_size=None if spot else 1.0,
        info={"symbol": f"{base}USDT", "币": [1, None]},
    )


class ListingVenue:
    """A venue of which only the lists of markets are asked."""

    name = "toy"
    capabilities = Capabilities(**{**CAPABILITIES, "instrument_groups": ("linear", "spot")})

    def __init__(self, **groups: list[Instrument] | Exception) -> None:
        self.groups = groups
        self.asked: list[tuple[str, float]] = []  # group, loop time
        self._bell = Bell()
        self.until = self._bell.until

    async def fetch_instruments(self, group: str) -> list[Instrument]:
        self.asked.append((group, asyncio.get_running_loop().time()))
        self._bell.ring()
        answer = self.groups[group]
        if isinstance(answer, Exception):
            raise answer
        return answer


def both() -> ListingVenue:
    return ListingVenue(linear=[listed("BTC")], spot=[listed("BTC", spot=True)])


def symbols(keeper: CatalogueKeeper) -> set[str]:
    return set(keeper.current().by_symbol)


@asynccontextmanager
async def running(keeper: CatalogueKeeper) -> AsyncIterator[None]:
    task = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_before_it_has_loaded_it_says_so_and_that_it_is_worth_trying_again() -> None:
    keeper = CatalogueKeeper(both(), cache_dir=None)
    with pytest.raises(VenueUnavailable) as unavailable:
        keeper.current()
    assert (unavailable.value.retryable, unavailable.value.retry_after) == (True, 1.0)
    assert not keeper.loaded.is_set()


async def test_every_group_is_asked_for_and_resolved_from() -> None:
    keeper = CatalogueKeeper(both(), cache_dir=None)
    assert await keeper.refresh()
    assert symbols(keeper) == {"BTC/USDT:USDT", "BTC/USDT"}
    assert keeper.loaded.is_set()


async def test_a_group_that_fails_does_not_take_the_others_along() -> None:
    keeper = CatalogueKeeper(ListingVenue(linear=[listed("BTC")], spot=AWAY), cache_dir=None)
    assert not await keeper.refresh()
    assert symbols(keeper) == {"BTC/USDT:USDT"}


async def test_a_group_that_fails_later_keeps_what_it_had_while_the_others_are_renewed() -> None:
    venue = both()
    keeper = CatalogueKeeper(venue, cache_dir=None)
    await keeper.refresh()
    venue.groups = {"linear": [listed("ETH")], "spot": AWAY}
    assert not await keeper.refresh()
    assert symbols(keeper) == {"ETH/USDT:USDT", "BTC/USDT"}


async def test_when_everything_fails_it_keeps_everything() -> None:
    venue = both()
    keeper = CatalogueKeeper(venue, cache_dir=None)
    await keeper.refresh()
    venue.groups = {"linear": AWAY, "spot": AWAY}
    assert not await keeper.refresh()
    assert symbols(keeper) == {"BTC/USDT:USDT", "BTC/USDT"}


async def test_a_market_that_is_gone_is_gone_after_a_refresh() -> None:
    venue = both()
    keeper = CatalogueKeeper(venue, cache_dir=None)
    await keeper.refresh()
    venue.groups["spot"] = []
    await keeper.refresh()
    with pytest.raises(BadSymbol):
        keeper.current().resolve("BTC/USDT", market="spot")


async def test_our_own_bug_costs_its_group_alone_and_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bug = RuntimeError("ours")
    keeper = CatalogueKeeper(ListingVenue(linear=bug, spot=[listed("BTC", spot=True)]), cache_dir=None)
    assert not await keeper.refresh()
    assert symbols(keeper) == {"BTC/USDT"}
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [bug]


async def test_a_failure_of_the_venues_is_logged_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    await CatalogueKeeper(ListingVenue(linear=AWAY, spot=[]), cache_dir=None).refresh()
    assert [(record.message, record.exc_info) for record in caplog.records] == [("catalogue_failed", None)]


# -- run ---------------------------------------------------------------------------------------------------------------


async def test_it_loads_at_start_and_refreshes_once_an_hour() -> None:
    venue = both()
    async with running(CatalogueKeeper(venue, cache_dir=None)):
        await asyncio.sleep(2.5 * REFRESH)
    times = [time for group, time in venue.asked if group == "spot"]
    assert [round(time - times[0]) for time in times] == [0, REFRESH, 2 * REFRESH]


async def test_while_a_group_fails_it_is_asked_more_often_and_ever_more_slowly() -> None:
    venue = ListingVenue(linear=[listed("BTC")], spot=AWAY)
    async with running(CatalogueKeeper(venue, cache_dir=None)):
        await venue.until(lambda: len(venue.asked) == 18)
    times = [time for group, time in venue.asked if group == "spot"]
    pauses = [round(later - before) for before, later in pairwise(times)]
    assert pauses == [FIRST_RETRY, 2, 4, 8, 16, 32, LONGEST_RETRY, LONGEST_RETRY]


async def test_after_a_success_the_next_failure_is_tried_again_soon() -> None:
    venue = ListingVenue(linear=[], spot=AWAY)
    async with running(CatalogueKeeper(venue, cache_dir=None)):
        await venue.until(lambda: len(venue.asked) == 8)
        venue.groups["spot"] = []
        await venue.until(lambda: len(venue.asked) == 10)
        venue.groups["spot"] = AWAY
        await asyncio.sleep(REFRESH + 2 * FIRST_RETRY)
    times = [time for group, time in venue.asked if group == "spot"]
    assert round(times[-1] - times[-2]) == FIRST_RETRY


async def test_whoever_waits_for_the_first_load_is_woken() -> None:
    keeper = CatalogueKeeper(both(), cache_dir=None)
    async with running(keeper), asyncio.timeout(PATIENCE):
        await keeper.loaded.wait()
    assert len(keeper.current()) == 2


# -- the cache ---------------------------------------------------------------------------------------------------------


async def recalled(folder: Path) -> CatalogueKeeper:
    """A keeper that has started with what the disk holds, while the venue is away."""
    venue = ListingVenue(linear=AWAY, spot=AWAY)
    keeper = CatalogueKeeper(venue, cache_dir=folder)
    async with running(keeper):
        await venue.until(lambda: len(venue.asked) == 2)
    return keeper


async def test_after_a_restart_the_last_catalogue_is_recalled_while_the_venue_is_away(tmp_path: Path) -> None:
    folder = tmp_path / "not yet" / "there"
    before = CatalogueKeeper(both(), cache_dir=folder)
    await before.refresh()
    after = await recalled(folder)
    assert dict(after.current().by_symbol) == dict(before.current().by_symbol)
    assert after.loaded.is_set()


async def test_what_was_remembered_of_another_source_is_not_recalled(tmp_path: Path) -> None:
    await CatalogueKeeper(both(), cache_dir=tmp_path, source="http://127.0.0.1:8788").refresh()
    keeper = await recalled(tmp_path)
    assert not keeper.loaded.is_set()


async def test_a_group_that_never_loaded_again_survives_the_next_save(tmp_path: Path) -> None:
    await CatalogueKeeper(both(), cache_dir=tmp_path).refresh()
    venue = ListingVenue(linear=[listed("ETH")], spot=AWAY)
    async with running(CatalogueKeeper(venue, cache_dir=tmp_path)):
        await venue.until(lambda: len(venue.asked) == 4)
    assert symbols(await recalled(tmp_path)) == {"ETH/USDT:USDT", "BTC/USDT"}


async def test_nothing_is_saved_when_nothing_loaded(tmp_path: Path) -> None:
    await CatalogueKeeper(ListingVenue(linear=AWAY, spot=AWAY), cache_dir=tmp_path).refresh()
    assert not (tmp_path / "instruments-toy.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"linear":[', id="cut short"),
        pytest.param(b"\xff\xfe", id="not text"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"linear":[]}', id="another version's"),
        pytest.param(b'{"source":"","groups":{"linear":5}}', id="a number for a group"),
        pytest.param(b'{"source":"","groups":{"linear":[5]}}', id="a number for an instrument"),
        pytest.param(b'{"source":"","groups":{"linear":[{"symbol":"BTC/USDT"}]}}', id="fields missing"),
        pytest.param(b'{"source":"","groups":{"linear":[{"colour":"red"}]}}', id="fields too many"),
    ],
)
async def test_a_cache_that_cannot_be_read_is_ignored(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "instruments-toy.json").write_bytes(content)
    keeper = await recalled(tmp_path)
    assert not keeper.loaded.is_set()
    assert "catalogue_not_read" in [record.message for record in caplog.records]


async def test_a_cache_that_cannot_be_read_is_replaced_by_the_next_good_one(tmp_path: Path) -> None:
    (tmp_path / "instruments-toy.json").write_bytes(b"rubbish")
    await CatalogueKeeper(both(), cache_dir=tmp_path).refresh()
    assert symbols(await recalled(tmp_path)) == {"BTC/USDT:USDT", "BTC/USDT"}


async def test_a_folder_that_cannot_be_written_costs_the_cache_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_bytes(b"a file where a folder should be")
    keeper = CatalogueKeeper(both(), cache_dir=tmp_path / "taken")
    assert await keeper.refresh()
    assert len(keeper.current()) == 2
    assert "catalogue_not_saved" in [record.message for record in caplog.records]
