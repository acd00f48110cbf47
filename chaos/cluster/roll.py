"""All servers and workers restarted in order, one after the other (SIGTERM, as an upgrade does), while clients work
that never send a request twice.

Between them and the servers is what a load balancer would be: in turn, to those that say that they are ready.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Any, Self

import aiohttp

from chaos.caller import PAUSE_S, Answer, Caller, parsed
from chaos.clients import Clients
from chaos.cluster.fleet import Fleet, fleet
from chaos.cluster.ordeal import endure
from chaos.report import Broken, Progress, Rows, silent
from chaos.server import Server

LOOK_S = 0.1
"""Seconds between two looks of the balancer at a server's `/ready`."""
NOTICE_S = 1.0
"""Seconds for which a server that is to stop says so, and answers as ever."""
STOPS_S = 20.0


def run(*, seed: int, rounds: int, clients: int = 1, progress: Progress = silent) -> Rows:
    """Restarts each so many times.

    Raises:
        Broken: a request failed, or a promise did not hold.
    """
    return asyncio.run(_tell(seed, rounds, clients, progress))


async def _tell(seed: int, rounds: int, clients: int, progress: Progress) -> Rows:
    dice = Random(seed)
    async with fleet("cluster-roll", settings={"drain_notice": NOTICE_S}) as found:
        rolls = Rolls(found, rounds, progress)
        balancer = Balancer([found.members[name] for name in ("api", "both")], dice)
        endured = await endure(
            found, rolls.harm, seconds=0, dice=dice, clients=clients, caller=balancer, reconnects=False
        )
    return [
        *rolls.rows(),
        ("requests; failed", f"{balancer.requests:,}; 0"),
        ("streams that went on with another server", f"{balancer.resumed:,}"),
        *endured.rows(),
        ("seed", str(seed)),
    ]


class Rolls:
    """Each member stops in order and is started again, before the next one does."""

    def __init__(self, found: Fleet, rounds: int, progress: Progress = silent) -> None:
        self._found = found
        self._rounds = rounds
        self._progress = progress
        self._took: list[float] = []

    async def harm(self, _: Clients, until: float = 0.0) -> None:
        for number in range(self._rounds):
            for name, member in self._found.members.items():
                self._progress(f"cluster-roll: {name}, round {number + 1} of {self._rounds}")
                begun = time.monotonic()
                member.terminate()
                while member.running:
                    if time.monotonic() > begun + STOPS_S:
                        raise Broken(f"{name} has not stopped within {STOPS_S:g} s")
                    await asyncio.sleep(0.02)
                if member.ended_with() != 0:
                    raise Broken(f"{name} was told to stop, and ended with {member.ended_with()}")
                self._took.append(time.monotonic() - begun)
                await member.start()
                await asyncio.sleep(3 * LOOK_S)

    def rows(self) -> Rows:
        return [
            ("restarts in order", f"{len(self._took)}"),
            ("stopped after: longest", f"{max(self._took):.1f} s"),
        ]


class Balancer(Caller):
    """Sends each request once, to the servers that are ready, in turn.

    Raises:
        Broken: a request was not answered, or with 503.
    """

    def __init__(self, servers: Sequence[Server], dice: Random) -> None:
        super().__init__([server.url for server in servers], dice)
        self.requests = 0
        self.resumed = 0
        self._servers = servers
        self._ready = [server.url for server in servers]
        self._turn = count()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._looking = asyncio.ensure_future(self._look())
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._looking.cancel()
        await super().__aexit__(*error)

    async def _look(self) -> None:
        while True:
            ready = [server.url for server in self._servers if await server.ready()]
            self._ready = ready or self._ready
            await asyncio.sleep(LOOK_S)

    @property
    def url(self) -> str:
        return self._ready[next(self._turn) % len(self._ready)]

    async def call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
        self.requests += 1
        url = self.url
        try:
            return await self.once(url, method, path, body, key=key)
        except Exception as error:
            raise Broken(f"{method} {url}{path} failed: {type(error).__name__} {error}") from error

    async def events(self, run_id: str, *, after: int = 0) -> list[tuple[int, str, Any]]:
        """A stream may end before its run does, in order, with the words that it goes on elsewhere."""
        found: list[tuple[int, str, Any]] = []
        while True:
            self.requests += 1
            url = self.url
            try:
                async with self.stream(url, run_id, after) as answer:
                    if answer.status == 404:
                        return found
                    if answer.status != 200:
                        raise Broken(f"the stream of {run_id} was answered {answer.status}")
                    async for event in parsed(answer.content):
                        after = event[0] or after
                        found.append(event)
                        if event[1] == "end":
                            return found
            except aiohttp.ClientError as error:
                raise Broken(f"the stream of {run_id} from {url} broke: {type(error).__name__} {error}") from error
            self.resumed += 1
            await asyncio.sleep(PAUSE_S)
