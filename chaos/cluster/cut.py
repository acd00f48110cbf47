"""Servers and workers that are cut off from their database, in every way that networks have, while clients work."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

import asyncpg

from chaos.caller import Answer
from chaos.clients import Clients
from chaos.cluster.fleet import ALL, LEASE_S, Fleet, fleet
from chaos.cluster.ordeal import endure
from chaos.report import Broken, Progress, Rows, silent

GOES_ON_S = 10.0
"""Within this time the runs of a worker that is cut off go on elsewhere: so it is promised for a lease of 6 s."""
NOTICES_S = 30.0
"""Seconds in which a worker that is reached again has to have noticed that it had lost its lease."""
SLOW_S = 0.01
"""Seconds that everything takes on a slow way to the database, each way."""


def run(*, seed: int, rounds: int, clients: int = 1, progress: Progress = silent) -> Rows:
    """Goes through all faults so many times.

    Raises:
        Broken: a promise did not hold.
    """
    return asyncio.run(_tell(seed, rounds, clients, progress))


async def _tell(seed: int, rounds: int, clients: int, progress: Progress) -> Rows:
    dice = Random(seed)
    async with fleet("cluster-cut", lease=LEASE_S, behind=ALL) as found:
        cuts = Cuts(found, dice, rounds, progress)
        endured = await endure(found, cuts.harm, seconds=0, dice=dice, clients=clients)
        rows = cuts.rows()
    if cuts.went_on > GOES_ON_S:
        raise Broken(f"a run of a worker that was cut off went on after {cuts.went_on:.1f} s only")
    return [*rows, *endured.rows(), ("seed", str(seed))]


class Cuts:
    """All faults in turn, so many times."""

    def __init__(self, found: Fleet, dice: Random, rounds: int, progress: Progress = silent) -> None:
        self._found = found
        self._dice = dice
        self._rounds = rounds
        self._progress = progress
        self._deaf: list[float] = []
        """Seconds that a run and its wait took while no hint came."""
        self._holes: list[float] = []
        """Seconds after which the run of a worker that was cut off went on elsewhere."""
        self._cuts = 0
        self._slow = 0

    async def harm(self, crowd: Clients, _: float = 0.0) -> None:
        for number in range(self._rounds):
            for fault in (self.deaf, self.cut, self.hole, self.slow):
                self._progress(f"cluster-cut: {fault.__name__}, round {number + 1} of {self._rounds}")
                await fault(crowd)

    @property
    def went_on(self) -> float:
        """Seconds at most after which the run of a worker that was cut off went on elsewhere."""
        return max(self._holes)

    def rows(self) -> Rows:
        """Of those that there were."""
        rows = [("times that connections were cut", f"{self._cuts}")]
        if self._rounds:
            noticed = sum(member.said("taken for dead") for member in self._found.members.values())
            deaf = f"{len(self._deaf)}; {max(self._deaf):.1f} s"
            rows += [
                ("runs created and waited for while no hint came; longest", deaf),
                ("times that the network of a worker swallowed everything", f"{len(self._holes)}"),
                ("its run went on elsewhere after: longest", f"{self.went_on:.1f} s"),
                ("workers that found their lease over", f"{noticed}"),
                ("times that the database was far away", f"{self._slow}"),
            ]
        return rows

    async def deaf(self, crowd: Clients) -> None:
        """Nobody hears of anybody else: that costs latency only."""
        for proxy in self._found.proxies.values():
            proxy.close("hints")
        body = {"agent_id": "echo", "input": 1, "metadata": {"pulse": True}}
        begun = time.monotonic()
        answers = await asyncio.gather(*(self._timed(crowd, body, begun) for _ in range(3)))
        if any(answer.status != 200 for answer in answers):
            raise Broken(f"while no hint came, runs were answered {answers}")
        for proxy in self._found.proxies.values():
            proxy.heal()

    async def _timed(self, crowd: Clients, body: dict[str, Any], begun: float) -> Answer:
        answer = await crowd.caller.call("POST", "/runs/wait", body)
        self._deaf.append(time.monotonic() - begun)
        return answer

    async def cut(self, _: Clients) -> None:
        """Connections end, in the middle of everything, a few times in a row."""
        proxies = self._found.proxies
        for _ in range(5):
            for name in self._dice.sample(sorted(proxies), self._dice.randrange(1, len(proxies) + 1)):
                proxies[name].cut()
            self._cuts += 1
            await asyncio.sleep(self._dice.random() * 0.5)

    async def hole(self, crowd: Clients) -> None:
        """A worker's network swallows everything: its runs go on elsewhere, and it can write nothing any more."""
        key = f"cut-off-{len(self._holes)}"
        run_id = crowd.journal.accepted(key, await crowd.caller.call("POST", "/runs", _long_walk(crowd, key), key=key))
        begun, name = await self._executes(run_id, None)
        member, proxy = self._found.members[name], self._found.proxies[name]
        noticed = member.said("taken for dead")
        proxy.hole()
        holed = time.monotonic()
        await self._executes(run_id, begun)
        self._holes.append(time.monotonic() - holed)
        proxy.heal()
        while member.said("taken for dead") == noticed:
            if time.monotonic() > holed + NOTICES_S:
                raise Broken(f"{name} was cut off, and does not notice that it has lost its lease")
            await asyncio.sleep(0.05)

    async def _executes(self, run_id: str, elsewhere: int | None) -> tuple[int, str]:
        """The attempt that executes, and the member; another attempt than `elsewhere`."""
        connection: Any = await asyncpg.connect(self._found.postgres.url)
        deadline = time.monotonic() + 3 * GOES_ON_S
        try:
            while time.monotonic() < deadline:
                row = await connection.fetchrow(_WHERE, run_id)
                if row is not None and row["attempt"] != elsewhere:
                    members = self._found.members.items()
                    return row["attempt"], next(name for name, member in members if member.pid == row["process"])
                await asyncio.sleep(0.02)
        finally:
            await connection.close()
        raise Broken(
            f"run {run_id} does not execute" if elsewhere is None else f"run {run_id} does not go on elsewhere"
        )

    async def slow(self, _: Clients) -> None:
        """The database is far away for a while."""
        for proxy in self._found.proxies.values():
            proxy.delay = SLOW_S
        self._slow += 1
        await asyncio.sleep(2 + self._dice.random())
        for proxy in self._found.proxies.values():
            proxy.heal()


_WHERE = """
SELECT attempt, process FROM runs JOIN workers ON worker_id = worker WHERE run_id = $1 AND status = 'running'
"""


def _long_walk(crowd: Clients, key: str) -> dict[str, Any]:
    """A run that takes steps for as long as it takes to be lost and found."""
    return {
        "agent_id": "walk",
        "input": {"key": key, "steps": 150, "pause": 0.1, "journal": str(crowd.steps)},
        "stream_mode": "custom",
    }
