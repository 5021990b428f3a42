"""Processes on a core of their own, their cost, and asking them things line by line. Linux only."""

import json
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES, LOAD_CORES = CORES[-1:], CORES[:-1]
PATIENCE = 30.0  # seconds for a start or an answer
NICE_LOAD = 5  # the counting gives way to the sending, with which it may share a core


class Failed(Exception):
    """Something did not work; ``str()`` says what, for people."""


class Program:
    """A running process. What it writes to stderr is kept for the case that it fails."""

    def __init__(self, name: str, running: subprocess.Popen[bytes], errors: Any) -> None:
        self.name = name
        self.pid = running.pid
        self._running = running
        self._errors = errors

    @property
    def ended(self) -> bool:
        return self._running.poll() is not None

    def ask(self, order: str, *, timeout: float = PATIENCE) -> dict[str, Any]:
        """Send one line and read the one that answers it."""
        self.tell(order)
        return self.read(timeout=timeout)

    def tell(self, line: str) -> None:
        assert self._running.stdin is not None
        try:
            self._running.stdin.write(line.encode() + b"\n")
        except BrokenPipeError as error:
            raise self.failure("has ended") from error

    def read(self, *, timeout: float = PATIENCE) -> dict[str, Any]:
        output = self._running.stdout
        assert output is not None
        readable, _, _ = select.select([output], [], [], timeout)
        line = output.readline() if readable else b""
        if not line:
            raise self.failure("has ended" if readable else f"did not answer within {timeout:g} s")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def failure(self, what: str) -> Failed:
        self._errors.seek(0)
        text = " ".join(self._errors.read().decode(errors="replace").split())
        return Failed(f"{self.name} {what}" + (f": …{text[-300:]}" if text else ""))

    def cpu(self) -> float:
        """Seconds of CPU time of all threads so far, its children's too: the scheduler's own account, in ns."""
        threads = [thread for pid in family(self.pid) for thread in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def resident(self) -> int:
        """Bytes of memory it holds."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """The process and those it has started."""
    children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return [pid, *(one for child in children for one in family(int(child)))]


@contextmanager
def program(
    name: str,
    command: Sequence[str],
    *,
    cores: Sequence[int],
    environment: Mapping[str, str] | None = None,
    nice: int = 0,
) -> Iterator[Program]:
    """Run ``command`` on ``cores`` and end it on leaving."""
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryDirectory() as directory:
        os.sched_setaffinity(0, cores)  # inherited, from its first thread on
        running = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            cwd=directory,  # of nobody's .env
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # Ctrl-C is ours to handle
        )
        os.sched_setaffinity(0, LOAD_CORES)
        try:
            os.setpriority(os.PRIO_PROCESS, running.pid, nice)
            yield Program(name, running, errors)
        finally:
            running.terminate()
            try:
                running.wait(3)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
            for pipe in (running.stdin, running.stdout):
                if pipe is not None:
                    pipe.close()


def compiled(source: str, directory: Path) -> str:
    """A C program of this folder, compiled into ``directory``."""
    target = directory / source.removesuffix(".c")
    command = [os.environ.get("CC", "cc"), "-O2", "-pthread", "-o", str(target), str(HERE / source), "-ldl"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Failed("a C compiler is needed (cc, or the one that CC names): the bench's clients are in C") from error
    except subprocess.CalledProcessError as error:
        raise Failed(f"{source} does not compile: {error.stderr}") from error
    return str(target)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_for(condition: Callable[[], object], running: Program, what: str, *, timeout: float = PATIENCE) -> None:
    end = time.monotonic() + timeout
    while not condition():
        if running.ended or time.monotonic() > end:
            raise running.failure(what)
        time.sleep(0.05)
