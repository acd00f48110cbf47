"""Messages that are put into a run, on every storage adapter: accepted once, never lost, never after the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from test_storage import claimed, wish

from runyard import checkpoints
from runyard.checkpoints import Asked, Checkpoint, Question, set_to
from runyard.errors import Conflict, NotFound
from runyard.events import values_text
from runyard.runs import Attempt
from runyard.runtime.contract import Injected, Record
from runyard.storage.contract import Batch, Ending, Requeue, Storage

OnStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]
encode = msgspec.json.encode


def message(id: str) -> bytes:
    return encode({"id": id, "role": "user", "content": f"text of {id}"})


def state(*ids: str, **more: Any) -> dict[str, bytes]:
    """A thread's state with these messages."""
    return {**{key: encode(value) for key, value in more.items()}, "messages": encode([loads(i) for i in ids])}


def loads(id: str) -> Any:
    return msgspec.json.decode(message(id))


def took(*numbers: int, nth: int = 1) -> Batch:
    return Batch(records=[Record("take", "", nth, encode({"taken": numbers}), nth)])


def put(attempt: Attempt, values: dict[str, bytes], parent: Checkpoint | None = None, **more: Any) -> Checkpoint:
    return checkpoints.plan(
        checkpoint_id=f"c-{attempt.run_id}", thread_id="t", parent=parent, run_id=attempt.run_id, created_at=2,
        changes={name: set_to(value) for name, value in values.items()}, state=values, source="step", **more,
    )  # fmt: skip


async def ids_of(storage: Storage) -> list[str]:
    """The ids of the messages in the thread's state."""
    head = (await storage.thread("", "t")).head
    found = {} if head is None else (await storage.snapshot("", "t", head)).state
    return [one["id"] for one in msgspec.json.decode(found.get("messages", b"[]"))]


async def kinds(storage: Storage) -> list[str]:
    return [event.kind for event in await storage.events("", "t", after=0, run_id=None, limit=100)]


DONE = Ending("completed", final={}, injects=True)


def test_what_is_put_into_a_run_is_an_event_of_its_log_and_can_be_read_from_any_place(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await claimed(storage, "r1")
        await storage.inject("", "r1", [message("m1"), message("m2")], 5)
        await storage.inject("", "r1", [message("m3")], 6)
        all_three = [Injected(n, message(f"m{n}")) for n in (1, 2, 3)]
        assert await storage.injected("r1", 0) == all_three
        assert await storage.injected("r1", 2) == all_three[2:]
        told = [event for event in await storage.events("", "t", after=0, run_id="r1", limit=9) if event.at > 1]
        assert [(event.kind, event.at, msgspec.json.decode(event.data)[0]["id"]) for event in told] == [
            ("messages", 5, "m1"), ("messages", 5, "m2"), ("messages", 6, "m3"),
        ]  # fmt: skip
        # They come with the records of the invocation, so that who begins an attempt asks once.
        assert [(r.kind, r.nth) for r in await storage.records("r1")] == [("injected", n) for n in (1, 2, 3)]

    on_storage(case)


def test_a_message_that_is_sent_again_is_accepted_once(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await claimed(storage, "r1")
        await storage.inject("", "r1", [message("m1")], 5)
        await storage.inject("", "r1", [message("m1"), message("m2"), message("m2")], 6)
        assert [one.number for one in await storage.injected("r1", 0)] == [1, 2]
        assert (await kinds(storage)).count("messages") == 2

    on_storage(case)


def test_a_run_that_waits_for_a_place_takes_messages_and_leaves_them_where_it_never_begins(
    on_storage: OnStorage,
) -> None:
    async def case(storage: Storage) -> None:
        await storage.create_run(wish("r1"))
        await storage.inject("", "r1", [message("m1")], 5)
        await storage.cancel("", "r1", "interrupt", 6, None)
        assert (await ids_of(storage), (await storage.run("", "r1")).outcome) == (["m1"], "cancelled")
        await storage.create_run(wish("r2"))
        await storage.inject("", "r2", [message("m2")], 7)
        claim = (await storage.claim({"a": None}, 1, 8))[0]
        assert [one.body for one in await storage.injected(claim.run.invocation, 0)] == [message("m2")]
        assert await storage.active_run("", "t") == claim.run
        later = await storage.create_run(wish("r3", "t2", due_at=100))
        assert [await storage.active_run("", thread_id) for thread_id in ("t2", "t3")] == [None, None]
        assert await storage.active_run("bob", "t") is None
        with pytest.raises(Conflict):
            await storage.inject("", later.run.run_id, [message("m3")], 9)

    on_storage(case)


def test_only_a_run_that_has_begun_or_is_next_and_is_not_over_takes_messages(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await claimed(storage, "r1")
        await storage.create_run(wish("r2"))
        with pytest.raises(NotFound):
            await storage.inject("", "r9", [message("m1")], 5)
        with pytest.raises(NotFound):
            await storage.inject("bob", "r1", [message("m1")], 5)
        with pytest.raises(Conflict, match="waiting in line") as refused:
            await storage.inject("", "r2", [message("m1")], 5)
        assert refused.value.reason == "no_active_run"
        # Between two attempts it is not over.
        await storage.requeue(first.attempt, Batch(), Requeue(due_at=100), 6)
        await storage.inject("", "r1", [message("m1")], 7)
        claim = (await storage.claim({"a": None}, 1, 101))[0]
        await storage.cancel("", "r1", "interrupt", 102, None)
        with pytest.raises(Conflict, match="being cancelled"):
            await storage.inject("", "r1", [message("m2")], 103)
        await storage.finish(claim.attempt, Batch(), Ending("cancelled", "interrupt", final={}, injects=True), 104)
        with pytest.raises(Conflict, match="it is over"):
            await storage.inject("", "r1", [message("m3")], 105)
        assert await ids_of(storage) == ["m1"]

    on_storage(case)


@pytest.mark.parametrize("outcome", ["completed", "failed", "timed_out", "cancelled"])
def test_what_was_not_taken_is_part_of_the_threads_messages_when_the_run_is_over(
    on_storage: OnStorage, outcome: Any
) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        before = state("old", n=1)
        await storage.inject("", "r1", [message(f"m{n}") for n in (1, 2, 3)], 5)
        await storage.append(claim.attempt, took(2), 6)
        batch = Batch(checkpoints=[put(claim.attempt, before)], records=took(1, nth=2).records)
        ended = await storage.finish(claim.attempt, batch, Ending(outcome, final=before, injects=True), 7)
        assert await ids_of(storage) == ["old", "m3"]
        head = (await storage.thread("", "t")).head
        assert (ended.last_checkpoint, head != "c-r1") == (head, True)
        last = await storage.events("", "t", after=0, run_id="r1", limit=100)
        assert [event.kind for event in last[-2:]] == ["values", "lifecycle"]
        assert msgspec.json.decode(values_text(last[-2]))["n"] == 1
        assert (await storage.snapshot("", "t", str(head))).checkpoint.source == "input"

    on_storage(case)


def test_it_goes_onto_what_is_stored_where_an_executor_that_broke_cannot_say_what_the_state_is(
    on_storage: OnStorage,
) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.append(claim.attempt, Batch(checkpoints=[put(claim.attempt, state("old", n=1))]), 4)
        await storage.inject("", "r1", [message("m1")], 5)
        await storage.finish(claim.attempt, Batch(), Ending("failed", injects=True), 6)
        assert await ids_of(storage) == ["old", "m1"]
        assert (await storage.snapshot("", "t", str((await storage.thread("", "t")).head))).state["n"] == b"1"

    on_storage(case)


def test_a_run_that_took_everything_or_was_sent_nothing_leaves_nothing(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.inject("", "r1", [message("m1")], 5)
        assert (await storage.finish(claim.attempt, took(1), DONE, 6)).last_checkpoint is None
        other = await claimed(storage, "r2")
        assert (await storage.finish(other.attempt, Batch(), DONE, 6)).last_checkpoint is None
        assert (await storage.thread("", "t")).head is None

    on_storage(case)


def test_a_message_with_a_known_id_replaces_the_one_that_is_there(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.inject("", "r1", [message("m1"), encode({"id": "old", "content": "new"})], 5)
        before = state("old", "older")
        batch = Batch(checkpoints=[put(claim.attempt, before)])
        await storage.finish(claim.attempt, batch, Ending("completed", final=before, injects=True), 7)
        assert await ids_of(storage) == ["old", "older", "m1"]
        found = await storage.snapshot("", "t", str((await storage.thread("", "t")).head))
        assert msgspec.json.decode(found.state["messages"])[0] == {"id": "old", "content": "new"}

    on_storage(case)


def test_what_a_stateless_run_did_not_take_is_in_its_last_state(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1", stateless=True)
        await storage.inject("", "r1", [message("m1")], 5)
        ended = await storage.finish(claim.attempt, Batch(), DONE, 6)
        found = await storage.snapshot("", "t", str(ended.last_checkpoint))
        assert msgspec.json.decode(found.state["messages"]) == [loads("m1")]
        assert [event.seq for event in await storage.events("", "t", after=0, run_id="r1", limit=9)] == [1, 2, 3, 4, 5]

    on_storage(case)


@pytest.mark.parametrize("how", ["abandon", "lost", "cancelled", "waiting"])
def test_it_is_so_too_where_a_run_ends_without_its_executor(on_storage: OnStorage, how: str) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1", max_attempts=1 if how == "lost" else 3)
        before = state("old")
        await storage.append(claim.attempt, Batch(checkpoints=[put(claim.attempt, before)]), 4)
        await storage.inject("", "r1", [message("m1"), message("m2")], 5)
        await storage.append(claim.attempt, took(1), 6)
        if how == "waiting":
            await storage.requeue(claim.attempt, Batch(), Requeue(due_at=100), 7)
            await storage.cancel("", "r1", "interrupt", 8, None)
        else:
            if how == "cancelled":
                await storage.cancel("", "r1", "interrupt", 7, None)
            await (storage.abandon(claim.attempt, 8, None) if how == "abandon" else storage.recover(8, 9))
        assert await ids_of(storage) == ["old", "m2"]
        run, thread = await storage.run("", "r1"), await storage.thread("", "t")
        assert (run.finished, run.last_checkpoint, thread.asking) == (True, thread.head, False)
        assert (await kinds(storage))[-3:-1].count("values") == 1

    on_storage(case)


def test_after_a_crash_it_waits_for_the_next_attempt(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await claimed(storage, "r1")
        await storage.inject("", "r1", [message("m1")], 5)
        await storage.recover(6, 9)
        assert (await ids_of(storage), (await storage.run("", "r1")).status) == ([], "pending")
        claim = (await storage.claim({"a": None}, 1, 7))[0]
        assert [one.number for one in await storage.injected("r1", 0)] == [1]
        await storage.finish(claim.attempt, Batch(), DONE, 8)
        assert await ids_of(storage) == ["m1"]

    on_storage(case)


def test_where_a_question_is_left_open_it_waits_for_the_answer(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.inject("", "r1", [message("m1")], 5)
        asked = Asked("r1", "a", None, [Question("q1", msgspec.Raw(b'"sure?"'))])
        batch = Batch(checkpoints=[put(claim.attempt, {}, asked=asked)])
        await storage.finish(claim.attempt, batch, Ending("asked", final={}, injects=True), 6)
        assert (await storage.thread("", "t")).asking
        # A resume that fails leaves the question open, and the message with it; one that goes on gets it.
        request = encode({"command": {"resume": 1}})
        failing = await claimed(storage, "r2", resumes=True, request=request)
        await storage.finish(failing.attempt, Batch(), Ending("failed", final={}, injects=True), 7)
        assert ((await storage.thread("", "t")).asking, await ids_of(storage)) == (True, [])
        going_on = await claimed(storage, "r3", resumes=True, request=request)
        await storage.inject("", "r3", [message("m2")], 8)
        assert [one.number for one in await storage.injected(going_on.run.invocation, 0)] == [1, 2]
        await storage.finish(going_on.attempt, took(1), DONE, 9)
        assert await ids_of(storage) == ["m2"]

    on_storage(case)


def test_a_rollback_undoes_it(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.inject("", "r1", [message("m1")], 5)
        await storage.finish(claim.attempt, Batch(), DONE, 6)
        await storage.cancel("", "r1", "rollback", 7, None)
        assert (await storage.thread("", "t")).head is None
        assert await storage.injected("r1", 0) == []
        second = await claimed(storage, "r2")
        await storage.inject("", "r2", [message("m1")], 8)
        await storage.cancel("", "r2", "rollback", 9, None)
        await storage.finish(second.attempt, Batch(), Ending("rolled_back", "rollback", final={}, injects=True), 10)
        assert ((await storage.thread("", "t")).head, await storage.injected("r2", 0)) == (None, [])

    on_storage(case)


def test_so_many_may_wait_and_no_more(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.inject("", "r1", [message(f"m{n}") for n in range(1000)], 5)
        with pytest.raises(Conflict, match="1000 may wait") as refused:
            await storage.inject("", "r1", [message("one more")], 6)
        assert refused.value.reason == "inbox_full"
        await storage.append(claim.attempt, took(7), 7)
        await storage.inject("", "r1", [message("one more")], 8)
        assert (await storage.injected("r1", 1000))[0].body == message("one more")

    on_storage(case)
