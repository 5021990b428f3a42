"""What faults do to messages between a venue's streams and their subscribers: the one place all data passes.

Every fault happens to a stream's message once, before it is fanned out: what is lost is lost for everybody. Messages
that are held back (to be late, or to change places) keep the subscribers they were made for.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from .dialect import Dialect
from .faults import Fault, Faults
from .market import Market
from .rewriting import crossed, enlarged, mistyped, skewed
from .sockets import Spoil, binary_frame, text_frame

MOST_DELAYED = 5_000  # messages of one stream; more, and the oldest leaves early
GARBAGE = b"<html><head><title>502 Bad Gateway</title></head></html>"
NOT_TEXT = bytes(range(0x80, 0x100))  # neither UTF-8 nor anything else a reader could know


class Subscriber(Protocol):
    """What a stream needs of a client's session."""

    def deliver(self, name: str, payload: bytes, spoil: Spoil | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Message:
    """``due`` (monotonic seconds) is when it may leave; ``spoil`` makes a frame of the text that would have left."""

    name: str
    payload: bytes
    subscribers: tuple[Subscriber, ...]
    due: float = 0.0
    spoil: Spoil | None = None


class Interference:
    """The message faults of one venue. Called only while ``faults.busy``; ``now_ms`` is the venue's market time."""

    def __init__(
        self,
        faults: Faults,
        dialect: Dialect,
        *,
        market: Callable[[str], Market | None],
        now_ms: Callable[[], int],
    ) -> None:
        self.faults = faults
        self._dialect = dialect
        self._market = market
        self._now_ms = now_ms
        self._delayed: dict[str, deque[Message]] = {}
        self._swapped: dict[str, Message] = {}  # by stream: the message that waits for the one after it

    def deliver(self, name: str, payload: bytes, subscribers: Iterable[Subscriber]) -> None:
        """Deliver a stream's message as the faults that are on will have it."""
        if skew := self.faults.skew_ms:
            payload = skewed(payload, self._dialect, ms=skew, now_ms=self._now_ms())
        messages = [Message(name, payload, tuple(subscribers))]
        waited = self._swapped.pop(name, None)
        for fault in self.faults.of("message", self._dialect.place(name)):
            if fault.kind == "reorder" and waited is not None:
                continue  # two change places, not three
            messages = [after for message in messages for after in self._strike(fault, message)]
        for message in messages:
            self._send(message)
        if waited is not None:
            if messages:
                self.faults.hold(-1)
                self._send(waited)
            else:
                self._swapped.setdefault(name, waited)

    def release(self) -> None:
        """Deliver what has been late for long enough."""
        now = self.faults.now()
        for name, queue in list(self._delayed.items()):
            while queue and queue[0].due <= now:
                self._release_oldest(queue)
            if not queue:
                del self._delayed[name]

    def forget(self, name: str, subscriber: Subscriber) -> None:
        """It has unsubscribed: nothing that was held back for it shall come any more."""
        queue = self._delayed.get(name, ())
        for place, message in enumerate(queue):
            self._delayed[name][place] = _without(message, subscriber)
        if name in self._swapped:
            self._swapped[name] = _without(self._swapped[name], subscriber)
            if not self._swapped[name].subscribers:
                del self._swapped[name]
                self.faults.hold(-1)

    def _strike(self, fault: Fault, message: Message) -> list[Message]:
        """What is left of one message; a fault that cannot be done to it is not spent."""
        if fault.left == 0:
            return [message]
        after = STRIKES[fault.kind](self, fault, message)
        if after is None:
            return [message]
        self.faults.spend(fault)
        return after

    def _send(self, message: Message) -> None:
        queue = self._delayed.get(message.name)
        if message.due or queue:  # what comes after something late is late too: the order stays
            if queue is None:
                queue = self._delayed[message.name] = deque()
            if len(queue) >= MOST_DELAYED:
                self._release_oldest(queue)
            queue.append(message)
            self.faults.hold(+1)
            return
        for subscriber in message.subscribers:
            subscriber.deliver(message.name, message.payload, message.spoil)

    def _release_oldest(self, queue: deque[Message]) -> None:
        message = queue.popleft()
        self.faults.hold(-1)
        for subscriber in message.subscribers:
            subscriber.deliver(message.name, message.payload, message.spoil)

    def swap(self, message: Message) -> list[Message] | None:
        if message.name in self._swapped:
            return None
        self._swapped[message.name] = message
        self.faults.hold(+1)
        return []

    def corrupt(self, fault: Fault, message: Message) -> list[Message] | None:
        if fault.parameters["how"] == "quantity":
            payload = enlarged(message.payload, self._dialect)
        else:
            market = self._market(self._dialect.place(message.name).symbol)
            payload = crossed(message.payload, self._dialect, market)
        return None if payload is None else [replace(message, payload=payload)]

    def mistype(self, fault: Fault, message: Message) -> list[Message] | None:
        how = fault.parameters["how"]
        payload = mistyped(message.payload, self._dialect, how=how, nth=self.faults.injected["types"])
        return None if payload is None else [replace(message, payload=payload)]

    def delay(self, fault: Fault, message: Message) -> list[Message]:
        return [replace(message, due=self.faults.now() + fault.parameters["delay"])]


def _without(message: Message, subscriber: Subscriber) -> Message:
    return replace(message, subscribers=tuple(each for each in message.subscribers if each is not subscriber))


def _half(text: bytes) -> bytes:
    """The first half, as whole characters: what is cut is JSON, not UTF-8."""
    return text_frame(text[: len(text) // 2].decode(errors="ignore").encode())


def _padded(fault: Fault, message: Message) -> list[Message]:
    """Still the same JSON: blanks may follow it."""
    size = int(fault.parameters["bytes"])
    return [replace(message, spoil=lambda text: text_frame(text.ljust(size)))]


def _garbage(fault: Fault, message: Message) -> list[Message]:
    wrong = replace(message, spoil=lambda _text: text_frame(GARBAGE))
    return [wrong, message] if fault.parameters["beside"] else [wrong]


STRIKES: Mapping[str, Callable[[Interference, Fault, Message], list[Message] | None]] = {
    "freeze": lambda _where, _fault, _message: [],
    "drop": lambda _where, _fault, _message: [],
    "drip": Interference.delay,
    "duplicate": lambda _where, _fault, message: [message, message],
    "reorder": lambda where, _fault, message: where.swap(message),
    "garbage": lambda _where, fault, message: _garbage(fault, message),
    "truncate": lambda _where, _fault, message: [replace(message, spoil=_half)],
    "binary": lambda _where, _fault, message: [replace(message, spoil=lambda _text: binary_frame(NOT_TEXT))],
    "huge": lambda _where, fault, message: _padded(fault, message),
    "types": Interference.mistype,
    "corrupt": Interference.corrupt,
}
