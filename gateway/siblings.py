"""The workers of one gateway: each answers for all of them where operators ask.

A worker listens on a Unix socket in a directory that all of them know. Asked ``metrics`` or ``status`` by another, it
says its own. Whoever was asked by an operator asks the others and puts the answers together. Who does not answer in
time is left out, and missed in ``gateway_workers``.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from math import isnan, nan
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

log = logging.getLogger("gateway.siblings")

PATIENCE = 1.0  # seconds
LONGEST_QUESTION = 64  # bytes
Answers = Mapping[str, Callable[[], bytes]]  # by question

# Of these gauges the sum of all workers says nothing.
LEAST = frozenset({"gateway_redis_up", "process_start_time_seconds", "process_max_fds"})
MOST = frozenset(
    {
        "python_info",
        "gateway_pending_bytes_peak",
        "gateway_upstream_banned_until_seconds",
        "gateway_catalogue_instruments",
    }
)
# An exchange is as the first of these that one of the workers finds it.
CONDITIONS = ("unavailable", "live", "reconnecting", "connecting", "idle")


class Siblings:
    """All workers, as one of them sees them."""

    def __init__(self, name: str, directory: Path, me: int, workers: int, *, patience: float | None = None) -> None:
        """``name``: of the gateway. ``me``: from 1 on, 0 for who is none of them. ``patience``: for an answer."""
        self._patience = PATIENCE if patience is None else patience
        self.name = name
        self._directory, self._me, self._workers = directory, me, workers

    @property
    def node(self) -> str:
        """This worker's name."""
        return f"{self.name}.{self._me}"

    @asynccontextmanager
    async def answering(self, answers: Answers) -> AsyncIterator[None]:
        """Answer what the others ask."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with asyncio.timeout(self._patience):
                    question = await reader.readline()
                    if (say := answers.get(question.decode("latin-1").strip())) is not None:
                        said = say()
                        writer.write(b"%d\n%b" % (len(said), said))  # so that one which is cut off is none
                        await writer.drain()
            except (OSError, TimeoutError, ValueError) as error:
                log.warning("sibling_not_answered", extra={"error": repr(error)})
            finally:
                writer.close()

        path = self._path(self._me)
        path.unlink(missing_ok=True)  # of the one before, which was killed
        server = await asyncio.start_unix_server(answer, path, limit=LONGEST_QUESTION)
        async with server:
            yield

    async def ask(self, question: str) -> list[bytes]:
        """What the others say to ``question``."""
        others = [number for number in range(1, self._workers + 1) if number != self._me]
        answers = await asyncio.gather(*(self.ask_one(number, question) for number in others))
        return [answer for answer in answers if answer]

    async def ask_one(self, number: int, question: str) -> bytes:
        """What that worker says; nothing, if it does not in time."""
        try:
            async with asyncio.timeout(self._patience):
                reader, writer = await asyncio.open_unix_connection(self._path(number))
                try:
                    writer.write(f"{question}\n".encode())
                    return await reader.readexactly(int(await reader.readline()))
                finally:
                    writer.close()
        except (EOFError, OSError, TimeoutError, ValueError) as error:
            log.warning("sibling_silent", extra={"worker": number, "error": repr(error)})
            return b""

    def _path(self, number: int) -> Path:
        return self._directory / f"worker-{number}"


def merged_metrics(texts: Sequence[str]) -> bytes:
    """Expositions of several processes as one."""
    registry = CollectorRegistry()
    registry.register(_Given(merged_families(texts)))
    return generate_latest(registry)


def merged_families(texts: Sequence[str]) -> list[Metric]:
    """The same, not written yet: counts are added up, what cannot be added is the least or the most."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = defaultdict(dict)
    for text in texts:
        for family in text_string_to_metric_families(text):
            families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            merge = min if family.name in LEAST or family.name.endswith("_created") else _add
            if family.name in MOST:
                merge = max
            held = values[family.name]
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                if isnan(held.get(key, nan)):
                    held[key] = sample.value
                elif not isnan(sample.value):  # who does not know has no say
                    held[key] = merge(held[key], sample.value)
    for name, family in families.items():
        for (sample_name, labels), value in values[name].items():
            family.add_sample(sample_name, dict(labels), value)
    return list(families.values())


def merged_status(node: str, answers: Sequence[bytes]) -> dict[str, Any]:
    """``/v1/status`` of several workers as one, and a row for each of them beside it."""
    workers: list[dict[str, Any]] = sorted(
        (orjson.loads(answer) for answer in answers), key=lambda one: str(one["node"])
    )
    exchanges: dict[str, dict[str, Any]] = {}
    feeds: dict[tuple[str, ...], dict[str, Any]] = {}
    for worker in workers:
        for row in worker["exchanges"]:
            held = exchanges.setdefault(row["exchange"], row)
            if held is not row:
                _add_exchange(held, row)
        for row in worker["feeds"]:
            key = row["exchange"], row["channel"], row["symbol"], str(row["params"])
            held = feeds.setdefault(key, row)
            if held is not row:
                subscribers = held["subscribers"] + row["subscribers"]
                if row["owner"] == worker["node"]:  # it knows best
                    feeds[key] = held = row
                held["subscribers"] = subscribers
    return {
        "node": node,
        "version": workers[0]["version"],
        "uptimeMs": max(worker["uptimeMs"] for worker in workers),
        "exchanges": list(exchanges.values()),
        "feeds": list(feeds.values()),
        "clients": sum(worker["clients"] for worker in workers),
        "workers": [{name: worker[name] for name in ("node", "uptimeMs", "clients")} for worker in workers],
    }


def _add_exchange(held: dict[str, Any], row: Mapping[str, Any]) -> None:
    held["state"] = min(held["state"], row["state"], key=CONDITIONS.index)
    held["sockets"] += row["sockets"]
    budget, more = held["budget"], row["budget"]
    budget["maxSockets"] += more["maxSockets"]
    budget["bannedForMs"] = max(budget["bannedForMs"], more["bannedForMs"])
    for pool, left in more["left"].items():
        mine = budget["left"].setdefault(pool, {"now": 0, "of": 0})
        mine["now"] += left["now"]
        mine["of"] += left["of"]


def _add(one: float, other: float) -> float:
    return one + other


class _Given:
    """A collector of what was collected elsewhere."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
