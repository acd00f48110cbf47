"""Assistants, and agents as graphs, as one request may use them. A run may be of any assistant that its client can
name: `create_run` is told which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from runyard.agents import Agent
from runyard.api.authorization.closed import Closed
from runyard.api.authorization.filters import Pattern, shows
from runyard.api.authorization.guard import Guard, as_uuid, changed, made_under
from runyard.api.authorization.threads import GuardedVerbs, within
from runyard.assistants import Assistant, AssistantFilter, AssistantPatch, IfExists, VersionFilter, default_id
from runyard.catalog import PAGE, Catalog, CreateAssistant
from runyard.errors import Forbidden, NotFound, agent_not_found, assistant_exists, assistant_not_found
from runyard.inspection import Inspection
from runyard.runtime.chores import Change, CheckpointName, Drawing, StateView, SubgraphView
from runyard.threads import ThreadFilter

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class GuardedCatalog(Closed):
    """`Catalog`, for one request."""

    def __init__(self, guard: Guard, catalog: Catalog, verbs: GuardedVerbs) -> None:
        self._guard = guard
        self._catalog = catalog
        self._verbs = verbs

    async def of_run(self, owner: str, assistant_id: str) -> Assistant:
        return await self._catalog.of_run(owner, assistant_id)

    async def find(self, owner: str, assistant_id: str) -> Assistant:
        found = await self._there(owner, assistant_id)
        self._check(found, await self._guard.ask_once("assistants", "read", assistant_id=found.assistant_id))
        return found

    async def _there(self, owner: str, assistant_id: str) -> Assistant:
        """An assistant, whoever may see it; what is not there is asked for in vain, and says no more than that."""
        try:
            return await self._catalog.find(owner, assistant_id)
        except NotFound:
            await self._guard.ask_once("assistants", "read", assistant_id=assistant_id)
            raise assistant_not_found(assistant_id) from None

    def _check(self, found: Assistant, pattern: Pattern | None) -> None:
        if not shows(_decode(found.metadata), pattern):
            raise assistant_not_found(found.assistant_id)

    async def create(self, owner: str, wish: CreateAssistant, if_exists: IfExists) -> Assistant:
        value = {
            "assistant_id": as_uuid(wish.assistant_id), "graph_id": wish.agent_id, "name": wish.name,
            "config": wish.config, "context": wish.context, "metadata": dict(wish.metadata), "if_exists": if_exists,
        }  # fmt: skip
        pattern = await self._guard.ask("assistants", "create", value)
        metadata = made_under(changed(value, wish.metadata), pattern)
        if wish.assistant_id is not None:
            await self._see_existing(owner, wish.assistant_id, pattern)
        made = await self._catalog.create(owner, msgspec.structs.replace(wish, metadata=metadata), if_exists)
        if not shows(_decode(made.metadata), pattern):  # somebody was faster
            raise assistant_exists(made.assistant_id)
        return made

    async def _see_existing(self, owner: str, assistant_id: str, pattern: Pattern | None) -> None:
        """Raises `Conflict` for an assistant that is there and may not be seen."""
        try:
            there = await self._catalog.find(owner, assistant_id)
        except NotFound:
            return
        try:
            self._check(there, pattern)
            self._check(there, await self._guard.ask_once("assistants", "read", assistant_id=assistant_id))
        except (NotFound, Forbidden):
            raise assistant_exists(assistant_id) from None

    async def search(self, owner: str, query: AssistantFilter) -> list[Assistant]:
        asked = await self._searched(query)
        return [] if asked is None else await self._catalog.search(owner, asked)

    async def count(self, owner: str, query: AssistantFilter) -> int:
        asked = await self._searched(query)
        return 0 if asked is None else await self._catalog.count(owner, asked)

    async def _searched(self, query: AssistantFilter) -> AssistantFilter | None:
        value = {
            "graph_id": query.agent_id, "metadata": dict(query.metadata or {}), "limit": query.limit,
            "offset": query.offset,
        }  # fmt: skip
        pattern = await self._guard.ask_search("assistants", value)
        metadata = within(changed(value, query.metadata or {}), pattern)
        return None if metadata is None else msgspec.structs.replace(query, metadata=metadata or query.metadata)

    async def patch(self, owner: str, assistant_id: str, patch: AssistantPatch) -> Assistant:
        before = patch.metadata or {}
        value = {
            "assistant_id": as_uuid(assistant_id), "graph_id": patch.agent_id, "name": patch.name,
            "config": patch.config, "context": patch.context, "metadata": dict(before), "version": None,
        }  # fmt: skip
        pattern = await self._guard.ask("assistants", "update", value)
        metadata = changed(value, before)
        there = await self._there(owner, assistant_id)
        self._check(there, pattern)
        if not shows({**_decode(there.metadata), **metadata}, pattern):
            raise Forbidden("metadata: with these, those who changed the assistant could not see it", field="metadata")
        if metadata != before:
            patch = msgspec.structs.replace(patch, metadata=metadata)
        return await self._catalog.patch(owner, assistant_id, patch)

    async def choose_version(self, owner: str, assistant_id: str, version: int) -> Assistant:
        there = await self._there(owner, assistant_id)
        about = {"assistant_id": there.assistant_id, "version": version}
        pattern = await self._guard.ask_once("assistants", "update", **about)
        self._check(there, pattern)
        every = VersionFilter(limit=2**31, offset=0)
        for one in await self._catalog.versions(owner, assistant_id, every):
            if one.version == version:
                self._check(one, pattern)
        return await self._catalog.choose_version(owner, assistant_id, version)

    async def versions(self, owner: str, assistant_id: str, query: VersionFilter) -> list[Assistant]:
        await self.find(owner, assistant_id)
        pattern = await self._guard.ask_once("assistants", "read", assistant_id=assistant_id)
        metadata = within(query.metadata or {}, pattern)
        if metadata is None:
            return []
        asked = msgspec.structs.replace(query, metadata=metadata or query.metadata)
        return await self._catalog.versions(owner, assistant_id, asked)

    async def delete(self, owner: str, assistant_id: str, *, threads: bool = False) -> None:
        there = await self._there(owner, assistant_id)
        self._check(there, await self._guard.ask_once("assistants", "delete", assistant_id=there.assistant_id))
        if threads:
            await self._delete_threads(owner, there.assistant_id)
        await self._catalog.delete(owner, assistant_id)

    async def _delete_threads(self, owner: str, assistant_id: str) -> None:
        """Those that the user may find and delete."""
        query = ThreadFilter(metadata={"assistant_id": assistant_id}, limit=PAGE)
        while found := await self._verbs.search_threads(owner, query):
            for thread, _ in found:
                try:
                    await self._verbs.delete_thread(owner, thread.thread_id)
                except NotFound:
                    query = msgspec.structs.replace(query, offset=query.offset + 1)


class GuardedInspection(Closed):
    """`Inspection`, for one request. Whose agent is drawn was found by the catalog."""

    def __init__(self, guard: Guard, inspection: Inspection) -> None:
        self._guard = guard
        self._inspection = inspection

    async def state(self, owner: str, thread_id: str, **more: Any) -> StateView:
        await self._guard.read(owner, thread_id)
        return await self._inspection.state(owner, thread_id, **more)

    async def agent_of(self, owner: str, thread_id: str) -> str | None:
        if not self._guard.may_write(thread_id):
            await self._guard.read(owner, thread_id)
        return await self._inspection.agent_of(owner, thread_id)

    async def history(self, owner: str, thread_id: str, **more: Any) -> list[StateView]:
        await self._guard.read(owner, thread_id)
        return await self._inspection.history(owner, thread_id, **more)

    async def update(
        self, owner: str, thread_id: str, steps: Sequence[Sequence[Change]], **more: Any
    ) -> CheckpointName:
        await self._guard.write(owner, thread_id, "update")
        return await self._inspection.update(owner, thread_id, steps, **more)

    async def drawing(self, owner: str, agent_id: str, *, xray: bool | int = False) -> Drawing:
        return await self._inspection.drawing(owner, agent_id, xray=xray)

    async def subgraphs(
        self, owner: str, agent_id: str, *, namespace: str | None = None, recurse: bool = False
    ) -> Mapping[str, SubgraphView]:
        return await self._inspection.subgraphs(owner, agent_id, namespace=namespace, recurse=recurse)


async def agents_within(guard: Guard | None, value: dict[str, Any]) -> Pattern | None:
    """What the metadata of agents have to contain that a search may find; None where all may be found."""
    return None if guard is None else await guard.ask_search("assistants", value)


async def see_agent(guard: Guard | None, agent: Agent) -> None:
    """Raises `NotFound` for an agent that may not be looked at."""
    if guard is None:
        return
    pattern = await guard.ask_once("assistants", "read", assistant_id=default_id(agent.agent_id))
    if not shows(agent.metadata, pattern):
        raise agent_not_found(agent.agent_id, [])
