"""Servers to be measured: each a process of its own on a free port, until its block ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class Server:
    """One process that listens; in `folder`, and with what `environment` adds to this process's own."""

    def __init__(
        self, command: Callable[[int], list[str]], folder: Path = HERE.parent, environment: dict[str, str] | None = None
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._command = command(self.port)
        self._folder, self._environment = folder, {**os.environ, **(environment or {})}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command, cwd=self._folder, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def answers(self, path: str = "/ok") -> float:
        """Seconds until a path is answered with 200."""
        begun = time.perf_counter()
        while time.perf_counter() - begun < 30:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return time.perf_counter() - begun
            except OSError:
                if self.process.poll() is not None:
                    break
            time.sleep(0.002)
        raise RuntimeError(f"{self._command} did not start")

    def listens(self) -> None:
        """Returns when it takes connections."""
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self._command} did not start") from None
                time.sleep(0.02)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request and its JSON; None where the answer has no body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text) if text else None

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def start_again(self) -> None:
        self.process = self._start()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def memory(self) -> float:
        """Megabytes that are resident."""
        status = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(status[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def runyard(folder: Path, *flags: str, agents: Path = HERE / "agents.py") -> Generator[Server]:
    """Runyard with agents of the benchmark, on a database in that folder."""
    with running(
        lambda port: [
            sys.executable, "-m", "runyard", "serve", str(agents),
            "--port", str(port), "--database", f"sqlite:///{folder / 'runyard.db'}", *flags,
        ]
    ) as server:  # fmt: skip
        server.answers("/ready")
        yield server


@contextmanager
def bare(folder: Path) -> Generator[Server]:
    """The baselines."""
    with running(lambda port: [sys.executable, "-m", "bench.baselines", str(folder / "bare.db"), str(port)]) as server:
        server.listens()
        yield server


@contextmanager
def running(
    command: Callable[[int], list[str]], folder: Path = HERE.parent, environment: dict[str, str] | None = None
) -> Generator[Server]:
    """A server of a command that takes its port."""
    server = Server(command, folder, environment)
    try:
        yield server
    finally:
        server.stop()


def run(script: str, *arguments: object, seconds: float) -> Any:
    """What a script of this folder prints as JSON, run in a process of its own."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + seconds)
    if done.returncode:
        raise RuntimeError(f"{script} {arguments} failed:\n{done.stderr}")
    return json.loads(done.stdout)
