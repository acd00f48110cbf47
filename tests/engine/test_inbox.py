"""The inbox of an agent: what its code takes, where, and what a later attempt takes again."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from fake_engine import FakeEngine, play
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard import Context, Inbox, SyncContext, SyncInbox, agent
from runyard.runtime.channel import ThreadHost


def contents(messages: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages]


@agent
async def three(ctx: Context, inbox: Inbox) -> dict[str, Any]:
    await ctx.emit("ready")
    first = await inbox.take()
    rest = [message async for message in two_of(inbox)]
    return {"got": contents([first, *rest])}


async def two_of(inbox: Inbox) -> Any:
    number = 0
    async for message in inbox:
        yield message
        number += 1
        if number == 2:
            return


@agent
def three_blocking(ctx: SyncContext, inbox: SyncInbox) -> dict[str, Any]:
    ctx.emit("ready")
    got = [inbox.take()]
    for message in inbox:
        got.append(message)
        if len(got) == 3:
            break
    return {"got": contents(got)}


BOTH = pytest.mark.parametrize("work", [three, three_blocking], ids=["async", "sync"])


@BOTH
def test_code_takes_what_was_there_and_waits_for_what_comes(work: Any) -> None:
    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, work)
        ended = await engine.run(inject_at={1: "a", 2: "b", 3: "c"})
        assert ended.how == "completed", ended
        assert engine.values["got"] == ["a", "b", "c"]
        assert contents(engine.values["messages"]) == ["a", "b", "c"]
        assert engine.sources[:3] == ["input"] * 3
        assert [key for key in engine.keys if key[0] == "take"] == [("take", "", n) for n in (1, 2, 3)]
        # Each is told once, as it is accepted; the step that takes it does not tell it again.
        assert [frame["params"]["data"]["event"] for frame in engine.told("messages")] == MESSAGE * 3

    play(story)


MESSAGE = ["message-start", "content-block-start", "content-block-delta", "content-block-finish", "message-finish"]


@BOTH
def test_what_comes_before_the_code_has_begun_is_not_lost(work: Any) -> None:
    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, work)
        engine.input = None
        engine.run_id = engine.invocation = "r"
        invocation = engine.begin()
        for content in "abc":
            engine.inject(content)  # before the lane has come round
        assert (await engine.play(invocation)).how == "completed"
        assert engine.values["got"] == ["a", "b", "c"]

    play(story)


@BOTH
@pytest.mark.parametrize("crash_after", range(5))
def test_a_later_attempt_takes_the_same_at_the_same_places(work: Any, crash_after: int) -> None:
    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, work)
        engine.run_id = engine.invocation = "r"
        engine.input = None
        for content in "abc":
            engine.inject(content)
        await engine.again(crash_after=crash_after)
        engine.inject("d")
        assert (await engine.again()).how == "completed"
        assert engine.values["got"] == ["a", "b", "c"]
        assert contents(engine.values["messages"]) == ["a", "b", "c"]

    play(story)


@pytest.mark.parametrize("blocking", [False, True])
def test_what_is_there_is_taken_without_waiting_and_that_nothing_was_is_recorded(blocking: bool) -> None:
    async def work(ctx: Context, inbox: Inbox) -> dict[str, Any]:
        looks = [contents(await inbox.waiting())]
        await ctx.emit("looked")
        looks.append(contents([await inbox.take(timeout=30) or {}, *await inbox.waiting()]))
        none = await inbox.take(timeout=0.01)
        await ctx.step("after", str, "x")
        return {"looks": looks, "none": none is None, "last": contents(await inbox.waiting())}

    def work_blocking(ctx: SyncContext, inbox: SyncInbox) -> dict[str, Any]:
        looks = [contents(inbox.waiting())]
        ctx.emit("looked")
        looks.append(contents([inbox.take(timeout=30) or {}, *inbox.waiting()]))
        none = inbox.take(timeout=0.01)
        ctx.step("after", str, "x")
        return {"looks": looks, "none": none is None, "last": contents(inbox.waiting())}

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(work_blocking if blocking else work))
        # look, emit, take, look, look, step
        await engine.run(crash_after=6, inject_at={2: "a"})
        assert ("step", "after", 1) in engine.keys
        engine.inject("b")
        assert (await engine.again()).how == "completed", engine.ended
        assert engine.values["looks"] == [[], ["a"]]
        assert engine.values["none"] is True
        assert engine.values["last"] == ["b"]

    play(story)


def test_a_task_may_take_beside_what_the_code_does() -> None:
    """The replayed code may be done before the task has come round: that it took nothing this time is no mistake."""

    @agent
    async def work(ctx: Context, inbox: Inbox) -> dict[str, Any]:
        notes: list[str] = []

        async def listen() -> None:
            async for message in inbox:
                notes.append(message["content"])

        listening = asyncio.create_task(listen())
        for number in range(3):
            await ctx.step(f"s{number}", number_of, number)
        if ctx.attempt == 1:
            while not notes:
                await asyncio.sleep(0.001)
        await ctx.step("last", number_of, 0)
        listening.cancel()
        return {"messages": [{"id": "done", "role": "assistant", "content": "done"}]}

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, work)
        await engine.run(crash_after=5, inject_at={2: "a"})
        assert ("take", "", 1) in engine.keys
        assert (await engine.again()).how == "completed", engine.ended
        assert contents(engine.values["messages"]) == ["a", "done"]

    play(story)


def number_of(number: int) -> int:
    return number


def test_a_task_that_still_waits_ends_with_the_run() -> None:
    waits: list[asyncio.Task[Any]] = []

    @agent
    async def work(inbox: Inbox) -> None:
        waits.append(asyncio.create_task(inbox.take()))
        await asyncio.sleep(0)

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, work)
        assert (await engine.run()).how == "completed"
        while not waits[0].done():
            await asyncio.sleep(0.001)
        assert waits[0].cancelled()

    play(story)


@pytest.mark.parametrize("blocking", [False, True])
def test_a_run_that_waits_for_messages_can_be_stopped(blocking: bool) -> None:
    async def work(ctx: Context, inbox: Inbox) -> None:
        await ctx.emit("ready")
        await inbox.take()

    def work_blocking(ctx: SyncContext, inbox: SyncInbox) -> None:
        ctx.emit("ready")
        inbox.take()

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(work_blocking if blocking else work))
        assert (await engine.run(stop_at=lambda engine: engine.writes == 1)).how == "stopped"

    play(story)


def test_a_question_beside_a_wait_for_messages_ends_the_run_and_the_answer_finds_what_was_not_taken() -> None:
    @agent
    async def work(ctx: Context, inbox: Inbox) -> dict[str, Any]:
        first = await inbox.take()
        answer, second = await asyncio.gather(ctx.interrupt("sure?"), inbox.take())
        return {"got": [first["content"], answer, second["content"]]}

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, work)
        engine.run_id = engine.invocation = "r"
        engine.input = None
        engine.inject("a")
        assert (await engine.again()).how == "asked"
        engine.inject("b")
        assert (await engine.resume(["yes"])).how == "completed", engine.ended
        assert engine.values["got"] == ["a", "yes", "b"]

    play(story)


def test_an_agent_with_an_inbox_says_so_and_has_messages() -> None:
    @agent
    async def named(inbox: Any) -> None: ...

    @agent
    async def typed(mail: Inbox | None = None) -> None: ...

    @agent
    async def without(input: str) -> None: ...

    assert [one.agent.injects for one in (named, typed, without)] == [True, True, False]
    assert named.agent.capabilities == {"ap.io.messages": True, "ap.io.streaming": True, "runyard.inject": True}
    assert named.agent.schemas.input == {}


def test_messages_taken_by_threads_of_the_code_are_taken_once() -> None:
    @agent
    def work(ctx: SyncContext, inbox: SyncInbox) -> dict[str, Any]:
        got: list[str] = []
        threads = [threading.Thread(target=lambda: got.append(inbox.take()["content"])) for _ in range(4)]
        for thread in threads:
            thread.start()
        ctx.emit("ready")
        for thread in threads:
            thread.join()
        return {"got": sorted(got)}

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, work)
        assert (await engine.run(inject_at={1: "a", 2: "b", 3: "c", 4: "d"})).how == "completed", engine.ended
        assert engine.values["got"] == ["a", "b", "c", "d"]

    play(story)


@settings(max_examples=40, deadline=None)
@given(
    calls=st.lists(st.sampled_from(["take", "waiting", "step", "update"]), max_size=8),
    injected=st.dictionaries(st.integers(0, 8), st.integers(1, 2), max_size=5),
    crashes=st.lists(st.integers(0, 8), max_size=3),
)
def test_whenever_messages_come_and_attempts_die_each_is_taken_once_and_in_order(
    calls: list[str], injected: dict[int, int], crashes: list[int]
) -> None:
    @agent
    async def work(ctx: Context, inbox: Inbox) -> dict[str, Any]:
        got: list[str] = []
        for number, call in enumerate(calls):
            if call == "take":
                message = await inbox.take(timeout=0.0)
                got += [] if message is None else [message["content"]]
            elif call == "waiting":
                got += contents(await inbox.waiting())
            elif call == "step":
                await ctx.step(f"{len(got)}", number_of, number)  # what was taken decides what is done
            else:
                await ctx.update({"n": len(got)})
            assert contents(ctx.state.get("messages", [])) == got
        return {"got": got}

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, work)
        engine.run_id = engine.invocation = "r"
        engine.input = None

        def more() -> dict[int, str]:
            return {at: str(at) for at in injected if at >= engine.writes}

        for crash in crashes:
            await engine.again(crash_after=engine.writes + crash, inject_at=more())
        assert (await engine.again(inject_at=more())).how == "completed", engine.ended
        sent = [message["content"] for (message,) in engine.log("messages")]
        assert engine.values["got"] == sent[: len(engine.values["got"])]
        assert contents(engine.values.get("messages", [])) == engine.values["got"]

    play(story)
