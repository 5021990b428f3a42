"""Which feeds run: one for all who want the same, from the first subscriber until the linger time after the last."""

import asyncio
from itertools import pairwise

import pytest

from exchanges.catalogue import CatalogueKeeper
from exchanges.errors import (
    SubscribeFailed,
    SubscriptionLimit,
    UnsupportedExchange,
    UpstreamCapacity,
    VenueUnavailable,
)
from exchanges.instrument import Instrument
from exchanges.venue import Channel
from tests.topics.reader import Reader, turns
from tests.topics.scripted_venue import (
    EPOCH_MS,
    SYMBOL,
    ScriptedPool,
    ScriptedVenue,
    book,
    exchange,
    instrument,
    trades,
)
from topics.books import MAX_VIEWS
from topics.key import TopicKey
from topics.manager import MAX_REFUSED, REFUSED_FOR, Exchange, Manager
from topics.upstream import Upstream

LINGER = 30.0  # as the manager of these tests has it


def resolved(
    manager: Manager, channel: Channel = "trades", symbol: str = SYMBOL, **params: object
) -> tuple[TopicKey, Instrument]:
    return manager.resolve(channel, None, symbol, params)


def start(manager: Manager, channel: Channel = "trades", symbol: str = SYMBOL, **params: object) -> Upstream:
    return manager.start(*resolved(manager, channel, symbol, **params))


async def subscribe(
    manager: Manager, channel: Channel = "trades", symbol: str = SYMBOL, **params: object
) -> tuple[Upstream, TopicKey, Reader]:
    key, instrument = resolved(manager, channel, symbol, **params)
    upstream, reader = manager.start(key, instrument), Reader()
    await upstream.audience.join(key, reader, snapshot=False, rewind=0)
    return upstream, key, reader


def test_an_exchange_that_is_not_named_is_the_default_one(manager: Manager) -> None:
    assert manager.exchange(None) is manager.exchange("scripted")


def test_an_unknown_exchange_is_refused_with_those_there_are(manager: Manager) -> None:
    with pytest.raises(UnsupportedExchange) as caught:
        manager.exchange("mtgox")

    assert caught.value.details == {"field": "exchange", "supported": ["scripted"]}


async def test_a_default_exchange_that_is_not_offered_gives_way_to_the_first(pool: ScriptedPool) -> None:
    one = await exchange(ScriptedVenue(name="one"), pool)

    assert Manager({"one": one}, default_exchange="hyperliquid").default_exchange == "one"


async def test_without_a_catalogue_no_symbol_is_resolved(venue: ScriptedVenue, pool: ScriptedPool) -> None:
    empty = Exchange(venue=venue, catalogue=CatalogueKeeper(venue, cache_dir=None), pool=pool)
    manager = Manager({"scripted": empty})

    with pytest.raises(VenueUnavailable) as caught:
        resolved(manager)

    assert (caught.value.retryable, empty.condition.state) == (True, "connecting")


async def test_all_who_want_the_same_share_one_feed(manager: Manager, pool: ScriptedPool) -> None:
    upstreams = {(await subscribe(manager))[0] for _ in range(5)}

    assert (len(upstreams), pool.opened) == (1, ["BTCUSDT@trades"])


async def test_two_that_ask_before_the_feed_has_opened_share_it(manager: Manager, pool: ScriptedPool) -> None:
    assert start(manager) is start(manager, symbol="BTCUSDT")
    assert len(pool.opened) == 1


async def test_all_depths_of_a_book_share_one_feed(manager: Manager, pool: ScriptedPool) -> None:
    first, *others = [(await subscribe(manager, "orderbook", levels=levels))[0] for levels in (1, 5, 20)]

    assert (others, pool.opened) == ([first, first], ["BTCUSDT@orderbook"])


async def test_other_streams_are_other_feeds(manager: Manager, pool: ScriptedPool) -> None:
    for name in ("aggTrade", "trade"):
        await subscribe(manager, "trades", name=name)
    await subscribe(manager, "ohlcv", timeframe="5m")

    assert pool.opened == ["BTCUSDT@trades", "BTCUSDT@trades@trade", "BTCUSDT@ohlcv@5m"]


async def test_a_running_feed_is_found_for_a_depth_that_nobody_has(manager: Manager) -> None:
    upstream, _, _ = await subscribe(manager, "orderbook", levels=1)

    assert manager.upstream(*resolved(manager, "orderbook", levels=5)) is upstream
    assert manager.upstream(*resolved(manager, "trades")) is None


async def test_a_feed_lingers_after_its_last_subscriber_and_then_ends(manager: Manager, pool: ScriptedPool) -> None:
    _, key, reader = await subscribe(manager)
    manager.leave(key, reader)
    left = asyncio.get_running_loop().time()

    manager.check(left + LINGER - 1)
    lingering = list(pool.listeners)
    manager.check(left + LINGER + 1)

    assert (lingering, list(pool.listeners), list(manager.upstreams())) == (["BTCUSDT@trades"], [], [])


async def test_who_comes_back_in_time_keeps_the_feed(manager: Manager, pool: ScriptedPool) -> None:
    first, key, reader = await subscribe(manager)
    manager.leave(key, reader)
    left = asyncio.get_running_loop().time()
    again, _, _ = await subscribe(manager)

    manager.check(left + 10 * LINGER)

    assert (again is first, len(pool.opened), len(pool.listeners)) == (True, 1, 1)


async def test_a_feed_lingers_for_all_depths_of_its_book(manager: Manager, pool: ScriptedPool) -> None:
    _, key, reader = await subscribe(manager, "orderbook", levels=1)
    await subscribe(manager, "orderbook", levels=5)
    manager.leave(key, reader)

    manager.check(asyncio.get_running_loop().time() + 10 * LINGER)

    assert len(pool.listeners) == 1


async def test_a_feed_that_nobody_ever_joined_ends_too(manager: Manager, pool: ScriptedPool) -> None:
    start(manager)

    manager.check(asyncio.get_running_loop().time() + LINGER + 1)

    assert pool.sockets == 0


async def test_leaving_what_does_not_run_changes_nothing(manager: Manager) -> None:
    key, _ = resolved(manager)

    manager.leave(key, Reader())

    assert list(manager.upstreams()) == []


async def test_a_feed_that_ended_gives_its_bytes_back(manager: Manager, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 100)
    upstream, key, reader = await subscribe(manager)
    upstream.on_state("live", "")
    await turns()
    held = manager.budget.used

    manager.leave(key, reader)
    manager.check(asyncio.get_running_loop().time() + LINGER + 1)
    await turns()

    assert (held > 0, manager.budget.used) == (True, 0)


async def test_a_node_runs_a_bounded_number_of_feeds(manager: Manager) -> None:
    for symbol in (SYMBOL, "ETH/USDT:USDT"):
        await subscribe(manager, symbol=symbol)
    await subscribe(manager, "ohlcv")

    with pytest.raises(UpstreamCapacity) as caught:
        await subscribe(manager, "orderbook")

    assert (caught.value.retryable, caught.value.retry_after) == (True, LINGER)
    assert await subscribe(manager)  # what runs is still shared


async def test_a_venue_without_room_leaves_nothing_behind(manager: Manager, pool: ScriptedPool) -> None:
    pool.error = UpstreamCapacity("all sockets are full")
    with pytest.raises(UpstreamCapacity):
        start(manager)
    pool.error = None

    assert manager.upstream(*resolved(manager)) is None
    assert start(manager).state == "connecting"


async def test_a_book_of_too_many_views_refuses_the_next_and_keeps_the_others(manager: Manager) -> None:
    upstream, _, _ = await subscribe(manager, "orderbook", levels=1)
    upstream.on_state("live", "")
    upstream.on_book(book(1), EPOCH_MS)
    await turns()
    for levels in range(2, MAX_VIEWS + 2):
        await subscribe(manager, "orderbook", levels=levels)

    with pytest.raises(SubscriptionLimit):
        start(manager, "orderbook", levels=30)

    assert len(upstream.audience) == MAX_VIEWS + 1


async def test_a_refused_start_is_told_to_those_who_asked_and_the_topic_is_gone(
    manager: Manager, pool: ScriptedPool
) -> None:
    _, key, first = await subscribe(manager)
    _, _, second = await subscribe(manager)
    _, _, other = await subscribe(manager, symbol="ETH/USDT:USDT")

    pool.listeners["BTCUSDT@trades"].on_refused(SubscribeFailed("no such stream"))

    told = [[(k, error.code, gone) for k, error, gone in reader.errors] for reader in (first, second, other)]
    assert told == [[(key, "SUBSCRIBE_FAILED", True)], [(key, "SUBSCRIBE_FAILED", True)], []]
    assert manager.upstream(*resolved(manager)) is None
    assert list(pool.listeners) == ["ETHUSDT@trades"]


@pytest.mark.jumping_clock
async def test_what_was_refused_is_asked_for_again_only_after_a_while(manager: Manager, pool: ScriptedPool) -> None:
    await subscribe(manager)
    pool.listeners["BTCUSDT@trades"].on_refused(SubscribeFailed("not yet"))

    await asyncio.sleep(REFUSED_FOR - 1.0)
    with pytest.raises(SubscribeFailed, match="not yet"):
        await subscribe(manager)
    await asyncio.sleep(1.1)
    upstream, _, reader = await subscribe(manager)

    assert (upstream.state, reader.errors, len(pool.opened)) == ("connecting", [], 2)


async def test_a_bounded_number_of_refusals_is_remembered(venue: ScriptedVenue, pool: ScriptedPool) -> None:
    venue.instruments = [instrument(f"C{number}/USDT:USDT") for number in range(MAX_REFUSED + 1)]
    manager = Manager({"scripted": await exchange(venue, pool)})
    for one in venue.instruments:
        start(manager, "trades", one.symbol)
        pool.listeners[f"{one.venue_symbol}@trades"].on_refused(SubscribeFailed("no"))

    with pytest.raises(SubscribeFailed):
        start(manager, "trades", venue.instruments[0].symbol)
    start(manager, "trades", venue.instruments[-1].symbol)

    assert len(pool.opened) == MAX_REFUSED + 2
    await manager.aclose()


async def test_epochs_only_rise_also_when_the_clock_stands_or_goes_back(
    venue: ScriptedVenue, pool: ScriptedPool
) -> None:
    times = iter([1_000, 1_000, 900, 5_000])
    manager = Manager({"scripted": await exchange(venue, pool)}, clock_ms=lambda: next(times))
    streams: list[tuple[Channel, str]] = [("trades", SYMBOL), ("ohlcv", SYMBOL), ("orderbook", SYMBOL)]

    epochs = [start(manager, channel, symbol).cursor.epoch for channel, symbol in streams]
    epochs.append(start(manager, "trades", "ETH/USDT:USDT").cursor.epoch)

    assert (epochs[0], epochs[-1]) == (1_000, 5_000)
    assert all(earlier < later for earlier, later in pairwise(epochs))
    await manager.aclose()


async def test_a_feed_that_starts_again_has_a_higher_epoch(manager: Manager) -> None:
    first, key, reader = await subscribe(manager)
    manager.leave(key, reader)
    manager.check(asyncio.get_running_loop().time() + LINGER + 1)

    again, _, _ = await subscribe(manager)

    assert again.cursor.epoch > first.cursor.epoch  # although the clock of these tests stands


async def test_who_leaves_a_feed_that_started_again_leaves_that_one(manager: Manager, pool: ScriptedPool) -> None:
    _, key, reader = await subscribe(manager)
    manager.leave(key, reader)
    manager.check(asyncio.get_running_loop().time() + LINGER + 1)
    again, _, reader = await subscribe(manager)

    manager.leave(key, reader)
    manager.check(asyncio.get_running_loop().time() + LINGER + 1)

    assert (len(again.audience), pool.sockets) == (0, 0)


async def test_who_waits_too_long_is_told_in_the_round_of_every_second(manager: Manager) -> None:
    _, _, reader = await subscribe(manager)

    manager.check(asyncio.get_running_loop().time() + 11.0)

    assert [(error.code, gone) for _, error, gone in reader.errors] == [("UPSTREAM_ERROR", False)]


@pytest.mark.jumping_clock
async def test_the_round_comes_every_second(manager: Manager, pool: ScriptedPool) -> None:
    start(manager)
    rounds = asyncio.create_task(manager.run())

    await asyncio.sleep(LINGER + 2)
    rounds.cancel()

    assert pool.sockets == 0


async def test_closing_ends_every_feed_and_waits_for_the_end(
    manager: Manager, pool: ScriptedPool, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    upstream, _, _ = await subscribe(manager)
    upstream.on_state("live", "")
    await turns()
    await subscribe(manager, "orderbook")
    held = manager.budget.used

    await manager.aclose()

    assert (pool.sockets, list(manager.upstreams()), held > 0, manager.budget.used) == (0, [], True, 0)


@pytest.mark.parametrize(("opened", "connected", "state"), [(0, 0, "idle"), (1, 0, "reconnecting"), (1, 1, "live")])
async def test_an_exchanges_state_is_that_of_its_sockets(
    manager: Manager, pool: ScriptedPool, opened: int, connected: int, state: str
) -> None:
    if opened:
        start(manager)
    pool.connected = connected

    assert manager.exchange(None).condition.state == state


async def test_an_exchange_that_told_us_to_stay_away_is_unavailable_for_as_long(
    manager: Manager, pool: ScriptedPool
) -> None:
    start(manager)
    pool.connected = 1
    pool.breaker.open(90.0, status=429)

    condition = manager.exchange(None).condition

    assert (condition.state, condition.reason) == ("unavailable", "rate limited")
    assert condition.retry_in == pytest.approx(90.0, abs=1.0)


async def test_a_change_of_an_exchange_is_told_once_to_each_who_has_a_topic_of_it(
    manager: Manager, pool: ScriptedPool
) -> None:
    reader, base = Reader(extended=True), Reader()
    for channel in ("trades", "ohlcv"):
        key, instrument = resolved(manager, channel)
        for one in (reader, base):
            await manager.start(key, instrument).audience.join(key, one, snapshot=False, rewind=0)
    pool.connected = 1
    manager.check(0.0)

    pool.connected = 0
    manager.check(1.0)
    manager.check(2.0)
    await turns()

    (status,) = reader.messages
    assert (status["scope"], status["exchange"], status["previous"], status["state"], status["reason"]) == (
        "exchange",
        "scripted",
        "live",
        "reconnecting",
        "no connection",
    )
    assert base.payloads == []
