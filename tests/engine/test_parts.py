"""Tools and sub-agents: what is told of them, what is recorded, and what a later attempt does not do again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fake_engine import FakeEngine, Frame, play

from runyard import Context, SyncContext, agent
from runyard.runtime.channel import ThreadHost


def run(work: Any, **options: Any) -> FakeEngine:
    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        await engine.run(**options)
        return engine

    return play(story)


def twice(work: Any, crash_after: int) -> FakeEngine:
    """An attempt that is cut off after so many writes, and another one."""

    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        await engine.run(crash_after=crash_after)
        engine.cut_off_at, engine.keys_at_cut = len(engine.entries), engine.keys
        await engine.again()
        return engine

    return play(story)


def completed(engine: FakeEngine) -> FakeEngine:
    assert engine.ended is not None
    assert engine.ended.how == "completed", engine.ended
    return engine


def data(frames: list[Frame]) -> list[dict[str, Any]]:
    return [frame["params"]["data"] for frame in frames]


def lifecycle(engine: FakeEngine) -> list[tuple[str, str]]:
    """The lifecycle of sub-agents: the event, and the names that lead there."""
    return [(frame["params"]["data"]["event"], names(frame)) for frame in engine.told("lifecycle")]


def names(frame: Frame) -> str:
    return "/".join(segment.partition(":")[0] for segment in frame["params"]["namespace"])


# tools


def add(a: int, b: int = 0) -> int:
    return a + b


async def later(a: int) -> int:
    await asyncio.sleep(0)
    return a + 1


def words(*, text: str) -> Iterator[str]:
    yield from text.split(" ")


async def words_later(text: str) -> AsyncIterator[str]:
    for word in text.split(" "):
        yield word


CALLS: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any, list[str], Any]] = [
    (add, (1,), {"b": 2}, {"a": 1, "b": 2}, [], 3),
    (later, (1,), {}, {"a": 1}, [], 2),
    (words, (), {"text": "a b"}, {"text": "a b"}, ["a", "b"], "ab"),
    (words_later, ("a b",), {}, {"text": "a b"}, ["a", "b"], "ab"),
    (max, (1, 2), {}, {"args": [1, 2]}, [], 2),
]
"""Of each: what is called, with what, how that is told, the pieces, and what it gives."""


@pytest.mark.parametrize(("fn", "args", "kwargs", "input", "pieces", "output"), CALLS)
@pytest.mark.parametrize("blocking", [False, True])
def test_a_tool_is_told_with_its_arguments_its_pieces_and_its_output(
    fn: Any, args: Any, kwargs: Any, input: Any, pieces: list[str], output: Any, blocking: bool
) -> None:
    async def work(ctx: Context) -> Any:
        return {"output": await ctx.tool("t", fn, *args, call_id="c1", **kwargs)}

    def work_blocking(ctx: SyncContext) -> Any:
        return {"output": ctx.tool("t", fn, *args, call_id="c1", **kwargs)}

    engine = completed(run(work_blocking if blocking else work))
    assert data(engine.told("tools")) == [
        {"event": "tool-started", "toolCallId": "c1", "toolName": "t", "input": input},
        *({"event": "tool-output-delta", "toolCallId": "c1", "delta": piece} for piece in pieces),
        {"event": "tool-finished", "toolCallId": "c1", "output": output},
    ]
    assert engine.values == {"output": output}
    assert engine.keys == [("step", "t", 1)]


@pytest.mark.parametrize("blocking", [False, True])
def test_a_tool_that_raises_is_told_and_not_recorded(blocking: bool) -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise ValueError("no")

    async def work(ctx: Context) -> None:
        with pytest.raises(ValueError, match="no"):
            await ctx.tool("t", broken, call_id="c1")

    def work_blocking(ctx: SyncContext) -> None:
        with pytest.raises(ValueError, match="no"):
            ctx.tool("t", broken, call_id="c1")

    engine = completed(run(work_blocking if blocking else work))
    assert [event["event"] for event in data(engine.told("tools"))] == [
        "tool-started", "tool-output-delta", "tool-error",
    ]  # fmt: skip
    assert data(engine.told("tools"))[-1] == {"event": "tool-error", "toolCallId": "c1", "message": "ValueError: no"}
    assert engine.records == []


@pytest.mark.parametrize(
    ("give", "why"), [(lambda: float("nan"), "nan"), (lambda: iter(()), "no JSON"), (lambda: object(), "no JSON")]
)
def test_what_no_text_can_hold_is_an_error_of_the_tool(give: Any, why: str) -> None:
    async def work(ctx: Context) -> Any:
        try:
            await ctx.tool("t", give)
        except Exception as error:
            return str(error)

    engine = completed(run(work))
    assert why in engine.values["output"]
    assert [event["event"] for event in data(engine.told("tools"))] == ["tool-started", "tool-error"]


def test_a_generator_that_yields_no_text_is_refused() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def work(ctx: Context) -> None:
        with pytest.raises(TypeError, match="pieces of text, not int"):
            await ctx.tool("t", numbers)

    completed(run(work))


def test_arguments_that_json_cannot_hold_are_refused_before_the_tool_is_told() -> None:
    async def work(ctx: Context) -> None:
        with pytest.raises(Exception, match="object"):
            await ctx.tool("t", add, object())
        await ctx.tool("t", add, 1)

    engine = completed(run(work))
    assert len(engine.told("tools")) == 2
    assert engine.keys == [("step", "t", 1)]


def test_a_recorded_tool_is_neither_called_nor_told_again() -> None:
    called: list[int] = []

    def count() -> int:
        called.append(1)
        return len(called)

    async def work(ctx: Context) -> Any:
        first = await ctx.tool("count", count)
        second = await ctx.tool("count", count)
        return {"counted": [first, second]}

    engine = completed(twice(work, 3))
    assert engine.values == {"counted": [1, 3]}
    events = data(engine.told("tools"))
    assert [event["event"] for event in events] == ["tool-started", "tool-finished"] + ["tool-started"] * 2 + [
        "tool-finished"
    ]
    # The second was begun by both attempts, under one id.
    assert len({event["toolCallId"] for event in events[:2]}) == 1
    assert {event["toolCallId"] for event in events[2:]} != {events[0]["toolCallId"]}
    assert len({event["toolCallId"] for event in events[2:]}) == 1


def test_a_question_inside_a_tool_waits_with_it_and_is_not_asked_again_behind_it() -> None:
    called: list[str] = []

    async def work(ctx: Context) -> Any:
        async def refund(amount: int) -> str:
            called.append("refund")
            answer = await ctx.interrupt({"refund": amount})
            await ctx.step("pay", called.append, "pay")
            await ctx.update({"paid": amount})
            return answer

        got = await ctx.tool("refund", refund, 5, call_id="c1")
        more = await ctx.interrupt("more?", name="more")
        assert ctx.state["paid"] == 5
        return {"got": got, "more": more}

    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        assert (await engine.run()).how == "asked"
        assert [event["event"] for event in data(engine.told("tools"))] == ["tool-started"]
        assert (await engine.resume(["yes"])).how == "asked", engine.ended
        await engine.resume(["no"])
        return engine

    engine = completed(play(story))
    assert engine.values == {"paid": 5, "got": "yes", "more": "no"}
    assert called == ["refund", "refund", "pay"]
    events = data(engine.told("tools"))
    assert [(event["event"], event["toolCallId"]) for event in events] == [
        ("tool-started", "c1"), ("tool-started", "c1"), ("tool-finished", "c1"),
    ]  # fmt: skip


def test_a_question_beside_a_tool_waits_until_the_tool_has_ended() -> None:
    async def work(ctx: Context) -> None:
        begun = asyncio.Event()

        async def slow() -> str:
            begun.set()
            for _ in range(50):
                await asyncio.sleep(0)
            return "done"

        async def ask() -> None:
            await begun.wait()
            await ctx.interrupt("?")

        await asyncio.gather(ctx.tool("slow", slow), ask())

    engine = run(work)
    assert engine.ended is not None
    assert engine.ended.how == "asked"
    assert ("step", "slow", 1) in engine.keys


# sub-agents


async def look(ctx: Context, name: str, **more: Any) -> None:
    async with ctx.agent(name, **more) as sub:
        assert sub.name == name
        async with sub.message(id=f"m-{name}") as message:
            await message.write(f"I am {name}.")
        await sub.emit({"n": 1}, name="progress")
        await sub.tool("add", add, 1)


def test_what_a_sub_agent_does_is_told_under_its_namespace() -> None:
    async def work(ctx: Context) -> None:
        await look(ctx, "researcher", call_id="c1")
        async with ctx.message(id="own") as message:
            await message.write("done")

    engine = completed(run(work))
    inner = [frame for frame in engine.told() if frame["params"]["namespace"]]
    assert {frame["method"] for frame in inner} == {"lifecycle", "messages", "custom", "tools"}
    (namespace,) = {tuple(frame["params"]["namespace"]) for frame in inner}
    assert namespace[0].startswith("researcher:")
    first, *_, last = data(inner)
    assert first == {
        "event": "started", "graphName": "researcher", "cause": {"type": "toolCall", "toolCallId": "c1"},
    }  # fmt: skip
    assert last == {"event": "completed"}
    # Its messages are shown, and are not the thread's.
    assert [message["id"] for message in engine.values["messages"]] == ["own"]
    assert [entry.namespace for entry in engine.entries if entry.kind == "messages"][:2] == ["|".join(namespace)] * 2
    assert not hasattr(ctx_of_sub(), "update")


def ctx_of_sub() -> Any:
    from runyard.runtime.context import SubContext

    return SubContext


def test_sub_agents_have_sub_agents_and_the_innermost_ends_first() -> None:
    async def work(ctx: Context) -> None:
        async with ctx.agent("lead") as lead:
            async with lead.agent("helper") as helper:
                await helper.emit(1)
            async with lead.agent("helper") as helper:
                await helper.emit(2)

    engine = completed(run(work))
    assert lifecycle(engine) == [
        ("started", "lead"), ("started", "lead/helper"), ("completed", "lead/helper"),
        ("started", "lead/helper"), ("completed", "lead/helper"), ("completed", "lead"),
    ]  # fmt: skip
    assert len({tuple(frame["params"]["namespace"]) for frame in engine.told("custom")}) == 2


def test_a_sub_agent_inside_a_tool_says_which_call_it_answers() -> None:
    async def work(ctx: Context) -> Any:
        async def research(topic: str) -> str:
            await look(ctx, "researcher")
            return topic

        return {"output": await ctx.tool("research", research, topic="bees", call_id="c1")}

    engine = completed(run(work))
    assert data(engine.told("lifecycle"))[0]["cause"] == {"type": "toolCall", "toolCallId": "c1"}
    assert engine.values["output"] == "bees"


def test_what_was_done_inside_a_recorded_tool_is_left_out_with_it() -> None:
    called: list[str] = []

    async def work(ctx: Context) -> Any:
        async def research() -> str:
            called.append("research")
            await look(ctx, "researcher")
            await ctx.update({"n": 1})
            return "found"

        found = await ctx.tool("research", research)
        assert ctx.state["n"] == 1
        await ctx.step("s", lambda: 1)
        await ctx.update({"found": found})

    whole = completed(run(work))
    for crash_after in range(1, whole.writes):
        called.clear()
        engine = completed(twice(work, crash_after))
        assert engine.values == {"n": 1, "found": "found"}, crash_after
        assert len(called) == (1 if ("step", "research", 1) in engine.keys_at_cut else 2)


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError("no"), {"event": "failed", "error": "ValueError: no"}),
     (asyncio.CancelledError(), {"event": "interrupted"})],
)  # fmt: skip
@pytest.mark.parametrize("blocking", [False, True])
def test_a_block_that_raises_tells_how_it_ended(error: BaseException, told: dict[str, Any], blocking: bool) -> None:
    async def work(ctx: Context) -> None:
        try:
            async with ctx.agent("a"):
                raise error
        except BaseException:
            pass

    def work_blocking(ctx: SyncContext) -> None:
        try:
            with ctx.agent("a"):
                raise error
        except BaseException:
            pass

    engine = completed(run(work_blocking if blocking else work))
    assert data(engine.told("lifecycle"))[1:] == [told]


def test_sub_agents_work_side_by_side_and_go_on_where_they_were_cut_off() -> None:
    async def work(ctx: Context) -> Any:
        async def research(name: str, delay: int) -> str:
            async with ctx.agent(name) as sub:
                parts: list[str] = []
                for n in range(2):
                    for _ in range(delay if ctx.attempt == 1 else 9 - delay):
                        await asyncio.sleep(0)
                    async with sub.message() as message:
                        await message.write(f"{name}{n}")
                    parts.append(await sub.step("part", lambda n=n: f"{name}{n}"))
                return "".join(parts)

        return {"all": await asyncio.gather(research("a", 1), research("b", 4), research("c", 8))}

    whole = completed(run(work))
    wanted = {"all": ["a0a1", "b0b1", "c0c1"]}
    assert whole.values == wanted
    for crash_after in range(1, whole.writes):
        engine = completed(twice(work, crash_after))
        assert engine.values == wanted, crash_after
        for name in "abc":
            frames = [frame for frame in engine.told() if names(frame) == name]
            assert len({tuple(frame["params"]["namespace"]) for frame in frames}) == 1
            assert data(frames)[-1] == {"event": "completed"}
            # Each whole message once, though pieces may have come twice.
            messages = [frame for frame in frames if frame["method"] == "messages"]
            assert [event["event"] for event in data(messages)].count("message-finish") == 2


def test_a_sub_agent_that_raised_is_done_and_told_again_and_what_made_up_for_it_may_stay_unused() -> None:
    async def work(ctx: Context) -> None:
        try:
            async with ctx.agent("first choice") as sub:
                await sub.emit("trying", name=f"attempt {ctx.attempt}")
                await sub.step("s", lambda: 1 / (ctx.attempt - 1))
        except ZeroDivisionError:
            await look(ctx, "second choice")
        await ctx.update({"n": 1})
        await ctx.step("end", lambda: 1)
        await ctx.update({"n": 2})

    writes = completed(run(work)).writes
    engine = completed(twice(work, writes - 1))
    assert engine.values == {"n": 2}
    assert lifecycle(engine) == [
        ("started", "first choice"), ("failed", "first choice"), ("started", "second choice"),
        ("completed", "second choice"), ("started", "first choice"), ("completed", "first choice"),
    ]  # fmt: skip


def test_a_sub_agent_that_ended_is_not_told_again() -> None:
    async def work(ctx: Context) -> None:
        await look(ctx, "a")
        await ctx.step("s", lambda: 1)
        await ctx.update({"n": 1})

    writes = completed(run(work)).writes
    engine = completed(twice(work, writes - 1))
    assert engine.entries[engine.cut_off_at :] != []
    assert {entry.kind for entry in engine.entries[engine.cut_off_at :]} == {"updates"}


def test_a_question_of_a_sub_agent_interrupts_it_and_its_answer_continues_it() -> None:
    async def work(ctx: Context) -> Any:
        async with ctx.agent("a") as sub:
            first = await sub.interrupt("first?")
            second = await sub.interrupt("second?")
        async with ctx.agent("a") as sub:
            third = await sub.interrupt("first?")
        return {"answers": [first, second, third]}

    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        await engine.run()
        for answer in (1, 2, 3):
            assert engine.ended is not None
            assert engine.ended.how == "asked", engine.ended
            asked.append(engine.ended.questions[0].namespace)
            await engine.resume([answer])
        return engine

    asked: list[str] = []
    engine = completed(play(story))
    assert engine.values == {"answers": [1, 2, 3]}
    assert lifecycle(engine) == [
        ("started", "a"), ("interrupted", "a"), ("started", "a"), ("interrupted", "a"), ("started", "a"),
        ("completed", "a"), ("started", "a"), ("interrupted", "a"), ("started", "a"), ("completed", "a"),
    ]  # fmt: skip
    spaces = [tuple(frame["params"]["namespace"]) for frame in engine.told("lifecycle")]
    assert (len(set(spaces[:6])), len(set(spaces[6:])), len(set(spaces))) == (1, 1, 2)
    assert [(place,) for place in asked] == [spaces[0], spaces[0], spaces[6]]


def test_a_run_that_is_stopped_interrupts_its_sub_agents_from_the_inside_out() -> None:
    async def work(ctx: Context) -> None:
        async with ctx.agent("a") as sub, sub.agent("b") as inner:
            await inner.emit(1)
            await asyncio.Event().wait()

    engine = run(work, stop_at=lambda engine: len(engine.log("custom")) == 1)
    assert engine.ended is not None
    assert engine.ended.how == "stopped"
    assert lifecycle(engine)[2:] == [("interrupted", "a/b"), ("interrupted", "a")]
    assert all(kind != "agent" for kind, _, _ in engine.keys)


@pytest.mark.parametrize("name", ["", "a|b", "a:b", "a\x01b", "a\0", 1])
def test_a_name_that_could_not_stand_in_a_namespace_is_refused(name: Any) -> None:
    async def work(ctx: Context) -> None:
        with pytest.raises(Exception, match="name"):
            async with ctx.agent(name):
                pass

    assert completed(run(work)).entries == []


def test_a_sub_agent_is_used_in_its_own_block() -> None:
    async def work(ctx: Context) -> None:
        sub = ctx.agent("a")
        with pytest.raises(RuntimeError, match="in its own block"):
            await sub.emit(1)
        async with sub:
            pass
        with pytest.raises(RuntimeError, match="in its own block"):
            await sub.step("s", lambda: 1)
        with pytest.raises(RuntimeError, match="in its own block"):
            async with sub.message():
                pass
        with pytest.raises(RuntimeError, match="entered once"):
            async with sub:
                pass

    assert lifecycle(completed(run(work))) == [("started", "a"), ("completed", "a")]


def test_synchronous_sub_agents_have_the_same_calls() -> None:
    def work(ctx: SyncContext) -> Any:
        with ctx.agent("lead", call_id="c1") as lead:
            with lead.message() as message:
                message.write("hm")
            lead.emit(1)
            lead.store.put(("n",), "k", {"v": 1})
            with lead.agent("helper") as helper:
                got = helper.step("s", lambda: 3) + helper.tool("add", add, 1)
            answer = lead.interrupt("?")
        with pytest.raises(RuntimeError, match="in its own block"):
            lead.emit(2)
        with pytest.raises(RuntimeError, match="entered once"), lead:
            pass
        return {"got": got, "answer": answer}

    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        await engine.run()
        await engine.resume(["yes"])
        return engine

    engine = completed(play(story))
    assert engine.values == {"got": 4, "answer": "yes"}
    assert lifecycle(engine) == [
        ("started", "lead"), ("started", "lead/helper"), ("completed", "lead/helper"), ("interrupted", "lead"),
        ("started", "lead"), ("completed", "lead"),
    ]  # fmt: skip
    assert engine.calls == ["put"]


def test_a_mismatch_says_within_what_the_record_was_made() -> None:
    async def work(ctx: Context) -> None:
        async with ctx.agent("a") as sub:
            if ctx.attempt == 1:
                async with sub.message() as message:
                    await message.write("hm")
            await sub.step("s", lambda: 1)

    engine = twice(work, 3)
    assert engine.ended is not None
    assert (engine.ended.how, engine.ended.code) == ("failed", "nondeterministic")
    assert "ended without calling message within a:1" in engine.ended.message
