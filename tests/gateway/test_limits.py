"""Who may come in and how often somebody may ask, by a clock that the test turns."""

import ipaddress
import resource
from collections.abc import Sequence

import pytest

from gateway.limits import Addresses, Bucket, Commands, Door, Proxies, Requests

PEER = ("127.0.0.1", 1)


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -- buckets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pauses", "waits"),
    [
        ([0, 0, 0], [0.0, 0.0, 0.0]),
        ([0, 0, 0, 0, 0], [0.0, 0.0, 0.0, 0.5, 1.0]),  # who does not wait owes ever more
        ([0, 0, 0, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0, 0.0]),
        ([0, 0, 0, 0.25], [0.0, 0.0, 0.0, 0.25]),
        ([0, 0, 0, 1_000, 0, 0, 0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]),  # it never holds more than its burst
    ],
)
def test_a_bucket_gives_its_burst_at_once_and_then_its_rate(
    clock: Clock, pauses: list[float], waits: list[float]
) -> None:
    bucket = Bucket(2.0, 3, clock=clock)
    got = []

    for pause in pauses:
        clock.now += pause
        got.append(bucket.take())

    assert got == waits


def test_a_token_that_is_not_there_is_not_spent(clock: Clock) -> None:
    bucket = Bucket(2.0, 1, clock=clock)

    first = [bucket.try_take() for _ in range(10)]
    clock.now += 0.5
    then = [bucket.try_take() for _ in range(2)]

    assert (first, then) == ([True] + [False] * 9, [True, False])


# -- the door ----------------------------------------------------------------------------------------------------------


def test_the_door_lets_in_as_many_as_there_are_places(clock: Clock) -> None:
    door = Door(connections=2, accept_rate=1_000, accept_burst=1_000, clock=clock)

    answers = [door.admit(PEER) for _ in range(3)]
    door.left(PEER)

    assert answers == [None, None, "this node serves at most 2 connections"]
    assert (door.admit(PEER), door.inside) == (None, 2)


def test_the_door_lets_in_only_so_many_a_second(clock: Clock) -> None:
    door = Door(connections=100, accept_rate=10, accept_burst=3, clock=clock)

    at_once = [door.admit(PEER) is None for _ in range(5)]
    clock.now += 0.1
    later = [door.admit(PEER) is None for _ in range(2)]

    assert (at_once, later) == ([True, True, True, False, False], [True, False])
    assert door.admit(PEER) == "this node takes at most 10 new connections a second"


def test_who_finds_no_place_does_not_use_up_the_rate(clock: Clock) -> None:
    door = Door(connections=1, accept_rate=1, accept_burst=2, clock=clock)

    door.admit(PEER)
    for _ in range(100):
        door.admit(PEER)
    door.left(PEER)

    assert door.admit(PEER) is None


def test_the_door_never_promises_more_than_the_process_can_open(clock: Clock) -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    door = Door(connections=10 * files, accept_rate=1, accept_burst=1, clock=clock)

    assert files / 2 < door.most < files


def test_an_address_has_only_so_many_websockets_and_others_have_theirs() -> None:
    addresses = Addresses(2)

    entered = [addresses.enter(one) for one in ("a", "a", "a", "b")]
    addresses.leave("a")

    assert (entered, addresses.enter("a"), addresses.enter("a")) == ([True, True, False, True], True, False)


def test_an_address_has_any_number_of_websockets_where_that_is_not_limited() -> None:
    addresses = Addresses(0)

    assert all(addresses.enter("a") for _ in range(1_000))


# -- requests ----------------------------------------------------------------------------------------------------------


def test_each_address_has_its_own_rate_of_requests(clock: Clock) -> None:
    requests = Requests(rate=2.0, burst=2, clock=clock)

    waits = [requests.take(address) for address in ("a", "a", "a", "a", "b")]
    clock.now += 0.5

    assert (waits, requests.take("a"), requests.take("a")) == ([0.0, 0.0, 0.5, 0.5, 0.0], 0.0, 0.5)


def test_only_so_many_addresses_are_remembered_and_the_longest_unheard_of_is_forgotten(clock: Clock) -> None:
    requests = Requests(rate=1.0, burst=1, clock=clock, most=3)

    for address in ("old", "busy", "x"):
        requests.take(address)
    assert requests.take("old") > 0
    requests.take("new")  # in the place of "busy", the longest unheard of

    assert [requests.take(address) > 0 for address in ("old", "x", "new")] == [True, True, True]
    assert requests.take("busy") == 0.0


# -- commands ----------------------------------------------------------------------------------------------------------


def commands(clock: Clock, *, delays: int = 120) -> Commands:
    """As they are by default."""
    return Commands(rate=20.0, burst=100, delays=delays, refusals=20, clock=clock)


def hurry(some: Commands, clock: Clock, count: int) -> list[float | None]:
    """So many commands, each as soon as the one before it has had its turn."""
    waits = []
    for _ in range(count):
        wait = some.take()
        clock.now += wait or 0.0
        waits.append(None if wait is None else round(wait, 9))
    return waits


def test_a_burst_of_commands_is_carried_out_at_once(clock: Clock) -> None:
    assert hurry(commands(clock), clock, 100) == [0.0] * 100


def test_who_is_in_haste_is_slowed_down_to_the_rate_and_then_refused(clock: Clock) -> None:
    some = commands(clock, delays=40)

    waits = hurry(some, clock, 145)

    assert waits == [0.0] * 100 + [0.05] * 40 + [None] * 5
    assert (round(some.retry_after, 9), some.hopeless) == (0.05, False)


def test_who_does_not_listen_to_refusals_is_hopeless_at_the_last(clock: Clock) -> None:
    some = commands(clock, delays=0)
    hurry(some, clock, 100)

    hopeless = []
    for _ in range(20):
        some.take()
        hopeless.append(some.hopeless)

    assert hopeless == [False] * 19 + [True]


def test_who_keeps_to_the_rate_is_never_slowed_down(clock: Clock) -> None:
    some = commands(clock)
    waits = []

    for _ in range(1_000):
        clock.now += 0.0501
        waits.append(some.take())

    assert set(waits) == {0.0}


@pytest.mark.parametrize(("rest", "forgiven"), [(2.4, False), (2.6, True)])
def test_who_rests_until_half_of_its_burst_is_there_again_is_forgiven(
    clock: Clock, rest: float, forgiven: bool
) -> None:
    some = commands(clock, delays=0)
    hurry(some, clock, 119)  # one refusal before the end

    clock.now += rest
    hurry(some, clock, 53)

    assert some.hopeless is not forgiven


def test_refusals_between_commands_that_were_welcome_add_up(clock: Clock) -> None:
    some = commands(clock, delays=0)
    hurry(some, clock, 100)

    for _ in range(20):
        clock.now += 0.051
        assert some.take() == 0.0
        assert some.take() is None

    assert some.hopeless


# -- proxies -----------------------------------------------------------------------------------------------------------

TRUSTED = ("10.0.0.0/8", "192.168.1.1", "fd00::/8")
FORWARDED: dict[str, tuple[str, Sequence[str], str]] = {
    "no proxy": ("8.8.8.8", [], "8.8.8.8"),
    "a peer that is no proxy of ours may say what it likes": ("8.8.8.8", ["1.2.3.4"], "8.8.8.8"),
    "a proxy of ours": ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
    "a proxy of ours that says nothing": ("10.0.0.1", [], "10.0.0.1"),
    "what the client itself wrote before": ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
    "the client claims to be a proxy": ("10.0.0.1", ["10.9.9.9, 1.2.3.4"], "1.2.3.4"),
    "a chain of our proxies": ("10.0.0.1", ["6.6.6.6, 1.2.3.4, 192.168.1.1, 10.0.0.2"], "1.2.3.4"),
    "a chain on several lines": ("10.0.0.1", ["6.6.6.6, 1.2.3.4", "192.168.1.1", "10.0.0.2"], "1.2.3.4"),
    "a chain with a proxy of somebody else": ("10.0.0.1", ["1.2.3.4, 7.7.7.7, 10.0.0.2"], "7.7.7.7"),
    "nobody but proxies": ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    "version six": ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
    "no address at all": ("10.0.0.1", ["unknown"], "unknown"),
    "rubbish is kept short": ("10.0.0.1", ["x" * 10_000], "x" * 64),
}


@pytest.mark.parametrize("case", FORWARDED)
def test_only_the_word_of_our_own_proxies_is_taken_for_a_clients_address(case: str) -> None:
    peer, forwarded, address = FORWARDED[case]

    assert Proxies([ipaddress.ip_network(name) for name in TRUSTED]).client(peer, forwarded) == address


def test_without_proxies_of_ours_the_peer_is_the_client() -> None:
    assert Proxies().client("10.0.0.1", ["1.2.3.4"]) == "10.0.0.1"
