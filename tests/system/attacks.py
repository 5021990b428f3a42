"""``python -m tests.system.attacks NAME HOST PORT SECONDS``: one kind of ill will, flat out; prints how each try ended.

A process of its own, so that it takes no time from the client that measures. Standard library only, so that it starts
at once; frames are written by hand, because a library would not send what this is about.
"""

import json
import re
import socket
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

TEXT, PING, CLOSE = 0x1, 0x9, 0x8
PATIENCE = 5.0  # seconds that an answer may take
HANDSHAKE = (
    "GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{}\r\n"
)
PING_COMMAND = b'{"op":"ping","id":1}'

Address = tuple[str, int]


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, compressed: bool = False) -> bytes:
    """A client's frame; a mask of zeroes changes nothing."""
    first, size = opcode | 0x80 * fin | 0x40 * compressed, len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + payload


def connect(address: Address, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(address, timeout=PATIENCE)
    connection.sendall(data)
    return connection


def read(connection: socket.socket, already: bytes = b"") -> bytes:
    """Everything until the other side has ended the connection."""
    parts = [already]
    with suppress(ConnectionError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def upgraded(address: Address, extra: str = "") -> socket.socket:
    """A websocket; what a server says after its handshake is left to be read."""
    connection = connect(address, HANDSHAKE.format(extra).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError("ended within the handshake")
        head += byte
    if b" 101 " not in head[:16]:
        raise ConnectionError(head.decode())
    return connection


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """What a server has sent; it never masks."""
    found, place = [], 0
    while place + 2 <= len(data):
        size, head = data[place + 1], 2
        if size == 126:
            size, head = int.from_bytes(data[place + 2 : place + 4], "big"), 4
        found.append((data[place] & 0x0F, data[place + head : place + head + size]))
        place += head + size
    return found


def close_code(data: bytes) -> str:
    codes = [str(int.from_bytes(payload[:2], "big")) for opcode, payload in frames(data) if opcode == CLOSE]
    return codes[-1] if codes else "no close frame"


def told(connection: socket.socket, data: bytes) -> str:
    """Send ``data``; the close code by which that was answered."""
    with suppress(ConnectionError):
        connection.sendall(data)
    return close_code(read(connection))


def answered(connection: socket.socket) -> str:
    """The HTTP status, and whether it says when to come again."""
    answer = read(connection)
    status = re.match(rb"HTTP/1.1 (\d+) ", answer)
    again = "+" if re.search(rb"\r\nretry-after: [1-9]", answer, re.IGNORECASE) else ""
    return status[1].decode() + again if status else "no answer"


# -- one try of each ---------------------------------------------------------------------------------------------------


def commands(address: Address) -> str:
    """More commands at once than are carried out, delayed and refused."""
    with upgraded(address) as connection:
        connection.sendall(frame(PING_COMMAND) * 600)
        data = read(connection)
    messages = [json.loads(payload) for opcode, payload in frames(data) if opcode == TEXT]
    kinds = Counter(message.get("code", message["type"]) for message in messages)
    polite = all(message["retryAfterMs"] > 0 for message in messages if message["type"] == "error")
    assert polite
    return f"{kinds['RATE_LIMITED']} RATE_LIMITED, {close_code(data)}"


def bad_commands(address: Address) -> str:
    with upgraded(address) as connection:
        return told(connection, frame(b'{"op":"buy"}') * 200)


def fragments(address: Address) -> str:
    with upgraded(address) as connection:
        return told(connection, frame(b"x", fin=False) + frame(b"x", 0, fin=False) * 300)


def pings(address: Address) -> str:
    """None of the pongs is read until it is over."""
    with upgraded(address) as connection:
        return told(connection, frame(b"x" * 125, PING) * 20_000)


def large_command(address: Address) -> str:
    with upgraded(address) as connection:
        return told(connection, frame(b"x" * 70_000))


def declared_terabyte(address: Address) -> str:
    with upgraded(address) as connection:
        return told(connection, struct.pack("!BBQ", 0x81, 0xFF, 2**40) + bytes(4) + b"x" * 1_000_000)


def compression_bomb(address: Address) -> str:
    """60 MB in 60 KB."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -12)
    bomb = compressor.compress(bytes(60_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 65_536
    with upgraded(address, "Sec-WebSocket-Extensions: permessage-deflate\r\n") as connection:
        return told(connection, frame(bomb[:-4], compressed=True))


def slow_head(address: Address) -> str:
    with connect(address, b"GET / HTTP/1.1\r\nHost: ") as connection:
        return answered(connection)


def large_head(address: Address) -> str:
    with connect(address, b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000 + b"\r\n\r\n") as connection:
        return answered(connection)


def requests(address: Address) -> str:
    body = b'{"exchange":"mtgox","symbol":"X"}'
    head = f"POST /v1/fetchTrades HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with connect(address, head.encode() + body) as connection:
        return answered(connection)


def connections(address: Address) -> str:
    """They are held, so that there is no place any more."""
    connection = connect(address, HANDSHAKE.format("").encode())
    start = connection.recv(12)
    if start.endswith(b"101"):
        HELD.append(connection)
        return "101"
    with connection:
        again = re.search(rb"\r\nretry-after: [1-9]", read(connection), re.IGNORECASE)
        return start[9:].decode() + ("+" if again else "")


HELD: list[socket.socket] = []
ATTACKS: dict[str, Callable[[Address], str]] = {
    attack.__name__: attack
    for attack in (
        *(commands, bad_commands, fragments, pings, large_command, declared_terabyte, compression_bomb),
        *(slow_head, large_head, requests, connections),
    )
}


def main() -> None:
    name, host, port, seconds = sys.argv[1:]
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        try:
            outcomes[ATTACKS[name]((host, int(port)))] += 1
        except OSError as error:
            outcomes[repr(error)] += 1
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
