"""A run of whose worker one knows, so that something can be done to that worker while it executes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import asyncpg

from chaos.clients import Clients
from chaos.cluster.fleet import Fleet
from chaos.report import Broken

PATIENCE_S = 30.0
STEPS, PAUSE_S = 40, 0.1
"""Long enough to be found where it executes; what is done there keeps it from ending."""

_WHERE = """
SELECT attempt, process FROM runs JOIN workers ON worker_id = worker WHERE run_id = $1 AND status = 'running'
"""


@dataclass
class Victim:
    """A run that executes on a member."""

    run_id: str
    member: str
    attempt: int
    _fleet: Fleet
    _noticed: int

    @classmethod
    async def found(cls, fleet: Fleet, crowd: Clients, key: str, among: Collection[str]) -> Victim:
        """One that executes on one of these members.

        Raises:
            Broken: none does.
        """
        deadline, number = time.monotonic() + PATIENCE_S, 0
        while time.monotonic() < deadline:
            number += 1
            run_id = await _long_walk(crowd, f"{key}-{number}")
            attempt, member = await _executes(fleet, run_id, but=0)
            if member in among:
                return cls(run_id, member, attempt, fleet, fleet.members[member].said("taken for dead"))
        raise Broken(f"no run executes on any of {among}")

    async def goes_on(self) -> None:
        """Waits until another attempt of the run executes.

        Raises:
            Broken: none does.
        """
        await _executes(self._fleet, self.run_id, but=self.attempt)

    async def notices(self) -> None:
        """Waits until its worker has noticed that it has lost its lease.

        Raises:
            Broken: it does not.
        """
        deadline = time.monotonic() + PATIENCE_S
        while self._fleet.members[self.member].said("taken for dead") == self._noticed:
            if time.monotonic() > deadline:
                raise Broken(f"{self.member} does not notice that it has lost its lease")
            await asyncio.sleep(0.05)


async def _long_walk(crowd: Clients, key: str) -> str:
    body = {
        "agent_id": "walk",
        "input": {"key": key, "steps": STEPS, "pause": PAUSE_S, "journal": str(crowd.steps)},
        "stream_mode": "custom",
    }
    return crowd.journal.accepted(key, await crowd.caller.call("POST", "/runs", body, key=key))


async def _executes(fleet: Fleet, run_id: str, but: int) -> tuple[int, str]:
    """The attempt that executes, not that one, and its member."""
    connection: Any = await asyncpg.connect(fleet.postgres.url)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < deadline:
            row = await connection.fetchrow(_WHERE, run_id)
            if row is not None and row["attempt"] != but:
                members = fleet.members.items()
                return row["attempt"], next(name for name, member in members if member.pid == row["process"])
            await asyncio.sleep(0.02)
    finally:
        await connection.close()
    raise Broken(f"run {run_id} does not execute any more" if but else f"run {run_id} does not execute")
