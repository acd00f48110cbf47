"""The verbs of threads, each inside one transaction."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from runyard.checkpoints import Checkpoint
from runyard.errors import Conflict, checkpoint_not_found, thread_not_found
from runyard.events import entry, point_to
from runyard.storage.verbs.line import append_outside, end_pending, line_of, row_of, settle
from runyard.storage.verbs.rows import checkpoint_values, thread_of
from runyard.storage.verbs.transaction import Transaction
from runyard.threads import Thread, Ttl

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


async def visible_thread(t: Transaction, owner: str, thread_id: str) -> Thread:
    """A thread that thread routes may show.

    Raises:
        NotFound: absent, somebody else's, or the hidden thread of a stateless run.
    """
    row = await t.one("thread", (owner, thread_id))
    if row is None or row[9]:
        raise thread_not_found(thread_id)
    return thread_of(row)


async def create_thread(
    t: Transaction,
    owner: str,
    thread_id: str,
    metadata: bytes,
    now: int,
    if_exists: Literal["raise", "do_nothing"],
    ttl: Ttl | None,
) -> Thread:
    values = {"owner": owner, "thread_id": thread_id, "now": now, "metadata": metadata, "hidden": 0}
    if await t.one("insert_thread", values) is None and not await revive(t, values):
        existing = thread_of(await t.one("thread", (owner, thread_id)))
        if if_exists == "raise" or existing.hidden:
            raise Conflict(
                f"thread {thread_id} exists already; send if_exists=do_nothing to get it as it is",
                code="thread_exists",
                thread_id=thread_id,
            )
        return existing
    if ttl is not None:
        await _set_ttl(t, owner, thread_id, ttl, now)
    return thread_of(await t.one("thread", (owner, thread_id)))


async def _set_ttl(t: Transaction, owner: str, thread_id: str, ttl: Ttl | None, now: int) -> None:
    length, strategy = (None, None) if ttl is None else (ttl.length, ttl.strategy)
    where = {"owner": owner, "thread_id": thread_id}
    await t.run("set_ttl", {**where, "ttl": length, "strategy": strategy, "now": now})


async def revive(t: Transaction, values: dict[str, Any]) -> bool:
    """Makes a deleted thread anew, under its old id; whether there was one."""
    if await t.one("revive_thread", values) is None:
        return False
    await t.run("bury_checkpoints", (values["owner"], values["thread_id"]))
    await t.run("forget_pending", (values["owner"], values["thread_id"]))
    where = {"owner": values["owner"], "thread_id": values["thread_id"]}
    await t.run("release_sources", where)
    await t.run("forget_inherited", where)
    return True


async def patch_thread(
    t: Transaction,
    owner: str,
    thread_id: str,
    now: int,
    metadata: dict[str, Any] | None,
    checkpoint: Checkpoint | None,
    expected_head: str | None,
    ttl: Ttl | msgspec.UnsetType | None,
) -> Thread | None:
    thread = await visible_thread(t, owner, thread_id)
    if checkpoint is not None:
        busy = await line_of(t, owner, thread_id)
        if busy:
            raise Conflict(
                f"thread {thread_id} is busy with run {busy[0].run_id}: its state cannot be changed from outside now",
                code="thread_busy",
                thread_id=thread_id,
                run_id=busy[0].run_id,
            )
        if thread.head != expected_head:
            return None
        if checkpoint.parent_id is not None and await t.one("checkpoint", (checkpoint.parent_id, owner)) is None:
            # Its state was at hand, or read before it was swept: what builds on it could not be read any more.
            raise checkpoint_not_found(checkpoint.parent_id, thread_id)
        await t.run("insert_checkpoint", checkpoint_values(owner, checkpoint))
        asking = int(thread.asking and checkpoint.asked is not None and checkpoint.parent_id == thread.head)
        await t.run("move_head", (checkpoint.checkpoint_id, asking, now, owner, thread_id))
        await append_outside(t, owner, thread_id, None, now, [entry("values", point_to(checkpoint))])
        await settle(t, owner, thread_id, now)
    if metadata is not None:
        merged = {**_decode(thread.metadata), **metadata}
        await t.run("merge_thread_metadata", (_encode(merged), now, owner, thread_id))
    if ttl is not msgspec.UNSET:
        await _set_ttl(t, owner, thread_id, ttl, now)
    return await visible_thread(t, owner, thread_id)


async def copy_thread(
    t: Transaction, owner: str, thread_id: str, new_id: str, now: int, metadata: bytes | None
) -> Thread:
    await visible_thread(t, owner, thread_id)
    await t.run("copy_thread", {"owner": owner, "thread_id": thread_id, "new_id": new_id, "now": now})
    inherits = {"owner": owner, "thread_id": thread_id, "new_id": new_id}
    await t.run("copy_inherited", inherits)
    await t.run("copy_pending", inherits)
    if metadata is not None:
        await t.run("merge_thread_metadata", (metadata, now, owner, new_id))
    return await visible_thread(t, owner, new_id)


async def delete_thread(t: Transaction, owner: str, thread_id: str, now: int) -> tuple[str, ...]:
    await visible_thread(t, owner, thread_id)
    await t.run("delete_crons_of_thread", (owner, thread_id))
    return await bury(t, owner, thread_id, now)


async def bury(t: Transaction, owner: str, thread_id: str, now: int, *, keep: str | None = None) -> tuple[str, ...]:
    """Ends what is active, fences off what executes, and leaves a tombstone; `keep` names a finished run whose record
    outlives the thread. The ids of the runs whose code must stop."""
    executing: list[str] = []
    for row in await t.all("line", (owner, thread_id)):
        run_id, status = row[1], row[2]
        if status == "running":
            executing.append(run_id)
        await end_pending(t, await row_of(t, run_id), "cancelled", now, now)
    await t.run("bury_runs_of_thread", {"owner": owner, "thread_id": thread_id, "now": now, "keep": keep})
    await t.run("bury_thread", {"owner": owner, "thread_id": thread_id, "now": now, "keep": keep})
    return tuple(executing)
