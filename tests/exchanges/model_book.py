"""What is true of a venue's book at every sequence, in plain dicts, and the messages a venue may make of it.

Independent of the code under test: it never applies a delta.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from exchanges.book import OrderBook
from exchanges.events import BookDelta, BookSnapshot

Levels = dict[float, float]
FIRST = 100  # the sequence before the first change
PRICES = {"bids": (1.0, 2.0, 3.0), "asks": (4.0, 5.0, 6.0)}


@dataclass(frozen=True)
class History:
    """Every change has a sequence of its own; sequences in between belong to other symbols."""

    sequences: Sequence[int]
    bids: Sequence[Levels]  # after the change of the same index
    asks: Sequence[Levels]
    deltas: Sequence[BookDelta]  # oldest first; each sums up some changes

    @property
    def last(self) -> int:
        return self.sequences[-1]

    def at(self, sequence: int) -> tuple[Levels, Levels]:
        index = bisect_right(self.sequences, sequence) - 1
        return self.bids[index], self.asks[index]

    def snapshot(self, sequence: int) -> BookSnapshot:
        bids, asks = self.at(sequence)
        return BookSnapshot(bids=list(bids.items()), asks=list(asks.items()), sequence=sequence, timestamp_ms=None)


def levels(book: OrderBook) -> tuple[Levels, Levels]:
    return dict(book.bids.rows(1_000)), dict(book.asks.rows(1_000))


@st.composite
def histories(draw: st.DrawFn) -> History:
    change = st.tuples(
        st.sampled_from([("bids", p) for p in PRICES["bids"]] + [("asks", p) for p in PRICES["asks"]]),
        st.booleans(),  # remove
        st.integers(1, 3),  # sequences since the change before
    )
    bundles = draw(st.lists(st.lists(change, min_size=1, max_size=3), min_size=2, max_size=10))
    sequences, states, deltas = [FIRST], [{"bids": {2.0: 0.5}, "asks": {5.0: 0.5}}], []
    for bundle in bundles:
        changed: dict[str, Levels] = {"bids": {}, "asks": {}}
        before = sequences[-1]
        for (side, price), removed, step in bundle:
            sequences.append(sequences[-1] + step)
            state = {name: dict(side_levels) for name, side_levels in states[-1].items()}
            amount = 0.0 if removed else float(sequences[-1])  # never twice the same, so that nothing lost goes unseen
            changed[side][price] = amount
            if removed:
                state[side].pop(price, None)
            else:
                state[side][price] = amount
            states.append(state)
        deltas.append(
            BookDelta(
                bids=list(changed["bids"].items()),
                asks=list(changed["asks"].items()),
                prev_sequence=before,
                last_sequence=sequences[-1],
                timestamp_ms=None,
            )
        )
    return History(sequences, [state["bids"] for state in states], [state["asks"] for state in states], deltas)
