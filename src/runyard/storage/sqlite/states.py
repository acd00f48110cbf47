"""Reading saved states: one, the newest, a history of them, and what tasks of graphs gave on top."""

from __future__ import annotations

from runyard.checkpoints import PendingWrite, Snapshot, State, fold
from runyard.errors import checkpoint_not_found, thread_not_found
from runyard.storage.sqlite.rows import checkpoint_of, pending_of
from runyard.storage.sqlite.writer import Transaction

TOP = 2**63 - 1
"""A place above all in the order of checkpoints."""


def state_of(reader: Transaction, checkpoint_id: str) -> State:
    """The whole state of a checkpoint that is there."""
    return fold(reader.all("chain", (checkpoint_id,)))


def found_snapshot(
    reader: Transaction, owner: str, thread_id: str, checkpoint_id: str, undone: bool = True
) -> Snapshot:
    """A checkpoint of the thread or of those it was copied from, of a subgraph or not.

    Raises:
        NotFound: it is no such.
    """
    where = {"owner": owner, "thread_id": thread_id, "checkpoint_id": checkpoint_id}
    if not reader.one("readable", {**where, "undone": undone})[0] and not reader.one("belongs", where)[0]:
        raise checkpoint_not_found(checkpoint_id, thread_id)
    return Snapshot(checkpoint_of(reader.one("checkpoint", (checkpoint_id, owner))), state_of(reader, checkpoint_id))


def history(
    reader: Transaction, owner: str, thread_id: str, before: str | None, limit: int, namespace: str
) -> list[Snapshot]:
    """As the storage's `history`: the thread's own, then what it has from the threads it was copied from."""
    origin = reader.one("origin", (owner, thread_id))
    if origin is None:
        raise thread_not_found(thread_id)
    where = {"owner": owner, "thread_id": thread_id, "namespace": namespace, "limit": limit}
    if namespace:
        rows = reader.all("inner_history", {**where, "before": before})
        rows += reader.all("inherited", {**where, "before": before})
        rows.sort(key=lambda row: row[0], reverse=True)
    else:
        below, beyond = (TOP, origin[0]) if before is None else _places(reader, owner, thread_id, before, origin[0])
        rows = reader.all("history", {**where, "below": below})
        if len(rows) < limit and beyond is not None:
            rows += reader.all("lineage", {"from": beyond, "limit": limit - len(rows)})
    return [Snapshot(checkpoint_of(row), state_of(reader, row[0])) for row in rows[:limit]]


def _places(reader: Transaction, owner: str, thread_id: str, before: str, origin: str | None) -> tuple[int, str | None]:
    """Where a history goes on that has come to a checkpoint: among the thread's own, and with which of those that it
    descends from.

    Raises:
        NotFound: the checkpoint is not in that history.
    """
    row = reader.one("place_of_checkpoint", (before, owner))
    if row is not None and not row[2]:
        place, made_on, _, gone, parent_id = row
        if made_on == thread_id and not gone:
            return place, origin
        if reader.one("belongs", {"owner": owner, "thread_id": thread_id, "checkpoint_id": before})[0]:
            return 0, parent_id
    raise checkpoint_not_found(before, thread_id)


def inner_namespaces(reader: Transaction, owner: str, thread_id: str) -> list[str]:
    """As the storage's `inner_namespaces`."""
    return sorted(row[0] for row in reader.all("inner_namespaces", {"owner": owner, "thread_id": thread_id}))


def newest(reader: Transaction, owner: str, thread_id: str, namespace: str) -> Snapshot | None:
    """As the storage's `newest`."""
    if namespace:
        if reader.one("origin", (owner, thread_id)) is None:
            return None
        found = history(reader, owner, thread_id, None, 1, namespace)
        return found[0] if found else None
    thread = reader.one("thread", (owner, thread_id))
    return None if thread is None or thread[6] is None else found_snapshot(reader, owner, thread_id, thread[6])


def writes_on(reader: Transaction, owner: str, thread_id: str, namespace: str, on: str) -> list[PendingWrite]:
    """As the storage's `pending_writes`."""
    found = map(pending_of, reader.all("pending_writes", (owner, thread_id, namespace, on)))
    return sorted(found, key=lambda write: (write.path, write.task_id, write.index))
