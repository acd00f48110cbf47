"""The worker: claims runs while places are free, executes them, and gives them back when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from runyard.clock import Clock
from runyard.errors import LeaseLost, RunyardError
from runyard.executor import Execution, Executor
from runyard.hints.contract import MISSED, Hints
from runyard.runtime.contract import LoadedAgent
from runyard.storage.contract import STORAGE_PATIENCE, Claim, Storage
from runyard.telemetry import Telemetry

RECHECK = 5.0
"""Seconds after which the worker looks by itself for work, and for requests to what executes (DESIGN, law 8: hints may
be lost)."""
STOPPING = 1.0
"""Seconds that code has to stop in when it was told to because the server stops; and runs that are just being created,
to come to their places."""


class Worker:
    """A loop that claims runs, and the places in which they execute."""

    def __init__(
        self,
        *,
        storage: Storage,
        executor: Executor,
        hints: Hints,
        clock: Clock,
        telemetry: Telemetry,
        agents: Mapping[str, LoadedAgent],
        max_runs: int,
    ) -> None:
        self._storage = storage
        self._executor = executor
        self._hints = hints
        self._clock = clock
        self._telemetry = telemetry
        self._agents = agents
        self._limits = {agent_id: loaded.agent.limits.concurrency for agent_id, loaded in agents.items()}
        self._max_runs = max_runs
        self._reserved = 0
        self._executing: dict[str, tuple[Execution, asyncio.Task[None]]] = {}
        self._ready = asyncio.Event()
        self._claiming = 0
        """Places that a claim on its way may fill."""
        self._behind = False
        """Runs may wait that there was no place for: whoever is created goes behind them, until a claim finds no more
        than there is room for."""
        self._accepting = False
        self._placed = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    # the places (lifecycle.Slots)

    def reserve(self, agent_id: str) -> bool:
        """Takes a place, if one is free here that nobody waits for; the agent's own limit is held by the storage, for
        the whole cluster."""
        if not self._accepting or agent_id not in self._agents:
            return False
        # What a claim on its way has not taken is free again in a moment: that keeps nobody waiting.
        self._behind = self._behind or self._reserved - self._claiming >= self._max_runs
        if self._behind or self._reserved >= self._max_runs:
            return False
        self._reserved += 1
        return True

    def release(self, agent_id: str) -> None:
        """Gives a place back that was reserved, and not used."""
        self._reserved -= 1
        if self._reserved == self._max_runs - 1:
            self._ready.set()  # there was no room for what became ready meanwhile
        self._placed.set()

    def execute(self, claim: Claim) -> None:
        """Begins an attempt on a reserved place."""
        run = claim.run
        self._telemetry.tell(
            "attempt began",
            run_id=run.run_id,
            thread_id=run.thread_id,
            agent_id=run.agent_id,
            attempt=claim.attempt.number,
            waited=None if claim.waited is None else claim.waited / 1e6,
        )
        execution = self._executor.begin(claim, self._agents[claim.run.agent_id])
        task = asyncio.get_running_loop().create_task(execution.run_attempt())
        self._executing[claim.run.run_id] = (execution, task)
        self._placed.set()
        task.add_done_callback(lambda done: self._over(claim, execution, done))

    def executes(self, run_id: str) -> bool:
        """Whether an attempt of the run has a place here."""
        return run_id in self._executing

    async def stopped_elsewhere(self, run_ids: Sequence[str], seconds: float) -> None:
        """Tells other servers to stop code of these runs, and waits until it is said to have stopped, at most so
        long."""
        left = set(run_ids)
        over = asyncio.get_running_loop().create_future()

        def heard(topic: str) -> None:
            left.discard(topic.partition(":")[2])
            if not left and not over.done():
                over.set_result(None)

        ends = [self._hints.subscribe(f"stopped:{run_id}", heard) for run_id in run_ids]
        waiting = asyncio.get_running_loop().create_task(self._clock.sleep(seconds))
        try:
            self._hints.tell_others([f"run:{run_id}" for run_id in run_ids])
            await asyncio.wait((over, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            for end in ends:
                end()

    async def stopped(self, run_id: str, seconds: float) -> bool:
        """Waits until no code of the run executes here; whether that came within the time."""
        found = self._executing.get(run_id)
        if found is None:
            return True
        waiting = asyncio.get_running_loop().create_task(self._clock.sleep(seconds))
        await asyncio.wait((found[1], waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return found[1].done()

    @property
    def executing(self) -> int:
        """How many attempts execute now."""
        return len(self._executing)

    @property
    def free(self) -> int:
        """How many more could."""
        return max(0, self._max_runs - len(self._executing))

    @property
    def alive(self) -> bool:
        """Whether runs that wait are still being claimed."""
        return self._loop is not None and not self._loop.done()

    def _over(self, claim: Claim, execution: Execution, task: asyncio.Task[None]) -> None:
        run_id = claim.run.run_id
        if (found := self._executing.get(run_id)) is not None and found[0] is execution:
            del self._executing[run_id]
        if execution.gave_up:
            self._hints.tell_others([f"stopped:{run_id}"])
        self._reserved -= 1
        if self._reserved == self._max_runs - 1 or self._limits[claim.run.agent_id] is not None or claim.apart:
            self._ready.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            run = claim.run
            self._telemetry.tell(
                "attempt broke",
                error=error,
                run_id=run_id,
                thread_id=run.thread_id,
                agent_id=run.agent_id,
                attempt=claim.attempt.number,
            )

    # the loop

    def start(self) -> None:
        """Begins to claim."""
        self._accepting = True
        self._hints.subscribe("ready", lambda _: self._ready.set())
        self._hints.subscribe(MISSED, self._missed)
        self._ready.set()
        self._loop = asyncio.get_running_loop().create_task(self._claim_loop())
        self._loop.add_done_callback(self._claiming_ended)
        self._looking = asyncio.get_running_loop().create_task(self._look_now_and_then())

    async def _look_now_and_then(self) -> None:
        while True:
            await self._clock.sleep(RECHECK)
            self.look()

    def look(self) -> None:
        """Everything that executes here looks whether it may go on."""
        for execution, _ in tuple(self._executing.values()):
            execution.look()

    def _missed(self, _: str) -> None:
        self._ready.set()
        self.look()

    async def _claim_loop(self) -> None:
        while self._accepting:
            try:
                await self._wait_for_work()
                await self._claim_what_is_ready()
            except Exception as error:
                # Nobody else would ever claim: whatever it was, it is tried again.
                self._telemetry.tell(
                    "claim failed", why=error.message if isinstance(error, RunyardError) else repr(error)
                )
                self._ready.set()
                await self._clock.sleep(STORAGE_PATIENCE)

    async def _claim_what_is_ready(self) -> None:
        self._ready.clear()
        room = self._max_runs - self._reserved
        if room <= 0 or not self._accepting:
            self._behind = True
            return
        self._reserved += room
        self._claiming = room
        claims: list[Claim] = []
        try:
            claims = await self._storage.claim(self._limits, room, self._clock.now())
        finally:
            self._reserved -= room - len(claims)
            self._claiming = 0
        for claim in claims:
            self.execute(claim)
        self._behind = len(claims) == room
        if self._behind:
            self._ready.set()

    def _claiming_ended(self, loop: asyncio.Task[None]) -> None:
        if not loop.cancelled() and (error := loop.exception()) is not None:
            self._telemetry.tell("claim loop died", error=error)

    async def _wait_for_work(self) -> None:
        """Until a hint, until the next delayed run is due, or until it is time to look again."""
        due = await self._storage.next_due()
        patience = RECHECK if due is None else min(RECHECK, max(0.0, (due - self._clock.now()) / 1e6))
        timer = asyncio.get_running_loop().create_task(self._clock.sleep(patience))
        ready = asyncio.get_running_loop().create_task(self._ready.wait())
        try:
            await asyncio.wait((timer, ready), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            ready.cancel()

    async def drain(self, grace: float) -> bool:
        """Stops claiming, lets what executes end within `grace` seconds, then tells it to stop and gives it back to the
        line at no cost of an attempt. Whether all code has ended."""
        self._accepting = False
        self._ready.set()
        if self._loop is not None:
            await asyncio.gather(self._loop, return_exceptions=True)  # it may have died, which was told then
        if self._looking is not None:
            self._looking.cancel()
        await self._all_placed()
        if not self._executing:
            return True
        self._telemetry.tell("draining", executing=len(self._executing))
        await self._all_over(grace)
        for execution, _ in tuple(self._executing.values()):
            execution.stop("drain")
        await self._all_over(STOPPING)
        left = tuple(self._executing.values())
        for execution, _ in left:
            try:
                await execution.release()
            except LeaseLost:
                continue  # it ended at this very moment
            except RunyardError as error:
                self._telemetry.tell("not given back", run_id=execution.run_id, why=error.message)
        self._telemetry.tell("still executing" if left else "drained", executing=len(left))
        return not left

    async def _all_placed(self) -> None:
        """Waits, not for long, until every place that was reserved is used or given back: what a creation on its way to
        the disk began after all else was told to stop would be left executing, and cost an attempt."""
        timer = asyncio.get_running_loop().create_task(self._clock.sleep(STOPPING))
        while self._reserved > len(self._executing) and not timer.done():
            self._placed.clear()
            placed = asyncio.get_running_loop().create_task(self._placed.wait())
            await asyncio.wait((placed, timer), return_when=asyncio.FIRST_COMPLETED)
            placed.cancel()
        timer.cancel()

    async def _all_over(self, seconds: float) -> None:
        """Waits until nothing executes, at most so long."""
        tasks = [task for _, task in self._executing.values()]
        if not tasks:
            return
        timer = asyncio.get_running_loop().create_task(self._clock.sleep(seconds))
        everything = asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait((everything, timer), return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
