"""The workers of one gateway ask each other over real sockets, and put their answers together as one."""

import asyncio
import math
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import topics.metrics  # noqa: F401  # so that it is in the registry
from gateway.siblings import PATIENCE, Answers, Siblings, merged_metrics, merged_status

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str | bytes) -> Samples:
    """Every value of an exposition; each has a place of its own."""
    plain = text.decode() if isinstance(text, bytes) else text
    found = [
        ((sample.name, tuple(sorted(sample.labels.items()))), sample.value)
        for family in text_string_to_metric_families(plain)
        for sample in family.samples
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def value(text: bytes, name: str, **labels: str) -> float:
    return samples(text)[name, tuple(sorted(labels.items()))]


def exposition(*lines: str, kind: str = "gauge", name: str = "x") -> str:
    return "\n".join([f"# HELP {name} What it is.", f"# TYPE {name} {kind}", *lines, ""])


# -- metrics -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "values", "merged"),
    [
        pytest.param("x_total", "counter", [2.0, 3.5, 0.0], 5.5, id="counts are added"),
        pytest.param("gateway_clients", "gauge", [2.0, 3.0, 4.0], 9.0, id="so is what each has some of"),
        pytest.param("gateway_redis_up", "gauge", [1.0, 0.0, 1.0], 0.0, id="it is down where it is for one"),
        pytest.param("process_start_time_seconds", "gauge", [7.0, 5.0, 9.0], 5.0, id="since the oldest"),
        pytest.param("process_max_fds", "gauge", [1024.0, 1024.0], 1024.0, id="each has as many"),
        pytest.param("x_created", "gauge", [7.0, 5.0, 9.0], 5.0, id="since the first"),
        pytest.param("gateway_pending_bytes_peak", "gauge", [7.0, 9.0, 5.0], 9.0, id="the highest peak"),
        pytest.param("gateway_upstream_banned_until_seconds", "gauge", [0.0, 9.0], 9.0, id="the longest ban"),
        pytest.param("gateway_catalogue_instruments", "gauge", [70.0, 0.0], 70.0, id="each has the same ones"),
        pytest.param("python_info", "gauge", [1.0, 1.0], 1.0, id="a fact"),
    ],
)
def test_values_of_several_processes_become_one(name: str, kind: str, values: list[float], merged: float) -> None:
    texts = [exposition(f"{name} {one}", kind=kind, name=name) for one in values]

    assert samples(merged_metrics(texts)) == {(name, ()): merged}
    assert samples(merged_metrics(texts[::-1])) == {(name, ()): merged}


@pytest.mark.parametrize(
    ("name", "values", "merged"),
    [
        ("gateway_redis_up", ["NaN", "0.0", "1.0"], 0.0),
        ("gateway_redis_up", ["1.0", "NaN"], 1.0),
        ("gateway_pending_bytes_peak", ["NaN", "3.0", "2.0"], 3.0),
        ("gateway_clients", ["2.0", "NaN"], 2.0),
        ("gateway_redis_up", ["NaN", "NaN"], math.nan),
    ],
)
def test_who_does_not_know_a_value_has_no_say_in_it(name: str, values: list[str], merged: float) -> None:
    texts = [exposition(f"{name} {one}", name=name) for one in values]

    for some in (texts, texts[::-1]):
        assert samples(merged_metrics(some)) == pytest.approx({(name, ()): merged}, nan_ok=True)


def test_what_only_one_process_counts_is_there() -> None:
    texts = [
        exposition('x_total{exchange="a"} 1.0', kind="counter", name="x_total"),
        exposition('x_total{exchange="b"} 2.0', 'x_total{exchange="a"} 4.0', kind="counter", name="x_total"),
        exposition("y 3.0", name="y"),
    ]

    assert samples(merged_metrics(texts)) == {
        ("x_total", (("exchange", "a"),)): 5.0,
        ("x_total", (("exchange", "b"),)): 2.0,
        ("y", ()): 3.0,
    }


def test_labels_are_the_same_in_any_order_and_whatever_is_in_them() -> None:
    texts = [exposition(r'x{a="1",b="\"\\\n{,} ü"} 1.0'), exposition(r'x{b="\"\\\n{,} ü",a="1"} 2.0')]

    assert samples(merged_metrics(texts)) == {("x", (("a", "1"), ("b", '"\\\n{,} ü'))): 3.0}


def test_a_histograms_buckets_are_added_one_by_one() -> None:
    texts = []
    for observed in ([0.1, 0.3, 9.0], [0.3]):
        registry = CollectorRegistry()
        histogram = Histogram("took", "Seconds", ["what"], buckets=(0.2, 1.0), registry=registry)
        for one in observed:
            histogram.labels("a").observe(one)
        texts.append(generate_latest(registry).decode())
    merged = merged_metrics(texts)

    assert [value(merged, "took_bucket", what="a", le=le) for le in ("0.2", "1.0", "+Inf")] == [1.0, 3.0, 4.0]
    assert value(merged, "took_count", what="a") == 4.0
    assert value(merged, "took_sum", what="a") == pytest.approx(9.7)
    assert "# TYPE took histogram" in merged.decode()


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram", "summary", "untyped"])
def test_what_a_metric_is_and_means_stays(kind: str) -> None:
    name = "x_total" if kind == "counter" else "x"
    lines = {
        "histogram": ['x_bucket{le="+Inf"} 2.0', "x_count 2.0", "x_sum 3.0"],
        "summary": ["x_count 2.0", "x_sum 3.0"],
    }
    text = exposition(*lines.get(kind, [f"{name} 1.0"]), kind=kind, name=name)

    assert merged_metrics([text]).decode() == text


def test_what_this_process_exposes_is_the_same_when_it_is_all_there_is() -> None:
    text = generate_latest(REGISTRY).decode()
    merged = merged_metrics([text]).decode()

    assert samples(merged) == pytest.approx(samples(text), nan_ok=True)
    assert sorted(one for one in merged.splitlines() if one[0] == "#") == sorted(
        one for one in text.splitlines() if one[0] == "#"
    )


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e6)), max_size=6),
        min_size=1,
        max_size=4,
    )
)
def test_several_processes_are_to_prometheus_what_one_would_be(processes: list[list[tuple[str, float]]]) -> None:
    def exposed(events: list[tuple[str, float]]) -> str:
        registry = CollectorRegistry()
        labels = ["label"]
        counter = Counter("counted", "…", labels, registry=registry)
        gauge = Gauge("had", "…", labels, registry=registry)
        histogram = Histogram("took", "…", labels, registry=registry)
        for label, amount in events:
            counter.labels(label).inc(amount)
            gauge.labels(label).inc(amount)
            histogram.labels(label).observe(amount / 1e5)
        return generate_latest(registry).decode()

    one = samples(exposed([event for events in processes for event in events]))
    merged = samples(merged_metrics([exposed(events) for events in processes]))

    assert merged.keys() == one.keys()
    assert {key: merged[key] for key in one if not key[0].endswith("_created")} == pytest.approx(
        {key: one[key] for key in one if not key[0].endswith("_created")}
    )


# -- status ------------------------------------------------------------------------------------------------------------


def exchange_row(**changes: Any) -> dict[str, Any]:
    budget = {
        "maxSockets": 10,
        "maxStreamsPerSocket": 200,
        "left": {"weight": {"now": 300, "of": 400}},
        "bannedForMs": 0,
    }
    budget |= changes.pop("budget", {})
    return {"exchange": "binance", "state": "live", "sockets": 1, "budget": budget, **changes}


def feed_row(**changes: Any) -> dict[str, Any]:
    row = {"exchange": "binance", "channel": "trades", "symbol": "BTC/USDT", "params": {}, "state": "live"}
    return {**row, "lastEvent": 5, "cursor": "1-5", "subscribers": 1, "owner": "g.1", **changes}


def answer(number: int, **changes: Any) -> bytes:
    told = {"node": f"g.{number}", "version": "1", "uptimeMs": 100 * number, "exchanges": [], "feeds": [], "clients": 1}
    return orjson.dumps({**told, **changes})


def test_workers_are_told_of_one_by_one_and_together() -> None:
    status = merged_status("g", [answer(2, clients=5), answer(1, clients=3), answer(3, clients=0)])

    assert status == {
        "node": "g",
        "version": "1",
        "uptimeMs": 300,
        "exchanges": [],
        "feeds": [],
        "clients": 8,
        "workers": [
            {"node": "g.1", "uptimeMs": 100, "clients": 3},
            {"node": "g.2", "uptimeMs": 200, "clients": 5},
            {"node": "g.3", "uptimeMs": 300, "clients": 0},
        ],
    }


@pytest.mark.parametrize("owner", [1, 2, 3])
def test_of_a_feed_its_owner_knows_best_and_all_their_subscribers_are_its(owner: int) -> None:
    rows = [
        feed_row(owner=f"g.{owner}", cursor=f"1-{number}", state=f"as {number} sees it", subscribers=10**number)
        for number in (1, 2, 3)
    ]
    status = merged_status("g", [answer(number, feeds=[row]) for number, row in enumerate(rows, 1)])

    assert status["feeds"] == [{**rows[owner - 1], "subscribers": 1110}]


def test_a_feed_of_another_gateways_is_told_of_once() -> None:
    rows = [feed_row(owner="h", subscribers=number) for number in (1, 2)]
    status = merged_status("g", [answer(number, feeds=[row]) for number, row in enumerate(rows, 1)])

    assert status["feeds"] == [feed_row(owner="h", subscribers=3)]


@pytest.mark.parametrize(
    "other",
    [{"exchange": "bybit"}, {"channel": "ohlcv"}, {"symbol": "ETH/USDT"}, {"params": {"name": "trade"}}],
)
def test_feeds_that_differ_are_several(other: Mapping[str, Any]) -> None:
    status = merged_status("g", [answer(1, feeds=[feed_row()]), answer(2, feeds=[feed_row(**other)])])

    assert status["feeds"] == [feed_row(), feed_row(**other)]


@pytest.mark.parametrize(
    ("states", "merged"),
    [
        (["idle", "live"], "live"),
        (["idle", "idle"], "idle"),
        (["connecting", "idle"], "connecting"),
        (["reconnecting", "live"], "live"),
        (["connecting", "reconnecting", "idle"], "reconnecting"),
        (["live", "unavailable"], "unavailable"),
    ],
)
def test_an_exchange_is_as_the_most_telling_worker_finds_it(states: list[str], merged: str) -> None:
    for some in (states, states[::-1]):
        status = merged_status(
            "g", [answer(number, exchanges=[exchange_row(state=state)]) for number, state in enumerate(some, 1)]
        )
        assert [row["state"] for row in status["exchanges"]] == [merged]


def test_what_each_may_ask_of_a_venue_is_added_up() -> None:
    rows = [
        exchange_row(sockets=2, budget={"bannedForMs": 700}),
        exchange_row(sockets=3, budget={"left": {"weight": {"now": 5, "of": 400}, "orders": {"now": 1, "of": 2}}}),
        exchange_row(exchange="bybit"),
    ]
    status = merged_status("g", [answer(1, exchanges=rows[:1]), answer(2, exchanges=rows[1:])])

    assert status["exchanges"] == [
        exchange_row(
            sockets=5,
            budget={
                "maxSockets": 20,
                "left": {"weight": {"now": 305, "of": 800}, "orders": {"now": 1, "of": 2}},
                "bannedForMs": 700,
            },
        ),
        exchange_row(exchange="bybit"),
    ]


# -- asking each other -------------------------------------------------------------------------------------------------


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def saying(words: bytes) -> Answers:
    return {"metrics": lambda: words}


@asynccontextmanager
async def workers(directory: Path, *words: bytes, patience: float = PATIENCE) -> AsyncIterator[list[Siblings]]:
    """Each says its words when it is asked for metrics."""
    async with AsyncExitStack() as stack:
        count = len(words)
        started = [Siblings("g", directory, number, count, patience=patience) for number in range(1, count + 1)]
        for one, its in zip(started, words, strict=True):
            await stack.enter_async_context(one.answering(saying(its)))
        yield started


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def standing_in(directory: Path, number: int, handle: Handler) -> AsyncIterator[None]:
    """For a worker, on its socket."""
    path = directory / f"worker-{number}"
    path.unlink(missing_ok=True)
    async with await asyncio.start_unix_server(handle, path):
        yield


def test_a_worker_is_named_after_the_gateway(directory: Path) -> None:
    assert Siblings("g", directory, 2, 3).node == "g.2"


async def test_each_is_told_what_the_others_say(directory: Path) -> None:
    async with workers(directory, b"one", b"two", b"three") as (first, second, third):
        answers = [await one.ask("metrics") for one in (first, second, third)]

    assert answers == [[b"two", b"three"], [b"one", b"three"], [b"one", b"two"]]


async def test_who_is_no_worker_is_told_what_all_say(directory: Path) -> None:
    async with workers(directory, b"one", b"two"):
        assert await Siblings("g", directory, 0, 2).ask("metrics") == [b"one", b"two"]


async def test_an_answer_is_what_is_so_when_it_is_asked_for(directory: Path) -> None:
    said = iter([b"first", b"second"])
    parent = Siblings("g", directory, 0, 1)
    async with Siblings("g", directory, 1, 1).answering({"metrics": lambda: next(said)}):
        assert [await parent.ask("metrics"), await parent.ask("metrics")] == [[b"first"], [b"second"]]


async def test_a_long_answer_is_whole(directory: Path) -> None:
    long = bytes(range(256)) * 20_000
    async with workers(directory, b"one", long) as (first, _):
        assert await first.ask("metrics") == [long]


@pytest.mark.parametrize("question", ["gossip", "", "metrics " * 100, "ü"])
async def test_who_is_asked_what_it_does_not_know_says_nothing_and_goes_on(directory: Path, question: str) -> None:
    async with workers(directory, b"one", b"two") as (first, _):
        assert await first.ask(question) == []
        assert await first.ask("metrics") == [b"two"]


async def test_a_worker_that_is_not_there_is_left_out(directory: Path) -> None:
    async with workers(directory, b"one", b"two"):
        assert await Siblings("g", directory, 1, 4).ask("metrics") == [b"two"]


async def test_a_worker_that_does_not_answer_in_time_is_left_out(directory: Path) -> None:
    over = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    three = workers(directory, b"one", b"two", b"three", patience=0.2)
    async with three as (first, *_), standing_in(directory, 2, hang):
        began = asyncio.get_running_loop().time()
        answers = await first.ask("metrics")
        took = asyncio.get_running_loop().time() - began
        over.set()

    assert (answers, took < 2.0) == ([b"three"], True)


async def test_a_worker_that_ends_in_the_midst_of_its_answer_is_left_out(directory: Path) -> None:
    async def halve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_unix_connection(directory / "worker-3")
        outer.write(await reader.readline())
        said = await inner.read()
        writer.write(said[: len(said) // 2])
        writer.close()
        outer.close()

    async with workers(directory, b"one", b"two", b"three" * 100) as (first, *_), standing_in(directory, 2, halve):
        assert await first.ask("metrics") == [b"three" * 100]


async def test_who_asks_and_says_nothing_more_does_not_hold_up_others(directory: Path) -> None:
    async with workers(directory, b"one", b"two", patience=0.2) as (first, _):
        reader, writer = await asyncio.open_unix_connection(directory / "worker-2")
        writer.write(b"metr")
        answers = await first.ask("metrics")
        async with asyncio.timeout(2.0):
            rest = await reader.read()
        writer.close()

    assert (answers, rest) == ([b"two"], b"")


async def test_the_socket_of_a_worker_that_was_killed_is_its_successors(directory: Path) -> None:
    again = saying(b"two again")
    async with workers(directory, b"one", b"two") as (first, second), second.answering(again):  # it took no leave
        assert await first.ask("metrics") == [b"two again"]


async def test_a_socket_that_was_left_behind_is_no_worker(directory: Path) -> None:
    path = directory / "worker-2"
    async with standing_in(directory, 2, lambda reader, writer: asyncio.sleep(0)):
        path.rename(directory / "kept")
    (directory / "kept").rename(path)
    first = Siblings("g", directory, 1, 2)
    left_behind = path.exists()

    assert (left_behind, await first.ask("metrics")) == (True, [])
    async with Siblings("g", directory, 2, 2).answering(saying(b"two")):
        assert await first.ask("metrics") == [b"two"]
