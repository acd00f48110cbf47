"""A random server or worker killed again and again, and started again, while clients work with those that are there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random

from chaos.caller import Caller
from chaos.cluster.fleet import LEASE_S, fleet
from chaos.cluster.ordeal import endure
from chaos.report import Progress, Rows, silent


def run(
    *, seed: int, seconds: float, interval: float = 1.0, clients: int = 1, lease: float = LEASE_S,
    progress: Progress = silent,
) -> Rows:  # fmt: skip
    """Kills for so many seconds, once per interval; so many clients of each kind are at work.

    Raises:
        Broken: a promise did not hold.
    """
    return asyncio.run(_tell(Random(seed), seconds, interval, clients, lease, progress, seed))


async def _tell(
    dice: Random, seconds: float, interval: float, clients: int, lease: float, progress: Progress, seed: int
) -> Rows:
    killed: Counter[str] = Counter()

    async def kill(caller: Caller, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(interval)
            name = dice.choice(sorted(members))
            # One that is just starting is killed too, as often as it comes.
            members[name].kill()
            members[name].spawn()
            killed[name] += 1
            progress(f"cluster-kill: {killed.total()} kills")

    async with fleet("cluster-kill", lease=lease) as found:
        members = found.members
        endured = await endure(found, kill, seconds=seconds, dice=dice, clients=clients)
    told = ", ".join(f"{name} {count}" for name, count in sorted(killed.items()))
    return [("kills", f"{killed.total()} ({told})"), *endured.rows(), ("seed", str(seed))]
