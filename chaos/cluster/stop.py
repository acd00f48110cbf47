"""Workers that stand still (SIGSTOP) and wake (SIGCONT), for less than their lease and for longer, while clients work.

Who stood still for longer has lost its runs: it is refused whatever it writes, and what it had finished is not done
again.
"""

from __future__ import annotations

import asyncio
import time
from random import Random

from chaos.clients import Clients
from chaos.cluster.fleet import LEASE_S, Fleet, fleet
from chaos.cluster.ordeal import endure
from chaos.report import Broken, Progress, Rows, silent

NOTICED_S = 2.5
"""Seconds after which everybody has noticed that a lease has ended."""
WAKES_S = 20.0
"""Seconds in which who wakes has to notice that its lease is over."""


def run(*, seed: int, seconds: float, clients: int = 1, lease: float = LEASE_S, progress: Progress = silent) -> Rows:
    """Stops workers in turn, for so many seconds in all.

    Raises:
        Broken: a promise did not hold.
    """
    return asyncio.run(_tell(seed, seconds, clients, lease, progress))


async def _tell(seed: int, seconds: float, clients: int, lease: float, progress: Progress) -> Rows:
    dice = Random(seed)
    async with fleet("cluster-stop", lease=lease) as found:
        stops = Stops(found, dice, lease, progress)
        endured = await endure(found, stops.harm, seconds=seconds, dice=dice, clients=clients)
        rows = stops.rows()
    return [*rows, *endured.rows(), ("seed", str(seed))]


class Stops:
    """One worker after the other."""

    def __init__(self, found: Fleet, dice: Random, lease: float, progress: Progress = silent) -> None:
        self._found = found
        self._dice = dice
        self._lease = lease
        self._progress = progress
        self._short = self._long = 0

    async def harm(self, crowd: Clients, until: float) -> None:
        while time.monotonic() < until:
            await (self.long if self._dice.random() < 0.5 else self.short)(crowd)
            self._progress(f"cluster-stop: {self._short} short stops, {self._long} long ones")
            await asyncio.sleep(self._dice.random() * 0.5)

    async def short(self, _: Clients) -> None:
        """One that its lease outlives."""
        self._short += 1
        await self._stop(self._dice.choice(sorted(self._found.workers)), self._dice.uniform(0.1, 0.7) * self._lease)

    async def long(self, _: Clients) -> None:
        """One that costs the lease, and all runs of the worker."""
        self._long += 1
        name = self._dice.choice(sorted(self._found.workers))
        worker = self._found.members[name]
        noticed = worker.said("taken for dead")
        await self._stop(name, self._lease + NOTICED_S + self._dice.random())
        deadline = time.monotonic() + WAKES_S
        while worker.said("taken for dead") == noticed:
            if time.monotonic() > deadline:
                raise Broken(f"{name} stood still for longer than its lease, and does not notice")
            await asyncio.sleep(0.05)

    async def _stop(self, name: str, seconds: float) -> None:
        worker = self._found.members[name]
        # Alone, so that the code of its agents goes on in their process, or with it, as a whole machine.
        worker.pause(alone=self._dice.random() < 0.5)
        await asyncio.sleep(seconds)
        worker.go_on()

    def rows(self) -> Rows:
        noticed = sum(self._found.members[name].said("taken for dead") for name in self._found.workers)
        refused = sum(self._found.members[name].said("lease lost") for name in self._found.workers)
        return [
            ("stops shorter than the lease", f"{self._short}"),
            ("stops longer than the lease", f"{self._long}"),
            ("workers that found their lease over", f"{noticed}"),
            ("attempts refused after they had lost their runs", f"{refused}"),
        ]
