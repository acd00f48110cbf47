"""The workers of a database: who is alive by its clock, and whether somebody is not any more.

Whatever is asked here goes over a connection of its own, and takes no turn: a lease must not end because others are
slow.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from runyard.storage.postgres.attention import Attention
from runyard.storage.postgres.connection import close_pool, open_pool
from runyard.storage.postgres.statements import Statement
from runyard.storage.postgres.transaction import Reader

ANSWER_PATIENCE = 3.0
"""Seconds in which the database has to answer one of these questions; they are asked again."""


class Workers:
    """The worker of this process, among all others. `worker_id` is that of this process."""

    def __init__(
        self, url: str, name: str, statements: dict[str, Statement], worker_id: str, attention: Attention
    ) -> None:
        self._url = url
        self._attention = attention
        self._name = name
        self._statements = statements
        self._worker_id = worker_id
        self._pool: Any = None

    async def open(self) -> None:
        """Raises:
        Unavailable: the database cannot be reached.
        """
        self._pool = await open_pool(self._url, self._name, 1)
        self._reader = Reader(self._pool, self._statements, self._attention, ANSWER_PATIENCE)

    async def close(self) -> None:
        if self._pool is not None:
            await close_pool(self._pool)

    async def join(self, lease: float, agents: Sequence[str]) -> None:
        """Counts as alive for so many seconds from now on."""
        about = (self._worker_id, socket.gethostname(), os.getpid(), version("runyard"), [*agents], lease)
        await self._ask("join_worker", about)

    async def renew(self, lease: float) -> bool:
        """The same again; False where its time was over."""
        return bool(await self._ask("renew_worker", (self._worker_id, lease)))

    async def leave(self) -> None:
        """Is no worker any more."""
        await self._ask("leave_worker", (self._worker_id,))

    async def have_lost(self) -> bool:
        """Whether a run executes on a worker that is not alive, or a worker has been dead for a while."""
        return bool(await self._ask("lost"))

    async def forget(self) -> None:
        """Removes those that are dead and execute nothing."""
        await self._ask("forget_workers")

    async def offered(self) -> set[str]:
        """The agents that some worker executes."""
        return {row[0] for row in await self._ask("offered")}

    async def _ask(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return await self._reader.all(query, values)


async def standing(connection: Any) -> tuple[list[str], dict[str, int]]:
    """For people: the workers that are alive, and how many runs wait of agents that none of them has."""
    rows = await connection.fetch(_ALIVE)
    offered = {agent_id for row in rows for agent_id in row["agents"]}
    waiting = await connection.fetch(_WAITING)
    return [row["place"] for row in rows], {row[0]: row[1] for row in waiting if row[0] not in offered}


_ALIVE = """
SELECT 'process ' || process || ' on ' || host AS place, agents FROM workers WHERE expires_at > clock_timestamp()
ORDER BY started_at
"""
_WAITING = "SELECT agent_id, count(*)::integer FROM runs WHERE status = 'pending' GROUP BY agent_id ORDER BY agent_id"
