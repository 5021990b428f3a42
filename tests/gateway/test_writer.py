"""One client's socket as a subscriber: one write a turn, a bound on what is owed, and the end of those who stall."""

import asyncio
from collections.abc import Callable

import pytest

from exchanges.errors import GatewayError, SubscribeFailed
from gateway import metrics
from gateway.writer import PING_FRAME, Writer
from tests.topics.reader import Turns
from topics.fanout import WRITES_PER_TURN, Fanout
from topics.frame import frame
from topics.key import TopicKey

MAX_PENDING = 1_000
KEY = TopicKey("scripted", "trades", "BTC/USDT", ())


class Connection:
    """Implements ``writer.Connection``; remembers each write."""

    def __init__(self) -> None:
        self.last_received = asyncio.get_running_loop().time()
        self.buffered = 0
        self.writes: list[bytes] = []
        self.cuts: list[tuple[int, str]] = []
        self.gone: Callable[[], None] = lambda: None  # as the protocol tells its sink

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def cut(self, code: int, reason: str) -> None:
        self.cuts.append((code, reason))
        self.gone()


class Client:
    """A writer, its connection, and the turns in which it writes."""

    def __init__(self, *, max_pending: int = MAX_PENDING) -> None:
        self.turns = Turns()
        self.connection = Connection()
        self.failures: list[tuple[TopicKey, GatewayError, bool]] = []
        self.writer = Writer(
            self.connection,
            self.turns.tick,
            max_pending=max_pending,
            failed=lambda key, error, gone: self.failures.append((key, error, gone)),
        )
        self.connection.gone = self.writer.gone

    def check(self, *, silent: float) -> None:
        """The round of every second, ``silent`` seconds after the client's last byte."""
        now = self.connection.last_received + silent
        self.writer.check(now, stall=10.0, ping_interval=20.0, ping_timeout=20.0)


@pytest.fixture
async def client() -> Client:
    return Client()


@pytest.fixture
def now(client: Client) -> float:
    return client.connection.last_received


async def test_everything_of_a_turn_is_one_write(client: Client) -> None:
    for data in (b"1", b"2", b"3"):
        client.writer.push(data)

    client.turns.take()

    assert client.connection.writes == [b"123"]


async def test_frames_of_several_topics_are_one_write_too(client: Client) -> None:
    topics = [Fanout(client.turns.tick) for _ in range(3)]
    for number, topic in enumerate(topics):
        topic.add(client.writer)
        topic.send(b"%d" % number)
        topic.send(b"%d" % number)

    client.turns.take()

    assert client.connection.writes == [b"001122"]


async def test_two_turns_are_two_writes_in_order(client: Client) -> None:
    for data in (b"1", b"2"):
        client.writer.push(data)
        client.turns.take()

    assert client.connection.writes == [b"1", b"2"]


async def test_nothing_is_written_before_the_end_of_the_turn(client: Client) -> None:
    client.writer.push(b"1")

    assert client.connection.writes == []


async def test_nothing_is_written_while_paused(client: Client) -> None:
    client.writer.paused()

    client.writer.push(b"1")
    client.turns.take()

    assert client.connection.writes == []


async def test_a_pause_within_a_turn_holds_for_its_write(client: Client) -> None:
    client.writer.push(b"1")
    client.writer.paused()

    client.turns.take()

    assert client.connection.writes == []


async def test_what_was_held_is_written_once_when_the_client_drains(client: Client) -> None:
    client.writer.paused()
    for data in (b"1", b"2"):
        client.writer.push(data)
        client.turns.take()

    client.writer.resumed()
    client.turns.take_all()

    assert client.connection.writes == [b"12"]


async def test_what_comes_as_the_client_drains_goes_along(client: Client) -> None:
    client.writer.paused()
    client.writer.push(b"1")

    client.writer.resumed()
    client.writer.push(b"2")
    client.turns.take_all()

    assert client.connection.writes == [b"12"]


async def test_a_client_of_many_frames_takes_one_place_among_the_writes_of_a_turn(client: Client) -> None:
    others: list[str] = []
    for _ in range(WRITES_PER_TURN):
        client.writer.push(b"x")
    client.turns.tick.write(lambda: others.append("written"))

    client.turns.take()

    assert others == ["written"]


async def test_draining_without_anything_owed_writes_nothing(client: Client) -> None:
    client.writer.paused()

    client.writer.resumed()

    assert (client.turns.take(), client.connection.writes) == (False, [])


async def test_a_pause_and_a_resume_within_a_turn_write_once(client: Client) -> None:
    client.writer.push(b"1")
    client.writer.paused()
    client.writer.resumed()

    client.turns.take_all()

    assert client.connection.writes == [b"1"]


@pytest.mark.parametrize(
    ("buffered", "owed", "cut"), [(0, 1_000, False), (0, 1_001, True), (600, 400, False), (600, 401, True)]
)
async def test_a_client_that_is_owed_too_much_is_cut(client: Client, buffered: int, owed: int, cut: bool) -> None:
    client.writer.paused()
    client.connection.buffered = buffered

    client.writer.push(b"x" * (owed - 1))
    client.writer.push(b"x")

    assert [code for code, _ in client.connection.cuts] == ([4101] if cut else [])
    assert client.writer.closed is cut


async def test_the_most_that_was_ever_owed_to_one_client_is_remembered() -> None:
    most = Writer.peak + 1
    client = Client(max_pending=most)

    for size in (most, 1):
        client.writer.push(b"x" * size)
        client.turns.take()

    (peak,) = metrics.PENDING_PEAK.collect()
    assert (Writer.peak, peak.samples[0].value) == (most, most)


async def test_what_was_written_is_owed_no_more(client: Client) -> None:
    for _ in range(5):
        client.writer.push(b"x" * MAX_PENDING)
        client.turns.take()

    assert (client.connection.cuts, len(client.connection.writes)) == ([], 5)


async def test_nothing_is_written_after_a_cut(client: Client) -> None:
    client.writer.push(b"1")
    client.writer.cut(4101, "slow")

    client.writer.push(b"2")
    client.writer.resumed()
    client.turns.take()

    assert client.connection.writes == []


async def test_nothing_is_written_after_the_client_has_gone(client: Client) -> None:
    client.writer.push(b"1")
    client.writer.gone()

    client.turns.take()
    client.writer.push(b"2")

    assert (client.turns.take(), client.connection.writes) == (False, [])


async def test_a_client_is_cut_once(client: Client) -> None:
    client.writer.cut(4101, "slow")
    client.writer.cut(4100, "silent")

    assert client.connection.cuts == [(4101, "slow")]


@pytest.mark.parametrize(("seconds", "codes"), [(9.9, []), (10.1, [4101])])
async def test_a_client_that_reads_nothing_for_the_stall_time_is_cut(
    client: Client, now: float, seconds: float, codes: list[int]
) -> None:
    client.writer.paused()

    client.check(silent=asyncio.get_running_loop().time() - now + seconds)

    assert [code for code, _ in client.connection.cuts] == codes


async def test_a_client_that_drained_in_time_has_all_its_time_again(client: Client, now: float) -> None:
    client.writer.paused()
    client.writer.resumed()

    client.check(silent=11.0)

    assert client.connection.cuts == []


@pytest.mark.parametrize(
    ("silent", "pings", "codes"),
    [(0.0, 0, []), (19.9, 0, []), (20.0, 1, []), (39.9, 1, []), (40.0, 0, [4100]), (1_000.0, 0, [4100])],
)
async def test_a_silent_client_is_pinged_and_one_that_does_not_answer_is_cut(
    client: Client, silent: float, pings: int, codes: list[int]
) -> None:
    client.check(silent=silent)

    assert client.connection.writes == [PING_FRAME] * pings
    assert [code for code, _ in client.connection.cuts] == codes


async def test_a_client_that_speaks_is_never_pinged(client: Client) -> None:
    for _ in range(100):
        client.connection.last_received += 1.0
        client.check(silent=1.0)

    assert client.connection.writes == []


async def test_a_client_that_has_gone_is_not_pinged(client: Client) -> None:
    client.writer.gone()

    client.check(silent=25.0)

    assert client.connection.writes == []


async def test_a_ping_is_an_empty_ping_frame() -> None:
    assert frame(b"", 9) == PING_FRAME == b"\x89\x00"


async def test_a_write_is_remembered_for_the_heartbeat(client: Client) -> None:
    created = client.writer.sent_at
    client.writer.push(b"1")
    before = client.writer.sent_at

    client.turns.take()

    assert created == before < client.writer.sent_at


async def test_a_topics_failure_goes_to_the_session(client: Client) -> None:
    error = SubscribeFailed("no")

    client.writer.failed(KEY, error, gone=True)

    assert client.failures == [(KEY, error, True)]
