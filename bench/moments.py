"""Latencies of single moments: first event, answered wait, cancel, start and restart."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.servers import Server, runyard

TIMES = 60
RESTARTS = 5


@dataclass(frozen=True)
class Moments:
    """Milliseconds; p50 and p99 over the tries, at concurrency 1."""

    first_event_p50: float
    first_event_p99: float
    wait_answered_p50: float
    wait_answered_p99: float
    cancel_p50: float
    cancel_p99: float


@dataclass(frozen=True)
class Starts:
    """Milliseconds from the start of the process (an import of Python and all), medians; megabytes when idle."""

    ready: float
    ready_after_kill: float
    resumed_after_kill: float
    idle_megabytes: float


def moments(server: Server, progress: Callable[[str], None]) -> Moments:
    """One connection at a time."""
    progress("first events")
    first = sorted(_first_event(server) for _ in range(TIMES))
    progress("answered waits")
    answered = sorted(_wait_answered(server) for _ in range(TIMES))
    progress("cancels")
    cancels = sorted(_cancel(server) for _ in range(TIMES))
    return Moments(*(_at(times, share) for times in (first, answered, cancels) for share in (0.5, 0.99)))


def starts(folder: Path, progress: Callable[[str], None]) -> Starts:
    """A server of its own, killed and started again."""
    with runyard(folder) as server:
        ready: list[float] = []
        after_kill: list[float] = []
        resumed: list[float] = []
        for number in range(RESTARTS):
            progress(f"restart {number + 1} of {RESTARTS}")
            server.stop()
            server.start_again()
            ready.append(server.answers("/ready") * 1e3)
            mark = folder / f"begun-{number}"
            run = server.call("POST", "/runs", {"agent_id": "resume", "input": str(mark)})
            while not mark.exists():
                time.sleep(0.002)
            time.sleep(0.1)  # its step is recorded, and its second attempt ends
            server.kill()
            server.start_again()
            begun = time.time()
            after_kill.append(server.answers("/ok") * 1e3)
            done = server.call("GET", f"/runs/{run['run_id']}/wait")
            resumed.append((done["values"]["at"] - begun) * 1e3)
        server.call("POST", "/runs/wait", {"agent_id": "noop"})
        return Starts(
            statistics.median(ready), statistics.median(after_kill), statistics.median(resumed), server.memory
        )


def _at(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))] * 1e3


def _first_event(server: Server) -> float:
    """From the request of a stream to its first event."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    begun = time.perf_counter()
    connection.request("POST", "/runs/stream", json.dumps({"agent_id": "noop"}), {"content-type": "application/json"})
    answer = connection.getresponse()
    while not answer.readline().startswith(b"event:"):
        pass
    took = time.perf_counter() - begun
    answer.read()
    connection.close()
    return took


def _wait_answered(server: Server) -> float:
    """From the last line of an agent's code to the answer of who waits for it."""
    done = server.call("POST", "/runs/wait", {"agent_id": "now"})
    return time.time() - done["values"]["at"]


def _cancel(server: Server) -> float:
    """From the request to cancel to its answer, which comes when the code has stopped."""
    run = server.call("POST", "/runs", {"agent_id": "hold"})
    begun = time.perf_counter()
    server.call("POST", f"/runs/{run['run_id']}/cancel?wait=true")
    return time.perf_counter() - begun
