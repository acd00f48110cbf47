"""A random server or worker killed again and again, and started again, while clients work with those that are there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random

from chaos.clients import Clients
from chaos.cluster.fleet import LEASE_S, Fleet, fleet
from chaos.cluster.ordeal import endure
from chaos.report import Progress, Rows, silent


def run(*, seed: int, seconds: float, interval: float = 1.0, clients: int = 1, progress: Progress = silent) -> Rows:
    """Kills for so many seconds, once per interval; so many clients of each kind are at work.

    Raises:
        Broken: a promise did not hold.
    """
    return asyncio.run(_tell(seed, seconds, interval, clients, progress))


async def _tell(seed: int, seconds: float, interval: float, clients: int, progress: Progress) -> Rows:
    dice = Random(seed)
    async with fleet("cluster-kill", lease=LEASE_S) as found:
        kills = Kills(found, dice, interval, progress)
        endured = await endure(found, kills.harm, seconds=seconds, dice=dice, clients=clients)
    return [*kills.rows(), *endured.rows(), ("seed", str(seed))]


class Kills:
    """One every so many seconds."""

    def __init__(self, found: Fleet, dice: Random, interval: float, progress: Progress = silent) -> None:
        self._found = found
        self._dice = dice
        self._interval = interval
        self._progress = progress
        self._killed: Counter[str] = Counter()

    async def harm(self, crowd: Clients, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(self._interval)
            await self.one(crowd)

    async def one(self, _: Clients) -> None:
        """Kills one. One that is just starting is killed too, as often as it comes."""
        name = self._dice.choice(sorted(self._found.members))
        member = self._found.members[name]
        member.kill()
        member.spawn()
        self._killed[name] += 1
        self._progress(f"cluster-kill: {self._killed.total()} kills")

    def rows(self) -> Rows:
        told = ", ".join(f"{name} {count}" for name, count in sorted(self._killed.items()))
        return [("kills", f"{self._killed.total()} ({told})")]
