"""The page for minutes on end while everything goes wrong, and whether what it showed was true.

    .venv/bin/python scripts/page_run.py --minutes 10 [--frozen 60] [--out report.json]

`market-gateway demo` is started, and its page opened in a headless Chromium. Faults strike in turn: of the exchange's
connections, of single messages, of this page's own connection, and once the tab is frozen for a minute. Every second
the ladder is read off the screen and compared with what the simulated venue stated under the same sequence number. At
the end the market is stopped, and the ladder has to be the venue's book.

Prints a report; the exit status is 1 if a book was wrong, a loss was not declared, the page did not come to be well
again, its console had a word to say, or its memory grew by more than a tenth.
"""

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import CDPSession, Page  # noqa: E402

from tests.web import browser  # noqa: E402  # the tests' own browser and demo, from the project's folder

EVERY = 20.0  # seconds from one fault to the next
WARM = 45.0  # seconds after one fault of each kind, before memory is measured
WELL_WITHIN = 75.0  # seconds after a fault: pauses between tries grow to 30 s
MOST_GROWTH = 0.10
VENUE, SYMBOL = "binance", "BTCUSDT"
SHOWN = """() => ({
  sequence: page.streams()[1].value.nonce,
  bids: rows("bids"), asks: rows("asks").reverse(),
})"""
BEGIN = """() => {
  globalThis.rows = (side) => [...document.querySelectorAll(`[data-part=${side}] .level`)]
    .map((row) => [...row.children].slice(0, 2).map((cell) => Number(cell.textContent.replaceAll(",", ""))))
    .filter(([price]) => price);
  globalThis.counted = { frames: 0, gaps: {}, missing: 0, undeclared: 0 };
  page.gateway.on("frame", ({ direction }) => (counted.frames += direction === "in"));
  page.gateway.on("gap", ({ reason, missing }) => {
    counted.gaps[reason] = (counted.gaps[reason] ?? 0) + 1;
    counted.missing += missing ?? 0;
    counted.undeclared += reason === "UNDECLARED";
  });
}"""
FILL = """() => {
  const sentence = "Candles, order book and trades: a sentence of the usual length";
  for (let i = 0; i < 200; i++) page.events.tell("note", `${sentence}, ${i}.`);
}"""  # what is bounded is full before memory is measured: the list of events
Report = dict[str, Any]


class Tab:
    """The page under test, and what is known of the truth."""

    def __init__(self, page: Page, control: httpx2.Client) -> None:
        self.page = page
        self.control = control
        self.devtools: CDPSession = page.context.new_cdp_session(page)
        self.stated: dict[int, dict[str, list[list[float]]]] = {}  # books by the venue's sequence
        self.awaited: dict[int, Any] = {}  # seen on the screen, not stated yet as far as we have read
        self.compared = 0
        self.wrong: list[str] = []
        self._next = 0

    def look(self) -> None:
        """Read the ladder off the screen, and compare what the venue has stated of it."""
        seen = self.page.evaluate(SHOWN)
        self.awaited[seen["sequence"]] = seen
        told = self.control.get("/truth/books", params={"venue": VENUE, "symbol": SYMBOL, "since": self._next}).json()
        self._next = told["next"]
        for book in told["books"]:
            levels = {side: [[float(p), float(a)] for p, a in book[side]] for side in ("bids", "asks")}
            self.stated[book["sequence"]] = levels
        for sequence in list(self.awaited):
            if sequence in self.stated:
                self._compare(self.awaited.pop(sequence), self.stated[sequence])
        for sequence in sorted(self.stated)[:-3_000]:
            del self.stated[sequence]

    def _compare(self, seen: dict[str, Any], truth: dict[str, list[list[float]]]) -> None:
        self.compared += 1
        for side in ("bids", "asks"):
            if seen[side] != truth[side][: len(seen[side])]:
                self.wrong.append(f"{side} of {seen['sequence']}: {seen[side][:3]}…, stated {truth[side][:3]}…")

    def memory(self) -> dict[str, int]:
        """Bytes of JavaScript and of the renderer's own memory, after what nobody holds has been collected."""
        for _ in range(3):
            self.devtools.send("HeapProfiler.collectGarbage")
            self.page.wait_for_timeout(300)
        metrics = {one["name"]: one["value"] for one in self.devtools.send("Performance.getMetrics")["metrics"]}
        return {
            "heap": int(metrics["JSHeapUsedSize"]),
            "private": renderer_bytes(self.page),
            "nodes": int(metrics["Nodes"]),
        }

    def watch(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            self.page.wait_for_timeout(1_000)

    def freeze(self, seconds: float) -> None:
        self.devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
        time.sleep(seconds)
        self.devtools.send("Page.setWebLifecycleState", {"state": "active"})

    def well(self, patience: float = WELL_WITHIN) -> float:
        """Seconds until all streams are live."""
        began = time.monotonic()
        browser.until(self.page, f"page.gateway.status === 'open' && {browser.LIVE}", patience)
        return time.monotonic() - began


def renderer_bytes(page: Page) -> int:
    """Private memory of the largest renderer: the one with our page."""
    owner = page.context.browser
    assert owner is not None
    processes = owner.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    found = []
    for one in processes:
        if one["type"] == "renderer":
            status = Path(f"/proc/{one['id']}/status").read_text()
            found.append(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")))
    return max(found) * 1024


def faults(tab: Tab) -> dict[str, Callable[[], object]]:
    def set_fault(kind: str, **how: Any) -> None:
        answer = tab.control.post("/faults", json={"venue": VENUE, "kind": kind, **how})
        assert answer.status_code == 200, answer.text

    def refuse() -> None:
        set_fault("refuse_handshake", seconds=4)
        set_fault("reset")

    def offline() -> None:
        tab.page.context.set_offline(True)
        tab.watch(8)
        tab.page.context.set_offline(False)

    book, trades = ({"symbol": SYMBOL, "channel": channel} for channel in ("orderbook", "trades"))
    return {
        "reset": lambda: set_fault("reset"),
        "drop book": lambda: set_fault("drop", **book),
        "drop trades": lambda: set_fault("drop", count=5, **trades),
        "garbage": lambda: set_fault("garbage", **book),
        "offline": offline,
        "refuse": refuse,
        "duplicate": lambda: set_fault("duplicate", count=5),
        "reorder": lambda: set_fault("reorder", **book),
        "hangup": lambda: set_fault("hangup"),
        "freeze": lambda: set_fault("freeze", seconds=18),
        "crossed": lambda: set_fault("corrupt", how="crossed", **book),
    }


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--minutes", type=float, default=10.0)
    made.add_argument("--frozen", type=float, default=60.0, help="seconds for which the tab is frozen, once; 0: never")
    made.add_argument("--out", type=Path)
    arguments = made.parse_args()
    if not browser.found():
        sys.exit("no Chromium here: apt install chromium")
    with browser.demo() as (url, control), browser.browser() as chromium:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        words: list[str] = []
        page.on("console", lambda message: words.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: words.append(str(error)))
        page.goto(url)
        browser.until(page, browser.LIVE)
        report = run(Tab(page, control), arguments.minutes * 60, arguments.frozen)
        # What the browser itself says of a connection that it was told to break is no fault of the page.
        report["console"] = [word for word in words if "net::ERR" not in word]
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2))
    problems = list(judged(report))
    for name, value in report.items():
        print(f"{name:<26} {value}")
    print(f"{'problems':<26} {problems or 'none'}")
    sys.exit(1 if problems else 0)


def run(tab: Tab, seconds: float, frozen: float) -> Report:
    tab.page.evaluate(BEGIN)
    tab.devtools.send("Performance.enable")
    tab.look()  # from now on the venue remembers what it states
    kinds = faults(tab)
    for strike in kinds.values():  # all of the page's code has run and is compiled, which the heap holds, too
        strike()
        tab.watch(2)
        tab.well()
    tab.watch(WARM)
    tab.page.evaluate(FILL)
    before = tab.memory()
    end, struck, recovered = time.monotonic() + seconds, Counter[str](), []
    if frozen:
        tab.freeze(frozen)
        struck[f"frozen {frozen:g} s"] += 1
        recovered.append(tab.well())
    for name in itertools.cycle(kinds):
        if time.monotonic() > end - EVERY:
            break
        kinds[name]()
        struck[name] += 1
        tab.watch(2)
        recovered.append(tab.well())
        tab.watch(max(0.0, min(EVERY - 2, end - time.monotonic())))
    tab.control.delete("/faults")
    recovered.append(tab.well())
    tab.watch(3)
    after = tab.memory()
    return {
        "minutes": round(seconds / 60, 1),
        "faults": dict(struck),
        "slowest recovery, s": round(max(recovered), 1),
        "books compared": tab.compared,
        "books wrong": tab.wrong,
        "book at the end": "equal" if last_book(tab) else "differs",
        "memory before": before,
        "memory after": after,
        "memory growth": {name: f"{after[name] / before[name] - 1:+.1%}" for name in before},
        **tab.page.evaluate("({ ...counted, reconnects: page.gateway.reconnects })"),
    }


def last_book(tab: Tab) -> bool:
    """Stop the market: what is on the screen has to become what the venue has."""
    tab.control.post("/freeze", json={"frozen": True}, timeout=30.0)
    truth = tab.control.get("/book", params={"venue": VENUE, "symbol": SYMBOL}).json()
    wanted = {side: [[float(p), float(a)] for p, a in truth[side][:20]] for side in ("bids", "asks")}
    for _ in range(100):
        seen = tab.page.evaluate(SHOWN)
        if {side: seen[side] for side in wanted} == wanted:
            return True
        tab.page.wait_for_timeout(100)
    return False


def judged(report: Report) -> Iterator[str]:
    if report["books wrong"]:
        yield f"{len(report['books wrong'])} books were wrong"
    if not report["books compared"]:
        yield "no book was compared"
    if report["book at the end"] != "equal":
        yield "the book at the end is not the venue's"
    if report["undeclared"]:
        yield f"{report['undeclared']} losses were not declared"
    if report["console"]:
        yield f"the console said {report['console'][:3]}"
    before, after = report["memory before"], report["memory after"]
    for name in ("heap", "private"):
        if after[name] > before[name] * (1 + MOST_GROWTH):
            yield f"{name} memory grew by more than a tenth"


if __name__ == "__main__":
    main()
