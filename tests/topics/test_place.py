"""Where feeds are kept in Redis, and how its address is read."""

from typing import Any

import pytest

from tests.topics.scripted_venue import ScriptedVenue, instrument, topic_key
from topics.place import Place, connect, place_of, slot_of

VENUE = ScriptedVenue()


def test_all_keys_of_a_feed_have_the_same_text_in_braces_and_so_one_slot() -> None:
    place = place_of(topic_key("trades"), VENUE.stream("trades", instrument(), {}))

    assert len(set(place)) == len(place)
    assert {key[: key.index("}") + 1] for key in place} == {
        "market-gateway:{scripted/trades/BTC/USDT:USDT/BTCUSDT@trades}"
    }


def test_the_slot_of_a_feed_is_that_of_the_text_in_braces() -> None:
    place = Place(*(f"anything:{{123456789}}:{name}" for name in Place._fields))

    assert slot_of(place) == 0x31C3  # the example of the cluster specification


def test_all_depths_of_a_book_are_kept_in_one_place_and_other_streams_in_others() -> None:
    book = VENUE.stream("orderbook", instrument(), {})
    minutes, hours = (VENUE.stream("ohlcv", instrument(), {"timeframe": timeframe}) for timeframe in ("1m", "1h"))
    depths = {place_of(topic_key("orderbook", levels=levels), book) for levels in (5, 20)}
    others = {
        place_of(topic_key("ohlcv", timeframe="1m"), minutes),
        place_of(topic_key("ohlcv", timeframe="1h"), hours),
    }

    assert (len(depths), len(others), depths & others) == (1, 2, set())


@pytest.mark.parametrize(
    ("url", "sentinels", "service", "login", "database"),
    [
        ("redis+sentinel://one/ours", [("one", 26_379)], "ours", (None, None), 0),
        (
            "redis+sentinel://user:p%40ss@one:1,two/ours/3",
            [("one", 1), ("two", 26_379)],
            "ours",
            ("user", "p@ss"),
            3,
        ),
    ],
)
def test_an_address_of_sentinels_names_them_the_service_and_who_asks(
    url: str, sentinels: list[tuple[str, int]], service: str, login: tuple[str | None, str | None], database: int
) -> None:
    pool: Any = connect(url, timeout=1.0).connection_pool
    asked = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    options = pool.connection_kwargs

    assert [(one["host"], one["port"]) for one in asked] == sentinels
    assert pool.service_name == service
    assert (options["username"], options["password"]) == login
    assert options["db"] == database


@pytest.mark.parametrize("bounded", [True, False])
def test_connecting_is_bounded_always_and_commands_where_nobody_else_does_it(bounded: bool) -> None:
    options: Any = connect("redis://localhost", timeout=0.5, bounded=bounded).connection_pool.connection_kwargs

    assert (options["socket_connect_timeout"], options["socket_timeout"]) == (0.5, 0.5 if bounded else None)
