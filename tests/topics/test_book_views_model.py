"""Any changes, throttles, joins, leaves and breaks: every frame is the true top of the book at its cursor.

The truth is two dicts of texts, remembered for each cursor; clients apply what they get by the contract alone.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topics.book_stage import Stage, text_snapshot
from tests.topics.delta_client import DeltaClient, Row
from tests.topics.reader import Reader

Side = dict[str, str]
PRICES = {"bids": ("5.0", "4.50", "4", "3.0", "2", "1.0"), "asks": ("6", "7.0", "7.50", "8", "9.0", "10")}
VIEWS: list[dict[str, Any]] = [
    {"levels": 1, "mode": "delta"},
    {"levels": 3, "mode": "delta"},
    {"levels": 20, "mode": "delta"},
    {"levels": 3, "mode": "delta", "throttleMs": 100},
    {"levels": 1, "mode": "delta", "throttleMs": 1000},
    {"levels": 3},
    {"levels": 3, "throttleMs": 250},
]
LEVELS = st.lists(
    st.tuples(
        st.sampled_from([(side, price) for side, prices in PRICES.items() for price in prices]),
        st.sampled_from(["0", "0.0", "1.0", "2.50", "3"]),
    ),
    max_size=4,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), LEVELS),
        st.tuples(st.just("turn"), st.none()),
        st.tuples(st.just("pass"), st.sampled_from([0.03, 0.1, 0.25, 1.0, 31.0])),
        st.tuples(st.just("join"), st.integers(0, len(VIEWS) - 1)),
        st.tuples(st.just("leave"), st.integers(0, 20)),
        st.tuples(st.just("break"), LEVELS),
    ),
    max_size=40,
)


def top(side: Side, count: int, *, is_bid: bool) -> list[Row]:
    return sorted(side.items(), key=lambda row: float(row[0]), reverse=is_bid)[:count]


@dataclass
class Client:
    """One subscriber of one view, and as much of its frames as was checked."""

    view: dict[str, Any]
    reader: Reader
    checked: int = 0
    book: DeltaClient = field(init=False)
    seqs: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.book = DeltaClient(self.view["levels"])


class World:
    """The stage, the truth beside it, and who is there."""

    def __init__(self, *, texts_from_the_start: bool) -> None:
        self.stage = Stage()
        self.bids: Side = {}
        self.asks: Side = {}
        self.truth: dict[int, tuple[Side, Side]] = {}  # by seq
        self.clients: list[Client] = []
        self.bytes: dict[tuple[str, str], bytes] = {}  # of each frame, by view and place
        self.sequence = 1
        if texts_from_the_start:
            self.stage.books.topic(self.stage.key(**VIEWS[0]))
        self.begin([(("bids", "4"), "1.0"), (("asks", "7.0"), "1.0")])

    def begin(self, levels: list[tuple[tuple[str, str], str]]) -> None:
        """A fresh sync with a whole book."""
        self.bids, self.asks = {}, {}
        self._set(levels)
        self.stage.sync()
        self.sequence += 100
        self.stage.hear(text_snapshot(list(self.bids.items()), list(self.asks.items()), sequence=self.sequence))
        self.stage.turn()

    def step(self, kind: str, value: Any) -> None:
        match kind:
            case "change":
                self._set(value)
                self.stage.change(*([(p, a) for (s, p), a in value if s == side] for side in ("bids", "asks")))
            case "turn":
                self.stage.turn()
            case "pass":
                self.stage.pass_time(value)
            case "join":
                self.clients.append(Client(VIEWS[value], self.stage.join(**VIEWS[value])))
            case "leave" if self.clients:
                gone = self.clients.pop(value % len(self.clients))
                self.stage.leave(gone.reader, **gone.view)
            case "break":
                self.stage.turns.take_all()
                self.stage.lose()
                self.begin(value)
        self.check()

    def _set(self, levels: list[tuple[tuple[str, str], str]]) -> None:
        for (name, price), amount in levels:
            side = self.bids if name == "bids" else self.asks
            if float(amount):
                side[price] = amount
            else:
                side.pop(price, None)

    def check(self) -> None:
        self.truth.setdefault(self.stage.cursor.seq, (dict(self.bids), dict(self.asks)))
        for client in self.clients:
            for payload in client.reader.payloads[client.checked :]:
                self._check_frame(client, payload)
            client.checked = len(client.reader.payloads)
        assert len(self.stage.loop.pending) <= len([view for view in VIEWS if "throttleMs" in view])

    def check_all_is_shown(self) -> None:
        """Nothing is held back from anybody, but for want of a text."""
        for client in self.clients:
            if "mode" in client.view and not self.stage.books.view(self.stage.key(**client.view)).lacking:
                assert client.book.book == self._true(client.view, self.truth[self.stage.cursor.seq])

    def _true(self, view: dict[str, Any], book: tuple[Side, Side]) -> tuple[list[Row], list[Row]]:
        return top(book[0], view["levels"], is_bid=True), top(book[1], view["levels"], is_bid=False)

    def _check_frame(self, client: Client, payload: bytes) -> None:
        message = orjson.loads(payload)
        seq = int(message["cursor"].partition("-")[2])
        assert not client.seqs or seq > client.seqs[-1]
        client.seqs.append(seq)
        true = self._true(client.view, self.truth[seq])
        if "mode" in client.view:
            client.book.take(message)
            assert client.book.book == true
        else:
            shown = message["data"]
            assert [shown["bids"], shown["asks"]] == [[[float(p), float(a)] for p, a in rows] for rows in true]
        name = f"{message['cursor']} {message.get('kind')}"
        assert self.bytes.setdefault((str(client.view), name), payload) == payload


@settings(max_examples=300, deadline=None)
@given(STEPS, st.booleans())
def test_every_frame_is_the_true_top_of_the_book_and_the_same_for_all(
    steps: list[tuple[str, Any]], texts_from_the_start: bool
) -> None:
    world = World(texts_from_the_start=texts_from_the_start)
    for kind, value in steps:
        world.step(kind, value)
    world.step("turn", None)
    world.step("pass", 1.0)  # no throttle is longer
    world.check_all_is_shown()
    world.step("break", [(("bids", "4.50"), "2.50"), (("asks", "8"), "3")])  # who waited for a text is shown this book
    world.check_all_is_shown()
    assert {client.seqs[-1] for client in world.clients} <= {world.stage.cursor.seq}
