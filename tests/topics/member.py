"""A client that takes part in a fan-out of bare numbers, and the topics that send them."""

from collections.abc import Callable

from exchanges.errors import GatewayError
from tests.topics.scripted_venue import topic_key
from topics.backlog import TradeBacklog
from topics.fanout import Fanout
from topics.key import Cursor, TopicKey
from topics.tick import Tick


class Member:
    """Implements ``Subscriber``; remembers each write, and does then what a test asks of it."""

    def __init__(
        self, then: Callable[[], object] | None = None, *, extended: bool = False, deflated: bool = False
    ) -> None:
        self.extended, self.deflated = extended, deflated
        self.stopped = False
        self.writes: list[bytes] = []
        self.errors: list[Exception] = []
        self.then = then
        self.descriptor = -1

    def write(self, data: bytes | memoryview) -> None:
        self.writes.append(data if isinstance(data, bytes) else bytes(data))
        if self.then is not None:
            self.then()

    @property
    def got(self) -> bytes:
        return b"".join(self.writes)

    def broke(self, error: Exception) -> None:
        self.errors.append(error)

    async def ready(self) -> None:
        raise AssertionError("a fan-out waits for nobody")

    def failed(self, key: TopicKey, error: GatewayError, *, gone: bool) -> None:
        raise AssertionError("a fan-out fails nobody")


class Numbers:
    """A topic whose events are the letters it is given."""

    def __init__(self, tick: Tick, symbol: str = "BTC/USDT:USDT") -> None:
        key = topic_key("trades")._replace(symbol=symbol)
        self.backlog = TradeBacklog(key)
        self.fanout = Fanout(tick, self.backlog)
        self.cursor = Cursor(1, 0)

    def send(self, letters: bytes) -> None:
        for letter in letters:
            self.cursor = self.cursor.next()
            self.fanout.send(self.cursor, bytes([letter]))

    def declare(self, letter: bytes) -> None:
        self.cursor = self.cursor.next()
        self.fanout.declare(self.cursor, letter)

    def join(self, *members: Member) -> None:
        for member in members:
            self.fanout.add(member)
