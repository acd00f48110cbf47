"""What retention removes, and what it must leave: cases that speak the storage contract, on every adapter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from test_storage import claimed, question, step, wish

from runyard.checkpoints import Checkpoint
from runyard.errors import NotFound
from runyard.events import entry
from runyard.items import ItemSearch
from runyard.runtime.contract import Record
from runyard.storage.contract import Batch, Claim, Ending, Retention, Storage

OnStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]
FOR_EVER = 10**18


async def sweep(storage: Storage, now: int = FOR_EVER, **before: int) -> Retention:
    return await storage.purge(now, **{"keys_before": 0, **before})


async def ended(
    storage: Storage, run_id: str, thread_id: str = "t", at: int = 10, emits: int = 1, **more: Any
) -> Claim:
    """A finished run with so many commits of its own between its beginning and its end."""
    claim = await claimed(storage, run_id, thread_id, **more)
    for number in range(emits):
        await storage.append(claim.attempt, Batch([entry("custom", {"payload": number})]), at)
    await storage.finish(claim.attempt, Batch(), Ending("completed"), at)
    return claim


async def with_state(
    storage: Storage, run_id: str, number: int, thread_id: str = "t", parent: Checkpoint | None = None, at: int = 10
) -> Checkpoint:
    """A finished run that left a checkpoint."""
    claim = await claimed(storage, run_id, thread_id)
    batch, checkpoint = step(claim.attempt, number, parent)
    await storage.finish(claim.attempt, batch, Ending("completed"), at)
    return checkpoint


async def asking(storage: Storage, run_id: str = "r1", **more: Any) -> tuple[Claim, Checkpoint]:
    """A run that did a step and ended with a question."""
    claim = await claimed(storage, run_id, **more)
    batch, checkpoint = step(claim.attempt, 1, asked=question(invocation=run_id))
    record = Record("step", "pay", 1, b"1", 1)
    written = Batch(batch.entries, batch.states, batch.checkpoints, [record])
    await storage.finish(claim.attempt, written, Ending("asked"), 10)
    return claim, checkpoint


async def events_of(storage: Storage, run_id: str | None, thread_id: str = "t") -> list[int]:
    return [event.seq for event in await storage.events("", thread_id, after=0, run_id=run_id, limit=10_000)]


async def rows(storage: Storage) -> dict[str, int]:
    """How many rows the tables hold that retention empties."""
    figures = await storage.figures()
    return {table: figures[table] for table in ("runs", "checkpoints", "events", "items")}


async def gone(storage: Storage, run_id: str) -> bool:
    try:
        await storage.run("", run_id)
    except NotFound:
        return True
    return False


NOTHING = {"runs": 0, "checkpoints": 0, "events": 0, "items": 0}


# runs


def test_without_an_age_nothing_on_threads_goes(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await ended(storage, "r1")
        assert await sweep(storage) == Retention()
        assert not await gone(storage, "r1")

    on_storage(case)


def test_runs_go_by_the_age_of_their_end_and_the_thread_keeps_its_state(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await with_state(storage, "r1", 1, at=10)
        await with_state(storage, "r2", 2, parent=first, at=20)
        await storage.create_run(wish("r3", created_at=1, due_at=FOR_EVER))
        assert await sweep(storage, 30, runs_before=10) == Retention(runs=1)
        assert await gone(storage, "r1")
        assert (await storage.run("", "r2")).outcome == "completed"
        assert await events_of(storage, "r1") == []
        assert len(await events_of(storage, "r2")) == 4
        assert (await storage.snapshot("", "t", "c2")).state == {"n": b"2"}
        history = await storage.history("", "t", before=None, limit=10)
        assert [snapshot.checkpoint.checkpoint_id for snapshot in history] == ["c2", "c1"]
        assert await sweep(storage, 30, runs_before=20) == Retention(runs=1)
        # What has not ended has no age.
        assert not await gone(storage, "r3")
        assert (await storage.thread("", "t")).head == "c2"

    on_storage(case)


def test_a_run_with_more_events_than_a_batch_goes_whole(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await ended(storage, "r1", emits=700)
        await ended(storage, "r2", at=50)
        assert await sweep(storage, 60, runs_before=10) == Retention(runs=1)
        assert await gone(storage, "r1")
        assert set(await events_of(storage, None)) == set(await events_of(storage, "r2"))

    on_storage(case)


def test_a_run_with_more_records_than_a_batch_goes_whole(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        records = [Record("step", "s", number, b"1", number) for number in range(1, 700)]
        await storage.finish(claim.attempt, Batch(records=records), Ending("completed"), 10)
        assert len(await storage.records("r1")) == 699
        await sweep(storage, 60, runs_before=10)
        assert await storage.records("r1") == []
        assert (await rows(storage))["runs"] == 0

    on_storage(case)


def test_a_run_whose_question_is_open_stays_with_its_records_until_it_is_answered(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await asking(storage)
        hour = 3_600_000_000
        assert await sweep(storage, 100, runs_before=99) == Retention()
        assert await sweep(storage, 100 + 2 * hour, runs_before=99) == Retention()
        assert [record.name for record in await storage.records("r1")] == ["pay"]
        claim = await claimed(storage, "r2", resumes=True)
        # The answering run executes, and may have to begin again.
        assert await sweep(storage, 100 + 4 * hour, runs_before=99) == Retention()
        assert [record.name for record in await storage.records("r1")] == ["pay"]
        await storage.finish(claim.attempt, Batch(), Ending("completed"), 200)
        assert await sweep(storage, 100 + 6 * hour, runs_before=100) == Retention(runs=1)
        assert await gone(storage, "r1")
        assert await storage.records("r1") == []
        assert not await gone(storage, "r2")

    on_storage(case)


def test_a_deleted_run_whose_question_is_open_leaves_its_records(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await asking(storage)
        await storage.delete_run("", "r1", 20)
        assert await sweep(storage, 30) == Retention()
        assert await gone(storage, "r1")
        assert [record.name for record in await storage.records("r1")] == ["pay"]
        assert (await storage.thread("", "t")).status == "interrupted"

    on_storage(case)


def test_a_stateless_run_that_asked_leaves_the_thread_that_was_made_for_its_question(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await asking(storage, stateless=True)
        claim = await claimed(storage, "r2", resumes=True)
        batch, _ = step(claim.attempt, 2)
        await storage.finish(claim.attempt, batch, Ending("completed"), 20)
        await storage.delete_run("", "r1", 30)
        await sweep(storage)
        assert (await storage.thread("", "t")).head == "c2"
        assert (await storage.snapshot("", "t", "c2")).state == {"n": b"2"}
        assert (await storage.snapshot("", "t", "c1")).state == {"n": b"1"}

    on_storage(case)


def test_stateless_runs_go_with_their_threads(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(120):
            claim = await claimed(storage, f"r{number}", f"t{number}", stateless=True)
            batch, _ = step(claim.attempt, number)
            await storage.finish(claim.attempt, batch, Ending("completed", expires_at=100 + number % 2), 10)
        assert await sweep(storage, 100) == Retention(runs=60)
        assert (await rows(storage))["checkpoints"] == 60
        assert await sweep(storage, 101) == Retention(runs=60)
        assert await rows(storage) == NOTHING
        assert (await storage.figures())["threads"] == 0

    on_storage(case)


# events


def test_events_go_before_their_run_and_the_floor_rises(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await with_state(storage, "r1", 1, at=10)
        last = (await storage.run("", "r1")).last_seq
        await with_state(storage, "r2", 2, parent=first, at=20)
        assert await storage.floor_seq("", "t") == 0
        assert await sweep(storage, 30, events_before=10) == Retention(events=1)
        assert await storage.floor_seq("", "t") == last
        assert await events_of(storage, "r1") == []
        assert (await events_of(storage, "r2"))[0] == last + 1
        run = await storage.run("", "r1")
        assert (await storage.snapshot("", "t", run.values_at or "")).state == {"n": b"1"}
        assert await sweep(storage, 30, events_before=10) == Retention()
        # The run goes later all the same.
        assert await sweep(storage, 30, runs_before=10) == Retention(runs=1)
        assert await gone(storage, "r1")

    on_storage(case)


def test_a_log_longer_than_a_batch_is_trimmed_to_its_end(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(3):
            await ended(storage, f"r{number}", emits=300)
        assert await sweep(storage, 30, events_before=10) == Retention(events=3)
        assert (await rows(storage))["events"] == 0
        assert await storage.floor_seq("", "t") == await storage.last_seq("", "t")

    on_storage(case)


def test_the_log_is_trimmed_from_its_beginning_only(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        running = await claimed(storage, "r1")
        await storage.create_run(wish("r2"))
        await storage.cancel("", "r2", "interrupt", 10, None)
        # The older run goes on: a reader of it must not be told that something is missing.
        assert await sweep(storage, 30, events_before=10) == Retention(events=1)
        assert await storage.floor_seq("", "t") == 0
        assert len(await events_of(storage, "r1")) == 2
        await storage.finish(running.attempt, Batch(), Ending("completed"), 20)
        assert await sweep(storage, 30, events_before=20) == Retention(events=1)
        assert (await rows(storage))["events"] == 0
        assert await storage.floor_seq("", "t") == await storage.last_seq("", "t")

    on_storage(case)


def test_removing_runs_raises_the_floor_too(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await ended(storage, "r1", at=10)
        floor = await storage.last_seq("", "t")
        await ended(storage, "r2", at=20)
        await sweep(storage, 30, runs_before=10)
        assert await storage.floor_seq("", "t") == floor
        await sweep(storage, 30, runs_before=20)
        assert await storage.floor_seq("", "t") == await storage.last_seq("", "t")

    on_storage(case)


# threads


def test_idle_threads_go_with_everything_on_them(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await with_state(storage, "r1", 1, "old", at=10)
        await with_state(storage, "r2", 2, "old", first, at=11)
        await with_state(storage, "r3", 3, "young", at=99)
        failed = await claimed(storage, "r4", "failed")
        await storage.finish(failed.attempt, Batch(), Ending("failed"), 12)
        assert await sweep(storage, 100, threads_before=50) == Retention(runs=3, threads=2)
        for thread_id in ("old", "failed"):
            with pytest.raises(NotFound):
                await storage.thread("", thread_id)
        assert await gone(storage, "r1")
        assert (await storage.thread("", "young")).head == "c3"
        assert await rows(storage) == {**NOTHING, "runs": 1, "checkpoints": 1, "events": 2}

    on_storage(case)


def test_threads_that_something_waits_on_stay(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await asking(storage, "r1", thread_id="asks")
        await claimed(storage, "r2", "busy")
        await storage.create_thread("", "later", b"{}", 1, if_exists="raise")
        await storage.create_run(wish("r3", "later", due_at=FOR_EVER))
        assert await sweep(storage, 100, threads_before=50) == Retention()
        assert [(await storage.thread("", name)).status for name in ("asks", "busy", "later")] == [
            "interrupted",
            "busy",
            "idle",
        ]

    on_storage(case)


def test_threads_that_stay_do_not_keep_others_from_going(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(130):
            await storage.create_thread("", f"a{number}", b"{}", 1, if_exists="raise")
            await storage.create_run(wish(f"r{number}", f"a{number}", due_at=FOR_EVER))
        for number in range(130):
            await storage.create_thread("", f"z{number}", b"{}", 2, if_exists="raise")
        assert await sweep(storage, 100, threads_before=50) == Retention(threads=130)

    on_storage(case)


def test_a_thread_with_more_runs_than_a_batch_goes_whole(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(450):
            await ended(storage, f"r{number}", emits=0)
        assert await sweep(storage, 100, threads_before=50) == Retention(runs=450, threads=1)
        assert await rows(storage) == NOTHING

    on_storage(case)


def test_a_swept_id_that_is_used_again_goes_on_with_its_numbers_and_has_no_past(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await with_state(storage, "r1", 1)
        last = await storage.last_seq("", "t")
        await sweep(storage, 100, threads_before=50)
        await with_state(storage, "r2", 2, at=200)
        assert min(await events_of(storage, "r2")) == last + 1
        assert len(await storage.history("", "t", before=None, limit=10)) == 1

    on_storage(case)


def test_an_id_that_is_used_again_before_the_sweep_has_no_past_either(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await with_state(storage, "r1", 1)
        await storage.delete_thread("", "t", 20)
        await with_state(storage, "r2", 2, at=30)
        assert [s.checkpoint.checkpoint_id for s in await storage.history("", "t", before=None, limit=10)] == ["c2"]
        await sweep(storage)
        assert [s.checkpoint.checkpoint_id for s in await storage.history("", "t", before=None, limit=10)] == ["c2"]
        assert (await rows(storage))["checkpoints"] == 1
        assert not await gone(storage, "r2")

    on_storage(case)


# what others reach


def test_what_a_copy_descends_from_stays_until_the_copy_is_gone(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await with_state(storage, "r1", 1)
        await with_state(storage, "r2", 2, parent=first)
        await storage.copy_thread("", "t", "copy", 20)
        third = await with_state(storage, "r3", 3, "copy")
        await storage.copy_thread("", "copy", "copy of copy", 30)
        for thread_id in ("t", "copy"):
            await storage.delete_thread("", thread_id, 40)
            await sweep(storage)
        assert (await storage.snapshot("", "copy of copy", "c3")).state == {"n": b"3"}
        assert (await rows(storage))["checkpoints"] == 3
        assert third.checkpoint_id == (await storage.thread("", "copy of copy")).head
        await storage.delete_thread("", "copy of copy", 50)
        await sweep(storage)
        assert await rows(storage) == NOTHING

    on_storage(case)


def test_copies_that_hold_their_originals_do_not_keep_others_from_going(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(130):
            await with_state(storage, f"r{number}", number, f"t{number}")
            await storage.copy_thread("", f"t{number}", f"copy{number}", 20)
            await storage.delete_thread("", f"t{number}", 30)
        await with_state(storage, "r", 999, "z")
        await storage.delete_thread("", "z", 30)
        assert (await sweep(storage)).threads == 1
        assert (await rows(storage))["checkpoints"] == 130
        assert await sweep(storage) == Retention()

    on_storage(case)


def test_what_a_rollback_undid_goes_with_the_run_unless_a_copy_was_made_of_it(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await with_state(storage, "r1", 1)
        await with_state(storage, "r2", 2, parent=first)
        await storage.copy_thread("", "t", "copy", 20)
        await storage.cancel("", "r2", "rollback", 30, 100)
        assert (await storage.thread("", "t")).head == "c1"
        await sweep(storage, 99)
        assert len(await events_of(storage, "r2")) > 0
        await sweep(storage, 100)
        assert await events_of(storage, "r2") == []
        assert (await storage.snapshot("", "copy", "c2")).state == {"n": b"2"}
        await storage.delete_thread("", "copy", 110)
        await sweep(storage)
        assert (await rows(storage))["checkpoints"] == 1
        assert (await storage.snapshot("", "t", "c1")).state == {"n": b"1"}

    on_storage(case)


def test_a_rollback_leaves_nothing_behind(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await with_state(storage, "r1", 1)
        await storage.cancel("", "r1", "rollback", 30, 100)
        assert (await rows(storage))["checkpoints"] == 1
        await sweep(storage, 100)
        assert await rows(storage) == NOTHING
        assert (await storage.thread("", "t")).head is None

    on_storage(case)


def test_a_run_that_outlives_its_thread_keeps_its_events_and_values_for_its_time(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        batch, _ = step(claim.attempt, 1)
        await storage.finish(claim.attempt, batch, Ending("completed", expires_at=100, delete_thread=True), 10)
        await sweep(storage, 99)
        assert (await storage.run("", "r1")).values_at == "c1"
        assert (await storage.snapshot("", "t", "c1")).state == {"n": b"1"}
        assert len(await events_of(storage, "r1")) == 4
        await sweep(storage, 100)
        assert await gone(storage, "r1")
        assert await rows(storage) == NOTHING

    on_storage(case)


# items and keys


def test_more_items_and_keys_than_a_batch_go(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(450):
            await storage.put_item("", ("n",), f"k{number}", b"{}", 1, expires_at=10)
        await storage.put_item("", ("n",), "stays", b"{}", 1)
        for number in range(250):
            key = ("create_run", f"key{number}", "hash")
            await storage.create_run(wish(f"r{number}", f"t{number}", idempotency=key, created_at=5))
        assert await sweep(storage, 10, keys_before=6) == Retention(items=450, keys=250)
        assert [item.key for item in await storage.search_items("", ItemSearch(), 10)] == ["stays"]

    on_storage(case)


def test_a_sweep_that_finds_nothing_changes_nothing(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await ended(storage, "r1", at=10)
        every = {"keys_before": 5, "runs_before": 5, "events_before": 5, "threads_before": 5}
        assert await storage.purge(5, **every) == Retention()
        assert len(await events_of(storage, "r1")) == 4

    on_storage(case)
