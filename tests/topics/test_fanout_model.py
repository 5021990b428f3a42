"""Any order of events, stalls, pauses and turns: what each member is sent adds up to what its topics sent, exactly.

The model knows nothing of cohorts, marks or backlogs: only who had which topic when, and what was sent meanwhile.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.topics.reader import Reader, Turns
from tests.topics.scripted_venue import topic_key
from topics.backlog import CandleBacklog, TradeBacklog
from topics.fanout import Fanout
from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.ring import Row
from topics.tick import WRITE_TIME

TOPICS, MEMBERS = 2, 4


PADDING = "x" * 1_100  # from here on a frame is worth compressing


@pytest.fixture(autouse=True)
def the_clock_is_looked_at_after_every_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a round of few members may be spread over several turns."""
    monkeypatch.setattr("topics.tick.WRITES_BETWEEN_LOOKS", 1)


class Feed:
    """One topic, and the memory of all it sent."""

    def __init__(self, number: int, turns: Turns) -> None:
        self.number = number
        self.candles = number == TOPICS - 1
        self.key: TopicKey = topic_key("ohlcv" if self.candles else "trades")._replace(symbol=str(number))
        backlog = CandleBacklog(self.key, self._encode) if self.candles else TradeBacklog(self.key, max_kept=3)
        self.backlog: Any = backlog
        self.fanout = Fanout(turns.tick, backlog)
        self.rows: list[list[Any]] = []  # by event; of a declared loss none
        self.declared: set[int] = set()
        self.told = 0

    @property
    def seq(self) -> int:
        return len(self.rows)

    def send(self, count: int, *, big: bool) -> None:
        seq = self.seq + 1
        if self.candles:
            values = [Row(time % 3, b"%d" % seq) for time in range(seq % 4, seq % 4 + count % 3 + 1)]
            self.rows.append(values)
            self.fanout.send(Cursor(1, seq), frame(self._encode(Cursor(1, seq), values, False, big=big)), self._kept())
        else:
            trades = [{"id": str(seq), "price": 1.0 * seq, "amount": 2.0, "side": "buy"} for _ in range(count)]
            self.rows.append(trades)
            self.fanout.send(Cursor(1, seq), frame(self._message(seq, trades, big=big)), trades)

    def declare(self) -> None:
        self.rows.append([])
        self.declared.add(self.seq)
        gap = {"type": "gap", "topic": self.key.topic, "cursor": f"1-{self.seq}"}
        self.fanout.declare(Cursor(1, self.seq), frame(orjson.dumps(gap)))

    def tell(self) -> None:
        self.told += 1
        self.fanout.tell(frame(orjson.dumps({"type": "status", "topic": self.key.topic, "number": self.told})))

    def newest(self, since: int) -> dict[int, bytes]:
        """Of candles that changed after ``since``, their last state by open time."""
        return {row.open_time_ms: row.payload for rows in self.rows[since:] for row in rows}

    def _kept(self) -> list[tuple[Row, bool]]:
        return [(row, False) for row in self.rows[-1]]

    def _message(self, seq: int, data: Any, *, big: bool = False) -> bytes:
        padding = {"padding": PADDING} if big else {}
        return orjson.dumps({"type": "data", "topic": self.key.topic, "cursor": f"1-{seq}", "data": data, **padding})

    def _encode(self, cursor: Cursor, rows: list[Row], repair: bool, *, big: bool = False) -> bytes:
        return self._message(cursor.seq, [[row.open_time_ms, row.payload.decode()] for row in rows], big=big)


@dataclass
class Claim:
    """A member's claim on one topic: what it must and must not be sent of it."""

    feed: Feed
    since: int  # events before it was added
    exact: bool  # every event after ``place`` is to be delivered or declared
    place: int  # up to here all is accounted for, of trades
    until: int | None = None  # events until it was removed; None: it has it
    last: int = 0  # newest event delivered
    count: int = 0  # events delivered or declared after ``counted``
    counted: int = 0
    floor: int = 0  # what was pushed in order has come, and nothing of before may follow
    shaky: bool = False  # it may be behind
    added_at_status: int = 0  # statuses told before it was added
    first_status: int = 0  # statuses told before it knew of them
    statuses: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)  # statuses told while it had the topic and knew of them
    candles: dict[int, bytes] = field(default_factory=dict)

    def event(self, seq: int, message: dict[str, Any]) -> None:
        assert self.since < seq <= (self.feed.seq if self.until is None else self.until)
        assert seq > self.last and seq > self.floor, "twice, or out of order"
        self.last = seq
        self.count += seq > self.counted
        for time, payload in message.get("data", []) if self.feed.candles else []:
            self.candles[time] = payload.encode()
        if self.exact and not self.feed.candles and seq > self.place:
            assert seq == self.place + 1, "neither delivered nor declared"
            self.place = seq

    def gap(self, message: dict[str, Any]) -> None:
        since, until = (int(message[end]["cursor"].partition("-")[2]) for end in ("from", "to"))
        events: int = message["events"]
        assert 0 < events <= until - since
        assert since >= self.last
        self.count += events
        if self.exact and not self.feed.candles:
            assert since in (self.place, 0 if self.place == self.since else self.place)
            lost = self.feed.rows[self.place : self.place + events]
            assert message["missing"] == message["summary"]["count"] == sum(map(len, lost))
            assert message["summary"]["last"] == next((rows[-1]["price"] for rows in lost[::-1] if rows), None)
            self.place += events


class Client(Reader):
    """A reader that checks each message as it comes, and misbehaves on request."""

    def __init__(self, world: "World", *, extended: bool, deflated: bool) -> None:
        super().__init__(extended=extended, deflated=deflated)
        self._world = world
        self.claims: dict[Feed, Claim] = {}
        self.asleep: dict[Feed, int] = {}  # and the events before
        self.closed = self.was_stopped = False
        self.stops_in = self.ends_in = self.breaks_in = 0  # writes; 0: never
        self.cost = WRITE_TIME  # of a write: one a turn
        self.pushed: list[int] = []
        self.stopped_at: dict[Feed, int] = {}
        self._left: list[Claim] = []

    def write(self, frames: bytes) -> None:
        assert not self.closed, "written to after its end"
        self._world.turns.now += self.cost
        if self._happens("breaks_in"):
            raise ConnectionError("planted")
        seen = len(self.payloads)
        super().write(frames)
        for message in self.messages_from(seen):
            self._check(message)
        if self._happens("stops_in"):
            self.stop()
        if self._happens("ends_in"):
            self.end()

    def messages_from(self, place: int) -> list[dict[str, Any]]:
        return [orjson.loads(payload) for payload in self.payloads[place:]]

    def broke(self, error: Exception) -> None:
        if not isinstance(error, ConnectionError):
            self._world.errors.append(error)
        self.end()

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = self.was_stopped = True
            self.stopped_at = {feed: feed.seq for feed in self._world.feeds}
            for claim in self.claims.values():
                claim.shaky = True
            self._world.turns.tick.stop(self)

    def drain(self) -> None:
        if self.stopped:
            self.stopped = False
            self._world.turns.tick.drained(self)

    def end(self) -> None:
        if not self.closed:
            self.closed = True
            self._world.turns.tick.forget(self)

    def leave(self, feed: Feed) -> None:
        feed.fanout.remove(self)
        self.asleep.pop(feed, None)
        claim = self.claims.pop(feed)
        claim.until = feed.seq
        self._left.append(claim)

    def _happens(self, what: str) -> bool:
        left = getattr(self, what)
        setattr(self, what, max(0, left - 1))
        return bool(left == 1)

    def _check(self, message: dict[str, Any]) -> None:
        if message["type"] == "direct":
            self._check_direct(message)
        elif message["type"] == "warning":
            assert self.was_stopped, "it was never slow"
        else:
            self._check_claim(message)

    def _check_claim(self, message: dict[str, Any]) -> None:
        seq = int(message.get("cursor", "").partition("-")[2] or 0)
        claim = self._claim(message["topic"]["symbol"], seq=seq, status=message.get("number", 0))
        if message["type"] == "status":
            assert self.extended
            assert message["number"] > max(claim.statuses, default=claim.first_status)
            claim.statuses.append(message["number"])
        elif "cursor" in message:
            assert self.extended or message["type"] != "gap"
            if self.stopped:
                assert seq <= self.stopped_at[claim.feed], "sent although its socket takes no more"
            assert seq <= self.asleep.get(claim.feed, seq), "sent although it asked for a pause"
            claim.event(seq, message)
        else:
            assert self.extended
            assert message["reason"] == "PAUSED" or self.was_stopped
            claim.gap(message)

    def _check_direct(self, message: dict[str, Any]) -> None:
        if message["after"] is None:
            self.pushed.append(message["number"])
            return
        claim = self._claim(message["symbol"])
        assert claim.last <= message["after"]
        if message["firm"]:
            claim.floor = message["after"]

    def _claim(self, symbol: str, *, seq: int = 0, status: int = 0) -> Claim:
        """The claim that this event or status is of."""
        feed = self._world.feeds[int(symbol)]
        claim = self.claims.get(feed)
        if claim is None or 0 < seq <= claim.since or 0 < status <= claim.added_at_status:
            # What it was due of a round under way when it left, or pushed in order before, had been queued.
            claim = next(claim for claim in reversed(self._left) if claim.feed is feed)
        return claim


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()
        self.feeds = [Feed(number, self.turns) for number in range(TOPICS)]
        self.clients = [self._client(number) for number in range(MEMBERS)]
        self.errors: list[Exception] = []  # what a write found wrong, which the tick takes for a broken connection
        self.number = 0
        self.direct: dict[Client, list[int]] = {}

    def _client(self, number: int) -> Client:
        return Client(self, extended=number % 2 == 1, deflated=number > 1)

    # -- what topics do ------------------------------------------------------------------------------------------------

    @rule(
        topic=st.integers(0, TOPICS - 1),
        counts=st.lists(st.integers(1, 3), min_size=1, max_size=6),
        big=st.booleans(),
        turns=st.integers(0, 2),
    )
    def send(self, topic: int, counts: list[int], big: bool, turns: int) -> None:
        """In one turn; ``turns`` of the round that follows are taken, one write in each."""
        for count in counts:
            self.feeds[topic].send(count, big=big)
        for _ in range(turns):
            self.turns.take()
            self.turns.wait(0.1)

    @rule(counts=st.lists(st.integers(1, 3), min_size=1, max_size=2))
    def send_at_the_turns_end(self, counts: list[int]) -> None:
        for feed in self.feeds:
            self.turns.tick.publish(lambda feed=feed: [feed.send(count, big=False) for count in counts])  # type: ignore[misc]

    @rule(topic=st.integers(0, TOPICS - 1))
    def declare(self, topic: int) -> None:
        self.feeds[topic].declare()

    @rule(topic=st.integers(0, TOPICS - 1))
    def tell(self, topic: int) -> None:
        feed = self.feeds[topic]
        feed.tell()
        for client in self._open():
            if client.extended and feed in client.claims:
                client.claims[feed].wanted.append(feed.told)

    # -- what clients do -----------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        for who in range(MEMBERS):
            self.add(who, set(range(TOPICS)))
        self._settle()

    @rule(who=st.integers(0, MEMBERS - 1), topics=st.sets(st.integers(0, TOPICS - 1), min_size=1))
    def add(self, who: int, topics: set[int]) -> None:
        client = self._at(who)
        for feed in [self.feeds[topic] for topic in sorted(topics)]:
            if feed not in client.claims:
                seq = feed.seq
                client.claims[feed] = Claim(
                    feed,
                    seq,
                    client.extended,
                    seq,
                    counted=seq,
                    shaky=client.stopped,
                    added_at_status=feed.told,
                    first_status=feed.told,
                )
                feed.fanout.add(client)

    @rule(who=st.integers(0, MEMBERS - 1), topic=st.integers(0, TOPICS - 1))
    def remove(self, who: int, topic: int) -> None:
        client = self._at(who)
        if self.feeds[topic] in client.claims:
            client.leave(self.feeds[topic])

    @rule(who=st.integers(0, MEMBERS - 1))
    def hello(self, who: int) -> None:
        client = self._at(who)
        if not client.extended:
            client.extended = True
            for feed, claim in client.claims.items():
                claim.exact = not claim.shaky
                claim.place = claim.counted = feed.seq
                claim.count = 0
                claim.first_status = feed.told
            self.turns.tick.changed(client)

    @rule(who=st.integers(0, MEMBERS - 1), writes=st.integers(0, 3))
    def stop(self, who: int, writes: int) -> None:
        """Now, or in the midst of a write to come."""
        client = self._at(who)
        client.stops_in = writes
        if not writes:
            client.stop()

    @rule(who=st.integers(0, MEMBERS - 1))
    def drain(self, who: int) -> None:
        self._at(who).drain()

    @rule(who=st.integers(0, MEMBERS - 1), topic=st.integers(0, TOPICS - 1))
    def sleep(self, who: int, topic: int) -> None:
        client, feed = self._at(who), self.feeds[topic]
        if feed in client.claims:
            client.asleep.setdefault(feed, feed.seq)
            client.claims[feed].shaky = True
            self.turns.tick.sleep(client, feed.fanout)

    @rule(who=st.integers(0, MEMBERS - 1))
    def wake(self, who: int) -> None:
        client = self._at(who)
        for feed in sorted(client.asleep, key=lambda feed: feed.number):
            self.turns.tick.wake(client, feed.fanout)
        client.asleep.clear()

    @rule(who=st.integers(0, MEMBERS - 1))
    def push(self, who: int) -> None:
        client = self._at(who)
        self.number += 1
        self.direct.setdefault(client, []).append(self.number)
        self.turns.tick.push(client, frame(orjson.dumps({"type": "direct", "number": self.number, "after": None})))

    @rule(who=st.integers(0, MEMBERS - 1), topic=st.integers(0, TOPICS - 1))
    def push_in_order(self, who: int, topic: int) -> None:
        client, feed = self._at(who), self.feeds[topic]
        if feed in client.claims:
            firm = not client.claims[feed].shaky  # else the order is nobody's
            after = feed.seq
            data = orjson.dumps({"type": "direct", "symbol": str(topic), "after": after, "firm": firm})
            feed.fanout.push_in_order(client, frame(data))

    @rule(
        who=st.integers(0, MEMBERS - 1), how=st.sampled_from(["now", "ends_in", "breaks_in"]), writes=st.integers(1, 3)
    )
    def end(self, who: int, how: str, writes: int) -> None:
        client = self._at(who)
        if how == "now":
            client.end()
        else:
            setattr(client, how, writes)

    @rule(who=st.integers(0, MEMBERS - 1), cost=st.sampled_from([0.0, 0.001, WRITE_TIME]))
    def slow_down(self, who: int, cost: float) -> None:
        self._at(who).cost = cost

    # -- time ----------------------------------------------------------------------------------------------------------

    @rule()
    def turn(self) -> None:
        self.turns.take()

    @rule(seconds=st.sampled_from([0.001, 0.01, 1.0]))
    def wait(self, seconds: float) -> None:
        self.turns.wait(seconds)

    @rule()
    def settle(self) -> None:
        """Enough turns and time for everybody who is not stopped or asleep to be up to date."""
        self._settle()
        for client in self._open():
            for feed, claim in client.claims.items():
                claim.shaky = client.stopped or feed in client.asleep
                if not claim.shaky:
                    self._complete(client, claim)

    @invariant()
    def what_was_written_was_right(self) -> None:
        for error in self.errors:
            raise error

    @invariant()
    def who_is_stopped_is_sent_nothing_new(self) -> None:
        for client in self._open():
            if client.stopped:
                assert all(client in [seat.subscriber for seat in feed.fanout.behind] for feed in client.claims)

    # -- the end -------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        for client in self._open():
            client.stops_in = client.ends_in = client.breaks_in = 0
            client.cost = 0.0
        self._settle()
        for who in range(MEMBERS):
            self.wake(who)
            self.drain(who)
        self.settle()
        for client in self._open():
            assert client.pushed == self.direct.get(client, [])
            client.end()
        tick = self.turns.tick
        assert (tick._cohorts, tick._seats, tick._pending, tick._returned) == ({}, {}, {}, {})
        for feed in self.feeds:
            assert (len(feed.fanout), feed.fanout.cohorts, feed.fanout.apart, feed.fanout.behind) == (0, {}, {}, {})
            assert not (feed.backlog._rows if feed.candles else feed.backlog._kept)

    def _complete(self, client: Client, claim: Claim) -> None:
        feed = claim.feed
        assert claim.statuses == claim.wanted
        if client.extended and claim.exact:
            assert claim.count == feed.seq - claim.counted
            assert feed.candles or claim.place == feed.seq
        if feed.candles:
            assert claim.candles == feed.newest(claim.since)
        elif feed.seq > claim.since and feed.seq not in feed.declared:
            assert claim.last == feed.seq

    def _settle(self) -> None:
        for _ in range(3):
            self.turns.take_all()
            self.turns.wait(1.0)
        self.turns.take_all()
        self.what_was_written_was_right()

    def _open(self) -> list[Client]:
        return [client for client in self.clients if not client.closed]

    def _at(self, who: int) -> Client:
        """The client in that place; another takes it when one has ended."""
        if self.clients[who].closed:
            self.clients[who] = self._client(who)
        return self.clients[who]


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
