"""The server that is fuzzed: a process of its own, with its files in a folder that goes away."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
PATIENCE_S = 20.0

_ERROR = re.compile(r"^\S+ \S+ (ERROR|CRITICAL) (?!runyard\.agent:).*$", re.MULTILINE)


class ServerProcess:
    """`with ServerProcess(folder) as server:` one that is ready."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        self.log = folder / "server.log"
        command = [
            sys.executable,
            "-m",
            "runyard",
            "serve",
            str(ROOT / "fuzz" / "agents.py"),
            "--default-agent",
            "noop",
        ]
        command += ["--port", str(self.port), "--database", f"sqlite:///{folder}/runyard.db", "--synchronous", "normal"]
        command += ["--body-timeout", "2", "--disconnect-grace", "0.1", "--log-level", "warning"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self) -> ServerProcess:
        deadline = time.monotonic() + PATIENCE_S
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"the server does not start:\n{self.log_text()}")
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def log_text(self) -> str:
        """All it ever printed."""
        return self.log.read_text(errors="replace")

    def errors(self) -> list[str]:
        """What the server holds to be errors, in its log; those of agents are theirs."""
        log = self.log_text()
        return [log[at.start() :][:2000] for at in _ERROR.finditer(log)]

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False
