"""A stream through a gateway: asked for once, and gone on with behind its last cursor when a connection is lost."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from . import words
from .outcome import NotReached, Refused

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds before another try
ANSWER_TIMEOUT = 10.0  # seconds for a handshake, and for a hello
OUR_FAULT = (1008, 1009, 4005)  # closed so, we would be closed so again

Deliver = Callable[[Mapping[str, Any]], None]


class Lost(Exception):
    """To be tried again; ``str()`` says why, ``retry_after`` (seconds) how soon at the earliest."""

    def __init__(self, reason: str, *, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def pause(attempt: int, chance: float) -> float:
    """Seconds before try ``attempt`` (from 1): doubling, and by ``chance`` (0 to 1) down to half of it."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 1, 16)) * (1 - chance / 2)


class GatewaySource:
    """``topic``: channel, exchange, symbol and params, as a ``subscribe`` has them. ``rewind``: rows of the past."""

    def __init__(self, url: str, topic: Mapping[str, Any], *, rewind: int) -> None:
        self._url = url
        self._topic = topic
        self._rewind = rewind
        self._cursor: str | None = None  # of the last frame
        self._greeted = False  # a gateway has said hello, ever
        self._attempt = 0  # since something came

    async def run(self, deliver: Deliver) -> None:
        """Hand over frames until cancelled.

        Raises:
            NotReached: there is no gateway to begin with.
            Refused: it will not serve this.
        """
        while True:
            try:
                await self._connect(deliver)
            except Lost as lost:
                self._attempt += 1
                wait = max(lost.retry_after, pause(self._attempt, random.random()))
                deliver({"type": "link", "state": "lost", "reason": str(lost), "retryInMs": round(1000 * wait)})
                await asyncio.sleep(wait)

    async def _connect(self, deliver: Deliver) -> None:
        """One connection, to its end, which is always told by an exception."""
        try:
            async with connect(
                self._url, proxy=None, compression=None, max_size=None, open_timeout=ANSWER_TIMEOUT
            ) as socket:
                await self._greet(socket)
                deliver({"type": "link", "state": "open"})
                await socket.send(orjson.dumps(self._subscribe()).decode())
                while True:
                    self._take(orjson.loads(await socket.recv()), deliver)
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd is not None else 1006
            reason = error.rcvd.reason if error.rcvd is not None else ""
            said = f"closed with {code} {reason}".rstrip()
            if code in OUR_FAULT:
                raise Refused(f"the gateway {said}") from error
            raise Lost(said) from error
        except InvalidStatus as error:
            if self._greeted or error.response.status_code == 503:
                raise Lost(f"HTTP status {error.response.status_code}") from error
            raise self._stranger(f"HTTP status {error.response.status_code}") from error
        except (WebSocketException, ValueError) as error:
            if self._greeted:
                raise Lost(f"{error}") from error
            raise self._stranger(f"{error}") from error
        except (OSError, TimeoutError) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
            if self._greeted:
                raise Lost(reason) from error
            raise NotReached(
                f"no gateway at {self._url} ({reason}); `market-gateway serve` starts one, "
                "`market-gateway demo` one with simulated exchanges, and --direct does without"
            ) from error

    def _stranger(self, what: str) -> NotReached:
        return NotReached(f"{self._url} answers, but is no market-gateway ({what}); its path is /v1/ws")

    async def _greet(self, socket: ClientConnection) -> None:
        await socket.send('{"op":"hello","client":"market_stream/1"}')
        async with asyncio.timeout(ANSWER_TIMEOUT):
            answer = orjson.loads(await socket.recv())
        if not isinstance(answer, dict) or answer.get("type") != "hello":
            raise ValueError("it does not say hello")
        self._greeted = True

    def _subscribe(self) -> dict[str, Any]:
        command = {"op": "subscribe", "id": "stream", **self._topic}
        if self._cursor is not None:
            return {**command, "since": self._cursor}
        return {**command, "rewind": self._rewind} if self._rewind else command

    def _take(self, frame: Mapping[str, Any], deliver: Deliver) -> None:
        if frame["type"] == "error":
            self._judge(frame)
        if "cursor" in frame:
            self._cursor, self._attempt = frame["cursor"], 0
        deliver(frame)

    def _judge(self, error: Mapping[str, Any]) -> None:
        """Let pass what is only news of a subscription that stays."""
        told = words.refusal(error["code"], error["message"], error.get("details"))
        if not error["retryable"]:
            raise Refused(told)
        if error.get("op") == "subscribe":  # it was not made
            raise Lost(told, retry_after=error.get("retryAfterMs", 0) / 1000)
