"""Our frames as the ``websockets`` library reads them, around every place where the length's own length changes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode

from tests.topics.reader import parser
from topics.frame import CLOSE, PING, TEXT, WORTH_DEFLATING, close_frame, deflated, frame, unframed


def parsed(data: bytes, *, inflate: bool = False) -> list[Frame]:
    """The frames in ``data``; the parser refuses masks, reserved bits, fragments of control frames and bad UTF-8."""
    client = parser(deflated=inflate)
    client.receive_data(data)
    frames = [event for event in client.events_received() if isinstance(event, Frame)]
    assert client.parser_exc is None
    return frames


@pytest.mark.parametrize(
    ("length", "head"), [(0, 2), (1, 2), (125, 2), (126, 4), (127, 4), (65_535, 4), (65_536, 10), (1_000_000, 10)]
)
def test_a_text_frame_is_read_back_whole(length: int, head: int) -> None:
    payload = b"x" * length

    data = frame(payload)

    assert len(data) == head + length
    assert parsed(data) == [Frame(Opcode.TEXT, payload, fin=True)]


def test_joined_frames_are_read_back_one_by_one_in_order() -> None:
    payloads = [b"a" * 125, b"b" * 126, b"", b"c" * 65_536, b"d"]

    assert [f.data for f in parsed(b"".join(map(frame, payloads)))] == payloads


@pytest.mark.parametrize(("opcode", "kind"), [(TEXT, Opcode.TEXT), (PING, Opcode.PING)])
def test_a_frame_is_of_the_kind_it_was_made_for(opcode: int, kind: Opcode) -> None:
    assert [f.opcode for f in parsed(frame(b"{}", opcode))] == [kind]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("", ""),
        ("nothing was read for 10 s", "nothing was read for 10 s"),
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("x" * 122 + "é", "x" * 122),  # half a letter would be a protocol error of ours
        ("a" + "€" * 100, "a" + "€" * 40),
    ],
)
def test_a_close_frame_says_code_and_reason_within_the_size_of_a_control_frame(reason: str, told: str) -> None:
    data = close_frame(4101, reason)

    assert data[0] == 0x80 | CLOSE
    assert [Close.parse(f.data) for f in parsed(data)] == [Close(4101, told)]


# -- compressed --------------------------------------------------------------------------------------------------------


REPETITIVE = b'{"price":1.0,"amount":2.0}' * 10_000
NOISE = random.Random(1).randbytes(100_000).hex().encode()  # as text; beyond the window nothing of it repeats


@pytest.mark.parametrize("text", [REPETITIVE, NOISE], ids=["repetitive", "noise"])
@pytest.mark.parametrize("size", [WORTH_DEFLATING, 4_096, 65_535, 65_536, 200_000])
def test_a_compressed_frame_is_inflated_to_what_it_was(text: bytes, size: int) -> None:
    whole = frame(text[:size])

    data = deflated(whole)

    assert len(data) < len(whole)
    assert parsed(data, inflate=True) == [Frame(Opcode.TEXT, text[:size], fin=True)]


def test_compressed_frames_need_nothing_of_those_before() -> None:
    first, second = deflated(frame(REPETITIVE)), deflated(frame(REPETITIVE[1:]))

    for order in ([first, second], [second], [second, first, frame(b"{}"), second]):
        assert [len(f.data) for f in parsed(b"".join(order), inflate=True)] == [
            {first: len(REPETITIVE), second: len(REPETITIVE) - 1}.get(data, 2) for data in order
        ]


def test_a_small_frame_stays_as_it_is() -> None:
    head = 4
    for size, same in ((0, True), (200, True), (WORTH_DEFLATING - head - 1, True), (WORTH_DEFLATING - head, False)):
        whole = frame(b"x" * size)

        assert (deflated(whole) is whole) is same


# -- taken apart again -------------------------------------------------------------------------------------------------


PAYLOADS = st.binary(max_size=200) | st.sampled_from([b"x" * size for size in (125, 126, 65_535, 65_536)])


@given(frames=st.lists(st.tuples(st.sampled_from([TEXT, CLOSE, PING]), PAYLOADS), max_size=5))
def test_joined_frames_are_taken_apart_into_what_they_were_made_of(frames: list[tuple[int, bytes]]) -> None:
    assert list(unframed(b"".join(frame(payload, opcode) for opcode, payload in frames))) == frames
