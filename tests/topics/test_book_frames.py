"""Delta mode as bytes: the snapshot, what changed since, whom it extends, checksums and anchors."""

from typing import Any
from zlib import crc32

import orjson
import pytest

from tests.topics.book_stage import Stage, text_snapshot
from tests.topics.delta_client import DeltaClient
from tests.topics.reader import Reader
from topics.book_frames import ANCHOR_AFTER, CHECKSUM_EVERY, checksum

BIDS = [("100.0", "1.000"), ("99.5", "2.500"), ("99.0", "3")]
ASKS = [("100.5", "0.250"), ("101.0", "4.0")]
DELTA: dict[str, Any] = {"mode": "delta", "levels": 2}


@pytest.fixture
def stage() -> Stage:
    """A book that had a delta view from its start on."""
    stage = Stage()
    stage.books.topic(stage.key(**DELTA))
    stage.sync()
    stage.hear(text_snapshot(BIDS, ASKS))
    stage.turn()
    return stage


def changes(reader: Reader) -> list[tuple[Any, Any]]:
    """Bids and asks of each frame but the first."""
    return [(message["data"]["bids"], message["data"]["asks"]) for message in reader.messages[1:]]


def test_a_snapshot_is_the_contracts_letter_by_letter(stage: Stage) -> None:
    reader = stage.join(**DELTA)

    assert reader.payloads == [
        b'{"type":"orderbook","channel":"orderbook","topic":{"exchange":"scripted","symbol":"BTC/USDT:USDT",'
        b'"params":{"levels":2,"mode":"delta"}},"cursor":"1700000000000-1","ts":{"ex":1700000000001,'
        b'"rx":1700000000001,"tx":1700001000000},"kind":"snapshot","reason":"join","checksum":765973695,'
        b'"data":{"symbol":"BTC/USDT:USDT","bids":[["100.0","1.000"],["99.5","2.500"]],'
        b'"asks":[["100.5","0.250"],["101.0","4.0"]],"timestamp":1700000000001,'
        b'"datetime":"2023-11-14T22:13:20.001Z","nonce":1}}'
    ]


def test_a_delta_is_the_contracts_letter_by_letter(stage: Stage) -> None:
    reader = stage.join(**DELTA)

    stage.show([("100.0", "1.500")])

    assert reader.payloads[1:] == [
        b'{"type":"orderbook","channel":"orderbook","topic":{"exchange":"scripted","symbol":"BTC/USDT:USDT",'
        b'"params":{"levels":2,"mode":"delta"}},"cursor":"1700000000000-2","ts":{"ex":1700000000002,'
        b'"rx":1700000000002,"tx":1700001000000},"kind":"delta","prev":"1700000000000-1",'
        b'"data":{"symbol":"BTC/USDT:USDT","bids":[["100.0","1.500"]],"asks":[],"timestamp":1700000000002,'
        b'"datetime":"2023-11-14T22:13:20.002Z","nonce":2}}'
    ]


def test_a_full_view_of_the_same_book_has_numbers_and_no_kind(stage: Stage) -> None:
    reader = stage.join(levels=2)

    (message,) = reader.messages

    assert list(message) == ["type", "channel", "topic", "cursor", "ts", "data"]
    assert message["data"]["bids"] == [[100.0, 1.0], [99.5, 2.5]]


@pytest.mark.parametrize(
    ("bids", "said"),
    [
        pytest.param([("100.0", "7")], [["100.0", "7"]], id="another amount"),
        pytest.param([("100.2", "7")], [["100.2", "7"]], id="a better level; the one that fell out is not spoken of"),
        pytest.param([("99.7", "7")], [["99.7", "7"]], id="one between"),
        pytest.param([("100.0", "0.000")], [["100.0", "0"], ["99.0", "3"]], id="one gone, and who takes its place"),
        pytest.param([("99.5", "0"), ("99.0", "0")], [["99.5", "0"]], id="gone, and nobody takes its place"),
        pytest.param([("100.2", "7"), ("99.5", "0")], [["99.5", "0"], ["100.2", "7"]], id="gone while it fell out"),
        pytest.param([("100.0", "0"), ("100.0", "9")], [["100.0", "9"]], id="gone and back within a turn"),
    ],
)
def test_a_delta_says_what_changed_within_the_view(stage: Stage, bids: Any, said: Any) -> None:
    reader = stage.join(**DELTA)

    stage.show(bids)

    assert changes(reader) == [(said, [])]


@pytest.mark.parametrize(
    "bids",
    [
        pytest.param([("99.0", "8")], id="below the view"),
        pytest.param([("98.0", "0")], id="removed what was not there"),
        pytest.param([("100.0", "1.000")], id="the same again"),
        pytest.param([("100.0", "5"), ("100.0", "1.000")], id="there and back within a turn"),
    ],
)
def test_what_changes_nothing_in_the_view_is_not_sent_and_the_chain_stays(stage: Stage, bids: Any) -> None:
    reader = stage.join(**DELTA)

    stage.show(bids)
    stage.show(asks=[("100.5", "9")])

    assert [(message["kind"], message.get("prev")) for message in reader.messages[1:]] == [("delta", "1700000000000-1")]
    assert reader.seqs == [1, 3]


def test_a_level_keeps_the_text_of_its_price_however_the_venue_writes_it_later(stage: Stage) -> None:
    reader = stage.join(**DELTA)

    stage.show([("100.00", "5")])
    stage.change([("100.0", "0")])
    stage.show([("100", "6")])
    stage.show([("100", "0")])

    assert [bids for bids, _ in changes(reader)] == [
        [["100.0", "5"]],
        [["100.0", "6"]],
        [["100.0", "0"], ["99.0", "3"]],
    ]


def test_of_a_level_that_fell_out_of_the_view_nothing_is_remembered(stage: Stage) -> None:
    reader = stage.join(**DELTA)

    stage.show([("100.2", "7")])  # 99.5 falls out, and comes back written otherwise
    stage.show([("100.2", "0"), ("99.50", "2.5")])

    assert [bids for bids, _ in changes(reader)] == [[["100.2", "7"]], [["100.2", "0"], ["99.50", "2.5"]]]


def test_an_empty_book_is_a_snapshot_too() -> None:
    stage = Stage()
    stage.books.topic(stage.key(**DELTA))
    stage.sync()
    stage.hear(text_snapshot([], []))
    reader, client = stage.join(**DELTA), DeltaClient(2)

    stage.show([("1", "1")])

    for message in reader.messages:
        client.take(message)
    assert (client.kinds, client.book) == (["join", "delta"], ([("1", "1")], []))


# -- joining -----------------------------------------------------------------------------------------------------------


def test_who_joins_gets_the_view_as_last_published_and_the_next_delta_extends_it(stage: Stage) -> None:
    early = stage.join(**DELTA)
    stage.show([("100.0", "5")])
    stage.show([("99.0", "5")])  # not in the view: nothing was published

    late = stage.join(**DELTA)
    stage.show([("100.0", "6")])

    assert [message["cursor"] for message in late.messages] == ["1700000000000-2", "1700000000000-4"]
    assert (late.payloads[-1], late.messages[0]["data"]["nonce"]) == (early.payloads[-1], 2)


def test_two_that_join_at_one_cursor_get_the_same_bytes_built_once(stage: Stage) -> None:
    stage.join(**DELTA)
    stage.show([("100.0", "5")])
    before = stage.encoded

    first, second = stage.join(**DELTA), stage.join(**DELTA)

    assert (first.payloads == second.payloads, stage.encoded) == (True, before + 1)


def test_who_wants_no_snapshot_gets_one_in_delta_mode_all_the_same(stage: Stage) -> None:
    reader = stage.join(snapshot=False, **DELTA)

    assert [message["kind"] for message in reader.messages] == ["snapshot"]


def test_what_an_unwatched_view_missed_is_in_the_next_first_frame(stage: Stage) -> None:
    first = stage.join(**DELTA)
    stage.leave(first, **DELTA)
    stage.show([("100.0", "5")])

    second = stage.join(**DELTA)

    assert [(m["cursor"], m["reason"], m["data"]["bids"][0]) for m in second.messages] == [
        ("1700000000000-2", "join", ["100.0", "5"])
    ]


# -- breaks, anchors, checksums ----------------------------------------------------------------------------------------


def test_after_a_break_the_next_frame_is_a_snapshot_that_says_so(stage: Stage) -> None:
    reader = stage.join(**DELTA)
    stage.lose()
    stage.sync()
    stage.hear(text_snapshot([("90.0", "1")], [("91.0", "1")], sequence=50))
    stage.turn()
    stage.show([("90.0", "2")])

    assert [message.get("reason", message["kind"]) for message in reader.messages] == ["join", "resync", "delta"]
    assert reader.messages[1]["data"]["bids"] == [["90.0", "1"]]


def test_a_second_break_before_anything_was_shown_is_still_a_resync(stage: Stage) -> None:
    reader = stage.join(**DELTA)
    stage.lose()
    stage.lose()
    stage.sync()
    stage.hear(text_snapshot(BIDS, ASKS, sequence=50))
    stage.turn()

    assert [message["reason"] for message in reader.messages] == ["join", "resync"]


def test_who_was_not_there_at_the_break_is_told_nothing_of_it(stage: Stage) -> None:
    left = stage.join(**DELTA)
    stage.lose()
    stage.leave(left, **DELTA)
    stage.sync()
    stage.hear(text_snapshot(BIDS, ASKS, sequence=50))
    stage.turn()

    assert [message["reason"] for message in stage.join(**DELTA).messages] == ["join"]


def test_every_thirty_seconds_a_snapshot_takes_the_place_of_a_delta(stage: Stage) -> None:
    reader = stage.join(**DELTA)
    for n in range(7):
        stage.pass_time(ANCHOR_AFTER / 3)
        stage.show([("100.0", str(n + 5))])

    kinds = [message.get("reason", message["kind"]) for message in reader.messages]
    assert kinds == ["join", "delta", "delta", "anchor", "delta", "delta", "anchor", "delta"]


def test_a_quiet_view_is_not_anchored_before_it_changes(stage: Stage) -> None:
    reader = stage.join(**DELTA)
    stage.pass_time(3 * ANCHOR_AFTER)
    stage.show([("99.0", "8")])

    assert len(reader.payloads) == 1


def test_who_joins_at_an_anchor_gets_its_bytes(stage: Stage) -> None:
    early = stage.join(**DELTA)
    stage.pass_time(ANCHOR_AFTER)
    stage.show([("100.0", "5")])

    assert stage.join(**DELTA).payloads == early.payloads[-1:]


def test_a_delta_has_a_checksum_at_most_once_a_second(stage: Stage) -> None:
    reader = stage.join(**DELTA)
    for n in range(8):
        stage.pass_time(CHECKSUM_EVERY * 0.4)
        stage.show([("100.0", str(n + 5))])

    assert ["checksum" in message for message in reader.messages[1:]] == [False, False, True] * 2 + [False, False]


def test_a_slow_client_may_be_given_the_last_published_state_as_conflated(stage: Stage) -> None:
    reader, client = stage.join(**DELTA), DeltaClient(2)
    stage.show([("100.0", "5")])

    payload = stage.books.view(stage.key(**DELTA)).snapshot("conflated")
    stage.show([("100.0", "6")])

    assert payload is not None
    for message in (orjson.loads(payload), reader.messages[-1]):
        client.take(message)
    assert (client.kinds, client.rows("bids")[0]) == (["conflated", "delta"], ("100.0", "6"))


@pytest.mark.parametrize(
    ("bids", "asks", "text"),
    [
        ([("1.0", "2")], [("3", "4.50")], b"1.0:2:3:4.50"),
        ([("2", "1"), ("1", "1")], [("3", "1")], b"2:1:3:1:1:1"),
        ([], [("3", "1"), ("4", "1")], b"3:1:4:1"),
        ([], [], b""),
    ],
)
def test_a_checksum_is_over_both_sides_in_turn_and_skips_what_is_missing(bids: Any, asks: Any, text: bytes) -> None:
    assert checksum(bids, asks) == crc32(text)


def test_a_checksum_is_of_the_best_ten_levels() -> None:
    stage = Stage()
    stage.books.topic(stage.key(mode="delta", levels=20))
    stage.sync()
    stage.hear(text_snapshot([(str(100 - n), "1") for n in range(20)], [(str(101 + n), "1") for n in range(20)]))
    (message,) = stage.join(mode="delta", levels=20).messages

    text = ":".join(f"{100 - n}:1:{101 + n}:1" for n in range(10))
    assert (message["checksum"], len(message["data"]["bids"])) == (crc32(text.encode()), 20)
