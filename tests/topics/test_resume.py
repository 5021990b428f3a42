"""Going on from a cursor: everything after it once, in order and as it was first sent, then live; or a gap."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.topics.conftest import Start
from tests.topics.distant_ring import DistantRing
from tests.topics.reader import Reader, broken, go_live, join, say, turns
from tests.topics.scripted_venue import EPOCH_MS, ScriptedVenue, book, trades, upstream
from topics.key import Cursor
from topics.resume import PORTION_BYTES, PORTION_EVENTS, judge
from topics.ring import MemoryRing, RingBudget
from topics.upstream import Upstream


def at(seq: int, epoch: int = EPOCH_MS) -> Cursor:
    return Cursor(epoch, seq)


async def resume(upstream: Upstream, since: Cursor, *, extended: bool = True) -> Reader:
    reader = Reader(extended=extended)
    await upstream.audience.join(upstream.key, reader, since=since)
    await turns()
    return reader


async def running(start: Start, events: int, **ring: Any) -> tuple[Upstream, Reader]:
    """A feed that has published so many events, and one who had them all."""
    one = start("trades", ring=MemoryRing(RingBudget(), **ring))
    witness = await join(one, extended=True)
    await go_live(one)
    for number in range(1, events + 1):
        await say(one, number, number)
    return one, witness


def types(reader: Reader) -> list[str]:
    return [message["type"] for message in reader.messages if message["type"] != "status"]


def data(reader: Reader) -> list[bytes]:
    return [payload for payload in reader.payloads if payload.startswith(b'{"type":"trades"')]


# -- what becomes of a cursor ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "status", "events"),
    [
        (at(6), "recovered", 0),
        (at(2), "recovered", 4),
        (at(0), "recovered", 6),
        (at(7), "ahead", 0),
        (at(1, EPOCH_MS + 1), "ahead", 0),
        (at(9, EPOCH_MS - 1), "epochChanged", 6),
    ],
)
async def test_a_cursor_is_judged_by_its_place(start: Start, since: Cursor, status: str, events: int) -> None:
    one, _ = await running(start, 6)

    fields = (await one.audience.judge(since)).fields

    assert fields == {"status": status, "from": str(since), "to": f"{EPOCH_MS}-6", "count": events}


@pytest.mark.parametrize(
    ("seq", "status", "events"), [(1, "partial", 3), (2, "partial", 3), (3, "recovered", 3), (4, "recovered", 2)]
)
async def test_a_ring_that_does_not_reach_back_gives_a_part(start: Start, seq: int, status: str, events: int) -> None:
    one, _ = await running(start, 6, max_events=3, max_young_events=3)

    resumed = await one.audience.judge(at(seq))

    assert (resumed.status, resumed.events) == (status, events)


async def test_a_ring_that_holds_nothing_any_more_has_lost_it() -> None:
    ring = MemoryRing(RingBudget(), max_events=1, max_young_events=1)
    for seq in (1, 2, 3):
        ring.append(at(seq), b"{}")
    ring.close()

    resumed = await judge(ring, at(1), lambda: at(3))

    assert (resumed.status, resumed.events) == ("lost", 0)


async def test_a_book_answers_with_its_newest_state(start: Start) -> None:
    one = start("orderbook")
    one.on_book(book(7), EPOCH_MS)
    await turns()

    resumed = await one.audience.judge(at(1))
    reader = await resume(one, at(1))

    assert resumed.fields == {"status": "snapshot", "from": f"{EPOCH_MS}-1", "to": f"{EPOCH_MS}-1", "count": 1}
    assert types(reader) == ["orderbook", "caughtUp"]
    assert reader.messages[0]["data"]["nonce"] == 7


# -- what is sent ------------------------------------------------------------------------------------------------------


async def test_what_came_after_the_cursor_is_sent_again_byte_for_byte_and_then_what_is_new(start: Start) -> None:
    one, witness = await running(start, 5)

    reader = await resume(one, at(2))
    await say(one, 6, 7)

    assert types(reader) == ["trades"] * 3 + ["caughtUp", "trades"]
    assert data(reader) == data(witness)[-4:]
    assert reader.messages[3] == {
        "type": "caughtUp",
        "channel": "trades",
        "topic": one.key.topic,
        "cursor": f"{EPOCH_MS}-5",
    }


async def test_who_missed_nothing_is_caught_up_at_once(start: Start) -> None:
    one, _ = await running(start, 5)

    reader = await resume(one, at(5))
    await say(one, 6, 6)

    assert (types(reader), reader.seqs) == (["caughtUp", "trades"], [5, 6])


async def test_who_is_ahead_goes_on_from_now(start: Start) -> None:
    one, _ = await running(start, 5)

    reader = await resume(one, at(50))
    await say(one, 6, 6)

    assert (types(reader), reader.ids) == (["caughtUp", "trades"], [6])


async def test_where_the_ring_does_not_reach_back_a_gap_says_how_much_is_missing(start: Start) -> None:
    one, _ = await running(start, 6, max_events=3, max_young_events=3)

    reader = await resume(one, at(1))

    gap = reader.messages[0]
    assert (types(reader), reader.ids) == (["gap", *["trades"] * 3, "caughtUp"], [4, 5, 6])
    assert (gap["reason"], gap["from"]["cursor"], gap["to"]["cursor"]) == (
        "RING_TRIMMED",
        f"{EPOCH_MS}-1",
        f"{EPOCH_MS}-4",
    )
    assert (gap["events"], gap["missing"], gap["backfilled"]) == (2, None, False)


async def test_where_the_feed_began_anew_a_gap_says_so_and_all_that_is_held_follows(start: Start) -> None:
    one, _ = await running(start, 3)

    reader = await resume(one, at(90, EPOCH_MS - 1))

    gap = reader.messages[0]
    assert (types(reader), reader.ids) == (["gap", *["trades"] * 3, "caughtUp"], [1, 2, 3])
    assert (gap["reason"], gap["events"], gap["missing"]) == ("EPOCH_CHANGED", None, None)


async def test_where_the_feed_began_anew_and_has_said_nothing_the_gap_is_told_all_the_same(start: Start) -> None:
    one, _ = await running(start, 0)

    reader = await resume(one, at(90, EPOCH_MS - 1))
    await say(one, 1, 1)

    assert types(reader) == ["gap", "caughtUp", "trades"]
    assert reader.messages[0]["to"]["cursor"] == f"{EPOCH_MS}-0"


async def test_a_change_of_epoch_within_the_ring_has_its_gap_in_its_place(start: Start) -> None:
    ring = MemoryRing(RingBudget())
    for seq in (1, 2):
        ring.append(at(seq, EPOCH_MS - 5), b'{"type":"trades","cursor":"%d-%d"}' % (EPOCH_MS - 5, seq))
    one = start("trades", ring=ring)
    await go_live(one)
    await say(one, 1, 1)

    reader = await resume(one, at(1, EPOCH_MS - 5))

    assert (types(reader), reader.seqs) == (["trades", "gap", "trades", "caughtUp"], [2, 1, 1])
    assert reader.messages[1]["from"]["cursor"] == f"{EPOCH_MS - 5}-2"


async def test_a_hole_in_the_ring_is_told_where_it_is(start: Start) -> None:
    ring = MemoryRing(RingBudget())
    for seq in (1, 2, 5):
        ring.append(at(seq), b'{"type":"trades","cursor":"%d-%d"}' % (EPOCH_MS, seq))

    resumed = await judge(ring, at(1), lambda: at(5))
    one = start("trades", ring=ring, owned=False)
    one.own(EPOCH_MS + 1, await ring.last(9))
    reader = await resume(one, at(1))

    gap = reader.messages[1]
    assert (resumed.status, resumed.events) == ("partial", 2)
    assert (types(reader), reader.seqs) == (["trades", "gap", "trades", "caughtUp"], [2, 5, 5])
    assert (gap["reason"], gap["events"], gap["to"]["cursor"]) == ("RING_TRIMMED", 2, f"{EPOCH_MS}-5")


async def test_a_base_client_gets_the_data_and_no_word_it_does_not_know(start: Start, venue: ScriptedVenue) -> None:
    one, _ = await running(start, 2, max_events=3, max_young_events=3)
    await broken(one)
    venue.trades = trades(1, 5)
    await go_live(one)  # a gap, and what was missed
    await say(one, 6, 6)

    reader = await resume(one, at(1), extended=False)

    assert set(types(reader)) == {"trades"}
    assert reader.ids[-1] == 6


async def test_a_long_past_comes_in_portions_as_the_client_takes_it(start: Start) -> None:
    count = 3 * PORTION_EVENTS
    one, witness = await running(start, count)
    reader, sizes, waits = Reader(extended=True), list[int](), 0
    write = reader.write

    def measured(data: Any) -> None:
        sizes.append(len(data))
        write(data)

    async def ready() -> None:
        nonlocal waits
        waits += 1
        await turns(2)

    reader.write, reader.ready = measured, ready  # type: ignore[method-assign]
    await one.audience.join(one.key, reader, since=at(0))
    await turns()

    assert data(reader) == data(witness)
    assert waits > 3
    assert max(sizes) < PORTION_BYTES + 2_000


# -- who leaves, sleeps or comes too early -----------------------------------------------------------------------------


async def test_who_leaves_in_the_midst_gets_nothing_more(start: Start) -> None:
    one, _ = await running(start, 2 * PORTION_EVENTS)
    reader, gate = Reader(extended=True), asyncio.Event()
    reader.ready = gate.wait  # type: ignore[assignment, method-assign]
    coming = asyncio.create_task(one.audience.join(one.key, reader, since=at(0)))
    await turns()

    one.audience.leave(one.key, reader, 0.0)
    gate.set()
    await coming
    await say(one, 2 * PORTION_EVENTS + 1, 2 * PORTION_EVENTS + 1)

    assert (reader.payloads, len(one.audience.everyone)) == ([], 1)


async def test_who_pauses_in_the_midst_goes_on_from_there_when_it_wakes(start: Start) -> None:
    one, _ = await running(start, 2 * PORTION_EVENTS)
    reader, gates = Reader(extended=True), [asyncio.Event(), asyncio.Event()]
    gates[0].set()
    times = iter([*gates, *[gates[0]] * 9])

    async def ready() -> None:
        await next(times).wait()

    reader.ready = ready  # type: ignore[method-assign]
    coming = asyncio.create_task(one.audience.join(one.key, reader, since=at(0)))
    await turns()
    first = len(reader.ids)
    one.audience.sleep(one.key, reader)
    gates[1].set()
    await coming
    await say(one, 2 * PORTION_EVENTS + 1, 2 * PORTION_EVENTS + 1)
    asleep = len(reader.ids)
    one.audience.wake(one.key, reader)
    await turns(20)

    assert 0 < first == asleep < 2 * PORTION_EVENTS
    assert reader.ids == list(range(1, 2 * PORTION_EVENTS + 2))
    assert types(reader).count("caughtUp") == 1


async def test_who_comes_before_the_feed_has_begun_waits_for_it(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 3)
    one = start("trades")

    reader = await resume(one, at(7, EPOCH_MS - 1))
    before = types(reader)
    await go_live(one)
    await say(one, 4, 4)

    assert (before, types(reader), reader.ids) == ([], ["gap", "trades", "caughtUp", "trades"], [1, 2, 3, 4])


async def test_who_leaves_between_the_beginning_of_the_feed_and_its_turn_gets_nothing(start: Start) -> None:
    one = start("trades")
    reader = await resume(one, at(7, EPOCH_MS - 1))
    gate = asyncio.Event()
    reader.ready = gate.wait  # type: ignore[assignment, method-assign]
    await go_live(one)

    one.audience.leave(one.key, reader, 0.0)
    gate.set()
    await turns()
    await say(one, 1, 1)

    assert (types(reader), one.audience.everyone) == ([], [])


async def test_who_leaves_and_asks_again_before_its_turn_gets_everything_once(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    one = start("trades")
    reader = await resume(one, at(7, EPOCH_MS - 1))
    gate = asyncio.Event()
    reader.ready = gate.wait  # type: ignore[assignment, method-assign]
    await go_live(one)

    one.audience.leave(one.key, reader, 0.0)
    again = asyncio.create_task(one.audience.join(one.key, reader, since=at(0)))
    await turns()
    gate.set()
    await again
    await say(one, 4, 4)

    assert (types(reader), reader.ids) == (["trades", "caughtUp", "trades"], [1, 2, 3, 4])


async def test_what_was_published_before_an_outage_is_sent_in_it(start: Start, venue: ScriptedVenue) -> None:
    one, _ = await running(start, 3)
    await broken(one)

    reader = await resume(one, at(1))
    in_the_outage = types(reader)
    venue.trades = trades(1, 5)
    await go_live(one)
    await say(one, 6, 6)

    assert in_the_outage == ["trades", "trades", "caughtUp"]
    assert reader.ids == [2, 3, 4, 5, 6]


# -- whatever happens meanwhile ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.integers(0, 30),
    behind=st.integers(0, 30),
    steps=st.lists(st.sampled_from(["publish", "turn", "take"]), max_size=25),
    held=st.integers(1, 40),
    distant=st.booleans(),
)
def test_delivered_and_declared_are_all_of_it_whatever_is_published_meanwhile(
    monkeypatch: pytest.MonkeyPatch, before: int, behind: int, steps: list[str], held: int, distant: bool
) -> None:
    monkeypatch.setattr("topics.resume.PORTION_EVENTS", 3)

    async def scenario() -> tuple[list[int], int]:
        kind = DistantRing if distant else MemoryRing
        one = upstream(
            ScriptedVenue(), "trades", ring=kind(RingBudget(), max_events=held, max_young_events=held), refused=[]
        )
        await go_live(one)
        number = 0

        async def publish() -> None:
            nonlocal number
            number += 1
            await say(one, number, number)

        for _ in range(before):
            await publish()
        reader, takes = Reader(extended=True), asyncio.Semaphore(1)
        reader.ready = takes.acquire  # type: ignore[assignment, method-assign]
        since = at(max(0, before - behind))
        coming = asyncio.create_task(one.audience.join(one.key, reader, since=since))
        for step in steps:
            match step:
                case "publish":
                    await publish()
                case "turn":
                    await turns(1)
                case _:
                    takes.release()
        for _ in range(100):
            takes.release()
        await coming
        await publish()
        await one.close()
        covered = list[int]()
        for message in reader.messages:
            if message["type"] == "gap":
                first = int(message["from"]["cursor"].partition("-")[2]) + 1
                covered += range(first, first + message["events"])
            elif message["type"] == "trades":
                covered.append(int(message["cursor"].partition("-")[2]))
        return covered, since.seq

    covered, since = asyncio.run(scenario())
    assert covered == list(range(since + 1, covered[-1] + 1))
