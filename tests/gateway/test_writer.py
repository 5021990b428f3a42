"""One client's socket as a subscriber: what it holds while it takes no more, and the end of those who stall.

Who gets which frames when is the tick's business (``tests/topics/test_fanout.py``); here a real tick stands behind the
writer, because what matters is what they do together.
"""

import asyncio
from collections.abc import Callable

import pytest

from exchanges.errors import GatewayError, SubscribeFailed
from gateway import metrics
from gateway.writer import PING_FRAME, SOFT_MARK, Writer
from tests.topics.reader import Turns
from topics.backlog import TradeBacklog
from topics.fanout import Fanout
from topics.frame import frame
from topics.key import Cursor, TopicKey

MAX_PENDING = SOFT_MARK + 1_000
KEY = TopicKey("scripted", "trades", "BTC/USDT", ())


class Connection:
    """Implements ``writer.Connection``; remembers each write."""

    def __init__(self) -> None:
        self.last_received = asyncio.get_running_loop().time()
        self.buffered = 0
        self.deflated = False
        self.descriptor = 7
        self.broken = False
        self.writes: list[bytes] = []
        self.cuts: list[tuple[int, str]] = []
        self.dismissals: list[tuple[int, str]] = []
        self.gone: Callable[[], None] = lambda: None  # as the protocol tells its sink

    def write(self, data: bytes) -> None:
        if self.broken:
            raise OSError("nobody is there")
        self.writes.append(data)

    def cut(self, code: int, reason: str) -> None:
        self.cuts.append((code, reason))
        self.gone()

    def dismiss(self, code: int, reason: str) -> None:
        self.dismissals.append((code, reason))
        self.gone()


class Client:
    """A writer, its connection, and the turns in which it writes."""

    def __init__(self, *, max_pending: int = MAX_PENDING) -> None:
        self.turns = Turns()
        self.topic = Fanout(self.turns.tick, TradeBacklog(KEY))
        self.sent = 0  # events of the topic
        self.connection = Connection()
        self.failures: list[tuple[TopicKey, GatewayError, bool]] = []
        self.writer = Writer(
            self.connection,
            self.turns.tick,
            max_pending=max_pending,
            failed=lambda key, error, gone: self.failures.append((key, error, gone)),
        )
        self.connection.gone = self.writer.gone

    def stop(self, buffered: int = SOFT_MARK + 1) -> None:
        """Its socket takes no more, and so much waits in the transport."""
        self.connection.buffered = buffered
        self.writer.paused()

    def check(self, *, silent: float = 0.0, stopped: float = 0.0) -> None:
        """The round of every second, so many seconds after the client's last byte or after its socket was full."""
        now = self.connection.last_received + silent
        if stopped:
            assert self.writer.stopped_at is not None
            now = self.writer.stopped_at + stopped
        self.writer.check(now, stall=10.0, lag=30.0, ping_interval=20.0, ping_timeout=20.0)

    def say(self, data: bytes) -> None:
        """An event of the topic."""
        self.sent += 1
        self.topic.send(Cursor(1, self.sent), frame(data))


@pytest.fixture
async def client() -> Client:
    return Client()


async def test_everything_of_a_turn_is_one_write(client: Client) -> None:
    for data in (b"1", b"2", b"3"):
        client.writer.push(data)

    client.turns.take()

    assert client.connection.writes == [b"123"]


async def test_two_turns_are_two_writes_in_order(client: Client) -> None:
    for data in (b"1", b"2"):
        client.writer.push(data)
        client.turns.take()

    assert client.connection.writes == [b"1", b"2"]


async def test_nothing_is_written_before_the_end_of_the_turn(client: Client) -> None:
    client.writer.push(b"1")

    assert client.connection.writes == []


async def test_an_answer_goes_out_although_the_socket_is_full(client: Client) -> None:
    client.stop()

    client.writer.push(b"1")
    client.turns.take()

    assert client.connection.writes == [b"1"]


async def test_what_a_topic_sends_waits_for_a_full_socket(client: Client) -> None:
    client.topic.add(client.writer)
    client.turns.take_all()
    client.stop()

    for data in (b"1", b"2"):
        client.say(data)
        client.turns.take_all()
    before = client.connection.writes[:]
    client.writer.resumed()
    client.turns.take_all()

    assert (before, client.connection.writes) == ([], [frame(b"1") + frame(b"2")])


async def test_a_client_whose_buffer_holds_little_goes_on_getting_everything_behind_it(client: Client) -> None:
    client.topic.add(client.writer)
    client.turns.take_all()
    tried = list[bytes]()
    client.turns.sockets[client.connection.descriptor] = lambda data: tried.append(data) or len(data)

    client.say(b"1")
    client.turns.take_all()
    client.stop(SOFT_MARK)
    client.say(b"2")
    client.turns.take_all()
    client.writer.resumed()
    client.say(b"3")
    client.turns.take_all()

    assert (tried, client.connection.writes) == ([frame(b"1"), frame(b"3")], [frame(b"2")])
    assert not client.writer.stopped


async def test_a_client_whose_buffer_passes_the_mark_is_behind(client: Client) -> None:
    client.topic.add(client.writer)
    client.turns.take_all()
    client.stop(SOFT_MARK)
    before = client.writer.stopped

    client.connection.buffered += 1
    client.say(b"1")
    client.turns.take_all()

    assert (before, client.writer.stopped) == (False, True)


async def test_who_waits_for_a_full_socket_goes_on_when_it_drains(client: Client) -> None:
    client.stop()
    waiting = asyncio.create_task(client.writer.ready())
    await asyncio.sleep(0)
    before = waiting.done()

    client.writer.resumed()
    async with asyncio.timeout(1.0):
        await waiting

    assert not before


async def test_who_waits_for_a_full_socket_goes_on_when_the_connection_ends(client: Client) -> None:
    client.stop()
    waiting = [asyncio.create_task(client.writer.ready()) for _ in range(2)]
    await asyncio.sleep(0)

    client.writer.cut(4101, "slow")

    async with asyncio.timeout(1.0):
        await asyncio.gather(*waiting)


async def test_nobody_waits_for_a_socket_that_takes_data(client: Client) -> None:
    async with asyncio.timeout(1.0):
        await client.writer.ready()


async def test_a_stop_is_counted_while_it_lasts(client: Client) -> None:
    def stopped() -> float:
        (gauge,) = metrics.STOPPED.collect()
        return gauge.samples[0].value

    before, counts = stopped(), []
    for step in (client.stop, client.stop, client.writer.resumed, client.writer.resumed):
        step()
        counts.append(stopped() - before)
    client.stop()
    client.writer.cut(4101, "slow")
    client.writer.gone()
    client.stop()

    assert (counts, stopped()) == ([1, 1, 0, 0], before)


@pytest.mark.parametrize(
    ("buffered", "pushed", "cut"), [(1, 999, False), (1, 1_000, True), (600, 400, False), (600, 401, True)]
)
async def test_a_client_that_is_owed_too_much_is_cut(client: Client, buffered: int, pushed: int, cut: bool) -> None:
    client.stop(SOFT_MARK + buffered)

    client.writer.push(b"x" * pushed)

    assert [code for code, _ in client.connection.cuts] == ([4101] if cut else [])
    assert client.writer.closed is cut


async def test_a_client_that_takes_data_may_be_sent_any_amount(client: Client) -> None:
    for _ in range(5):
        client.writer.push(b"x" * 2 * MAX_PENDING)
        client.turns.take()

    assert (client.connection.cuts, len(client.connection.writes)) == ([], 5)


async def test_the_most_that_was_ever_owed_to_one_client_is_remembered() -> None:
    most = Writer.peak + 1
    client = Client(max_pending=most)
    client.stop()

    for size in (most, 1):
        client.connection.buffered = size
        client.check(stopped=1.0)

    (peak,) = metrics.PENDING_PEAK.collect()
    assert (Writer.peak, peak.samples[0].value) == (most, most)


async def test_nothing_is_written_after_a_cut(client: Client) -> None:
    client.topic.add(client.writer)
    client.say(b"0")
    client.writer.push(b"1")
    client.writer.cut(4101, "slow")

    client.writer.push(b"2")
    client.writer.resumed()
    client.say(b"3")
    client.turns.take_all()

    assert (client.connection.writes, len(client.topic)) == ([], 0)


async def test_what_was_said_before_a_dismissal_is_written_before_it(client: Client) -> None:
    client.writer.push(b"why")

    client.writer.dismiss(4103, "too many commands")
    client.writer.push(b"2")
    client.turns.take_all()

    assert client.connection.writes == [b"why"]
    assert (client.connection.dismissals, client.connection.cuts) == ([(4103, "too many commands")], [])


async def test_nothing_is_written_after_the_client_has_gone(client: Client) -> None:
    client.writer.push(b"1")
    client.writer.gone()

    client.turns.take_all()
    client.writer.push(b"2")
    client.turns.take_all()

    assert client.connection.writes == []


@pytest.mark.parametrize("end", ["cut", "dismiss"])
async def test_a_client_is_cut_once(client: Client, end: str) -> None:
    client.writer.cut(4101, "slow")
    getattr(client.writer, end)(4100, "silent")

    assert (client.connection.cuts, client.connection.dismissals) == ([(4101, "slow")], [])


async def test_a_connection_that_breaks_within_a_write_is_cut_and_disturbs_nobody(client: Client) -> None:
    other = Connection()
    beside = Writer(other, client.turns.tick, max_pending=MAX_PENDING, failed=lambda *_: None)
    client.connection.broken = True
    for writer in (client.writer, beside):
        client.topic.add(writer)
    client.turns.take_all()

    client.say(b"1")
    client.turns.take_all()

    assert ([code for code, _ in client.connection.cuts], other.writes) == ([4101], [frame(b"1")])


@pytest.mark.parametrize(("seconds", "codes"), [(9.9, []), (10.1, [4101])])
async def test_a_client_that_reads_nothing_for_the_stall_time_is_cut(
    client: Client, seconds: float, codes: list[int]
) -> None:
    client.stop()

    client.check(stopped=seconds)

    assert [code for code, _ in client.connection.cuts] == codes


async def test_a_client_that_reads_slowly_is_cut_when_it_has_been_behind_for_too_long(client: Client) -> None:
    client.stop()
    cut_at = []

    for second in range(1, 40):
        client.connection.buffered -= 1
        client.check(stopped=float(second))
        if client.connection.cuts:
            break
        cut_at.append(second)

    assert (cut_at[-1], client.connection.cuts) == (29, [(4101, "behind for 30 s")])


async def test_a_client_whose_buffer_holds_too_much_is_cut_by_the_round_too(client: Client) -> None:
    client.stop()
    client.connection.buffered = MAX_PENDING + 1

    client.check(stopped=1.0)

    assert [code for code, _ in client.connection.cuts] == [4101]


async def test_a_client_that_drained_in_time_has_all_its_time_again(client: Client) -> None:
    client.stop()
    client.writer.resumed()

    client.check(silent=11.0)
    client.stop()
    client.check(stopped=9.9)

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
    client.writer.push(b"1")
    client.turns.take_all()
    first = client.writer.sent_at

    client.turns.wait(5.0)
    between = client.writer.sent_at
    client.writer.push(b"2")
    client.turns.take_all()

    assert (between, client.writer.sent_at) == (first, first + 5.0)


@pytest.mark.parametrize("deflated", [False, True])
async def test_the_writer_knows_whether_its_client_takes_compressed_frames(deflated: bool) -> None:
    turns, connection = Turns(), Connection()
    connection.deflated = deflated

    writer = Writer(connection, turns.tick, max_pending=MAX_PENDING, failed=lambda *_: None)

    assert writer.deflated is deflated


async def test_who_says_hello_is_told_what_a_base_client_does_not_know_of(client: Client) -> None:
    client.topic.add(client.writer)
    client.topic.tell(b"1")
    client.turns.take_all()

    client.writer.knows_more()
    client.topic.tell(b"2")
    client.turns.take_all()

    assert client.connection.writes == [b"2"]


async def test_a_topics_failure_goes_to_the_session(client: Client) -> None:
    error = SubscribeFailed("no")

    client.writer.failed(KEY, error, gone=True)

    assert client.failures == [(KEY, error, True)]
