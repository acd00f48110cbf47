"""What is done to the states of graphs from outside any attempt, each verb inside one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runyard.checkpoints import Checkpoint, PendingWrite, name_of, render
from runyard.errors import Conflict, checkpoint_not_found
from runyard.events import Entry
from runyard.storage.verbs.line import append_outside, asks, settle, standing_head, undo_writes
from runyard.storage.verbs.rows import checkpoint_values, pending_values
from runyard.storage.verbs.states import state_of
from runyard.storage.verbs.threads import revive, visible_thread
from runyard.storage.verbs.transaction import Transaction
from runyard.threads import Thread

_encode = msgspec.json.Encoder().encode


async def put_checkpoint(t: Transaction, owner: str, checkpoint: Checkpoint, now: int) -> None:
    thread_id = checkpoint.thread_id
    await _make_thread(t, owner, thread_id, now)
    await _refuse_while_busy(t, owner, thread_id)
    await _put(t, owner, checkpoint)
    if not checkpoint.namespace:
        await _make_head(t, owner, checkpoint, now)


async def revise_thread(
    t: Transaction,
    owner: str,
    thread_id: str,
    checkpoints: Sequence[Checkpoint],
    writes: Sequence[PendingWrite],
    entries: Sequence[Entry],
    expected_head: str | None,
    now: int,
) -> Thread | None:
    thread = await visible_thread(t, owner, thread_id)
    await _refuse_while_busy(t, owner, thread_id)
    if thread.head != expected_head:
        return None
    for checkpoint in checkpoints:
        await _put(t, owner, checkpoint)
    _give(t, owner, thread_id, writes)
    own = [checkpoint for checkpoint in checkpoints if not checkpoint.namespace]
    if entries:
        await append_outside(t, owner, thread_id, None, now, entries)
    if own:
        await _make_head(t, owner, own[-1], now)
    return await visible_thread(t, owner, thread_id)


async def put_writes(t: Transaction, owner: str, thread_id: str, writes: Sequence[PendingWrite], now: int) -> None:
    await _make_thread(t, owner, thread_id, now)
    _give(t, owner, thread_id, writes)


async def _put(t: Transaction, owner: str, checkpoint: Checkpoint) -> None:
    if await t.one("place_of_checkpoint", (checkpoint.checkpoint_id, owner)) is not None:
        raise Conflict(
            f"checkpoint {checkpoint.checkpoint_id} exists already, and states do not change",
            code="checkpoint_exists",
            checkpoint_id=checkpoint.checkpoint_id,
        )
    if checkpoint.parent_id is not None and await t.one("place_of_checkpoint", (checkpoint.parent_id, owner)) is None:
        raise checkpoint_not_found(checkpoint.parent_id, checkpoint.thread_id)
    await t.run("put_checkpoint", checkpoint_values(owner, checkpoint))


async def _make_head(t: Transaction, owner: str, checkpoint: Checkpoint, now: int) -> None:
    asking = int(checkpoint.asked is not None)
    await t.run("move_head", (checkpoint.checkpoint_id, asking, now, owner, checkpoint.thread_id))
    await settle(t, owner, checkpoint.thread_id, now)


def _give(t: Transaction, owner: str, thread_id: str, writes: Sequence[PendingWrite]) -> None:
    for write in writes:
        t.later("give", pending_values(owner, thread_id, write, write.run_id, write.value), thread_id)


async def forget_runs(t: Transaction, owner: str, run_ids: Sequence[str], now: int) -> set[str]:
    """The threads on which something was undone."""
    places = {
        (row[0], run_id) for run_id in run_ids for row in await t.all("threads_of_run", {"owner": owner, "id": run_id})
    }
    threads = {thread_id for thread_id, _ in places}
    for thread_id in threads:
        await _refuse_while_busy(t, owner, thread_id)
    for thread_id, run_id in places:
        where = {"owner": owner, "thread_id": thread_id, "run_id": run_id}
        await t.run("forget_run_checkpoints", {**where, "spared": await _spared(t, owner, thread_id)})
        await undo_writes(t, where)
    for thread_id in threads:
        await tidy(t, owner, thread_id, now)
    return threads


async def prune(t: Transaction, owner: str, thread_id: str, keep: Sequence[str] | None, now: int) -> set[str]:
    """The thread, where there is one with anything to undo."""
    if await t.one("thread_standing", (owner, thread_id)) is None:
        return set()
    await _refuse_while_busy(t, owner, thread_id)
    if keep is None:
        # Looked up here: a run that ends since somebody else has looked would lose its state.
        keep = await lasting_states(t, owner, thread_id)
        if not keep:
            return set()
    spared = await _spared(t, owner, thread_id) if keep else None
    kept = [*keep] if spared is None else [*keep, spared]
    where = {"owner": owner, "thread_id": thread_id, "keep": encode_names(kept)}
    await t.run("prune_checkpoints", where)
    await t.run("prune_inherited", where)
    await tidy(t, owner, thread_id, now)
    return {thread_id}


async def lasting_states(t: Transaction, owner: str, thread_id: str) -> list[str]:
    """The states from which later runs go on, where no question is open; those that it has of its original, too."""
    rows = await t.all("lasting_states", {"owner": owner, "thread_id": thread_id})
    # Of a subgraph's states the later has the greater id, whichever thread it was made on.
    return [*dict(sorted(rows)).values()]


def encode_names(names: Sequence[str]) -> str:
    """Names of states, as statements take many."""
    return _encode(names).decode()


async def tidy(t: Transaction, owner: str, thread_id: str, now: int) -> None:
    """After states were undone: those that are left are stored without them, their writes go, the head moves back, and
    the thread is swept some time."""
    where = {"owner": owner, "thread_id": thread_id}
    names: list[str] = []
    for checkpoint_id, kind in await t.all("built_on_undone", where):
        state = await state_of(t, checkpoint_id)
        names.append(name_of(state) or checkpoint_id)
        if kind == "delta":
            body = render(state)
            await t.run("store_whole", {"checkpoint_id": checkpoint_id, "body": body, "size": len(body)})
    await t.run("forget_pending_of_undone", {**where, "names": encode_names(names)})
    await t.run("set_unswept", where)
    standing = await t.one("thread_standing", (owner, thread_id))
    if standing is None:
        return
    head = await standing_head(t, owner, thread_id, standing[1])
    if head != standing[1]:
        await t.run("move_head", (head, await asks(t, head), now, owner, thread_id))
        await settle(t, owner, thread_id, now)


async def _spared(t: Transaction, owner: str, thread_id: str) -> str | None:
    """The state from which the code is entered again when the thread's open question is answered."""
    row = await t.one("base_of_question", (owner, thread_id))
    return None if row is None else row[0]


async def _make_thread(t: Transaction, owner: str, thread_id: str, now: int) -> None:
    values = {"owner": owner, "thread_id": thread_id, "now": now, "metadata": b"{}", "hidden": 0}
    if await t.one("thread_standing", (owner, thread_id)) is None and await t.one("insert_thread", values) is None:
        await revive(t, values)


async def _refuse_while_busy(t: Transaction, owner: str, thread_id: str) -> None:
    for row in await t.all("line", (owner, thread_id)):
        raise Conflict(
            f"thread {thread_id} is busy with run {row[1]}: its states cannot be changed from outside now",
            code="thread_busy",
            thread_id=thread_id,
            run_id=row[1],
        )
