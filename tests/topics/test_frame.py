"""Our frames as the ``websockets`` library reads them, around every place where the length's own length changes."""

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from topics.frame import CLOSE, PING, TEXT, close_frame, frame


def parsed(data: bytes) -> list[Frame]:
    """The frames in ``data``; the parser refuses masks, reserved bits, fragments of control frames and bad UTF-8."""
    client = ClientProtocol(parse_uri("ws://127.0.0.1/"), state=State.OPEN, max_size=None)
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
