"""What LangChain's agents tell in the streaming protocol, which the oldest LangGraph does not have."""

from __future__ import annotations

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.prebuilt import ToolRuntime
from live_server import Starter, play
from scripted import GO, Scripted, calls, look, run_told, words

from runyard import graph
from tests.protocol_checks import check


@pytest.mark.skipif(not hasattr(ToolRuntime, "emit_output_delta"), reason="this LangGraph has no deltas of tools")
@pytest.mark.parametrize("in_thread", [False, True])
def test_what_a_tool_writes_while_it_works_is_told(server: Starter, in_thread: bool) -> None:
    @tool("look")
    async def look_around(at: int, runtime: ToolRuntime) -> str:
        """Looks."""
        runtime.emit_output_delta("it ")
        runtime.emit_output_delta({"rains": at})
        return "done"

    @tool("look")
    def look_in_thread(at: int, runtime: ToolRuntime) -> str:
        """Looks."""
        runtime.emit_output_delta("it ")
        runtime.emit_output_delta({"rains": at})
        return "done"

    asks = calls((0, "c1", "look", '{"at": 1}'), (1, "c2", "look", '{"at": 2}'))
    model = Scripted(scripts=[asks, words("done")])
    agent = create_agent(model, [look_in_thread if in_thread else look_around])

    async def story() -> None:
        async with server(graph(agent, id="agent")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            assert [told.tools[id].deltas for id in ("c1", "c2")] == ['it {"rains":1}', 'it {"rains":2}']
            assert [told.tools[id].input for id in ("c1", "c2")] == [{"at": 1}, {"at": 2}]

    play(story())


def test_an_agent_that_is_a_tool_of_another_is_told_inside_it(server: Starter) -> None:
    helper = create_agent(
        Scripted(scripts=[calls((0, "c1", "look", '{"at": 3}')), words("it rains at 3")]), [look], name="helper"
    )

    @tool
    async def ask(at: int) -> str:
        """Asks."""
        return (await helper.ainvoke({"messages": [("user", "go")]}))["messages"][-1].content

    # The ids of calls are the model's: both agents have a call of the same one.
    model = Scripted(scripts=[calls((0, "c0", "ask", '{"at": 1}')), words("done")])

    async def story() -> None:
        async with server(graph(create_agent(model, [ask], name="boss"), id="agent")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            (namespace,) = told.graphs
            assert (told.graphs[namespace].name, told.graphs[namespace].cause) == (
                "helper",
                {"type": "toolCall", "toolCallId": "c0"},
            )
            assert (told.tools["c0"].namespace, told.tools["c1"].namespace) == ((), namespace)
            assert told.tools["c0"].output["content"] == "it rains at 3"

    play(story())
