"""Messages that are put into a run while it executes, each verb inside one transaction.

They are records of the run's invocation, as what the code takes of them is: both go where the invocation's records go.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from runyard import checkpoints
from runyard.checkpoints import Change, Checkpoint, State
from runyard.errors import Conflict, run_not_found
from runyard.events import Entry, entry, point_to
from runyard.runs import Attempt, Outcome, Run
from runyard.runtime.contract import Injected, Record
from runyard.storage.contract import Batch, Ending
from runyard.storage.verbs import line
from runyard.storage.verbs.rows import checkpoint_of, checkpoint_values, run_of
from runyard.storage.verbs.states import state_of
from runyard.storage.verbs.transaction import Reads, Transaction
from runyard.threads import upsert_messages

MOST_WAITING = 1000
"""Messages that a run may have and not have taken."""
_MESSAGES = "messages"


class _Taken(msgspec.Struct):
    taken: list[int] = []


class _Named(msgspec.Struct):
    id: str


_TAKEN = msgspec.json.Decoder(_Taken)
_NAMED = msgspec.json.Decoder(_Named)
_MESSAGE_LIST = msgspec.json.Decoder(list[dict[str, Any]])
_encode = msgspec.json.Encoder().encode


async def inject(t: Transaction, owner: str, run_id: str, messages: Sequence[bytes], now: int) -> None:
    row = await t.one("run", (run_id, owner))
    if row is None:
        raise run_not_found(run_id)
    run = run_of(row)
    taker = None if run.finished or run.cancel is not None else await active_run(t, owner, run.thread_id)
    if taker is None or taker.run_id != run_id:
        raise Conflict(
            f"run {run_id} takes no messages: it is {_standing(run)}", code="no_active_run", run_id=run_id,
            status=run.status,
        )  # fmt: skip
    known = {_NAMED.decode(message.body).id for message in await injected(t, run.invocation)}
    fresh: list[bytes] = []
    for message in messages:
        id = _NAMED.decode(message).id
        if id not in known:
            known.add(id)
            fresh.append(message)
    if not fresh:
        return
    waiting, last = await _waiting(t, run.invocation)
    if len(waiting) + len(fresh) > MOST_WAITING:
        raise Conflict(
            f"run {run_id} has {len(waiting)} messages that its agent has not taken; {MOST_WAITING} may wait",
            code="inbox_full", run_id=run_id,
        )  # fmt: skip
    if t.begun is not None:
        t.begun.pop(run_id, None)
    for number, message in enumerate(fresh, last + 1):
        await t.run("upsert_record", (run.invocation, "injected", "", number, 0, run_id, message))
    entries = [Entry("messages", msgspec.Raw(b"[" + message + b"]")) for message in fresh]
    await line.append_outside(t, owner, run.thread_id, run_id, now, entries)


async def active_run(t: Reads, owner: str, thread_id: str) -> Run | None:
    places = await line.line_of(t, owner, thread_id)
    begun = next((place for place in places if place.status == "running" or place.attempt > 0), None)
    chosen = begun or next((place for place in places if place.ready), None)
    return None if chosen is None else await line.row_of(t, chosen.run_id)


async def injected(t: Reads, invocation: str, after: int = 0) -> list[Injected]:
    return [Injected(*row) for row in await t.all("records_of_kind", (invocation, "injected")) if row[0] > after]


async def with_untaken(
    t: Transaction, attempt: Attempt, run: Run, batch: Batch, ending: Ending, now: int
) -> tuple[Batch, Ending]:
    """The last batch of an attempt, and its end, with the messages that its code has not taken."""
    waiting, _ = await _waiting(t, run.invocation, batch.records)
    if not waiting or not await _keeps(t, run, batch, ending.outcome):
        return batch, ending
    parent = batch.last_checkpoint or await _checkpoint(t, run.owner, run.last_checkpoint or run.base)
    state = ending.final
    if state is None:
        state = {} if parent is None else await state_of(t, parent.checkpoint_id)
    checkpoint, state = _joined(run, attempt.thread_id, parent, state, waiting, now)
    return (
        msgspec.structs.replace(
            batch,
            entries=[*batch.entries, entry("values", point_to(checkpoint))],
            states={**batch.states, len(batch.entries): state},
            checkpoints=[*batch.checkpoints, checkpoint],
        ),
        msgspec.structs.replace(ending, final=state),
    )


async def _keeps(t: Transaction, run: Run, batch: Batch, outcome: Outcome) -> bool:
    """Whether the end leaves the thread without a question, for which the messages would wait."""
    if outcome in ("asked", "rolled_back"):
        return False
    return batch.last_checkpoint is not None or not await line.asking_after(t, run, await _head(t, run), outcome)


async def leave_untaken(t: Transaction, run: Run, head: str | None, outcome: Outcome, now: int) -> list[Entry]:
    """The same for a run that ends without its executor: the thread's head moves on; what is told of that."""
    waiting, _ = await _waiting(t, run.invocation)
    if not waiting or await line.asking_after(t, run, head, outcome):
        return []
    parent = await _checkpoint(t, run.owner, head)
    state: State = {} if parent is None else await state_of(t, parent.checkpoint_id)
    checkpoint, _ = _joined(run, run.thread_id, parent, state, waiting, now)
    await t.run("insert_checkpoint", checkpoint_values(run.owner, checkpoint))
    await t.run("move_head", (checkpoint.checkpoint_id, 0, now, run.owner, run.thread_id))
    return [entry("values", point_to(checkpoint))]


async def _waiting(t: Transaction, invocation: str, records: Sequence[Record] = ()) -> tuple[list[bytes], int]:
    """What has been put into an invocation and not been taken, neither by what is stored nor by these records; and the
    last number of all."""
    messages = await injected(t, invocation)
    if not messages:
        return [], 0
    bodies = [body for _, body in await t.all("records_of_kind", (invocation, "take"))]
    bodies += [record.body for record in records if record.kind == "take"]
    taken = {number for body in bodies for number in _TAKEN.decode(body).taken}
    return [message.body for message in messages if message.number not in taken], messages[-1].number


def _joined(
    run: Run, thread_id: str, parent: Checkpoint | None, state: State, messages: Sequence[bytes], now: int
) -> tuple[Checkpoint, State]:
    change = _change(state.get(_MESSAGES), messages)
    changes = {_MESSAGES: change}
    state = checkpoints.apply(state, changes)
    checkpoint = checkpoints.plan(
        # One for each run at most, and the verbs that end runs for others are given no ids.
        checkpoint_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{run.run_id}:untaken")),
        thread_id=thread_id, parent=parent, changes=changes, state=state, run_id=run.run_id, created_at=now,
        source="input",
    )  # fmt: skip
    return checkpoint, state


def _change(text: bytes | None, messages: Sequence[bytes]) -> Change:
    """Messages go behind those that are there, or in place of those with their ids. What is no list of messages is as
    none."""
    try:
        current = [] if text is None else _MESSAGE_LIST.decode(text)
    except msgspec.ValidationError:
        return checkpoints.set_to(_array(messages))
    ids = {message.get("id") for message in current}
    if text is not None and not any(_NAMED.decode(message).id in ids for message in messages):
        return checkpoints.append(len(current), _array(messages))
    return checkpoints.set_to(_encode(upsert_messages(current, [msgspec.json.decode(one) for one in messages])))


def _array(messages: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(messages) + b"]"


async def _head(t: Transaction, run: Run) -> str | None:
    row = await t.one("thread_standing", (run.owner, run.thread_id))
    return None if row is None else row[1]


async def _checkpoint(t: Transaction, owner: str, checkpoint_id: str | None) -> Checkpoint | None:
    row = None if checkpoint_id is None else await t.one("checkpoint", (checkpoint_id, owner))
    return None if row is None else checkpoint_of(row)


def _standing(run: Run) -> str:
    if run.finished:
        return "over"
    return "waiting in line" if run.cancel is None else "being cancelled"
