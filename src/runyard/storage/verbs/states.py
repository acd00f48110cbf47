"""Reading saved states: one, the newest, a history of them, and what tasks of graphs gave on top."""

from __future__ import annotations

from runyard.checkpoints import PendingWrite, Snapshot, State, fold
from runyard.errors import checkpoint_not_found, thread_not_found
from runyard.storage.contract import ThreadSizes
from runyard.storage.verbs.rows import checkpoint_of, pending_of, thread_of
from runyard.storage.verbs.transaction import Reads

TOP = 2**63 - 1
"""A place above all in the order of checkpoints."""


async def state_of(reader: Reads, checkpoint_id: str) -> State:
    """The whole state of a checkpoint that is there."""
    return fold(await reader.all("chain", (checkpoint_id,)))


async def is_there(reader: Reads, owner: str, thread_id: str, checkpoint_id: str, undone: bool = True) -> bool:
    """Whether a checkpoint is one of the thread or of those it was copied from, of a subgraph or not."""
    where = {"owner": owner, "thread_id": thread_id, "checkpoint_id": checkpoint_id}
    readable = (await reader.one("readable", {**where, "undone": undone}))[0]
    return bool(readable or (await reader.one("belongs", where))[0])


async def found_snapshot(
    reader: Reads, owner: str, thread_id: str, checkpoint_id: str, undone: bool = True
) -> Snapshot:
    """A checkpoint of the thread or of those it was copied from, of a subgraph or not.

    Raises:
        NotFound: it is no such.
    """
    if not await is_there(reader, owner, thread_id, checkpoint_id, undone):
        raise checkpoint_not_found(checkpoint_id, thread_id)
    return Snapshot(
        checkpoint_of(await reader.one("checkpoint", (checkpoint_id, owner))), await state_of(reader, checkpoint_id)
    )


async def history(
    reader: Reads, owner: str, thread_id: str, before: str | None, limit: int, namespace: str
) -> list[Snapshot]:
    """As the storage's `history`: the thread's own, then what it has from the threads it was copied from."""
    origin = await reader.one("origin", (owner, thread_id))
    if origin is None:
        raise thread_not_found(thread_id)
    where = {"owner": owner, "thread_id": thread_id, "namespace": namespace, "limit": limit}
    if namespace:
        rows = await reader.all("inner_history", {**where, "before": before})
        rows += await reader.all("inherited", {**where, "before": before})
        rows.sort(key=lambda row: row[0], reverse=True)
    else:
        below, beyond = (
            (TOP, origin[0]) if before is None else await _places(reader, owner, thread_id, before, origin[0])
        )
        rows = await reader.all("history", {**where, "below": below})
        if len(rows) < limit and beyond is not None:
            rows += await reader.all("lineage", {"from": beyond, "limit": limit - len(rows)})
    return [Snapshot(checkpoint_of(row), await state_of(reader, row[0])) for row in rows[:limit]]


async def sizes(reader: Reads, owner: str, thread_id: str) -> ThreadSizes:
    """As the storage's `thread_sizes`."""
    thread = await reader.one("thread", (owner, thread_id))
    if thread is None or thread_of(thread).hidden:
        raise thread_not_found(thread_id)
    where = {"owner": owner, "thread_id": thread_id}
    return ThreadSizes(*await reader.one("checkpoint_sizes", where), *await reader.one("write_sizes", where))


async def _places(reader: Reads, owner: str, thread_id: str, before: str, origin: str | None) -> tuple[int, str | None]:
    """Where a history goes on that has come to a checkpoint: among the thread's own, and with which of those that it
    descends from.

    Raises:
        NotFound: the checkpoint is not in that history.
    """
    row = await reader.one("place_of_checkpoint", (before, owner))
    if row is not None and not row[2]:
        place, made_on, _, gone, parent_id = row
        if made_on == thread_id and not gone:
            return place, origin
        if (await reader.one("belongs", {"owner": owner, "thread_id": thread_id, "checkpoint_id": before}))[0]:
            return 0, parent_id
    raise checkpoint_not_found(before, thread_id)


async def inner_namespaces(reader: Reads, owner: str, thread_id: str) -> list[str]:
    """As the storage's `inner_namespaces`."""
    return sorted(row[0] for row in await reader.all("inner_namespaces", {"owner": owner, "thread_id": thread_id}))


async def newest(reader: Reads, owner: str, thread_id: str, namespace: str) -> Snapshot | None:
    """As the storage's `newest`."""
    if namespace:
        if await reader.one("origin", (owner, thread_id)) is None:
            return None
        found = await history(reader, owner, thread_id, None, 1, namespace)
        return found[0] if found else None
    thread = await reader.one("thread", (owner, thread_id))
    return None if thread is None or thread[6] is None else await found_snapshot(reader, owner, thread_id, thread[6])


async def writes_on(reader: Reads, owner: str, thread_id: str, namespace: str, on: str) -> list[PendingWrite]:
    """As the storage's `pending_writes`."""
    found = map(pending_of, await reader.all("pending_writes", (owner, thread_id, namespace, on)))
    return sorted(found, key=lambda write: (write.path, write.task_id, write.index))
