"""On a whole server: what a run leaves open below it is ended before the run, whatever ends it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from live_server import MovableClock, Server, Starter, play
from live_server import holds as passes

from runyard import Context, Retry, SyncContext, agent
from runyard.protocol.frames import Face
from runyard.runtime.load import load_targets


async def frames(server: Server, run: dict[str, Any]) -> list[dict[str, Any]]:
    """What the streaming protocol tells of a run's thread."""
    events = await server.storage.events("", run["thread_id"], after=0, run_id=None, limit=10_000)
    face = Face("camel")
    return [msgspec.json.decode(frame.text) for event in events for frame in face.frames(event)]


async def lifecycle(server: Server, run: dict[str, Any]) -> list[tuple[str, str]]:
    """The event and the names of the namespace, in order."""
    told = [frame["params"] for frame in await frames(server, run) if frame["method"] == "lifecycle"]
    return [(at["data"]["event"], "/".join(part.partition(":")[0] for part in at["namespace"])) for at in told]


def in_background(ctx: Context, wait: Any) -> asyncio.Task[None]:
    """A task that opens two sub-agents, one inside the other, and waits there until the end of its days."""

    async def work() -> None:
        async with ctx.agent("a") as outer, outer.agent("b") as inner:
            await inner.emit("open")
            await wait()

    return asyncio.ensure_future(work())


BEGUN = [("started", ""), ("running", ""), ("started", "a"), ("started", "a/b")]


def ended(*how: str) -> list[tuple[str, str]]:
    return [(how[0], "a/b"), (how[0], "a"), (how[-1], "")]


TASKS: set[asyncio.Task[None]] = set()


async def opened(ctx: Context) -> None:
    """Both sub-agents are open, and nobody waits for their code."""
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = in_background(ctx, wait)
    TASKS.add(task)
    await begun.wait()


@agent
async def leaves(input: str, ctx: Context) -> None:
    await opened(ctx)
    if input == "fail":
        raise ValueError("no")
    if input == "ask":
        await ctx.interrupt("sure?")


@pytest.mark.parametrize(
    ("input", "how", "root"),
    [("return", "completed", "completed"), ("fail", "failed", "failed"), ("ask", "interrupted", "interrupted")],
)
def test_code_that_ends_leaves_nothing_open(server: Starter, input: str, how: str, root: str) -> None:
    async def story() -> None:
        async with server(leaves) as s:
            run = await s.run(thread_id=await s.thread(), input=input)
            await s.wait(run["run_id"])
            assert await lifecycle(s, run) == [*BEGUN, *ended(how, root)]
            errors = [at["params"]["data"].get("error") for at in await frames(s, run) if at["method"] == "lifecycle"]
            assert errors[-3:] == (["ValueError: no"] * 3 if input == "fail" else [None] * 3)

    play(story())


@agent(timeout=60, max_attempts=2, retry=Retry(on=("OSError",), initial=1, jitter=0))
async def holds(input: str, ctx: Context) -> None:
    async with ctx.agent("a") as outer, outer.agent("b") as inner:
        await inner.emit("open")
        if input == "try again":
            await opened(ctx) if ctx.attempt == 1 else None
            raise OSError("gone")
        await asyncio.Event().wait()


async def open_(server: Server, run: dict[str, Any]) -> None:
    """Until the run has said that all is open."""
    thread = run["thread_id"]

    async def seen() -> bool:
        found = await server.storage.events("", thread, after=0, run_id=None, limit=100)
        return any(event.kind == "custom" for event in found)

    while not await seen():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
def test_a_cancel_ends_sub_agents_before_the_run(server: Starter, action: str) -> None:
    async def story() -> None:
        async with server(holds) as s:
            run = await s.run(thread_id=await s.thread(), input="wait")
            await open_(s, run)
            await s.post(f"/runs/{run['run_id']}/cancel?wait=true&action={action}")
            assert await lifecycle(s, run) == [*BEGUN, *ended("interrupted")]

    play(story())


def test_a_timeout_ends_sub_agents_before_the_run(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(holds, clock=clock) as s:
            run = await s.run(thread_id=await s.thread(), input="wait")
            await open_(s, run)
            clock.move(61)
            await s.wait(run["run_id"])
            assert await lifecycle(s, run) == [*BEGUN, *ended("interrupted", "failed")]

    play(story())


def test_another_attempt_begins_with_nothing_open(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(holds, clock=clock) as s:
            run = await s.run(thread_id=await s.thread(), input="try again")
            await s.until(lambda: passes(s.storage.run("", run["run_id"]), lambda run: run.attempt == 1))
            await s.until(lambda: passes(s.storage.run("", run["run_id"]), lambda run: run.status == "pending"))
            while (await s.storage.run("", run["run_id"])).attempt == 1:
                clock.move(2)  # the worker may have reckoned how long to sleep before the last move, and begun after it
                await asyncio.sleep(0.001)
            await s.wait(run["run_id"])
            told = await lifecycle(s, run)
            again = told.index(("running", ""), 2)
            opens: list[str] = []
            for event, place in told[:again]:
                if place and event == "started":
                    opens.append(place)
                elif place:
                    opens.remove(place)
            assert opens == []
            assert told[-1] == ("failed", "")

    play(story())


def test_a_drain_ends_what_stubborn_code_leaves_open(server: Starter) -> None:
    leave = threading.Event()

    @agent
    def stubborn(ctx: SyncContext) -> None:
        with ctx.agent("a") as outer, outer.agent("b") as inner:
            inner.emit("open")
            leave.wait(20)

    async def story() -> None:
        async with server(stubborn, drain_grace=0) as s:
            run = await s.run(thread_id=await s.thread())
            await open_(s, run)
            closing: Coroutine[Any, Any, None] = s.app.engine.close()
            task = asyncio.ensure_future(closing)
            await s.until(lambda: passes(s.storage.run("", run["run_id"]), lambda run: run.status == "pending"))
            assert await lifecycle(s, run) == [*BEGUN, *ended("interrupted")[:2]]
            leave.set()
            await task

    play(story())


def test_the_research_team_tells_which_sub_agent_answers_which_call(server: Starter) -> None:
    examples = Path(__file__).resolve().parents[2] / "examples"
    (team,) = load_targets([str(examples / "research_team.py")], examples)

    async def story() -> None:
        async with server(team) as s:
            wish = {"question": "How do scouts of bees agree on a site?", "folder": str(examples / "texts")}
            run = await s.run(thread_id=await s.thread(), input=wish, stream_mode=["messages", "custom"])
            ended = await s.wait(run["run_id"])
            assert ended["values"]["passages"][0]["file"] == "bees.txt"
            told = await frames(s, run)
            calls = {call["name"]: call["id"] for call in ended["messages"][0]["tool_calls"]}
            begun = [at["params"]["data"] for at in told if at["params"]["data"].get("cause")]
            assert {data["graphName"]: data["cause"]["toolCallId"] for data in begun} == {
                "reader": calls["read"], "counter": calls["count"],
            }  # fmt: skip
            # A run's stream shows the messages of sub-agents to those who ask for them.
            stream = f"/runs/{run['run_id']}/stream?since=0"
            assert "event: messages|reader:" not in (await s.get(stream)).text
            assert "event: messages|reader:" in (await s.get(f"{stream}&stream_subgraphs=true")).text

    play(story())
