"""How the address of a Redis Cluster is read, and the map that its servers tell."""

from typing import Any

import pytest

from topics.shards import Address, ClusterUrl, Map, read

ASKED = Address("asked", 7_000)


@pytest.mark.parametrize(
    ("url", "seeds", "server"),
    [
        ("redis+cluster://one", [("one", 6_379)], "redis://far:9/0"),
        ("redis+cluster://one:1,two:2/", [("one", 1), ("two", 2)], "redis://far:9/0"),
        ("rediss+cluster://user:p%40ss@one,two:2", [("one", 6_379), ("two", 2)], "rediss://user:p%40ss@far:9/0"),
        ("redis+cluster://:word@[::1]:1/0?protocol=2", [("::1", 1)], "redis://:word@far:9/0?protocol=2"),
    ],
)
def test_an_address_of_a_cluster_names_some_of_its_servers_and_how_all_are_reached(
    url: str, seeds: list[tuple[str, int]], server: str
) -> None:
    found = ClusterUrl.of(url)

    assert found is not None
    assert found.seeds == seeds
    assert found.server(Address("far", 9)) == server


def test_a_server_that_is_named_by_its_ipv6_address_is_written_in_brackets() -> None:
    found = ClusterUrl.of("redis+cluster://one")

    assert found is not None
    assert found.server(Address("fe80::1", 7_000)) == "redis://[fe80::1]:7000/0"


@pytest.mark.parametrize("url", ["redis://one", "redis+sentinel://one/ours", "unix:///run/redis.sock"])
def test_other_addresses_are_no_clusters(url: str) -> None:
    assert ClusterUrl.of(url) is None


@pytest.mark.parametrize("name", [b"", None, b"?"])
def test_a_server_that_cannot_name_itself_is_where_it_was_asked(name: bytes | None) -> None:
    assert read([[0, 16_383, [name, 7_001, b"id"]]], asked=ASKED) == Map(
        [(0, 16_383, Address("asked", 7_001))], [Address("asked", 7_001)]
    )


def test_a_map_names_the_primary_of_each_range_and_all_servers_once() -> None:
    one, two, three = ([b"10.0.0.%d" % number, 7_000, b"id", []] for number in (1, 2, 3))
    answer = [[0, 99, one, two], [100, 199, three], [300, 300, one, two]]
    found = read(answer, asked=ASKED)

    assert [(first, last, address.host) for first, last, address in found.ranges] == [
        (0, 99, "10.0.0.1"),
        (100, 199, "10.0.0.3"),
        (300, 300, "10.0.0.1"),
    ]
    assert [address.host for address in found.servers] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


@pytest.mark.parametrize("answer", [[], ()])
def test_a_map_in_which_no_slot_is_given_to_anybody_is_none(answer: Any) -> None:
    with pytest.raises(ValueError, match="no slot"):
        read(answer, asked=ASKED)
