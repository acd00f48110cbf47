"""Events per second: one run to one reader, one run to a thousand, and what ten thousand idle readers cost."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.servers import HERE, Server, run, runyard

EVENTS = 20_000
FANNED_OUT = 300
FAN = 1000
JOINING_MS = 4000
"""How long a run waits for its thousand readers."""
IDLE_SECONDS = 6.0


@dataclass(frozen=True)
class Streams:
    """`of_raw` compares one reader's events with a bare ASGI app that sends each by itself."""

    per_second: float
    of_raw: float
    deliveries_per_second: float


@dataclass(frozen=True)
class Idle:
    """What `readers` connections that hear nothing cost: megabytes above none, and the share of a core."""

    readers: int
    megabytes: float
    share_of_core: float


def one_reader(bare: Server, runyard: Server, rounds: int, progress: Callable[[str], None]) -> tuple[float, float]:
    """Events per second of one run to one reader, and their ratio to the bare stream: medians over the rounds."""
    raw = {"method": "POST", "path": "/events", "body": {"events": EVENTS}}
    ours = {
        "method": "POST",
        "path": "/runs/stream",
        "body": {"agent_id": "pour", "input": {"events": EVENTS}, "stream_mode": "custom"},
    }
    seen: list[tuple[float, float]] = []
    for number in range(rounds):
        progress(f"events to one reader, round {number + 1} of {rounds}")
        rates = [
            told["events"] / told["seconds"]
            for told in (
                run("readers.py", server.port, json.dumps(wish), 1, 0, seconds=60)
                for server, wish in ((bare, raw), (runyard, ours))
            )
        ]
        seen.append((rates[1], rates[1] / rates[0]))
    return statistics.median(rate for rate, _ in seen), statistics.median(ratio for _, ratio in seen)


def many_readers(runyard: Server, rounds: int, progress: Callable[[str], None]) -> float:
    """Deliveries per second of one run to a thousand readers: the median over the rounds."""
    seen: list[float] = []
    for number in range(rounds):
        progress(f"events to {FAN} readers, round {number + 1} of {rounds}")
        wish = {"agent_id": "pour", "input": {"events": FANNED_OUT, "after_ms": JOINING_MS}}
        made = runyard.call("POST", "/runs", wish)
        look = {"method": "GET", "path": f"/runs/{made['run_id']}/stream?stream_mode=custom"}
        told = run("readers.py", runyard.port, json.dumps(look), FAN, 0, seconds=120)
        seen.append(told["events"] / told["seconds"])
    return statistics.median(seen)


def idle_readers(folder: Path, count: int, progress: Callable[[str], None]) -> Idle:
    """A server of its own, with so many readers of a run that says nothing."""
    with runyard(folder) as server:
        made = server.call("POST", "/runs", {"agent_id": "hold"})
        look = {"method": "GET", "path": f"/runs/{made['run_id']}/stream"}
        server.call("GET", "/info")
        before = server.memory
        progress(f"{count} idle readers")
        command = [sys.executable, str(HERE / "readers.py"), str(server.port), json.dumps(look), str(count)]
        readers = subprocess.Popen([*command, str(IDLE_SECONDS + 2)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert readers.stderr is not None
        if readers.stderr.readline() != b"open\n":
            raise RuntimeError(readers.stderr.read().decode())
        time.sleep(1)
        used, begun = server.cpu, time.perf_counter()
        time.sleep(IDLE_SECONDS)
        share = (server.cpu - used) / (time.perf_counter() - begun)
        held = server.memory - before
        readers.wait(30)
    return Idle(count, held, share)
