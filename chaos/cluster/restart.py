"""A PostgreSQL that crashes (`immediate`) and is started again under load, while nothing of ours is."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
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


def run(*, seed: int, restarts: int, clients: int = 1, progress: Progress = silent) -> Rows:
    """Crashes it so many times.

    Raises:
        Broken: a promise did not hold.
    """
    return asyncio.run(_tell(seed, restarts, clients, progress))


async def _tell(seed: int, restarts: int, clients: int, progress: Progress) -> Rows:
    dice = Random(seed)
    async with fleet("cluster-restart") as found:
        crashes = Crashes(found, dice, restarts, progress)
        endured = await endure(found, crashes.harm, seconds=0, dice=dice, clients=clients)
        rows = crashes.rows()
    return [*rows, *endured.rows(), ("seed", str(seed))]


@dataclass
class _Crash:
    away: float
    before: float = 0.0
    back: float = LONGEST_S
    """Seconds from when it took connections again until throughput was back."""


class Crashes:
    """So many, and how throughput comes back after each."""

    def __init__(self, found: Fleet, dice: Random, crashes: int, progress: Progress = silent) -> None:
        self._found = found
        self._dice = dice
        self._crashes = crashes
        self._progress = progress
        self._starts = sum(member.starts for member in found.members.values())
        self._done: list[_Crash] = []
        self._answered: list[float] = []

    async def harm(self, crowd: Clients, _: float = 0.0) -> None:
        beating = [asyncio.ensure_future(self._beat(crowd)) for _ in range(PULSES)]
        for _ in range(self._crashes):
            await asyncio.sleep(WINDOW_S + BASELINE_S + self._dice.random())
            now = time.monotonic()
            before = self._rate(now - BASELINE_S, now)
            crash = await self.one(crowd)
            crash.before, crash.back = before, await self._back(before)
            self._progress(f"cluster-restart: {len(self._done)} of {self._crashes} crashes")
        crowd.stop.set()
        await asyncio.gather(*beating)

    async def one(self, _: Clients) -> _Crash:
        """One crash, and one start."""
        begun = time.monotonic()
        await asyncio.to_thread(self._found.postgres.stop)
        await asyncio.sleep(self._dice.random() * AWAY_S)
        await asyncio.to_thread(self._found.postgres.start)
        crash = _Crash(time.monotonic() - begun)
        self._done.append(crash)
        return crash

    async def _beat(self, crowd: Clients) -> None:
        body = {"agent_id": "echo", "input": 1, "metadata": {"pulse": True}}
        while not crowd.stop.is_set():
            await crowd.caller.call("POST", "/runs/wait", body)
            self._answered.append(time.monotonic())

    def _rate(self, since: float, until: float) -> float:
        return sum(since <= at < until for at in self._answered) / (until - since)

    async def _back(self, before: float) -> float:
        there = time.monotonic()
        while time.monotonic() < there + LONGEST_S:
            await asyncio.sleep(0.1)
            since = time.monotonic() - WINDOW_S
            if since >= there and self._rate(since, since + WINDOW_S) >= ENOUGH * before:
                return since - there
        return LONGEST_S

    def rows(self) -> Rows:
        """How much faster or slower it was is told where that was looked at."""
        again = sum(member.starts for member in self._found.members.values()) - self._starts
        rows = [
            ("crashes of PostgreSQL, each with a start", f"{len(self._done)}"),
            ("starts of ours meanwhile", f"{again}"),
            ("away: longest", f"{max(crash.away for crash in self._done):.1f} s"),
        ]
        if self._answered:
            back = sorted(crash.back for crash in self._done)
            before = sorted(crash.before for crash in self._done)
            rows += [
                ("runs/s before: median", f"{before[len(before) // 2]:.0f}"),
                (f"back at {ENOUGH:.0%} of it: median, longest", f"{back[len(back) // 2]:.1f} s, {back[-1]:.1f} s"),
            ]
        return rows
