"""Workers that stand still (SIGSTOP) and wake (SIGCONT), for less than their lease and for longer, while clients work.

Who stood still for longer has lost its runs: it is refused whatever it writes, and what it had finished is not done
again.
"""

from __future__ import annotations

import asyncio
import time
from random import Random

from chaos.clients import Clients
from chaos.cluster.fleet import LEASE_S, WORKERS, Fleet, fleet
from chaos.cluster.ordeal import endure
from chaos.cluster.victim import Victim
from chaos.report import Progress, Rows, silent

NOTICED_S = 2.5
"""Seconds after which everybody has noticed that a lease has ended."""


def run(*, seed: int, seconds: float, clients: int = 1, lease: float = LEASE_S, progress: Progress = silent) -> Rows:
    """Stops workers in turn, for so many seconds in all.

    Raises:
        Broken: a promise did not hold.
    """
    return asyncio.run(_tell(seed, seconds, clients, lease, progress))


async def _tell(seed: int, seconds: float, clients: int, lease: float, progress: Progress) -> Rows:
    dice = Random(seed)
    async with fleet("cluster-stop", seed, lease=lease) as found:
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
        await self._stop(self._dice.choice(WORKERS), self._dice.uniform(0.1, 0.7) * self._lease)

    async def long(self, crowd: Clients) -> None:
        """One that costs the lease, and all runs of the worker."""
        self._long += 1
        victim = await Victim.found(self._found, crowd, f"stopped-{self._long}", WORKERS)
        stopping = asyncio.ensure_future(self._stop(victim.member, self._lease + NOTICED_S + self._dice.random()))
        await victim.goes_on()
        await stopping
        await victim.notices()

    async def _stop(self, name: str, seconds: float) -> None:
        worker = self._found.members[name]
        # Alone, so that the code of its agents goes on in their process, or with it, as a whole machine.
        worker.pause(alone=self._dice.random() < 0.5)
        await asyncio.sleep(seconds)
        worker.go_on()

    def rows(self) -> Rows:
        refused = sum(self._found.members[name].said("lease lost") for name in WORKERS)
        return [
            ("stops shorter than the lease", f"{self._short}"),
            ("stops longer than the lease, noticed by who woke", f"{self._long}"),
            ("attempts refused after they had lost their runs", f"{refused}"),
        ]
