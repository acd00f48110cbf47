"""Retention: what is too old, or out of reach, goes in small batches.

A sweep is a row of stages. Each call of a stage is one transaction that touches about `BATCH` rows, whatever there is
to remove: what waits beside it waits for a few milliseconds. A stage finds its work in an index of what there is to do
and leaves nothing behind that it would find again, so that a sweep costs what it removes.

What stays: a run whose invocation is not over (its question is open, or a run that answers it executes), for its
records are needed; a checkpoint from which a copy of its thread descends; the head of a thread, and all its history
where that is not to be cut.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from runyard.storage.contract import Keep, Retention
from runyard.storage.verbs.graphs import encode_names, lasting_states, tidy
from runyard.storage.verbs.threads import bury
from runyard.storage.verbs.transaction import Transaction
from runyard.threads import Expiry

BATCH = 200
"""Rows that one transaction removes, about."""
PAGE = 50
"""Candidates that one transaction looks at."""
HELD_FOR = 3_600_000_000
"""Microseconds until a run that had to stay is looked at again."""

Place = tuple[Any, ...]
Stage = Callable[[Transaction, int, Keep, Place], Coroutine[Any, Any, tuple[Retention, Place | None]]]
"""One batch from a place on: what it removed, and the place of the next one; None at the end."""

BEGINNING: Place = ()


class Budget:
    """How many rows a transaction may still remove."""

    __slots__ = ("_t", "left")

    def __init__(self, t: Transaction) -> None:
        self._t = t
        self.left = BATCH

    async def spend(self, query: str, **values: Any) -> bool:
        """Executes a statement that removes up to `:limit` rows; whether it came to its end."""
        if self.left <= 0:
            return False
        limit = self.left
        gone, touched = await self._t.remove(query, {**values, "limit": limit})
        self.left -= touched
        return gone < limit


class Old(msgspec.Struct, frozen=True, array_like=True):
    """A run that may go. `held`: its invocation is not over."""

    number: int
    run_id: str
    owner: str
    thread_id: str
    first_seq: int
    last_seq: int
    stateless: int
    held: int


async def expired_threads(t: Transaction, now: int, keep: Keep, place: Place) -> tuple[Retention, Place | None]:
    """Threads whose own time is over are deleted, or cut to their newest state."""
    budget = Budget(t)
    after = dict(zip(("expires_at", "owner", "thread_id"), place or (-1, "", ""), strict=True))
    rows = await t.all("expired_threads", {**after, "now": now, "limit": PAGE})
    cut = 0
    for expires_at, owner, thread_id, strategy in rows:
        done = await _expire(t, budget, owner, thread_id, now, strategy)
        if done is None:
            return Retention(cut=cut), place
        cut += done
        place = (expires_at, owner, thread_id)
    return Retention(cut=cut), place if len(rows) == PAGE else None


async def idle_threads(t: Transaction, now: int, keep: Keep, place: Place) -> tuple[Retention, Place | None]:
    """The same of those without a time of their own, on which nothing has happened for long. Who deletes takes those
    that were cut once, too."""
    if keep.threads_before is None:
        return Retention(), None
    budget = Budget(t)
    after = dict(zip(("cut", "updated_at", "owner", "thread_id"), place or (0, -1, "", ""), strict=True))
    rows = await t.all("idle_threads", {**after, "before": keep.threads_before, "limit": PAGE})
    cut = 0
    for row in rows:
        done = await _expire(t, budget, row[1], row[2], now, keep.threads_by)
        if done is None:
            return Retention(cut=cut), place
        cut += done
        place = (after["cut"], *row)
    if len(rows) == PAGE:
        return Retention(cut=cut), place
    return Retention(cut=cut), (1, -1, "", "") if keep.threads_by == "delete" and not after["cut"] else None


async def old_runs(t: Transaction, now: int, keep: Keep, place: Place) -> tuple[Retention, Place | None]:
    """Finished runs on threads, by age."""
    if keep.runs_before is None:
        return Retention(), None
    rows: list[Any] = []
    for trimmed in (1, 0):
        rows += await t.all("old_runs", {"trimmed": trimmed, "before": keep.runs_before, "limit": PAGE - len(rows)})
    return await _remove_runs(t, now, rows)


async def expired_runs(t: Transaction, now: int, keep: Keep, place: Place) -> tuple[Retention, Place | None]:
    """Runs that go at a time of their own: stateless ones, deleted ones, undone ones."""
    return await _remove_runs(t, now, await t.all("expired_runs", (now,)))


async def old_events(t: Transaction, now: int, keep: Keep, place: Place) -> tuple[Retention, Place | None]:
    """The events of finished runs on threads, before the runs themselves; the floors of the threads' logs rise."""
    if keep.events_before is None:
        return Retention(), None
    budget = Budget(t)
    rows = await t.all("untrimmed_runs", (keep.events_before, PAGE))
    done = 0
    for number, owner, thread_id, last_seq in rows:
        if not await _trim(t, budget, owner, thread_id, last_seq, keep.events_before):
            break
        await t.run("mark_trimmed", (number,))
        budget.left -= 1
        done += 1
    more = done < len(rows) or len(rows) == PAGE
    return Retention(events=done), BEGINNING if more else None


async def unswept_threads(t: Transaction, now: int, keep: Keep, place: Place) -> tuple[Retention, Place | None]:
    """What nobody can reach any more of deleted threads, and of living ones of which a run was undone."""
    budget = Budget(t)
    rows = await t.all("unswept_threads", (PAGE,))
    gone = 0
    for owner, thread_id, deleted_at in rows:
        swept = _sweep_living if deleted_at is None else _sweep_deleted
        done = await swept(t, budget, owner, thread_id)
        if done is None:
            return Retention(threads=gone), BEGINNING
        gone += done
    # What was swept may have been all that kept another thread.
    return Retention(threads=gone), BEGINNING if len(rows) == PAGE or gone else None


async def expired_items(t: Transaction, now: int, keep: Keep, place: Place) -> tuple[Retention, Place | None]:
    """Items whose time is over."""
    # Not what triggers did: the vectors of an item are no items.
    gone, _ = await t.remove("delete_expired_items", {"now": now, "limit": BATCH})
    return Retention(items=gone), None if gone < BATCH else BEGINNING


async def old_keys(t: Transaction, now: int, keep: Keep, place: Place) -> tuple[Retention, Place | None]:
    """Idempotency keys, by age."""
    budget = Budget(t)
    done = await budget.spend("delete_old_keys", before=keep.keys_before)
    return Retention(keys=BATCH - budget.left), None if done else BEGINNING


STAGES: tuple[Stage, ...] = (
    expired_threads,
    idle_threads,
    old_runs,
    old_events,
    expired_runs,
    unswept_threads,
    expired_items,
    old_keys,
)
"""In this order what one stage leaves is swept by a later one."""


async def _expire(t: Transaction, budget: Budget, owner: str, thread_id: str, now: int, strategy: Expiry) -> int | None:
    """How many threads were cut: the one, or none, for it was deleted (its runs first: it may have any number), or
    stays, for a run is to come. One with a cron to come is not deleted. None where the budget was not enough."""
    if await t.all("line", (owner, thread_id)):
        return 0
    if strategy == "keep_latest":
        return await _cut(t, budget, owner, thread_id, now)
    if await t.one("cron_to_come", (owner, thread_id)) is not None:
        return 0
    if not await budget.spend("expire_runs_of_thread", owner=owner, thread_id=thread_id, now=now):
        return None
    await t.run("delete_crons_of_thread", (owner, thread_id))
    await bury(t, owner, thread_id, now)
    return 0


async def _cut(t: Transaction, budget: Budget, owner: str, thread_id: str, now: int) -> int | None:
    """Undoes all states but those that later runs go on from."""
    where = {"owner": owner, "thread_id": thread_id}
    keep = encode_names(await lasting_states(t, owner, thread_id))
    before = budget.left
    done = await budget.spend("cut_checkpoints", **where, keep=keep)
    done = done and await budget.spend("cut_inherited", **where, keep=keep)
    if budget.left < before:
        await tidy(t, owner, thread_id, now)
    if not done:
        return None
    await t.run("mark_cut", where)
    budget.left -= 1
    return 1


async def _remove_runs(t: Transaction, now: int, rows: Sequence[Any]) -> tuple[Retention, Place | None]:
    budget = Budget(t)
    gone = 0
    for run in (Old(*row) for row in rows):
        if budget.left <= 0:
            return Retention(runs=gone), BEGINNING
        if run.held:
            await t.run("hold_run", (now + HELD_FOR, run.number))
            budget.left -= 1
        elif await _remove_run(t, budget, run):
            gone += 1
        else:
            # What is left of it is not shown to anybody, and is found by `expired_runs`.
            await t.run("bury_run", {"run_id": run.run_id, "now": now, "outcome": None, "expires_at": now})
            return Retention(runs=gone), BEGINNING
    return Retention(runs=gone), BEGINNING if len(rows) == PAGE else None


async def _remove_run(t: Transaction, budget: Budget, run: Old) -> bool:
    """A run with its events and records; with its thread, where that is hidden. Whether the budget was enough."""
    where = {"owner": run.owner, "thread_id": run.thread_id}
    range_ = {"run_id": run.run_id, "first_seq": run.first_seq, "last_seq": run.last_seq}
    if not await budget.spend("delete_events_of_run", **where, **range_):
        return False
    if not await budget.spend("forget_records_of_run", run_id=run.run_id):
        return False
    if run.stateless and await t.one("hidden_thread", where) is not None:
        if not await budget.spend("delete_pending_of_thread", **where):
            return False
        if not await budget.spend("delete_checkpoints_of_thread", **where):
            return False
        await t.run("delete_hidden_thread", where)
    else:
        if not await budget.spend("delete_aside_of_run", **where, run_id=run.run_id):
            return False
        await t.run("raise_floor", where)
        await t.run("mark_unswept", where)
    await t.run("forget_trace", (run.run_id,))
    await t.run("delete_run", (run.run_id,))
    budget.left -= 2
    return True


async def _trim(t: Transaction, budget: Budget, owner: str, thread_id: str, last_seq: int, before: int) -> bool:
    """Removes the beginning of a thread's log up to a run's last event, as far as it belongs to runs that are old
    enough. What then is left of the run (an older one beside it is not over) goes with the end of that one."""
    if budget.left <= 0:
        return False
    where = {"owner": owner, "thread_id": thread_id}
    limit = budget.left
    rows = await t.all("oldest_events", {**where, "last_seq": last_seq, "before": before, "limit": limit})
    gone = next((place for place, (_, free) in enumerate(rows) if not free), len(rows))
    if gone:
        floor = rows[gone - 1][0]
        await t.run("delete_events_up_to", (owner, thread_id, floor))
        await t.run("set_floor", (floor, owner, thread_id))
        budget.left -= gone
    return gone < limit


async def _sweep_deleted(t: Transaction, budget: Budget, owner: str, thread_id: str) -> int | None:
    """Whether everything of the thread is gone now; None where the budget was not enough. While a run outlives it, or
    a copy descends from it, the thread waits outside the index: what ends that brings it back."""
    where = {"owner": owner, "thread_id": thread_id}
    if await t.one("outliving_run", where) is not None:
        await t.run("park_thread", where)
        return 0
    if not await budget.spend("delete_events_of_thread", **where):
        return None
    if not await budget.spend("delete_pending_of_thread", **where):
        return None
    if await t.one("copy_of_thread", where) is not None:
        await t.run("park_thread", where)
        return 0
    await t.run("release_sources", where)
    if not await budget.spend("delete_inherited_of_thread", **where):
        return None
    if not await budget.spend("delete_checkpoints_of_thread", **where):
        return None
    await t.run("release_origin", where)
    await t.run("forget_origin", where)
    budget.left -= 1
    return 1


async def _sweep_living(t: Transaction, budget: Budget, owner: str, thread_id: str) -> int | None:
    """0 when the undone checkpoints of the thread are gone, but those of runs whose events are still there, and all of
    them while a copy was made of one; None where the budget was not enough."""
    where = {"owner": owner, "thread_id": thread_id}
    if await t.one("copy_of_undone", where) is None and not await budget.spend("delete_undone_checkpoints", **where):
        return None
    if await t.one("revived", where) is not None:
        await t.run("release_origin", where)
        await t.run("forget_origin", where)
    await t.run("park_thread", where)
    budget.left -= 1
    return 0
