"""Threads and runs as one request may use them. Runs are let at by their thread; making one is an action of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from runyard.agents import Agent, both
from runyard.api.authorization.closed import Closed
from runyard.api.authorization.filters import Pattern, shows
from runyard.api.authorization.guard import Guard, as_uuid, changed, made_under
from runyard.assistants import default_id
from runyard.checkpoints import Question, Snapshot, State
from runyard.clock import Clock
from runyard.errors import Conflict, Forbidden, NotFound, run_not_found, thread_not_found
from runyard.lifecycle import Attachment, CreateRun, Lifecycle, PatchThread, Result
from runyard.runs import CancelAction, Failure, Run, RunFilter
from runyard.runtime.contract import LoadedAgent
from runyard.storage.contract import Created, Storage
from runyard.threads import Thread, ThreadFilter, Ttl

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class GuardedVerbs(Closed):
    """`Lifecycle`, for one request. `storage` is the guarded one."""

    def __init__(self, guard: Guard, verbs: Lifecycle, storage: Any) -> None:
        self._guard = guard
        self._verbs = verbs
        self.storage: Storage = storage

    # what says nothing of threads and runs

    @property
    def clock(self) -> Clock:
        return self._verbs.clock

    @property
    def agents(self) -> Mapping[str, LoadedAgent]:
        return self._verbs.agents

    @property
    def published(self) -> Mapping[str, Agent]:
        return self._verbs.published

    @property
    def default_agent(self) -> str | None:
        return self._verbs.default_agent

    def agent(self, agent_id: str) -> Agent:
        return self._verbs.agent(agent_id)

    def check_run(self, wish: CreateRun) -> None:
        self._verbs.check_run(wish)

    def attach(self, run_id: str) -> Attachment:
        return self._verbs.attach(run_id)

    def disconnected(self, owner: str, run_id: str) -> None:
        self._verbs.disconnected(owner, run_id)

    # runs

    async def create_run(self, owner: str, wish: CreateRun) -> Created:
        guard = self._guard
        value = _run_value(wish, wish.agent_id or self._verbs.default_agent)
        pattern = await guard.ask("threads", "create_run", value)
        metadata = changed(value, wish.metadata)
        stamps = {name: one for name, one in metadata.items() if wish.metadata.get(name) != one}
        if wish.thread_id is not None:
            there = await guard.there(owner, wish.thread_id)
            if there is not None and not shows(there, pattern):
                raise thread_not_found(wish.thread_id)
        idempotency = wish.idempotency
        if idempotency is not None:
            route, key, digest = idempotency
            idempotency = (f"{route} of {guard.user.identity}", key, digest)
        created = await self._verbs.create_run(
            owner,
            msgspec.structs.replace(
                wish,
                metadata=metadata,
                idempotency=idempotency,
                acting=guard.acting,
                thread_metadata=made_under({**wish.thread_metadata, **stamps}, pattern),
                within=pattern,
            ),
        )
        guard.owns(created.run.run_id)
        guard.lets_write(created.run.thread_id)
        return created

    async def get_run(self, owner: str, run_id: str) -> Run:
        run = await self._verbs.get_run(owner, run_id)
        await self.see(run)
        return run

    async def see(self, run: Run) -> None:
        """Raises `NotFound` for a run that may not be looked at."""
        if self._guard.may_read(run.run_id):
            return
        try:
            await self._guard.read(run.owner, run.thread_id, run_id=run.run_id)
        except NotFound:
            raise run_not_found(run.run_id) from None

    async def _change(self, owner: str, run_id: str, verb: str, **about: Any) -> Run:
        run = await self._verbs.get_run(owner, run_id)
        if not self._guard.may_write(run_id):
            try:
                await self._guard.write(owner, run.thread_id, verb, run_id=run_id, **about)
            except NotFound:
                raise run_not_found(run_id) from None
        return run

    async def search_runs(self, owner: str, query: RunFilter) -> list[Run]:
        query, pattern = await self._searched(query)
        return await self._verbs.search_runs(owner, msgspec.structs.replace(query, within=pattern))

    async def thread_runs(self, owner: str, thread_id: str, query: RunFilter) -> list[Run]:
        query, pattern = await self._searched(msgspec.structs.replace(query, thread_id=thread_id))
        await self._guard.check(owner, thread_id, pattern)
        return await self._verbs.thread_runs(owner, thread_id, msgspec.structs.replace(query, within=pattern))

    async def _searched(self, query: RunFilter) -> tuple[RunFilter, Pattern | None]:
        value = {
            "thread_id": as_uuid(query.thread_id), "metadata": dict(query.metadata or {}), "values": {},
            "status": None if query.statuses is None else query.statuses[0], "limit": query.limit,
            "offset": query.offset,
        }  # fmt: skip
        pattern = await self._guard.ask_search("threads", value)
        return query, pattern

    async def wait_run(self, owner: str, run_id: str, *, begun: Run | None = None) -> Result:
        if not self._guard.may_read(run_id):
            await self.get_run(owner, run_id)
        return await self._verbs.wait_run(owner, run_id, begun=begun)

    async def cancel_run(
        self, owner: str, run_id: str, action: CancelAction, wait: bool, reason: str | None = None
    ) -> None:
        await self._change(owner, run_id, "update", action=action)
        await self._verbs.cancel_run(owner, run_id, action, wait, reason)

    async def delete_run(self, owner: str, run_id: str) -> None:
        await self._change(owner, run_id, "delete")
        await self._verbs.delete_run(owner, run_id)

    async def inject(self, owner: str, run_id: str, messages: Sequence[bytes]) -> None:
        guard, run = self._guard, await self._verbs.get_run(owner, run_id)
        value = {
            "thread_id": as_uuid(run.thread_id), "run_id": as_uuid(run_id), "assistant_id": _assistant(run.agent_id),
            "metadata": {}, "kwargs": {"messages": [msgspec.json.decode(message) for message in messages]},
        }  # fmt: skip
        try:
            await guard.check(owner, run.thread_id, await guard.ask("threads", "create_run", value))
        except NotFound:
            raise run_not_found(run_id) from None
        guard.lets_write(run.thread_id)
        await self._verbs.inject(owner, run_id, messages)

    # threads

    async def create_thread(
        self,
        owner: str,
        thread_id: str | None,
        metadata: dict[str, Any],
        if_exists: Literal["raise", "do_nothing"],
        ttl: Ttl | None = None,
    ) -> Thread:
        guard = self._guard
        thread_id = thread_id or self._verbs.clock.new_id()
        value = {"thread_id": as_uuid(thread_id), "metadata": dict(metadata), "if_exists": if_exists}
        if ttl is not None:
            value["ttl"] = {"strategy": ttl.strategy, "ttl": ttl.minutes}
        pattern = await guard.ask("threads", "create", value)
        whole = made_under(changed(value, metadata), pattern)
        there = await guard.there(owner, thread_id)
        if there is not None:
            await self._see_existing(owner, thread_id, pattern)
        thread = await self._verbs.create_thread(owner, thread_id, whole, if_exists, ttl)
        if there is None and _decode(thread.metadata) == whole:
            guard.owns(thread_id)
        elif there is None:  # somebody was faster
            await self._see_existing(owner, thread_id, pattern)
        return thread

    async def _see_existing(self, owner: str, thread_id: str, pattern: Pattern | None) -> None:
        """Raises `Conflict` for a thread that is there and may not be seen."""
        try:
            await self._guard.check(owner, thread_id, pattern)
            await self._guard.read(owner, thread_id)
        except (NotFound, Forbidden):
            raise _exists(thread_id) from None

    async def get_thread(self, owner: str, thread_id: str) -> tuple[Thread, State, list[Question]]:
        await self._guard.read(owner, thread_id)
        return await self._verbs.get_thread(owner, thread_id)

    async def questions(self, thread: Thread) -> list[Question]:
        # A thread is only had by who was let at it, or found it.
        return await self._verbs.questions(thread)

    async def last_failure(self, thread: Thread) -> Failure | None:
        return await self._verbs.last_failure(thread)

    async def search_threads(self, owner: str, query: ThreadFilter) -> list[tuple[Thread, State]]:
        asked = await searched(self._guard, query)
        found = [] if asked is None else await self._verbs.search_threads(owner, asked)
        for thread, _ in found:
            self._guard.lets_read(thread.thread_id)
        return found

    async def patch_thread(
        self, owner: str, thread_id: str, patch: PatchThread
    ) -> tuple[Thread, State, list[Question]]:
        guard = self._guard
        before = patch.metadata or {}
        value = {"thread_id": as_uuid(thread_id), "metadata": dict(before), "action": None}
        pattern = await guard.ask("threads", "update", value)
        await guard.check(owner, thread_id, pattern)
        metadata = changed(value, before)
        there = await guard.there(owner, thread_id)
        if there is not None and not shows({**there, **metadata}, pattern):
            raise Forbidden("metadata: with these, those who changed the thread could not see it", field="metadata")
        guard.lets_write(thread_id)
        if metadata != before:
            patch = msgspec.structs.replace(patch, metadata=metadata)
        return await self._verbs.patch_thread(owner, thread_id, patch)

    async def delete_thread(self, owner: str, thread_id: str) -> None:
        await self._guard.write(owner, thread_id, "delete")
        await self._verbs.delete_thread(owner, thread_id)

    async def copy_thread(self, owner: str, thread_id: str) -> tuple[Thread, State, list[Question]]:
        guard = self._guard
        await guard.read(owner, thread_id)
        before = await guard.there(owner, thread_id) or {}
        value = {"thread_id": None, "metadata": dict(before)}
        pattern = await guard.ask("threads", "create", value)
        metadata = made_under(changed(value, before), pattern)
        # Patched afterwards, it would be there for a moment as somebody else's; for ever, if the server died then.
        copy = await self._verbs.copy_thread(owner, thread_id, None if metadata == before else metadata)
        guard.owns(copy[0].thread_id)
        return copy

    async def history(self, owner: str, thread_id: str, before: str | None, limit: int) -> list[Snapshot]:
        await self._guard.read(owner, thread_id)
        return await self._verbs.history(owner, thread_id, before, limit)


async def searched(guard: Guard, query: ThreadFilter) -> ThreadFilter | None:
    """A search for threads, of those that may be seen; None where there can be none."""
    value = {
        "metadata": dict(query.metadata or {}), "values": query.values or {}, "status": query.status,
        "limit": query.limit, "offset": query.offset, "ids": None if query.ids is None else [*map(as_uuid, query.ids)],
    }  # fmt: skip
    pattern = await guard.ask_search("threads", value)
    metadata = within(changed(value, query.metadata or {}), pattern)
    return None if metadata is None else msgspec.structs.replace(query, metadata=metadata or query.metadata)


def within(metadata: dict[str, Any], pattern: Pattern | None) -> dict[str, Any] | None:
    """What a search is to find, and what may be seen, as one pattern; None where nothing is both."""
    try:
        return metadata if pattern is None else both(metadata, pattern)
    except ValueError:
        return None


def _assistant(agent_id: str | None) -> Any:
    return None if agent_id is None else as_uuid(default_id(agent_id))


def _run_value(wish: CreateRun, agent_id: str | None) -> dict[str, Any]:
    """A wish for a run as handlers see it."""
    said = wish.langgraph
    asked = {
        name: _plain(value)
        for name in (
            "input", "messages", "command", "config", "context", "checkpoint", "webhook", "stream_mode",
            "stream_subgraphs", "interrupt_before", "interrupt_after", "durability", "on_completion", "on_disconnect",
        )
        if (value := getattr(wish, name)) is not UNSET
    }  # fmt: skip
    return {
        "assistant_id": _assistant(agent_id) if said is UNSET else as_uuid(said.assistant_id),
        "graph_id": agent_id,
        "thread_id": as_uuid(wish.thread_id),
        "run_id": None,
        "status": "pending",
        "metadata": dict(wish.metadata),
        "prevent_insert_if_inflight": wish.multitask_strategy in (UNSET, "reject"),
        "multitask_strategy": "reject" if wish.multitask_strategy is UNSET else wish.multitask_strategy,
        "if_not_exists": "reject" if wish.if_not_exists is UNSET else wish.if_not_exists,
        "after_seconds": 0 if wish.after_seconds is UNSET else wish.after_seconds,
        "kwargs": asked,
        "action": None,
    }


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _exists(thread_id: str) -> Conflict:
    return Conflict(f"thread {thread_id} exists already", code="thread_exists", thread_id=thread_id)
