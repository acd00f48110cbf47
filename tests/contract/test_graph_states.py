"""What graphs keep beside their threads' states: subgraphs' checkpoints and pending writes. On every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest
from test_retention import NOTHING, rows, sweep
from test_storage import claimed, question, step, wish

from runyard import checkpoints
from runyard.checkpoints import HIDDEN, NAME, Checkpoint, PendingWrite, Snapshot, State, set_to
from runyard.errors import Conflict, LeaseLost, NotFound
from runyard.events import ValuesPointer, entry, values_text
from runyard.runs import Attempt
from runyard.storage.contract import Batch, Ending, Requeue, Storage
from runyard.threads import ThreadFilter

OnStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]
SUB = "node:1"


def state(
    name: str, thread_id: str = "t", parent: Checkpoint | None = None, *, namespace: str = "",
    run_id: str | None = "r1", value: bytes | None = None, **more: Any,
) -> Checkpoint:  # fmt: skip
    """A checkpoint that sets channel `n` to its name, with a hidden channel for that name."""
    text = msgspec.json.encode(name) if value is None else value
    changes = {"n": set_to(text), NAME: set_to(msgspec.json.encode(name))}
    return checkpoints.plan(
        checkpoint_id=name, thread_id=thread_id, parent=parent, changes=changes,
        state={"n": text, NAME: msgspec.json.encode(name)}, run_id=run_id, created_at=1, source="step",
        namespace=namespace, **more,
    )  # fmt: skip


def write(on: str, task: str = "task", index: int = 0, value: bytes = b"v", **more: Any) -> PendingWrite:
    fields: dict[str, Any] = {"namespace": "", "channel": "c", "run_id": "r1", **more}
    return PendingWrite(on=on, task_id=task, index=index, value=value, **fields)


async def given(storage: Storage, on: str, thread_id: str = "t", namespace: str = "") -> list[tuple[str, int, bytes]]:
    found = await storage.pending_writes("", thread_id, namespace, on)
    return [(one.task_id, one.index, one.value) for one in found]


def names(snapshots: Sequence[Snapshot]) -> list[str]:
    return [snapshot.checkpoint.checkpoint_id for snapshot in snapshots]


async def told(storage: Storage, thread_id: str = "t", namespace: str = "", **more: Any) -> list[str]:
    """The names of a history."""
    options: dict[str, Any] = {"before": None, "limit": 10, **more}
    return names(await storage.history("", thread_id, namespace=namespace, **options))


async def leaks(storage: Storage) -> dict[str, int]:
    figures = await storage.figures()
    return {**await rows(storage), "pending_writes": figures["pending_writes"], "inherited": figures["inherited"]}


EMPTY = {**NOTHING, "pending_writes": 0, "inherited": 0}


# what an attempt stores


@pytest.mark.parametrize("how", ["append", "finish", "requeue"])
def test_writes_are_stored_with_the_batch_and_read_in_their_order(how: str, on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        batch = Batch(
            checkpoints=[state("x")],
            pending=[
                write("x", "b", 1, path="1"), write("x", "b", 0, path="1"), write("x", "b", -1, b"error", path="1"),
                write("x", "a", 0, path="2"), write("x", "c", 0, path="1"), write("y"),
                write("x", namespace=SUB, value=b"inner"),
            ],
        )  # fmt: skip
        assert not await storage.has_inner("", "t")
        if how == "append":
            await storage.append(claim.attempt, batch, 2)
        elif how == "finish":
            await storage.finish(claim.attempt, batch, Ending("completed"), 2)
        else:
            await storage.requeue(claim.attempt, batch, Requeue(), 2)
        assert [place[:2] for place in await given(storage, "x")] == [("b", -1), ("b", 0), ("b", 1), ("c", 0), ("a", 0)]
        assert await storage.pending_writes("", "t", SUB, "x") == [write("x", namespace=SUB, value=b"inner")]
        assert await storage.has_inner("", "t")
        assert await given(storage, "z") == []
        assert await storage.pending_writes("bob", "t", "", "x") == []
        assert (await storage.thread("", "t")).head == "x"

    on_storage(case)


def test_a_batch_settles_what_its_checkpoint_holds_and_keeps_the_rest(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        first = Batch(checkpoints=[state("x")], pending=[write("x", "a"), write("x", "b"), write("x", "a", -1)])
        await storage.append(claim.attempt, first, 2)
        # A write that is settled and given again is there.
        again = Batch(pending=[write("x", "b", value=b"new")], settled=[write("x", "a"), write("x", "b")])
        await storage.append(claim.attempt, again, 3)
        assert await given(storage, "x") == [("a", -1, b"v"), ("b", 0, b"new")]
        await storage.finish(claim.attempt, Batch(settled=[write("x", "b"), write("x", "z")]), Ending("completed"), 4)
        assert await given(storage, "x") == [("a", -1, b"v")]

    on_storage(case)


def test_writes_of_many_threads_in_one_commit_keep_their_order(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claims = [await claimed(storage, f"r{n}", f"t{n}") for n in range(80)]
        mine = [f"r{n}" for n in range(80)]
        await asyncio.gather(
            *(
                storage.append(claim.attempt, Batch(pending=[write("x", run_id=run_id), write("y", run_id=run_id)]), 2)
                for claim, run_id in zip(claims, mine, strict=True)
            )
        )
        # Those with an odd number settle and give again; a result that is only given again is there already.
        await asyncio.gather(
            *(
                storage.append(
                    claim.attempt,
                    Batch(
                        pending=[write("x", value=b"new", run_id=run_id)],
                        settled=[write("x"), write("y")] if n % 2 else [],
                    ),
                    3,
                )
                for n, (claim, run_id) in enumerate(zip(claims, mine, strict=True))
            )
        )
        for n in range(80):
            found = await given(storage, "x", f"t{n}"), await given(storage, "y", f"t{n}")
            assert found == ([("task", 0, b"new")], []) if n % 2 else ([("task", 0, b"v")], [("task", 0, b"v")])

    on_storage(case)


def test_what_is_kept_once_per_task_is_replaced_and_results_are_not(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.append(claim.attempt, Batch(pending=[write("x"), write("x", index=-1)]), 2)
        again = [write("x", value=b"late"), write("x", index=-1, value=b"late")]
        await storage.append(claim.attempt, Batch(pending=again), 3)
        assert await given(storage, "x") == [("task", -1, b"late"), ("task", 0, b"v")]

    on_storage(case)


def test_an_attempt_without_its_lease_leaves_no_write(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.append(claim.attempt, Batch(pending=[write("x")]), 2)
        await storage.requeue(claim.attempt, Batch(), Requeue(), 3)
        late = Batch(pending=[write("x", "late")], settled=[write("x")])
        for verb in (
            lambda: storage.append(claim.attempt, late, 4),
            lambda: storage.finish(claim.attempt, late, Ending("completed"), 4),
            lambda: storage.requeue(claim.attempt, late, Requeue(), 4),
        ):
            with pytest.raises(LeaseLost):
                await verb()
        assert await given(storage, "x") == [("task", 0, b"v")]

    on_storage(case)


def test_states_of_subgraphs_are_no_heads(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        inner = state("i1", namespace=SUB)
        await storage.append(claim.attempt, Batch(checkpoints=[inner]), 2)
        assert (await storage.thread("", "t")).head is None
        assert (await storage.run("", "r1")).last_checkpoint is None
        assert await storage.newest("", "t", "") is None
        await storage.append(claim.attempt, Batch(checkpoints=[state("x"), state("i2", "t", inner, namespace=SUB)]), 3)
        assert ((await storage.thread("", "t")).head, (await storage.run("", "r1")).last_checkpoint) == ("x", "x")
        last = Batch(checkpoints=[state("i3", namespace="node:2")])
        run = await storage.finish(claim.attempt, last, Ending("completed", final={"n": b'"x"'}), 4)
        assert ((await storage.thread("", "t")).head, run.last_checkpoint) == ("x", "x")
        assert await told(storage) == ["x"]
        assert await told(storage, namespace=SUB) == ["i2", "i1"]
        newest = await storage.newest("", "t", SUB)
        assert newest is not None
        assert (newest.checkpoint.checkpoint_id, newest.checkpoint.namespace) == ("i2", SUB)
        assert newest.state["n"] == b'"i2"'
        head = await storage.newest("", "t", "")
        assert head is not None
        assert head.checkpoint.checkpoint_id == "x"
        last_inner = await storage.snapshot("", "t", "i3")
        assert (last_inner.checkpoint.namespace, last_inner.state["n"]) == ("node:2", b'"i3"')
        assert await storage.newest("", "t", "node:9") is None
        assert await storage.newest("", "nobody", SUB) is None
        # No run can build on one.
        with pytest.raises(NotFound):
            await storage.create_run(wish("r2", base="i2"))

    on_storage(case)


@pytest.mark.parametrize("stateless", [False, True])
def test_a_run_that_asks_or_goes_back_in_line_keeps_its_own_state_as_head(
    stateless: bool, on_storage: OnStorage
) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1", stateless=stateless)
        batch = Batch(checkpoints=[state("x"), state("i1", namespace=SUB)])
        await storage.requeue(claim.attempt, batch, Requeue(), 2)
        assert (await storage.run("", "r1")).last_checkpoint == "x"
        (claim,) = await storage.claim({"a": None}, 1, 3)
        asks = Batch(checkpoints=[state("q", asked=question()), state("i2", namespace=SUB)])
        run = await storage.finish(claim.attempt, asks, Ending("asked"), 4)
        assert (run.last_checkpoint, (await storage.thread("", "t")).head) == ("q", "q")
        assert (await storage.thread("", "t")).status == "interrupted"

    on_storage(case)


# histories


def test_a_history_is_in_the_order_of_storing_whatever_the_ids(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        one = state("z")
        two = state("a", "t", one)
        three = state("m", "t", two)
        await storage.append(claim.attempt, Batch(checkpoints=[one, two]), 2)
        await storage.finish(claim.attempt, Batch(checkpoints=[three]), Ending("completed"), 3)
        assert await told(storage) == ["m", "a", "z"]
        assert await told(storage, before="m", limit=1) == ["a"]
        assert await told(storage, before="a") == ["z"]
        assert await told(storage, before="z") == []
        await storage.copy_thread("", "t", "copy", 4)
        own = state("b", "copy", three, run_id=None)
        assert await storage.patch_thread("", "copy", 5, checkpoint=own, expected_head="m") is not None
        assert await told(storage, "copy") == ["b", "m", "a", "z"]
        assert await told(storage, "copy", limit=3) == ["b", "m", "a"]
        assert await told(storage, "copy", before="b") == ["m", "a", "z"]
        assert await told(storage, "copy", before="m", limit=1) == ["a"]
        assert await told(storage, "copy", before="z") == []
        with pytest.raises(NotFound):
            await told(storage, before="b")
        with pytest.raises(NotFound):
            await told(storage, "nobody")

    on_storage(case)


def test_the_history_of_a_subgraph_is_in_the_order_of_ids(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        inner = [state(name, namespace=SUB) for name in ("j", "k", "i")]
        await storage.append(claim.attempt, Batch(checkpoints=[state("x"), *inner]), 2)
        assert await told(storage, namespace=SUB, limit=2) == ["k", "j"]
        assert await told(storage, namespace=SUB, before="k") == ["j", "i"]
        assert await told(storage, namespace=SUB, before="ja") == ["j", "i"]
        newest = await storage.newest("", "t", SUB)
        assert newest is not None
        assert newest.checkpoint.checkpoint_id == "k"
        assert await storage.inner_namespaces("", "t") == [SUB]
        with pytest.raises(NotFound):
            await told(storage, before="j")
        with pytest.raises(NotFound):
            await told(storage, "nobody", SUB)

    on_storage(case)


def test_a_run_reads_the_history_of_a_thread_that_is_hidden(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1", stateless=True)
        await storage.append(claim.attempt, Batch(checkpoints=[state("x"), state("i", namespace=SUB)]), 2)
        assert await told(storage) == ["x"]
        assert await told(storage, namespace=SUB) == ["i"]
        assert await storage.has_inner("", "t")

    on_storage(case)


def test_sizes_count_what_is_there(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await original(storage)
        sizes = await storage.thread_sizes("", "t")
        assert (sizes.checkpoints, sizes.writes, sizes.write_bytes) == (4, 2, 2)
        states = [*await storage.history("", "t", before=None, limit=10)]
        assert sizes.checkpoint_bytes > sum(len(one.checkpoint.body) for one in states) > 0
        await storage.copy_thread("", "t", "copy", 3)
        assert (await storage.thread_sizes("", "copy")).checkpoints == 0
        for owner, thread_id in (("other", "t"), ("", "nowhere")):
            with pytest.raises(NotFound):
                await storage.thread_sizes(owner, thread_id)

    on_storage(case)


# copies


async def original(storage: Storage) -> Attempt:
    """A thread of an executing run, with two states, two of a subgraph, and writes on the last of each."""
    claim = await claimed(storage, "r1")
    x1, i1 = state("x1"), state("i1", namespace=SUB)
    states = [x1, i1, state("i2", "t", i1, namespace=SUB), state("x2", "t", x1)]
    pending = [write("x2"), write("i2", namespace=SUB)]
    await storage.append(claim.attempt, Batch(checkpoints=states, pending=pending), 2)
    return claim.attempt


def test_a_copy_has_what_was_there_and_nothing_of_what_comes_later(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        attempt = await original(storage)
        await storage.copy_thread("", "t", "copy", 3)
        later = Batch(
            checkpoints=[state("i3", namespace=SUB), state("i4", namespace="node:2"), state("x3")],
            pending=[write("x2", "late"), write("i3", namespace=SUB)],
            settled=[write("x2"), write("i2", namespace=SUB)],
        )
        await storage.append(attempt, later, 4)
        assert await given(storage, "x2") == [("late", 0, b"v")]
        assert await given(storage, "x2", "copy") == [("task", 0, b"v")]
        assert await given(storage, "i2", "copy", SUB) == [("task", 0, b"v")]
        assert await given(storage, "i3", "copy", SUB) == []
        assert await storage.has_inner("", "copy")
        assert await told(storage, "copy", SUB) == ["i2", "i1"]
        assert await told(storage, "copy", SUB, before="i2") == ["i1"]
        assert await told(storage, "copy", "node:2") == []
        newest = await storage.newest("", "copy", SUB)
        assert newest is not None
        assert (newest.checkpoint.checkpoint_id, newest.state["n"]) == ("i2", b'"i2"')
        assert (await storage.snapshot("", "copy", "i1")).state["n"] == b'"i1"'
        for foreign in ("i3", "i4", "x3"):
            with pytest.raises(NotFound):
                await storage.snapshot("", "copy", foreign)
        assert await told(storage, "copy", SUB, before="i3") == ["i2", "i1"]
        assert await storage.inner_namespaces("", "copy") == [SUB]

    on_storage(case)


def test_what_a_copy_does_is_its_own_and_goes_into_copies_of_it(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await original(storage)
        await storage.copy_thread("", "t", "copy", 3)
        claim = await claimed(storage, "r2", "copy")
        mine = Batch(
            checkpoints=[state("j", "copy", namespace=SUB, run_id="r2")],
            pending=[write("i2", "more", namespace=SUB, run_id="r2")],
            settled=[write("x2")],
        )
        await storage.append(claim.attempt, mine, 4)
        assert await told(storage, "copy", SUB) == ["j", "i2", "i1"]
        assert await told(storage, "copy", SUB, before="j", limit=1) == ["i2"]
        assert await told(storage, "t", SUB) == ["i2", "i1"]
        assert await given(storage, "x2", "copy") == []
        assert await given(storage, "x2") == [("task", 0, b"v")]
        await storage.copy_thread("", "copy", "third", 5)
        assert await told(storage, "third", SUB) == ["j", "i2", "i1"]
        assert [place[0] for place in await given(storage, "i2", "third", SUB)] == ["more", "task"]
        assert await given(storage, "x2", "third") == []

    on_storage(case)


def test_a_copy_keeps_what_the_original_loses(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        attempt = await original(storage)
        await storage.copy_thread("", "t", "copy", 3)
        await storage.cancel("", "r1", "rollback", 4, None)
        await storage.finish(attempt, Batch(), Ending("rolled_back", "rollback", expires_at=5), 5)
        assert await told(storage, "t", SUB) == []
        # What was undone before is not in a copy that is made now.
        await storage.copy_thread("", "t", "late", 6)
        assert (await told(storage, "late", SUB), await storage.has_inner("", "late")) == ([], False)
        await sweep(storage)
        await storage.delete_thread("", "t", 7)
        await sweep(storage)
        assert await told(storage, "copy", SUB) == ["i2", "i1"]
        assert (await storage.snapshot("", "copy", "i2")).state["n"] == b'"i2"'
        await storage.copy_thread("", "copy", "third", 8)
        await storage.delete_thread("", "copy", 9)
        await sweep(storage)
        assert (await storage.snapshot("", "third", "i2")).state["n"] == b'"i2"'
        assert await given(storage, "i2", "third", SUB) == [("task", 0, b"v")]
        for thread_id in ("third", "late"):
            await storage.delete_thread("", thread_id, 10)
        await sweep(storage)
        assert await leaks(storage) == EMPTY

    on_storage(case)


@pytest.mark.parametrize("how", ["deleted", "used again"])
def test_a_copy_of_nothing_but_subgraphs_states_keeps_them(how: str, on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        i1 = state("i1", namespace=SUB)
        batch = Batch(checkpoints=[i1, state("i2", "t", i1, namespace=SUB)])
        await storage.finish(claim.attempt, batch, Ending("failed"), 2)
        await storage.copy_thread("", "t", "copy", 3)
        assert ((await storage.thread("", "copy")).head, await storage.has_inner("", "copy")) == (None, True)
        await storage.cancel("", "r1", "rollback", 4, 5)
        await sweep(storage)
        assert (await storage.snapshot("", "copy", "i2")).state["n"] == b'"i2"'
        await storage.delete_thread("", "t", 6)
        await sweep(storage)
        assert await told(storage, "copy", SUB) == ["i2", "i1"]
        await storage.delete_thread("", "copy", 7)
        if how == "used again":
            await storage.create_thread("", "copy", b"{}", 8, if_exists="raise")
        await sweep(storage)
        assert await leaks(storage) == EMPTY

    on_storage(case)


# undoing


def test_a_rollback_takes_back_all_that_the_run_left_and_settled(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await claimed(storage, "r1")
        x, i = state("x"), state("i", namespace=SUB)
        before = [write("x"), write("x", index=-1), write("i", namespace=SUB)]
        await storage.finish(first.attempt, Batch(checkpoints=[x, i], pending=before), Ending("failed"), 2)
        second = await claimed(storage, "r2")
        mine = Batch(
            checkpoints=[state("y", "t", x, run_id="r2"), state("j", "t", i, namespace=SUB, run_id="r2")],
            pending=[
                write("x", "other", run_id="r2"), write("x", index=-1, value=b"new", run_id="r2"),
                write("y", run_id="r2"), write("j", namespace=SUB, run_id="r2"),
            ],
            settled=[write("x"), write("i", namespace=SUB)],
        )  # fmt: skip
        await storage.append(second.attempt, mine, 3)
        assert await given(storage, "x") == [("other", 0, b"v"), ("task", -1, b"new")]
        await storage.put_writes("", "t", [write("y", "outside", run_id="")], 3)
        await storage.cancel("", "r2", "rollback", 4, None)
        await storage.finish(second.attempt, Batch(), Ending("rolled_back", "rollback", expires_at=9), 5)
        assert await given(storage, "x") == [("task", -1, b"v"), ("task", 0, b"v")]
        assert await given(storage, "i", namespace=SUB) == [("task", 0, b"v")]
        assert (await given(storage, "y"), await given(storage, "j", namespace=SUB)) == ([], [])
        assert await told(storage, namespace=SUB) == ["i"]
        assert (await storage.thread("", "t")).head == "x"
        await sweep(storage)
        assert (await leaks(storage))["checkpoints"] == 2

    on_storage(case)


async def failed(storage: Storage, run_id: str, **batch: Any) -> None:
    claim = await claimed(storage, run_id)
    await storage.finish(claim.attempt, Batch(**batch), Ending("failed"), 2)


LATER: dict[str, tuple[int, dict[str, Any], dict[str, Any], list[bytes]]] = {
    "replaced again": (-1, {"pending": [b"2"]}, {"pending": [b"3"]}, [b"3"]),
    "settled what it gave": (-1, {"pending": [b"2"]}, {"settled": True}, []),
    "gave anew": (0, {"settled": True}, {"pending": [b"3"]}, [b"3"]),
}
"""The index of a write that r1 gave, what r2 does to it, what r3 does then, and what counts when r2 is forgotten."""


@pytest.mark.parametrize("case_name", LATER)
def test_what_later_runs_did_stays_when_one_is_forgotten(case_name: str, on_storage: OnStorage) -> None:
    index, second, third, left = LATER[case_name]

    def batch(run_id: str, pending: Sequence[bytes] = (), settled: bool = False) -> dict[str, Any]:
        return {
            "pending": [write("x", index=index, value=value, run_id=run_id) for value in pending],
            "settled": [write("x", index=index)] if settled else [],
        }

    async def case(storage: Storage) -> None:
        await failed(storage, "r1", checkpoints=[state("x")], **batch("r1", [b"1"]))
        await failed(storage, "r2", **batch("r2", **second))
        await failed(storage, "r3", **batch("r3", **third))
        await storage.forget_runs("", ["r2"], 3)
        assert await given(storage, "x") == [("task", index, value) for value in left]
        await storage.cancel("", "r3", "rollback", 4, 5)
        assert await given(storage, "x") == [("task", index, b"1")]

    on_storage(case)


def test_a_run_that_is_forgotten_hands_on_to_the_next_that_gave_though_that_was_settled_too(
    on_storage: OnStorage,
) -> None:
    async def case(storage: Storage) -> None:
        await failed(storage, "r1", checkpoints=[state("x")], pending=[write("x", value=b"1")])
        await failed(storage, "r2", settled=[write("x")])
        await failed(storage, "r3", pending=[write("x", value=b"3", run_id="r3")])
        await failed(storage, "r4", settled=[write("x")])
        await storage.forget_runs("", ["r2"], 3)
        assert await given(storage, "x") == []
        await storage.cancel("", "r4", "rollback", 4, 5)
        assert await given(storage, "x") == [("task", 0, b"3")]
        await storage.cancel("", "r3", "rollback", 4, 5)
        assert await given(storage, "x") == [("task", 0, b"1")]

    on_storage(case)


def test_a_rollback_leaves_what_came_from_outside_since(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await failed(storage, "r1", checkpoints=[state("x")], pending=[write("x", value=b"1")])
        await failed(storage, "r2", settled=[write("x")])
        await storage.put_writes("", "t", [write("x", value=b"outside", run_id="")], 3)
        await storage.cancel("", "r2", "rollback", 4, 5)
        assert await given(storage, "x") == [("task", 0, b"outside")]
        assert (await leaks(storage))["pending_writes"] == 1

    on_storage(case)


def test_what_a_run_had_settled_goes_with_its_record(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await claimed(storage, "r1")
        await storage.finish(first.attempt, Batch(checkpoints=[state("x")], pending=[write("x")]), Ending("failed"), 2)
        second = await claimed(storage, "r2")
        await storage.finish(second.attempt, Batch(settled=[write("x")]), Ending("completed"), 3)
        assert await given(storage, "x") == []
        assert (await leaks(storage))["pending_writes"] == 1
        await sweep(storage, 9, runs_before=2)
        assert (await leaks(storage))["pending_writes"] == 1
        await sweep(storage, 9, runs_before=3)
        assert (await leaks(storage))["pending_writes"] == 0
        assert (await storage.thread("", "t")).head == "x"

    on_storage(case)


def test_a_finished_run_that_left_states_of_subgraphs_only_is_rolled_back(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        batch = Batch(checkpoints=[state("i", namespace=SUB)], pending=[write("i", namespace=SUB)])
        await storage.finish(claim.attempt, batch, Ending("failed"), 2)
        await storage.cancel("", "r1", "rollback", 3, 4)
        assert not await storage.has_inner("", "t")
        await sweep(storage)
        assert await leaks(storage) == EMPTY

    on_storage(case)


def test_a_deleted_thread_and_a_stateless_one_leave_nothing(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await original(storage)
        await storage.delete_thread("", "t", 3)
        assert (await storage.figures())["pending_writes"] > 0
        claim = await claimed(storage, "r2", "hidden", stateless=True)
        inner = state("i", "hidden", namespace=SUB, run_id="r2")
        batch = Batch(checkpoints=[inner, state("x", "hidden", run_id="r2")], pending=[write("x")])
        await storage.finish(claim.attempt, batch, Ending("completed", expires_at=5), 4)
        await sweep(storage)
        assert await leaks(storage) == EMPTY

    on_storage(case)


def test_an_id_that_is_used_again_has_none_of_it(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await original(storage)
        await storage.copy_thread("", "t", "copy", 3)
        for thread_id in ("t", "copy"):
            await storage.delete_thread("", thread_id, 4)
            await storage.create_thread("", thread_id, b"{}", 5, if_exists="raise")
            assert not await storage.has_inner("", thread_id)
            assert await given(storage, "x2", thread_id) == []
            assert await told(storage, thread_id, SUB) == []
        await sweep(storage)
        assert await leaks(storage) == EMPTY

    on_storage(case)


def test_more_of_it_than_a_batch_goes_whole(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        inner = [state(f"i{n}", namespace=f"node:{n}") for n in range(300)]
        pending = [write("x", f"task{n}") for n in range(500)]
        await storage.append(claim.attempt, Batch(checkpoints=inner, pending=pending), 2)
        await storage.copy_thread("", "t", "copy", 3)
        for thread_id in ("t", "copy"):
            await storage.delete_thread("", thread_id, 4)
        await sweep(storage)
        assert await leaks(storage) == EMPTY

    on_storage(case)


# from outside any attempt


async def put_all(storage: Storage, *stored: Checkpoint) -> None:
    for checkpoint in stored:
        await storage.put_checkpoint("", checkpoint, 2)


def test_a_checkpoint_that_is_put_is_the_head_and_makes_its_thread(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        one = state("x", run_id=None)
        two = state("y", "t", one, run_id=None)
        await put_all(storage, state("i", namespace=SUB, run_id=None))
        assert (await storage.thread("", "t")).head is None
        await put_all(storage, one, two)
        assert (await storage.thread("", "t")).head == "y"
        assert await told(storage) == ["y", "x"]
        assert await told(storage, namespace=SUB) == ["i"]
        with pytest.raises(Conflict, match="exists"):
            await storage.put_checkpoint("", one, 3)
        with pytest.raises(NotFound):
            await storage.put_checkpoint("", state("z", "t", state("lost")), 3)
        await storage.delete_thread("", "t", 4)
        await put_all(storage, state("z", run_id=None))
        assert ((await storage.thread("", "t")).head, await told(storage)) == ("z", ["z"])
        with pytest.raises(NotFound):
            await storage.thread("bob", "t")
        await claimed(storage, "r1")
        with pytest.raises(Conflict) as busy:
            await storage.put_checkpoint("", state("w"), 5)
        assert busy.value.reason == "thread_busy"

    on_storage(case)


def test_a_thread_is_revised_whole_or_not_at_all(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        asks = Batch(checkpoints=[state("q", asked=question())])
        await storage.finish(claim.attempt, asks, Ending("asked"), 2)
        one = state("x", "t", asks.checkpoints[0], run_id=None, asked=question())
        two = state("y", "t", one, run_id=None, asked=question())
        inner = state("i", namespace=SUB, run_id=None)
        told_of = [entry("values", ValuesPointer(checkpoint.checkpoint_id)) for checkpoint in (one, two)]
        pending = [write("y", run_id=""), write("i", namespace=SUB, run_id="")]
        before = (await storage.thread("", "t")).last_seq
        whole = [one, inner, two], pending, told_of
        assert await storage.revise_thread("", "t", *whole, None, 3) is None  # its head is another
        with pytest.raises(NotFound):
            await storage.revise_thread("", "t", [one, state("z", "t", state("lost"))], pending, told_of, "q", 3)
        for owner, thread_id in (("bob", "t"), ("", "other")):
            with pytest.raises(NotFound):
                await storage.revise_thread(owner, thread_id, [], [], [], None, 3)
        assert (await told(storage), await given(storage, "y")) == (["q"], [])
        assert (await storage.thread("", "t")).last_seq == before

        thread = await storage.revise_thread("", "t", *whole, "q", 3)
        assert thread is not None
        assert (thread.head, thread.asking, thread.updated_at) == ("y", True, 3)
        assert (await told(storage), await told(storage, namespace=SUB)) == (["y", "x", "q"], ["i"])
        assert await given(storage, "y") == await given(storage, "i", namespace=SUB) == [("task", 0, b"v")]
        events = await storage.events("", "t", after=before, run_id=None, limit=10)
        assert [(event.run_id, values_text(event)) for event in events] == [(None, b'{"n":"x"}'), (None, b'{"n":"y"}')]
        with pytest.raises(Conflict, match="exists"):
            await storage.revise_thread("", "t", [one], [], [], "y", 4)

        # The question is closed by a state that does not ask; a subgraph's state leaves it as it is.
        only = state("j", "t", inner, namespace=SUB, run_id=None)
        revised = await storage.revise_thread("", "t", [only], [], [], "y", 4)
        assert (revised and revised.head, revised and revised.asking) == ("y", True)
        revised = await storage.revise_thread("", "t", [state("z", "t", two, run_id=None)], [], [], "y", 5)
        assert (revised and revised.head, revised and revised.asking) == ("z", False)
        await claimed(storage, "r2")
        with pytest.raises(Conflict) as busy:
            await storage.revise_thread("", "t", [], [], [], "z", 6)
        assert busy.value.reason == "thread_busy"

    on_storage(case)


def test_writes_that_are_put_replace_errors_and_keep_results(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await storage.put_writes("", "t", [write("x", run_id=""), write("x", index=-1, run_id="")], 1)
        again = [write("x", value=b"late", run_id=""), write("x", index=-1, value=b"late", run_id="")]
        await storage.put_writes("", "t", again, 2)
        assert await given(storage, "x") == [("task", -1, b"late"), ("task", 0, b"v")]
        assert (await storage.thread("", "t")).head is None
        assert await given(storage, "x", "other") == []

    on_storage(case)


def test_runs_are_forgotten_with_all_that_they_made(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        x = state("x")
        await storage.finish(claim.attempt, Batch(checkpoints=[x]), Ending("completed"), 2)
        y = state("y", "t", x, run_id="put")
        z = state("z", "t", y, run_id="last", value=b'"%s"' % (b"z" * 9))
        await put_all(
            storage, y, z, state("i", namespace=SUB, run_id="put"), state("j", namespace=SUB, run_id="last"),
            state("w", "other", run_id="put"),
        )  # fmt: skip
        await storage.put_writes("", "t", [write("y", run_id=""), write("z", run_id="")], 2)
        assert (await storage.snapshot("", "t", "y")).state["n"] == b'"y"'
        await storage.forget_runs("", ["put", "nobody"], 3)
        assert await told(storage) == ["z", "x"]
        assert await told(storage, namespace=SUB) == ["j"]
        assert (await given(storage, "y"), await given(storage, "z")) == ([], [("task", 0, b"v")])
        assert (await storage.thread("", "other")).head is None
        with pytest.raises(NotFound):
            await storage.snapshot("", "t", "y")
        await sweep(storage)
        assert (await rows(storage))["checkpoints"] == 3
        assert (await storage.snapshot("", "t", "z")).state["n"] == b'"zzzzzzzzz"'
        await storage.forget_runs("", ["last"], 4)
        assert (await storage.thread("", "t")).head == "x"
        await storage.forget_runs("", ["r1"], 5)
        assert (await storage.thread("", "t")).head is None
        assert await told(storage) == []
        # Nobody else's.
        await put_all(storage, state("v", run_id="mine"))
        await storage.forget_runs("bob", ["mine"], 6)
        assert (await storage.thread("", "t")).head == "v"

    on_storage(case)


def test_a_run_that_is_forgotten_has_settled_nothing(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await claimed(storage, "r1")
        x = state("x")
        await storage.finish(first.attempt, Batch(checkpoints=[x], pending=[write("x")]), Ending("failed"), 2)
        second = await claimed(storage, "r2")
        mine = Batch(
            checkpoints=[state("y", "t", x, run_id="r2")], pending=[write("x", "other", run_id="r2")],
            settled=[write("x")],
        )  # fmt: skip
        await storage.finish(second.attempt, mine, Ending("completed"), 3)
        assert await given(storage, "x") == [("other", 0, b"v")]
        await storage.forget_runs("", ["r2"], 4)
        assert ((await storage.thread("", "t")).head, await given(storage, "x")) == ("x", [("task", 0, b"v")])

    on_storage(case)


def test_nothing_is_forgotten_or_pruned_below_a_run(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await put_all(storage, state("x", run_id="put"))
        await claimed(storage, "r1")
        for verb in (lambda: storage.forget_runs("", ["put"], 3), lambda: storage.prune("", "t", ["x"], 3)):
            with pytest.raises(Conflict) as busy:
                await verb()
            assert busy.value.reason == "thread_busy"
        assert (await storage.thread("", "t")).head == "x"

    on_storage(case)


def test_pruning_to_what_lasts_leaves_what_later_runs_go_on_from(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        x, m1 = state("x"), state("m1", namespace="memory")
        inner = [m1, state("m2", "t", m1, namespace="memory"), state("i", namespace=SUB)]
        await storage.finish(claim.attempt, Batch(checkpoints=[x, state("y", "t", x), *inner]), Ending("completed"), 2)
        await storage.prune("", "t", None, 3)
        assert [await told(storage, namespace=name) for name in ("", "memory", SUB)] == [["y"], ["m2"], []]
        await storage.create_thread("", "new", b"{}", 4, if_exists="raise")
        await storage.prune("", "new", None, 5)

    on_storage(case)


def test_pruning_leaves_what_is_to_be_kept(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        x, i = state("x", value=b'"%s"' % (b"x" * 900)), state("i", namespace=SUB, value=b'"%s"' % (b"i" * 900))
        y = state("y", "t", x)
        z = checkpoints.plan(
            checkpoint_id="z", thread_id="t", parent=y, changes={"m": set_to(b"1")}, run_id=None, created_at=1,
            state={"n": b'"y"', NAME: b'"y"', "m": b"1"}, source="update",
        )  # fmt: skip
        inner = [i, state("j", "t", i, namespace=SUB), state("k", namespace="node:2")]
        pending = [write("x"), write("y"), write("i", namespace=SUB), write("j", namespace=SUB)]
        batch = Batch(checkpoints=[x, y, *inner], pending=pending)
        await storage.finish(claim.attempt, batch, Ending("completed"), 2)
        assert await storage.patch_thread("", "t", 3, checkpoint=z, expected_head="y") is not None
        await storage.prune("", "t", ["z", "j", "k"], 4)
        await storage.prune("", "nobody", ["z"], 4)
        assert await told(storage) == ["z"]
        assert (await told(storage, namespace=SUB), await told(storage, namespace="node:2")) == (["j"], ["k"])
        # The revision goes by the name of what it revised, and so do the writes on it.
        assert (await given(storage, "x"), await given(storage, "y")) == ([], [("task", 0, b"v")])
        assert (await given(storage, "i", namespace=SUB), await given(storage, "j", namespace=SUB)) == (
            [],
            [("task", 0, b"v")],
        )
        assert (await storage.thread("", "t")).head == "z"
        await sweep(storage, runs_before=10)
        assert (await rows(storage))["checkpoints"] == 3
        whole = {"n": b'"y"', NAME: b'"y"', "m": b"1"}
        assert (await storage.snapshot("", "t", "z")).state == whole
        assert (await storage.snapshot("", "t", "j")).state["n"] == b'"j"'

    on_storage(case)


def test_a_copy_keeps_the_history_that_the_original_was_pruned_of(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        x = state("x", run_id=None)
        y = state("y", "t", x, run_id=None)
        i = state("i", namespace=SUB, run_id=None)
        j = state("j", "t", i, namespace=SUB, run_id=None)
        await put_all(storage, x, y, i, j)
        await storage.copy_thread("", "t", "copy", 3)
        await storage.prune("", "t", ["y", "j"], 4)
        await sweep(storage)
        assert (await told(storage, "copy"), await told(storage, "copy", SUB)) == (["y", "x"], ["j", "i"])
        assert (await told(storage), await told(storage, namespace=SUB)) == (["y"], ["j"])
        # What a copy is pruned of stays where the rest is stored as differences to it.
        await storage.prune("", "copy", ["j"], 5)
        await sweep(storage)
        assert await told(storage, "copy", SUB) == ["j"]
        assert (await storage.snapshot("", "copy", "j")).state["n"] == b'"j"'
        for thread_id in ("t", "copy"):
            await storage.delete_thread("", thread_id, 6)
        await sweep(storage)
        assert await leaks(storage) == EMPTY

    on_storage(case)


def test_what_an_open_question_goes_back_to_is_not_pruned(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await claimed(storage, "r1")
        batch, one = step(first.attempt, 1)
        await storage.finish(first.attempt, batch, Ending("completed"), 2)
        second = await claimed(storage, "r2")
        middle, two = step(second.attempt, 2, one)
        await storage.append(second.attempt, middle, 3)
        asks, _ = step(second.attempt, 3, two, asked=question("c1", "r2"))
        await storage.finish(second.attempt, asks, Ending("asked"), 4)
        await storage.prune("", "t", ["c3"], 5)
        await storage.forget_runs("", ["r1"], 5)
        assert await told(storage) == ["c3", "c1"]

    on_storage(case)


def test_a_rollback_goes_back_to_what_is_left(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await claimed(storage, "r1")
        batch, one = step(first.attempt, 1)
        await storage.finish(first.attempt, batch, Ending("completed"), 2)
        second = await claimed(storage, "r2")
        more, _ = step(second.attempt, 2, one)
        await storage.finish(second.attempt, more, Ending("completed"), 3)
        await storage.prune("", "t", ["c2"], 4)
        await storage.cancel("", "r2", "rollback", 5, 6)
        assert (await storage.thread("", "t")).head is None

    on_storage(case)


# what is hidden


def test_hidden_channels_are_kept_and_neither_found_nor_told(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        hidden: State = {"n": b"1", HIDDEN + "versions": b"7"}
        checkpoint = checkpoints.plan(
            checkpoint_id="x", thread_id="t", parent=None, changes={k: set_to(v) for k, v in hidden.items()},
            state=hidden, run_id="r1", created_at=1, source="step",
        )  # fmt: skip
        told_of_it = [entry("values", ValuesPointer("x"), SUB)]
        await storage.append(claim.attempt, Batch(told_of_it, {0: hidden}, [checkpoint]), 2)
        (event,) = [e for e in await storage.events("", "t", after=0, run_id=None, limit=9) if e.kind == "values"]
        assert (values_text(event), event.namespace) == (b'{"n":1}', SUB)
        assert (await storage.snapshot("", "t", "x")).state == hidden
        assert await storage.search_threads("", ThreadFilter(values={HIDDEN + "versions": 7})) == []
        assert len(await storage.search_threads("", ThreadFilter(values={"n": 1}))) == 1

    on_storage(case)
