"""One moment to write in each turn of the loop: who gets what in it, in which order, and how often."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.topics.member import Member, Numbers
from tests.topics.reader import Turns
from topics.key import Cursor
from topics.subscriber import Missed
from topics.tick import CATCHING_UP, ENOUGH_JOINED, LINGER_FROM, MAX_LINGER, WRITE_TIME, WRITES_BETWEEN_LOOKS, Tick


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def topic(turns: Turns) -> Numbers:
    return Numbers(turns.tick)


@pytest.fixture
def other(turns: Turns) -> Numbers:
    return Numbers(turns.tick, "ETH/USDT:USDT")


def slow(turns: Turns, seconds: float) -> Callable[[], None]:
    """What a write does that takes so long."""
    return partial(turns.wait, seconds)


def crowd(topic: Numbers, size: int, then: Callable[[], object] | None = None) -> list[Member]:
    """So many members, of one cohort after the next round."""
    members = [Member(then) for _ in range(size)]
    topic.join(*members)
    return members


def settled(turns: Turns, topic: Numbers, size: int, then: Callable[[], object] | None = None) -> list[Member]:
    """The same, that have found each other already."""
    members = crowd(topic, size, then)
    turns.take_all()
    return members


# -- the turn ----------------------------------------------------------------------------------------------------------


def test_what_a_turn_publishes_is_written_in_the_same_turn(turns: Turns, topic: Numbers) -> None:
    (member,) = settled(turns, topic, 1)

    turns.tick.publish(lambda: topic.send(b"1"))
    turns.take()

    assert member.writes == [b"1"]


def test_nothing_is_written_before_the_end_of_the_turn(turns: Turns, topic: Numbers) -> None:
    (member,) = settled(turns, topic, 1)

    topic.send(b"1")
    turns.tick.push(member, b"a")

    assert member.writes == []


def test_a_turn_is_asked_for_once_however_much_is_due() -> None:
    asked: list[Callable[[], object]] = []

    class Asked(Turns):
        def call_soon(self, callback: Callable[[], None]) -> None:
            asked.append(callback)

    turns = Asked()
    topic, member = Numbers(turns.tick), Member()
    topic.join(member)
    topic.send(b"12")
    turns.tick.push(member, b"a")
    turns.tick.publish(lambda: None)

    assert len(asked) == 1


def test_an_idle_tick_asks_for_no_turn(turns: Turns, topic: Numbers) -> None:
    settled(turns, topic, 3)
    topic.send(b"1")
    turns.take_all()

    assert not turns.take()


def test_what_a_write_makes_due_waits_for_the_next_turn(turns: Turns, topic: Numbers) -> None:
    (member,) = settled(turns, topic, 1)
    member.then = lambda: len(member.writes) > 1 or topic.send(b"2")
    topic.send(b"1")

    turns.take()
    after_one = list(member.writes)
    turns.take()

    assert (after_one, member.writes) == ([b"1"], [b"1", b"2"])


def test_a_failure_to_publish_is_logged_and_stops_neither_the_rest_of_the_turn_nor_the_turns_after(
    turns: Turns, topic: Numbers, caplog: pytest.LogCaptureFixture
) -> None:
    (member,) = settled(turns, topic, 1)
    turns.tick.publish(lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    turns.tick.publish(lambda: topic.send(b"1"))

    turns.take()
    topic.send(b"2")
    turns.take()

    assert member.writes == [b"1", b"2"]
    assert [record.message for record in caplog.records] == ["turn_failed"]
    caplog.clear()  # this one was meant


# -- one write for all -------------------------------------------------------------------------------------------------


def test_a_member_gets_one_write_a_turn_however_many_frames_and_topics(
    turns: Turns, topic: Numbers, other: Numbers
) -> None:
    (member,) = crowd(topic, 1)
    other.join(member)
    turns.take_all()

    topic.send(b"12")
    other.send(b"ab")
    turns.take()

    assert member.writes == [b"12ab"]


def test_frames_of_two_turns_come_in_two_writes_in_order(turns: Turns, topic: Numbers) -> None:
    (member,) = crowd(topic, 1)

    for letter in (b"1", b"2"):
        topic.send(letter)
        turns.take()

    assert member.writes == [b"1", b"2"]


@pytest.mark.parametrize("sent", [b"1", b"12"], ids=["of one frame", "of two"])
def test_all_who_have_the_same_topics_are_given_the_same_object(turns: Turns, topic: Numbers, sent: bytes) -> None:
    members = settled(turns, topic, 3)

    topic.send(sent)
    turns.take()

    assert [member.writes for member in members] == [[sent]] * 3
    assert len({id(member.writes[0]) for member in members}) == 1


def test_who_has_one_topic_more_gets_its_frames_in_the_same_write(turns: Turns, topic: Numbers, other: Numbers) -> None:
    one, both = settled(turns, topic, 2)
    other.join(both)
    turns.take_all()

    topic.send(b"1")
    other.send(b"a")
    turns.take()

    assert (one.writes, both.writes) == ([b"1"], [b"1a"])


def test_who_said_hello_is_told_what_others_do_not_know_of_in_its_place(turns: Turns, topic: Numbers) -> None:
    base, extended = Member(), Member(extended=True)
    topic.join(base, extended)
    turns.take_all()

    topic.send(b"1")
    topic.declare(b"g")
    topic.fanout.tell(b"s")
    topic.send(b"2")
    turns.take()

    assert (base.writes, extended.writes) == ([b"12"], [b"1gs2"])


def test_what_a_base_client_does_not_know_of_costs_it_no_write(turns: Turns, topic: Numbers) -> None:
    (base,) = settled(turns, topic, 1)

    topic.declare(b"g")
    topic.fanout.tell(b"s")
    turns.take()

    assert base.writes == []


def test_each_round_begins_with_another_member(turns: Turns, topic: Numbers) -> None:
    order: list[int] = []
    for number in range(5):
        topic.join(Member(partial(order.append, number)))
    turns.take_all()

    firsts = set()
    for _ in range(5):
        order.clear()
        topic.send(b"1")
        turns.take_all()
        assert sorted(order) == list(range(5))
        firsts.add(order[0])

    assert firsts == set(range(5))


# -- joining, leaving, hello -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settle", [True, False])
def test_a_member_that_joins_in_a_turn_gets_only_what_is_sent_after(
    turns: Turns, topic: Numbers, other: Numbers, settle: bool
) -> None:
    early, late = Member(), Member()
    topic.join(early)
    other.join(late)
    if settle:
        turns.take_all()

    topic.send(b"1")
    other.send(b"a")
    topic.join(late)
    topic.send(b"2")
    other.send(b"b")
    turns.take()

    assert early.got == b"12"
    assert sorted(late.got) == sorted(b"ab2")


def test_after_its_first_round_a_member_shares_the_others_object(turns: Turns, topic: Numbers) -> None:
    (early,) = settled(turns, topic, 1)
    topic.send(b"1")
    late = Member()
    topic.join(late)
    turns.take_all()

    topic.send(b"23")
    turns.take()

    assert early.writes[-1] is late.writes[-1]


@pytest.mark.parametrize("settle", [True, False])
def test_a_member_that_leaves_in_a_turn_gets_nothing_of_it(
    turns: Turns, topic: Numbers, other: Numbers, settle: bool
) -> None:
    (member,) = crowd(topic, 1)
    other.join(member)
    if settle:
        turns.take_all()
    topic.send(b"1")
    other.send(b"a")

    topic.fanout.remove(member)
    turns.take()

    assert member.writes == [b"a"]


def test_who_says_hello_in_a_turn_is_told_of_what_follows_only(turns: Turns, topic: Numbers) -> None:
    (member,) = settled(turns, topic, 1)
    topic.send(b"1")
    topic.declare(b"g")

    member.extended = True
    turns.tick.changed(member)
    topic.declare(b"h")
    topic.send(b"2")
    turns.take()

    assert member.got == b"1h2"


def test_who_leaves_and_joins_again_in_a_turn_gets_what_is_sent_after(turns: Turns, topic: Numbers) -> None:
    (member,) = settled(turns, topic, 1)
    topic.send(b"1")
    topic.fanout.remove(member)
    topic.send(b"2")
    topic.join(member)
    topic.send(b"3")
    turns.take()

    assert member.got == b"3"


def test_joining_twice_is_joining_once(turns: Turns, topic: Numbers) -> None:
    member = Member()
    topic.join(member, member)

    topic.send(b"1")
    turns.take()

    assert (member.writes, len(topic.fanout)) == ([b"1"], 1)


def test_who_left_is_no_subscriber_any_more(topic: Numbers) -> None:
    leaver, stays = crowd(topic, 2)
    assert topic.fanout.subscribers() == (leaver, stays)

    topic.fanout.remove(leaver)

    assert topic.fanout.subscribers() == (stays,)


def test_leaving_without_having_joined_changes_nothing(topic: Numbers) -> None:
    crowd(topic, 1)

    topic.fanout.remove(Member())

    assert len(topic.fanout) == 1


def test_what_was_sent_while_nobody_was_there_counts_as_past_in_its_order(turns: Turns, topic: Numbers) -> None:
    (member,) = settled(turns, topic, 1)
    topic.send(b"1")
    topic.fanout.remove(member)
    topic.send(b"2")
    turns.take_all()

    assert topic.fanout.now[:2] == (topic.cursor, 2)


# -- past a client's own write -----------------------------------------------------------------------------------------


class Socket:
    """Takes at most ``room`` bytes of each write; raises what a full one does if that is none."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.got = b""

    def __call__(self, data: bytes) -> int:
        if self.room == 0:
            raise BlockingIOError
        self.got += data[: self.room]
        return len(data[: self.room])


def socket_of(turns: Turns, member: Member, room: int = 1_000) -> Socket:
    """Give ``member``, which has no cohort yet, a socket."""
    member.descriptor = len(turns.sockets) + 3
    turns.sockets[member.descriptor] = socket = Socket(room)
    return socket


def test_a_shared_write_goes_straight_to_the_sockets(turns: Turns, topic: Numbers) -> None:
    members = crowd(topic, 3)
    sockets = [socket_of(turns, member) for member in members]
    turns.take_all()

    topic.send(b"12")
    turns.take()

    assert [socket.got for socket in sockets] == [b"12"] * 3
    assert [member.writes for member in members] == [[], [], []]


@pytest.mark.parametrize(("room", "taken", "left"), [(0, b"", b"123"), (1, b"1", b"23"), (3, b"123", b"")])
def test_what_a_socket_does_not_take_goes_to_its_clients_own_buffer(
    turns: Turns, topic: Numbers, room: int, taken: bytes, left: bytes
) -> None:
    members = crowd(topic, 3)
    full, *others = [socket_of(turns, member, room) for member, room in zip(members, (room, 9, 9), strict=True)]
    turns.take_all()

    topic.send(b"123")
    turns.take()

    assert (full.got, members[0].got) == (taken, left)
    assert [socket.got for socket in others] == [b"123"] * 2
    assert [member.got for member in members[1:]] == [b""] * 2


def test_what_a_socket_did_not_take_stops_its_client_in_its_place(turns: Turns, topic: Numbers) -> None:
    slow, quick = crowd(topic, 2)
    sockets = [socket_of(turns, slow, room=1), socket_of(turns, quick)]
    slow.then = lambda: turns.tick.stop(slow)
    turns.take_all()

    topic.send(b"12")
    turns.take()
    topic.send(b"3")
    turns.take_all()

    assert (sockets[0].got, slow.got, sockets[1].got) == (b"1", b"2", b"123")
    assert topic.fanout.behind[turns.tick._seats[slow]].events == 2


def test_what_follows_in_a_round_waits_behind_what_a_socket_did_not_take(turns: Turns, topic: Numbers) -> None:
    members = crowd(topic, 3 * WRITES_BETWEEN_LOOKS)
    sockets = {member: socket_of(turns, member) for member in members}
    turns.take_all()
    for descriptor, socket in list(turns.sockets.items()):
        turns.sockets[descriptor] = lambda data, take=socket: (turns.wait(WRITE_TIME), take(data))[1]  # type: ignore[func-returns-value, misc]
    topic.send(b"1")
    turns.take()
    full = next(member for member in members if not sockets[member].got)

    turns.tick.push(full, b"a")  # of which its transport keeps something
    full.descriptor = -1
    turns.tick.rerouted(full)
    turns.take_all()

    assert (sockets[full].got, full.got) == (b"", b"a1")


def test_a_client_that_is_behind_has_its_socket_left_alone(turns: Turns, topic: Numbers) -> None:
    stopped, quick = crowd(topic, 2)
    sockets = [socket_of(turns, stopped), socket_of(turns, quick)]
    turns.take_all()

    turns.tick.stop(stopped)
    topic.send(b"1")
    turns.tick.push(stopped, b"a")  # its own buffer keeps the order
    turns.take_all()

    assert (sockets[0].got, stopped.got, sockets[1].got) == (b"", b"a", b"1")


def test_a_client_that_is_gone_has_its_socket_left_alone(turns: Turns, topic: Numbers) -> None:
    members = crowd(topic, 3 * WRITES_BETWEEN_LOOKS)
    sockets = {member: socket_of(turns, member) for member in members}
    turns.take_all()
    busy = turns.sockets[members[0].descriptor]
    turns.sockets[members[0].descriptor] = lambda data: (turns.wait(WRITE_TIME), busy(data))[1]  # type: ignore[func-returns-value]
    topic.send(b"1")
    while sockets[members[0]].got == b"":
        turns.take()
    gone = next(member for member in members if not sockets[member].got)

    turns.tick.forget(gone)
    turns.take_all()

    assert (sockets[gone].got, gone.got) == (b"", b"")
    assert {sockets[member].got for member in members if member is not gone} == {b"1"}


# -- what is for one only ----------------------------------------------------------------------------------------------


def test_what_is_pushed_is_written_to_that_one_only(turns: Turns, topic: Numbers) -> None:
    asker, bystander = settled(turns, topic, 2)

    turns.tick.push(asker, b"a")
    turns.tick.push(asker, b"b")
    turns.take()

    assert (asker.writes, bystander.writes) == ([b"ab"], [])


def test_what_is_pushed_in_order_comes_between_what_was_sent_before_and_after(turns: Turns, topic: Numbers) -> None:
    asker, bystander = settled(turns, topic, 2)

    topic.send(b"1")
    topic.fanout.push_in_order(asker, b"a")
    topic.send(b"2")
    topic.fanout.push_in_order(asker, b"b")
    topic.fanout.push_in_order(asker, b"c")
    topic.send(b"3")
    turns.take()

    assert (asker.got, bystander.got) == (b"1a2bc3", b"123")


def test_what_was_pushed_to_one_that_is_about_to_be_cut_is_written_at_once_and_once(turns: Turns) -> None:
    member = Member()
    turns.tick.push(member, b"a")

    turns.tick.write_now(member)
    at_once = list(member.writes)
    turns.take_all()
    turns.tick.write_now(member)
    turns.tick.write_now(Member())

    assert (at_once, member.writes) == ([b"a"], [b"a"])


# -- a round that takes long -------------------------------------------------------------------------------------------


def test_a_long_round_is_spread_over_turns_and_everybody_is_written_to_once(turns: Turns, topic: Numbers) -> None:
    size = 4 * WRITES_BETWEEN_LOOKS
    members = settled(turns, topic, size, slow(turns, WRITE_TIME / WRITES_BETWEEN_LOOKS))
    topic.send(b"1")

    counts = []
    while turns.take():
        counts.append(sum(len(member.writes) for member in members))

    assert counts[:4] == [WRITES_BETWEEN_LOOKS * turn for turn in (1, 2, 3, 4)]
    assert {member.got for member in members} == {b"1"}


def test_a_long_round_of_many_small_cohorts_is_spread_over_turns_too(turns: Turns) -> None:
    topics = [Numbers(turns.tick, str(number)) for number in range(12)]
    members = [Member(slow(turns, WRITE_TIME / 3)) for _ in topics]
    for topic, member in zip(topics, members, strict=True):
        topic.join(member)
    turns.take_all()
    for topic in topics:
        topic.send(b"1")

    counts = []
    while turns.take():
        counts.append(sum(len(member.writes) for member in members))

    assert counts[:4] == [3, 6, 9, 12]


def test_publishing_goes_on_while_a_round_is_under_way(turns: Turns, topic: Numbers) -> None:
    settled(turns, topic, 2 * WRITES_BETWEEN_LOOKS, slow(turns, WRITE_TIME))
    topic.send(b"1")
    turns.take()
    published: list[int] = []

    turns.tick.publish(lambda: published.append(1))
    turns.take()

    assert published == [1]


def test_no_round_begins_before_the_last_is_over(turns: Turns, topic: Numbers, other: Numbers) -> None:
    members = settled(turns, topic, 3 * WRITES_BETWEEN_LOOKS, slow(turns, WRITE_TIME))
    (bystander,) = settled(turns, other, 1)
    topic.send(b"1")
    turns.take()

    other.send(b"a")
    topic.send(b"2")
    while turns.take():
        assert not bystander.writes or all(b"1" in member.writes for member in members)
    turns.wait(1.0)
    turns.take_all()
    turns.wait(1.0)
    turns.take_all()

    assert ({member.got for member in members}, bystander.got) == ({b"12"}, b"a")


def test_who_is_answered_does_not_wait_for_the_rest_of_a_round(turns: Turns, topic: Numbers) -> None:
    members = settled(turns, topic, 3 * WRITES_BETWEEN_LOOKS, slow(turns, WRITE_TIME))
    topic.send(b"1")
    turns.take()
    last = next(member for member in members if not member.writes)

    turns.tick.push(last, b"a")
    turns.take()

    assert last.writes[0] == b"a"


type_of_change = {
    "joins another": lambda turns, topic, other, member: other.join(member),
    "leaves": lambda turns, topic, other, member: topic.fanout.remove(member),
    "is pushed to in order": lambda turns, topic, other, member: topic.fanout.push_in_order(member, b"p"),
    "stops": lambda turns, topic, other, member: turns.tick.stop(member),
    "says hello": lambda turns, topic, other, member: turns.tick.changed(member),
    "sleeps": lambda turns, topic, other, member: turns.tick.sleep(member, topic.fanout),
}


@pytest.mark.parametrize("written", [True, False], ids=["already written to", "not yet written to"])
@pytest.mark.parametrize("change", type_of_change.values(), ids=type_of_change)
def test_who_changes_something_during_a_round_gets_its_write_once_and_before_anything_later(
    turns: Turns, topic: Numbers, other: Numbers, change: Callable[..., None], written: bool
) -> None:
    members = settled(turns, topic, 3 * WRITES_BETWEEN_LOOKS, slow(turns, WRITE_TIME))
    topic.send(b"1")
    turns.take()
    member = next(member for member in members if bool(member.writes) is written)

    change(turns, topic, other, member)
    turns.tick.push(member, b"z")
    turns.take_all()

    assert member.got in (b"1z", b"1pz")
    assert {one.got for one in members if one is not member} == {b"1"}


def test_who_is_gone_during_a_round_is_written_to_no_more(turns: Turns, topic: Numbers) -> None:
    members = settled(turns, topic, 3 * WRITES_BETWEEN_LOOKS, slow(turns, WRITE_TIME))
    topic.send(b"1")
    turns.take()
    gone = next(member for member in members if not member.writes)

    turns.tick.push(gone, b"z")
    turns.tick.forget(gone)
    turns.take_all()

    assert gone.writes == []
    assert {one.got for one in members if one is not gone} == {b"1"}


# -- the linger --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("took", "linger"), [(0.0, 0.0), (LINGER_FROM / 2, 0.0), (0.01, 0.01), (MAX_LINGER * 4, MAX_LINGER)]
)
def test_the_next_round_waits_as_long_as_a_long_one_took(
    turns: Turns, topic: Numbers, took: float, linger: float
) -> None:
    (member,) = settled(turns, topic, 1, slow(turns, took))
    topic.send(b"1")
    turns.take_all()

    topic.send(b"2")
    turns.take_all()
    assert member.got == (b"1" if linger else b"12")
    turns.wait(linger * 0.9)
    turns.take_all()
    topic.send(b"3")
    turns.wait(linger * 0.1 + 1e-9)
    turns.take_all()

    assert member.writes == ([b"1", b"23"] if linger else [b"1", b"2", b"3"])


def test_after_an_idle_while_nothing_lingers(turns: Turns, topic: Numbers) -> None:
    (member,) = settled(turns, topic, 1, slow(turns, 0.01))
    topic.send(b"1")
    turns.take_all()
    turns.wait(0.02)

    topic.send(b"2")
    turns.take()

    assert member.got == b"12"


def test_an_answer_does_not_linger(turns: Turns, topic: Numbers) -> None:
    (member,) = settled(turns, topic, 1, slow(turns, 0.01))
    topic.send(b"1")
    turns.take_all()

    topic.send(b"2")
    turns.tick.push(member, b"a")
    turns.take()

    assert member.got == b"1a"


@pytest.mark.parametrize(("size", "lingers"), [(ENOUGH_JOINED - 1, True), (ENOUGH_JOINED, False)])
def test_a_write_that_holds_enough_is_not_waited_after(turns: Turns, topic: Numbers, size: int, lingers: bool) -> None:
    (member,) = settled(turns, topic, 1, slow(turns, 0.01))
    topic.fanout.send(Cursor(1, 1), b"x" * size)
    turns.take_all()

    topic.fanout.send(Cursor(1, 2), b"y")
    turns.take_all()

    assert (b"y" in member.got) is not lingers


def test_those_who_come_back_together_are_brought_up_to_date_over_several_rounds(turns: Turns, topic: Numbers) -> None:
    members = settled(turns, topic, 3)
    for member in members:
        member.stopped = True
        turns.tick.stop(member)
    topic.send(b"1")
    turns.take_all()
    told, missed = [], topic.backlog.missed

    def slowly(*arguments: Any, **named: Any) -> Missed:
        told.append(turns.now)
        turns.now += CATCHING_UP
        return missed(*arguments, **named)

    topic.backlog.missed = slowly  # type: ignore[method-assign]
    for member in members:
        member.stopped = False
        turns.tick.drained(member)
    turns.take()
    after_one = len(told)
    turns.take_all()

    assert (after_one, len(told)) == (1, 3)
    assert [member.got for member in members] == [b"1"] * 3


# -- writes that do more than write ------------------------------------------------------------------------------------


def test_a_write_that_raises_is_told_to_its_member_and_disturbs_nobody(turns: Turns, topic: Numbers) -> None:
    members = settled(turns, topic, 2 * WRITES_BETWEEN_LOOKS)
    broken = members[len(members) // 2]
    broken.then = lambda: 1 // 0
    topic.send(b"1")

    turns.take()
    turns.tick.push(broken, b"a")
    turns.take()

    assert {member.got for member in members if member is not broken} == {b"1"}
    assert [type(error) for error in broken.errors] == [ZeroDivisionError] * 2


@pytest.mark.parametrize("what", ["broke", "backlog"])
def test_what_fails_for_one_member_stops_neither_the_turn_nor_the_turns_after(
    turns: Turns, topic: Numbers, other: Numbers, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    (member,) = settled(turns, topic, 1)
    (bystander,) = settled(turns, other, 1)
    if what == "broke":
        member.then = member.broke = lambda *_: 1 // 0  # type: ignore[assignment, method-assign, return-value]
        topic.send(b"1")
    else:
        topic.backlog.missed = lambda *_, **__: 1 // 0  # type: ignore[assignment, method-assign, return-value]
        turns.tick.stop(member)
        topic.send(b"1")
        turns.tick.drained(member)

    turns.take_all()
    other.send(b"a")
    turns.take_all()

    assert bystander.got == b"a"
    assert {record.message for record in caplog.records} == {"turn_failed"}
    caplog.clear()  # this was meant


def test_a_write_may_make_a_member_that_was_not_yet_written_to_leave(turns: Turns, topic: Numbers) -> None:
    members = settled(turns, topic, 3)

    def leave_alone(stays: Member) -> None:
        for member in members:
            if member is not stays and len(topic.fanout) > 1:
                topic.fanout.remove(member)

    for member in members:
        member.then = partial(leave_alone, member)
    topic.send(b"1")
    turns.take()
    topic.send(b"2")
    turns.take_all()

    # What was sent before they left is theirs.
    assert sorted(member.got for member in members) == [b"1", b"1", b"12"]


@pytest.mark.parametrize("end", ["forget", "stop", "leave"])
def test_a_write_may_be_its_members_last(turns: Turns, topic: Numbers, end: str) -> None:
    first, second, third = settled(turns, topic, 3)
    ends: dict[str, Callable[[], None]] = {
        "forget": lambda: turns.tick.forget(second),
        "stop": lambda: turns.tick.stop(second),
        "leave": lambda: topic.fanout.remove(second),
    }
    second.then = ends[end]

    topic.send(b"1")
    turns.take()
    topic.send(b"2")
    turns.take_all()

    assert [member.got for member in (first, second, third)] == [b"12", b"1", b"12"]


def test_a_write_may_make_somebody_join_from_the_next_frame_on(turns: Turns, topic: Numbers) -> None:
    (host,) = settled(turns, topic, 1)
    guest = Member()
    host.then = lambda: topic.join(guest)

    topic.send(b"1")
    turns.take()
    topic.send(b"2")
    turns.take()

    assert guest.writes == [b"2"]


# -- when it was written to --------------------------------------------------------------------------------------------


def test_when_a_member_was_last_written_to_is_known_of_shared_writes_and_of_its_own(
    turns: Turns, topic: Numbers
) -> None:
    member, bystander = settled(turns, topic, 2)
    times = []
    for act in (lambda: topic.send(b"1"), lambda: turns.tick.push(member, b"a"), lambda: topic.fanout.remove(member)):
        turns.wait(1.0)
        act()
        turns.take_all()
        times.append((turns.tick.sent_at(member), turns.tick.sent_at(bystander)))

    assert times == [(1001.0, 1001.0), (1002.0, 1001.0), (1002.0, 1001.0)]


def test_who_was_told_nothing_was_not_written_to(turns: Turns, topic: Numbers) -> None:
    (base,) = settled(turns, topic, 1)
    topic.send(b"1")
    turns.take_all()
    turns.wait(1.0)

    topic.fanout.tell(b"s")
    base.extended = True
    turns.tick.changed(base)
    turns.take_all()

    assert (base.writes, turns.tick.sent_at(base)) == ([b"1"], 1000.0)


# -- nothing is left ---------------------------------------------------------------------------------------------------


def test_cohorts_end_with_their_last_member_and_seats_with_their_connections(
    turns: Turns, topic: Numbers, other: Numbers
) -> None:
    members = crowd(topic, 4)
    other.join(members[1], members[2])
    turns.take_all()
    tick: Tick = turns.tick
    assert sorted(len(cohort.seats) for cohort in tick._cohorts.values()) == [2, 2]

    for one in (topic, other):
        for member in members[:2]:
            one.fanout.remove(member)
    tick.stop(members[2])
    tick.push(members[3], b"a")
    for member in members:
        tick.forget(member)
    turns.take_all()

    assert (tick._cohorts, tick._seats) == ({}, {})
    for one in (topic, other):
        assert (len(one.fanout), one.fanout.cohorts, one.fanout.apart, one.fanout.behind) == (0, {}, {}, {})
    assert members[3].writes == []
