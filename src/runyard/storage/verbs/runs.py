"""The verbs of a run's life, each inside one transaction. The rules are those of DESIGN 4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from runyard import threads
from runyard.agents import contains
from runyard.checkpoints import Asked, Checkpoint
from runyard.errors import (
    CancelRequested,
    Conflict,
    IdempotencyMismatch,
    LeaseLost,
    checkpoint_not_found,
    run_not_found,
    thread_not_found,
)
from runyard.events import Chunk, Entry, Over, encode
from runyard.runs import Attempt, CancelAction, Failure, NewRun, Run, Strategy, status_of
from runyard.storage.contract import Batch, Cancelled, Claim, Created, Ending, Recovered, Requeue
from runyard.storage.verbs import injected as injected_verbs
from runyard.storage.verbs import line
from runyard.storage.verbs.crons import firing_cron, move_on
from runyard.storage.verbs.line import (
    Place,
    append,
    end,
    end_pending,
    fenced_numbers,
    line_of,
    roll_back,
    row_of,
    settle,
)
from runyard.storage.verbs.outbox import announce
from runyard.storage.verbs.rows import (
    AGENT_COLUMN,
    LINE_COLUMN,
    RUN_COLUMNS,
    checkpoint_of,
    checkpoint_values,
    failure_value,
    keep_run,
    kept_run,
    pending_values,
    run_of,
    thread_of,
)
from runyard.storage.verbs.threads import bury, revive
from runyard.storage.verbs.transaction import Reads, Standing, Transaction
from runyard.threads import Thread


async def create_run(t: Transaction, new: NewRun) -> Created:
    if new.idempotency is not None:
        repeated = await known_run(t, new.owner, new.idempotency)
        if repeated is not None:
            return Created(repeated, repeated=True)
    cron = None if new.firing is None else await firing_cron(t, new.firing)
    created = await _create_on_new_thread(t, new) if new.stateless else await _create_on_thread(t, new)
    if new.trace is not None:
        t.later("insert_trace", (new.run_id, new.trace), new.thread_id)
    if new.idempotency is not None:
        route, key, digest = new.idempotency
        run = created.run
        values = (new.owner, route, key, digest, keep_run(run), run.run_id, new.created_at)
        t.later("insert_key", values, _key(new.owner, route, key))
    if cron is not None:
        await move_on(t, cron, new.created_at)
    return created


def _key(owner: str, route: str, key: str) -> str:
    return f"{owner}\0{route}\0{key}"


async def known_run(t: Reads, owner: str, idempotency: tuple[str, str, str]) -> Run | None:
    """The run that the key made before, as it is now, or as it was created where it is gone."""
    route, key, digest = idempotency
    row = await t.look("known_key", (owner, route, key), _key(owner, route, key))
    if row is None:
        return None
    if row[0] != digest:
        raise IdempotencyMismatch(
            f"Idempotency-Key {key!r} was used with another body on {route}; use a new key, or send the same body",
            field="Idempotency-Key",
            run_id=row[2],
        )
    current = await t.one("run_row", (row[2],))
    return run_of(current) if current is not None else kept_run(row[1])


def _input_entry(new: NewRun) -> Entry:
    return Entry("input", msgspec.Raw(new.input_event))


async def _create_on_new_thread(t: Transaction, new: NewRun) -> Created:
    """The hot path: nothing else can be in line on a thread that nobody knows."""
    now, thread_id, due_at = new.created_at, new.thread_id, new.due_at
    claimed = new.claim and due_at is None and await _has_room(t, new)
    ready = not claimed and due_at is None
    status = "running" if claimed else "pending"
    entries = [_input_entry(new)]
    if claimed:
        entries.append(line.running_entry(new.run_id, new.agent_id, 1, None))
    t.later(
        "begin_alone",
        (
            new.owner, thread_id, new.run_id, new.agent_id, now, new.metadata, new.request, new.max_attempts,
            int(new.stateless), new.strategy, new.concurrency, status, int(claimed), int(ready), due_at,
            now if claimed else None, "busy" if due_at is None else "idle", len(entries), encode(entries),
            new.thread_metadata,
        ),
        thread_id,
    )  # fmt: skip
    t.chunks.append(Chunk(new.owner, thread_id, new.run_id, 1, now, entries))
    t.ready = ready
    run = Run(
        run_id=new.run_id, thread_id=thread_id, owner=new.owner, agent_id=new.agent_id, status=status,
        created_at=now, updated_at=now, metadata=new.metadata, request=new.request, attempt=int(claimed),
        max_attempts=new.max_attempts, invocation=new.run_id, stateless=new.stateless,
        line=now if due_at is None else due_at, due_at=due_at, started_at=now if claimed else None,
    )  # fmt: skip
    if not claimed:
        return Created(run)
    attempt = Attempt(new.run_id, new.owner, thread_id, 1, 1)
    _remember(t, run, attempt, len(entries), None)
    return Created(run, Claim(run, attempt, 0))


def may_begin_next(new: NewRun) -> bool:
    """Whether a run executes at once where its thread is there and nothing is in line on it."""
    return (
        new.claim
        and not new.stateless
        and not new.resumes
        and new.base is None
        and new.due_at is None
        and new.concurrency is None
        and new.within is None
    )


async def _create_on_thread(t: Transaction, new: NewRun) -> Created:
    if may_begin_next(new):
        row = await t.look("thread_alone", (new.owner, new.thread_id), new.thread_id)
        if row is not None:
            return _begin_on_thread(t, new, *row)
    row = await t.one("thread", (new.owner, new.thread_id))
    if row is None and new.create_thread:
        values = {
            "owner": new.owner, "thread_id": new.thread_id, "now": new.created_at, "metadata": new.thread_metadata,
            "hidden": 0,
        }  # fmt: skip
        if await t.one("insert_thread", values) is None:
            await revive(t, values)
        row = await t.one("thread", (new.owner, new.thread_id))
    if row is None or row[9] or (new.within is not None and not contains(msgspec.json.decode(row[4]), new.within)):
        raise thread_not_found(new.thread_id)
    if new.base is not None and not await _belongs(t, new.owner, new.thread_id, new.base):
        raise checkpoint_not_found(new.base, new.thread_id)
    head, last_seq = row[6], row[7]
    waiting = await line_of(t, new.owner, new.thread_id)
    asked = await _asked(t, new, thread_of(row)) if new.resumes else None
    if new.resumes and asked is None:
        raise Conflict(
            f"thread {new.thread_id} has no open question that command.resume could answer",
            code="not_interrupted",
            thread_id=new.thread_id,
        )
    ended, stopping = await _make_way(t, new, waiting, resume_goes_first=new.resumes)
    free = not any(p.status == "running" for p in waiting) and (new.resumes or all(p.run_id in ended for p in waiting))
    claimed = new.claim and free and new.due_at is None and await _has_room(t, new)
    run = await _insert(t, new, claimed=claimed, first_seq=last_seq, head=head, asked=asked)
    now = new.created_at
    if not claimed:
        await line.append_outside(t, new.owner, new.thread_id, new.run_id, now, [_input_entry(new)])
        await settle(t, new.owner, new.thread_id, now)
        return Created(run, ended=tuple(ended), stopping=stopping)
    entries = [_input_entry(new), line.running_entry(new.run_id, new.agent_id, 1, run.base)]
    lease, last, _ = await t.one("claim_thread", (len(entries), now, new.owner, new.thread_id))
    append(t, new.owner, new.thread_id, new.run_id, now, entries, last)
    attempt = Attempt(new.run_id, new.owner, new.thread_id, lease, 1)
    return Created(run, Claim(run, attempt, 0), ended=tuple(ended), stopping=stopping)


def _begin_on_thread(t: Transaction, new: NewRun, head: str | None, last_seq: int, lease: int) -> Created:
    """The hot path of a thread that nothing is in line on: the run executes at once."""
    run = _new_run(new, claimed=True, first_seq=last_seq, head=head)
    attempt = Attempt(new.run_id, new.owner, new.thread_id, lease + 1, 1)
    entries = [_input_entry(new), line.running_entry(new.run_id, new.agent_id, 1, run.base)]
    t.later(
        "begin_next",
        (
            new.owner, new.thread_id, new.run_id, new.agent_id, new.created_at, new.metadata, new.request,
            new.max_attempts, head, last_seq, attempt.lease, new.strategy, last_seq + len(entries), encode(entries),
        ),
        new.thread_id,
    )  # fmt: skip
    t.chunks.append(Chunk(new.owner, new.thread_id, new.run_id, last_seq + 1, new.created_at, entries))
    return Created(run, Claim(run, attempt, 0))


async def _belongs(t: Transaction, owner: str, thread_id: str, checkpoint_id: str) -> bool:
    return bool((await t.one("belongs", {"owner": owner, "thread_id": thread_id, "checkpoint_id": checkpoint_id}))[0])


async def _make_way(
    t: Transaction, new: NewRun, waiting: Sequence[Place], *, resume_goes_first: bool
) -> tuple[list[str], str | None]:
    """What the strategy does to the runs that are in line before the new one."""
    if not waiting or new.due_at is not None:
        return [], None
    if new.strategy == "enqueue":
        return [], None
    if new.strategy == "reject":
        if resume_goes_first and not any(p.status == "running" or p.resumes for p in waiting):
            return [], None
        first = waiting[0].run_id
        raise Conflict(
            f"thread {new.thread_id} is busy with run {first}; wait for it, cancel it, or send multitask_strategy "
            "enqueue, interrupt or rollback",
            code="thread_busy",
            thread_id=new.thread_id,
            run_id=first,
        )
    return await _clear_line(t, waiting, new.strategy, new.created_at)


async def _clear_line(
    t: Transaction, waiting: Sequence[Place], strategy: Strategy, now: int
) -> tuple[list[str], str | None]:
    """`interrupt` and `rollback` act on the executing and all due queued runs."""
    ended: list[str] = []
    stopping: str | None = None
    action: CancelAction = "rollback" if strategy == "rollback" else "interrupt"
    for place in reversed(waiting):
        if place.status == "running":
            if place.cancel != "rollback":
                await _request_cancel(t, place.run_id, action, now)
            stopping = place.run_id
        else:
            await _end_waiting(t, await row_of(t, place.run_id), action, now, None)
            ended.append(place.run_id)
    return ended, stopping


async def _request_cancel(t: Transaction, run_id: str, action: CancelAction, now: int) -> None:
    if t.begun is not None:
        t.begun.pop(run_id, None)
    await t.run("request_cancel", (action, now, run_id))


async def _end_waiting(t: Transaction, run: Run, action: CancelAction, now: int, expires_at: int | None) -> None:
    if action == "rollback":
        await roll_back(t, run, now, expires_at if expires_at is not None else now)
    else:
        standing = await t.one("thread_standing", (run.owner, run.thread_id))
        left = await injected_verbs.leave_untaken(t, run, standing[1], "cancelled", now)
        await end_pending(t, run, "cancelled", now, expires_at if run.stateless else None, left)


async def _has_room(t: Transaction, new: NewRun) -> bool:
    return new.concurrency is None or (await t.one("running_of_agent", (new.agent_id,)))[0] < new.concurrency


async def _asked(t: Transaction, new: NewRun, thread: Thread) -> Asked | None:
    """The open question that a resume answers: the head's, or that of the checkpoint it goes back to."""
    if new.base is None and not thread.asking:
        return None
    row = await t.one("checkpoint", (new.base or thread.head, new.owner))
    return None if row is None else checkpoint_of(row).asked


async def _insert(
    t: Transaction,
    new: NewRun,
    *,
    claimed: bool,
    first_seq: int,
    head: str | None,
    asked: Asked | None = None,
) -> Run:
    run = _new_run(new, claimed=claimed, first_seq=first_seq, head=head, asked=asked)
    await t.run(
        "insert_run",
        (
            run.run_id, run.thread_id, run.owner, run.agent_id, run.status, run.created_at, run.updated_at,
            run.metadata, run.request, run.attempt, run.max_attempts, run.invocation, run.base, run.prior_head,
            run.first_seq, int(run.stateless), run.line, run.due_at, run.started_at, int(new.resumes), new.strategy, 0,
            new.concurrency,
        ),
    )  # fmt: skip
    return run


def _new_run(new: NewRun, *, claimed: bool, first_seq: int, head: str | None, asked: Asked | None = None) -> Run:
    now = new.created_at
    return Run(
        run_id=new.run_id, thread_id=new.thread_id, owner=new.owner, agent_id=new.agent_id,
        status="running" if claimed else "pending", created_at=now, updated_at=now, metadata=new.metadata,
        request=new.request, attempt=int(claimed), max_attempts=new.max_attempts,
        invocation=new.run_id if asked is None else asked.invocation, base=new.base or (head if claimed else None),
        prior_head=head if claimed else None, first_seq=first_seq, stateless=new.stateless,
        line=now if new.due_at is None else new.due_at, due_at=new.due_at, started_at=now if claimed else None,
    )  # fmt: skip


async def claim(t: Transaction, agents: dict[str, int | None], limit: int, now: int) -> list[Claim]:
    await join_due(t, now)
    found = await _claim_suspect(t, agents, now)
    ready: list[Any] = []
    for agent_id, concurrency in agents.items():
        room = limit - len(found)
        if concurrency is not None:
            room = min(room, concurrency - (await t.one("running_of_agent", (agent_id,)))[0])
        if room > 0:
            ready += await t.all("ready", (agent_id, room))
    # No agent comes before another: whose run has waited longest begins.
    ready.sort(key=_place)
    return found + [_claim(t, row, agents[row[AGENT_COLUMN]], now) for row in ready[: limit - len(found)]]


def _place(row: Any) -> tuple[int, int]:
    """Where a run that was found ready stands in line: since when, and its number."""
    return row[LINE_COLUMN], row[RUN_COLUMNS]


async def _claim_suspect(t: Transaction, agents: dict[str, int | None], now: int) -> list[Claim]:
    for row in await t.all("ready_apart"):
        agent_id = run_of(row[:RUN_COLUMNS]).agent_id
        if agent_id not in agents or await t.one("on_probation") is not None:
            continue
        concurrency = agents[agent_id]
        if concurrency is None or (await t.one("running_of_agent", (agent_id,)))[0] < concurrency:
            return [_claim(t, row, concurrency, now, apart=True)]
    return []


def _claim(t: Transaction, row: Any, concurrency: int | None, now: int, *, apart: bool = False) -> Claim:
    """An attempt of a run that was found ready, or ready apart. The first one fixes what the run builds on."""
    waiting = run_of(row[:RUN_COLUMNS])
    number, lease, last_seq, head, ready_at = row[RUN_COLUMNS:]
    run = msgspec.structs.replace(waiting, status="running", attempt=waiting.attempt + 1, updated_at=now)
    if waiting.started_at is None:
        run = msgspec.structs.replace(run, base=waiting.base or head, prior_head=head, started_at=now)
    began = line.running_entry(
        run.run_id, run.agent_id, run.attempt, run.last_checkpoint or run.base, again=waiting.started_at is not None
    )
    attempt = Attempt(run.run_id, run.owner, run.thread_id, lease + 1, run.attempt)
    last_seq += 1
    t.later(
        "begin_waiting",
        (
            run.owner, run.thread_id, run.run_id, number, now, attempt.lease, last_seq, run.attempt, concurrency,
            run.base, run.prior_head, run.started_at, encode([began]),
        ),
        run.thread_id,
    )  # fmt: skip
    t.chunks.append(Chunk(run.owner, run.thread_id, run.run_id, last_seq, now, [began]))
    _remember(t, run, attempt, last_seq, head)
    # An attempt that a drain gave back has the same number again, and is no longer waited for.
    waited = None if apart or waiting.started_at is not None else now - ready_at
    return Claim(run, attempt, waited, apart)


def _remember(t: Transaction, run: Run, attempt: Attempt, last_seq: int, head: str | None) -> None:
    if t.begun is not None and run.stateless and run.cancel is None:
        t.begun.remember(Standing(run, attempt.lease, last_seq, head))


async def claim_of(t: Transaction, run_id: str) -> Claim | None:
    """On the writer, so that it comes after whatever was queued before."""
    row = await t.one("run_row", (run_id,))
    run = None if row is None else run_of(row)
    if run is None or run.status != "running":
        return None
    lease = (await t.one("thread_standing", (run.owner, run.thread_id)))[5]
    return Claim(run, Attempt(run_id, run.owner, run.thread_id, lease, run.attempt))


async def acquit(t: Transaction, run_id: str) -> None:
    await t.run("acquit", (run_id,))
    t.ready = True


async def join_due(t: Transaction, now: int) -> None:
    """Delayed runs whose time has come join the line of their threads; only now does their strategy act."""
    for number, run_id, owner, thread_id, attempt, strategy, due_at in await t.all("due", (now,)):
        if attempt == 0 and strategy in ("interrupt", "rollback"):
            others = [p for p in await line_of(t, owner, thread_id) if p.run_id != run_id]
            await _clear_line(t, others, strategy, now)
        await t.run("join_line", (due_at if attempt == 0 else None, number))
        await settle(t, owner, thread_id, now)


async def append_batch(t: Transaction, attempt: Attempt, batch: Batch, now: int) -> int:
    if t.begun is not None:
        t.begun.pop(attempt.run_id, None)
    last = await fenced_numbers(t, attempt, len(batch.entries))
    await _store(t, attempt, batch, now, last)
    written = batch.last_checkpoint
    if written is not None:
        head = written.checkpoint_id
        t.later("move_on", (attempt.owner, attempt.thread_id, attempt.run_id, head, now), attempt.thread_id)
    return last


async def _store(t: Transaction, attempt: Attempt, batch: Batch, now: int, last: int) -> None:
    if batch.entries:
        append(t, attempt.owner, attempt.thread_id, attempt.run_id, now, batch.entries, last, states=batch.states)
    for checkpoint in batch.checkpoints:
        t.later("insert_checkpoint", checkpoint_values(attempt.owner, checkpoint), attempt.thread_id)
    await _record(t, attempt, batch)


async def _record(t: Transaction, attempt: Attempt, batch: Batch) -> None:
    if batch.records:
        invocation = (await row_of(t, attempt.run_id)).invocation
        for record in batch.records:
            await t.run(
                "upsert_record",
                (invocation, record.kind, record.name, record.nth, record.order, attempt.run_id, record.body),
            )
    for write in batch.settled:
        values = pending_values(attempt.owner, attempt.thread_id, write, attempt.run_id, None)
        t.later("give", values, attempt.thread_id)
    for write in batch.pending:
        values = pending_values(attempt.owner, attempt.thread_id, write, attempt.run_id, write.value)
        t.later("give", values, attempt.thread_id)


async def finish(t: Transaction, attempt: Attempt, batch: Batch, ending: Ending, now: int) -> Run:
    begun = None if t.begun is None else t.begun.pop(attempt.run_id, None)
    if begun is not None and begun.lease == attempt.lease and plain(ending):
        entries = [*batch.entries, *line.terminal_entries(attempt.run_id, ending.outcome, ending.failure)]
        last = begun.last_seq + len(entries)
        return await _end_alone(t, attempt, begun.run, batch, ending, now, entries, last, begun.head, seen=False)
    standing = await t.look("attempt_standing", (attempt.run_id, attempt.lease), attempt.thread_id)
    run = await line.run_of_attempt(t, attempt) if standing is None else run_of(standing[:RUN_COLUMNS])
    if run.cancel is not None and run.cancel != ending.cancel and run.status == "running":
        raise CancelRequested(f"run {run.run_id} was asked to cancel ({run.cancel})", action=run.cancel)
    if ending.outcome == "rolled_back":
        await fenced_numbers(t, attempt, 0)
        await roll_back(t, run, now, ending.expires_at)
        await settle(t, run.owner, run.thread_id, now)
        return await row_of(t, run.run_id)
    if ending.injects:
        batch, ending = await injected_verbs.with_untaken(t, attempt, run, batch, ending, now)
    entries = [*batch.entries, *line.terminal_entries(run.run_id, ending.outcome, ending.failure)]
    if standing is not None:
        last_seq, head, others = standing[RUN_COLUMNS:]
        if not others and not ending.delete_thread and ending.outcome != "asked":
            return await _end_alone(t, attempt, run, batch, ending, now, entries, last_seq + len(entries), head)
    last = await fenced_numbers(t, attempt, len(entries))
    await _store(t, attempt, msgspec.structs.replace(batch, entries=()), now, last)
    append(
        t, run.owner, run.thread_id, run.run_id, now, entries, last, states=batch.states, final=ending.final,
        over=Over(run.agent_id, ending.outcome, run.attempt),
    )  # fmt: skip
    written = batch.last_checkpoint
    await _end_attempt(t, run, written, ending, now)
    await end(
        t, run, ending.outcome, ending.failure, last, now, ending.expires_at,
        last_checkpoint=None if written is None else written.checkpoint_id, final=ending.final,
    )  # fmt: skip
    if ending.outcome == "asked" and run.stateless:
        await t.run("show_thread", (run.owner, run.thread_id))
    if ending.delete_thread:
        await bury(t, run.owner, run.thread_id, now, keep=run.run_id)
    else:
        await settle(t, run.owner, run.thread_id, now)
    return await row_of(t, run.run_id)


def plain(ending: Ending) -> bool:
    """Whether the end of an attempt on a thread that has nothing else in line follows from the ending alone."""
    return ending.cancel is None and not ending.delete_thread and ending.outcome not in ("asked", "rolled_back")


async def _end_alone(
    t: Transaction,
    attempt: Attempt,
    run: Run,
    batch: Batch,
    ending: Ending,
    now: int,
    entries: list[Entry],
    last: int,
    head: str | None,
    *,
    seen: bool = True,
) -> Run:
    """The hot path: nothing waits behind the run, so that the thread's standing follows from its end alone. `seen`:
    the line was looked at; else the thread is one that has none."""
    for checkpoint in batch.checkpoints:
        t.later("insert_checkpoint", checkpoint_values(attempt.owner, checkpoint), attempt.thread_id)
    await _record(t, attempt, batch)
    asking = 0
    last_checkpoint = run.last_checkpoint
    written = batch.last_checkpoint
    if written is not None:
        last_checkpoint = head = written.checkpoint_id
    else:
        asking = await line.asking_after(t, run, head, ending.outcome)
    status, first = status_of(ending.outcome), last - len(entries) + 1
    t.later(
        "end_alone",
        (
            run.owner, run.thread_id, run.run_id, attempt.lease, now, status, ending.outcome,
            failure_value(ending.failure), ending.expires_at, head, last_checkpoint, asking,
            threads.status_of(active=False, asking=bool(asking), last=ending.outcome), first, last, encode(entries),
            run.cancel, int(not seen),
        ),
        run.thread_id,
    )  # fmt: skip
    ended = msgspec.structs.replace(
        run, status=status, outcome=ending.outcome, failure=ending.failure, last_seq=last, ended_at=now,
        updated_at=now, due_at=None, last_checkpoint=last_checkpoint,
    )  # fmt: skip
    if ended.has_webhook:
        await announce(t, ended, ending.final)
    chunk = Chunk(
        run.owner, run.thread_id, run.run_id, first, now, entries, states=batch.states, final=ending.final, ended=ended,
        over=Over(run.agent_id, ending.outcome, run.attempt),
    )  # fmt: skip
    t.chunks.append(chunk)
    return ended


async def _end_attempt(t: Transaction, run: Run, written: Checkpoint | None, ending: Ending, now: int) -> None:
    """The head after the run: what it wrote last, else the checkpoint that it was told to build on (a fork that
    changed nothing leaves the head alone)."""
    if written is not None:
        head, asking = written.checkpoint_id, int(written.asked is not None)
    else:
        head = (await t.one("thread_standing", (run.owner, run.thread_id)))[1]
        asking = await line.asking_after(t, run, head, ending.outcome)
    await t.run("end_attempt", (head, asking, ending.outcome, now, run.owner, run.thread_id))


async def requeue(t: Transaction, attempt: Attempt, batch: Batch, how: Requeue, now: int) -> Run:
    if t.begun is not None:
        t.begun.pop(attempt.run_id, None)
    closing = await line.closing_entries(t, await line.run_of_attempt(t, attempt), batch.entries)
    batch = msgspec.structs.replace(batch, entries=[*batch.entries, *closing])
    last = await fenced_numbers(t, attempt, len(batch.entries))
    await _store(t, attempt, batch, now, last)
    checkpoint = batch.last_checkpoint
    written = None if checkpoint is None else checkpoint.checkpoint_id
    head = written or (await t.one("thread_standing", (attempt.owner, attempt.thread_id)))[1]
    run = await row_of(t, attempt.run_id)
    asking = await line.asking_after(t, run, head, None)
    await t.run("end_attempt", (head, asking, None, now, attempt.owner, attempt.thread_id))
    if how.lost:
        await _count_loss(t, attempt.run_id, run.max_attempts)
    moved = await t.one(
        "requeue_run",
        {
            "run_id": attempt.run_id, "due_at": how.due_at, "now": now, "refund": int(how.refund),
            "last_checkpoint": written,
        },
    )  # fmt: skip
    if moved is None:
        raise LeaseLost(f"run {attempt.run_id} does not execute")
    await settle(t, attempt.owner, attempt.thread_id, now)
    return await row_of(t, attempt.run_id)


async def cancel(
    t: Transaction,
    owner: str,
    run_id: str,
    action: CancelAction,
    now: int,
    expires_at: int | None,
    reason: str | None = None,
) -> Cancelled:
    row = await t.one("run", (run_id, owner))
    if row is None:
        raise run_not_found(run_id)
    run = run_of(row)
    if reason is not None and not run.finished:
        run = await _note_reason(t, run, reason)
    if run.status == "pending":
        await _end_waiting(t, run, action, now, expires_at)
        await settle(t, owner, run.thread_id, now)
        return Cancelled("ended", await row_of(t, run_id))
    if run.status == "running":
        if run.cancel != "rollback":
            await _request_cancel(t, run_id, action, now)
        return Cancelled("stopping", await row_of(t, run_id))
    if action == "rollback":
        await _roll_back_finished(t, run, now, expires_at)
    elif run.outcome == "asked":
        await _close_question(t, run, now)
    return Cancelled("finished", await row_of(t, run_id))


async def _note_reason(t: Transaction, run: Run, reason: str) -> Run:
    request = run.asked_for()
    if request.cancel_reason is not msgspec.UNSET:
        return run
    noted = msgspec.json.encode(msgspec.structs.replace(request, cancel_reason=reason))
    await t.run("note_request", (noted, run.run_id))
    return msgspec.structs.replace(run, request=noted)


async def _roll_back_finished(t: Transaction, run: Run, now: int, expires_at: int | None) -> None:
    standing = await t.one("thread_standing", (run.owner, run.thread_id))
    where = {"owner": run.owner, "thread_id": run.thread_id, "run_id": run.run_id}
    executing = any(p.status == "running" for p in await line_of(t, run.owner, run.thread_id))
    moved_on = standing is None or (run.last_checkpoint is not None and standing[1] != run.last_checkpoint)
    if executing or moved_on or await t.one("started_later", where) is not None:
        raise Conflict(
            f"run {run.run_id} is finished and not the latest of its thread: it cannot be rolled back",
            code="rollback_not_latest",
            run_id=run.run_id,
            thread_id=run.thread_id,
        )
    await roll_back(t, run, now, expires_at)
    await settle(t, run.owner, run.thread_id, now)


async def _close_question(t: Transaction, run: Run, now: int) -> None:
    """Cancelling a run that ended with a question withdraws the question: the line of its thread moves on."""
    standing = await t.one("thread_standing", (run.owner, run.thread_id))
    if standing is None or standing[1] != run.last_checkpoint or not standing[2]:
        return
    await t.run("move_head", (run.last_checkpoint, 0, now, run.owner, run.thread_id))
    await settle(t, run.owner, run.thread_id, now)


async def abandon(t: Transaction, attempt: Attempt, now: int, expires_at: int | None) -> Run:
    run_id = attempt.run_id
    run = await line.run_of_attempt(t, attempt)
    if run.finished:
        return run
    await fenced_numbers(t, attempt, 0)
    if run.cancel == "rollback":
        await roll_back(t, run, now, expires_at, "still_stopping")
    else:
        head = (await t.one("thread_standing", (run.owner, run.thread_id)))[1]
        left = await injected_verbs.leave_untaken(t, run, head, "abandoned", now)
        terminal = line.terminal_entries(run_id, "abandoned", None, "still_stopping")
        last = await line.append_outside(
            t,
            run.owner,
            run.thread_id,
            run_id,
            now,
            [*await line.closing_entries(t, run), *left, *terminal],
            over=Over(run.agent_id, "abandoned", run.attempt),
        )
        head = line.checkpoint_in(left) or head
        await t.run(
            "end_attempt",
            (head, 0 if left else await line.asking_after(t, run, head, "abandoned"), "abandoned", now, run.owner,
             run.thread_id),
        )  # fmt: skip
        await end(
            t, run, "abandoned", None, last, now, expires_at if run.stateless else None,
            last_checkpoint=line.checkpoint_in(left),
        )  # fmt: skip
    await settle(t, run.owner, run.thread_id, now)
    return await row_of(t, run_id)


async def delete_run(t: Transaction, owner: str, run_id: str, now: int) -> None:
    row = await t.one("run", (run_id, owner))
    if row is None:
        raise run_not_found(run_id)
    run = run_of(row)
    if not run.finished:
        raise Conflict(
            f"run {run_id} is not finished; cancel it first",
            code="run_active",
            run_id=run_id,
            status=run.status,
        )
    await t.run("bury_run", {"run_id": run_id, "now": now, "outcome": None, "expires_at": now})


SUSPECT = 2
"""Losses in a row from which a run is suspected of ending the server."""


async def _count_loss(t: Transaction, run_id: str, max_attempts: int) -> None:
    # The last attempt of a run that has few is made apart as well: it has no other to lose.
    await t.run("count_loss", (SUSPECT if max_attempts <= SUSPECT else 1, run_id))


async def recover(t: Transaction, now: int, expires_at: int) -> Recovered:
    await t.run("recall_deliveries", (now,))
    requeued: list[str] = []
    lost: list[str] = []
    executing = sorted(await t.all("executing"))  # in the order in which they were accepted
    suspected = {worker for *_, losses, worker in executing if losses >= SUSPECT}
    for _, run_id, owner, thread_id, attempt, max_attempts, cancel_action, losses, worker in executing:
        run = await row_of(t, run_id)
        head = (await t.one("thread_standing", (owner, thread_id)))[1]
        expiry = expires_at if run.stateless else None
        # Who allows one attempt means that the run is never begun twice.
        innocent = worker in suspected and losses < SUSPECT and max_attempts > 1
        if cancel_action == "rollback":
            await roll_back(t, run, now, expires_at)
        elif cancel_action == "interrupt":
            left = await injected_verbs.leave_untaken(t, run, head, "cancelled", now)
            head = line.checkpoint_in(left) or head
            asking = 0 if left else await line.asking_after(t, run, head, "cancelled")
            await t.run("end_attempt", (head, asking, "cancelled", now, owner, thread_id))
            await end_pending(t, run, "cancelled", now, expiry, left)
        elif attempt >= max_attempts and not innocent:
            failure = Failure(
                "attempts_exhausted",
                f"the server died during attempt {attempt} of this run, and max_attempts is {max_attempts}: "
                "the run itself may be what ends the server",
            )
            left = await injected_verbs.leave_untaken(t, run, head, "lost", now)
            entries = [*await line.closing_entries(t, run), *left, *line.terminal_entries(run_id, "lost", failure)]
            over = Over(run.agent_id, "lost", attempt)
            last = await line.append_outside(t, owner, thread_id, run_id, now, entries, over=over)
            head = line.checkpoint_in(left) or head
            asking = 0 if left else await line.asking_after(t, run, head, "lost")
            await t.run("end_attempt", (head, asking, "lost", now, owner, thread_id))
            await end(t, run, "lost", failure, last, now, expiry, last_checkpoint=line.checkpoint_in(left))
            lost.append(run_id)
        else:
            closing = await line.closing_entries(t, run)
            if closing:
                await line.append_outside(t, owner, thread_id, run_id, now, closing)
            await t.run("end_attempt", (head, await line.asking_after(t, run, head, None), None, now, owner, thread_id))
            await _count_loss(t, run_id, SUSPECT + 1 if innocent else max_attempts)
            await t.one(
                "requeue_run",
                {"run_id": run_id, "due_at": None, "now": now, "refund": int(innocent), "last_checkpoint": None},
            )
            requeued.append(run_id)
        await settle(t, owner, thread_id, now)
    return Recovered(tuple(requeued), tuple(lost))
