"""Who is behind in a topic, because its socket takes no more or it asked for a pause: what it gets, when, and once."""

from functools import partial
from typing import Any

import orjson
import pytest

from tests.topics.reader import Clock, Reader, Turns
from tests.topics.scripted_venue import topic_key
from topics import metrics
from topics.frame import frame
from topics.key import Cursor
from topics.ring import Row
from topics.tick import OUTBOX_BYTES, PORTION_BYTES
from topics.topic import Topic


class Stage:
    """Topics of each channel on one tick, and who watches them."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.tick = self.turns.tick
        self.topics = {
            channel: Topic(topic_key(channel), self.tick, clock_ms=Clock())
            for channel in ("trades", "ohlcv", "orderbook")
        }  # type: ignore[arg-type]
        self.seqs = dict.fromkeys(self.topics, 0)

    def fanout(self, channel: str = "trades") -> Any:
        return self.topics[channel].fanout

    def reader(self, *channels: str, extended: bool = True, deflated: bool = False) -> Reader:
        reader = Reader(extended=extended, deflated=deflated)
        for channel in channels or ("trades",):
            self.fanout(channel).add(reader)
        self.turns.take_all()
        return reader

    def send(self, count: int = 1, channel: str = "trades", padding: int = 0) -> None:
        """So many events, each in a turn of its own."""
        for _ in range(count):
            self.seqs[channel] += 1
            cursor = Cursor(1, self.seqs[channel])
            data, rows = self._event(cursor.seq, channel, "x" * padding)
            payload = self.topics[channel].publish(cursor, data, event_ms=None, received_ms=0, rows=rows)
            self.topics[channel].show = partial(bytes, payload)
            self.turns.take_all()

    def _event(self, seq: int, channel: str, padding: str) -> tuple[Any, Any]:
        if channel == "trades":
            rows = [{"id": str(seq), "price": 1.0, "amount": 1.0, "side": "buy", "info": padding}]
            return rows, rows
        if channel == "ohlcv":
            row = Row(60 * (seq % 2), b"[%d,%d]" % (60 * (seq % 2), seq), b"{}")
            return [orjson.Fragment(row.payload)], [(row, False)]
        return {"seq": seq}, ()

    def tell(self, text: str, channel: str = "trades") -> None:
        self.fanout(channel).tell(frame(orjson.dumps({"type": "status", "text": text})))

    def stop(self, reader: Reader) -> None:
        reader.stopped = True
        self.tick.stop(reader)

    def drain(self, reader: Reader) -> None:
        reader.stopped = False
        self.tick.drained(reader)
        self.turns.take_all()


@pytest.fixture
def stage() -> Stage:
    return Stage()


def types(reader: Reader) -> list[str]:
    return [message["type"] for message in reader.messages]


def gaps(reader: Reader) -> list[tuple[str, int]]:
    return [(message["reason"], message["events"]) for message in reader.messages if message["type"] == "gap"]


def warnings(reader: Reader) -> list[list[int]]:
    """Events lost, by topic, for each warning."""
    told = [message for message in reader.messages if message["type"] == "warning"]
    assert all(message["code"] == "CLIENT_LAGGED" for message in told)
    return [[row["events"] for row in message["topics"]] for message in told]


def test_who_is_stopped_is_sent_nothing_and_others_everything(stage: Stage) -> None:
    slow, fast = stage.reader(), stage.reader()
    stage.send(1)

    stage.stop(slow)
    stage.send(2)

    assert (slow.seqs, fast.seqs) == ([1], [1, 2, 3])


def test_what_was_missed_comes_once_when_it_drains_and_without_a_word_if_nothing_is_lost(stage: Stage) -> None:
    slow, fast = stage.reader(), stage.reader()
    stage.stop(slow)
    stage.send(3)

    stage.drain(slow)
    stage.send(1)

    assert slow.payloads == fast.payloads
    assert slow.pushes == 2


def test_stopping_in_the_midst_of_a_turn_neither_loses_nor_repeats_what_it_sent_before(stage: Stage) -> None:
    slow = stage.reader()
    for seq in (1, 2):
        stage.seqs["trades"] = seq
        stage.topics["trades"].publish(Cursor(1, seq), [], event_ms=None, received_ms=0)
        if seq == 1:
            stage.fanout().push_in_order(slow, frame(b'{"type":"direct"}'))
            stage.stop(slow)

    stage.turns.take_all()
    assert types(slow) == ["trades", "direct"]
    stage.drain(slow)

    assert (slow.seqs, gaps(slow), warnings(slow)) == ([1, 2], [], [])


@pytest.mark.parametrize("extended", [True, False])
def test_of_trades_delivered_and_declared_make_all(stage: Stage, extended: bool) -> None:
    slow = stage.reader(extended=extended)
    stage.send(1)
    stage.stop(slow)
    stage.send(40, padding=OUTBOX_BYTES // 20)

    stage.drain(slow)
    stage.send(1)

    delivered, ((lost,),) = slow.seqs, warnings(slow)
    assert len(delivered) + lost == 42
    assert delivered == [1, *range(lost + 2, 43)]
    assert gaps(slow) == ([("CLIENT_SLOW", lost)] if extended else [])
    assert types(slow)[1] == ("gap" if extended else "trades")


@pytest.mark.parametrize(
    ("channel", "seqs", "gap", "warning"),
    [("ohlcv", [1, 6], [("CLIENT_SLOW", 4)], [[4]]), ("orderbook", [1, 6], [], [[4]])],
)
@pytest.mark.parametrize("extended", [True, False])
def test_of_candles_and_books_the_newest_state_comes(
    stage: Stage, channel: str, seqs: list[int], gap: list[Any], warning: list[Any], extended: bool
) -> None:
    slow = stage.reader(channel, extended=extended)
    stage.send(1, channel)
    stage.stop(slow)
    stage.send(5, channel)

    stage.drain(slow)

    assert (slow.seqs, gaps(slow), warnings(slow)) == (seqs, gap if extended else [], warning)
    newest = {"ohlcv": [[0, 6], [60, 5]], "orderbook": {"seq": 6}}
    assert next(message["data"] for message in slow.messages[::-1] if "data" in message) == newest[channel]


def test_one_warning_names_all_topics_in_which_something_was_lost(stage: Stage) -> None:
    slow = stage.reader("trades", "ohlcv", "orderbook")
    before = metrics.LAGGED._value.get()
    stage.stop(slow)
    stage.send(1)
    stage.send(2, "ohlcv")
    stage.send(3, "orderbook")

    stage.drain(slow)

    assert (warnings(slow), metrics.LAGGED._value.get() - before) == ([[1, 2]], 1)


def test_what_was_missed_in_many_topics_comes_in_portions(stage: Stage) -> None:
    slow = stage.reader("trades", "ohlcv", "orderbook")
    stage.stop(slow)
    stage.send(1, padding=OUTBOX_BYTES - 400)
    stage.send(1, "ohlcv")
    stage.send(1, "orderbook")
    sizes: list[int] = []
    write = slow.write
    seat = stage.tick._seats[slow]
    seat.write = lambda data: sizes.append(len(data)) or write(data)  # type: ignore[func-returns-value]

    stage.drain(slow)

    assert types(slow) == ["trades", "ohlcv", "orderbook"]
    assert len(sizes) == 2
    assert max(sizes) < OUTBOX_BYTES + 1_000


@pytest.mark.parametrize(("taken", "together"), [(PORTION_BYTES // 2, True), (PORTION_BYTES, False)])
def test_a_topic_that_little_room_is_left_for_waits_for_the_next_portion(
    stage: Stage, taken: int, together: bool
) -> None:
    """Else what it could have been given whole would be declared as lost."""
    slow = stage.reader("orderbook", "trades")
    stage.stop(slow)
    stage.send(1, "orderbook")
    stage.topics["orderbook"].show = lambda: b'{"type":"orderbook","padding":"%b"}' % (b"x" * taken)
    stage.send(20, padding=6_000)
    before = slow.pushes

    stage.drain(slow)

    assert (slow.ids, gaps(slow), warnings(slow)) == (list(range(1, 21)), [], [])
    assert slow.pushes - before == (1 if together else 2)


def test_who_stops_again_at_a_portion_gets_the_next_when_it_drains(stage: Stage) -> None:
    slow = stage.reader("trades", "ohlcv", "orderbook")
    stage.stop(slow)
    stage.send(1, padding=OUTBOX_BYTES - 400)
    stage.send(1, "ohlcv")
    stage.send(1, "orderbook")
    write = slow.write
    stage.tick._seats[slow].write = lambda data: (write(data), stage.stop(slow))

    stage.drain(slow)
    first = types(slow)
    stage.send(1, "orderbook")
    assert types(slow) == first
    stage.drain(slow)

    assert types(slow) == ["trades", "ohlcv", "orderbook", "warning"]
    assert slow.messages[2]["data"] == {"seq": 2}


def test_a_stall_that_is_over_before_the_turn_ends_costs_nothing(stage: Stage) -> None:
    slow, fast = stage.reader(), stage.reader()
    stage.stop(slow)
    stage.drain(slow)

    stage.send(2)

    assert slow.payloads == fast.payloads


def test_who_is_stopped_again_before_it_was_brought_up_to_date_still_waits(stage: Stage) -> None:
    slow = stage.reader()
    stage.stop(slow)
    stage.send(1)
    slow.stopped = False
    stage.tick.drained(slow)
    stage.stop(slow)
    stage.turns.take_all()
    assert slow.payloads == []

    stage.drain(slow)

    assert slow.seqs == [1]


def test_who_subscribes_while_stopped_gets_all_since_then_when_it_drains(stage: Stage) -> None:
    slow = stage.reader()
    stage.send(1, "ohlcv")
    stage.stop(slow)

    stage.fanout("ohlcv").add(slow)
    stage.send(1, "ohlcv")
    assert slow.payloads == []
    stage.drain(slow)

    assert (types(slow), slow.seqs) == (["ohlcv"], [2])


def test_answers_do_not_wait_until_it_drains(stage: Stage) -> None:
    slow = stage.reader()
    stage.stop(slow)
    stage.send(1)

    stage.tick.push(slow, frame(b'{"type":"pong"}'))
    stage.fanout().push_in_order(slow, frame(b'{"type":"direct"}'))
    stage.turns.take_all()

    assert types(slow) == ["pong", "direct"]


def test_a_status_reaches_who_is_behind_and_said_hello_at_once_and_once(stage: Stage) -> None:
    slow, base, asleep = stage.reader(), stage.reader(extended=False), stage.reader()
    for reader in (slow, base):
        stage.stop(reader)
    stage.tick.sleep(asleep, stage.fanout())

    stage.tell("resyncing")
    stage.turns.take_all()

    assert (types(slow), types(asleep), types(base)) == (["status"], ["status"], [])
    stage.drain(slow)
    assert types(slow) == ["status"]


def test_a_status_is_told_once_to_who_falls_behind_after_it_and_not_to_who_comes_after_it(stage: Stage) -> None:
    slow, late, base = stage.reader(), Reader(extended=True), stage.reader(extended=False)
    stage.stop(late)
    stage.stop(base)
    stage.tell("before")
    stage.fanout().push_in_order(slow, frame(b'{"type":"direct"}'))
    stage.stop(slow)
    stage.fanout().add(late)
    base.extended = True
    stage.tick.changed(base)
    stage.tell("after")
    stage.turns.take_all()

    told = [[message.get("text") for message in reader.messages] for reader in (slow, late, base)]
    assert told == [["before", None, "after"], ["after"], ["after"]]


# -- a pause -----------------------------------------------------------------------------------------------------------


def test_a_pause_holds_one_topic_back_and_no_other(stage: Stage) -> None:
    sleeper = stage.reader("trades", "ohlcv")

    stage.tick.sleep(sleeper, stage.fanout())
    stage.send(1)
    stage.send(1, "ohlcv")
    assert types(sleeper) == ["ohlcv"]
    stage.tick.wake(sleeper, stage.fanout())
    stage.turns.take_all()

    assert (types(sleeper), gaps(sleeper)) == (["ohlcv", "trades"], [])


def test_what_a_pause_cost_is_declared_as_paused_and_warned_of_to_nobody(stage: Stage) -> None:
    sleeper = stage.reader("ohlcv", "orderbook")
    for channel in ("ohlcv", "orderbook"):
        stage.tick.sleep(sleeper, stage.fanout(channel))
        stage.send(5, channel)

    for channel in ("ohlcv", "orderbook"):
        stage.tick.wake(sleeper, stage.fanout(channel))
    stage.turns.take_all()

    assert (gaps(sleeper), warnings(sleeper), types(sleeper)) == ([("PAUSED", 4)], [], ["gap", "ohlcv", "orderbook"])


def test_who_drains_during_a_pause_gets_only_the_topics_that_are_not_paused(stage: Stage) -> None:
    sleeper = stage.reader("trades", "ohlcv")
    stage.tick.sleep(sleeper, stage.fanout())
    stage.stop(sleeper)
    stage.send(1)
    stage.send(1, "ohlcv")

    stage.drain(sleeper)

    assert types(sleeper) == ["ohlcv"]


def test_who_wakes_while_stopped_gets_everything_when_it_drains(stage: Stage) -> None:
    sleeper = stage.reader()
    stage.tick.sleep(sleeper, stage.fanout())
    stage.send(1)
    stage.stop(sleeper)
    stage.tick.wake(sleeper, stage.fanout())
    stage.turns.take_all()
    assert sleeper.payloads == []

    stage.drain(sleeper)

    assert sleeper.seqs == [1]


def test_a_pause_ends_with_the_subscription(stage: Stage) -> None:
    sleeper = stage.reader()
    stage.tick.sleep(sleeper, stage.fanout())
    stage.fanout().remove(sleeper)
    stage.fanout().add(sleeper)
    stage.stop(sleeper)
    stage.send(1)

    stage.drain(sleeper)

    assert sleeper.seqs == [1]


# -- compressed --------------------------------------------------------------------------------------------------------


def test_who_takes_compressed_frames_reads_the_same(stage: Stage) -> None:
    plain, small = stage.reader(), stage.reader(deflated=True)
    sizes: list[int] = []
    write = small.write
    stage.tick._seats[small].write = lambda data: sizes.append(len(data)) or write(data)  # type: ignore[func-returns-value]

    stage.fanout().push_in_order(small, frame(b'{"type":"direct"}'))
    stage.send(2, padding=5_000)

    assert [payload for payload in small.payloads if b"direct" not in payload] == plain.payloads
    assert max(sizes) < 1_000


@pytest.mark.parametrize("how", ["stop", "sleep", "none"])
def test_of_who_is_gone_nothing_is_kept(stage: Stage, how: str) -> None:
    gone = stage.reader("trades", "ohlcv")
    if how == "stop":
        stage.stop(gone)
    elif how == "sleep":
        stage.tick.sleep(gone, stage.fanout())
    stage.send(1, padding=10)
    stage.send(1, "ohlcv")
    seen = list(gone.payloads)
    stage.tick.drained(gone)

    stage.tick.forget(gone)
    stage.tick.forget(gone)
    stage.send(1)

    assert gone.payloads == seen
    assert (stage.tick._seats, stage.tick._cohorts, len(stage.fanout())) == ({}, {}, 0)
    trades, candles = stage.fanout().backlog, stage.fanout("ohlcv").backlog
    assert not (trades._kept or trades._marks or trades._sums or candles._rows)
