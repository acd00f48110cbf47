"""The assistants of an owner: those that were created, and the default one of each agent that is offered.

A default assistant is there without a row, until its owner changes it: so it is the same on every server that knows the
agent, whoever has its code, and one owner's changes are none of another's.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runyard import assistants
from runyard.assistants import Assistant, AssistantFilter, AssistantPatch, IfExists, VersionFilter, default_id
from runyard.errors import Conflict, NotFound, assistant_exists
from runyard.hints.contract import MISSED, Hints
from runyard.lifecycle import Lifecycle
from runyard.storage.contract import Storage
from runyard.threads import ThreadFilter

UNNAMED = "Untitled"
"""What an assistant is called that nobody has given a name."""
RECHECK = 5.0
"""Seconds after which it is looked at anew whether default assistants have changed (DESIGN, law 8)."""
MOST_OWNERS = 10_000
"""Owners of whom that is remembered."""
PAGE = 100
"""Threads that are looked up at a time, where an assistant's are deleted."""

_encode = msgspec.json.Encoder().encode


class CreateAssistant(msgspec.Struct, frozen=True):
    """A client's wish for an assistant."""

    agent_id: str
    assistant_id: str | None = None
    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = {}
    config: dict[str, Any] = {}
    context: dict[str, Any] = {}


class Catalog:
    """The verbs."""

    def __init__(self, *, storage: Storage, verbs: Lifecycle, hints: Hints) -> None:
        self._storage = storage
        self._verbs = verbs
        self._hints = hints
        self._published_at: dict[str, int] = {}
        self._defaults: dict[str, str] = {}
        self._plain: dict[str, int] = {}
        self._looked = 0

    def start(self) -> None:
        """Begins to hear of what other servers change."""
        for topic in ("assistants", MISSED):
            self._hints.subscribe(topic, lambda _: self._forget())

    async def find(self, owner: str, assistant_id: str) -> Assistant:
        """The assistant of an id, or the default one of the agent of that id.

        Raises:
            NotFound: assistant_not_found, naming the agents that exist.
        """
        assistant_id = self._id_of(assistant_id)
        default = await self._default(owner, assistant_id)
        if default is not None and await self._has_unchanged_defaults(owner):
            return default
        try:
            return await self._storage.assistant(owner, assistant_id)
        except NotFound:
            if default is None:
                raise self._not_found(assistant_id) from None
            return default

    async def of_run(self, owner: str, assistant_id: str) -> Assistant:
        """The same for a run of it, which is all that its client sees of it."""
        return await self.find(owner, assistant_id)

    async def _has_unchanged_defaults(self, owner: str) -> bool:
        """Whether none of an owner's default assistants has a row: mostly so, and then runs need not ask each time.
        What another server changes is heard by a hint, and seen after RECHECK all the same."""
        now = self._verbs.clock.now()
        if now < self._plain.get(owner, 0):
            return True
        looked = self._looked
        if await self._storage.assistants_among(owner, [*self._defaults]):
            return False
        if looked == self._looked:
            if len(self._plain) >= MOST_OWNERS:
                self._plain.clear()
            self._plain[owner] = now + int(RECHECK * 1e6)
        return True

    def _forget(self) -> None:
        """Default assistants may have changed since they were looked at."""
        self._looked += 1
        self._plain.clear()

    def _id_of(self, named: str) -> str:
        return default_id(named) if named in self._verbs.published else named

    def _agent_of(self, assistant_id: str) -> str | None:
        """The agent whose default assistant has the id. Agents are learnt, and never forgotten."""
        if len(self._defaults) != len(self._verbs.published):
            self._defaults = {default_id(agent_id): agent_id for agent_id in self._verbs.published}
            self._forget()
        return self._defaults.get(assistant_id)

    async def _default(self, owner: str, assistant_id: str) -> Assistant | None:
        agent_id = self._agent_of(assistant_id)
        if agent_id is None:
            return None
        if agent_id not in self._published_at:
            self._published_at = await self._storage.published_at()
        return assistants.default_of(self._verbs.agent(agent_id), owner, self._published_at.get(agent_id, 0))

    def _not_found(self, assistant_id: str) -> NotFound:
        known = ", ".join(sorted(self._verbs.published)) or "none"
        return NotFound(
            f"assistant_id is {assistant_id[:80]!r}: there is no such assistant, and no such agent; agents: {known}",
            code="assistant_not_found",
            field="assistant_id",
        )

    async def create(self, owner: str, wish: CreateAssistant, if_exists: IfExists) -> Assistant:
        """Raises `NotFound` for the agent, `Conflict` assistant_exists."""
        agent_id = self._verbs.agent(wish.agent_id).agent_id
        assistant_id, now = wish.assistant_id or self._verbs.clock.new_id(), self._verbs.clock.now()
        if self._agent_of(assistant_id) is not None:
            if if_exists == "raise":
                raise assistant_exists(assistant_id)
            return await self.find(owner, assistant_id)
        assistant = Assistant(
            assistant_id=assistant_id, owner=owner, agent_id=agent_id, version=1, created_at=now, updated_at=now,
            name=wish.name or UNNAMED, description=wish.description, metadata=_encode(wish.metadata),
            config=_encode(wish.config), context=_encode(wish.context),
        )  # fmt: skip
        return await self._storage.create_assistant(assistant, if_exists=if_exists)

    async def search(self, owner: str, query: AssistantFilter) -> list[Assistant]:
        """In the query's order."""
        whole = msgspec.structs.replace(query, limit=query.offset + query.limit, offset=0)
        found = await self._storage.search_assistants(owner, whole)
        ordered = assistants.ordered([*found, *await self._unchanged(owner, query)], query)
        return ordered[query.offset : query.offset + query.limit]

    async def count(self, owner: str, query: AssistantFilter) -> int:
        """How many a search would find, whatever its limit and offset."""
        return await self._storage.count_assistants(owner, query) + len(await self._unchanged(owner, query))

    async def _unchanged(self, owner: str, query: AssistantFilter) -> list[Assistant]:
        """The default assistants without a row that a search asks for."""
        ids = [default_id(agent_id) for agent_id in self._verbs.published]
        changed = await self._storage.assistants_among(owner, ids)
        defaults = [await self._default(owner, id) for id in ids if id not in changed]
        return [default for default in defaults if default is not None and assistants.matches(default, query)]

    async def patch(self, owner: str, assistant_id: str, patch: AssistantPatch) -> Assistant:
        """A new version, which counts from now on. Raises `NotFound`, for an agent too."""
        assistant_id = self._id_of(assistant_id)
        if patch.agent_id is not None:
            self._verbs.agent(patch.agent_id)
        default, now = await self._default(owner, assistant_id), self._verbs.clock.now()
        patched = await self._storage.patch_assistant(owner, assistant_id, patch, now, default=default)
        self._tell_changed(default)
        return patched

    def _tell_changed(self, default: Assistant | None) -> None:
        if default is not None:
            self._forget()
            self._hints.tell_others(["assistants"])

    async def choose_version(self, owner: str, assistant_id: str, version: int) -> Assistant:
        """Lets a version count, with all that it had. Raises `NotFound`."""
        assistant_id = self._id_of(assistant_id)
        default, now = await self._default(owner, assistant_id), self._verbs.clock.now()
        chosen = await self._storage.choose_version(owner, assistant_id, version, now, default=default)
        self._tell_changed(default)
        return chosen

    async def versions(self, owner: str, assistant_id: str, query: VersionFilter) -> list[Assistant]:
        """Newest first. Raises `NotFound`."""
        assistant = await self.find(owner, assistant_id)
        kept = await self._storage.assistants_among(owner, [assistant.assistant_id])
        if kept:
            return await self._storage.assistant_versions(owner, assistant.assistant_id, query)
        asked = AssistantFilter(metadata=query.metadata)
        return [one for one in (assistant,) if assistants.matches(one, asked)][query.offset :][: query.limit]

    async def delete(self, owner: str, assistant_id: str, *, threads: bool = False) -> None:
        """With its versions and crons; `threads`: with the threads, too, whose metadata name it as `assistant_id`.

        Raises:
            NotFound.
            Conflict: default_assistant.
        """
        if self._agent_of(self._id_of(assistant_id)) is not None:
            raise Conflict(
                f"assistant {assistant_id} is the default one of an agent: it is there as long as the agent is",
                code="default_assistant",
                assistant_id=assistant_id,
            )
        await self._storage.assistant(owner, assistant_id)
        if threads:
            await self._delete_threads(owner, assistant_id)
        await self._storage.delete_assistant(owner, assistant_id)

    async def _delete_threads(self, owner: str, assistant_id: str) -> None:
        query = ThreadFilter(metadata={"assistant_id": assistant_id}, limit=PAGE)
        while found := await self._verbs.search_threads(owner, query):
            for thread, _ in found:
                try:
                    await self._verbs.delete_thread(owner, thread.thread_id)
                except NotFound:
                    pass  # somebody else was faster
