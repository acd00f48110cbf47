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
SELECT attempt, process FROM runs JOIN workers ON worker_id = worker
WHERE run_id = $1 AND status = 'running'
"""
_AGAIN = "SELECT 1 FROM runs WHERE run_id = $1 AND attempt > $2"
_LIVES = "SELECT 1 FROM workers WHERE process = $1 AND expires_at > clock_timestamp()"


@dataclass
class Victim:
    """A run that executes on a member."""

    run_id: str
    member: str
    attempt: int
    _fleet: Fleet

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
            attempt, member = await _executes(fleet, run_id)
            if member in among:
                return cls(run_id, member, attempt, fleet)
        raise Broken(f"no run executes on any of {among}")

    async def goes_on(self) -> None:
        """Waits until another attempt of the run executes, or has done so: it may have little left to do.

        Raises:
            Broken: none does.
        """
        otherwise = f"run {self.run_id} of {self.member} does not go on elsewhere"
        await _found(self._fleet, _AGAIN, self.run_id, self.attempt, otherwise)

    async def notices(self) -> None:
        """Waits until its worker, whose lease has ended and which is back, has noticed: it lives again.

        Raises:
            Broken: it does not.
        """
        member = self._fleet.members[self.member]
        await _found(self._fleet, _LIVES, member.pid, f"{self.member} does not notice that it has lost its lease")


async def _long_walk(crowd: Clients, key: str) -> str:
    body = {
        "agent_id": "walk",
        "input": {"key": key, "steps": STEPS, "pause": PAUSE_S, "journal": str(crowd.steps)},
        "stream_mode": "custom",
    }
    return crowd.journal.accepted(key, await crowd.caller.call("POST", "/runs", body, key=key))


async def _executes(fleet: Fleet, run_id: str) -> tuple[int, str]:
    """The attempt that executes, and its member."""
    row = await _found(fleet, _WHERE, run_id, f"run {run_id} does not execute")
    return row["attempt"], next(name for name, member in fleet.members.items() if member.pid == row["process"])


async def _found(fleet: Fleet, question: str, *asked: Any) -> Any:
    """The answer of the database, once there is one; the last of what is asked says what it means if none comes."""
    *values, otherwise = asked
    connection: Any = await asyncpg.connect(fleet.postgres.url)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < deadline:
            if (row := await connection.fetchrow(question, *values)) is not None:
                return row
            await asyncio.sleep(0.02)
    finally:
        await connection.close()
    raise Broken(otherwise)
