"""A steady load for a long time: does the server's memory grow, do its answers slow down?

Retention is short, so that the file levels off and whatever grows is not the history. What is looked at begins when the
first retention has passed; a line through the samples of memory and of latency says how much an hour would add.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from chaos.caller import Caller
from chaos.report import Broken, Progress, Rows, silent
from chaos.server import Server

SETTINGS: dict[str, object] = {
    "stateless_retention": 10, "run_retention": 10, "event_retention": 10, "thread_retention": 10,
    "idempotency_retention": 10, "sweep_interval": 2, "log_level": "warning",
}  # fmt: skip
SAMPLE_S = 5.0
PAUSE_S = 0.01
"""Between two requests of a client: steady, not as fast as it goes."""
CLIENTS = 4
MEMORY_PER_HOUR = 0.10
LATENCY_PER_HOUR = 0.5
"""How much of its mean a figure may gain in an hour; the noise of a short soak is added to it."""
JUDGED_S = 240.0
"""Seconds of samples below which there is no verdict: caches that fill are no growth yet."""


@dataclass
class Samples:
    """Seconds, megabytes and milliseconds, one of each per sample."""

    at: list[float] = field(default_factory=list[float])
    memory: list[float] = field(default_factory=list[float])
    p50: list[float] = field(default_factory=list[float])
    p99: list[float] = field(default_factory=list[float])
    file: list[float] = field(default_factory=list[float])
    took: list[float] = field(default_factory=list[float])
    requests: int = 0


def run(*, seconds: float, progress: Progress = silent) -> Rows:
    """Works for so many seconds.

    Raises:
        Broken: memory or latency grows.
    """
    with tempfile.TemporaryDirectory(prefix="runyard-soak-") as folder:
        server = Server(Path(folder), settings=SETTINGS)
        try:
            samples = asyncio.run(_work(server, seconds, progress))
        except Exception as error:
            again = f"again: make chaos ARGS='soak --minutes {seconds / 60:g}'"
            raise Broken(f"soak: {type(error).__name__}: {error}\n{again}\n{server.log_end()}") from error
        finally:
            server.end()
    return _judged(samples)


async def _work(server: Server, seconds: float, progress: Progress) -> Samples:
    await server.start()
    samples = Samples()
    begun = time.monotonic()
    async with Caller(server.url, Random(1)) as caller:
        clients = [asyncio.ensure_future(client(caller, samples, number)) for number in range(CLIENTS)]
        try:
            while (now := time.monotonic() - begun) < seconds:
                progress(f"soak: {now:.0f} of {seconds:.0f} s, {samples.requests:,} requests")
                await asyncio.sleep(SAMPLE_S)
                for client in clients:
                    if client.done():
                        client.result()
                if now > 2 * SAMPLE_S and len(samples.took) > 100:  # what a cold server does is no trend
                    _sample(server, samples, now)
                samples.took.clear()
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
    return samples


def _sample(server: Server, samples: Samples, now: float) -> None:
    took = sorted(samples.took)
    samples.at.append(now)
    samples.memory.append(server.own_memory() / 1e6)
    samples.p50.append(took[len(took) // 2] * 1e3)
    samples.p99.append(took[int(len(took) * 0.99)] * 1e3)
    samples.file.append(server.database.stat().st_size / 1e6)


async def client(caller: Caller, samples: Samples, number: int) -> None:
    """Runs without a thread, conversations, streams, items and lists, in turn."""
    thread: str = (await caller.call("POST", "/threads", {})).body["thread_id"]
    turn = 0
    while True:
        turn += 1
        if turn % 50 == 0:
            await caller.call("DELETE", f"/threads/{thread}")
            thread = (await caller.call("POST", "/threads", {"metadata": {"soak": str(number)}})).body["thread_id"]
        echo: dict[str, Any] = {"agent_id": "echo", "input": {"turn": turn}}
        begun = time.perf_counter()
        await caller.call("POST", "/runs/wait", echo)
        samples.took.append(time.perf_counter() - begun)
        await caller.call("POST", "/runs/wait", {**echo, "thread_id": thread})
        if turn % 5 == 0:
            made = await caller.call("POST", "/runs", echo, key=f"{number}-{turn}")
            await caller.events(made.body["run_id"])
            await caller.call("PUT", "/store/items", {"namespace": ["soak"], "key": f"{number}", "value": {"n": turn}})
            await caller.call("POST", "/runs/search", {"limit": 5})
            await caller.call("POST", "/threads/search", {"metadata": {"soak": str(number)}})
        samples.requests += 2
        await asyncio.sleep(PAUSE_S)


def _judged(samples: Samples) -> Rows:
    if len(samples.at) < 4:
        raise Broken("soak: too short for a line through its samples; give it a minute")
    rows: Rows = [("requests", f"{samples.requests:,}"), ("samples, the second half judged", f"{len(samples.at)}")]
    grown: list[str] = []
    for name, values, unit, allowed in (
        ("memory", samples.memory, "MB", MEMORY_PER_HOUR),
        ("latency p50", samples.p50, "ms", LATENCY_PER_HOUR),
        ("latency p99", samples.p99, "ms", None),
        ("file", samples.file, "MB", None),
    ):
        told, grows = trend(samples.at, values, unit, allowed)
        rows.append((name, told))
        grown += [name] if grows else []
    if grown:
        raise Broken(f"soak: {' and '.join(grown)} grows: {rows}")
    return rows


def trend(at: list[float], values: list[float], unit: str, allowed: float | None) -> tuple[str, bool]:
    """The mean of the second half of samples, and what an hour would add by a line through them; whether that is more
    than `allowed` of the mean and the noise of the samples."""
    half = len(at) // 2
    late, later = at[half:], values[half:]
    mean = statistics.fmean(later)
    slope = statistics.linear_regression(late, later).slope * 3600
    spread = statistics.pstdev(later) / max(late[-1] - late[0], 1) * 3600 * 2
    verdict = ""
    if allowed is not None:
        verdict = "no growth" if slope <= allowed * mean + spread else "GROWS"
        if at[-1] - at[0] < JUDGED_S:
            verdict = "(too short for a verdict)"
    return f"{mean:.1f} {unit}, {slope:+.1f} {unit} an hour {verdict}".strip(), verdict == "GROWS"
