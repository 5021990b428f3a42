"""Faults of messages by themselves: what a stream's subscribers get, in which order, and what is held back for whom."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.simulator.binance_dialect import dialect
from exchanges.simulator.faults import KINDS, Faults, read_fault
from exchanges.simulator.interference import MOST_DELAYED, Interference
from exchanges.simulator.sockets import Spoil

NAME = "btcusdt@aggTrade"


class Monotonic:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Reader:
    """A subscriber that keeps the numbers of what it gets; what was spoilt is None."""

    def __init__(self) -> None:
        self.heard: list[int | None] = []

    def deliver(self, name: str, payload: bytes, spoil: Spoil | None = None) -> None:
        self.heard.append(None if spoil else orjson.loads(payload)["a"])


class Stage:
    """A venue of one stream whose messages are numbered from 1."""

    def __init__(self, **fault: Any) -> None:
        self.clock = Monotonic()
        self.faults = Faults(self.clock)
        self.interference = Interference(
            self.faults, dialect({"btcusdt": "BTCUSDT"}, farewell=False), market=lambda _symbol: None, now_ms=lambda: 0
        )
        self.reader = Reader()
        self.number = 0
        self.switch(**fault)

    def switch(self, **fault: Any) -> None:
        self.faults.add(read_fault(fault, self.clock()))

    def say(self, count: int = 1, *readers: Reader, name: str = NAME) -> None:
        for _ in range(count):
            self.number += 1
            payload = orjson.dumps({"a": self.number, "p": "1.5"})
            self.interference.deliver(name, payload, readers or [self.reader])


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        ({"kind": "drop", "count": 2}, [3, 4, 5, 6]),
        ({"kind": "freeze", "count": 5}, [6]),
        ({"kind": "duplicate", "count": 2}, [1, 1, 2, 2, 3, 4, 5, 6]),
        ({"kind": "reorder"}, [2, 1, 3, 4, 5, 6]),
        ({"kind": "reorder", "count": 2}, [2, 1, 4, 3, 5, 6]),
        ({"kind": "garbage"}, [None, 2, 3, 4, 5, 6]),
        ({"kind": "garbage", "beside": True}, [None, 1, 2, 3, 4, 5, 6]),
        ({"kind": "truncate"}, [None, 2, 3, 4, 5, 6]),
        ({"kind": "binary"}, [None, 2, 3, 4, 5, 6]),
        ({"kind": "huge"}, [None, 2, 3, 4, 5, 6]),
        ({"kind": "drop", "symbol": "ETHUSDT"}, [1, 2, 3, 4, 5, 6]),
        ({"kind": "drop", "channel": "ohlcv"}, [1, 2, 3, 4, 5, 6]),
        ({"kind": "corrupt"}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_what_six_messages_become(fault: dict[str, Any], heard: list[int | None]) -> None:
    stage = Stage(**fault)
    stage.say(6)
    assert stage.reader.heard == heard


def test_a_fault_that_cannot_happen_to_a_message_waits_for_one_it_can() -> None:
    stage = Stage(kind="corrupt")
    stage.say()
    assert stage.faults.injected == {}
    assert stage.faults.busy


def test_a_fault_happens_once_for_all_subscribers() -> None:
    stage = Stage(kind="drop")
    other = Reader()
    stage.say(2, stage.reader, other)
    assert (stage.reader.heard, other.heard) == ([2], [2])
    assert stage.faults.injected == {"drop": 1}


def test_late_messages_keep_their_order_and_so_does_what_comes_after_the_fault() -> None:
    stage = Stage(kind="drip", delay=5, count=2)
    stage.say(2)
    stage.clock.seconds = 4.9
    stage.say()
    stage.interference.release()
    assert stage.reader.heard == []
    stage.clock.seconds = 5.0
    stage.interference.release()
    assert stage.reader.heard == [1, 2, 3]
    assert not stage.faults.busy


def test_another_stream_is_not_held_up() -> None:
    stage = Stage(kind="drip", delay=5, channel="trades")
    stage.say()
    stage.say(name="btcusdt@depth")
    assert stage.reader.heard == [2]


def test_too_many_late_messages_push_the_oldest_out_early() -> None:
    stage = Stage(kind="drip", delay=5, seconds=60)
    stage.say(MOST_DELAYED + 2)
    assert stage.reader.heard == [1, 2]


def test_who_comes_later_does_not_get_what_was_held_back_for_others() -> None:
    stage = Stage(kind="reorder")
    late = Reader()
    stage.say()
    stage.say(1, stage.reader, late)
    assert (stage.reader.heard, late.heard) == ([2, 1], [2])


@pytest.mark.parametrize("fault", [{"kind": "reorder"}, {"kind": "drip", "delay": 5}])
def test_who_has_left_gets_nothing_that_was_held_back(fault: dict[str, Any]) -> None:
    stage = Stage(**fault)
    stage.say()
    stage.interference.forget(NAME, stage.reader)
    stage.clock.seconds = 10.0
    stage.interference.release()
    stage.say(1, Reader())
    assert stage.reader.heard == []
    assert not stage.faults.busy


def test_a_message_that_waits_for_its_successor_waits_on_when_that_one_is_lost() -> None:
    stage = Stage(kind="reorder")
    stage.say()
    stage.switch(kind="drop")
    stage.say(2)
    assert stage.reader.heard == [3, 1]


def test_faults_happen_in_the_order_in_which_they_were_switched_on() -> None:
    stage = Stage(kind="duplicate", count=1)
    stage.switch(kind="garbage", count=1)
    stage.say(2)
    assert stage.reader.heard == [None, 1, 2]


MESSAGE_KINDS = sorted(name for name, kind in KINDS.items() if kind.stage == "message" and name != "huge")


class BookReader:
    """A subscriber that keeps the numbers of the books it gets unharmed."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def deliver(self, name: str, payload: bytes, spoil: Spoil | None = None) -> None:
        if spoil is not None:
            spoil(payload)
            return
        message = orjson.loads(payload)
        if message == book(message.get("u", 0)):
            self.heard.append(message["u"])


def book(number: Any) -> dict[str, Any]:
    return {"e": "depthUpdate", "u": number, "b": [["10.1", "1.5"], ["10.0", "0.000"]], "a": [["10.2", "2.5"]]}


@given(
    st.lists(st.tuples(st.sampled_from(MESSAGE_KINDS), st.integers(1, 4)), max_size=6),
    st.lists(st.sampled_from(["say", "wait", "leave"]), max_size=30),
)
def test_whatever_goes_wrong_together_ends_and_leaves_nothing_behind(
    switched: list[tuple[str, int]], happens: list[str]
) -> None:
    clock, reader = Monotonic(), BookReader()
    faults = Faults(clock)
    wire = dialect({"btcusdt": "BTCUSDT"}, farewell=False)
    interference = Interference(faults, wire, market=lambda _symbol: None, now_ms=lambda: 0)
    for kind, count in switched:
        how = {"how": "quantity"} if kind == "corrupt" else {}
        faults.add(read_fault({"kind": kind, "count": count, "seconds": 60, **how}, clock()))
    number = 0
    for what in happens:
        if what == "say":
            number += 1
            interference.deliver("btcusdt@depth", orjson.dumps(book(number)), [reader])
        elif what == "wait":
            clock.seconds += 1.1
            interference.release()
        else:
            interference.forget("btcusdt@depth", reader)
    clock.seconds += 100
    interference.deliver("btcusdt@depth", orjson.dumps(book(1001)), [reader])
    interference.release()
    interference.deliver("btcusdt@depth", orjson.dumps(book(1002)), [reader])
    assert [heard for heard in reader.heard if heard > 1000] == [1001, 1002]
    assert (faults.active(), faults.busy) == ([], False)


@pytest.mark.parametrize("other", [{"kind": "types"}, {"kind": "corrupt", "how": "quantity"}])
def test_what_is_wrong_already_can_go_wrong_again(other: dict[str, Any]) -> None:
    stage = Stage(kind="types", count=60)
    stage.switch(**other, count=60)
    for number in range(60):
        stage.interference.deliver("btcusdt@depth", orjson.dumps(book(number)), [BookReader()])
    assert stage.faults.injected["types"] >= 60
