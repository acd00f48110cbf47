"""A real server: a process of its own on a free port, with its files in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ap_client import ApiClient, BackgroundRunsApi, Configuration, RunsApi, ThreadsApi

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
STORY_AGENTS = Path(__file__).with_name("story_agents.py")
PATIENCE_S = 20.0


class ServerProcess:
    """`runyard serve` with these targets. After it has ended it can be started again, on the same files and port."""

    def __init__(
        self,
        folder: Path,
        *targets: Path | str,
        env: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = folder / "runyard.db"
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.client = ApiClient(Configuration(host=self.url))
        self.runs = RunsApi(self.client)
        self.background = BackgroundRunsApi(self.client)
        self.threads = ThreadsApi(self.client)
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("RUNYARD_")} | dict(env or {})
        self.command = [sys.executable, "-m", "runyard", "serve", *map(str, targets), "--port", str(self.port)]
        self.command += ["--database", f"sqlite:///{self.database}"]
        for name, value in (settings or {}).items():
            self.command += [f"--{name.replace('_', '-')}", str(value)]

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it without waiting for anything."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self.process

    def start(self) -> ServerProcess:
        """Start it and wait until it takes runs."""
        process = self.spawn()

        def ready() -> bool:
            assert process.poll() is None, f"ended with {process.returncode}:\n{self.log_text()}"
            return self.get("/ready")[0] == 200

        wait_until(ready, "the server is ready", self.log_text)
        return self

    def kill9(self) -> None:
        """It can neither say goodbye nor finish anything."""
        self._signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> None:
        """Tell it to stop; `wait` waits for it."""
        self._signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def restart(self) -> ServerProcess:
        """Start it again on the same files."""
        assert self.process is not None
        assert self.process.poll() is not None, "it still runs"
        return self.start()

    def end(self) -> None:
        """Leave nothing behind."""
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log_text(self) -> str:
        """All it ever printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a route that the client does not know; (0, None) when nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None
        except OSError:
            return 0, None

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)


Serve = Callable[..., ServerProcess]
"""The fixture `serve`: the arguments of ServerProcess but for its folder."""


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(holds: Callable[[], bool], what: str, evidence: Callable[[], str] = str) -> None:
    """Look again and again until it holds; another process sends no signal when it does."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}\n{evidence()}"
        time.sleep(0.01)


def journal(path: Path) -> list[str]:
    """The lines that an agent wrote so far; a line that is still being written is left out."""
    return path.read_text().split("\n")[:-1] if path.exists() else []
