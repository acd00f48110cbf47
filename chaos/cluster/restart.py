"""A PostgreSQL that crashes (`immediate`) and is started again under load, while nothing of ours is."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from random import Random

from chaos.clients import Clients
from chaos.cluster.fleet import Fleet, fleet
from chaos.cluster.ordeal import endure
from chaos.report import Progress, Rows, silent

PULSES = 16
"""Clients that create a run and wait for it, one after the other, whose runs are counted."""
WINDOW_S = 1.0
BASELINE_S = 4.0
ENOUGH = 0.95
"""Of the throughput before."""
LONGEST_S = 20.0
AWAY_S = 3.0
"""Seconds at most that the database stays away."""


@dataclass
class _Restart:
    away: float
    before: float
    back: float | None
    """Seconds from when it took connections again until throughput was back; None: not within LONGEST_S."""


@dataclass
class _Pulse:
    """Runs that were answered, and when."""

    at: list[float] = field(default_factory=list[float])

    def rate(self, since: float, until: float) -> float:
        return sum(since <= at < until for at in reversed(self.at)) / (until - since)

    async def beat(self, crowd: Clients) -> None:
        body = {"agent_id": "echo", "input": 1, "metadata": {"pulse": True}}
        while not crowd.stop.is_set():
            await crowd.caller.call("POST", "/runs/wait", body)
            self.at.append(time.monotonic())


def run(
    *, seed: int, restarts: int, clients: int = 1, baseline: float = BASELINE_S, progress: Progress = silent
) -> Rows:
    """Crashes it so many times.

    Raises:
        Broken: a promise did not hold.
    """
    return asyncio.run(_tell(Random(seed), restarts, clients, baseline, progress, seed))


async def _tell(dice: Random, restarts: int, clients: int, baseline: float, progress: Progress, seed: int) -> Rows:
    done: list[_Restart] = []

    async def restart(crowd: Clients, _: float) -> None:
        pulse = _Pulse()
        beating = [asyncio.ensure_future(pulse.beat(crowd)) for _ in range(PULSES)]
        for _ in range(restarts):
            done.append(await _once(found, pulse, dice, baseline))
            progress(f"cluster-restart: {len(done)} of {restarts} restarts")
        crowd.stop.set()
        await asyncio.gather(*beating)

    async with fleet("cluster-restart") as found:
        starts = sum(member.starts for member in found.members.values())
        endured = await endure(found, restart, seconds=0, dice=dice, clients=clients)
        again = sum(member.starts for member in found.members.values()) - starts
    back = sorted(LONGEST_S if each.back is None else each.back for each in done)
    return [
        ("crashes of PostgreSQL, each with a start", f"{len(done)}"),
        ("restarts of ours", f"{again}"),
        ("runs/s before: median", f"{sorted(each.before for each in done)[len(done) // 2]:.0f}"),
        ("away: longest", f"{max(each.away for each in done):.1f} s"),
        (f"back at {ENOUGH:.0%} of it: median, longest", f"{back[len(back) // 2]:.1f} s, {back[-1]:.1f} s"),
        *endured.rows(),
        ("seed", str(seed)),
    ]


async def _once(found: Fleet, pulse: _Pulse, dice: Random, baseline: float) -> _Restart:
    await asyncio.sleep(WINDOW_S + baseline + dice.random())
    now = time.monotonic()
    before = pulse.rate(now - baseline, now)
    await asyncio.to_thread(found.postgres.stop)
    await asyncio.sleep(dice.random() * AWAY_S)
    await asyncio.to_thread(found.postgres.start)
    there = time.monotonic()
    while time.monotonic() < there + LONGEST_S:
        await asyncio.sleep(0.05)
        since = time.monotonic() - WINDOW_S
        if since >= there and pulse.rate(since, since + WINDOW_S) >= ENOUGH * before:
            return _Restart(there - now, before, since - there)
    return _Restart(there - now, before, None)
