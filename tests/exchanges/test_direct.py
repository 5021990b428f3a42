"""Messages handed over within the read: whatever the frames, and wherever a read ends, each once and in order."""

import asyncio
import struct
from collections.abc import AsyncIterator
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from exchanges import direct
from exchanges.direct import AT_ONCE, DirectConnection

MAX_SIZE = 200_000


class Line(asyncio.Transport):
    """The other end, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.paused = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Client:
    def __init__(self) -> None:
        protocol = ClientProtocol(parse_uri("ws://venue/"), state=State.OPEN, max_size=MAX_SIZE)
        self.line = Line()
        self.connection = DirectConnection(protocol, ping_interval=None, max_queue=None)
        self.connection.connection_made(self.line)
        self.connection.response = Response(101, "Switching Protocols", Headers())
        self.got: list[bytes] = []

    def hear(self, data: bytes) -> None:
        self.connection.data_received(data)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    yield Client()


def framed(payload: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    """A server's frame, by the words of RFC 6455 section 5.2."""
    first = bytes([opcode | (0x80 if fin else 0)])
    if len(payload) <= 125:
        return first + bytes([len(payload)]) + payload
    if len(payload) < 1 << 16:
        return first + b"\x7e" + struct.pack("!H", len(payload)) + payload
    return first + b"\x7f" + struct.pack("!Q", len(payload)) + payload


PAYLOADS = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([0, 1, 125, 126, 127, 255, 256, 65_535, 65_536]).map(lambda size: b"x" * size),
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Messages, and the bytes in which they come, with pings in between and within."""
    messages, wire = [], b""
    for payload in draw(st.lists(PAYLOADS, max_size=8)):
        messages.append(payload)
        opcode = draw(st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
        pieces = draw(st.integers(1, 3))
        size = len(payload) // pieces + 1
        parts = [payload[start : start + size] for start in range(0, max(1, len(payload)), size)]
        for place, part in enumerate(parts):
            wire += framed(part, Opcode.CONT if place else opcode, fin=place == len(parts) - 1)
            if draw(st.booleans()):
                wire += framed(b"are you there", Opcode.PING)
    return messages, wire


@given(conversation=conversations(), cuts=st.lists(st.integers(0, 2_000), max_size=30), listens_at=st.integers(0, 5))
@example(conversation=([b""], framed(b"")), cuts=[1], listens_at=0)
def test_every_message_is_handed_over_once_and_in_order(
    conversation: tuple[list[bytes], bytes], cuts: list[int], listens_at: int
) -> None:
    messages, wire = conversation
    ends = [end for end in accumulate(cuts) if end < len(wire)]

    async def scenario() -> list[bytes]:
        client = Client()
        for number, (start, end) in enumerate(pairwise([0, *ends, len(wire)])):
            if number == listens_at:
                client.connection.listen(client.got.append)
            client.hear(wire[start:end])
        client.connection.listen(client.got.append)
        await asyncio.sleep(0)
        return client.got

    assert asyncio.run(scenario()) == messages


async def test_a_message_is_handed_over_before_the_read_returns(client: Client) -> None:
    client.connection.listen(client.got.append)

    client.hear(framed(b"1") + framed(b"2"))

    assert client.got == [b"1", b"2"]


async def test_what_is_too_much_for_one_turn_comes_in_the_next_ones_in_order(client: Client) -> None:
    client.connection.listen(client.got.append)
    numbers = [b"%d" % number for number in range(2 * AT_ONCE + 2)]

    client.hear(b"".join(map(framed, numbers)))
    counts = [len(client.got)]
    client.hear(framed(b"last"))
    while len(client.got) <= len(numbers):
        await asyncio.sleep(0)
        counts.append(len(client.got))

    assert counts == [AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 3]
    assert client.got == [*numbers, b"last"]


async def test_while_too_much_waits_nothing_more_is_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "MAX_WAITING", 100)
    client.connection.listen(client.got.append)

    client.hear(framed(b"x" * 50) * (AT_ONCE + 2))
    at_the_mark = client.line.paused
    client.hear(framed(b"1"))
    beyond = client.line.paused
    await asyncio.sleep(0)

    assert (at_the_mark, beyond, client.line.paused, len(client.got)) == (False, True, False, AT_ONCE + 3)


async def test_the_end_comes_after_the_last_message(client: Client) -> None:
    client.connection.listen(client.got.append)
    ending = asyncio.create_task(client.connection.end())
    await asyncio.sleep(0)

    client.hear(framed(b"x") * (3 * AT_ONCE) + framed(Close(1001, "maintenance").serialize(), Opcode.CLOSE))
    client.connection.eof_received()
    client.connection.connection_lost(None)
    with pytest.raises(ConnectionClosedOK) as ended:
        await ending

    assert ended.value.rcvd == Close(1001, "maintenance")
    assert len(client.got) == 3 * AT_ONCE


async def test_a_ping_is_answered_although_only_whole_messages_are_cut_out(client: Client) -> None:
    client.connection.listen(client.got.append)

    client.hear(framed(b"1") + framed(b"", Opcode.PING) + framed(b"2"))

    assert client.got == [b"1", b"2"]
    assert client.line.written[0] == 0x80 | Opcode.PONG


WRONG = {
    "masked": (b"\x81\x81\0\0\0\0x", 1002),
    "with a reserved bit": (b"\xc1\x01x", 1002),
    "of an unknown kind": (b"\x83\x01x", 1002),
    "too big": (b"\x81\x7f" + struct.pack("!Q", MAX_SIZE + 1), 1009),
    "a continuation of nothing": (b"\x80\x01x", 1002),
}


@pytest.mark.parametrize(("frame", "code"), WRONG.values(), ids=WRONG)
async def test_what_breaks_the_protocol_ends_the_connection(client: Client, frame: bytes, code: int) -> None:
    client.connection.listen(client.got.append)
    ending = asyncio.create_task(client.connection.end())
    await asyncio.sleep(0)

    client.hear(framed(b"1") + frame + framed(b"2"))
    client.connection.connection_lost(None)
    with pytest.raises(ConnectionClosedError) as ended:
        await ending

    assert ended.value.sent is not None
    assert (ended.value.sent.code, client.got) == (code, [b"1"])
