"""A saver over the database itself, outside any run: for tools, and for the suites that every saver has to pass.

Its writes are not fenced: it is for threads on which no run executes, and is refused where one does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langgraph.checkpoint.base import Checkpoint

from runyard import checkpoints
from runyard.checkpoints import Changes, PendingWrite, Snapshot, name_of
from runyard.clock import Clock
from runyard.errors import NotFound
from runyard.runtime.langgraph.codec import Codec, Known
from runyard.runtime.langgraph.saver import SOURCES, Found, Place, Saver
from runyard.storage.contract import Storage


class ServerSaver(Saver):
    """LangGraph's checkpointer for the threads of one owner."""

    def __init__(
        self, storage: Storage, loop: asyncio.AbstractEventLoop, clock: Clock, codec: Codec, *, owner: str = ""
    ) -> None:
        """`loop` is the one in which the storage is used."""
        super().__init__(codec, loop)
        self._storage = storage
        self._clock = clock
        self._owner = owner

    async def _find(self, place: Place) -> Found | None:
        found = await self._snapshot(place)
        return None if found is None else await self._with_writes(place, found)

    async def _snapshot(self, place: Place) -> Snapshot | None:
        try:
            if place.checkpoint_id is None:
                return await self._storage.newest(self._owner, place.thread_id, place.namespace)
            found = await self._storage.snapshot(self._owner, place.thread_id, place.checkpoint_id, undone=False)
        except NotFound:
            return None
        return found if found.checkpoint.namespace == place.namespace else None

    async def _with_writes(self, place: Place, found: Snapshot) -> Found:
        on = name_of(found.state) or ""
        writes = await self._storage.pending_writes(self._owner, place.thread_id, place.namespace, on)
        return Found(found.state, writes)

    async def _page(self, place: Place, before: str | None, limit: int) -> list[Found]:
        try:
            page = await self._storage.history(
                self._owner, place.thread_id, before=before, limit=limit, namespace=place.namespace
            )
        except NotFound:
            return []
        return [await self._with_writes(place, found) for found in page if name_of(found.state)]

    async def _spaces(self, place: Place) -> Sequence[str]:
        return await self._storage.inner_namespaces(self._owner, place.thread_id)

    async def _parent(self, place: Place) -> Known | None:
        found = None if place.checkpoint_id is None else await self._snapshot(place)
        return None if found is None else self._codec.decode(found.state)[3]

    async def _keep(
        self, place: Place, checkpoint: Checkpoint, metadata: Mapping[str, Any], changes: Changes, known: Known
    ) -> None:
        parent = None if place.checkpoint_id is None else await self._snapshot(place)
        run_id = metadata.get("run_id")
        planned = checkpoints.plan(
            checkpoint_id=checkpoint["id"],
            thread_id=place.thread_id,
            parent=None if parent is None else parent.checkpoint,
            changes=changes,
            state=checkpoints.apply({} if parent is None else parent.state, changes),
            run_id=None if run_id is None else str(run_id),
            created_at=self._clock.now(),
            source=SOURCES.get(str(metadata.get("source")), "step"),
            namespace=place.namespace,
        )
        await self._storage.put_checkpoint(self._owner, planned, self._clock.now())

    async def _keep_writes(self, place: Place, writes: list[PendingWrite], values: Sequence[Any]) -> None:
        await self._storage.put_writes(self._owner, place.thread_id, writes, self._clock.now())

    # what only stands outside runs

    async def adelete_thread(self, thread_id: str) -> None:
        """Removes a thread with everything on it; one that is not there is fine."""
        try:
            await self._storage.delete_thread(self._owner, thread_id, self._clock.now())
        except NotFound:
            pass

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Undoes the checkpoints that these runs made, with the writes on them."""
        await self._storage.forget_runs(self._owner, list(map(str, run_ids)), self._clock.now())

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Makes a thread with the same states and history; no values are copied."""
        await self._storage.copy_thread(self._owner, source_thread_id, target_thread_id, self._clock.now())

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Undoes all checkpoints but the newest of each namespace (`keep_latest`), or all (`delete`). What a channel of
        the newest is made of (LangGraph's `DeltaChannel`) stays with it."""
        for thread_id in thread_ids:
            keep: set[str] = set()
            if strategy == "keep_latest":
                for namespace in ["", *await self._storage.inner_namespaces(self._owner, thread_id)]:
                    keep |= await self._needed(Place(thread_id, namespace, None))
            await self._storage.prune(self._owner, thread_id, sorted(keep), self._clock.now())

    async def _needed(self, place: Place) -> set[str]:
        """The newest checkpoint of a namespace, and those in which the writes are that a channel of it is made of."""
        found = await self._find(place)
        if found is None:
            return set()
        newest = self._tuple(place, found)
        needed = {newest.checkpoint["id"]}
        counted = cast("dict[str, Any]", newest.metadata).get("counters_since_delta_snapshot", {})
        missing = set(counted) - newest.checkpoint["channel_values"].keys()
        if missing:
            async for ancestor in self._ancestors(place, newest):
                needed.add(ancestor.checkpoint["id"])
                missing -= ancestor.checkpoint["channel_values"].keys()
                if not missing:
                    break
        return needed

    def delete_thread(self, thread_id: str) -> None:
        """As `adelete_thread`."""
        self._wait(self.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As `adelete_for_runs`."""
        self._wait(self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As `acopy_thread`."""
        self._wait(self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As `aprune`."""
        self._wait(self.aprune(thread_ids, strategy=strategy))
