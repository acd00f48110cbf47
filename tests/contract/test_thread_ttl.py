"""A thread's own time to live: what a sweep takes or cuts when it is over, and what stays, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from test_cron_firings import made
from test_graph_states import EMPTY, given, leaks, put_all, state, told, write
from test_retention import FOR_EVER, NOTHING, asking, gone, rows, sweep, with_state
from test_storage import claimed, question, step, wish

from runyard import checkpoints
from runyard.checkpoints import Checkpoint, set_to
from runyard.errors import NotFound
from runyard.runs import Attempt
from runyard.storage.contract import Batch, Ending, Retention, Storage
from runyard.storage.verbs.retention import BATCH
from runyard.threads import Expiry, Ttl

OnStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]
KEEP: Expiry = "keep_latest"
BIG = b'"%s"' % (b"x" * 100_000)


async def make(storage: Storage, thread_id: str = "t", ttl: Ttl | None = None, at: int = 1, owner: str = "") -> None:
    await storage.create_thread(owner, thread_id, b"{}", at, if_exists="raise", ttl=ttl)


async def many(storage: Storage, count: int, name: str, ttl: Ttl | None = None) -> None:
    await asyncio.gather(*(make(storage, f"{name}{number}", ttl) for number in range(count)))


async def swept(storage: Storage, now: int, **how: Any) -> Retention:
    return await storage.purge(now, keys_before=0, **how)


async def there(storage: Storage, *thread_ids: str, owner: str = "") -> list[str]:
    found: list[str] = []
    for thread_id in thread_ids:
        try:
            await storage.thread(owner, thread_id)
            found.append(thread_id)
        except NotFound:
            pass
    return found


def differences(attempt: Attempt, count: int) -> list[Checkpoint]:
    """So many states, one after the other, each stored as a difference to the one before."""
    steps: list[Checkpoint] = []
    for number in range(count):
        changes = {"n": set_to(b"%d" % number), **({} if steps else {"big": set_to(BIG)})}
        planned = checkpoints.plan(
            checkpoint_id=f"c{number}", thread_id=attempt.thread_id, parent=steps[-1] if steps else None,
            changes=changes, state={"big": BIG, "n": b"%d" % number}, run_id=attempt.run_id, created_at=1,
            source="step",
        )  # fmt: skip
        steps.append(planned)
    assert [one.kind for one in steps[1:]] == ["delta"] * (count - 1)
    return steps


async def three_states(storage: Storage, thread_id: str = "t", at: int = 10, first: int = 1) -> None:
    """Three finished runs, each with a state of its own."""
    parent = None
    for number in range(first, first + 3):
        parent = await with_state(storage, f"r{number}", number, thread_id, parent, at=at)


def test_a_time_is_given_told_changed_and_taken_away(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await make(storage, ttl=Ttl(50, KEEP))
        assert await storage.thread_ttl("", "t") == Ttl(50, KEEP)
        for owner, thread_id in (("bob", "t"), ("", "nobody")):
            assert await storage.thread_ttl(owner, thread_id) is None
        again = await storage.create_thread("", "t", b"{}", 5, if_exists="do_nothing", ttl=Ttl(7))
        assert (again.updated_at, await storage.thread_ttl("", "t")) == (1, Ttl(50, KEEP))
        await storage.patch_thread("", "t", 6, metadata={"a": 1})
        assert await storage.thread_ttl("", "t") == Ttl(50, KEEP)
        changed = await storage.patch_thread("", "t", 8, ttl=Ttl(9))
        assert changed is not None
        assert (changed.updated_at, changed.metadata, await storage.thread_ttl("", "t")) == (8, b'{"a":1}', Ttl(9))
        await storage.patch_thread("", "t", 9, ttl=None)
        assert await storage.thread_ttl("", "t") is None
        with pytest.raises(NotFound):
            await storage.patch_thread("bob", "t", 9, ttl=Ttl(1))

    on_storage(case)


def test_a_thread_goes_when_its_own_time_is_over_whatever_holds_for_others(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await make(storage, "short", Ttl(50))
        await with_state(storage, "r1", 1, "short", at=10)
        await make(storage, "long", Ttl(5000))
        await make(storage, "none")
        assert await sweep(storage, 59) == Retention()
        assert await sweep(storage, 60) == Retention(runs=1, threads=1)
        assert await there(storage, "short", "long", "none") == ["long", "none"]
        assert await gone(storage, "r1")
        # All that have no time of their own are too old; one that has lives on.
        assert await sweep(storage, 4000, threads_before=3000) == Retention(threads=1)
        assert await there(storage, "long") == ["long"]
        await storage.patch_thread("", "long", 4000, ttl=None)
        assert await sweep(storage, FOR_EVER, threads_before=3999) == Retention()
        assert await sweep(storage, FOR_EVER, threads_before=4000) == Retention(threads=1)
        assert await leaks(storage) == EMPTY

    on_storage(case)


def test_a_time_counts_from_the_last_change(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for thread_id in ("ran", "patched", "given"):
            await make(storage, thread_id, Ttl(50))
        await with_state(storage, "r1", 1, "ran", at=40)
        await storage.patch_thread("", "patched", 41, metadata={"a": 1})
        await storage.patch_thread("", "given", 42, ttl=Ttl(20))
        assert await sweep(storage, 61) == Retention()
        for at, left in ((62, ["ran", "patched"]), (90, ["patched"]), (91, [])):
            await sweep(storage, at)
            assert await there(storage, "ran", "patched", "given") == left

    on_storage(case)


@pytest.mark.parametrize("strategy", ["delete", KEEP])
def test_threads_with_something_to_come_stay(strategy: Any, on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for thread_id in ("busy", "queued", "later", "fires"):
            await make(storage, thread_id, Ttl(50, strategy))
        busy = await claimed(storage, "r1", "busy")
        _, first = step(busy.attempt, 1)
        await storage.append(busy.attempt, step(busy.attempt, 1)[0], 2)
        await storage.append(busy.attempt, step(busy.attempt, 2, first)[0], 2)
        await claimed(storage, "r2", "queued")
        await storage.create_run(wish("r3", "queued"))
        await storage.create_run(wish("r4", "later", due_at=FOR_EVER))
        await storage.create_cron(made("c", thread_id="fires"))
        assert await sweep(storage, 10_000) == Retention(cut=1 if strategy == KEEP else 0)
        assert await there(storage, "busy", "queued", "later", "fires") == ["busy", "queued", "later", "fires"]
        assert await told(storage, "busy") == ["c2", "c1"]
        await storage.finish(busy.attempt, Batch(), Ending("completed"), 10_001)
        await storage.delete_cron("", "c")
        removed = await sweep(storage, 10_051)
        if strategy == "delete":
            assert await there(storage, "busy", "queued", "later", "fires") == ["queued", "later"]
        else:
            assert (removed.cut, await told(storage, "busy")) == (1, ["c2"])

    on_storage(case)


def test_threads_that_stay_do_not_keep_those_behind_them(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await many(storage, 55, "a", Ttl(1))
        await asyncio.gather(
            *(storage.create_run(wish(f"r{number}", f"a{number}", due_at=FOR_EVER)) for number in range(55))
        )
        await many(storage, 5, "z", Ttl(20))
        assert await sweep(storage, 100) == Retention(threads=5)

    on_storage(case)


def test_an_open_question_ends_with_a_time_that_deletes_and_is_never_cut(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await make(storage, "goes", Ttl(50))
        await make(storage, "stays", Ttl(50, KEEP))
        await asking(storage, "r1", thread_id="goes")
        first = await with_state(storage, "r2", 7, "stays")
        claim = await claimed(storage, "r3", "stays")
        middle, second = step(claim.attempt, 8, first)
        await storage.append(claim.attempt, middle, 11)
        asks, _ = step(claim.attempt, 9, second, asked=question("c7", "r3"))
        await storage.finish(claim.attempt, asks, Ending("asked"), 12)
        await sweep(storage, 10_000)
        assert await there(storage, "goes", "stays") == ["stays"]
        assert await told(storage, "stays") == ["c9", "c8", "c7"]
        answer = await claimed(storage, "r4", "stays", resumes=True)
        await storage.finish(answer.attempt, Batch(), Ending("completed"), 20_000)
        assert await sweep(storage, 20_050) == Retention(cut=1)
        assert await told(storage, "stays") == ["c9"]

    on_storage(case)


def test_a_history_is_cut_to_its_newest_state_once_until_the_thread_is_used(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await make(storage, ttl=Ttl(50, KEEP))
        await three_states(storage)
        before = await storage.thread("", "t")
        assert await sweep(storage, 59) == Retention()
        assert await sweep(storage, 60) == Retention(cut=1)
        assert await storage.thread("", "t") == before
        assert await told(storage) == ["c3"]
        assert (await storage.snapshot("", "t", "c3", undone=False)).state == {"n": b"3"}
        with pytest.raises(NotFound):
            await storage.snapshot("", "t", "c2", undone=False)
        assert await sweep(storage, 1000) == Retention()
        # Its states go with the runs whose events name them.
        assert (await rows(storage))["checkpoints"] == 3
        assert await sweep(storage, 1000, runs_before=10) == Retention(runs=3)
        assert (await rows(storage))["checkpoints"] == 1
        snapshot = await storage.snapshot("", "t", "c3")
        await with_state(storage, "r4", 4, parent=snapshot.checkpoint, at=2000)
        assert await told(storage) == ["c4", "c3"]
        assert await sweep(storage, 2049) == Retention()
        assert await sweep(storage, 2050) == Retention(cut=1)
        assert await told(storage) == ["c4"]
        assert (await storage.snapshot("", "t", "c4")).state == {"n": b"4"}
        assert await sweep(storage, 9000) == Retention()
        # Another time is another beginning.
        await storage.patch_thread("", "t", 9000, ttl=Ttl(50))
        await sweep(storage, 9049)
        assert await there(storage, "t") == ["t"]
        await sweep(storage, 9050)
        assert await there(storage, "t") == []

    on_storage(case)


def test_what_subgraphs_go_on_from_stays_and_what_tasks_left_goes(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await make(storage, ttl=Ttl(50, KEEP))
        one = state("c1", run_id=None)
        inner, lasting = state("a1", namespace="node:1", run_id=None), state("b1", namespace="memory", run_id=None)
        await put_all(
            storage, one, state("c2", "t", one, run_id=None), inner, state("a2", "t", inner, namespace="node:1"),
            lasting, state("b2", "t", lasting, namespace="memory", run_id=None),
        )  # fmt: skip
        await storage.put_writes("", "t", [write("c1"), write("c2"), write("a1", namespace="node:1")], 10)
        await storage.copy_thread("", "t", "copy", 20)
        assert await sweep(storage, 1000) == Retention(cut=1)
        assert await told(storage) == ["c2"]
        assert await told(storage, namespace="memory") == ["b2"]
        assert await told(storage, namespace="node:1") == []
        assert (await storage.snapshot("", "t", "b2")).state["n"] == b'"b2"'
        assert [len(await given(storage, on)) for on in ("c1", "c2")] == [0, 1]
        # A copy has all of it still, and then no more than what it is cut to.
        assert await told(storage, "copy", "memory") == ["b2", "b1"]
        await storage.patch_thread("", "copy", 1000, ttl=Ttl(50, KEEP))
        assert await sweep(storage, 1050) == Retention(cut=1)
        assert await told(storage, "copy", "memory") == ["b2"]
        assert await told(storage, "copy", "node:1") == []
        for thread_id in ("t", "copy"):
            await storage.delete_thread("", thread_id, 2000)
        await sweep(storage)
        assert await leaks(storage) == EMPTY

    on_storage(case)


def test_a_history_longer_than_a_batch_is_cut_whole(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await make(storage, ttl=Ttl(50, KEEP))
        claim = await claimed(storage, "r1")
        steps = differences(claim.attempt, BATCH + 50)
        await storage.finish(claim.attempt, Batch(checkpoints=steps), Ending("completed"), 10)
        assert await sweep(storage, 60) == Retention(cut=1)
        assert await told(storage) == ["c249"]
        await sweep(storage, 60, runs_before=10)
        assert await rows(storage) == {**NOTHING, "checkpoints": 1}
        assert (await storage.snapshot("", "t", "c249")).state == {"big": BIG, "n": b"249"}

    on_storage(case)


def test_all_threads_are_cut_by_their_age_where_that_is_asked_for(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await make(storage, "own", Ttl(5000))
        await three_states(storage, "own", first=10)
        await three_states(storage, "old", first=4)
        await three_states(storage, "young", at=99, first=7)
        await asking(storage, "r20", thread_id="asks")
        by_age: Any = {"threads_before": 50, "threads_by": KEEP}
        assert await swept(storage, 100, **by_age) == Retention(cut=1)
        assert [len(await told(storage, name)) for name in ("own", "old", "young")] == [3, 1, 3]
        assert await swept(storage, 100, **by_age) == Retention()
        assert await swept(storage, 200, threads_before=150, threads_by=KEEP) == Retention(cut=1)
        # Who deletes finds those that were cut before.
        await sweep(storage, 300, threads_before=150)
        assert await there(storage, "own", "old", "young", "asks") == ["own", "asks"]

    on_storage(case)


def test_a_page_of_those_that_were_cut_does_not_hide_the_others(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await many(storage, 55, "t")
        assert await swept(storage, 100, threads_before=50, threads_by=KEEP) == Retention(cut=55)
        await many(storage, 5, "u")
        assert await sweep(storage, 100, threads_before=50) == Retention(threads=60)

    on_storage(case)


def test_what_is_made_anew_and_what_is_copied_has_no_time_of_its_own(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await make(storage, ttl=Ttl(50, KEEP))
        await three_states(storage)
        await storage.copy_thread("", "t", "copy", 20)
        assert await storage.thread_ttl("", "copy") is None
        await sweep(storage, 60)
        await storage.delete_thread("", "t", 70)
        await with_state(storage, "r9", 9, at=80)
        assert await storage.thread_ttl("", "t") is None
        await sweep(storage, 10_000)
        assert await there(storage, "t", "copy") == ["t", "copy"]
        assert await told(storage) == ["c9"]
        assert await told(storage, "copy") == ["c3", "c2", "c1"]

    on_storage(case)


def test_a_time_is_its_owners(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await make(storage, ttl=Ttl(50))
        await make(storage, owner="bob")
        await sweep(storage, 10_000)
        assert await there(storage, "t") == []
        assert await there(storage, "t", owner="bob") == ["t"]

    on_storage(case)
