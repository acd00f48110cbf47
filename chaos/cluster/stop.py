"""Workers that stand still (SIGSTOP) and wake (SIGCONT), for less than their lease and for longer, while clients work.

Who stood still for longer has lost its runs: it is refused whatever it writes, and what it had finished is not done
again.
"""

from __future__ import annotations

import asyncio
import time
from random import Random

from chaos.clients import Clients
from chaos.cluster.fleet import LEASE_S, fleet
from chaos.cluster.ordeal import endure
from chaos.report import Progress, Rows, silent

NOTICED_S = 2.5
"""Seconds after which everybody has noticed that a lease has ended."""


def run(*, seed: int, seconds: float, clients: int = 1, lease: float = LEASE_S, progress: Progress = silent) -> Rows:
    """Stops workers in turn, for so many seconds in all.

    Raises:
        Broken: a promise did not hold.
    """
    return asyncio.run(_tell(Random(seed), seconds, clients, lease, progress, seed))


async def _tell(dice: Random, seconds: float, clients: int, lease: float, progress: Progress, seed: int) -> Rows:
    short: list[float] = []
    long: list[float] = []

    async def stop(_: Clients, until: float) -> None:
        while time.monotonic() < until:
            worker = dice.choice(found.workers)
            seconds = dice.choice((dice.uniform(0.1, 0.8) * lease, lease + NOTICED_S + dice.random()))
            # Alone, so that the code of its agents goes on in their process, or with it, as a whole machine.
            worker.pause(alone=dice.random() < 0.5)
            await asyncio.sleep(seconds)
            worker.go_on()
            (long if seconds > lease else short).append(seconds)
            progress(f"cluster-stop: {len(short)} short stops, {len(long)} long ones")
            await asyncio.sleep(dice.random() * 0.5)

    async with fleet("cluster-stop", lease=lease) as found:
        endured = await endure(found, stop, seconds=seconds, dice=dice, clients=clients)
        noticed = sum(worker.said("taken for dead") for worker in found.workers)
        refused = sum(worker.said("lease lost") for worker in found.workers)
    return [
        ("stops shorter than the lease", f"{len(short)}"),
        ("stops longer than the lease", f"{len(long)}"),
        ("workers that woke and found their lease over", f"{noticed}"),
        ("attempts that were refused after they had lost their runs", f"{refused}"),
        *endured.rows(),
        ("seed", str(seed)),
    ]
