"""Faults, one after another, at venues that a client follows; and whether what it was given is what the venues said.

Each simulated venue has its own course of scenarios, all at the same time. After each it must recover by itself. All
the while every published book is compared with the venue's at the same sequence; trades and candles at the end.
"""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.system.follower import Findings, Followed, Follower, now_ms
from tests.system.invariants import Books, Candles, Trades
from tests.system.ledger import Account, Ledger, Market, Verdict, compare_candles
from tests.system.scenarios import Scenario, topics_of
from tests.system.switchboard import Switchboard

READ_EVERY = 0.5  # seconds between two looks at what the venues said
LOOK_EVERY = 0.1  # seconds between two looks at whether all is well again
RECOVERY = 90.0  # seconds a venue may take to be well again; Hyperliquid counts dead sockets and sends us away for 60
HANDSHAKES_A_MINUTE = 10  # in an outage, of all connections to the venue
SETTLED_MS = 1_000  # after a fault is over: what was on its way before it has come


@dataclass(slots=True)
class Tally:
    """What is measured besides right and wrong. Times in seconds."""

    scenarios: Counter[tuple[str, str]] = field(default_factory=Counter)  # by venue and name
    detect: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by kind
    undetected: Counter[str] = field(default_factory=Counter)
    recover: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by scenario
    handshakes: list[int] = field(default_factory=list)  # tried in the minute of each outage
    timeline: list[str] = field(default_factory=list)  # what was injected when, and when all was well again


class Ordeal:
    """One run. ``begin`` subscribes, ``course`` disturbs one venue, ``audit`` settles the account."""

    def __init__(
        self, follower: Follower, http: httpx2.AsyncClient, markets: Sequence[Market], findings: Findings
    ) -> None:
        self.findings = findings
        self.tally = Tally()
        self.books: dict[str, Verdict] = defaultdict(Verdict)  # by exchange
        self.followed: dict[Market, list[Followed]] = {}
        self._follower = follower
        self._http = http
        self._switchboard = Switchboard(http)
        self._ledgers = {market: Ledger(http, market) for market in markets}

    async def begin(self) -> None:
        """Let the venues' words be written down, then subscribe to every channel of every market."""
        await self._read()
        for market in self._ledgers:
            self.followed[market] = await self._follower.follow(topics_of(market))
        if not any(self.followed.values()):
            raise RuntimeError(f"nothing can be followed: {self.findings.lines()[:1]}")
        if not await self._well(self._all(), since=now_ms()):
            self.findings.add("not live at the beginning", "", self._ill(list(self._follower.topics.values()), 0.0))

    async def watch(self) -> None:
        """Compare books as they come, until cancelled."""
        while True:
            await asyncio.sleep(READ_EVERY)
            await self._read()
            self.compare_books()

    async def course(self, venue: str, scenarios: Sequence[Scenario], *, seed: int, seconds: float) -> None:
        """One scenario after another, in a random order without repetition until all have been had."""
        rng, end = random.Random(f"{seed} {venue}"), asyncio.get_running_loop().time() + seconds
        deck: list[Scenario] = []
        while asyncio.get_running_loop().time() < end:
            if not deck:
                deck = [one for one in scenarios if venue in one.venues]
                rng.shuffle(deck)
            scenario = deck.pop()
            market = rng.choice([one for one in self._ledgers if one.venue == venue])
            await self.suffer(scenario, market, rng.choice(scenario.channels_at(venue)))
            await asyncio.sleep(rng.uniform(0.2, 2.0))

    async def suffer(self, scenario: Scenario, market: Market, channel: str) -> list[Followed]:
        """Inject one scenario's faults, wait until they are over and the venue is well again; the topics they hit."""
        venue, narrow = market.venue, scenario.scope == "stream"
        self.tally.scenarios[venue, scenario.name] += 1
        before, began = await self._refused(venue), now_ms()
        faults = await self._inject(scenario, market, channel)
        await self._switchboard.over(faults, patience=75.0)
        over = now_ms()
        if scenario.outage:
            self._note_handshakes(venue, await self._refused(venue) - before)
        topics = [one for each, topics in self.followed.items() if each.venue == venue for one in topics]
        where = f"{venue} {scenario.name}" + (f" {market.venue_symbol} {channel}" if narrow else "")
        if not await self._well(topics, since=over + SETTLED_MS):
            self.findings.add("no recovery", where, self._ill(topics, over + SETTLED_MS))
        self.tally.timeline.append(f"{clock(began)} to {clock(now_ms())} {where}")
        hit = [one for one in self.followed[market] if one.wanted.channel == channel] if narrow else topics
        self._measure(scenario, hit, began)
        return hit

    async def _inject(self, scenario: Scenario, market: Market, channel: str) -> list[int]:
        faults = []
        for kind, how in scenario.faults:
            narrow = scenario.scope == "stream" and placed(kind)
            place = {"symbol": market.venue_symbol, "channel": channel} if narrow else {}
            faults.append(await self._switchboard.inject(market.venue, kind, **place, **how))
        return faults

    def compare_books(self) -> None:
        for market, topics in self.followed.items():
            for one in topics:
                if isinstance(one.content, Books):
                    verdict = self._ledgers[market].compare_books(one.content, now_ms())
                    for words in verdict.wrong:
                        self.findings.add("a book that is not the venue's", one.name, words)
                    self.books[market.venue].add(verdict)

    async def audit(self) -> dict[str, Any]:
        """Compare what can be compared only now; figures by channel."""
        delivered = {one.name: len(one.content.rows) for one in self._all() if isinstance(one.content, Trades)}
        await self._read()  # whatever was delivered by now, the venue has said before
        self.compare_books()
        trades, candles, gaps = Verdict(), Verdict(), Counter[str]()
        for market, topics in self.followed.items():
            for one in topics:
                if isinstance(one.content, Trades):
                    del one.content.rows[delivered[one.name] :]
                    trades.add(self._audit_trades(market, one, one.content, gaps))
                elif isinstance(one.content, Candles):
                    verdict = await compare_candles(self._http, market, one.content)
                    for words in verdict.wrong:
                        self.findings.add("a candle that is not the venue's", one.name, words)
                    for opened in one.content.unclosed():
                        self.findings.add("a candle that was never closed", one.name, one.content.told[opened])
                    candles.add(verdict)
        for what, verdict in (("books", sum_of(self.books.values())), ("trades", trades)):
            if not verdict.compared:
                self.findings.add("nothing to compare", what, dict(verdict.unmatched))
        return {"trades": trades, "candles": candles, "gaps": gaps}

    def _audit_trades(self, market: Market, one: Followed, trades: Trades, gaps: Counter[str]) -> Verdict:
        account = Account(self._ledgers[market], trades)
        verdict = account.compare()
        for words in verdict.wrong:
            self.findings.add("a trade that is not the venue's", one.name, words)
        if undeclared := account.undeclared():
            self.findings.add("lost trades that no gap declared", one.name, f"{len(undeclared)}: {undeclared[:3]}")
        declared = [gap.missing for gap in trades.gaps]
        if market.exchange == "binance" and (None in declared or sum(m or 0 for m in declared) != len(account.lost)):
            self.findings.add("gaps that do not add up", one.name, f"{declared} declared, {len(account.lost)} lost")
        gaps["declared"] += len(trades.gaps)
        gaps["backfilled"] += sum(gap.backfilled for gap in trades.gaps)
        gaps["false"] += len(account.false_gaps())
        gaps["trades refetched"] += sum(gap.rows for gap in trades.gaps)
        gaps["trades lost"] += len(account.lost)
        return verdict

    def _all(self) -> list[Followed]:
        return [one for topics in self.followed.values() for one in topics]

    async def _read(self) -> None:
        await asyncio.gather(*(ledger.read() for ledger in self._ledgers.values()))

    async def _well(self, topics: Sequence[Followed], *, since: float) -> bool:
        """Wait until all of them are live and have had data since."""
        end = asyncio.get_running_loop().time() + RECOVERY
        while not all(well(one, since) for one in topics):
            if asyncio.get_running_loop().time() > end or self._follower.closed:
                return False
            await asyncio.sleep(LOOK_EVERY)
        return True

    def _ill(self, topics: Sequence[Followed], since: float) -> str:
        ill = [one for one in topics if not well(one, since)]
        return "; ".join(f"{one.name} {one.state} silent for {(now_ms() - one.data_at) / 1000:.1f} s" for one in ill)

    async def _refused(self, venue: str) -> int:
        """Handshakes that the venue has refused so far: those of an outage are all that were tried."""
        return (await self._switchboard.injected()).get(venue, {}).get("refuse_handshake", 0)

    def _note_handshakes(self, venue: str, tried: int) -> None:
        self.tally.handshakes.append(tried)
        if tried > HANDSHAKES_A_MINUTE:
            self.findings.add("a storm of handshakes", venue, f"{tried} in a minute")

    def _measure(self, scenario: Scenario, hit: Sequence[Followed], began: float) -> None:
        for one in hit:
            changes = [change for change in one.changes if change.at >= began]
            fallen = next((change for change in changes if change.state != "live"), None)
            risen = next((change for change in reversed(changes) if change.state == "live"), None)
            if scenario.detects and fallen is None:
                self.tally.undetected[scenario.detects] += 1
            elif scenario.detects and fallen is not None:
                self.tally.detect[scenario.detects].append((fallen.at - began) / 1000)
            if fallen and risen and risen.at > fallen.at:
                self.tally.recover[scenario.name].append((risen.at - fallen.at) / 1000)


def sum_of(verdicts: Iterable[Verdict]) -> Verdict:
    total = Verdict()
    for verdict in verdicts:
        total.add(verdict)
    return total


def clock(ms: float) -> str:
    return f"{time.strftime('%H:%M:%S', time.gmtime(ms / 1000))}.{ms % 1000:03.0f}"


def placed(kind: str) -> bool:
    """Whether a fault can be for one stream; connections and handshakes are the venue's."""
    return kind not in ("reset", "hangup", "half_open", "maintenance", "cut", "refuse_handshake", "slow_handshake")


def well(one: Followed, since: float) -> bool:
    """Live, with data since then; candles and the trades of a quiet moment may take their time."""
    return one.state == "live" and one.data_at > since
