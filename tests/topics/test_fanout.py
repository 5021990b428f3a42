"""One moment to write in each turn of the loop: who gets what in it, in which order, and how often."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.errors import GatewayError
from tests.topics.reader import Turns
from topics.fanout import WRITES_PER_TURN, Fanout, Tick
from topics.key import TopicKey


class Member:
    """Implements ``Subscriber``; remembers each push, and does then what a test asks of it."""

    def __init__(self, then: Callable[[], None] | None = None, *, extended: bool = False) -> None:
        self.extended = extended
        self.pushes: list[bytes] = []
        self._then = then

    def push(self, frames: bytes) -> None:
        self.pushes.append(frames)
        if self._then is not None:
            self._then()

    def failed(self, key: TopicKey, error: GatewayError, *, gone: bool) -> None:
        raise AssertionError("a fan-out fails nobody")


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def fanout(turns: Turns) -> Fanout:
    return Fanout(turns.tick)


# -- the turn ----------------------------------------------------------------------------------------------------------


def test_a_turn_publishes_before_it_distributes_and_distributes_before_it_writes(turns: Turns) -> None:
    order: list[str] = []
    turns.tick.write(lambda: order.append("write"))
    turns.tick.distribute(lambda: order.append("distribute"))
    turns.tick.publish(lambda: order.append("publish"))

    turns.take()

    assert order == ["publish", "distribute", "write"]


def test_what_publishing_makes_due_is_done_in_the_same_turn(turns: Turns) -> None:
    order: list[str] = []

    def distribute() -> None:
        order.append("distribute")
        turns.tick.write(lambda: order.append("write"))

    turns.tick.publish(lambda: turns.tick.distribute(distribute))
    turns.take()

    assert order == ["distribute", "write"]


def test_a_turn_is_asked_for_once_however_much_is_due() -> None:
    asked: list[Callable[[], None]] = []
    tick = Tick(call_soon=asked.append)

    for due in (tick.publish, tick.distribute, tick.write, tick.write):
        due(lambda: None)

    assert len(asked) == 1


def test_what_a_write_makes_due_waits_for_the_next_turn(turns: Turns) -> None:
    order: list[str] = []
    turns.tick.write(lambda: turns.tick.publish(lambda: order.append("publish")))

    turns.take()
    after_one = list(order)
    turns.take()

    assert (after_one, order) == ([], ["publish"])


def test_a_turn_writes_to_a_bounded_number_of_clients_and_goes_on_in_the_next(turns: Turns) -> None:
    written: list[int] = []
    for client in range(2 * WRITES_PER_TURN + 1):
        turns.tick.write(lambda client=client: written.append(client))

    counts = []
    while turns.take():
        counts.append(len(written))

    assert counts == [WRITES_PER_TURN, 2 * WRITES_PER_TURN, 2 * WRITES_PER_TURN + 1]
    assert written == sorted(written)


def test_publishing_does_not_wait_for_the_rest_of_many_writes(turns: Turns) -> None:
    order: list[str] = []
    for _ in range(WRITES_PER_TURN):
        turns.tick.write(lambda: None)
    turns.tick.write(lambda: order.append("write"))
    turns.take()

    turns.tick.publish(lambda: order.append("publish"))
    turns.take()

    assert order == ["publish", "write"]


@pytest.mark.parametrize("stage", ["publish", "distribute", "write"])
def test_a_failure_is_logged_and_stops_neither_the_rest_of_the_turn_nor_the_turns_after(
    turns: Turns, caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    done: list[str] = []
    getattr(turns.tick, stage)(lambda: 1 // 0)
    getattr(turns.tick, stage)(lambda: done.append("same turn"))
    turns.tick.write(lambda: done.append("same turn, later"))

    turns.take()
    turns.tick.publish(lambda: done.append("next turn"))
    turns.take()

    assert done == ["same turn", "same turn, later", "next turn"]
    assert [record.message for record in caplog.records] == ["turn_failed"]
    caplog.clear()  # this one was meant


# -- the members -------------------------------------------------------------------------------------------------------


def test_a_member_gets_one_push_a_turn_however_many_frames(turns: Turns, fanout: Fanout) -> None:
    member = Member()
    fanout.add(member)

    for frame in (b"1", b"2", b"3"):
        fanout.send(frame)
    turns.take()

    assert member.pushes == [b"123"]


def test_frames_of_two_turns_come_in_two_pushes_in_order(turns: Turns, fanout: Fanout) -> None:
    member = Member()
    fanout.add(member)

    for frame in (b"1", b"2"):
        fanout.send(frame)
        turns.take()

    assert member.pushes == [b"1", b"2"]


def test_all_members_get_the_same_bytes_object(turns: Turns, fanout: Fanout) -> None:
    members = [Member() for _ in range(3)]
    for member in members:
        fanout.add(member)

    fanout.send(b"1")
    fanout.send(b"2")
    turns.take()

    assert len({id(member.pushes[0]) for member in members}) == 1


def test_nothing_is_pushed_before_the_end_of_the_turn(turns: Turns, fanout: Fanout) -> None:
    member = Member()
    fanout.add(member)

    fanout.send(b"1")

    assert member.pushes == []


def test_a_member_that_joins_in_a_turn_gets_only_what_is_sent_after(turns: Turns, fanout: Fanout) -> None:
    early, late = Member(), Member()
    fanout.add(early)
    fanout.send(b"1")

    fanout.add(late)
    fanout.send(b"2")
    turns.take()

    assert (b"".join(early.pushes), late.pushes) == (b"12", [b"2"])


def test_a_member_that_leaves_in_a_turn_gets_nothing_of_it(turns: Turns, fanout: Fanout) -> None:
    member = Member()
    fanout.add(member)
    fanout.send(b"1")

    fanout.remove(member)
    turns.take()

    assert member.pushes == []


def test_a_push_may_make_another_member_leave(turns: Turns, fanout: Fanout) -> None:
    victim = Member()
    fanout.add(Member(then=lambda: fanout.remove(victim)))
    fanout.add(victim)
    bystander = Member()
    fanout.add(bystander)

    fanout.send(b"1")
    turns.take()

    assert (victim.pushes, bystander.pushes, len(fanout)) == ([], [b"1"], 2)


def test_a_push_may_make_the_member_itself_leave(turns: Turns, fanout: Fanout) -> None:
    leaver = Member(then=lambda: fanout.remove(leaver))
    fanout.add(leaver)

    fanout.send(b"1")
    turns.take()
    fanout.send(b"2")
    turns.take()

    assert leaver.pushes == [b"1"]


def test_a_push_may_make_somebody_join_from_the_next_frame_on(turns: Turns, fanout: Fanout) -> None:
    guest = Member()
    fanout.add(Member(then=lambda: fanout.add(guest)))

    fanout.send(b"1")
    turns.take()
    fanout.send(b"2")
    turns.take()

    assert guest.pushes == [b"2"]


def test_joining_twice_is_joining_once(turns: Turns, fanout: Fanout) -> None:
    member = Member()
    fanout.add(member)
    fanout.add(member)

    fanout.send(b"1")
    turns.take()

    assert (member.pushes, len(fanout)) == ([b"1"], 1)


def test_who_left_is_no_subscriber_any_more(fanout: Fanout) -> None:
    leaver, other = Member(), Member()
    for member in (leaver, other):
        fanout.add(member)
    assert fanout.subscribers() == (leaver, other)

    fanout.remove(leaver)

    assert fanout.subscribers() == (other,)


def test_leaving_without_having_joined_changes_nothing(fanout: Fanout) -> None:
    fanout.add(Member())

    fanout.remove(Member())

    assert len(fanout) == 1


def test_a_flush_ahead_of_the_turn_is_not_repeated_at_its_end(turns: Turns, fanout: Fanout) -> None:
    member = Member()
    fanout.add(member)
    fanout.send(b"1")

    fanout.flush()
    turns.take()

    assert member.pushes == [b"1"]


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["send", "add", "remove", "turn", "flush"]), st.integers(0, 2)), max_size=40
    )
)
def test_each_member_gets_each_frame_sent_while_it_was_there_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    turns, members = Turns(), [Member() for _ in range(3)]
    fanout, sent = Fanout(turns.tick), 0
    due: dict[int, list[int]] = {}  # the model: frames a member has not been handed yet, by member
    got: list[list[int]] = [[], [], []]

    def hand_over() -> None:
        for member, frames in due.items():
            got[member] += frames
            frames.clear()

    for step, who in steps:
        match step:
            case "send":
                sent += 1
                fanout.send(bytes([sent]))
                for frames in due.values():
                    frames.append(sent)
            case "add":
                fanout.add(members[who])
                hand_over()
                due.setdefault(who, [])
            case "remove":
                fanout.remove(members[who])
                due.pop(who, None)  # what it was not handed yet it never gets
            case "flush":
                fanout.flush()
                hand_over()
            case "turn":
                turns.take()
                hand_over()

    turns.take()
    hand_over()
    assert [list(b"".join(member.pushes)) for member in members] == got
