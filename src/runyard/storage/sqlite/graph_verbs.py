"""The states of graphs, as their savers keep them outside any attempt; each verb inside one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from runyard.checkpoints import Checkpoint, PendingWrite, fold, render
from runyard.errors import Conflict
from runyard.storage.sqlite.line import line_of, settle
from runyard.storage.sqlite.rows import checkpoint_values, write_of, write_values
from runyard.storage.sqlite.thread_verbs import create_thread
from runyard.storage.sqlite.writer import Transaction

_encode = msgspec.json.Encoder().encode


def put_checkpoint(t: Transaction, owner: str, checkpoint: Checkpoint, now: int) -> None:
    thread_id = checkpoint.thread_id
    create_thread(t, owner, thread_id, b"{}", now, "do_nothing")
    busy = line_of(t, owner, thread_id)
    if busy:
        raise Conflict(
            f"thread {thread_id} is busy with run {busy[0].run_id}: its state cannot be changed from outside now",
            code="thread_busy",
            thread_id=thread_id,
            run_id=busy[0].run_id,
        )
    t.run("insert_checkpoint", checkpoint_values(owner, checkpoint))
    if not checkpoint.namespace:
        t.run("move_head", (checkpoint.checkpoint_id, 0, now, owner, thread_id))
        settle(t, owner, thread_id, now)


def put_writes(t: Transaction, owner: str, thread_id: str, writes: Sequence[PendingWrite], now: int) -> None:
    create_thread(t, owner, thread_id, b"{}", now, "do_nothing")
    for write in writes:
        t.run("put_write" if write.index < 0 else "offer_write", write_values(owner, thread_id, write, now))


def pending_writes(t: Transaction, owner: str, thread_id: str, namespace: str, on: str) -> list[PendingWrite]:
    rows = t.all("pending_writes", (owner, thread_id, namespace, on))
    if not rows:
        origin = t.one("origin", (owner, thread_id))
        if origin is not None and origin[0] is not None:
            where = {"owner": owner, "thread_id": thread_id, "namespace": namespace, "on": on}
            rows = t.all("inherited_writes", where)
    return [write_of(row) for row in rows]


def forget_runs(t: Transaction, owner: str, run_ids: Sequence[str], now: int) -> None:
    gone = set(run_ids)
    for (thread_id,) in t.all("threads_of_runs", {"owner": owner, "run_ids": _encode(list(run_ids))}):
        _undo(t, owner, thread_id, lambda checkpoint_id, run_id: run_id in gone, now)
    for run_id in run_ids:
        t.run("undo_writes", (run_id,))


def prune(t: Transaction, owner: str, thread_id: str, keep: Sequence[str], now: int) -> None:
    kept = set(keep)
    _undo(t, owner, thread_id, lambda checkpoint_id, run_id: checkpoint_id not in kept, now)


def _undo(t: Transaction, owner: str, thread_id: str, goes: Callable[[str, str | None], bool], now: int) -> None:
    """What stays is made whole where it is stored as the difference to what goes."""
    rows = t.all("checkpoints_in_sight", (owner, thread_id))
    gone = {row[0] for row in rows if goes(row[0], row[2])}
    head: str | None = None
    for checkpoint_id, parent_id, _, kind, namespace in rows:
        if checkpoint_id in gone:
            continue
        if kind == "delta" and parent_id in gone:
            body = render(fold(t.all("chain", (checkpoint_id,))))
            t.run("make_full", {"checkpoint_id": checkpoint_id, "body": body, "size": len(body)})
        if not namespace:
            head = checkpoint_id
    for checkpoint_id, _, _, _, namespace in rows:
        if checkpoint_id in gone:
            t.run("undo_checkpoint", (checkpoint_id,))
            t.run("undo_writes_on", (owner, thread_id, namespace, checkpoint_id))
    standing = t.one("thread_standing", (owner, thread_id))
    if gone and standing is not None:
        if standing[1] in gone:
            t.run("move_head", (head, 0, now, owner, thread_id))
        t.run("sweep_later", (owner, thread_id))
