"""What every storage adapter does. The cases speak the contract only; an adapter joins in `conftest.ADAPTERS`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from runyard import checkpoints
from runyard.checkpoints import Asked, Checkpoint, Question, set_to
from runyard.errors import CancelRequested, Conflict, IdempotencyMismatch, LeaseLost, NotFound
from runyard.events import Event, ValuesPointer, entry, values_text
from runyard.items import ItemSearch, NamespaceQuery
from runyard.runs import Attempt, NewRun, RunFilter
from runyard.runtime.contract import Record
from runyard.storage.contract import Batch, Claim, Created, Ending, Requeue, Storage
from runyard.threads import ThreadFilter

OnStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]


def wish(run_id: str, thread_id: str = "t", **more: Any) -> NewRun:
    fields: dict[str, Any] = {
        "run_id": run_id, "owner": "", "agent_id": "a", "request": b"{}", "metadata": b"{}", "created_at": 1,
        "thread_id": thread_id, "stateless": False, "create_thread": True, "strategy": "enqueue", "max_attempts": 3,
        "resumes": False,
    }  # fmt: skip
    return NewRun(**{**fields, **more})


async def claimed(storage: Storage, run_id: str, thread_id: str = "t", **more: Any) -> Claim:
    created = await storage.create_run(wish(run_id, thread_id, claim=True, **more))
    assert created.claim is not None
    return created.claim


def step(attempt: Attempt, number: int, parent: Checkpoint | None = None, **more: Any) -> tuple[Batch, Checkpoint]:
    """A batch with one checkpoint that sets channel `n`."""
    changes = {"n": set_to(str(number).encode())}
    checkpoint = checkpoints.plan(
        checkpoint_id=f"c{number}", thread_id=attempt.thread_id, parent=parent, changes=changes,
        state={"n": str(number).encode()}, run_id=attempt.run_id, created_at=number, source="step", **more,
    )  # fmt: skip
    pointer = entry("values", ValuesPointer(checkpoint.checkpoint_id))
    return Batch([pointer], {0: {"n": str(number).encode()}}, [checkpoint]), checkpoint


def question(base: str | None = None, invocation: str = "r1") -> Asked:
    return Asked(invocation, "a", base, [Question("q1", msgspec.Raw(b'"sure?"'))])


# threads


def test_a_thread_is_made_found_and_not_made_twice(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        made = await storage.create_thread("", "t", b'{"a":1}', 5, if_exists="raise")
        assert await storage.thread("", "t") == made
        assert (made.status, made.head, made.created_at) == ("idle", None, 5)
        with pytest.raises(Conflict, match="thread t exists"):
            await storage.create_thread("", "t", b"{}", 6, if_exists="raise")
        assert await storage.create_thread("", "t", b"{}", 6, if_exists="do_nothing") == made
        with pytest.raises(NotFound):
            await storage.thread("bob", "t")
        await storage.create_thread("bob", "t", b"{}", 6, if_exists="raise")

    on_storage(case)


def test_threads_are_searched_newest_first(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(5):
            body = msgspec.json.encode({"n": {"deep": number, "even": number % 2 == 0}})
            await storage.create_thread("", f"t{number}", body, number, if_exists="raise")
        await claimed(storage, "r", "t3")

        async def found(**query: Any) -> list[str]:
            return [thread.thread_id for thread, _ in await storage.search_threads("", ThreadFilter(**query))]

        assert await found() == ["t4", "t3", "t2", "t1", "t0"]
        assert await found(limit=2, offset=1) == ["t3", "t2"]
        assert await found(metadata={"n": {"even": True}}) == ["t4", "t2", "t0"]
        assert await found(status="busy") == ["t3"]
        assert await storage.search_threads("bob", ThreadFilter()) == []

    on_storage(case)


def test_threads_are_counted_and_listed_by_id_and_in_any_order(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(4):
            await storage.create_thread("", f"t{number}", b'{"user":"ada"}', number, if_exists="raise")
        claim = await claimed(storage, "r", "t1")
        batch, _ = step(claim.attempt, 8)
        await storage.finish(claim.attempt, batch, Ending("completed"), 9)
        await claimed(storage, "s", "t2")

        async def found(**query: Any) -> list[str]:
            return [thread.thread_id for thread, _ in await storage.search_threads("", ThreadFilter(**query))]

        assert await found(ids=("t3", "t0", "none")) == ["t3", "t0"]
        assert await found(ids=("t3", "t0"), status="busy") == []
        assert await found(ids=("t1",), values={"n": 8}) == ["t1"]
        assert await found(descending=False) == ["t0", "t1", "t2", "t3"]
        assert await found(sort_by="thread_id", limit=2, offset=1) == ["t2", "t1"]
        assert await found(sort_by="thread_id", descending=False) == ["t0", "t1", "t2", "t3"]
        assert await found(sort_by="status", descending=False) == ["t2", "t3", "t1", "t0"]
        assert (await found(sort_by="updated_at"))[0] == "t1"
        assert (await found(sort_by="state_updated_at"))[0] == "t1"
        assert (await found(sort_by="state_updated_at", metadata={"user": "ada"}, limit=1)) == ["t1"]

        async def counted(**query: Any) -> int:
            return await storage.count_threads("", ThreadFilter(**query))

        assert await counted(limit=1) == 4
        assert await counted(status="busy") == 1
        assert await counted(metadata={"user": "ada"}, ids=("t0", "t1")) == 2
        assert await counted(values={"n": 8}) == 1
        assert await storage.count_threads("bob", ThreadFilter()) == 0

    on_storage(case)


def test_threads_are_searched_by_values(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(3):
            claim = await claimed(storage, f"r{number}", f"t{number}")
            batch, _ = step(claim.attempt, number)
            await storage.finish(claim.attempt, batch, Ending("completed"), 9)
        found = await storage.search_threads("", ThreadFilter(values={"n": 1}))
        assert [(thread.thread_id, state) for thread, state in found] == [("t1", {"n": b"1"})]

    on_storage(case)


def test_a_patch_merges_metadata_and_moves_the_head_where_it_expects_it(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await storage.create_thread("", "t", b'{"a":1}', 1, if_exists="raise")
        attempt = Attempt("-", "", "t", 0, 0)
        _, first = step(attempt, 1)
        changed = await storage.patch_thread("", "t", 2, metadata={"b": 2}, checkpoint=first)
        assert changed is not None
        assert (msgspec.json.decode(changed.metadata), changed.head) == ({"a": 1, "b": 2}, "c1")
        _, second = step(attempt, 2, first)
        assert await storage.patch_thread("", "t", 3, checkpoint=second, expected_head=None) is None
        assert (await storage.thread("", "t")).head == "c1"
        await claimed(storage, "r")
        with pytest.raises(Conflict, match="busy"):
            await storage.patch_thread("", "t", 4, checkpoint=second, expected_head="c1")
        assert await storage.patch_thread("", "t", 4, metadata={"c": 3}) is not None

    on_storage(case)


def test_a_copy_keeps_its_state_and_history_when_the_original_is_gone(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        one, first = step(claim.attempt, 1)
        await storage.append(claim.attempt, one, 2)
        two, _ = step(claim.attempt, 2, first)
        await storage.finish(claim.attempt, two, Ending("completed"), 3)
        copy = await storage.copy_thread("", "t", "t2", 4)
        assert (copy.status, copy.head) == ("idle", "c2")
        await storage.delete_thread("", "t", 5)
        await storage.purge(10**18, keys_before=0)
        assert (await storage.snapshot("", "t2", "c2")).state == {"n": b"2"}
        history = await storage.history("", "t2", before=None, limit=10)
        assert [snapshot.checkpoint.checkpoint_id for snapshot in history] == ["c2", "c1"]
        assert len(await storage.history("", "t2", before="c2", limit=10)) == 1
        with pytest.raises(NotFound):
            await storage.history("", "t2", before="c9", limit=10)

    on_storage(case)


def test_a_copy_has_the_metadata_that_it_is_given_and_the_original_keeps_its_own(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await storage.create_thread("", "t", b'{"owner":"ada","a":1}', 1, if_exists="raise")
        assert (await storage.copy_thread("", "t", "same", 2)).metadata == b'{"owner":"ada","a":1}'
        assert (await storage.copy_thread("", "t", "other", 3, b'{"owner":"bob"}')).metadata == b'{"owner":"bob"}'
        assert (await storage.thread("", "t")).metadata == b'{"owner":"ada","a":1}'
        found = await storage.search_threads("", ThreadFilter(metadata={"owner": "ada"}))
        assert {thread.thread_id for thread, _ in found} == {"t", "same"}

    on_storage(case)


def test_a_deleted_id_that_is_used_again_continues_its_numbers(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.append(claim.attempt, Batch([entry("custom", 1)] * 5), 2)
        last = await storage.last_seq("", "t")
        assert await storage.delete_thread("", "t", 3) == ("r1",)
        with pytest.raises(NotFound):
            await storage.thread("", "t")
        with pytest.raises(NotFound):
            await storage.run("", "r1")
        with pytest.raises(LeaseLost):
            await storage.append(claim.attempt, Batch([entry("custom", 1)]), 4)
        await storage.create_thread("", "t", b"{}", 5, if_exists="raise")
        assert await storage.last_seq("", "t") > last
        assert await storage.floor_seq("", "t") == await storage.last_seq("", "t")
        assert await storage.history("", "t", before=None, limit=10) == []
        assert await storage.search_runs("", RunFilter(thread_id="t")) == []

    on_storage(case)


# the line


def test_runs_of_a_thread_go_one_at_a_time_in_their_order(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(3):
            await storage.create_run(wish(f"r{number}", created_at=number))
        for number in range(3):
            claims = await storage.claim({"a": None}, 10, 10 + number)
            assert [claim.run.run_id for claim in claims] == [f"r{number}"]
            assert await storage.claim({"a": None}, 10, 20) == []
            assert (await storage.thread("", "t")).status == "busy"
            await storage.finish(claims[0].attempt, Batch(), Ending("completed"), 30)
        assert (await storage.thread("", "t")).status == "idle"

    on_storage(case)


@pytest.mark.parametrize(("strategy", "outcome"), [("interrupt", "cancelled"), ("rollback", None)])
def test_interrupt_and_rollback_clear_the_line(on_storage: OnStorage, strategy: str, outcome: str | None) -> None:
    async def case(storage: Storage) -> None:
        await claimed(storage, "r1")
        await storage.create_run(wish("r2"))
        created = await storage.create_run(wish("r3", strategy=strategy, claim=True))
        assert (created.stopping, created.ended, created.claim) == ("r1", ("r2",), None)
        assert (await storage.run("", "r1")).cancel == strategy
        if outcome is None:
            with pytest.raises(NotFound):
                await storage.run("", "r2")
        else:
            assert (await storage.run("", "r2")).outcome == outcome

    on_storage(case)


def test_reject_names_the_run_in_the_way(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await claimed(storage, "r1")
        with pytest.raises(Conflict) as refused:
            await storage.create_run(wish("r2", strategy="reject"))
        assert (refused.value.reason, refused.value.metadata["run_id"]) == ("thread_busy", "r1")
        with pytest.raises(NotFound):
            await storage.create_run(wish("r3", "elsewhere", create_thread=False))

    on_storage(case)


def test_a_delayed_run_holds_no_place_until_it_is_due(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await storage.create_run(wish("late", due_at=100))
        assert (await storage.thread("", "t")).status == "idle"
        assert await storage.next_due() == 100
        claim = await claimed(storage, "now", strategy="reject", created_at=50)
        assert await storage.claim({"a": None}, 10, 150) == []
        await storage.finish(claim.attempt, Batch(), Ending("completed"), 160)
        assert [c.run.run_id for c in await storage.claim({"a": None}, 10, 170)] == ["late"]

    on_storage(case)


def test_what_waits_is_counted_delayed_runs_too_and_what_executes_is_not(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        assert await storage.pending(None) == 0
        claim = await claimed(storage, "r1")
        await storage.create_run(wish("r2"))
        await storage.create_run(wish("r3", "t3", due_at=100))
        await storage.create_run(wish("r4", "t4", owner="bob"))
        assert [await storage.pending(owner) for owner in (None, "", "bob", "eve")] == [3, 2, 1, 0]
        await storage.finish(claim.attempt, Batch(), Ending("completed"), 2)
        await storage.cancel("", "r3", "interrupt", 3, None)
        assert [await storage.pending(owner) for owner in (None, "", "bob")] == [2, 1, 1]

    on_storage(case)


def test_a_resume_goes_before_what_is_queued(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.create_run(wish("queued"))
        batch, _ = step(claim.attempt, 1, asked=question())
        await storage.finish(claim.attempt, batch, Ending("asked"), 5)
        assert await storage.claim({"a": None}, 10, 6) == []
        resumed = await storage.create_run(wish("r2", strategy="reject", resumes=True, claim=True))
        assert resumed.claim is not None
        assert resumed.run.invocation == "r1"
        with pytest.raises(Conflict, match="no open question"):
            await storage.create_run(wish("r3", resumes=True))
        await storage.finish(resumed.claim.attempt, Batch(), Ending("completed"), 7)
        assert [c.run.run_id for c in await storage.claim({"a": None}, 10, 8)] == ["queued"]

    on_storage(case)


@pytest.mark.parametrize("how", ["drained", "crashed"])
def test_a_resume_that_goes_back_in_line_has_not_answered_the_question(on_storage: OnStorage, how: str) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.create_run(wish("queued"))
        batch, _ = step(claim.attempt, 1, asked=question())
        await storage.finish(claim.attempt, batch, Ending("asked"), 5)
        resume = msgspec.json.encode({"command": {"resume": "yes"}})
        resumed = await storage.create_run(wish("r2", resumes=True, claim=True, request=resume))
        assert resumed.claim is not None
        assert not (await storage.thread("", "t")).asking
        if how == "drained":
            await storage.requeue(resumed.claim.attempt, Batch(), Requeue(refund=True), 6)
        else:
            await storage.recover(6, 100)
        assert (await storage.thread("", "t")).asking
        await storage.cancel("", "r2", "interrupt", 7, None)
        await storage.cancel("", "queued", "interrupt", 7, None)
        assert (await storage.thread("", "t")).status == "interrupted"

    on_storage(case)


def test_withdrawing_a_question_lets_the_line_move_on(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.create_run(wish("queued"))
        batch, _ = step(claim.attempt, 1, asked=question())
        await storage.finish(claim.attempt, batch, Ending("asked"), 5)
        assert (await storage.thread("", "t")).asking
        assert (await storage.cancel("", "r1", "interrupt", 6, None)).how == "finished"
        assert (await storage.run("", "r1")).outcome == "asked"
        assert [c.run.run_id for c in await storage.claim({"a": None}, 10, 7)] == ["queued"]

    on_storage(case)


def test_why_a_run_was_cancelled_is_noted_once_and_before_its_end(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        request = msgspec.json.encode({"webhook": "https://a.example", "input": {"n": 1}})
        claim = await claimed(storage, "r1", request=request)
        await storage.create_run(wish("queued", request=request))

        async def noted(run_id: str) -> Any:
            run = await storage.run("", run_id)
            assert (run.has_webhook, run.asked_for().input) == (True, msgspec.Raw(b'{"n":1}'))
            return run.asked_for().cancel_reason

        assert await noted("r1") is msgspec.UNSET
        for reason in (None, "taken: a", "taken: b"):
            done = await storage.cancel("", "r1", "interrupt", 3, None, reason)
            assert done.run.asked_for().cancel_reason == ("taken: a" if reason else msgspec.UNSET)
        assert (await storage.cancel("", "queued", "interrupt", 4, None, "taken: c")).how == "ended"
        ended = await storage.finish(claim.attempt, Batch(), Ending("cancelled", cancel="interrupt"), 5)
        assert ended.asked_for().cancel_reason == "taken: a"
        assert (await storage.cancel("", "r1", "interrupt", 6, None, "late")).how == "finished"
        assert [await noted(run_id) for run_id in ("r1", "queued")] == ["taken: a", "taken: c"]

    on_storage(case)


def test_an_agents_concurrency_is_held(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(4):
            await storage.create_run(wish(f"r{number}", f"t{number}"))
        first = await storage.claim({"a": 2, "other": None}, 10, 5)
        assert len(first) == 2
        assert await storage.claim({"a": 2}, 10, 6) == []
        assert (await storage.create_run(wish("r9", "t9", claim=True, concurrency=2))).claim is None
        await storage.finish(first[0].attempt, Batch(), Ending("completed"), 7)
        assert len(await storage.claim({"a": 2}, 10, 8)) == 1
        assert await storage.unoffered(["other"]) == {"a": 2}

    on_storage(case)


def test_runs_are_claimed_in_the_order_in_which_they_came_whatever_their_agents_and_threads(
    on_storage: OnStorage,
) -> None:
    async def case(storage: Storage) -> None:
        agents: dict[str, int | None] = {"a": None, "b": None, "c": 1}
        for number in range(12):
            agent_id = "abcb"[number % 4]
            await storage.create_run(wish(f"r{number}", f"t{number}", agent_id=agent_id, created_at=100 + number))
        order: list[str] = []
        for limit in (1, 2, 3, 4, 10):
            order += [claim.run.run_id for claim in await storage.claim(agents, limit, 200)]
        # Of `c` one executes: its others wait, and nobody waits for them.
        assert order == [f"r{number}" for number in range(12) if number not in (6, 10)]

    on_storage(case)


# ends


async def attempt_of(storage: Storage, run_id: str) -> Attempt:
    """That of a run which executes."""
    claim = await storage.claim_of(run_id)
    assert claim is not None
    return claim.attempt


async def alone(storage: Storage, number: int, **more: Any) -> Claim:
    return await claimed(storage, f"r{number}", f"t{number}", stateless=True, **more)


def test_many_begin_and_end_in_one_commit_each_with_its_own_rows(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claims = await asyncio.gather(*(alone(storage, n) for n in range(150)))
        waiting = await asyncio.gather(
            *(storage.create_run(wish(f"w{n}", f"u{n}", stateless=True)) for n in range(150))
        )
        assert all(created.claim is None for created in waiting)
        claims += await storage.claim({"a": None}, 1000, 7)
        assert {c.run.run_id: (c.attempt.number, c.attempt.lease, c.run.started_at) for c in claims[150:]} == {
            f"w{n}": (1, 1, 7) for n in range(150)
        }
        batches = [step(claim.attempt, n) for n, claim in enumerate(claims)]
        ended = await asyncio.gather(
            *(
                storage.finish(claim.attempt, batch, Ending("completed"), 9)
                for claim, (batch, _) in zip(claims, batches, strict=True)
            )
        )
        for claim, (_, checkpoint), run in zip(claims, batches, ended, strict=True):
            assert await storage.run("", run.run_id) == run
            assert (run.run_id, run.outcome) == (claim.run.run_id, "completed")
            assert run.last_checkpoint == checkpoint.checkpoint_id
            log = await storage.events("", run.thread_id, after=0, run_id=None, limit=10)
            assert [event.kind for event in log] == ["input", "lifecycle", "values", "lifecycle"]
            assert [event.seq for event in log] == [1, 2, 3, 4]
            assert await storage.last_seq("", run.thread_id) == 4

    on_storage(case)


def test_runs_of_many_threads_begin_and_end_in_one_commit_and_one_of_each_at_a_time(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        threads = [f"t{n}" for n in range(40)]
        heads: dict[str, str] = {}
        for turn in range(3):
            created = await asyncio.gather(
                *(storage.create_run(wish(f"{t}-{turn}-{n}", t, claim=True)) for t in threads for n in range(2))
            )
            claims = [c.claim for c in created if c.claim is not None]
            assert [claim.run.run_id for claim in claims] == [f"{t}-{turn}-0" for t in threads]
            assert [claim.run.base for claim in claims] == [heads.get(t) for t in threads]
            assert (await storage.thread("", "t0")).status == "busy"
            batches = [step(claim.attempt, turn * 100 + n) for n, claim in enumerate(claims)]
            written = await asyncio.gather(
                *(storage.append(claim.attempt, batch, 3) for claim, (batch, _) in zip(claims, batches, strict=True))
            )
            for claim, (_, checkpoint), last in zip(claims, batches, written, strict=True):
                heads[claim.run.thread_id] = checkpoint.checkpoint_id
                assert (await storage.thread("", claim.run.thread_id)).head == checkpoint.checkpoint_id
                assert (await storage.run("", claim.run.run_id)).last_checkpoint == checkpoint.checkpoint_id
                assert await storage.last_seq("", claim.run.thread_id) == last
            await asyncio.gather(*(storage.finish(c.attempt, Batch(), Ending("completed"), 4) for c in claims))
            behind = await storage.claim({"a": None}, 1000, 5)
            assert {claim.run.run_id for claim in behind} == {f"{t}-{turn}-1" for t in threads}
            await asyncio.gather(*(storage.finish(c.attempt, Batch(), Ending("completed"), 6) for c in behind))
            log = await storage.events("", "t7", after=0, run_id=None, limit=1000)
            assert [event.seq for event in log] == list(range(1, 7 * (turn + 1) + 1))
        assert {(await storage.thread("", t)).status for t in threads} == {"idle"}

    on_storage(case)


def test_the_state_that_a_run_leaves_is_the_one_that_is_read(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        batch, checkpoint = step(claim.attempt, 1)
        await storage.finish(claim.attempt, batch, Ending("completed", final={"n": b"1"}), 2)
        left = await storage.snapshot("", "t", "c1")
        assert (left.checkpoint, left.state) == (checkpoint, {"n": b"1"})
        assert (await storage.history("", "t", before=None, limit=9))[0] == left
        undone = await claimed(storage, "r2")
        batch, _ = step(undone.attempt, 2, checkpoint)
        await storage.cancel("", "r2", "rollback", 3, None)
        await storage.finish(undone.attempt, batch, Ending("rolled_back", cancel="rollback", final={"n": b"2"}), 4)
        assert (await storage.thread("", "t")).head == "c1"
        with pytest.raises(NotFound):
            await storage.snapshot("", "t", "c2")

    on_storage(case)


def test_a_state_at_hand_is_shown_to_its_owner_only(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        batch, _ = step(claim.attempt, 1)
        await storage.finish(claim.attempt, batch, Ending("completed", final={"n": b"1"}), 2)
        await storage.create_thread("bob", "t", b"{}", 3, if_exists="raise")
        for _ in range(2):
            with pytest.raises(NotFound):
                await storage.snapshot("bob", "t", "c1")
            assert (await storage.snapshot("", "t", "c1")).state == {"n": b"1"}

    on_storage(case)


def test_a_revision_builds_on_nothing_that_was_removed(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await claimed(storage, "r1")
        batch, checkpoint = step(first.attempt, 1)
        await storage.finish(first.attempt, batch, Ending("completed", final={"n": b"1"}), 2)
        undone = await claimed(storage, "r2")
        batch, removed = step(undone.attempt, 2, checkpoint)
        await storage.finish(undone.attempt, batch, Ending("completed", final={"n": b"2"}), 3)
        await storage.cancel("", "r2", "rollback", 4, 5)
        await storage.purge(10, keys_before=0)
        _, revision = step(undone.attempt, 3, removed)
        with pytest.raises(NotFound):
            await storage.patch_thread("", "t", 11, checkpoint=revision, expected_head="c1")
        assert (await storage.thread("", "t")).head == "c1"
        _, revision = step(undone.attempt, 4, checkpoint)
        assert await storage.patch_thread("", "t", 12, checkpoint=revision, expected_head="c1") is not None

    on_storage(case)


def test_a_key_that_is_used_twice_in_one_commit_makes_one_run(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        wishes = [
            wish(f"r{n}", f"t{n}", stateless=True, claim=True, idempotency=("create_run", f"k{n % 20}", "digest"))
            for n in range(40)
        ]
        wishes.append(wish("r40", "t40", idempotency=("create_run", "k3", "another digest")))
        made = await asyncio.gather(*map(storage.create_run, wishes), return_exceptions=True)
        assert isinstance(made[40], IdempotencyMismatch)
        created = [one for one in made[:40] if isinstance(one, Created)]
        assert [one.run.run_id for one in created] == [f"r{n % 20}" for n in range(40)]
        assert [one.repeated for one in created] == [False] * 20 + [True] * 20
        assert sum(one.claim is not None for one in created) == 20

    on_storage(case)


def test_what_cannot_end_in_a_commit_takes_no_other_of_it_along(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        one, two, three, four = [await alone(storage, n) for n in range(4)]
        await storage.abandon(await attempt_of(storage, "r1"), 2, None)
        await storage.cancel("", "r2", "interrupt", 3, None)
        answers = await asyncio.gather(
            *(storage.finish(claim.attempt, Batch(), Ending("completed"), 4) for claim in (one, two, three, four)),
            storage.finish(four.attempt, Batch(), Ending("completed"), 4),
            return_exceptions=True,
        )
        assert [getattr(answer, "outcome", type(answer)) for answer in answers] == [
            "completed", LeaseLost, CancelRequested, "completed", LeaseLost,
        ]  # fmt: skip
        assert [(await storage.run("", f"r{n}")).outcome for n in range(4)] == [
            "completed",
            "abandoned",
            None,
            "completed",
        ]
        await storage.finish(three.attempt, Batch(), Ending("cancelled", cancel="interrupt"), 5)

    on_storage(case)


def test_an_attempt_whose_run_is_swept_away_can_do_nothing_more(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        attempt = (await claimed(storage, "r")).attempt
        await storage.delete_thread("", "t", 2)
        every = 10**18
        await storage.purge(every, keys_before=every, runs_before=every, events_before=every)
        for verb in (
            lambda: storage.requeue(attempt, Batch(), Requeue(refund=True), 3),
            lambda: storage.append(attempt, Batch([entry("custom", 1)]), 3),
            lambda: storage.finish(attempt, Batch(), Ending("completed"), 3),
            lambda: storage.abandon(attempt, 3, None),
        ):
            with pytest.raises(LeaseLost):
                await verb()

    on_storage(case)


def test_a_state_that_was_stored_beside_what_could_not_end_is_not_forgotten(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim, gone = await alone(storage, 1), await alone(storage, 2)
        await storage.abandon(await attempt_of(storage, "r2"), 2, None)
        batch, checkpoint = step(claim.attempt, 1)
        answers = await asyncio.gather(
            storage.create_run(wish("r3", "t3", stateless=True)),
            storage.finish(gone.attempt, Batch(), Ending("completed"), 3),
            storage.requeue(gone.attempt, Batch(), Requeue(), 3),
            storage.append(claim.attempt, Batch(checkpoints=batch.checkpoints), 4),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [Created, LeaseLost, LeaseLost, int]
        ended = await storage.finish(claim.attempt, Batch(), Ending("completed"), 5)
        assert ended == await storage.run("", "r1")
        assert ended.last_checkpoint == checkpoint.checkpoint_id

    on_storage(case)


def test_a_request_to_cancel_outlives_the_attempt_that_it_came_in(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        first = await alone(storage, 1)
        await storage.cancel("", "r1", "rollback", 2, None)
        await storage.requeue(first.attempt, Batch(), Requeue(refund=True), 3)
        [again] = await storage.claim({"a": None}, 10, 4)
        assert again.run.cancel == "rollback"
        with pytest.raises(CancelRequested):
            await storage.finish(again.attempt, Batch(), Ending("completed"), 5)
        await storage.finish(again.attempt, Batch(), Ending("rolled_back", cancel="rollback"), 6)

    on_storage(case)


def test_an_attempt_that_has_written_ends_where_it_has_come_to(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await alone(storage, 1)
        first, checkpoint = step(claim.attempt, 1)
        await storage.append(claim.attempt, first, 2)
        ended = await storage.finish(claim.attempt, Batch(), Ending("completed"), 3)
        assert ended == await storage.run("", "r1")
        assert (ended.last_checkpoint, ended.last_seq) == (checkpoint.checkpoint_id, 4)
        drained = await alone(storage, 2)
        await storage.requeue(drained.attempt, Batch(), Requeue(refund=True), 4)
        [again] = await storage.claim({"a": None}, 10, 5)
        assert (again.attempt.number, again.waited) == (1, None)
        assert again.attempt.lease > drained.attempt.lease
        with pytest.raises(LeaseLost):
            await storage.finish(drained.attempt, Batch(), Ending("completed"), 6)
        assert await storage.finish(again.attempt, Batch(), Ending("failed"), 7) == await storage.run("", "r2")

    on_storage(case)


def test_a_drained_attempt_costs_nothing_and_a_retry_keeps_its_place(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        back = await storage.requeue(claim.attempt, Batch(), Requeue(refund=True), 5)
        assert (back.status, back.attempt) == ("pending", 0)
        again = (await storage.claim({"a": None}, 1, 6))[0]
        assert again.attempt.number == 1
        assert again.attempt.lease > claim.attempt.lease
        await storage.requeue(again.attempt, Batch(), Requeue(due_at=100), 7)
        await storage.create_run(wish("r2"))
        assert await storage.claim({"a": None}, 1, 50) == []
        retried = (await storage.claim({"a": None}, 1, 100))[0]
        assert (retried.run.run_id, retried.attempt.number) == ("r1", 2)

    on_storage(case)


def test_recovery_puts_back_what_executed_and_ends_what_has_no_attempt_left(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        stale = await claimed(storage, "r1", "t1")
        await claimed(storage, "r2", "t2", max_attempts=1)
        await claimed(storage, "r3", "t3")
        await storage.cancel("", "r3", "interrupt", 4, None)
        found = await storage.recover(5, 100)
        assert (found.requeued, found.lost) == (("r1",), ("r2",))
        assert (await storage.run("", "r2")).status == "error"
        assert (await storage.run("", "r3")).outcome == "cancelled"
        assert (await storage.thread("", "t2")).status == "error"
        with pytest.raises(LeaseLost):
            await storage.append(stale.attempt, Batch([entry("custom", 1)]), 6)
        assert (await storage.claim({"a": None}, 5, 7))[0].attempt.number == 2

    on_storage(case)


def test_a_run_that_lost_its_server_twice_executes_apart_from_others_of_its_kind(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for run_id in ("r1", "r2", "r3"):
            await claimed(storage, run_id, f"t-{run_id}", max_attempts=5)
        await storage.recover(2, 100)
        beside = await storage.claim({"a": None}, 10, 3)
        assert [(claim.run.run_id, claim.apart) for claim in beside] == [("r1", False), ("r2", False), ("r3", False)]
        await storage.recover(4, 100)
        assert await storage.claim({"b": None}, 10, 5) == []
        assert await storage.unoffered(["b"]) == {"a": 3}
        assert (await storage.standing(9)).ready["a"] == (3, 8)
        first = await storage.claim({"a": None}, 10, 5)
        assert [(claim.run.run_id, claim.apart) for claim in first] == [("r1", True)]
        assert await storage.claim({"a": None}, 10, 6) == []
        await storage.create_run(wish("r4", "t-r4"))
        assert [claim.run.run_id for claim in await storage.claim({"a": None}, 10, 6)] == ["r4"]
        woken: list[int] = []
        storage.on_ready = lambda: woken.append(1)
        await storage.acquit("r1")
        assert woken
        second = await storage.claim({"a": None}, 10, 7)
        assert [(claim.run.run_id, claim.apart) for claim in second] == [("r2", True)]
        await storage.finish(second[0].attempt, Batch(), Ending("completed"), 8)
        assert [claim.run.run_id for claim in await storage.claim({"a": None}, 10, 9)] == ["r3"]

    on_storage(case)


def test_a_run_that_ends_the_server_each_time_uses_up_no_attempts_but_its_own(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await claimed(storage, "poison", "t-poison")
        await claimed(storage, "beside", "t-beside")
        for now in (2, 4):
            assert (await storage.recover(now, 100)).lost == ()
            await storage.claim({"a": None}, 1 if now == 4 else 10, now + 1)
        assert (await storage.run("", "poison")).status == "running"
        assert (await storage.run("", "beside")).status == "pending"
        await claimed(storage, "late", "t-late", max_attempts=2)
        await claimed(storage, "once", "t-once", max_attempts=1)
        found = await storage.recover(6, 100)
        assert (found.lost, found.requeued) == (("poison", "once"), ("late",))
        ended = await storage.run("", "poison")
        assert ended.attempt == 3
        assert ended.failure is not None
        assert ended.failure.code == "attempts_exhausted"
        assert "server died during attempt 3" in ended.failure.message
        again = await storage.claim({"a": None}, 10, 7)
        assert {claim.run.run_id: claim.attempt.number for claim in again} == {"beside": 3, "late": 1}

    on_storage(case)


def test_a_claim_that_was_not_heard_of_can_be_asked_for(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.create_run(wish("r2"))
        found = await storage.claim_of("r1")
        assert found is not None
        assert (found.run, found.attempt) == (claim.run, claim.attempt)
        assert await storage.claim_of("r2") is None
        assert await storage.claim_of("r9") is None
        await storage.finish(found.attempt, Batch(), Ending("completed"), 2)
        assert await storage.claim_of("r1") is None

    on_storage(case)


def test_the_last_attempt_of_a_run_that_has_two_is_made_apart(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await claimed(storage, "r1", "t1", max_attempts=2)
        await claimed(storage, "r2", "t2", max_attempts=2)
        await storage.recover(2, 100)
        assert [claim.apart for claim in await storage.claim({"a": None}, 10, 3)] == [True]

    on_storage(case)


def test_only_a_finished_run_is_deleted_and_its_checkpoints_stay(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        with pytest.raises(Conflict, match="not finished"):
            await storage.delete_run("", "r1", 2)
        batch, _ = step(claim.attempt, 1)
        await storage.finish(claim.attempt, batch, Ending("completed"), 3)
        with pytest.raises(NotFound):
            await storage.delete_run("bob", "r1", 4)
        await storage.delete_run("", "r1", 4)
        with pytest.raises(NotFound):
            await storage.run("", "r1")
        await storage.purge(10, keys_before=0)
        assert await storage.events("", "t", after=0, run_id="r1", limit=10) == []
        assert (await storage.snapshot("", "t", "c1")).state == {"n": b"1"}

    on_storage(case)


def nested(event: str, path: str) -> Any:
    return entry("nested", {"event": event}, path)


async def left_open(storage: Storage, run_id: str, **more: Any) -> Claim:
    """An executing run whose log leaves two children of three open, one inside the other, and looks like more."""
    claim = await claimed(storage, run_id, f"t-{run_id}", **more)
    begun = [nested("started", "a:1"), nested("started", "a:1|b:2"), nested("started", "c:3")]
    await storage.append(claim.attempt, Batch(begun), 2)
    await storage.append(claim.attempt, Batch([nested("completed", "c:3"), entry("custom", ["nested", {}, "d:4"])]), 2)
    return claim


async def log_of(storage: Storage, run_id: str) -> list[tuple[str, str, str]]:
    """The lifecycle in a run's log: the event, of what namespace, and for a run's own end the outcome."""
    found = await storage.events("", f"t-{run_id}", after=0, run_id=None, limit=100)
    data = [(event, msgspec.json.decode(event.data)) for event in found if event.kind in ("nested", "lifecycle")]
    return [(about["event"], event.namespace, about.get("outcome", "")) for event, about in data]


CLOSED = [("interrupted", "a:1|b:2", ""), ("interrupted", "a:1", "")]


@pytest.mark.parametrize("refund", [True, False])
def test_what_an_attempt_leaves_open_below_its_run_is_ended_as_it_goes_back_in_line(
    on_storage: OnStorage, refund: bool
) -> None:
    async def case(storage: Storage) -> None:
        claim = await left_open(storage, "r1")
        last = Batch([nested("completed", "a:1|b:2"), nested("started", "e:5")])
        await storage.requeue(claim.attempt, last, Requeue(refund=refund), 3)
        ends = [("completed", "a:1|b:2", ""), ("started", "e:5", ""), ("interrupted", "e:5", "")]
        assert (await log_of(storage, "r1"))[-4:] == [*ends, ("interrupted", "a:1", "")]
        await storage.claim({"a": None}, 10, 4)
        assert (await log_of(storage, "r1"))[-1] == ("running", "", "")

    on_storage(case)


@pytest.mark.parametrize(
    ("cancel", "outcome"), [("interrupt", "abandoned"), ("rollback", "rolled_back"), (None, "abandoned")]
)
def test_what_an_abandoned_run_leaves_open_below_it_is_ended_before_it(
    on_storage: OnStorage, cancel: Any, outcome: str
) -> None:
    async def case(storage: Storage) -> None:
        await left_open(storage, "r1")
        if cancel is not None:
            await storage.cancel("", "r1", cancel, 3, None)
        await storage.abandon(await attempt_of(storage, "r1"), 4, None)
        assert (await log_of(storage, "r1"))[-3:] == [*CLOSED, ("interrupted", "", outcome)]

    on_storage(case)


def test_what_runs_leave_open_below_them_is_ended_by_a_rollback_and_with_their_thread(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await left_open(storage, "r1")
        await storage.cancel("", "r1", "rollback", 3, None)
        await storage.finish(claim.attempt, Batch(), Ending("rolled_back", cancel="rollback"), 4)
        assert (await log_of(storage, "r1"))[-3:] == [*CLOSED, ("interrupted", "", "rolled_back")]
        seen: list[Any] = []
        await left_open(storage, "r2")
        storage.on_commit = lambda chunks: seen.extend(item for chunk in chunks for item in chunk.entries)
        await storage.delete_thread("", "t-r2", 5)
        assert [(item.kind, item.namespace) for item in seen] == [
            ("nested", "a:1|b:2"), ("nested", "a:1"), ("lifecycle", ""),
        ]  # fmt: skip

    on_storage(case)


def test_what_runs_leave_open_below_them_when_the_server_dies_is_ended_by_recovery(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await left_open(storage, "again")
        await left_open(storage, "lost", max_attempts=1)
        await left_open(storage, "stopped")
        await left_open(storage, "undone")
        await claimed(storage, "plain", "t-plain")
        await storage.cancel("", "stopped", "interrupt", 3, None)
        await storage.cancel("", "undone", "rollback", 3, None)
        await storage.recover(5, 100)
        assert (await log_of(storage, "again"))[-2:] == CLOSED
        assert (await log_of(storage, "lost"))[-3:] == [*CLOSED, ("failed", "", "lost")]
        assert (await log_of(storage, "stopped"))[-3:] == [*CLOSED, ("interrupted", "", "cancelled")]
        assert (await log_of(storage, "undone"))[-3:] == [*CLOSED, ("interrupted", "", "rolled_back")]
        assert await log_of(storage, "plain") == [("running", "", "")]
        # Once: a server that dies again finds nothing open.
        await storage.claim({"a": None}, 10, 6)
        await storage.recover(7, 100)
        assert (await log_of(storage, "again"))[-2:] == [CLOSED[-1], ("running", "", "")]

    on_storage(case)


def test_an_abandoned_run_is_fenced_off(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        await storage.cancel("", "r1", "interrupt", 2, None)
        assert (await storage.abandon(await attempt_of(storage, "r1"), 3, None)).outcome == "abandoned"
        with pytest.raises(LeaseLost):
            await storage.append(claim.attempt, Batch([entry("custom", 1)]), 4)
        assert (await storage.thread("", "t")).status == "idle"

    on_storage(case)


# idempotency


def test_a_key_gives_the_same_run_and_refuses_another_body(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        key = ("create_run", "k", "hash")
        results: list[Created] = await asyncio.gather(
            *(storage.create_run(wish(f"r{n}", f"t{n}", idempotency=key)) for n in range(5))
        )
        assert {created.run.run_id for created in results} == {results[0].run.run_id}
        assert sum(created.repeated for created in results) == 4
        changed = ("create_run", "k", "other")
        with pytest.raises(IdempotencyMismatch):
            await storage.create_run(wish("r9", "t9", idempotency=changed))
        known = await storage.known_run("", key)
        assert known is not None
        assert known.run_id == results[0].run.run_id
        with pytest.raises(IdempotencyMismatch):
            await storage.known_run("", changed)
        assert await storage.known_run("bob", key) is None
        other = await storage.create_run(wish("r10", "t10", owner="bob", idempotency=key))
        assert not other.repeated
        known = await storage.known_run("", key)
        assert known is not None
        assert known.run_id == results[0].run.run_id
        assert await storage.known_run("", ("create_run", "new", "hash")) is None
        with pytest.raises(IdempotencyMismatch):
            await storage.known_run("", ("create_run", "k", "other"))
        await storage.purge(5, keys_before=10**18)
        assert not (await storage.create_run(wish("r11", "t11", idempotency=key))).repeated

    on_storage(case)


# events


def test_events_are_told_after_the_commit_in_their_order(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        told: list[tuple[int, int]] = []
        storage.on_commit = lambda chunks: told.extend((c.first_seq, c.last_seq) for c in chunks)
        claim = await claimed(storage, "r1")
        batches = [Batch([entry("custom", n)] * 3) for n in range(10)]
        await asyncio.gather(*(storage.append(claim.attempt, batch, 2) for batch in batches))
        assert told[0][0] == 1
        assert [first for first, _ in told[1:]] == [last + 1 for _, last in told[:-1]]
        events = await storage.events("", "t", after=4, run_id="r1", limit=1000)
        assert [event.seq for event in events] == list(range(5, told[-1][1] + 1))

    on_storage(case)


def test_a_read_of_events_is_bounded_by_their_number_and_their_size(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        sizes = [10] * 30 + [3000] * 100 + [2_000_000] * 3 + [10]
        await storage.append(claim.attempt, Batch([entry("custom", "x" * size) for size in sizes]), 2)
        last = await storage.append(claim.attempt, Batch([entry("custom", "last")]), 2)
        reads: list[list[Event]] = []
        while read := await storage.events("", "t", after=reads[-1][-1].seq if reads else 0, run_id="r1", limit=20):
            reads.append(read)
        assert [event.seq for read in reads for event in read] == list(range(1, last + 1))
        assert max(map(len, reads)) == 20
        for read in reads:
            assert sum(len(event.data) for event in read[:-1]) < 256_000
        assert await storage.events("", "t", after=last, run_id="r1", limit=20) == []

    on_storage(case)


def test_states_of_values_are_read_with_them_or_left(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        batch, _ = step(claim.attempt, 7)
        await storage.finish(claim.attempt, batch, Ending("completed"), 3)
        events = await storage.events("", "t", after=0, run_id="r1", limit=100)
        assert [values_text(event) for event in events if event.kind == "values"] == [b'{"n":7}']
        events = await storage.events("", "t", after=0, run_id="r1", limit=100, states=False)
        assert [event.state for event in events if event.kind == "values"] == [None]

    on_storage(case)


def test_records_come_back_in_their_order(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        records = [Record("step", f"s{n}", 1, b"1", n) for n in (1, 2, 3)]
        await storage.append(claim.attempt, Batch(records=records), 2)
        await storage.append(claim.attempt, Batch(records=[Record("emit", "e", 4, b"", 4)]), 3)
        assert [record.name for record in await storage.records("r1")] == ["s1", "s2", "s3", "e"]

    on_storage(case)


# lists


def test_runs_are_searched_newest_first_by_every_field(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(6):
            body = msgspec.json.encode({"n": number})
            await storage.create_run(wish(f"r{number}", f"t{number % 2}", metadata=body, agent_id="ab"[number % 2]))
        await storage.cancel("", "r3", "interrupt", 2, None)

        async def found(**query: Any) -> list[str]:
            return [run.run_id for run in await storage.search_runs("", RunFilter(**query))]

        assert await found() == ["r5", "r4", "r3", "r2", "r1", "r0"]
        assert await found(thread_id="t1") == ["r5", "r3", "r1"]
        assert await found(agent_id="a", limit=2) == ["r4", "r2"]
        assert await found(statuses=("interrupted",)) == ["r3"]
        assert await found(statuses=("pending", "running"), offset=3) == ["r1", "r0"]
        assert await found(outcomes=("cancelled", "failed")) == ["r3"]
        assert await found(outcomes=("cancelled",), statuses=("interrupted",)) == ["r3"]
        assert await found(outcomes=("cancelled",), agent_id="a") == []
        assert await found(outcomes=("completed",), thread_id="t1") == []
        assert await found(metadata={"n": 4}) == ["r4"]
        assert await storage.search_runs("bob", RunFilter()) == []

    on_storage(case)


# items


def test_what_metadata_says_is_found_whatever_it_is(on_storage: OnStorage) -> None:
    """A text is found by an index, anything else by looking: the answers are the same."""

    async def case(storage: Storage) -> None:
        said: list[dict[str, Any]] = [
            {"user": "ada"},
            {"user": "ada", "n": 1, "tags": ["x", "y"]},
            {"user": "bob", "n": 1},
            {"user": "ad"},
            {"user": ["ada"]},
            {"user": "a" * 300},
            {"n": True},
            {},
            {"user": "ada", "deep": {"user": "bob", "null": None}},
        ]
        for number, metadata in enumerate(said):
            text = msgspec.json.encode(metadata)
            await storage.create_run(wish(f"r{number}", f"t{number}", metadata=text, created_at=number + 1))
            await storage.create_thread("", f"u{number}", text, number + 1, if_exists="raise")
        await storage.create_run(wish("r99", "t99", owner="eve", metadata=b'{"user":"ada"}'))
        for pattern, expected in (
            ({"user": "ada"}, [8, 1, 0]),
            ({"user": "ada", "n": 1}, [1]),
            ({"n": 1, "user": "ada"}, [1]),
            ({"n": 1}, [2, 1]),
            ({"n": True}, [6]),
            ({"user": ["ada"]}, [4]),
            ({"user": "a" * 300}, [5]),
            ({"user": "ada", "deep": {"user": "bob"}}, [8]),
            ({"tags": ["y"]}, [1]),
            ({"user": "nobody"}, []),
        ):
            runs = await storage.search_runs("", RunFilter(metadata=pattern))
            assert [run.run_id for run in runs] == [f"r{number}" for number in expected]
            threads = await storage.search_threads("", ThreadFilter(metadata=pattern))
            assert [thread.thread_id for thread, _ in threads] == [f"u{number}" for number in expected]
        ada = {"user": "ada"}
        assert [r.run_id for r in await storage.search_runs("", RunFilter(metadata=ada, limit=1, offset=1))] == ["r1"]
        assert await storage.search_runs("", RunFilter(metadata=ada, agent_id="other")) == []
        assert len(await storage.search_runs("", RunFilter(metadata=ada, statuses=("pending",)))) == 3
        assert await storage.search_runs("", RunFilter(metadata=ada, statuses=("error",))) == []
        assert [r.run_id for r in await storage.search_runs("", RunFilter(metadata=ada, thread_id="t0"))] == ["r0"]

    on_storage(case)


def test_metadata_is_found_as_it_is_now(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        async def found(user: str) -> list[str]:
            threads = await storage.search_threads("", ThreadFilter(metadata={"user": user}))
            return [thread.thread_id for thread, _ in threads]

        await storage.create_thread("", "t1", b'{"user":"ada","room":"1"}', 1, if_exists="raise")
        await storage.patch_thread("", "t1", 2, metadata={"user": "bob"})
        assert (await found("ada"), await found("bob")) == ([], ["t1"])
        await storage.copy_thread("", "t1", "t2", 3)
        assert await found("bob") == ["t2", "t1"]
        await storage.delete_thread("", "t1", 4)
        assert await found("bob") == ["t2"]
        await storage.create_thread("", "t1", b'{"user":"eve"}', 5, if_exists="raise")
        assert (await found("bob"), await found("eve")) == (["t2"], ["t1"])
        await storage.create_run(wish("r1", "t3", metadata=b'{"user":"ada"}'))
        await storage.cancel("", "r1", "interrupt", 6, None)
        await storage.delete_run("", "r1", 7)
        assert await storage.search_runs("", RunFilter(metadata={"user": "ada"})) == []
        await storage.purge(10**18, keys_before=0)
        await storage.create_run(wish("r2", "t3", metadata=b'{"user":"ada"}'))
        assert [r.run_id for r in await storage.search_runs("", RunFilter(metadata={"user": "ada"}))] == ["r2"]

    on_storage(case)


def test_items_are_put_found_listed_and_expire(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await storage.put_item("", ("a", "b"), "k", b'{"n":1}', 1)
        await storage.put_item("", ("a", "b"), "k", b'{"n":2}', 5)
        item = await storage.get_item("", ("a", "b"), "k", 6)
        assert (item.value, item.created_at, item.updated_at) == (b'{"n":2}', 1, 5)
        await storage.put_item("", ("a", "c"), "k", b'{"n":3}', 6, expires_at=10)
        await storage.put_item("", ("ab",), "k", b'{"n":4}', 7)
        below = await storage.search_items("", ItemSearch(prefix=("a",)), 8)
        assert [found.namespace for found in below] == [("a", "c"), ("a", "b")]
        bigger = await storage.search_items("", ItemSearch(filter={"n": {"$gt": 2}}), 8)
        assert [found.value for found in bigger] == [b'{"n":4}', b'{"n":3}']
        assert await storage.namespaces("", NamespaceQuery(), 8) == [("a", "b"), ("a", "c"), ("ab",)]
        assert await storage.namespaces("", NamespaceQuery(prefix=("*", "c")), 8) == [("a", "c")]
        assert await storage.namespaces("", NamespaceQuery(prefix=("a",)), 8) == [("a", "b"), ("a", "c")]
        assert await storage.namespaces("", NamespaceQuery(prefix=("a", "b")), 8) == [("a", "b")]
        assert await storage.namespaces("", NamespaceQuery(prefix=("a", "*")), 8) == [("a", "b"), ("a", "c")]
        assert await storage.namespaces("", NamespaceQuery(prefix=("a", "b"), max_depth=1), 8) == [("a",)]
        assert await storage.namespaces("", NamespaceQuery(max_depth=1), 8) == [("a",), ("ab",)]
        with pytest.raises(NotFound):
            await storage.get_item("", ("a", "c"), "k", 10)
        with pytest.raises(NotFound):
            await storage.get_item("bob", ("a", "b"), "k", 8)
        await storage.delete_item("", ("a", "b"), "k", 9)
        with pytest.raises(NotFound):
            await storage.delete_item("", ("a", "b"), "k", 9)
        assert (await storage.purge(20, keys_before=0)).items == 1

    on_storage(case)


def test_items_that_are_touched_are_kept_for_their_time_from_then(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        async def there(now: int) -> list[str]:
            return sorted(item.key for item in await storage.search_items("", ItemSearch(), now))

        for key in ("touched", "left", "gone"):
            await storage.put_item("", ("n",), key, b"{}", 10, expires_at=20 if key != "gone" else 12)
        await storage.put_item("", ("n",), "for ever", b"{}", 10)
        assert (await storage.get_item("", ("n",), "left", 11)).ttl == 10
        assert (await storage.get_item("", ("n",), "for ever", 11)).ttl is None
        places = [(("n",), key) for key in ("touched", "gone", "for ever", "absent")]
        await storage.touch_items("", places, 15)
        await storage.touch_items("bob", [(("n",), "left")], 15)
        assert await there(19) == ["for ever", "left", "touched"]
        assert await there(24) == ["for ever", "touched"]
        assert await there(25) == ["for ever"]
        assert (await storage.get_item("", ("n",), "touched", 24)).updated_at == 10
        await storage.put_item("", ("n",), "touched", b"{}", 24)
        assert (await storage.get_item("", ("n",), "touched", 24)).ttl is None
        await storage.touch_items("", places, 24)
        assert await there(10**9) == ["for ever", "touched"]
        await storage.put_item("", ("n",), "left", b"{}", 25, expires_at=27)
        await storage.put_item("", ("n",), "left", b"{}", 26, expires_at=36)
        claim = await claimed(storage, "r1")
        await storage.touch_items("", [(("n",), "left")], 35, attempt=claim.attempt)
        await storage.abandon(await attempt_of(storage, "r1"), 36, None)
        with pytest.raises(LeaseLost):
            await storage.touch_items("", [(("n",), "left")], 39, attempt=claim.attempt)
        assert await there(44) == ["for ever", "left", "touched"]
        assert await there(45) == ["for ever", "touched"]

    on_storage(case)


# retention


def test_a_stateless_run_outlives_its_thread_until_its_time(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1", "h", stateless=True)
        with pytest.raises(NotFound):
            await storage.thread("", "h")
        batch, _ = step(claim.attempt, 1)
        await storage.finish(claim.attempt, batch, Ending("completed", expires_at=100), 3)
        await storage.purge(99, keys_before=0)
        assert (await storage.run("", "r1")).finished
        assert len(await storage.events("", "h", after=0, run_id="r1", limit=100)) == 4
        assert (await storage.purge(100, keys_before=0)).runs == 1
        with pytest.raises(NotFound):
            await storage.run("", "r1")
        assert (await storage.figures())["checkpoints"] == 0

    on_storage(case)
