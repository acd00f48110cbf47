"""Graphs as runs: what goes in, what is seen while they execute, how they end, how they go on. On a whole server in
this process."""

from __future__ import annotations

import asyncio
import itertools
import operator
import threading
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, interrupt
from live_server import Server, Starter, play
from typing_extensions import TypedDict

from runyard import agent, graph


class Count(TypedDict):
    n: Annotated[int, operator.add]
    log: Annotated[list[str], operator.add]


def add(name: str, n: int = 1) -> Any:
    def node(state: Count) -> dict[str, Any]:
        return {"n": n, "log": [name]}

    return node


def chain(*names: str) -> Any:
    builder = StateGraph(Count)
    for name in names:
        builder.add_node(name, add(name))
    builder.add_edge(START, names[0])
    for one, other in itertools.pairwise(names):
        builder.add_edge(one, other)
    return builder


STEPS = chain("a", "b", "c")


def ask(state: Count) -> dict[str, Any]:
    answer = interrupt({"question": "sure?", "n": state["n"]})
    return {"log": [f"answered {answer}"]}


ASKING = chain("a")
ASKING.add_node("ask", ask)
ASKING.add_edge("a", "ask")


async def answer_of(s: Server, path: str, **body: Any) -> Any:
    answer = await s.post(path, body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def events(s: Server, path: str, **body: Any) -> list[tuple[str, Any]]:
    """The events of a created run, as (name, data)."""
    return parsed((await s.post(path, body)).text)


def parsed(text: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in lines:
            found.append((lines["event"], msgspec.json.decode(lines["data"])))
    return found


# what goes in and what comes out


def test_a_graph_gives_its_state(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(STEPS, id="steps")) as s:
            done = await answer_of(s, "/runs/wait", input={"n": 10})
            assert done["status"] == "success"
            assert done["values"] == {"n": 13, "log": ["a", "b", "c"]}

    play(story())


def test_a_thread_goes_on_from_its_state(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(STEPS, id="steps")) as s:
            thread = await s.thread()
            await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 10})
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 100})
            assert done["values"]["n"] == 116
            assert (await s.get(f"/threads/{thread}")).json()["values"] == done["values"]

    play(story())


def test_messages_of_the_request_reach_the_graph_and_come_back_whole(server: Starter) -> None:
    told = AIMessage(
        "hello",
        id="m2",
        tool_calls=[{"name": "look", "args": {"at": 1}, "id": "c1"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    )

    def reply(state: MessagesState) -> dict[str, Any]:
        assert type(state["messages"][0]).__name__ == "HumanMessage"
        return {"messages": [told]}

    chat = graph(StateGraph(MessagesState).add_node("reply", reply).add_edge(START, "reply"), id="chat")

    async def story() -> None:
        async with server(chat) as s:
            found = await s.get("/agents/chat")
            assert found.json()["capabilities"]["ap.io.messages"] is True
            done = await answer_of(s, "/runs/wait", messages=[{"role": "user", "content": "hi", "id": "m1"}])
            assert done["messages"] == [
                {"role": "user", "content": "hi", "id": "m1"},
                {
                    "role": "assistant",
                    "content": "hello",
                    "id": "m2",
                    "tool_calls": [{"name": "look", "args": {"at": 1}, "id": "c1", "type": "tool_call"}],
                    "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
                },
            ]

    play(story())


def test_input_that_does_not_fit_is_refused_with_its_place(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(STEPS, id="steps")) as s:
            for given, field in (([1], "input"), ({"other": 1}, "input")):
                refused = await s.post("/runs", {"input": given})
                assert (refused.status_code, refused.json()["metadata"]["field"]) == (422, field)

    play(story())


def test_context_is_given_and_checked(server: Starter) -> None:
    @dataclass
    class Who:
        name: str

    def greet(state: Count, runtime: Runtime[Who]) -> dict[str, Any]:
        return {"log": [f"hello {runtime.context.name}"]}

    greeter = StateGraph(Count, context_schema=Who).add_node("greet", greet).add_edge(START, "greet")

    async def story() -> None:
        async with server(graph(greeter, id="greeter"), graph(STEPS, id="steps")) as s:
            done = await answer_of(s, "/runs/wait", input={"n": 1}, context={"name": "Ada"})
            assert done["values"]["log"] == ["hello Ada"]
            refused = await s.post("/runs", {"input": {"n": 1}, "context": {"name": 5}})
            assert (refused.status_code, refused.json()["metadata"]["field"]) == (422, "context.name")
            refused = await s.post("/runs", {"agent_id": "steps", "input": {"n": 1}, "context": {"name": "x"}})
            assert refused.status_code == 422
            schemas = (await s.get("/agents/greeter/schemas")).json()
            assert schemas["context_schema"]["properties"]["name"]["type"] == "string"
            assert set(schemas["state_schema"]["properties"]) == {"n", "log"}

    play(story())


def test_the_functional_api_works_and_its_result_is_seen(server: Starter) -> None:
    @task
    async def double(x: int) -> int:
        return 2 * x

    @entrypoint()
    async def flow(x: int, *, previous: Any = None) -> Any:
        made = await double(x) + (previous or 0)
        return entrypoint.final(value=made, save=made)

    async def story() -> None:
        async with server(graph(flow, id="flow")) as s:
            thread = await s.thread()
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input=4)
            assert done["values"] == {"output": 8}
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input=1)
            assert done["values"] == {"output": 10}

    play(story())


# what is seen while it executes


def test_states_and_updates_are_told_in_order(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(STEPS, id="steps")) as s:
            told = await events(s, "/runs/stream", input={"n": 0}, stream_mode=["values", "updates"])
            assert told[1:-1] == [
                ("values", {"n": 0}),
                ("updates", {"a": {"n": 1, "log": ["a"]}}),
                ("values", {"n": 1, "log": ["a"]}),
                ("updates", {"b": {"n": 1, "log": ["b"]}}),
                ("values", {"n": 2, "log": ["a", "b"]}),
                ("updates", {"c": {"n": 1, "log": ["c"]}}),
                ("values", {"n": 3, "log": ["a", "b", "c"]}),
            ]

    play(story())


def test_a_model_is_told_token_by_token_and_never_again(server: Starter) -> None:
    async def talk(state: MessagesState) -> dict[str, Any]:
        model = GenericFakeChatModel(messages=iter([AIMessage("one two three", id="m")]))
        return {"messages": [await model.ainvoke(state["messages"])]}

    chat = graph(StateGraph(MessagesState).add_node("talk", talk).add_edge(START, "talk"), id="chat")

    async def story() -> None:
        async with server(chat) as s:
            body = {"messages": [{"role": "user", "content": "go"}], "stream_mode": "messages"}
            told = [data[0] for name, data in await events(s, "/runs/stream", **body) if name == "messages"]
            assert "".join(piece["content"] for piece in told) == "one two three"
            assert len(told) > 2
            assert all(piece["delta"] and piece["role"] == "assistant" for piece in told)
            assert len({piece["id"] for piece in told}) == 1

    play(story())


def test_custom_events_are_told_from_async_and_sync_nodes(server: Starter) -> None:
    async def one(state: Count) -> dict[str, Any]:
        get_stream_writer()({"at": 1})
        return {"n": 1}

    def two(state: Count) -> dict[str, Any]:
        get_stream_writer()({"at": {2}})
        return {"n": 1}

    noisy = StateGraph(Count).add_node("one", one).add_node("two", two).add_edge(START, "one").add_edge("one", "two")

    async def story() -> None:
        async with server(graph(noisy, id="noisy")) as s:
            told = await events(s, "/runs/stream", input={"n": 0}, stream_mode="custom")
            assert [data["payload"] for name, data in told if name == "custom"] == [{"at": 1}, {"at": [2]}]

    play(story())


def test_tasks_checkpoints_and_debug_are_for_those_who_ask(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(STEPS, id="steps")) as s:
            modes = ["tasks", "checkpoints", "debug"]
            told = await events(s, "/runs/stream", input={"n": 0}, stream_mode=modes)
            names = [name for name, _ in told]
            assert {names.count("tasks"), names.count("checkpoints"), names.count("debug")} == {6, 5, 11}
            run = await s.run(input={"n": 0})
            await s.wait(run["run_id"])
            refused = await s.get(f"/runs/{run['run_id']}/stream?stream_mode=tasks&since=0")
            assert (refused.status_code, refused.json()["metadata"]["field"]) == (422, "stream_mode")
            log = await s.storage.events("", run["thread_id"], after=0, run_id=None, limit=100)
            assert {event.kind for event in log} == {"input", "lifecycle", "values", "updates"}

    play(story())


def test_what_subgraphs_tell_is_kept_and_shown_where_asked_for(server: Starter) -> None:
    inner = chain("x", "y").compile()
    outer = chain("a")
    outer.add_node("inner", inner)
    outer.add_edge("a", "inner")

    async def story() -> None:
        async with server(graph(outer, id="outer")) as s:
            told = await events(s, "/runs/stream", input={"n": 0}, stream_mode="updates", stream_subgraphs=True)
            inside = [(name.split("|")[1].split(":")[0], data) for name, data in told if "|" in name]
            assert [(place, [*data]) for place, data in inside] == [("inner", ["x"]), ("inner", ["y"])]
            told = await events(s, "/runs/stream", input={"n": 0}, stream_mode="updates")
            assert [name for name, _ in told if "|" in name] == []
            run_id = told[0][1]["run_id"]
            replayed = parsed(
                (await s.get(f"/runs/{run_id}/stream?since=0&stream_mode=values&stream_subgraphs=true")).text
            )
            assert [name.split(":")[0] for name, _ in replayed if "|" in name] == ["values|inner"] * 3

    play(story())


# questions


def test_a_question_ends_the_run_and_its_answer_goes_on(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread = await s.thread()
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 1})
            assert (done["status"], done["run"]["outcome"]) == ("interrupted", "asked")
            shown = (await s.get(f"/threads/{thread}")).json()
            assert shown["status"] == "interrupted"
            assert [question["value"] for question in shown["interrupts"]] == [{"question": "sure?", "n": 2}]
            done = await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": "yes"})
            assert done["values"] == {"n": 2, "log": ["a", "answered yes"]}
            assert (await s.get(f"/threads/{thread}")).json()["status"] == "idle"

    play(story())


PARALLEL = StateGraph(Count)
for _name in ("left", "right"):
    PARALLEL.add_node(_name, lambda state, name=_name: {"log": [f"{name}: {interrupt(name)}"]})
    PARALLEL.add_edge(START, _name)


@pytest.mark.parametrize("together", [True, False])
def test_parallel_questions_are_answered_together_or_one_by_one(server: Starter, together: bool) -> None:
    async def story() -> None:
        async with server(graph(PARALLEL, id="parallel")) as s:
            thread = await s.thread()
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 1})
            asked = {question["value"]: question["id"] for question in done["interrupts"]}
            assert set(asked) == {"left", "right"}
            ambiguous = await s.post(f"/threads/{thread}/runs", {"command": {"resume": "both"}})
            assert ambiguous.status_code == 422
            if together:
                answers = {asked["left"]: 1, asked["right"]: 2}
            else:
                done = await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": {asked["left"]: 1}})
                assert [question["value"] for question in done["interrupts"]] == ["right"]
                answers = {asked["right"]: 2}
            done = await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": answers})
            assert done["status"] == "success"
            assert sorted(done["values"]["log"]) == ["left: 1", "right: 2"]

    play(story())


def test_questions_one_after_the_other_in_one_node(server: Starter) -> None:
    def twice(state: Count) -> dict[str, Any]:
        return {"log": [f"{interrupt('first')} {interrupt('second')}"]}

    asking = StateGraph(Count).add_node("twice", twice).add_edge(START, "twice")

    async def story() -> None:
        async with server(graph(asking, id="twice")) as s:
            thread = await s.thread()
            await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 1})
            done = await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": "a"})
            assert [question["value"] for question in done["interrupts"]] == ["second"]
            done = await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": "b"})
            assert done["values"]["log"] == ["a b"]

    play(story())


def test_an_answer_in_a_subgraph_goes_on_there(server: Starter) -> None:
    outer = chain("a")
    outer.add_node("inner", ASKING.compile())
    outer.add_edge("a", "inner")

    async def story() -> None:
        async with server(graph(outer, id="outer")) as s:
            thread = await s.thread()
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 1})
            assert done["status"] == "interrupted"
            done = await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": "yes"})
            assert done["values"]["log"] == ["a", "a", "a", "answered yes"]

    play(story())


def test_an_answer_comes_with_changes_and_a_place_to_go(server: Starter) -> None:
    async def story() -> None:
        steps = chain("a", "b", "c")
        steps.add_node("ask", ask)
        async with server(graph(steps, id="steps")) as s:
            thread = await s.thread()
            done = await answer_of(
                s,
                f"/threads/{thread}/runs/wait",
                command={"update": {"n": 5}, "goto": ["c", {"node": "ask", "input": {"n": 9}}]},
            )
            assert done["status"] == "interrupted"
            assert [question["value"]["n"] for question in done["interrupts"]] == [9]

    play(story())


def test_an_answer_comes_with_a_change_and_another_place(server: Starter) -> None:
    asking = chain("other")
    asking.add_node("ask", ask)
    asking.add_conditional_edges(START, lambda state: "ask", ["ask"])

    async def story() -> None:
        async with server(graph(asking, id="asking")) as s:
            thread = await s.thread()
            await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 1})
            command = {"resume": 7, "update": {"n": 3}, "goto": "other"}
            done = await answer_of(s, f"/threads/{thread}/runs/wait", command=command)
            assert done["status"] == "success"
            assert sorted(done["values"]["log"]) == ["answered 7", "other"]
            assert done["values"]["n"] == 5
            unknown = await s.post(f"/threads/{thread}/runs", {"command": {"goto": "nowhere"}})
            assert (unknown.status_code, unknown.json()["metadata"]["field"]) == (422, "command.goto")

    play(story())


@pytest.mark.parametrize(("field", "stands"), [("interrupt_before", ["b"]), ("interrupt_after", ["b"])])
def test_a_breakpoint_is_a_question(server: Starter, field: str, stands: list[str]) -> None:
    async def story() -> None:
        async with server(graph(STEPS, id="steps")) as s:
            thread = await s.thread()
            nodes = ["b"] if field == "interrupt_before" else ["a"]
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 0}, **{field: nodes})
            assert (done["status"], done["values"]) == ("interrupted", {"n": 1, "log": ["a"]})
            assert done["interrupts"][0]["value"] == {"breakpoint": True, "next": stands}
            done = await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": True})
            assert done["values"] == {"n": 3, "log": ["a", "b", "c"]}
            refused = await s.post("/runs", {"input": {"n": 0}, field: ["nowhere"]})
            assert (refused.status_code, refused.json()["metadata"]["field"]) == (422, f"{field}[0]")

    play(story())


# history


def test_a_run_from_an_older_state_does_its_steps_again(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(STEPS, id="steps")) as s:
            thread = await s.thread()
            await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 0})
            states = (await s.get(f"/threads/{thread}/history")).json()
            after_a = next(state for state in states if state["values"].get("log") == ["a"])
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input=None, checkpoint=after_a["checkpoint"])
            assert done["values"] == {"n": 3, "log": ["a", "b", "c"]}
            done = await answer_of(
                s, f"/threads/{thread}/runs/wait", input={"n": 100}, checkpoint=after_a["checkpoint"]
            )
            assert done["values"] == {"n": 104, "log": ["a", "a", "b", "c"]}

    play(story())


def test_a_client_changes_the_state_and_the_graph_goes_on_with_it(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread = await s.thread()
            asked = await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 1})
            await s.http.patch(f"/threads/{thread}", json={"values": {"n": 50}})
            shown = (await s.get(f"/threads/{thread}")).json()
            assert [q["id"] for q in shown["interrupts"]] == [q["id"] for q in asked["interrupts"]]
            done = await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": "yes"})
            assert done["values"] == {"n": 50, "log": ["a", "answered yes"]}

    play(story())


def test_a_thread_that_a_client_filled_is_taken_up(server: Starter) -> None:
    def count(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", f"{len(state['messages'])} {type(state['messages'][0]).__name__}")]}

    chat = graph(StateGraph(MessagesState).add_node("count", count).add_edge(START, "count"), id="chat")

    async def story() -> None:
        async with server(chat) as s:
            thread = await s.thread()
            await s.http.patch(f"/threads/{thread}", json={"messages": [{"role": "user", "content": "before"}]})
            done = await answer_of(s, f"/threads/{thread}/runs/wait", messages=[{"role": "user", "content": "now"}])
            assert [message["content"] for message in done["messages"]] == ["before", "now", "2 HumanMessage"]

    play(story())


def test_a_copy_goes_on_by_itself(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread = await s.thread()
            await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 1})
            copy = (await s.post(f"/threads/{thread}/copy")).json()["thread_id"]
            done = await answer_of(s, f"/threads/{copy}/runs/wait", command={"resume": "copy"})
            assert done["values"]["log"] == ["a", "answered copy"]
            done = await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": "first"})
            assert done["values"]["log"] == ["a", "answered first"]

    play(story())


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_every_durability_keeps_the_state(server: Starter, durability: str) -> None:
    async def story() -> None:
        async with server(graph(STEPS, id="steps")) as s:
            thread = await s.thread()
            await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 0}, durability=durability)
            states = (await s.get(f"/threads/{thread}/history")).json()
            assert len(states) == (1 if durability == "exit" else 5)
            assert states[0]["values"] == {"n": 3, "log": ["a", "b", "c"]}

    play(story())


# ends


def test_an_error_is_told_with_its_class_and_the_thread_can_go_on(server: Starter) -> None:
    fails = [True]

    def shaky(state: Count) -> dict[str, Any]:
        if fails.pop():
            raise LookupError("not there")
        return {"log": ["shaky"]}

    steps = chain("a")
    steps.add_node("shaky", shaky)
    steps.add_edge("a", "shaky")

    async def story() -> None:
        async with server(graph(steps, id="shaky")) as s:
            thread = await s.thread()
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 0})
            assert (done["status"], done["error"]) == (
                "error",
                {"code": "agent_error", "message": "LookupError: not there"},
            )
            fails.append(False)
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input=None)
            assert done["values"] == {"n": 1, "log": ["a", "shaky"]}

    play(story())


def test_the_recursion_limit_has_its_own_code(server: Starter) -> None:
    loop = StateGraph(Count).add_node("again", lambda state: Command(goto="again", update={"n": 1}))
    loop.add_edge(START, "again")

    async def story() -> None:
        async with server(graph(loop, id="loop")) as s:
            done = await answer_of(s, "/runs/wait", input={"n": 0}, config={"recursion_limit": 4})
            assert done["error"]["code"] == "recursion_limit"

    play(story())


def test_cancelling_stops_an_async_node_and_the_thread_goes_on(server: Starter) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hold(state: Count) -> dict[str, Any]:
        if state["n"] > 100:
            return {"log": ["passed"]}
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    steps = chain("a")
    steps.add_node("hold", hold)
    steps.add_edge("a", "hold")

    async def story() -> None:
        async with server(graph(steps, id="hold")) as s:
            thread = await s.thread()
            run = await answer_of(s, f"/threads/{thread}/runs", input={"n": 0})
            await s.until(begun.is_set)
            stopped = await s.post(f"/runs/{run['run_id']}/cancel?wait=true")
            assert stopped.status_code == 204
            assert ended.is_set()
            shown = (await s.get(f"/threads/{thread}")).json()
            assert (shown["status"], shown["values"]) == ("idle", {"n": 1, "log": ["a"]})
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 200})
            assert done["values"] == {"n": 202, "log": ["a", "a", "passed"]}

    play(story())


def test_cancelling_waits_for_a_sync_node(server: Starter) -> None:
    begun, leave, left, cancelled = (threading.Event() for _ in range(4))

    def hold(state: Count) -> dict[str, Any]:
        begun.set()
        leave.wait(20)
        left.set()
        return {"log": ["late"]}

    async def tell(state: Count) -> dict[str, Any]:
        """Stands beside the other, to tell when the cancelling has reached the graph."""
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return {}

    steps = StateGraph(Count).add_node("hold", hold).add_node("tell", tell).add_node("next", add("next"))
    steps.add_edge(START, "hold").add_edge(START, "tell").add_edge("hold", "next")

    async def story() -> None:
        async with server(graph(steps, id="hold")) as s:
            thread = await s.thread()
            run = await answer_of(s, f"/threads/{thread}/runs", input={"n": 0})
            await s.until(begun.is_set)
            stopping = asyncio.ensure_future(s.post(f"/runs/{run['run_id']}/cancel?wait=true"))
            await s.until(cancelled.is_set)
            assert not stopping.done()
            leave.set()
            assert (await stopping).status_code == 204
            assert left.is_set()
            assert (await s.get(f"/threads/{thread}")).json()["values"] == {"n": 0}

    play(story())


def test_a_rollback_removes_what_the_run_put(server: Starter) -> None:
    outer = chain("a")
    outer.add_node("inner", ASKING.compile())
    outer.add_edge("a", "inner")

    async def story() -> None:
        async with server(graph(outer, id="outer")) as s:
            thread = await s.thread()
            await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 1})
            await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": "yes"})
            before = (await s.get(f"/threads/{thread}/history")).json()
            run = await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 5})
            assert run["status"] == "interrupted"
            undone = await s.post(f"/runs/{run['run']['run_id']}/cancel?action=rollback&wait=true")
            assert undone.status_code == 204
            assert (await s.get(f"/threads/{thread}/history")).json() == before
            done = await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 5})
            assert done["status"] == "interrupted"

    play(story())


def test_an_answer_that_was_rolled_back_can_be_given_again(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(PARALLEL, id="parallel")) as s:
            thread = await s.thread()
            asked = await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 1})
            ids = {question["value"]: question["id"] for question in asked["interrupts"]}
            first = await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": {ids["left"]: "wrong"}})
            await s.post(f"/runs/{first['run']['run_id']}/cancel?action=rollback&wait=true")
            answers = {ids["left"]: "right", ids["right"]: "too"}
            done = await answer_of(s, f"/threads/{thread}/runs/wait", command={"resume": answers})
            assert sorted(done["values"]["log"]) == ["left: right", "right: too"]

    play(story())


def test_a_failed_attempt_goes_on_from_the_last_step(server: Starter) -> None:
    """What a lost server leaves: the node that failed is done again, and no other."""
    done_before: list[str] = []
    fails = [False, True]

    def note(name: str) -> Any:
        def node(state: Count) -> dict[str, Any]:
            done_before.append(name)
            if name == "right" and fails.pop():
                raise ConnectionError("gone")
            return {"log": [name]}

        return node

    steps = StateGraph(Count)
    for name in ("a", "left", "right", "end"):
        steps.add_node(name, note(name))
    steps.add_edge(START, "a").add_edge("a", "left").add_edge("a", "right").add_edge(["left", "right"], "end")

    async def story() -> None:
        retried = graph(steps, id="steps", retry={"on": ["ConnectionError"], "initial": 0.0})
        async with server(retried) as s:
            done = await answer_of(s, "/runs/wait", input={"n": 0})
            assert done["status"] == "success"
            assert done["run"]["attempt"] == 2
            assert sorted(done_before) == ["a", "end", "left", "right", "right"]
            assert done["values"] == {"n": 0, "log": ["a", "left", "right", "end"]}

    play(story())


def test_many_are_mapped_and_reduced(server: Starter) -> None:
    def spread(state: Count) -> list[Send]:
        return [Send("work", {"n": place, "log": []}) for place in range(20)]

    steps = StateGraph(Count)
    steps.add_node("work", lambda state: {"log": [str(state["n"])], "n": state["n"]})
    steps.add_node("end", lambda state: {"log": ["end"]})
    steps.add_conditional_edges(START, spread, ["work"])
    steps.add_edge("work", "end")

    async def story() -> None:
        async with server(graph(steps, id="many")) as s:
            done = await answer_of(s, "/runs/wait", input={"n": 0})
            assert done["values"]["n"] == sum(range(20))
            assert done["values"]["log"][-1] == "end"

    play(story())


# beside functions


def test_a_function_and_a_graph_share_a_thread(server: Starter) -> None:
    @agent
    async def look(ctx: Any) -> dict[str, Any]:
        return {"seen": sorted(ctx.state)}

    async def story() -> None:
        async with server(graph(STEPS, id="steps"), look) as s:
            thread = await s.thread()
            await answer_of(s, f"/threads/{thread}/runs/wait", input={"n": 0})
            done = await answer_of(s, f"/threads/{thread}/runs/wait", agent_id="look")
            assert done["values"]["seen"] == ["log", "n"]
            done = await answer_of(s, f"/threads/{thread}/runs/wait", agent_id="steps", input={"n": 1})
            assert done["values"]["n"] == 7

    play(story())


def test_fields_of_graphs_are_refused_for_functions(server: Starter) -> None:
    @agent
    async def plain() -> dict[str, Any]:
        return {}

    fields: dict[str, Any] = {
        "context": {"a": 1}, "interrupt_before": "*", "interrupt_after": ["x"], "durability": "exit",
        "stream_mode": "tasks",
    }  # fmt: skip

    async def story() -> None:
        async with server(plain) as s:
            for field, value in fields.items():
                refused = await s.post("/runs", {field: value})
                assert (refused.status_code, refused.json()["metadata"]["field"]) == (422, field)
            refused = await s.post("/runs", {"command": {"goto": "x"}})
            assert (refused.status_code, refused.json()["metadata"]["field"]) == (422, "command.goto")

    play(story())


def test_factories_make_a_graph_for_each_run(server: Starter) -> None:
    made: list[Any] = []

    async def with_config(config: Any) -> Any:
        made.append(config.get("configurable", {}).get("thread_id"))
        return STEPS

    def plain() -> Any:
        return STEPS.compile()

    class Context:
        async def __aenter__(self) -> Any:
            made.append("opened")
            return STEPS.compile()

        async def __aexit__(self, *_: Any) -> None:
            made.append("closed")

    def managed(runtime: Any) -> Any:
        made.append(runtime.access_context)
        return Context()

    async def story() -> None:
        agents = [graph(with_config, id="config"), graph(plain, id="plain"), graph(managed, id="managed")]
        async with server(*agents) as s:
            made.clear()
            for name in ("config", "plain", "managed"):
                done = await answer_of(s, "/runs/wait", agent_id=name, input={"n": 0})
                assert done["values"]["n"] == 3, done
            assert made[1:] == ["threads.create_run", "opened", "closed"]
            assert isinstance(made[0], str)

    play(story())
