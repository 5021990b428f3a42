"""One topic of a book: how deep it looks, how often it speaks and in which mode. Knows no feed and no socket.

A view speaks only while somebody watches. Then nothing of the book's past is kept but what its subscribers hold.
"""

from collections.abc import Callable
from math import inf
from typing import Protocol

from topics.book_frames import Chain, Newest, Reason, Whole
from topics.topic import Topic

TEXTS_LINGER = 30.0  # seconds a view in delta mode still wants texts after its last subscriber left


class Timer(Protocol):
    def cancel(self) -> None: ...


class Timers(Protocol):
    """As much of an event loop as is needed here."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer: ...


class View:
    """What one topic's subscribers are shown of a book, and when.

    Throttled, the first change after a pause is shown at once and of the changes within the interval after it the last,
    at its end.
    """

    def __init__(
        self,
        topic: Topic,
        newest: Newest,
        *,
        timers: Callable[[], Timers],
        settle: Callable[[], None],
        lacks: Callable[[], None],
    ) -> None:
        params = dict(topic.key.params)
        self.topic = topic
        self.exact = params.get("mode") == "delta"  # it shows texts
        self._newest = newest
        self._timers = timers
        self._settle = settle  # gives a change that has no cursor yet one, which shows it
        self._lacks = lacks  # told that a text is lacking
        self._interval = params.get("throttleMs", 0) / 1000
        self._open_at = -inf  # seconds of the clock; no frame before
        self._timer: Timer | None = None  # set while a change waits for its interval's end
        levels = params["levels"]
        self._frames: Whole | Chain = (
            Chain(topic, newest, levels=levels, clock=self._now) if self.exact else Whole(topic, newest, levels=levels)
        )
        topic.show = lambda: self.snapshot("conflated")
        self._wanted_until = self._now() + TEXTS_LINGER if self.exact else -inf

    @property
    def watched(self) -> bool:
        return len(self.topic.fanout) > 0

    @property
    def wants_texts(self) -> bool:
        """It has subscribers that are shown texts, or had some a moment ago, or is about to."""
        return self.exact and (self.watched or self._now() < self._wanted_until)

    @property
    def lacking(self) -> bool:
        """Somebody waits for a text."""
        return self._frames.lacking and self.watched

    def changed(self) -> None:
        """The book has a new state, with a cursor: show it, now or as soon as the throttle allows."""
        if self.exact:
            self._wanted_until = self._now() + TEXTS_LINGER
        if not self._interval or self._now() >= self._open_at:
            self._show()
        elif self._timer is None:
            self._timer = self._timers().call_at(self._open_at, self._on_time)

    def first_frame(self, *, snapshot: bool) -> bytes | None:
        """The JSON of the state last published, the newest if nobody watched; None: there is none, or none was wanted.

        In delta mode a snapshot comes whether it was wanted or not: what follows would extend nothing.
        """
        frames = self._frames
        if not snapshot and not self.exact:
            return None
        if frames.cursor is None and self.exact and self.watched:
            self._show()  # to all who wait for the first one: deltas would pass them over
        elif frames.cursor is None:
            frames.begin()
            self._shown()
        return self.snapshot("join")

    def snapshot(self, reason: Reason) -> bytes | None:
        """The state last published; in full mode it gives no reason. None: there is none."""
        return self._frames.snapshot(reason)

    def rest(self) -> None:
        """Nobody watches: nothing is due, and what was shown is forgotten."""
        self._stop()
        self._frames.forget(broken=False)

    def broken(self) -> None:
        """The book is proven no more: what is shown next begins anew."""
        self._stop()
        self._frames.forget(broken=self.watched)

    def _show(self) -> None:
        self._stop()
        if self._frames.publish():
            self._shown()
        elif self._frames.lacking:
            self._lacks()

    def _shown(self) -> None:
        if self._frames.lacking:
            self._lacks()
        elif self._interval:
            self._open_at = self._now() + self._interval

    def _on_time(self) -> None:
        """The interval is over, and something has changed in it."""
        self._stop()
        self._settle()
        if self._open_at == -inf and self._newest.book is not None:  # else settling has shown it, or it broke
            if self.watched:
                self._show()
            else:
                self.rest()

    def _stop(self) -> None:
        self._open_at = -inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _now(self) -> float:
        return self._timers().time()
