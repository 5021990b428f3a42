"""An event becomes bytes once, however many watch."""

import orjson

from tests.topics.reader import Clock, Reader, Turns
from tests.topics.scripted_venue import EPOCH_MS, topic_key
from topics.key import Cursor
from topics.topic import Topic


async def test_one_encoding_serves_every_subscriber_byte_for_byte() -> None:
    turns, clock, readers = Turns(), Clock(), [Reader() for _ in range(3)]
    topic = Topic(topic_key("trades"), turns.tick, clock_ms=clock)
    for reader in readers:
        topic.fanout.add(reader)

    payload = topic.publish(Cursor(1, 1), [], event_ms=5, received_ms=6)
    turns.take()

    assert [reader.payloads for reader in readers] == [[payload]] * 3
    assert clock.reads == 1


async def test_encoding_alone_is_sent_to_nobody() -> None:
    turns, reader = Turns(), Reader()
    topic = Topic(topic_key("trades"), turns.tick, clock_ms=Clock())
    topic.fanout.add(reader)

    topic.encode(Cursor(1, 1), [], event_ms=None, received_ms=6)
    turns.take()

    assert reader.payloads == []


async def test_a_frame_says_when_it_was_encoded() -> None:
    topic = Topic(topic_key("trades"), Turns().tick, clock_ms=Clock())

    payload = topic.encode(Cursor(1, 1), [], event_ms=None, received_ms=6)

    assert orjson.loads(payload)["ts"] == {"ex": None, "rx": 6, "tx": EPOCH_MS + 1}
