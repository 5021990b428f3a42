"""What a delivered message costs: the gateway beside peers, in one run, on one machine.

    python scripts/bench_fanout.py --preset paced [--servers gateway,floor,…] [--payload 1500] [--rounds 3] [--quick]

Each server runs alone on one core. Everything else runs on the others: what feeds it and the clients (fanout/sink.c),
which check that every client got every message, in order. Rounds of all servers take turns; medians are printed, as
Markdown. Peers get payloads of the size that the gateway's have, and do nothing but fan out (fanout/servers.py).

    paced     1,000 clients, 20 messages a second of one topic: nothing can be joined, each costs a send
    load      1,000 clients on 20 topics, 100 to 4,000 messages a second
    clients   100, 1,000 and 5,000 clients at 20,000 deliveries a second; one shows what a message costs by itself
    topics    1, 20 and 200 topics at 200 messages a second, 1,000 clients on all of them
    idle      2,000 clients that get nothing: memory
    connect   5,000 clients at once: how long until all have subscribed

How to read it: µs is CPU time of the server per delivered message, user and kernel; on loopback that holds the
receiver's network work too. × floor is the same over the floor's in the same round. Latency is from when a message was
due at its source until a client has read it, over all deliveries; the clients take turns on their core, and that is in
it. rows/frame above 1 means that a frame brought several messages. KiB/client is what a connection added to the
server's memory. load % is how busy the other cores were: near 100 the load is the limit and not the server. feed late
is the worst delay at the source. missing counts messages that a client did not get, or not once and in order; it must
be 0. A server that delivers less than 97 % of what is asked is not asked for more. Compare within a run only.

Needs Linux, two cores and a C compiler. ``make peers`` installs the Python peers; a peer that is not there is named
and left out.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fanout.processes import CORES, LOAD_CORES, NICE_LOAD, SERVER_CORES, Failed, Program, compiled, program
from fanout.servers import NODE_HOME, PEERS_PYTHON, Load, Running, Server, gateway_frame_size, servers

OPEN_PATIENCE = 60.0  # seconds for all clients to connect
DRAIN_PATIENCE = 15.0  # seconds for what was sent to arrive
KEPT_UP = 0.97  # share of the asked rate; below it, faster ones are not tried


@dataclass(frozen=True)
class Case:
    """One start of each server. ``rates``: messages a second in total, one window after the other; none: idle."""

    clients: int
    topics: int = 1
    rates: Sequence[int] = ()


PRESETS = {
    "paced": [Case(1_000, rates=(20,))],
    "load": [Case(1_000, topics=20, rates=(100, 300, 1_000, 2_000, 4_000))],
    "clients": [Case(clients, rates=(rate,)) for clients, rate in ((1, 20), (100, 200), (1_000, 20), (5_000, 4))],
    "topics": [Case(1_000, topics=topics, rates=(200,)) for topics in (1, 20, 200)],
    "idle": [Case(2_000)],
    "connect": [Case(5_000)],
}


def quick(case: Case) -> Case:
    return Case(max(20, case.clients // 20), min(case.topics, 20), case.rates[:2])


@dataclass(frozen=True)
class Timing:
    """Seconds. A window is long enough for the scheduler's account and for a p99.9."""

    warm_up: float = 2.0
    window: float = 6.0


@dataclass
class Result:
    """One server in one case at one rate, in one round; or the medians of some."""

    server: str
    case: Case
    rate: int
    numbers: dict[str, float]
    remarks: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, Case, int]:
        return self.server, self.case, self.rate


# -- measuring ---------------------------------------------------------------------------------------------------------


@contextmanager
def clients_of(server: Server, running: Running, case: Case, sink: str) -> Iterator[Program]:
    arguments = [sink, server.protocol, str(running.port), str(case.clients), str(case.topics)]
    with program("sink", [*arguments, *server.sink(case.topics)], cores=LOAD_CORES, nice=NICE_LOAD) as clients:
        for command in server.commands(case.topics):
            clients.tell(f"say {command}")
        yield clients


def measure(server: Server, case: Case, load: Load, sink: str, timing: Timing) -> Iterator[Result]:
    """Start ``server``, connect all clients, then one window for each rate until it cannot keep up."""
    with server.start(load) as running, clients_of(server, running, case, sink) as clients:
        before = running.process.resident()
        opened = clients.ask(f"open {OPEN_PATIENCE}", timeout=OPEN_PATIENCE + 10)
        time.sleep(timing.warm_up)  # what a handshake leaves behind is freed
        connected = {
            "connect_seconds": opened["seconds"],
            "connects": opened["connected"] / opened["seconds"],
            "connect_errors": opened["errors"],
            "memory": (running.process.resident() - before) / case.clients / 1024,
        }
        remarks = [f"connecting: {opened['first_error']}"] if opened["first_error"] else []
        if opened["connected"] < case.clients:
            remarks += [f"only {opened['connected']} clients connected", opened["first_other"]]
            yield Result(server.name, case, 0, connected, remarks)
            return
        if not case.rates:
            yield Result(server.name, case, 0, connected, remarks)
        for rate in case.rates:
            result = window(running, clients, case, rate, timing)
            yield replace(
                result, server=server.name, numbers=connected | result.numbers, remarks=remarks + result.remarks
            )
            if result.remarks:
                return


def window(running: Running, clients: Program, case: Case, rate: int, timing: Timing) -> Result:
    process, feeder = running.process, running.feeder
    feeder.ask(f"start {rate}")
    time.sleep(timing.warm_up)
    clients.ask("begin")
    cpu, feeding = process.cpu(), feeder.cpu()
    time.sleep(timing.window)
    seen = clients.ask("end")
    cpu, feeding = process.cpu() - cpu, feeder.cpu() - feeding
    fed = feeder.ask("stop")
    patience_ms = int(DRAIN_PATIENCE * 1000)
    balance = clients.ask(f"finish {fed['sent']} {patience_ms}", timeout=DRAIN_PATIENCE + 10)
    messages, frames, seconds = max(1, seen["messages"]), max(1, seen["frames"]), seen["seconds"]
    numbers = {
        "deliveries": messages / seconds,
        "cpu": cpu / messages * 1e6,
        "core": cpu / seconds * 100,
        "load": (seen["cpu"] + feeding) / seconds / len(LOAD_CORES) * 100,
        "rows": messages / frames,
        "bytes": seen["bytes"] / messages,
        "p50": seen["p50"],
        "p99": seen["p99"],
        "p999": seen["p999"],
        "late": fed["worst"] * 1000,
        "missing": balance["missing"] + balance["disordered"],
    }
    return Result("", case, rate, numbers, list(verdict(balance, messages / seconds / case.clients, rate)))


def verdict(balance: dict[str, Any], delivered: float, rate: int) -> Iterator[str]:
    """What is to be said about a window beside its numbers; nothing if all is well."""
    if delivered < KEPT_UP * rate:
        yield f"did not keep up: {delivered:,.0f} of {rate:,} messages/s to each client"
    if balance["missing"] or balance["disordered"]:
        yield f"INCOMPLETE: {balance['missing']} missing, {balance['disordered']} out of order or twice"
    if balance["owed"]:
        yield f"{balance['owed']} not delivered {DRAIN_PATIENCE:g} s after the end"
    if balance["lost"]:
        yield f"{balance['lost']} clients were disconnected"
    if balance["others"]:
        yield f"{balance['others']} other messages, the first: {balance['first_other']}"


def with_ratios(results: Sequence[Result]) -> None:
    """Add to each result of a round how it compares with the floor's."""
    floor = {(one.case, one.rate): one.numbers for one in results if one.server == "floor"}
    for one in results:
        base = floor.get((one.case, one.rate), {})
        if "cpu" in base and "cpu" in one.numbers:
            one.numbers["ratio"] = one.numbers["cpu"] / base["cpu"]


def medians(results: Sequence[Result]) -> list[Result]:
    """One result for each key. What must not happen at all is summed, and every remark is kept."""
    groups: dict[tuple[str, Case, int], list[Result]] = {}
    for one in results:
        groups.setdefault(one.key, []).append(one)
    merged = []
    for (server, case, rate), rounds in groups.items():
        names = {name for one in rounds for name in one.numbers}
        numbers = {n: statistics.median(one.numbers[n] for one in rounds if n in one.numbers) for n in names}
        for name in names & {"missing", "connect_errors"}:
            numbers[name] = sum(one.numbers[name] for one in rounds)
        remarks = list(dict.fromkeys(remark for one in rounds for remark in one.remarks))
        merged.append(Result(server, case, rate, numbers, remarks))
    return merged


# -- what is printed ---------------------------------------------------------------------------------------------------

Column = tuple[str, Callable[[Result], str]]


def number(name: str, form: str) -> Callable[[Result], str]:
    return lambda one: format(one.numbers[name], form) if name in one.numbers else "–"


WHO: list[Column] = [("server", lambda one: one.server), ("clients", lambda one: f"{one.case.clients:,}")]
MESSAGES: list[Column] = [
    ("topics", lambda one: str(one.case.topics)),
    ("messages/s", lambda one: f"{one.rate:,}"),
    ("deliveries/s", number("deliveries", ",.0f")),
    ("µs", number("cpu", ".2f")),
    ("× floor", number("ratio", ".2f")),
    ("core %", number("core", ".0f")),
    ("p50 ms", number("p50", ".1f")),
    ("p99 ms", number("p99", ".1f")),
    ("p99.9 ms", number("p999", ".1f")),
    ("rows/frame", number("rows", ".2f")),
    ("bytes/row", number("bytes", ".0f")),
    ("KiB/client", number("memory", ".1f")),
    ("load %", number("load", ".0f")),
    ("feed late ms", number("late", ".0f")),
    ("missing", number("missing", ".0f")),
]
CONNECTIONS: list[Column] = [
    ("seconds", number("connect_seconds", ".2f")),
    ("connects/s", number("connects", ",.0f")),
    ("failed tries", number("connect_errors", ".0f")),
    ("KiB/client", number("memory", ".1f")),
]


def table(results: Sequence[Result]) -> Iterator[str]:
    columns = WHO + (MESSAGES if results[0].case.rates else CONNECTIONS)
    yield "| " + " | ".join(title for title, _ in columns) + " |"
    yield "|---|" + "---:|" * (len(columns) - 1)
    for one in results:
        if one.numbers:
            yield "| " + " | ".join(cell(one) for _, cell in columns) + " |"
    remarks = [(one, remark) for one in results for remark in one.remarks if remark]
    if remarks:
        yield ""
    for one, remark in remarks:
        yield f"- {one.server}, {one.case.clients:,} clients, {one.rate:,} messages/s: {remark}"


def machine() -> Iterator[str]:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = cpu[1] if cpu else platform.machine()
    places = f"server on {span(SERVER_CORES)}, load on {span(LOAD_CORES)}"
    yield f"- {name}, {len(CORES)} cores ({places}), Linux {platform.release()}"
    ours = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "uvloop", "websockets", "starlette", "orjson"))
    yield f"- Python {platform.python_version()}, {ours}"
    yield f"- peers: {', '.join(filter(None, peer_versions()))}"


def span(cores: Sequence[int]) -> str:
    return f"core {cores[0]}" if len(cores) == 1 else f"cores {cores[0]} to {cores[-1]}"


def peer_versions() -> Iterator[str]:
    if PEERS_PYTHON.exists():
        names = ("picows", "uvloop", "socketify")
        found = output(str(PEERS_PYTHON), "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
        yield from (line.replace("==", " ") for line in found.split() if line.partition("==")[0] in names)
    if shutil.which("node"):
        yield f"node {output('node', '--version')}"
    facts = NODE_HOME / "node_modules/ws/package.json"
    if facts.exists():
        yield f"ws {json.loads(facts.read_text())['version']}"
    if shutil.which("nats-server"):
        yield output("nats-server", "--version")


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


# -- the run -----------------------------------------------------------------------------------------------------------


def chosen(arguments: argparse.Namespace, known: dict[str, Server]) -> list[Server]:
    names = arguments.servers.split(",") if arguments.servers else list(known)
    if unknown := set(names) - set(known):
        raise Failed(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    present = []
    for name in names:
        if why := known[name].absent():
            print(f"- without {name}: {why}", flush=True)
        else:
            print(f"- {name}: {known[name].words}", flush=True)
            present.append(known[name])
    return present


def loads(cases: Sequence[Case], payload: int | None) -> dict[Case, Load]:
    """What each case is fed: rows padded so that the gateway's frame has ``payload`` bytes, and peers the same."""
    natural = gateway_frame_size()
    size = payload or natural
    if size < natural:
        raise Failed(f"the gateway's frame of one trade has {natural} bytes; --payload cannot be less")
    print(f"- payload {size} bytes: a frame of one trade, as the gateway sends it", flush=True)
    return {case: Load(topics=case.topics, size=size, padding=size - natural) for case in cases}


def run(arguments: argparse.Namespace, directory: Path) -> None:
    cases, timing, rounds = PRESETS[arguments.preset], Timing(), arguments.rounds
    if arguments.quick:
        cases, timing, rounds = [quick(case) for case in cases], Timing(warm_up=0.5, window=1.0), 1
    sink, known = compiled("sink.c", directory), servers(directory)
    print(f"### {arguments.preset}{' (quick: a smoke test, not a measurement)' if arguments.quick else ''}\n")
    for line in machine():
        print(line, flush=True)
    present, fed = chosen(arguments, known), loads(cases, arguments.payload)
    print(f"- medians of {rounds}, windows of {timing.window:g} s after {timing.warm_up:g} s", flush=True)
    results: list[Result] = []
    for turn in range(rounds):
        this_round: list[Result] = []
        for case in dict.fromkeys(cases):
            for server in present:
                begun = time.monotonic()
                try:
                    this_round += measure(server, case, fed[case], sink, timing)
                except Failed as failure:
                    this_round.append(Result(server.name, case, 0, {}, [str(failure)]))
                note = f"round {turn + 1}/{rounds} {server.name} {case.clients} clients {case.topics} topics"
                print(f"{note}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        with_ratios(this_round)
        results += this_round
    order = {server.name: place for place, server in enumerate(present)}
    merged = medians(results)
    merged.sort(key=lambda one: (cases.index(one.case), one.rate, order[one.server]))
    print("\n" + "\n".join(table(merged)), flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--preset", choices=list(PRESETS), default="paced")
    arguments.add_argument("--servers", help="some of them, with commas; default: all")
    arguments.add_argument("--payload", type=int, help="bytes of a message; default: what a trade has at the gateway")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--quick", action="store_true", help="few clients, short windows, one round")
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # everything started is stopped on the way out
    if len(CORES) < 2 or not hasattr(os, "sched_setaffinity"):
        sys.exit("two cores are needed: one for the server, one for the load")
    try:
        with tempfile.TemporaryDirectory() as directory:
            run(options, Path(directory))
    except Failed as failure:
        sys.exit(f"bench_fanout: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
