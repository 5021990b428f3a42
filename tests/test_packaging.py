"""The image and the compose file hold together with the code: commands, settings, files, bounds. No docker is needed.

They are read as text, since no YAML reader is among our dependencies; where a reader of YAML, docker compose or nginx
is at hand it is asked too.
"""

import http.client
import ipaddress
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway import cli, settings
from gateway.limits import Proxies
from gateway.state import VERSION
from tests.redis_server import binaries

ROOT = Path(__file__).parent.parent
DOCKERFILE, IGNORED, COMPOSE = ROOT / "Dockerfile", ROOT / ".dockerignore", ROOT / "compose.yaml"
NGINX = ROOT / "deploy" / "nginx" / "nginx.conf"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> list[list[str]]:
    """Instruction and words of each line of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [line.split(None, 1) for line in text.splitlines() if line]


def image() -> dict[str, str]:
    """The last stage, by instruction; of one that is repeated the last."""
    told = instructions()
    last = max(number for number, (name, _) in enumerate(told) if name == "FROM")
    return dict(told[last:])  # type: ignore[arg-type]  # each has two words


def image_settings() -> dict[str, str]:
    pairs = (word.partition("=") for word in shlex.split(image()["ENV"]))
    return {name: value for name, _, value in pairs if name.startswith(settings.PREFIX)}


def runs() -> list[str]:
    """Each command that building runs."""
    return [one.strip() for name, words in instructions() if name == "RUN" for one in words.split("&&")]


def copied() -> set[str]:
    """What the Dockerfile takes of this folder."""
    lines = [words.split() for name, words in instructions() if name == "COPY" and not words.startswith("--from=")]
    sources = {source for line in lines for source in line[:-1]}
    return {source for source in sources if not {str(parent) for parent in Path(source).parents} & sources}


def services() -> dict[str, str]:
    """The lines of each service, by its name."""
    body = re.search(r"^services:\n(.*?)^\w", COMPOSE.read_text(), re.MULTILINE | re.DOTALL)
    assert body
    parts = re.split(r"^  ([\w-]+):.*\n", re.sub(r"^ *#.*\n", "", body[1], flags=re.MULTILINE), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


OURS = [name for name, lines in services().items() if "    image: market-gateway\n" in lines]
NODES = [name for name in OURS if "    profiles: [cluster]\n" in services()[name]]


def environment(service: str) -> dict[str, str]:
    block = re.search(r"^    environment:.*\n((?:      .*\n)*)", services()[service], re.MULTILINE)
    return dict(re.findall(r"^ +(\w+): (\S+)", block[1], re.MULTILINE)) if block else {}


def command(service: str) -> list[str]:
    """In one line of JSON without quotes, or an item a line."""
    lines = services()[service]
    if short := re.search(r"^    command: \[(.*)\]$", lines, re.MULTILINE):
        return short[1].split(", ")
    block = re.search(r"^    command:\n((?:      - .*\n)*)", lines, re.MULTILINE)
    assert block
    return [shlex.split(item)[0] for item in re.findall(r"^ +- (.*)$", block[1], re.MULTILINE)]


def published(service: str) -> list[str]:
    block = re.search(r"^    ports:\n((?:      - .*\n)*)", services()[service], re.MULTILINE)
    return [item.strip('"') for item in re.findall(r"- (.*)$", block[1], re.MULTILINE)] if block else []


# -- what is run ---------------------------------------------------------------------------------------------------


def test_there_is_something_to_check() -> None:
    assert OURS == ["gateway", "demo", "node-1", "node-2"]
    assert NODES == ["node-1", "node-2"]
    assert list(services()) == ["gateway", "redis", "demo", *NODES, "nginx"]
    assert len(image_settings()) >= 5
    assert {"pyproject.toml", "gateway"} < copied()


def test_the_image_and_compose_run_commands_that_exist() -> None:
    (entry,) = json.loads(image()["ENTRYPOINT"])
    assert entry in PROJECT["project"]["scripts"]
    for arguments in (json.loads(image()["CMD"]), *map(command, OURS)):
        assert callable(cli.parser().parse_args(arguments).command)


def test_the_image_and_compose_set_only_settings_that_exist() -> None:
    named = re.findall(rf"{settings.PREFIX}\w+", DOCKERFILE.read_text() + COMPOSE.read_text())
    assert set(named) <= set(settings.variables())


def test_the_image_has_the_charts_library_of_the_lock_file() -> None:
    assert "npm ci --ignore-scripts --no-audit --no-fund" in runs()
    assert "npm run vendor" in runs()
    scripts = json.loads((ROOT / "web" / "package.json").read_text())["scripts"]
    assert {f"vendor/lightweight-charts.{kind}" for kind in ("mjs", "LICENSE")} <= set(scripts["vendor"].split())


@pytest.mark.parametrize("service", OURS)
def test_what_they_set_is_accepted(service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of ours
    for name, value in {**image_settings(), **environment(service)}.items():
        monkeypatch.setenv(name, value)
    in_force = settings.load()
    assert (in_force.host, in_force.port, in_force.log_format) == ("0.0.0.0", 8787, "json")


def test_simulated_trades_are_not_kept_beside_real_ones() -> None:
    assert f"{settings.PREFIX}REDIS_URL" in environment("gateway")
    assert f"{settings.PREFIX}REDIS_URL" not in environment("demo")


# -- who can reach it, and what it may do ----------------------------------------------------------------------------


def test_compose_publishes_the_gateways_port_alone_and_on_loopback_alone() -> None:
    assert [service for service in services() if published(service)] == ["gateway", "demo", "nginx"]
    ports = [port for service in services() for port in published(service)]
    assert len(ports) == len(set(ports)) == 3
    assert all(re.fullmatch(rf"127\.0\.0\.1:\d+:{image_settings()['GATEWAY_PORT']}", port) for port in ports)
    assert image()["EXPOSE"] == image_settings()["GATEWAY_PORT"]


@pytest.mark.parametrize("service", services())
def test_a_container_has_no_privileges_and_a_bound(service: str) -> None:
    lines = {line.strip() for line in services()[service].splitlines()}
    assert {"read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]'} <= lines
    assert any(re.fullmatch(r"mem_limit: \d+m", line) for line in lines)


def test_the_image_does_not_run_as_root() -> None:
    user, group = image()["USER"].split(":")
    assert int(user) > 0 and int(group) > 0
    assert any(f"useradd --uid {user} --gid {group} " in one for one in runs())


def test_the_one_folder_that_is_written_belongs_to_its_user_and_is_a_volume() -> None:
    folder = image_settings()["GATEWAY_CACHE_DIR"]
    assert f"install --directory --owner gateway --group gateway {folder}" in runs()
    assert f":{folder}\n" in services()["gateway"]


# -- the cluster ---------------------------------------------------------------------------------------------------


def address(service: str) -> str:
    """What it has on the network of nginx and the nodes."""
    told = re.search(r"^      front:\n        ipv4_address: (\S+)$", services()[service], re.MULTILINE)
    assert told
    return told[1]


def upstreams() -> list[str]:
    """``name:port`` of each gateway that nginx knows."""
    return re.findall(r"^ +server (\S+:\d+) ", NGINX.read_text(), re.MULTILINE)


def test_without_a_profile_there_are_a_gateway_and_its_redis() -> None:
    assert [name for name, lines in services().items() if "    profiles: " not in lines] == ["gateway", "redis"]


def test_the_nodes_differ_by_name_and_share_one_redis() -> None:
    assert [environment(node)["GATEWAY_NODE"] for node in NODES] == NODES
    urls = {environment(service)[f"{settings.PREFIX}REDIS_URL"] for service in ("gateway", *NODES)}
    assert len(urls) == 1
    assert len({services()[node].replace(address(node), "").replace(node, "") for node in NODES}) == 1


def test_nginx_knows_the_nodes_and_where_they_are() -> None:
    assert upstreams() == [f"{node}:{environment(node)['GATEWAY_PORT']}" for node in NODES]
    hosts = re.findall(r'^      - "([\w-]+):([\d.]+)"$', services()["nginx"], re.MULTILINE)
    assert hosts == [(node, address(node)) for node in NODES]
    (port,) = published("nginx")
    assert f"    listen {port.rpartition(':')[2]};" in NGINX.read_text()


def test_the_nodes_believe_nginx_and_its_network_alone() -> None:
    (subnet,) = re.findall(r"^        - subnet: (\S+)$", COMPOSE.read_text(), re.MULTILINE)
    assert {environment(node)["GATEWAY_TRUSTED_PROXIES"] for node in NODES} == {subnet}
    proxies = Proxies([ipaddress.ip_network(subnet)])
    assert proxies.client(address("nginx"), ["198.51.100.1, 203.0.113.1"]) == "203.0.113.1"
    assert not {address(node) for node in NODES} & {address("nginx")}
    assert all(ipaddress.ip_address(address(node)) in ipaddress.ip_network(subnet) for node in NODES)


def test_nginx_is_given_its_file_to_read() -> None:
    source = NGINX.relative_to(ROOT)
    assert f"      - ./{source}:/etc/nginx/nginx.conf:ro\n" in services()["nginx"]


def test_nginx_passes_websockets_that_may_be_silent_and_says_whose_they_are() -> None:
    text = NGINX.read_text()
    assert "proxy_set_header Upgrade $http_upgrade;" in text
    assert "proxy_set_header Connection $connection_upgrade;" in text
    assert "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;" in text
    assert "proxy_buffering off;" in text
    (door,) = re.findall(r"location = /v1/ws \{(.*?)\}", text, re.DOTALL)
    assert "proxy_read_timeout 1h;" in door


class Gateway(BaseHTTPRequestHandler):
    """Tells in its answer what came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[int]:
    """nginx's port here. Of its two gateways the first is away."""
    port, away = free_port(), free_port()
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        text = NGINX.read_text().replace("listen 8787;", f"listen 127.0.0.1:{port};").replace("/tmp/", f"{tmp_path}/")
        for name, here in zip(upstreams(), (away, server.server_port), strict=True):
            text = text.replace(f"server {name} ", f"server 127.0.0.1:{here} ")
        (tmp_path / "nginx.conf").write_text(text)
        words = ["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")]
        tried = subprocess.run([*words, "-t"], check=False, capture_output=True, text=True)
        assert tried.returncode == 0, tried.stderr
        with subprocess.Popen([*words, "-g", "daemon off;"], stderr=subprocess.DEVNULL) as running:
            try:
                until_it_listens(port)
                yield port
            finally:
                running.terminate()
                server.shutdown()
                thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_it_listens(port: int) -> None:
    end = time.monotonic() + 10.0
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.02)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx here: its configuration is only read as text")
def test_nginx_asks_the_other_gateway_while_one_is_away_and_tells_it_who_asks(balanced: int) -> None:
    for method in ("GET", "POST") * 4:
        with closing(http.client.HTTPConnection("127.0.0.1", balanced, timeout=5.0)) as door:
            headers = {"Upgrade": "websocket", "Connection": "Upgrade", "X-Forwarded-For": "203.0.113.1"}
            door.request(method, "/v1/ws", headers=headers)
            answer = door.getresponse()
            assert answer.status == 200
            told = json.loads(answer.read())
        assert told["path"] == "/v1/ws"
        assert told["headers"]["Host"] == f"127.0.0.1:{balanced}"
        assert (told["headers"]["Upgrade"], told["headers"]["Connection"]) == ("websocket", "upgrade")
        assert told["headers"]["X-Forwarded-For"] == "203.0.113.1, 127.0.0.1"


# -- what is in it -------------------------------------------------------------------------------------------------


def test_what_is_installed_is_what_the_lock_files_name() -> None:
    installs = [one for one in runs() if " pip " in one and " install " in one]
    locked = [one.partition("--require-hashes -r ")[2] for one in installs if "--require-hashes" in one]
    assert locked == ["requirements.lock", "requirements-build.lock"]
    assert [one for one in installs if "--require-hashes" not in one and "--no-deps --no-index" not in one] == []


def test_the_lock_files_agree_and_cover_the_project() -> None:
    pins = {name: dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)) for name in LOCKS}
    everything = pins["requirements-dev.lock"]
    assert all(everything.items() >= pins[name].items() for name in LOCKS)
    needed = {re.split(r"[^\w.-]", line)[0] for line in PROJECT["project"]["dependencies"]}
    assert needed <= set(pins["requirements.lock"])
    assert {re.split(r"[^\w.-]", line)[0] for line in PROJECT["build-system"]["requires"]} <= set(pins[LOCKS[1]])


LOCKS = ("requirements.lock", "requirements-build.lock", "requirements-dev.lock")


def test_images_are_pinned_to_a_patch_version() -> None:
    python, node = [words for name, words in instructions() if name == "FROM" and ":" in words]
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+ AS python-base", python)
    assert re.fullmatch(r"node:\d+\.\d+\.\d+-\w+-slim AS chart", node)
    for service in ("redis", "nginx"):
        assert re.search(r"^    image: \S+:\d+\.\d+\.\d+-\w+$", services()[service], re.MULTILINE)


def test_the_image_says_which_version_it_is() -> None:
    labels = dict(word.split("=", 1) for word in shlex.split(image()["LABEL"]))
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.licenses"] == PROJECT["project"]["license"]


def test_the_context_is_what_is_copied_and_no_more() -> None:
    patterns = [line for line in IGNORED.read_text().splitlines() if line and not line.startswith("#")]
    assert patterns[0] == "*"
    assert {line.removeprefix("!") for line in patterns if line.startswith("!")} == copied()
    left_out = [line for line in patterns[1:] if not line.startswith("!")]
    assert left_out == ["web/node_modules", "web/vendor", "web/tests", "**/__pycache__"]
    assert all((ROOT / name).exists() for name in copied())


# -- what its commands do ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the image's command of the files the image copies, and installed into a folder."""
    folder = tmp_path_factory.mktemp("build")
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(ROOT / name, folder / name)
    (build,) = [shlex.split(one) for one in runs() if " pip wheel " in one]
    pip([*build[1:], "--no-index"], folder)
    (wheel,) = folder.glob("dist/*.whl")
    pip(["-m", "pip", "install", "--no-deps", "--no-index", "--target", "installed", str(wheel)], folder)
    return folder / "installed"


def pip(arguments: list[str], folder: Path) -> None:
    done = subprocess.run([sys.executable, *arguments], check=False, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_wheel_runs_as_the_image_runs_it(installed: Path, tmp_path: Path) -> None:
    (entry,) = json.loads(image()["ENTRYPOINT"])
    done = subprocess.run(
        [installed / "bin" / entry, "config"],
        check=False,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), **image_settings()},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    in_force = json.loads(done.stdout)
    assert (in_force["host"], in_force["port"], in_force["redis_url"]) == ("0.0.0.0", 8787, "")


def test_the_wheel_holds_the_packages_and_nothing_else(installed: Path) -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    packages = [path for path in included if not path.startswith("web/")]
    assert {path.name for path in installed.iterdir()} == {*packages, "bin", f"market_gateway-{VERSION}.dist-info"}
    missing = [
        path.relative_to(ROOT)
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        if not (installed / path.relative_to(ROOT)).exists()
    ]
    assert missing == []
    web = {path.removeprefix("web/") for path in included if path.startswith("web/") and (ROOT / path).exists()}
    assert {path.name for path in (installed / "gateway" / "web").iterdir()} == web


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server that answers every request with the status asked for."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def look_after(port: int) -> int:
    """Exit status of the image's health check, in spite of a proxy in the environment."""
    (check,) = re.findall(r"CMD (\[.*\])$", image()["HEALTHCHECK"])
    python, *arguments = json.loads(check)
    assert python == "python"
    environment = {"GATEWAY_PORT": str(port), "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, *arguments], check=False, env=environment, capture_output=True).returncode


@pytest.mark.parametrize(("answering", "status"), [(200, 0), (503, 1)], indirect=["answering"])
def test_the_health_check_believes_the_status(answering: int, status: int) -> None:
    assert look_after(answering) == status


def test_the_health_check_fails_where_nobody_listens() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    assert look_after(port) == 1


@pytest.mark.skipif("valkey" not in binaries(), reason="no Valkey server here")
def test_redis_takes_the_words_that_compose_gives_it(tmp_path: Path) -> None:
    _, *words = command("redis")
    path = tmp_path / "redis.sock"
    here = ["--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path)]
    with subprocess.Popen([binaries()["valkey"], *words, *here], stdout=subprocess.DEVNULL) as server:
        try:
            with redis.Redis(unix_socket_path=str(path), decode_responses=True) as asking:
                in_force = config_of(asking)
        finally:
            server.terminate()
    assert in_force["maxmemory-policy"] == "noeviction"
    assert (in_force["appendonly"], in_force["appendfsync"], in_force["save"]) == ("yes", "everysec", "")
    limit = re.search(r"mem_limit: (\d+)m", services()["redis"])
    assert limit and 2 * int(in_force["maxmemory"]) <= int(limit[1]) << 20


def config_of(asking: "redis.Redis") -> dict[str, str]:
    end = time.monotonic() + 10.0
    while True:
        try:
            return dict(asking.config_get())  # type: ignore[arg-type]
        except redis.ConnectionError:
            assert time.monotonic() < end, "it does not answer"
            time.sleep(0.02)


# -- what others say ----------------------------------------------------------------------------------------------


def test_compose_yaml_is_yaml_and_says_what_we_read() -> None:
    yaml = pytest.importorskip("yaml", reason="no reader of YAML here: compose.yaml is only read as text")
    told = yaml.safe_load(COMPOSE.read_text())["services"]
    assert set(told) == set(services())
    for name in services():
        assert {key: str(value) for key, value in told[name].get("environment", {}).items()} == environment(name)
        assert told[name].get("ports", []) == published(name)


def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", "compose", *arguments], check=False, cwd=ROOT, capture_output=True, text=True)


def configured(*profiles: str) -> dict[str, Any]:
    """The services that start with these profiles."""
    answer = compose(*(word for name in profiles for word in ("--profile", name)), "config", "--format", "json")
    assert answer.returncode == 0, answer.stderr
    told: dict[str, Any] = json.loads(answer.stdout)["services"]
    return told


@pytest.mark.skipif(
    shutil.which("docker") is None or compose("version").returncode != 0,
    reason="no docker compose here: compose.yaml is only read as text",
)
def test_docker_compose_understands_the_file_as_we_do() -> None:
    assert set(configured()) == {"gateway", "redis"}
    assert set(configured("demo")) == {"gateway", "redis", "demo"}
    assert set(configured("cluster")) == {"gateway", "redis", "nginx", *NODES}
    told = configured("demo", "cluster")
    assert set(told) == set(services())
    assert {port["host_ip"] for service in told.values() for port in service.get("ports", ())} == {"127.0.0.1"}
    assert {name: told[name]["command"] for name in OURS} == {name: command(name) for name in OURS}
    assert told["redis"]["command"] == command("redis")
