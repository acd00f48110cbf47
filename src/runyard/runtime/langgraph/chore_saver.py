"""The savers of chores: the thread's states as they are stored, over the channel of the chore.

Runyard puts checkpoints on top of a graph's own: a PATCH, an open question. To readers each is a checkpoint with an id
of its own, and a question's stands for the one that it was put on. An update builds on what the graph knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple

from runyard import checkpoints
from runyard.checkpoints import Changes, PendingWrite
from runyard.errors import RunyardError
from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import CheckpointWrite, StateCall, StateReply, Write
from runyard.runtime.langgraph.codec import Codec, Known
from runyard.runtime.langgraph.saver import PAGE, SOURCES, Found, Place, Saver, place_of
from runyard.runtime.langgraph.whole import whole_values


class Row(Found, frozen=True, kw_only=True):
    """A state with the checkpoint that holds it."""

    checkpoint: checkpoints.Checkpoint


class ChoreSaver(Saver):
    """LangGraph's checkpointer for a chore on one thread; it only reads."""

    def __init__(self, codec: Codec, thread_id: str, end: AgentEnd) -> None:
        super().__init__(codec, end.loop)
        self._thread_id = thread_id
        self._end = end

    async def _find(self, place: Place) -> Row | None:
        rows = await self._rows(StateCall(self._end.next_call(), "get", place.namespace, place.checkpoint_id))
        return rows[0] if rows else None

    async def _page(self, place: Place, before: str | None, limit: int) -> list[Found]:
        return [*await self._rows(StateCall(self._end.next_call(), "history", place.namespace, before, limit))]

    async def _built_on(self, place: Place, row: Row, near: Mapping[str, Row] | None = None) -> str | None:
        """The checkpoint before: of a question, the one before that which it was put on."""
        while row.checkpoint.source == "interrupt" and row.checkpoint.parent_id is not None:
            parent_id = row.checkpoint.parent_id
            parent = (near or {}).get(parent_id)
            parent = parent or await self._find(msgspec.structs.replace(place, checkpoint_id=parent_id))
            if parent is None:
                return None
            row = parent
        return row.checkpoint.parent_id

    async def _rows(self, call: StateCall) -> list[Row]:
        reply = await self._reply(call)
        pairs = zip(reply.snapshots, reply.writes, strict=True)
        return [Row(found.state, writes, checkpoint=found.checkpoint) for found, writes in pairs]

    async def _reply(self, call: StateCall) -> StateReply:
        came: asyncio.Future[StateReply | None] = self._end.loop.create_future()

        def wake(reply: StateReply | None) -> None:
            if not came.done():
                came.set_result(reply)

        self._end.when_replied(call, wake)
        reply = await came
        if reply is None:
            raise asyncio.CancelledError("the chore was asked to stop")
        if reply.error is not None:
            raise RunyardError(reply.error[1], code=reply.error[0])
        return reply

    async def _parent(self, place: Place) -> Known | None:
        raise RuntimeError("a chore that reads states writes none")

    async def _keep(
        self, place: Place, checkpoint: Checkpoint, metadata: Mapping[str, Any], changes: Changes, known: Known
    ) -> None:
        raise RuntimeError("a chore that reads states writes none")

    async def _keep_writes(self, place: Place, writes: list[PendingWrite], values: Sequence[Any]) -> None:
        raise RuntimeError("a chore that reads states writes none")


class ReadingSaver(ChoreSaver):
    """For readers: states go by the ids of their checkpoints."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the configuration names, or the newest of its namespace, with its pending writes."""
        place = self._place(config)
        row = await self._find(place)
        return None if row is None else self._seen(place, row, await self._built_on(place, row))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The checkpoints of a namespace, newest first, whose metadata contain `filter`."""
        assert config is not None  # LangGraph asks for a thread's
        place = self._place(config)
        cursor = None if before is None else before.get("configurable", {}).get("checkpoint_id")
        left = limit
        stood_for: set[str] = set()
        while left is None or left > 0:
            rows = cast("list[Row]", await self._page(place, cursor, PAGE))
            if not rows:
                return
            for index, row in enumerate(rows):
                cursor = row.checkpoint.checkpoint_id
                if row.checkpoint.source == "interrupt":
                    stood_for.add(row.checkpoint.parent_id or "")
                if cursor in stood_for or (left is not None and left <= 0):
                    continue
                near = {other.checkpoint.checkpoint_id: other for other in rows[index + 1 :]}
                one = self._seen(place, row, await self._built_on(place, row, near))
                if filter and not filter.items() <= dict(one.metadata).items():
                    continue
                yield one
                left = None if left is None else left - 1

    def _seen(self, place: Place, row: Row, parent_id: str | None) -> CheckpointTuple:
        one = self._tuple(place, row)
        parent = None if parent_id is None else place.config(parent_id)
        return one._replace(config=place.config(row.checkpoint.checkpoint_id), parent_config=parent)

    def _place(self, config: RunnableConfig) -> Place:
        named = config.get("configurable") or {}
        return Place(self._thread_id, named.get("checkpoint_ns") or "", named.get("checkpoint_id") or None)


class UpdatingSaver(ChoreSaver):
    """For an update: what it puts is sent, and read back from the engine, which stores all of it in the end."""

    def __init__(self, codec: Codec, thread_id: str, end: AgentEnd) -> None:
        super().__init__(codec, thread_id, end)
        self._read: dict[str, Row] = {}
        """Namespace -> what was read there last: against that the engine takes changes."""
        self._known: dict[str, tuple[str, Known]] = {}
        """Namespace -> the checkpoint that the engine has there, and what is known of its state."""
        self._held_by: dict[tuple[str, str], str] = {}
        """(namespace, the id that LangGraph has for a state) -> the checkpoint that is meant by it."""

    async def _find(self, place: Place) -> Row | None:
        row = await super()._find(place)
        if row is not None:
            self._read[place.namespace] = row
            self._known.pop(place.namespace, None)
        return row

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the configuration names, or the newest of its namespace, with its pending writes."""
        place = place_of(config)
        row = await self._find(place)
        if row is None:
            return None
        one = self._tuple(place, row)
        held_by = row.checkpoint.checkpoint_id
        # The first is what the request is about; the newest is looked at, too.
        meant = self._held_by.setdefault((place.namespace, one.checkpoint["id"]), held_by)
        parent = None if one.parent_config is None else place_of(one.parent_config).checkpoint_id
        if parent is not None and meant == held_by:
            before = await self._built_on(place, row)
            self._held_by.setdefault((place.namespace, parent), before or parent)
        return one

    async def _parent(self, place: Place) -> Known | None:
        wanted = self._meant(place)
        if wanted is None:
            return None
        known = self._known.get(place.namespace)
        if known is not None and known[0] == wanted:
            return known[1]
        row = self._read.get(place.namespace)
        if row is None or row.checkpoint.checkpoint_id != wanted:
            row = await self._find(msgspec.structs.replace(place, checkpoint_id=wanted))
        if row is None:
            return None
        known = self._known[place.namespace] = wanted, self._codec.decode(row.state)[3]
        return known[1]

    def _meant(self, place: Place) -> str | None:
        if place.checkpoint_id is None:
            return None
        return self._held_by.get((place.namespace, place.checkpoint_id), place.checkpoint_id)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores a checkpoint on top of the one that the configuration names; all of its values are plain ones."""
        plain = cast(Checkpoint, {**checkpoint, "channel_values": whole_values(checkpoint["channel_values"])})
        return await super().aput(config, plain, metadata, new_versions)

    async def _keep(
        self, place: Place, checkpoint: Checkpoint, metadata: Mapping[str, Any], changes: Changes, known: Known
    ) -> None:
        put = CheckpointWrite(
            changes,
            SOURCES.get(str(metadata.get("source")), "step"),
            checkpoint["id"],
            place.namespace,
            fresh=self._known.get(place.namespace, ("",))[0] != self._meant(place),
            shows=True,
        )
        self._read.pop(place.namespace, None)
        self._known[place.namespace] = checkpoint["id"], known
        self._end.write(Write(checkpoint=put), sum(len(change.value) for change in changes.values()))

    async def _keep_writes(self, place: Place, writes: list[PendingWrite], values: Sequence[Any]) -> None:
        self._end.write(Write(pending=writes), sum(len(write.value) for write in writes))
