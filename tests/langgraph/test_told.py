"""What graphs tell of tools, subgraphs and questions in the streaming protocol. On a whole server in this process."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any

import msgspec
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt
from live_server import Starter, holds, play
from scripted import GO, Scripted, agent_of, calls, events_of, log_of, look, run_told, said, talker, words
from typing_extensions import TypedDict

from runyard import graph
from tests.protocol_checks import check

# tools


def test_tools_are_told_by_the_ids_of_the_calls(server: Starter) -> None:
    asks = calls((0, "c1", "look", '{"at": 1}'), (1, "c2", "look", '{"at": -1}'))
    model = Scripted(scripts=[asks, words("it rains")])

    async def story() -> None:
        async with server(graph(agent_of(model, look), id="agent")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            one, other = told.tools["c1"], told.tools["c2"]
            assert (one.name, one.input, one.namespace) == ("look", {"at": 1}, ())
            assert (one.output["role"], one.output["content"], one.output["tool_call_id"]) == (
                "tool",
                "it rains at 1",
                "c1",
            )
            assert other.error == "ValueError: nothing is there"
            # First the model has said what it asks for, then the tools begin; they have ended when it goes on.
            order = [event["params"]["data"] for event in events if event["method"] in ("messages", "tools")]
            kinds = [data["event"] for data in order]
            assert kinds.index("message-finish") < kinds.index("tool-started")
            last = max(at for at, kind in enumerate(kinds) if kind in ("tool-finished", "tool-error"))
            assert last < len(kinds) - 1 - kinds[::-1].index("message-start")
            assert {message.role for message in told.messages.values()} == {"ai"}

    play(story())


def test_a_tool_that_gives_a_command_is_told_with_its_message(server: Starter) -> None:
    @tool
    def note(at: int) -> Any:
        """Notes."""
        return Command(update={"messages": [ToolMessage("noted", tool_call_id="c1")]})

    model = Scripted(scripts=[calls((0, "c1", "note", '{"at": 1}')), words("done")])

    async def story() -> None:
        async with server(graph(agent_of(model, note), id="agent")) as s:
            told = check((await run_told(s, **GO))[1])
            assert told.tools["c1"].output["content"] == "noted"

    play(story())


def test_a_tool_that_code_calls_itself_is_told_too(server: Starter) -> None:
    async def call(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(await look.ainvoke({"at": 5}))]}

    node = StateGraph(MessagesState).add_node("call", call).add_edge(START, "call")

    async def story() -> None:
        async with server(graph(node, id="call")) as s:
            (called,) = check((await run_told(s, **GO))[1]).tools.values()
            assert (called.name, called.output) == ("look", "it rains at 5")

    play(story())


def test_a_tool_that_asks_is_told_again_when_it_has_its_answer(server: Starter) -> None:
    @tool
    def book(at: int) -> str:
        """Books."""
        return f"booked, {interrupt('sure?')}"

    model = Scripted(scripts=[calls((0, "c1", "book", '{"at": 1}')), words("done")])

    async def story() -> None:
        async with server(graph(agent_of(model, book), id="agent")) as s:
            thread = await s.thread()
            first = (await s.post(f"/threads/{thread}/runs", GO)).json()
            await s.wait(first["run_id"])
            told = check(await events_of(s, first))
            assert (told.status, told.tools["c1"].ended) == ("interrupted", False)
            second = (await s.post(f"/threads/{thread}/runs", {"command": {"resume": "yes"}})).json()
            await s.wait(second["run_id"])
            told = check(await events_of(s, second))
            assert (told.status, told.tools["c1"].output["content"]) == ("completed", "booked, yes")

    play(story())


# subgraphs


class Count(TypedDict):
    n: Annotated[int, operator.add]


def one(state: Count) -> dict[str, Any]:
    return {"n": 1}


def inner(name: str | None = None, node: Any = one) -> Any:
    builder = StateGraph(Count).add_node("x", node).add_edge(START, "x")
    return builder.compile(name=name) if name else builder.compile()


def around(graph: Any, node: str = "sub") -> Any:
    builder = StateGraph(Count).add_node("a", one).add_node(node, graph)
    return builder.add_edge(START, "a").add_edge("a", node)


def test_subgraphs_two_deep_begin_and_end_in_each_other(server: Starter) -> None:
    outer = around(around(inner("leaf"), "deep").compile(name="branch"))

    async def story() -> None:
        async with server(graph(outer, id="outer")) as s:
            events = (await run_told(s, input={"n": 0}))[1]
            told = check(events)
            branch, leaf = told.graph("sub"), told.graph("sub", "deep")
            assert (branch.name, branch.status, branch.cause) == (
                "branch",
                "completed",
                {"type": "edge", "fromNode": "a"},
            )
            assert (leaf.name, leaf.status, leaf.cause) == ("leaf", "completed", {"type": "edge", "fromNode": "a"})
            order = [(data["event"], data.get("graphName")) for data in said(events, "lifecycle")]
            assert order == [
                ("started", "outer"), ("running", None), ("started", "branch"), ("started", "leaf"),
                ("completed", "leaf"), ("completed", "branch"), ("completed", None),
            ]  # fmt: skip

    play(story())


def test_a_subgraph_without_a_name_has_that_of_its_node(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(around(inner()), id="outer")) as s:
            assert check((await run_told(s, input={"n": 0}))[1]).graph("sub").name == "sub"

    play(story())


def test_a_subgraph_that_fails_is_told_with_its_error(server: Starter) -> None:
    def fail(state: Count) -> dict[str, Any]:
        raise ValueError("no way")

    async def story() -> None:
        async with server(graph(around(around(inner("leaf", fail), "deep").compile()), id="outer")) as s:
            told = check((await run_told(s, input={"n": 0}))[1])
            for place in (("sub",), ("sub", "deep")):
                assert (told.graph(*place).status, told.graph(*place).error) == ("failed", "ValueError: no way")
            assert told.status == "failed"

    play(story())


def test_a_fan_out_tells_a_graph_for_each_with_what_sent_it(server: Starter) -> None:
    def spread(state: Count) -> list[Send]:
        return [Send("sub", {"n": number}) for number in range(3)]

    builder = StateGraph(Count).add_node("a", one).add_node("sub", inner("leaf")).add_edge(START, "a")
    builder.add_conditional_edges("a", spread, ["sub"])

    async def story() -> None:
        async with server(graph(builder, id="outer")) as s:
            told = check((await run_told(s, input={"n": 0}))[1])
            assert [graph.cause for graph in told.graphs.values()] == [{"type": "send", "fromNode": "a"}] * 3
            assert {graph.status for graph in told.graphs.values()} == {"completed"}

    play(story())


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_graph_that_a_tool_calls_is_caused_by_the_call(server: Starter, in_thread: bool) -> None:
    helper_model = Scripted(scripts=[words("wet"), words("very wet")])

    def talk_in_thread(state: MessagesState) -> dict[str, Any]:
        return {"messages": [helper_model.invoke(state["messages"])]}

    in_turn = StateGraph(MessagesState).add_node("talk", talk_in_thread).add_edge(START, "talk")
    helper = (in_turn if in_thread else talker(helper_model)).compile(name="helper")

    @tool
    async def ask(at: int) -> str:
        """Asks."""
        return (await helper.ainvoke({"messages": [("user", "go")]}))["messages"][-1].content

    @tool("ask")
    def ask_in_thread(at: int) -> str:
        """Asks."""
        return helper.invoke({"messages": [("user", "go")]})["messages"][-1].content

    asks = calls((0, "c1", "ask", '{"at": 1}'))
    model = Scripted(scripts=[asks, calls((0, "c2", "ask", '{"at": 2}')), words("done")])

    async def story() -> None:
        async with server(graph(agent_of(model, ask_in_thread if in_thread else ask), id="agent")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            assert [(graph.name, graph.cause) for graph in told.graphs.values()] == [
                ("helper", {"type": "toolCall", "toolCallId": "c1"}),
                ("helper", {"type": "toolCall", "toolCallId": "c2"}),
            ]
            inside = {message.text for message in told.messages.values() if message.namespace}
            assert inside == {"wet", "very wet"}
            order = [(event["method"], event["params"]["data"]["event"]) for event in events
                     if event["method"] in ("tools", "lifecycle") and
                     (event["method"] == "tools" or event["params"]["namespace"])]  # fmt: skip
            assert order == [("tools", "tool-started"), ("lifecycle", "started"), ("lifecycle", "completed"),
                             ("tools", "tool-finished")] * 2  # fmt: skip

    play(story())


def test_a_graph_that_a_node_streams_itself_sees_nothing_of_it(server: Starter) -> None:
    """What is told goes through the run's own stream, never through one that the code reads."""
    leaf = around(inner("leaf"), "deep").compile(name="branch")
    seen: list[Any] = []

    async def read(state: Count) -> dict[str, Any]:
        async for told in leaf.astream({"n": 1}, stream_mode=["custom", "updates"], subgraphs=True):
            seen.append(told)
        return {"n": 1}

    node = StateGraph(Count).add_node("read", read).add_edge(START, "read")

    async def story() -> None:
        async with server(graph(node, id="read")) as s:
            told = check((await run_told(s, input={"n": 0}))[1])
            assert {graph.name for graph in told.graphs.values()} == {"branch", "leaf"}
            assert {mode for _, mode, _ in seen} == {"updates"}

    play(story())


def test_a_question_inside_a_subgraph_interrupts_it_and_the_answer_starts_it_again(server: Starter) -> None:
    def ask(state: Count) -> dict[str, Any]:
        return {"n": interrupt("how many?")}

    outer = around(around(inner("leaf", ask), "deep").compile(name="branch"))

    async def story() -> None:
        async with server(graph(outer, id="outer")) as s:
            thread = await s.thread()
            first = (await s.post(f"/threads/{thread}/runs", {"input": {"n": 0}})).json()
            await s.wait(first["run_id"])
            events = await events_of(s, first)
            told = check(events)
            assert [told.graph("sub").status, told.graph("sub", "deep").status] == ["interrupted"] * 2
            (requested,) = (event["params"] for event in events if event["method"] == "input.requested")
            assert requested["data"]["payload"] == "how many?"
            assert [segment.partition(":")[0] for segment in requested["namespace"]] == ["sub", "deep"]
            (asked,) = (one for one in await log_of(s, first) if one.kind == "asked")
            (question,) = msgspec.json.decode(asked.data)["questions"]
            assert [segment.partition(":")[0] for segment in question["namespace"].split("|")] == ["sub", "deep"]
            second = (await s.post(f"/threads/{thread}/runs", {"command": {"resume": 5}})).json()
            done = await s.wait(second["run_id"])
            told = check(await events_of(s, second))
            assert [told.graph("sub").status, told.graph("sub", "deep").status] == ["completed"] * 2
            assert done["values"]["n"] == 10

    play(story())


def test_tasks_are_told_of_what_commands_begin_while_somebody_is_subscribed_answers_too(server: Starter) -> None:
    def ask(state: Count) -> dict[str, Any]:
        return {"n": interrupt("how many?")}

    async def story() -> None:
        async with server(graph(inner("leaf", ask), id="asks")) as s:
            thread = await s.thread()

            async def command(method: str, **params: Any) -> None:
                answer = await s.post(f"/threads/{thread}/commands", {"id": 1, "method": method, "params": params})
                assert answer.json()["type"] == "success", answer.json()
                await s.until(lambda: holds(s.storage.thread("", thread), lambda now: now.status != "busy"))

            async def count() -> int:
                found = await s.storage.events("", thread, after=0, run_id=None, limit=500)
                return sum(event.kind == "tasks" for event in found)

            await command("run.start", assistantId="asks", input={"n": 0})
            assert await count() == 0
            reader = await s.app.engine.streams.join_thread("", thread)
            reader.channels = frozenset({"tasks"})
            await command("run.start", assistantId="asks", input=5)
            assert (answered := await count()) > 0
            await command("run.start", assistantId="asks", input={"n": 0})
            assert (begun := await count()) > answered
            (question,) = (await s.get(f"/threads/{thread}")).json()["interrupts"]
            await command("input.respond", interruptId=question["id"], response=5)
            assert await count() > begun
            reader.close()

    play(story())


def test_two_graphs_in_one_node_are_told_apart(server: Starter) -> None:
    leaf = inner("leaf")

    async def twice(state: Count) -> dict[str, Any]:
        await leaf.ainvoke({"n": 0})
        return await leaf.ainvoke({"n": 0})

    builder = StateGraph(Count).add_node("twice", twice).add_edge(START, "twice")

    async def story() -> None:
        async with server(graph(builder, id="outer")) as s:
            told = check((await run_told(s, input={"n": 0}))[1])
            assert [(graph.name, graph.status) for graph in told.graphs.values()] == [("leaf", "completed")] * 2

    play(story())


def test_a_node_that_is_tried_again_starts_its_graph_again(server: Starter) -> None:
    tries = iter([ValueError("not yet"), None])

    def fail_once(state: Count) -> dict[str, Any]:
        error = next(tries)
        if error is not None:
            raise error
        return {"n": 1}

    builder = StateGraph(Count).add_edge(START, "sub")
    again = RetryPolicy(initial_interval=0, jitter=False, retry_on=ValueError)
    builder.add_node("sub", inner("leaf", fail_once), retry_policy=again)

    async def story() -> None:
        async with server(graph(builder, id="outer")) as s:
            events = (await run_told(s, input={"n": 0}))[1]
            check(events)
            assert [data["event"] for data in said(events, "lifecycle")] == [
                "started", "running", "started", "failed", "started", "completed", "completed",
            ]  # fmt: skip

    play(story())


def test_a_graph_keeps_the_callbacks_that_it_was_given(server: Starter) -> None:
    heard: list[str] = []

    class Listener(BaseCallbackHandler):
        def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
            heard.append("end")

    compiled = StateGraph(Count).add_node("a", one).add_edge(START, "a").compile()

    async def story() -> None:
        async with server(graph(compiled.with_config(callbacks=[Listener()]), id="outer")) as s:
            check((await run_told(s, input={"n": 0}))[1])
            assert heard

    play(story())


# ends


def test_a_cancel_ends_what_has_begun(server: Starter) -> None:
    begun = asyncio.Event()

    async def hold() -> None:
        begun.set()
        await asyncio.Event().wait()

    helper = talker(Scripted(scripts=[[*words("one two"), hold]])).compile(name="helper")

    @tool
    async def ask(at: int) -> str:
        """Asks."""
        return (await helper.ainvoke({"messages": [("user", "go")]}))["messages"][-1].content

    model = Scripted(scripts=[calls((0, "c1", "ask", '{"at": 1}'))])

    async def story() -> None:
        async with server(graph(agent_of(model, ask), id="agent")) as s:
            run = await s.run(**GO)
            await s.until(begun.is_set)
            assert (await s.post(f"/runs/{run['run_id']}/cancel?wait=true")).status_code == 204
            told = check(await events_of(s, run))
            assert told.status == "interrupted"
            assert told.graph("tools").status == "interrupted"
            (message,) = (message for message in told.messages.values() if message.namespace)
            assert "one two".startswith(message.text)
            assert message.error is not None
            assert told.tools["c1"].error is not None

    play(story())
