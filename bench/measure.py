"""Runs servers and loads, and makes ratios of what they do: rounds are interleaved, because machines are noisy."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BODY = json.dumps({"agent_id": "noop", "input": {"question": "what does this cost?", "n": 1}})
LATE = json.dumps({"agent_id": "noop", "input": {"question": "what does this cost?", "n": 1}, "after_seconds": 9999})
FIRST_EVENTS = 50


@dataclass(frozen=True)
class Row:
    """Runyard under one load: medians over the rounds; ratios are medians of each round's ratio."""

    what: str
    concurrency: int
    per_second: float
    p50_ms: float
    p99_ms: float
    of_echo: float | None
    of_store: float


@dataclass(frozen=True)
class Report:
    rows: list[Row]
    fsync_ms: float
    first_event_ms: float

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def measure(folder: Path, *, rounds: int, seconds: float, progress: Callable[[str], None]) -> Report:
    """The whole benchmark, on servers of its own in `folder`."""
    fsync = _fsync_ms(folder)
    with _server("bench.baselines", str(folder / "bare.db")) as bare, _runyard(folder) as runyard:
        rows = [_row("wait", concurrency, bare, runyard, rounds, seconds, progress) for concurrency in (1, 16, 128)]
        rows.append(_row("create", 128, bare, runyard, rounds, seconds, progress))
        progress("first events")
        first = statistics.median(_first_event_ms(runyard) for _ in range(FIRST_EVENTS))
    return Report(rows, fsync, first)


def _row(
    what: str, concurrency: int, bare: int, runyard: int, rounds: int, seconds: float, progress: Callable[[str], None]
) -> Row:
    loads: dict[str, tuple[int, str, str]] = {
        "echo": (bare, "/echo", BODY),
        "store": (bare, f"/{what}", BODY),
        "runyard": (runyard, "/runs/wait", BODY) if what == "wait" else (runyard, "/runs", LATE),
    }
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in loads}
    for number in range(rounds):
        for name, (port, path, body) in loads.items():
            progress(f"{what} at {concurrency}: {name}, round {number + 1} of {rounds}")
            seen[name].append(_load(port, path, body, concurrency, seconds))

    def ratio(base: str) -> float:
        pairs = zip(seen["runyard"], seen[base], strict=True)
        return statistics.median(ours["per_second"] / theirs["per_second"] for ours, theirs in pairs)

    def median(figure: str) -> float:
        return statistics.median(entry[figure] for entry in seen["runyard"])

    return Row(
        what,
        concurrency,
        median("per_second"),
        median("p50_ms"),
        median("p99_ms"),
        ratio("echo") if what == "wait" else None,
        ratio("store"),
    )


def _load(port: int, path: str, body: str, concurrency: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, str(HERE / "load.py"), str(port), path, body, str(concurrency), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + seconds)
    if done.returncode:
        raise RuntimeError(f"the load on {path} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def _first_event_ms(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    begun = time.perf_counter()
    connection.request("POST", "/runs/stream", BODY, {"content-type": "application/json"})
    answer = connection.getresponse()
    while not answer.readline().startswith(b"event:"):
        pass
    took = time.perf_counter() - begun
    answer.read()
    connection.close()
    return took * 1e3


def _fsync_ms(folder: Path) -> float:
    took: list[float] = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(200):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(took)


@contextmanager
def _runyard(folder: Path) -> Generator[int]:
    with _started(
        lambda port: [
            sys.executable, "-m", "runyard", "serve", str(HERE / "agents.py"),
            "--port", str(port), "--database", f"sqlite:///{folder / 'runyard.db'}",
        ]
    ) as port:  # fmt: skip
        yield port


@contextmanager
def _server(module: str, argument: str) -> Generator[int]:
    with _started(lambda port: [sys.executable, "-m", module, argument, str(port)]) as port:
        yield port


@contextmanager
def _started(command: Callable[[int], list[str]]) -> Generator[int]:
    """A server on a free port, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = subprocess.Popen(command(port), cwd=HERE.parent, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command(port)} did not start") from None
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
