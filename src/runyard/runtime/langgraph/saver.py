"""LangGraph's checkpointer over Runyard's checkpoints: what every saver of ours does, wherever its states are kept.

A checkpoint of LangGraph is a checkpoint of Runyard (see `codec`): a step costs what it changed, and people see the
same state that the graph reads. Savers differ in where they keep it: `RunSaver` in the attempt that executes,
`ServerSaver` in the database itself.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from abc import abstractmethod
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_metadata,
)

from runyard.checkpoints import Changes, PendingWrite, Source, State
from runyard.runtime.langgraph.codec import Codec, Known

T = TypeVar("T")

SOURCES: dict[str, Source] = {"input": "input", "update": "update", "fork": "fork"}
"""LangGraph's words for where a checkpoint comes from that are ours, too; any other is a step."""
PAGE = 20
"""Checkpoints per read of a history."""


class Place(msgspec.Struct, frozen=True):
    """What a configuration names: a thread, a namespace in it, and maybe one checkpoint there."""

    thread_id: str
    namespace: str
    checkpoint_id: str | None

    def config(self, checkpoint_id: str) -> RunnableConfig:
        """The configuration of a checkpoint beside this one."""
        named = {"thread_id": self.thread_id, "checkpoint_ns": self.namespace, "checkpoint_id": checkpoint_id}
        return RunnableConfig(configurable=named)


class Found(msgspec.Struct, frozen=True):
    """A state that was read, with what tasks gave on top of it."""

    state: State
    writes: Sequence[PendingWrite] = ()


def place_of(config: RunnableConfig) -> Place:
    """What a configuration names.

    Raises:
        ValueError: no thread.
    """
    named = config.get("configurable") or {}
    thread_id = named.get("thread_id")
    if thread_id is None:
        raise ValueError("config.configurable.thread_id is missing: a checkpointer needs the thread")
    return Place(str(thread_id), named.get("checkpoint_ns") or "", named.get("checkpoint_id") or None)


class Saver(BaseCheckpointSaver[int]):
    """What all savers of ours share. The sync methods are for code in other threads than the saver's loop."""

    def __init__(self, codec: Codec, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._codec = codec
        self._loop = loop

    # where the states are

    @abstractmethod
    async def _find(self, place: Place) -> Found | None:
        """A state: the one named, or the newest."""

    @abstractmethod
    async def _page(self, place: Place, before: str | None, limit: int) -> list[Found]:
        """States of a namespace, newest first."""

    async def _spaces(self, place: Place) -> Sequence[str]:
        """The namespaces of subgraphs that a thread has states of."""
        return ()

    @abstractmethod
    async def _parent(self, place: Place) -> Known | None:
        """What is known of the state that a checkpoint is put on top of; None where it has to be written whole."""

    @abstractmethod
    async def _keep(
        self, place: Place, checkpoint: Checkpoint, metadata: Mapping[str, Any], changes: Changes, known: Known
    ) -> None:
        """Stores a checkpoint."""

    @abstractmethod
    async def _keep_writes(self, place: Place, writes: list[PendingWrite], values: Sequence[Any]) -> None:
        """Stores what a task gave."""

    def _touched(self, place: Place) -> set[int] | None:
        """The ids of objects that tasks returned on top of a state; None where that is not known."""
        return None

    def _about(self, place: Place, config: RunnableConfig, metadata: CheckpointMetadata) -> CheckpointMetadata:
        """The metadata of a checkpoint, with what the configuration adds to them."""
        return get_checkpoint_metadata(config, metadata)

    # LangGraph's contract

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the configuration names, or the newest of its namespace, with its pending writes."""
        place = place_of(config)
        found = await self._find(place)
        return None if found is None else self._tuple(place, found)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The checkpoints of a thread, newest first, whose metadata contain `filter`."""
        if config is None:
            raise ValueError("config is missing: checkpoints are listed by thread")
        place = place_of(config)
        if place.checkpoint_id is not None:
            found = await self._find(place)
            if found is not None and _contains((one := self._tuple(place, found)).metadata, filter):
                yield one
            return
        cursor = None if before is None else before.get("configurable", {}).get("checkpoint_id")
        places = [place]
        if "checkpoint_ns" not in config.get("configurable", {}):
            places += [msgspec.structs.replace(place, namespace=space) for space in await self._spaces(place)]
        left = limit
        for space in places:
            async for one in self._listed(space, cursor):
                if left is not None and left <= 0:
                    return
                if _contains(one.metadata, filter):
                    yield one
                    left = None if left is None else left - 1

    async def _listed(self, place: Place, cursor: str | None) -> AsyncIterator[CheckpointTuple]:
        while page := await self._page(place, cursor, PAGE):
            for found in page:
                one = self._tuple(place, found)
                cursor = one.checkpoint["id"]
                yield one

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores a checkpoint on top of the one that the configuration names."""
        place = place_of(config)
        about = self._about(place, config, metadata)
        changes, known = self._codec.encode(
            cast("dict[str, Any]", checkpoint),
            cast("dict[str, Any]", about),
            parent_id=place.checkpoint_id,
            known=await self._parent(place),
            touched=self._touched(place),
        )
        await self._keep(place, checkpoint, cast("dict[str, Any]", about), changes, known)
        return place.config(checkpoint["id"])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Stores what a task gave on top of a checkpoint."""
        place = place_of(config)
        kept = [
            PendingWrite(
                namespace=place.namespace,
                on=place.checkpoint_id or "",
                task_id=task_id,
                index=WRITES_IDX_MAP.get(channel, index),
                channel=channel,
                value=self._codec.encode_write(value),
                path=task_path,
            )
            for index, (channel, value) in enumerate(writes)
        ]
        await self._keep_writes(place, kept, [value for _, value in writes])

    async def aget_delta_channel_history(self, *, config: RunnableConfig, channels: Sequence[str]) -> Any:
        """What each channel was given on the way to a checkpoint, back to the nearest stored value: ancestors are read
        in pages, not one by one."""
        place = place_of(config)
        found = await self._find(place)
        collected: dict[str, list[Any]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        if found is not None:
            target = self._tuple(place, found)
            async for ancestor in self._ancestors(place, target):
                for write in reversed(ancestor.pending_writes or []):
                    if write[1] in collected and write[1] not in seeds:
                        collected[write[1]].append(write)
                values = ancestor.checkpoint["channel_values"]
                seeds.update({name: values[name] for name in channels if name in values and name not in seeds})
                if len(seeds) == len(collected):
                    break
        seed = {name: {"seed": value} for name, value in seeds.items()}
        return {name: {"writes": writes[::-1], **seed.get(name, {})} for name, writes in collected.items()}

    async def _ancestors(self, place: Place, target: CheckpointTuple) -> AsyncIterator[CheckpointTuple]:
        near: dict[str, CheckpointTuple] = {}
        while target.parent_config is not None:
            parent = place_of(target.parent_config).checkpoint_id or ""
            if parent not in near:
                page = await self._page(place, target.checkpoint["id"], PAGE)
                near = {one.checkpoint["id"]: one for one in (self._tuple(place, found) for found in page)}
            if parent not in near:
                found = await self._find(msgspec.structs.replace(place, checkpoint_id=parent))
                if found is None:
                    return
                near[parent] = self._tuple(place, found)
            target = near[parent]
            yield target

    def get_next_version(self, current: Any, channel: None) -> Any:
        """The number after the last version of a channel. States that other savers have made may have texts there, of
        which the part before the dot counts."""
        if isinstance(current, str):
            return f"{int(current.split('.')[0]) + 1:032}.0"
        return 1 if current is None else current + 1

    # the same for code that does not await

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `aget_tuple`."""
        return self._wait(self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """As `alist`."""

        async def collect() -> Sequence[CheckpointTuple]:
            return [one async for one in self.alist(config, filter=filter, before=before, limit=limit)]

        yield from self._wait(collect())

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `aput`."""
        return self._wait(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `aput_writes`."""
        self._wait(self.aput_writes(config, writes, task_id, task_path))

    def get_delta_channel_history(self, *, config: RunnableConfig, channels: Sequence[str]) -> Any:
        """As `aget_delta_channel_history`."""
        return self._wait(self.aget_delta_channel_history(config=config, channels=channels))

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            inside = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            inside = False
        if not inside:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        # In the loop's own thread nothing can be waited for; what needs no waiting is done at once.
        try:
            coroutine.send(None)
        except StopIteration as done:
            return cast(T, done.value)
        coroutine.close()
        raise RuntimeError(
            "a synchronous call of the checkpointer would block the event loop that it waits for: "
            "use the graph's async methods here (ainvoke, aget_state, ...)"
        )

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> Saver:
        """The same saver for states that may hold objects of more classes."""
        twin = copy.copy(self)
        twin._codec = self._codec.with_types([(kind[0], kind[1]) for kind in extra_allowlist if len(kind) == 2])
        return twin

    # inside

    def _tuple(self, place: Place, found: Found) -> CheckpointTuple:
        checkpoint, metadata, parent_id = self._decoded(place, found.state)
        return CheckpointTuple(
            place.config(checkpoint["id"]),
            cast(Checkpoint, checkpoint),
            cast(CheckpointMetadata, metadata),
            None if parent_id is None else place.config(parent_id),
            [(write.task_id, write.channel, self._codec.decode_write(write.value)) for write in found.writes],
        )

    def _decoded(self, place: Place, state: State) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        checkpoint, metadata, parent_id, _ = self._codec.decode(state)
        return checkpoint, metadata, parent_id


# LangGraph asks for it with each run, and finding it takes as long as a step.
cast(Any, Saver.aput_writes).__signature__ = inspect.signature(Saver.aput_writes)


def _contains(metadata: Mapping[str, Any], filter: Mapping[str, Any] | None) -> bool:
    return not filter or all(key in metadata and metadata[key] == value for key, value in filter.items())
