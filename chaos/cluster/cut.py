"""Servers and workers that are cut off from their database, in every way that networks have, while clients work."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

import asyncpg

from chaos.clients import Clients
from chaos.cluster.fleet import LEASE_S, Fleet, fleet
from chaos.cluster.ordeal import endure
from chaos.report import Broken, Progress, Rows, silent

GOES_ON_S = 10.0
"""Within this time the runs of a worker that is cut off go on elsewhere: so it is promised for a lease of 6 s."""
NOTICES_S = 30.0
"""Seconds in which a worker that is reached again has to have noticed that it had lost its lease."""
SLOW_S = 0.01
"""Seconds that everything takes on a slow way to the database, each way."""


@dataclass
class _Found:
    deaf: list[float] = field(default_factory=list[float])
    """Seconds that a run and its wait took while no hint came."""
    cuts: int = 0
    holes: int = 0
    slow: int = 0
    went_on: list[float] = field(default_factory=list[float])


def run(
    *, seed: int, rounds: int, clients: int = 1, lease: float = LEASE_S, judged: bool = True,
    progress: Progress = silent,
) -> Rows:  # fmt: skip
    """Goes through all faults so many times. `judged`: whether it matters how long the others took to go on.

    Raises:
        Broken: a promise did not hold.
    """
    return asyncio.run(_tell(Random(seed), rounds, clients, lease, judged, progress, seed))


async def _tell(
    dice: Random, rounds: int, clients: int, lease: float, judged: bool, progress: Progress, seed: int
) -> Rows:
    told = _Found()

    async def cut_off(crowd: Clients, _: float) -> None:
        for number in range(rounds):
            for fault in (_deaf, _cut, _hole, _slow):
                progress(f"cluster-cut: round {number + 1} of {rounds}, {fault.__name__[1:]}")
                await fault(found, crowd, dice, told)

    async with fleet("cluster-cut", lease=lease, behind=("api", "both", "worker", "apart")) as found:
        endured = await endure(found, cut_off, seconds=0, dice=dice, clients=clients)
        noticed = sum(worker.said("taken for dead") for worker in found.workers)
    if judged and max(told.went_on) > GOES_ON_S:
        raise Broken(f"a run of a worker that was cut off went on after {max(told.went_on):.1f} s")
    return [
        ("times that no hint came", f"{rounds}"),
        ("runs created and waited for meanwhile: longest", f"{len(told.deaf)}: {max(told.deaf):.1f} s"),
        ("times that connections were cut", f"{told.cuts}"),
        ("times that a worker's network swallowed everything", f"{told.holes}"),
        ("its run went on elsewhere: longest", f"{max(told.went_on):.1f} s"),
        ("workers that found their lease over", f"{noticed}"),
        ("times that the way was slow", f"{told.slow}"),
        *endured.rows(),
        ("seed", str(seed)),
    ]


async def _deaf(found: Fleet, crowd: Clients, dice: Random, told: _Found) -> None:
    """Nobody hears of anybody else: that costs latency only."""
    for proxy in found.proxies.values():
        proxy.close("hints")
    for number in range(3):
        begun = time.monotonic()
        answer = await crowd.caller.call(
            "POST", "/runs/wait", {"agent_id": "echo", "input": number, "metadata": {"pulse": True}}
        )
        if answer.status != 200:
            raise Broken(f"while no hint came, a run was answered {answer.status} {answer.body}")
        told.deaf.append(time.monotonic() - begun)
    for proxy in found.proxies.values():
        proxy.heal()


async def _cut(found: Fleet, crowd: Clients, dice: Random, told: _Found) -> None:
    """All connections end, in the middle of everything, a few times in a row."""
    for _ in range(5):
        names = dice.sample(sorted(found.proxies), dice.randrange(1, len(found.proxies) + 1))
        for name in names:
            found.proxies[name].cut()
        told.cuts += 1
        await asyncio.sleep(dice.random() * 0.5)


async def _hole(found: Fleet, crowd: Clients, dice: Random, told: _Found) -> None:
    """A worker's network swallows everything: its runs go on elsewhere, and it can write nothing any more."""
    key = f"cut-off-{told.holes}"
    answer = await crowd.caller.call("POST", "/runs", _long_walk(crowd, key), key=key)
    run_id = crowd.journal.accepted(key, answer)
    begun, name = await _executes(found, run_id, None)
    proxy = found.proxies[name]
    noticed = found.members[name].said("taken for dead")
    proxy.hole()
    told.holes += 1
    holed = time.monotonic()
    await _executes(found, run_id, begun)
    told.went_on.append(time.monotonic() - holed)
    proxy.heal()
    while found.members[name].said("taken for dead") == noticed:
        if time.monotonic() > holed + NOTICES_S:
            raise Broken(f"{name} was cut off, and does not notice that it has lost its lease")
        await asyncio.sleep(0.05)


def _long_walk(crowd: Clients, key: str) -> dict[str, Any]:
    """A run that takes steps for as long as it takes to be lost and found."""
    return {
        "agent_id": "walk",
        "input": {"key": key, "steps": 150, "pause": 0.1, "journal": str(crowd.steps)},
        "stream_mode": "custom",
    }


async def _executes(found: Fleet, run_id: str, elsewhere: int | None) -> tuple[int, str]:
    """The attempt that executes, and on which member; another attempt than `elsewhere`."""
    connection: Any = await asyncpg.connect(found.postgres.url)
    deadline = time.monotonic() + 3 * GOES_ON_S
    try:
        while time.monotonic() < deadline:
            row = await connection.fetchrow(
                "SELECT attempt, process FROM runs JOIN workers ON worker_id = worker "
                "WHERE run_id = $1 AND status = 'running'",
                run_id,
            )
            if row is not None and row["attempt"] != elsewhere:
                return row["attempt"], next(
                    name for name, member in found.members.items() if member.pid == row["process"]
                )
            await asyncio.sleep(0.02)
    finally:
        await connection.close()
    raise Broken(f"run {run_id} does not execute" if elsewhere is None else f"run {run_id} does not go on elsewhere")


async def _slow(found: Fleet, crowd: Clients, dice: Random, told: _Found) -> None:
    """The database is far away for a while."""
    for proxy in found.proxies.values():
        proxy.delay = SLOW_S
    told.slow += 1
    await asyncio.sleep(2 + dice.random())
    for proxy in found.proxies.values():
        proxy.heal()
