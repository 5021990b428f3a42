"""What is known of a stream, and what a frame does to it. Pure: no clock, no socket, no screen.

Frames are those of docs/protocol.md, whether a gateway sent them or ``venue_source.py`` wrote them, and one more of our
own connection: ``{"type": "link", "state": "open" | "lost", "reason", "retryInMs"}``. What is unknown is passed over.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from . import words
from .content import CONTENTS, Content, Frame, Note, Row, Tape

MAX_DELAYS = 100  # frames of which delays are told
RATE_WINDOW_MS = 10_000


class Delays:
    """Of the newest frames that came when they were made, in ms; those that were stored say nothing of delay."""

    def __init__(self) -> None:
        self._venue: deque[float] = deque(maxlen=MAX_DELAYS)
        self._here: deque[float] = deque(maxlen=MAX_DELAYS)

    def take(self, ts: Mapping[str, int | None], now_ms: int) -> None:
        if ts["tx"] is None:
            return
        if ts["ex"] is not None:
            self._venue.append(ts["tx"] - ts["ex"])
        self._here.append(now_ms - ts["tx"])

    @property
    def venue(self) -> float | None:
        """Median from the venue's time to the gateway's sending; None: the venue does not say when it was."""
        return median(self._venue) if self._venue else None

    @property
    def here(self) -> float | None:
        """Median from the gateway's sending to our reading."""
        return median(self._here) if self._here else None


class Watch:
    """One stream: its content, and how it fares."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.topic: Mapping[str, Any] | None = None  # as the gateway names it, once it has
        self.state = "connecting"
        self.retry_at_ms: int | None = None  # when the next try is, where one is known
        self.updates = 0  # frames of data
        self.gaps = 0
        self.content: Content = CONTENTS[channel]()
        self.delays = Delays()
        self.note: Note | None = None  # the newest
        self._counts: deque[tuple[int, int]] = deque()  # when, and rows
        self._began_ms: int | None = None
        self._stored = True  # what comes next is history
        self._catching_up = False

    def take(self, frame: Frame, now_ms: int) -> Sequence[Row]:
        """What is new by ``frame``, oldest first."""
        take = TAKES.get(frame["type"])
        return [] if take is None else take(self, frame, now_ms)

    def rate(self, now_ms: int) -> float:
        """Rows a second, lately."""
        while self._counts and self._counts[0][0] <= now_ms - RATE_WINDOW_MS:
            self._counts.popleft()
        if self._began_ms is None:
            return 0.0
        window = min(RATE_WINDOW_MS, max(1000, now_ms - self._began_ms))
        return 1000 * sum(count for _, count in self._counts) / window

    def _on_data(self, frame: Frame, now_ms: int) -> Sequence[Row]:
        self.updates += 1
        rows = self.content.take(frame, now_ms)
        if self._began_ms is None:
            self._began_ms = now_ms
        if not self._stored:
            self._counts.append((now_ms, len(rows)))
            self.delays.take(frame["ts"], now_ms)
        self._stored = self._catching_up
        return rows

    def _on_subscribed(self, frame: Frame, now_ms: int) -> Sequence[Row]:
        self.topic, self._stored = frame["topic"], True
        resume = frame.get("resume")
        self._catching_up = bool(resume and resume["count"])
        rows = self._change(frame["state"], "", now_ms)
        if resume is None:
            return rows
        follow = f", {resume['count']} stored frames follow" if resume["count"] else ""
        told = f"resumed behind {resume['from']}: {resume['status']}{follow}"
        return [*rows, *self._tell(told, now_ms, bad=resume["status"] in ("partial", "lost", "epochChanged"))]

    def _on_caught_up(self, frame: Frame, now_ms: int) -> Sequence[Row]:
        self._stored = self._catching_up = False
        return []

    def _on_status(self, frame: Frame, now_ms: int) -> Sequence[Row]:
        if frame["scope"] != "topic":
            return []
        self.topic = self.topic or frame["topic"]
        return self._change(frame["state"], frame["reason"], now_ms, retry_in_ms=frame["retryInMs"])

    def _on_link(self, frame: Frame, now_ms: int) -> Sequence[Row]:
        if frame["state"] == "open":
            self.retry_at_ms = None
            return []
        self.state, before = "disconnected", self.state
        self.retry_at_ms = now_ms + frame["retryInMs"]
        if before == "disconnected":
            return []
        return self._tell(f"connection lost: {frame['reason']}", now_ms, bad=True)

    def _on_gap(self, frame: Frame, now_ms: int) -> Sequence[Row]:
        self.gaps += 1
        return self._tell(words.gap(frame), now_ms, bad=not frame.get("backfilled"))

    def _on_trouble(self, frame: Frame, now_ms: int) -> Sequence[Row]:
        return self._tell(f"{frame['code']}: {frame['message']}", now_ms, bad=True)

    def _on_goaway(self, frame: Frame, now_ms: int) -> Sequence[Row]:
        return self._tell(f"the gateway ends in {words.span(frame['graceMs'])}: {frame['reason']}", now_ms)

    def _change(self, state: str, reason: str, now_ms: int, *, retry_in_ms: int | None = None) -> Sequence[Row]:
        self.retry_at_ms = None if retry_in_ms is None else now_ms + retry_in_ms
        if state == self.state:
            return []
        self.state, before = state, self.state
        return self._tell(
            " ".join([f"{before} → {state}", *([f"({reason})"] if reason else [])]),
            now_ms,
            bad=state not in ("live", "connecting"),
        )

    def _tell(self, text: str, now_ms: int, *, bad: bool = False) -> Sequence[Note]:
        self.note = Note(time_ms=now_ms, text=text, bad=bad)
        if isinstance(self.content, Tape):
            self.content.rows.append(self.note)
        return [self.note]


TAKES = {
    **dict.fromkeys(CONTENTS, Watch._on_data),
    **dict.fromkeys(("subscribed", "alreadySubscribed"), Watch._on_subscribed),
    **dict.fromkeys(("error", "warning"), Watch._on_trouble),
    "caughtUp": Watch._on_caught_up,
    "status": Watch._on_status,
    "link": Watch._on_link,
    "gap": Watch._on_gap,
    "goaway": Watch._on_goaway,
}
