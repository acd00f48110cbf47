"""Chores: has the code of agents do what is asked of it outside of any run, within a time, in bounded number.

A chore executes where runs do. What its code wants to know of its thread is read from the storage; what it writes is
gathered, and is the caller's to store. Code that does not stop in time keeps its place until it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from runyard import checkpoints
from runyard.checkpoints import Checkpoint, PendingWrite, Snapshot, State, name_of
from runyard.clock import Clock
from runyard.errors import AgentFailed, AgentTimeout, InvalidInput, NotFound, RunyardError, Unavailable
from runyard.events import Entry, entry, point_to
from runyard.runtime.chores import Chore
from runyard.runtime.contract import (
    CheckpointWrite,
    Ended,
    Host,
    Invocation,
    LoadedAgent,
    RunInfo,
    Start,
    StateCall,
    StateReply,
    Stop,
    StopReason,
    StoreCall,
    Stored,
    StoreReply,
    Write,
)
from runyard.storage.calls import answer
from runyard.storage.contract import Storage
from runyard.users import ACTING, with_user

PLACES = 64
"""Chores that execute at once; others wait, within their time."""
REFUSALS = ("validation_error", "not_serialisable", "value_too_large")
"""Failures that are the request's."""


class Done(msgspec.Struct, frozen=True):
    """What came of a chore: its answer as JSON text, and what its code wants to be stored, in order."""

    result: bytes
    checkpoints: Sequence[Checkpoint] = ()
    writes: Sequence[PendingWrite] = ()
    entries: Sequence[Entry] = ()
    """The `values` events of the checkpoints."""
    base: str | None = None
    """The thread's checkpoint on which the first of its own states was put."""


class Chores:
    """Has chores done. `timeout` and `grace` are seconds."""

    def __init__(
        self,
        *,
        storage: Storage,
        host: Host,
        clock: Clock,
        agents: Mapping[str, LoadedAgent],
        timeout: float,
        grace: float,
        max_value_bytes: int,
    ) -> None:
        self._storage = storage
        self._host = host
        self._clock = clock
        self._agents = agents
        self._timeout = timeout
        self._grace = grace
        self._max_value_bytes = max_value_bytes
        self._places = asyncio.Semaphore(PLACES)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def do(
        self,
        owner: str,
        agent_id: str,
        chore: Chore,
        *,
        thread_id: str = "",
        configurable: dict[str, Any] | None = None,
    ) -> Done:
        """Has an agent's code do a chore.

        Raises:
            InvalidInput: the code refuses what was asked.
            NotFound: a checkpoint that was named.
            AgentFailed: the code failed, or what it executed in came to an end.
            AgentTimeout: it did not answer in time.
            Unavailable: the server stops.
        """
        errand = _Errand(self._storage, self._clock, owner, thread_id)
        name = f"chore-{self._clock.new_id()}"
        run = RunInfo(
            name, thread_id, agent_id, owner, 1, {}, with_user({"configurable": configurable or {}}, ACTING.get())
        )
        start = Start(run, None, {}, {}, chore=chore, max_value_bytes=self._max_value_bytes)
        working = self._begin(self._execute(errand, self._agents[agent_id], start))
        timer = asyncio.get_running_loop().create_task(self._clock.sleep(self._timeout))
        try:
            await asyncio.wait((working, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            if not working.done():
                errand.stop("timeout")
                self._begin(self._lose_later(errand, working))
        if not working.done():
            raise AgentTimeout(
                f"agent {agent_id!r} was asked about itself or a state, and did not answer within {self._timeout:g} s",
                agent_id=agent_id,
            )
        return errand.outcome(agent_id, working.result())

    def _begin(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _execute(self, errand: _Errand, loaded: LoadedAgent, start: Start) -> Ended:
        async with self._places:
            if errand.stopped:
                return Ended("stopped")
            try:
                invocation = self._host.run(loaded, start)
            except RuntimeError:  # the host has been closed
                return Ended("stopped")
            return await errand.follow(invocation)

    async def _lose_later(self, errand: _Errand, working: asyncio.Task[Any]) -> None:
        await self._clock.sleep(self._grace)
        if not working.done():
            errand.stop("lost")

    async def close(self) -> None:
        """Lets go of chores whose code does not end."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Errand:
    """The engine's side of one chore."""

    def __init__(self, storage: Storage, clock: Clock, owner: str, thread_id: str) -> None:
        self.stopped = False
        self._storage = storage
        self._clock = clock
        self._owner = owner
        self._thread_id = thread_id
        self._invocation: Invocation | None = None
        self._helpers: set[asyncio.Task[None]] = set()
        self._refused: RunyardError | None = None
        """Why a question about states was not answered."""
        self._built_on: dict[str, tuple[Checkpoint | None, State]] = {}
        """Namespace -> what the next changes there are against."""
        self._put: dict[str, Snapshot] = {}
        self._newest: dict[str, Snapshot] = {}
        self._given: dict[tuple[str, str, str, int], PendingWrite] = {}
        self._entries: list[Entry] = []

    async def follow(self, invocation: Invocation) -> Ended:
        """Serves the code until it has ended."""
        self._invocation = invocation
        try:
            while True:
                for message in await invocation.receive():
                    if isinstance(message, Ended):
                        return message
                    if isinstance(message, Write):
                        self._gather(message)
                        invocation.send(Stored(1))
                    else:
                        self._help(message)
        finally:
            for helper in tuple(self._helpers):
                helper.cancel()

    def stop(self, reason: StopReason) -> None:
        """Tells the code to stop."""
        self.stopped = True
        if self._invocation is not None:
            self._invocation.send(Stop(reason))

    def outcome(self, agent_id: str, ended: Ended) -> Done:
        """What came of it; raises as `Chores.do`."""
        if ended.how == "completed":
            own = next((one for one in self._put.values() if not one.checkpoint.namespace), None)
            return Done(
                ended.result or b"null",
                [one.checkpoint for one in self._put.values()],
                list(self._given.values()),
                self._entries,
                None if own is None else own.checkpoint.parent_id,
            )
        if self._refused is not None:
            raise self._refused
        if ended.how == "failed" and ended.code in REFUSALS:
            raise InvalidInput(ended.message, code=ended.code, agent_id=agent_id)
        if ended.how == "failed":
            raise AgentFailed(f"agent {agent_id!r} failed: {ended.message}", agent_id=agent_id, failure=ended.code)
        raise Unavailable("the server is stopping")

    # what the code writes

    def _gather(self, write: Write) -> None:
        for one in write.pending:
            key = one.namespace, one.on, one.task_id, one.index
            if one.index < 0 or key not in self._given:
                self._given[key] = one
        if write.checkpoint is not None:
            self._plan(write.checkpoint)

    def _plan(self, write: CheckpointWrite) -> None:
        parent, state = self._built_on.get(write.namespace, (None, State()))
        if write.fresh:
            parent, state = None, {}
        state = checkpoints.apply(state, write.changes)
        checkpoint = checkpoints.plan(
            checkpoint_id=write.checkpoint_id or self._clock.new_id(),
            thread_id=self._thread_id,
            parent=parent,
            changes=write.changes,
            state=state,
            run_id=None,
            created_at=self._clock.now(),
            source=write.source,
            namespace=write.namespace,
        )
        self._built_on[write.namespace] = checkpoint, state
        self._put[checkpoint.checkpoint_id] = self._newest[write.namespace] = Snapshot(checkpoint, state)
        if write.shows:
            self._entries.append(entry("values", point_to(checkpoint), checkpoint.namespace))

    # what it asks

    def _help(self, call: StoreCall | StateCall) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(call))
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)

    async def _answer(self, call: StoreCall | StateCall) -> None:
        assert self._invocation is not None
        refuse = StoreReply if isinstance(call, StoreCall) else StateReply
        try:
            if isinstance(call, StoreCall):
                reply = await answer(self._storage, self._owner, call, self._clock.now())
            else:
                reply = await self._look_up(call)
        except RunyardError as error:
            if isinstance(call, StateCall):
                self._refused = error
            reply = refuse(call.call, error=(error.reason, error.message))
        except Exception as error:  # without a reply the code would wait for ever
            reply = refuse(call.call, error=("internal_error", f"{type(error).__name__}: {error}"))
        self._invocation.send(reply)

    async def _look_up(self, call: StateCall) -> StateReply:
        if call.method == "history":
            found = await self._storage.history(
                self._owner, self._thread_id, before=call.checkpoint_id, limit=call.limit, namespace=call.namespace
            )
        else:
            one = await self._snapshot(call.namespace, call.checkpoint_id)
            found = [] if one is None else [one]
            if one is not None:
                self._built_on[call.namespace] = one.checkpoint, one.state
        return StateReply(call.call, found, [await self._writes_on(one.state, call.namespace) for one in found])

    async def _snapshot(self, namespace: str, checkpoint_id: str | None) -> Snapshot | None:
        if checkpoint_id is None:
            newest = self._newest.get(namespace)
            return newest or await self._storage.newest(self._owner, self._thread_id, namespace)
        put = self._put.get(checkpoint_id)
        try:
            found = put or await self._storage.snapshot(self._owner, self._thread_id, checkpoint_id)
        except NotFound:
            return None
        return found if found.checkpoint.namespace == namespace else None

    async def _writes_on(self, state: State, namespace: str) -> list[PendingWrite]:
        name = name_of(state)
        if name is None:
            return []
        stored = await self._storage.pending_writes(self._owner, self._thread_id, namespace, name)
        writes = {(one.namespace, one.on, one.task_id, one.index): one for one in stored}
        for key, one in self._given.items():
            if key[:2] == (namespace, name) and (one.index < 0 or key not in writes):
                writes[key] = one
        return sorted(writes.values(), key=lambda one: (one.path, one.task_id, one.index))
