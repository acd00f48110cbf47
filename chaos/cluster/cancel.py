"""Runs that are cancelled at random moments, from another server than the one that executes them.

Each race is held to what was answered: the run ends once, all servers say the same of it, code that was said to have
stopped does nothing any more, and a rollback leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from chaos.caller import Caller
from chaos.clients import Clients
from chaos.cluster.fleet import Fleet, fleet
from chaos.cluster.ordeal import endure
from chaos.report import Broken, Progress, Rows, silent

AT_ONCE = 12
LATEST_S = 0.3
"""Seconds from a run's creation to its cancel, at most: some are over by then, some have not begun."""


def run(*, seed: int, races: int, clients: int = 1, progress: Progress = silent) -> Rows:
    """Cancels so many runs.

    Raises:
        Broken: a promise did not hold.
    """
    return asyncio.run(_tell(seed, races, clients, progress))


async def _tell(seed: int, races: int, clients: int, progress: Progress) -> Rows:
    dice = Random(seed)
    async with fleet("cluster-cancel", seed) as found:
        cancels = Cancels(found, dice, races, progress)
        endured = await endure(found, cancels.harm, seconds=0, dice=dice, clients=clients)
    return [*cancels.rows(), *endured.rows(), ("seed", str(seed))]


class Cancels:
    """So many races."""

    def __init__(self, found: Fleet, dice: Random, races: int, progress: Progress = silent) -> None:
        self._found = found
        self._dice = dice
        self._races = races
        self._progress = progress
        self._ended: Counter[str] = Counter()
        self._said_to_have_stopped: dict[str, int] = {}
        """When, in nanoseconds, by the run's key."""

    async def harm(self, crowd: Clients, _: float = 0.0) -> None:
        numbers = iter(range(self._races))

        async def race_on() -> None:
            for number in numbers:
                await self._race(crowd, f"race-{number}")
                self._progress(f"cluster-cancel: {self._ended.total()} of {self._races} races")

        # No API executes this one's runs: what is cancelled through it executes elsewhere.
        async with Caller(self._found.members["api"].url, self._dice) as elsewhere:
            self._elsewhere = elsewhere
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(race_on())
        self._nothing_after(crowd.steps)

    def rows(self) -> Rows:
        told = [(f"races: {how}", f"{count}") for how, count in sorted(self._ended.items())]
        stopped = len(self._said_to_have_stopped)
        return [
            ("races of a cancel from another server", f"{self._ended.total():,}"),
            *told,
            ("said to have stopped, and nothing done afterwards", f"{stopped:,}"),
        ]

    async def _race(self, crowd: Clients, key: str) -> None:
        thread_id = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
        body = {
            "agent_id": "walk", "thread_id": thread_id, "if_not_exists": "create", "stream_mode": "custom",
            "input": {
                "key": key, "steps": self._dice.randrange(1, 5), "pause": self._dice.random() * 0.05,
                "journal": str(crowd.steps),
            },
        }  # fmt: skip
        action = self._dice.choice(("interrupt", "rollback"))
        wait = self._dice.random() < 0.5
        created = await crowd.caller.call("POST", "/runs", body, key=key)
        run_id: str = created.body["run_id"]
        watching = asyncio.ensure_future(crowd.caller.events(run_id))
        await asyncio.sleep(self._dice.random() * LATEST_S)
        answer = await self._elsewhere.call("POST", f"/runs/{run_id}/cancel?action={action}&wait={int(wait)}")
        undone = action == "rollback" and answer.again and answer.status == 404  # the first one was not lost
        if answer.status != 204 and not undone:
            raise Broken(f"the cancel of {run_id} was answered {answer.status} {answer.body}")
        if wait and not undone:
            self._said_to_have_stopped[key] = time.time_ns()
        events = await watching
        if action == "rollback":
            await self._undone(crowd, run_id, thread_id, events)
        else:
            crowd.journal.accepted(key, created, ends=await self._ended_alike(crowd, run_id, events))

    async def _ended_alike(self, crowd: Clients, run_id: str, events: list[tuple[int, str, Any]]) -> str:
        seen = [await self._elsewhere.call("GET", f"/runs/{run_id}"), await crowd.caller.call("GET", f"/runs/{run_id}")]
        ends = [data["status"] for _, name, data in events if name == "end"]
        statuses = {answer.body["status"] for answer in seen} | {*ends}
        if len(ends) != 1 or len(statuses) != 1 or not statuses <= {"success", "interrupted"}:
            raise Broken(f"run {run_id} was interrupted, and is {seen}; its reader saw {events}")
        self._ended[f"interrupt, {ends[0]}"] += 1
        return ends[0]

    async def _undone(self, crowd: Clients, run_id: str, thread_id: str, events: list[tuple[int, str, Any]]) -> None:
        for caller in (self._elsewhere, crowd.caller):
            # Without a wait it may still be on its way, for who saw its success before.
            deadline = time.monotonic() + 30
            while (answer := await caller.call("GET", f"/runs/{run_id}")).status != 404:
                if time.monotonic() > deadline:
                    raise Broken(f"run {run_id} was rolled back, and is {answer.body}")
                await asyncio.sleep(0.01)
        thread = (await crowd.caller.call("GET", f"/threads/{thread_id}")).body
        if thread["status"] != "idle" or thread["values"]:
            raise Broken(f"thread {thread_id} should be as before the run that was rolled back: {thread}")
        ends = [data["status"] for _, name, data in events if name == "end"]
        if len(ends) > 1 or not {*ends} <= {"success", "interrupted"}:
            raise Broken(f"run {run_id} was rolled back; its reader saw {events}")
        self._ended[f"rollback, {ends[0] if ends else 'before it was read'}"] += 1

    def _nothing_after(self, journal: Path) -> None:
        for line in journal.read_text().splitlines():
            key, number, _, at = line.split()
            stopped = self._said_to_have_stopped.get(key)
            if stopped is not None and int(at) > stopped:
                raise Broken(f"the run of {key} was said to have stopped, and then began step {number}")
