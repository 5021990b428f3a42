"""Every block of code in the guide for frontends does what the guide says, against a running gateway.

A block has a comment before it, ``<!-- test: name -->``, which names how it is run; one without fails here. JavaScript
runs in Node with what it needs of a browser (``readme/harness.js``), and ``readme/checks.js`` looks at what it did;
TypeScript is checked and compiled first; shell runs in bash; JSON is compared with real answers.

Electron does not run here: its two scripts are checked against types of the names they use and run on a stand-in with
Node's emitters (``readme/electron.cjs``). That the real one has those names is not tested.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.system import processes
from tests.web import node

ROOT = node.WEB.parent
GUIDE = ROOT / "INTEGRATION_README.md"
PACKAGE = node.WEB / "README.md"
HERE = Path(__file__).parent / "readme"
BASE = "http://127.0.0.1:8787"
BLOCK = re.compile(r"(?:^<!-- test: ([\w-]+) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
AT_ONCE = 4
BREAKING = ("states",)  # these break the venue of all others, so they come last

# Where a block lies when it is run: bare.js is imported by another under the name the guide gives it.
FILES = {"bare": "market.js", "electron-preload": "electron-preload.cjs", "first-output": "first-output.txt"}
SHELL = {"demo", "install", "probe", "origins", "faults"}
FRAMES = {"frame-trades", "frame-delta", "frame-error"}
READ_ONLY = {"electron-renderer"}
TYPED = {"react": "react.tsx", "typescript": "typescript.ts"}
# Blocks that are run once more, under other circumstances: a topic that nobody watches, a gateway that is killed.
VARIANTS = {"recipe-b-cold": ("recipe-b", "ETH/USDT:USDT"), "bare-restart": ("bare", "BTC/USDT:USDT")}


@dataclass(frozen=True, slots=True)
class Block:
    name: str
    language: str
    text: str


def blocks(path: Path) -> list[Block]:
    return [Block(name or "", language, text) for name, language, text in BLOCK.findall(path.read_text())]


def checks() -> set[str]:
    """Names of the checks that there are, as Node would list them."""
    script = (
        f"import('{(HERE / 'checks.js').as_uri()}').then(({{ checks }}) => console.log(Object.keys(checks).join()))"
    )
    return set(node.output(node.started("node", "--input-type=module", "-e", script)).strip().split(","))


BLOCKS = {block.name: block for path in (GUIDE, PACKAGE) for block in blocks(path)}
RUN_IN_NODE = sorted((set(BLOCKS) | set(VARIANTS)) - SHELL - FRAMES - READ_ONLY)


@dataclass(frozen=True, slots=True)
class Demo:
    """``make demo`` on another port."""

    gateway: str
    simulator: str
    folder: Path

    def here(self, text: str) -> str:
        return text.replace(BASE, self.gateway).replace(BASE.replace("http", "ws"), self.gateway.replace("http", "ws"))

    @property
    def environment(self) -> dict[str, str]:
        """Of Node: where all is, and how to start another gateway."""
        return {
            "GATEWAY_URL": self.gateway,
            "SIMULATOR_URL": self.simulator,
            "START_GATEWAY": json.dumps([sys.executable, "-m", "gateway", "serve"]),
            "GATEWAY_CACHE_DIR": "",
            "GATEWAY_EXCHANGES": "binance",
            "PYTHONPATH": str(ROOT),
            **processes.simulated(self.simulator),
        }


@contextmanager
def serving(*words: str, environment: Mapping[str, str]) -> Iterator[list[str]]:
    """A program that serves until we are done; gives the addresses that it prints, once it has started."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    with tempfile.TemporaryFile("w+") as output:
        running = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**clean, **environment},
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )

        def said() -> str:
            output.seek(0)
            text = output.read()
            assert running.poll() is None, text
            return text

        try:
            processes.wait_for(lambda: " started " in said())
            yield re.findall(r"http://[\d.]+:\d+", said())
        finally:
            node.stop(running)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with serving(sys.executable, "-m", "gateway", "demo", environment={"GATEWAY_PORT": "0"}) as (
        gateway,
        simulator,
        *_,
    ):
        folder = tmp_path_factory.mktemp("app")
        one = Demo(gateway, simulator, folder)
        furnish(one)
        yield one


def furnish(demo: Demo) -> None:
    """A project as its reader would have it: the packages, and every block as a file."""
    packages = demo.folder / "node_modules"
    packages.mkdir()
    for name in ("react", "react-test-renderer", "ws", "@types"):
        (packages / name).symlink_to(node.WEB / "node_modules" / name)
    (packages / "market-gateway-client").symlink_to(node.WEB)
    (packages / "electron").mkdir()
    shutil.copy(HERE / "electron.cjs", packages / "electron" / "index.js")
    shutil.copy(HERE / "electron.d.ts", packages / "electron" / "index.d.ts")
    (packages / "electron" / "package.json").write_text('{"name":"electron","types":"index.d.ts"}')
    (demo.folder / "package.json").write_text('{"type":"module"}')
    for path in (
        *HERE.glob("*.js"),
        HERE / "surroundings.d.ts",
        node.WEB / "tests" / "process.js",
        node.WEB / "worker.js",
    ):
        shutil.copy(path, demo.folder)
    # What a page imports from the gateway, as it is served.
    (demo.folder / "client.js").write_bytes(httpx2.get(f"{demo.gateway}/client.js").content)
    for block in BLOCKS.values():
        (demo.folder / file_of(block.name)).write_text(source(block, demo))
    for name, (original, symbol) in VARIANTS.items():
        text = source(BLOCKS[original], demo).replace("BTC/USDT:USDT", symbol)
        (demo.folder / f"{name}.js").write_text(text)
    compiled = ("--noEmit", "false", "--outDir", ".", *TYPED.values(), "surroundings.d.ts")
    node.output(node.started(*TSC, "--strict", *compiled, folder=demo.folder))


TSC = (
    str(node.WEB / "node_modules" / ".bin" / "tsc"),
    *(
        "--target",
        "es2023",
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
        "--jsx",
        "react-jsx",
        "--skipLibCheck",
    ),
)


def file_of(name: str) -> str:
    return FILES.get(name) or TYPED.get(name) or f"{name}.{BLOCKS[name].language if name in FRAMES | SHELL else 'js'}"


def source(block: Block, demo: Demo) -> str:
    """Of a page its script; all else as it stands, but for the address."""
    text = block.text
    if block.language == "html" and (script := re.search(r"<script type=\"module\">(.*)</script>", text, re.DOTALL)):
        text = script[1].replace(f"{BASE}/client.js", "./client.js")
    return demo.here(text)


@pytest.fixture(scope="module")
def results(demo: Demo) -> Iterator[dict[str, "Future[str]"]]:
    """Every block that runs in Node: a few at a time, since most of their time they wait for the market."""

    def run(name: str) -> str:
        file = re.sub(r"\.tsx?$", ".js", f"{name}.js" if name in VARIANTS else file_of(name))
        words = ("node", "harness.js", name, str(demo.folder / file))
        return node.output(node.started(*words, environment=demo.environment, folder=demo.folder))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {name: pool.submit(run, name) for name in sorted(RUN_IN_NODE, key=order) if name not in BREAKING}
        wait(futures.values())
        futures |= {name: pool.submit(run, name) for name in BREAKING}
        wait(futures.values())
        yield futures


def order(name: str) -> bool:
    """What takes long comes first."""
    return name not in ("bare-restart", "bare")


def test_every_block_says_how_it_is_tested() -> None:
    unnamed = [f"{path.name}: {one.text[:60]}" for path in (GUIDE, PACKAGE) for one in blocks(path) if not one.name]
    assert unnamed == []
    assert len(BLOCKS) == sum(len(blocks(path)) for path in (GUIDE, PACKAGE)), "two blocks of one name"


def test_every_block_has_a_check_and_every_check_a_block() -> None:
    assert checks() == set(RUN_IN_NODE)


@pytest.mark.parametrize("name", RUN_IN_NODE)
def test_a_block_does_what_the_guide_says(name: str, results: dict[str, "Future[str]"]) -> None:
    results[name].result()


# -- types -----------------------------------------------------------------------------------------------------------


def test_the_scripts_for_electron_use_names_that_it_has(demo: Demo) -> None:
    words = (
        "--noEmit",
        "--strict",
        "false",
        "--allowJs",
        "--checkJs",
        "electron-main.js",
        "electron-preload.cjs",
        "surroundings.d.ts",
    )
    node.output(node.started(*TSC, *words, folder=demo.folder))


def test_a_page_of_electron_may_connect_and_load_nothing_from_elsewhere() -> None:
    policy = re.search(r'content="([^"]*)"', BLOCKS["electron-renderer"].text)
    assert policy
    rules = {words[0]: words[1:] for words in (rule.split() for rule in policy[1].split(";"))}
    assert rules == {"default-src": ["'self'"], "connect-src": ["'self'", BASE, BASE.replace("http", "ws")]}


# -- shell -----------------------------------------------------------------------------------------------------------


def bash(demo: Demo, name: str, *, folder: Path | None = None, **environment: str) -> str:
    """What the block prints."""
    words = ("bash", "-euc", demo.here(BLOCKS[name].text))
    return node.output(node.started(*words, environment=environment, folder=folder or demo.folder))


def documents(text: str) -> list[Any]:
    """JSON documents that stand one after the other."""
    found, at = [], 0
    while at < len(text):
        one, at = json.JSONDecoder().raw_decode(text, at)
        found.append(one)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


def test_make_demo_is_what_these_tests_run() -> None:
    assert BLOCKS["demo"].text == "make demo\n"
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "demo"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1].split("/")[-1] == "market-gateway demo"


def test_the_package_is_installed_from_a_checkout_beside_the_project(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "market-gateway").symlink_to(ROOT)
    (tmp_path / "app").mkdir()
    bash(demo, "install", folder=tmp_path / "app", npm_config_offline="true", npm_config_audit="false")
    assert (tmp_path / "app" / "node_modules" / "market-gateway-client" / "client.js").samefile(node.WEB / "client.js")


def test_the_first_questions_are_answered(demo: Demo) -> None:
    ready, offered, flowing = documents(bash(demo, "probe"))
    assert ready["status"] == "ready"
    assert [one["exchange"] for one in offered["exchanges"]] == ["binance", "bybit", "hyperliquid"]
    assert flowing["node"] == "gateway-1"


def test_the_fault_switch_takes_what_the_guide_gives_it(demo: Demo, results: dict[str, "Future[str]"]) -> None:
    *injected, removed, state = documents(bash(demo, "faults"))
    assert [list(one) for one in injected] == [["id"]] * 4
    assert "removed" in removed
    assert {"reset", "freeze", "drop"} <= set(state["kinds"])
    at_the_simulator = httpx2.get(f"{demo.simulator}/control/faults").json()
    assert at_the_simulator["kinds"] == state["kinds"]


async def test_the_origins_that_are_listed_are_let_in_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "market-gateway").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
    (tmp_path / "market-gateway").chmod(0o755)
    environment = {"GATEWAY_PORT": "0", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with serving("bash", "-euc", BLOCKS["origins"].text, environment=environment) as (url, *_):
        listed = re.findall(r"[^\s,\"=]+", BLOCKS["origins"].text.split("=")[1])[:4]
        assert listed == ["https://desk.example.com", "app://desk", "file://", "null"]
        for origin in (*listed, "http://localhost:5173", "http://127.0.0.1:3000", None):
            assert await may_connect(url, origin) == 101, origin
            answer = httpx2.get(f"{url}/v1/capabilities", headers={"Origin": origin} if origin else {})
            assert origin is None or answer.headers.get("access-control-allow-origin") in (origin, "*"), origin
        for origin in ("https://evil.example", "https://desk.example.com.evil.example", "app://other"):
            assert await may_connect(url, origin) == 403
            answer = httpx2.get(f"{url}/v1/capabilities", headers={"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers


async def may_connect(url: str, origin: str | None) -> int:
    """The status of a handshake from a page of that origin."""
    headers = {} if origin is None else {"Origin": origin}
    try:
        async with connect(f"{url.replace('http', 'ws')}/v1/ws", additional_headers=headers):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


# -- frames ----------------------------------------------------------------------------------------------------------


def shape(value: Any) -> Any:
    """Names and types, but for the venue's own row; of a list its first one."""
    if isinstance(value, dict):
        return {name: "venue's" if name == "info" else shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.mark.parametrize("name", sorted(FRAMES))
async def test_a_frame_of_the_guide_has_the_shape_of_a_real_one(name: str, demo: Demo) -> None:
    shown = json.loads(BLOCKS[name].text)
    async with processes.client(demo.gateway) as client:
        topic = {"exchange": "binance", "symbol": "BTC/USDT:USDT"} if name == "frame-trades" else shown["topic"]
        await client.send(op="hello")
        await client.send(op="subscribe", id=1, channel=shown["channel"], **topic)
        real = await client.expect(type=shown["type"], **({"kind": "delta"} if "kind" in shown else {}))
        while "kind" in shown and not (real["data"]["bids"] and real["data"]["asks"] and "checksum" not in real):
            real = await client.expect(kind="delta")
    assert shape(shown) == shape(real)
