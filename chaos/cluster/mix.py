"""All that is done to a cluster, at once and by chance: kills, stops, crashes of the database, cuts, cancels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from chaos.clients import Clients
from chaos.cluster.cancel import Cancels
from chaos.cluster.cut import Cuts
from chaos.cluster.fleet import ALL, LEASE_S, fleet
from chaos.cluster.kill import Kills
from chaos.cluster.ordeal import endure
from chaos.cluster.restart import Crashes
from chaos.cluster.stop import Stops
from chaos.report import Progress, Rows, silent

CANCELS_PER_S = 5


def run(*, seed: int, seconds: float, clients: int = 1, lease: float = LEASE_S, progress: Progress = silent) -> Rows:
    """Goes on for so many seconds.

    Raises:
        Broken: a promise did not hold.
    """
    return asyncio.run(_tell(seed, seconds, clients, lease, progress))


async def _tell(seed: int, seconds: float, clients: int, lease: float, progress: Progress) -> Rows:
    dice = Random(seed)
    async with fleet("cluster-mix", lease=lease, behind=ALL) as found:
        kills, stops = Kills(found, dice, 1.0), Stops(found, dice, lease)
        crashes, cuts = Crashes(found, dice, 0), Cuts(found, dice, 0)
        cancels = Cancels(found, dice, int(seconds * CANCELS_PER_S))

        async def strike(crowd: Clients, until: float) -> None:
            # Each once at least, and then as the dice will.
            faults: list[Callable[[Clients], Awaitable[Any]]] = [
                kills.one,
                stops.short,
                crashes.one,
                cuts.cut,
                kills.one,
            ]
            dice.shuffle(faults)
            done = 0
            while done < len(faults) or time.monotonic() < until:
                fault = faults[done] if done < len(faults) else dice.choice(faults)
                await fault(crowd)
                done += 1
                progress(f"cluster-mix: {done} faults")
                await asyncio.sleep(dice.random() * 0.8)

        async def harm(crowd: Clients, until: float) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(strike(crowd, until))
                group.create_task(cancels.harm(crowd))

        endured = await endure(found, harm, seconds=seconds, dice=dice, clients=clients)
        rows = [*kills.rows(), *stops.rows(), *crashes.rows(), *cuts.rows(), *cancels.rows()]
    return [*rows, *endured.rows(), ("seed", str(seed))]
