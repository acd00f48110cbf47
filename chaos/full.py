"""A real server on a disk that fills up, and has room again: it refuses by name, reads on, loses nothing, goes on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from chaos.caller import Caller
from chaos.report import Broken, Progress, Rows, silent
from chaos.server import AGENTS, Server

DISK_BYTES = 6_000_000
STEPS = 12
PATIENCE_S = 20.0


class _Disk(ABC):
    """Where the database is."""

    name: str

    @abstractmethod
    def server(self, folder: Path) -> Server: ...

    @abstractmethod
    def fill(self) -> None: ...

    @abstractmethod
    def free(self) -> None: ...

    def remove(self) -> None:  # noqa: B027  (most have nothing to remove)
        """Leaves nothing behind."""


class _Mounted(_Disk):
    """A small file system in memory, filled up by a file."""

    name = "a file system of 6 MB, filled up"

    def __init__(self, folder: Path) -> None:
        self._place = folder / "disk"
        self._place.mkdir()
        options = f"size={DISK_BYTES}"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._place)], check=True, capture_output=True
        )

    def server(self, folder: Path) -> Server:
        return Server(folder, database=self._place / "runyard.db")

    def fill(self) -> None:
        with (self._place / "ballast").open("wb", buffering=0) as ballast:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError:
                    pass

    def free(self) -> None:
        (self._place / "ballast").unlink()

    def remove(self) -> None:
        subprocess.run(["umount", str(self._place)], check=True)


class _Told(_Disk):
    """The machine's disk under a layer that says that it is full."""

    name = "a layer under SQLite that says so"

    def __init__(self, folder: Path) -> None:
        self._flag = folder / "full"

    def server(self, folder: Path) -> Server:
        agents = (AGENTS.with_name("full_disk.py"), AGENTS)
        return Server(folder, agents=agents, env={"CHAOS_DISK_FULL": str(self._flag)})

    def fill(self) -> None:
        self._flag.touch()

    def free(self) -> None:
        self._flag.unlink()


def run(*, mount: bool, seconds: float = 2.0, progress: Progress = silent) -> Rows:
    """Fills the disk for so many seconds. `mount`: it is a disk of its own, where the machine permits that.

    Raises:
        Broken: a promise did not hold.
    """
    with tempfile.TemporaryDirectory(prefix="runyard-full-") as name:
        folder = Path(name)
        disk = _disk(folder, mount)
        server = disk.server(folder)
        try:
            progress("full: a disk fills up")
            rows = asyncio.run(_tell(disk, server, folder, seconds))
        except Exception as error:
            again = "again: make chaos ARGS='full'"
            raise Broken(f"full disk: {type(error).__name__}: {error}\n{again}\n{server.log_end()}") from error
        finally:
            server.end()
            disk.remove()
    return [("disk", disk.name), *rows]


def _disk(folder: Path, mount: bool) -> _Disk:
    if mount and os.geteuid() == 0:
        try:
            return _Mounted(folder)
        except (OSError, subprocess.CalledProcessError):
            (folder / "disk").rmdir()
    return _Told(folder)


async def _tell(disk: _Disk, server: Server, folder: Path, seconds: float) -> Rows:
    await server.start()
    pid = server.pid
    async with Caller(server.url, Random(1)) as caller, aiohttp.ClientSession(server.url) as plain:
        steps = folder / "steps"
        thread = (await caller.call("POST", "/threads", {})).body["thread_id"]
        before = (await caller.call("POST", "/runs/wait", {"agent_id": "echo", "input": 1})).body["run"]
        pause = seconds / STEPS
        walking = {
            "agent_id": "walk", "thread_id": thread, "stream_mode": "custom",
            "input": {"key": "walk", "steps": STEPS, "pause": pause, "journal": str(steps)},
        }  # fmt: skip
        run_id = (await caller.call("POST", "/runs", walking)).body["run_id"]
        following = asyncio.ensure_future(caller.events(run_id))
        await asyncio.sleep(pause * 2)
        disk.fill()
        refused = await _while_full(plain, before["run_id"], thread, seconds)
        at_refusal = len(steps.read_text().splitlines())
        disk.free()
        freed = time.perf_counter()
        created = await asyncio.wait_for(
            caller.call("POST", "/runs/wait", {"agent_id": "echo", "input": 2}, key="after"), PATIENCE_S
        )
        back = time.perf_counter() - freed
        _must(created.body["values"] == {"echo": 2}, f"a run after the disk had room gave {created}")
        done = (await asyncio.wait_for(caller.call("GET", f"/runs/{run_id}/wait"), PATIENCE_S)).body
        _must(done["values"] == {"taken": list(range(STEPS))}, f"the run that went on gave {done}")
        _must(done["run"]["attempt"] == 1, f"the run that went on was begun again: {done}")
        taken = [int(line.split()[1]) for line in steps.read_text().splitlines()]
        _must(taken == list(range(STEPS)), f"the steps were done as {taken}")
        _must(at_refusal < STEPS, "the run ended although nothing could be written")
        shown = [data["payload"]["step"] for _, name, data in await following if name == "custom"]
        _must(shown == list(range(STEPS)), f"a reader saw the steps {shown}")
        _must(server.running and server.pid == pid and server.starts == 1, "the server was not the same")
    return [
        ("requests refused with 503 disk_full and Retry-After", f"{refused}"),
        ("reads answered meanwhile", f"{refused * len(_reads('', ''))}"),
        ("first run accepted and done after there was room", f"{back:.2f} s"),
        ("steps of the run that went on, each done once", f"{STEPS}"),
    ]


async def _while_full(plain: aiohttp.ClientSession, run_id: str, thread: str, seconds: float) -> int:
    """Nothing can be written, everything can be read; how many writes were refused."""
    writes: list[tuple[str, str, Any]] = [
        ("POST", "/runs", {"agent_id": "echo", "input": "x" * 20_000}),
        ("POST", "/runs/wait", {"agent_id": "echo", "input": "x" * 20_000}),
        ("POST", "/threads", {"metadata": {"text": "x" * 20_000}}),
        ("PUT", "/store/items", {"namespace": ["a"], "key": "k", "value": {"text": "x" * 20_000}}),
    ]
    refused, until = 0, time.perf_counter() + seconds
    # What is left of the last page and of the WAL may take a little more.
    deadline = time.perf_counter() + PATIENCE_S
    while True:
        async with plain.post("/threads", json={"metadata": {"text": "x" * 20_000}}) as answer:
            if answer.status == 503:
                break
        _must(time.perf_counter() < deadline, "the disk is full, and the server still accepts")
    while time.perf_counter() < until:
        for method, path, body in writes:
            async with plain.request(method, path, json=body) as answer:
                told = await answer.json()
                _must(
                    answer.status == 503 and told["code"] == "disk_full" and "Retry-After" in answer.headers,
                    f"{method} {path} on a full disk was answered {answer.status} {told}",
                )
                refused += 1
            for reading in _reads(run_id, thread):
                async with plain.get(reading) as answer:
                    _must(answer.status == 200, f"GET {reading} on a full disk was answered {answer.status}")
        await asyncio.sleep(0.05)
    return refused


def _reads(run_id: str, thread: str) -> list[str]:
    return ["/ok", f"/runs/{run_id}", f"/runs/{run_id}/wait", f"/threads/{thread}", f"/runs/{run_id}/stream?since=0"]


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)
