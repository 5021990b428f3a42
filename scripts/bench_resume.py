"""How long a crowd that comes back at once waits until it is live again.

    python scripts/bench_resume.py [--clients 500] [--rate 500] [--missed 20,200,1000]

A gateway of its own is fed trades of one topic by a synthetic venue. All clients connect; then, at the same moment,
each subscribes from the cursor of ``missed`` events ago. Each waits for its ``caughtUp`` and for the first live frame
behind it. The clients share a core and read with no parser, so that their own work is little of what is measured;
the stream goes on meanwhile. Every client is checked to have had every event once, from its cursor to the live frame.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import time

from fanout.servers import Load, gateway_commands, start_gateway
from fanout.venue import symbol
from websockets.asyncio.client import ClientConnection, connect

SEQ = re.compile(rb'"cursor":"(\d+)-(\d+)"')


class Crowd(asyncio.Protocol):
    """One client that keeps what it is sent until it is live."""

    def __init__(self) -> None:
        self.received = bytearray()
        self._searched = 0
        self._caught_up = -1  # where it says so
        self.open = asyncio.Event()
        self.live = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._searched = max(0, len(self.received) - 100)
        self.received += data
        self.open.set()  # the answer to the handshake
        if self._caught_up < 0:
            self._caught_up = self.received.find(b'"type":"caughtUp"', self._searched)
        place = max(self._caught_up, self._searched)
        if self._caught_up >= 0 and not self.live.done() and self.received.find(b'"type":"trades"', place) > 0:
            self.live.set_result(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rate", type=int, default=500, help="events a second")
    parser.add_argument("--missed", default="20,200,1000", help="events, comma-separated")
    arguments = parser.parse_args()
    missed = [int(count) for count in arguments.missed.split(",")]
    with start_gateway(Load(topics=1, size=0, padding=0)) as running:
        running.feeder.ask(f"start {arguments.rate}")
        time.sleep(max(missed) / arguments.rate + 1.0)
        for count in missed:
            waits = sorted(asyncio.run(come_back(running.port, arguments.clients, count)))
            p50, p99 = statistics.median(waits), waits[int(len(waits) * 0.99) - 1]
            print(f"{arguments.clients} clients, {count} events missed: p50 {p50:.0f} ms, p99 {p99:.0f} ms", flush=True)


async def come_back(port: int, clients: int, missed: int) -> list[float]:
    """Milliseconds from subscribe to live, of each client."""
    loop = asyncio.get_running_loop()
    crowd = [(await loop.create_connection(Crowd, "127.0.0.1", port))[1] for _ in range(clients)]
    for one in crowd:
        one.transport.write(HANDSHAKE)
    async with connect(f"ws://127.0.0.1:{port}/v1/ws", compression=None, proxy=None) as scout:
        epoch, seq = await newest(scout)
    for one in crowd:
        await one.open.wait()
        one.transport.write(masked('{"op":"hello"}'))
    command = masked(json.dumps({**TOPIC, "since": f"{epoch}-{max(0, seq - missed)}"}))
    began = {}
    for one in crowd:
        one.received.clear()
        began[one] = time.perf_counter()
        one.transport.write(command)
    async with asyncio.timeout(30):
        waits = [(await one.live - began[one]) * 1000 for one in crowd]
    for one in crowd:
        seqs = [int(found[1]) for found in SEQ.findall(bytes(one.received).replace(b'"type":"caughtUp"', b""))]
        one.transport.abort()
        check(seqs, bytes(one.received))
    return waits


def check(seqs: list[int], received: bytes) -> None:
    """The ack and ``caughtUp`` have cursors too, which repeat an event's. What is missing must have been said."""
    events = sorted(set(seqs))
    whole = events == list(range(events[0], events[-1] + 1)) or b'"type":"gap"' in received
    if not whole or b'"status":"recovered"' not in received:
        sys.exit(f"not everything came: {received[:500]!r}")


async def newest(scout: ClientConnection) -> tuple[int, int]:
    await scout.send(gateway_commands(1)[0])
    while True:
        message = json.loads(await scout.recv())
        if "cursor" in message:
            epoch, _, seq = message["cursor"].partition("-")
            return int(epoch), int(seq)


TOPIC = {"op": "subscribe", "channel": "trades", "exchange": "binance", "symbol": symbol(0)}
HANDSHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def masked(text: str) -> bytes:
    """A client's frame; the mask is zero."""
    payload = text.encode()
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + payload


if __name__ == "__main__":
    main()
