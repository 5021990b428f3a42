"""Where the messages come from: an even, absolute schedule, whoever takes them.

    python feeder.py venue|lines|nats PORT TOPICS SIZE

``venue`` is a venue that the gateway connects to (``venue.py``; PORT is not used, SIZE is padding added to each
trade); ``lines`` writes ``tttt payload`` lines to a peer's feed port; ``nats`` publishes to ``t.tttt``. There SIZE is
that of the payload. Message i goes to topic i modulo TOPICS and is due at start + i / rate; what is due at one moment
goes out in one write. Its mark holds the time it was *due*: a feeder held up by a slow taker makes latencies longer,
not rarer.

Prints ``{"port": …}``, then obeys lines on stdin, each answered by a line of JSON:
    start RATE      send so many messages a second
    stop            stop; how many were sent ever, and how late the latest and the last one went out
    subscribed      (venue) how many streams the gateway has asked for
"""

import json
import socket
import sys
import threading
import time
from typing import Protocol

from venue import SECOND, Venue

MOST_AT_ONCE = 100  # messages in one write after a hold-up


class Output(Protocol):
    def send(self, due: list[tuple[int, int, str]]) -> None:
        """Write messages: topic, number in the topic, mark. Blocks while the taker takes nothing."""
        ...


class Lines:
    """A peer's feed."""

    def __init__(self, port: int, size: int) -> None:
        self._connection = connected(port)
        self._size = size

    def send(self, due: list[tuple[int, int, str]]) -> None:
        lines = (f"{topic:04} {payload(topic, mark, self._size)}\n" for topic, _, mark in due)
        self._connection.sendall("".join(lines).encode())


class Nats:
    """A publisher. A second thread answers the server's pings."""

    def __init__(self, port: int, size: int) -> None:
        self._connection = connected(port)
        self._connection.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\n')
        self._size = size
        threading.Thread(target=self._answer, daemon=True).start()

    def send(self, due: list[tuple[int, int, str]]) -> None:
        texts = (payload(topic, mark, self._size) for topic, _, mark in due)
        parts = (f"PUB t.{topic:04} {self._size}\r\n{text}\r\n" for (topic, _, _), text in zip(due, texts, strict=True))
        self._connection.sendall("".join(parts).encode())

    def _answer(self) -> None:
        while data := self._connection.recv(4096):
            if b"PING" in data:
                self._connection.sendall(b"PONG\r\n")


def connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)  # what a slow taker leaves lying about
    return connection


def payload(topic: int, mark: str, size: int) -> str:
    """A JSON message of exactly ``size`` bytes."""
    text = f'{{"type":"trades","topic":"X{topic:03}/USDT:USDT",{mark},"pad":"'
    return text + "x" * (size - len(text) - 2) + '"}'


class Schedule:
    """Sends in a thread of its own, between ``start`` and ``stop``; numbers go on from one run to the next."""

    def __init__(self, output: Output, topics: int) -> None:
        self._output = output
        self._topics = topics
        self._stopping = threading.Event()
        self._thread = threading.Thread()
        self.sent = 0
        self.worst = self.late = 0.0  # seconds behind the schedule

    def start(self, rate: float) -> None:
        self._stopping.clear()
        self.worst = self.late = 0.0
        self._thread = threading.Thread(target=self._run, args=(rate,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self, rate: float) -> None:
        begun, first, interval = time.monotonic_ns(), self.sent, SECOND / rate
        while not self._stopping.is_set():
            now = time.monotonic_ns()
            until = min(first + int((now - begun) / interval) + 1, self.sent + MOST_AT_ONCE)
            if until > self.sent:
                self._send(until, [begun + int((n - first) * interval) for n in range(self.sent, until)])
            pause = begun + (self.sent - first) * interval - time.monotonic_ns()
            if pause > 0:
                time.sleep(min(pause / SECOND, 0.1))

    def _send(self, until: int, due_ns: list[int]) -> None:
        self.late = (time.monotonic_ns() - due_ns[0]) / SECOND
        self.worst = max(self.worst, self.late)
        due = []
        for index, at in zip(range(self.sent, until), due_ns, strict=True):
            number, topic = divmod(index, self._topics)
            due.append((topic, number, f'"mark":"{topic:04}.{number:010}.{at:019}"'))
        self._output.send(due)
        self.sent = until


def main() -> None:
    kind, port, topics, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    venue = Venue(topics, size) if kind == "venue" else None
    output: Output = venue or (Lines if kind == "lines" else Nats)(port, size)
    schedule = Schedule(output, topics)
    say(port=venue.port if venue else port)
    for line in sys.stdin:
        match line.split():
            case ["start", rate]:
                schedule.start(float(rate))
                say()
            case ["stop"]:
                schedule.stop()
                say(sent=schedule.sent, worst=schedule.worst, late=schedule.late)
            case ["subscribed"]:
                say(subscribed=venue.subscribed if venue else 0)


def say(**facts: float) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
