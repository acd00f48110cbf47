"""A real server: `runyard serve` or `runyard worker` in a process of its own, which can be killed, stopped for a while,
started again and looked at."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

AGENTS = Path(__file__).with_name("agents.py")
PATIENCE_S = 30.0

_TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """One server on a free port, its files in a folder. Ended and started again it is on the same files and port."""

    def __init__(
        self,
        folder: Path,
        *,
        agents: Sequence[Path] = (AGENTS,),
        database: Path | str | None = None,
        command: str = "serve",
        settings: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        self.database = folder / "runyard.db" if database is None or isinstance(database, str) else database
        self.starts = 0
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("RUNYARD_")}
        # Byte code as an installed server has it, whatever the shell says: the first start makes it, in the folder.
        self._env.pop("PYTHONDONTWRITEBYTECODE", None)
        self._env |= {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), **(env or {})}
        self._command = [sys.executable, "-m", "runyard", command, *map(str, agents), "--port", str(self.port)]
        self._command += ["--database", database if isinstance(database, str) else f"sqlite:///{self.database}"]
        for name, value in (settings or {}).items():
            self._command += [f"--{name.replace('_', '-')}", str(value)]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(self) -> None:
        """Starts it without waiting for anything."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.starts += 1

    async def start(self) -> float:
        """Starts it; after how many seconds it was ready."""
        begun = time.perf_counter()
        self.spawn()
        while not await self.ready():
            if not self.running or time.perf_counter() - begun > PATIENCE_S:
                raise RuntimeError(f"the server did not start:\n{self.log_end()}")
            await asyncio.sleep(0.005)
        return time.perf_counter() - begun

    async def ready(self) -> bool:
        """Whether it says that it takes runs."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(b"GET /ready HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            return (await reader.readline()).startswith(b"HTTP/1.1 200")
        except OSError:
            return False
        finally:
            writer.close()

    def kill(self) -> None:
        """It can neither say goodbye nor finish anything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """It stands still, as its machine would, until `go_on`."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """Tells it to stop in order, without waiting for that."""
        os.kill(self.pid, signal.SIGTERM)

    def end(self) -> None:
        """Leaves nothing behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()

    def ended_with(self) -> int | None:
        """Its exit code; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def log_end(self) -> str:
        """The last of what it printed."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def memory(self) -> int:
        """Bytes of memory that it has."""
        return self._memory("VmRSS")

    def own_memory(self) -> int:
        """Bytes of it that are its own: without what it sees of files, which the system keeps for all."""
        return self._memory("RssAnon")

    def most_memory(self) -> int:
        """The most bytes of memory that it had, since its start or since `forget_most_memory`."""
        return self._memory("VmHWM")

    def forget_most_memory(self) -> None:
        """What it had until now does not count any more."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _memory(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        return 0

    def cpu_seconds(self) -> float:
        """Seconds of processor that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
