"""What several verbs share inside a transaction: appending to a thread's log, moving its line on, ending a run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runyard import threads
from runyard.checkpoints import State
from runyard.errors import LeaseLost
from runyard.events import Chunk, Entry, Lifecycle, Over, close_nested, decode, encode, entry, note_nested, pointer
from runyard.runs import Attempt, Failure, Outcome, Run, lifecycle_of, status_of
from runyard.storage.verbs.outbox import announce
from runyard.storage.verbs.rows import failure_value, run_of
from runyard.storage.verbs.transaction import Reads, Transaction


def append(
    t: Transaction,
    owner: str,
    thread_id: str,
    run_id: str | None,
    now: int,
    entries: Sequence[Entry],
    last_seq: int,
    *,
    states: dict[int, State] | None = None,
    final: State | None = None,
    over: Over | None = None,
) -> int:
    """Writes a chunk whose numbers end at `last_seq`, and keeps it to be told after the commit."""
    first = last_seq - len(entries) + 1
    t.later("insert_events", (owner, thread_id, last_seq, first, run_id, now, encode(entries)), thread_id)
    t.chunks.append(Chunk(owner, thread_id, run_id, first, now, list(entries), states or {}, final, None, over))
    return last_seq


async def append_outside(
    t: Transaction,
    owner: str,
    thread_id: str,
    run_id: str | None,
    now: int,
    entries: Sequence[Entry],
    *,
    over: Over | None = None,
) -> int:
    """Appends from outside an attempt: the same counter, no lease."""
    last = (await t.one("take_numbers", (len(entries), owner, thread_id)))[0]
    return append(t, owner, thread_id, run_id, now, entries, last, over=over)


async def fenced_numbers(t: Transaction, attempt: Attempt, count: int) -> int:
    """Numbers for `count` events of an attempt; the last of them.

    Raises:
        LeaseLost: the thread's lease is another's by now.
    """
    numbers = (count, attempt.owner, attempt.thread_id, attempt.lease)
    row = await t.look("take_numbers_fenced", numbers, attempt.thread_id)
    if row is None:
        raise LeaseLost(f"attempt {attempt.number} of run {attempt.run_id} has lost its lease")
    return row[0]


def running_entry(run_id: str, agent_id: str, attempt: int, resumed_from: str | None, *, again: bool = False) -> Entry:
    """The event that begins an attempt; `again` says that the run has begun before."""
    event = Lifecycle(
        event="running", run_id=run_id, agent_id=agent_id, attempt=attempt, resumed_from=resumed_from, again=again
    )
    return entry("lifecycle", event)


def terminal_entries(run_id: str, outcome: Outcome, failure: Failure | None, reason: str | None = None) -> list[Entry]:
    """The events that end a run."""
    entries = [] if failure is None else [entry("error", failure)]
    event = Lifecycle(
        event=lifecycle_of(outcome), run_id=run_id, status=status_of(outcome), outcome=outcome, reason=reason,
        error=None if failure is None else failure.message,
    )  # fmt: skip
    return [*entries, entry("lifecycle", event)]


async def closing_entries(t: Transaction, run: Run, entries: Sequence[Entry] = ()) -> list[Entry]:
    """The events that end what a run's log, and `entries` behind it, leave open below the run: for an end, or an end of
    an attempt, of which the executor does not know that."""
    if run.started_at is None:
        return []
    opened: dict[str, None] = {}
    for (body,) in await t.all("nested_of_run", (run.owner, run.thread_id, run.first_seq, run.run_id)):
        note_nested(opened, decode(body))
    note_nested(opened, entries)
    return close_nested(opened)


class Place(msgspec.Struct, frozen=True):
    """One run in a thread's line."""

    number: int
    run_id: str
    status: str
    ready: int
    resumes: int
    due_at: int | None
    attempt: int
    cancel: str | None

    @property
    def in_line(self) -> bool:
        """A delayed run that never began holds no place; one that waits to be tried again does."""
        return self.due_at is None or self.attempt > 0


async def line_of(t: Reads, owner: str, thread_id: str) -> list[Place]:
    """The runs of a thread that execute or wait in line, in order."""
    return [p for row in await t.all("line", (owner, thread_id)) if (p := Place(*row)).in_line]


async def settle(t: Transaction, owner: str, thread_id: str, now: int) -> None:
    """After any transition: makes the next run of the thread ready, if one may go, and derives the thread's status.

    While a question is open only a resume goes on.
    """
    row = await t.one("thread_standing", (owner, thread_id))
    if row is None:
        return
    _, _, asking, last_outcome, *_ = row
    line = await line_of(t, owner, thread_id)
    chosen: Place | None = None
    if not any(place.status == "running" for place in line):
        chosen = next((p for p in line if p.resumes or not asking), None)
    for place in line:
        if place.ready and place is not chosen:
            await t.run("not_ready", (place.number,))
    if chosen is not None and not chosen.ready and chosen.due_at is None:
        await t.run("make_ready", (chosen.number,))
        t.ready = True
    status = threads.status_of(active=bool(line), asking=bool(asking), last=last_outcome)
    await t.run("set_thread_status", (status, now, owner, thread_id, status))


async def end_pending(
    t: Transaction, run: Run, outcome: Outcome, now: int, expires_at: int | None, left: Sequence[Entry] = ()
) -> None:
    """Ends a run that does not execute, as cancelled or rolled back. `left` tells what it leaves to the thread."""
    entries = [*await closing_entries(t, run), *left, *terminal_entries(run.run_id, outcome, None)]
    over = Over(run.agent_id, outcome, run.attempt)
    last = await append_outside(t, run.owner, run.thread_id, run.run_id, now, entries, over=over)
    await end(t, run, outcome, None, last, now, expires_at, last_checkpoint=checkpoint_in(left))


def checkpoint_in(left: Sequence[Entry]) -> str | None:
    """The checkpoint that the last of these entries points to, if there is any."""
    return pointer(left[-1].data).checkpoint_id if left else None


async def end(
    t: Transaction,
    run: Run,
    outcome: Outcome,
    failure: Failure | None,
    last_seq: int,
    now: int,
    expires_at: int | None,
    *,
    last_checkpoint: str | None = None,
    final: State | None = None,
    bury: bool = False,
) -> None:
    """The guarded write of a run's end, and of what its webhook is told. `final` is its last state, where the caller
    has it at hand."""
    ended = await t.one(
        "end_run",
        {
            "run_id": run.run_id,
            "status": status_of(outcome),
            "outcome": outcome,
            "failure": failure_value(failure),
            "last_seq": last_seq,
            "now": now,
            "expires_at": expires_at,
            "deleted_at": now if bury else None,
            "last_checkpoint": last_checkpoint,
        },
    )
    if ended is None:
        raise LeaseLost(f"run {run.run_id} has ended already")
    if run.has_webhook:
        await announce(t, await row_of(t, run.run_id), final)


async def asks(t: Transaction, checkpoint_id: str | None) -> int:
    """Whether a checkpoint has open questions, as stored on the thread."""
    if checkpoint_id is None:
        return 0
    row = await t.one("asked_of", (checkpoint_id,))
    return int(row is not None and row[0] is not None)


async def asking_after(t: Transaction, run: Run, head: str | None, outcome: Outcome | None) -> int:
    """Whether the head's question is open after an attempt that left no checkpoint: a resume that did not succeed (or
    goes back in line, without an outcome) has not answered it; a plain run has given it up."""
    if outcome == "completed" or head is None or not run.asked_for().resumes:
        return 0
    return await asks(t, head)


async def standing_head(t: Transaction, owner: str, thread_id: str, wanted: str | None) -> str | None:
    """The state to which a thread goes back: the one that is wanted, where it is still there, else the newest that
    is."""
    row = None if wanted is None else await t.one("head_row", (wanted,))
    if wanted is None or (row is not None and not (row[0] == thread_id and row[1])):
        return wanted
    newest = await t.one("newest_own", (owner, thread_id)) or await t.one("origin", (owner, thread_id))
    return None if newest is None else newest[0]


async def undo_writes(t: Transaction, undone: dict[str, str]) -> None:
    """Takes back what a run gave on top of states; what it had settled or replaced counts again, but where somebody has
    given or settled something else since."""
    for namespace, on_id, task_id, idx in await t.all("laid_aside", undone):
        key = {**undone, "namespace": namespace, "on_id": on_id, "task_id": task_id, "idx": idx}
        giver, laid_by = await t.one("given_after", key) or (undone["run_id"], "")
        # Nobody rolls back what comes from outside, and so nobody could bring back what it has replaced.
        heir = laid_by if giver == undone["run_id"] else giver or None
        if heir is None:
            await t.run("forget_aside", key)
        else:
            await t.run("hand_on", {**key, "heir": heir})
    await t.run("undo_pending", undone)


async def roll_back(t: Transaction, run: Run, now: int, expires_at: int | None, reason: str = "rollback") -> None:
    """Undoes a run (DESIGN, law 6): terminal event, head back, the run tombstoned. Store writes stay."""
    if run.started_at is not None:
        undone = {"owner": run.owner, "thread_id": run.thread_id, "run_id": run.run_id}
        await t.run("undo_checkpoints", undone)
        await undo_writes(t, undone)
        await t.run("forget_pending_of_undone", {"owner": run.owner, "thread_id": run.thread_id, "names": "[]"})
        head = await standing_head(t, run.owner, run.thread_id, run.prior_head)
        await t.run("end_attempt", (head, await asks(t, head), "cancelled", now, run.owner, run.thread_id))
        await t.run("forget_records", (run.run_id,))
    if run.finished:
        await t.run(
            "bury_run",
            {"run_id": run.run_id, "now": now, "outcome": "rolled_back", "expires_at": expires_at},
        )
        return
    last = await append_outside(
        t,
        run.owner,
        run.thread_id,
        run.run_id,
        now,
        [*await closing_entries(t, run), *terminal_entries(run.run_id, "rolled_back", None, reason)],
        over=Over(run.agent_id, "rolled_back", run.attempt),
    )
    await end(t, run, "rolled_back", None, last, now, expires_at, bury=True)


async def row_of(t: Reads, run_id: str) -> Run:
    """A run that is known to exist, tombstoned or not."""
    return run_of(await t.one("run_row", (run_id,)))


async def run_of_attempt(t: Reads, attempt: Attempt) -> Run:
    """An attempt's run, tombstoned or not.

    Raises:
        LeaseLost: its thread was deleted, and what was on it is swept away.
    """
    row = await t.one("run_row", (attempt.run_id,))
    if row is None:
        raise LeaseLost(f"run {attempt.run_id} is gone, and attempt {attempt.number} of it has lost its lease")
    return run_of(row)
