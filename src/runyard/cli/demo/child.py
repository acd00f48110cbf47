"""A server as a child process: a free port, a database in a folder of its own, and a way to kill it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ap_client import AgentsApi, ApiClient, ApiException, Configuration

from runyard.cli.connection import CONNECTIONS, Failed

START_SECONDS = 20.0
STOP_SECONDS = 15.0
LAST_LINES = 12


class ChildServer:
    """One server on one database file; after `kill` or `stop` it can be started again, on the same port."""

    def __init__(self, folder: Path, targets: tuple[str, ...]) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        self._targets = targets
        self._process: subprocess.Popen[bytes] | None = None
        configuration = Configuration(host=self.url)
        configuration.connection_pool_maxsize = CONNECTIONS
        self.client = ApiClient(configuration)

    @property
    def pid(self) -> int:
        """The process id of the server that was started last."""
        assert self._process is not None, "the server was never started"
        return self._process.pid

    def start(self) -> float:
        """Start it; the seconds until it answered. Raises Failed with the end of its log when it does not."""
        begun = time.monotonic()
        database = f"sqlite:///{self.folder / 'runyard.db'}"
        command = [sys.executable, "-m", "runyard", "serve", *self._targets]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port), "--database", database],
                cwd=self.folder,
                env=_clean(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the tour, which then ends the server in order.
                start_new_session=True,
            )
        while not self._answers():
            if self._process.poll() is not None:
                raise Failed(f"the server ended with code {self._process.returncode}:\n{self._end_of_log()}")
            if time.monotonic() - begun > START_SECONDS:
                raise Failed(f"the server did not answer in {START_SECONDS:g} s:\n{self._end_of_log()}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def kill(self) -> None:
        """`kill -9`: it cannot say goodbye, nor finish anything."""
        assert self._process is not None, "the server was never started"
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Tell it to stop, and wait until it has; a server that was never started is stopped already."""
        self.client.close()
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def _answers(self) -> bool:
        try:
            return bool(AgentsApi(self.client).search_agents({}))
        except ApiException:
            return False

    def _end_of_log(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    # Keys or a configuration of the person's own server are not meant for this one.
    return {name: value for name, value in environ.items() if not name.startswith("RUNYARD_")}
