"""How runs end on a thread's stream: each once, whatever ends it, and what is below it before."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from live_server import MovableClock, Server, Starter, play
from streaming_frames import check_whole
from watching import ALL, a_whole_story, everything, log_of, send, watch

from runyard import Context, Retry, SyncContext, agent


@agent(timeout=5)
async def holds(ctx: Context) -> None:
    """Writes a message in a sub-agent, and stays there."""
    await ctx.update({"n": 1})
    async with ctx.agent("child") as child:
        async with child.message() as message:
            await message.write("half a")
            await asyncio.Event().wait()


@agent
async def answers() -> dict[str, Any]:
    return {"done": True}


@agent
async def fails(ctx: Context) -> None:
    async with ctx.agent("child") as child:
        async with child.message() as message:
            await message.write("half a")
            raise ValueError("no luck")


@agent
async def asks(ctx: Context) -> None:
    async with ctx.agent("child") as child:
        await child.interrupt("why?")


door = threading.Event()


@agent
def stubborn(ctx: SyncContext) -> None:
    with ctx.agent("child") as child:
        child.emit("begun")
        door.wait(20)


async def nothing(*_: Any) -> None: ...


async def time_passes(s: Server, clock: MovableClock, thread: str, run: str) -> None:
    clock.move(6)


def cancelled(action: str) -> Callable[..., Awaitable[None]]:
    async def cancel(s: Server, clock: MovableClock, thread: str, run: str) -> None:
        await s.post(f"/runs/{run}/cancel?action={action}")

    return cancel


def makes_way(strategy: str) -> Callable[..., Awaitable[None]]:
    async def begin(s: Server, clock: MovableClock, thread: str, run: str) -> None:
        await send(s, thread, "run.start", assistantId="answers", input=None, multitaskStrategy=strategy)

    return begin


async def is_given_up(s: Server, clock: MovableClock, thread: str, run: str) -> None:
    await s.post(f"/runs/{run}/cancel")
    while not (await s.storage.run("", run)).finished:
        clock.move(10)
        await asyncio.sleep(0.001)


async def thread_deleted(s: Server, clock: MovableClock, thread: str, run: str) -> None:
    assert (await s.http.delete(f"/threads/{thread}")).status_code == 204


Doing = Callable[[Server, MovableClock, str, str], Awaitable[None]]
ENDS: dict[str, tuple[Any, Doing, str, str]] = {
    "completed": (answers, nothing, "completed", ""),
    "failed": (fails, nothing, "failed", "failed"),
    "asked": (asks, nothing, "interrupted", "interrupted"),
    "timed out": (holds, time_passes, "failed", "interrupted"),
    "cancelled": (holds, cancelled("interrupt"), "interrupted", "interrupted"),
    "rolled back": (holds, cancelled("rollback"), "interrupted", "interrupted"),
    "interrupted by another": (holds, makes_way("interrupt"), "interrupted", "interrupted"),
    "rolled back by another": (holds, makes_way("rollback"), "interrupted", "interrupted"),
    "abandoned": (stubborn, is_given_up, "interrupted", "interrupted"),
    "deleted with its thread": (holds, thread_deleted, "interrupted", "interrupted"),
}


@pytest.mark.parametrize("how", ENDS)
def test_every_run_ends_once_and_its_children_before_it(server: Starter, clock: MovableClock, how: str) -> None:
    runs, does, ends, child = ENDS[how]

    async def story() -> None:
        async with server(runs, *({answers, runs} - {runs}), clock=clock) as s:
            thread = await s.thread()
            seen = [await watch(s, thread, ALL, transport) for transport in ("sse", "websocket")]
            begun = await send(s, thread, "run.start", assistantId=runs.agent.agent_id, input=None)
            run = begun["result"]["runId"]
            if does is not nothing:
                await seen[0].until(lambda told: told[-1:] in (["content-block-delta@child"], ["custom:begun@child"]))
            await does(s, clock, thread, run)
            for one in seen:
                await one.until_told("completed" if how.endswith("another") else ends)
            frames = [frame for frame in seen[0].frames if frame["runId"] == run]
            assert seen[0].frames == seen[1].frames
            check_whole(seen[0].frames)
            lifecycle = [frame["params"] for frame in frames if frame["method"] == "lifecycle"]
            assert [p["data"]["event"] for p in lifecycle if not p["namespace"]] == ["started", "running", ends]
            below = [p["data"]["event"] for p in lifecycle if p["namespace"]]
            assert below == (["started", child] if child else [])
            last = frames[-1]["params"]
            assert (last["data"]["event"], last["namespace"]) == (ends, [])
            assert ("error" in last["data"]) == (ends == "failed")
            if how == "failed":
                assert last["data"]["error"] == "ValueError: no luck"
            if how not in ("deleted with its thread", "rolled back", "rolled back by another"):
                assert await log_of(s, thread) == seen[0].frames
            door.set()
            for one in seen:
                assert not one.connection.over
                await one.leave()

    door.clear()
    play(story())


def test_a_second_attempt_is_running_again_and_what_was_half_told_is_told_anew(
    server: Starter, clock: MovableClock
) -> None:
    @agent(retry=Retry(on=("ValueError",)), max_attempts=2)
    async def tries(ctx: Context) -> None:
        async with ctx.agent("child") as child:
            async with child.message() as message:
                await message.write(f"attempt {ctx.attempt}")
                if ctx.attempt == 1:
                    raise ValueError("not yet")

    async def story() -> None:
        async with server(tries, clock=clock) as s:
            thread = await s.thread()
            seen = await watch(s, thread)
            await send(s, thread, "run.start", assistantId="tries", input=None)
            while "completed" not in seen.told:
                clock.move(1)
                await asyncio.sleep(0.001)
            message = ["message-start@child", "content-block-start@child", "content-block-delta@child"]
            finish = ["content-block-finish@child", "message-finish@child", "completed@child"]
            middle = seen.told.index("running", 2)
            assert seen.told[:middle] == [
                "started", "running", "started@child", *message, "content-block-finish@child", "error@child",
                "failed@child",
            ]  # fmt: skip
            assert [t for t in seen.told[middle:] if t not in ("checkpoints", "values", "updates")] == [
                "running", "started@child", *message, *finish, "completed",
            ]  # fmt: skip
            check_whole(seen.frames)
            await seen.leave()

    play(story())


def test_a_patch_is_told_as_a_checkpoint_and_a_state_of_no_run(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await s.thread()
            seen = [await watch(s, thread, ALL, transport) for transport in ("sse", "websocket")]
            await s.http.patch(f"/threads/{thread}", json={"values": {"runId": 1}})
            await s.http.patch(f"/threads/{thread}", json={"metadata": {"a": 1}})
            await s.http.patch(f"/threads/{thread}", json={"values": {"b": None}})
            for one in seen:
                await one.until(lambda told: len(told) == 4)
                assert one.told == ["checkpoints", "values"] * 2
                assert not any("runId" in frame for frame in one.frames)
                first, state, second, last = [frame["params"]["data"] for frame in one.frames]
                assert (first["source"], "parentId" in first) == ("update", False)
                assert (second["parentId"], second["step"]) == (first["id"], first["step"] + 1)
                assert (state, last) == ({"runId": 1}, {"runId": 1, "b": None})
            assert seen[0].frames == seen[1].frames
            history = (await s.get(f"/threads/{thread}/history")).json()
            assert second["id"] == history[0]["checkpoint"]["checkpoint_id"]
            for one in seen:
                await one.leave()

    play(story())


def test_every_state_in_the_log_has_its_checkpoint_in_the_history(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            frames = await log_of(s, thread, channels=["checkpoints", "values"])
            history = {
                point["checkpoint"]["checkpoint_id"]: point
                for point in (await s.get(f"/threads/{thread}/history?limit=100")).json()
            }
            told = [frame["params"]["data"] for frame in frames if frame["method"] == "checkpoints"]
            assert {data["id"] for data in told} == set(history)
            for data, after in itertools.pairwise(frames):
                if after["method"] == "values":
                    point = history[data["params"]["data"]["id"]]
                    messages = {"messages": point["messages"]} if "messages" in point else {}
                    assert after["params"]["data"] == {**point["values"], **messages}
                    parent = (point["parent_checkpoint"] or {}).get("checkpoint_id")
                    assert data["params"]["data"].get("parentId") == parent

    play(story())


def test_a_thread_that_is_made_again_goes_on_with_the_numbers_of_the_deleted_one(server: Starter) -> None:
    """So a cursor of before never hides what comes after."""

    async def story() -> None:
        async with server(answers) as s:
            thread = await s.thread()
            seen = await watch(s, thread, ["lifecycle"])
            once = ["started", "running", "completed"]
            await send(s, thread, "run.start", assistantId="answers", input=None)
            await seen.until(lambda told: told == once)
            last = seen.ids[-1]
            await s.http.delete(f"/threads/{thread}")
            await send(s, thread, "run.start", assistantId="answers", input=None)
            await seen.until(lambda told: told == once * 2)
            late = await watch(s, thread, ["lifecycle"], since=0)
            await late.until(lambda told: told == ["custom:ap.missed_events", *once])
            assert late.frames[0]["eventId"] == f"missed:1-{last}"
            assert late.frames[1:] == seen.frames[3:]
            await seen.leave()
            await late.leave()

    play(story())
