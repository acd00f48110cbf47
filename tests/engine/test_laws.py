"""One test (or more) for each law of a run's life, on a whole server in this process."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg
import msgspec
import pytest
from at_rest import change, look
from live_server import MovableClock, Server, Starter, holds, play

from runyard import Context, SyncContext, agent
from runyard.errors import CancelRequested, LeaseLost, StorageError, Unavailable
from runyard.events import entry
from runyard.lifecycle import CreateRun
from runyard.runs import Attempt, NewRun, RunFilter
from runyard.storage.contract import Batch, Ending


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"echo": input}


@agent
async def hold(ctx: Context) -> None:
    """Works until it is stopped."""
    await ctx.update({"begun": True})
    await asyncio.Event().wait()


@agent
async def ask(ctx: Context) -> dict[str, Any]:
    return {"answer": await ctx.interrupt({"question": "sure?"})}


async def executing(server: Server, run: dict[str, Any]) -> None:
    """Until the run has written its first checkpoint."""
    await server.until(
        lambda: holds(server.storage.run("", run["run_id"]), lambda run: run.last_checkpoint is not None)
    )


def new_run(run_id: str, thread_id: str, **more: Any) -> NewRun:
    fields: dict[str, Any] = {
        "run_id": run_id, "owner": "", "agent_id": "nobody", "request": b"{}", "metadata": b"{}", "created_at": 1,
        "thread_id": thread_id, "stateless": False, "create_thread": True, "strategy": "enqueue", "max_attempts": 3,
        "resumes": False,
    }  # fmt: skip
    return NewRun(**{**fields, **more})


def test_law_1_a_transition_is_guarded_and_its_caller_learns_whether_it_won(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            created = await s.storage.create_run(new_run("r1", "t1", claim=True))
            assert created.claim is not None
            attempt = created.claim.attempt
            await s.storage.finish(attempt, Batch(), Ending("completed"), 2)
            with pytest.raises(LeaseLost):
                await s.storage.finish(attempt, Batch(), Ending("failed"), 3)
            assert (await s.storage.run("", "r1")).outcome == "completed"

    play(story())


def test_law_2_the_tables_refuse_nonsense(server: Starter, database: str) -> None:
    async def story() -> None:
        async with server(echo) as s:
            await s.storage.create_run(new_run("r1", "t1", claim=True))
            await s.storage.create_run(new_run("r2", "t1"))
        for nonsense in (
            "UPDATE runs SET status = 'running' WHERE run_id IN ('r1', 'r2')",
            "UPDATE runs SET status = 'success' WHERE run_id = 'r1'",
            "UPDATE runs SET status = 'done' WHERE run_id = 'r1'",
            "UPDATE runs SET ready = 1, due_at = 5 WHERE run_id = 'r2'",
            "UPDATE threads SET status = 'finished'",
        ):
            with pytest.raises((sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError)):
                await change(database, nonsense)

    play(story())


def test_law_3_run_thread_wait_and_stream_never_disagree(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            thread = await s.thread()
            for number in range(20):
                run = await s.run(thread_id=thread, input=number, multitask_strategy="enqueue")
                waited = await s.wait(run["run_id"])
                seen = (await s.get(f"/threads/{thread}")).json()
                assert waited["status"] == (await s.get(f"/runs/{run['run_id']}")).json()["status"] == "success"
                assert seen["status"] == "idle"
                assert seen["values"] == waited["values"] == {"echo": number}
                assert '"status":"success"' in (await s.get(f"/runs/{run['run_id']}/stream")).text

    play(story())


def test_law_4_a_stale_lease_can_write_nothing(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            created = await s.storage.create_run(new_run("r1", "t1", claim=True))
            assert created.claim is not None
            live = created.claim.attempt
            stale = Attempt(live.run_id, live.owner, live.thread_id, live.lease - 1, live.number)
            before = await s.storage.last_seq("", "t1")
            batch = Batch([entry("custom", {"payload": 1})])
            for write in (
                s.storage.append(stale, batch, 2),
                s.storage.finish(stale, batch, Ending("completed"), 2),
                s.storage.put_item("", ("a",), "k", b"{}", 2, attempt=stale),
            ):
                with pytest.raises(LeaseLost):
                    await write
            assert await s.storage.last_seq("", "t1") == before
            assert await s.storage.append(live, batch, 2) == before + 1

    play(story())


def test_law_4_commit_order_is_the_order_of_the_numbers(server: Starter) -> None:
    @agent
    async def talk(ctx: Context) -> None:
        for number in range(300):
            await ctx.emit({"n": number})

    async def story() -> None:
        async with server(talk) as s:
            told: list[int] = []
            committed = s.storage.on_commit

            def listen(chunks: Any) -> None:
                told.extend(range(c.first_seq, c.last_seq + 1) for c in chunks)  # type: ignore[arg-type]
                committed(chunks)

            s.storage.on_commit = listen
            run = await s.run()
            await s.wait(run["run_id"])
            numbers = [seq for span in told for seq in span]  # type: ignore[attr-defined]
            assert numbers == list(range(1, len(numbers) + 1))

    play(story())


def test_law_5_wait_true_answers_when_the_code_has_stopped(server: Starter) -> None:
    stopped = threading.Event()

    @agent
    async def slow_to_stop(ctx: Context) -> None:
        await ctx.update({"begun": True})
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            stopped.set()

    async def story() -> None:
        async with server(slow_to_stop) as s:
            run = await s.run()
            await executing(s, run)
            answer = await s.post(f"/runs/{run['run_id']}/cancel?wait=true")
            assert (answer.status_code, stopped.is_set()) == (204, True)
            assert (await s.wait(run["run_id"]))["run"]["outcome"] == "cancelled"

    play(story())


def test_law_5_code_that_does_not_stop_is_cut_off_and_keeps_its_place(server: Starter, clock: MovableClock) -> None:
    release = threading.Event()

    @agent
    def deaf(ctx: SyncContext) -> dict[str, Any]:
        ctx.update({"begun": True})
        release.wait(20)
        return {"late": True}

    async def story() -> None:
        async with server(deaf, clock=clock, cancel_grace=10, max_runs=1) as s:
            run = await s.run()
            await executing(s, run)
            cancelling = asyncio.ensure_future(s.post(f"/runs/{run['run_id']}/cancel?wait=true"))
            await s.until(lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.cancel is not None))
            while not cancelling.done():
                clock.move(11)
                await asyncio.sleep(0.005)
            assert (cancelling.result().status_code, cancelling.result().json()["code"]) == (504, "still_stopping")
            assert (await s.storage.run("", run["run_id"])).outcome == "abandoned"
            assert not s.app.engine.worker.reserve("deaf")
            release.set()
            await s.until(lambda: s.app.engine.worker.executing == 0)
            assert (await s.wait(run["run_id"]))["values"] == {"begun": True}

    play(story())


def test_law_5_a_finished_run_is_untouched_but_for_the_rollback_of_the_latest(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            thread = await s.thread()
            first = await s.run(thread_id=thread, input=1)
            await s.wait(first["run_id"])
            second = await s.run(thread_id=thread, input=2)
            await s.wait(second["run_id"])
            assert (await s.post(f"/runs/{first['run_id']}/cancel")).status_code == 204
            assert (await s.get(f"/runs/{first['run_id']}")).json()["status"] == "success"
            refused = await s.post(f"/runs/{first['run_id']}/cancel?action=rollback")
            assert (refused.status_code, refused.json()["code"]) == (409, "rollback_not_latest")
            assert (await s.post(f"/runs/{second['run_id']}/cancel?action=rollback")).status_code == 204
            assert (await s.get(f"/runs/{second['run_id']}")).status_code == 404
            assert (await s.get(f"/threads/{thread}")).json()["values"] == {"echo": 1}

    play(story())


def test_law_5_an_end_that_overlooks_a_cancel_is_decided_again(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            created = await s.storage.create_run(new_run("r1", "t1", claim=True))
            assert created.claim is not None
            await s.storage.cancel("", "r1", "rollback", 2, None)
            with pytest.raises(CancelRequested):
                await s.storage.finish(created.claim.attempt, Batch(), Ending("completed"), 3)
            await s.storage.finish(created.claim.attempt, Batch(), Ending("rolled_back", "rollback"), 3)
            assert (await s.get("/runs/01a20c2f-0000-7000-8000-000000000000")).status_code == 404

    play(story())


@pytest.mark.sqlite("it holds the thread that writes the file")
@pytest.mark.parametrize("creator_leaves", [False, True])
def test_law_5_a_shutdown_costs_no_attempt_of_a_run_that_is_just_being_created(
    server: Starter, creator_leaves: bool
) -> None:
    async def story() -> None:
        async with server(hold, echo, drain_grace=0) as s:
            writer, engine = s.storage._writer, s.app.engine  # type: ignore[attr-defined]
            await s.wait((await s.run(agent_id="echo"))["run_id"])
            slow, again = threading.Event(), threading.Event()
            writer.do(slowly(slow, again))
            await s.until(slow.is_set)
            creating = asyncio.ensure_future(s.verbs.create_run("", CreateRun(agent_id="hold")))
            await s.until(lambda: writer._queue.qsize() == 1)
            closing = asyncio.ensure_future(engine.close())
            if creator_leaves:
                creating.cancel()
                await s.until(lambda: writer._queue.qsize() >= 2)
            await asyncio.sleep(0.02)
            again.set()
            await closing
            await asyncio.wait((creating,))
        async with server(echo) as s:
            [run] = await s.storage.search_runs("", RunFilter(agent_id="hold"))
            assert (run.status, run.attempt) == ("pending", 0)

    play(story())


def test_law_6_a_rollback_undoes_the_run_and_answers_who_waits(server: Starter) -> None:
    async def story() -> None:
        async with server(echo, hold) as s:
            thread = await s.thread()
            await s.wait((await s.run(thread_id=thread, input="before"))["run_id"])
            run = await s.run(thread_id=thread, agent_id="hold")
            await executing(s, run)
            waiting = asyncio.ensure_future(s.wait(run["run_id"]))
            await s.until(lambda: run["run_id"] in s.app.engine.streams._endings)
            assert (await s.post(f"/runs/{run['run_id']}/cancel?action=rollback&wait=true")).status_code == 204
            assert (await waiting)["status"] == "interrupted"
            assert (await s.get(f"/runs/{run['run_id']}")).status_code == 404
            state = (await s.get(f"/threads/{thread}")).json()
            assert (state["status"], state["values"]) == ("idle", {"echo": "before"})
            history = (await s.get(f"/threads/{thread}/history")).json()
            assert [entry["values"] for entry in history] == [{"echo": "before"}]

    play(story())


def test_law_7_a_reader_sees_nothing_that_the_log_does_not_hold(server: Starter, database: str) -> None:
    async def story() -> None:
        async with server(echo) as s:
            committed = s.storage.on_commit
            missing: list[Any] = []

            def listen(chunks: Any) -> None:
                held = dict(look(database, "SELECT thread_id, last_seq FROM threads"))
                missing.extend(c for c in chunks if held.get(c.thread_id, 0) < c.last_seq)
                committed(chunks)

            s.storage.on_commit = listen
            await asyncio.gather(*(s.post("/runs/wait", {"input": n}) for n in range(50)))
            assert missing == []

    play(story())


def test_law_8_a_lost_hint_costs_latency_only(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock, max_runs=1) as s:
            s.storage.on_ready = lambda: None
            s.app.engine.worker._reserved += 1  # no place is free: the run has to be claimed by the loop
            run = await s.run(input=1)
            s.app.engine.worker._reserved -= 1
            while (await s.get(f"/runs/{run['run_id']}")).json()["status"] == "pending":
                clock.move(6)
                await asyncio.sleep(0.002)
            assert (await s.wait(run["run_id"]))["values"] == {"echo": 1}

    play(story())


def test_law_8_a_lost_request_to_cancel_is_seen_a_little_later(server: Starter, clock: MovableClock) -> None:
    @agent
    async def hold(ctx: Context) -> None:
        await ctx.update({"begun": True})
        await asyncio.Event().wait()

    async def story() -> None:
        async with server(hold, clock=clock) as s:
            run = await s.run()
            await executing(s, run)
            s.verbs._hints.publish = lambda topic: None  # type: ignore[method-assign]
            assert (await s.post(f"/runs/{run['run_id']}/cancel")).status_code == 204
            assert (await s.storage.run("", run["run_id"])).status == "running"
            while not (await s.storage.run("", run["run_id"])).finished:
                clock.move(6)
                await asyncio.sleep(0.002)
            assert (await s.storage.run("", run["run_id"])).outcome == "cancelled"

    play(story())


@pytest.mark.parametrize("thread", [False, True])
def test_law_8_a_run_whose_creator_is_gone_executes_all_the_same(server: Starter, thread: bool) -> None:
    """A host that cancels handlers may do so while the creation is on its way to the disk."""

    async def story() -> None:
        async with server(echo, max_runs=1) as s:
            wish = CreateRun(
                agent_id="echo",
                thread_id=await s.thread() if thread else None,
                input=msgspec.Raw(b"1"),
                multitask_strategy="enqueue",
            )
            create, asked = s.storage.create_run, asyncio.Event()

            async def watched(new: NewRun) -> object:
                asked.set()
                return await create(new)

            s.storage.create_run = watched  # type: ignore[method-assign, assignment]
            for _ in range(4):
                asked.clear()
                creating = asyncio.ensure_future(s.verbs.create_run("", wish))
                await asked.wait()
                creating.cancel()
                await asyncio.wait((creating,))
                assert creating.cancelled()
            runs: list[dict[str, object]] = []
            while [run["outcome"] for run in runs] != ["completed"] * 4:
                runs = (await s.post("/runs/search", {})).json()
            await s.until(lambda: s.app.engine.worker._reserved == 0)

    play(story())


def test_law_8_a_run_whose_creator_is_gone_executes_although_the_disk_fails_meanwhile(
    server: Starter, clock: MovableClock
) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            await s.wait((await s.run())["run_id"])
            await s.until(lambda: s.app.engine.worker._reserved == 0)
            claim_of, failures = s.storage.claim_of, [StorageError("the disk failed"), Unavailable("it is locked")]

            async def failing(run_id: str) -> object:
                if failures:
                    raise failures.pop()
                return await claim_of(run_id)

            s.storage.claim_of = failing  # type: ignore[method-assign, assignment]
            creating = asyncio.ensure_future(s.verbs.create_run("", CreateRun(agent_id="echo")))
            await asyncio.sleep(0)
            assert creating.cancel()
            while [run.outcome for run in await s.storage.search_runs("", RunFilter())] != ["completed"] * 2:
                clock.move(1)
                await asyncio.sleep(0.002)
            await s.until(lambda: s.app.engine.worker._reserved == 0)

    play(story())


def slowly(begun: threading.Event, ends: threading.Event) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """A verb that holds the writer."""

    async def wait(_: Any) -> None:
        begun.set()
        ends.wait(5)

    return wait


@pytest.mark.sqlite("it holds the thread that writes the file")
def test_law_8_a_run_that_was_claimed_before_its_creator_was_missed_executes_once(server: Starter) -> None:
    begun: list[str] = []
    doors: list[threading.Event] = []

    @agent(concurrency=1)
    def gate(ctx: SyncContext) -> None:
        begun.append(ctx.run_id)
        doors.append(door := threading.Event())
        door.wait(5)

    async def story() -> None:
        async with server(gate, max_runs=4, drain_grace=0) as s:
            worker, writer = s.app.engine.worker, s.storage._writer  # type: ignore[attr-defined]
            first = await s.run()
            await s.until(lambda: len(doors) == 1)
            slow, again = threading.Event(), threading.Event()
            holding = writer.do(slowly(slow, again))
            await s.until(slow.is_set)
            # While the disk is slow: a run for which there is no room, room, a claim, and the loss of the creator.
            creating = asyncio.ensure_future(s.verbs.create_run("", CreateRun(agent_id="gate")))
            await s.until(lambda: writer._queue.qsize() == 1)
            doors[0].set()
            await s.until(lambda: writer._queue.qsize() == 2)
            worker._ready.set()
            await s.until(lambda: writer._queue.qsize() == 3)
            creating.cancel()
            await s.until(lambda: writer._queue.qsize() == 4)
            again.set()
            await holding
            await s.until(lambda: len(doors) >= 2 and worker._reserved < 3)
            await asyncio.sleep(0.02)
            assert len(begun) == 2
            assert begun[0] == first["run_id"]
            doors[1].set()
            await s.until(lambda: holds(s.storage.run("", begun[1]), lambda run: run.finished))
            assert (await s.storage.run("", begun[1])).outcome == "completed"
            await s.until(lambda: worker._reserved == 0)

    play(story())


def test_law_9_unknown_fields_are_named_and_those_of_the_other_face_refused(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            answer = await s.post("/runs/wait", {"input": 1, "colour": "red"})
            assert (answer.status_code, answer.headers["runyard-ignored"]) == (200, "colour")
            for field, value in (("assistant_id", "x"), ("command", {"goto": "n"})):
                refused = await s.post("/runs", {field: value})
                assert refused.status_code == 422, field
                assert field in refused.json()["metadata"]["field"]

    play(story())


@pytest.mark.parametrize(
    ("name", "status", "outcome"),
    [("echo", "success", "completed"), ("ask", "interrupted", "asked"), ("broken", "error", "failed")],
)
def test_law_10_the_outcome_is_one_word_from_which_the_rest_follows(
    server: Starter, name: str, status: str, outcome: str
) -> None:
    @agent
    async def broken() -> None:
        raise ValueError("no luck")

    async def story() -> None:
        async with server(echo, ask, broken) as s:
            thread = await s.thread()
            done = await s.wait((await s.run(agent_id=name, thread_id=thread))["run_id"])
            assert (done["status"], done["run"]["outcome"]) == (status, outcome)
            expected = {"completed": "idle", "asked": "interrupted", "failed": "error"}[outcome]
            assert (await s.get(f"/threads/{thread}")).json()["status"] == expected
            if outcome == "failed":
                assert done["error"] == {"code": "agent_error", "message": "ValueError: no luck"}

    play(story())


def test_law_11_what_belongs_to_somebody_else_is_not_found(server: Starter) -> None:
    async def story() -> None:
        keys = msgspec.json.decode(b'[{"key":"a","owner":"ada"},{"key":"b","owner":"bob"}]')
        from runyard.settings import ApiKey

        async with server(echo, api_keys=tuple(ApiKey(**key) for key in keys)) as s:
            ada, bob = ({"authorization": f"Bearer {key}"} for key in "ab")
            thread = (await s.post("/threads", {}, headers=ada)).json()["thread_id"]
            run = (await s.post("/runs/wait", {"thread_id": thread}, headers=ada)).json()["run"]["run_id"]
            assert (await s.http.get(f"/threads/{thread}", headers=ada)).status_code == 200
            for path in (f"/threads/{thread}", f"/runs/{run}", f"/runs/{run}/wait", f"/threads/{thread}/history"):
                foreign = await s.http.get(path, headers=bob)
                unknown = path.replace(thread, run).replace(run, "01a20c2f-0000-7000-8000-000000000000")
                absent = await s.http.get(unknown, headers=bob)
                assert foreign.status_code == absent.status_code == 404
                assert foreign.json()["code"] == absent.json()["code"]
            assert (await s.http.get(f"/threads/{thread}")).status_code == 401

    play(story())
