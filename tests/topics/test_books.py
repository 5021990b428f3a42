"""One book seen at several depths: what each view shows, when, and what it costs."""

from typing import Any

import orjson
import pytest

from exchanges.book import OrderBook
from exchanges.errors import SubscriptionLimit
from tests.topics.book_stage import read_texts, text_snapshot
from tests.topics.reader import Clock, Reader, Turns
from tests.topics.scripted_venue import EPOCH_MS, book, topic_key
from topics.books import MAX_VIEWS, Books
from topics.key import Cursor
from topics.topic import Topic


def at(seq: int) -> Cursor:
    return Cursor(EPOCH_MS, seq)


def message(payload: bytes | None) -> dict[str, Any]:
    assert payload is not None
    decoded: dict[str, Any] = orjson.loads(payload)
    return decoded


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def content(turns: Turns, clock: Clock) -> Books:
    return Books(lambda key: Topic(key, turns.tick, clock_ms=clock))


def watch(content: Books, levels: int) -> tuple[Topic, Reader]:
    topic, reader = content.topic(topic_key("orderbook", levels=levels)), Reader()
    topic.fanout.add(reader)
    return topic, reader


async def test_each_view_has_its_depth_and_the_cursor_of_the_book(content: Books, turns: Turns) -> None:
    _, shallow = watch(content, 1)
    _, deep = watch(content, 5)

    content.accept([book(1)])
    content.publish(at(1), 5)
    turns.take()

    assert [(len(r.messages[0]["data"]["bids"]), r.seqs) for r in (shallow, deep)] == [(1, [1]), (5, [1])]


async def test_a_view_that_nobody_watches_is_not_encoded(content: Books, clock: Clock) -> None:
    watch(content, 1)
    content.topic(topic_key("orderbook", levels=5))

    content.accept([book(1)])
    content.publish(at(1), 5)

    assert clock.reads == 1


async def test_of_several_changes_the_latest_is_shown(content: Books, turns: Turns) -> None:
    _, reader = watch(content, 1)

    content.accept([book(1)])
    content.accept([book(2)])
    content.publish(at(1), 5)
    turns.take()

    assert [frame["data"]["nonce"] for frame in reader.messages] == [2]


async def test_the_first_frame_of_a_watched_view_is_the_one_last_published(
    content: Books, turns: Turns, clock: Clock
) -> None:
    topic, reader = watch(content, 5)
    content.accept([book(1)])
    content.publish(at(1), 5)
    turns.take()

    first = await content.first_frame(topic, at(1), snapshot=True, rewind=0)

    assert ([first], clock.reads) == (reader.payloads, 1)


async def test_two_that_join_an_unwatched_view_at_one_cursor_get_the_same_bytes(content: Books, clock: Clock) -> None:
    content.accept([book(1)])
    content.publish(at(1), 5)
    topic = content.topic(topic_key("orderbook", levels=5))

    first = await content.first_frame(topic, at(1), snapshot=True, rewind=0)
    second = await content.first_frame(topic, at(1), snapshot=True, rewind=0)

    assert (first == second, clock.reads) == (True, 1)


async def test_at_another_cursor_the_first_frame_is_built_anew(content: Books) -> None:
    topic = content.topic(topic_key("orderbook", levels=5))
    for seq in (1, 2):
        content.accept([book(seq)])
        content.publish(at(seq), 5)
        frame = message(await content.first_frame(topic, at(seq), snapshot=True, rewind=0))

        assert (frame["cursor"], frame["data"]["nonce"]) == (f"{EPOCH_MS}-{seq}", seq)


async def test_a_client_that_wants_no_snapshot_gets_none(content: Books) -> None:
    content.accept([book(1)])
    content.publish(at(1), 5)
    topic = content.topic(topic_key("orderbook"))

    assert await content.first_frame(topic, at(1), snapshot=False, rewind=5) is None


async def test_a_forgotten_book_is_shown_to_nobody(content: Books) -> None:
    topic, _ = watch(content, 5)
    content.accept([book(1)])
    content.publish(at(1), 5)

    content.forget()

    assert await content.first_frame(topic, at(1), snapshot=True, rewind=0) is None


async def test_a_book_has_sixteen_views_besides_the_first(content: Books) -> None:
    for levels in range(1, MAX_VIEWS + 2):
        watch(content, levels)

    with pytest.raises(SubscriptionLimit) as caught:
        content.topic(topic_key("orderbook", levels=30))

    assert caught.value.details == {"limit": 16}


async def test_a_view_that_nobody_watches_makes_room_for_another(content: Books) -> None:
    watched = [watch(content, levels) for levels in range(1, MAX_VIEWS + 2)]
    left, reader = watched[3]
    left.fanout.remove(reader)

    content.topic(topic_key("orderbook", levels=30))

    depths = {dict(topic.key.params)["levels"] for topic in content.topics()}
    assert depths == {*range(1, MAX_VIEWS + 2), 30} - {4}


async def test_asking_for_a_view_again_gives_the_same_topic(content: Books) -> None:
    key = topic_key("orderbook", levels=5)

    assert content.topic(key) is content.topic(key)


async def test_a_book_leaves_nothing_for_another_frame(content: Books) -> None:
    watch(content, 5)
    content.accept([book(1)])

    assert not content.publish(at(1), 5)


async def test_views_differ_by_depth_pace_and_mode(content: Books) -> None:
    keys = [topic_key("orderbook", **params) for params in ({}, {"throttleMs": 100}, {"mode": "delta"}, {"levels": 5})]

    assert len({content.topic(key) for key in keys}) == 4


async def test_of_one_book_some_may_watch_numbers_and_others_texts(turns: Turns, clock: Clock) -> None:
    content = Books(lambda key: Topic(key, turns.tick, clock_ms=clock))
    readers = [Reader(), Reader()]
    for reader, params in zip(readers, ({}, {"mode": "delta"}), strict=True):
        content.topic(topic_key("orderbook", levels=1, **params)).fanout.add(reader)
    whole = text_snapshot([("100.50", "2.0")], [("101", "0.10")])

    content.accept([OrderBook(whole, texts=read_texts)])
    content.publish(at(1), 5)
    turns.take()

    assert [reader.messages[0]["data"]["bids"] for reader in readers] == [[[100.5, 2.0]], [["100.50", "2.0"]]]
