"""What agents do becomes writes; what they did before is given back."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypedDict

import msgspec
import pytest
from fake_engine import FakeEngine, play

from runyard import Context, SyncContext, agent
from runyard.runtime.channel import MAX_WRITES, ThreadHost
from runyard.runtime.contract import Ended, Stop, Stored, Write


def run(function: Any, input: Any = None, *, state: dict[str, Any] | None = None, **options: Any) -> FakeEngine:
    """One run of an agent from start to end."""
    made = function if hasattr(function, "agent") else agent(function)

    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, made, state)
        await engine.run(input, **options)
        return engine

    return play(story)


# what is returned and yielded


def test_a_returned_mapping_is_merged_into_the_state_and_needs_one_write() -> None:
    async def greet(input: Any) -> dict[str, Any]:
        return {"greeting": f"hello {input['name']}"}

    engine = run(greet, {"name": "Ada"}, state={"kept": 1})
    assert engine.ended is not None
    assert engine.ended.how == "completed"
    assert engine.values == {"kept": 1, "greeting": "hello Ada"}
    assert engine.log("updates") == [{"greet": {"greeting": "hello Ada"}}]
    assert (engine.writes, engine.records, engine.sources) == (1, [], ["step"])


@pytest.mark.parametrize(("value", "values"), [("text", {"output": "text"}), ([1], {"output": [1]}), (None, {})])
def test_another_value_becomes_the_channel_output(value: Any, values: dict[str, Any]) -> None:
    def give(input: Any) -> Any:
        return value

    engine = run(give)
    assert engine.values == values
    assert engine.writes == (0 if value is None else 1)


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2


class Pair(msgspec.Struct):
    x: int
    y: int = 2


@pytest.mark.parametrize("record", [Point, Pair])
def test_a_returned_record_gives_its_fields(record: Any) -> None:
    async def give() -> Any:
        return record(1)

    assert run(give).values == {"x": 1, "y": 2}


def test_each_yielded_mapping_is_a_step_of_an_asynchronous_generator() -> None:
    async def count() -> AsyncIterator[Any]:
        yield {"n": 1}
        yield None
        yield "two"
        yield {"n": 1}

    engine = run(count)
    assert engine.log("updates") == [{"count": {"n": 1}}, {"count": {"output": "two"}}, {"count": {"n": 1}}]
    assert engine.sources == ["step"] * 3
    assert engine.values == {"n": 1, "output": "two"}


def test_a_synchronous_generator_yields_steps_and_returns_a_value() -> None:
    def count(ctx: SyncContext) -> Iterator[Any]:
        yield {"n": 1}
        assert ctx.state["n"] == 1
        yield {"n": 2}
        return {"done": True}

    engine = run(count)
    assert [update["count"] for update in engine.log("updates")] == [{"n": 1}, {"n": 2}, {"done": True}]
    assert engine.values == {"n": 2, "done": True}


def test_what_goes_wrong_with_a_yielded_value_is_raised_at_its_yield() -> None:
    seen: list[str] = []

    async def careful() -> AsyncIterator[Any]:
        try:
            yield {"n": float("nan")}
        except Exception as error:
            seen.append(str(error))
        yield {"n": 1}

    engine = run(careful)
    assert seen == ["the yielded value.n is nan: JSON has no such number"]
    assert engine.values == {"n": 1}


# parameters


def test_parameters_are_found_by_name_and_by_type() -> None:
    seen: dict[str, Any] = {}

    async def all_of_them(
        question: str, messages: list[Any], state: dict[str, Any], config: dict[str, Any], c: Context, extra: int = 7
    ) -> None:
        seen.update(question=question, messages=messages, state=state, config=config, run=c.run_id, extra=extra)

    engine = run(
        all_of_them,
        "why?",
        state={"x": 1},
        messages=[{"id": "m", "role": "user", "content": "hi"}],
        config={"model": "small"},
    )
    message = {"id": "m", "role": "user", "content": "hi"}
    assert seen == {
        "question": "why?",
        "messages": [message],
        "state": {"x": 1, "messages": [message]},
        "config": {"model": "small"},
        "run": engine.run_id,
        "extra": 7,
    }


def test_ctx_says_what_run_it_is() -> None:
    seen: list[Any] = []

    async def look(ctx: Context) -> None:
        seen.append((ctx.run_id, ctx.thread_id, ctx.agent_id, ctx.attempt, ctx.config, ctx.metadata, ctx.cancelled))
        assert dict(ctx.state) == {"x": 1}

    engine = run(look, state={"x": 1}, config={"a": 1}, metadata={"b": 2})
    assert seen == [(engine.run_id, engine.thread_id, "look", 1, {"a": 1}, {"b": 2}, False)]


def test_input_is_read_into_its_type_and_has_a_default() -> None:
    async def add(input: Point = Point(40)) -> int:
        return input.x + input.y

    assert run(add, {"x": 1}).values == {"output": 3}
    assert run(add).values == {"output": 42}


def test_a_decorated_function_is_still_a_function() -> None:
    @agent(name="Adder")
    def add(a: int, b: int = 1) -> int:
        """Adds."""
        return a + b

    assert add(2, b=3) == 5
    assert (add.__name__, add.agent.agent_id, add.agent.name, add.agent.description) == ("add", "add", "Adder", "Adds.")


# state, updates and messages


def test_an_update_is_a_step_with_an_event_a_checkpoint_and_a_record() -> None:
    async def work(ctx: Context) -> None:
        await ctx.update({"plan": ["a"]})
        await ctx.update({"plan": ["a", "b"], "n": 1})
        assert dict(ctx.state) == {"plan": ["a", "b"], "n": 1}
        await ctx.update({"n": 1})

    writes: list[Write] = []

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(work))
        store = engine.store
        engine.store = lambda write: (writes.append(write), store(write))[1]  # type: ignore[method-assign]
        await engine.run()
        assert engine.keys == [("update", "", 1), ("update", "", 2), ("update", "", 3)]
        assert engine.values == {"plan": ["a", "b"], "n": 1}

    play(story)
    grown = writes[1].checkpoint
    assert grown is not None
    assert (grown.changes["plan"].at, bytes(grown.changes["plan"].value)) == (1, b'["b"]')
    same = writes[2].checkpoint
    assert same is not None
    assert same.changes == {}
    assert [entry.kind for entry in writes[2].entries] == ["updates"]


def test_what_is_given_is_copied_at_the_call() -> None:
    async def work(ctx: Context) -> None:
        items = [1]
        await ctx.update({"items": items})
        items.append(2)
        ctx.state["items"].append(3)
        assert ctx.state["items"] == [1]

    assert run(work).values == {"items": [1]}


def test_a_reducer_makes_the_new_value_from_the_old() -> None:
    @agent(reducers={"log": lambda old, new: (old or []) + new, "total": lambda old, new: (old or 0) + new})
    async def work(ctx: Context) -> Any:
        await ctx.update({"log": ["a"], "total": 2})
        return {"log": ["b"], "total": 3}

    engine = run(work)
    assert engine.values == {"log": ["a", "b"], "total": 5}
    assert engine.log("updates")[1] == {"work": {"log": ["b"], "total": 3}}


def test_messages_are_upserted_by_id_and_else_appended_with_a_new_one() -> None:
    async def talk(ctx: Context) -> Any:
        await ctx.update({"messages": [{"id": "1", "role": "user", "content": "changed"}]})
        return {"messages": [{"role": "assistant", "content": "new"}]}

    engine = run(talk, state={"messages": [{"id": "1", "role": "user", "content": "first"}]})
    first, second = engine.values["messages"]
    assert first == {"id": "1", "role": "user", "content": "changed"}
    assert second["content"] == "new"
    assert len(second["id"]) == 36
    assert engine.log("messages") == [[first], [second]]


def test_the_request_s_messages_and_update_are_applied_before_the_code_and_only_once() -> None:
    seen: list[Any] = []

    async def look(messages: list[Any], ctx: Context) -> None:
        seen.append((len(messages), ctx.state["topic"]))
        await ctx.update({"n": ctx.attempt if ctx.attempt == 1 else 1})

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(look))
        request: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "update": {"topic": "bees"}}
        await engine.run(crash_after=3, **request)
        assert engine.sources == ["input", "update", "step"]
        assert engine.keys == [("update", "__messages__", 1), ("update", "__command__", 1), ("update", "", 1)]
        await engine.again(**request)
        assert engine.writes == 3
        assert engine.log("messages")[0] == engine.values["messages"]
        assert len(engine.values["messages"]) == 1

    play(story)
    assert seen == [(1, "bees"), (1, "bees")]


def test_a_message_is_shown_in_pieces_and_kept_whole() -> None:
    async def talk(ctx: Context) -> None:
        async with ctx.message(name="Ada") as message:
            await message.write("hel")
            await message.write("")
            await message.write("lo")
            assert (message.content, len(message.id)) == ("hello", 36)

    engine = run(talk)
    *pieces, whole = [messages[0] for messages in engine.log("messages")]
    assert [(p["content"], p["delta"], p["role"]) for p in pieces] == [
        ("hel", True, "assistant"),
        ("lo", True, "assistant"),
    ]
    assert whole == {"id": pieces[0]["id"], "role": "assistant", "content": "hello", "name": "Ada"}
    assert engine.values == {"messages": [whole]}
    assert engine.keys == [("message", "", 1)]


def test_a_message_whose_block_raises_is_not_kept() -> None:
    async def talk(ctx: Context) -> None:
        try:
            async with ctx.message() as message:
                await message.write("hel")
                raise ValueError("no")
        except ValueError:
            pass

    engine = run(talk)
    assert engine.values == {}
    assert len(engine.log("messages")) == 1


def test_emits_are_custom_events() -> None:
    async def work(ctx: Context) -> None:
        await ctx.emit({"done": 1}, name="progress")
        await ctx.emit("bare")

    assert run(work).log("custom") == [{"name": "progress", "payload": {"done": 1}}, {"payload": "bare"}]


# steps


def test_a_step_returns_when_its_record_is_durable_and_gives_what_a_replay_would() -> None:
    seen: list[Any] = []

    async def work(ctx: Context) -> None:
        seen.append(await ctx.step("pair", lambda: (1, 2)))
        seen.append("after")

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(work))
        engine.base, engine.input, engine.run_id = {}, None, "r"
        invocation = engine.begin()
        (write,) = await invocation.receive()
        assert isinstance(write, Write)
        assert (write.records[0].kind, write.records[0].name, write.records[0].body) == ("step", "pair", b"[1,2]")
        # The code could go on only by a message: none is on its way.
        assert seen == []
        invocation.send(Stored(1))
        (ended,) = await invocation.receive()
        assert isinstance(ended, Ended)

    play(story)
    assert seen == [[1, 2], "after"]


def test_a_synchronous_step_of_an_asynchronous_agent_has_a_thread_of_its_own() -> None:
    async def work(ctx: Context) -> Any:
        return {"other": await ctx.step("where", lambda: threading.get_ident() != here) if (here := 1) else 0}

    assert run(work).values == {"other": True}


def test_an_asynchronous_step_of_a_synchronous_agent_runs_on_the_loop() -> None:
    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    def work(ctx: SyncContext) -> int:
        return ctx.step("later", later, 1)

    assert run(work).values == {"output": 2}


def test_a_failing_step_raises_and_is_not_recorded() -> None:
    async def work(ctx: Context) -> Any:
        try:
            await ctx.step("a", lambda: 1 / 0)
        except ZeroDivisionError:
            return await ctx.step("a", lambda: "again")

    engine = run(work)
    assert engine.values == {"output": "again"}
    assert engine.keys == [("step", "a", 1)]


def test_the_store_is_there() -> None:
    async def work(ctx: Context) -> Any:
        await ctx.store.put(("a", "b"), "k", {"x": 1}, ttl=5)
        item = await ctx.store.get(("a", "b"), "k")
        assert item is not None
        found = await ctx.store.search(("a",), {"x": {"$gte": 1}})
        spaces = await ctx.store.namespaces()
        await ctx.store.delete(("a", "b"), "k")
        return {"item": item.value, "found": [i.key for i in found], "spaces": spaces} | {
            "gone": await ctx.store.get(("a", "b"), "k")
        }

    engine = run(work)
    assert engine.values == {"item": {"x": 1}, "found": ["k"], "spaces": [["a", "b"]], "gone": None}
    assert engine.keys == [("step", "ctx.store", 1), ("step", "ctx.store", 2)]


def test_synchronous_agents_have_the_same_calls() -> None:
    def work(input: Any, ctx: SyncContext) -> Any:
        ctx.update({"a": 1})
        ctx.emit(1, name="p")
        with ctx.message() as message:
            message.write("hi")
        ctx.store.put(("n",), "k", {"v": 1})
        item = ctx.store.get(("n",), "k")
        assert item is not None
        assert ctx.store.namespaces() == [("n",)]
        assert len(ctx.store.search(("n",))) == 1
        ctx.store.delete(("n",), "k")
        return {"item": item.value, "step": ctx.step("s", lambda: 3)}

    engine = run(work)
    assert engine.ended is not None
    assert engine.ended.how == "completed", engine.ended
    assert engine.values["item"] == {"v": 1}
    assert engine.values["step"] == 3
    assert engine.values["messages"][0]["content"] == "hi"


# replay


def every_call(log: list[str]) -> Any:
    """An agent that makes every call there is and notes what it really does."""

    def doing(what: str) -> str:
        log.append(what)
        return what

    @agent(reducers={"seen": lambda old, new: (old or []) + new})
    async def work(ctx: Context) -> Any:
        await ctx.step("one", doing, "one")
        await ctx.update({"seen": [1]})
        await ctx.emit("e1", name="p")
        async with ctx.message() as message:
            await message.write("hello")
        await ctx.store.put(("n",), "k", {"v": 1})
        # Replayed code sees the state as it was here, not as it is at the end.
        assert ctx.state["seen"] == [1], ctx.state
        await ctx.step("two", doing, "two")
        await ctx.update({"seen": [2]})
        await ctx.emit("e2", name="p")
        return {"last": ctx.state["seen"]}

    return work


@pytest.mark.parametrize("crash_after", range(1, 9))
def test_an_attempt_goes_on_where_the_last_one_was_cut_off(crash_after: int) -> None:
    log: list[str] = []

    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, every_call(log))
        await engine.run(crash_after=crash_after)
        await engine.again()
        return engine

    engine = play(story)
    assert engine.ended is not None
    assert engine.ended.how == "completed", engine.ended
    assert engine.values["last"] == [1, 2]
    assert len(engine.values["messages"]) == 1
    assert [event["payload"] for event in engine.log("custom")] == ["e1", "e2"]
    wholes = [messages for messages in engine.log("messages") if "delta" not in messages[0]]
    assert len(wholes) == 1
    assert len(engine.log("updates")) == 4
    # A step whose record was lost is done again, no other is.
    assert log.count("one") == 1
    assert log.count("two") <= 2
    assert engine.calls.count("put") <= 2
    assert len(engine.keys) == len(set(engine.keys))


def test_steps_side_by_side_are_matched_whatever_their_order() -> None:
    done: list[int] = []

    async def work(ctx: Context) -> Any:
        async def double(n: int) -> int:
            # In the second attempt the others are faster.
            await asyncio.sleep(0.001 * (n if ctx.attempt == 1 else 5 - n))
            done.append(n)
            return n * 2

        results = await asyncio.gather(*(ctx.step(f"double {n}", double, n) for n in range(5)))
        await ctx.update({"sum": sum(results)})
        return {"results": results}

    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        await engine.run(crash_after=2)
        assert len(engine.keys) == 2
        before = len(done)
        done.clear()
        await engine.again()
        assert before >= 2
        assert len(done) == 3
        return engine

    engine = play(story)
    assert engine.values == {"sum": 20, "results": [0, 2, 4, 6, 8]}


def test_a_fallback_for_a_step_that_failed_is_replayed() -> None:
    async def work(ctx: Context) -> Any:
        try:
            got = await ctx.step("first choice", lambda: 1 / 0)
        except ZeroDivisionError:
            got = await ctx.step("second choice", lambda: "plan b")
        await ctx.update({"got": got})
        await ctx.update({"late": True})
        return {"done": True}

    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        await engine.run(crash_after=2)
        await engine.again()
        return engine

    engine = play(story)
    assert engine.values == {"got": "plan b", "late": True, "done": True}
    assert len(engine.log("updates")) == 3


def ended_of_second_attempt(work: Any, crash_after: int) -> FakeEngine:
    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        await engine.run(crash_after=crash_after)
        await engine.again()
        return engine

    return play(story)


def test_code_that_ends_before_it_used_its_records_is_nondeterministic() -> None:
    async def work(ctx: Context) -> None:
        if ctx.attempt == 1:
            await ctx.step("gone", lambda: 1)
            await ctx.update({"a": 1})

    ended = ended_of_second_attempt(work, 1).ended
    assert ended is not None
    assert (ended.how, ended.code) == ("failed", "nondeterministic")
    assert "ended without calling step 'gone'" in ended.message


def test_another_payload_than_recorded_is_nondeterministic_and_cannot_be_swallowed() -> None:
    async def work(ctx: Context) -> None:
        try:
            await ctx.update({"attempt": ctx.attempt})
        except BaseException:
            pass
        await ctx.update({"b": 1})

    engine = ended_of_second_attempt(work, 1)
    assert engine.ended is not None
    assert (engine.ended.how, engine.ended.code) == ("failed", "nondeterministic")
    assert "update has another payload" in engine.ended.message


def test_another_call_than_recorded_is_nondeterministic() -> None:
    async def work(ctx: Context) -> None:
        if ctx.attempt == 2:
            await ctx.update({"new": 1})
        await ctx.step("old", lambda: 1)
        await ctx.update({"b": 1})

    ended = ended_of_second_attempt(work, 1).ended
    assert ended is not None
    assert (ended.how, ended.code) == ("failed", "nondeterministic")
    assert "now calls update where it recorded step 'old'" in ended.message


def test_a_payload_with_a_set_is_the_same_in_every_process() -> None:
    async def work(ctx: Context) -> None:
        words = ["a", "b", "c"] if ctx.attempt == 1 else ["c", "a", "b"]
        await ctx.update({"words": set(words)})
        await ctx.update({"n": 1})

    assert ended_of_second_attempt(work, 1).ended == Ended("completed")


# questions


async def ask_twice(ctx: Context) -> Any:
    await ctx.update({"before": True})
    first = await ctx.interrupt({"question": "first?"})
    await ctx.update({"first": first})
    second = await ctx.interrupt("second?", name="other")
    return {"second": second}


def test_a_question_ends_the_run_and_a_resume_continues_with_the_answer() -> None:
    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(ask_twice))
        ended = await engine.run()
        assert ended.how == "asked"
        assert [(q.name, q.nth, msgspec.json.decode(q.value)) for q in ended.questions] == [
            ("interrupt", 1, {"question": "first?"})
        ]
        again = await engine.again()
        assert again.questions[0].id == ended.questions[0].id
        ended = await engine.resume(["yes"])
        assert ended.how == "asked"
        assert engine.values == {"before": True, "first": "yes"}
        ended = await engine.resume([None])
        assert ended.how == "completed"
        assert engine.values == {"before": True, "first": "yes", "second": None}
        assert len(engine.log("updates")) == 3

    play(story)


def test_questions_side_by_side_are_asked_together_and_may_be_answered_apart() -> None:
    asked: list[str] = []

    async def work(ctx: Context) -> Any:
        async def ask(name: str) -> Any:
            answer = await ctx.interrupt(f"{name}?", name=name)
            asked.append(name)
            return await ctx.step(f"use {name}", lambda: answer)

        return {"answers": await asyncio.gather(ask("a"), ask("b"))}

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(work))
        ended = await engine.run()
        assert [question.name for question in ended.questions] == ["a", "b"]
        id_of_a = ended.questions[0].id
        ended = await engine.resume([..., 2])
        assert [question.id for question in ended.questions] == [id_of_a]
        ended = await engine.resume([1])
        assert ended.how == "completed", ended
        assert engine.values == {"answers": [1, 2]}

    play(story)


def test_a_step_beside_a_question_ends_before_the_run_does() -> None:
    calls: list[int] = []

    async def work(ctx: Context) -> Any:
        async def slow() -> int:
            await asyncio.sleep(0.05)
            calls.append(1)
            return 1

        return {"both": await asyncio.gather(ctx.interrupt("?"), ctx.step("slow", slow))}

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(work))
        assert (await engine.run()).how == "asked"
        assert engine.keys == [("step", "slow", 1)]
        assert (await engine.resume(["ok"])).how == "completed"
        assert engine.values == {"both": ["ok", 1]}

    play(story)
    assert calls == [1]


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_code_cannot_swallow_a_question(kind: str) -> None:
    async def stubborn(ctx: Context) -> Any:
        try:
            await ctx.interrupt("?")
        except BaseException:
            return {"swallowed": True}

    def stubborn_sync(ctx: SyncContext) -> Any:
        try:
            ctx.interrupt("?")
        except BaseException:
            return {"swallowed": True}

    engine = run(stubborn if kind == "async" else stubborn_sync)
    assert engine.ended is not None
    assert engine.ended.how == "asked"
    assert engine.values == {}


def test_a_synchronous_agent_asks_and_continues() -> None:
    def work(ctx: SyncContext) -> Any:
        ctx.update({"n": 1})
        return {"answer": ctx.interrupt("?")}

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(work))
        assert (await engine.run()).how == "asked"
        assert (await engine.resume([{"ok": True}])).how == "completed"
        assert engine.values == {"n": 1, "answer": {"ok": True}}

    play(story)


def test_a_question_that_changed_while_it_was_open_is_nondeterministic() -> None:
    texts = iter(["old?", "new?"])

    async def work(ctx: Context) -> None:
        await ctx.interrupt(next(texts))

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(work))
        await engine.run()
        ended = await engine.resume(["yes"])
        assert (ended.how, ended.code) == ("failed", "nondeterministic")

    play(story)


def test_after_an_answer_the_state_is_what_the_thread_has_now() -> None:
    seen: list[Any] = []

    async def work(ctx: Context) -> None:
        await ctx.update({"n": 1})
        seen.append(ctx.state["n"])
        await ctx.interrupt("?")
        seen.append(ctx.state["n"])

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(work))
        await engine.run()
        engine.state = {**engine.state, "n": b"5"}  # Somebody patched the thread meanwhile.
        await engine.resume(["go"], update={"m": 7})
        assert engine.values == {"n": 5, "m": 7}

    play(story)
    assert seen == [1, 1, 5]


# ends


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def boom(error: BaseException) -> Any:
    async def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "message", "name"),
    [
        (ValueError("bad"), "ValueError: bad", "builtins.ValueError"),
        (Broken(), "Broken: <no message>", "Exception"),
        (KeyError(), "KeyError: <no message>", "LookupError"),
        (SystemExit(3), "SystemExit: 3", "SystemExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt: <no message>", "KeyboardInterrupt"),
        (ExceptionGroup("many", [TimeoutError("late")]), "TimeoutError: late", "OSError"),
        (ValueError("\ud800"), "ValueError: \\ud800", "ValueError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_says_its_class_and_text(error: BaseException, message: str, name: str) -> None:
    ended = run(boom(error)).ended
    assert ended is not None
    assert (ended.how, ended.code, ended.message) == ("failed", "agent_error", message)
    assert name in ended.exceptions
    assert "object" not in ended.exceptions


def test_an_exit_in_a_task_of_the_code_ends_only_its_run() -> None:
    async def bad() -> None:
        async def leave() -> None:
            raise SystemExit(1)

        await asyncio.create_task(leave())

    async def good() -> str:
        return "fine"

    async def story(host: ThreadHost) -> None:
        first, second = FakeEngine(host, agent(bad)), FakeEngine(host, agent(good))
        assert (await first.run()).how == "failed"
        assert (await second.run()).how == "completed"

    play(story, threads=1)


@pytest.mark.parametrize(
    "value",
    [float("inf"), {1: 1, "1": 2}, "\ud800", object(), [[]]],
    ids=["inf", "keys", "surrogate", "object", "deep"],
)
def test_what_json_cannot_hold_ends_the_run_as_not_serialisable(value: Any) -> None:
    if value == [[]]:
        for _ in range(120):
            value = [value]

    async def work(ctx: Context) -> None:
        await ctx.update({"x": value})

    engine = run(work)
    assert engine.ended is not None
    assert (engine.ended.how, engine.ended.code) == ("failed", "not_serialisable")
    assert "update.x" in engine.ended.message
    assert engine.writes == 0


def test_only_steps_that_make_checkpoints_count_for_the_recursion_limit() -> None:
    async def work(ctx: Context) -> None:
        for n in range(5):
            await ctx.emit(n)
            await ctx.step(f"s{n}", lambda: 1)
            await ctx.update({"n": n})

    engine = run(work, steps_left=3)
    assert engine.ended is not None
    assert (engine.ended.how, engine.ended.code) == ("failed", "recursion_limit")
    assert engine.values == {"n": 2}


def test_a_task_that_outlives_its_run_is_told() -> None:
    told: list[str] = []
    over = threading.Event()

    async def work(ctx: Context) -> None:
        async def late() -> None:
            await asyncio.sleep(0.01)
            try:
                await ctx.emit("late")
            except Exception as error:
                told.append(type(error).__name__)
                over.set()

        keep.append(asyncio.create_task(late()))

    keep: list[Any] = []

    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        assert (await engine.run()).how == "completed"
        assert await asyncio.to_thread(over.wait, 5)
        return engine

    engine = play(story)
    assert told == ["EndedRun"]
    assert engine.entries == []


# stopping


def test_async_code_is_cancelled_and_may_write_while_it_unwinds() -> None:
    async def work(ctx: Context) -> None:
        await ctx.update({"started": True})
        try:
            await asyncio.sleep(60)
        finally:
            assert ctx.cancelled
            await ctx.update({"cleaned": True})

    engine = run(work, stop_at=lambda engine: engine.writes == 1)
    assert engine.ended is not None
    assert engine.ended.how == "stopped"
    assert engine.values == {"started": True, "cleaned": True}


def test_sync_code_is_cancelled_at_its_next_call() -> None:
    go_on = threading.Event()
    unwound: list[str] = []

    def work(ctx: SyncContext) -> None:
        ctx.update({"started": True})
        assert go_on.wait(5)
        while not ctx.cancelled:
            time.sleep(0.001)
        try:
            ctx.emit("never")
        except asyncio.CancelledError:
            unwound.append("cancelled")
            ctx.update({"cleaned": True})
            raise

    def stop_at(engine: FakeEngine) -> bool:
        go_on.set()
        return True

    engine = run(work, stop_at=stop_at)
    assert engine.ended is not None
    assert engine.ended.how == "stopped"
    assert unwound == ["cancelled"]
    assert engine.values == {"started": True, "cleaned": True}
    assert engine.log("custom") == []


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_generators_are_cancelled_at_their_yield(kind: str) -> None:
    closed: list[str] = []

    async def count(ctx: Context) -> AsyncIterator[Any]:
        n = 0
        try:
            while True:
                yield {"n": (n := n + 1)}
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            closed.append("cancelled")
            raise

    def count_sync() -> Iterator[Any]:
        n = 0
        try:
            while True:
                yield {"n": (n := n + 1)}
        except asyncio.CancelledError:
            closed.append("cancelled")
            raise

    engine = run(count if kind == "async" else count_sync, stop_at=lambda engine: engine.writes >= 3)
    assert engine.ended is not None
    assert engine.ended.how == "stopped"
    assert closed == ["cancelled"]


def test_code_that_swallows_the_cancellation_has_completed() -> None:
    async def work(ctx: Context) -> Any:
        await ctx.update({"a": 1})
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return {"b": 2}

    engine = run(work, stop_at=lambda engine: True)
    assert engine.ended is not None
    assert engine.ended.how == "completed"
    assert engine.values == {"a": 1, "b": 2}


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_stop_before_the_code_began_ends_it_unstarted(kind: str) -> None:
    began: list[int] = []

    async def work() -> None:
        began.append(1)

    def work_sync() -> None:
        began.append(1)
        time.sleep(0)

    async def story(host: ThreadHost) -> None:
        blocker_began = threading.Event()
        release = threading.Event()

        async def block() -> None:
            blocker_began.set()
            release.wait(5)

        blocker = FakeEngine(host, agent(block))
        blocking = asyncio.create_task(blocker.run())
        await asyncio.to_thread(blocker_began.wait, 5)
        engine = FakeEngine(host, agent(work if kind == "async" else work_sync))
        engine.base, engine.input, engine.run_id = {}, None, "r"
        invocation = engine.begin()
        invocation.send(Stop("cancel"))
        release.set()
        await blocking
        ended = await engine.play(invocation)
        assert ended.how in ("stopped", "completed")
        if kind == "async":
            assert (ended.how, began) == ("stopped", [])

    play(story, threads=1)


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_step_that_waits_to_be_durable_is_cancelled_too(kind: str) -> None:
    async def work(ctx: Context) -> None:
        await ctx.step("s", lambda: 1)

    def work_sync(ctx: SyncContext) -> None:
        ctx.step("s", lambda: 1)

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(work if kind == "async" else work_sync))
        engine.base, engine.input, engine.run_id = {}, None, "r"
        invocation = engine.begin()
        assert len(await invocation.receive()) == 1
        invocation.send(Stop("timeout"))
        (ended,) = await invocation.receive()
        assert isinstance(ended, Ended)
        assert ended.how == "stopped"

    play(story)


# many, and bad, at once


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_code_that_writes_faster_than_the_engine_stores_waits(kind: str) -> None:
    written: list[int] = []

    async def pour(ctx: Context) -> None:
        for n in range(MAX_WRITES * 2):
            await ctx.emit(n)
            written.append(n)

    def pour_sync(ctx: SyncContext) -> None:
        for n in range(MAX_WRITES * 2):
            ctx.emit(n)
            written.append(n)

    async def story(host: ThreadHost) -> None:
        engine = FakeEngine(host, agent(pour if kind == "async" else pour_sync))
        engine.base, engine.input, engine.run_id = {}, None, "r"
        invocation = engine.begin()
        received = 0
        while received < MAX_WRITES:
            received += len(await invocation.receive())
        assert received == MAX_WRITES
        assert len(written) == MAX_WRITES - 1
        invocation.send(Stored(10))
        while received < MAX_WRITES + 10:
            received += len(await invocation.receive())
        assert received == MAX_WRITES + 10
        invocation.send(Stop("cancel"))
        (ended,) = await invocation.receive()
        assert isinstance(ended, Ended)
        assert ended.how == "stopped"

    play(story)


def test_an_agent_that_blocks_its_loop_delays_neither_the_engine_nor_other_lanes() -> None:
    release = threading.Event()
    began = threading.Event()

    async def block() -> None:
        began.set()
        release.wait(10)

    async def quick() -> str:
        return "done"

    async def story(host: ThreadHost) -> None:
        blocked = asyncio.create_task(FakeEngine(host, agent(block)).run())
        assert await asyncio.to_thread(began.wait, 5)
        for _ in range(20):
            # On the other lane each, for the blocked one carries more.
            assert (await FakeEngine(host, agent(quick)).run()).how == "completed"
        assert not blocked.done()
        release.set()
        assert (await blocked).how == "completed"

    play(story)


def test_a_thousand_runs_at_once() -> None:
    async def work(input: int, ctx: Context) -> Any:
        await ctx.update({"n": input})
        await asyncio.sleep(0.01)
        return {"twice": await ctx.step("double", double, input)}

    async def double(n: int) -> int:
        return n * 2

    async def story(host: ThreadHost) -> None:
        made = agent(work)
        engines = [FakeEngine(host, made) for _ in range(1000)]
        ends = await asyncio.gather(*(engine.run(n) for n, engine in enumerate(engines)))
        assert {ended.how for ended in ends} == {"completed"}
        assert [engine.values for engine in engines] == [{"n": n, "twice": n * 2} for n in range(1000)]

    play(story)


def test_a_hundred_synchronous_runs_block_at_once() -> None:
    everyone = threading.Barrier(100)

    def work() -> int:
        return everyone.wait(20)

    async def story(host: ThreadHost) -> None:
        made = agent(work)
        ends = await asyncio.gather(*(FakeEngine(host, made).run() for _ in range(100)))
        assert {ended.how for ended in ends} == {"completed"}

    play(story)


class Typed(TypedDict):
    count: int


def test_a_typed_dict_as_state_is_a_plain_dict() -> None:
    async def work(state: Typed) -> Any:
        return {"count": state.get("count", 0) + 1}

    assert run(work).values == {"count": 1}
    assert run(work, state={"count": 4}).values == {"count": 5}
