"""Everything that can go wrong at the venues, for minutes on end, and the proof that clients are told the truth.

    .venv/bin/python scripts/fault_run.py --minutes 10 --seed 1 [--venues binance,bybit,hyperliquid] [--out report.json]

The venue simulator and the gateway are started as processes, and one client follows several symbols of each venue with
every channel: trades, books (whole, deep, throttled, in deltas) and candles. Every kind of fault that the simulator
knows strikes in a random order, at all venues at once, several a minute; each time all must be well again without help.
One venue's clock is an hour off from beginning to end.
The client checks every frame against the contract, every published book is compared with the venue's at the same
sequence, every trade with the venue's ledger, every closed candle with the venue's REST answer.

Left out is what by its nature nobody can notice: ``corrupt`` with ``how:"quantity"``, a plainly wrong number in a
well-formed message (these venues have no checksums), and the loss of one message of trades on a stream that goes on,
where the venue does not count them (Bybit, Hyperliquid). And ``refuse_subscribe``, after which a topic is rightly gone:
``tests/system/test_faults.py`` has it.

Prints a report; the exit status is 1 if anything was not as promised, each with its evidence.
"""

import argparse
import asyncio
import random
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import orjson

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.system import processes  # noqa: E402  # the tests' own client and ledger, from the project's folder
from tests.system.follower import BASE_TYPES, Findings, Follower, Wanted, follower  # noqa: E402
from tests.system.invariants import Candles, Trades  # noqa: E402
from tests.system.ledger import Market, Verdict  # noqa: E402
from tests.system.ordeal import Ordeal  # noqa: E402
from tests.system.scenarios import MARKETS, SCENARIOS  # noqa: E402
from tests.system.switchboard import Switchboard  # noqa: E402

AFTERMATH = 5.0  # seconds of undisturbed stream before the account is settled
SHOWN = ("gateway_upstream_", "gateway_book_", "gateway_topic_")  # metrics that belong into the report
SHOWN_OF_A_KIND = 2  # violations printed; all are in the JSON
UNPRINTED = ("violations", "metrics", "gap frames", "timeline")
Report = dict[str, Any]


def main() -> None:
    arguments = parser().parse_args()
    processes.RUNNING.clear()
    with (
        processes.process("exchanges.simulator", "--port", "0", "--seed", str(arguments.seed)) as simulator_url,
        processes.gateway(simulator_url, limits__linger="30") as gateway_url,
    ):
        report = asyncio.run(run(arguments, simulator_url, gateway_url))
    if arguments.out:
        arguments.out.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
    print_table(report)
    sys.exit(1 if report["violations"] else 0)


def parser() -> argparse.ArgumentParser:
    description = (__doc__ or "").partition("\n")[0]
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--minutes", type=float, default=10.0)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--venues", default="binance,bybit,hyperliquid")
    made.add_argument("--only", default="", help="scenarios whose names contain one of these words, by commas")
    made.add_argument("--skew", type=int, default=3_600_000, help="ms by which one venue's clock is off all the time")
    made.add_argument("--without", default="", help="and none of these")
    made.add_argument("--out", type=Path)
    return made


async def run(arguments: argparse.Namespace, simulator_url: str, gateway_url: str) -> Report:
    findings = Findings()
    exchanges = arguments.venues.split(",")
    markets = [market for market in MARKETS if market.exchange in exchanges]
    scenarios = [
        one
        for one in SCENARIOS
        if (not arguments.only or named(one.name, arguments.only)) and not named(one.name, arguments.without)
    ]
    async with (
        httpx2.AsyncClient(base_url=simulator_url, timeout=30) as http,
        follower(gateway_url, findings) as client,
        follower(gateway_url, findings, hello=False) as base,
    ):
        ordeal = Ordeal(client, http, markets, findings)
        skewed = await skew(http, markets, arguments)
        await ordeal.begin()
        await base.follow(Wanted("trades", market.exchange, market.symbol, market.params) for market in markets)
        watching = asyncio.create_task(ordeal.watch())
        async with asyncio.TaskGroup() as courses:
            for venue in sorted({market.venue for market in markets}):
                course = ordeal.course(venue, scenarios, seed=arguments.seed, seconds=arguments.minutes * 60)
                courses.create_task(course)
        await asyncio.sleep(AFTERMATH)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        audit = await ordeal.audit()
        injected = (await http.get("/control/faults")).json()["injected"]
    async with httpx2.AsyncClient(base_url=gateway_url) as gateway:
        metrics = (await gateway.get("/metrics")).text
    if base.types.keys() - BASE_TYPES:
        findings.add("a base client was sent more than base types", "", dict(base.types))
    head = {"clock off": skewed}
    return head | summarise(ordeal, client, audit, injected, metrics) | {"violations": findings.lines()}


async def skew(http: httpx2.AsyncClient, markets: Sequence[Market], arguments: argparse.Namespace) -> str:
    """Put one venue's clock wrong, forwards or back by the seed, before anybody has looked at it."""
    if not arguments.skew:
        return ""
    rng = random.Random(arguments.seed)
    venue, ms = rng.choice(sorted({market.venue for market in markets})), rng.choice((1, -1)) * arguments.skew
    await Switchboard(http).inject(venue, "skew", ms=ms, seconds=86_400)
    return f"{venue} {ms} ms"


def named(name: str, words: str) -> bool:
    """Whether one of ``words`` (by commas) is in it."""
    return any(word in name for word in words.split(",") if word)


def summarise(
    ordeal: Ordeal, client: Follower, audit: dict[str, Any], injected: dict[str, dict[str, int]], metrics: str
) -> Report:
    counts, tally = ordeal.findings.counts, ordeal.tally

    def found(*kinds: str) -> int:
        return sum(count for (kind, _), count in counts.items() if kind in kinds)

    return {
        "faults injected": injected,
        "scenarios": {f"{venue} {name}": count for (venue, name), count in sorted(tally.scenarios.items())},
        "frames": dict(client.types),
        "frames by channel": by_channel(client),
        "errors": dict(Counter(error["code"] for error in client.errors)),
        "books": {venue: figures(verdict) for venue, verdict in sorted(ordeal.books.items())},
        "trades": figures(audit["trades"]),
        "candles": figures(audit["candles"]),
        "gaps": dict(audit["gaps"]),
        "duplicates": found("duplicate trade"),
        "silent gaps": found("silent gap", "silent loss", "lost trades that no gap declared"),
        "crossed books": found("crossed book"),
        "seconds to detect": {kind: spread(seconds) for kind, seconds in tally.detect.items()},
        "undetected": dict(tally.undetected),
        "seconds to resync a book": spread(resyncs(client)),
        "seconds to recover": {name: spread(seconds) for name, seconds in sorted(tally.recover.items())},
        "ms from detection to the client": spread([ms for one in client.topics.values() for ms in one.latencies]),
        "handshakes a minute of outage": spread(tally.handshakes),
        "timeline": sorted(tally.timeline),
        "gap frames": [
            f"{one.name}: {gap}"
            for one in client.topics.values()
            if isinstance(one.content, Trades | Candles)
            for gap in one.content.gaps
        ],
        "metrics": [line for line in metrics.splitlines() if line.startswith(SHOWN) and not line.endswith(" 0.0")],
    }


def resyncs(client: Follower) -> list[float]:
    """Seconds from each break of a book to its next proven state."""
    seconds = []
    for one in client.topics.values():
        for broken, healed in pairwise(one.changes):
            if broken.state == "resyncing" and healed.state == "live":
                seconds.append((healed.at - broken.since) / 1000)
    return seconds


def by_channel(client: Follower) -> dict[str, int]:
    frames: Counter[str] = Counter()
    for one in client.topics.values():
        params = dict(one.wanted.params)
        shape = "delta" if "mode" in params else "throttled" if "throttleMs" in params else params.get("levels", "")
        frames[f"{one.wanted.exchange} {one.wanted.channel} {shape}".strip()] += one.frames
    return dict(sorted(frames.items()))


def figures(verdict: Verdict) -> dict[str, Any]:
    return {"compared": verdict.compared, "equal": verdict.equal, "unmatched": dict(verdict.unmatched)}


def spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"count": 0}
    ordered = sorted(values)
    tail = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    figures = {"count": len(ordered), "p50": statistics.median(ordered), "p99": tail, "max": ordered[-1]}
    return {name: round(value, 2) for name, value in figures.items()}


def print_table(report: Report) -> None:
    for name, value in report.items():
        if name in UNPRINTED:
            continue
        if isinstance(value, dict) and value and all(isinstance(inner, dict) for inner in value.values()):
            print(name)
            for key, inner in value.items():
                print(f"  {key:<34} {one_line(inner)}")
        else:
            print(f"{name:<36} {one_line(value)}")
    print(f"{'violations':<36} {len(report['violations'])}")
    told: Counter[str] = Counter()
    for line in report["violations"]:
        kind = line.partition(":")[0]
        told[kind] += 1
        if told[kind] <= SHOWN_OF_A_KIND:
            print(f"  {line}")
    for kind, count in told.items():
        if count > SHOWN_OF_A_KIND:
            print(f"  {kind}: on {count - SHOWN_OF_A_KIND} more topics")


def one_line(value: Any) -> str:
    return ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, dict) else str(value)


if __name__ == "__main__":
    main()
