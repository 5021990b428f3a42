"""Who is measured, and how each is started, fed and subscribed to.

The gateway is the real one, a process fed by a synthetic venue and used through its documented websocket. A peer is a
minimal server that does nothing but fan out: it listens on PORT for clients, on FEED_PORT for lines ``tttt payload``,
sends each payload to all clients that have said ``subscribe tttt tttt …`` (answered by ``ok``), and knows no
authentication, limits, slow clients or history. A peer is thus measured at its best, the gateway as it is sold.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

from fanout.processes import (
    HERE,
    LOAD_CORES,
    SERVER_CORES,
    Failed,
    Program,
    compiled,
    free_port,
    listens,
    program,
    wait_for,
)
from fanout.venue import symbol
from gateway.settings import variables

ROOT = HERE.parent.parent
PEERS_PYTHON = ROOT / ".venv-peers/bin/python"
NODE_HOME = ROOT / ".venv-peers/node"
BATCH = 100  # topics in one subscribe command of the gateway's
UPSTREAM_PACE = 0.5  # seconds for each stream that the gateway asks its venue for, at most
RAISED = re.compile(r"_LIMITS__.*(CONNECTIONS|CONNECTS|ACCEPT)")  # limits on how many clients come, and how fast
PENDING = 16 * 1024 * 1024  # bytes owed to a client: the bench measures a backlog, where the product cuts


@dataclass(frozen=True)
class Load:
    """What a server is started for. ``size``: of a peer's payload; ``padding``: of the venue's trades."""

    topics: int
    size: int
    padding: int


@dataclass(frozen=True)
class Running:
    """A server ready for clients, and what feeds it."""

    process: Program
    feeder: Program
    port: int


@dataclass(frozen=True)
class Server:
    """``absent`` says why it cannot be measured here; None: it can."""

    name: str
    words: str
    absent: Callable[[], str | None]
    start: Callable[[Load], AbstractContextManager[Running]]
    sink: Callable[[int], Sequence[str]]  # by number of topics: PATH, ACKS, ACK_TEXT of sink.c
    commands: Callable[[int], list[str]]  # by number of topics: what a client says
    protocol: str = "ws"


def feeder(kind: str, port: int, load: Load) -> AbstractContextManager[Program]:
    size = load.padding if kind == "venue" else load.size
    command = [sys.executable, str(HERE / "feeder.py"), kind, str(port), str(load.topics), str(size)]
    return program(f"feeder ({kind})", command, cores=LOAD_CORES)


# -- the gateway -------------------------------------------------------------------------------------------------------


@contextmanager
def start_gateway(load: Load, **more: str) -> Iterator[Running]:
    """The gateway with all its upstream streams running, so that clients are all that is added to it.

    ``more``: settings of its environment.
    """
    with ExitStack() as stack:
        fed = stack.enter_context(feeder("venue", 0, load))
        port = free_port()
        environment = gateway_environment(port, fed.read()["port"]) | more
        command = [sys.executable, "-m", "gateway", "serve"]
        process = stack.enter_context(program("gateway", command, cores=SERVER_CORES, environment=environment))
        wait_for(lambda: listens(port), process, "does not listen")
        with open_client(port) as client:
            for command_text in gateway_commands(load.topics):
                client.send(command_text)
            patience = 30 + UPSTREAM_PACE * load.topics
            wait_for(lambda: feeds_live(port) == load.topics, process, "has not all streams", timeout=patience)
        yield Running(process, fed, port)


def gateway_environment(port: int, venue_port: int) -> dict[str, str]:
    others = [name for name in os.environ if name.startswith("GATEWAY_")]
    if others:
        raise Failed(f"unset {', '.join(others)}: the bench sets the gateway up itself")
    url = f"127.0.0.1:{venue_port}"
    wanted = {
        "GATEWAY_PORT": str(port),
        "GATEWAY_EXCHANGES": "binance",
        "GATEWAY_DEFAULT_EXCHANGE": "binance",
        "GATEWAY_CACHE_DIR": "",
        "GATEWAY_LOG_LEVEL": "warning",
        "GATEWAY_BINANCE__REST_URL": f"http://{url}",
        "GATEWAY_BINANCE__WS_URL": f"ws://{url}",
        "GATEWAY_BINANCE__SPOT_REST_URL": f"http://{url}",
        "GATEWAY_BINANCE__SPOT_WS_URL": f"ws://{url}",
        "GATEWAY_LIMITS__LINGER": "3600",  # the streams outlive the client that called for them
        "GATEWAY_LIMITS__PENDING_BYTES": str(PENDING),
    }
    raised = {name: "100000" for name in variables() if RAISED.search(name) and "SUBSCRIPTIONS" not in name}
    return {**wanted, **raised, "PYTHONPATH": str(ROOT)}


def gateway_commands(topics: int) -> list[str]:
    rows = [{"channel": "trades", "exchange": "binance", "symbol": symbol(topic)} for topic in range(topics)]
    batches = (rows[first : first + BATCH] for first in range(0, topics, BATCH))
    return [json.dumps({"op": "subscribe", "topics": batch}, separators=(",", ":")) for batch in batches]


def open_client(port: int) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/v1/ws", compression=None, proxy=None, max_queue=None)


def feeds_live(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/status", timeout=10) as answer:
        return sum(feed["state"] == "live" for feed in json.load(answer)["feeds"])


def gateway_frame_size() -> int:
    """Bytes of the payload in which the gateway sends one unpadded trade."""
    with start_gateway(Load(topics=1, size=0, padding=0)) as running, open_client(running.port) as client:
        client.send(gateway_commands(1)[0])
        running.feeder.ask("start 5")
        for _ in range(20):
            text = client.recv(timeout=10)
            if '"mark":"' in text:
                return len(text)
    raise Failed("the gateway sent no trade")


# -- peers -------------------------------------------------------------------------------------------------------------


def peer(name: str, words: str, command: Callable[[str, str], list[str]], absent: Callable[[], str | None]) -> Server:
    @contextmanager
    def start(load: Load) -> Iterator[Running]:
        port, feed_port = free_port(), free_port()
        with program(name, command(str(port), str(feed_port)), cores=SERVER_CORES) as process:
            wait_for(lambda: listens(port) and listens(feed_port), process, "does not listen")
            with feeder("lines", feed_port, load) as fed:
                fed.read()
                yield Running(process, fed, port)

    def say(topics: int) -> list[str]:
        return ["subscribe " + " ".join(f"{topic:04}" for topic in range(topics))]

    return Server(name, words, absent, start, lambda _: ("/", "1", "ok"), say)


@contextmanager
def start_nats(load: Load) -> Iterator[Running]:
    port = free_port()
    with program("nats", [NATS, "-a", "127.0.0.1", "-p", str(port)], cores=SERVER_CORES) as process:
        wait_for(lambda: listens(port), process, "does not listen")
        with feeder("nats", port, load) as fed:
            fed.read()
            yield Running(process, fed, port)


def nats_commands(topics: int) -> list[str]:
    subscriptions = [f"SUB t.{topic:04} {topic + 1}" for topic in range(topics)]
    return ['CONNECT {"verbose":false,"pedantic":false}', *subscriptions, "PING"]


def present() -> None:
    return None


def picows_absent() -> str | None:
    try:
        subprocess.run([str(PEERS_PYTHON), "-c", "import picows, uvloop"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return f"{PEERS_PYTHON.relative_to(ROOT)} has no picows and uvloop; make peers brings them"
    return None


def node_absent() -> str | None:
    if shutil.which("node") is None:
        return "there is no node"
    if not (NODE_HOME / "node_modules/ws").is_dir():
        return f"there is no ws; npm install --prefix {NODE_HOME.relative_to(ROOT)} ws brings it"
    return None


def uws_library() -> str:
    """Where the Python package socketify has its uWebSockets; empty: it is not installed, or not for this machine."""
    folders = (PEERS_PYTHON.parent.parent / "lib").glob("python*/site-packages/socketify")
    kind = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")
    libraries = (folder / f"libsocketify_linux_{kind}.so" for folder in folders)
    return next((str(library) for library in libraries if library.exists()), "")


NATS = shutil.which("nats-server") or ""


def servers(directory: Path) -> dict[str, Server]:
    """All there are, by name, in the order of the tables. C programs are compiled into ``directory``."""
    floor, uws, library = compiled("floor.c", directory), compiled("peer_uws.c", directory), uws_library()

    def ours(script: str) -> Callable[[str, str], list[str]]:
        return lambda *ports: [sys.executable, str(HERE / script), *ports]

    every = [
        Server(
            "gateway",
            "market-gateway, whole: venue socket, parsing, history, limits, websocket; uvloop",
            present,
            start_gateway,
            lambda topics: ("/v1/ws", str(topics), '"type":"subscribed"'),
            gateway_commands,
        ),
        peer("floor", "C, epoll, one write(2) per message and client", lambda *ports: [floor, *ports], present),
        peer("websockets", "Python, websockets.broadcast; uvloop", ours("peer_websockets.py"), present),
        peer(
            "picows",
            "Python, picows, send in a loop; uvloop",
            lambda *ports: [str(PEERS_PYTHON), str(HERE / "peer_picows.py"), *ports],
            picows_absent,
        ),
        peer(
            "starlette",
            "Python, starlette on uvicorn, await send_text in a loop; uvloop",
            ours("peer_starlette.py"),
            present,
        ),
        peer(
            "node",
            "Node.js, ws, send in a loop",
            lambda *ports: ["node", str(HERE / "peer_ws.mjs"), *ports, str(NODE_HOME / "package.json")],
            node_absent,
        ),
        peer(
            "uws",
            "C++, uWebSockets, its publish",
            lambda *ports: [uws, *ports, library],
            lambda: None if library else "there is no socketify, whose library it is; make peers brings it",
        ),
        Server(
            "nats",
            "Go, nats-server, its own protocol over TCP in place of websockets",
            lambda: None if NATS else "there is no nats-server on PATH",
            start_nats,
            lambda _: ("/", "1", ""),
            nats_commands,
            protocol="nats",
        ),
    ]
    return {server.name: server for server in every}
