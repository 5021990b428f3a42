"""A synthetic Binance USD-M venue: as much of it as the gateway asks for, and trades that carry the bench's mark.

Not a simulator of the market (``exchanges/simulator`` is one): prices stand still, REST knows nothing but the list of
symbols. What matters is that ids are dense, so that the gateway finds nothing to mend, and that sending is cheap.
"""

import json
import socket
import threading
import time
from urllib.parse import urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

FIRST_ID = 3_470_000_000  # of as many digits as real ones
SECOND = 1_000_000_000


def base(topic: int) -> str:
    """The base asset of a topic's market; all have the same length, and so have their frames."""
    return f"X{topic:03}"


def symbol(topic: int) -> str:
    """How a client of the gateway calls it."""
    return f"{base(topic)}/USDT:USDT"


class Venue:
    """Listens at once; implements ``feeder.Output``. ``padding`` bytes are added to each trade."""

    def __init__(self, topics: int, padding: int) -> None:
        self._topics = topics
        self._subscribers: dict[str, Session] = {}  # by stream; the gateway asks for each once
        self._streams = [f"{base(topic).lower()}usdt@aggTrade" for topic in range(topics)]
        self._padding = "x" * padding
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def subscribed(self) -> int:
        return len(self._subscribers)

    def send(self, due: list[tuple[int, int, str]]) -> None:
        """Trades of one moment, in one write for each connection that asked for any of their streams."""
        now_ms = time.time_ns() // 1_000_000
        chunks: dict[Session, list[bytes]] = {}
        for topic, number, mark in due:
            session = self._subscribers.get(self._streams[topic])
            if session is not None:
                chunks.setdefault(session, []).append(frame(self._trade(topic, number, mark, now_ms)))
        for session, frames in chunks.items():
            session.write(b"".join(frames))

    def _trade(self, topic: int, number: int, mark: str, now_ms: int) -> bytes:
        """Keys and lengths as on the wire (docs/venues/binance.md), and two of ours at the end."""
        return (
            f'{{"stream":"{self._streams[topic]}","data":{{"e":"aggTrade","E":{now_ms},"a":{FIRST_ID + number},'
            f'"s":"{base(topic)}USDT","p":"68407.10","q":"0.206","nq":"0.206","f":{FIRST_ID + number},'
            f'"l":{FIRST_ID + number},"T":{now_ms},"m":true,{mark},"pad":"{self._padding}"}}}}'
        ).encode()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Session(self, connection).serve, daemon=True).start()

    def answer(self, path: str) -> str:
        """REST: the list of futures; of everything else there is nothing."""
        if path.endswith("/fapi/v1/exchangeInfo"):
            return json.dumps({"symbols": [listing(topic) for topic in range(self._topics)]})
        return json.dumps({"symbols": []}) if path.endswith("exchangeInfo") else "[]"

    def command(self, session: "Session", text: bytes) -> bytes:
        """``SUBSCRIBE`` and ``UNSUBSCRIBE``, acknowledged like anything else."""
        command = json.loads(text)
        for stream in command["params"]:
            if command["method"] == "SUBSCRIBE":
                self._subscribers[stream] = session
            else:
                self._subscribers.pop(stream, None)
        return json.dumps({"result": None, "id": command["id"]}).encode()


class Session:
    """One connection of the gateway's: a REST request or a websocket."""

    def __init__(self, venue: Venue, connection: socket.socket) -> None:
        self._venue = venue
        self._connection = connection
        self._protocol = ServerProtocol()
        self._lock = threading.Lock()  # trades and answers come from two threads

    def write(self, data: bytes) -> None:
        with self._lock:
            self._connection.sendall(data)

    def serve(self) -> None:
        try:
            while data := self._connection.recv(65536):
                self._protocol.receive_data(data)
                for event in self._protocol.events_received():
                    self._on(event)
                self.write(b"".join(self._protocol.data_to_send()))
                if self._protocol.close_expected():
                    break
        except OSError:
            pass  # the gateway has ended
        finally:
            self._connection.close()

    def _on(self, event: object) -> None:
        if isinstance(event, Request):
            path = urlsplit(event.path).path
            if path.endswith("/stream"):
                self._protocol.send_response(self._protocol.accept(event))
            else:
                response = self._protocol.reject(200, self._venue.answer(path))
                response.headers["Content-Type"] = "application/json"
                self._protocol.send_response(response)
        elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
            self.write(frame(self._venue.command(self, bytes(event.data))))


def listing(topic: int) -> dict[str, object]:
    filters = [{"filterType": "PRICE_FILTER", "tickSize": "0.10"}, {"filterType": "LOT_SIZE", "minQty": "0.001"}]
    names = {"symbol": f"{base(topic)}USDT", "baseAsset": base(topic), "quoteAsset": "USDT", "marginAsset": "USDT"}
    return {**names, "contractType": "PERPETUAL", "status": "TRADING", "filters": filters}


def frame(payload: bytes) -> bytes:
    """A server's text frame."""
    size = len(payload)
    return b"\x81" + (bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")) + payload
