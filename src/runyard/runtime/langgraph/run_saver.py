"""The saver of one attempt: what it stores goes over the attempt's channel, fenced like all that the attempt writes.

The state that the attempt begins with is at hand; so is what it has put. Only who looks at something else waits for the
engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, get_checkpoint_metadata

from runyard.checkpoints import Changes, PendingWrite, State, name_of
from runyard.errors import RunyardError
from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import CheckpointWrite, Start, StateCall, StateReply, Write
from runyard.runtime.langgraph.codec import INTERNAL, Codec, Known
from runyard.runtime.langgraph.outbox import Outbox
from runyard.runtime.langgraph.parts import touched_by
from runyard.runtime.langgraph.saver import SOURCES, Found, Place, Saver
from runyard.runtime.langgraph.whole import whole_values


class RunSaver(Saver):
    """LangGraph's checkpointer for one attempt."""

    def __init__(self, codec: Codec, start: Start, end: AgentEnd, outbox: Outbox) -> None:
        super().__init__(codec, end.loop)
        self._start = start
        self._end = end
        self._outbox = outbox
        self._name = name_of(start.head)
        self._inner = start.inner
        self._put_any = False
        self._known: dict[str, tuple[str, Known]] = {}
        """Namespace -> the id and the known parts of the state that the engine has there."""
        self._added: dict[str, dict[str, Any]] = {}
        """Namespace -> what the configuration adds to the metadata of its checkpoints."""
        self._given: dict[tuple[str, str], list[PendingWrite]] = {}
        """(namespace, checkpoint id) -> what tasks gave on top of it."""
        self._returned: dict[tuple[str, str], list[Any]] = {}
        """The same as objects: an object that is held keeps its id for itself."""
        self.name = self._name or ""
        """The id of the thread's state as it is now; empty before the first."""

    async def _find(self, place: Place) -> Found | None:
        self._check(place)
        if not place.namespace and not self._put_any and place.checkpoint_id in (None, self._name):
            if not self._start.head or (self._start.addressed and place.checkpoint_id is None):
                return await self._ask(place) if self._start.head else None
            self._remember(place, self._start.writes)
            return Found(self._start.head, self._start.writes)
        if place.namespace and not self._inner and place.namespace not in self._known:
            return None
        return await self._ask(place)

    async def _ask(self, place: Place) -> Found | None:
        call = StateCall(self._end.next_call(), "get", place.namespace, place.checkpoint_id)
        reply = await self._reply(call)
        if not reply.snapshots:
            return None
        self._remember(place, reply.writes[0])
        return Found(reply.snapshots[0].state, reply.writes[0])

    async def _page(self, place: Place, before: str | None, limit: int) -> list[Found]:
        self._check(place)
        call = StateCall(self._end.next_call(), "history", place.namespace, before, limit)
        reply = await self._reply(call)
        pairs = zip(reply.snapshots, reply.writes, strict=True)
        return [Found(snapshot.state, writes) for snapshot, writes in pairs if name_of(snapshot.state)]

    async def _reply(self, call: StateCall) -> StateReply:
        came: asyncio.Future[StateReply | None] = self._end.loop.create_future()

        def wake(reply: StateReply | None) -> None:
            if not came.done():
                came.set_result(reply)

        self._outbox.send()
        self._end.when_replied(call, wake)
        reply = await came
        if reply is None:
            raise asyncio.CancelledError("the run was asked to stop")
        if reply.error is not None:
            raise RunyardError(reply.error[1], code=reply.error[0])
        return reply

    def _remember(self, place: Place, writes: Sequence[PendingWrite]) -> None:
        for write in writes:
            self._given.setdefault((place.namespace, write.on), []).append(write)

    def _decoded(self, place: Place, state: State) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        checkpoint, metadata, parent_id, known = self._codec.decode(state)
        # What was put is known better; and of the thread's own states the engine goes by those alone.
        if place.namespace or (not self._put_any and state is self._start.head):
            self._known[place.namespace] = checkpoint["id"], known
        return checkpoint, metadata, parent_id

    async def _parent(self, place: Place) -> Known | None:
        known = self._known.get(place.namespace)
        return None if known is None or known[0] != place.checkpoint_id else known[1]

    def _touched(self, place: Place) -> set[int] | None:
        if self._start.durability == "exit":
            return None
        return touched_by(self._returned.get((place.namespace, place.checkpoint_id or ""), ()))

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

    def _about(self, place: Place, config: RunnableConfig, metadata: CheckpointMetadata) -> CheckpointMetadata:
        # What the configuration adds is the same in all of a run's steps.
        added = self._added.get(place.namespace)
        if added is None:
            whole = get_checkpoint_metadata(config, metadata)
            added = {name: value for name, value in whole.items() if name not in metadata}
            self._added[place.namespace] = added
            return whole
        return cast(CheckpointMetadata, {**metadata, **added})

    async def _keep(
        self, place: Place, checkpoint: Checkpoint, metadata: Mapping[str, Any], changes: Changes, known: Known
    ) -> None:
        self._check(place)
        fresh = await self._parent(place) is None
        on = place.namespace, place.checkpoint_id or ""
        self._returned.pop(on, None)
        run_id = self._start.run.run_id  # what an earlier run gave stays, for a rollback of this one
        settled = [w for w in self._given.pop(on, ()) if w.run_id == run_id and _holds(checkpoint, w)]
        put = CheckpointWrite(
            changes,
            SOURCES.get(str(metadata.get("source")), "step"),
            checkpoint["id"],
            place.namespace,
            fresh and bool(place.namespace or self._put_any or self._start.head),
            shows=any(not name.startswith(INTERNAL) for name in checkpoint.get("updated_channels") or ()),
        )
        self._known[place.namespace] = checkpoint["id"], known
        if not place.namespace:
            self._put_any = True
            self.name = checkpoint["id"]
        self._outbox.put(Write(checkpoint=put, settled=settled), sum(len(c.value) for c in changes.values()))
        if self._start.durability == "sync":
            await self._outbox.stored(self._outbox.send())
        else:
            await self._outbox.room()

    async def _keep_writes(self, place: Place, writes: list[PendingWrite], values: Sequence[Any]) -> None:
        self._check(place)
        on = place.namespace, place.checkpoint_id or ""
        run_id = self._start.run.run_id
        writes = [msgspec.structs.replace(write, run_id=run_id) for write in writes]
        self._given.setdefault(on, []).extend(writes)
        self._returned.setdefault(on, []).extend(values)
        self._outbox.put(Write(pending=writes), sum(len(write.value) for write in writes))
        await self._outbox.room()

    def _check(self, place: Place) -> None:
        if place.thread_id != self._start.run.thread_id:
            raise ValueError(
                f"thread {place.thread_id!r} is not that of this run: a graph inside a run keeps its states on the "
                "run's own thread; compile it with a checkpointer of its own to have others"
            )


def _holds(checkpoint: Checkpoint, write: PendingWrite) -> bool:
    """Whether a checkpoint holds what a write gave, so that the write need not be kept: not an answer, a question or an
    error, and not what a channel keeps as its writes (LangGraph's `DeltaChannel`)."""
    if write.index < 0:
        return False
    channel = write.channel
    return (
        channel.startswith(INTERNAL)
        or channel in checkpoint["channel_values"]
        or channel not in checkpoint["channel_versions"]
    )
