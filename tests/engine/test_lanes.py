"""Code that misuses the event loop which it shares with other runs: it blocks it, stops it, closes it, cancels all
tasks on it. What becomes of the others is said here."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from live_server import Server, Starter, play

from runyard import Context, SyncContext, agent
from runyard.errors import RunyardError
from runyard.runtime import channel, lane
from runyard.runtime.channel import ThreadHost

DEADLINE = 20.0


class Gates:
    """What blocking code waits for, and what it says when it has begun; all gates open at the end of the test."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)

    def block(self) -> None:
        self.begun.release()
        assert self.gate.wait(DEADLINE)

    async def blocked(self, times: int = 1) -> None:
        for _ in range(times):
            assert await asyncio.to_thread(self.begun.acquire, timeout=DEADLINE)


@pytest.fixture
def gates() -> Iterator[Gates]:
    made = Gates()
    yield made
    made.gate.set()


@agent
async def sound(input: Any = None) -> dict[str, Any]:
    return {"fine": input}


def blocker(gates: Gates) -> Any:
    @agent
    async def blocks() -> str:
        gates.block()
        return "passed"

    return blocks


async def works(s: Server) -> None:
    run = await s.run(agent_id="sound", input=1)
    assert (await s.wait(run["run_id"]))["values"] == {"fine": 1}


def host_of(s: Server) -> ThreadHost:
    host = s.app.engine._host  # pyright: ignore[reportPrivateUsage]
    assert isinstance(host, ThreadHost)
    return host


def lanes_of(s: Server) -> int:
    return len(host_of(s)._lanes)  # pyright: ignore[reportPrivateUsage]


# blocking


def test_runs_go_on_beside_lanes_that_are_blocked_for_ever(
    server: Starter, gates: Gates, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with server(sound, blocker(gates), agent_threads=1, drain_grace=0.1, cancel_grace=0.05) as s:
            blocked = [await s.run(agent_id="blocks") for _ in range(5)]
            await gates.blocked(5)
            for _ in range(3):
                await works(s)
            # They cannot be stopped, which is said; what they do later is not kept.
            answer = await s.post(f"/runs/{blocked[0]['run_id']}/cancel?wait=true")
            assert (answer.status_code, answer.json()["code"]) == (504, "still_stopping")
            assert (await s.get(f"/runs/{blocked[0]['run_id']}")).json()["outcome"] == "abandoned"
            await works(s)
            await s.until(lambda: s.app.engine.worker.executing == 5)
            told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("lane blocked")]
            assert len(told) == 5
            assert f"run {blocked[0]['run_id']}" in told[0]
            assert "threading.py" in told[0]
            gates.gate.set()
            for run in blocked[1:]:
                assert (await s.wait(run["run_id"]))["values"] == {"output": "passed"}
            await s.until(lambda: lanes_of(s) == 1)
            await works(s)

    play(story())


def test_a_run_that_began_together_with_one_that_blocks_is_taken_elsewhere(server: Starter, gates: Gates) -> None:
    async def story() -> None:
        async with server(sound, blocker(gates), agent_threads=1, drain_grace=0.1) as s:
            verbs = [s.run(agent_id=agent_id) for agent_id in ("blocks", *["sound"] * 5)]
            _, *others = await asyncio.gather(*verbs)
            await gates.blocked()
            for run in others:
                assert (await s.wait(run["run_id"]))["status"] == "success"
            gates.gate.set()

    play(story())


def test_a_run_is_stopped_at_once_though_its_lane_is_blocked_before_it_began(server: Starter, gates: Gates) -> None:
    async def story() -> None:
        async with server(sound, blocker(gates), agent_threads=1, drain_grace=0.1) as s:
            await s.run(agent_id="blocks")
            await gates.blocked()
            run = await s.run(agent_id="sound")
            answer = await s.post(f"/runs/{run['run_id']}/cancel?wait=true")
            assert answer.status_code == 204
            gates.gate.set()

    play(story())


def test_a_synchronous_run_goes_on_though_the_lane_is_blocked_on_which_it_began(server: Starter, gates: Gates) -> None:
    begun, go = threading.Event(), threading.Event()

    @agent
    def steps(ctx: SyncContext) -> dict[str, int]:
        begun.set()
        assert go.wait(DEADLINE)
        n = ctx.step("one", lambda: 1)
        for number in range(1000):
            ctx.emit(number)
        ctx.store.put(("n",), "k", {"v": n})
        return {"n": n}

    async def story() -> None:
        async with server(sound, blocker(gates), steps, agent_threads=1, drain_grace=0.1) as s:
            run = await s.run(agent_id="steps")
            assert await asyncio.to_thread(begun.wait, DEADLINE)
            await s.run(agent_id="blocks")
            await gates.blocked()
            go.set()
            assert (await s.wait(run["run_id"]))["values"] == {"n": 1}
            gates.gate.set()

    play(story())


def test_when_all_lanes_are_blocked_runs_wait_in_line_and_go_on_with_the_first_that_is_free(
    server: Starter, gates: Gates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(channel, "SPARE_LANES", 1)

    async def story() -> None:
        async with server(sound, blocker(gates), agent_threads=1, drain_grace=0.1) as s:
            for _ in range(2):
                await s.run(agent_id="blocks")
            await gates.blocked(2)
            waiting, stopped = [await s.run(agent_id="sound") for _ in range(2)]
            await s.until(lambda: any(r.getMessage() == "all lanes blocked lanes=2" for r in caplog.records))
            answer = await s.post(f"/runs/{stopped['run_id']}/cancel?wait=true")
            assert answer.status_code == 204
            assert (await s.get(f"/runs/{waiting['run_id']}")).json()["status"] == "pending"
            assert (await s.get("/ok")).status_code == 200
            gates.gate.set()
            assert (await s.wait(waiting["run_id"]))["status"] == "success"

    play(story())


# the loop itself


def test_a_loop_that_is_stopped_goes_on(server: Starter) -> None:
    @agent
    async def stops() -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return "still here"

    async def story() -> None:
        async with server(sound, stops, agent_threads=1) as s:
            run = await s.run(agent_id="stops")
            assert (await s.wait(run["run_id"]))["values"] == {"output": "still here"}
            await works(s)

    play(story())


def test_a_loop_that_cannot_be_closed_fails_only_who_tried(server: Starter) -> None:
    @agent
    async def closes() -> None:
        asyncio.get_running_loop().close()

    async def story() -> None:
        async with server(sound, closes, agent_threads=1) as s:
            run = await s.run(agent_id="closes")
            await s.wait(run["run_id"])
            error = (await s.get(f"/runs/{run['run_id']}")).json()["error"]
            assert error == {"code": "agent_error", "message": "RuntimeError: Cannot close a running event loop"}
            await works(s)

    play(story())


BreakLane = Callable[[], None]


@pytest.fixture
def break_lane(monkeypatch: pytest.MonkeyPatch) -> Iterator[BreakLane]:
    """Does to the loop of whoever calls it what closing it in the moment between two turns comes to: it can wait for
    nothing any more. Afterwards it is mended as far as it needs to be closed."""
    monkeypatch.setattr(lane, "new_event_loop", asyncio.new_event_loop)  # the other one cannot be reached into
    broken: list[Any] = []

    def break_it() -> None:
        broken.append(asyncio.get_running_loop())
        broken[-1]._selector.close()

    yield break_it
    for loop in broken:
        loop._selector = selectors.DefaultSelector()
        loop.close()


def test_a_lane_that_dies_is_replaced_and_its_runs_are_tried_again_or_end(
    server: Starter, break_lane: BreakLane
) -> None:
    attempts: list[int] = []
    waits = threading.Semaphore(0)

    @agent
    async def innocent(ctx: Context) -> str:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            waits.release()
            await asyncio.Event().wait()
        return "done"

    @agent
    def innocent_blocking(ctx: SyncContext) -> str:
        if ctx.attempt == 1:
            waits.release()
            while True:
                ctx.store.get(("n",), "k")
        return "done"

    @agent(max_attempts=1)
    async def breaks() -> None:
        break_lane()

    async def story() -> None:
        async with server(sound, innocent, innocent_blocking, breaks, agent_threads=1) as s:
            others = [await s.run(agent_id=agent_id) for agent_id in ("innocent", "innocent_blocking")]
            for _ in others:
                assert await asyncio.to_thread(waits.acquire, timeout=DEADLINE)
            run = await s.run(agent_id="breaks")
            await s.wait(run["run_id"])
            for other in others:
                assert (await s.wait(other["run_id"]))["values"] == {"output": "done"}
                assert (await s.get(f"/runs/{other['run_id']}")).json()["attempt"] == 2
            await works(s)
            assert lanes_of(s) == 1
            await s.until(lambda: s.app.engine.worker.executing == 0)

    play(story())


def test_a_run_that_breaks_its_lane_each_time_stops_after_its_attempts(server: Starter, break_lane: BreakLane) -> None:
    @agent(max_attempts=2)
    async def breaks() -> None:
        break_lane()
        await asyncio.sleep(0)

    async def story() -> None:
        async with server(sound, breaks, agent_threads=1) as s:
            run = await s.run(agent_id="breaks")
            await s.wait(run["run_id"])
            ended = (await s.get(f"/runs/{run['run_id']}")).json()
            assert (ended["status"], ended["attempt"], ended["error"]["code"]) == ("error", 2, "lane_lost")
            await works(s)

    play(story())


# tasks of others


async def _cancel_all() -> str:
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
    return "cancelled them"


def test_code_that_cancels_all_tasks_does_not_reach_the_code_of_other_runs(
    server: Starter, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go = threading.Semaphore(0), threading.Event()

    @agent
    async def waits() -> str:
        begun.release()
        while not go.is_set():
            await asyncio.sleep(0.001)
        return "whole"

    async def story() -> None:
        async with server(waits, agent(_cancel_all, id="cancels"), agent_threads=1) as s:
            others = [await s.run(agent_id="waits") for _ in range(3)]
            for _ in others:
                assert await asyncio.to_thread(begun.acquire, timeout=DEADLINE)
            run = await s.run(agent_id="cancels")
            assert (await s.wait(run["run_id"]))["values"] == {"output": "cancelled them"}
            go.set()
            for other in others:
                assert (await s.wait(other["run_id"]))["values"] == {"output": "whole"}
            refused = [record for record in caplog.records if "cancel by another run" in record.getMessage()]
            assert len(refused) == 3
            # A cancel that somebody asked for is obeyed as ever.
            go.clear()
            run = await s.run(agent_id="waits")
            assert await asyncio.to_thread(begun.acquire, timeout=DEADLINE)
            assert (await s.post(f"/runs/{run['run_id']}/cancel?wait=true")).status_code == 204

    play(story())


def test_a_run_whose_task_another_run_cancelled_says_who_did_it(server: Starter) -> None:
    begun = threading.Event()

    @agent
    async def has_a_task() -> None:
        async def wait() -> None:
            begun.set()
            await asyncio.Event().wait()

        await asyncio.create_task(wait())

    async def story() -> None:
        async with server(sound, has_a_task, agent(_cancel_all, id="cancels"), agent_threads=1) as s:
            run = await s.run(agent_id="has_a_task")
            assert await asyncio.to_thread(begun.wait, DEADLINE)
            culprit = await s.run(agent_id="cancels")
            await s.wait(run["run_id"])
            error = (await s.get(f"/runs/{run['run_id']}")).json()["error"]
            assert error["code"] == "agent_error"
            assert f"the code of run {culprit['run_id']} cancelled a task of this run" in error["message"]
            await works(s)

    play(story())


async def _cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def _times_out() -> str:
    try:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
    except TimeoutError:
        return "in time"
    return "never"


async def _lets_a_group_cancel() -> str:
    async def fail() -> None:
        raise ValueError("no")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await asyncio.Event().wait()
    except* ValueError:
        pass
    return "regrouped"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(_cancels_itself, "failed"), (_times_out, "completed"), (_lets_a_group_cancel, "completed")],
)
def test_code_may_cancel_itself(server: Starter, code: Callable[[], Any], outcome: str) -> None:
    async def story() -> None:
        async with server(sound, agent(code, id="code")) as s:
            run = await s.run(agent_id="code")
            await s.wait(run["run_id"])
            ended = (await s.get(f"/runs/{run['run_id']}")).json()
            assert ended["outcome"] == outcome
            if outcome == "failed":
                assert "nobody asked the run to stop" in ended["error"]["message"]
            await works(s)

    play(story())


def test_tasks_that_are_left_behind_harm_no_other_run(server: Starter) -> None:
    left: set[asyncio.Task[None]] = set()
    ended = threading.Event()

    @agent
    async def leaves(ctx: Context) -> str:
        async def linger() -> None:
            try:
                await asyncio.sleep(0)
                await ctx.emit("too late")
            except RunyardError:
                ended.set()

        for _ in range(100):
            left.add(asyncio.create_task(linger()))
        return "gone"

    async def story() -> None:
        async with server(sound, leaves, agent_threads=1) as s:
            run = await s.run(agent_id="leaves")
            assert (await s.wait(run["run_id"]))["values"] == {"output": "gone"}
            assert await asyncio.to_thread(ended.wait, DEADLINE)
            await works(s)
            assert "too late" not in (await s.get(f"/runs/{run['run_id']}/stream?since=0")).text

    play(story())
