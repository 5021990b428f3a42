"""INTEGRATION_README.md: every snippet runs against a gateway as ``market-gateway demo`` starts it.

Before each block stands what it prints, as a pattern. It is run until it has printed that, and then killed, since most
go on for ever. Electron cannot be had here: its snippet runs in Node, with a module of its name that has what it uses.
"""

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.replies import CLOSES, STATUSES
from tests.system import processes
from tests.web.node import PATIENCE, linked, needed, tsc

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "INTEGRATION_README.md").read_text()
ADDRESS = "127.0.0.1:8787"
BLOCK = re.compile(r"(?:^<!-- ([^\n]+) -->\n)?^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNTIME = "import WebSocket from 'ws'; globalThis.WebSocket ??= WebSocket;"  # as Node 22 and browsers have it
ELECTRON = """
import { EventEmitter } from "node:events";
export const app = Object.assign(new EventEmitter(), { whenReady: async () => {} });
export const powerMonitor = new EventEmitter();
export class BrowserWindow extends EventEmitter {
  webContents = { send: (channel, rows) => console.log("to the window:", channel, rows.length) };
}
"""
MOUNT = """
import { createElement } from "react";
import { act, create } from "react-test-renderer";
import { connect } from "market-gateway-client";
import { Market, Spread } from "./it.js";

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
console.error = () => {}; // the renderer says that it is deprecated
const gateway = connect("http://127.0.0.1:8787");
let watched;
const market = { orderBook: (...how) => (watched = gateway.orderBook(...how)) };
const app = createElement(Market.Provider, { value: market }, createElement(Spread, { symbol: "BTC/USDT:USDT" }));
let mounted;
await act(async () => (mounted = create(app)));
while (!mounted.toJSON().children[0].includes("/")) await act(async () => new Promise((next) => setTimeout(next, 20)));
console.log(mounted.toJSON().children[0]);
await act(async () => mounted.unmount());
console.log("unmounted:", watched.state);
"""
COMPILE = [
    "--strict",
    "--target",
    "es2022",
    "--module",
    "esnext",
    "--moduleResolution",
    "bundler",
    "--jsx",
    "react-jsx",
]
COMPILE += ["--lib", "es2023,dom", "--skipLibCheck", "--outDir", "out"]


class Block(NamedTuple):
    number: int
    prints: str
    language: str
    where: str
    text: str


BLOCKS = [
    Block(number, about.removeprefix("prints: "), language, where, text)
    for number, (about, language, where, text) in enumerate(BLOCK.findall(PAGE), 1)
]
HERE = [block for block in BLOCKS if block.where != "browser"]


@pytest.fixture(autouse=True)
def _node() -> None:
    needed()


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """The address of a gateway with simulated venues."""
    environment = {"GATEWAY_PORT": "0", "GATEWAY_CACHE_DIR": ""}
    with processes.process("gateway", "demo", environment=environment) as url:
        processes.wait_for_ready(url)
        yield url.removeprefix("http://")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    linked(tmp_path, ["ws", "react", "react-test-renderer", "scheduler", "react-is", "@types"])
    (tmp_path / "node_modules" / "electron").mkdir()
    (tmp_path / "node_modules" / "electron" / "package.json").write_text('{"type":"module","main":"index.js"}')
    (tmp_path / "node_modules" / "electron" / "index.js").write_text(ELECTRON)
    (tmp_path / "runtime.mjs").write_text(RUNTIME)
    return tmp_path


def test_every_block_says_what_it_prints_or_who_runs_it() -> None:
    assert all(block.prints for block in BLOCKS)
    for block in BLOCKS:
        if block.where == "browser":
            assert (ROOT / block.prints.rpartition(" ")[2]).exists()


@pytest.mark.parametrize("block", HERE, ids=lambda block: f"{block.number} {block.language}")
def test_a_snippet_prints_what_it_says(block: Block, demo: str, folder: Path) -> None:
    command = prepared(block, demo, folder)
    printed = output_of(command, folder, until=re.compile(block.prints))
    assert re.search(block.prints, printed), printed[-3_000:]


def test_every_error_code_says_what_to_do() -> None:
    table = PAGE.partition("\n## Errors")[2].partition("\n## ")[0]
    first = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    told = {code for cell in first for code in re.findall(r"`([A-Z_]+)`", cell)}
    assert told == {*STATUSES, "NOT_SUBSCRIBED", "SUBSCRIPTION_LIMIT", "FORBIDDEN"}


def test_every_close_code_says_what_to_do() -> None:
    table = PAGE.partition("\n## Close codes")[2].partition("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d{4})", table, re.MULTILINE)} == {*CLOSES, 1006}


def prepared(block: Block, demo: str, folder: Path) -> list[str]:
    """The command that runs it."""
    text = block.text.replace(ADDRESS, demo)
    node = ["node", "--import", "./runtime.mjs"]
    match block.language:
        case "sh":
            return ["bash", "-ec", text]
        case "html":
            script = re.search(r'<script type="module">(.*)</script>', text, re.DOTALL)
            assert script
            text = script[1].replace(f"http://{demo}/client.js", "market-gateway-client")
        case "ts" | "tsx":
            (folder / f"it.{block.language}").write_text(text)
            tsc(*COMPILE, f"it.{block.language}", cwd=folder)
            text = (folder / "out" / "it.js").read_text()
            if block.language == "tsx":
                (folder / "it.js").write_text(text)
                text = MOUNT.replace(ADDRESS, demo)
    (folder / "run.mjs").write_text(text)
    return [*node, "run.mjs"]


def output_of(command: list[str], folder: Path, *, until: re.Pattern[str]) -> str:
    """What it prints until it has printed that, or ends, or takes too long."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        end = threading.Timer(PATIENCE, running.kill)
        end.start()
        printed = ""
        assert running.stdout is not None
        for line in running.stdout:
            printed += line
            if until.search(printed):
                break
        end.cancel()
        running.kill()
    return printed
